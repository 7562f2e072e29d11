"""The content of a request under RSGI, on its way into an upload: read no faster than it is written."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mediacrawl.server.uploads.problems import SilentClient, TakenOver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import ThreadPoolExecutor

    from mediacrawl.server.uploads.writer import UploadWriter

_BLOCK_BYTES = 1024 * 1024  # of one write
_SILENT_S = 60.0  # then a connection is given up; the client goes on with another one
_LOOK_EVERY_S = 1.0  # what a slow client has sent in this time is written, even if it is less
_READ_AWAY_BYTES = 4 * 1024 * 1024  # of a request that is refused
_READ_AWAY_WITHIN_S = 2.0


class RequestContent:
    """The content of one request. Iteration asks a client that waits to be asked for it (RFC 9110 10.1.1)."""

    def __init__(self, connection: Any, *, is_to_be_asked_for: bool) -> None:
        """Take a connection of granian. `is_to_be_asked_for`: the request has `Expect: 100-continue`."""
        self._connection = connection
        self._is_coming = not is_to_be_asked_for

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the blocks, as they come."""
        self._is_coming = True
        return aiter(self._connection)

    async def read_away(self) -> None:
        """Read the rest of the content, a while, so that the client reads the response to a request that is refused.

        A client that has not been asked for the content reads the response anyway.
        """
        size = 0
        if not self._is_coming:
            return
        with suppress(Exception):
            async with asyncio.timeout(_READ_AWAY_WITHIN_S):
                async for chunk in self:
                    size += len(chunk)
                    if not chunk or size > _READ_AWAY_BYTES:
                        return


class Arrival:
    """The content of one request, on its way to a writer.

    Attributes:
        size_bytes: as many have come.
    """

    def __init__(self, content: RequestContent, threads: ThreadPoolExecutor, length: int | None) -> None:
        self.size_bytes = 0
        self._content = content
        self._threads = threads
        self._length = length  # as the client has announced it
        self._task: asyncio.Task[bool] | None = None
        self._collected: list[bytes] = []  # not written yet
        self._collected_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._waits_since: float | None = None  # for the client
        self._next_look: asyncio.TimerHandle | None = None
        self._is_ended = False
        self._is_silent = False
        self._is_broken = False

    def end(self) -> None:
        """Stop reading: another request goes on with the upload."""
        self._is_ended = True
        if self._task is not None:
            self._task.cancel()

    async def copy_to(self, writer: UploadWriter) -> bool:
        """Write the content as it comes. Return False if it has broken off; what has come is written.

        Raises:
            TakenOver: `end` was called.
            SilentClient: nothing has come for too long.
            The errors of `UploadWriter.write`.
        """
        self._task = asyncio.get_running_loop().create_task(self._copy(writer))
        if self._is_ended:
            self._task.cancel()
        self._look(writer)
        try:
            return await self._task
        except asyncio.CancelledError:
            if self._is_ended:
                raise TakenOver("another request goes on with this upload") from None
            if self._is_silent:
                raise SilentClient(f"nothing has come for {_SILENT_S:.0f} s") from None
            raise
        finally:
            if self._next_look is not None:
                self._next_look.cancel()

    async def _copy(self, writer: UploadWriter) -> bool:
        """Write what was collected while the next bytes come."""
        chunks, is_last = aiter(self._content), False
        try:
            while not is_last:
                is_last = await self._collect(chunks)
                await self._written()
                self._write(writer)
            await self._written()
        finally:
            if self._writing is not None:
                self._writing.add_done_callback(_retrieve)
        return self._length in {None, self.size_bytes} and not self._is_broken

    async def _collect(self, chunks: Any) -> bool:
        """Collect bytes for one write; return whether they are the last ones."""
        loop = asyncio.get_running_loop()
        try:
            while self._collected_bytes < _BLOCK_BYTES:
                self._waits_since = loop.time()
                try:
                    chunk = await anext(chunks)
                except (OSError, RuntimeError):  # the client is gone
                    self._is_broken = True
                    return True
                if not chunk:
                    return True
                self._collected.append(chunk)
                self._collected_bytes += len(chunk)
                self.size_bytes += len(chunk)
                if self._writing is not None and self._writing.done():
                    await self._written()  # which may have failed
        except StopAsyncIteration:
            return True
        finally:
            self._waits_since = None
        return False

    def _write(self, writer: UploadWriter) -> None:
        """Begin to write what was collected; nothing else is being written."""
        block = b"".join(self._collected)
        self._collected.clear()
        self._collected_bytes = 0
        if block:
            self._writing = asyncio.get_running_loop().run_in_executor(self._threads, writer.write, block)

    async def _written(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None

    def _is_written(self) -> bool:
        """Return whether the last write has ended well, or there was none."""
        writing = self._writing
        return writing is None or (writing.done() and not writing.cancelled() and writing.exception() is None)

    def _look(self, writer: UploadWriter) -> None:
        """Stop reading if nothing has come for too long; else write what a slow client has sent, and look again."""
        loop = asyncio.get_running_loop()
        if self._waits_since is not None and loop.time() - self._waits_since > _SILENT_S and self._task is not None:
            self._is_silent = True
            self._task.cancel()
            return
        if self._waits_since is not None and self._is_written():
            self._write(writer)
        self._next_look = loop.call_later(_LOOK_EVERY_S, self._look, writer)


def _retrieve(future: asyncio.Future[None]) -> None:
    """Take note of the error of a write that is not waited for any more."""
    if not future.cancelled():
        future.exception()
