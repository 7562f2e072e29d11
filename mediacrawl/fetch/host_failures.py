"""The failures of a host in a row: how long its files wait, and when the host is given up for the run. No I/O.

Some failures concern the host and not a single file: no connection, no response, 429, 503 with Retry-After. All files
of the host then wait together. After the pause a single file is tried; it stands for the others. Once a file brings a
response, the host is as before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from mediacrawl.download.retry import Backoff
    from mediacrawl.errors import TransferError

_LIMIT_LEAST_S = 1.0  # between two tries of a host that limits requests, once the retries are used up
_PROBE_S = 15.0  # a file that is tried after a pause may be large: then the next file is tried
_UNAVAILABLE = 503
_STATUSES_OF_UNAVAILABLE = {502, 503, 504}
_UNAVAILABLE_FROM = 3  # responses 502, 503 or 504 in a row, from which the host is paused and not only the file
_RISE_AFTER = 10  # fetched files per connection, after which a limited host gets one more connection
_MOST_KEPT = 10_000  # hosts


class HostFailures:
    """The failures of one host since its last response.

    Failures of batches that began before the last pause belong to the failure that caused the pause: they are not
    counted again.

    Attributes:
        error: why the host was given up; None if it was not.
    """

    __slots__ = (
        "__weakref__",
        "_connections",
        "_given_up_s",
        "_in_a_row",
        "_kind",
        "_paused_until_s",
        "_probe_until_s",
        "_since_s",
        "_step",
        "_successes",
        "_unavailable",
        "error",
        "site",
    )

    def __init__(self, site: tuple[str, int]) -> None:
        self.site = site  # host and port
        self.error: TransferError | None = None
        self._given_up_s = 0.0
        self._in_a_row = 0
        self._kind: int | None = None  # status of these failures; None if there was no response
        self._since_s = 0.0  # the time of the first failure in a row
        self._paused_until_s = float("-inf")
        self._probe_until_s = float("-inf")
        self._unavailable = 0  # responses 502, 503 and 504 in a row
        self._connections = float("inf")  # fewer after a 429
        self._step = 0  # of the pause after the next 429: a host keeps its rate limit
        self._successes = 0  # since the number of connections was changed

    @property
    def is_failing(self) -> bool:
        """Whether the last request failed, so that a single file is tried at a time."""
        return self._in_a_row > 0

    def connections(self, most: float) -> float:
        """Return how many connections the host may have, `most` or fewer."""
        return 1 if self._in_a_row else min(most, self._connections)

    def pause_s(self, now_s: float) -> float:
        """Return the seconds until a request may be sent; 0.0 if one may be sent now."""
        return max(0.0, self._paused_until_s - now_s)

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until a batch may begin: at the end of the pause, or of a batch that is tried first."""
        return max(self.pause_s(now_s), self._probe_until_s - now_s)

    def begin(self, now_s: float) -> None:
        """Note that a batch begins. While the host fails, no other batch begins before this one has ended."""
        if self._in_a_row:
            self._probe_until_s = now_s + _PROBE_S

    def end(self, began_s: float) -> None:
        """Note that the batch that began at `began_s` has ended."""
        if began_s >= self._paused_until_s:
            self._probe_until_s = float("-inf")

    def succeed(self, began_s: float, files: int, most: float) -> None:
        """Count files that brought a response.

        Args:
            began_s: the time at which their batch began.
            files: number of files.
            most: connections that the host may have.
        """
        self._unavailable = 0
        if began_s < self._paused_until_s and self.error is None:
            return
        if self._in_a_row:
            self._step = (self._step + self._in_a_row) // 2
            self._in_a_row = 0
            self.error = None
        if self._connections < most:
            self._successes += files
            if self._successes >= _RISE_AFTER * self._connections:
                self._connections += 1
                self._successes = 0
        elif self._connections < float("inf"):
            self._connections, self._step = float("inf"), 0

    def fail(self, error: TransferError, began_s: float, now_s: float, most: float, backoff: Backoff) -> bool:
        """Count a failure that concerns the host. Afterwards `error` is set if the host is given up.

        Args:
            error: the failure.
            began_s: the time at which the batch of the file began.
            now_s: the time now.
            most: connections that the host may have.
            backoff: the number of tries, and the delays between them.

        Returns:
            Whether the host is paused or given up. Otherwise only the file has to wait.
        """
        if began_s < self._paused_until_s:
            return True
        kind = _UNAVAILABLE if error.http_status in _STATUSES_OF_UNAVAILABLE else error.http_status
        if kind != self._kind:  # a host that responds is reachable, and one that refuses imposes no limit
            self._kind, self._in_a_row, self._unavailable = kind, 0, 0
        if kind == _UNAVAILABLE and error.retry_after_s is None:
            self._unavailable += 1
            if self._unavailable < _UNAVAILABLE_FROM:
                return False
        if not self._in_a_row:
            self._since_s = now_s
        self._in_a_row += 1
        is_limited = error.http_status == 429
        if is_limited:
            self._connections = max(1, min(most, self._connections) // 2)
            self._successes = 0
        elif error.http_status is None:
            self._step = 0
        if self._is_spent(error, now_s, backoff):
            self.error, self._given_up_s = error, now_s
            return True
        wait_s = error.retry_after_s or backoff.delay_s(self._in_a_row + self._step * is_limited)
        if self._in_a_row > backoff.times:  # a limit without a time is waited for, whatever the number of tries
            wait_s = max(wait_s, _LIMIT_LEAST_S)
        self._paused_until_s = now_s + wait_s
        return True

    def _is_spent(self, error: TransferError, now_s: float, backoff: Backoff) -> bool:
        """Return whether the host is not tried again.

        A server that responds with 429 and names no time is alive, and counts requests over a time of its own, often
        a minute. It is also tried again until `backoff.max_s` has passed.
        """
        if (error.retry_after_s or 0.0) > backoff.max_retry_after_s:
            return True
        if self._in_a_row <= backoff.times:
            return False
        names_no_time = error.http_status == 429 and error.retry_after_s is None
        return not (backoff.times and names_no_time and now_s - self._since_s < backoff.max_s)

    def retry_if_due(self, now_s: float, backoff: Backoff) -> None:
        """Allow one more try of a host that was given up long ago: a crawl may run for days."""
        if self.error is not None and now_s - self._given_up_s >= backoff.max_retry_after_s:
            self.error = None


class FailingHosts:
    """The failures of all hosts. Hosts without files are forgotten, but for the last ten thousand that failed."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, int], HostFailures] = WeakValueDictionary()
        self._kept: OrderedDict[tuple[str, int], HostFailures] = OrderedDict()

    def of(self, url: str) -> HostFailures:
        """Return the failures of the host of a URL. All callers get the same object for the same host and port."""
        origin = Origin.of(url)
        site = (origin.host, origin.port) if origin is not None else ("", 0)
        failures = self._known.get(site)
        if failures is None:
            failures = self._known[site] = HostFailures(site)
        return failures

    def keep(self, failures: HostFailures) -> None:
        """Remember the failures of a host while no file of the host waits."""
        self._kept[failures.site] = failures
        self._kept.move_to_end(failures.site)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
