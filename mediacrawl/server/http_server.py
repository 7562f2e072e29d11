"""An RSGI server on aiohttp, which calls the application from one thread.

RSGI is the interface between a server and an application, as granian has defined it:
https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from mediacrawl.server.http_exchange import Exchange, Scope
from mediacrawl.server.loop_threads import ServerThreads
from mediacrawl.server.turns import drop_values

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from aiohttp.web import BaseRequest

logger = logging.getLogger(__name__)

HEAD_WITHIN_S = 30.0
"""A connection is closed if the head of a request takes longer, or the next one comes later."""

_MOST_HEAD_BYTES = 64 * 1024  # of one line: the application knows its own limits
_READ_AHEAD_BYTES = 256 * 1024  # of a content; up to twice as many are in memory
_READ_AWAY_WITHIN_S = 2.0  # of content that the application has not read, so that its client reads the response
_HANDSHAKE_WITHIN_S = 20.0
_ENDED_WITHIN_S = 3.0  # the time that clients have to read their responses when the server ends
_ABORTED_WITHIN_S = 1.0
_MOST_AT_ONCE = 100  # connections that are accepted before others are read
_PAUSE_S = 1.0  # after no connection could be accepted


async def serve_http(
    application: Any, listener: socket.socket, *, most_connections: int, tls: ssl.SSLContext | None = None
) -> None:
    """Serve an application until SIGTERM or SIGINT comes.

    Args:
        application: an RSGI application. `__rsgi_init__` and `__rsgi_del__` are called if it has them.
        listener: a socket that listens; it is closed at the end.
        most_connections: further clients wait until one of the others has gone.
        tls: for connections by TLS.
    """
    loop = asyncio.get_running_loop()
    is_over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_over.set)
    getattr(application, "__rsgi_init__", lambda _: None)(loop)
    with ServerThreads() as threads:
        server = _Server(application, threads, tls)
        server.listen(listener, most_connections)
        await is_over.wait()
        await server.end(_ENDED_WITHIN_S)
        getattr(application, "__rsgi_del__", lambda _: None)(loop)


class _Server:
    """The connections of a server."""

    def __init__(self, application: Any, threads: ServerThreads, tls: ssl.SSLContext | None) -> None:
        self._application = application
        self._threads = threads
        self._tls = tls
        self._server = web.Server(self._respond, access_log=None)
        self._handshakes: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._most = self._open = 0  # connections
        self._none_is_open = asyncio.Event()

    def listen(self, listener: socket.socket, most: int) -> None:
        """Accept connections, at most so many at a time: further clients wait."""
        listener.setblocking(False)
        self._listener, self._most = listener, most
        self._watch()

    def _watch(self) -> None:
        if self._listener is not None and self._open < self._most:
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_AT_ONCE):
            try:
                connected, _address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):  # there is none, or the client is gone already
                return
            except OSError as error:  # too many files are open
                logger.error("cannot accept a connection: %s", error.strerror or error)
                loop.remove_reader(listener)
                loop.call_later(_PAUSE_S, self._watch)
                return
            self._open += 1
            self._none_is_open.clear()
            task = loop.create_task(self._connect(connected))
            self._handshakes.add(task)
            task.add_done_callback(partial(self._end_handshake, connected))
            if self._open >= self._most:
                loop.remove_reader(listener)
                return

    async def _connect(self, connected: socket.socket) -> None:
        """Make the handshake of TLS, if there is TLS, and serve the connection, until it is lost."""
        within_s = None if self._tls is None else _HANDSHAKE_WITHIN_S
        connected.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(
            partial(_Connection, self._server, self._leave), connected, ssl=self._tls, ssl_handshake_timeout=within_s
        )

    def _end_handshake(self, connected: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        if task.cancelled() or task.exception() is not None:
            connected.close()
            self._leave()

    def _leave(self) -> None:
        """Give the place of a connection to the next client."""
        self._open -= 1
        self._watch()
        if not self._open:
            self._none_is_open.set()

    async def _respond(self, request: BaseRequest) -> web.StreamResponse:
        exchange = Exchange(request, self._threads, is_secure=self._tls is not None)
        assert isinstance(request.protocol, _Connection)
        request.protocol.begin_exchange(exchange)
        try:
            await self._application.__rsgi__(Scope(request, is_secure=self._tls is not None), exchange)
        except Exception:
            if exchange.response is None or not exchange.response.is_begun:
                raise
            logger.exception("the application has failed, and its response may not be whole")
        if exchange.response is None:
            raise RuntimeError("the application has sent no response")
        return cast("web.StreamResponse", exchange.response)

    async def end(self, within_s: float) -> None:
        """Close idle connections at once, and the others when their responses are sent, or this time is over."""
        self._stop_listening()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        self._server.pre_shutdown()
        self._abort(lambda connection: not connection.is_responding)
        await self._wait_for_end(within_s)
        self._abort(lambda _: True)
        await self._wait_for_end(_ABORTED_WITHIN_S)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        self._listener = None

    def _abort(self, is_meant: Callable[[_Connection], bool]) -> None:
        for connection in self._server.connections:
            assert isinstance(connection, _Connection)
            if is_meant(connection) and connection.transport is not None:
                connection.transport.abort()

    async def _wait_for_end(self, within_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s if self._open else 0):
                await self._none_is_open.wait()


class _Connection(web.RequestHandler):
    """A connection, as aiohttp knows it, with what this server adds.

    Attributes:
        exchange: that of the request to which the response is being made; None before the first.
    """

    __slots__ = ("_at_end", "exchange")

    def __init__(self, server: web.Server, at_end: Any) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=HEAD_WITHIN_S,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=_MOST_HEAD_BYTES,
            max_field_size=_MOST_HEAD_BYTES,
            read_bufsize=_READ_AHEAD_BYTES,
            lingering_time=_READ_AWAY_WITHIN_S,
            auto_decompress=False,
        )
        self._at_end = at_end
        self.exchange: Exchange | None = None

    def begin_exchange(self, exchange: Exchange) -> None:
        """Note the exchange of the request that has come."""
        self.exchange = exchange

    @property
    def is_responding(self) -> bool:
        """Whether a response is being made or sent."""
        return self.exchange is not None and not self.exchange.is_over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have each write that does not fit into the buffer of the system wait until it does."""
        assert isinstance(transport, asyncio.Transport)
        is_secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if is_secure else 0, low=0)  # with TLS, 0 would always be reached
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Have the request that these bytes end get no value that was read before they came."""
        drop_values()
        super().data_received(data)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a request that is not HTTP, or that the application has failed at."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("the application has failed at a request", exc_info=exc)
        exchange = Exchange(request, None, is_secure=False)
        self.begin_exchange(exchange)
        said = "The server has failed." if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "The request is not valid."
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
        exchange.response_bytes(status, headers, said.encode())
        return cast("web.StreamResponse", exchange.response)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the response that nobody reads it any more."""
        if self.exchange is not None:
            self.exchange.lose_connection()
        super().connection_lost(exc)
        self._at_end()
