"""What a transport promises: one GET, the head of its response, and a body in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mediacrawl.transport.permits import Admission


class TransportResponse(Protocol):
    """The head of an answer, and its body while it arrives.

    Attributes:
        headers: lower-case names; repeated ones joined with ", ", but Set-Cookie, whose dates have commas of their
            own, with a line end (RFC 9110 5.3).
    """

    status: int
    reason: str
    url: str
    headers: dict[str, str]

    def blocks(self, *, decode: bool) -> Iterator[bytes]:
        """The body as it arrives, each block as soon as the system has it.

        Raises:
            ConnectionLost: broken, silent for longer than the timeout, or shorter than Content-Length.
        """
        ...

    def at_hand(self, size_bytes: int) -> bytes | None:
        """The whole body as it was sent, if it has so many bytes and all are here already, else None, and `blocks`
        gives them. Does not block.
        """
        ...

    def splice(self, pipe: int, at_most: int) -> int | None:
        """Move what is there of the body into an empty pipe, without looking at it; after the first of its blocks.

        Returns:
            How many bytes; None where this cannot be done, and then `blocks` goes on.

        Raises:
            ConnectionLost: as `blocks`.
        """
        ...

    def abort(self) -> None:
        """Wake up a thread that reads; from any thread."""
        ...

    def close(self) -> bool:
        """Give the connection back if the body was read to its end, close it otherwise. Again does nothing.

        Returns:
            Whether the connection was closed in the middle of the answer, so that the server does not expect it.
        """
        ...


class Transport(Protocol):
    """One GET."""

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        timeout_s: float,
        admission: Admission | None = None,
    ) -> TransportResponse:
        """Send, and read the head. A connection opens only as `admission` lets it.

        Raises:
            ConnectError, ConnectionLost: with the reason in a few words.
            NoPermit, HostPaused: nothing was sent, see `connections`.
        """
        ...

    def close_idle(self, host: str, idle_s: float) -> bool:
        """Close a connection to a host that has been idle for so long; whether there was one. Does not block; from
        any thread.
        """
        ...

    def abort(self) -> None:
        """Wake up threads that wait for a head; from any thread."""
        ...

    def close(self) -> None: ...
