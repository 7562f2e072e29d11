"""`MEDIACRAWL_TRANSPORT`: which one is built, and what is said when that cannot be."""

from __future__ import annotations

import sys

import pytest
from scrapy.settings import Settings

from mediacrawl.errors import UsageProblem
from mediacrawl.fetch.resources import FetchResources, transport_of
from mediacrawl.store.local import LocalStore
from mediacrawl.transport.registry import make_transport
from mediacrawl.transport.requests_transport import RequestsTransport


def made(settings):
    return make_transport(transport_of(settings))


def test_it_is_requests_unless_something_else_is_asked_for():
    for settings in ({}, {"MEDIACRAWL_TRANSPORT": "requests"}):
        transport = made(Settings(settings))
        assert type(transport.http) is RequestsTransport
        transport.close()


def test_it_is_libcurl_if_that_is_asked_for():
    curl = pytest.importorskip("mediacrawl.transport.curl")
    transport = made(Settings({"MEDIACRAWL_TRANSPORT": "curl"}))
    assert type(transport.http) is curl.CurlTransport
    transport.close()


@pytest.mark.parametrize("kind", ["requests", "curl"])
def test_no_request_is_sent_to_a_private_address_if_that_is_asked_for(kind, origin):
    if kind == "curl":
        pytest.importorskip("pycurl")
    transport = made(Settings({"MEDIACRAWL_TRANSPORT": kind, "MEDIACRAWL_BLOCK_PRIVATE": True}))
    with pytest.raises(Exception, match=r"127\.0\.0\.1 is not a public address"):
        transport.get(origin.add("/a", b"x"), {}, proxy=None, timeout_s=30.0)
    transport.close()
    assert origin.requests == []


def test_a_missing_package_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycurl", None)
    monkeypatch.delitem(sys.modules, "mediacrawl.transport.curl", raising=False)
    with pytest.raises(UsageProblem) as caught:
        made(Settings({"MEDIACRAWL_TRANSPORT": "curl"}))
    assert str(caught.value).startswith("MEDIACRAWL_TRANSPORT=curl needs pycurl: pip install 'mediacrawl[curl]'")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MEDIACRAWL_TRANSPORT": "wget"}, "MEDIACRAWL_TRANSPORT=wget: must be requests or curl"),
        (
            {"MEDIACRAWL_TRANSPORT": "curl", "MEDIACRAWL_SESSION_FACTORY": "requests.Session"},
            "MEDIACRAWL_TRANSPORT=curl has no sessions: leave MEDIACRAWL_SESSION_FACTORY out",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(settings, said, tmp_path):
    with pytest.raises(UsageProblem) as caught:
        FetchResources(Settings(settings), LocalStore(tmp_path / "store"))
    assert str(caught.value) == said
    assert list(tmp_path.iterdir()) == []
