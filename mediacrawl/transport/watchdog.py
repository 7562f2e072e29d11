"""Cut connections whose head does not come to an end.

`requests` has no limit for the whole head of a response: a server that sends one header line now and then would hold
a thread for ever.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_LOOK_EVERY_S = 0.5
HEAD_TIMEOUTS = 2  # as long as so many silences, a head may take in all


class HeadWatchdog:
    """Cuts connections whose head does not come to an end; one thread for all, started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._stopped = False

    def watching(self, sock: Any, timeout_s: float | None) -> AbstractContextManager[None]:
        """While the block runs, `sock` is cut when the time is over."""
        if sock is None or not timeout_s:
            return nullcontext()
        return _Watched(self, sock, time.monotonic() + HEAD_TIMEOUTS * timeout_s)

    def begin(self, sock: Any, until: float) -> None:
        self._waiting[id(sock)] = until, sock  # before the look at `_stopped`: a stop sees it, or is seen
        if self._thread is None:
            self._start()
        if self._stopped:
            cut(sock)

    def end(self, sock: Any) -> None:
        self._waiting.pop(id(sock), None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True, name="head-watch")
                self._thread.start()

    def cut_all(self) -> None:
        """A stop, for good: nobody waits for a head any more, nor begins to."""
        self._stopped = True
        for _, sock in list(self._waiting.values()):
            cut(sock)

    def close(self) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            now = time.monotonic()
            for until, sock in list(self._waiting.values()):
                if until < now:
                    cut(sock)


class _Watched:
    """A block in which a head is waited for."""

    __slots__ = ("_sock", "_until", "_watch")

    def __init__(self, watch: HeadWatchdog, sock: Any, until: float) -> None:
        self._watch, self._sock, self._until = watch, sock, until

    def __enter__(self) -> None:
        self._watch.begin(self._sock, self._until)

    def __exit__(self, *_: object) -> None:
        self._watch.end(self._sock)


def cut(sock: Any) -> None:
    """Not close: the thread that reads must see an end, not a number that another file has got meanwhile.

    Nor the method of an `SSLSocket`: that one takes its TLS away first, and who reads gets ciphertext for a body.
    """
    with suppress(OSError):
        if isinstance(sock, socket.socket):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        else:
            sock.shutdown(socket.SHUT_RDWR)
