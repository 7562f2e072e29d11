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
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mediacrawl.archive import Failure, Publish, RecordWanted, Unchanged
from mediacrawl.download.records import Fetched
from mediacrawl.errors import (
    Interrupted,
    MachineError,
    RobotsUnknown,
    TransferError,
    failure_of,
)
from mediacrawl.fetch.filenames import preferred_path
from mediacrawl.fetch.host_queue import Batch, HostQueue, kind_of_line
from mediacrawl.fetch.refetch import is_noted
from mediacrawl.fetch.request import FETCHED, LOOKED_UP, FileRequest, FileResult
from mediacrawl.ledger.sqlite import Entry
from mediacrawl.store.parts import PartInUse
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mediacrawl.archive import Change
    from mediacrawl.download.records import Outcome
    from mediacrawl.fetch.refetch import RefetchPolicy

_CONTENDED_S = 5.0
_MOST_REDIRECTS = 20  # to where nobody knows whether the file may go


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
    """A file that has come as far as its request says (`FileRequest.until`): now it is the driver's turn.

    Attributes:
        request: with the validators of the version that is there.
        outcome: of its transfer; None where only its row was asked for, and it has to be fetched.
    """

    request: FileRequest
    outcome: Fetched | TransferError | None


class FetchQueue:
    """The files of one run.

    Args:
        owner: name of the spider or command; ledger rows have it, and paths begin with it.
        refetch: says which files have to be fetched.
        per_host: connections to one host at a time.
        most_open: part files at a time. A part is open from when its batch begins until its file has its name.
        place_of: names the host of a file, and the kind of the line in which it waits there.
        gathers: files come one at a time: see `HostSubqueue.wait_s`.
        kept_hosts: so many hosts are remembered that have nothing to do, as more of their files may come.
    """

    def __init__(
        self,
        owner: str,
        refetch: RefetchPolicy,
        per_host: float,
        most_open: float = float("inf"),
        *,
        place_of: Callable[[FileRequest], tuple[str, str]] | None = None,
        gathers: bool = False,
        kept_hosts: int = 0,
    ) -> None:
        self._owner = owner
        self._refetch = refetch
        self._per_host = per_host
        self._free_files = most_open
        self._place_of = place_of or _place_of
        self._gathers = gathers
        self._kept_hosts = kept_hosts
        self._pending: dict[str, Entry | None] = {}  # by key; the row of a version that is there
        self._held: dict[str, Fetched] = {}  # by key; of pending files: it is for the driver to say what comes next
        self._hosts: dict[str, HostQueue] = {}
        self._ready: dict[str, HostQueue] = {}  # those that may have a batch to begin
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
        self, requests: Sequence[FileRequest], entries: Sequence[Entry | None], wall_s: float, now_s: float
    ) -> None:
        """Take the rows of files that came out of `take_lookups`; None where there is no row."""
        for request, entry in self._unfinished(requests, entries, wall_s):
            if self._is_stopped:
                self.interrupt(request)
            elif request.until == LOOKED_UP:
                self._hand_over(Step(request, None))
            else:
                if not is_noted(entry):
                    self._writes.append(Write(request, RecordWanted(request.entry(self._owner))))
                name, kind = self._place_of(request)
                host = self._hosts.get(name)
                if host is None:
                    host = self._hosts[name] = HostQueue(name)
                host.append(now_s, kind, request)
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
                case RobotsUnknown() if request.redirects < _MOST_REDIRECTS:
                    self._unasked.append((request._replace(redirects=request.redirects + 1), outcome.target))
                case Fetched() | TransferError() if request.until == FETCHED:
                    self._hand_over(Step(request, outcome))
                case Fetched():
                    self._publish(request, outcome, request.path or self._path_of(request, outcome))
                case TransferError():
                    self.fail(request, outcome)
                case _:
                    self.interrupt(request)
                    fatal = fatal or outcome
        if fatal is not None:
            raise fatal

    def publish(self, request: FileRequest, fetched: Fetched, path: str) -> None:
        """Give a file its name that was handed over as a `Step`; or write that it is unchanged.

        Raises:
            KeyError: it was not handed over, or has been seen to.
        """
        if self._held.get(request.key) is not fetched:
            raise KeyError(request.key)
        del self._held[request.key]
        self._publish(request, fetched, path)

    def release(self, request: FileRequest, fetched: Fetched) -> bool:
        """Forget a file that was handed over as a `Step`. Return whether it is forgotten now, and its part has to be
        closed; False if it was published or forgotten before.
        """
        if self._held.get(request.key) is not fetched:
            return False
        del self._held[request.key]
        del self._pending[request.key]
        self._free_files += fetched.part is not None
        return True

    def fail(self, request: FileRequest, error: TransferError) -> None:
        """Write that a file does not arrive; also of one that was not added, or was handed over."""
        self._pending.setdefault(request.key, None)
        entry = request.entry(
            self._owner, reason=error.reason, http_status=error.http_status, permanent=error.permanent
        )
        self._writes.append(Write(request, Failure(entry), error=error))

    def interrupt(self, request: FileRequest) -> None:
        """End a file that the run does not come to."""
        self._end(request, FileResult.of_interruption(request))

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
        for write, outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, MachineError | Interrupted):
                fatal = fatal or outcome
                if not isinstance(write.change, RecordWanted):
                    self.interrupt(write.request)
            else:
                self._take(write, outcome)
        if fatal is not None:
            raise fatal

    def _take(self, write: Write, outcome: Entry | Exception) -> None:
        request, change, fetched, error = write
        match change, outcome:
            case RecordWanted(), _:
                pass
            case Failure(), _:
                assert error is not None
                self._end(request, FileResult.of_failure(request, error.reason, error))
            case _, Exception() if request.until == FETCHED:
                self._hand_over(Step(request, failure_of(request.url, outcome)))
            case _, Exception():
                self.fail(request, failure_of(request.url, outcome))
            case Publish(), Entry():
                assert fetched is not None
                self._end(request, FileResult.of_fetched(request, outcome, fetched))
            case Unchanged(), Entry():
                self._end(request, FileResult.of_present(request, self._pending[request.key] or outcome))

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
        waiting = [*self._lookups, *(what for what in self._times.clear() if isinstance(what, FileRequest))]
        waiting += [request for request, _ in self._unasked]
        waiting += [request for host in self._hosts.values() for request in host.clear()]
        self._lookups.clear()
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
        is_contended = now_s < self._contended_until_s
        gathers_at_s = now_s if self._gathers else None
        while self._ready and self._free_files >= 1:
            name = next(iter(self._ready))
            host = self._ready[name]
            batch = host.begin(self._per_host, self._free_files, scattered=is_contended, gathers_at_s=gathers_at_s)
            del self._ready[name]
            if batch is not None:
                self._ready[name] = host  # at the end: hosts take turns
                self._free_files -= len(batch.requests)
                yield batch
                continue
            if host.is_idle and len(self._hosts) > self._kept_hosts:
                self._hosts.pop(name, None)
            elif self._gathers and (wait_s := host.wait_s(self._per_host, now_s)) is not None:
                self._times.add(now_s + wait_s, host)

    def take_writes(self) -> list[Write]:
        """Return the changes that are to be written, for `written`."""
        writes, self._writes = self._writes, []
        return writes

    def take_results(self) -> list[FileResult]:
        """Return what has become of files since the last call."""
        results, self._results = self._results, []
        return results

    def take_steps(self) -> list[Step]:
        """Return the files that have come as far as their requests say.

        One that was fetched is pending until it is given to `publish` or `release`. The others are not pending any
        more; they can be added again, or be given to `fail`.
        """
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

    def _hand_over(self, step: Step) -> None:
        key = step.request.key
        if isinstance(step.outcome, Fetched):
            self._held[key] = step.outcome
        else:
            del self._pending[key]
        self._steps.append(step)

    def _publish(self, request: FileRequest, fetched: Fetched, path: str) -> None:
        change: Change = (
            Publish(request.entry(self._owner, path=path), fetched)
            if fetched.part is not None
            else Unchanged(request.entry(self._owner))
        )
        self._writes.append(Write(request, change, fetched))

    def _path_of(self, request: FileRequest, fetched: Fetched) -> str:
        owner = request.owner or self._owner
        return preferred_path(owner, request.transfer.url, fetched.headers, request.filename)

    def _end(self, request: FileRequest, result: FileResult) -> None:
        del self._pending[request.key]
        self._results.append(result)

    def _end_of(self, batch: Batch, outcomes: Sequence[Outcome | None]) -> None:
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


def _place_of(request: FileRequest) -> tuple[str, str]:
    origin = Origin.of(request.transfer.url)
    return origin.host if origin is not None else "", kind_of_line(request, urlsplit(request.transfer.url).path)
