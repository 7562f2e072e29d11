"""Which URLs can be fetched, and where they lead. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port (RFC 9110 4.3.1). Cookies and credentials stay within one."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin | None:
        """None for what is not an http or https URL with a host."""
        try:
            parts = urlsplit(url)
            default = DEFAULT_PORTS[parts.scheme]
            port = default if parts.port is None else parts.port
        except (ValueError, KeyError):
            return None
        if not parts.hostname or not port or any(character.isspace() for character in url):
            return None
        return cls(parts.scheme, parts.hostname, port)
