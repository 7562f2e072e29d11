"""Cut connections on which the head of a response does not end in time.

`requests` has no time limit for the complete head of a response: a server that sends a header line now and then would
block a thread for ever.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_LOOK_EVERY_S = 0.5
HEAD_TIMEOUTS = 2  # time limit for a complete head, in multiples of the read timeout


class HeadWatchdog:
    """Cuts connections on which the head of a response does not end in time.

    A single thread watches all connections. The thread starts when the first connection is watched.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._stopped = False

    def watching(self, sock: Any, timeout_s: float | None) -> AbstractContextManager[None]:
        """Return a context manager that cuts `sock` if its block is still running at the time limit.

        The limit is `HEAD_TIMEOUTS` times `timeout_s`. Nothing is watched without a socket or without a timeout.
        """
        if sock is None or not timeout_s:
            return nullcontext()
        return _Watched(self, sock, time.monotonic() + HEAD_TIMEOUTS * timeout_s)

    def begin(self, sock: Any, until: float) -> None:
        # Written before `_stopped` is read: either `cut_all` sees this entry, or `begin` sees the stop.
        """Watch a connection: cut it at the monotonic time `until`."""
        self._waiting[id(sock)] = until, sock
        if self._thread is None:
            self._start()
        if self._stopped:
            cut(sock)

    def end(self, sock: Any) -> None:
        """Stop watching a connection."""
        self._waiting.pop(id(sock), None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True, name="head-watch")
                self._thread.start()

    def cut_all(self) -> None:
        """Cut all watched connections, now and from now on: a stop for good."""
        self._stopped = True
        for _, sock in list(self._waiting.values()):
            cut(sock)

    def close(self) -> None:
        """End the thread of the watchdog."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            now = time.monotonic()
            for until, sock in list(self._waiting.values()):
                if until < now:
                    cut(sock)


class _Watched:
    """The context manager of a block that waits for the head of a response."""

    __slots__ = ("_sock", "_until", "_watch")

    def __init__(self, watch: HeadWatchdog, sock: Any, until: float) -> None:
        self._watch, self._sock, self._until = watch, sock, until

    def __enter__(self) -> None:
        self._watch.begin(self._sock, self._until)

    def __exit__(self, *_: object) -> None:
        self._watch.end(self._sock)


class Cut(NamedTuple):
    """A wait for a response that ends when its connection is cut, see `cut`."""

    sock: Any

    def abort(self) -> None:
        cut(self.sock)


def cut(sock: Any) -> None:
    """Shut a connection down in both directions, so that a thread that is reading sees the end of the stream.

    The socket is not closed here: the file descriptor could be assigned to another file while the thread still reads
    from it. `SSLSocket.shutdown` is not called either: that method discards the TLS state first, and the reading
    thread would then receive ciphertext as the body.
    """
    with suppress(OSError):
        if isinstance(sock, socket.socket):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        else:
            sock.shutdown(socket.SHUT_RDWR)
