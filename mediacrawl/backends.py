"""Stores, ledgers and frontiers by URL: the known kinds, and the functions that open them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mediacrawl.errors import UsageProblem, disk_error, redact_url
from mediacrawl.store.local import LocalStore

if TYPE_CHECKING:
    from mediacrawl.frontier.base import Frontier
    from mediacrawl.ledger.base import Ledger
    from mediacrawl.store.base import Store

LEDGER_NAME = "ledger.sqlite3"


def store_of(url: str, *, durable: bool = True) -> Store:
    """Return the store that a `FILES_STORE` names: a path, or `file:`. Nothing is created yet.

    Raises:
        UsageProblem: the URL is of an unknown kind.
    """
    return LocalStore(_path("FILES_STORE", url, "a folder", "a store", ("file",)), durable=durable)


def ledger_url(url: str, store: Store) -> str:
    """Return the URL of the ledger: the given `MEDIACRAWL_LEDGER`, or the ledger in the store if it is empty."""
    return url or str(store.hidden / LEDGER_NAME)


def open_ledger(url: str, *, read_only: bool = False) -> Ledger:
    """Open a ledger by a path, `file:` or `sqlite:`. A missing ledger is created, unless `read_only` is set.

    Raises:
        UsageProblem: the URL is of an unknown kind.
        StoreNotWritable, DiskFull: the ledger cannot be opened.
    """
    from mediacrawl.ledger.sqlite import SqliteLedger  # noqa: PLC0415 - the kind is known only now

    return SqliteLedger(_ledger_path(url), read_only=read_only)


def has_ledger(url: str) -> bool:
    """Return whether a ledger exists.

    Raises:
        UsageProblem: the URL is of an unknown kind.
        StoreNotWritable: the file cannot be checked. The result False would wrongly show an empty store.
    """
    path = _ledger_path(url)
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(error, f"the ledger {path}", "read") from None
    return True


def frontier_folder(url: str) -> Path:
    """Return the folder of a frontier that a path, `file:` or `sqlite:` names.

    Raises:
        UsageProblem: the URL is of an unknown kind.
    """
    return Path(_path("MEDIACRAWL_FRONTIER", url, "a folder", "a frontier", ("file", "sqlite")))


def open_frontier(url: str, owner: str, *, newest_first: bool = True) -> Frontier:
    """Open the frontier of a job; a missing frontier is created.

    Args:
        url: the folder, as a path, `file:` or `sqlite:`.
        owner: the spider's name; the frontier of another spider is refused.
        newest_first: depth first, as Scrapy's default queues; False is breadth first.

    Raises:
        UsageProblem: the URL is of an unknown kind.
        JobInUse, StoreNotWritable, DiskFull: the frontier cannot be opened.
    """
    from mediacrawl.frontier.sqlite import SqliteFrontier  # noqa: PLC0415 - the kind is known only now

    return SqliteFrontier(frontier_folder(url), owner, newest_first=newest_first)


def _ledger_path(url: str) -> Path:
    return Path(_path("MEDIACRAWL_LEDGER", url, "a file", "a ledger", ("file", "sqlite")))


def _path(setting: str, url: str, what: str, role: str, schemes: tuple[str, ...]) -> str:
    """Return the path in a URL with one of these schemes, or the URL itself if it is a path."""
    scheme, colon, rest = url.partition(":")
    if not colon or (scheme not in schemes and not rest.startswith("//")):
        return url
    if scheme not in schemes:
        known = " or ".join(f"{one}:PATH" for one in schemes)
        raise UsageProblem(
            f"{setting}={redact_url(url)}: only {what} on this machine can be {role}: a path, {known}; not {scheme}://"
        )
    return rest.removeprefix("//")
