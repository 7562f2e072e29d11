"""How many threads of a process are worth while at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mediacrawl.download.request import Fetched

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.download.request import Outcome

LOOK_EVERY_S = 0.05
BUSY, IDLE = 0.4, 0.25  # of the time; other processes want the cores too
SMALL_BYTES = 1024 * 1024


class Room:
    """Lets as many threads work as keep the process at work, and no more.

    Threads that work at the same time make each other slow in CPython: every call to the system hands the interpreter
    over, and small files are hardly anything but such calls (four threads took twice the time of one for the same
    files). Threads that wait for the network do not, nor those that write and hash large blocks. So while small files
    keep the process at work most of the time, half as many are let in each time, down to one; else twice as many.
    And one that is alone tells how many there would be work for: it waits for so many times what it works.

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
        self._inside = 0
        self._small_s = 0.0  # at work for small files
        self._looked_at = clock(), 0.0
        self.limit = most if first is None else min(first, most)

    def bring(self, batch: Callable[[], list[Outcome]]) -> list[Outcome]:
        """Carry it out, as soon as there is room. Its files count as small or large by what each has brought."""
        self._enter()
        try:
            began_at, began = self._clock(), self._worked()
            outcomes = batch()
            took_s, worked_s = self._clock() - began_at, self._worked() - began
            with self._changed:
                if sum(o.fetched_bytes for o in outcomes if isinstance(o, Fetched)) < SMALL_BYTES * len(outcomes):
                    self._small_s += worked_s
                    if self._inside == 1 and worked_s > 0:
                        self.limit = max(1, min(self.limit, round(took_s / worked_s)))
            return outcomes
        finally:
            self._leave()

    def open(self) -> None:
        """For all, and for good: a stop lets nobody wait."""
        with self._changed:
            self._most = self.limit = 1_000_000
            self._changed.notify_all()

    def _enter(self) -> None:
        with self._changed:
            while self._inside >= self.limit:
                self._changed.wait(LOOK_EVERY_S)
                self._look()  # those inside may all be waiting for long
            self._inside += 1

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._look()
            self._changed.notify()

    def _look(self) -> None:
        now, worked_s = self._clock(), self._small_s
        elapsed_s = now - self._looked_at[0]
        if elapsed_s < LOOK_EVERY_S:
            return
        busy = (worked_s - self._looked_at[1]) / elapsed_s
        self._looked_at = now, worked_s
        if busy > BUSY:
            self.limit = max(1, self.limit // 2)
        elif busy < IDLE and self.limit < self._most:
            self.limit = min(2 * self.limit, self._most)
            self._changed.notify_all()
