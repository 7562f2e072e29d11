"""Several connections for one large file, only where they pay.

The front share is read by the transfer itself. Helpers take the rear half of the largest share, each over a
connection of its own, as long as every further one makes the whole faster: a server that limits each connection
gives more to more of them, another does not, and then there is at most one helper.

Where a number of connections was wished for, all come at once, and take pieces from the front on, ever smaller ones:
so the file grows mostly in order, and can be hashed meanwhile; and in the end all are busy till shortly before it:
what is left is halved for whoever has nothing to do, as long as a half lasts longer than to ask for it.

One strong validator holds for all: a helper sends it as If-Range and wants a 206 with exactly its range. A helper
that gets anything else gives up, and its piece back: another helper takes it, or the front goes on over it. What is
left in the end is a gap that the transfer asks for like any other missing part. Until the first helper has got such
an answer there is no other, and the front does not end: a server that knows no ranges costs nothing.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.download.body import receive
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.places import HostSlots
from mediacrawl.download.resume import ConditionalRequest, RequestKind
from mediacrawl.errors import Interrupted, MachineError, MediacrawlError, TransferError
from mediacrawl.headers import Agreement, range_header
from mediacrawl.transport.permits import NoPermit

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.download.body import Body
    from mediacrawl.download.requester import Requester
    from mediacrawl.download.resume import Head
    from mediacrawl.headers import Validators
    from mediacrawl.store.parts import PartFile
    from mediacrawl.transport.base import TransportResponse

_STOP_WITHIN_S = 2.0
_TRY_AGAIN_S = 0.1
_SPLIT_BYTES = 512 * 1024  # a smaller share is not worth another request, unless nothing else is left


class SegmentPolicy(NamedTuple):
    """When to use how many connections for one file.

    Attributes:
        connections: at most this many, 1 is never more than one.
        from_bytes: only while at least that much is missing.
        measure_s: how long to look at the speed before and after adding one; 0 adds all at once, unseen.
        gain: the speed must grow by this factor for the next one to be added.
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
        return SegmentPolicy(connections, min(self.from_bytes, 4 * _SPLIT_BYTES), 0.0)


class Segment:
    """What one connection is to bring: from `start` (moves on as bytes arrive) to `stop` (may be taken back)."""

    def __init__(self, start: int, stop: int | None) -> None:
        self.start = start
        self.stop = stop
        self.taken = start  # up to here bytes have come, though they may not be written yet
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        self.is_fenced = False  # nothing is written for it any more

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

    def split(self, kept_bytes: int | None = None, least_bytes: float | None = None) -> Segment | None:
        """Give the rear away: half of it, or what is behind so many bytes. None if less than the least is left."""
        least_bytes = 2 * _SPLIT_BYTES if least_bytes is None else least_bytes
        with self.lock:
            start = max(self.start, self.taken)
            if self.stop is None or self.stop - start < least_bytes:
                return None
            half = (self.stop - start) // 2
            middle = start + (half if kept_bytes is None else min(half, kept_bytes))
            rear = Segment(middle, self.stop)
            self.stop = middle
            return rear

    def extend(self, stop: int) -> None:
        """Take over what follows."""
        with self.lock:
            self.stop = stop

    def fence(self) -> None:
        """Let a helper that has not ended write nothing more."""
        with self.writing:
            self.is_fenced = True


class _Crowded(Exception):
    """A helper goes, to make room for another file; it may have left its place already."""

    def __init__(self, *, has_left: bool) -> None:
        super().__init__()
        self.has_left = has_left


class _Helper:
    """What a helper receives, see `body.Sink`."""

    def __init__(self, crew: SegmentedFetch, part: PartFile, *, stays: bool) -> None:
        self._segments = crew
        self._part = part
        self._stays = stays

    def write(self, share: Segment, data: bytes) -> None:
        with share.writing:
            if share.is_fenced:
                raise Interrupted("the transfer has ended")
            self._part.write_at(share.start, data)
            self._segments.written(share, len(data))

    def write_from(self, share: Segment, pipe: int, size_bytes: int) -> None:
        self.write(share, os.read(pipe, size_bytes))

    def extend(self, _share: Segment) -> bool:
        return False

    def received(self) -> None:
        if not self._stays:
            self._segments.check_place()


class SingleConnection:
    """A crew of nobody."""

    def consider(self) -> None: ...

    def goes_on(self) -> bool:
        return False

    def join(self) -> None: ...

    def stop(self) -> None: ...


class SegmentedFetch:
    """The helpers of one body."""

    def __init__(
        self,
        front: Segment,
        part: PartFile,
        validators: Validators,
        policy: SegmentPolicy,
        *,
        new_exchange: Callable[..., Requester],
        new_body: Callable[[TransportResponse, Cancel], Body],
        count: Callable[[int], None],
        cancel: Cancel,
        clock: Callable[[], float] = time.monotonic,
        places: HostSlots | None = None,
        yields: Callable[[str], bool] | None = None,
        host: str = "",
    ) -> None:
        """`yields` says whether a helper is to go, as somebody else waits for its connection."""
        self._front = front
        self._places = places or HostSlots()
        self._host = host
        self._shares = [front]  # somebody brings them
        self._left: list[Segment] = []  # nobody does, ascending
        self._part = part
        self._validators = validators
        self._policy = policy
        self._new_exchange = new_exchange
        self._new_body = new_body
        self._yields = yields or (lambda _host: False)
        self._count = count
        self._cancel = cancel
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self._sent_away = 0  # of them, to make room for other files
        self._try_at = clock()  # the next one, where there was no connection for the last
        self._over = Cancel()  # for the helpers, also where all transfers are to stop
        self._following = ExitStack()
        self._following.enter_context(cancel.watch(self._over))
        self._lock = threading.Lock()
        self._growing = threading.Lock()
        self._answered = threading.Event()  # the first helper knows what comes of it
        self._error: MachineError | None = None
        self._may_grow = policy.connections > 1 and validators.if_range() is not None
        self._began_at = self._measured_at = clock()
        self._began_bytes = self._measured_bytes = part.written_bytes
        self._speed = 0.0
        self._latency_s = 0.0  # of the last ask

    def consider(self) -> None:
        """Called after each block: add a helper when it is time to, and worth it. Raises what a disk did to one."""
        if self._error is not None:
            raise self._error
        if self._may_grow and not (self._all_at_once and self._threads and not self._answered.is_set()):
            with self._growing:
                self._grow()

    def goes_on(self) -> bool:
        """Whether the front share, which is full, has got more: what follows on it, and nobody brings."""
        while self._threads and not self._answered.wait(0.2):
            self._cancel.check()
        with self._lock:
            if not self._left or self._left[0].start != self._front.stop:
                return False
            self._front.extend(self._take().stop or 0)
            return True

    def join(self) -> None:
        """Called when the front's connection is free: lend a hand, then wait for the helpers."""
        if self._threads:
            self._help(self._next(), is_front=True)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.2)
                self._cancel.check()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End all helpers before the part is touched in another way. One that hangs, in a connection that does not
        open for example, is not waited for: it may go on, and writes nothing.
        """
        self._over.set()
        with self._growing:  # from now on nobody adds one
            pass
        until = time.monotonic() + _STOP_WITHIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            shares = list(self._shares)
        for share in shares:
            share.fence()
        self._following.close()

    @property
    def _all_at_once(self) -> bool:
        return self._policy.measure_s == 0

    @property
    def _helping(self) -> int:
        return len(self._threads) - self._sent_away

    def _grow(self) -> bool:
        """Add a helper, if it pays and there is a place; whether it was so."""
        now = self._clock()
        elapsed_s = now - self._measured_at
        if not self._may_grow or elapsed_s < self._policy.measure_s or now < self._try_at or self._over.is_set:
            return False
        done = self._part.written_bytes
        speed = (done - self._measured_bytes) / elapsed_s if elapsed_s else 0.0
        missing = sum(share.missing_bytes for share in (*self._shares, *self._left))
        pays = self._all_at_once or not self._threads or speed >= self._speed * self._policy.gain
        if missing < self._policy.from_bytes or not pays or self._helping + 1 >= self._policy.connections:
            self._may_grow = False
            return False
        if not self._places.try_acquire(self._host):  # perhaps there is one later
            return False
        self._measured_at, self._measured_bytes, self._speed = self._clock(), done, speed
        if self._all_at_once and not self._threads:
            rest = self._front.split(self._piece_bytes(self._front.missing_bytes))
            self._left = [rest] if rest else []
        return self._add()

    def _add(self) -> bool:
        share = self._next()
        if share is None:
            self._places.leave(self._host)
            self._may_grow = False
            return False
        thread = threading.Thread(target=self._help, args=(share,), daemon=True, name="segment")
        try:
            thread.start()
        except RuntimeError:  # the system gives no more
            self._end(share)
            self._places.leave(self._host)
            self._may_grow = False
            return False
        self._threads.append(thread)  # only now, as `stop` can join none that has not begun
        return True

    def _add_all(self) -> None:
        """By a helper, once it knows that the server does as it should: those that all come at once."""
        self._answered.set()
        may_add = self._all_at_once
        while may_add:
            with self._growing:
                may_add = self._grow()

    def _next(self) -> Segment | None:
        """What nobody brings, else the rear half of the largest share."""
        with self._lock:
            if self._left:
                share: Segment | None = self._take()
            else:
                largest = max(self._shares, key=lambda s: s.missing_bytes)
                share = largest.split(least_bytes=self._worth_splitting_bytes())
            if share is not None:
                self._shares.append(share)
            return share

    def _take(self) -> Segment:
        """The first piece of what nobody brings: the less is left, the smaller."""
        share = self._left[0]
        rest = share.split(self._piece_bytes(sum(share.missing_bytes for share in self._left)))
        self._left[:1] = [rest] if rest else []
        return share

    def _worth_splitting_bytes(self) -> float:
        """Half of it should last longer than to ask for it, at the speed that a connection has.

        Since the beginning: of the moments since the last one was added, a single block would make any speed.
        """
        elapsed_s = self._clock() - self._began_at
        came_bytes = self._part.written_bytes - self._began_bytes
        speed = came_bytes / elapsed_s / (self._helping + 1) if elapsed_s > 0 else 0.0
        return max(_SPLIT_BYTES // 2, 2 * self._latency_s * speed)

    def _piece_bytes(self, missing_bytes: int) -> int:
        """Of so much that nobody brings yet. To ask for a piece takes an eighth of the time of its bytes at most."""
        least_bytes = max(2 * _SPLIT_BYTES, int(4 * self._worth_splitting_bytes()))
        return max(least_bytes, missing_bytes // (2 * self._policy.connections))

    def _help(self, share: Segment | None, *, is_front: bool = False) -> None:
        """Bring one share, then what is next, until there is nothing to take, or a helper's place is needed."""
        has_place = not is_front  # that of the front is not ours to leave
        try:
            while share is not None and not self._over.is_set:
                self._bring(share, is_front=is_front)
                self._end(share)
                share = self._next()
        except _Crowded as crowded:
            has_place = has_place and not crowded.has_left
            with self._lock:
                self._sent_away += 1
        except NoPermit:
            with self._lock:
                self._sent_away += 1
                self._try_at = self._clock() + max(self._policy.measure_s, _TRY_AGAIN_S)
        except MachineError as error:
            self._error = error
            self._over.set()
        except MediacrawlError:
            self._may_grow = False  # the server has had enough, or does not do as it should
        finally:
            if share is not None:
                self._end(share)
            if has_place:
                self._places.leave(self._host)
            self._answered.set()

    def _end(self, share: Segment) -> None:
        """Nobody brings it any more: what is missing of it is there to take."""
        with self._lock:
            self._shares.remove(share)
            if share.missing_bytes:
                self._left = sorted([*self._left, share], key=lambda s: s.start)

    def _bring(self, share: Segment, *, is_front: bool) -> None:
        if_range = self._validators.if_range()
        assert if_range is not None
        span = range_header(share.start, share.stop)
        ask = ConditionalRequest(RequestKind.IF_RANGE, share.start, (("Range", span), ("If-Range", if_range)))
        exchange = self._new_exchange(self._over, waits=is_front)
        # Watched, as the others should not wait for one that is stuck when all have to end.
        with exchange.ask(ask) as (answer, head):
            if not self._is_mine(head, share):
                raise TransferError(answer.url, f"HTTP {head.status} to a segment's range")
            self._latency_s = exchange.latency_s or 0.0
            self._add_all()
            body = self._new_body(answer, self._over)
            receive(body, body.blocks(), share, _Helper(self, self._part, stays=is_front))
        if not share.is_full:
            raise TransferError("", "a segment ended early")

    def written(self, share: Segment, size_bytes: int) -> None:
        """By a helper: these bytes are in the part."""
        self._part.mark((share.start, share.start + size_bytes))
        share.advance(size_bytes)
        self._count(size_bytes)

    def check_place(self) -> None:
        """By a helper: raise `_Crowded` where its place or its connection is wanted by another file."""
        if self._places.release_excess(self._host):
            raise _Crowded(has_left=True)
        if self._yields(self._host):
            raise _Crowded(has_left=False)

    def _is_mine(self, head: Head, share: Segment) -> bool:
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
