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
from itertools import count, zip_longest
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mediacrawl.archive import Failure, Publish, Unchanged, Want
from mediacrawl.download.request import Fetched
from mediacrawl.errors import NameTaken, RedirectUnasked, TransferError
from mediacrawl.fetch.request import FileRequest, FileResult
from mediacrawl.headers import kind_of_path
from mediacrawl.naming import wished_path
from mediacrawl.pace import SHORTEST_S, Pace
from mediacrawl.refetch import is_noted
from mediacrawl.store.partfile import PartInUse
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mediacrawl.archive import Change
    from mediacrawl.download.request import Outcome, TransferRequest
    from mediacrawl.ledger.ledger import Entry
    from mediacrawl.refetch import RefetchPolicy

_CONTENDED_S = 5.0
_AHEAD = 2  # batches to a host of which nothing is known, while more are gathered
_UNKNOWN_S = 0.02  # then the next one begins


class Write(NamedTuple):
    """A change for the archive.

    Attributes:
        request: the file that it is about.
        change: what is to be written.
        fetched: the transfer that has its part locked until the change is written; None for other changes.
        error: why the file does not arrive, where that is what is written.
    """

    request: FileRequest
    change: Change
    fetched: Fetched | None = None
    error: TransferError | None = None


class Step(NamedTuple):
    """A file that does not go on by itself, as its request says: `proceed`, `publish`, `fail` or `abandon` it.

    Attributes:
        request: with the validators of the version that is there.
        outcome: of its transfer; None where its row was looked up, and it has to be fetched.
    """

    request: FileRequest
    outcome: Fetched | TransferError | None


class Batch(NamedTuple):
    """Files of one host that go one after another over one connection.

    Attributes:
        host: where they wait; holds a connection for this batch until `fetched` or `confirmed` without any request.
            None for a file that goes alone.
        requests: in their order.
        is_contended: another process has fetched files of this queue lately: look up the rows of these once more, see
            `confirmed`.
        is_down: the host has answered nothing of late: try each file once.
    """

    host: HostQueue | None
    requests: Sequence[FileRequest]
    is_contended: bool = False
    is_down: bool = False

    @property
    def transfers(self) -> list[TransferRequest]:
        """What the transfers of this batch have to know."""
        transfers = [request.transfer for request in self.requests]
        return [transfer._replace(retries=0) for transfer in transfers] if self.is_down else transfers


class HostQueue:
    """Files of one host and of similar size that wait, and how many of the host's connections are in use."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._waiting: deque[tuple[float, FileRequest]] = deque()  # since when
        self._in_flight = 0
        self._pace = Pace()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._in_flight and not self._waiting

    def append(self, since_s: float, request: FileRequest) -> None:
        """Add a file at the end."""
        self._waiting.append((since_s, request))

    def wait_s(self, now_s: float) -> float:
        """Return how much longer the first file may wait for a batch under way to make room for it; 0.0: no longer.

        Files that come one at a time are not spread over all connections, as a few of them are faster one after
        another. So a further batch begins only where the files that wait would take longer than a moment behind those
        under way, or have waited so long. To a host of which nothing is known, two batches go ahead.
        """
        file_s = self._pace.file_s
        if not self._waiting or not self._in_flight or (not file_s and self._in_flight < _AHEAD):
            return 0.0
        if file_s and len(self._waiting) * file_s >= SHORTEST_S * self._in_flight:
            return 0.0
        return max(0.0, self._waiting[0][0] + (SHORTEST_S if file_s else _UNKNOWN_S) - now_s)

    def begin(self, connections: float, most: float, *, contended: bool) -> Batch | None:
        """Take the next batch, of so many files at most, if one of so many connections is free.

        `contended` takes files from anywhere: two processes that have the same list should not meet at each file.
        """
        connections = self._pace.connections(connections)
        if not self._waiting or self._in_flight >= connections:
            return None
        if contended:
            self._waiting.rotate(-random.randrange(len(self._waiting)))
        size = self._pace.batch_files(len(self._waiting), connections - self._in_flight)
        requests = [self._waiting.popleft()[1] for _ in range(int(min(size, len(self._waiting), most)))]
        self._in_flight += 1
        return Batch(self, requests, contended, self._pace.is_down)

    def end(self, batch: Batch, outcomes: Sequence[Outcome | None]) -> None:
        """Free the connection of a batch, and note how long its files took. Those not begun come first again."""
        self._in_flight -= 1
        self._pace.learn(outcomes)
        left = [request for request, outcome in zip_longest(batch.requests, outcomes) if outcome is None]
        self._waiting.extendleft((float("-inf"), request) for request in reversed(left))

    def clear(self) -> list[FileRequest]:
        """Remove and return all files that wait."""
        requests = [request for _, request in self._waiting]
        self._waiting.clear()
        return requests


class FetchQueue:
    """The files of one run.

    Args:
        owner: name of the spider or command; ledger rows have it, and paths begin with it.
        refetch: says which files have to be fetched.
        per_host: connections to one host at a time.
        most_open: part files at a time. A part is open from when its batch begins until its file has its name.
        host_of: names the queue that a file waits in.
        gathers: files come one at a time: see `HostQueue.wait_s`.
        kept_hosts: so many hosts are remembered that have nothing to do, as more of their files may come.
    """

    def __init__(
        self,
        owner: str,
        refetch: RefetchPolicy,
        per_host: float,
        most_open: float = float("inf"),
        *,
        host_of: Callable[[FileRequest], str] | None = None,
        gathers: bool = False,
        kept_hosts: int = 0,
    ) -> None:
        self._owner = owner
        self._refetch = refetch
        self._per_host = per_host
        self._free_files = most_open
        self._host_of = host_of or _host_of
        self._gathers = gathers
        self._kept_hosts = kept_hosts
        self._pending: dict[str, Entry | None] = {}  # by key; the row of a version that is there
        self._hosts: dict[str, HostQueue] = {}
        self._ready: dict[str, HostQueue] = {}  # those that may have a batch to begin
        self._alone: deque[FileRequest] = deque()
        self._times = _Times()
        self._contended_until_s = float("-inf")
        self._is_stopped = False
        self._lookups: list[FileRequest] = []
        self._writes: list[Write] = []
        self._results: list[FileResult] = []
        self._steps: list[Step] = []
        self._met: list[FileRequest] = []
        self._unasked: list[tuple[FileRequest, str]] = []

    def __len__(self) -> int:
        """Return how many files have no result yet."""
        return len(self._pending)

    def __contains__(self, key: str) -> bool:
        """Return whether a file has no result yet."""
        return key in self._pending

    # Events

    def add(self, requests: Sequence[FileRequest]) -> int:
        """Want files. One that is pending already is left out. Return how many are new."""
        before = len(self._pending)
        for request in requests:
            if request.key not in self._pending:
                self._pending[request.key] = None
                self._look_up(request)
        return len(self._pending) - before

    def looked_up(
        self, requests: Sequence[FileRequest], entries: Sequence[Entry | None], wall_s: float, now_s: float = 0.0
    ) -> None:
        """Take the rows of files that came out of `take_lookups`; None where there is no row."""
        for request, entry in self._unfinished(requests, entries, wall_s):
            if self._is_stopped:
                self.interrupt(request)
                continue
            if not is_noted(entry):
                self._writes.append(Write(request, Want(request.entry(self._owner))))
            if request.stepwise:
                self._steps.append(Step(request, None))
            else:
                self.proceed(request, now_s)

    def proceed(self, request: FileRequest, now_s: float) -> None:
        """Queue a file whose row was looked up."""
        request = request.revalidating(self._pending[request.key])
        if self._is_stopped:
            self.interrupt(request)
        elif not request.batchable:
            self._alone.append(request)
        else:
            name = self._host_of(request)
            host = self._hosts.get(name)
            if host is None:
                host = self._hosts[name] = HostQueue(name)
            host.append(now_s, request)
            self._ready[name] = host

    def confirmed(self, batch: Batch, entries: Sequence[Entry | None], wall_s: float) -> Batch:
        """Take the rows of a contended batch; return it with those files only that still have to be fetched."""
        requests = [request for request, _ in self._unfinished(batch.requests, entries, wall_s)]
        self._free_files += len(batch.requests) - len(requests)
        confirmed = batch._replace(requests=requests, is_contended=False)
        if not requests:
            self._end_of(confirmed, [])
        return confirmed

    def fetched(self, batch: Batch, outcomes: Sequence[Outcome | None], now_s: float) -> None:
        """Take what came of a batch. Files that were not begun wait again: theirs is None, or missing at the end.

        Raises:
            BaseException: the first outcome that concerns the whole run. The others have been taken.
        """
        self._end_of(batch, outcomes)
        held = sum(isinstance(outcome, Fetched) and outcome.part is not None for outcome in outcomes)
        self._free_files += len(batch.requests) - held
        fatal: BaseException | None = None
        for request, outcome in zip(batch.requests, outcomes, strict=False):
            match outcome:
                case None:
                    pass
                case PartInUse():
                    self._contended_until_s = now_s + _CONTENDED_S
                    self._met.append(request)
                    self._times.add(now_s + outcome.ask_after_s, request)
                case RedirectUnasked():
                    self._unasked.append((request, outcome.target))
                case Fetched() | TransferError() if request.stepwise:
                    self._steps.append(Step(request, outcome))
                case Fetched():
                    self.publish(request, outcome)
                case TransferError():
                    self.fail(request, outcome)
                case _:
                    self.interrupt(request)
                    fatal = fatal or outcome
        if fatal is not None:
            raise fatal

    def publish(self, request: FileRequest, fetched: Fetched, path: str | None = None) -> None:
        """Write that a file has arrived, or is unchanged."""
        if fetched.part is None:
            change: Change = Unchanged(request.entry(self._owner))
        else:
            path = path or request.path or self.path_of(request, fetched)
            change = Publish(request.entry(self._owner, path=path), fetched)
        self._writes.append(Write(request, change, fetched))

    def path_of(self, request: FileRequest, fetched: Fetched) -> str:
        """Return the path that a file gets where nothing prescribes it."""
        owner = request.owner or self._owner
        return wished_path(owner, request.transfer.url, fetched.headers, request.filename)

    def fail(self, request: FileRequest, error: TransferError) -> None:
        """Write that a file does not arrive."""
        entry = request.entry(
            self._owner, reason=error.reason, http_status=error.http_status, permanent=error.permanent
        )
        self._writes.append(Write(request, Failure(entry), error=error))

    def refuse(self, request: FileRequest, error: TransferError) -> None:
        """Write that a file does not arrive, also one that was not added."""
        self._pending.setdefault(request.key, None)
        self.fail(request, error)

    def interrupt(self, request: FileRequest) -> None:
        """End a file that the run does not come to."""
        self._end(request, FileResult.of_interruption(request))

    def abandon(self, request: FileRequest, fetched: Fetched | None = None) -> None:
        """Forget a file that the driver has seen to. What it has fetched, and not published, is unlocked by then."""
        self._free_files += fetched is not None and fetched.part is not None
        self._pending.pop(request.key, None)

    def retry(self, requests: Sequence[FileRequest]) -> None:
        """Look up files again that came out of `take_unasked`."""
        for request in requests:
            self._look_up(request)

    def written(self, writes: Sequence[Write], outcomes: Sequence[Entry | Exception]) -> None:
        """Take what came of writes: the row, or why it could not be written.

        Raises:
            Exception: the first outcome that concerns the whole run. The others have been taken.
        """
        self._free_files += sum(isinstance(write.change, Publish) for write in writes)
        fatal: Exception | None = None
        for (request, change, fetched, error), outcome in zip(writes, outcomes, strict=True):
            match change, outcome:
                case Publish(), NameTaken() if request.stepwise:
                    self._steps.append(Step(request, TransferError(request.url, str(outcome))))
                case Publish(), NameTaken():
                    self.fail(request, TransferError(request.url, str(outcome)))
                case Want(), Exception():
                    fatal = fatal or outcome
                case _, Exception():
                    self.interrupt(request)
                    fatal = fatal or outcome
                case Publish(), _:
                    assert fetched is not None
                    self._end(request, FileResult.of_fetched(request, outcome, fetched))
                case Unchanged(), _:
                    self._end(request, FileResult.of_present(request, self._pending[request.key] or outcome))
                case Failure(), _:
                    assert error is not None
                    self._end(request, FileResult.of_failure(request, error.reason, error))
                case _:
                    pass
        if fatal is not None:
            raise fatal

    def wake(self, now_s: float) -> None:
        """Go on with what has waited for its time: files that another process was fetching, hosts that gather."""
        for what in self._times.pop_due(now_s):
            if isinstance(what, FileRequest):
                self._look_up(what)
            elif (host := self._hosts.get(what.name)) is not None:
                self._ready[what.name] = host

    def stop(self) -> None:
        """End all that waits as interrupted, and what is under way when it comes back. Nothing begins any more."""
        self._is_stopped = True
        waiting = [
            *self._lookups,
            *self._alone,
            *(what for what in self._times.clear() if isinstance(what, FileRequest)),
        ]
        waiting += [request for request, _ in self._unasked]
        waiting += [request for host in self._hosts.values() for request in host.clear()]
        self._lookups.clear()
        self._alone.clear()
        self._unasked.clear()
        for request in waiting:
            self.interrupt(request)

    # Effects

    @property
    def next_wake_s(self) -> float | None:
        """The time for which `wake` is wanted; None if there is none."""
        return self._times.first_s

    def take_lookups(self) -> list[FileRequest]:
        """Return the files whose rows are wanted, for `looked_up`."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def next_batches(self, now_s: float) -> Iterator[Batch]:
        """Return the batches that may begin, each for `fetched`, or for `confirmed` first."""
        while self._alone and self._free_files >= 1:
            self._free_files -= 1
            yield Batch(None, [self._alone.popleft()])
        is_contended = now_s < self._contended_until_s
        while self._ready and self._free_files >= 1:
            name = next(iter(self._ready))
            host = self._ready[name]
            if self._gathers and (wait_s := host.wait_s(now_s)) > 0:
                self._times.add(now_s + wait_s, self._ready.pop(name))
                continue
            batch = host.begin(self._per_host, self._free_files, contended=is_contended)
            if batch is None:
                if self._ready.pop(name).is_idle and len(self._hosts) > self._kept_hosts:
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

    def take_steps(self) -> list[Step]:
        """Return the files that do not go on by themselves."""
        steps, self._steps = self._steps, []
        return steps

    def take_met(self) -> list[FileRequest]:
        """Return the files that another process is fetching, for a message; they are waited for."""
        met, self._met = self._met, []
        return met

    def take_unasked(self) -> list[tuple[FileRequest, str]]:
        """Return the files that are redirected to where nobody knows whether they may go: learn that, and `retry`."""
        unasked, self._unasked = self._unasked, []
        return unasked

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
                self._end(request, FileResult.of_failure(request, why))
            else:
                self._pending[request.key] = entry
                yield request.revalidating(entry), entry

    def _look_up(self, request: FileRequest) -> None:
        if self._is_stopped:
            self.interrupt(request)
        else:
            self._lookups.append(request)

    def _end(self, request: FileRequest, result: FileResult) -> None:
        if request.key in self._pending:  # it may have been abandoned
            del self._pending[request.key]
            self._results.append(result)

    def _end_of(self, batch: Batch, outcomes: Sequence[Outcome | None]) -> None:
        if batch.host is None:
            return
        batch.host.end(batch, outcomes)
        self._ready[batch.host.name] = batch.host
        if self._is_stopped:
            for request in batch.host.clear():
                self.interrupt(request)


class _Times:
    """What waits for its time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, FileRequest | HostQueue]] = []
        self._numbers = count()
        self._hosts: set[str] = set()  # each is there once

    @property
    def first_s(self) -> float | None:
        """The earliest time; None if nothing waits."""
        return self._heap[0][0] if self._heap else None

    def add(self, at_s: float, what: FileRequest | HostQueue) -> None:
        """Have it wait until then."""
        if isinstance(what, HostQueue):
            if what.name in self._hosts:
                return
            self._hosts.add(what.name)
        heapq.heappush(self._heap, (at_s, next(self._numbers), what))

    def pop_due(self, now_s: float) -> Iterator[FileRequest | HostQueue]:
        """Remove and yield what has waited long enough."""
        while self._heap and self._heap[0][0] <= now_s:
            what = heapq.heappop(self._heap)[2]
            if isinstance(what, HostQueue):
                self._hosts.discard(what.name)
            yield what

    def clear(self) -> list[FileRequest | HostQueue]:
        """Remove and return all."""
        heap, self._heap = self._heap, []
        self._hosts.clear()
        return [what for _, _, what in heap]


def _host_of(request: FileRequest) -> str:
    """Name the host, and songs and videos by themselves: a picture behind a film would wait for its end."""
    origin = Origin.of(request.transfer.url)
    is_long = kind_of_path(urlsplit(request.transfer.url).path) in {"audio", "video"}
    return f"{origin.host if origin is not None else ''}{' long' * is_long}"
