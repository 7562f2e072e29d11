"""When to try again: exponential backoff with jitter, and hosts that asked for quiet."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_HOSTS = 10_000


class Backoff(NamedTuple):
    """How long to wait before the n-th retry.

    Attributes:
        times: retries in a row without a new byte, then the transfer fails.
        base_s: before the first retry; doubles with each.
        max_s: never longer than this by ourselves.
        max_retry_after_s: a server that asks for more than this is not waited for: the file fails for this run.
    """

    times: int = 4
    base_s: float = 0.5
    max_s: float = 60.0
    max_retry_after_s: float = 300.0

    def delay_s(self, attempt: int, random_01: Callable[[], float] = random.random) -> float:
        """Half of it fixed, half of it random, so that many clients do not come back at once."""
        full = min(self.max_s, self.base_s * 2.0 ** min(attempt - 1, 30))
        return full * (0.5 + 0.5 * random_01())


class HostPauses:
    """Hosts that said 429 or 503 with Retry-After: nobody asks them anything until then.

    Shared by all transfers, and by the pages of the crawl. Forgets what is over.

    Attributes:
        on_pause: told of each that is longer than what was known.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self.on_pause: Callable[[str, float], None] = lambda _host, _seconds: None

    def pause(self, host: str, seconds: float) -> None:
        """Quiet for at least that long from now on."""
        now = self._clock()
        with self._lock:
            if len(self._until) >= _MAX_HOSTS:
                self._until = {h: until for h, until in self._until.items() if until > now}
            is_longer = now + seconds > self._until.get(host, 0.0)
            if is_longer:
                self._until[host] = now + seconds
        if is_longer:
            self.on_pause(host, seconds)

    def remaining_s(self, host: str) -> float:
        """Seconds to wait before the next request to that host."""
        if not self._until:
            return 0.0
        with self._lock:
            return max(0.0, self._until.get(host, 0.0) - self._clock())
