"""Hyperlinks with the name of a media file that lead to pages: wikis, code hosts, and login walls."""

from __future__ import annotations

import pytest
from crawling import run, sha256, start
from origin import Origin, html_instead, stall_after

from mediacrawl.pipelines import MediaFilesPipeline
from mediacrawl.spiders.retry import RetrySpider
from mediacrawl.spiders.site import SiteSpider

JPEG = "image/jpeg"
LOGIN = '<html><body><form>Log in</form><img src="/logo.jpg"></body></html>'


def picture(origin, path):
    """A picture and its digest."""
    body = b"\xff\xd8\xff" + path.encode() * 100
    origin.add(path, body, content_type=JPEG)
    return sha256(body)


def asked(origin, path):
    return sum(request.path == path for request in origin.requests)


@pytest.fixture
def other():
    with Origin("localhost") as running:
        yield running


class Own(MediaFilesPipeline):
    """A project's pipeline, with which each file goes its own way."""

    def file_path(self, request, response=None, info=None, *, item=None):
        return super().file_path(request, response, info, item=item)


def build_wiki(origin, other):
    """A site with links of every kind. Return the digests that are to come."""
    for path, html in {
        "/": """<img src="/thumb.jpg"><a href="/wiki/File:A.jpg">a</a><a href="/blob/b.png">b</a>
            <a href="/real.jpg">real</a><a href="/gone.jpg">gone</a><a href="/moved.jpg">moved</a>
            <a href="/both.jpg"><img src="/both.jpg"></a><img src="/shown.jpg">
            <a href="/text.jpg">text</a><a href="{other}/elsewhere.jpg">elsewhere</a>
            <a rel="next" href="/2">next</a>""",
        "/2": '<img src="/thumb.jpg"><a href="/wiki/File:A.jpg">a</a><a rel="next" href="/3">next</a>',
        "/3": '<p>nothing is shown</p><a href="/wiki/File:Only.jpg">only</a>',
        "/wiki/File:A.jpg": """<img src="/images/a/A.jpg"><a href="/wiki/File:A.jpg">this page</a>
            <a href="/wiki/File:Next.jpg">related</a>""",
        "/wiki/File:Next.jpg": '<img src="/images/never.jpg">',
        "/wiki/File:Only.jpg": "<html>a page</html>",
        "/blob/b.png": '<a href="/raw/b.png">raw</a>',
        "/both.jpg": "<html>both</html>",
        "/shown.jpg": "<html>shown</html>",
        "/login": LOGIN,
    }.items():
        origin.page(path, html.replace("{other}", other.url("")))
    origin.redirect("/moved.jpg", origin.url("/login"))
    origin.add("/text.jpg", b"some text and no picture", content_type="text/plain")
    other.page("/elsewhere.jpg", "<html>elsewhere</html>")
    return {picture(origin, path) for path in ("/thumb.jpg", "/real.jpg", "/images/a/A.jpg", "/raw/b.png")}


@pytest.mark.parametrize("pipeline", [None, Own], ids=["stock", "own"])
def test_a_hyperlink_beside_media_may_lead_to_a_page_which_is_read_once(crawls, origin, other, tmp_path, pipeline):
    digests = build_wiki(origin, other)
    settings = {"CONCURRENT_REQUESTS": 1} | ({"ITEM_PIPELINES": {pipeline: 1}} if pipeline else {})

    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/"))

    assert set(crawled.store.values()) == digests
    failed = ["/both.jpg", "/gone.jpg", "/moved.jpg", "/shown.jpg", "/text.jpg", "/wiki/File:Only.jpg"]
    assert sorted(error["url"] for error in crawled.errors) == [origin.url(path) for path in failed]
    pages = {item["page"]: item["file_pages"] for item in crawled.items}
    a, b = origin.url("/wiki/File:A.jpg"), origin.url("/blob/b.png")
    assert pages == {
        origin.url("/"): [a, b, other.url("/elsewhere.jpg")],
        origin.url("/2"): [a],
        origin.url("/3"): [],
        a: [a, origin.url("/wiki/File:Next.jpg")],
        b: [],
    }
    # Once as a file, once as a page; the page about another file only as a file.
    assert [asked(origin, path) for path in ("/wiki/File:A.jpg", "/blob/b.png", "/wiki/File:Next.jpg")] == [2, 2, 1]
    assert asked(other, "/elsewhere.jpg") == 1
    report = crawled.report
    assert (crawled.status, report.failed, report.site.pages, report.unsettled) == (1, len(failed), 4, 0)
    assert "links to media that lead to pages, which are no files: 4" in report.lines("again")
    assert crawled.stat("file_status_count/page") == 4


def test_a_page_is_in_the_store_neither_wanted_nor_failed(crawls, origin, tmp_path):
    """So `retry` has nothing to do, and the next crawl finds the page again."""
    origin.page("/", '<img src="/thumb.jpg"><a href="/wiki/File:A.jpg">a</a>')
    origin.page("/wiki/File:A.jpg", '<img src="/images/A.jpg">')
    digests = {picture(origin, path) for path in ("/thumb.jpg", "/images/A.jpg")}
    for _ in range(2):
        crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))
        assert (crawled.status, set(crawled.store.values()), crawled.report.site.pages) == (0, digests, 1)
        origin.forget()
        retried = crawls.crawl(tmp_path, RetrySpider, permanent="1")
        assert (retried.status, retried.report.wanted, origin.requests) == (0, 0, [])


def test_a_failure_of_an_earlier_run_is_none_any_more(crawls, origin, tmp_path):
    """As one that a version has noted that did not know such pages."""
    origin.page("/", '<a href="/wiki/File:A.jpg">a</a>')
    origin.page("/wiki/File:A.jpg", '<img src="/images/A.jpg">')
    picture(origin, "/images/A.jpg")
    picture(origin, "/thumb.jpg")
    assert crawls.crawl(tmp_path, SiteSpider, url=origin.url("/")).status == 1
    origin.page("/", '<img src="/thumb.jpg"><a href="/wiki/File:A.jpg">a</a>')
    assert crawls.crawl(tmp_path, SiteSpider, url=origin.url("/")).status == 0
    assert crawls.crawl(tmp_path, RetrySpider).report.wanted == 0


def test_a_file_that_was_there_once_is_no_page(crawls, origin, tmp_path):
    origin.page("/", '<img src="/thumb.jpg"><a href="/a.jpg">a</a>')
    digests = {picture(origin, "/thumb.jpg"), picture(origin, "/a.jpg")}
    crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))
    origin.page("/a.jpg", LOGIN)
    crawled = crawls.crawl(tmp_path, SiteSpider, {"FILES_EXPIRES": 0}, url=origin.url("/"))
    assert (crawled.status, crawled.report.failed, crawled.report.site.pages) == (1, 1, 0)
    assert set(crawled.store.values()) == digests


def test_a_login_wall_is_a_failure_until_the_user_has_logged_in(crawls, origin, other, tmp_path):
    """A page for each link, or for each link to another host, and none of them shows the file."""
    origin.page(
        "/",
        f'<img src="/thumb.jpg"><a href="/full/1.jpg">1</a><a href="/full/2.jpg">2</a>'
        f'<a href="{other.url("/3.jpg")}">3</a>',
    )
    picture(origin, "/thumb.jpg")
    picture(origin, "/logo.jpg")
    full = {picture(origin, "/full/1.jpg"), picture(origin, "/full/2.jpg"), picture(other, "/3.jpg")}
    for path in ("/full/1.jpg", "/full/2.jpg"):
        origin.fault(path, html_instead(times=2))
    other.fault("/3.jpg", html_instead())

    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))

    assert (crawled.status, crawled.errors) == (1, [])
    lines = crawled.report.lines("again")
    (line,) = [line for line in lines if line.startswith("links to media, none of which leads to a file: 3; ")]
    assert "perhaps a login page, as for " in line
    assert "try the failed ones again with: again" in lines
    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))
    assert crawled.status == 0
    assert full < set(crawled.store.values())


@pytest.mark.parametrize("asked_before", [1, 2], ids=["as a file", "as a page"])
def test_a_kill_loses_no_page_that_a_hyperlink_leads_to(origin, tmp_path, asked_before):
    """Killed while the link is asked for the first time, and while the page is."""
    origin.page("/", '<img src="/thumb.jpg"><a href="/wiki/File:A.jpg">a</a>')
    origin.page("/wiki/File:A.jpg", '<img src="/images/A.jpg">')
    digests = {picture(origin, path) for path in ("/thumb.jpg", "/images/A.jpg")}
    words = ("crawl", "site", "-a", f"url={origin.url('/')}")
    settings = {"JOBDIR": "job", "ROBOTSTXT_OBEY": False}
    origin.fault("/wiki/File:A.jpg", stall_after(5).after(asked_before - 1))
    with start(tmp_path, *words, settings=settings) as running:
        origin.wait_for(lambda: asked(origin, "/wiki/File:A.jpg") == asked_before)
        running.kill()
        running.wait()
    origin.release()
    done = run(tmp_path, *words, settings=settings)
    assert done.status == 0, done
    assert set(done.store.values()) == digests


def test_a_page_about_a_file_leads_to_no_others_where_a_project_has_items_of_its_own(crawls, origin, tmp_path):
    class Own(SiteSpider):
        name = "own"

        def item(self, response, urls):
            return {"file_urls": urls}

    origin.page("/", '<img src="/thumb.jpg"><a href="/wiki/File:1.jpg">1</a>')
    for path in ("/thumb.jpg", "/images/1.jpg", "/images/2.jpg"):
        picture(origin, path)
    for number in (1, 2):
        html = f'<img src="/images/{number}.jpg"><a href="/wiki/File:{number + 1}.jpg">next</a>'
        origin.page(f"/wiki/File:{number}.jpg", html)
    crawled = crawls.crawl(tmp_path, Own, url=origin.url("/"), next="")
    assert [error["url"] for error in crawled.errors] == [origin.url("/wiki/File:2.jpg")]
    assert asked(origin, "/wiki/File:2.jpg") == 1


def test_credentials_of_a_hyperlink_are_in_no_item(crawls, origin, tmp_path):
    secret = origin.url("/wiki/File:A.jpg").replace("://", "://me:s3cret@")
    origin.page("/", f'<img src="/thumb.jpg"><a href="{secret}">a</a>')
    origin.page("/wiki/File:A.jpg", '<img src="/images/A.jpg">')
    digests = {picture(origin, path) for path in ("/thumb.jpg", "/images/A.jpg")}
    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))
    assert (crawled.status, set(crawled.store.values())) == (0, digests)
    assert crawled.items[0]["file_pages"] == [origin.url("/wiki/File:A.jpg")]
    assert "s3cret" not in str(crawled.items)


@pytest.mark.parametrize(("html", "status"), [
    ('<img src="/cache/{n}xl.jpg">', 0),  # as a gallery names what it shows
    ('<img src="/logo.jpg">', 1),
    ('<img src="/captcha?{n}"><input type="password">', 1),
    ('<img src="/cache/{n}xl.jpg"><input type="password">', 1),
])  # fmt: skip
def test_pages_that_each_show_a_picture_of_their_own_are_no_login_wall(crawls, origin, tmp_path, html, status):
    picture(origin, "/thumb.jpg")
    picture(origin, "/logo.jpg")
    links = "".join(f'<a href="/view/{n}.jpg">{n}</a>' for n in range(3))
    origin.page("/", f'<img src="/thumb.jpg">{links}')
    for n in range(3):
        picture(origin, f"/cache/{n}xl.jpg")
        picture(origin, f"/captcha?{n}")
        origin.page(f"/view/{n}.jpg", f"<html>{html.format(n=n)}")
    assert crawls.crawl(tmp_path, SiteSpider, url=origin.url("/")).status == status
