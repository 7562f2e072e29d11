"""The crawl's side of its worker processes."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from mediacrawl.download.exchange import anywhere
from mediacrawl.download.request import Cancel, Fetched
from mediacrawl.errors import Interrupted, MediacrawlError
from mediacrawl.patience import be_patient
from mediacrawl.workers import messages
from mediacrawl.workers.messages import (
    Answered,
    Arrived,
    Batch,
    Quiet,
    Release,
    RemotePart,
    Setup,
    Stop,
    Ticket,
    UnderWay,
    with_part,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mediacrawl.download.exchange import MayFollow
    from mediacrawl.download.request import HeldPart, Outcome, Progress, TransferRequest

logger = logging.getLogger(__name__)

MOST_DEATHS = 5
_RELEASE_FROM = 32  # parts: fewer wait for the next message


class WorkerDied(Exception):
    """The process that had these transfers is gone: they are to be begun again elsewhere."""


class WorkerPool:
    """A few processes that fetch. They start with the first batch.

    Attributes:
        on_quiet: told of hosts that asked a worker for quiet.
        may_follow: asked whether a redirect may be followed; called in a thread of its own, may take its time.
        fetched_bytes: of transfers that have ended.
        deaths: of processes; one that dies again and again (killed for its memory, say) is not started for ever.
    """

    def __init__(self, setup: Setup, processes: int) -> None:
        self._setup = setup
        self._size = processes
        self._lock = threading.Lock()
        self._workers: list[_Remote] = []
        self._numbers = itertools.count()
        self._stopped = False
        self.fetched_bytes = 0
        self.deaths = 0
        self.on_quiet: Callable[[str, float], None] = lambda _host, _seconds: None
        self.may_follow: MayFollow = anywhere
        self.cancel = Cancel()

    @property
    def active(self) -> list[Progress]:
        """The transfers that last, as the workers last told."""
        return [progress for worker in self._workers for progress in worker.active]

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """See `Downloader.bring_all`. The future raises `WorkerDied` if the process ends on the way."""
        future: Future[list[Outcome]] = Future()
        with self._lock:
            if self._stopped:
                future.set_exception(Interrupted("stopped before it began"))
                return future
            self._fill_up()
            if not self._workers:
                future.set_exception(WorkerDied("worker processes die again and again"))
                return future
            worker = min(self._workers, key=lambda w: (not w.is_ready, len(w.batches)))
            worker.begin(Batch(next(self._numbers), requests, budget_s), future)
        return future

    def start(self) -> bool:
        """Start those that are not there. Whether one is ready: until then others are quicker."""
        with self._lock:
            if not self._stopped:
                self._fill_up()
            return any(worker.is_ready for worker in self._workers)

    def _fill_up(self) -> None:
        while len(self._workers) < self._size and self.deaths < MOST_DEATHS:
            self._workers.append(_Remote(self, self._setup))

    def quiet(self, host: str, seconds: float) -> None:
        """Tell all workers."""
        for worker in list(self._workers):
            worker.send(Quiet(host, seconds))

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
            worker.send(Stop())

    def close(self, until: float) -> None:
        """Hang up; what has not ended by that monotonic time is killed, which loses nothing."""
        self.stop()
        for worker in list(self._workers):
            worker.hang_up(until)

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
    """One worker process, and what it was told."""

    def __init__(self, pool: WorkerPool, setup: Setup) -> None:
        self._pool = pool
        self._sending = threading.Lock()
        self._released: list[tuple[int, bool]] = []
        self.batches: dict[int, Future[list[Outcome]]] = {}
        self.active: Sequence[Progress] = ()
        self.is_ready = False
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python, this very package
                [sys.executable, "-m", "mediacrawl.workers.process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": _python_path()},
            )
        self._connection = Connection(ours.detach())
        self.send(setup)
        self._thread = threading.Thread(target=self._listen, daemon=True, name=f"worker-{self._process.pid}")
        self._thread.start()

    def begin(self, batch: Batch, future: Future[list[Outcome]]) -> None:
        self.batches[batch.number] = future
        self.send(batch)

    def send(self, message: object) -> None:
        with self._sending, suppress(OSError):  # a worker that has died is noticed by who listens
            if self._released:
                released, self._released = self._released, []
                self._connection.send(Release(released))
            self._connection.send(message)

    def flush(self) -> None:
        with self._sending, suppress(OSError):
            if self._released:
                released, self._released = self._released, []
                self._connection.send(Release(released))

    def hang_up(self, until: float) -> None:
        self.flush()
        with suppress(OSError):
            _shut_down(self._connection)
        self._thread.join(max(0.05, until - time.monotonic()))
        self._process.kill()  # if it is still there
        self._thread.join()
        self._connection.close()

    def _listen(self) -> None:
        be_patient()
        try:
            with suppress(EOFError, OSError):
                while True:
                    message = self._connection.recv()
                    self.is_ready = True
                    self._hear(message)
        finally:
            self._process.kill()  # nobody would hear it any more
            self._process.wait()
            self._pool.died(self)
            batches, self.batches = self.batches, {}
            for future in batches.values():
                future.set_exception(WorkerDied("a worker process has died"))

    def _hear(self, message: object) -> None:
        match message:
            case Arrived():
                future = self.batches.pop(message.number)
                self._pool.count(message.outcomes)
                future.set_result([with_part(outcome, self._part) for outcome in message.outcomes])
            case UnderWay():
                self.active = message.active
                self.flush()
            case Quiet():
                self._pool.on_quiet(message.host, message.seconds)
            case messages.MayFollow():
                threading.Thread(target=self._answer, args=(message,), daemon=True, name="may-follow").start()

    def _answer(self, question: messages.MayFollow) -> None:
        answer: str | MediacrawlError | None
        try:
            answer = self._pool.may_follow(question.request, question.url, self._pool.cancel)
        except MediacrawlError as error:
            answer = error
        self.send(Answered(question.number, answer))

    def _part(self, ticket: Ticket) -> HeldPart:
        return RemotePart(ticket, self._release)

    def _release(self, number: int, is_published: bool) -> None:
        with self._sending:
            self._released.append((number, is_published))
            is_due = len(self._released) >= _RELEASE_FROM
        if is_due:
            self.flush()


def _shut_down(connection: Connection) -> None:
    """The worker sees the end; what it still says is heard."""
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        sock.shutdown(socket.SHUT_WR)


def _python_path() -> str:
    """A worker imports what this process imports: this package, and what a project has of its own."""
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
