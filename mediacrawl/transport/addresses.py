"""Tell public addresses from private ones.

The address that counts is the one really connected to, not what the name said a moment ago.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any


class PrivateAddress(OSError):
    """The connection leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; what is no address is not."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast


def leads_to_public(host: str) -> bool:
    """Whether all that a name stands for now is public; what stands for nothing is not. May block."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(is_public(str(address[0])) for *_, address in found)


def check_peer(sock: Any) -> None:
    """Before the first byte of a request is sent."""
    address = str(sock.getpeername()[0])
    if not is_public(address):
        sock.close()
        raise PrivateAddress(f"{address} is not a public address")
