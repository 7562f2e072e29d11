"""All transfers of a crawl: a few files in threads of this process, many files in worker processes."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.progress import Progress
    from mediacrawl.download.records import Outcome, TransferRequest
    from mediacrawl.workers.processes import WorkerProcesses
    from mediacrawl.workers.threads import TransferThreads

WORKERS_FROM = 64  # files: processes take a third of a second to start; until then, threads fetch
_GRACE_S = 2.0


def is_death(error: BaseException | None) -> bool:
    """Return whether a batch failed because its worker process died, so that its files are to be fetched again."""
    from mediacrawl.workers.processes import WorkerDied  # noqa: PLC0415 - only where workers exist

    return isinstance(error, WorkerDied)


class TransferExecutor:
    """A common interface to transfers in threads and in worker processes.

    Args:
        threads: the threads of this process.
        workers: None for a crawl that stays in one process.
        workers_from: the number of files that are left to the threads before worker processes start.
    """

    def __init__(
        self, threads: TransferThreads, workers: WorkerProcesses | None, workers_from: int = WORKERS_FROM
    ) -> None:
        self.threads = threads
        self.workers = workers
        self._left_to_threads = workers_from

    @property
    def active(self) -> list[Progress]:
        """The progress of each transfer under way, for progress bars."""
        return self.threads.active + (self.workers.active if self.workers else [])

    @property
    def fetched_bytes(self) -> int:
        """The number of bytes fetched by transfers that have ended."""
        return self.threads.fetched_bytes + (self.workers.fetched_bytes if self.workers else 0)

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """Fetch files one after another over one connection, see `Downloader.fetch_batch`."""
        if self.workers is None or self._left_to_threads > 0 or not self.workers.start():
            self._left_to_threads -= len(requests)
            return self.threads.submit(requests, budget_s)
        future: Future[list[Outcome]] = Future()

        def through(inner: Future[list[Outcome]]) -> None:
            error = inner.exception()
            if is_death(error):  # the cause is unknown: a thread of this process tries again
                self.threads.submit(requests, budget_s).add_done_callback(through)
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(inner.result())

        self.workers.submit(requests, budget_s).add_done_callback(through)
        return future

    def flush(self) -> None:
        """Release the parts that have been published."""
        if self.workers:
            self.workers.flush()

    def stop(self) -> None:
        """Request all transfers to end now. The bytes received so far are kept. Does not wait."""
        self.threads.stop()
        if self.workers:
            self.workers.stop()

    def end(self, grace_s: float = _GRACE_S) -> None:
        """Stop all transfers and wait for the threads; worker processes keep the parts that are being published."""
        self.stop()
        self.threads.close(time.monotonic() + grace_s)

    def close(self, grace_s: float = _GRACE_S) -> None:
        """Close the worker processes, after all parts have been published."""
        if self.workers:
            self.workers.close(time.monotonic() + grace_s)
