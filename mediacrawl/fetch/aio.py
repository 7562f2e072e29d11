"""Drive a `FetchQueue` on the event loop of a crawl."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mediacrawl.download.records import Fetched, unlock
from mediacrawl.errors import ForeignError, Interrupted, MachineError, TransferError, describe_error, failure_of
from mediacrawl.fetch.queue import Step
from mediacrawl.fetch.request import FETCHED, INTERRUPTED, LOOKED_UP, WRITTEN, FileResult
from mediacrawl.ledger.base import Entry
from mediacrawl.urls import former_key_of_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from mediacrawl.download.records import Outcome
    from mediacrawl.fetch.host_queue import Batch
    from mediacrawl.fetch.paused_hosts import PauseOfHost
    from mediacrawl.fetch.queue import FetchQueue, Write
    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.fetch.resources import FetchResources

logger = logging.getLogger(__name__)

T = TypeVar("T")
MOST_PENDING = 4096  # files without a result, above which a list has to wait: limits memory
_SENT_AT_ONCE = 32  # batches in one iteration of the event loop: a page may link to thousands of hosts
_ASKED_AT_ONCE = 64  # keys, at most, in a lookup on the event loop
_AT_ONCE_S = 0.02  # after a lookup that takes longer, a thread performs all further lookups


class Crawl(NamedTuple):
    """The functions of a crawl that an `AsyncFetch` calls.

    Attributes:
        send: fetches a batch, and returns the outcome of each file. The outcome of a file that was not begun is None,
            or missing at the end.
        want: counts wanted files.
        count_results: counts results and logs them.
        failure: returns why a file has failed in this run; None if it has not.
        page: returns why the URL of a hyperlink is none of a file, if that was found out in this run; otherwise None.
        refusal: returns why no request can be sent for a file; None if a request can be sent.
        stop_for: stops the crawl, because this machine cannot go on.
        show_pause: shows a pause of a host to the user.
        learn_robots: fetches the robots.txt that applies to a URL, unless it is known already.
    """

    send: Callable[[Batch], Awaitable[Sequence[Outcome | None]]]
    want: Callable[[int], None]
    count_results: Callable[[Sequence[FileResult]], None]
    failure: Callable[[str], str | None]
    refusal: Callable[[FileRequest], TransferError | None]
    stop_for: Callable[[MachineError], None]
    learn_robots: Callable[[str], Awaitable[None]]
    show_pause: Callable[[PauseOfHost], None]
    page: Callable[[str], str | None] = lambda _key: None


class AsyncFetch:
    """Fetches the files that a crawl wants. Only for the thread of the event loop.

    The futures of `fetch` raise no exception but `asyncio.CancelledError`: each file has a `FileResult` in any case.
    The same holds for the tasks of `fail`, except after an internal error: then a task may raise `Interrupted`.
    """

    def __init__(self, resources: FetchResources, files: FetchQueue, crawl: Crawl) -> None:
        self._resources = resources
        self._files = files
        self._crawl = crawl
        self._loop = asyncio.get_running_loop()
        self._asks_at_once = True
        self._futures: dict[str, asyncio.Future[Any]] = {}  # by identity: the next step or the result of a file
        self._is_due = False
        self._unsent: deque[Batch] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_broken = False

    # Files that need no further call

    def fetch(self, requests: Sequence[FileRequest]) -> list[asyncio.Future[FileResult]]:
        """Fetch the files of an item. Return a future for each file, in the order of the requests.

        Do not cancel a future: other callers may wait for the same one.
        """
        futures = []
        new = []
        for request in requests:
            future = self._futures.get(request.identity)
            if future is None:
                future = self._loop.create_future()
                known = self._known_result(request)
                if known is not None:
                    future.set_result(known)
                else:
                    self._futures[request.identity] = future
                    new.append(request)
            futures.append(future)
        self._add(new)
        return futures

    def _known_result(self, request: FileRequest) -> FileResult | None:
        """Return the result of a file that this run does not request again."""
        if request.key in self._files:
            return None
        if (reason := self._crawl.failure(request.key)) is not None:
            return FileResult.of_failure(request, reason)
        if request.may_be_page and (reason := self._crawl.page(request.key)) is not None:
            return FileResult.of_page(request, reason)
        return None

    async def take(self, requests: Sequence[FileRequest]) -> None:
        """Fetch files of a list without waiting for their results. Return when there is room for more files."""
        self._add([request for request in requests if self._crawl.failure(request.key) is None])
        await self.wait_for_room()

    async def wait_for_room(self) -> None:
        """Wait until more files may be added."""
        while not (self._is_broken or self._files.has_room(MOST_PENDING)):
            await self._next_change()

    async def drain(self) -> None:
        """Wait until each file has its result."""
        while self._tasks or (len(self._files) and not self._is_broken):
            await self._next_change()

    def stop(self) -> None:
        """Begin no more transfers, and end the waiting files as interrupted."""
        self._files.stop()
        self._act_soon()

    # Files that methods of a project process step by step

    async def look_up(self, request: FileRequest) -> FileResult | None:
        """Return the result of a file that needs no transfer, or is known to fail; None if it is to be fetched."""
        await self._until_unclaimed(request.key)
        if request.key in self._files:  # held by another caller, or wanted by a list: `transfer` waits for it
            return None
        self._files.add([request._replace(until=LOOKED_UP)])
        step = await self._next_step(request.key)
        return step if isinstance(step, FileResult) else None

    async def transfer(self, request: FileRequest) -> FileResult | Fetched:
        """Fetch a file, and leave its publication to the caller.

        Returns:
            The result of a file that needs no transfer, or is known to fail. Otherwise the outcome of the transfer,
            with its part file locked: pass it to `publish`, and to `abandon` in any case.

        Raises:
            Exception: the reason why the file was not fetched.
        """
        if (refusal := self._crawl.refusal(request)) is not None:
            raise refusal
        await self._until_through(request.key)
        self._files.add([request._replace(until=FETCHED)])
        step = await self._next_step(request.key)
        if isinstance(step, FileResult):
            return step
        if isinstance(step.outcome, Fetched):
            return step.outcome
        raise _error_of(step)

    async def publish(self, request: FileRequest, fetched: Fetched, path: str) -> FileResult:
        """Give a fetched file its name, or record that the file is unchanged.

        Raises:
            Exception: the reason why the file cannot have this name; or the file was given its name already.
        """
        try:
            self._files.publish(request._replace(until=FETCHED), fetched, path)
        except KeyError:
            raise TransferError(request.url, "it was given its name already") from None
        step = await self._next_step(request.key)
        if isinstance(step, FileResult):
            return step
        raise _error_of(step)

    async def link(self, request: FileRequest, entry: Entry, path: str) -> FileResult:
        """Give the published file of a row also the name `path`, which the request wants."""
        if (future := self._futures.get(request.identity)) is not None:
            await asyncio.wait([future])
            return await self.link(request, entry, path)
        self._crawl.want(1)  # a second name counts as a file of its own
        self._files.link(request, entry, path)
        result = await self._next_step(request.identity)
        assert isinstance(result, FileResult)
        return result

    def fail(self, request: FileRequest, error: TransferError) -> asyncio.Task[FileResult]:
        """Record why a file cannot be fetched. The task returns its result."""
        return self._begin(self._fail(request._replace(until=WRITTEN), error))

    def abandon(self, request: FileRequest, fetched: Fetched) -> None:
        """Close the part file of a file that was fetched but not published. The part stays for the next run."""
        if self._files.release(request, fetched):
            unlock(fetched)
            self._act_soon()

    async def _fail(self, request: FileRequest, error: TransferError) -> FileResult:
        await self._until_through(request.key)
        self._files.fail(request, error)
        result = await self._next_step(request.identity)
        assert isinstance(result, FileResult)
        return result

    async def _until_unclaimed(self, key: str) -> None:
        """Wait until no caller waits for the next step of a file: each step goes to a single caller."""
        while key in self._futures:
            await self._next_change()

    async def _until_through(self, key: str) -> None:
        """Wait until a file is neither in flight nor held by a caller.

        Raises:
            Interrupted: an internal error has ended the crawl.
        """
        while key in self._futures or key in self._files:
            if self._is_broken:
                raise Interrupted(key)
            await self._next_change()

    async def _next_step(self, key: str) -> Step | FileResult:
        future = self._futures[key] = self._loop.create_future()
        self._act_soon()
        try:
            step: Step | FileResult = await future
        except asyncio.CancelledError:
            if not future.cancelled():  # the step was set in the same iteration of the event loop
                self._drop(future.result())
            raise
        return step

    def _drop(self, step: Step | FileResult) -> None:
        """Release the part of a file for which no caller waits any more."""
        if isinstance(step, Step) and isinstance(step.outcome, Fetched):
            self.abandon(step.request, step.outcome)

    # Effects

    def _add(self, requests: Sequence[FileRequest]) -> None:
        wanted = []
        try:
            for request in requests:
                if request.key in self._files or (refusal := self._crawl.refusal(request)) is None:
                    wanted.append(request)
                else:
                    self._crawl.want(1)
                    self._files.fail(request, refusal)
            self._crawl.want(self._files.add(wanted))
        except Exception as error:  # other callers may wait for these files by now
            self._break_off(error)
        self._act_soon()

    def _act_soon(self) -> None:
        """Schedule `_act`, so that all requests of this iteration of the event loop are handled together."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._act)

    def _act(self) -> None:
        """Carry out the effects that the queue wants."""
        self._is_due = False
        try:
            self._carry_out(self._loop.time())
        except Exception as error:
            self._break_off(error)
        finally:
            if self._is_broken:
                self._interrupt_who_waits()
            self._set_alarm(self._loop.time())
            self._changed.set()

    def _carry_out(self, now_s: float) -> None:
        files = self._files
        files.wake(now_s)
        if lookups := files.take_lookups():
            self._look_up(lookups, now_s)
        for step in files.take_steps():
            self._hand_over(step)
        for request, target in files.take_unasked():
            self._begin(self._learn(request, target))
        files.take_met()
        self._write()  # records these files as wanted before the first of them is fetched
        is_sending = bool(self._unsent)
        self._unsent.extend(files.next_batches(now_s))
        if not is_sending:
            self._send_some()
        for step in files.take_steps():  # of hosts that are given up
            self._hand_over(step)
        self._write()
        self._report_contention()

    def _look_up(self, requests: Sequence[FileRequest], now_s: float) -> None:
        if self._are_new(requests):
            self._files.looked_up(requests, [None] * len(requests), time.time(), now_s)
        else:
            self._begin(self._ask(requests))

    def _are_new(self, requests: Sequence[FileRequest]) -> bool:
        """Return whether the ledger has no row for any of the files of a page; False if that is not known.

        The ledger is read on the event loop while each lookup takes less than `_AT_ONCE_S`: waking a thread takes
        longer than a usual lookup.
        """
        if not self._asks_at_once or len(requests) > _ASKED_AT_ONCE:
            return False
        keys = list({key for request in requests for key in (request.key, former_key_of_url(request.url))})
        began_s = self._loop.time()
        try:
            return not self._resources.archive.ledger.knows_any(keys)
        except Exception:  # the lookup by the thread reports the error
            return False
        finally:
            self._asks_at_once = self._loop.time() - began_s < _AT_ONCE_S

    async def _ask(self, requests: Sequence[FileRequest]) -> None:
        rows = await self._rows(requests)
        known = [
            (request, row) for request, row in zip(requests, rows, strict=True) if not isinstance(row, Exception)
        ]
        for request, row in zip(requests, rows, strict=True):
            if isinstance(row, Exception):
                self._come_to_nothing(request, row)
        self._files.looked_up(
            [request for request, _ in known], [row for _, row in known], time.time(), self._loop.time()
        )

    async def _rows(self, requests: Sequence[FileRequest]) -> list[Entry | Exception | None]:
        try:
            return await asyncio.wrap_future(self._resources.questions.submit_all(requests))
        except (CancelledError, asyncio.CancelledError):  # the crawl was closed
            return [Interrupted("closed")] * len(requests)

    def _come_to_nothing(self, request: FileRequest, error: Exception) -> None:
        """Interrupt or fail a file because its ledger row could not be read."""
        match error:
            case MachineError():
                self._files.interrupt(request)
                self._crawl.stop_for(error)
            case Interrupted():
                self._files.interrupt(request)
            case _:
                self._files.fail(request, failure_of(request.url, error))

    def _hand_over(self, step: Step) -> None:
        future = self._futures.pop(step.request.key, None)
        if future is None or future.done():
            self._drop(step)
        else:
            future.set_result(step)

    async def _learn(self, request: FileRequest, target: str) -> None:
        try:
            await self._crawl.learn_robots(target)
        except Exception as error:
            self._files.fail(request, failure_of(request.url, error))
        else:
            self._files.retry([request])

    def _send_some(self) -> None:
        """Begin to send some batches, and the others in the next iterations of the event loop."""
        for _ in range(min(_SENT_AT_ONCE, len(self._unsent))):
            self._begin(self._send(self._unsent.popleft()))
        if self._unsent:
            self._loop.call_soon(self._send_some)

    async def _send(self, batch: Batch) -> None:
        if batch.is_contended:
            rows = await self._rows(batch.requests)
            known = [row for row in rows if not isinstance(row, Exception)]
            if len(known) == len(rows):  # otherwise the batch is sent as it is
                batch = self._files.confirmed(batch, known, time.time())
            if not batch.requests:
                return
        outcomes: Sequence[Outcome | None]
        try:
            outcomes = await self._crawl.send(batch)
        except asyncio.CancelledError:
            outcomes = [Interrupted("closed")] * len(batch.requests)
        except Exception as error:  # of a project, or an internal error: each file has a result in any case
            outcomes = [failure_of(request.url, error) for request in batch.requests]
        try:
            self._files.fetched(batch, outcomes, self._loop.time())
            for pause in self._files.take_pauses():
                self._resources.pause(pause)
                self._crawl.show_pause(pause)
                wait_s = pause.until_s - self._loop.time()
                logger.info("%s: %s; its files wait for %.1f s", pause.site, pause.reason, wait_s)
        except MachineError as error:
            self._crawl.stop_for(error)
        except Interrupted:
            pass

    def _write(self) -> None:
        if writes := self._files.take_writes():
            done = self._resources.changes.submit_all([write.change for write in writes])
            self._begin(self._written(writes, asyncio.wrap_future(done)))

    async def _written(self, writes: Sequence[Write], done: asyncio.Future[list[Entry | Exception]]) -> None:
        outcomes: list[Entry | Exception]
        try:
            outcomes = await done
        except asyncio.CancelledError:  # the crawl was closed: the next run finds the complete parts
            outcomes = [Interrupted("closed")] * len(writes)
        for write, outcome in zip(writes, outcomes, strict=True):
            if not isinstance(outcome, Entry):
                unlock(write.fetched)
        try:
            self._files.written(writes, outcomes)
        except MachineError as error:
            self._crawl.stop_for(error)
        except Interrupted:
            pass

    def _report_contention(self) -> None:
        results = self._files.take_results()
        try:
            if results:
                self._crawl.count_results(results)
        except Exception:  # of a project's statistics
            logger.exception("The statistics have raised: %d files may be missing there", len(results))
        for result in results:
            assert result.request is not None
            future = self._futures.pop(result.request.identity, None)
            if future is not None and not future.done():
                future.set_result(result)

    def _set_alarm(self, now_s: float) -> None:
        wake_s = self._files.next_wake_s
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if wake_s is not None:
            self._alarm = self._loop.call_later(max(0.0, wake_s - now_s), self._act_soon)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._through)
        return task

    def _through(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        self._act_soon()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break_off(error)

    def _break_off(self, error: BaseException) -> None:
        """End the crawl after an internal error, so that no caller waits for ever.

        The state of the files in memory is unknown then. The next run goes on.
        """
        if self._is_broken:
            return
        self._is_broken = True
        logger.error("A mistake in mediacrawl: %s", error, exc_info=error)
        self._crawl.stop_for(MachineError(f"a mistake in mediacrawl, please report it: {describe_error(error)}"))
        self._act_soon()

    def _interrupt_who_waits(self) -> None:
        futures, self._futures = self._futures, {}
        for future in futures.values():
            if not future.done():
                future.set_result(FileResult("", INTERRUPTED))

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _error_of(step: Step) -> BaseException:
    """Return the error of a file that was not fetched, as it was raised first."""
    assert isinstance(step.outcome, TransferError)
    cause = step.outcome.__cause__
    return cause if isinstance(step.outcome, ForeignError) and cause is not None else step.outcome
