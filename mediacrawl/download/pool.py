"""Transfers in threads of their own, so that nothing blocks who asks for them."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mediacrawl.download.request import Cancel, Outcome, Progress, TransferRequest
from mediacrawl.download.room import Room
from mediacrawl.errors import Interrupted
from mediacrawl.patience import be_patient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.downloader import Downloader


class TransferPool:
    """At most `size` batches of transfers at a time, each over one connection; threads start when they are needed.

    The threads are daemons: a process that ends does not wait for a connection that hangs. What they have written
    is on the disk, and what they have recorded is never more than that.

    Attributes:
        active: the progress of each transfer under way, for who draws bars.
        fetched_bytes: by transfers that have ended.
    """

    def __init__(self, downloader: Downloader, size: int, first: int | None = None) -> None:
        """`first` threads are let in at first, where many files are expected, which may well be small."""
        self._downloader = downloader
        self._size = size
        self._cancel = Cancel()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._under_way: dict[int, Progress] = {}
        self._room = Room(size, first)
        self.fetched_bytes = 0

    @property
    def stopping(self) -> bool:
        return self._cancel.is_set

    @property
    def active(self) -> list[Progress]:
        return list(self._under_way.values())

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """Fetch one after another as soon as a thread is free, see `Downloader.bring_all`."""
        future: Future[list[Outcome]] = Future()
        if self._cancel.is_set:  # after `close` no thread would come for it
            future.set_exception(Interrupted("stopped before it began"))
            return future
        self._queue.put((requests, budget_s, future))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._work, daemon=True, name=f"transfer-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()
        return future

    def stop(self) -> None:
        """Ask every transfer to end now, keeping what has arrived. Does not wait."""
        self._cancel.set()
        self._room.open()
        self._downloader.transport.abort()

    def close(self, until: float | None = None) -> None:
        """Stop, and wait for the threads, but not longer than until that monotonic time."""
        self.stop()
        until = time.monotonic() + 2.0 if until is None else until
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        be_patient()
        while True:
            job = self._queue.get()
            if job is None:
                return
            self._run(*job)
            del job
            self._idle.release()

    def _run(self, requests: Sequence[TransferRequest], budget_s: float, future: Future[list[Outcome]]) -> None:
        if not future.set_running_or_notify_cancel():
            return  # nobody waits for it any more
        if self._cancel.is_set:
            future.set_exception(Interrupted("stopped before it began"))
            return
        try:
            outcomes = self._room.bring(
                lambda: self._downloader.bring_all(requests, self._cancel, self._begin, budget_s)
            )
            future.set_result(self._downloader.synced(outcomes))  # others go on meanwhile
        except BaseException as error:
            future.set_exception(error)
        finally:
            self._end()

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
