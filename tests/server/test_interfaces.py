"""The addresses under which other devices reach a server."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from mediacrawl.server.options import ServeOptions
from mediacrawl.server.running import urls_for_others
from mediacrawl.system.interfaces import ipv4_addresses, ipv6_addresses

OWN = [ip_address("192.168.1.5"), ip_address("10.8.0.2"), ip_address("fd00::5")]
V4 = ["http://192.168.1.5:8000/", "http://10.8.0.2:8000/"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"host": "192.168.1.5"}, []),
        ({"host": "0.0.0.0"}, V4),
        ({"host": "::"}, [*V4, "http://[fd00::5]:8000/"]),
        (
            {"host": "0.0.0.0", "prefix": "/media", "port": 1},
            ["http://192.168.1.5:1/media/", "http://10.8.0.2:1/media/"],
        ),
        ({"host": "0.0.0.0", "hosts": ("media.example", "10.8.0.2")}, V4[1:]),
        ({"host": "0.0.0.0", "hosts": ("*",)}, V4),
        ({"host": "0.0.0.0", "trusted_proxies": ("127.0.0.1",)}, []),
    ],
)
def test_the_addresses_that_a_server_answers_for_are_named(tmp_path, given, expected):
    assert urls_for_others(ServeOptions(store=tmp_path, **given), OWN) == expected


def test_each_address_is_of_this_machine_and_not_of_one_link():
    for address in (*ipv4_addresses(), *ipv6_addresses()):
        assert not address.is_loopback
        assert not address.is_link_local
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((str(address), 0))


def test_addresses_of_ipv6_that_pass_are_left_out(tmp_path):
    rows = {"2001": "80", "fd00": "00", "2002": "01", "2003": "20", "2004": "c0", "fe80": "80", "0000": "80"}
    lines = [f"{start}{1:028x} 02 40 00 {flags}     eth0\n" for start, flags in rows.items()]
    (tmp_path / "if_inet6").write_text("".join(lines))
    assert [str(address) for address in ipv6_addresses(tmp_path / "if_inet6")] == ["2001::1", "fd00::1"]
    assert ipv6_addresses(tmp_path / "missing") == []
