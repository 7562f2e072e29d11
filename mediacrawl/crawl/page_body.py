"""Whether a response has a page in which media can be looked for."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy.http import TextResponse
from scrapy.utils import _compression as compression

from mediacrawl.headers import kind_of_path, kind_of_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.http import Response

_DOWNLOADS = frozenset(
    """
    7z apk bin bz2 cab deb dmg doc docx epub exe gz iso jar msi odt pdf pkg ppt pptx rar rpm tar tgz torrent xls xlsx
    xz zip
    """.split()  # noqa: SIM905 - one name a line would be a page
)
DATALOSS = "dataloss"  # the flag of Scrapy for a response of which only the beginning has arrived
_BEGINNING = "only the beginning of the page has arrived"
_CHUNK_BYTES = 65536
_codings: Any = compression  # the packages that Scrapy has found for brotli and Zstandard

_BINARY = frozenset(map(chr, (*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20))))  # as in WHATWG MIME Sniffing
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_SNIFFED = 1445  # characters; in WHATWG MIME Sniffing it is the length of the resource header, in bytes


def why_unreadable(response: Response, has_contents: Callable[[], bool]) -> str | None:
    """Return why a response has no page, or not all of it, in a few words; None for a page and for media.

    Browsers show what is declared as HTML as such, whatever bytes are in it (WHATWG MIME Sniffing, 7). It counts as
    binary only if there are binary bytes at its beginning, and `has_contents` returns that there is nothing to take.
    """
    content_type = (response.headers.get("Content-Type") or b"").decode("latin-1").partition(";")[0].strip()
    is_text = isinstance(response, TextResponse)
    if kind_of_type(content_type) or not (is_text or kind_of_path(urlsplit(response.url).path) is None):
        return None
    if not response.body:
        return _BEGINNING if DATALOSS in response.flags else "an empty response"
    if not isinstance(response, TextResponse) or not _BINARY.isdisjoint(response.text[:_SNIFFED]):
        coding = (response.headers.get("Content-Encoding") or b"").decode("latin-1")
        if coding:
            return f"Content-Encoding {coding} cannot be decoded"
        if not (is_text and content_type.lower() in _HTML and has_contents()):
            return f"not a page but binary {content_type}"
    return _BEGINNING if DATALOSS in response.flags else None


def is_download(url: str) -> bool:
    """Return whether a URL has the name of a file that a browser saves, and shows the page on."""
    return urlsplit(url).path.rpartition("/")[2].rpartition(".")[2].lower() in _DOWNLOADS


def is_complete(body: bytes, coding: str) -> bool:
    """Return whether a body that can be decoded is complete; True for an unknown coding.

    Scrapy decodes as much as there is. A wrong checksum at the end of a complete body does not matter to browsers.
    """
    if coding in {"gzip", "x-gzip"}:
        return _is_inflated(body, zlib.MAX_WBITS | 16)
    if coding == "deflate":
        return _is_inflated(body, zlib.MAX_WBITS) or _is_inflated(body, -zlib.MAX_WBITS)
    if coding == "br":
        return _is_brotli_complete(body)
    return coding != "zstd" or _is_zstd_complete(body)


def _is_inflated(body: bytes, window_bits: int) -> bool:
    inflater = zlib.decompressobj(window_bits)
    try:
        for start in range(0, len(body), _CHUNK_BYTES):
            rest = body[start : start + _CHUNK_BYTES]  # zlib copies what is left at each step
            while rest and not inflater.eof:
                inflater.decompress(rest, _CHUNK_BYTES)
                rest = inflater.unconsumed_tail
    except zlib.error as error:
        return "data check" in str(error) or "length check" in str(error)
    return inflater.eof


def _is_brotli_complete(body: bytes) -> bool:
    decompressor = _codings.brotli.Decompressor()
    while not decompressor.is_finished():
        if not decompressor.process(body, output_buffer_limit=_CHUNK_BYTES):
            return bool(decompressor.is_finished())
        body = b""
    return True


def _is_zstd_complete(body: bytes) -> bool:
    decompressor = _codings.zstd.ZstdDecompressor()
    while not decompressor.eof:
        decompressor.decompress(body, _CHUNK_BYTES)
        body = b""
        if decompressor.needs_input:
            break
    return bool(decompressor.eof)
