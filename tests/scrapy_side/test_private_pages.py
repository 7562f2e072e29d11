"""`MEDIACRAWL_BLOCK_PRIVATE` for pages: no connection to an address that is not public, whatever leads there."""

from __future__ import annotations

from typing import ClassVar

import pytest
from certificates import Authority, TlsFront
from crawling import item_of, items_spider
from origin import Answer, Origin
from private_addresses import NAMED, Listener, only, rebinding
from proxy_servers import HttpProxy, SocksProxy
from scrapy import Request, Spider
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from twisted.internet._resolver import GAIResolver

from mediacrawl import Addon
from mediacrawl.spiders.site import SiteSpider
from mediacrawl.transport import addresses

BLOCK = {
    "ADDONS": {Addon: 500},
    "MEDIACRAWL_BLOCK_PRIVATE": True,
    "MEDIACRAWL_RETRY_TIMES": 0,
    "RETRY_TIMES": 2,
    "CONCURRENT_REQUESTS": 64,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 64,
}
HTML = "text/html"
JPEG = b"\xff\xd8\xff" + bytes(1000)
REFUSED = "127.0.0.2 is not a public address, and MEDIACRAWL_BLOCK_PRIVATE is on"


@pytest.fixture(autouse=True)
def forget():
    addresses._addresses_of.cache_clear()


@pytest.fixture
def crawl(crawls, tmp_path):
    def crawl(spider=SiteSpider, settings=None, **arguments):
        return crawls.crawl(tmp_path, spider, BLOCK | (settings or {}), **arguments)

    return crawl


@pytest.fixture
def public(monkeypatch, origin):
    """The origin has a public address; no other address is public."""
    monkeypatch.setattr(addresses, "is_public", only("127.0.0.1"))
    return origin


@pytest.fixture
def private():
    with Origin("127.0.0.2") as running:
        for path in ("/", "/robots.txt", "/next"):
            running.page(path, "<p>secret")
        running.add("/a.jpg", JPEG, content_type="image/jpeg")
        yield running


def pages(*urls, proxy=None):
    """A spider that asks for these pages, and keeps why each did not come."""

    class Pages(Spider):
        name = "pages"
        reasons: ClassVar[dict[str, object]] = {}

        async def start(self):
            for url in urls:
                meta = {"asked": url, "verbatim_url": True, **({"proxy": proxy} if proxy else {})}
                yield Request(url, meta=meta, errback=self.failed, dont_filter=True)

        def parse(self, response):
            self.reasons[response.meta["asked"]] = response.status

        def failed(self, failure):
            self.reasons[failure.request.meta["asked"]] = str(failure.value)

    Pages.reasons = {}
    return Pages


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("robots", [False, True])
def test_no_form_of_a_private_address_is_connected_to(crawl, scheme, robots):
    with Listener() as listener:
        urls = [f"{scheme}://{host}:{listener.port}/{number}" for number, host in enumerate(NAMED)]
        spider = pages(*urls)
        crawled = crawl(spider, {"ROBOTSTXT_OBEY": robots})
        assert listener.connections == 0
    assert sorted(spider.reasons) == sorted(urls)
    assert not [reason for reason in spider.reasons.values() if isinstance(reason, int)]
    assert "127.0.0.1 is not a public address" in spider.reasons[urls[0]]
    assert crawled.report.pages_failed == len(urls)


def test_a_page_that_is_refused_is_one_failed_page_and_one_line(crawl, public, private):
    crawled = crawl(url=private.url("/"))
    assert (crawled.status, private.connections, crawled.stat("retry/count")) == (1, 0, None)
    lines = crawled.report.lines("again")
    assert [line for line in lines if REFUSED in line] == [f"  {private.url('/')}: page: {REFUSED}"]
    assert "pages that could not be read: 1" in lines


WAYS = {
    "redirect": lambda url: Answer(302, [("Location", url)], b""),
    "meta refresh": lambda url: page(f'<meta http-equiv="refresh" content="0;url={url}">'),
    "refresh header": lambda url: Answer(200, [("Content-Type", HTML), ("Refresh", f"0; url={url}")], b"<p>"),
    "link": lambda url: page(f'<a href="{url}">more</a>'),
}


class Anywhere(Spider):
    name = "anywhere"

    def parse(self, response):
        yield from response.follow_all(css="a")


def page(text):
    return Answer(200, [("Content-Type", HTML)], text.encode())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("robots", [False, True])
def test_nothing_leads_from_a_public_page_to_a_private_one(crawl, public, private, way, robots):
    public.on("/", lambda _: WAYS[way](private.url("/next")))
    crawled = crawl(Anywhere, {"ROBOTSTXT_OBEY": robots}, start_urls=[public.url("/")])
    assert (crawled.status, private.connections) == (1, 0)
    assert REFUSED in "\n".join(crawled.report.lines("again"))


def test_a_robots_txt_that_is_redirected_to_a_private_address_is_none(crawl, public, private):
    public.redirect("/robots.txt", private.url("/robots.txt"))
    public.page("/", '<img src="/a.jpg">')
    public.add("/a.jpg", JPEG, content_type="image/jpeg")
    crawled = crawl(url=public.url("/"))
    assert (crawled.status, len(crawled.store), private.connections) == (0, 1, 0)


def test_media_of_a_private_address_and_its_robots_txt_are_not_asked_for(crawl, public, private):
    public.redirect("/r.jpg", private.url("/a.jpg"))
    public.page("/", f'<img src="/r.jpg"><img src="{private.url("/a.jpg")}">')
    crawled = crawl(url=public.url("/"))
    assert (crawled.status, crawled.store, private.connections) == (1, {}, 0)
    assert [REFUSED in error["reason"] for error in crawled.errors] == [True, True]


def test_pages_over_tls_are_refused_before_the_handshake(crawl, tmp_path):
    with Listener() as listener:
        crawled = crawl(url=f"https://127.0.0.1:{listener.port}/")
        assert (crawled.status, listener.connections) == (1, 0)


@pytest.mark.parametrize("is_public", [False, True])
def test_http_2_is_the_same(crawl, origin, tmp_path, monkeypatch, is_public):
    pytest.importorskip("h2")
    authority = Authority(tmp_path)
    context = authority.context("127.0.0.1")
    settings = {
        "DOWNLOAD_HANDLERS": {"https": "scrapy.core.downloader.handlers.http2.H2DownloadHandler"},
        "MEDIACRAWL_VERIFY_TLS": str(authority.file),
        "ROBOTSTXT_OBEY": False,
        "DOWNLOAD_TIMEOUT": 600,  # what Scrapy's pool by itself waits for
    }
    if is_public:  # it is connected to; that it speaks no HTTP/2 is another matter
        monkeypatch.setattr(addresses, "is_public", only("127.0.0.1"))
    with TlsFront(context, origin.netloc) as front:
        urls = [f"https://{front.netloc}/{number}" for number in range(3)]
        spider = pages(*urls)
        crawl(spider, settings | {"RETRY_ENABLED": False})
        assert len(spider.reasons) == 3
        assert bool(front._sockets) == is_public
        assert all(("not a public address" in str(reason)) != is_public for reason in spider.reasons.values())


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5h"])
@pytest.mark.parametrize("of_spider", [False, True])
def test_a_proxy_is_asked_for_no_private_page(crawl, monkeypatch, scheme, kind, of_spider):
    with (HttpProxy if kind == "http" else SocksProxy)() as proxy:
        if not of_spider:
            monkeypatch.setenv("all_proxy", proxy.url(scheme=kind))
        urls = [f"{scheme}://{host}:9/{number}" for number, host in enumerate(NAMED)]
        spider = pages(*urls, proxy=proxy.url(scheme=kind) if of_spider else None)
        crawled = crawl(spider, {"ROBOTSTXT_OBEY": False})
        assert (proxy.connections, crawled.report.pages_failed) == (0, len(urls))
    assert len([reason for reason in spider.reasons.values() if "address" in str(reason)]) > len(urls) / 2


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_proxy_may_have_a_private_address_and_know_other_names(crawl, origin, monkeypatch, kind):
    origin.page("/", '<img src="/a.jpg">')
    origin.add("/a.jpg", JPEG, content_type="image/jpeg")
    with (HttpProxy if kind == "http" else SocksProxy)() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        crawled = crawl(url=f"http://far.invalid:{origin.port}/")
    assert (crawled.status, len(crawled.store)) == (0, 1), crawled.report.lines("again")


def test_a_name_that_changes_its_address_is_refused_when_it_does(crawls, crawl, public):
    """DNS rebinding: each connection is checked, whatever an earlier answer of the name server was."""
    from twisted.internet import reactor

    async def install(resolver):
        return reactor.installNameResolver(resolver)

    turns = rebinding("rebind.test", "127.0.0.1", "127.0.0.2")
    before = crawls.do(install(GAIResolver(reactor, getaddrinfo=turns)))
    with Origin("127.0.0.2", public.port) as inside:
        for number in range(4):
            page = Answer(200, [("Content-Type", HTML), ("Connection", "close")], b"<p>")
            public.on(f"/{number}", lambda _, page=page: page)
        spider = pages(*(f"http://rebind.test:{public.port}/{number}" for number in range(4)))
        try:
            crawl(spider, {"ROBOTSTXT_OBEY": False, "CONCURRENT_REQUESTS_PER_DOMAIN": 1})
        finally:
            crawls.do(install(before))
        assert inside.connections == 0
    came = sorted(str(reason)[:35] for reason in spider.reasons.values())
    assert came == ["127.0.0.2 is not a public address, "] * 2 + ["200"] * 2


class Own:
    lazy = False

    def __init__(self, crawler):
        self.inner = HTTP11DownloadHandler(crawler)

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    async def download_request(self, request):
        return await self.inner.download_request(request)

    async def close(self):
        await self.inner.close()


class Derived(HTTP11DownloadHandler):
    pass


@pytest.mark.parametrize(("kind", "reason"), [(Own, "download handler Own"), (Derived, "not a public address")])
def test_a_handler_that_cannot_be_checked_brings_no_page(crawl, origin, kind, reason):
    spider = pages(origin.url("/"), "data:,text")
    crawl(spider, {"DOWNLOAD_HANDLERS": {"http": kind}, "ROBOTSTXT_OBEY": False})
    assert reason in str(spider.reasons[origin.url("/")])
    assert spider.reasons["data:,text"] == 200
    assert origin.connections == 0


@pytest.mark.parametrize(("kind", "targets"), [(Own, 0), (Derived, 1)])
def test_a_handler_that_cannot_be_checked_asks_no_proxy(crawl, origin, kind, targets):
    """It might not use the proxy."""
    with HttpProxy() as proxy:
        spider = pages(f"http://far.invalid:{origin.port}/", proxy=proxy.url())
        crawl(spider, {"DOWNLOAD_HANDLERS": {"http": kind}, "ROBOTSTXT_OBEY": False})
        assert len(proxy.targets) == targets


def test_a_derived_handler_goes_through_a_tunnel(crawl, origin, tmp_path):
    authority = Authority(tmp_path)
    origin.page("/", "<p>")
    with HttpProxy() as proxy, TlsFront(authority.context("far.invalid"), origin.netloc) as front:
        spider = pages(f"https://far.invalid:{front.port}/", proxy=proxy.url())
        settings = {"DOWNLOAD_HANDLERS": {"https": Derived}, "MEDIACRAWL_VERIFY_TLS": str(authority.file)}
        crawl(spider, settings | {"ROBOTSTXT_OBEY": False})
        assert (list(spider.reasons.values()), len(proxy.targets)) == ([200], 1)


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:9"])
def test_other_schemes_with_connections_are_refused(crawl, origin, proxy):
    spider = pages(f"ftp://{'far.invalid' if proxy else origin.netloc}/a", proxy=proxy)
    crawl(spider, {"ROBOTSTXT_OBEY": False})
    assert "addresses that are not checked" in str(next(iter(spider.reasons.values())))
    assert origin.connections == 0


def test_without_the_setting_a_private_page_is_read(crawl, origin):
    origin.page("/", '<img src="/a.jpg">')
    origin.add("/a.jpg", JPEG, content_type="image/jpeg")
    crawled = crawl(settings={"MEDIACRAWL_BLOCK_PRIVATE": False}, url=origin.url("/"))
    assert (crawled.status, len(crawled.store)) == (0, 1)


def test_an_item_without_a_page_is_refused_likewise(crawls, tmp_path, origin):
    crawled = crawls.crawl(tmp_path, items_spider(item_of(origin.url("/a.jpg"))), BLOCK)
    assert (crawled.status, origin.connections) == (1, 0)
