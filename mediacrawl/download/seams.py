"""Comparison of received bytes with the bytes on the disk, where two responses meet.

The head of a response may be right and its body wrong: some servers send the file from its first byte on, whatever
range the head names. A request therefore covers some bytes that are on the disk already, or that another connection
fetches, and both are compared.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from mediacrawl.download.resume import OVERLAP_BYTES
from mediacrawl.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.download.resume import Head
    from mediacrawl.store.parts import PartFile


class SeamDiffers(Exception):
    """The bytes of two responses do not belong together, although their heads name the same version.

    The seam stays in the record of the part: its bytes are never published.
    """


def after_overlap(part: PartFile, start: int, stop: int, blocks: Iterator[bytes]) -> Iterator[bytes] | None:
    """Compare the bytes `[start, stop)` of a part with the beginning of a body.

    Returns:
        The bytes of the body that follow; None if a byte differs.

    Raises:
        EOFError: the body ended before `stop`.
    """
    offset = start
    if offset == stop:
        return blocks
    for block in blocks:
        shared = min(len(block), stop - offset)
        if block[:shared] != part.read(offset, offset + shared):
            return None
        offset += shared
        if offset == stop:
            return itertools.chain([block[shared:]], blocks)
    raise EOFError


class Seams:
    """The seams of one part: the offsets where the bytes of two responses meet.

    A response delivers some bytes behind the end of its segment. They are compared with the first bytes of the next
    segment as soon as those are on the disk. All threads of a transfer share this object.
    """

    def __init__(self, part: PartFile) -> None:
        self._part = part
        self._lock = threading.Lock()
        self._beyond: dict[int, bytes] = {}  # end of a segment -> the bytes that its response had behind it

    def bytes_beyond(self, stop: int) -> int:
        """Return how many bytes behind the end of a segment are to be requested and compared."""
        record = self._part.record
        total = record.complete_length if record is not None else None
        return 0 if total is None else max(0, min(OVERLAP_BYTES, total - stop))

    def read_beyond(self, stop: int | None, rest: Iterator[bytes]) -> Iterator[bytes]:
        """Read the bytes behind the end of a segment from the rest of its body, and compare what can be compared.

        If the body ends or breaks off early, the seam stays open. Return the bytes that follow.

        Raises:
            SeamDiffers: the next segment has other bytes, or another pair of segments differs.
        """
        wanted = 0 if stop is None else self.bytes_beyond(stop)
        if stop is None or not wanted:
            return rest
        beyond = b""
        try:
            for block in rest:
                beyond += block
                if len(beyond) >= wanted:
                    break
        except TransferError:
            return iter(())
        if len(beyond) >= wanted:
            with self._lock:
                self._beyond[stop] = beyond[:wanted]
            self.check()
        return itertools.chain([beyond[wanted:]], rest)

    def read_end(self, head: Head, stop: int, rest: Iterator[bytes]) -> None:
        """Check that a body without a length ends at `stop`, where its Content-Range or the known length ends.

        A malformed chunk may have made its framing a part of the file. Until the end is seen, the last bytes count as
        a seam: if the body breaks off, or the process ends while it waits, another response is to confirm them.

        Raises:
            SeamDiffers: more bytes follow.
            TransferError: the body breaks off, or a chunk is malformed.
        """
        span = head.content_range
        if head.content_length is not None or (span is not None and span.stop != stop):
            return
        self._part.note_seam(stop - 1)
        if any(rest):
            raise SeamDiffers
        self._part.close_seam(stop - 1)

    def check(self) -> None:
        """Compare the bytes that are on the disk by now.

        Raises:
            SeamDiffers: two segments have different bytes.
        """
        with self._lock:
            for offset, beyond in list(self._beyond.items()):
                if not self._part.has(offset, offset + len(beyond)):
                    continue
                if self._part.read(offset, offset + len(beyond)) != beyond:
                    self._part.note_seam(offset)  # also where the next segment has compared the bytes before it
                    raise SeamDiffers
                del self._beyond[offset]
                self._part.close_seam(offset)
