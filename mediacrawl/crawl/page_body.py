"""Whether a response has a page in which media can be looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy.http import TextResponse

from mediacrawl.headers import kind_of_path, kind_of_type

if TYPE_CHECKING:
    from scrapy.http import Response

_BINARY = frozenset(map(chr, (*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20))))  # as in WHATWG MIME Sniffing
_SNIFFED = 1445  # characters; in WHATWG MIME Sniffing it is the length of the resource header, in bytes


def why_unreadable(response: Response) -> str | None:
    """Return why a response has no page, or not all of it, in a few words; None for a page and for media."""
    content_type = (response.headers.get("Content-Type") or b"").decode("latin-1").partition(";")[0].strip()
    is_text = isinstance(response, TextResponse)
    if kind_of_type(content_type) or not (is_text or kind_of_path(urlsplit(response.url).path) is None):
        return None
    if not response.body:
        return "an empty response"
    if not isinstance(response, TextResponse) or not _BINARY.isdisjoint(response.text[:_SNIFFED]):
        coding = (response.headers.get("Content-Encoding") or b"").decode("latin-1")
        return f"Content-Encoding {coding} cannot be decoded" if coding else f"not a page but binary {content_type}"
    return "only the beginning of the page has arrived" if "dataloss" in response.flags else None
