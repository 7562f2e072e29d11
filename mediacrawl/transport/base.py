"""The interface of a transport: send a GET request, read the head of its response, and read the body in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mediacrawl.transport.connection_limits import Admission


class TransportResponse(Protocol):
    """The head of a response, and access to its body while the body is received.

    Attributes:
        headers: lower-case names. The values of repeated fields are joined with ", ". The exceptions are Set-Cookie,
            whose values are joined with a line end, since its dates contain commas (RFC 9110 5.3), and fields that
            must have one value: see `fields.combined`.
    """

    status: int
    reason: str
    url: str
    headers: dict[str, str]

    def blocks(self) -> Iterator[bytes]:
        """Yield the body as it was sent, while it is received, each block as soon as the operating system has it.

        Raises:
            ConnectionLost: the connection broke, no byte was received for longer than the timeout, or the body is
                shorter than its Content-Length.
        """
        ...

    def at_hand(self, size_bytes: int) -> bytes | None:
        """Return the complete body as it was sent, if it has `size_bytes` bytes and all were received already.

        Return None otherwise; `blocks` then yields the body. Does not block.
        """
        ...

    def splice(self, pipe: int, at_most: int) -> int | None:
        """Move the received bytes of the body into an empty pipe, without reading them into memory.

        Call this only after `blocks` has yielded the first block.

        Returns:
            The number of bytes moved; None where splicing is not possible, and `blocks` yields the rest.

        Raises:
            ConnectionLost: as for `blocks`.
        """
        ...

    def abort(self) -> None:
        """Wake up a thread that is reading the body. May be called from any thread."""
        ...

    def close(self) -> bool:
        """Return the connection to its pool if the body was read to its end; close the connection otherwise.

        A second call has no effect.

        Returns:
            Whether the connection was closed in the middle of the response, so that the server does not expect the
            close.
        """
        ...


class Transport(Protocol):
    """Sends GET requests, each independent of the others."""

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        timeout_s: float,
        admission: Admission | None = None,
    ) -> TransportResponse:
        """Send a GET request and read the head of its response. A connection opens only if `admission` permits it.

        Raises:
            ConnectError, ConnectionLost, InvalidResponse: the request failed; the error carries a short reason.
            NoPermit, HostPaused: nothing was sent, see `connection_limits`.
        """
        ...

    def close_idle(self, host: str, idle_s: float) -> bool:
        """Close a connection to `host` that has been idle for at least `idle_s` seconds.

        Return whether there was an idle connection to close. Does not block. May be called from any thread.
        """
        ...

    def abort(self) -> None:
        """Wake up the threads that wait for the head of a response. May be called from any thread."""
        ...

    def close(self) -> None:
        """Close all idle connections."""
