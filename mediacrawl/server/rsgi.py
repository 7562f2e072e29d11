"""The files of a store under RSGI, the interface of granian, and of `http_server`.

https://github.com/emmett-framework/granian

A stalled client must not cost memory. granian queues without limit what an application streams (`send_bytes`), but
reads the files that it opens itself only as the client takes them. So the server is given a path for everything that
is not small: of the file for a single range, and else of a pipe.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mediacrawl.server.descriptors import DescriptorCache
from mediacrawl.server.ranges import PlannedResponse, Span, body_length
from mediacrawl.server.response_pipe import ResponsePipe
from mediacrawl.server.site import NOT_ALLOWED, NOT_FOUND, ResourceRequest, StoreSite, blocks, read_blocks
from mediacrawl.server.turns import TurnCache

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from mediacrawl.server.files import OpenFile

logger = logging.getLogger(__name__)

_SMALL_BYTES = 64 * 1024  # as much as a pipe holds: a larger body fills the pipe before it has a reader
_DISK_THREADS = 8


async def _allow(_request: ResourceRequest) -> None:
    """Let everybody read every file."""


class RsgiFiles:
    """An RSGI application that serves the files of a store, for reading. One instance serves one event loop."""

    def __init__(
        self,
        site: StoreSite,
        refuse: Callable[[ResourceRequest], Awaitable[PlannedResponse | None]] = _allow,
        *,
        most_open: int = 512,
    ) -> None:
        """Serve a site.

        Args:
            site: the store; closed by the caller.
            refuse: returns the response to a request that may not be fulfilled, None if it may. By default, everybody
                may read every file.
            most_open: the number of files that are kept open.
        """
        self.site = site
        self._refuse = refuse
        self._open = DescriptorCache(site.files, TurnCache(site.files.identity).get, most=most_open)
        self._disk = ThreadPoolExecutor(_DISK_THREADS, "disk")

    def close(self) -> None:
        """Close the files that are kept open, and end the threads. The site stays open."""
        self._open.close()
        self._disk.shutdown()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Respond to a request."""
        if scope.proto != "http":
            return
        fields = fields_of_scope(scope)
        request = ResourceRequest(scope.method, scope.path.removeprefix("/"), fields.get)
        if (refusal := await self.respond(request, protocol)) is not None:
            send_planned(protocol, request.method, refusal)

    async def respond(self, request: ResourceRequest, protocol: Any) -> PlannedResponse | None:
        """Send a file by the protocol of RSGI, or return the response, not sent, to a request that gets none."""
        refusal = NOT_ALLOWED if request.method not in {"GET", "HEAD"} else await self._refuse(request)
        if refusal is not None:
            return refusal
        try:
            if (file := self._open.get(request.path)) is None:
                return NOT_FOUND
            await self._send_file(request, file, protocol)
        except OSError as error:
            return self.site.unavailable(request, error)
        return None

    async def _send_file(self, request: ResourceRequest, file: OpenFile, protocol: Any) -> None:
        response = self.site.respond(request, file, self.site.digests.look_up(file))
        is_small = body_length(response.body) <= _SMALL_BYTES
        if is_small and (body := _cached(file, response)) is not None:
            send_planned(protocol, request.method, response._replace(body=(body,)))
        elif (span := response.only_span) is not None and (path := self._open.hand_out(file)) is not None:
            protocol.response_file_range(response.status, response.headers, path, span.start, span.stop)
        elif is_small:
            with file.duplicate() as read:
                content = await self._off_loop(list, read_blocks(read, response.body))
            send_planned(protocol, request.method, response._replace(body=tuple(content)))
        else:
            await self._send_through_pipe(protocol, file, response)

    async def _send_through_pipe(self, protocol: Any, file: OpenFile, response: PlannedResponse) -> None:
        with file.duplicate() as read:
            pipe = ResponsePipe()
            try:
                protocol.response_file(response.status, response.headers, pipe.path)
                for block in blocks(response.body):
                    if isinstance(block, Span):
                        start = block.start
                        while start < block.stop:
                            data = await self._off_loop(read.read, start, block.stop - start)
                            await pipe.write(data)
                            start += len(data)
                    else:
                        await pipe.write(block)
            except (BrokenPipeError, TimeoutError):
                pass  # the client is gone
            except OSError as error:  # the response is broken off, as the pipe ends early
                logger.error("cannot read %r: %s", file.path, error.strerror or error)
            finally:
                pipe.close()

    def _off_loop(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._disk, function, *arguments)


def _cached(file: OpenFile, response: PlannedResponse) -> bytes | None:
    """Return a small body without waiting for the disk; None if it is not in memory."""
    parts = [
        file.read_cached(part.start, part.stop - part.start) if isinstance(part, Span) else part
        for part in response.body
    ]
    return None if None in parts else b"".join(part for part in parts if part is not None)


def fields_of_scope(scope: Any) -> dict[str, str]:
    """Return the fields of a request; lines of one name are joined by commas, those of Cookie as RFC 6265 5.4 has it.

    A value that is not visible ASCII becomes one that no parser accepts: the field is not missing.
    """
    headers = scope.headers
    found: dict[str, str] = {}
    for name, value in headers.items():
        if name in found:
            separator = "; " if name == "cookie" else ", "
            found[name] = f"{found[name]}{separator}{value}"
        else:
            found[name] = value
    if len(found) != len(headers):
        found = dict.fromkeys(headers.keys(), "\x00") | found
    return found


def send_planned(protocol: Any, method: str, response: PlannedResponse) -> None:
    """Send a response that needs no file."""
    body = b"".join(part for part in response.body if isinstance(part, bytes))
    if body and method != "HEAD":
        protocol.response_bytes(response.status, response.headers, body)
    else:
        protocol.response_empty(response.status, response.headers)


def rsgi_app(
    root: str | os.PathLike[str],
    *,
    ledger: str = "",
    refuse: Callable[[ResourceRequest], Awaitable[PlannedResponse | None]] = _allow,
) -> RsgiFiles:
    """Return an application that serves the files of a store, for reading.

    Args:
        root: the folder of the store.
        ledger: the URL of the ledger; by default, the ledger is in the store.
        refuse: as for `RsgiFiles`: by default, everybody may read every file.

    Raises:
        StoreNotWritable: there is no such folder, or it cannot be read.
        ValueError: the path of the folder is empty.
        UsageProblem: the URL of the ledger is of an unknown kind.
    """
    return RsgiFiles(StoreSite(root, ledger=ledger), refuse)
