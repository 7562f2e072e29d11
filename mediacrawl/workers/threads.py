"""Transfers in separate threads, so that they do not block the caller."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.progress import Progress
from mediacrawl.download.records import Fetched, Outcome, TransferRequest
from mediacrawl.errors import Interrupted
from mediacrawl.system.cpu_scheduling import use_batch_scheduling
from mediacrawl.workers.adaptive_limit import AdaptiveThreadLimit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.downloader import Downloader


MOST_WAITING = 1000  # threads of a process that wait for a host
# A response is overdue once its latency exceeds this many times the usual latency. Where all responses are slow, none
# is overdue: the user has set the number of transfers under way.
_LATE_TIMES = 4
_LATE_LEAST_S = 0.05  # a shorter delay may be due to a busy machine
_LATE_FIRST_S = 1.0  # until a latency has been measured
_NO_WORK_S = 0.005  # a transfer that has waited that long uses no core that another transfer needs
_LATENCY_NEWS = 0.1  # the weight of the last response in the usual latency
_LOOK_EVERY_S = 0.01
_LOOK_SHARE = 0.01  # of a core, at most: to look through a thousand transfers takes its time
_LOOK_SELDOM_S = 0.1  # while no transfer waits for a place


class TransferThreads:
    """A pool that runs at most `size` batches of transfers at a time, each batch over one connection.

    Threads start when they are needed. A transfer does not count towards `size` while it waits for the time of its
    next try, or for a response much longer than the usual latency: hosts that are down or do not respond occupy no
    place that other transfers need. Their threads remain; up to `most_waiting` of them exist beside the others.

    The threads are daemons: a process that ends does not wait for a connection that hangs. The bytes that they have
    written are on the disk, and their records never cover more than these bytes.

    Attributes:
        active: the progress of each transfer under way, for progress bars.
        fetched_bytes: the number of bytes fetched by transfers that have ended.
    """

    def __init__(
        self, downloader: Downloader, size: int, first: int | None = None, most_waiting: int = MOST_WAITING
    ) -> None:
        """Create the pool. `first` limits the threads initially, where many files are expected and may be small."""
        self._downloader = downloader
        self._size = size
        self._most_waiting = most_waiting
        self._cancel = Cancel()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()  # guards `_threads`, `_idle`, `_behind` and `_waiting`
        self._idle = 0  # threads without a job assigned
        self._behind = 0  # jobs without a thread assigned
        self._numbers = itertools.count()
        self._under_way: dict[int, Progress] = {}
        self._waiting = 0  # transfers that occupy no place, as of the last `_look`
        self._latency_s = 0.0  # moving average of the latencies
        self._is_behind = threading.Event()  # jobs wait for a place
        self._watcher: threading.Thread | None = None
        self._room = AdaptiveThreadLimit(size, first)
        self.fetched_bytes = 0

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._cancel.is_set

    @property
    def active(self) -> list[Progress]:
        """The progress of each transfer under way."""
        return list(self._under_way.values())

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """Fetch files one after another as soon as a thread is free, see `Downloader.fetch_batch`."""
        future: Future[list[Outcome]] = Future()
        with self._lock:
            if self._cancel.is_set:  # after `close` no thread would take the job
                future.set_exception(Interrupted("stopped before it began"))
                return future
            is_seen_to = self._take_idle() or self._add_thread()
            self._behind += not is_seen_to
            self._queue.put((requests, budget_s, future))
        if not is_seen_to:
            self._ask_for_places()
        return future

    def _take_idle(self) -> bool:
        """Assign the next job to an idle thread, under the lock. Return False if there is no idle thread."""
        is_there = self._idle > 0
        self._idle -= is_there
        return is_there

    def _add_thread(self) -> bool:
        """Start a thread for the next job, under the lock. Return False if the limit does not allow another thread.

        Raises:
            RuntimeError: the system cannot start the first thread.
        """
        if self._cancel.is_set or len(self._threads) >= self._size + self._waiting:
            return False
        thread = threading.Thread(target=self._work, daemon=True, name=f"transfer-{next(self._numbers)}")
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return False
        self._threads.append(thread)
        return True

    def _goes_on(self) -> bool:
        """Return whether the calling thread continues after a job: with a job that waits, or as an idle thread.

        The thread ends if the transfers that it stood in for no longer wait, so that there are too many threads.
        """
        with self._lock:
            if len(self._threads) > self._size + self._waiting:
                self._threads.remove(threading.current_thread())
                return False
            if self._behind:
                self._behind -= 1
            else:
                self._idle += 1
            return True

    def _ask_for_places(self) -> None:
        """Notify the watching thread, or start it, so that waiting transfers give up their places."""
        with self._lock:
            if self._watcher is None:
                watcher = threading.Thread(target=self._watch, daemon=True, name="transfer-watch")
                with suppress(RuntimeError):  # no further thread can be started: transfers continue without the watch
                    watcher.start()
                    self._watcher = watcher
        self._is_behind.set()

    def _watch(self) -> None:
        """Look for transfers that only wait, and free their places, while more jobs than places exist."""
        use_batch_scheduling()
        while not self._cancel.is_set:
            if not (self._behind or self._room.is_wanted):
                self._is_behind.clear()
                if not (self._behind or self._cancel.is_set):
                    if not self._waiting:
                        self._room.discount(0)
                    self._is_behind.wait(_LOOK_SELDOM_S if self._waiting else None)
            began_s = time.thread_time()
            self._look()
            time.sleep(max(_LOOK_EVERY_S, (time.thread_time() - began_s) / _LOOK_SHARE))

    def _look(self) -> None:
        late_s = max(_LATE_LEAST_S, _LATE_TIMES * self._latency_s or _LATE_FIRST_S)
        now_s = time.monotonic()
        waits_s = [now_s - since_s for progress in self.active if (since_s := progress.waits_since_s) is not None]
        self._room.discount(sum(wait_s >= _NO_WORK_S for wait_s in waits_s))
        with self._lock:
            self._waiting = min(self._most_waiting, sum(wait_s >= late_s for wait_s in waits_s))
            while self._behind and self._add_thread():
                self._behind -= 1
            for _ in range(min(self._idle, len(self._threads) - self._size - self._waiting)):
                self._idle -= 1
                self._queue.put(None)

    def stop(self) -> None:
        """Request all transfers to end now. The bytes received so far are kept. Does not wait."""
        with self._lock:
            self._cancel.set()
        self._is_behind.set()
        self._room.open()
        self._downloader.transport.abort()

    def close(self, until: float | None = None) -> None:
        """Stop all transfers, and wait for the threads until that monotonic time at most (None: for 2 s)."""
        self.stop()
        until = time.monotonic() + 2.0 if until is None else until
        with self._lock:
            threads = list(self._threads)
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        use_batch_scheduling()
        while True:
            job = self._queue.get()
            if job is None:
                with self._lock:
                    self._threads.remove(threading.current_thread())
                return
            self._run(*job)
            del job
            if not self._goes_on():
                return

    def _run(self, requests: Sequence[TransferRequest], budget_s: float, future: Future[list[Outcome]]) -> None:
        if not future.set_running_or_notify_cancel():
            return  # the caller has cancelled the future
        if self._cancel.is_set:
            future.set_exception(Interrupted("stopped before it began"))
            return
        try:
            outcomes = self._room.run(
                lambda: self._downloader.fetch_batch(requests, self._cancel, self._begin, budget_s)
            )
            self._learn(outcomes)
            future.set_result(self._downloader.fsync_completed(outcomes))  # other threads transfer meanwhile
        except BaseException as error:
            future.set_exception(error)
        finally:
            self._end()

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        """Update the usual latency of responses."""
        for outcome in outcomes:
            if isinstance(outcome, Fetched) and outcome.latency_s:
                self._latency_s += (outcome.latency_s - self._latency_s) * (_LATENCY_NEWS if self._latency_s else 1)

    def _begin(self, request: TransferRequest) -> Progress:
        """Register a new transfer of the calling thread; its previous transfer has ended."""
        if (last := self._under_way.get(threading.get_ident())) is not None:
            self._room.note(last.fetched_bytes)
        self._end()
        progress = self._under_way[threading.get_ident()] = Progress(request.name)
        return progress

    def _end(self) -> None:
        progress = self._under_way.pop(threading.get_ident(), None)
        if progress is not None:
            self.fetched_bytes += progress.fetched_bytes


_Job = tuple["Sequence[TransferRequest]", float, "Future[list[Outcome]]"]
