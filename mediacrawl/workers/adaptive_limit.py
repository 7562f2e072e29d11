"""How many threads of a process are worth while at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mediacrawl.download.records import Fetched

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.download.records import Outcome

LOOK_EVERY_S = 0.05
BUSY, IDLE = 0.4, 0.25  # of the time; other processes want the cores too
SMALL_BYTES = 1024 * 1024
_NOTE_EVERY_S = 0.01


class AdaptiveThreadLimit:
    """Lets as many threads work as keep the process at work, and no more.

    Threads that work at the same time make each other slow in CPython: every call to the system hands the interpreter
    over, and small files are hardly anything but such calls (four threads took twice the time of one for the same
    files). Threads that wait for the network do not, nor those that write and hash large blocks. So while small files
    keep the process at work most of the time, half as many are let in each time, down to one; else twice as many.
    And one that is alone tells how many it takes for that, by what it works of the time that it takes.

    Args:
        most: threads at a time.
        first: as many at first.
        clock, worked: in seconds, the time, and the time that the calling thread was at work.
    """

    def __init__(
        self,
        most: int,
        first: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self._most = most
        self._clock = clock
        self._worked = worked
        self._changed = threading.Condition()
        self._inside: dict[int, tuple[float, float]] = {}  # by thread: the times when it was last noted
        self._waiting = 0  # of those inside, as far as told
        self._wanting = 0  # threads that want to come in
        self._is_watched = False  # by one of them
        self._small_s = 0.0  # at work for small files
        self._looked_at = clock(), 0.0
        self._is_open = False
        self.limit = most if first is None else min(first, most)

    def bring(self, batch: Callable[[], list[Outcome]]) -> list[Outcome]:
        """Carry it out, as soon as there is room. Who does may `note` its files meanwhile."""
        self._enter()
        try:
            began_at, began_s = self._inside[threading.get_ident()]
            outcomes = batch()
            size_bytes = sum(o.fetched_bytes for o in outcomes if isinstance(o, Fetched)) // max(1, len(outcomes))
            now, worked_s = self._account(size_bytes)
            if size_bytes < SMALL_BYTES and self._at_work == 1 and worked_s > began_s:
                self._shrink_to(round(BUSY * (now - began_at) / (worked_s - began_s)))
            return outcomes
        finally:
            self._leave()

    def note(self, size_bytes: int) -> None:
        """By a thread inside: the file that it was at had that size. Costs nothing to speak of."""
        if self._clock() - self._inside[threading.get_ident()][0] >= _NOTE_EVERY_S:
            self._account(size_bytes)

    @property
    def is_wanted(self) -> bool:
        """Whether threads want to come in."""
        return self._wanting > 0

    def discount(self, waiting: int) -> None:
        """Let others in for threads inside that have been waiting for a while, and take no work from anybody."""
        with self._changed:
            more, self._waiting = waiting - self._waiting, waiting
            if more > 0:
                self._changed.notify(more)

    def open(self) -> None:
        """For all, and for good: a stop lets nobody wait."""
        with self._changed:
            self._is_open = True
            self.limit = 1_000_000
            self._changed.notify_all()

    def _account(self, size_bytes: int) -> tuple[float, float]:
        """What the thread has done since it was last noted was for files of about that size. Both times of now."""
        thread, now, worked_s = threading.get_ident(), self._clock(), self._worked()
        if size_bytes < SMALL_BYTES:
            self._small_s += worked_s - self._inside[thread][1]
        self._inside[thread] = now, worked_s
        return now, worked_s

    def _shrink_to(self, limit: int) -> None:
        with self._changed:
            if not self._is_open:
                self.limit = max(1, min(self.limit, limit))

    @property
    def _at_work(self) -> int:
        return len(self._inside) - self._waiting

    def _enter(self) -> None:
        with self._changed:
            self._wanting += 1
            while self._at_work >= self.limit:
                self._wait()
            self._wanting -= 1
            if self._wanting and not self._is_watched:
                self._changed.notify()  # the next one watches
            self._inside[threading.get_ident()] = self._clock(), self._worked()

    def _wait(self) -> None:
        """Wait for a change. One of the threads that wait looks, as those inside may all be waiting for long."""
        watches, self._is_watched = not self._is_watched, True
        if not watches:
            self._changed.wait()
            return
        self._changed.wait(LOOK_EVERY_S)
        self._is_watched = False
        self._look()

    def _leave(self) -> None:
        with self._changed:
            del self._inside[threading.get_ident()]
            self._look()
            self._changed.notify()

    def _look(self) -> None:
        now, worked_s = self._clock(), self._small_s
        elapsed_s = now - self._looked_at[0]
        if elapsed_s < LOOK_EVERY_S or self._is_open:
            return
        busy = (worked_s - self._looked_at[1]) / elapsed_s
        self._looked_at = now, worked_s
        if busy > BUSY:
            self.limit = max(1, self.limit // 2)
        elif busy < IDLE and self.limit < self._most:
            self.limit = min(2 * self.limit, self._most)
            self._changed.notify_all()
