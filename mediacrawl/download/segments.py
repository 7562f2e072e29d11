"""Several connections for one large file, only where they pay.

The front share is read by the transfer itself. Helpers take the rear half of the largest share, each over a
connection of its own, as long as every further one makes the whole faster: a server that limits each connection
gives more to more of them, another does not, and then there is at most one helper.

One strong validator holds for all: a helper sends it as If-Range and wants a 206 with exactly its range. A helper
that gets anything else gives up; what it leaves is a gap that the transfer asks for like any other missing part.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mediacrawl.download.plan import Ask, Manner
from mediacrawl.download.request import Cancel
from mediacrawl.errors import Interrupted, MachineError, MediacrawlError, TransferError
from mediacrawl.headers import Agreement, range_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.download.exchange import Exchange
    from mediacrawl.download.plan import Head
    from mediacrawl.headers import Validators
    from mediacrawl.store.partfile import PartFile

_SPLIT_BYTES = 4 * 1024 * 1024  # a smaller share is not worth another connection


@dataclass(frozen=True, slots=True)
class SegmentPolicy:
    """When to use how many connections for one file.

    Attributes:
        connections: at most this many, 1 is never more than one.
        from_bytes: only while at least that much is missing.
        measure_s: how long to look at the speed before and after adding one.
        gain: the speed must grow by this factor for the next one to be added; 0 adds all at once.
    """

    connections: int = 1
    from_bytes: int = 32 * 1024 * 1024
    measure_s: float = 2.0
    gain: float = 1.25

    def of(self, connections: int | None, *, ranges_refused: bool) -> SegmentPolicy:
        """The policy for one transfer: its own wish counts, and takes all connections at once."""
        if ranges_refused:
            return SegmentPolicy(1)
        if connections is None:
            return self
        return SegmentPolicy(connections, min(self.from_bytes, 2 * _SPLIT_BYTES), 0.0, 0.0)


class Share:
    """What one connection is to bring: from `start` (moves on as bytes arrive) to `stop` (may be taken back)."""

    def __init__(self, start: int, stop: int | None) -> None:
        self.start = start
        self.stop = stop
        self.taken = start  # up to here bytes have come, though they may not be written yet
        self.lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        return self.stop is not None and self.start >= self.stop

    @property
    def missing_bytes(self) -> int:
        return 0 if self.stop is None else max(0, self.stop - self.start)

    def room(self, wanted_bytes: int) -> int:
        """How many of so many bytes belong to this share; after this call they cannot be taken back."""
        with self.lock:
            room = wanted_bytes if self.stop is None else min(wanted_bytes, max(0, self.stop - self.start))
            self.taken = self.start + room
            return room

    def advance(self, written_bytes: int) -> None:
        with self.lock:
            self.start += written_bytes

    def split(self) -> Share | None:
        """Give the rear half away, None when that is not worth it."""
        with self.lock:
            start = max(self.start, self.taken)
            if self.stop is None or self.stop - start < 2 * _SPLIT_BYTES:
                return None
            middle = start + (self.stop - start) // 2
            rear = Share(middle, self.stop)
            self.stop = middle
            return rear


class Alone:
    """A crew of nobody."""

    def consider(self) -> None: ...

    def join(self) -> None: ...

    def stop(self) -> None: ...


class Crew:
    """The helpers of one body."""

    def __init__(
        self,
        front: Share,
        part: PartFile,
        validators: Validators,
        policy: SegmentPolicy,
        *,
        new_exchange: Callable[[], Exchange],
        count: Callable[[int], None],
        cancel: Cancel,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shares = [front]
        self._part = part
        self._validators = validators
        self._policy = policy
        self._new_exchange = new_exchange
        self._count = count
        self._cancel = cancel
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self._over = Cancel()
        self._lock = threading.Lock()
        self._error: MachineError | None = None
        self._may_grow = policy.connections > 1 and validators.if_range() is not None
        self._measured_at = clock()
        self._measured_bytes = part.written_bytes
        self._speed = 0.0

    def consider(self) -> None:
        """Called after each block: add a helper when it is time to, and worth it."""
        if not self._may_grow:
            return
        elapsed_s = self._clock() - self._measured_at
        if elapsed_s < self._policy.measure_s:
            return
        done = self._part.written_bytes
        speed = (done - self._measured_bytes) / elapsed_s if elapsed_s else 0.0
        missing = sum(share.missing_bytes for share in self._shares)
        pays = not self._threads or speed >= self._speed * self._policy.gain
        if missing < self._policy.from_bytes or not pays or len(self._threads) + 1 >= self._policy.connections:
            self._may_grow = False
            return
        self._measured_at, self._measured_bytes, self._speed = self._clock(), done, speed
        self._add()

    def join(self) -> None:
        """Wait for the helpers, lending a hand is their own matter: each takes over from the slowest."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.2)
                self._cancel.check()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End all helpers before the part is touched in another way."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _add(self) -> None:
        share = self._largest_split()
        if share is None:
            self._may_grow = False
            return
        thread = threading.Thread(target=self._help, args=(share,), daemon=True, name="segment")
        self._threads.append(thread)
        thread.start()

    def _largest_split(self) -> Share | None:
        with self._lock:
            rear = max(self._shares, key=lambda share: share.missing_bytes).split()
            if rear is not None:
                self._shares.append(rear)
            return rear

    def _help(self, share: Share | None) -> None:
        """Bring one share, then half of the largest that is left, until there is nothing to take."""
        try:
            while share is not None and not self._over.is_set:
                self._bring(share)
                share = self._largest_split()
        except MachineError as error:
            self._error = error
        except (TransferError, Interrupted, MediacrawlError):
            pass  # the gap stays, the transfer asks for it
        finally:
            if share is not None:
                self._abandon(share)

    def _abandon(self, share: Share) -> None:
        """Nobody waits for, or takes from, a share that nobody brings."""
        with self._lock, suppress(ValueError):
            self._shares.remove(share)

    def _bring(self, share: Share) -> None:
        if_range = self._validators.if_range()
        assert if_range is not None
        span = range_header(share.start, share.stop)
        ask = Ask(Manner.IF_RANGE, share.start, (("Range", span), ("If-Range", if_range)))
        # Watched, as the others should not wait for one that is stuck when all have to end.
        with self._new_exchange().ask(ask) as (answer, head), self._over.watch(answer):
            if not self._is_mine(head, share):
                raise TransferError(answer.url, f"HTTP {head.status} to a segment's range")
            for block in answer.blocks(decode=False):
                if self._over.is_set or self._cancel.is_set:  # what comes after an abort may be anything
                    return
                data = block[: share.room(len(block))]
                self._part.write_at(share.start, data)
                self._part.mark((share.start, share.start + len(data)))
                share.advance(len(data))
                self._count(len(data))
                if share.is_full:
                    return
        raise TransferError("", "a segment ended early")

    def _is_mine(self, head: Head, share: Share) -> bool:
        body, record = head.content_range, self._part.record
        return (
            head.status == 206
            and body is not None
            and record is not None
            and body.start == share.start
            and body.complete_length == record.complete_length
            and not head.is_encoded
            and self._validators.compare(head.validators) is Agreement.SAME
        )
