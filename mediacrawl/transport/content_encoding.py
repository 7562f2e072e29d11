"""Decode the content codings that servers apply although the request accepts only `identity` (RFC 9110 8.4.1).

The HTTP library does not decode, because this package has to see the end of the coded data: a coded body without a
length that breaks off would look complete otherwise. Codings that the standard library cannot read are refused; the
coded bytes are not stored in their place.
"""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

from mediacrawl.errors import ConnectionLost, WrongContent

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_BLOCK_BYTES = 256 * 1024
_GZIP = zlib.MAX_WBITS | 16


def decoded(blocks: Iterator[bytes], coding: str, url: str) -> Iterator[bytes]:
    """Yield the decoded body, in blocks of bounded size even if a few bytes decompress to very many.

    Raises:
        WrongContent: `coding` is unsupported, or names several codings.
        ConnectionLost: the received bytes are not in that coding, or break off before the coded data ends.
    """
    name = coding.strip().lower()
    if name in {"", "identity"}:
        yield from blocks
        return
    if name not in {"gzip", "x-gzip", "deflate"}:
        raise WrongContent(url, f"the body came with Content-Encoding {coding[:40]!r}, asked for was identity")
    try:
        yield from _inflated(blocks, is_gzip=name != "deflate")
    except zlib.error:
        raise ConnectionLost(url, f"the body's Content-Encoding {name} is broken") from None
    except EOFError:
        raise ConnectionLost(url, f"the body ended before its {name} did") from None


def _inflated(blocks: Iterator[bytes], *, is_gzip: bool) -> Iterator[bytes]:
    beginning = b""
    for block in blocks:
        beginning += block
        if len(beginning) > 1:
            break
    if not beginning:
        return
    wbits = _GZIP if is_gzip else _deflate_wbits(beginning)
    unpacker = zlib.decompressobj(wbits)
    for block in itertools.chain([beginning], blocks):
        data = block
        while data:
            if unpacker.eof:  # a gzip body may consist of several members (RFC 1952 2.2)
                unpacker = zlib.decompressobj(wbits)
            yield unpacker.decompress(data, _MAX_BLOCK_BYTES)
            data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    yield unpacker.flush()
    if not unpacker.eof:
        raise EOFError


def _deflate_wbits(beginning: bytes) -> int:
    """Return the `wbits` value for data with the zlib header of RFC 1950 2.2, or without it, as some servers send."""
    has_header = len(beginning) > 1 and beginning[0] & 0x0F == zlib.DEFLATED
    return zlib.MAX_WBITS if has_header and int.from_bytes(beginning[:2], "big") % 31 == 0 else -zlib.MAX_WBITS
