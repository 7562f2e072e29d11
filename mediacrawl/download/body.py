"""The one loop that reads bodies: for a connection that is alone, for helpers of a large file, in every process.

What ends a body before it is through is decided here: a stop, and a stall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mediacrawl.system.pipe import PIPE_BYTES, open_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.policy import Stall
    from mediacrawl.download.segments import Segment
    from mediacrawl.transport.base import TransportResponse

_SPLICED_AT_ONCE = 256 * 1024


class Body:
    """The body of one answer, as it arrives."""

    def __init__(self, answer: TransportResponse, stall: Stall, cancel: Cancel, *, decode: bool = False) -> None:
        """`decode` takes the content coding off."""
        self._answer = answer
        self._stall = stall
        self._cancel = cancel
        self._decode = decode

    def blocks(self) -> Iterator[bytes]:
        """Blocks as they arrive.

        Raises:
            ConnectionLost: broken, stalled, or shorter than its length.
            Interrupted: a stop was asked for. What comes after an abort may be anything: nothing of it is given.
        """
        for block in self._answer.blocks(decode=self._decode):
            self._cancel.check()
            yield block
            self._count(len(block))
        # A stop wakes up a blocked read, which then looks like the end of a body that has no length.
        self._cancel.check()

    def splice(self, pipe: int, at_most: int) -> int | None:
        """Move what has arrived into an empty pipe, see `TransportResponse.splice`. Raises as `blocks`."""
        moved = self._answer.splice(pipe, at_most)
        if moved:
            self._count(moved)
        return moved

    def _count(self, new_bytes: int) -> None:
        self._cancel.check()
        self._stall.seen(new_bytes)


class Sink(Protocol):
    """Takes what arrives for a share."""

    def write(self, share: Segment, data: bytes) -> None:
        """Write bytes at the start of the share, and move that on."""

    def write_from(self, share: Segment, pipe: int, size_bytes: int) -> None:
        """The same, of so many bytes that are in a pipe."""

    def extend(self, share: Segment) -> bool:
        """Whether the share, which is full, has got more."""

    def received(self) -> None:
        """Called after each piece. Whatever it raises ends the body."""


def receive(body: Body, blocks: Iterator[bytes], share: Segment, sink: Sink, *, splices: bool = False) -> None:
    """Write a body into its share until the body ends or the share is full.

    Args:
        body: gives what comes after `blocks`, if it `splices`.
        blocks: of this body; some may have been looked at.
        share: what the bytes are for.
        sink: where they go.
        splices: move all but the first block within the kernel, unseen, where that can be done.
    """
    for block in blocks:
        if _fill(share, block, sink):
            return
        sink.received()
        if splices:
            splices = False
            _splice(body, share, sink)
            if share.is_full and not sink.extend(share):
                return


def _fill(share: Segment, block: bytes, sink: Sink) -> bool:
    """Whether the share is full, and gets no more."""
    while True:
        data = block[: share.room(len(block))]
        sink.write(share, data)
        if not share.is_full:
            return False
        if not sink.extend(share):
            return True
        block = block[len(data) :]


def _splice(body: Body, share: Segment, sink: Sink) -> None:
    with open_pipe() as (source, pipe):
        while not share.is_full:
            # What is about to be moved cannot be given away to a helper: little of what is left.
            at_once = min(PIPE_BYTES, max(_SPLICED_AT_ONCE, share.missing_bytes // 64))
            moved = body.splice(pipe, share.room(at_once))
            if not moved:
                return
            sink.write_from(share, source, moved)
            sink.received()
