"""How many connections go to a host, so that a further one for the same file takes only a place that is free."""

from __future__ import annotations

import threading
from collections import Counter


class HostPlaces:
    """Connections under way, by host. Those that a file begins with are counted, and never wait: who begins it has
    seen to that. Helpers come where there is room, and go where others have come.
    """

    def __init__(self, limit: int = 0) -> None:
        """A limit of 0 is none."""
        self._limit = limit
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, host: str) -> None:
        """A place for a file, free or not; then it is to `leave`."""
        with self._lock:
            self._taken[host] += 1

    def take_free(self, host: str) -> bool:
        """A place for a helper, if there is one; then it is to `leave`."""
        with self._lock:
            is_free = not self._limit or self._taken[host] < self._limit
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
            if not self._taken[host]:
                del self._taken[host]

    def _is_crowded(self, host: str) -> bool:
        return bool(self._limit) and self._taken[host] > self._limit
