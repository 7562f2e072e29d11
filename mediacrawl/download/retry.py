"""The times of retries: exponential backoff with jitter, and pauses that hosts have requested."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from mediacrawl.errors import ConnectError, HttpStatusError, NoResponse
from mediacrawl.headers import http_date, retry_after_s

_MAX_HOSTS = 10_000
_UNAVAILABLE = {502, 503, 504}


class Backoff(NamedTuple):
    """The delays before retries.

    Attributes:
        times: the number of retries in a row without progress (1,024 new bytes); then the transfer fails.
        base_s: the delay before the first retry; each further retry doubles the delay.
        max_s: the longest delay that the client chooses by itself.
        max_retry_after_s: the longest Retry-After that a transfer waits for; with a longer value the file fails for
            this run.
    """

    times: int = 4
    base_s: float = 0.5
    max_s: float = 60.0
    max_retry_after_s: float = 300.0

    def delay_s(self, attempt: int, random_01: Callable[[], float] = random.random) -> float:
        """Return the delay in seconds before the n-th retry, with n = `attempt`.

        Half of the delay is fixed and half is random, so that many clients do not retry at the same time.
        """
        full = min(self.max_s, self.base_s * 2.0 ** min(attempt - 1, 30))
        return full * (0.5 + 0.5 * random_01())


def concerns_host(error: object, backoff: Backoff) -> bool:
    """Return whether an error concerns the host of a file, so that all its files wait: a transfer does not retry.

    A 503 whose Retry-After is longer than a client waits concerns its file only (RFC 9110 15.6.4). Responses 502, 503
    and 504 without Retry-After concern the file at first, and the host once several files got them.
    """
    if isinstance(error, HttpStatusError):
        if error.http_status == HTTPStatus.TOO_MANY_REQUESTS:
            return True
        return error.http_status in _UNAVAILABLE and (error.retry_after_s or 0.0) <= backoff.max_retry_after_s
    return isinstance(error, ConnectError | NoResponse)


def wished_wait_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait that a response requests with Retry-After, in seconds; None if it requests no wait.

    A date is by the clock of the server, if that is known. Names of `headers` are lower-case.
    """
    return retry_after_s(headers.get("retry-after"), http_date(headers.get("date")) or time.time())


Listener = Callable[[str, float], None]
"""A callback that receives a host and the deadline of the host's pause. The callback must not block."""


class HostPauses:
    """Hosts that responded with 429 or 503 and Retry-After: no request is sent to these hosts before a deadline.

    All transfers of a process and the pages of a crawl share the object. A deadline is a time of CLOCK_MONOTONIC,
    which is the same for all processes of a machine. A deadline has the same meaning at any time and in any process,
    so sending a deadline repeatedly cannot prolong a pause.

    Deadlines are sent in one direction. A worker process sends the deadlines received from servers to the leading
    process, and the leading process sends them to the other worker processes. A deadline is never sent back to the
    process that it was received from.

    Thread-safe; no method blocks.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._forget_from = _MAX_HOSTS  # number of hosts at which expired pauses are removed
        self._listeners: tuple[Listener, ...] = ()

    def subscribe(self, listener: Listener) -> None:
        """Notify `listener` of the deadlines that are known now, and of each later deadline once it is known."""
        with self._lock:
            self._listeners += (listener,)
            now = self.clock()
            known = [(host, until) for host, until in self._until.items() if until > now]
        for host, until in known:
            listener(host, until)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop notifying `listener`."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def pause(self, host: str, seconds: float) -> None:
        """Send no request to a host for at least `seconds` from now on."""
        self.pause_until(host, self.clock() + seconds)

    def pause_until(self, host: str, until: float, sent_by: Listener | None = None) -> None:
        """Send no request to a host before `until`; a pause with a later deadline stays unchanged.

        `sent_by` is the listener of the process that has sent the deadline: this listener is not notified.
        """
        with self._lock:
            if until <= self._until.get(host, 0.0):
                return
            if len(self._until) >= self._forget_from:
                now = self.clock()
                self._until = {h: deadline for h, deadline in self._until.items() if deadline > now}
                self._forget_from = max(_MAX_HOSTS, 2 * len(self._until))  # else each new host would scan all
            self._until[host] = until
            listeners = self._listeners
        for listener in listeners:
            if listener != sent_by:  # not `is`: each access creates a new bound method
                listener(host, until)

    def heed(
        self, host: str, status: int, headers: Mapping[str, str], *, longest_s: float = math.inf
    ) -> float | None:
        """Pause a host if its response requests a pause: 429 or 503 with Retry-After (RFC 9110 10.2.3, RFC 6585 4).

        A 503 with a Retry-After of more than `longest_s` concerns the requested resource and not the host: only this
        request fails. A 429 concerns the client, so the host is paused for any requested time. Names of `headers` are
        lower-case.

        Returns:
            The requested seconds; None if the response requests no pause.
        """
        if status not in {429, 503}:
            return None
        asked_s = wished_wait_s(headers)
        if asked_s and (status == HTTPStatus.TOO_MANY_REQUESTS or asked_s <= longest_s):
            self.pause(host, asked_s)
        return asked_s

    def remaining_s(self, host: str) -> float:
        """Return the seconds until the next request may be sent to a host; 0.0 if a request may be sent now."""
        if not self._until:
            return 0.0
        with self._lock:
            return max(0.0, self._until.get(host, 0.0) - self.clock())
