"""Messages between the leading process of a crawl and its worker processes: plain records, pickled.

A worker process trusts the process that has started it: no other process has access to its socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.download.records import Fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mediacrawl.download.cookies import CookieChange
    from mediacrawl.download.progress import Progress
    from mediacrawl.download.records import LockedPart, Outcome, TransferRequest
    from mediacrawl.download.transfer_policy import Policy
    from mediacrawl.errors import MediacrawlError
    from mediacrawl.transport.registry import TransportChoice


class WorkerConfig(NamedTuple):
    """To a worker process, as the first message: the store to work on, and the settings."""

    root: Path
    durable: bool
    policy: Policy
    transport: TransportChoice
    threads: int
    limits_connections: bool = False
    ledger: str = ""


class TransferBatch(NamedTuple):
    """To a worker process: fetch these files one after another; begin none after `budget_s` seconds."""

    number: int
    requests: Sequence[TransferRequest]
    budget_s: float


class Release(NamedTuple):
    """To a worker process: release these parts, by number. True marks a part that has received its final name."""

    parts: Sequence[tuple[int, bool]]


class Stop:
    """To a worker process: end all transfers, and keep the bytes received so far."""


class HostPause(NamedTuple):
    """In both directions: a host requires a pause until a time of CLOCK_MONOTONIC. Only the leading process forwards
    this message to other processes, see `HostPauses`.
    """

    host: str
    until: float


class CookieChanged(NamedTuple):
    """In both directions: a cookie of a jar was set or removed, see `Cookies`."""

    jar: int
    change: CookieChange


class ConnectionWanted(NamedTuple):
    """From a worker process: a request for one more connection to a host, see `connection_limits.Limit.ask`."""

    host: str
    wait: bool


class ConnectionsFree(NamedTuple):
    """From a worker process: this number of permits for connections to a host is no longer needed."""

    host: str
    permits: int


class ConnectionGranted(NamedTuple):
    """To a worker process: one more connection to a host may be open."""

    host: str


class ConnectionDenied(NamedTuple):
    """To a worker process: no further connection to a host may be opened now."""

    host: str


class ConnectionsRecalled(NamedTuple):
    """To a worker process: close this number of connections as soon as they are unused.

    See `transport.connection_limits.Holder.recall`.
    """

    host: str
    permits: int


class Arrived(NamedTuple):
    """From a worker process: the outcomes of the first requests of a batch. A `PartHandle` represents each part."""

    number: int
    outcomes: Sequence[Outcome]


class UnderWay(NamedTuple):
    """From a worker process: the progress of its transfers."""

    active: Sequence[Progress]


class RedirectQuestion(NamedTuple):
    """From a worker process: a query whether a redirect of this request to that URL may be followed."""

    number: int
    request: TransferRequest
    url: str


class RedirectAnswer(NamedTuple):
    """To a worker process: None if the redirect may be followed, or the reason against it.

    The thread that sent the query raises an error it receives.
    """

    number: int
    answer: str | MediacrawlError | None


class PartHandle(NamedTuple):
    """A handle for a part that a worker process holds."""

    number: int
    file: str


class RemotePart:
    """A `LockedPart` of the leading process for a part that a worker process holds."""

    def __init__(self, ticket: PartHandle, release: Callable[[int, bool], None]) -> None:
        self.file = ticket.file
        self._number = ticket.number
        self._release: Callable[[int, bool], None] | None = release

    def published(self) -> bool:
        """Release the published part. Return False: the worker process removes the record, and makes that durable."""
        self._release_part(is_published=True)
        return False

    def close(self) -> None:
        self._release_part(is_published=False)

    def _release_part(self, *, is_published: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(self._number, is_published)


def with_part(outcome: Outcome, exchange: Callable[[Any], LockedPart]) -> Outcome:
    """Return the outcome with its part exchanged for the result of `exchange`."""
    if isinstance(outcome, Fetched) and outcome.part is not None:
        return outcome._replace(part=exchange(outcome.part))
    return outcome
