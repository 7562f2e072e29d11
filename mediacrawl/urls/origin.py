"""Which URLs can be fetched, and where they lead. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
_BEGINNING = re.compile(r"[^/]*//[^/?#]*")  # scheme and authority (RFC 3986 3)
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")  # or a control character: `urlsplit` drops those in front
# Of an IPv6 address only a port may follow, and only credentials may come before it (RFC 3986 3.2.2).
_BESIDE_BRACKETS = re.compile(r"\](?!:\d*$|$)|(?<![/@])\[")


class Origin(NamedTuple):
    """Scheme, host and port (RFC 9110 4.3.1). Cookies and credentials stay within one."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin | None:
        """None for what is not an http or https URL with a host."""
        beginning = _BEGINNING.match(url)
        if beginning is None or _BLANK.search(url) or "\\" in beginning[0]:  # which others take for a slash
            return None
        if ("]" in beginning[0] or "[" in beginning[0]) and _BESIDE_BRACKETS.search(beginning[0]):
            return None
        return _origin_of(beginning[0])


@lru_cache(maxsize=256)  # asked for several times in each transfer, and many files come from one host
def _origin_of(beginning: str) -> Origin | None:
    try:
        parts = urlsplit(beginning)
        default = DEFAULT_PORTS[parts.scheme]
        port = default if parts.port is None else parts.port
    except (ValueError, KeyError):
        return None
    return Origin(parts.scheme, parts.hostname, port) if parts.hostname and port else None
