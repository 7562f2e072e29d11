"""Write bytes in a thread of their own, so that more of them are received while the disk is busy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mediacrawl.system.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

_MOST_WAITING_BYTES = 2 * 1024 * 1024
_WITHOUT_THREAD_BYTES = 512 * 1024


class WriteBehind:
    """Pass bytes on to a function, in their order. An object is used by one thread.

    The first bytes are passed on at once: most files are small, and need no other thread.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """Pass bytes on to `write`. An error of it is raised by the next call; then nothing is passed on any more."""
        self._write = write
        self._changed = threading.Condition()  # guards the waiting bytes, the end and the error
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_ended = False
        self._error: BaseException | None = None
        self._passed_bytes = 0  # without the thread
        self._thread: Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Take bytes, of which some may not be passed on yet. Blocks while many others wait."""
        if self._passed_bytes < _WITHOUT_THREAD_BYTES:
            self._passed_bytes += len(data)
            self._write(data)
            return
        if self._thread is None:
            self._thread = start_thread(self._run, "received bytes")
        with self._changed:
            self._changed.wait_for(lambda: self._waiting_bytes < _MOST_WAITING_BYTES or self._error is not None)
            self._raise_error()
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify_all()

    def finish(self) -> None:
        """Return when all bytes were passed on. A later call does nothing."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.result()
        self._raise_error()

    def _run(self) -> None:
        try:
            while block := self._next():
                self._write(block)
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _next(self) -> bytes:
        """Return all bytes that wait; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ended)
            found, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._changed.notify_all()
        return found[0] if len(found) == 1 else b"".join(found)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
