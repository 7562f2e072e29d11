"""Content codings of servers that use one although `identity` was asked for (RFC 9110 8.4.1).

Decoded here and not by the HTTP library, because the end must be seen: a coded body without a length that breaks off
looks whole otherwise. Codings that the standard library cannot read are refused rather than stored as they are.
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
    """The body behind one coding, in blocks of bounded size, however small the bytes are that unpack to it.

    Raises:
        WrongContent: a coding, or several, that cannot be read here.
        ConnectionLost: what came is not in that coding, or ended before its end.
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
            if unpacker.eof:  # gzip may come in several members (RFC 1952 2.2)
                unpacker = zlib.decompressobj(wbits)
            yield unpacker.decompress(data, _MAX_BLOCK_BYTES)
            data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    yield unpacker.flush()
    if not unpacker.eof:
        raise EOFError


def _deflate_wbits(beginning: bytes) -> int:
    """With the zlib header that the RFC wants, or without it, as some servers send it (RFC 1950 2.2)."""
    has_header = len(beginning) > 1 and beginning[0] & 0x0F == zlib.DEFLATED
    return zlib.MAX_WBITS if has_header and int.from_bytes(beginning[:2], "big") % 31 == 0 else -zlib.MAX_WBITS
