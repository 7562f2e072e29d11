"""Transfers in threads of their own, so that nothing blocks who asks for them."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mediacrawl.download.request import Cancel, Fetched, Progress, TransferRequest
from mediacrawl.errors import Interrupted

if TYPE_CHECKING:
    from mediacrawl.download.downloader import Downloader


class TransferPool:
    """At most `size` transfers at a time; threads start when they are needed.

    The threads are daemons: a process that ends does not wait for a connection that hangs. What they have written
    is on the disk, and what they have recorded is never more than that.

    Attributes:
        active: the progress of each transfer under way, for who draws bars.
    """

    def __init__(self, downloader: Downloader, size: int) -> None:
        self._downloader = downloader
        self._size = size
        self._cancel = Cancel()
        self._queue: queue.SimpleQueue[tuple[TransferRequest, Progress, Future[Fetched]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self.active: dict[int, Progress] = {}
        self.fetched_bytes = 0

    @property
    def stopping(self) -> bool:
        return self._cancel.is_set

    def submit(self, request: TransferRequest, name: str) -> Future[Fetched]:
        """Fetch as soon as a thread is free. The future raises what `Downloader.fetch` raises."""
        future: Future[Fetched] = Future()
        if self._cancel.is_set:  # after `close` no thread would come for it
            future.set_exception(Interrupted("stopped before it began"))
            return future
        self._queue.put((request, Progress(name), future))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._work, daemon=True, name=f"transfer-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()
        return future

    def stop(self) -> None:
        """Ask every transfer to end now, keeping what has arrived. Does not wait."""
        self._cancel.set()
        self._downloader.transport.abort()

    def close(self, grace_s: float = 2.0) -> None:
        """Stop, and wait for the threads, but not longer than that in all."""
        self.stop()
        until = time.monotonic() + grace_s
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            if job is None:
                return
            self._run(*job)
            del job
            self._idle.release()

    def _run(self, request: TransferRequest, progress: Progress, future: Future[Fetched]) -> None:
        if not future.set_running_or_notify_cancel():
            return  # nobody waits for it any more
        if self._cancel.is_set:
            future.set_exception(Interrupted("stopped before it began"))
            return
        self.active[id(progress)] = progress
        try:
            fetched = self._downloader.fetch(request, cancel=self._cancel, progress=progress)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(fetched)
        finally:
            self.fetched_bytes += progress.fetched_bytes
            del self.active[id(progress)]
