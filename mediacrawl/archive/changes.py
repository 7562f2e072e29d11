"""The changes that `Archive.write` accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mediacrawl.download.records import Fetched
    from mediacrawl.ledger.base import Entry


class RecordWanted(NamedTuple):
    """Record that a file is wanted."""

    entry: Entry


class Publish(NamedTuple):
    """Give a fetched file its final name: `entry.path` if it is free, otherwise a similar path."""

    entry: Entry
    fetched: Fetched


class Link(NamedTuple):
    """Give a published file a second name: `entry.path` if it is free, otherwise a similar path.

    Attributes:
        entry: the row of the second name, which has a key of its own.
        source: the row of the published file.
    """

    entry: Entry
    source: Entry


class Failure(NamedTuple):
    """Record why a file could not be fetched. The rows of the keys in `supersedes` are of the same file."""

    entry: Entry
    supersedes: tuple[str, ...] = ()


class NoFile(NamedTuple):
    """Record that a URL leads to a page and not to a file: the row is deleted, unless there has been a file."""

    entry: Entry


class Unchanged(NamedTuple):
    """Record that the origin still has the version that is in the store, perhaps in the row of another key."""

    entry: Entry
    supersedes: tuple[str, ...] = ()


Change = RecordWanted | Publish | Link | Failure | NoFile | Unchanged
