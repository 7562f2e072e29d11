"""The content of a request under RSGI, on its way into an upload: read no faster than it is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mediacrawl.server.uploads.problems import SilentClient, TakenOver

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from mediacrawl.server.uploads.writer import UploadWriter

_BLOCK_BYTES = 1024 * 1024  # of one write
_COLLECTED_S = 1.0  # what a slow client has sent in this time is written, even if it is less
_SILENT_S = 60.0  # then a connection is given up; the client goes on with another one
_LOOK_EVERY_S = 5.0


class Arrival:
    """The content of one request, on its way to a writer.

    Attributes:
        size_bytes: as many have come.
    """

    def __init__(self, connection: Any, threads: ThreadPoolExecutor, length: int | None) -> None:
        self.size_bytes = 0
        self._connection = connection
        self._threads = threads
        self._length = length  # as the client has announced it
        self._task: asyncio.Task[bool] | None = None
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
        self._look()
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
        """Write one block while the next one comes."""
        loop, chunks = asyncio.get_running_loop(), aiter(self._connection)
        writing: asyncio.Future[None] | None = None
        is_last = False
        try:
            while not is_last:
                block, is_last = await self._block(chunks)
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(self._threads, writer.write, block) if block else None
            if writing is not None:
                await writing
        finally:
            if writing is not None:
                writing.add_done_callback(_retrieve)
        return self._length in {None, self.size_bytes} and not self._is_broken

    async def _block(self, chunks: Any) -> tuple[bytes, bool]:
        """Return the next bytes, many at a time, and whether they are the last ones."""
        loop, found, size, is_last = asyncio.get_running_loop(), [], 0, False
        self._waits_since = now = loop.time()
        until = now + _COLLECTED_S
        try:
            while size < _BLOCK_BYTES and now < until and not is_last:
                chunk = await anext(chunks)
                found.append(chunk)
                size += len(chunk)
                is_last = not chunk
                self._waits_since = now = loop.time()
        except StopAsyncIteration:
            is_last = True
        except (OSError, RuntimeError):  # the client is gone
            self._is_broken = is_last = True
        finally:
            self._waits_since = None
            self.size_bytes += size
        return b"".join(found), is_last

    def _look(self) -> None:
        """Stop reading if nothing has come for too long; else look again."""
        loop = asyncio.get_running_loop()
        if self._waits_since is not None and loop.time() - self._waits_since > _SILENT_S and self._task is not None:
            self._is_silent = True
            self._task.cancel()
        else:
            self._next_look = loop.call_later(_LOOK_EVERY_S, self._look)


def _retrieve(future: asyncio.Future[None]) -> None:
    """Take note of the error of a write that is not waited for any more."""
    if not future.cancelled():
        future.exception()
