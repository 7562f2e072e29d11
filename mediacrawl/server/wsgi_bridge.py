"""A WSGI application under RSGI, in a few threads: the pages, which Django makes.

Requests that change something may check a password, which takes long on purpose. They have threads of their own, so
that pages are read meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.server.response_pipe import ResponsePipe
from mediacrawl.server.routing import BROKEN_OFF, FORM_TYPE, PATH_AS_SENT, page_cookies
from mediacrawl.server.rsgi import send_planned
from mediacrawl.server.site import text_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mediacrawl.server.routing import RequestHead, RoutedRequest

logger = logging.getLogger(__name__)

_THREADS = 4  # of each kind
_MOST_WAITING = 64  # requests of each kind, beside those in the threads
_BODY_WITHIN_S = 30.0
_SMALL_BYTES = 64 * 1024  # of a body: forms have less. Few larger ones are in memory at a time
_LARGE_BODIES = 16
_COLLECTED_BYTES = 1024 * 1024  # of a response, before the rest waits for the client
_SAFE = frozenset({"GET", "HEAD"})
_NO_CONTENT = frozenset({204, 304})

_TOO_SLOW = text_response(408, "The content of the request did not arrive in time.", ("Connection", "close"))
_BUSY = text_response(503, "The server is busy. Try again in a few seconds.", ("Retry-After", "5"))
_FAILED = text_response(500, "The server could not make this page. Its log says why.")


class _Made(NamedTuple):
    """The response of the application: what has been collected of its content, and the rest, if there is more."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes
    rest: Iterator[bytes] | None
    close: Callable[[], None]


class WsgiBridge:
    """Run a WSGI application for requests that come by RSGI. One instance serves one event loop."""

    def __init__(
        self, application: Callable[..., Iterable[bytes]], *, prefix: str = "", body_within_s: float = _BODY_WITHIN_S
    ) -> None:
        """Serve an application.

        Args:
            application: called from any thread, for several requests at a time.
            prefix: `SCRIPT_NAME` of the application.
            body_within_s: the content of a request has to arrive in this time.
        """
        self._application = application
        self._prefix = prefix
        self._body_within_s = body_within_s
        self._reading = _Threads("pages")
        self._changing = _Threads("forms")
        self._large_bodies = asyncio.Semaphore(_LARGE_BODIES)

    def close(self) -> None:
        """End the threads. Requests that wait are dropped."""
        self._reading.close()
        self._changing.close()

    async def respond(self, head: RequestHead, route: RoutedRequest, protocol: Any) -> None:
        """Read the content of a request, and send the response of the application."""
        threads = self._reading if head.method in _SAFE else self._changing
        if threads.are_busy:
            send_planned(protocol, head.method, _BUSY)
            return
        try:
            if route.length > _SMALL_BYTES:
                async with asyncio.timeout(self._body_within_s), self._large_bodies:
                    body = await _read(protocol, route.length)
            else:
                async with asyncio.timeout(self._body_within_s):
                    body = await _read(protocol, route.length)
        except TimeoutError:
            send_planned(protocol, head.method, _TOO_SLOW)
            return
        if len(body) != route.length:
            send_planned(protocol, head.method, BROKEN_OFF)  # though nobody may be there to read it
            return
        if threads.are_busy:  # by now: any number of contents may have been awaited
            send_planned(protocol, head.method, _BUSY)
            return
        await self._send(head, protocol, threads, environ_of(head, route, self._prefix, body))

    async def _send(self, head: RequestHead, protocol: Any, threads: _Threads, environ: dict[str, Any]) -> None:
        try:
            made = await threads.run(self._made, environ)
        except Exception:
            logger.exception("the application has failed")
            send_planned(protocol, head.method, _FAILED)
            return
        if made.rest is not None:
            await _send_through_pipe(protocol, threads, made)
        elif head.method == "HEAD" or made.status in _NO_CONTENT or not made.content:
            protocol.response_empty(made.status, made.headers)
        else:
            protocol.response_bytes(made.status, made.headers, made.content)

    def _made(self, environ: dict[str, Any]) -> _Made:
        """Run the application in this thread, and collect its content, up to a limit."""
        told: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
            told.append((int(status[:3]), headers))

        result = self._application(environ, start_response)
        close = getattr(result, "close", lambda: None)
        try:
            chunks = iter(() if environ["REQUEST_METHOD"] == "HEAD" else result)
            content, is_all = _collect(chunks)
        except BaseException:
            close()
            raise
        if is_all:
            close()
        return _Made(*told[-1], content, None if is_all else chunks, close)


def _collect(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return the beginning of a content, up to a limit, and whether it is all."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) >= _COLLECTED_BYTES:
            return bytes(content), False
    return bytes(content), True


class _Threads:
    """A few threads, and a limit of the requests that wait for one."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, name)
        self._running = 0

    @property
    def are_busy(self) -> bool:
        """Whether so many requests wait that another one would wait for long."""
        return self._running >= _THREADS + _MOST_WAITING

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in one of the threads, and return its result."""
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        finally:
            self._running -= 1

    def close(self) -> None:
        """End the threads once they have ended their requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _read(protocol: Any, length: int) -> bytes:
    """Return the content of a request; it has another length if the client has broken off."""
    body = bytearray()
    if length:
        async for chunk in protocol:
            body += chunk
            if not chunk or len(body) >= length:
                break
    return bytes(body)


async def _send_through_pipe(protocol: Any, threads: _Threads, made: _Made) -> None:
    """Send a large response as fast as the client reads: the application makes a block when the last one is gone."""
    assert made.rest is not None
    pipe = ResponsePipe()
    try:
        protocol.response_file(made.status, made.headers, pipe.path)
        await pipe.write(made.content)
        while (chunk := await threads.run(next, made.rest, None)) is not None:
            await pipe.write(chunk)
    except (BrokenPipeError, TimeoutError):
        pass  # the client is gone
    except Exception:
        logger.exception("the application has failed, and its response is broken off")
    finally:
        pipe.close()
        with suppress(Exception):
            await threads.run(made.close)


def environ_of(head: RequestHead, route: RoutedRequest, prefix: str, body: bytes) -> dict[str, Any]:
    """Return the environment of a request, as PEP 3333 has it.

    The client is the one that `Router` has found, so the fields of proxies are left out. A name with "_" is left out,
    because it could not be told from the same name with "-".
    """
    host, _, port = (route.client.host or "localhost").rpartition(":")
    is_with_port = bool(host) and port.isdecimal()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": prefix,
        "PATH_INFO": route.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        PATH_AS_SENT: route.path,
        "QUERY_STRING": head.query.encode("utf-8", "surrogateescape").decode("latin-1"),
        "SERVER_NAME": host if is_with_port else route.client.host or "localhost",
        "SERVER_PORT": port if is_with_port else {"https": "443"}.get(route.client.scheme, "80"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": route.client.address,
        "CONTENT_LENGTH": str(route.length),
        "CONTENT_TYPE": FORM_TYPE if route.length else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": route.client.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name in head.names:
        if "_" not in name and name not in {"content-length", "content-type"} and not name.startswith("x-forwarded-"):
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = head.field(name)
    if "HTTP_COOKIE" in environ:
        environ["HTTP_COOKIE"] = page_cookies(environ["HTTP_COOKIE"])
    if route.client.host is not None:
        environ["HTTP_HOST"] = route.client.host
    return environ
