"""The decision which content codings are removed from a body: a pure function of its head, names and first bytes.

Every request accepts only `identity`, so that a coding in a response is most often a mislabel: servers name gzip for
files that are gzip files themselves, and for files that are not compressed at all. The name of a coding is therefore
a hint. The table in `tests/download/test_content_coding.py` is the contract of this module.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.download.signatures import PLAIN, formats_of_name, formats_of_type, is_text, signature_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PEEKED_BYTES = 4096  # a random body of this size is no raw deflate stream by chance
_LEAST_RAW_BYTES = 64  # a shorter text may look like the beginning of a raw deflate stream
_MOST_DECODED_BYTES = 1032 * _LEAST_RAW_BYTES  # deflate expands by a factor of at most 1032

# The registered names (IANA, HTTP Content Coding Registry), and the coding that each stands for. Other names, such as
# UTF-8, none or aws-chunked, stand for no coding: the body is then the same as without the field.
_REGISTERED = {
    "gzip": "gzip",
    "x-gzip": "gzip",  # RFC 9110 8.4.1.3
    "deflate": "deflate",
    "compress": "compress",
    "x-compress": "compress",  # RFC 9110 8.4.1.1
    "br": "br",
    "zstd": "zstd",
    "exi": "exi",
    "pack200-gzip": "pack200-gzip",
    "dcb": "dcb",
    "dcz": "dcz",
}
# The formats whose signature the data in a coding has. For the others there is none, or it is optional.
_SIGNATURE_OF_CODING = {
    "compress": "compress",
    "zstd": "zstd",
    "pack200-gzip": "gzip",
    "dcb": "dcb",
    "dcz": "dcz",
}
_GZIP_MAGIC = b"\x1f\x8b"


class Removal(NamedTuple):
    """The decision about the codings of one body.

    Attributes:
        codings: the codings to remove, the one that was applied last first. If this is empty, the bytes are kept as
            they were sent.
        removable: all codings that the bytes are in, in the same order; `codings` is the beginning of it.
        unsupported: the coding that the bytes seem to be in although it cannot be removed, so that the body is
            useless; None if there is none.
    """

    codings: tuple[str, ...] = ()
    removable: tuple[str, ...] = ()
    unsupported: str | None = None


def codings_of(content_encoding: str | None) -> tuple[str, ...]:
    """Return the registered codings that a Content-Encoding names, in the order in which they were applied."""
    if not content_encoding:
        return ()
    names = (member.partition(";")[0].strip().lower() for member in content_encoding.split(","))
    return tuple(_REGISTERED[name] for name in names if name in _REGISTERED)


def removal_of(
    codings: Sequence[str], beginning: bytes, names: Sequence[str] = (), content_type: str | None = None
) -> Removal:
    """Decide which codings to remove from a body.

    A coding that the bytes contradict counts as not named. A file that is compressed according to its name or
    Content-Type keeps its own compression: if several forms of the body fit, the form with most codings removed.

    Args:
        codings: from `codings_of`.
        beginning: the first bytes of the body, `PEEKED_BYTES` unless the body is shorter.
        names: names of the file, the most trusted one first.
        content_type: of the response.
    """
    removable: list[str] = []
    forms: list[set[str]] = []
    unsupported: str | None = None
    data = beginning
    for coding in reversed(codings):
        if _contradicts(coding, data):
            continue
        decoded = _decoded_beginning(coding, data)
        if decoded is None:
            unsupported = coding
            break
        removable.append(coding)
        forms.append(_formats_of_data(data) | {coding})
        data = decoded
    forms.append(_formats_of_data(data) | ({unsupported} if unsupported else set()))
    kept_from = _own_form(forms, names, content_type)
    if kept_from is None:
        if unsupported is not None:
            return Removal(removable=tuple(removable), unsupported=unsupported)
        kept_from = len(removable)
    return Removal(tuple(removable[:kept_from]), tuple(removable))


def _formats_of_data(data: bytes) -> set[str]:
    signature = signature_of(data)
    return {signature} if signature else set()


def _own_form(forms: Sequence[set[str]], names: Sequence[str], content_type: str | None) -> int | None:
    """Return the number of codings to remove so that the bytes have the format of the file; None if none fits."""
    for formats in _own_formats(names, content_type):
        fitting = [number for number, form in enumerate(forms) if not form.isdisjoint(formats)]
        if fitting:
            return fitting[-1]
    return None


def _own_formats(names: Sequence[str], content_type: str | None) -> Iterator[tuple[str, ...]]:
    for name in names:
        formats = formats_of_name(name)
        if PLAIN in formats:  # without a signature it fits nothing, but the names after it are less trusted
            break
        yield formats
    yield formats_of_type(content_type)


def _contradicts(coding: str, data: bytes) -> bool:
    """Return whether data is certainly not in a coding."""
    if not data:
        return True
    if coding == "gzip":
        return not _GZIP_MAGIC.startswith(data[:2])  # one byte may be the beginning of a body that breaks off
    if coding == "deflate":
        return signature_of(data) is not None or not _is_deflate(data)
    if coding in _SIGNATURE_OF_CODING:
        return signature_of(data) != _SIGNATURE_OF_CODING[coding]
    return signature_of(data) not in {None, coding} or is_text(data)


def _decoded_beginning(coding: str, data: bytes) -> bytes | None:
    """Return the first decoded bytes, none if the data is broken; None if the coding cannot be decoded."""
    if coding not in {"gzip", "deflate"}:
        return None
    try:
        return zlib.decompressobj(wbits_of(coding, data)).decompress(data, PEEKED_BYTES)
    except zlib.error:
        return b""


def wbits_of(coding: str, beginning: bytes) -> int:
    """Return the `wbits` value with which zlib decodes gzip or deflate.

    Some servers send deflate without the zlib header that RFC 9110 8.4.1.2 requires.
    """
    if coding == "gzip":
        return zlib.MAX_WBITS | 16
    return zlib.MAX_WBITS if _has_zlib_header(beginning) else -zlib.MAX_WBITS


def _has_zlib_header(beginning: bytes) -> bool:
    """Return whether data begins with the header of RFC 1950 2.2, without a preset dictionary."""
    if len(beginning) < 2:
        return False
    method, flags = beginning[0], beginning[1]
    return (
        method & 0x0F == zlib.DEFLATED and method >> 4 <= 7 and not flags & 0x20 and (method << 8 | flags) % 31 == 0
    )


def _is_deflate(data: bytes) -> bool:
    if _has_zlib_header(data):
        return True
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        decoded = unpacker.decompress(data, _MOST_DECODED_BYTES)
    except zlib.error:
        return False
    if unpacker.eof:
        return not unpacker.unused_data.strip(b"\0")
    return bool(decoded) and len(data) >= _LEAST_RAW_BYTES
