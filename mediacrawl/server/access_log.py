"""The access log: one line for each request, in which text from outside steers nothing and secrets are masked."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TextIO

from mediacrawl.visible import visible

if TYPE_CHECKING:
    import logging

_MOST_WAITING = 10_000  # lines, while the reader of the log does not read
_COLLECTED_S = 0.05  # lines of this time are written together
_LONGEST = 2_000  # characters of a path
# An invitation is a secret: whoever has the link can accept it.
_SECRET_PATH = re.compile(r"(/invitation/)[^/\s\"'?]+", re.IGNORECASE)


class AnsweredRequest(NamedTuple):
    """A request, and what is told of its response.

    Attributes:
        client: the address.
        method: as it was sent.
        path: decoded.
        version: of the protocol; empty if it has none.
        status: of the response.
        length: the Content-Length of the response; empty if it is not known.
        wanted: the Range field; empty if there is none.
        began: `time.monotonic` when the request came.
        protocol: its name.
        person: who has logged in; empty if it is not told.
    """

    client: str
    method: str
    path: str
    version: str
    status: int
    length: str
    wanted: str
    began: float
    protocol: str = "HTTP"
    person: str = ""


class AccessLog:
    """Write lines to a stream from a thread, so that no request waits for the disk or for a terminal.

    A line is: the address of the client, `-`, the person or `-`, the time, the request, the status, the length of the
    content, the Range field, the milliseconds until the response began. The query of a request is left out: it may be
    private.
    """

    def __init__(self, stream: TextIO) -> None:
        """Start the thread. The stream stays open."""
        self._stream = stream
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()

    def note(self, request: AnsweredRequest) -> None:
        """Write the line of a request, unless the reader of the log is far behind."""
        if self._lines.qsize() <= _MOST_WAITING:
            self._lines.put(f"{visible(_said(request))}\n")

    def close(self) -> None:
        """Write the remaining lines, and end the thread. A reader that does not read is given up."""
        self._lines.put(None)
        self._is_closed.set()
        self._thread.join(1.0)

    def _write(self) -> None:
        is_last = False
        while not is_last:
            lines = [self._lines.get()]
            self._is_closed.wait(_COLLECTED_S)  # to wake this thread for each line costs more than to write it
            with suppress(Empty):
                while True:
                    lines.append(self._lines.get_nowait())
            is_last = None in lines
            with suppress(OSError, ValueError):  # the reader is gone, or the stream is closed
                self._stream.write("".join(line for line in lines if line is not None))
                self._stream.flush()


def _said(request: AnsweredRequest) -> str:
    at, took_ms = _date(int(time.time())), (time.monotonic() - request.began) * 1000
    path = masked(request.path[:_LONGEST]).replace('"', "%22")
    wanted = request.wanted[:_LONGEST].replace('"', "%22") or "-"
    protocol = f"{request.protocol}/{request.version}" if request.version else request.protocol
    return (
        f'{request.client or "-"} - {request.person or "-"} [{at}] "{request.method[:20]} {path} {protocol}" '
        f'{request.status} {request.length or "-"} "{wanted}" {took_ms:.1f} ms'
    )


def masked(text: str) -> str:
    """Return a text without the secrets of the paths in it."""
    return _SECRET_PATH.sub(r"\1***", text) if "invitation" in text.lower() else text


def mask_secrets(record: logging.LogRecord) -> bool:
    """Mask secrets in a record of any logger, as a filter of a handler."""
    said = record.getMessage()
    if (shown := masked(said)) != said:
        record.msg, record.args = shown, ()
    return True


@lru_cache(4)
def _date(seconds: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(seconds))
