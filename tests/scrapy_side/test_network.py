"""The user's network in every front: proxies, authorities and `.netrc`, of the environment, for pages and media."""

from __future__ import annotations

import pytest
from certificates import Authority, TlsFront
from crawling import run, sha256
from proxy_servers import HttpProxy, SocksProxy

JPEG = b"\xff\xd8\xff\xe0" + bytes(2000)
FRONTS = ["get", "site"]


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


def fetch(folder, front, url, transport="requests", settings=(), **env):
    """Fetches the picture with `get`, or crawls its page."""
    words = ("get", f"{url}/a.jpg") if front == "get" else ("crawl", "site", "-a", f"url={url}/")
    chosen = {"MEDIACRAWL_TRANSPORT": transport, "MEDIACRAWL_RETRY_TIMES": 0, "RETRY_TIMES": 0} | dict(settings)
    own = dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"), "")
    done = run(folder, *words, settings=chosen, env=own | env)
    assert "Traceback" not in done.err, done.err
    return done


def brought(done):
    return sha256(JPEG) in done.store.values()


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(("kind", "scheme", "transport"), [
    ("http", "http", "curl"),
    ("http", "https", "requests"),
    ("socks5h", "http", "requests"),
    ("socks4a", "https", "curl"),
    ("socks5", "https", "requests"),
])  # fmt: skip
def test_pages_and_media_go_through_the_proxy_of_the_environment(
    tmp_path, site, authority, front, kind, scheme, transport
):
    is_http = kind == "http"
    with (HttpProxy if is_http else SocksProxy)("me", "s:cret" if is_http else "") as proxy:
        credentials = "me:s%3Acret" if is_http else "me" if kind == "socks4a" else "me:"
        url = proxy.url(credentials, kind)
        env = {"ALL_PROXY": url, "SSL_CERT_FILE": str(authority.file)}
        if kind.startswith("socks5"):  # without a password
            proxy._credentials = "", ""
        done = fetch(tmp_path, front, site[scheme], transport, **env)
        assert (done.status, brought(done)) == (0, True), done
        assert set(proxy.targets) == {site[scheme].partition("://")[2]}
        assert len(proxy.targets) >= (1 if front == "get" else 2)
