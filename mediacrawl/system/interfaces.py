"""The addresses of this machine, as its network interfaces have them: no name is looked up, and nothing is sent."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_READ_FLAGS, _READ_ADDRESS = 0x8913, 0x8915  # of netdevice(7): SIOCGIFFLAGS, SIOCGIFADDR
_UP_AND_RUNNING = 0x1 | 0x40  # IFF_UP, IFF_RUNNING
_IPV6 = Path("/proc/net/if_inet6")
_PASSING = 0x01 | 0x20 | 0x40  # IFA_F_TEMPORARY, IFA_F_DEPRECATED, IFA_F_TENTATIVE


def ipv4_addresses() -> list[IPv4Address]:
    """Return the first address of each interface by which other devices reach this machine; none outside Linux."""
    found: list[IPv4Address] = []
    if sys.platform == "linux":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
            for _, name in socket.if_nameindex():
                with suppress(OSError):  # it has no IPv4, or is gone
                    found += _address_of(sock, name)
    return found


def _address_of(sock: socket.socket, name: str) -> list[IPv4Address]:
    request = struct.pack("256s", name.encode()[:15])
    flags: int = struct.unpack_from("H", fcntl.ioctl(sock, _READ_FLAGS, request), 16)[0]
    address = IPv4Address(fcntl.ioctl(sock, _READ_ADDRESS, request)[20:24])
    is_reached = flags & _UP_AND_RUNNING == _UP_AND_RUNNING and not (address.is_loopback or address.is_link_local)
    return [address] if is_reached else []


def ipv6_addresses(listed: Path = _IPV6) -> list[IPv6Address]:
    """Return the addresses of this machine that last, without those of one link; none outside Linux.

    Args:
        listed: the list of the system.
    """
    try:
        lines = listed.read_text("ascii").splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    known = [IPv6Address(bytes.fromhex(row[0])) for row in rows if not int(row[4], 16) & _PASSING]
    return [address for address in known if not (address.is_loopback or address.is_link_local)]
