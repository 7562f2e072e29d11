"""The archive, which keeps the store and the ledger consistent."""

from mediacrawl.archive.archive import Archive, validators_of
from mediacrawl.archive.changes import Change, Failure, Link, NoFile, Publish, RecordWanted, Unchanged

__all__ = ["Archive", "Change", "Failure", "Link", "NoFile", "Publish", "RecordWanted", "Unchanged", "validators_of"]
