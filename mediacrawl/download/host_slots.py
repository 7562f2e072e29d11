"""Counts of connections by host, so that a further connection of the same file takes only a free place."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT_S = 0.02  # seconds for which a released place is reserved for the next file


class HostSlots:
    """The slots of open connections, by host.

    The first connection of a file is counted, but never waits: the caller that starts the file has ensured that the
    limit permits it. A helper starts only while a place is free. Helpers end when first connections of other files
    exceed the limit.
    """

    def __init__(self, limit: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """Create empty counts. A `limit` of 0 means no limit; `clock` returns seconds."""
        self._limit = limit
        self._clock = clock
        self._left_at: dict[str, deque[float]] = {}  # times of recent releases, oldest first
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def acquire(self, host: str) -> None:
        """Take a place for a file, even if none is free. Call `release` afterwards."""
        with self._lock:
            self._taken[host] += 1
            if left := self._left_at.get(host):
                left.popleft()

    def try_acquire(self, host: str) -> bool:
        """Take a place for a helper and return True, if a place is free. Call `release` afterwards."""
        with self._lock:
            is_free = not self._limit or self._taken[host] + self._kept(host) < self._limit
            self._taken[host] += is_free
            return is_free

    def release_excess(self, host: str) -> bool:
        """Release the place of the calling helper and return True, if the connections exceed the limit.

        All helpers call this method, but only as many slots are released as exceed the limit.
        """
        if not self._is_crowded(host):  # the usual case; called for each block
            return False
        with self._lock:
            is_crowded = self._is_crowded(host)
            self._taken[host] -= is_crowded
            return is_crowded

    def release(self, host: str) -> None:
        """Release a place."""
        with self._lock:
            self._taken[host] -= 1
            if self._taken[host]:
                self._left_at.setdefault(host, deque(maxlen=self._limit or 1)).append(self._clock())
            else:
                del self._taken[host]
                self._left_at.pop(host, None)

    def _kept(self, host: str) -> int:
        """Return the number of slots that were just released and are reserved for the next files."""
        left = self._left_at.get(host)
        while left and self._clock() - left[0] >= _KEPT_S:
            left.popleft()
        return len(left) if left else 0

    def _is_crowded(self, host: str) -> bool:
        return bool(self._limit) and self._taken[host] > self._limit
