"""The user's network in every front: proxies, authorities and `.netrc`, of the environment, for pages and media."""

from __future__ import annotations

import gc
import sys

import pytest
from certificates import Authority, TlsFront
from crawling import Done, basic_auth, run
from origin import dead_port, status
from proxy_servers import HttpProxy, RealProxy, SocksProxy
from scrapy import Request, Spider

from mediacrawl import Addon, __main__
from mediacrawl.archive import Archive
from mediacrawl.ledger.base import State
from mediacrawl.scheduler import FrontierScheduler
from mediacrawl.spiders.site import SiteSpider
from mediacrawl.store.local import LocalStore

JPEG = b"\xff\xd8\xff\xe0" + bytes(2000)
QUICK = {"MEDIACRAWL_RETRY_TIMES": 0, "RETRY_TIMES": 0, "ROBOTSTXT_OBEY": False}
FRONTS = ["get", "site"]
NETWORK = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")


@pytest.fixture(autouse=True)
def own_network(monkeypatch, tmp_path):
    """Nothing of this machine's network but what a test sets."""
    for name in NETWORK:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def site(origin, authority):
    """A page with a picture, by scheme."""
    origin.add("/", b'<html><body><a href="/a.jpg"><img src="/a.jpg"></a></body></html>', content_type="text/html")
    origin.add("/a.jpg", JPEG, content_type="image/jpeg")
    with TlsFront(authority.context("127.0.0.1"), origin.netloc) as front:
        yield {"http": origin.url("").rstrip("/"), "https": f"https://{front.netloc}"}


class Ran:
    """What came of a run: its exit status, what a person saw, and the store."""

    def __init__(self, status, err, folder):
        self.status, self.err, self.folder = status, err, folder

    def __str__(self):
        return f"status {self.status}\n{self.err}"

    @property
    def has_picture(self):
        return any(path.read_bytes() == JPEG for path in (self.folder / "store").rglob("*.jpg"))

    @property
    def permanent(self):
        archive = Archive.open(LocalStore(self.folder / "store"))
        try:
            return [entry for entry in archive.ledger.entries(State.FAILED) if entry.permanent]
        finally:
            archive.close()


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """`mediacrawl WORDS…` in an empty folder."""

    def command(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mediacrawl", words[0], "-s", "FILES_STORE=store", *words[1:]])
        with pytest.raises(SystemExit) as caught:
            __main__.main()
        out, err = capsys.readouterr()
        return Done(caught.value.code or 0, out, err, tmp_path, 0)

    yield command
    gc.unfreeze()


@pytest.fixture
def fetch(command, crawls, tmp_path, monkeypatch, caplog):
    """Fetches the picture with `get`, or crawls its page, with these variables of the environment."""

    def fetch(front, url, settings=(), project="mediacrawl.settings", **env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        chosen = QUICK | dict(settings)
        if front == "get":
            words = [word for name, value in chosen.items() for word in ("-s", f"{name}={value}")]
            done = command("get", f"{url}/a.jpg", *words)
            return Ran(done.status, done.err, tmp_path)
        crawled = crawls.crawl(tmp_path, SiteSpider, chosen, project=project, url=f"{url}/")
        assert not [record for record in caplog.records if record.exc_info and record.exc_info[0]]
        said = "\n".join([*crawled.report.lines("again"), *(record.getMessage() for record in caplog.records)])
        return Ran(crawled.status, said, tmp_path)

    return fetch


# --- proxies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(("kind", "scheme", "transport"), [
    ("http", "http", "curl"),
    ("http", "https", "requests"),
    ("socks5h", "http", "requests"),
    ("socks4a", "https", "curl"),
    ("socks5", "https", "requests"),
])  # fmt: skip
def test_pages_and_media_go_through_the_proxy_of_the_environment(
    fetch, site, origin, authority, front, kind, scheme, transport
):
    credentials = "me:" if kind == "socks4a" else "me:s%3Acret"
    with (HttpProxy if kind == "http" else SocksProxy)("me", "s:cret") as proxy:
        env = {"ALL_PROXY": proxy.url(credentials, kind), "SSL_CERT_FILE": str(authority.file)}
        ran = fetch(front, site[scheme], {"MEDIACRAWL_TRANSPORT": transport}, **env)
        assert (ran.status, ran.has_picture) == (0, True), ran
        assert set(proxy.targets) == {site[scheme].partition("://")[2]}
        assert len(proxy.targets) >= len({request.target for request in origin.requests})


def test_a_crawl_through_a_proxy_is_the_same_as_a_process(tmp_path, site, authority):
    with SocksProxy("me") as proxy:
        env = dict.fromkeys(NETWORK, "") | {
            "all_proxy": proxy.url("me", "socks4a"),
            "SSL_CERT_FILE": str(authority.file),
        }
        done = run(tmp_path, "crawl", "site", "-a", f"url={site['https']}/", env=env)
        assert (done.status, "Traceback" in done.err, len(done.store)) == (0, False, 1), done
        assert set(proxy.targets) == {site["https"].partition("://")[2]}


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(("kind", "scheme"), [("http", "http"), ("http", "https"), ("socks5h", "https")])
@pytest.mark.parametrize("credentials", ["me:wr0ng", ""])
def test_a_wrong_password_is_told_with_the_proxy_and_fails_no_file_for_good(
    fetch, site, origin, authority, front, kind, scheme, credentials
):
    with (HttpProxy if kind == "http" else SocksProxy)("me", "secret") as proxy:
        ran = fetch(front, site[scheme], all_proxy=proxy.url(credentials, kind), SSL_CERT_FILE=str(authority.file))
        assert (ran.status, origin.requests, proxy.targets) == (1, [], []), ran
        assert f"the proxy {proxy.url(scheme=kind)} " in ran.err
        assert "wr0ng" not in ran.err
        assert ran.permanent == []


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks4"])
def test_without_the_proxy_nothing_goes_out(fetch, site, origin, front, kind):
    port = dead_port()
    ran = fetch(front, site["http"], http_proxy=f"{kind}://me:secret@127.0.0.1:{port}")
    assert (ran.status, origin.requests) == (1, []), ran
    assert f"proxy {kind}://127.0.0.1:{port}" in ran.err
    assert "secret" not in ran.err
    assert ran.permanent == []


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("fault", ["ends", "403 Filtered", "502 Bad Gateway"])
def test_a_tunnel_that_fails_is_the_proxys(fetch, site, front, fault):
    with HttpProxy(fault=fault) as proxy:
        ran = fetch(front, site["https"], https_proxy=proxy.url())
        assert ran.status == 1
        assert f"the proxy {proxy.url()} " in ran.err


@pytest.mark.parametrize("front", FRONTS)
def test_socks_without_its_package_stops_the_run_in_one_line(fetch, site, origin, front, monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    ran = fetch(front, site["http"], ALL_PROXY="socks5h://me:secret@127.0.0.1:1")
    assert (ran.status, origin.requests) == (4, []), ran
    assert "the proxy socks5h://127.0.0.1:1 needs PySocks: pip install 'mediacrawl[socks]'" in ran.err
    assert "secret" not in ran.err
    assert ran.permanent == []


@pytest.mark.parametrize("front", FRONTS)
def test_no_proxy_is_as_good_as_no_socks(fetch, site, front, monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    ran = fetch(front, site["http"], ALL_PROXY="socks5h://127.0.0.1:1", no_proxy="a.example, 127.0.0.0/8")
    assert (ran.status, ran.has_picture) == (0, True), ran


@pytest.mark.parametrize("front", FRONTS)
def test_a_redirect_takes_the_way_of_its_target(fetch, site, origin, authority, front):
    target = site["https"].replace("127.0.0.1", "127.0.0.1")
    origin.redirect("/a.jpg", f"{target}/b.jpg")
    origin.add("/b.jpg", JPEG, content_type="image/jpeg")
    with HttpProxy() as plain, SocksProxy() as other:
        env = {"http_proxy": plain.url(), "https_proxy": other.url(), "SSL_CERT_FILE": str(authority.file)}
        ran = fetch(front, site["http"], **env)
        assert (ran.status, ran.has_picture) == (0, True), ran
        assert set(plain.targets) == {origin.netloc}
        assert set(other.targets) == {target.partition("://")[2]}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_credentials_are_written_to_the_disk(fetch, site, origin, authority, netrc, tmp_path, monkeypatch, scheme):
    """The scheduler gets each request as it will be on the disk."""
    origin.redirect("/last", "/end")
    origin.add("/end", b"<html></html>", content_type="text/html")
    page = b'<html><img src="/a.jpg"><a rel="next" href="/last">next</a></html>'
    origin.add("/", page, content_type="text/html", faults=[status(503)])  # it is repeated
    written = []
    enqueue = FrontierScheduler.enqueue_request
    monkeypatch.setattr(
        FrontierScheduler,
        "enqueue_request",
        lambda self, request: (
            written.append((request.url, f"{request.headers} {request.meta}")) or enqueue(self, request)
        ),
    )
    with HttpProxy("me", "s3cret") as proxy:
        env = {"all_proxy": proxy.url("me:s3cret"), "SSL_CERT_FILE": str(authority.file), "NETRC": netrc}
        ran = fetch("site", site[scheme], {"RETRY_TIMES": 1, "JOBDIR": str(tmp_path / "job")}, **env)
    assert (ran.status, ran.has_picture) == (0, True), ran
    assert [url.removeprefix(site[scheme]) for url, _ in written] == ["/", "/", "/last", "/end"]
    mine = basic_auth("me", "s3cret")[6:]
    assert not [kept for _, kept in written if "s3cret" in kept or mine in kept]
    assert mine in str(origin.requests[-1].headers)


@pytest.mark.parametrize("chosen", ["", None])
def test_a_spider_that_wants_no_proxy_has_none(crawls, tmp_path, site, origin, monkeypatch, chosen):
    monkeypatch.setenv("all_proxy", f"socks5://127.0.0.1:{dead_port()}")

    class Own(SiteSpider):
        async def start(self):
            async for request in super().start():
                request.meta["proxy"] = chosen
                yield request

    settings = QUICK | {"HTTPPROXY_ENABLED": chosen is not None}
    crawled = crawls.crawl(tmp_path, Own, settings if chosen is None else QUICK, url=f"{site['http']}/")
    assert [request.target for request in origin.requests][:1] == ["/"]
    assert crawled.report.failed == (0 if chosen is None else 1)  # the file's request is one of its own


@pytest.mark.parametrize(("kind", "scheme"), [("socks5h", "http"), ("socks5", "https"), ("http", "https")])
def test_a_proxy_of_the_spider_may_be_of_each_kind(
    crawls, tmp_path, site, origin, authority, monkeypatch, kind, scheme
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with (HttpProxy if kind == "http" else SocksProxy)("me", "s3cret") as proxy:

        class Own(Spider):
            name = "own"

            async def start(self):
                meta = {"proxy": proxy.url("me:s3cret", kind)}
                yield Request(f"{site[scheme]}/", method="POST", body=b"a=1", meta=meta)

            def parse(self, response):
                return {"length": len(response.body)}

        crawls.crawl(tmp_path, Own, QUICK)
        assert proxy.targets == [site[scheme].partition("://")[2]]
    assert [(request.method, request.target) for request in origin.requests] == [("POST", "/")]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("kind", ["http", "socks5h"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_real_proxies_serve_pages_and_media(fetch, site, origin, authority, tmp_path, front, kind, scheme):
    with RealProxy(tmp_path, kind, "me", "secret") as proxy:
        env = {"SSL_CERT_FILE": str(authority.file)}
        bad = fetch(front, site[scheme], all_proxy=proxy.url("me:wr0ng", kind), **env)
        assert (bad.status, origin.requests, bad.permanent) == (1, [], []), bad
        assert proxy.url(scheme=kind) in bad.err
        assert "wr0ng" not in bad.err
        good = fetch(front, site[scheme], all_proxy=proxy.url("me:secret", kind), **env)
        assert (good.status, good.has_picture) == (0, True), good


# --- certificates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_environment_names_authorities(fetch, site, authority, name):
    ran = fetch(
        "site", site["https"], **{name: str(authority.rehashed() if name == "SSL_CERT_DIR" else authority.file)}
    )
    assert (ran.status, ran.has_picture) == (0, True), ran


@pytest.mark.parametrize("front", FRONTS)
def test_a_bad_certificate_names_host_reason_and_what_to_set(fetch, site, origin, front):
    ran = fetch(front, site["https"])
    assert (ran.status, origin.requests) == (1, []), ran
    words = "the certificate of 127.0.0.1 is not accepted: unable to get local issuer certificate"
    assert words in ran.err
    assert "-s MEDIACRAWL_VERIFY_TLS=FILE trusts" in ran.err


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
@pytest.mark.parametrize("front", FRONTS)
def test_one_setting_is_for_pages_and_media(fetch, site, authority, front, caplog):
    for value in ("False", str(authority.file)):
        ran = fetch(front, site["https"], {"MEDIACRAWL_VERIFY_TLS": value})
        assert (ran.status, ran.has_picture) == (0, True), ran


@pytest.mark.parametrize(("settings", "is_asked"), [
    ({"ADDONS": {Addon: 500}}, False),
    ({"ADDONS": {Addon: 500}, "DOWNLOAD_VERIFY_CERTIFICATES": False}, True),
    ({"ADDONS": {Addon: 500}, "MEDIACRAWL_VERIFY_TLS": False, "DOWNLOAD_VERIFY_CERTIFICATES": True}, False),
    ({"ADDONS": {Addon: 500}, "MEDIACRAWL_VERIFY_TLS": False}, True),
    ({"ITEM_PIPELINES": {"mediacrawl.pipelines.MediaFilesPipeline": 1}}, True),  # pages are Scrapy's affair
    ({"ITEM_PIPELINES": {"mediacrawl.pipelines.MediaFilesPipeline": 1}, "DOWNLOAD_VERIFY_CERTIFICATES": True}, False),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_the_setting_of_a_project_takes_precedence(fetch, site, origin, settings, is_asked):
    fetch("site", site["https"], settings, project=None)
    assert [request.target for request in origin.requests][:1] == (["/"] if is_asked else [])


# --- .netrc -----------------------------------------------------------------------------------------

NETRC = """machine 127.0.0.1 login me password s3cret
machine localhost login you password other
default login x password y
"""


@pytest.fixture
def netrc(tmp_path):
    path = tmp_path / "the netrc"
    path.write_text(NETRC)
    return str(path)


def sent(origin):
    """The credentials of each request, by its target."""
    return {request.target: request.headers.get("authorization") for request in origin.requests}


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize("front", FRONTS)
def test_netrc_names_the_credentials_of_a_host(fetch, site, origin, netrc, front, transport):
    ran = fetch(front, site["http"], {"MEDIACRAWL_TRANSPORT": transport}, NETRC=netrc)
    assert (ran.status, ran.has_picture) == (0, True), ran
    assert set(sent(origin).values()) == {basic_auth("me", "s3cret")}
    assert len(sent(origin)) == (1 if front == "get" else 2)
    kept = b"".join(path.read_bytes() for path in (ran.folder / "store").rglob("*") if path.is_file())
    assert b"s3cret" not in kept
    assert basic_auth("me", "s3cret").encode() not in kept
    assert "s3cret" not in ran.err


def test_netrc_of_the_home_folder_is_read(fetch, site, origin, tmp_path):
    (tmp_path / ".netrc").write_text(NETRC)
    fetch("get", site["http"])
    assert set(sent(origin).values()) == {basic_auth("me", "s3cret")}


@pytest.mark.parametrize("front", FRONTS)
def test_netrc_is_not_read_where_a_setting_says_so(fetch, site, origin, netrc, front):
    fetch(front, site["http"], {"MEDIACRAWL_NETRC": False}, NETRC=netrc)
    assert set(sent(origin).values()) == {None}


def test_get_has_an_option_for_it(command, site, origin, netrc, monkeypatch):
    monkeypatch.setenv("NETRC", netrc)
    assert command("get", "--no-netrc", f"{site['http']}/a.jpg").status == 0
    assert set(sent(origin).values()) == {None}


def test_the_default_entry_counts_for_no_host(fetch, site, origin, tmp_path):
    path = tmp_path / "netrc"
    path.write_text("machine b.example login me password s3cret\ndefault login x password y\n")
    fetch("get", site["http"], NETRC=str(path))
    assert set(sent(origin).values()) == {None}


@pytest.mark.parametrize("front", FRONTS)
def test_after_a_redirect_to_another_host_nothing_is_sent(fetch, site, origin, netrc, front):
    other = site["http"].replace("127.0.0.1", "localhost")
    origin.redirect("/a.jpg", f"{other}/b.jpg")
    origin.add("/b.jpg", JPEG, content_type="image/jpeg")
    if front == "site":
        origin.redirect("/", f"{other}/page")
        origin.add("/page", b'<html><img src="/c.jpg"></html>', content_type="text/html")
        origin.add("/c.jpg", JPEG, content_type="image/jpeg")
    fetch(front, site["http"], NETRC=netrc)
    found = sent(origin)
    assert found["/page" if front == "site" else "/b.jpg"] is None
    assert found["/" if front == "site" else "/a.jpg"] == basic_auth("me", "s3cret")


def test_a_redirect_within_the_host_keeps_them(fetch, site, origin, authority, netrc):
    origin.redirect("/a.jpg", f"{site['https']}/b.jpg")
    origin.redirect("/b.jpg", "/c.jpg")
    origin.add("/c.jpg", JPEG, content_type="image/jpeg")
    fetch("get", site["http"], NETRC=netrc, SSL_CERT_FILE=str(authority.file))
    mine = basic_auth("me", "s3cret")
    assert sent(origin) == {"/a.jpg": mine, "/b.jpg": mine, "/c.jpg": mine}


def test_a_redirect_to_plain_http_does_not_take_them_along(fetch, site, origin, authority, netrc):
    origin.redirect("/a.jpg", f"{site['http']}/b.jpg")
    origin.add("/b.jpg", JPEG, content_type="image/jpeg")
    fetch("get", site["https"], NETRC=netrc, SSL_CERT_FILE=str(authority.file))
    assert sent(origin) == {"/a.jpg": basic_auth("me", "s3cret"), "/b.jpg": None}


@pytest.mark.parametrize("words", [("--header", "authorization: mine"), ()])
def test_credentials_of_the_request_itself_take_precedence(command, site, origin, netrc, monkeypatch, words):
    monkeypatch.setenv("NETRC", netrc)
    url = f"{site['http']}/a.jpg"
    command("get", *words, url if words else url.replace("//", "//we:ours@"))
    assert set(sent(origin).values()) == {"mine" if words else basic_auth("we", "ours")}


# --- what is wrong with the environment -------------------------------------------------------------


@pytest.mark.parametrize(("name", "value", "words"), [
    ("all_proxy", "socks9://me:s3cret@p.example", "all_proxy=socks9://p.example is not the URL of a proxy"),
    *(
        ("all_proxy", f"http://me:{password}@p.example:1", "all_proxy=http://p.example:1 is not the URL of a proxy")
        for password in ("s3cret/s3cret", "s3cret#s3cret", "s3cret?s3cret")
    ),
    ("SSL_CERT_FILE", "/no/such", "SSL_CERT_FILE=/no/such: No such file or directory"),
    ("REQUESTS_CA_BUNDLE", __file__, f"REQUESTS_CA_BUNDLE={__file__}: the file has no certificates"),
    ("SSL_CERT_DIR", "/no/such", "SSL_CERT_DIR=/no/such: there is no such folder"),
    ("NETRC", "/no/such", "/no/such: No such file or directory; with --no-netrc or MEDIACRAWL_NETRC=False"),
    ("NETRC", "machine a.example login me passw0rd s3cret\n", "broken: line 1 is not understood; with --no-netrc"),
    ("NETRC", "machine \udcff\udcfe login me password s3cret\n", None),  # Python reads it in another encoding
])  # fmt: skip
def test_what_is_wrong_with_it_is_one_line(command, site, origin, tmp_path, monkeypatch, name, value, words):
    if value.startswith("machine"):
        (tmp_path / "broken").write_bytes(value.encode(errors="surrogateescape"))
        value = str(tmp_path / "broken")
    monkeypatch.setenv(name, value)
    done = command("get", f"{site['http']}/a.jpg")
    if words is not None:
        assert (done.status, len(done.lines), origin.requests) == (2, 1, []), done
        assert words in done.err
    assert "s3cret" not in done.err


def test_a_crawl_refuses_it_likewise(tmp_path, site, origin):
    env = dict.fromkeys(NETWORK, "") | {"all_proxy": "http://me:s3cret@:1"}
    done = run(tmp_path, "crawl", "site", "-a", f"url={site['http']}/", env=env)
    assert (done.status, len(done.lines), origin.requests) == (2, 1, []), done
    assert "all_proxy=http://:1 is not the URL of a proxy" in done.err
