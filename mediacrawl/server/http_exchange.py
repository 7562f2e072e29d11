"""A request and its response, as RSGI has them, on those of aiohttp.

It is the part of RSGI that the applications of this package use: the content of a request, and responses from memory,
from a file and through a pipe.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from mediacrawl.server.http_response import Response, SentFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.web import BaseRequest

    from mediacrawl.server.loop_threads import ServerThreads

_OWN_FILES = "/proc/self/fd/"


class Scope:
    """What RSGI tells of a request, without its content."""

    __slots__ = ("authority", "client", "headers", "http_version", "method", "path", "query_string", "scheme")

    proto = "http"

    def __init__(self, request: BaseRequest, *, is_secure: bool) -> None:
        self.method = request.method
        self.scheme = "https" if is_secure else "http"
        version = request.version
        self.http_version = f"{version.major}.{version.minor}"
        peer = request.protocol.peername
        self.client = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        self.headers = _Headers(request.headers.items())
        target = request.raw_path
        self.authority: str | None = None
        if not target.startswith("/") and "://" in target:  # as a client of a proxy sends it
            self.authority, _, rest = target.partition("://")[2].partition("/")
            target = f"/{rest}"
        path, _, self.query_string = target.partition("?")
        self.path = unquote(path, errors="surrogateescape") if "%" in path else path


class _Headers:
    """The header fields of a request, by names in lower case. `items` leaves values out that are not ASCII."""

    __slots__ = ("_items",)

    def __init__(self, items: Any) -> None:
        self._items = [(name.lower(), value) for name, value in items]

    def __len__(self) -> int:
        return len(dict(self._items))

    def keys(self) -> list[str]:
        return [name for name, _ in self._items]

    def items(self) -> list[tuple[str, str]]:
        return [item for item in self._items if item[1].isascii()]


class Exchange:
    """A request and its response, as the protocol of RSGI.

    Attributes:
        response: of the application; None: it has sent none yet.
    """

    __slots__ = ("_is_secure", "_left", "_request", "_threads", "response")

    def __init__(self, request: BaseRequest, threads: ServerThreads | None, *, is_secure: bool) -> None:
        self._request = request
        self._threads = threads
        self._is_secure = is_secure
        self.response: Response | None = None
        self._left = b""  # of the content, when the connection was lost

    @property
    def is_over(self) -> bool:
        """Whether the response has been sent, or cannot be."""
        return self.response is not None and self.response.is_over

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the content of the request as it comes.

        Raises:
            ConnectionResetError: it has broken off, behind the bytes that have come.
        """
        request = self._request
        content, transport = request.content, request.transport
        is_expected = request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        if is_expected and transport is not None and request.version >= HttpVersion11 and not content.total_bytes:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            while chunk := await content.readany():
                yield chunk
        except (OSError, web.RequestPayloadError, HttpProcessingError) as error:
            if self._left:
                yield self._left
            raise ConnectionResetError(f"the content has broken off: {error}") from None

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send a response without content."""
        self._begin(status, headers)

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send content from memory."""
        self._begin(status, headers, content=body)

    def response_file(self, status: int, headers: list[tuple[str, str]], path: str) -> None:
        """Send a file, or what comes through a pipe, which is read from now on."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(descriptor)
        if stat.S_ISFIFO(found.st_mode):
            self._begin(status, headers).begin_pipe(self._request, descriptor)
        else:
            self._begin(status, headers, file=SentFile(descriptor, 0, found.st_size))

    def response_file_range(
        self, status: int, headers: list[tuple[str, str]], path: str, start: int, stop: int
    ) -> None:
        """Send the bytes of a file from `start` up to `stop`."""
        self._begin(status, headers, file=SentFile(_opened(path), start, stop))

    def _begin(
        self,
        status: int,
        headers: list[tuple[str, str]],
        *,
        content: bytes = b"",
        file: SentFile | None = None,
    ) -> Response:
        said = "".join([value for _, value in headers])
        if "\n" in said or "\r" in said:
            raise ValueError("a header field of the response has a line end")
        self.response = Response(
            status, headers, self._threads, content=content, file=file, is_secure=self._is_secure
        )
        return self.response

    def lose_connection(self) -> None:
        """Keep the bytes that have come, and wake the response that waits for its client."""
        content = self._request.content
        if content.exception() is None:
            with suppress(RuntimeError):  # somebody waits for more, as there is nothing left
                self._left = content.read_nowait()
        if self.response is not None:
            self.response.lose_connection()


def _opened(path: str) -> int:
    """Return a new descriptor of the file at a path, which may name one of this process."""
    if path.startswith(_OWN_FILES):  # a duplicate is made more quickly, and reads at an offset do not disturb others
        return os.dup(int(path.removeprefix(_OWN_FILES)))
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
