"""The worker processes, as seen from the leading process of a crawl."""

from __future__ import annotations

import itertools
import logging
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.cookies import Cookies
from mediacrawl.download.records import Fetched
from mediacrawl.download.requester import anywhere
from mediacrawl.errors import Interrupted, MediacrawlError
from mediacrawl.system.child_process import start_module
from mediacrawl.system.cpu_scheduling import use_batch_scheduling
from mediacrawl.transport.connection_limits import CUT_COUNTS_S
from mediacrawl.urls import Origin
from mediacrawl.workers import protocol
from mediacrawl.workers.channel import Channel
from mediacrawl.workers.protocol import (
    Arrived,
    ConnectionDenied,
    ConnectionGranted,
    ConnectionsFree,
    ConnectionsRecalled,
    ConnectionWanted,
    CookieChanged,
    HostPause,
    PartHandle,
    RedirectAnswer,
    Release,
    RemotePart,
    Stop,
    TransferBatch,
    UnderWay,
    WorkerConfig,
    with_part,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mediacrawl.download.cookies import CookieChange
    from mediacrawl.download.progress import Progress
    from mediacrawl.download.records import LockedPart, Outcome, TransferRequest
    from mediacrawl.download.requester import MayFollow
    from mediacrawl.download.retry import HostPauses
    from mediacrawl.transport.connection_limits import ConnectionLimit

logger = logging.getLogger(__name__)

MOST_DEATHS = 5
TICK_S = 1.0
MOST_SILENT_TICKS = 60  # a worker process sends a message each half second
_GONE_S = 5.0  # a killed process that exists longer is blocked in the kernel, mostly on a disk
_NEARLY_BATCHES = 2
_RELEASE_FROM = 32  # parts: a smaller number waits for the next message


class WorkerDied(Exception):
    """The worker process of these transfers has ended. The transfers are to be started again elsewhere."""


class WorkerProcess(Protocol):
    """A process that runs `Worker.serve`, with the interface of `subprocess.Popen`."""

    pid: int

    def kill(self) -> None:
        """Kill the process. This is no error if the process has already ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends, and return its exit status.

        Raises:
            subprocess.TimeoutExpired: the process runs longer than `timeout` seconds.
        """


class WorkerProcesses:
    """A pool of processes that fetch files. The processes start with the first batch.

    Only `close` blocks on a process, so the event loop may call all other methods.

    Attributes:
        may_follow: decides whether a redirect may be followed; called in a separate thread, so that it may block.
        fetched_bytes: the number of bytes fetched by transfers that have ended.
        deaths: the number of processes that have died. No process is started after `MOST_DEATHS`, as processes may
            die again and again (killed for their memory, for example).
    """

    def __init__(
        self,
        setup: WorkerConfig,
        processes: int,
        pauses: HostPauses,
        limit: ConnectionLimit | None = None,
        spawn: Callable[[socket.socket], WorkerProcess] | None = None,
        *,
        may_follow: MayFollow = anywhere,
        cookies: Cookies | None = None,
    ) -> None:
        """Prepare the pool; no process is started yet.

        Each worker process reports the pauses that servers require to `pauses`, and receives the pauses that the
        others have reported; so it is with the changes of `cookies`. Each takes its permits for connections from
        `limit`.
        """
        self._setup = setup
        self._size = processes
        self._spawn = spawn or start_process
        self._lock = threading.Lock()
        self._workers: list[_Remote] = []
        self._numbers = itertools.count()
        self._stopped = False
        self._watcher: threading.Thread | None = None
        self._closed = threading.Event()
        self.pauses = pauses
        self.cookies = cookies if cookies is not None else Cookies()
        self.limit = limit
        self.fetched_bytes = 0
        self.deaths = 0
        self.may_follow = may_follow
        self.cancel = Cancel()

    @property
    def is_stopped(self) -> bool:
        """Whether no further transfer may begin."""
        return self._stopped

    @property
    def active(self) -> list[Progress]:
        """The progress of the transfers under way, as last reported by the worker processes."""
        return [progress for worker in list(self._workers) for progress in worker.active]

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """Submit a batch to a worker process, see `Downloader.fetch_batch`.

        Returns:
            A future of the outcomes. It raises `WorkerDied` if the process ends before the batch is complete, or if
            no process is left, and `Interrupted` if the pool was stopped before.
        """
        future: Future[list[Outcome]] = Future()
        with self._lock:
            if self._stopped:
                future.set_exception(Interrupted("stopped before it began"))
                return future
            self._fill_up()
            if self._workers:
                origin = Origin.of(requests[0].url) if requests else None
                host = origin.host if origin is not None else ""
                batch = TransferBatch(next(self._numbers), requests, budget_s)
                self._worker_for(host).begin(batch, host, future)
                return future
        future.set_exception(WorkerDied("worker processes die again and again"))
        return future

    def _worker_for(self, host: str) -> _Remote:
        """Return the worker process with the fewest batches, a ready one if possible.

        A worker process with an unused permit for the host takes precedence if it has at most `_NEARLY_BATCHES` more.
        """
        least = min(self._workers, key=lambda worker: (not worker.is_ready, len(worker.batches)))
        if self.limit is None or not host:
            return least
        most = len(least.batches) + _NEARLY_BATCHES
        with_one = (
            worker
            for worker in self._workers
            if len(worker.batches) <= most and self.limit.held(worker, host) > worker.busy[host]
        )
        return min(with_one, key=lambda worker: len(worker.batches), default=least)

    def start(self) -> bool:
        """Start the missing worker processes.

        Returns:
            Whether at least one process is ready. Until then, threads of this process are faster.
        """
        with self._lock:
            if not self._stopped:
                self._fill_up()
            return any(worker.is_ready for worker in self._workers)

    def _fill_up(self) -> None:
        while len(self._workers) < self._size and self.deaths < MOST_DEATHS:
            self._workers.append(_Remote(self, self._setup, self._spawn))
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, daemon=True, name="worker-watch")
            self._watcher.start()

    def _watch(self) -> None:
        """Kill worker processes from which no message has been received for `MOST_SILENT_TICKS` ticks.

        Ticks are counted instead of seconds, so that time in which this process was stopped (Ctrl-Z) does not count.
        """
        use_batch_scheduling()
        while not self._closed.wait(TICK_S):
            for worker in list(self._workers):
                worker.tick()

    def flush(self) -> None:
        """Release the parts that have been published."""
        for worker in list(self._workers):
            worker.flush()

    def stop(self) -> None:
        """Request all transfers to end now. The bytes received so far are kept. Does not wait."""
        with self._lock:
            self._stopped = True
        self.cancel.set()
        for worker in list(self._workers):
            worker.post(Stop())

    def close(self, until: float) -> None:
        """Close the channels. Kill the processes that have not ended by that monotonic time: no data is lost."""
        self.stop()
        self._closed.set()
        workers = list(self._workers)
        for worker in workers:
            worker.hang_up(until)
        for worker in workers:
            worker.wait_for_end(until)

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Add the bytes of these outcomes to `fetched_bytes`."""
        with self._lock:
            self.fetched_bytes += sum(o.fetched_bytes for o in outcomes if isinstance(o, Fetched))

    def died(self, worker: _Remote) -> None:
        """Remove a worker process that has ended or failed to start, so that another may take its place."""
        with self._lock, suppress(ValueError):
            self._workers.remove(worker)
            if self._stopped:
                return
            self.deaths += 1
            if self.deaths == MOST_DEATHS:
                logger.warning("Worker processes die again and again: the rest is fetched by this one")


class _Remote:
    """One worker process, and the batches that were sent to it.

    A thread starts the process, receives its messages, and waits for its end, so that no other thread waits for the
    process.
    """

    def __init__(
        self, pool: WorkerProcesses, setup: WorkerConfig, spawn: Callable[[socket.socket], WorkerProcess]
    ) -> None:
        self._pool = pool
        self._posting = threading.Lock()
        self._released: list[tuple[int, bool]] = []
        self._silent_ticks = 0
        self._process: WorkerProcess | None = None
        self.batches: dict[int, tuple[str, Future[list[Outcome]]]] = {}  # host and future, by the number of the batch
        self.busy: Counter[str] = Counter()  # batches by host
        self.active: Sequence[Progress] = ()
        self.is_ready = False
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        self.post(setup)
        self._limit = pool.limit
        pool.pauses.subscribe(self._send_pause)
        pool.cookies.subscribe(self._send_cookie)
        self._thread = threading.Thread(target=self._live, args=(spawn, theirs), daemon=True, name="worker")
        self._thread.start()

    def begin(self, batch: TransferBatch, host: str, future: Future[list[Outcome]]) -> None:
        self.batches[batch.number] = host, future
        self.busy[host] += 1
        self.post(batch)

    def post(self, message: object) -> None:
        with self._posting:
            self._post_released()
            self._channel.post(message)

    def flush(self) -> None:
        with self._posting:
            self._post_released()

    def tick(self) -> None:
        """Count a tick without a message; kill the process after `MOST_SILENT_TICKS` ticks."""
        self._silent_ticks += 1
        if self._silent_ticks == MOST_SILENT_TICKS and self._process is not None:
            logger.warning("Worker process %d says nothing any more: it is ended", self._process.pid)
            self._process.kill()

    def hang_up(self, until: float) -> None:
        self.flush()
        self._channel.finish(until - time.monotonic())

    def wait_for_end(self, until: float) -> None:
        self._thread.join(max(0.05, until - time.monotonic()))
        if self._process is not None:
            self._process.kill()  # if it has not ended
        self._thread.join(_GONE_S + 1.0)
        if not self._thread.is_alive():
            self._channel.close()

    def _post_released(self) -> None:
        if self._released:
            released, self._released = self._released, []
            self._channel.post(Release(released))

    def _send_pause(self, host: str, until: float) -> None:
        self.post(HostPause(host, until))

    def _send_cookie(self, jar: int, change: CookieChange) -> None:
        self.post(CookieChanged(jar, change))

    # The methods of a holder of permits, see `transport.connection_limits.Holder`

    def grant(self, host: str) -> None:
        self.post(ConnectionGranted(host))

    def deny(self, host: str) -> None:
        self.post(ConnectionDenied(host))

    def recall(self, host: str, count: int) -> None:
        self.post(ConnectionsRecalled(host, count))

    def _live(self, spawn: Callable[[socket.socket], WorkerProcess], theirs: socket.socket) -> None:
        try:
            with theirs:
                self._process = spawn(theirs)
            use_batch_scheduling()  # only now: the process would inherit the policy, and start slowly
            self._listen()
        except OSError as error:
            logger.warning("A worker process cannot be started: %s", error)
        finally:
            self._end()

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                message = self._channel.receive()
                self._silent_ticks = 0
                self.is_ready = True
                self._hear(message)

    def _end(self) -> None:
        """End the process, and then fail its batches: the locks of their parts last until the process has ended."""
        self._pool.pauses.unsubscribe(self._send_pause)
        self._pool.cookies.unsubscribe(self._send_cookie)
        if self._process is not None:
            self._process.kill()  # its messages are no longer received
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GONE_S)
        self._pool.died(self)
        batches, self.batches = self.batches, {}
        for _, future in batches.values():
            future.set_exception(WorkerDied("a worker process has died"))
        if self._limit is not None and not self._pool.is_stopped:
            time.sleep(CUT_COUNTS_S)  # servers have to notice first that its connections are closed
            self._limit.drop(self)

    def _hear(self, message: object) -> None:
        """Handle a message. Must not block: threads that wait for this worker process would be blocked too."""
        match message:
            case Arrived():
                host, future = self.batches.pop(message.number)
                self.busy[host] -= 1
                if not self.busy[host]:
                    del self.busy[host]
                self._pool.count(message.outcomes)
                future.set_result([with_part(outcome, self._part) for outcome in message.outcomes])
            case UnderWay():
                self.active = message.active
                self.flush()
            case HostPause() | CookieChanged():
                self._learn(message)
            case ConnectionWanted():
                if self._limit is not None:
                    self._limit.ask(self, message.host, wait=message.wait)
            case ConnectionsFree():
                if self._limit is not None:
                    self._limit.give_back(self, message.host, message.permits)
            case protocol.RedirectQuestion():
                threading.Thread(target=self._answer, args=(message,), daemon=True, name="may-follow").start()

    def _learn(self, message: HostPause | CookieChanged) -> None:
        if isinstance(message, HostPause):
            self._pool.pauses.pause_until(message.host, message.until, sent_by=self._send_pause)
        else:
            self._pool.cookies.apply(message.jar, message.change, sent_by=self._send_cookie)

    def _answer(self, question: protocol.RedirectQuestion) -> None:
        answer: str | MediacrawlError | None
        try:
            answer = self._pool.may_follow(question.request, question.url, self._pool.cancel)
        except MediacrawlError as error:
            answer = error
        self.post(RedirectAnswer(question.number, answer))

    def _part(self, ticket: PartHandle) -> LockedPart:
        return RemotePart(ticket, self._release)

    def _release(self, number: int, is_published: bool) -> None:
        with self._posting:
            self._released.append((number, is_published))
            if len(self._released) >= _RELEASE_FROM:
                self._post_released()


def start_process(end: socket.socket) -> WorkerProcess:
    """Start a worker process that inherits this end of a connection.

    Raises:
        OSError: the system cannot start another process.
    """
    return start_module("mediacrawl.workers.worker", end)
