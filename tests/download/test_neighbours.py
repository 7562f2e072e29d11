"""Packages in the same process that replace functions of `requests` and urllib3: yt-dlp, streamlink, niquests."""

from __future__ import annotations

import re
import urllib.parse

import pytest
import requests
import urllib3
from certificates import Authority, TlsFront
from proxy_servers import HttpProxy, SocksProxy
from transports import TRANSPORTS, transport_class

from mediacrawl.errors import UsageProblem
from mediacrawl.transport import connections
from mediacrawl.transport.requests_transport import RequestsTransport


def strict_select_proxy(url, proxies):
    """As that of yt-dlp: a dict is needed, and its own keys are read."""
    if "no" in proxies:
        raise AssertionError("no such key is given")
    return proxies.get(urllib.parse.urlsplit(url).scheme)


class Percent:
    """As those of yt-dlp and streamlink: escapes keep their case."""

    def __init__(self, genuine):
        self._genuine = genuine

    def __getattr__(self, name):
        return getattr(self._genuine, name)

    def subn(self, _repl, string, *_more):
        return string, len(self._genuine.findall(string))


class NoManager:
    def __init__(self, *_given, **_named):
        raise AssertionError("the manager of another package is used")


def hostile(*_given, **_named):
    raise AssertionError("a function of another package is called")


PATCHES = {
    "nothing": [],
    "yt-dlp": [
        ("requests.adapters.select_proxy", strict_select_proxy),
        ("requests.adapters.SOCKSProxyManager", NoManager),
        ("urllib3.util.url._PERCENT_RE", Percent(re.compile(r"%[a-fA-F0-9]{2}"))),
    ],
    "streamlink": [
        ("urllib3.util.url._PERCENT_RE", Percent(re.compile(r"%[a-fA-F0-9]{2}"))),
        ("urllib3.util.connection._set_socket_options", hostile),
    ],
    "any": [
        ("requests.adapters.select_proxy", hostile),
        ("requests.adapters.SOCKSProxyManager", NoManager),
        ("urllib3.util.connection.create_connection", hostile),
        ("urllib3.util.connection.allowed_gai_family", hostile),
        ("urllib3.util.connection._set_socket_options", hostile),
    ],
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("kind", [*TRANSPORTS, "session"])
@pytest.mark.parametrize("neighbour", PATCHES)
def test_a_file_comes_whatever_they_replace(origin, authority, monkeypatch, kind, neighbour):
    class Session(requests.Session):
        """A session of a project, with the adapter of the transport."""

    url = origin.add("/a", b"ok")
    for target, replacement in PATCHES[neighbour]:
        monkeypatch.setattr(target, replacement)
    made = (lambda **more: RequestsTransport(Session, **more)) if kind == "session" else transport_class(kind)
    transport = made(verify=str(authority.file))
    with TlsFront(authority.context("127.0.0.1"), origin.netloc) as front, HttpProxy() as http, SocksProxy() as socks:
        for proxy in (None, http.url(), socks.url()):
            for sent in (url, f"https://{front.netloc}/a"):
                answer = transport.get(sent, {}, proxy=proxy, timeout_s=30.0)
                assert b"".join(answer.blocks()) == b"ok"
                answer.close()
    transport.close()


def test_another_urllib3_is_refused_in_one_line(monkeypatch):
    class Other:
        """As that of urllib3-future: no class of `http.client`."""

    connections.check_urllib3()
    monkeypatch.setattr(connections, "HTTPConnection", Other)
    with pytest.raises(UsageProblem, match=r"urllib3 is replaced by urllib3-future.*MEDIACRAWL_TRANSPORT=curl$"):
        RequestsTransport()


def test_the_stand_ins_stand_where_the_genuine_ones_do():
    assert callable(requests.adapters.select_proxy)
    assert callable(urllib3.util.connection._set_socket_options)
    assert hasattr(urllib3.util.url._PERCENT_RE, "subn")
