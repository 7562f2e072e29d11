"""A pipe that feeds a response of an RSGI server, which reads no faster than its client does."""

from __future__ import annotations

import asyncio
import os

OPENED_WITHIN_S = 20.0  # of a client that is gone, the pipe is never opened


class ResponsePipe:
    """A pipe whose read end another part of the process opens by its path.

    Attributes:
        path: of the read end.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self.path = f"/dev/fd/{self._reader}"
        self._is_read = False
        os.set_blocking(self._writer, False)

    async def write(self, data: bytes) -> None:
        """Write all bytes, as they are read.

        Raises:
            BrokenPipeError: there is no reader any more.
            TimeoutError: there has been no reader at all.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._writer, rest) :]
            except BlockingIOError:
                await self._writable()

    async def _writable(self) -> None:
        loop, writable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self._writer, writable.set)
        try:
            await asyncio.wait_for(writable.wait(), None if self._is_read else OPENED_WITHIN_S)
        finally:
            loop.remove_writer(self._writer)
        if not self._is_read:  # so another descriptor reads: without this one, its end becomes a BrokenPipeError
            self._is_read = True
            os.close(self._reader)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._writer)
        if not self._is_read:
            os.close(self._reader)
