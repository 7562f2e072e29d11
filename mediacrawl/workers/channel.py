"""Messages between two processes, over a socket."""

from __future__ import annotations

import os
import pickle
import queue
import socket
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from mediacrawl.system.cpu_scheduling import use_batch_scheduling


class Channel:
    """One end of a connection between two processes. Messages are pickled, and received in the order of `post`.

    `post` never blocks, as a thread of the channel writes to the socket. A process that does not read therefore
    blocks only this thread, and neither the event loop nor the receiving thread. Two processes that exchange many
    messages cannot deadlock with full sockets.

    A message that is posted after the other process has ended is dropped; `receive` raises an error in that case.
    """

    def __init__(self, end: socket.socket) -> None:
        """Take over a connected socket."""
        self._connection = Connection(end.detach())
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._is_broken = False
        self._sender = threading.Thread(target=self._send_posted, daemon=True, name="channel-sender")
        self._sender.start()

    def post(self, message: object) -> None:
        """Queue a message to be sent. Does not block; may be called from any thread.

        Raises:
            Exception: the message cannot be pickled. Nothing is sent.
        """
        if not self._is_broken:
            self._outbox.put(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    def receive(self) -> Any:
        """Wait for the next message and return it. Only one thread may call this method.

        Raises:
            EOFError, OSError: the other process has ended, or will send no more messages.
        """
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 - one process has started the other

    def finish(self, timeout_s: float) -> None:
        """Send the posted messages, then close the sending side. The other process may continue to send.

        Blocks for at most `timeout_s`, and a little longer. If the other process does not read for that time, the
        remaining messages are dropped.
        """
        self._outbox.put(None)
        self._sender.join(max(0.0, timeout_s))
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            end.shutdown(socket.SHUT_WR)  # wakes a blocked sender
        self._sender.join(_WAKE_S)

    def close(self) -> None:
        """Close the socket. Call `finish` first; no thread may be in `receive`."""
        self._connection.close()

    def _send_posted(self) -> None:
        use_batch_scheduling()
        with suppress(OSError):
            while (data := self._outbox.get()) is not None:
                self._connection.send_bytes(data)
        self._is_broken = True


_WAKE_S = 1.0
