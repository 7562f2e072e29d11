"""Transfers in threads of their own, so that nothing blocks who asks for them."""

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
from mediacrawl.system.scheduling import use_batch_scheduling
from mediacrawl.workers.adaptive_limit import AdaptiveThreadLimit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.downloader import Downloader


MOST_WAITING = 1000  # threads of a process that wait for a host
# An answer is late after so many times what answers usually take. Where all answers are slow, none is late: the user
# has said how many may be under way.
_LATE_TIMES = 4
_LATE_LEAST_S = 0.1  # less may be this machine, which is busy
_LATE_FIRST_S = 1.0  # while nothing is known
_NO_WORK_S = 0.005  # a transfer that has waited that long keeps no core from another one
_LATENCY_NEWS = 0.1  # the weight of the last answer in what they usually take
_LOOK_EVERY_S = 0.01
_LOOK_SELDOM_S = 0.1  # where nothing waits for a place


class TransferThreads:
    """At most `size` batches of transfers at a time, each over one connection; threads start when they are needed.

    A transfer that waits for an answer for much longer than answers usually take, or for the time of its next try,
    does not count for that: hosts that are down, or answer nothing, hold no place that others need. Its thread does,
    so `most_waiting` of them may be there beside the others.

    The threads are daemons: a process that ends does not wait for a connection that hangs. What they have written
    is on the disk, and what they have recorded is never more than that.

    Attributes:
        active: the progress of each transfer under way, for who draws bars.
        fetched_bytes: by transfers that have ended.
    """

    def __init__(
        self, downloader: Downloader, size: int, first: int | None = None, most_waiting: int = MOST_WAITING
    ) -> None:
        """`first` threads are let in at first, where many files are expected, which may well be small."""
        self._downloader = downloader
        self._size = size
        self._most_waiting = most_waiting
        self._cancel = Cancel()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()  # of the threads, and of the next two
        self._idle = 0  # threads that no job is meant for
        self._behind = 0  # jobs that no thread is meant for yet
        self._numbers = itertools.count()
        self._under_way: dict[int, Progress] = {}
        self._waiting = 0  # transfers that hold no place, as of the last look
        self._latency_s = 0.0  # of answers, of late
        self._is_behind = threading.Event()  # more is wanted than there are places
        self._watcher: threading.Thread | None = None
        self._room = AdaptiveThreadLimit(size, first)
        self.fetched_bytes = 0

    @property
    def stopping(self) -> bool:
        return self._cancel.is_set

    @property
    def active(self) -> list[Progress]:
        return list(self._under_way.values())

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """Fetch one after another as soon as a thread is free, see `Downloader.fetch_batch`."""
        future: Future[list[Outcome]] = Future()
        with self._lock:
            if self._cancel.is_set:  # after `close` no thread would come for it
                future.set_exception(Interrupted("stopped before it began"))
                return future
            is_seen_to = self._take_idle() or self._add_thread()
            self._behind += not is_seen_to
            self._queue.put((requests, budget_s, future))
        if not is_seen_to:
            self._ask_for_places()
        return future

    def _take_idle(self) -> bool:
        """Have an idle thread take the next job, with the lock; False if there is none."""
        is_there = self._idle > 0
        self._idle -= is_there
        return is_there

    def _add_thread(self) -> bool:
        """Start a thread for the next job, with the lock; False if there may be no more.

        Raises:
            RuntimeError: the system has no room for the first one.
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
        """Whether the calling thread stays, at the end of a job: for one that waits, or as an idle one. It is to end
        where those are back for whose places it came.
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
        """Have it seen to that transfers which wait hold no place."""
        with self._lock:
            if self._watcher is None:
                watcher = threading.Thread(target=self._watch, daemon=True, name="transfer-watch")
                with suppress(RuntimeError):  # no room for one more: all goes on, but for this
                    watcher.start()
                    self._watcher = watcher
        self._is_behind.set()

    def _watch(self) -> None:
        """While more is wanted than there are places, see which of them are held by transfers that wait."""
        use_batch_scheduling()
        while not self._cancel.is_set:
            if not (self._behind or self._room.is_wanted):
                self._is_behind.clear()
                if not (self._behind or self._cancel.is_set):
                    if not self._waiting:
                        self._room.discount(0)
                    self._is_behind.wait(_LOOK_SELDOM_S if self._waiting else None)
            self._look()
            time.sleep(_LOOK_EVERY_S)

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
        """Ask every transfer to end now, keeping what has arrived. Does not wait."""
        with self._lock:
            self._cancel.set()
        self._is_behind.set()
        self._room.open()
        self._downloader.transport.abort()

    def close(self, until: float | None = None) -> None:
        """Stop, and wait for the threads, but not longer than until that monotonic time."""
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
            return  # nobody waits for it any more
        if self._cancel.is_set:
            future.set_exception(Interrupted("stopped before it began"))
            return
        try:
            outcomes = self._room.bring(
                lambda: self._downloader.fetch_batch(requests, self._cancel, self._begin, budget_s)
            )
            self._learn(outcomes)
            future.set_result(self._downloader.fsync_completed(outcomes))  # others go on meanwhile
        except BaseException as error:
            future.set_exception(error)
        finally:
            self._end()

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        """Note how long answers take."""
        for outcome in outcomes:
            if isinstance(outcome, Fetched) and outcome.latency_s:
                self._latency_s += (outcome.latency_s - self._latency_s) * (_LATENCY_NEWS if self._latency_s else 1)

    def _begin(self, request: TransferRequest) -> Progress:
        """One transfer at a time for each thread."""
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
