"""What a redirect takes along to another origin, for pages and media: no secret, no Referer that the policy forbids.

The host of a front over TLS and the origin behind it are one host with two ports and schemes; a proxy makes other
names of it.
"""

from __future__ import annotations

import pytest
from certificates import Authority, TlsFront
from crawling import basic_auth, item_of
from origin import Answer
from proxy_servers import HttpProxy
from scrapy import Request, Spider

from mediacrawl import Addon
from mediacrawl.pipelines import MediaFilesPipeline

JPEG = b"\xff\xd8\xff" + bytes(1000)
HTML = [("Content-Type", "text/html")]
SECRETS = {
    "X-Api-Key": "s3cret",
    "X-Auth-Token": "s3cret",
    "Authorization": "Bearer s3cret",
    "Cookie": "own=s3cret",
    "Api-Key": "s3cret",
    "X-Forwarded-User": "s3cret",
    "Proxy-Authorization": "Basic s3cret",
}
PLAIN = {"User-Agent": "me/1", "Accept": "text/x", "Accept-Language": "de"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def hosts(origin, authority, monkeypatch):
    """The origins `http://a.test`, `http://b.test` and `https://a`, all of the one server."""
    with HttpProxy() as proxy, TlsFront(authority.context("127.0.0.1"), origin.netloc) as front:
        monkeypatch.setenv("http_proxy", proxy.url())
        yield {
            "a": f"http://a.test:{origin.port}",
            "b": f"http://b.test:{origin.port}",
            "sub": f"http://sub.a.test:{origin.port}",
            "tls": f"https://{front.netloc}",
            "plain": f"http://{origin.netloc}",
        }


@pytest.fixture
def crawl(crawls, tmp_path, authority):
    def crawl(spider, settings=(), transport="requests"):
        chosen = {"ADDONS": {Addon: 500}, "ROBOTSTXT_OBEY": False, "MEDIACRAWL_VERIFY_TLS": str(authority.file)}
        return crawls.crawl(tmp_path, spider, chosen | {"MEDIACRAWL_TRANSPORT": transport} | dict(settings))

    return crawl


class OfItsMeta(MediaFilesPipeline):
    """Media with the headers and the meta that the item names."""

    def get_media_requests(self, item, info):
        return [Request(url, headers=item["headers"], meta=item.get("meta", {})) for url in item["file_urls"]]


def asked_for(url, *, headers=(), meta=(), cookies=None, page=True):
    """A spider that asks for a URL, as a page or as a file."""

    class Asks(Spider):
        name = "asks"
        media_offsite = True

        async def start(self):
            if page:
                yield Request(url, headers=dict(headers), meta=dict(meta), cookies=cookies)
            else:
                yield {"file_urls": [url], "headers": dict(headers), "meta": dict(meta)}

        def parse(self, response):
            pass

    return Asks


def sent(origin, path):
    """The headers of the only request for a path."""
    (request,) = origin.requests_for(path)
    return request.headers


def leads(origin, *urls, more=()):
    """Redirects from `/1` on to the URLs, the last of which is there."""
    for number, url in enumerate(urls, start=1):
        origin.on(f"/{number}", lambda _, url=url: Answer(302, [("Location", url), *more], b""))
    last = f"/{len(urls) + 1}"
    origin.on(last, lambda _: Answer(200, [("Content-Type", "image/jpeg")], JPEG))
    return last


@pytest.mark.parametrize("target", ["b", "sub", "tls"])
@pytest.mark.parametrize("way", ["page", "page, own cookies", "requests", "curl"])
def test_headers_of_a_request_stay_with_its_origin(crawl, origin, hosts, target, way):
    leads(origin, f"{hosts['a']}/2", f"{hosts[target]}/3", f"{hosts['b']}/4")
    is_page = way.startswith("page")
    meta = {"dont_merge_cookies": True} if "own" in way else {}
    spider = asked_for(f"{hosts['a']}/1", headers=SECRETS | PLAIN, meta=meta, page=is_page)
    crawled = crawl(spider, {"ITEM_PIPELINES": {OfItsMeta: 1}}, transport="requests" if is_page else way)
    assert crawled.report.failed == 0
    for path in ("/1", "/2"):
        here = sent(origin, path)
        assert (here["x-api-key"], here["authorization"]) == ("s3cret", "Bearer s3cret")
        assert "cookie" in here or way == "page"  # the middleware replaces it
    for path in ("/3", "/4"):
        there = sent(origin, path)
        assert "s3cret" not in str(there), there
        assert {name: there[name.lower()] for name in PLAIN} == PLAIN
    assert "s3cret" not in "".join(crawled.report.lines("again"))


@pytest.mark.parametrize("way", ["refresh", "meta"])
def test_a_refresh_takes_no_more_along_than_a_redirect(crawl, origin, hosts, way):
    url = f"{hosts['b']}/2"
    body = f'<meta http-equiv="refresh" content="0; url={url}">'.encode() if way == "meta" else b"<p>"
    fields = [*HTML, ("Refresh", f"0; url={url}")] if way == "refresh" else HTML
    origin.on("/1", lambda _: Answer(200, fields, body))
    origin.page("/2", "<p>")
    crawl(asked_for(f"{hosts['a']}/1", headers=SECRETS | PLAIN))
    assert "s3cret" not in str(sent(origin, "/2"))


def test_the_user_of_a_request_stays_with_its_origin(crawl, origin, hosts):
    leads(origin, f"{hosts['a']}/2", f"{hosts['b']}/3")
    crawl(asked_for(f"{hosts['a']}/1", meta={"http_user": "me", "http_pass": "s3cret"}))
    assert [sent(origin, path).get("authorization") for path in ("/1", "/2", "/3")] == [
        basic_auth("me", "s3cret"),
        basic_auth("me", "s3cret"),
        None,
    ]


def test_the_credentials_of_a_spiders_proxy_go_on_to_the_proxy(crawl, origin, hosts):
    leads(origin, f"{hosts['b']}/2")
    with HttpProxy("me", "s3cret") as proxy:
        crawl(asked_for(f"{hosts['a']}/1", meta={"proxy": proxy.url("me:s3cret")}))
        assert len(proxy.targets) == 2
    assert not any("s3cret" in str(request.headers) for request in origin.requests)
    assert len(origin.requests) == 2


@pytest.mark.parametrize("target", ["tls", "plain"])
def test_the_credentials_of_a_proxy_reach_no_origin_and_no_log(
    crawl, origin, hosts, authority, monkeypatch, caplog, target
):
    """Over a tunnel, and where a redirect leads to a host without a proxy."""
    origin.on("/1", lambda _: Answer(302, [("Location", f"{hosts['plain']}/2")], b""))
    origin.page("/2", f'<img src="{hosts[target]}/a.jpg">')
    origin.add("/a.jpg", JPEG, content_type="image/jpeg")
    with HttpProxy("me", "s3cret") as proxy, caplog.at_level("DEBUG"):
        monkeypatch.setenv("https_proxy", proxy.url("me:s3cret"))
        monkeypatch.delenv("http_proxy")

        class Pages(asked_for(f"{hosts['tls']}/1")):
            def parse(self, response):
                yield item_of(*response.css("img::attr(src)").getall())

        crawled = crawl(Pages, {"LOG_LEVEL": "DEBUG"})
        assert len(proxy.targets) == (2 if target == "tls" else 1)
    assert len(crawled.store) == 1
    mine = basic_auth("me", "s3cret")[6:]
    said = caplog.text + str(crawled.crawler.stats.get_stats()) + str(crawled.items)
    assert not [
        text for text in (said, *(str(one.headers) for one in origin.requests)) if "s3cret" in text or mine in text
    ]


def test_the_body_of_a_request_keeps_its_type(crawl, origin, hosts):
    origin.on("/1", lambda _: Answer(307, [("Location", f"{hosts['b']}/2")], b""))
    origin.page("/2", "<p>")

    class Posts(Spider):
        name = "posts"

        async def start(self):
            headers = {"Content-Type": "application/json", "X-Api-Key": "s3cret"}
            yield Request(f"{hosts['a']}/1", method="POST", body=b"{}", headers=headers)

        def parse(self, response):
            pass

    crawl(Posts)
    (there,) = origin.requests_for("/2")
    assert (there.method, there.body, there.headers["content-type"]) == ("POST", b"{}", "application/json")
    assert "x-api-key" not in there.headers


@pytest.mark.parametrize("way", ["page", "requests", "curl"])
@pytest.mark.parametrize(
    ("policy", "start", "target", "expected"),
    [
        ("scrapy-default", "tls", "a", None),
        ("scrapy-default", "a", "tls", "page"),
        ("same-origin", "a", "b", None),
        ("same-origin", "tls", "plain", None),
        ("strict-origin-when-cross-origin", "a", "b", "origin"),
        ("strict-origin-when-cross-origin", "tls", "b", None),
        ("unsafe-url", "tls", "b", "page"),
        ("no-referrer", "a", "b", None),
    ],
)
def test_the_referrer_policy_holds_behind_a_redirect(crawl, origin, hosts, way, policy, start, target, expected):
    """The page is of the origin that redirects; its links and pictures are sent its URL as far as the policy says."""
    leads(origin, f"{hosts[target]}/2")
    tag = "a href" if way == "page" else "img src"
    origin.page("/page", f'<{tag}="{hosts[start]}/1">link</a>')

    class Links(Spider):
        name = "links"
        media_offsite = True

        async def start(self):
            yield Request(f"{hosts[start]}/page")

        def parse(self, response):
            if way == "page":
                yield from response.follow_all(css="a", callback=self.read)
            else:
                yield item_of(*response.css("img::attr(src)").getall(), page=response.url)

        def read(self, response):
            pass

    crawl(Links, {"REFERRER_POLICY": policy}, transport="requests" if way == "page" else way)
    page = f"{hosts[start]}/page"
    assert sent(origin, "/1").get("referer") == (None if policy == "no-referrer" else page)
    wanted = {"page": page, "origin": f"{hosts[start]}/", None: None}
    assert sent(origin, "/2").get("referer") == wanted[expected]


@pytest.mark.parametrize("way", ["requests", "curl"])
def test_a_policy_of_a_media_request_counts_before_the_setting(crawl, origin, hosts, way):
    leads(origin, f"{hosts['b']}/2")
    page = f"{hosts['a']}/page"
    spider = asked_for(
        f"{hosts['a']}/1", headers={"Referer": page}, meta={"referrer_policy": "same-origin"}, page=False
    )
    crawl(spider, {"ITEM_PIPELINES": {OfItsMeta: 1}, "REFERRER_POLICY": "unsafe-url"}, transport=way)
    assert (sent(origin, "/1")["referer"], sent(origin, "/2").get("referer")) == (page, None)


def test_a_page_without_a_referer_has_none_behind_a_redirect(crawl, origin, hosts):
    leads(origin, f"{hosts['a']}/2", f"{hosts['b']}/3")
    origin.on("/1?ticket=s3cret", lambda _: Answer(302, [("Location", f"{hosts['a']}/2?ticket=s3cret")], b""))
    origin.on("/2?ticket=s3cret", lambda _: Answer(302, [("Location", f"{hosts['b']}/3")], b""))
    crawl(asked_for(f"{hosts['a']}/1?ticket=s3cret"))
    assert "referer" not in sent(origin, "/3")


@pytest.mark.parametrize("way", ["page", "requests", "curl"])
@pytest.mark.parametrize("field", ["no-referrer", "same-origin"])
def test_a_redirect_may_forbid_the_referer(crawl, origin, hosts, way, field):
    leads(origin, f"{hosts['b']}/2", more=[("Referrer-Policy", field)])
    headers = {"Referer": f"{hosts['a']}/page"}
    crawl(
        asked_for(f"{hosts['a']}/1", headers=headers, page=way == "page"),
        transport="curl" if way == "curl" else "requests",
        settings={"ITEM_PIPELINES": {OfItsMeta: 1}},
    )
    assert (sent(origin, "/1").get("referer"), sent(origin, "/2").get("referer")) == (headers["Referer"], None)


# --- cookies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["page", "requests", "curl"])
@pytest.mark.parametrize(
    ("line", "there", "here"),
    [
        ("c=1; Secure; Path=/", None, "c=1"),
        ("c=1; Secure; HttpOnly; SameSite=None; Path=/", None, "c=1"),
        ("__Secure-c=1; Path=/", None, None),
        ("__Host-c=1; Secure; Path=/", None, "__Host-c=1"),
        ("c=1; Path=/", "c=1", "c=1"),
        ("c=1; Path=/elsewhere", None, None),
    ],
)
def test_a_secure_cookie_of_a_redirect_goes_over_tls_only(crawl, origin, hosts, way, line, there, here):
    leads(origin, f"{hosts['plain']}/2", f"{hosts['tls']}/3", more=[("Set-Cookie", line)])
    origin.on("/2", lambda _: Answer(302, [("Location", f"{hosts['tls']}/3")], b""))
    crawl(
        asked_for(f"{hosts['tls']}/1", page=way == "page"),
        {"ITEM_PIPELINES": {OfItsMeta: 1}},
        transport="curl" if way == "curl" else "requests",
    )
    assert [sent(origin, path).get("cookie") for path in ("/2", "/3")] == [there, here]


@pytest.mark.parametrize("given", [{"__Host-c": "1"}, [{"name": "__Secure-c", "value": "1", "secure": True}]])
def test_a_spider_may_give_a_cookie_of_any_name(crawl, origin, hosts, given):
    leads(origin, f"{hosts['tls']}/2", f"{hosts['plain']}/3")
    crawl(asked_for(f"{hosts['tls']}/1", cookies=given))
    name = "__Host-c=1" if isinstance(given, dict) else "__Secure-c=1"
    assert [sent(origin, path).get("cookie") for path in ("/1", "/2", "/3")] == [name, name, None]


@pytest.mark.parametrize("way", ["page", "requests", "curl"])
@pytest.mark.parametrize(
    ("line", "sub", "back"),
    [
        ("c=1; Path=/", None, "c=1"),
        ("c=1; Domain=a.test; Path=/", "c=1", "c=1"),
        ("c=1; Domain=b.test; Path=/", None, None),
        ("c=1; Domain=test; Path=/", None, None),
    ],
)
def test_a_cookie_without_a_domain_is_for_its_host_only(crawl, origin, hosts, way, line, sub, back):
    leads(origin, f"{hosts['sub']}/2", f"{hosts['b']}/3", f"{hosts['a']}/4")
    origin.on("/1", lambda _: Answer(302, [("Location", f"{hosts['sub']}/2"), ("Set-Cookie", line)], b""))
    crawl(
        asked_for(f"{hosts['a']}/1", page=way == "page"),
        {"ITEM_PIPELINES": {OfItsMeta: 1}},
        transport="curl" if way == "curl" else "requests",
    )
    assert [sent(origin, path).get("cookie") for path in ("/2", "/3", "/4")] == [sub, None, back]
