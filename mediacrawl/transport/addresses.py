"""Distinguish public IP addresses from private ones.

The check that counts is made on the address of the open connection, not on an earlier result of name resolution: the
name may resolve to another address by then.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any


class PrivateAddress(OSError):
    """The peer address of a connection is not public."""


def is_public(address: str) -> bool:
    """Return whether `address` is an IP address of the public internet; False for a string that is no IP address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast


def leads_to_public(host: str) -> bool:
    """Return whether a host name resolves now, and only to public addresses. May block.

    The result is False for a name that does not resolve.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(is_public(str(address[0])) for *_, address in found)


def check_peer(sock: Any) -> None:
    """Check the address that a socket is connected to, before the first byte of a request is sent.

    Raises:
        PrivateAddress: the address is not public. The socket is closed.
    """
    address = str(sock.getpeername()[0])
    if not is_public(address):
        sock.close()
        raise PrivateAddress(f"{address} is not a public address")
