"""The entries of a list of wanted files."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.headers import digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mediacrawl.headers import Digest

COLUMNS = ("url", "filename", "sha256", "md5", "referer", "headers", "key")
# In the ledger, so that a retry sends the same request, and the file gets the same name; `path` is that of `get -o`.
KEPT = ("filename", "sha256", "md5", "referer", "page_encoding", "path")


class ListEntry(NamedTuple):
    """A wanted file of a list. `number` is the number of its line, from 1; `key` its identity, whatever the URL."""

    number: int
    url: str
    filename: str | None = None
    sha256: str | None = None
    md5: str | None = None
    referer: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    key: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the entry consists of a URL only, without other fields and without an `@` (as in credentials)."""
        more = self.filename or self.sha256 or self.md5 or self.referer or self.headers or self.key
        return not (more or "@" in self.url)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The digests that the bytes of the file must have."""
        return digests_of(self._asdict())

    @property
    def kept(self) -> str | None:
        """The fields that the ledger keeps, as JSON; None if there are none."""
        return kept_of(self._asdict())

    def item(self) -> dict[str, Any]:
        """Return the entry as an item for the pipeline."""
        facts = {name: value for name in COLUMNS[1:] if (value := getattr(self, name))}
        return {"file_urls": [self.url], **facts}


class InvalidEntry(NamedTuple):
    """A line that cannot be used, and the reason."""

    number: int
    why: str


def digest_problem(facts: Mapping[str, Any]) -> str | None:
    """Return why a digest in the named fields of a file cannot be used; None if all can be."""
    for name in ("sha256", "md5"):
        text = facts.get(name)
        if text and digest_from_hex(name, text) is None:
            return f"{name} is not a digest in hex: {text[:80]!r}"
    return None


def key_problem(key: str) -> str | None:
    """Return why a text cannot be the key of a file; None if it can be."""
    if "#" in key:  # it divides the key of a file from one of its names
        return f"a key contains no '#': {key[:80]!r}"
    return None


def digests_of(facts: Mapping[str, Any]) -> tuple[Digest, ...]:
    """Return the digests that the bytes of a file must have, from the named fields of the file."""
    found = (digest_from_hex(name, text) for name in ("sha256", "md5") if (text := facts.get(name)))
    return tuple(digest for digest in found if digest is not None)


def kept_of(facts: Mapping[str, Any]) -> str | None:
    """Return the fields that the ledger keeps of a file, as JSON; None if there are none."""
    kept = {name: value for name in KEPT if (value := facts.get(name))}
    return json.dumps(kept) if kept else None
