"""When to try again: exponential backoff with jitter, and hosts that asked for quiet."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from mediacrawl.headers import http_date, retry_after_s

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


Listener = Callable[[str, float], None]
"""Called with a host and the deadline of its pause. Must not block."""


class HostPauses:
    """Hosts that answered 429 or 503 with Retry-After: no request goes to them before a deadline.

    Shared by all transfers of a process, and by the pages of a crawl. A deadline is a time of CLOCK_MONOTONIC, which
    is the same for all processes of a machine: it means the same whenever and wherever it is read, so repeating it
    cannot prolong a pause.

    Deadlines travel one way. A worker process tells those that it has learnt from servers to the process that leads
    it, and that one tells them to the other workers. A deadline is never told back to where it came from.

    Thread-safe; no method blocks.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._forget_from = _MAX_HOSTS  # the number of hosts at which pauses that are over are forgotten
        self._listeners: tuple[Listener, ...] = ()

    def subscribe(self, listener: Listener) -> None:
        """Tell `listener` the deadlines that are known now, and each later one from when it is known."""
        with self._lock:
            self._listeners += (listener,)
            now = self.clock()
            known = [(host, until) for host, until in self._until.items() if until > now]
        for host, until in known:
            listener(host, until)

    def unsubscribe(self, listener: Listener) -> None:
        """Tell `listener` nothing more."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def pause(self, host: str, seconds: float) -> None:
        """Send nothing to a host for at least that long from now on."""
        self.pause_until(host, self.clock() + seconds)

    def pause_until(self, host: str, until: float, told_by: Listener | None = None) -> None:
        """Send nothing to a host before `until`; a pause that is known to last longer stays as it is.

        `told_by` is the listener that stands for the process which has told this: it is not told again.
        """
        with self._lock:
            if until <= self._until.get(host, 0.0):
                return
            if len(self._until) >= self._forget_from:
                now = self.clock()
                self._until = {h: deadline for h, deadline in self._until.items() if deadline > now}
                self._forget_from = max(_MAX_HOSTS, 2 * len(self._until))  # or all are looked at for each that is new
            self._until[host] = until
            listeners = self._listeners
        for listener in listeners:
            if listener != told_by:  # not `is`: a bound method is another object each time
                listener(host, until)

    def heed(
        self, host: str, status: int, headers: Mapping[str, str], *, longest_s: float = math.inf
    ) -> float | None:
        """Pause a host whose answer asks for it: 429 or 503 with Retry-After (RFC 9110 10.2.3, RFC 6585 4).

        A 503 that asks for more than `longest_s` concerns what was asked for and not the host: only that fails. A 429
        concerns the client, so the host is paused for however long. Names of `headers` are lower-case.

        Returns:
            The seconds that were asked for; None where nothing was.
        """
        if status not in {429, 503}:
            return None
        now = http_date(headers.get("date")) or time.time()  # a date is one of the server's clock, if that is told
        asked_s = retry_after_s(headers.get("retry-after"), now)
        if asked_s and (status == HTTPStatus.TOO_MANY_REQUESTS or asked_s <= longest_s):
            self.pause(host, asked_s)
        return asked_s

    def remaining_s(self, host: str) -> float:
        """Return how long it is until the next request may go to a host; 0.0 where it may go now."""
        if not self._until:
            return 0.0
        with self._lock:
            return max(0.0, self._until.get(host, 0.0) - self.clock())
