"""What Scrapy's downloader does for politeness holds for media, too."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest
from crawling import assert_plain, item_of, items_spider, run, sha256, start
from origin import Answer, Origin, Pattern, limit_per_connection, set_cookie, slow, status
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings

from mediacrawl.crawl import context
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.records import TransferRequest
from mediacrawl.errors import Interrupted
from mediacrawl.fetch.resources import policy_of
from mediacrawl.pipelines import MediaFilesPipeline
from mediacrawl.spiders.site import SiteSpider
from mediacrawl.transport import addresses

BODY = b"\xff\xd8\xff" + b"j" * 3997
JPEG = "image/jpeg"
ONE = {"CONCURRENT_REQUESTS_PER_DOMAIN": 1}


@pytest.fixture
def crawl(crawls, tmp_path):
    def crawl(spider=SiteSpider, settings=None, **arguments):
        return crawls.crawl(tmp_path, spider, settings, **arguments)

    return crawl


@pytest.fixture
def other():
    with Origin("localhost") as running:
        yield running


def gallery(origin, pictures=4):
    """Two pages of pictures; the URL of the first."""
    images = "".join(f'<img src="/{number}.jpg">' for number in range(pictures))
    origin.page("/", f'{images}<a rel="next" href="/2">Next</a>')
    origin.page("/2", '<img src="/last.jpg">')
    for name in (*map(str, range(pictures)), "last"):
        origin.add(f"/{name}.jpg", BODY + name.encode(), content_type=JPEG)
    return origin.url("/")


def is_media(request):
    return request.path.endswith(".jpg")


def test_robots_txt_forbids_media_as_it_forbids_pages(crawl, origin, caplog):
    origin.robots("User-agent: *\nDisallow: /private/\n")
    origin.page("/", '<img src="/private/a.jpg"><img src="/b.jpg"><a rel="next" href="/private/2">Next</a>')
    for path in ("/private/a.jpg", "/b.jpg"):
        origin.add(path, BODY, content_type=JPEG)
    crawled = crawl(url=origin.url("/"))
    assert [request.path for request in origin.requests] == ["/robots.txt", "/", "/b.jpg"]
    assert [error["url"] for error in crawled.errors] == [origin.url("/private/a.jpg")]
    assert "robots.txt" in crawled.errors[0]["reason"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_robots_txt_of_the_host_of_the_media_is_asked_once(crawl, origin, other):
    other.robots("User-agent: *\nDisallow: /\n")
    origin.page("/", f'<img src="{other.url("/a.jpg")}"><img src="{other.url("/b.jpg")}">')
    crawled = crawl(url=origin.url("/"))
    assert [request.path for request in other.requests] == ["/robots.txt"]
    assert len(crawled.errors) == 2


def test_robots_txt_is_not_asked_where_it_is_not_to_be_obeyed(crawl, origin):
    origin.robots("User-agent: *\nDisallow: /\n")
    url = origin.add("/a.jpg", BODY, content_type=JPEG)
    crawled = crawl(items_spider(item_of(url)), {"ROBOTSTXT_OBEY": False})
    assert [request.path for request in origin.requests] == ["/a.jpg"]
    assert crawled.status == 0


def test_one_connection_for_a_host_is_one_for_pages_and_media_together(crawl, origin):
    url = gallery(origin, pictures=12)
    crawl(settings=ONE, url=url)
    assert origin.peak == 1
    assert len(origin.requests) == 16


def test_no_more_connections_for_a_host_than_are_allowed(crawl, origin):
    for number in range(12):
        origin.add(f"/{number}.jpg", BODY, content_type=JPEG, faults=[slow(100_000)])
    urls = [origin.url(f"/{number}.jpg") for number in range(12)]
    crawl(items_spider(*map(item_of, urls)), {"CONCURRENT_REQUESTS_PER_DOMAIN": 3, "ROBOTSTXT_OBEY": False})
    assert origin.peak <= 3


def test_media_do_come_side_by_side_where_that_is_allowed(crawl, origin):
    """Three that only answer when all three are there."""
    meeting = threading.Barrier(3)

    def answer(_request):
        meeting.wait(60)
        return Answer(200, [("Content-Type", JPEG)], BODY)

    urls = [origin.on(f"/{number}.jpg", answer) for number in range(3)]
    assert crawl(items_spider(item_of(*urls)), {"CONCURRENT_REQUESTS_PER_DOMAIN": 3}).status == 0


def test_a_delay_between_requests_lies_between_media_too(crawl, origin):
    url = gallery(origin)
    crawl(settings={"DOWNLOAD_DELAY": 0.1, "DOWNLOAD_DELAY_JITTER": 0}, url=url)
    starts = [request.started_at for request in origin.requests]
    assert len(starts) == 8
    assert starts[-1] - starts[0] >= 0.1 * 7 - 0.2  # the first may have been noticed late, none too early


@pytest.mark.parametrize(
    ("settings", "connections"), [({}, 4), ({"DOWNLOAD_DELAY": 0.01}, 1), ({"AUTOTHROTTLE_ENABLED": True}, 1)]
)
def test_a_file_has_several_connections_only_where_no_delay_is_asked_for(settings, connections):
    assert policy_of(Settings(settings)).segments.connections == connections


def test_connections_of_a_file_that_are_to_come_at_once_count_among_those_of_the_host(crawl, origin):
    bodies = [Pattern(8 * 1024 * 1024, seed) for seed in (1, 2, 3)]
    limit = limit_per_connection(20_000_000)
    urls = [origin.add(f"/{n}.bin", body, faults=[limit]) for n, body in enumerate(bodies)]
    at_once = {"MEDIACRAWL_SEGMENT_PROBE_S": 0, "MEDIACRAWL_SEGMENT_MIN_BYTES": 2 * 1024 * 1024}
    crawled = crawl(items_spider(item_of(*urls), of_page=True), at_once | {"CONCURRENT_REQUESTS_PER_DOMAIN": 4})
    assert sorted(crawled.store.values()) == sorted(sha256(body.read()) for body in bodies)
    assert [request for request in origin.requests if request.range is not None]
    assert origin.peak <= 4 + len(urls)  # it may notice late that each front has hung up; without a limit it is 12


def test_autothrottle_learns_from_media(crawl, origin):
    delays = []

    class Watches(items_spider(item_of(origin.url("/a.jpg")))):
        def closed(self, reason):
            delays.extend(slot.delay for slot in self.crawler.engine.downloader.slots.values())

    origin.add("/a.jpg", BODY, content_type=JPEG, delay_s=0.4)
    settings = {"AUTOTHROTTLE_ENABLED": True, "AUTOTHROTTLE_START_DELAY": 0.01, "ROBOTSTXT_OBEY": False}
    crawl(Watches, settings)
    assert delays[0] >= 0.15  # half way to the latency, over a target of one request at a time


def test_pages_and_media_come_from_one_user_agent(crawl, origin):
    crawl(settings={"USER_AGENT": "archive/2 (+http://127.0.0.1/)"}, url=gallery(origin))
    assert {request.headers["user-agent"] for request in origin.requests} == {"archive/2 (+http://127.0.0.1/)"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("no-referrer", (None, None)),
        ("same-origin", ("{page}", None)),
        ("origin", ("{origin}", "{origin}")),
        ("strict-origin-when-cross-origin", ("{page}", "{origin}")),
        ("unsafe-url", ("{page}", "{page}")),
    ],
)
def test_the_page_is_the_referer_as_far_as_the_policy_lets_it(crawl, origin, other, policy, expected):
    names = {"page": origin.url("/page"), "origin": origin.url("/")}
    origin.page("/page", f'<img src="/a.jpg"><img src="{other.url("/b.jpg")}">')
    for host, path in ((origin, "/a.jpg"), (other, "/b.jpg")):
        host.add(path, BODY, content_type=JPEG)
    crawl(settings={"REFERRER_POLICY": policy}, url=origin.url("/page"))
    sent = [
        host.requests_for(path)[0].headers.get("referer") for host, path in ((origin, "/a.jpg"), (other, "/b.jpg"))
    ]
    assert sent == [value and value.format(**names) for value in expected]


def test_cookies_of_the_crawl_go_with_its_media_and_to_no_other_host(crawl, origin, other):
    origin.page("/", f'<img src="/a.jpg"><img src="{other.url("/b.jpg")}"><img src="/far.jpg">')
    origin.fault("/", set_cookie("session=7; Path=/"))
    origin.redirect("/far.jpg", other.url("/c.jpg"))
    origin.add("/a.jpg", BODY, content_type=JPEG)
    for path in ("/b.jpg", "/c.jpg"):
        other.add(path, BODY, content_type=JPEG)
    assert crawl(url=origin.url("/")).status == 0
    assert origin.requests_for("/a.jpg")[0].headers["cookie"] == "session=7"
    assert origin.requests_for("/far.jpg")[0].headers["cookie"] == "session=7"
    assert len([request for request in other.requests if is_media(request)]) == 2
    assert not any("cookie" in request.headers for request in other.requests)


def test_no_cookie_is_sent_where_cookies_are_switched_off(crawl, origin):
    origin.page("/", '<img src="/a.jpg">')
    origin.fault("/", set_cookie("session=7; Path=/"))
    origin.add("/a.jpg", BODY, content_type=JPEG)
    crawl(settings={"COOKIES_ENABLED": False}, url=origin.url("/"))
    assert "cookie" not in origin.requests_for("/a.jpg")[0].headers


def test_media_do_not_take_the_places_of_pages(crawl, origin):
    """A site of slow films is crawled to its end while they come."""
    pages = [threading.Event() for _ in range(6)]

    def film(_request):
        assert pages[-1].wait(60)
        return Answer(200, [("Content-Type", "video/mp4")], BODY)

    def page(number):
        def answer(_request):
            pages[number].set()
            html = f'<video src="/{number}.mp4"></video>' + f'<a rel="next" href="/{number + 1}">Next</a>' * (
                number < 5
            )
            return Answer(200, [("Content-Type", "text/html")], html.encode())

        return answer

    for number in range(6):
        origin.on(f"/{number}", page(number))
        origin.on(f"/{number}.mp4", film)
    settings = {"CONCURRENT_REQUESTS": 2, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    crawled = crawl(settings=settings, url=origin.url("/0"))
    assert (crawled.status, crawled.report.new) == (0, 6)


# --- a host that asks for quiet ---------------------------------------------------------------------


def quiet_after(origin, code):
    """Seconds of quiet after the answer with that status; how many requests came later."""
    busy = next(request for request in origin.requests if request.status == code)
    later = [request for request in origin.requests if request.number > busy.number]
    return min(request.started_at for request in later) - busy.finished_at, later


def test_media_that_were_too_many_quiet_pages_and_media_of_the_host(crawl, origin):
    origin.add("/a.jpg", BODY, content_type=JPEG, faults=[status(429, retry_after=1)])
    origin.add("/b.jpg", BODY, content_type=JPEG)
    origin.page("/page", "text")

    class Two(Spider):
        name = "two"

        async def start(self):
            yield item_of(origin.url("/a.jpg"))
            while not CrawlContext.of(self.crawler).pauses.remaining_s("127.0.0.1"):  # noqa: ASYNC110 - has no event
                await asyncio.sleep(0)
            yield item_of(origin.url("/b.jpg"))
            yield Request(origin.url("/page"))

        def parse(self, response):
            pass

    crawled = crawl(Two, {"ROBOTSTXT_OBEY": False})
    assert crawled.status == 0
    quiet_s, later = quiet_after(origin, 429)
    assert sorted(request.path for request in later) == ["/a.jpg", "/b.jpg", "/page"]
    assert quiet_s >= 0.9


def test_a_page_that_was_too_many_quiets_the_media_of_the_host_and_of_no_other(crawl, origin, other):
    origin.page("/page", "text", faults=[status(503, retry_after=1, times=None)])
    for host in (origin, other):
        host.add("/a.jpg", BODY, content_type=JPEG)

    class Busy(Spider):
        name = "busy"
        handle_httpstatus_list = (503,)

        async def start(self):
            yield Request(origin.url("/page"), meta={"dont_retry": True})

        def parse(self, response):
            yield item_of(origin.url("/a.jpg"))
            yield item_of(other.url("/a.jpg"))

    assert crawl(Busy, {"ROBOTSTXT_OBEY": False}).status == 0
    quiet_s, later = quiet_after(origin, 503)
    assert [request.path for request in later] == ["/a.jpg"]
    assert quiet_s >= 0.9
    assert other.requests[0].started_at < later[0].started_at


@pytest.fixture
def busy_page(origin):
    """A spider that asks for a page, then for a file and another page, and takes any answer to the first."""
    origin.page("/page2", "text")
    origin.add("/a.jpg", BODY, content_type=JPEG)

    class Busy(Spider):
        name = "busy"
        handle_httpstatus_list = (429, 503)

        async def start(self):
            yield Request(origin.url("/page"))

        def parse(self, response):
            yield item_of(origin.url("/a.jpg"))
            yield Request(origin.url("/page2"), callback=self.parse_second)

        def parse_second(self, response):
            pass

    return Busy


def test_a_host_that_asks_for_a_day_of_quiet_is_not_waited_for(crawl, origin, busy_page):
    origin.page("/page", "text", faults=[status(429, retry_after=86_400, times=None)])
    crawled = crawl(busy_page, {"ROBOTSTXT_OBEY": False, "RETRY_ENABLED": False})
    assert crawled.status == 1
    assert [request.path for request in origin.requests] == ["/page"]
    assert "asked for a pause" in crawled.errors[0]["reason"]
    assert (crawled.report.failed, crawled.report.pages_failed) == (1, 1)


def test_a_page_that_is_away_for_a_day_concerns_no_other(crawl, origin, busy_page):
    """A 503 with Retry-After speaks of what was asked for. Nor is it asked for again at once."""
    origin.page("/page", "text", faults=[status(503, retry_after=86_400, times=None)])
    crawled = crawl(busy_page, {"ROBOTSTXT_OBEY": False})
    assert [request.path for request in origin.requests].count("/page") == 1
    assert sorted(request.path for request in origin.requests) == ["/a.jpg", "/page", "/page2"]
    assert crawled.report.new == 1


def test_a_file_that_is_refused_for_a_day_fails_and_is_asked_for_again_tomorrow(crawl, origin):
    urls = [origin.add(f"/{name}.jpg", BODY, content_type=JPEG) for name in "ab"]
    origin.fault("/a.jpg", status(429, retry_after=86_400))
    spider = items_spider(*map(item_of, urls))
    first = crawl(spider, ONE | {"ROBOTSTXT_OBEY": False})
    assert first.status == 1
    assert len(origin.requests) == 1
    second = crawl(spider, {"ROBOTSTXT_OBEY": False})
    assert second.status == 0
    assert set(second.store.values()) == {sha256(BODY)}


# --- where redirects lead ---------------------------------------------------------------------------


def asked(origin):
    return [request.path for request in origin.requests]


def redirected(origin, other, paths=("/a.jpg",)):
    """Media of `origin` that are on `other` by now; the URL of each."""
    for path in paths:
        other.add(path, BODY + path.encode(), content_type=JPEG)
        origin.redirect(path, other.url(path))
    return [origin.url(path) for path in paths]


def test_robots_txt_of_where_a_redirect_leads_forbids_it(crawl, origin, other, caplog):
    other.robots("User-agent: *\nDisallow: /\n")
    (url,) = redirected(origin, other)
    crawled = crawl(items_spider(item_of(url)))
    assert asked(origin) == ["/robots.txt", "/a.jpg"]
    assert asked(other) == ["/robots.txt"]
    reason = f"redirect to {other.url('/a.jpg')}: Forbidden by robots.txt"
    assert crawled.errors == [{"url": url, "reason": reason}]
    assert (crawled.status, crawled.store) == (1, {})
    assert not [record for record in caplog.records if record.levelname == "ERROR"]

    other.robots("User-agent: *\nDisallow:\n")  # not for good, as with a wanted URL
    assert crawl(items_spider(item_of(url))).status == 0


def test_robots_txt_of_where_redirects_lead_is_asked_once_and_lets_them_pass(crawl, origin, other):
    other.robots("User-agent: *\nDisallow: /private\n")
    urls = redirected(origin, other, [f"/{number}.jpg" for number in range(6)])
    crawled = crawl(items_spider(*map(item_of, urls)))
    assert (crawled.status, crawled.report.new) == (0, 6)
    assert other.requests[0].path == "/robots.txt"
    assert sorted(asked(other)) == sorted(["/robots.txt", *(f"/{number}.jpg" for number in range(6))])
    assert len(asked(origin)) == 7


def test_a_redirect_within_a_site_is_asked_for_too_at_each_step(crawl, origin, other):
    origin.robots("User-agent: *\nDisallow: /private/\n")
    origin.redirect("/a.jpg", "/private/a.jpg")
    origin.redirect("/b.jpg", other.url("/b.jpg"))
    other.redirect("/b.jpg", origin.url("/private/b.jpg"))
    for path in ("/private/a.jpg", "/private/b.jpg"):
        origin.add(path, BODY, content_type=JPEG)
    crawled = crawl(items_spider(item_of(origin.url("/a.jpg"), origin.url("/b.jpg"))))
    assert sorted(asked(origin)) == ["/a.jpg", "/b.jpg", "/robots.txt"]
    assert [error["reason"].rpartition(": ")[2] for error in crawled.errors] == ["Forbidden by robots.txt"] * 2


@pytest.mark.parametrize(
    ("named", "status_"),
    [
        (({"USER_AGENT": "archive/2"}, {}), 1),
        (({"USER_AGENT": "other/2"}, {}), 0),
        (({"USER_AGENT": "other/2"}, {"User-Agent": "archive/3"}), 1),
        (({"USER_AGENT": "archive/2"}, {"User-Agent": "other/3"}), 0),
        (({"USER_AGENT": "other/2", "ROBOTSTXT_USER_AGENT": "archive"}, {}), 1),
    ],
)
def test_a_redirect_is_asked_for_in_the_name_of_the_request(crawl, origin, other, named, status_):
    other.robots("User-agent: archive\nDisallow: /\n")
    (url,) = redirected(origin, other)
    settings, headers = named
    assert crawl(items_spider(item_of(url, headers=headers)), settings).status == status_


class Disobedient(MediaFilesPipeline):
    def get_media_requests(self, item, info):
        return [Request(url, meta={"dont_obey_robotstxt": True}) for url in item["file_urls"]]


@pytest.mark.parametrize(
    "settings", [{"ROBOTSTXT_OBEY": False}, {"ITEM_PIPELINES": {Disobedient: 1}}], ids=["setting", "meta"]
)
def test_a_redirect_is_not_asked_for_where_robots_txt_is_not_to_be_obeyed(crawl, origin, other, settings):
    other.robots("User-agent: *\nDisallow: /\n")
    (url,) = redirected(origin, other)
    assert crawl(items_spider(item_of(url)), settings).status == 0
    assert (asked(origin), asked(other)) == (["/a.jpg"], ["/a.jpg"])


def test_media_without_a_redirect_ask_for_nothing_more(crawl, origin, monkeypatch):
    monkeypatch.setattr(CrawlContext, "may_follow", lambda *_: pytest.fail("asked"))
    origin.add("/a.jpg", BODY, content_type=JPEG)
    assert crawl(items_spider(item_of(origin.url("/a.jpg")))).status == 0
    assert asked(origin) == ["/robots.txt", "/a.jpg"]


def test_a_redirect_whose_robots_txt_needs_the_place_of_the_transfer_gives_it_up_meanwhile(crawl, origin):
    """Two ports of one host: Scrapy has one slot for both."""
    urls = [origin.url(f"/{number}.jpg") for number in range(3)]
    with Origin() as port:
        port.robots("User-agent: *\nDisallow: /1.jpg\n")
        redirected(origin, port, [f"/{number}.jpg" for number in range(3)])
        crawled = crawl(items_spider(*map(item_of, urls)), ONE | {"MEDIACRAWL_CONCURRENT_TRANSFERS": 1})
        assert sorted(asked(port)) == ["/0.jpg", "/2.jpg", "/robots.txt"]
        assert max(origin.peak, port.peak) == 1
    assert (crawled.report.new, crawled.report.failed) == (2, 1)
    assert max(Counter(asked(origin)).values()) <= 2, "again only where its place was needed"


def test_who_waits_too_long_for_a_robots_txt_gives_up_the_place_and_comes_again(crawl, origin, other, monkeypatch):
    monkeypatch.setattr(context, "_ASKED_ENOUGH_S", 0.05)
    (url,) = redirected(origin, other)
    learning = threading.Event()
    learn = CrawlContext.learn_robots

    def learn_robots(self, target):
        learning.set()
        return learn(self, target)

    def late(_request):
        assert learning.wait(60)
        return Answer(200, [("Content-Type", "text/plain")], b"")

    monkeypatch.setattr(CrawlContext, "learn_robots", learn_robots)

    other.on("/robots.txt", late)
    assert crawl(items_spider(item_of(url))).status == 0
    assert asked(origin) == ["/robots.txt", "/a.jpg", "/a.jpg"]
    assert asked(other) == ["/robots.txt", "/a.jpg"]


def test_a_robots_txt_that_cannot_be_had_forbids_no_redirect(crawl, origin, other):
    (url,) = redirected(origin, other)
    assert crawl(items_spider(item_of(url))).status == 0
    assert other.requests_for("/robots.txt")[0].status == 404


def test_no_robots_txt_is_asked_for_at_a_private_address(crawl, origin, monkeypatch):
    def is_public(address):
        return address == "127.0.0.1"

    monkeypatch.setattr(addresses, "is_public", is_public)
    with Origin("127.0.0.2") as private:
        (url,) = redirected(origin, private)
        crawled = crawl(items_spider(item_of(url)), {"MEDIACRAWL_BLOCK_PRIVATE": True})
        assert asked(private) == []
    assert "127.0.0.2 is not a public address" in crawled.errors[0]["reason"]


def test_a_stop_ends_the_wait_for_a_robots_txt(origin, other, tmp_path):
    other.page("/robots.txt", "", delay_s=3600)
    (url,) = redirected(origin, other)
    (tmp_path / "urls.txt").write_text(url)
    words = ("crawl", "urllist", "-a", "file=urls.txt")
    with start(tmp_path, *words) as running:
        other.wait_for(lambda: other.requests_for("/robots.txt"))
        running.interrupt()
        done = running.wait()
    assert_plain(done)
    assert (done.status, done.store) == (3, {})
    assert done.seconds < 25
    assert asked(other) == ["/robots.txt"]

    other.robots("")
    assert run(tmp_path, *words).status == 0


def test_after_the_end_of_the_loop_a_redirect_is_an_interruption():
    loop = asyncio.new_event_loop()
    loop.close()
    ended = CrawlContext(Crawler(Spider, Settings()))
    ended._loop, ended._robots = loop, object()
    with pytest.raises(Interrupted):
        ended.may_follow(TransferRequest("key", "http://a/"), "http://b/", Cancel())


def test_pages_and_media_that_wait_for_one_robots_txt_all_obey_it(crawls, tmp_path, origin):
    """Scrapy 2.19 by itself tells only the first two of them what it says."""
    origin.add("/robots.txt", b"User-agent: *\nDisallow: /private/\n", content_type="text/plain")
    urls = [origin.add(f"/private/{n}.jpg", b"x", content_type="image/jpeg") for n in range(8)]

    class Pages(Spider):
        name = "pages"

        async def start(self):
            yield item_of(*urls)
            for number in range(8):
                yield Request(origin.url(f"/private/{number}.html"))

    crawled = crawls.crawl(tmp_path, Pages)
    assert [request.path for request in origin.requests] == ["/robots.txt"]
    assert crawled.report.failed == 8
