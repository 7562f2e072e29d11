"""No transport sends a packet to an address that is not public, whatever the URL calls it."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import requests
from private_addresses import ELSEWHERE, LOOPBACK, NAMED, Listener, only, rebinding
from proxy_servers import HttpProxy, SocksProxy

from mediacrawl.errors import AddressRefused, ConnectError, TransferError, UnsupportedURL
from mediacrawl.transport import addresses
from mediacrawl.transport.addresses import is_public
from mediacrawl.transport.requests_transport import RequestsTransport

UNKNOWN = ("127.0.0.1.", "127.0.0.1%2e")  # the resolver of this machine may know no such name


@pytest.fixture
def transport(transport_kind):
    made = transport_kind(block_private=True, connect_timeout_s=5.0)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def forget():
    addresses._addresses_of.cache_clear()


def error_of(transport, url, proxy=None):
    with pytest.raises(TransferError) as caught:
        transport.get(url, {}, proxy=proxy, timeout_s=5.0)
    return caught.value


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("2606:2800:220:1::1", True),
        ("2a00:1450:4001:80b::200e", True),
        ("64:ff9b::93.184.216.34", True),
        ("64:ff9b::127.0.0.1", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b:1::5db8:d822", False),
        ("2002:7f00:1::", False),
        ("2002:5db8:d822::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2001:db8::1", False),
        ("::127.0.0.1", False),
        ("::93.184.216.34", False),
        ("::ffff:0:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("fec0::1", False),
        ("4000::1", False),
        ("ff0e::1", False),
        ("198.18.0.1", False),
        ("192.0.2.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("0x7f.1", False),
        ("127.1", False),
        ("1.1.1.1 ", False),
    ],
)
def test_addresses_in_addresses_count(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_form_of_a_private_address_is_connected_to(transport, scheme):
    with Listener() as listener:
        for host in NAMED:
            error = error_of(transport, f"{scheme}://{host}:{listener.port}/a.jpg")
            assert isinstance(error, AddressRefused | ConnectError | UnsupportedURL), (host, error)
            if host in ELSEWHERE or host[0].isdigit():
                assert isinstance(error, AddressRefused) or host in UNKNOWN, (host, error)
        assert listener.connections == 0


def test_each_connection_is_checked_and_not_the_name_once(transport_kind, origin, monkeypatch):
    """A name that has a public address first and a private one next (DNS rebinding)."""
    monkeypatch.setattr(addresses, "is_public", only("127.0.0.1"))
    origin.add("/a", b"x", headers={"Connection": "close"})
    if transport_kind is RequestsTransport:
        monkeypatch.setattr(socket, "getaddrinfo", rebinding("rebind.test", "127.0.0.1", "127.0.0.2"))
        url = f"http://rebind.test:{origin.port}/a"
    else:  # libcurl has a resolver of its own: the judgement changes instead
        turns = iter([True, False])
        monkeypatch.setattr(addresses, "is_public", lambda _: next(turns))
        url = origin.url("/a")
    made = transport_kind(block_private=True)
    answer = made.get(url, {}, proxy=None, timeout_s=5.0)
    assert b"".join(answer.blocks()) == b"x"
    answer.close()
    made.close_idle("rebind.test", 0.0)
    made.close_idle("127.0.0.1", 0.0)
    before = origin.connections
    assert isinstance(error_of(made, url), AddressRefused)
    made.close()
    assert origin.connections == before


def test_of_several_addresses_the_public_one_is_taken(origin, monkeypatch):
    real = socket.getaddrinfo
    monkeypatch.setattr(addresses, "is_public", only("127.0.0.1"))

    def getaddrinfo(_host, port, *more):
        return [found for host in ("127.0.0.2", "10.1.2.3", "127.0.0.1") for found in real(host, port, *more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    made = RequestsTransport(block_private=True)
    answer = made.get(f"http://both.test:{origin.port}/", {}, proxy=None, timeout_s=5.0)
    answer.close()
    made.close()
    assert answer.status == 404


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
def test_a_proxy_is_asked_for_no_private_address(transport, scheme, kind):
    with (HttpProxy if kind == "http" else SocksProxy)() as proxy:
        for host in LOOPBACK + ELSEWHERE:
            error = error_of(transport, f"{scheme}://{host}:9/a.jpg", proxy.url(scheme=kind))
            assert isinstance(error, AddressRefused | UnsupportedURL | ConnectError), (host, error)
        assert proxy.connections == 0


def test_a_proxy_is_not_asked_for_a_name_of_a_private_address(transport, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", rebinding("intern.test", "10.1.2.3"))
    with HttpProxy() as proxy:
        error = error_of(transport, "http://intern.test/a.jpg", proxy.url())
        assert isinstance(error, AddressRefused)
        assert (proxy.connections, "10.1.2.3 is not a public address" in error.reason) == (0, True)


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_proxy_may_have_a_private_address_and_know_other_names(transport, origin, kind):
    origin.add("/a.jpg", b"x")
    with (HttpProxy if kind == "http" else SocksProxy)() as proxy:
        answer = transport.get(f"http://far.invalid:{origin.port}/a.jpg", {}, proxy=proxy.url(), timeout_s=5.0)
        assert (answer.status, b"".join(answer.blocks())) == (200, b"x")
        answer.close()


def test_this_machine_resolves_no_name_where_the_proxy_is_chosen_for_that(transport, origin, monkeypatch):
    origin.add("/a.jpg", b"x")
    asked = []
    real = socket.getaddrinfo

    def getaddrinfo(host, *more, **options):
        asked.append(host) if options.get("flags", 0) != socket.AI_NUMERICHOST else None
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with SocksProxy() as proxy:
        transport.get(f"http://far.invalid:{origin.port}/a.jpg", {}, proxy=proxy.url(), timeout_s=5.0).close()
    assert "far.invalid" not in asked


@pytest.mark.parametrize("way", ["adapter", "proxy"])
def test_a_session_with_its_own_connections_is_refused(origin, way):
    class Adapter(requests.adapters.HTTPAdapter):
        pass

    def factory():
        session = requests.Session()
        if way == "adapter":
            session.mount("http://", Adapter())
        else:
            session.proxies = {"http": origin.url("/")}
        return session

    made = RequestsTransport(factory, block_private=True)
    error = error_of(made, origin.url("/a"))
    made.close()
    assert isinstance(error, AddressRefused)
    assert "MEDIACRAWL_SESSION_FACTORY" in str(error)
    assert origin.connections == 0


def test_a_plain_session_of_a_factory_is_checked(origin):
    made = RequestsTransport(partial(requests.Session), block_private=True)
    error = error_of(made, origin.url("/a"))
    made.close()
    assert isinstance(error, AddressRefused)
    assert origin.connections == 0
