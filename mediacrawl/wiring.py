"""The one place that builds store, ledger and downloader out of settings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import requests
from scrapy.utils.misc import load_object

from mediacrawl.archive import Archive, Change
from mediacrawl.batcher import Batcher
from mediacrawl.download.downloader import Downloader
from mediacrawl.download.policy import Policy
from mediacrawl.download.pool import TransferPool
from mediacrawl.download.retry import Backoff
from mediacrawl.download.segments import SegmentPolicy
from mediacrawl.download.transport import RequestsTransport
from mediacrawl.errors import UsageProblem
from mediacrawl.store.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.settings import BaseSettings

    from mediacrawl.download.curl import CurlTransport
    from mediacrawl.download.transport import Transport
    from mediacrawl.ledger.ledger import Entry

DEFAULT_STORE = "downloads"


class Works:
    """Everything below Scrapy, running: threads, files, connections.

    Attributes:
        archive: store and ledger.
        questions: asks `archive.known` for many keys at once.
        changes: carries out `archive.write` for many changes at once.
        pool: the transfers.
    """

    def __init__(self, settings: BaseSettings, store: LocalStore) -> None:
        """Raises `MachineError` if the store cannot be used, `UsageProblem` for a setting that makes no sense."""
        policy, concurrent = policy_of(settings), math.ceil(positive(settings, "MEDIACRAWL_CONCURRENT_TRANSFERS", 16))
        self.transport = transport_of(settings)
        self.archive = Archive.open(store)
        self.downloader = Downloader(store, self.transport, policy, is_brought=self.archive.is_brought)
        self.pool = TransferPool(self.downloader, concurrent)
        self.questions: Batcher[str, Entry | None] = Batcher("ledger-questions", self.archive.known)
        self.changes: Batcher[Change, Entry] = Batcher("ledger-changes", self.archive.write)

    def close(self) -> None:
        """Stop transfers, carry out what is queued, close the ledger."""
        self.pool.close()
        self.questions.close()
        self.changes.close()
        self.archive.close()
        self.transport.close()


def store_of(uri: str) -> LocalStore:
    """The store that a `FILES_STORE` names; nothing is created yet."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        raise UsageProblem(f"FILES_STORE={uri}: only a folder on this machine can be a store, not {scheme}://")
    return LocalStore(rest if separator else uri)


def policy_of(settings: BaseSettings) -> Policy:
    """How to fetch. More than one connection for a file only where no delay between requests is asked for."""
    polite = number(settings, "DOWNLOAD_DELAY") > 0 or settings.getbool("AUTOTHROTTLE_ENABLED")
    connections = 1 if polite else math.ceil(positive(settings, "MEDIACRAWL_CONNECTIONS_PER_FILE", 4))
    segment_from_bytes = int(number(settings, "MEDIACRAWL_SEGMENT_FROM_BYTES", 32 * 1024 * 1024))
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
        segments=SegmentPolicy(connections, segment_from_bytes),
    )


def number(settings: BaseSettings, name: str, default: float = 0) -> float:
    """A setting that cannot be less than 0. Raises `UsageProblem` with its name for anything else."""
    try:
        value = settings.getfloat(name, default)
    except (TypeError, ValueError):
        raise UsageProblem(f"{name}={settings.get(name)}: not a number") from None
    if not 0 <= value < math.inf:
        raise UsageProblem(f"{name}={value:g} must be 0 or more")
    return value


def positive(settings: BaseSettings, name: str, default: float) -> float:
    """The same, and 0 makes no sense either."""
    value = number(settings, name, default)
    if value == 0:
        raise UsageProblem(f"{name}={value:g} must be more than 0")
    return value


def transport_of(settings: BaseSettings) -> Transport:
    """What fetches. Raises `UsageProblem` for one that is not there, or not known."""
    verify, block_private = _verify(settings), settings.getbool("MEDIACRAWL_BLOCK_PRIVATE")
    match settings.get("MEDIACRAWL_TRANSPORT", "requests"):
        case "requests":
            return RequestsTransport(_session_factory(settings), verify=verify, block_private=block_private)
        case "curl":
            if settings.get("MEDIACRAWL_SESSION_FACTORY"):
                raise UsageProblem("MEDIACRAWL_TRANSPORT=curl has no sessions: leave MEDIACRAWL_SESSION_FACTORY out")
            return _curl_class()(verify=verify, block_private=block_private)
        case other:
            raise UsageProblem(f"MEDIACRAWL_TRANSPORT={other}: must be requests or curl")


def _curl_class() -> type[CurlTransport]:
    try:
        from mediacrawl.download.curl import CurlTransport  # noqa: PLC0415  its package is optional
    except ImportError as error:  # not there, or without the library that it needs
        raise UsageProblem(
            f"MEDIACRAWL_TRANSPORT=curl needs pycurl: pip install 'mediacrawl[curl]' ({error})"
        ) from None
    return CurlTransport


def _session_factory(settings: BaseSettings) -> Callable[[], requests.Session]:
    path = settings.get("MEDIACRAWL_SESSION_FACTORY")
    factory: Callable[[], requests.Session] = load_object(path) if path else requests.Session
    return factory


def _verify(settings: BaseSettings) -> bool | str:
    """True, False, or the path of a bundle of certificates."""
    value = settings.get("MEDIACRAWL_VERIFY_TLS", True)
    if isinstance(value, str) and value.lower() not in {"true", "false", "1", "0", ""}:
        return value
    return settings.getbool("MEDIACRAWL_VERIFY_TLS", True)
