"""Pages of a crawl and its media share a jar: what either is given, the other sends, in the jar of its request."""

from __future__ import annotations

import pytest
from origin import Answer
from scrapy import Request, Spider
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.http.cookies import CookieJar

from mediacrawl.pipelines import MediaFilesPipeline

PICTURE = b"\xff\xd8\xffpicture"


class OfItsJar(MediaFilesPipeline):
    """Sends media with the jar, and the cookies, that the item names."""

    def get_media_requests(self, item, info):
        return [Request(url, meta=item["meta"], cookies=item.get("cookies")) for url in item["file_urls"]]


class Visits(Spider):
    """Of each jar: a page that greets with a cookie, then a picture, and then another page."""

    name = "visits"
    media_offsite = True

    async def start(self):
        for jar in self.jars:
            yield Request(f"{self.site}/in/{jar}", meta={"cookiejar": jar})

    def parse(self, response):
        jar = response.meta["cookiejar"]
        yield {"file_urls": [f"{self.site}/go/{jar}"], "meta": {"cookiejar": jar}, "jar": jar}


def cookie_of(request):
    return set(filter(None, request.headers.get("cookie", "").split("; ")))


@pytest.fixture
def site(origin):
    """`/in/N` greets with in=N, `/go/N` leads on to `/N.jpg` and sets go=N, `/out/N` is the last page."""

    def serve(request):
        kind, _, number = request.path.strip("/").partition("/")
        if kind == "in":
            return Answer(200, [("Content-Type", "text/html"), ("Set-Cookie", f"in={number}; Path=/")], b"<p>")
        if kind == "go":
            fields = [("Location", f"/pictures/{number}"), ("Set-Cookie", f"go={number}; Path=/")]
            return Answer(302, [*fields, ("Set-Cookie", "in=; Max-Age=0; Path=/")])
        return Answer(200, [("Content-Type", "image/jpeg" if kind == "pictures" else "text/html")], PICTURE)

    for number in ("1", "2", "None"):
        for kind in ("in", "go", "pictures", "out"):
            origin.on(f"/{kind}/{number}", serve)
    return origin.url("").rstrip("/")


@pytest.mark.parametrize("jars", [(None,), (1, 2)])
@pytest.mark.parametrize("processes", [0, 2])
def test_pages_and_media_share_the_jar_of_their_requests(crawls, tmp_path, origin, site, jars, processes):
    class Out(OfItsJar):
        """Asks for the last page of a jar once its picture is there."""

        def item_completed(self, results, item, info):
            jar = item["jar"]
            request = Request(f"{site}/out/{jar}", meta={"cookiejar": jar}, callback=lambda _: None)
            self.crawler.engine.crawl(request)
            return super().item_completed(results, item, info)

    settings = {"ITEM_PIPELINES": {Out: 1}, "MEDIACRAWL_PROCESSES": processes, "ROBOTSTXT_OBEY": False}
    done = crawls.crawl(tmp_path, Visits, settings, site=site, jars=jars)
    assert done.status == 0
    for jar in jars:
        assert [cookie_of(request) for request in origin.requests_for(f"/go/{jar}")] == [{f"in={jar}"}]
        assert [cookie_of(request) for request in origin.requests_for(f"/pictures/{jar}")] == [{f"go={jar}"}]
        assert [cookie_of(request) for request in origin.requests_for(f"/out/{jar}")] == [{f"go={jar}"}]


class TwoPictures(Visits):
    def parse(self, response):
        for number, meta in enumerate(self.metas, start=1):
            yield {"file_urls": [f"{self.site}/go/{number}"], "meta": meta, "cookies": {"own": str(number)}}


def test_a_request_that_merges_no_cookies_has_none_and_leaves_none(crawls, tmp_path, origin, site):
    """Of the jar, that is: within the transfer a redirect's cookie holds."""
    metas = [{"dont_merge_cookies": True}, {}]
    settings = {"ITEM_PIPELINES": {OfItsJar: 1}, "CONCURRENT_REQUESTS": 1}
    done = crawls.crawl(tmp_path, TwoPictures, settings, site=site, jars=[None], metas=metas)
    assert done.status == 0
    assert [cookie_of(request) for request in origin.requests_for("/go/1")] == [set()]
    assert [cookie_of(request) for request in origin.requests_for("/pictures/1")] == [{"go=1"}]
    assert [cookie_of(request) for request in origin.requests_for("/go/2")] == [{"in=None", "own=2"}]
    assert [cookie_of(request) for request in origin.requests_for("/pictures/2")] == [{"go=2"}]  # own: of /go only


class OwnJars(CookiesMiddleware):
    """A middleware with jars of its own making, which the crawl does not know."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.jars = {None: CookieJar()}


def test_a_middleware_with_other_jars_works_as_it_did(crawls, tmp_path, origin, site):
    settings = {
        "ITEM_PIPELINES": {OfItsJar: 1},
        "DOWNLOADER_MIDDLEWARES": {CookiesMiddleware: None, OwnJars: 700},
    }
    done = crawls.crawl(tmp_path, Visits, settings, site=site, jars=[None])
    assert done.status == 0
    assert [cookie_of(request) for request in origin.requests_for("/go/None")] == [{"in=None"}]
    assert [cookie_of(request) for request in origin.requests_for("/pictures/None")] == [{"go=None"}]
