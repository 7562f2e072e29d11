"""What is believed of `X-Forwarded-…` fields, and of whom."""

from __future__ import annotations

import pytest

from mediacrawl.errors import UsageProblem
from mediacrawl.server.proxies import Client, TrustedProxies, parse_address

TRUSTED = ("10.0.0.0/8", "192.0.2.7", "fd00::/8", "unix")


def client(peer, host="own.example", **fields):
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return TrustedProxies(TRUSTED).client_of(peer, "http", host, named.get)


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.7", "203.0.113.9", "203.0.113.9"),
        ("fd00::1", "2001:db8::9", "2001:db8::9"),
        ("", "203.0.113.9", "203.0.113.9"),  # nginx at a socket in the file system
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        # The client has sent a list itself: the last address was added by the proxy that is trusted.
        ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "10.9.9.9, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),  # two proxies
        ("10.0.0.1", "203.0.113.9,10.0.0.3 ,\t10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # a client in the network of the proxies
        ("10.0.0.1", "203.0.113.9:55555", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:55555", "2001:db8::9"),
        ("10.0.0.1", "[2001:db8::9]", "2001:db8::9"),
        # A malformed list says nothing beyond the last address that could be read.
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "<script>", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9\x00", "10.0.0.1"),
        # Nothing is believed of others.
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("127.0.0.1", "198.51.100.1", "127.0.0.1"),
        ("192.0.2.8", "198.51.100.1", "192.0.2.8"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(peer, told, address):
    assert client(peer, x_forwarded_for=told).address == address


def test_without_trust_in_sockets_a_client_there_has_no_address():
    found = TrustedProxies(()).client_of("", "http", "a", {"x-forwarded-for": "198.51.100.1"}.get)
    assert found == Client("", "http", "a")


def test_a_list_of_many_addresses_takes_no_time():
    assert client("10.0.0.1", x_forwarded_for="10.0.0.2, " * 20_000 + "10.0.0.3").address == "10.0.0.2"


@pytest.mark.parametrize(
    ("peer", "fields", "scheme", "host"),
    [
        ("10.0.0.1", {"x_forwarded_proto": "https"}, "https", "own.example"),
        ("10.0.0.1", {"x_forwarded_proto": "http, https"}, "https", "own.example"),
        ("10.0.0.1", {"x_forwarded_proto": "https, http"}, "http", "own.example"),
        ("10.0.0.1", {"x_forwarded_proto": "HTTPS"}, "http", "own.example"),
        ("10.0.0.1", {"x_forwarded_proto": "ftp"}, "http", "own.example"),
        ("10.0.0.1", {"x_forwarded_host": "media.example"}, "http", "media.example"),
        ("10.0.0.1", {"x_forwarded_host": "evil.example, media.example"}, "http", "media.example"),
        ("203.0.113.5", {"x_forwarded_proto": "https", "x_forwarded_host": "evil.example"}, "http", "own.example"),
    ],
)
def test_scheme_and_host_are_those_that_a_trusted_proxy_tells(peer, fields, scheme, host):
    found = client(peer, **fields)
    assert (found.scheme, found.host) == (scheme, host)


@pytest.mark.parametrize("text", ["proxy", "10.0.0.0/99", "", "10.0.0.1:80", "*"])
def test_a_proxy_that_is_no_address_is_refused(text):
    with pytest.raises(UsageProblem, match="--trusted-proxy"):
        TrustedProxies([text])


def test_an_address_has_one_spelling():
    assert str(parse_address("::ffff:192.0.2.1")) == str(parse_address("192.0.2.1:80")) == "192.0.2.1"
    assert str(parse_address("fe80::1%eth0.1")) == "fe80::1%eth0.1"
    for zone in ("", " x", 'x" 200 "', "x\r\n", "x" * 33, "a%b"):  # Python takes most of them
        assert parse_address(f"fe80::1%{zone}") is None
    assert parse_address("localhost") is parse_address("") is parse_address("1.2.3") is None
