"""Ask transfers to stop, from any thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mediacrawl.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator


class Abortable(Protocol):
    """Something that blocks and can be woken from another thread."""

    def abort(self) -> None: ...


class Cancel:
    """Asks transfers to stop: wakes those that wait, and those that read from a socket."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._watched: set[Abortable] = set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """Stop all; safe to call again."""
        with self._lock:
            self._event.set()
            watched = list(self._watched)
        for answer in watched:
            answer.abort()

    def abort(self) -> None:
        """The same: one `Cancel` can be watched by another, and follows it."""
        self.set()

    def check(self) -> None:
        """Raise `Interrupted` once a stop was asked for."""
        if self._event.is_set():
            raise Interrupted("stopped: what has arrived is kept")

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up for a stop and raise `Interrupted`."""
        if seconds > 0:
            self._event.wait(seconds)
        self.check()

    @contextmanager
    def watch(self, answer: Abortable) -> Iterator[None]:
        """While the block runs, a stop aborts `answer`."""
        with self._lock:
            self._watched.add(answer)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._watched.discard(answer)
