"""How many connections go to a host, so that a further one for the same file takes only a place that is free; and
what one of them brings.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TELLING_BYTES = 1024 * 1024  # what arrives sooner has more to do with buffers than with a server's limit
_MOST_PACES = 1000
_SETTLED_S = 0.05  # what is free for so long has not just been left by one file for the next


class HostPlaces:
    """Connections under way, by host. Those that a file begins with are counted, and never wait: who begins it has
    seen to that. Helpers come where there is room, and go where others have come.
    """

    def __init__(self, limit: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """A limit of 0 is none."""
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._free_since: dict[str, float] = {}
        self._paces: dict[str, float] = {}

    def take(self, host: str) -> None:
        """A place for a file, free or not; then it is to `leave`."""
        with self._lock:
            self._taken[host] += 1
            self._free_since.setdefault(host, self._clock())

    def take_free(self, host: str) -> bool:
        """A place for a helper, if there is one; then it is to `leave`."""
        with self._lock:
            is_free = not self._limit or (
                self._taken[host] < self._limit
                and self._clock() - self._free_since.get(host, -math.inf) >= _SETTLED_S
            )
            self._taken[host] += is_free
            return is_free

    def leave_crowd(self, host: str) -> bool:
        """Leave, if there are more than there should be: as many do as have to, though all are asked."""
        if not self._is_crowded(host):  # nearly always, and asked for each block
            return False
        with self._lock:
            is_crowded = self._is_crowded(host)
            self._taken[host] -= is_crowded
            return is_crowded

    def leave(self, host: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[host] -= 1
            if self._taken[host] == self._limit - 1:
                self._free_since[host] = self._clock()
            if not self._taken[host]:
                del self._taken[host]
                self._free_since.pop(host, None)

    def note_pace(self, host: str, fetched_bytes: int, seconds: float) -> None:
        """One connection brought so many bytes in so many seconds."""
        if fetched_bytes >= _TELLING_BYTES and seconds > 0:
            with self._lock:
                if len(self._paces) >= _MOST_PACES:
                    self._paces.clear()
                self._paces[host] = fetched_bytes / seconds

    def pace(self, host: str) -> float | None:
        """Bytes a second that one connection brought last; None if that is not known."""
        return self._paces.get(host)

    def _is_crowded(self, host: str) -> bool:
        return bool(self._limit) and self._taken[host] > self._limit
