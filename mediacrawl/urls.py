"""Which URLs can be fetched, and where they lead. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
_BLANK = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port (RFC 9110 4.3.1). Cookies and credentials stay within one."""

    scheme: str
    host: str
    port: int

    @classmethod
    @lru_cache(maxsize=256)  # every step of a transfer asks for the origin of the same URL
    def of(cls, url: str) -> Origin | None:
        """None for what is not an http or https URL with a host."""
        try:
            parts = urlsplit(url)
            default = DEFAULT_PORTS[parts.scheme]
            port = default if parts.port is None else parts.port
        except (ValueError, KeyError):
            return None
        if not parts.hostname or not port or _BLANK.search(url):
            return None
        return cls(parts.scheme, parts.hostname, port)
