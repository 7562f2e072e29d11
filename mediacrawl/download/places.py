"""How many connections go to a host, so that a further one for the same file takes only a place that is free."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT_S = 0.02  # so long a place that was left is kept for the next file


class HostSlots:
    """Connections under way, by host. Those that a file begins with are counted, and never wait: who begins it has
    seen to that. Helpers come where there is room, and go where others have come.
    """

    def __init__(self, limit: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """A limit of 0 is none. `clock` is in seconds."""
        self._limit = limit
        self._clock = clock
        self._left_at: dict[str, deque[float]] = {}  # of late, oldest first
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, host: str) -> None:
        """A place for a file, free or not; then it is to `leave`."""
        with self._lock:
            self._taken[host] += 1
            if left := self._left_at.get(host):
                left.popleft()

    def try_acquire(self, host: str) -> bool:
        """A place for a helper, if there is one; then it is to `leave`."""
        with self._lock:
            is_free = not self._limit or self._taken[host] + self._kept(host) < self._limit
            self._taken[host] += is_free
            return is_free

    def release_excess(self, host: str) -> bool:
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
            if self._taken[host]:
                self._left_at.setdefault(host, deque(maxlen=self._limit or 1)).append(self._clock())
            else:
                del self._taken[host]
                self._left_at.pop(host, None)

    def _kept(self, host: str) -> int:
        """Places that files have just left, for those that come next."""
        left = self._left_at.get(host)
        while left and self._clock() - left[0] >= _KEPT_S:
            left.popleft()
        return len(left) if left else 0

    def _is_crowded(self, host: str) -> bool:
        return bool(self._limit) and self._taken[host] > self._limit
