"""The order in which files are fetched, and the result of each file: events in, effects out.

A `FetchQueue` has no thread, no clock and no I/O. A driver reports events to it (`add`, `looked_up`, `fetched`,
`written`) and carries out its effects: `take_lookups`, `next_batches`, `take_writes`. The result of each file is
returned by `take_results`, once for each request that was added.

    add ──▶ lookups ──▶ looked_up ──▶ next_batches ──▶ fetched ──▶ writes ──▶ written ──▶ results

The driver passes the time with each event: `wall_s` in seconds since the epoch, for the comparison with ledger rows,
and `now_s` of a monotonic clock.
"""

from __future__ import annotations

import heapq
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mediacrawl.archive import Failure, Link, NoFile, Publish, RecordWanted, Unchanged
from mediacrawl.download.records import Fetched
from mediacrawl.download.retry import Backoff, concerns_host
from mediacrawl.errors import (
    ConnectionLost,
    DigestMismatch,
    HostAvoided,
    HttpStatusError,
    Interrupted,
    InvalidResponse,
    MachineError,
    RedirectRefused,
    RobotsUnknown,
    TooLarge,
    TransferError,
    WrongContent,
    failure_of,
)
from mediacrawl.fetch.filenames import preferred_path
from mediacrawl.fetch.host_failures import FailingHosts
from mediacrawl.fetch.host_queue import ALONE, Batch, HostQueue, kind_of_line
from mediacrawl.fetch.names import second_path
from mediacrawl.fetch.paused_hosts import PauseOfHost
from mediacrawl.fetch.refetch import is_noted
from mediacrawl.fetch.request import FETCHED, LOOKED_UP, FileRequest, FileResult
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store.parts import PartInUse
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mediacrawl.archive import Change
    from mediacrawl.download.records import Outcome
    from mediacrawl.fetch.host_failures import HostFailures
    from mediacrawl.fetch.refetch import RefetchPolicy

_CONTENDED_S = 5.0
# Outcomes of a file whose host has responded, except those for which `concerns_host` is true.
_RESPONSES = (
    *(Fetched, HttpStatusError, ConnectionLost, InvalidResponse, RedirectRefused),
    *(WrongContent, TooLarge, DigestMismatch),
)
_PROBE_EVERY_S = 0.1  # while other files are fetched, hosts that fail are tried one after another
_MOST_TARGETS = 100  # hosts to which files are not redirected
_MOST_PAUSED = 20_000  # files that wait for hosts that fail, and take no room of others: limits memory
_MOST_REDIRECTS = 20  # of a file to targets with robots rules that were unknown


class Write(NamedTuple):
    """A change for the archive.

    Attributes:
        request: the file that is changed.
        change: the change to write.
        fetched: the outcome of the transfer. Its part is locked until the change is written. None for other changes.
        error: why the file cannot be fetched, if the change is a failure.
    """

    request: FileRequest
    change: Change
    fetched: Fetched | None = None
    error: TransferError | None = None


class Step(NamedTuple):
    """A file that has reached the state that its request names (`FileRequest.until`). The driver decides the rest.

    Attributes:
        request: with the validators of the version in the store.
        outcome: of the transfer, or the error of the publication. None if only the ledger row was looked up, and the
            file has to be fetched.
    """

    request: FileRequest
    outcome: Fetched | TransferError | None


class FetchQueue:
    """The files of one run.

    Args:
        owner: name of the spider or command. Ledger rows contain the name, and paths begin with it.
        refetch: decides which files have to be fetched.
        per_host: connections to one host at a time.
        most_open: part files open at a time. A part is open from the start of its batch until its file has its name.
        backoff: how often and after which delays a host is tried again that fails.
        place_of: returns the host of a file, and the kind of the line in which the file waits there.
        gathers: files are added one at a time, see `HostSubqueue.wait_s`.
        kept_hosts: number of idle hosts that are remembered, as more of their files may be added.
    """

    def __init__(
        self,
        owner: str,
        refetch: RefetchPolicy,
        per_host: float,
        most_open: float = float("inf"),
        backoff: Backoff | None = None,
        *,
        place_of: Callable[[FileRequest], tuple[str, str]] | None = None,
        gathers: bool = False,
        kept_hosts: int = 0,
    ) -> None:
        self._owner = owner
        self._refetch = refetch
        self._per_host = per_host
        self._free_files = most_open
        self._backoff = backoff or Backoff()
        self._failing = FailingHosts()
        self._failing_queues: dict[str, HostQueue] = {}
        self._probes = _ProbeTimes()
        self._targets: dict[tuple[str, int], HostFailures] = {}  # hosts that fail, and redirects lead to
        self._place_of = place_of or _place_of
        self._gathers = gathers
        self._kept_hosts = kept_hosts
        self._pending: dict[str, Entry | None] = {}  # by key; the row of a version in the store
        self._named: dict[str, dict[str, FileRequest | None]] = {}  # by key and identity; None for the first request
        self._held: dict[str, Fetched] = {}  # by key; pending files that were handed over to the driver
        self._hosts: dict[str, HostQueue] = {}
        self._ready: dict[str, HostQueue] = {}  # hosts that may have a batch to begin
        self._times = _Times()
        self._contended_until_s = float("-inf")
        self._is_stopped = False
        self._lookups: list[FileRequest] = []
        self._writes: list[Write] = []
        self._results: list[FileResult] = []
        self._steps: list[Step] = []
        self._met: list[FileRequest] = []
        self._unasked: list[tuple[FileRequest, str]] = []
        self._pauses: list[PauseOfHost] = []

    def __len__(self) -> int:
        """Return the number of files that have no result yet."""
        return len(self._pending)

    def has_room(self, most_pending: int) -> bool:
        """Return whether more files may be added, so that fewer than about `most_pending` have no result.

        Files that wait for a host that fails do not count: a list that begins with a dead host goes on.
        """
        if len(self._pending) < most_pending:
            return True
        self._failing_queues = {name: host for name, host in self._failing_queues.items() if host.failures.is_failing}
        paused = sum(map(len, self._failing_queues.values()))
        return len(self._pending) - min(paused, _MOST_PAUSED) < most_pending

    def __contains__(self, key: str) -> bool:
        """Return whether a file has no result yet."""
        return key in self._pending

    # Events

    def add(self, requests: Sequence[FileRequest]) -> int:
        """Add wanted files, except files that are pending already. Return the number of new files.

        A pending file that is wanted under another name is new, but not fetched again.
        """
        new = 0
        for request in requests:
            key, identity = request.key, request.identity
            if key not in self._pending:
                self._pending[key] = None
                if identity != key:
                    self._named[key] = {identity: None}
                self._look_up(request)
                new += 1
            elif identity != key or key in self._named:
                named = self._named.setdefault(key, {key: None})
                new += identity not in named
                named.setdefault(identity, request)
        return new

    def looked_up(
        self, requests: Sequence[FileRequest], entries: Sequence[Entry | None], wall_s: float, now_s: float
    ) -> None:
        """Receive the rows of the files from `take_lookups`; None for a file without a row."""
        for request, entry in self._unfinished(requests, entries, wall_s):
            if self._is_stopped:
                self.interrupt(request)
            elif request.until == LOOKED_UP:
                self._hand_over(Step(request, None))
            else:
                if not is_noted(entry, request.transfer.url):
                    self._writes.append(Write(request, RecordWanted(request.entry(self._owner))))
                name, kind = self._place_of(request)
                host = self._hosts.get(name)
                if host is None:
                    host = self._hosts[name] = HostQueue(name, self._failing.of(request.transfer.url))
                host.append(now_s, kind, request)
                self._ready[name] = host

    def confirmed(self, batch: Batch, entries: Sequence[Entry | None], wall_s: float) -> Batch:
        """Receive the rows of a contended batch. Return the batch with the files that still have to be fetched.

        If no file is left, the connection of the batch is released.
        """
        requests = [request for request, _ in self._unfinished(batch.requests, entries, wall_s)]
        self._free_files += len(batch.requests) - len(requests)
        confirmed = batch._replace(requests=requests, is_contended=False)
        if not requests:
            self._end_of(confirmed, [])
        return confirmed

    def fetched(self, batch: Batch, outcomes: Sequence[Outcome | None], now_s: float) -> None:
        """Receive the outcomes of a batch.

        The outcome of a file that was not begun is None, or missing at the end: the file waits again.

        Raises:
            BaseException: the first outcome that concerns the complete run. All other outcomes have been recorded.
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
                case TransferError() if concerns_host(outcome, self._backoff):
                    self._fail_host(batch, request, outcome, now_s)
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

    def _fail_host(self, batch: Batch, request: FileRequest, error: TransferError, now_s: float) -> None:
        """Receive an error that concerns the host of a file: the file waits again, or the host is given up."""
        if self._is_stopped:
            self.interrupt(request)
            return
        failures = self._failing.of(error.url)  # a redirect may have led to another host than that of the batch
        is_new = failures.pause_s(now_s) == 0
        if isinstance(error, HostAvoided):
            is_paused, again = True, request
        else:
            is_paused = failures.fail(error, batch.began_s, now_s, self._per_host, self._backoff)
            again = request.tried(error)
        self._failing.keep(failures)
        limited = error.http_status == HTTPStatus.TOO_MANY_REQUESTS
        if failures.error is not None:
            self._give_up(request, failures)
        elif again.tries > self._backoff.times and not limited:
            self._end_failed(request, error)
        elif is_paused and failures is batch.host.failures:
            batch.host.append(now_s, batch.line.kind, again)  # at the end: another file is tried first
            self._failing_queues[batch.host.name] = batch.host
        elif is_paused:
            self._wait_for_target(again, failures, now_s)
        else:
            self._times.add(now_s + self._backoff.delay_s(again.tries), again)
        if is_new and (pause_s := failures.pause_s(now_s)) > 0:
            site = "{}:{}".format(*failures.site)
            self._pauses.append(PauseOfHost(failures.site[0], site, error.reason, now_s + pause_s, limited))

    def _wait_for_target(self, request: FileRequest, failures: HostFailures, now_s: float) -> None:
        """Let a file wait for the host that a redirect leads to. Each goes alone: they may be of several hosts."""
        name = "redirect to {}:{}".format(*failures.site)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = HostQueue(name, failures)
        host.append(now_s, ALONE, request)
        self._ready[name] = self._failing_queues[name] = host
        self._targets[failures.site] = failures
        if len(self._targets) > _MOST_TARGETS:
            del self._targets[next(iter(self._targets))]

    def _avoiding(self, batch: Batch, now_s: float) -> Batch:
        """Return a batch with the hosts to which its files are not to be redirected now, and no others."""
        for site, failures in list(self._targets.items()):
            failures.retry_if_due(now_s, self._backoff)
            if not failures.is_failing:
                del self._targets[site]
        avoided = tuple(site for site in self._targets if site != batch.host.failures.site)
        if all(one.transfer.avoided == avoided for one in batch.requests):
            return batch
        return batch._replace(
            requests=[one._replace(transfer=one.transfer._replace(avoided=avoided)) for one in batch.requests]
        )

    def _give_up(self, request: FileRequest, failures: HostFailures) -> None:
        assert failures.error is not None
        self._end_failed(request, failures.error.of_host("{}:{}".format(*failures.site), request.url))

    def _end_failed(self, request: FileRequest, error: TransferError) -> None:
        if request.until == FETCHED:
            self._hand_over(Step(request, error))
        else:
            self.fail(request, error)

    def publish(self, request: FileRequest, fetched: Fetched, path: str) -> None:
        """Give a file that was handed over as a `Step` its name, or record that the file is unchanged.

        Raises:
            KeyError: the file was not handed over, or was published or released already.
        """
        if self._held.get(request.key) is not fetched:
            raise KeyError(request.key)
        del self._held[request.key]
        self._publish(request, fetched, path)

    def release(self, request: FileRequest, fetched: Fetched) -> bool:
        """Forget a file that was handed over as a `Step`.

        Returns:
            True if the file is forgotten now, and its part has to be closed; False if the file was published or
            forgotten before.
        """
        if self._held.get(request.key) is not fetched:
            return False
        del self._held[request.key]
        del self._pending[request.key]
        self._free_files += fetched.part is not None
        return True

    def fail(self, request: FileRequest, error: TransferError) -> None:
        """Record that a file cannot be fetched, or that a hyperlink leads to a page.

        The file may be pending, may have been handed over as a `Step` with an error, or may never have been added.
        """
        self._pending.setdefault(request.key, None)
        entry = request.entry(
            self._owner, reason=error.reason, http_status=error.http_status, permanent=error.permanent
        )
        known = self._pending[request.key]
        is_page = request.is_page(error) and (known is None or known.path is None)
        change = NoFile(entry) if is_page else Failure(entry, error.supersedes)
        self._writes.append(Write(request, change, error=error))

    def link(self, request: FileRequest, entry: Entry, path: str) -> None:
        """Give the published file of a row also the name `path`, which the request wants."""
        self._pending[request.identity] = None
        second = request.entry(self._owner, path=path)._replace(key=request.identity)
        self._writes.append(Write(request, Link(second, entry)))

    def interrupt(self, request: FileRequest) -> None:
        """End a file as interrupted: this run does not fetch the file."""
        self._end(request, FileResult.of_interruption(request))

    def retry(self, requests: Sequence[FileRequest]) -> None:
        """Look up the rows of files from `take_unasked` again."""
        for request in requests:
            self._look_up(request)

    def written(self, writes: Sequence[Write], outcomes: Sequence[Entry | Exception]) -> None:
        """Receive the outcomes of writes: the row, or the error that prevented the write.

        Raises:
            Exception: the first outcome that concerns the complete run. All other outcomes have been recorded.
        """
        self._free_files += sum(isinstance(write.change, Publish) for write in writes)
        fatal: Exception | None = None
        for write, outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, MachineError | Interrupted):
                fatal = fatal or outcome
                if not isinstance(write.change, RecordWanted):
                    self._end(write.request, FileResult.of_interruption(write.request), write.change.entry.key)
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
                self._end(request, FileResult.of_failure(request, error.reason, error), change.entry.key)
            case NoFile(), _:
                assert error is not None
                self._end(request, FileResult.of_page(request, error.reason), change.entry.key)
            case Link(), Entry():
                self._end(request, FileResult.of_present(request, outcome), change.entry.key)
            case Link(second), Exception():
                self._record_failure(request, second, failure_of(request.url, outcome))
            case _, Exception() if request.until == FETCHED:
                self._hand_over(Step(request, failure_of(request.url, outcome)))
            case _, Exception():
                self.fail(request, failure_of(request.url, outcome))
            case Publish(), Entry():
                assert fetched is not None
                self._end(request, FileResult.of_fetched(request, outcome, fetched))
            case Unchanged(), Entry():
                known = None if change.supersedes else self._pending[request.key]
                self._end(request, FileResult.of_present(request, known or outcome))

    def wake(self, now_s: float) -> None:
        """Resume the files and hosts that are due: files that another process was fetching, and hosts that gather."""
        for what in self._times.pop_due(now_s):
            if isinstance(what, FileRequest):
                self._look_up(what)
            elif (host := self._hosts.get(what.name)) is not None:
                self._ready[what.name] = host

    def stop(self) -> None:
        """End all waiting files as interrupted, and begin no more batches.

        Batches in flight still report their outcomes. Files of these batches that were not begun, or have to wait
        again, end as interrupted too.
        """
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
        """The time at which to call `wake`; None if no file or host waits for a time."""
        return self._times.first_s

    def take_lookups(self) -> list[FileRequest]:
        """Return the files to look up in the ledger. Pass their rows to `looked_up`."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def next_batches(self, now_s: float) -> Iterator[Batch]:
        """Yield the batches that may begin. Pass each to `fetched`; if it is contended, to `confirmed` first."""
        is_contended = now_s < self._contended_until_s
        while self._ready and self._free_files >= 1:
            name = next(iter(self._ready))
            host = self._ready[name]
            failures = host.failures
            if failures.error is not None:
                failures.retry_if_due(now_s, self._backoff)
                for request in host.clear() if failures.error is not None else ():
                    self._give_up(request, failures)
            del self._ready[name]
            if failures.is_failing and host and (at_s := self._probes.time_of(name, now_s)) > now_s:
                self._times.add(at_s, host)
                continue
            batch = host.begin(self._per_host, self._free_files, now_s, scattered=is_contended, gathers=self._gathers)
            if batch is not None:
                self._probes.begin(name, is_probe=batch.is_probe)
                self._ready[name] = host  # at the end: hosts take turns
                self._free_files -= len(batch.requests)
                yield self._avoiding(batch, now_s)
                continue
            if host.is_idle:
                self._failing_queues.pop(name, None)
                if len(self._hosts) > self._kept_hosts:
                    self._hosts.pop(name, None)
            elif (wait_s := host.wait_s(self._per_host, now_s, gathers=self._gathers)) is not None:
                self._times.add(now_s + wait_s, host)

    def take_writes(self) -> list[Write]:
        """Return the changes to write. Pass their outcomes to `written`."""
        writes, self._writes = self._writes, []
        return writes

    def take_results(self) -> list[FileResult]:
        """Return the results since the last call."""
        results, self._results = self._results, []
        return results

    def take_steps(self) -> list[Step]:
        """Return the files that have reached the state that their requests name.

        A fetched file is pending until it is passed to `publish` or `release`. The other files are not pending any
        more; they can be added again, or passed to `fail`.
        """
        steps, self._steps = self._steps, []
        return steps

    def take_met(self) -> list[FileRequest]:
        """Return the files that another process is fetching, for a message. The queue waits for these files."""
        met, self._met = self._met, []
        return met

    def take_pauses(self) -> list[PauseOfHost]:
        """Return the pauses that have begun since the last call."""
        pauses, self._pauses = self._pauses, []
        return pauses

    def take_unasked(self) -> list[tuple[FileRequest, str]]:
        """Return files with a redirect that was not followed because the robots rules of its target are unknown.

        Each file is returned with its target. Fetch the rules of the target, then call `retry`.
        """
        unasked, self._unasked = self._unasked, []
        return unasked

    # Internals

    def _unfinished(
        self, requests: Sequence[FileRequest], entries: Sequence[Entry | None], wall_s: float
    ) -> Iterator[tuple[FileRequest, Entry | None]]:
        """Yield the files that have to be fetched, with their rows. Give the other files their results."""
        for request, entry in zip(requests, entries, strict=True):
            if entry is not None and self._is_present(request, entry, wall_s):
                self._end(request, FileResult.of_present(request, entry))
            elif (why := self._known_failure(request, entry, wall_s)) is not None:
                self._end(request, FileResult.of_failure(request, why))
            else:
                self._pending[request.key] = entry
                yield request.revalidating(entry, self._owner), entry

    def _is_present(self, request: FileRequest, entry: Entry, wall_s: float) -> bool:
        is_listed = request.listed.is_that_of(entry) if request.listed is not None else None
        if is_listed is None or entry.state != State.DONE:
            return self._refetch.is_fresh(entry, wall_s)
        return is_listed

    def _known_failure(self, request: FileRequest, entry: Entry | None, wall_s: float) -> str | None:
        if entry is None or request.ignores_known_failure:
            return None
        why = self._refetch.known_failure(entry, wall_s)
        return None if why is None or request.has_other_digests(entry) else why

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
            else Unchanged(request.entry(self._owner), fetched.supersedes)
        )
        self._writes.append(Write(request, change, fetched))

    def _path_of(self, request: FileRequest, fetched: Fetched) -> str:
        owner = request.owner or self._owner
        return preferred_path(owner, request.transfer.url, fetched.headers, request.filename, request.page_encoding)

    def _end(self, request: FileRequest, result: FileResult, key: str | None = None) -> None:
        """Give a file its result, or a second name first; then the other requests for the same file.

        `key` is the key of the row, if it is the row of a second name.
        """
        key = key or request.key
        del self._pending[key]
        named = self._named.pop(key, None)
        if key == request.key:
            self._conclude(request, result)
        else:
            self._results.append(result)
        for other in named.values() if named is not None else ():
            if other is not None:
                self._conclude_other(other, result.of_same_file(other))

    def _conclude(self, request: FileRequest, result: FileResult) -> None:
        """Return a result, unless the file has to get a second name first."""
        entry, identity = result.entry, request.identity
        path = None
        if entry is not None and identity != request.key and identity not in self._pending:
            path = second_path(request, entry, self._owner)
        if entry is None or path is None:
            self._results.append(result)
        else:
            self.link(request, entry, path)

    def _conclude_other(self, request: FileRequest, result: FileResult) -> None:
        """Do the same for a second name. Its row records a failure, so that a retry makes the name."""
        if result.error is None or request.identity == request.key:
            self._conclude(request, result)
        else:
            self._pending[request.identity] = None
            second = request.entry(self._owner)._replace(key=request.identity)
            self._record_failure(request, second, result.error)

    def _record_failure(self, request: FileRequest, second: Entry, error: TransferError) -> None:
        second = second._replace(
            path=None, reason=error.reason, http_status=error.http_status, permanent=error.permanent
        )
        self._writes.append(Write(request, Failure(second), error=error))

    def _end_of(self, batch: Batch, outcomes: Sequence[Outcome | None]) -> None:
        batch.host.end(batch, outcomes)
        if not batch.is_probe:
            self._ready |= {name: self._hosts[name] for name in self._probes.end() if name in self._hosts}
        if answered := sum(self._is_response(outcome) for outcome in outcomes):
            batch.host.failures.succeed(batch.began_s, answered, self._per_host)
        self._ready[batch.host.name] = batch.host
        if self._is_stopped:
            for request in batch.host.clear():
                self.interrupt(request)

    def _is_response(self, outcome: Outcome | None) -> bool:
        """Return whether the host has responded, and not only to request a pause."""
        return isinstance(outcome, _RESPONSES) and not concerns_host(outcome, self._backoff)


class _ProbeTimes:
    """The times at which hosts that fail are tried: not many at a time, while files of other hosts are fetched.

    A thousand dead hosts would otherwise take half of the work.
    """

    def __init__(self) -> None:
        self._at_s: dict[str, float] = {}  # by name of the queue
        self._next_s = float("-inf")
        self._others = 0  # batches in flight of hosts that do not fail

    def time_of(self, name: str, now_s: float) -> float:
        """Return the time at which a host may be tried: `now_s` or later."""
        if not self._others:
            return now_s
        at_s = self._at_s.get(name)
        if at_s is None:
            at_s = self._at_s[name] = max(self._next_s, now_s)
            self._next_s = at_s + _PROBE_EVERY_S
        return at_s

    def begin(self, name: str, *, is_probe: bool) -> None:
        """Note that a batch of a host begins."""
        if is_probe:
            self._at_s.pop(name, None)
        else:
            self._others += 1

    def end(self) -> list[str]:
        """Note that a batch of a host that did not fail has ended. Return the hosts that may be tried at once now."""
        self._others -= 1
        if self._others or not self._at_s:
            return []
        names, self._at_s, self._next_s = list(self._at_s), {}, float("-inf")
        return names


class _Times:
    """Files and hosts that wait for a time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, FileRequest | HostQueue]] = []
        self._numbers = count()
        self._hosts: dict[str, float] = {}  # the earliest time of each host in the heap

    @property
    def first_s(self) -> float | None:
        """The earliest time; None if no file or host waits."""
        return self._heap[0][0] if self._heap else None

    def add(self, at_s: float, what: FileRequest | HostQueue) -> None:
        """Add a file or host that waits until `at_s`; a host that waits already keeps an earlier time."""
        if isinstance(what, HostQueue):
            if self._hosts.get(what.name, float("inf")) <= at_s:
                return
            self._hosts[what.name] = at_s
        heapq.heappush(self._heap, (at_s, next(self._numbers), what))

    def pop_due(self, now_s: float) -> Iterator[FileRequest | HostQueue]:
        """Remove and yield the files and hosts that are due at `now_s`."""
        while self._heap and self._heap[0][0] <= now_s:
            at_s, _, what = heapq.heappop(self._heap)
            if isinstance(what, HostQueue) and self._hosts.get(what.name) == at_s:
                del self._hosts[what.name]
            yield what

    def clear(self) -> list[FileRequest | HostQueue]:
        """Remove and return all files and hosts."""
        heap, self._heap = self._heap, []
        self._hosts.clear()
        return [what for _, _, what in heap]


def _place_of(request: FileRequest) -> tuple[str, str]:
    origin = Origin.of(request.transfer.url)
    name = f"{origin.host}:{origin.port}" if origin is not None else ""
    return name, kind_of_line(request, urlsplit(request.transfer.url).path)
