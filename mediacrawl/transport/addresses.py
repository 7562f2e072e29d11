"""Distinguish public IP addresses from private ones.

The check that counts is made on the address that a socket is about to connect to, not on an earlier result of name
resolution: the name may resolve to another address by then. Every connection is checked by `check_address`.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from functools import lru_cache
from urllib.parse import unquote

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA assigns (RFC 4291 2.4)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1: the last 32 bits are an IPv4 address
# Tunnels to IPv4 addresses (6to4, RFC 3056; Teredo, RFC 4380), which versions of Python call public or not.
_TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
_REMEMBERED_S = 60


class PrivateAddress(OSError):
    """An address that is not public was to be connected to."""


def is_public(address: str) -> bool:
    """Return whether `address` is an IP address of the public internet; False for a string that is no IP address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _GLOBAL_UNICAST or any(ip in tunnel for tunnel in _TUNNELS):
            return False
    return ip.is_global and not ip.is_multicast


def check_address(address: str) -> None:
    """Check an address before a connection to it is opened.

    Raises:
        PrivateAddress: the address is not public.
    """
    if not is_public(address):
        raise PrivateAddress(f"{address} is not a public address")


def check_host(host: str, *, resolve: bool = True) -> None:
    """Check the host of a URL before a proxy is asked to connect to it. May block.

    A name that this machine cannot resolve is allowed: the proxy may know it. The proxy may also find another address
    than this machine.

    Args:
        host: name or address, without brackets.
        resolve: whether to resolve a name; otherwise only addresses and the names of this machine are known.

    Raises:
        PrivateAddress: the host is an address that is not public, or a name that resolves to such an address.
    """
    host = unquote(host).rstrip(".").lower()  # a proxy may decode escapes
    if ":" in host:
        host = host.partition("%")[0]  # without the zone
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 6.3
        raise PrivateAddress(f"{host} is this machine, which has no public address")
    for address in _addresses_of(host, resolve, int(time.monotonic() // _REMEMBERED_S)):
        check_address(address)


@lru_cache(1024)  # each file of a host asks, and a resolver that does not answer takes seconds
def _addresses_of(host: str, resolve: bool, _period: int) -> tuple[str, ...]:
    """Return the addresses of a host, in whatever form an address is written; empty if there are none."""
    flags = 0 if resolve else socket.AI_NUMERICHOST
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return ()
    return tuple(str(address[0]) for *_, address in found)
