"""Keep the store and the ledger in step."""

from mediacrawl.archive.archive import Archive, validators_of
from mediacrawl.archive.changes import Change, Failure, Publish, RecordWanted, Unchanged

__all__ = ["Archive", "Change", "Failure", "Publish", "RecordWanted", "Unchanged", "validators_of"]
