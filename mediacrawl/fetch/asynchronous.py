"""Drive a `FetchQueue` on the event loop of a crawl."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.download.request import Fetched
from mediacrawl.errors import Interrupted, MachineError, TransferError
from mediacrawl.fetch.request import FileResult
from mediacrawl.ledger.ledger import Entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from mediacrawl.download.request import Outcome
    from mediacrawl.fetch.queue import Batch, FetchQueue, Step, Write
    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.wiring import Works

logger = logging.getLogger(__name__)

MOST_PENDING = 4096  # files of a list that have not arrived: what memory holds
_ASKED_AT_ONCE = 64  # keys
_AT_ONCE_S = 0.02  # a disk that is slower than that once is asked by a thread from then on


class Crawl(NamedTuple):
    """What an `AsyncFetch` needs of the crawl that it works for.

    Attributes:
        send: fetches a batch: what came of each file; None, or no more, for those that were not begun.
        want: counts files that are wanted.
        count_results: counts results, and says what a log is to have of them.
        failure: why a file has failed in this run; None if it has not.
        refusal: why a file cannot be asked for; None if it can.
        stop_for: stops the crawl, as this machine cannot go on.
        learn_robots: has it known whether media at a URL may be asked for.
    """

    send: Callable[[Batch], Awaitable[Sequence[Outcome | None]]]
    want: Callable[[int], None]
    count_results: Callable[[Sequence[FileResult]], None]
    failure: Callable[[str], str | None]
    refusal: Callable[[FileRequest], TransferError | None]
    stop_for: Callable[[MachineError], None]
    learn_robots: Callable[[str], Awaitable[None]]


class AsyncFetch:
    """Fetches what a crawl wants. For the thread of the loop.

    Nothing that it returns raises anything but `asyncio.CancelledError`: a file has a `FileResult`, whatever happens.
    """

    def __init__(self, works: Works, files: FetchQueue, crawl: Crawl) -> None:
        self._works = works
        self._files = files
        self._crawl = crawl
        self._loop = asyncio.get_running_loop()
        self._asks_at_once = True
        self._futures: dict[str, asyncio.Future[FileResult]] = {}
        self._steps: dict[str, _StepFuture] = {}
        self._is_due = False
        self._alarm: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # Files that go on by themselves

    def fetch(self, requests: Sequence[FileRequest]) -> list[asyncio.Future[FileResult]]:
        """Fetch files for an item. Return a future for each, in this order; do not cancel it: others may have it."""
        futures = []
        new = []
        for request in requests:
            future = self._futures.get(request.key)
            if future is None:
                future = self._loop.create_future()
                if request.key not in self._files and (reason := self._crawl.failure(request.key)) is not None:
                    future.set_result(FileResult.of_failure(request, reason))
                else:
                    self._futures[request.key] = future
                    new.append(request)
            futures.append(future)
        self._add(new)
        return futures

    async def take(self, requests: Sequence[FileRequest]) -> None:
        """Fetch files of a list, whose results nobody waits for. Come back when there is room for more."""
        self._add([request for request in requests if self._crawl.failure(request.key) is None])
        while len(self._files) > MOST_PENDING:
            await self._next_change()

    async def drain(self) -> None:
        """Wait until each file has its result."""
        while len(self._files) or self._tasks:
            await self._next_change()

    def stop(self) -> None:
        """Begin nothing any more; what waits is interrupted."""
        self._files.stop()
        self._act_soon()

    # Files that a project has a say in

    async def look_up(self, request: FileRequest) -> FileResult | None:
        """Look a file up. Return its result if it needs nothing, or is known to fail; None if it is to be fetched."""
        if not self._files.add([request]):  # it was looked up
            return None
        self._act_soon()
        step = await self._next_step(request, is_fetched=False)
        return step if isinstance(step, FileResult) else None

    async def transfer(self, request: FileRequest) -> FileResult | Fetched:
        """Fetch a file that was looked up. Return its result if another process has brought it meanwhile.

        Raises:
            TransferError: it did not arrive; `fail` notes it.
        """
        if request.key not in self._files and (result := await self.look_up(request)) is not None:
            return result
        self._files.proceed(request, self._loop.time())
        self._act_soon()
        step = await self._next_step(request, is_fetched=True)
        if isinstance(step, FileResult):
            return step
        if isinstance(step.outcome, Fetched):
            return step.outcome
        assert step.outcome is not None
        raise step.outcome

    async def publish(self, request: FileRequest, fetched: Fetched, path: str) -> FileResult:
        """Give a file that was fetched its name; or note that it is unchanged.

        Raises:
            TransferError: it cannot have a name like that; `fail` notes it.
        """
        self._files.publish(request, fetched, path)
        self._act_soon()
        step = await self._next_step(request, is_fetched=True)
        if isinstance(step, FileResult):
            return step
        assert isinstance(step.outcome, TransferError)
        raise step.outcome

    def fail(self, request: FileRequest, error: TransferError) -> asyncio.Future[FileResult]:
        """Note why a file does not arrive."""
        future = self._futures.setdefault(request.key, self._loop.create_future())
        self._files.refuse(request, error)
        self._act_soon()
        return future

    def abandon(self, request: FileRequest, fetched: Fetched | None = None) -> None:
        """Forget a file that has no result yet, and is not to have one; its part stays for the next run."""
        if fetched is not None:
            unlock(fetched)
        if request.key in self._files and request.key not in self._futures:
            self._steps.pop(request.key, None)
            self._files.abandon(request, fetched)
            self._act_soon()

    async def _next_step(self, request: FileRequest, *, is_fetched: bool) -> Step | FileResult:
        step = self._steps[request.key] = _StepFuture(self._loop.create_future(), is_fetched)
        return await step.future

    # Effects

    def _add(self, requests: Sequence[FileRequest]) -> None:
        wanted = []
        for request in requests:
            if (refusal := self._crawl.refusal(request)) is None:
                wanted.append(request)
            elif request.key not in self._files:
                self._crawl.want(1)
                self._files.refuse(request, refusal)
        self._crawl.want(self._files.add(wanted))
        self._act_soon()

    def _act_soon(self) -> None:
        """Not at once: what comes in the same turn of the loop goes together."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._act)

    def _act(self) -> None:
        """Carry out what the queue wants."""
        self._is_due = False
        files, now_s = self._files, self._loop.time()
        files.wake(now_s)
        if lookups := files.take_lookups():
            self._look_up(lookups, now_s)
        for step in files.take_steps():
            self._step(step, now_s)
        for request, target in files.take_unasked():
            self._begin(self._learn(request, target))
        files.take_met()
        self._write()  # that these files are wanted, before the first of them has come
        for batch in files.next_batches(now_s):
            self._begin(self._send(batch))
        self._tell()
        self._set_alarm(now_s)

    def _look_up(self, requests: Sequence[FileRequest], now_s: float) -> None:
        keys = [request.key for request in requests]
        if self._are_new(keys):
            self._files.looked_up(requests, [None] * len(keys), time.time(), now_s)
        else:
            self._begin(self._ask(requests, keys))

    def _are_new(self, keys: list[str]) -> bool:
        """Return whether the ledger has nothing about the files of a page: that is asked here and now, as long as it
        takes no time to speak of, as to wake a thread takes longer. False where nobody knows.
        """
        if not self._asks_at_once or len(keys) > _ASKED_AT_ONCE:
            return False
        began_s = self._loop.time()
        try:
            return not self._works.archive.ledger.knows_any(keys)
        except MachineError:  # who asks again is told
            return False
        finally:
            self._asks_at_once = self._loop.time() - began_s < _AT_ONCE_S

    async def _ask(self, requests: Sequence[FileRequest], keys: Sequence[str]) -> None:
        rows = await self._rows(keys)
        known = [
            (request, row) for request, row in zip(requests, rows, strict=True) if not isinstance(row, Exception)
        ]
        for request, row in zip(requests, rows, strict=True):
            if isinstance(row, Exception):
                self._come_to_nothing(request, row)
        self._files.looked_up(
            [request for request, _ in known], [row for _, row in known], time.time(), self._loop.time()
        )

    async def _rows(self, keys: Sequence[str]) -> list[Entry | Exception | None]:
        try:
            return await asyncio.wrap_future(self._works.questions.submit_all(keys))
        except (CancelledError, asyncio.CancelledError):  # the crawl has closed
            return [Interrupted("closed")] * len(keys)

    def _come_to_nothing(self, request: FileRequest, error: Exception) -> None:
        """Its row could not be read."""
        match error:
            case MachineError():
                self._files.interrupt(request)
                self._crawl.stop_for(error)
            case Interrupted():
                self._files.interrupt(request)
            case _:
                self._files.fail(request, failure_of(request, error))

    def _step(self, step: Step, now_s: float) -> None:
        waiting = self._steps.get(step.request.key)
        if waiting is None:  # nobody waits for it any more
            if isinstance(step.outcome, Fetched):
                unlock(step.outcome)
                self._files.abandon(step.request, step.outcome)
            else:
                self._files.abandon(step.request)
        elif step.outcome is None and waiting.is_fetched:  # another process had it, and has not brought it
            self._files.proceed(step.request, now_s)
        else:
            del self._steps[step.request.key]
            waiting.set(step)

    async def _learn(self, request: FileRequest, target: str) -> None:
        try:
            await self._crawl.learn_robots(target)
        except Exception as error:
            self._files.fail(request, failure_of(request, error))
        else:
            self._files.retry([request])

    async def _send(self, batch: Batch) -> None:
        if batch.is_contended:
            rows = await self._rows([request.key for request in batch.requests])
            batch = self._files.confirmed(
                batch, [row if isinstance(row, Entry) else None for row in rows], time.time()
            )
            if not batch.requests:
                return
        outcomes: Sequence[Outcome | None]
        try:
            outcomes = await self._crawl.send(batch)
        except asyncio.CancelledError:
            outcomes = [Interrupted("closed")] * len(batch.requests)
        except Exception as error:  # a mistake, of ours or of a project: each file has a result, whatever happens
            outcomes = [failure_of(request, error) for request in batch.requests]
        try:
            self._files.fetched(batch, outcomes, self._loop.time())
        except MachineError as error:
            self._crawl.stop_for(error)
        except Interrupted:
            pass

    def _write(self) -> None:
        if writes := self._files.take_writes():
            done = self._works.changes.submit_all([write.change for write in writes])
            self._begin(self._written(writes, asyncio.wrap_future(done)))

    async def _written(self, writes: Sequence[Write], done: asyncio.Future[list[Entry | Exception]]) -> None:
        outcomes: list[Entry | Exception]
        try:
            outcomes = await done
        except asyncio.CancelledError:  # the crawl has closed: the next run finds them whole
            outcomes = [Interrupted("closed")] * len(writes)
        for write, outcome in zip(writes, outcomes, strict=True):
            if write.fetched is not None and not isinstance(outcome, Entry):
                unlock(write.fetched)
        try:
            self._files.written(writes, outcomes)
        except MachineError as error:
            self._crawl.stop_for(error)
        except Interrupted:
            pass

    def _tell(self) -> None:
        results = self._files.take_results()
        if not results:
            return
        try:
            self._crawl.count_results(results)
        except Exception:  # of a project's own statistics
            logger.exception("Results were not counted")
        for result in results:
            assert result.request is not None
            key = result.request.key
            if (future := self._futures.pop(key, None)) is not None and not future.done():
                future.set_result(result)
            if (step := self._steps.pop(key, None)) is not None:
                step.set(result)
        self._changed.set()

    def _set_alarm(self, now_s: float) -> None:
        wake_s = self._files.next_wake_s
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if wake_s is not None:
            self._alarm = self._loop.call_later(max(0.0, wake_s - now_s), self._act_soon)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._through)

    def _through(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        self._act_soon()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Files were not noted: %s", error, exc_info=error)

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class _StepFuture:
    """What a file that a project has a say in waits for.

    Attributes:
        is_fetched: it was looked up already.
    """

    __slots__ = ("future", "is_fetched")

    def __init__(self, future: asyncio.Future[Step | FileResult], is_fetched: bool) -> None:
        self.future = future
        self.is_fetched = is_fetched

    def set(self, step: Step | FileResult) -> None:
        if not self.future.done():
            self.future.set_result(step)


def failure_of(request: FileRequest, error: BaseException) -> TransferError:
    """Return what an error means for a file: it has failed. Its traceback is that of the cause."""
    if isinstance(error, TransferError):
        return error
    failure = TransferError(request.url, in_words(error))
    failure.__cause__ = error
    return failure


def in_words(error: BaseException | None) -> str:
    """Return an error in one line."""
    text = " ".join(str(error or "unknown error").split())
    return (text or type(error).__name__)[:300]


def unlock(outcome: Outcome | None) -> None:
    """Close the part of a transfer, if there is one. A disk that has no room for its record costs its bytes."""
    if isinstance(outcome, Fetched) and outcome.part is not None:
        with suppress(MachineError):
            outcome.part.close()
