"""Logins: what a crawl says where a login is missing, and the login of a project's own spider."""

from __future__ import annotations

import asyncio

import pytest
from origin import Answer
from scrapy import FormRequest, Request, signals

from mediacrawl import Addon
from mediacrawl.extract.links import Page
from mediacrawl.extract.login import asks_for_login
from mediacrawl.spiders import MediaSpider
from mediacrawl.spiders.site import SiteSpider

QUICK = {"ADDONS": {Addon: 500}, "RETRY_TIMES": 0, "MEDIACRAWL_RETRY_TIMES": 0}
PNG = b"\x89PNG\r\n\x1a\n"
FIELD = '<form><input name="user"><input type="PassWord"></form>'


@pytest.mark.parametrize(("wanted", "came", "html", "expected"), [
    ("/album", "/login", FIELD, True),
    ("/album", "/users/sign_in?from=x", FIELD, True),
    ("/album", "/wp-login.php?redirect_to=x", FIELD, True),
    ("/album", "/konto?next=%2Falbum", FIELD, True),
    ("/a b", "/konto?next=/a%2520b", FIELD, False),
    ("/album", "/de/album", FIELD, False),  # a field at the top of each page
    ("/", "/start?from=/", FIELD, False),
    ("/album", "/login", "<form><input name=password></form>", False),
    ("/login", "/login/", FIELD, False),
    ("/album", "/album/", "<p>", False),
])  # fmt: skip
def test_a_login_page_has_a_password_and_its_name_or_that_of_the_wanted_page(wanted, came, html, expected):
    page = Page.from_text(html, f"http://h{came}")
    assert asks_for_login(page, f"http://h{wanted}") is expected


def build(origin):
    for name in ("a", "b", "logo"):
        origin.add(f"/{name}.png", PNG + name.encode(), content_type="image/png")
    origin.page("/", '<img src="/a.png"><h2><a href="/members">1</a></h2><a rel="next" href="/2">next</a>')
    origin.page("/2", '<img src="/b.png">')
    origin.page("/login", f'<html><img src="/logo.png">{FIELD}<a rel="next" href="/never">next</a>')


def test_a_page_that_leads_to_a_login_could_not_be_read(crawls, origin, tmp_path):
    build(origin)
    for path in ("/members", "/2"):
        origin.redirect(path, origin.url("/login"))
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), follow="//h2/a")
    assert crawled.status == 1
    lines = crawled.report.lines("again")
    assert lines[0].endswith("; pages read: 1")
    assert lines[1] == "pages that could not be read: 2"
    (first, second) = [line for line in lines if origin.url("/") in line]
    assert first in {
        f"  {origin.url('/login')}: page: a login page, to which {origin.url(path)} was redirected"
        for path in ("/members", "/2")
    }
    assert second.endswith(": page: redirected to a page that could not be read")
    assert not origin.requests_for("/logo.png")
    assert not origin.requests_for("/never")


class Unhurried(SiteSpider):
    """Reads a page only after a redirect to it was filtered."""

    def parse(self, response):
        self.filtered = asyncio.Event()
        self.crawler.signals.connect(self.request_dropped, signals.request_dropped)
        for number in "12":
            yield response.follow(f"/{number}", self.read_later)

    def request_dropped(self):
        self.filtered.set()

    async def read_later(self, response):
        await self.filtered.wait()
        for thing in super().parse_detail(response):
            yield thing


def test_a_redirect_to_a_login_page_that_is_being_read_could_not_be_read(crawls, origin, tmp_path):
    build(origin)
    for path in ("/1", "/2"):
        origin.redirect(path, origin.url("/login"))
    crawled = crawls.crawl(tmp_path, Unhurried, QUICK, url=origin.url("/"))
    assert "pages that could not be read: 2" in crawled.report.lines("again")


class Members(MediaSpider):
    """A spider of a project, without start URLs."""

    name = "members"

    def __init__(self, *args, home="", **arguments):
        super().__init__(*args, **arguments)
        self.home = home

    async def start(self):
        yield Request(f"{self.home}/login", self.log_in)

    def log_in(self, _response):
        yield FormRequest(f"{self.home}/login?post", formdata={"password": "secret"}, callback=self.parse)


def test_a_spider_that_logs_in_reads_the_page_to_which_it_is_redirected(crawls, origin, tmp_path):
    build(origin)
    origin.on("/login?post", lambda _request: Answer(303, [("Location", "/members")], b""))
    origin.page("/members", '<img src="/a.png"><a rel="next" href="/2">next</a>')
    crawled = crawls.crawl(tmp_path, Members, QUICK, home=origin.url(""))
    assert crawled.status == 0
    assert [len(item["files"]) for item in crawled.items] == [1, 1]


def test_media_that_lead_to_a_login_say_so(crawls, origin, tmp_path):
    build(origin)
    origin.redirect("/a.png", origin.url("/login"))
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), next="")
    (error,) = crawled.items[0]["file_errors"]
    assert error["reason"].startswith(f"redirected to {origin.url('/login')}; an HTML page came (text/html)")


def test_media_that_robots_txt_forbids_have_an_advice_that_helps(crawls, origin, tmp_path):
    build(origin)
    origin.robots("User-agent: *\nDisallow: /a.png\n")
    settings = QUICK | {"ROBOTSTXT_OBEY": True}
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/"), next="")
    assert crawled.status == 1
    last = crawled.report.lines("again")[-1]
    assert last == "to request what robots.txt forbids: again -s ROBOTSTXT_OBEY=False"


def test_an_xpath_that_selects_nothing_on_any_page_is_told(crawls, origin, tmp_path):
    build(origin)
    one = crawls.crawl(tmp_path / "1", SiteSpider, QUICK, url=origin.url("/"), follow="//h3/a", next="//a[@rel]")
    two = crawls.crawl(tmp_path / "2", SiteSpider, QUICK, url=origin.url("/"), next="//a[@class]")
    told = ["follow: the XPath has selected nothing on any page", "next: the XPath has selected nothing on any page"]
    assert [[line for line in crawled.report.lines("again") if line in told] for crawled in (one, two)] == [
        told[:1],
        told[1:],
    ]
