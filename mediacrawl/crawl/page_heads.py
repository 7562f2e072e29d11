"""A limit for the heads of pages, as that of media.

A handler of Scrapy (2.19) limits the length of a line, but not the number of lines, nor that of interim responses: a
head without end would take memory until the time limit of the page. Its handler for HTTP/2 limits neither interim
responses nor frames such as PING, to each of which it responds.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool, ResponseFailed

from mediacrawl.transport.fields import InvalidHead
from mediacrawl.transport.head import MAX_HEAD_BYTES, MAX_LINES, too_large, too_many_lines

_HTTP2 = "scrapy.core._http2.agent"
# Events of h2 that bring a page further. Others are interim responses, PING, SETTINGS, PRIORITY, WINDOW_UPDATE.
_PROGRESS = {"ResponseReceived", "DataReceived", "TrailersReceived", "StreamEnded", "StreamReset"}
_WITHIN_HEAD = {"STATUS", "HEADER"}  # states of the parser of Twisted


def limit_heads(handler: Any) -> None:
    """Have a download handler of Scrapy refuse heads that are larger than those of media may be.

    Repeated calls change nothing. The handler for HTTP/2 limits the size of a head, but not its frames.
    """
    pool: Any = getattr(handler, "_pool", None)
    if isinstance(pool, HTTPConnectionPool) and not isinstance(pool._factory, _LimitedFactory):  # noqa: SLF001
        pool._factory = _LimitedFactory(pool._factory)  # type: ignore[assignment]  # noqa: SLF001
    elif type(pool).__module__ == _HTTP2 and not isinstance(pool.put_connection, _LimitedConnections):
        pool.put_connection = _LimitedConnections(pool.put_connection)


def invalid_head(error: Exception) -> InvalidHead | None:
    """Return the error of a head that was refused, if it is the reason of an error of Scrapy."""
    cause = error.__cause__
    reasons = cause.reasons if isinstance(cause, ResponseFailed) else ()
    errors = (getattr(one, "value", one) for one in reasons)  # the handler for HTTP/2 gives no failures of Twisted
    return next((one for one in errors if isinstance(one, InvalidHead)), None)


class _LimitedFactory:
    """A maker of the factories of a pool, whose connections limit heads."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        factory = self._make(*arguments)
        build = factory.buildProtocol

        def build_limited(address: Any) -> Any:
            protocol = build(address)
            protocol.dataReceived = _LimitedHead(protocol)
            return protocol

        factory.buildProtocol = build_limited
        return factory


class _LimitedHead:
    """The method `dataReceived` of a connection of Twisted, which counts the bytes and lines of a head.

    Interim responses count as a part of the head of the final response.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._receive = protocol.dataReceived
        self._parser: Any = None  # one for each response
        self._size_bytes = self._lines = 0

    def __call__(self, data: bytes) -> None:
        parser = self._protocol._parser  # noqa: SLF001
        if parser is not self._parser:
            self._parser, self._size_bytes, self._lines = parser, 0, 0
        self._receive(data)
        if self._protocol._parser is not parser or getattr(parser, "state", "") not in _WITHIN_HEAD:  # noqa: SLF001
            return
        self._size_bytes += len(data)
        self._lines += data.count(b"\n")
        if self._size_bytes > MAX_HEAD_BYTES or self._lines > MAX_LINES:
            error = too_many_lines() if self._lines > MAX_LINES else too_large()
            self._protocol._giveUp(Failure(error))  # noqa: SLF001


class _LimitedConnections:
    """The method `put_connection` of a pool of HTTP/2, whose connections are given up if nothing but frames comes."""

    def __init__(self, put: Any) -> None:
        self._put = put

    def __call__(self, connection: Any, key: Any) -> Any:
        if not isinstance(connection._handle_events, _LimitedEvents):  # noqa: SLF001
            connection._handle_events = _LimitedEvents(connection)  # noqa: SLF001
        return self._put(connection, key)


class _LimitedEvents:
    """The method `_handle_events` of a connection of HTTP/2, which counts events that bring no page further."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._handle = connection._handle_events  # noqa: SLF001
        self._others = 0  # since the last progress

    def __call__(self, events: Any) -> None:
        if self._others > MAX_LINES:  # given up
            return
        for event in events:
            brings = type(event).__name__ in _PROGRESS and getattr(event, "data", b"x") != b""
            self._others = 0 if brings else self._others + 1
        if self._others > MAX_LINES:
            error = InvalidHead(f"more than {MAX_LINES:,} frames have come that are no part of a page")
            self._connection._conn_lost_errors.append(error)  # noqa: SLF001
            self._connection.transport.abortConnection()
        else:
            self._handle(events)
