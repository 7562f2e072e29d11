"""A limit on the threads that work at the same time, adapted to the load of the process."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mediacrawl.download.records import Fetched

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.download.records import Outcome

LOOK_EVERY_S = 0.05
BUSY, IDLE = 0.4, 0.25  # shares of the time; other processes need the cores too
SMALL_BYTES = 1024 * 1024
_NOTE_EVERY_S = 0.01


class AdaptiveThreadLimit:
    """A limit that admits as many threads as keep the process busy, and no more.

    In CPython, threads that work at the same time slow each other down: every system call hands the interpreter over,
    and small files consist of little but system calls (four threads took twice the time of one for the same files).
    Threads that wait for the network, or write and hash large blocks, do not slow others down. The limit is therefore
    halved, down to 1, while small files take more than 40 % of the time (`BUSY`), and doubled while they take less
    than 25 % (`IDLE`). A batch of small files that runs alone also lowers the limit: the share of its time in which
    its thread works shows how many threads reach `BUSY`.

    Args:
        most: the maximum number of threads at a time.
        first: the initial limit; None for `most`.
        clock: returns the time in seconds.
        worked: returns the CPU time of the calling thread in seconds.
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
        self._inside: dict[int, tuple[float, float]] = {}  # by thread: clock and CPU time at its last note
        self._waiting = 0  # threads inside that wait, as of the last `discount`
        self._wanting = 0  # threads that wait to be admitted
        self._small_s = 0.0  # CPU time spent on small files
        self._looked_at = clock(), 0.0
        self._is_open = False
        self.limit = most if first is None else min(first, most)

    def run(self, batch: Callable[[], list[Outcome]]) -> list[Outcome]:
        """Run a batch as soon as the limit admits the thread, and return its outcomes. It may `note` its files."""
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
        """Note the size in bytes of the file that an admitted thread has finished. The cost is negligible."""
        if self._clock() - self._inside[threading.get_ident()][0] >= _NOTE_EVERY_S:
            self._account(size_bytes)

    @property
    def is_wanted(self) -> bool:
        """Whether threads wait to be admitted."""
        return self._wanting > 0

    def discount(self, waiting: int) -> None:
        """Exclude `waiting` admitted threads from the limit, as they only wait, and admit other threads for them."""
        with self._changed:
            more, self._waiting = waiting - self._waiting, waiting
            if more > 0:
                self._changed.notify(more)

    def open(self) -> None:
        """Let all threads in from now on, so that no thread waits during a stop."""
        with self._changed:
            self._is_open = True
            self.limit = 1_000_000
            self._changed.notify_all()

    def _account(self, size_bytes: int) -> tuple[float, float]:
        """Count the CPU time of the calling thread since its last note as work on files of about that size.

        Returns:
            The current clock and CPU time in seconds.
        """
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
                # All admitted threads may wait for long, so each one looks. If one alone did, it would lose its turn.
                self._changed.wait(LOOK_EVERY_S)
                self._look()
            self._wanting -= 1
            self._inside[threading.get_ident()] = self._clock(), self._worked()

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
