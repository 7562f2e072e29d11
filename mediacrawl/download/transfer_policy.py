"""The transfer settings that are common to all transfers of a crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.download.retry import Backoff
from mediacrawl.download.segments import SegmentPolicy
from mediacrawl.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable


class Policy(NamedTuple):
    """The transfer settings, the same for all transfers of a crawl.

    Attributes:
        stall_s: the window in which at least `stall_bytes` must be received; also the timeout without any byte.
        stall_bytes: if fewer bytes are received in a window, the transfer reconnects.
        max_bytes: a larger file is refused and its part removed; 0 means no limit.
        segments: when a large file is fetched over several connections.
        per_host: the number of connections to a host beyond which no file opens a further one; 0 means no limit.
        sha256: hash each file; if False, only promised digests are computed.
        check_content: refuse a document where media is wanted, see `content_family`.
        netrc: send the credentials of a .netrc file to the hosts that it names.
    """

    stall_s: float = 30.0
    stall_bytes: int = 1
    max_bytes: int = 0
    backoff: Backoff = Backoff()
    segments: SegmentPolicy = SegmentPolicy()
    per_host: int = 0
    sha256: bool = True
    check_content: bool = True
    netrc: bool = False


class Stall:
    """A detector of connections that receive bytes, but too few."""

    def __init__(self, policy: Policy, url: str, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._url = url
        self._clock = clock
        self._since = clock()
        self._bytes = 0

    def seen(self, new_bytes: int) -> None:
        """Count received bytes. Raise `ConnectionLost` at the end of a window with fewer bytes than the minimum."""
        self._bytes += new_bytes
        now = self._clock()
        if now - self._since < self._policy.stall_s:
            return
        if self._bytes < self._policy.stall_bytes:
            raise ConnectionLost(
                self._url, f"stalled: {self._bytes} bytes in {self._policy.stall_s:g} s, reconnecting"
            )
        self._since, self._bytes = now, 0
