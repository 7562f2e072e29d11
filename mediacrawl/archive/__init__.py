"""Keep the store and the ledger in step."""

from mediacrawl.archive.archive import Archive, validators_of
from mediacrawl.archive.changes import Change, Failure, Publish, Unchanged, Want

__all__ = ["Archive", "Change", "Failure", "Publish", "Unchanged", "Want", "validators_of"]
