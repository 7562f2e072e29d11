"""Which proxy the environment names for a URL."""

from __future__ import annotations

import os

import pytest

from mediacrawl.errors import UsageProblem
from mediacrawl.transport.proxies import environment_proxies, is_socks, proxy_for
from mediacrawl.urls import Origin

P, Q = "http://p.example:3128", "http://q.example:3128"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)


def proxy_of(url):
    return proxy_for(environment_proxies(), Origin.of(url))


@pytest.mark.parametrize(
    ("variables", "http", "https"),
    [
        ({}, None, None),
        ({"http_proxy": P}, P, None),
        ({"https_proxy": P}, None, P),
        ({"HTTPS_PROXY": P}, None, P),
        ({"HTTP_PROXY": P}, P, None),
        ({"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None, None),  # CGI: the header Proxy of a request
        ({"http_proxy": P, "REQUEST_METHOD": "GET"}, P, None),
        ({"all_proxy": P}, P, P),
        ({"ALL_PROXY": P}, P, P),
        ({"all_proxy": P, "ALL_PROXY": Q}, P, P),
        ({"ALL_PROXY": P, "https_proxy": Q}, P, Q),
        ({"http_proxy": Q, "HTTP_PROXY": P}, Q, None),
        ({"http_proxy": "", "all_proxy": P}, P, P),
        ({"http_proxy": "p.example:3128"}, P, None),
        ({"http_proxy": "http://p.example"}, "http://p.example:80", None),
        ({"http_proxy": "http://p.example/"}, "http://p.example:80", None),
        ({"https_proxy": "HTTPS://p.example"}, None, "https://p.example:443"),
        ({"all_proxy": "socks5://[::1]"}, "socks5://[::1]:1080", "socks5://[::1]:1080"),
        ({"http_proxy": "socks4a://me@p.example:9"}, "socks4a://me@p.example:9", None),
        ({"http_proxy": "me:p%40w@p.example:3128"}, "http://me:p%40w@p.example:3128", None),
        ({"ftp_proxy": "no:such:thing"}, None, None),
    ],
)
def test_a_variable_names_the_proxy_of_a_scheme(monkeypatch, variables, http, https):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (proxy_of("http://a.example/"), proxy_of("https://a.example/")) == (http, https)


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"http_proxy": P, "https_proxy": P}, None),
        ({"ftp_proxy": P}, P),
        ({"all_proxy": P}, P),
        ({"ftp_proxy": P, "all_proxy": Q}, P),
        ({"ftp_proxy": P, "no_proxy": "a.example"}, None),
    ],
)
def test_ftp_has_a_variable_of_its_own(monkeypatch, variables, proxy):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of("ftp://a.example/") == proxy_of("ftps://a.example/") == proxy


@pytest.mark.parametrize(
    ("entry", "url", "is_exempt"),
    [
        ("*", "http://a.example/", True),
        ("b.example, *", "http://a.example/", True),
        ("a.example", "http://a.example/", True),
        ("a.example", "http://b.a.example/", True),
        ("a.example", "http://ba.example/", False),
        (".a.example", "http://b.a.example/", True),
        (".a.example", "http://a.example/", True),
        ("*.a.example", "http://b.a.example/", True),
        ("A.EXAMPLE", "http://a.example./", True),
        ("a.example.", "http://a.example/", True),
        ("x,a.example y", "http://a.example/", True),
        ("x  a.example", "http://a.example/", True),
        ("a.example:8080", "http://a.example:8080/", True),
        ("a.example:8080", "http://a.example/", False),
        ("a.example:80", "http://a.example/", True),
        ("a.example:443", "https://b.a.example/", True),
        ("localhost", "http://localhost:8000/", True),
        ("localhost", "http://127.0.0.1/", False),
        ("127.0.0.1", "http://127.0.0.1:8000/", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/", True),
        ("127.0.0.1:8001", "http://127.0.0.1:8000/", False),
        ("127.0.0.0/8", "http://127.3.4.5/", True),
        ("10.0.0.0/8", "http://127.0.0.1/", False),
        ("10.1.2.3/8", "http://10.9.9.9/", True),
        ("10.0.0.0/8", "http://10.example/", False),
        ("10", "http://a.10/", True),
        ("0.0.1", "http://127.0.0.1/", False),  # no part of an address is a domain
        ("10.0.0.0/99", "http://10.0.0.1/", False),
        ("::1", "http://[::1]:8000/", True),
        ("[::1]", "http://[::1]/", True),
        ("[::1]:8000", "http://[::1]:8000/", True),
        ("[::1]:8001", "http://[::1]:8000/", False),
        ("fd00::/8", "http://[fd12::1]/", True),
        ("fe80::/10", "http://[fe80::1%25eth0]/", True),
        ("FD00:0:0::1", "http://[fd00::1]/", True),
        ("bücher.example", "http://xn--bcher-kva.example/", True),
        ("xn--bcher-kva.example", "http://bücher.example/", True),
        ("", "http://a.example/", False),
        (".", "http://a.example/", False),
        (",,", "http://a.example/", False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_names_hosts_domains_addresses_and_networks(monkeypatch, name, entry, url, is_exempt):
    monkeypatch.setenv("all_proxy", P)
    monkeypatch.setenv(name, entry)
    assert proxy_of(url) == (None if is_exempt else P)


def test_the_lower_case_no_proxy_counts_before_the_other(monkeypatch):
    for name, value in {"all_proxy": P, "no_proxy": "a.example", "NO_PROXY": "b.example"}.items():
        monkeypatch.setenv(name, value)
    assert (proxy_of("http://a.example/"), proxy_of("http://b.example/")) == (None, P)


@pytest.mark.parametrize(
    "value",
    [
        "ftp://me:secret@p.example:1",
        "socks6://me:secret@p.example",
        "http://me:secret@:3128",
        "http://me:secret@p.example:99999",
        "http://me:secret@p.example:x",
        "http://me:secret@[::1",
        "http://me:secret@p. example",
        "/var/run/docker.sock",
        "http://",
    ],
)
def test_what_is_no_proxy_is_refused_in_one_line_without_its_password(monkeypatch, value):
    monkeypatch.setenv("all_proxy", value)
    with pytest.raises(UsageProblem, match=r"all_proxy=.* is not the URL of a proxy") as caught:
        environment_proxies()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_socks_is_told_by_its_scheme():
    assert [is_socks(one) for one in (None, P, "socks5h://p", "SOCKS4://p")] == [False, False, True, True]
