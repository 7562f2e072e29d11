"""The waiting files of one host, and how many of them form a batch for one connection."""

from __future__ import annotations

import random
from collections import deque
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.errors import ConnectionLost
from mediacrawl.fetch.batch_size import SHORTEST_S, BatchSizer
from mediacrawl.headers import kind_of_path
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.records import Outcome
    from mediacrawl.fetch.host_failures import HostFailures
    from mediacrawl.fetch.request import FileRequest

SHORT, LONG, ALONE = "short", "long", "alone"  # kinds of lines
_AHEAD = 2  # batches that begin at once for a host without measurements, while files are gathered
_UNKNOWN_S = 0.02  # after this wait, the next batch for a host without measurements begins


class Batch(NamedTuple):
    """Files of one host that are fetched one after another over one connection.

    Attributes:
        host: queue of the host. It reserves a connection for this batch until `FetchQueue.fetched` is called, or
            `FetchQueue.confirmed` leaves no request.
        line: of the host.
        requests: in the order of transfer.
        began_s: the time at which the batch began.
        is_probe: the host was failing when the batch began.
        is_contended: another process has recently fetched files of this queue. Look up the ledger rows of the batch
            again; see `FetchQueue.confirmed`.
    """

    host: HostQueue
    line: HostSubqueue
    requests: Sequence[FileRequest]
    began_s: float = 0.0
    is_probe: bool = False
    is_contended: bool = False


class HostSubqueue:
    """Waiting files of one host that take about the same time each."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._most = 1.0 if kind == ALONE else float("inf")
        self._waiting: deque[tuple[float, FileRequest]] = deque()  # since when
        self._pace = BatchSizer()
        self._in_flight = 0  # batches
        self._begun = 0  # number of its last batch

    def __len__(self) -> int:
        """Return the number of files that wait."""
        return len(self._waiting)

    @property
    def turn(self) -> tuple[int, int]:
        """The sort key of the line: fewest batches in flight first, then the longest time since its last batch."""
        return self._in_flight, self._begun

    @property
    def since_s(self) -> float:
        """The time from which the first file has waited; infinite if none waits."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def free(self, most: float, free: float) -> float:
        """Return how many more batches may begin. While connections break, the line has one connection.

        Args:
            most: connections that the host may have.
            free: connections to the host that are free.
        """
        return min(self._pace.connections(most) - self._in_flight, free)

    def append(self, since_s: float, request: FileRequest) -> None:
        """Add a file at the end."""
        self._waiting.append((since_s, request))

    def wait_s(self, in_flight: int, now_s: float) -> float:
        """Return how many seconds the first file may still wait for a batch in flight to end; 0.0 if none.

        Files that are added one at a time are not spread over all connections, as a few files are faster one after
        another. A further batch begins only if the waiting files would occupy each connection in use for
        `SHORTEST_S`, or if the first file has waited for `SHORTEST_S`. For a host without measurements, two batches
        begin at once, and a further batch begins after `_UNKNOWN_S`.
        """
        file_s = self._pace.file_s
        if self._most == 1 or not self._waiting or not in_flight or (not file_s and in_flight < _AHEAD):
            return 0.0
        if file_s and len(self._waiting) * file_s >= SHORTEST_S * in_flight:
            return 0.0
        return max(0.0, self.since_s + (SHORTEST_S if file_s else _UNKNOWN_S) - now_s)

    def begin(self, number: int, free: float, most: float, *, scattered: bool) -> list[FileRequest]:
        """Remove and return the files of the next batch.

        Args:
            number: of the batch, counted over all lines of the host.
            free: connections to the host that are free.
            most: files, at least one.
            scattered: take the files from a random position, so that two processes with the same list do not meet at
                each file.
        """
        if scattered:
            self._waiting.rotate(-random.randrange(len(self._waiting)))
        self._in_flight += 1
        self._begun = number
        size = min(self._pace.batch_files(len(self._waiting), free), len(self._waiting), most, self._most)
        return [self._waiting.popleft()[1] for _ in range(int(size))]

    def end(self, requests: Sequence[FileRequest], outcomes: Sequence[Outcome | None]) -> None:
        """Record how long the files of a batch took. Put the files that were not begun back at the front."""
        self._in_flight -= 1
        self._pace.learn(
            [
                None if _is_of_another_host(request, outcome) else outcome
                for request, outcome in zip(requests, outcomes, strict=False)
            ]
        )
        left = [request for request, outcome in zip_longest(requests, outcomes) if outcome is None]
        self._waiting.extendleft((float("-inf"), request) for request in reversed(left))

    def clear(self) -> list[FileRequest]:
        """Remove and return all files."""
        requests = [request for _, request in self._waiting]
        self._waiting.clear()
        return requests


class HostQueue:
    """The waiting files of one host, and the number of its connections in use.

    Audio and video files have a line of their own, and so have files that go alone. The lines share the connections
    by turns: in a single line, a picture behind a hundred films would wait for the end of the films.

    Attributes:
        name: of the queue.
        failures: of the host; several queues may share it. Files that wait because of a redirect to the host have a
            queue of their own.
    """

    def __init__(self, name: str, failures: HostFailures) -> None:
        self.name = name
        self.failures = failures
        self._lines: dict[str, HostSubqueue] = {}  # by kind
        self._in_flight = 0
        self._begun = 0  # batches

    def __len__(self) -> int:
        """Return the number of files that wait."""
        return sum(map(len, self._lines.values()))

    @property
    def is_idle(self) -> bool:
        """Whether no file waits and no batch is in flight."""
        return not self._in_flight and all(line.since_s == float("inf") for line in self._lines.values())

    def append(self, since_s: float, kind: str, request: FileRequest) -> None:
        """Add a file at the end of the line of its kind."""
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = HostSubqueue(kind)
        line.append(since_s, request)

    def begin(self, connections: float, most: float, now_s: float, *, scattered: bool, gathers: bool) -> Batch | None:
        """Remove and return the next batch; None if no connection is free, or no file may be sent yet.

        Args:
            connections: connections that the host may have.
            most: files in the batch, at most.
            now_s: the time now.
            scattered: take the files from a random position, see `HostSubqueue.begin`.
            gathers: files that are added one at a time wait for more files, see `HostSubqueue.wait_s`.
        """
        if self.failures.wait_s(now_s) > 0:
            return None
        unused = self._unused(connections)
        for line in sorted(self._lines.values(), key=_turn_of) if len(self._lines) > 1 else self._lines.values():
            free = line.free(connections, unused)
            if free < 1 or line.since_s == float("inf"):
                continue
            if gathers and line.wait_s(self._in_flight, now_s) > 0:
                continue
            self._in_flight += 1
            self._begun += 1
            is_probe = self.failures.is_failing
            self.failures.begin(now_s)
            requests = line.begin(self._begun, free, most, scattered=scattered)
            return Batch(self, line, requests, now_s, is_probe, scattered)
        return None

    def wait_s(self, connections: float, now_s: float, *, gathers: bool) -> float | None:
        """Return the seconds until a batch may begin: after a pause, or after files have waited for more files.

        None if that depends on no time: no file waits, or no connection is free.
        """
        waiting = [line for line in self._lines.values() if line.since_s < float("inf")]
        pause_s = self.failures.wait_s(now_s)
        if waiting and pause_s > 0:
            return pause_s
        if not gathers:
            return None
        unused = self._unused(connections)
        return min(
            (line.wait_s(self._in_flight, now_s) for line in waiting if line.free(connections, unused) >= 1),
            default=None,
        )

    def _unused(self, connections: float) -> float:
        """Return how many batches may begin: while the host fails, one, if a connection is free."""
        if self.failures.is_failing:
            return min(1, connections - self._in_flight)
        return self.failures.connections(connections) - self._in_flight

    def end(self, batch: Batch, outcomes: Sequence[Outcome | None]) -> None:
        """Free the connection of a batch, and record the outcomes of its files."""
        self._in_flight -= 1
        self.failures.end(batch.began_s)
        batch.line.end(batch.requests, outcomes)

    def clear(self) -> list[FileRequest]:
        """Remove and return all files that wait."""
        return [request for line in self._lines.values() for request in line.clear()]


def _turn_of(line: HostSubqueue) -> tuple[int, int]:
    return line.turn


def _is_of_another_host(request: FileRequest, outcome: Outcome | None) -> bool:
    """Return whether a redirect led to another host, and the connection to that host broke."""
    if not isinstance(outcome, ConnectionLost):
        return False
    asked, failed = Origin.of(request.transfer.url), Origin.of(outcome.url)
    return asked is not None and failed is not None and asked.host != failed.host


def kind_of_line(request: FileRequest, path: str) -> str:
    """Return the kind of the line for a file: `ALONE`, `LONG` or `SHORT`. `path` is the path of its URL."""
    if not request.batchable:
        return ALONE
    return LONG if kind_of_path(path) in {"audio", "video"} else SHORT
