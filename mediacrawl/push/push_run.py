"""A run that sends files: several at a time, each with retries."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

from mediacrawl.download.progress import Progress
from mediacrawl.errors import Interrupted, MachineError, TransferError, failure_of, redact_url
from mediacrawl.push.local_files import OpenedFile, UnusableFile
from mediacrawl.push.targets import LEAST_PROGRESS_BYTES, Errand
from mediacrawl.system.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.retry import Backoff
    from mediacrawl.push.local_files import LocalFile
    from mediacrawl.push.push_state import PushState
    from mediacrawl.push.targets import PushTarget, Sent

SENT_WHOLE = "uploaded"
"""All bytes of the file were sent by this run."""
SENT_REST = "resumed"
"""The server had a part of the file, and got the rest."""
ALREADY_THERE = "present"
"""The server has the file, and no byte was sent."""
NOT_SENT = "failed"
"""The file was not sent."""


class PushResult(NamedTuple):
    """The result of one file.

    Attributes:
        path: on this machine.
        status: `SENT_WHOLE`, `SENT_REST`, `ALREADY_THERE` or `NOT_SENT`.
        url: on the server, without credentials; empty if it is not known.
        size_bytes: of the file; 0 if it could not be read.
        saved_bytes: how many of them the server had before.
        sha256: in hex; empty if it was not computed.
        reason: why it was not sent; empty otherwise.
    """

    path: Path
    status: str
    url: str = ""
    size_bytes: int = 0
    saved_bytes: int = 0
    sha256: str = ""
    reason: str = ""

    @classmethod
    def of_sent(cls, errand: Errand, sent: Sent) -> Self:
        """Return the result of a file that the server has."""
        file, saved_bytes = errand.opened.file, errand.saved_bytes or 0
        status = ALREADY_THERE if sent.is_present else SENT_REST if saved_bytes else SENT_WHOLE
        return cls(file.path, status, sent.url, file.size_bytes, saved_bytes, sent.sha256)


class PushRun:
    """Sends files in threads.

    Attributes:
        sent_bytes: bytes that were sent by files that have ended.
        fatal: the error because of which this machine cannot go on; None if there is none.
    """

    def __init__(
        self,
        target: PushTarget,
        state: PushState,
        files: Iterable[LocalFile | UnusableFile],
        cancel: Cancel,
        *,
        at_once: int,
        backoff: Backoff,
    ) -> None:
        """Start the threads, `at_once` of them."""
        self._target = target
        self._state = state
        self._files = iter(files)
        self._cancel = cancel
        self._backoff = backoff
        self._lock = threading.Lock()
        self._results: queue.SimpleQueue[PushResult | None] = queue.SimpleQueue()
        self._active: dict[int, Progress] = {}
        self._running = at_once
        self.wanted = 0
        self.sent_bytes = 0
        self.fatal: MachineError | None = None
        for _ in range(at_once):
            start_thread(self._work, "push")

    @property
    def active(self) -> list[Progress]:
        """The progress of the files on their way."""
        return list(self._active.values())

    def results(self, within_s: float) -> Iterator[PushResult]:
        """Yield the results that come within `within_s` seconds, and those that are here by then."""
        try:
            result = self._results.get(timeout=within_s)
            while True:
                if result is None:
                    self._running -= 1
                else:
                    yield result
                result = self._results.get_nowait()
        except queue.Empty:
            return

    @property
    def is_done(self) -> bool:
        """Whether all threads have ended and all results were taken."""
        return self._running == 0

    def _work(self) -> None:
        try:
            while not self._cancel.is_set and (file := self._next()) is not None:
                self._results.put(self._result(file))
        except Interrupted:
            pass
        except MachineError as error:
            self.fatal = error
            self._cancel.set()
        finally:
            self._results.put(None)

    def _next(self) -> LocalFile | UnusableFile | None:
        with self._lock:
            found = next(self._files, None)
            self.wanted += found is not None
            return found

    def _result(self, file: LocalFile | UnusableFile) -> PushResult:
        if isinstance(file, UnusableFile):
            return PushResult(file.path, NOT_SENT, reason=file.why)
        progress = Progress(file.name, total_bytes=file.size_bytes)
        self._active[id(progress)] = progress
        place = self._target.place(file)
        try:
            with self._state.locked(file, place), OpenedFile(file) as opened:
                errand = Errand(opened, progress, self._cancel)
                return PushResult.of_sent(errand, self._sent(errand))
        except (Interrupted, MachineError):
            raise
        except Exception as error:
            reason = failure_of(place, error).reason
            return PushResult(file.path, NOT_SENT, redact_url(place), file.size_bytes, reason=reason)
        finally:
            del self._active[id(progress)]
            with self._lock:
                self.sent_bytes += progress.fetched_bytes

    def _sent(self, errand: Errand) -> Sent:
        """Send a file, and try again while that is useful."""
        failures, best = 0, 0
        while True:
            try:
                return self._target.send(errand)
            except TransferError as error:
                failures = 0 if errand.confirmed_bytes >= best + LEAST_PROGRESS_BYTES else failures
                best = max(best, errand.confirmed_bytes)
                failures += 1
                self._wait_or_raise(errand, error, failures)

    def _wait_or_raise(self, errand: Errand, error: TransferError, failures: int) -> None:
        self._cancel.check()
        wait_s = error.retry_after_s or self._backoff.delay_s(failures)
        if not error.transient or failures > self._backoff.times or wait_s > self._backoff.max_retry_after_s:
            raise error
        with errand.progress.sleeping(f"{error.reason}, again in {wait_s:.0f} s"):
            self._cancel.wait(wait_s)
