"""The keys that versions before 0.2 gave to URLs, so that the rows and parts of these versions are found. No I/O."""

from __future__ import annotations

import re

from mediacrawl.urls.as_sent import key_of_url

# URLs that canonicalize_url returns unchanged: nothing to sort, to unquote or to fold.
_CANONICAL = re.compile(
    r"https?://[a-z0-9][a-z0-9.-]*(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]*)+",
    re.ASCII,
)
_ENCODED_BY_SCRAPY = re.compile(r"['\[\]^`{|}\\]")  # in the URL that a row holds


def former_key_of_url(url: str) -> str:
    """Return the former key of a URL without credentials: its canonical form, which several URLs may share."""
    if _CANONICAL.fullmatch(url) is not None:
        return url
    from w3lib.url import canonicalize_url  # noqa: PLC0415 - seldom needed

    try:
        return canonicalize_url(url)
    except ValueError:
        return url


def is_row_of(key: str, stored_url: str) -> bool:
    """Return whether a row with a former key and this URL is about the file that has `key` now."""
    stored = key_of_url(stored_url)
    return stored == key or stored == _ENCODED_BY_SCRAPY.sub(lambda match: f"%{ord(match[0]):02X}", key)
