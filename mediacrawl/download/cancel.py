"""Requests to stop transfers, from any thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mediacrawl.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator


class Abortable(Protocol):
    """A blocking operation that another thread can wake."""

    def abort(self) -> None:
        """Wake the thread that blocks."""


class Cancel:
    """A request to stop transfers: wakes the transfers that wait, and the transfers that read from a socket."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._watched: set[Abortable] = set()

    @property
    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    def set(self) -> None:
        """Stop all transfers; safe to call again."""
        with self._lock:
            self._event.set()
            watched = list(self._watched)
        for answer in watched:
            answer.abort()

    def abort(self) -> None:
        """Call `set`. So one `Cancel` can be watched by another `Cancel`, and is set together with the other."""
        self.set()

    def check(self) -> None:
        """Raise `Interrupted` once a stop was requested."""
        if self._event.is_set():
            raise Interrupted("stopped: received bytes are kept")

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`; on a stop, wake up and raise `Interrupted`."""
        if seconds > 0:
            self._event.wait(seconds)
        self.check()

    @contextmanager
    def watch(self, answer: Abortable) -> Iterator[None]:
        """Abort `answer` on a stop while the `with` block runs. Raises `Interrupted` if already stopped."""
        with self._lock:
            self._watched.add(answer)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._watched.discard(answer)
