"""Removal of the content codings of a body, as `content_coding` has decided (RFC 9110 8.4.1).

The HTTP library does not decode, because this package has to see the end of the coded data: a coded body without a
length that breaks off would look complete otherwise. Codings that the standard library cannot decode are refused; the
coded bytes are not stored in their place.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from mediacrawl.download.content_coding import PEEKED_BYTES, Removal, codings_of, removal_of, wbits_of
from mediacrawl.errors import ConnectionLost, TransferError, WrongContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mediacrawl.headers import Digest

_MAX_BLOCK_BYTES = 256 * 1024
_STEP_BYTES = 16 * 1024  # behind a member: zlib copies what follows one, and a member may have as few as 20 bytes
_NOTHING = Removal()


class Content:
    """The content of one response: its body as it was sent, or with codings removed.

    Attributes:
        blocks: the bytes to store.
        is_decoded: whether a coding was removed, so that no range and no length of the response applies to `blocks`.
    """

    def __init__(
        self,
        blocks: Iterator[bytes],
        url: str = "",
        removal: Removal = _NOTHING,
        *,
        sent: _Sent | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.blocks = blocks
        self.is_decoded = bool(removal.codings)
        self._url = url
        self._removal = removal
        self._sent = sent
        self._check = check

    def check_end(self, stored: Iterable[bytes]) -> None:
        """Check that coded data that is kept does not break off. `stored` are the bytes that were received.

        Raises:
            ConnectionLost: the data ends in the middle. Other faults are no reason to suspect the connection.
        """
        if not self.is_decoded and self._removal.removable:
            coding = self._removal.removable[0]
            with suppress(zlib.error):
                try:
                    for _block in _inflated(iter(stored), coding):
                        self._check()
                except EOFError:
                    raise _ended_early(self._url, coding) from None

    def depth_for(self, digest: Digest, stored: Iterable[bytes]) -> int | None:
        """Return the number of codings to remove so that the file has a digest which the stored bytes do not have.

        Return None if that number is not known.

        Raises:
            WrongContent: the bytes are in a coding that cannot be removed.
        """
        if self._removal.unsupported is not None:
            raise _undecodable(self._url, self._removal.unsupported)
        if self._sent is not None and self._sent.has(digest):
            return 0
        codings, removable = self._removal.codings, self._removal.removable
        if codings == removable:
            return None
        decoded_hash = hashlib.new(digest.algorithm, usedforsecurity=False)
        with suppress(TransferError):
            for block in _all_decoded(iter(stored), removable[len(codings) :], self._url):
                self._check()
                decoded_hash.update(block)
            if digest.matches(decoded_hash.digest()):
                return len(removable)
        return None


class _Sent:
    """The hashes of a body as it was sent, computed while its blocks pass."""

    def __init__(self, digests: Sequence[Digest]) -> None:
        self._hashes = {one.algorithm: hashlib.new(one.algorithm, usedforsecurity=False) for one in digests}

    def passing(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the same blocks."""
        for block in blocks:
            for one in self._hashes.values():
                one.update(block)
            yield block

    def has(self, digest: Digest) -> bool:
        """Return whether the body has a digest."""
        one = self._hashes.get(digest.algorithm)
        return one is not None and digest.matches(one.digest())


def content_of(
    blocks: Iterator[bytes],
    headers: Mapping[str, str],
    url: str,
    *,
    names: Sequence[str] = (),
    digests: Sequence[Digest] = (),
    depth: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Content:
    """Read the first bytes of a body, decide which of its codings to remove, and return its content.

    Args:
        blocks: the body as it was sent.
        headers: of the response, with lower-case names.
        url: of the file, for errors.
        names: names of the file, the most trusted one first.
        digests: the digests that the file should have.
        depth: number of codings to remove, if it is known; None leaves the decision to `removal_of`.
        check: called before each decoded block; may raise. A few bytes may decompress to very many.

    Raises:
        WrongContent: the body is in a coding that cannot be removed, and no digest can show the opposite.
    """
    beginning, blocks = _peeked(blocks)
    codings = codings_of(headers.get("content-encoding"))
    removal = removal_of(codings, beginning, names, headers.get("content-type"))
    if depth is not None:
        removal = Removal(removal.removable[:depth], removal.removable)
    if removal.unsupported is not None and not digests:  # a digest may show that the coding is a mislabel
        raise _undecodable(url, removal.unsupported)
    if not removal.codings:
        return Content(blocks, url, removal, check=check)
    sent = _Sent(digests)
    decoded_blocks = _checked(_all_decoded(sent.passing(blocks), removal.codings, url), check)
    return Content(decoded_blocks, url, removal, sent=sent, check=check)


def _undecodable(url: str, coding: str) -> WrongContent:
    return WrongContent(
        url,
        f"the body came with Content-Encoding {coding}, which cannot be decoded here; asked for was identity, and"
        " nothing was stored",
    )


def _peeked(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first `PEEKED_BYTES` of the blocks, and the same blocks."""
    beginning = b""
    for block in blocks:
        beginning += block
        if len(beginning) >= PEEKED_BYTES:
            break
    return beginning[:PEEKED_BYTES], itertools.chain([beginning], blocks)


def _checked(blocks: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for block in blocks:
        check()
        yield block


def _all_decoded(blocks: Iterator[bytes], codings: Sequence[str], url: str) -> Iterator[bytes]:
    for coding in codings:
        blocks = decoded(blocks, coding, url)
    return blocks


def decoded(blocks: Iterator[bytes], coding: str, url: str) -> Iterator[bytes]:
    """Decode gzip or deflate, in blocks of bounded size even if a few bytes decompress to very many.

    Raises:
        ConnectionLost: the received bytes are not in that coding, or break off before the coded data ends.
    """
    try:
        yield from _inflated(blocks, coding)
    except zlib.error:
        raise ConnectionLost(url, f"the body's Content-Encoding {coding} is broken") from None
    except EOFError:
        raise _ended_early(url, coding) from None


def _ended_early(url: str, coding: str) -> ConnectionLost:
    return ConnectionLost(url, f"the body ended before its {coding} did")


def _inflated(blocks: Iterator[bytes], coding: str) -> Iterator[bytes]:
    """Decode all members of the data; skip zero bytes behind a member, which some servers use as padding.

    Raises:
        zlib.error: the data is not in that coding, or other bytes follow it.
        EOFError: the data breaks off.
    """
    beginning = b""
    for block in blocks:
        beginning += block
        if len(beginning) > 1:
            break
    if not beginning:
        return
    members = _Members(coding, wbits_of(coding, beginning))
    for block in itertools.chain([beginning], blocks):
        yield from members.inflated(block)
    yield members.end()


class _Members:
    """Decodes the members of a body; only gzip may have more than one (RFC 1952 2.2)."""

    def __init__(self, coding: str, wbits: int) -> None:
        self._coding = coding
        self._wbits = wbits
        self._unpacker = zlib.decompressobj(wbits)
        self._step_bytes: int | None = None  # None stands for all of a block

    def inflated(self, block: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of a block of the body.

        Raises:
            zlib.error: the data is not in the coding, or other bytes follow it.
        """
        at = 0
        while piece := block[at : self._step_bytes and at + self._step_bytes]:
            at += len(piece)
            if self._unpacker.eof and not (piece := self._begun(piece)):
                continue
            while piece:
                yield self._unpacker.decompress(piece, _MAX_BLOCK_BYTES)
                piece = b"" if self._unpacker.eof else self._unpacker.unconsumed_tail  # it may keep bytes at the end
            if self._unpacker.eof:
                at -= len(self._unpacker.unused_data)
                self._step_bytes = _STEP_BYTES

    def _begun(self, piece: bytes) -> bytes:
        """Begin another member, if more than zero bytes follow the last one; return its bytes."""
        piece = piece.lstrip(b"\0")
        if piece and self._coding != "gzip":
            raise zlib.error("other bytes follow the data")
        if piece:
            self._unpacker = zlib.decompressobj(self._wbits)
        return piece

    def end(self) -> bytes:
        """Return the decoded bytes that are left at the end of the body.

        Raises:
            EOFError: the data breaks off.
        """
        rest = self._unpacker.flush()
        if not self._unpacker.eof:
            raise EOFError
        return rest
