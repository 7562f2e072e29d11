"""How many threads of a process are worth while at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LOOK_EVERY_S = 0.05
BUSY, IDLE = 0.4, 0.25  # of the time; other processes want the cores too
SMALL_BYTES = 1024 * 1024


class Room:
    """Lets as many threads work as keep the process at work, and no more.

    Threads that work at the same time make each other slow in CPython: every call to the system hands the interpreter
    over, and small files are hardly anything but such calls (four threads took twice the time of one for the same
    files). Threads that wait for the network do not, nor those that write and hash large blocks. So while small files
    keep the process at work most of the time, half as many are let in each time, down to one; else one more again.

    Args:
        most: threads at a time; as many at first.
        clock, worked: in seconds, the time, and the time that the calling thread was at work.
    """

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self._most = most
        self._clock = clock
        self._worked = worked
        self._changed = threading.Condition()
        self._inside: dict[int, float] = {}  # by thread: how long it had worked when it was last noted
        self._small_s = 0.0  # at work for small files
        self._looked_at = clock(), 0.0
        self.limit = most

    def __enter__(self) -> Self:
        with self._changed:
            while len(self._inside) >= self.limit:
                self._changed.wait(LOOK_EVERY_S)
                self._look()  # those inside may all be waiting for long
            self._inside[threading.get_ident()] = self._worked()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            del self._inside[threading.get_ident()]
            self._look()
            self._changed.notify()

    def note(self, size_bytes: int) -> None:
        """By a thread inside: what it has done since it came, or since the last note, was for a file of that size."""
        thread, worked = threading.get_ident(), self._worked()
        if size_bytes < SMALL_BYTES:
            self._small_s += worked - self._inside[thread]
        self._inside[thread] = worked

    def open(self) -> None:
        """For all, and for good: a stop lets nobody wait."""
        with self._changed:
            self._most = self.limit = 1_000_000
            self._changed.notify_all()

    def _look(self) -> None:
        now, worked = self._clock(), self._small_s
        elapsed_s = now - self._looked_at[0]
        if elapsed_s < LOOK_EVERY_S:
            return
        busy = (worked - self._looked_at[1]) / elapsed_s
        self._looked_at = now, worked
        if busy > BUSY:
            self.limit = max(1, self.limit // 2)
        elif busy < IDLE and self.limit < self._most:
            self.limit += 1
            self._changed.notify()
