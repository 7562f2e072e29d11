"""A response of the HTTP server: its head and its content, from memory, from a file or through a pipe.

The kernel sends files (sendfile): small parts from the thread of the event loop, larger ones and what has to be read
from the disk from other threads. With TLS the bytes are read and encrypted block by block.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from mediacrawl.server.loop_threads import ServerThreads

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 256 * 1024
_CAN_TELL_CACHED = hasattr(os, "RWF_NOWAIT")  # Linux
_WITHOUT_CONTENT = frozenset({204, 304})
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class SentFile:
    """A part of an open file that is to be sent."""

    __slots__ = ("descriptor", "start", "stop")

    def __init__(self, descriptor: int, start: int, stop: int) -> None:
        self.descriptor, self.start, self.stop = descriptor, start, stop

    @property
    def left_bytes(self) -> int:
        """The number of bytes that are not sent yet."""
        return self.stop - self.start

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    __del__ = close  # of a response that was never sent

    def is_in_memory(self) -> bool:
        """Return whether the next bytes can be read without waiting for the disk, as far as the system can tell."""
        if not _CAN_TELL_CACHED:
            return True
        try:
            return bool(os.preadv(self.descriptor, [bytearray(1)], self.start, os.RWF_NOWAIT))
        except BlockingIOError:
            return False
        except OSError:  # a file system in memory
            return True

    def send(self, out: int) -> None:
        """Have the kernel send as much as the socket takes.

        Raises:
            BlockingIOError: it takes nothing now.
            OSError: the client is gone, or the file cannot be read.
        """
        sent = os.sendfile(out, self.descriptor, self.start, self.left_bytes)
        self._count(sent)

    def read(self, most: int = _BLOCK_BYTES) -> bytes:
        """Return the next bytes, at most one block of them."""
        block = os.pread(self.descriptor, min(most, self.left_bytes), self.start)
        self._count(len(block))
        return block

    def _count(self, size: int) -> None:
        if not size:
            raise OSError(errno.EIO, "the file has become shorter while it was being sent")
        self.start += size


class Response:
    """A response of the application, which is sent when aiohttp asks for it, or as soon as a pipe has bytes of it.

    It has what aiohttp uses of a `StreamResponse`, which takes longer to make than to send.

    Attributes:
        is_over: whether it has been sent, or cannot be.
    """

    def __init__(
        self,
        status: int,
        headers: list[tuple[str, str]],
        threads: ServerThreads | None,
        *,
        content: bytes,
        file: SentFile | None,
        is_secure: bool,
    ) -> None:
        self._status = status
        self._fields = headers
        self._threads = threads
        self._is_secure = is_secure
        self._is_kept = self._is_lost = self.is_over = False
        self._pipe: asyncio.Task[None] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._content = content
        self._file = file

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow on the connection."""
        return self._is_kept

    @property
    def is_begun(self) -> bool:
        """Whether some of it may have been sent."""
        return self._pipe is not None

    async def prepare(self, request: BaseRequest) -> None:
        """Send the response.

        Raises:
            ConnectionError: the client is gone, or the response cannot be completed.
        """
        try:
            if self._pipe is not None:
                await self._pipe
                return
            if self._file is None or request.method == "HEAD":
                await self._write(request, self._head(request) + self._content)
            elif self._is_secure:
                await self._write(request, self._head(request))
                await self._copy_file(request, self._file)
            else:
                await self._write(request, self._head(request))
                await self._send_file(request, self._file)
        except ConnectionError:
            self._is_kept = False
            raise
        except OSError as error:
            self._is_kept = False
            logger.error("a response breaks off: %s", error.strerror or error)
            raise ConnectionAbortedError from None
        finally:
            self.is_over = True
            if self._file is not None:
                self._file.close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has sent all."""

    def begin_pipe(self, request: BaseRequest, descriptor: int) -> None:
        """Send what comes through a pipe, from now on, and close it at the end."""
        self._pipe = asyncio.get_running_loop().create_task(self._copy_pipe(request, descriptor))

    def lose_connection(self) -> None:
        """Stop: the client is gone."""
        self._is_lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _head(self, request: BaseRequest, *, has_length: bool = True) -> bytes:
        is_close_told = is_length_told = False
        lines = [_first_lines(self._status, int(time.time()))]
        for name, value in self._fields:
            lines.append(f"{name}: {value}\r\n")
            if len(name) == len("connection") and name.lower() == "connection":
                is_close_told = value.lower() == "close"
            elif len(name) == len("content-length") and name.lower() == "content-length":
                is_length_told = True
        self._is_kept = request.keep_alive and not is_close_told
        if not is_length_told and self._status not in _WITHOUT_CONTENT and request.method != "HEAD":
            if has_length:
                size = len(self._content) if self._file is None else self._file.left_bytes
                lines.append(f"Content-Length: {size}\r\n")
            elif request.version >= HttpVersion11:
                lines.append("Transfer-Encoding: chunked\r\n")
            else:
                self._is_kept = False  # the end of the connection is that of the content
        if not self._is_kept and not is_close_told:
            lines.append("Connection: close\r\n")
        elif self._is_kept and request.version < HttpVersion11:
            lines.append("Connection: keep-alive\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")

    async def _write(self, request: BaseRequest, data: bytes) -> None:
        """Write bytes, and wait until the system has taken all of them."""
        self._connected(request).write(data)
        await request.writer.drain()

    def _connected(self, request: BaseRequest) -> asyncio.Transport:
        transport = request.transport
        if self._is_lost or transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        return transport

    async def _send_file(self, request: BaseRequest, file: SentFile) -> None:
        """Have the kernel send a file."""
        assert self._threads is not None
        out = own = -1  # a descriptor of our own, once this waits: the other one may be closed meanwhile
        try:
            while file.left_bytes:
                transport = self._connected(request)
                if own < 0:
                    out = transport.get_extra_info("socket").fileno()
                try:
                    is_quick = file.is_in_memory()
                    if is_quick and file.left_bytes <= _BLOCK_BYTES:
                        file.send(out)
                        continue
                    if own < 0:
                        out = own = os.dup(out)
                    threads = self._threads.sending if is_quick else self._threads.disk
                    await threads.run(file.send, own)
                except BlockingIOError:
                    if own < 0:
                        out = own = os.dup(out)
                    await self._wait(own, is_for_reading=False)
        finally:
            if own >= 0:
                os.close(own)

    async def _copy_file(self, request: BaseRequest, file: SentFile) -> None:
        """Send a file block by block."""
        assert self._threads is not None
        while file.left_bytes:
            is_quick = file.is_in_memory()
            block = file.read() if is_quick else await self._threads.disk.run(file.read, _BLOCK_BYTES)
            await self._write(request, block)

    async def _copy_pipe(self, request: BaseRequest, descriptor: int) -> None:
        try:
            left = next((int(value) for name, value in self._fields if name.lower() == "content-length"), None)
            is_chunked = left is None and request.version >= HttpVersion11
            await self._write(request, self._head(request, has_length=left is not None))
            while block := await self._read_pipe(request, descriptor):
                left = None if left is None else left - len(block)
                await self._write(request, b"%x\r\n%b\r\n" % (len(block), block) if is_chunked else block)
            if left:
                raise ConnectionAbortedError("the response is not whole")
            if is_chunked:
                await self._write(request, b"0\r\n\r\n")
        finally:
            os.close(descriptor)

    async def _read_pipe(self, request: BaseRequest, descriptor: int) -> bytes:
        while True:
            self._connected(request)
            try:
                return os.read(descriptor, _BLOCK_BYTES)
            except BlockingIOError:
                await self._wait(descriptor, is_for_reading=True)

    async def _wait(self, descriptor: int, *, is_for_reading: bool) -> None:
        """Wait until a descriptor can be read or written, or the client is gone.

        Raises:
            ConnectionResetError: the client is gone already, and so nothing would end the wait.
        """
        if self._is_lost:
            raise ConnectionResetError("the client is gone")
        loop = asyncio.get_running_loop()
        add, remove = (
            (loop.add_reader, loop.remove_reader) if is_for_reading else (loop.add_writer, loop.remove_writer)
        )
        self._waiting = loop.create_future()
        add(descriptor, self._wake)
        try:
            await self._waiting
        finally:
            remove(descriptor)
            self._waiting = None


@lru_cache(maxsize=64)
def _first_lines(status: int, now_s: int) -> str:
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nDate: {formatdate(now_s, usegmt=True)}\r\n"
