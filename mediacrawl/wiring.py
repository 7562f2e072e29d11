"""The one place that builds store, ledger and downloader out of settings."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from mediacrawl.archive import Archive, Change
from mediacrawl.batcher import Batcher
from mediacrawl.download.connections import ConnectionLimit, HostConnections
from mediacrawl.download.downloader import Downloader
from mediacrawl.download.policy import Policy
from mediacrawl.download.pool import TransferPool
from mediacrawl.download.retry import Backoff, HostPauses
from mediacrawl.download.segments import SegmentPolicy
from mediacrawl.download.transports import TransportChoice, make_transport
from mediacrawl.errors import StoreUnwritable, UsageProblem
from mediacrawl.refetch import DAY_S, RefetchPolicy
from mediacrawl.store.limits import allow_many_files
from mediacrawl.store.local import LocalStore
from mediacrawl.workers.transfers import WORKERS_FROM, Transfers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.exchange import MayFollow
    from mediacrawl.ledger.ledger import Entry
    from mediacrawl.workers.pool import WorkerPool

DEFAULT_STORE = "downloads"


class Settings(Protocol):
    """Scrapy's settings, or any mapping."""

    def get(self, name: str, default: Any, /) -> Any:
        """The value of a setting: text, from a command line."""


class Works:
    """Everything below Scrapy, running: threads, files, connections.

    Attributes:
        archive: store and ledger.
        questions: asks `archive.known` for many keys at once.
        changes: carries out `archive.write` for many changes at once.
        pool: the transfers.
    """

    def __init__(
        self,
        settings: Settings,
        store: LocalStore,
        files: float = math.inf,
        pauses: HostPauses | None = None,
        limit: ConnectionLimit | None = None,
    ) -> None:
        """Where no more than so many files can come, there are no workers.

        A host that asks one for quiet has asked all: threads, workers, and all others that have these `pauses`. They
        share the connections that `limit` allows to a host, too.

        Raises `MachineError` if the store cannot be used, `UsageProblem` for a setting that makes no sense.
        """
        policy, concurrent = policy_of(settings), math.ceil(positive(settings, "MEDIACRAWL_CONCURRENT_TRANSFERS", 16))
        choice = transport_of(settings)
        allow_many_files()
        self.transport = make_transport(choice)
        self.archive = Archive.open(store)
        self._limit = limit or connection_limit_of(settings)
        self.downloader = Downloader(
            store,
            self.transport,
            policy,
            pauses=pauses or HostPauses(),
            connections=HostConnections(self._limit, self.transport.close_idle),
            brought=self.archive.brought,
        )
        self.concurrent = concurrent
        processes = min(int(number(settings, "MEDIACRAWL_PROCESSES", 2)), concurrent)
        workers = self._workers(policy, choice, processes) if processes and files > WORKERS_FROM else None
        self.pool = Transfers(TransferPool(self.downloader, concurrent), workers)
        self.questions: Batcher[str, Entry | None] = Batcher("ledger-questions", self.archive.known)
        self.changes: Batcher[Change, Entry] = Batcher("ledger-changes", self._write)

    def _workers(self, policy: Policy, choice: TransportChoice, processes: int) -> WorkerPool:
        from mediacrawl.workers.messages import Setup  # noqa: PLC0415 - a tenth of all that `get` has to import
        from mediacrawl.workers.pool import WorkerPool  # noqa: PLC0415

        store = self.archive.store
        share = policy._replace(per_host=math.ceil(policy.per_host / processes))
        threads = math.ceil(self.concurrent / processes)
        setup = Setup(store.root, store.parts.durable, share, choice, threads, self._limit is not None)
        return WorkerPool(setup, processes, self.downloader.pauses, self._limit)

    def ask_before_redirects(self, may_follow: MayFollow) -> None:
        """Threads and workers follow redirects only to where this lets them."""
        self.downloader.may_follow = may_follow
        if self.pool.workers is not None:
            self.pool.workers.may_follow = may_follow

    def _write(self, changes: Sequence[Change]) -> list[Entry | Exception]:
        try:
            return self.archive.write(changes)
        finally:
            self.pool.flush()

    def hand_over(self) -> None:
        """What the loop has asked or told goes on its way now. By the loop, before another thread calls `close`."""
        self.questions.hand_over()
        self.changes.hand_over()

    def close(self) -> None:
        """Stop transfers, carry out what is queued, close the ledger. Blocks, but not for ever: not for the loop.

        Raises:
            StoreUnwritable: the ledger does not come to an end. All else is closed.
        """
        try:
            with ExitStack() as stack:  # each of these is closed, the last one first, whatever the others raise
                stack.callback(self.transport.close)
                stack.callback(self.archive.close)
                stack.callback(self.pool.close)
                stack.callback(self.changes.close)
                stack.callback(self.questions.close)
                stack.callback(self.pool.end)
        except TimeoutError as error:
            raise StoreUnwritable(
                f"the ledger of {self.archive.store.root} does not answer: {error}; run the same command again"
            ) from None


def store_of(uri: str, *, durable: bool = True) -> LocalStore:
    """The store that a `FILES_STORE` names; nothing is created yet."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        raise UsageProblem(f"FILES_STORE={uri}: only a folder on this machine can be a store, not {scheme}://")
    return LocalStore(rest if separator else uri, durable=durable)


def connection_limit_of(settings: Settings, at_least: int = 0) -> ConnectionLimit | None:
    """The connections that may be open to each host, `at_least` so many; None where they are not limited."""
    limit = int(number(settings, "CONCURRENT_REQUESTS_PER_DOMAIN"))
    return ConnectionLimit(max(limit, at_least)) if limit else None


def refetch_policy_of(settings: Settings) -> RefetchPolicy:
    """When to ask again for what is there, or has failed for good."""
    return RefetchPolicy(
        whole(settings, "FILES_EXPIRES", 90) * DAY_S,
        number(settings, "MEDIACRAWL_RETRY_PERMANENT_DAYS", 30.0) * DAY_S,
    )


def policy_of(settings: Settings) -> Policy:
    """How to fetch. More than one connection for a file only where no delay between requests is asked for."""
    polite = number(settings, "DOWNLOAD_DELAY") > 0 or flag(settings, "AUTOTHROTTLE_ENABLED")
    connections = 1 if polite else math.ceil(positive(settings, "MEDIACRAWL_CONNECTIONS_PER_FILE", 4))
    return Policy(
        stall_s=positive(settings, "MEDIACRAWL_STALL_S", 30.0),
        stall_bytes=int(number(settings, "MEDIACRAWL_STALL_BYTES", 1024)),
        max_bytes=int(number(settings, "DOWNLOAD_MAXSIZE")),
        backoff=Backoff(
            times=int(number(settings, "MEDIACRAWL_RETRY_TIMES", 4)),
            base_s=number(settings, "MEDIACRAWL_BACKOFF_S", 0.5),
            max_s=number(settings, "MEDIACRAWL_BACKOFF_MAX_S", 60.0),
            max_retry_after_s=number(settings, "MEDIACRAWL_RETRY_AFTER_MAX_S", 300.0),
        ),
        segments=SegmentPolicy(
            connections,
            from_bytes=int(number(settings, "MEDIACRAWL_SEGMENT_FROM_BYTES", 32 * 1024 * 1024)),
            measure_s=number(settings, "MEDIACRAWL_SEGMENT_AFTER_S", 2.0),
        ),
        per_host=int(number(settings, "CONCURRENT_REQUESTS_PER_DOMAIN")),
        sha256=flag(settings, "MEDIACRAWL_SHA256", default=True),
    )


def number(settings: Settings, name: str, default: float = 0) -> float:
    """A setting that cannot be less than 0. Raises `UsageProblem` with its name for anything else."""
    given = settings.get(name, default)
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise UsageProblem(f"{name}={given}: not a number") from None
    if not 0 <= value < math.inf:
        raise UsageProblem(f"{name}={value:g} must be 0 or more")
    return value


def whole(settings: Settings, name: str, default: int) -> int:
    """The same, written without a fraction: Scrapy reads it with `int`, which refuses even `5.0`."""
    value, given = number(settings, name, default), settings.get(name, default)
    try:
        if int(given) == value:
            return int(given)
    except ValueError:
        pass
    raise UsageProblem(f"{name}={given} must be a whole number")


def positive(settings: Settings, name: str, default: float) -> float:
    """The same, and 0 makes no sense either."""
    value = number(settings, name, default)
    if value == 0:
        raise UsageProblem(f"{name}={value:g} must be more than 0")
    return value


def flag(settings: Settings, name: str, *, default: bool = False) -> bool:
    """A setting that is on or off, read as Scrapy reads it. Raises `UsageProblem` with its name for anything else."""
    given = settings.get(name, default)
    try:
        return {None: False, "True": True, "true": True, "False": False, "false": False}[given]
    except (KeyError, TypeError):
        pass
    try:
        return bool(int(given))
    except (TypeError, ValueError):
        raise UsageProblem(f"{name}={given}: give True or False") from None


def transport_of(settings: Settings) -> TransportChoice:
    """Which transport, and how. Raises `UsageProblem` for one that is not known."""
    factory = settings.get("MEDIACRAWL_SESSION_FACTORY", None) or ""
    path = factory if isinstance(factory, str) else f"{factory.__module__}.{factory.__qualname__}"
    return TransportChoice(
        settings.get("MEDIACRAWL_TRANSPORT", None) or "requests",
        session_factory=path,
        verify=_verify(settings),
        block_private=flag(settings, "MEDIACRAWL_BLOCK_PRIVATE"),
    )


def _verify(settings: Settings) -> bool | str:
    """True, False, or the path of a bundle of certificates."""
    value = settings.get("MEDIACRAWL_VERIFY_TLS", True)
    if isinstance(value, str) and value.lower() not in {"true", "false", "1", "0", ""}:
        return value
    return flag(settings, "MEDIACRAWL_VERIFY_TLS", default=True)
