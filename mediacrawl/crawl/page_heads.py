"""A limit for the heads of pages, as that of media.

A handler of Scrapy (2.19) limits the length of a line, but not the number of lines, nor that of interim responses: a
head without end would take memory until the time limit of the page.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool, ResponseFailed

from mediacrawl.transport.fields import InvalidHead
from mediacrawl.transport.head import MAX_HEAD_BYTES, MAX_LINES, too_large, too_many_lines

_WITHIN_HEAD = {"STATUS", "HEADER"}  # states of the parser of Twisted


def limit_heads(handler: Any) -> None:
    """Have a download handler of Scrapy refuse heads that are larger than those of media may be.

    Repeated calls change nothing. The handler for HTTP/2 has a limit of its own.
    """
    pool: Any = getattr(handler, "_pool", None)
    if isinstance(pool, HTTPConnectionPool) and not isinstance(pool._factory, _LimitedFactory):  # noqa: SLF001
        pool._factory = _LimitedFactory(pool._factory)  # type: ignore[assignment]  # noqa: SLF001


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
