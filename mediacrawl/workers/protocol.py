"""What a crawl and its worker processes say to each other: plain records, pickled, in both directions.

A worker trusts the process that has started it, and nobody else has its socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.download.records import Fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mediacrawl.download.policy import Policy
    from mediacrawl.download.progress import Progress
    from mediacrawl.download.records import LockedPart, Outcome, TransferRequest
    from mediacrawl.errors import MediacrawlError
    from mediacrawl.transport.registry import TransportChoice


class WorkerConfig(NamedTuple):
    """To a worker, first: what it is to work on, and how."""

    root: Path
    durable: bool
    policy: Policy
    transport: TransportChoice
    threads: int
    limits_connections: bool = False
    ledger: str = ""


class TransferBatch(NamedTuple):
    """To a worker: fetch these one after another, for at most so many seconds."""

    number: int
    requests: Sequence[TransferRequest]
    budget_s: float


class Release(NamedTuple):
    """To a worker: these parts have their names (True), or are to be let go of."""

    parts: Sequence[tuple[int, bool]]


class Stop:
    """To a worker: end all transfers, keeping what has arrived."""


class HostPause(NamedTuple):
    """In both directions: a host asked for quiet until a time of CLOCK_MONOTONIC. A receiver never tells it onward,
    but for the process that leads the others: see `HostPauses`.
    """

    host: str
    until: float


class ConnectionWanted(NamedTuple):
    """From a worker: it wants to open one more connection to a host, see `connections.Limit.ask`."""

    host: str
    wait: bool


class ConnectionsFree(NamedTuple):
    """From a worker: it has closed so many connections to a host for good."""

    host: str
    permits: int


class ConnectionGranted(NamedTuple):
    """To a worker: one more connection to a host may be open."""

    host: str


class ConnectionDenied(NamedTuple):
    """To a worker: there is none now."""

    host: str


class ConnectionsRecalled(NamedTuple):
    """To a worker: so many are to be closed as soon as they are not used, see `connections.Holder.recall`."""

    host: str
    permits: int


class Arrived(NamedTuple):
    """From a worker: what came of the first requests of a batch. Parts are tickets."""

    number: int
    outcomes: Sequence[Outcome]


class UnderWay(NamedTuple):
    """From a worker: how far its transfers are."""

    active: Sequence[Progress]


class RedirectQuestion(NamedTuple):
    """From a worker: whether a redirect of this request may be followed to that URL."""

    number: int
    request: TransferRequest
    url: str


class RedirectAnswer(NamedTuple):
    """To a worker: None, or why not; an error is raised by who asked."""

    number: int
    answer: str | MediacrawlError | None


class PartHandle(NamedTuple):
    """Stands for a part that a worker holds."""

    number: int
    file: str


class RemotePart:
    """A part that a worker holds, as the crawl sees it: a `LockedPart`."""

    def __init__(self, ticket: PartHandle, release: Callable[[int, bool], None]) -> None:
        self.file = ticket.file
        self._number = ticket.number
        self._release: Callable[[int, bool], None] | None = release

    def published(self) -> bool:
        """False: the worker removes the record, and makes that durable."""
        self._release_part(is_published=True)
        return False

    def close(self) -> None:
        self._release_part(is_published=False)

    def _release_part(self, *, is_published: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(self._number, is_published)


def with_part(outcome: Outcome, exchange: Callable[[Any], LockedPart]) -> Outcome:
    """The same outcome with another stand-in for its part."""
    if isinstance(outcome, Fetched) and outcome.part is not None:
        return outcome._replace(part=exchange(outcome.part))
    return outcome
