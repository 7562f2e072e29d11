"""The loop that reads response bodies: for single connections, for the helpers of a large file, in every process.

This module also decides when a body ends before it is complete: after a stop, and after a stall.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from mediacrawl.system.pipe import PIPE_BYTES, open_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.segments import Segment
    from mediacrawl.download.transfer_policy import Stall
    from mediacrawl.transport.base import TransportResponse

_SPLICED_AT_ONCE = 256 * 1024


class Body:
    """The body of one response, read while it is received."""

    def __init__(self, answer: TransportResponse, stall: Stall, cancel: Cancel) -> None:
        self._answer = answer
        self._stall = stall
        self._cancel = cancel

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks of the body as they are received, in the content coding in which they were sent.

        Raises:
            ConnectionLost: the connection broke or stalled, or the body is shorter than its length.
            Interrupted: a stop was requested. Data read after an abort may be arbitrary, so none of it is yielded.
        """
        for block in self._answer.blocks():
            self._cancel.check()
            yield block
            self._count(len(block))
        # A stop wakes up a blocked read, which then looks like the end of a body that has no length.
        self._cancel.check()

    def splice(self, pipe: int, at_most: int) -> int | None:
        """Move received bytes into an empty pipe, see `TransportResponse.splice`. Raises the errors of `blocks`."""
        moved = self._answer.splice(pipe, at_most)
        if moved:
            self._count(moved)
        return moved

    def _count(self, new_bytes: int) -> None:
        self._cancel.check()
        self._stall.seen(new_bytes)


class Sink(Protocol):
    """A receiver of the bytes of a segment."""

    def write(self, segment: Segment, data: bytes) -> None:
        """Write bytes at the start of the segment, and advance that start."""

    def write_from(self, segment: Segment, pipe: int, size_bytes: int) -> None:
        """Write `size_bytes` bytes from a pipe at the start of the segment, and advance that start."""

    def extend(self, segment: Segment) -> bool:
        """Return whether the full segment was extended."""

    def received(self) -> None:
        """Handle the end of a write; called after each piece. An exception raised here ends the body."""


def receive(
    body: Body, blocks: Iterator[bytes], segment: Segment, sink: Sink, *, splices: bool = False
) -> Iterator[bytes]:
    """Write a body into its segment until the body ends or the segment is full. Return the bytes that follow.

    Args:
        body: the source of the bytes after the first block, if `splices` is set.
        blocks: the blocks of this body; the caller may have inspected some of them already.
        segment: the range of the file that the bytes belong to.
        sink: the destination of the bytes.
        splices: move all but the first block within the kernel, without reading them, where that is possible.
    """
    for block in blocks:
        rest = _fill(segment, block, sink)
        if rest is not None:
            return itertools.chain([rest], blocks)
        sink.received()
        if splices:
            splices = False
            _splice(body, segment, sink)
            if segment.is_full:
                return blocks
    return iter(())


def _fill(segment: Segment, block: bytes, sink: Sink) -> bytes | None:
    """Write a block into the segment. Return the rest of the block if the segment is full and was not extended."""
    while True:
        data = block[: segment.room(len(block))]
        sink.write(segment, data)
        if not segment.is_full:
            return None
        block = block[len(data) :]
        if not sink.extend(segment):
            return block


def _splice(body: Body, segment: Segment, sink: Sink) -> None:
    with open_pipe() as (source, pipe):
        while not segment.is_full or sink.extend(segment):
            # Bytes that are about to be moved cannot be given to a helper: move only a small part of the rest.
            at_once = min(PIPE_BYTES, max(_SPLICED_AT_ONCE, segment.missing_bytes // 64))
            moved = body.splice(pipe, segment.room(at_once))
            if not moved:
                return
            sink.write_from(segment, source, moved)
            sink.received()
