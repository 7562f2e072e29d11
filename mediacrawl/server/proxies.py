"""The client of a request, its scheme and its host, where trusted proxies tell them in `X-Forwarded-…` fields."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_UNIX = "unix"
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_MOST_HOPS = 32
_ZONE = re.compile("[A-Za-z0-9._-]{1,32}")  # of a link-local address (RFC 4007 11); Python takes any text


class Client(NamedTuple):
    """Where a request comes from.

    Attributes:
        address: of the client, without a port; empty at a socket in the file system.
        scheme: `http` or `https`, as the client has sent it.
        host: the Host field that the client has sent, not yet checked; None if there is none.
        is_told: whether a trusted proxy has told the scheme.
    """

    address: str
    scheme: str
    host: str | None
    is_told: bool = False


class TrustedProxies:
    """The proxies in front of the server. The fields of any other client are not believed."""

    def __init__(self, trusted: Iterable[str]) -> None:
        """Trust addresses and networks, for example `10.0.0.2` and `fd00::/8`, and `unix`.

        Raises:
            UsageProblem: one of them is neither an address nor a network.
        """
        self._trusts_unix = False
        self._networks: list[IPv4Network | IPv6Network] = []
        for text in trusted:
            if text == _UNIX:
                self._trusts_unix = True
                continue
            try:
                self._networks.append(ip_network(text, strict=False))
            except ValueError:
                raise UsageProblem(
                    f"--trusted-proxy {text}: expected an address (10.0.0.2), a network (10.0.0.0/8) or unix"
                ) from None
        self._trusts_any = self._trusts_unix or bool(self._networks)

    def client_of(self, peer: str, scheme: str, host: str | None, field: Callable[[str], str | None]) -> Client:
        """Return the client of a request.

        Args:
            peer: the address at the other end of the connection, without a port.
            scheme: of the connection.
            host: the Host field.
            field: returns a header field by its name in lower case; lines of one name are joined by commas.
        """
        if not self._trusts_any:
            return Client(_text(peer), scheme, host)
        direct = parse_address(peer)
        if not self._trusts(direct):
            return Client(_text(peer), scheme, host)
        told = _last(field("x-forwarded-proto"))
        is_told = told in {"http", "https"}
        return Client(
            self._first_untrusted(direct, field("x-forwarded-for")),
            told if is_told else scheme,
            _last(field("x-forwarded-host")) or host,
            is_told,
        )

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        if address is None:
            return self._trusts_unix
        return any(address in network for network in self._networks)

    def _first_untrusted(self, direct: IPv4Address | IPv6Address | None, told: str | None) -> str:
        """Return the address that the last trusted proxy has seen. Each proxy adds its client at the end."""
        found = direct
        for text in reversed((told or "").split(",")[-_MOST_HOPS:]):
            address = parse_address(text.strip())
            if address is None:
                break
            found = address
            if not self._trusts(address):
                break
        return str(found or "")


@lru_cache(4096)
def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, with or without a port; None for any other text. An IPv4-mapped address is an IPv4 one."""
    with_port = _WITH_PORT.fullmatch(text)
    if "%" in text and _ZONE.fullmatch(text.partition("%")[2]) is None:
        return None
    try:
        found = ip_address(text if with_port is None else with_port[1] or with_port[2])
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


@lru_cache(4096)
def _text(peer: str) -> str:
    """Return the address of a peer, in the form in which it is told; other text stays as it is."""
    address = parse_address(peer)
    return peer if address is None else str(address)


def _last(value: str | None) -> str:
    return (value or "").rpartition(",")[2].strip()
