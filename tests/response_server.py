"""A server that sends what a `response_model.Plan` says, byte by byte: raw sockets, a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

from response_model import Ask

if TYPE_CHECKING:
    from response_model import Conversation, Sent

_FIRST_BYTES = 48 * 1024
_HELPER_WITHIN_S = 0.02
_REQUEST_BYTES = 64 * 1024


class ResponseServer:
    """Serves one conversation, on a port of its own."""

    def __init__(self, conversation: Conversation, *, waits_for_helpers: bool = False) -> None:
        """Start to serve.

        `waits_for_helpers`: a large body goes on once a helper has asked for a part of it, or after a moment. Else
        loopback would bring all of it before there is a helper.
        """
        self._conversation = conversation
        self._waits = waits_for_helpers
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/a.jpg"
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="answers")]
        self._is_closed = False
        self.errors: list[BaseException] = []
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            open_sockets = [self._listener, *self._sockets]
        for sock in open_sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_closed:
                    sock.close()
                    return
                self._sockets.add(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), name="answers")
                self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                while (head := self._request(sock)) and not self._conversation.is_endless:
                    if not self._answer(sock, self._conversation.answer(Ask.parse(head))):
                        break
        except Exception as error:  # of the model: told in the test
            self.errors.append(error)
        finally:
            with self._lock:
                self._sockets.discard(sock)
                sock.close()

    def _request(self, sock: socket.socket) -> bytes:
        """The head of the next request; empty at the end of the connection."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (block := sock.recv(_REQUEST_BYTES)):
                return b""
            head += block
        return head

    def _answer(self, sock: socket.socket, sent: Sent) -> bool:
        """Send an answer; return whether the connection goes on."""
        data = sent.head + sent.body
        waits = self._waits and sent.ask.stop is None and len(sent.body) > _FIRST_BYTES
        if waits and sent.status in {200, 203, 206} and sent.answer.etag == "strong":
            self._conversation.helper_came.clear()
            sock.sendall(data[:_FIRST_BYTES])
            data = data[_FIRST_BYTES:]
            self._conversation.helper_came.wait(_HELPER_WITHIN_S)
        sock.sendall(data)
        if sent.ends == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return sent.ends == "keeps"
