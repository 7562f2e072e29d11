"""What can be written into an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mediacrawl.download.records import Fetched
    from mediacrawl.ledger.sqlite import Entry


class RecordWanted(NamedTuple):
    """Note that a file is wanted."""

    entry: Entry


class Publish(NamedTuple):
    """Give a fetched file its name: `entry.path` if that is free, one like it otherwise."""

    entry: Entry
    fetched: Fetched


class Failure(NamedTuple):
    """Note why a file did not arrive."""

    entry: Entry


class Unchanged(NamedTuple):
    """Note that the origin still has the version that is there."""

    entry: Entry


Change = RecordWanted | Publish | Failure | Unchanged
