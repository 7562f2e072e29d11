"""The check of the Host field.

A page of another site may have a name of its own that leads to this machine (DNS rebinding): the browser then takes
the pages of this server for pages of that site.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from mediacrawl.server.proxies import parse_address

if TYPE_CHECKING:
    from mediacrawl.server.options import ServeOptions

_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{0,5})?")  # RFC 9110 7.2
_LONGEST = 300


class HostCheck:
    """Decide whether the server answers for a name.

    A server that listens at all addresses, and has been given no names, answers for each address: it cannot know
    under which of them a router or a container has made it reachable, and an address is not subject to DNS.
    """

    def __init__(self, options: ServeOptions) -> None:
        accepted = [host.lower() for host in options.accepted_hosts]
        self._any = "*" in accepted
        self._names = frozenset(accepted)
        self._domains = tuple(host for host in accepted if host.startswith("."))
        self._accepts_addresses = options.listens_everywhere and not options.hosts
        self._decided = lru_cache(1024)(self._decide)  # a connection has one name, and most clients have the same

    def accepts(self, host: str | None) -> bool:
        """Return whether a Host field is well-formed and one of the accepted ones; False for None."""
        return host is not None and len(host) <= _LONGEST and self._decided(host)

    def _decide(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1].rstrip(".")
        if self._any or name in self._names:
            return True
        if any(name == domain[1:] or name.endswith(domain) for domain in self._domains):
            return True
        return self._accepts_addresses and parse_address(name.strip("[]")) is not None
