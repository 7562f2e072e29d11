"""Which files are fetched next, and what became of each: events in, effects out.

A `FetchQueue` has no thread, no clock and no I/O. A driver tells it what has happened (`add`, `looked_up`, `fetched`,
`written`) and carries out what it wants: `take_lookups`, `next_batches`, `take_writes`. What is known of each file
comes out of `take_results`, once for each request that was added.

    add ──▶ lookups ──▶ looked_up ──▶ next_batches ──▶ fetched ──▶ writes ──▶ written ──▶ results

Times come with the events: `wall_s` in seconds since the epoch, which rows are compared with, and `now_s` of a clock
that never goes back.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mediacrawl.archive import Change, Failure, Publish, Unchanged, Want
from mediacrawl.download.request import Fetched
from mediacrawl.errors import NameTaken, TransferError
from mediacrawl.fetch.request import FileRequest, FileResult
from mediacrawl.headers import kind_of_path
from mediacrawl.naming import wished_path
from mediacrawl.pace import Pace
from mediacrawl.refetch import is_noted
from mediacrawl.store.partfile import PartInUse
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mediacrawl.download.request import Outcome
    from mediacrawl.ledger.ledger import Entry
    from mediacrawl.refetch import RefetchPolicy

_CONTENDED_S = 5.0


class Write(NamedTuple):
    """A change for the archive.

    Attributes:
        request: the file that it is about.
        change: what is to be written.
        fetched: the transfer that has its part locked until the change is written; None for other changes.
    """

    request: FileRequest
    change: Change
    fetched: Fetched | None = None


class Batch(NamedTuple):
    """Files of one host that go one after another over one connection.

    Attributes:
        host: where they wait; holds a connection for this batch until `fetched` or `confirmed` without any request.
        line: of the host.
        requests: in their order.
        is_contended: another process has fetched files of this queue lately: look up the rows of these once more, see
            `confirmed`.
    """

    host: HostQueue
    line: HostLine
    requests: Sequence[FileRequest]
    is_contended: bool = False


class HostLine:
    """Files of one host that wait, of similar size: pictures, or songs and videos."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, FileRequest]] = deque()
        self._pace = Pace()

    @property
    def first_number(self) -> float:
        """The number of the file that has waited longest; infinite if none waits."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def connections(self, most: float) -> float:
        """Return how many connections the host may have, `most` or fewer: one while it fails."""
        return self._pace.connections(most)

    def append(self, number: int, request: FileRequest) -> None:
        """Add a file at the end."""
        self._waiting.append((number, request))

    def pop(self, free: float, most: float, *, scattered: bool) -> list[FileRequest]:
        """Remove and return the files of the next batch.

        Args:
            free: connections to the host that are free.
            most: files, at least one.
            scattered: take them from anywhere: two processes that have the same list should not meet at each file.
        """
        if scattered:
            self._waiting.rotate(-random.randrange(len(self._waiting)))
        size = min(self._pace.batch_files(len(self._waiting), free), len(self._waiting), most)
        return [self._waiting.popleft()[1] for _ in range(int(size))]

    def put_back(self, requests: Sequence[FileRequest]) -> None:
        """Return files that were not begun to the front."""
        self._waiting.extendleft((0, request) for request in reversed(requests))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Note how long the files of a batch took."""
        self._pace.learn(outcomes)


class HostQueue:
    """Files of one host that wait, and how many of its connections are in use.

    Songs and videos have a line of their own: a picture behind a film would wait for the end of the film.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines = {is_long: HostLine() for is_long in (False, True)}
        self._in_flight = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._in_flight and all(line.first_number == float("inf") for line in self._lines.values())

    def append(self, number: int, request: FileRequest) -> None:
        """Add a file; `number` says when it came, over all hosts."""
        is_long = kind_of_path(urlsplit(request.transfer.url).path) in {"audio", "video"}
        self._lines[is_long].append(number, request)

    def begin(self, connections: float, most: float, *, contended: bool) -> Batch | None:
        """Take the next batch, of so many files at most, if one of so many connections is free."""
        for line in sorted(self._lines.values(), key=lambda line: line.first_number):
            free = line.connections(connections) - self._in_flight
            if free > 0 and line.first_number < float("inf"):
                self._in_flight += 1
                return Batch(self, line, line.pop(free, most, scattered=contended), contended)
        return None

    def end(self) -> None:
        """Free the connection of a batch."""
        self._in_flight -= 1


class FetchQueue:
    """The files of one run.

    Args:
        owner: name of the spider or command; ledger rows have it, and paths begin with it.
        refetch: says which files have to be fetched.
        per_host: connections to one host at a time.
        most_open: part files at a time. A part is open from when its batch begins until its file has its name.
    """

    def __init__(self, owner: str, refetch: RefetchPolicy, per_host: float, most_open: float = float("inf")) -> None:
        self._owner = owner
        self._refetch = refetch
        self._per_host = per_host
        self._free_files = most_open
        self._pending: dict[str, Entry | None] = {}  # by key; the row of a version that is there
        self._hosts: dict[str, HostQueue] = {}
        self._ready: dict[str, HostQueue] = {}  # those that may have a batch to begin
        self._in_use: list[tuple[float, int, FileRequest]] = []  # a heap by the time of the next look
        self._numbers = count()
        self._contended_until_s = float("-inf")
        self._lookups: list[FileRequest] = []
        self._writes: list[Write] = []
        self._results: list[FileResult] = []
        self._met: list[FileRequest] = []

    def __len__(self) -> int:
        """Return how many files have no result yet."""
        return len(self._pending)

    # Events

    def add(self, requests: Sequence[FileRequest]) -> int:
        """Want files. One that is pending already is left out. Return how many are new."""
        before = len(self._pending)
        for request in requests:
            if request.key not in self._pending:
                self._pending[request.key] = None
                self._lookups.append(request)
        return len(self._pending) - before

    def looked_up(self, requests: Sequence[FileRequest], entries: Sequence[Entry | None], wall_s: float) -> None:
        """Take the rows of files that came out of `take_lookups`; None where there is no row."""
        for request, entry in self._unfinished(requests, entries, wall_s):
            if not is_noted(entry):
                self._writes.append(Write(request, Want(request.entry(self._owner))))
            name = _host_of(request)
            host = self._hosts.get(name)
            if host is None:
                host = self._hosts[name] = HostQueue(name)
            host.append(next(self._numbers), request)
            self._ready[name] = host

    def confirmed(self, batch: Batch, entries: Sequence[Entry | None], wall_s: float) -> Batch:
        """Take the rows of a contended batch; return it with those files only that still have to be fetched."""
        requests = [request for request, _ in self._unfinished(batch.requests, entries, wall_s)]
        self._free_files += len(batch.requests) - len(requests)
        if not requests:
            self._end_of(batch)
        return batch._replace(requests=requests, is_contended=False)

    def fetched(self, batch: Batch, outcomes: Sequence[Outcome], now_s: float) -> None:
        """Take what came of a batch. Files that were not begun (there are fewer outcomes then) wait again.

        Raises:
            BaseException: the first outcome that concerns the whole run. The others have been taken.
        """
        batch.line.learn(outcomes)
        batch.line.put_back(batch.requests[len(outcomes) :])
        self._end_of(batch)
        held = sum(isinstance(outcome, Fetched) and outcome.part is not None for outcome in outcomes)
        self._free_files += len(batch.requests) - held
        fatal: BaseException | None = None
        for request, outcome in zip(batch.requests, outcomes, strict=False):
            match outcome:
                case Fetched(part=None):
                    self._writes.append(Write(request, Unchanged(request.entry(self._owner)), outcome))
                case Fetched():
                    self._writes.append(Write(request, self._publish(request, outcome), outcome))
                case PartInUse():
                    self._contended_until_s = now_s + _CONTENDED_S
                    self._met.append(request)
                    heapq.heappush(self._in_use, (now_s + outcome.ask_after_s, next(self._numbers), request))
                case TransferError():
                    self._fail(request, outcome.reason, outcome.http_status, permanent=outcome.permanent)
                case _:
                    fatal = fatal or outcome
        if fatal is not None:
            raise fatal

    def written(self, writes: Sequence[Write], outcomes: Sequence[Entry | Exception]) -> None:
        """Take what came of writes: the row, or why it could not be written.

        Raises:
            Exception: the first outcome that concerns the whole run. The others have been taken.
        """
        self._free_files += sum(isinstance(write.change, Publish) for write in writes)
        fatal: Exception | None = None
        for (request, change, fetched), outcome in zip(writes, outcomes, strict=True):
            match change, outcome:
                case Publish(), NameTaken():
                    self._fail(request, str(outcome))
                case _, Exception():
                    fatal = fatal or outcome
                case Publish(), _:
                    assert fetched is not None
                    self._end(request, FileResult.of_fetched(request, outcome, fetched))
                case Unchanged(), _:
                    self._end(request, FileResult.of_present(request, self._pending[request.key] or outcome))
                case _:
                    pass
        if fatal is not None:
            raise fatal

    def wake(self, now_s: float) -> None:
        """Look up files again that another process was fetching, those whose time has come."""
        while self._in_use and self._in_use[0][0] <= now_s:
            self._lookups.append(heapq.heappop(self._in_use)[2])

    # Effects

    def take_lookups(self) -> list[FileRequest]:
        """Return the files whose rows are wanted, for `looked_up`."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def next_batches(self, now_s: float) -> Iterator[Batch]:
        """Return the batches that may begin, each for `fetched`, or for `confirmed` first."""
        is_contended = now_s < self._contended_until_s
        while self._ready and self._free_files >= 1:
            name = next(iter(self._ready))
            batch = self._ready[name].begin(self._per_host, self._free_files, contended=is_contended)
            if batch is None:
                if self._ready.pop(name).is_idle:
                    self._hosts.pop(name, None)
                continue
            self._free_files -= len(batch.requests)
            yield batch

    def take_writes(self) -> list[Write]:
        """Return the changes that are to be written, for `written`."""
        writes, self._writes = self._writes, []
        return writes

    def take_results(self) -> list[FileResult]:
        """Return what has become of files since the last call."""
        results, self._results = self._results, []
        return results

    def take_met(self) -> list[FileRequest]:
        """Return the files that another process is fetching, for a message; they are waited for."""
        met, self._met = self._met, []
        return met

    # How it works

    def _unfinished(
        self, requests: Sequence[FileRequest], entries: Sequence[Entry | None], wall_s: float
    ) -> Iterator[tuple[FileRequest, Entry | None]]:
        """Yield the files that have to be fetched, with their rows; the others have a result then."""
        for request, entry in zip(requests, entries, strict=True):
            if entry is not None and self._refetch.is_fresh(entry, wall_s):
                self._end(request, FileResult.of_present(request, entry))
            elif (
                not request.ignores_known_failure and (why := self._refetch.known_failure(entry, wall_s)) is not None
            ):
                self._end(request, FileResult.of_failure(request, why, known=True))
            else:
                self._pending[request.key] = entry
                yield request.revalidating(entry), entry

    def _publish(self, request: FileRequest, fetched: Fetched) -> Publish:
        path = request.path or wished_path(self._owner, request.transfer.url, fetched.headers, request.filename)
        return Publish(request.entry(self._owner, path=path), fetched)

    def _fail(
        self, request: FileRequest, reason: str, http_status: int | None = None, *, permanent: bool = False
    ) -> None:
        entry = request.entry(self._owner, reason=reason, http_status=http_status, permanent=permanent)
        self._writes.append(Write(request, Failure(entry)))
        self._end(request, FileResult.of_failure(request, reason))

    def _end(self, request: FileRequest, result: FileResult) -> None:
        del self._pending[request.key]
        self._results.append(result)

    def _end_of(self, batch: Batch) -> None:
        batch.host.end()
        self._ready[batch.host.name] = batch.host


def _host_of(request: FileRequest) -> str:
    origin = Origin.of(request.transfer.url)
    return origin.host if origin is not None else ""
