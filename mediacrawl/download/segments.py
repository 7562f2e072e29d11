"""Several connections for one large file, only where they pay.

The transfer itself reads the front segment. Each helper takes the rear half of the largest segment, over its own
connection. Helpers are added while each further helper makes the transfer faster. A server that limits the speed of
each connection sends more over more connections. With any other server there is at most one helper.

If the request names a number of connections, all helpers start at once. They take pieces from the front on, and the
pieces become smaller. So the file grows mostly in order, and can be hashed meanwhile, and all connections are busy
until shortly before the end: an idle helper takes half of the largest segment, if transferring this half takes longer
than requesting it.

One strong validator holds for all connections. A helper sends the validator as If-Range, and expects a 206 response
with exactly the requested range. On any other response the helper ends and returns its piece: another helper takes
the piece, or the front segment is extended over it. A piece that is left at the end is a gap, and the transfer
requests the gap like any other missing part. Each request covers some bytes behind the end of its segment. They are
compared with the bytes of the next segment, see `Seams`: a server may send other bytes than its heads name.

The second helper starts only after the first has received the expected response. The front does not wait for the
response to a helper: it reads on, into the piece of that helper. A server that answers one connection at a time, or
does not support ranges, therefore costs nothing: the front reads the file to its end. A helper that receives its
response after that requests the rear half of what is left of its piece instead.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.download.body import receive
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.host_slots import HostSlots
from mediacrawl.download.resume import OVERLAP_BYTES, ConditionalRequest, RequestKind, is_same_version
from mediacrawl.download.seams import SeamDiffers, after_overlap
from mediacrawl.errors import Interrupted, MachineError, MediacrawlError, TransferError
from mediacrawl.headers import range_header
from mediacrawl.transport.connection_limits import NoPermit

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.download.body import Body
    from mediacrawl.download.requester import Requester
    from mediacrawl.download.resume import Head, Saved
    from mediacrawl.download.seams import Seams
    from mediacrawl.store.parts import PartFile
    from mediacrawl.transport.base import TransportResponse

_STOP_WITHIN_S = 2.0
_TRY_AGAIN_S = 0.1  # not less than `connection_limits.CUT_COUNTS_S`
_HEAD_WITHIN_S = 1.0  # for a helper, at the end of a transfer
_SPLIT_BYTES = 512 * 1024  # a smaller segment is not worth another request, unless no other is left


class SegmentPolicy(NamedTuple):
    """The number of connections for one file, and the conditions for adding them.

    Attributes:
        connections: the maximal number of connections; 1 means no helpers.
        from_bytes: helpers are added only while at least this number of bytes is missing.
        measure_s: how many seconds the speed is measured before and after adding a helper; 0 adds all helpers at
            once, without measuring.
        gain: the factor by which the speed must grow for the next helper to be added.
    """

    connections: int = 1
    from_bytes: int = 32 * 1024 * 1024
    measure_s: float = 2.0
    gain: float = 1.25

    def of(self, connections: int | None, *, ranges_refused: bool) -> SegmentPolicy:
        """Return the policy for one transfer.

        A number of connections in its request takes precedence, and starts all connections at once.
        """
        if ranges_refused:
            return SegmentPolicy(1)
        if connections is None:
            return self
        return SegmentPolicy(connections, min(self.from_bytes, 4 * _SPLIT_BYTES), 0.0)


class Segment:
    """The range that one connection fetches: `start` advances as bytes are written, `stop` may be reduced."""

    def __init__(self, start: int, stop: int | None) -> None:
        self.start = start
        self.stop = stop
        self.taken = start  # end of the received bytes, which may not be written yet
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        self.is_awaited = False  # requested, without a response yet: the front may take its first bytes
        self.is_fenced = False  # no more bytes are written for this segment

    @property
    def is_full(self) -> bool:
        """Whether all bytes of the segment are written."""
        return self.stop is not None and self.start >= self.stop

    @property
    def missing_bytes(self) -> int:
        """The number of bytes that are missing in the segment."""
        return 0 if self.stop is None else max(0, self.stop - self.start)

    def room(self, wanted_bytes: int) -> int:
        """Return how many of the next `wanted_bytes` bytes belong to this segment; `split` cannot take them later."""
        with self.lock:
            room = wanted_bytes if self.stop is None else min(wanted_bytes, max(0, self.stop - self.start))
            self.taken = self.start + room
            return room

    def advance(self, written_bytes: int) -> None:
        with self.lock:
            self.start += written_bytes

    def split(self, kept_bytes: int | None = None, least_bytes: float | None = None) -> Segment | None:
        """Split off the rear of this segment, and return it as a new segment.

        `kept_bytes` bytes are kept, but at most half of the segment, which is also the default. Return None if fewer
        than `least_bytes` bytes are left (default: 1 MiB), or if the end of the segment is unknown.
        """
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
        """Extend this segment to a new end."""
        with self.lock:
            self.stop = stop

    def begin_wait(self) -> None:
        """Note that the bytes of this segment are about to be requested."""
        with self.lock:
            self.is_awaited = True

    def give(self, most_bytes: float = float("inf")) -> int:
        """Give up the first bytes of this segment while its response is awaited. Return how many they are."""
        with self.lock:
            if not self.is_awaited or self.stop is None:
                return 0
            given_bytes = int(min(most_bytes, self.stop - self.start))
            self.start += given_bytes
            return given_bytes

    def is_answered(self, requested_start: int) -> bool:
        """Return whether the response comes in time: this segment gives up no more bytes then.

        It comes too late if this segment does not begin at `requested_start` any more.
        """
        with self.lock:
            self.is_awaited = self.start > requested_start
            return not self.is_awaited

    def fence(self) -> None:
        """Prevent further writes to this segment by a helper that is still running."""
        with self.writing:
            self.is_fenced = True


class _Crowded(Exception):
    """Raised where a helper ends to make room for another file; the place may be released already."""

    def __init__(self, *, has_left: bool) -> None:
        super().__init__()
        self.has_left = has_left


class _Helper:
    """The sink for the bytes that a helper receives, see `body.Sink`."""

    def __init__(self, segments: SegmentedFetch, part: PartFile, *, stays: bool, is_compared: bool) -> None:
        """Create the sink for one segment.

        `is_compared` says that the bytes before the segment were compared; otherwise its start is noted as a seam.
        """
        self._segments = segments
        self._part = part
        self._stays = stays
        self._notes_seam = not is_compared

    def write(self, segment: Segment, data: bytes) -> None:
        with segment.writing:
            if segment.is_fenced:
                raise Interrupted("the transfer has ended")
            if self._notes_seam:
                self._notes_seam = False
                self._part.note_seam(segment.start)
            self._part.write_at(segment.start, data)
            self._segments.written(segment, len(data))

    def write_from(self, segment: Segment, pipe: int, size_bytes: int) -> None:
        self.write(segment, os.read(pipe, size_bytes))

    def extend(self, _share: Segment) -> bool:
        return False

    def received(self) -> None:
        if not self._stays:
            self._segments.check_place()


class SingleConnection:
    """A replacement of `SegmentedFetch` without helpers."""

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
        seams: Seams,
        saved: Saved,
        policy: SegmentPolicy,
        *,
        new_exchange: Callable[..., Requester],
        new_body: Callable[[TransportResponse, Cancel], Body],
        count: Callable[[int], None],
        cancel: Cancel,
        clock: Callable[[], float] = time.monotonic,
        slots: HostSlots | None = None,
        yields: Callable[[str], bool] | None = None,
        host: str = "",
    ) -> None:
        """Set up a fetch that has no helpers yet.

        `saved` has the validators, the length and the coding of the version that is fetched. `yields` returns
        whether a helper must end because another file waits for its connection.
        """
        self._front = front
        self._slots = slots or HostSlots()
        self._host = host
        self._segments_under_way = [front]  # segments that are being fetched
        self._left: list[Segment] = []  # unassigned segments, ascending
        self._part = part
        self._seams = seams
        self._saved = saved
        self._policy = policy
        self._new_exchange = new_exchange
        self._new_body = new_body
        self._yields = yields or (lambda _host: False)
        self._count = count
        self._cancel = cancel
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self._sent_away = 0  # helpers that ended for another file, or without a connection
        self._try_at = clock()  # earliest start of a helper, after one found no connection
        self._over = Cancel()  # stops the helpers; also set by a stop of all transfers
        self._following = ExitStack()
        self._following.enter_context(cancel.watch(self._over))
        self._lock = threading.Lock()
        self._growing = threading.Lock()
        self._answered = threading.Event()  # set when the first helper has a response, or has ended
        self._error: MachineError | SeamDiffers | None = None
        self._may_grow = policy.connections > 1 and saved.validators.if_range() is not None
        self._began_at = self._measured_at = clock()
        self._began_bytes = self._measured_bytes = part.written_bytes
        self._speed = 0.0
        self._latency_s = 0.0  # of the last request

    def consider(self) -> None:
        """Add a helper if one is due and pays; called after each block.

        Raises:
            MachineError, SeamDiffers: raised by a helper.
        """
        if self._error is not None:
            raise self._error
        if self._may_grow and (not self._threads or self._answered.is_set()):
            with self._growing:
                self._grow()

    def goes_on(self) -> bool:
        """Extend the full front segment if no response with the next bytes has come. Return whether it was extended.

        Those bytes are unassigned, or a helper has requested them. The front does not wait for that helper: the
        server may answer it only when the front has ended.
        """
        with self._lock:
            if self._left and self._left[0].start == self._front.stop:
                self._front.extend(self._take().stop or 0)
                return True
            for segment in self._segments_under_way:
                if segment.start == self._front.stop and segment.give(2 * _SPLIT_BYTES):
                    self._front.extend(segment.start)
                    return True
            return False

    def join(self) -> None:
        """Fetch segments like a helper, then wait for the helpers. Called once the front's connection is free.

        If only helpers without a response are left, their segments are fetched here after a short while.
        """
        if self._threads:
            self._help(self._next(), is_front=True)
        busy_at = time.monotonic()
        while self._error is None and not self._is_through:
            thread = next((thread for thread in self._threads if thread.is_alive()), None)
            if thread is None:
                break
            thread.join(0.2)
            self._cancel.check()
            now = time.monotonic()
            if self._is_receiving:
                busy_at = now
            elif now - busy_at > max(_HEAD_WITHIN_S, 2 * self._latency_s):
                self._help(self._taken_over(), is_front=True)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End all helpers, before the part is changed in another way.

        A helper that hangs for more than 2 s, for example while its connection opens, is not waited for: the helper
        may continue to run, but writes no more bytes.
        """
        self._over.set()
        with self._growing:  # from now on no helper is added
            pass
        until = time.monotonic() + _STOP_WITHIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            segments = list(self._segments_under_way)
        for segment in segments:
            segment.fence()
        self._following.close()

    @property
    def _is_through(self) -> bool:
        """Whether no byte is missing, and no helper compares bytes any more."""
        with self._lock:
            helped = [segment for segment in self._segments_under_way if segment is not self._front]
            return not self._left and all(segment.is_awaited and segment.is_full for segment in helped)

    @property
    def _is_receiving(self) -> bool:
        with self._lock:
            return any(not segment.is_awaited for segment in self._segments_under_way if segment is not self._front)

    def _taken_over(self) -> Segment | None:
        """Return a segment with all the bytes of a helper that has no response; None if there is no such helper."""
        with self._lock:
            for awaited in self._segments_under_way:
                if given_bytes := awaited.give():
                    return self._assigned(Segment(awaited.start - given_bytes, awaited.start))
        return None

    def _assigned(self, segment: Segment) -> Segment:
        segment.begin_wait()
        self._segments_under_way.append(segment)
        return segment

    @property
    def _all_at_once(self) -> bool:
        return self._policy.measure_s == 0

    @property
    def _helping(self) -> int:
        return len(self._threads) - self._sent_away

    def _grow(self) -> bool:
        """Add a helper, if a helper pays and a place is free. Return whether a helper was added."""
        now = self._clock()
        elapsed_s = now - self._measured_at
        if not self._may_grow or elapsed_s < self._policy.measure_s or now < self._try_at or self._over.is_set:
            return False
        done = self._part.written_bytes
        speed = (done - self._measured_bytes) / elapsed_s if elapsed_s else 0.0
        missing = sum(segment.missing_bytes for segment in (*self._segments_under_way, *self._left))
        pays = self._all_at_once or not self._threads or speed >= self._speed * self._policy.gain
        if missing < self._policy.from_bytes or not pays or self._helping + 1 >= self._policy.connections:
            self._may_grow = False
            return False
        if not self._slots.try_acquire(self._host):  # a slot may be free later
            return False
        self._measured_at, self._measured_bytes, self._speed = self._clock(), done, speed
        if self._all_at_once and not self._threads:
            rest = self._front.split(self._piece_bytes(self._front.missing_bytes))
            self._left = [rest] if rest else []
        return self._add()

    def _add(self) -> bool:
        segment = self._next()
        if segment is None:
            self._slots.release(self._host)
            self._may_grow = False
            return False
        thread = threading.Thread(target=self._help, args=(segment,), daemon=True, name="segment")
        try:
            thread.start()
        except RuntimeError:  # the system permits no more threads
            self._end(segment)
            self._slots.release(self._host)
            self._may_grow = False
            return False
        self._threads.append(thread)  # only now: `stop` cannot join a thread that was not started
        return True

    def _add_all(self) -> None:
        """Add all helpers, if they start at once. Called by a helper that has received the expected response."""
        self._answered.set()
        may_add = self._all_at_once
        while may_add:
            with self._growing:
                may_add = self._grow()

    def _next(self) -> Segment | None:
        """Return an unassigned segment, else the rear half of the largest segment, else None."""
        with self._lock:
            if self._left:
                segment: Segment | None = self._take()
            else:
                largest = max(self._segments_under_way, key=lambda s: s.missing_bytes)
                segment = largest.split(least_bytes=self._worth_splitting_bytes())
            return None if segment is None else self._assigned(segment)

    def _rear_of(self, late: Segment) -> Segment | None:
        """Return the rear half of a segment whose response came too late; if that is too small, the next segment.

        Waits until the connection that was cut does not count any more.
        """
        self._over.wait(_TRY_AGAIN_S)
        with self._lock:
            rear = late.split()
            if rear is not None:
                self._assigned(rear)
        self._end(late)
        return rear or self._next()

    def _take(self) -> Segment:
        """Take the first piece of the unassigned segments: the fewer bytes are unassigned, the smaller the piece."""
        segment = self._left[0]
        rest = segment.split(self._piece_bytes(sum(segment.missing_bytes for segment in self._left)))
        self._left[:1] = [rest] if rest else []
        return segment

    def _worth_splitting_bytes(self) -> float:
        """Return the least number of missing bytes for which splitting a segment pays.

        Transferring half of them should take longer than requesting them, at the speed of one connection. The speed
        is measured since the beginning: in the short time since the last helper was added, a single block would
        give an arbitrary speed.
        """
        elapsed_s = self._clock() - self._began_at
        came_bytes = self._part.written_bytes - self._began_bytes
        speed = came_bytes / elapsed_s / (self._helping + 1) if elapsed_s > 0 else 0.0
        return max(_SPLIT_BYTES // 2, 2 * self._latency_s * speed)

    def _piece_bytes(self, missing_bytes: int) -> int:
        """Return the size of the next piece of `missing_bytes` unassigned bytes.

        Requesting a piece takes at most an eighth of the time of transferring its bytes.
        """
        least_bytes = max(2 * _SPLIT_BYTES, int(4 * self._worth_splitting_bytes()))
        return max(least_bytes, missing_bytes // (2 * self._policy.connections))

    def _help(self, segment: Segment | None, *, is_front: bool = False) -> None:
        """Fetch one segment, then the next ones, until no segment is left or the place of the helper is needed."""
        has_place = not is_front  # the transfer releases the place of the front
        try:
            while segment is not None and not self._over.is_set:
                if not self._fetch_one(segment, is_front=is_front):
                    segment = self._rear_of(segment)
                    continue
                self._end(segment)
                segment = self._next()
        except _Crowded as crowded:
            has_place = has_place and not crowded.has_left
            with self._lock:
                self._sent_away += 1
        except NoPermit:
            with self._lock:
                self._sent_away += 1
                self._try_at = self._clock() + max(self._policy.measure_s, _TRY_AGAIN_S)
        except (MachineError, SeamDiffers) as error:
            self._error = error
            self._over.set()
        except MediacrawlError:
            self._may_grow = False  # the server refuses further connections, or sends an unexpected response
        finally:
            if segment is not None:
                self._end(segment)
            if has_place:
                self._slots.release(self._host)
            self._answered.set()

    def _end(self, segment: Segment) -> None:
        """Return the unfinished part of a segment to the unassigned segments."""
        with self._lock:
            self._segments_under_way.remove(segment)
            if segment.missing_bytes:
                self._left = sorted([*self._left, segment], key=lambda s: s.start)

    def _fetch_one(self, segment: Segment, *, is_front: bool) -> bool:
        """Fetch a segment. Return False if its response came too late, after the front has taken its first bytes."""
        if_range = self._saved.validators.if_range()
        assert if_range is not None
        requested_start, stop = segment.start, segment.stop
        assert stop is not None
        if requested_start >= stop:  # the front has just taken its last bytes
            return True
        start = max(0, requested_start - OVERLAP_BYTES)
        if not self._part.has(start, requested_start):  # another connection fetches these bytes
            start = requested_start
        span = range_header(start, stop + self._seams.bytes_beyond(stop))
        ask = ConditionalRequest(RequestKind.IF_RANGE, start, (("Range", span), ("If-Range", if_range)))
        exchange = self._new_exchange(self._over, waits=is_front)
        # `ask` watches the response: when all helpers must end, a blocked helper does not delay the others.
        with exchange.ask(ask) as (answer, head):
            if not is_same_version(self._saved, start, head):
                raise TransferError(answer.url, f"HTTP {head.status} to a segment's range")
            self._latency_s = exchange.latency_s or 0.0
            is_answered = segment.is_answered(requested_start)
            self._add_all()
            if not is_answered:
                return False
            body = self._new_body(answer, self._over)
            self._receive(body, head, start, segment, is_front=is_front)
        if not segment.is_full:
            raise TransferError("", "a segment ended early")
        return True

    def _receive(self, body: Body, head: Head, start: int, segment: Segment, *, is_front: bool) -> None:
        """Write a body that begins at `start` into its segment, and compare its bytes before and behind the segment.

        Raises:
            SeamDiffers: other bytes are on the disk.
        """
        try:
            blocks = after_overlap(self._part, start, segment.start, body.blocks())
        except EOFError:
            return
        if blocks is None:
            raise SeamDiffers
        sink = _Helper(self, self._part, stays=is_front, is_compared=start < segment.start)
        rest = receive(body, blocks, segment, sink)
        if segment.is_full and segment.stop is not None:
            rest = self._seams.read_beyond(segment.stop, rest)
            self._seams.read_end(head, segment.stop + self._seams.bytes_beyond(segment.stop), rest)
        self._seams.check()

    def written(self, segment: Segment, size_bytes: int) -> None:
        """Count bytes that a helper has written to the part."""
        self._part.mark((segment.start, segment.start + size_bytes))
        segment.advance(size_bytes)
        self._count(size_bytes)

    def check_place(self) -> None:
        """Raise `_Crowded` if another file needs the place or the connection of the calling helper."""
        if self._slots.release_excess(self._host):
            raise _Crowded(has_left=True)
        if self._yields(self._host):
            raise _Crowded(has_left=False)
