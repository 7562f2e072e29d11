"""The origins of URLs, and whether a URL can be fetched. No I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

HTTP_SCHEMES = ("http", "https")
DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21, "ftps": 990}  # of the schemes that can be fetched
_BEGINNING = re.compile(r"[^/]*//[^/?#]*")  # scheme and authority (RFC 3986 3)
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")  # or a control character: `urlsplit` drops leading control characters
_LONGEST_HOST = 300  # characters, with scheme and port; a host name has at most 253 (RFC 1035 2.3.4)
_LONGEST = 8_192  # characters, with credentials
_LONGEST_BEYOND_ASCII = 1_024  # `urlsplit` normalises these, which may take the square of the time
# Only a port may follow an IPv6 address, and only credentials may precede it (RFC 3986 3.2.2).
_BESIDE_BRACKETS = re.compile(r"\](?!:\d*$|$)|(?<![/@])\[")


class Origin(NamedTuple):
    """Scheme, host and port (RFC 9110 4.3.1). Cookies and credentials are sent to no other origin."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin | None:
        """Return the origin of a URL; None if it is not an http, https, ftp or ftps URL with a host."""
        beginning = _BEGINNING.match(url)
        if beginning is None or _BLANK.search(url) or "\\" in beginning[0]:  # other parsers read it as "/"
            return None
        if ("]" in beginning[0] or "[" in beginning[0]) and _BESIDE_BRACKETS.search(beginning[0]):
            return None
        return _origin_of(beginning[0]) if len(beginning[0]) <= _LONGEST_HOST else _of_long(beginning[0])


def _of_long(beginning: str) -> Origin | None:
    """Return the origin of a URL with long credentials; None if it is the host that is long."""
    most = _LONGEST if beginning.isascii() else _LONGEST_BEYOND_ASCII
    is_host = len(beginning.rpartition("@")[2]) > _LONGEST_HOST
    return None if len(beginning) > most or is_host else _origin_of(beginning)


@lru_cache(maxsize=256)  # used several times in each transfer, and many files have the same host
def _origin_of(beginning: str) -> Origin | None:
    try:
        parts = urlsplit(beginning)
        default = DEFAULT_PORTS[parts.scheme]
        port = default if parts.port is None else parts.port
    except (ValueError, KeyError):
        return None
    return Origin(parts.scheme, parts.hostname, port) if parts.hostname and port else None
