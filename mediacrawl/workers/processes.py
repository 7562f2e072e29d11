"""The crawl's side of its worker processes."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.records import Fetched
from mediacrawl.download.requester import anywhere
from mediacrawl.errors import Interrupted, MediacrawlError
from mediacrawl.system.scheduling import use_batch_scheduling
from mediacrawl.transport.permits import CUT_COUNTS_S
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

    from mediacrawl.download.progress import Progress
    from mediacrawl.download.records import LockedPart, Outcome, TransferRequest
    from mediacrawl.download.requester import MayFollow
    from mediacrawl.download.retry import HostPauses
    from mediacrawl.transport.permits import ConnectionLimit

logger = logging.getLogger(__name__)

MOST_DEATHS = 5
TICK_S = 1.0
MOST_SILENT_TICKS = 60  # a worker says something each half second
_GONE_S = 5.0  # a process that was killed and is still there after that hangs in the system, on a disk mostly
_NEARLY_BATCHES = 2
_RELEASE_FROM = 32  # parts: fewer wait for the next message


class WorkerDied(Exception):
    """The process that had these transfers is gone: they are to be begun again elsewhere."""


class WorkerProcess(Protocol):
    """A process that runs `Worker.serve`, as `subprocess.Popen` has it."""

    pid: int

    def kill(self) -> None:
        """End it at once. One that has ended is no error."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `subprocess.TimeoutExpired`."""


class WorkerProcesses:
    """A few processes that fetch. They start with the first batch.

    No method but `close` blocks on a process, so the event loop may call all others.

    Attributes:
        may_follow: asked whether a redirect may be followed; called in a thread of its own, may take its time.
        fetched_bytes: of transfers that have ended.
        deaths: of processes; one that dies again and again (killed for its memory, say) is not started for ever.
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
    ) -> None:
        """Each worker tells `pauses` of hosts that ask for quiet, and is told what the others have learnt. Each has
        its connections from `limit`.
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
        self.limit = limit
        self.fetched_bytes = 0
        self.deaths = 0
        self.may_follow = may_follow
        self.cancel = Cancel()

    @property
    def is_stopped(self) -> bool:
        """Whether no transfer is to begin any more."""
        return self._stopped

    @property
    def active(self) -> list[Progress]:
        """The transfers that last, as the workers last told."""
        return [progress for worker in list(self._workers) for progress in worker.active]

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """See `Downloader.fetch_batch`. The future raises `WorkerDied` if the process ends on the way."""
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
        """The one that has least to do; or nearly so, and a connection to the host that is not used."""
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
        """Start those that are not there. Whether one is ready: until then others are quicker."""
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
        """Kill workers from which nothing has come for long. Ticks are counted and not seconds: those of a time in
        which this process was stopped do not count (Ctrl-Z).
        """
        use_batch_scheduling()
        while not self._closed.wait(TICK_S):
            for worker in list(self._workers):
                worker.tick()

    def flush(self) -> None:
        """Let go of the parts that have been published."""
        for worker in list(self._workers):
            worker.flush()

    def stop(self) -> None:
        """Ask every transfer to end now, keeping what has arrived. Does not wait."""
        with self._lock:
            self._stopped = True
        self.cancel.set()
        for worker in list(self._workers):
            worker.post(Stop())

    def close(self, until: float) -> None:
        """Hang up; what has not ended by that monotonic time is killed, which loses nothing."""
        self.stop()
        self._closed.set()
        workers = list(self._workers)
        for worker in workers:
            worker.hang_up(until)
        for worker in workers:
            worker.wait_for_end(until)

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """These have come."""
        with self._lock:
            self.fetched_bytes += sum(o.fetched_bytes for o in outcomes if isinstance(o, Fetched))

    def died(self, worker: _Remote) -> None:
        """Its place is free."""
        with self._lock, suppress(ValueError):
            self._workers.remove(worker)
            if self._stopped:
                return
            self.deaths += 1
            if self.deaths == MOST_DEATHS:
                logger.warning("Worker processes die again and again: the rest is fetched by this one")


class _Remote:
    """One worker process, and what it was told.

    A thread starts the process, listens to it, and sees to its end: so nobody else ever waits for it.
    """

    def __init__(
        self, pool: WorkerProcesses, setup: WorkerConfig, spawn: Callable[[socket.socket], WorkerProcess]
    ) -> None:
        self._pool = pool
        self._posting = threading.Lock()
        self._released: list[tuple[int, bool]] = []
        self._silent_ticks = 0
        self._process: WorkerProcess | None = None
        self.batches: dict[int, tuple[str, Future[list[Outcome]]]] = {}  # the host, and who waits
        self.busy: Counter[str] = Counter()  # batches by host
        self.active: Sequence[Progress] = ()
        self.is_ready = False
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        self.post(setup)
        self._limit = pool.limit
        pool.pauses.subscribe(self._tell_pause)
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
        """One more tick in which nothing was heard."""
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
            self._process.kill()  # if it is still there
        self._thread.join(_GONE_S + 1.0)
        if not self._thread.is_alive():
            self._channel.close()

    def _post_released(self) -> None:
        if self._released:
            released, self._released = self._released, []
            self._channel.post(Release(released))

    def _tell_pause(self, host: str, until: float) -> None:
        self.post(HostPause(host, until))

    # It holds the permits of its worker, see `connections.Holder`

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
            use_batch_scheduling()  # only now: the process would inherit it, and be late
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
        """The batches that it had fail only when it is gone, and with it the locks of their parts."""
        self._pool.pauses.unsubscribe(self._tell_pause)
        if self._process is not None:
            self._process.kill()  # nobody would hear it any more
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GONE_S)
        self._pool.died(self)
        batches, self.batches = self.batches, {}
        for _, future in batches.values():
            future.set_exception(WorkerDied("a worker process has died"))
        if self._limit is not None and not self._pool.is_stopped:
            time.sleep(CUT_COUNTS_S)  # servers have to see first that its connections are closed
            self._limit.drop(self)

    def _hear(self, message: object) -> None:
        """Must not block: who talks to this worker would wait for what this one waits for."""
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
            case HostPause():
                self._pool.pauses.pause_until(message.host, message.until, told_by=self._tell_pause)
            case ConnectionWanted():
                if self._limit is not None:
                    self._limit.ask(self, message.host, wait=message.wait)
            case ConnectionsFree():
                if self._limit is not None:
                    self._limit.give_back(self, message.host, message.permits)
            case protocol.RedirectQuestion():
                threading.Thread(target=self._answer, args=(message,), daemon=True, name="may-follow").start()

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
    """Start a worker process that has this end of a connection.

    Raises:
        OSError: the system has no room for one more.
    """
    # Ctrl-C goes to all processes of a terminal, and this one decides what it means: a worker begins with what is
    # blocked in the thread that starts it, so that it is not even interrupted in its first moments.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(  # noqa: S603 - this very Python, this very package
            [sys.executable, "-m", "mediacrawl.workers.worker", str(end.fileno())],
            pass_fds=[end.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": _python_path()},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _python_path() -> str:
    """A worker imports what this process imports: this package, and what a project has of its own."""
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
