"""All transfers of a crawl: a few in threads of this process, many in processes of their own."""

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

WORKERS_FROM = 64  # files: processes take a third of a second to start; until they are there, threads go on
_GRACE_S = 2.0


def is_death(error: BaseException | None) -> bool:
    """Whether a batch failed as its worker process died, so that others are to fetch its files."""
    from mediacrawl.workers.processes import WorkerDied  # noqa: PLC0415 - only once there are workers

    return isinstance(error, WorkerDied)


class TransferExecutor:
    """One face for both.

    Args:
        workers: None for a crawl that is to stay in one process.
    """

    def __init__(
        self, threads: TransferThreads, workers: WorkerProcesses | None, workers_from: int = WORKERS_FROM
    ) -> None:
        self.threads = threads
        self.workers = workers
        self._left_to_threads = workers_from

    @property
    def active(self) -> list[Progress]:
        """The progress of each transfer that lasts, for who draws bars."""
        return self.threads.active + (self.workers.active if self.workers else [])

    @property
    def fetched_bytes(self) -> int:
        """By transfers that have ended."""
        return self.threads.fetched_bytes + (self.workers.fetched_bytes if self.workers else 0)

    def submit(self, requests: Sequence[TransferRequest], budget_s: float) -> Future[list[Outcome]]:
        """Fetch one after another over one connection, see `Downloader.fetch_batch`."""
        if self.workers is None or self._left_to_threads > 0 or not self.workers.start():
            self._left_to_threads -= len(requests)
            return self.threads.submit(requests, budget_s)
        future: Future[list[Outcome]] = Future()

        def through(inner: Future[list[Outcome]]) -> None:
            error = inner.exception()
            if is_death(error):  # whatever it was that killed it: here is another try
                self.threads.submit(requests, budget_s).add_done_callback(through)
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(inner.result())

        self.workers.submit(requests, budget_s).add_done_callback(through)
        return future

    def flush(self) -> None:
        """Let go of the parts that have been published."""
        if self.workers:
            self.workers.flush()

    def stop(self) -> None:
        """Ask every transfer to end now, keeping what has arrived. Does not wait."""
        self.threads.stop()
        if self.workers:
            self.workers.stop()

    def end(self, grace_s: float = _GRACE_S) -> None:
        """Stop, and wait for the threads; the workers still hold what is being published."""
        self.stop()
        self.threads.close(time.monotonic() + grace_s)

    def close(self, grace_s: float = _GRACE_S) -> None:
        """All is published: the workers can go."""
        if self.workers:
            self.workers.close(time.monotonic() + grace_s)
