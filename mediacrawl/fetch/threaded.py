"""Drive a `FetchQueue` with threads, for `get` and for programs. Needs no Scrapy and no asyncio."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.download.records import unlock
from mediacrawl.errors import MediacrawlError
from mediacrawl.fetch.batch_size import BATCH_S
from mediacrawl.fetch.failure_advice import advised_reason
from mediacrawl.fetch.paused_hosts import PausedHosts
from mediacrawl.fetch.request import FAILED, INTERRUPTED, UPTODATE, FileRequest, FileResult
from mediacrawl.fetch.stats import Recent
from mediacrawl.ledger.base import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from mediacrawl.download.records import Outcome
    from mediacrawl.errors import TransferError
    from mediacrawl.fetch.host_queue import Batch
    from mediacrawl.fetch.queue import FetchQueue, Write
    from mediacrawl.fetch.resources import FetchResources
    from mediacrawl.fetch.stats import RunStats

_MOST_BLOCKS = 16
_MOST_PENDING = 2000  # files without a result, above which no requests are taken: limits memory
_MOST_AT_ONCE = 250  # requests of a step, above which no further block is taken
_SILENCE_S = 0.1  # without an event; then files that another process was fetching are looked up again


class InvalidLine(NamedTuple):
    """A line of a list that is no request, or a folder that could not be read.

    Attributes:
        where: file and line number, the text of the line, or the URL of the folder, for a message.
        why: the reason.
        error: of a folder.
    """

    where: str
    why: str
    error: TransferError | None = None


Block = Sequence[FileRequest | InvalidLine]


class ThreadedFetch:
    """Fetches blocks of requests. One thread calls `step` repeatedly; other threads put events into its queue.

    Args:
        blocks: read by a thread of its own, only a little ahead. The iterable may be endless, or slow.
        report: counts wanted files and results.

    Attributes:
        paused: the hosts that are paused now.
    """

    def __init__(
        self, resources: FetchResources, files: FetchQueue, blocks: Iterable[Block], report: RunStats
    ) -> None:
        self._resources = resources
        self._files = files
        self._report = report
        self._seen = Recent()  # identities
        self._blocks: queue.Queue[Block] = queue.Queue(_MOST_BLOCKS)
        self._is_reading = True
        self._is_closed = False
        self._error: BaseException | None = None  # of the iterable of blocks
        self._writing = 0  # changes without an outcome
        self._invalid: list[FileResult] = []
        self.paused = PausedHosts()
        self._events: queue.SimpleQueue[partial[None]] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(blocks,), daemon=True, name="list").start()

    @property
    def is_done(self) -> bool:
        """Whether each request has been read and has a result, and an error of the requests has been raised."""
        return self._is_through and self._error is None

    @property
    def _is_through(self) -> bool:
        return not (self._is_reading or self._files or self._writing) and self._blocks.empty()

    def step(self, timeout_s: float) -> list[FileResult]:
        """Wait at most `timeout_s` for an event, then handle all queued events. Return the new results.

        Raises:
            KeyboardInterrupt: after `stop`.
            MediacrawlError: the run cannot go on. `drain` yields the results that were not returned yet.
            BaseException: the error of the iterable of requests, once all requests before it have their results.
        """
        try:
            event = self._events.get(timeout=0 if self._may_take else min(timeout_s, _SILENCE_S))
            while True:
                event()
                event = self._events.get_nowait()
        except queue.Empty:
            pass
        self._act()
        results = self._results()
        if not results and self._error is not None and self._is_through:
            error, self._error = self._error, None
            raise error
        return results

    def stop(self) -> None:
        """End `step` with a `KeyboardInterrupt`, after the events that are queued already.

        May be called from a signal handler. From now on the ledger waits only a moment for other processes.
        """
        self._resources.archive.ledger.hurry()
        self._events.put(partial(self._interrupt))

    def close(self) -> None:
        """Take no more requests. The thread that reads the blocks ends when it receives the next block."""
        self._is_closed = True
        with suppress(queue.Empty):
            while True:  # the thread may be waiting for room in the queue
                self._blocks.get_nowait()

    def drain(self) -> Iterator[list[FileResult]]:
        """Yield the results of changes that were written during the stop. Unlock all other parts; begin no transfer.

        Call this method once `FetchResources` is closed.

        Raises:
            MediacrawlError: a change could not be written.
        """
        error: MediacrawlError | None = None
        yield self._results()
        with suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if event.func == self._written:
                    try:
                        event()
                    except CancelledError:  # submitted after the close
                        pass
                    except MediacrawlError as one:  # other changes have been written nevertheless
                        error = error or one
                    yield self._results()
                elif event.func == self._fetched:
                    for outcome in _outcomes_of(event.args[-1]):
                        unlock(outcome)
        if error is not None:
            raise error

    @staticmethod
    def _interrupt() -> None:
        raise KeyboardInterrupt

    # Requests

    def _read(self, blocks: Iterable[Block]) -> None:
        try:
            for block in blocks:
                if self._is_closed:
                    return
                self._blocks.put(block)
                self._events.put(partial(_nothing))
            self._events.put(partial(self._end_of_blocks))
        except BaseException as error:  # of any kind: `step` waits for the end of the blocks
            self._events.put(partial(self._end_of_blocks, error))

    def _end_of_blocks(self, error: BaseException | None = None) -> None:
        self._is_reading = False
        self._error = error

    @property
    def _may_take(self) -> bool:
        """Whether a block has been read, and memory has room for its files."""
        return not self._blocks.empty() and self._files.has_room(_MOST_PENDING)

    def _take_blocks(self) -> None:
        taken: list[FileRequest] = []
        with suppress(queue.Empty):
            while len(taken) < _MOST_AT_ONCE and self._files.has_room(_MOST_PENDING - len(taken)):
                for line in self._blocks.get_nowait():
                    if isinstance(line, InvalidLine):
                        self._report.count_wanted(1)
                        self._invalid.append(FileResult(line.where, FAILED, reason=line.why, error=line.error))
                    elif self._seen.add(line.identity):
                        taken.append(line)
        if taken:
            self._report.count_wanted(self._files.add(taken))

    # Effects

    def _act(self) -> None:
        """Carry out the effects that the queue wants."""
        now_s = time.monotonic()
        self._files.wake(now_s)
        self._take_blocks()
        if lookups := self._files.take_lookups():
            self._files.looked_up(lookups, self._resources.rows(lookups), time.time(), now_s)
        self._write()  # records these files as wanted before the first of them is fetched
        for batch in self._files.next_batches(now_s):
            confirmed = batch
            if batch.is_contended:
                confirmed = self._files.confirmed(batch, self._resources.rows(batch.requests), time.time())
            if confirmed.requests:
                transfers = [request.transfer for request in confirmed.requests]
                self._then(self._resources.pool.submit(transfers, BATCH_S), self._fetched, confirmed)
        self._write()

    def _fetched(self, batch: Batch, done: Future[list[Outcome]]) -> None:
        try:
            self._files.fetched(batch, done.result(), time.monotonic())
            for pause in self._files.take_pauses():
                self._resources.pause(pause)
                self.paused.add(pause)
        finally:
            self._write()

    def _write(self) -> None:
        if writes := self._files.take_writes():
            self._writing += len(writes)
            changes = [write.change for write in writes]
            self._then(self._resources.changes.submit_all(changes), self._written, writes)

    def _written(self, writes: Sequence[Write], done: Future[list[Entry | Exception]]) -> None:
        self._writing -= len(writes)
        outcomes = _outcomes_of(done)
        # A fetched file that could not be published stays as a part for the next run, or until its name is free.
        for write, outcome in zip_longest(writes, outcomes):
            if not isinstance(outcome, Entry):
                unlock(write.fetched)
        self._files.written(writes, done.result())

    def _then(self, future: Future[Any], step: Callable[..., None], *facts: Any) -> None:
        """Put an event into the queue when a future is done: the call of `step` with `facts` and the future."""
        future.add_done_callback(lambda done: self._events.put(partial(step, *facts, done)))

    def _results(self) -> list[FileResult]:
        invalid, self._invalid = self._invalid, []
        results = [*invalid, *(result for result in self._files.take_results() if result.status != INTERRUPTED)]
        for result in results:
            self._count(result)
        return results

    def _count(self, result: FileResult) -> None:
        if result.status == FAILED:
            self._report.count_failed(result._replace(reason=advised_reason(result)))
        elif result.status == UPTODATE:
            self._report.count_present()
        else:
            self._report.count_arrived(result.size_bytes, result.saved_bytes)


def _outcomes_of(done: Future[list[Any]]) -> list[Any]:
    """Return the outcomes of a future; an empty list if the future failed or was cancelled."""
    return [] if done.cancelled() or done.exception() is not None else done.result()


def _nothing() -> None:
    """Do nothing. The event only wakes `ThreadedFetch.step`, because a block was read."""
