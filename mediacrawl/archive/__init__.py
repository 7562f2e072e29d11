"""Keep the store and the ledger in step."""

from mediacrawl.archive.archive import Archive, Change, Failure, Publish, Unchanged, Want, validators_of

__all__ = ["Archive", "Change", "Failure", "Publish", "Unchanged", "Want", "validators_of"]
