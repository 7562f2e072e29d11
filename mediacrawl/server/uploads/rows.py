"""The row of an upload in the ledger: what the client has announced, and what became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mediacrawl.ledger.base import Entry
from mediacrawl.ledger.rows import options_of
from mediacrawl.ledger.upload_keys import UPLOAD, upload_key

if TYPE_CHECKING:
    from typing import Self

    from mediacrawl.server.uploads.records import UploadWish

T = TypeVar("T", int, float)


class UploadRow(NamedTuple):
    """The row of an upload.

    Attributes:
        entry: the row as the ledger has it; `size_bytes` is what is reserved, or the size of the published file.
        path: of the file in the store: the wished one, or the final one.
        length_bytes: of the whole file; None: not known.
        sha256: of the whole file, as the client has announced it, in hex; empty: not announced.
        modified: when the client's file was changed last, in seconds since the epoch; None: not announced.
        metadata: what the client has sent along, as it was sent.
        concat: how the upload is a part of another one, or made of others, as the client has sent it; empty: neither.
    """

    entry: Entry
    path: str
    length_bytes: int | None
    sha256: str
    modified: float | None
    metadata: str
    concat: str

    @classmethod
    def wished(cls, upload_id: str, wish: UploadWish, path: str) -> Self:
        """Return the row of a new upload, with nothing reserved."""
        entry = Entry(upload_key(wish.person.name, upload_id), "")
        return cls(entry, path, wish.length_bytes, wish.sha256 or "", wish.modified, wish.metadata, wish.concat)

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return the row of an upload. A damaged wish counts as none, so that its file is called `file`."""
        told = options_of(entry)
        length = _number(int, told.get("length"))
        return cls(
            entry,
            entry.path if entry.finished_at is not None and entry.path else told.get("to", "file"),
            length if entry.finished_at is None else entry.size_bytes,
            told.get("sha256", ""),
            _number(float, told.get("modified")),
            told.get("metadata", ""),
            told.get("concat", ""),
        )

    def reserving(self, size_bytes: int) -> Entry:
        """Return the row as it is written, with so many bytes reserved."""
        told = {
            "to": self.path,
            "length": "" if self.length_bytes is None else str(self.length_bytes),
            "sha256": self.sha256,
            "modified": "" if self.modified is None else repr(self.modified),
            "metadata": self.metadata,
            "concat": self.concat,
        }
        wish = json.dumps({name: value for name, value in told.items() if value})
        return self.entry._replace(wish=wish, size_bytes=size_bytes)

    @property
    def id(self) -> str:
        """The id of the upload."""
        return self.entry.key.removeprefix(UPLOAD).partition("/")[2]

    @property
    def person(self) -> str:
        """The name of the person who uploads."""
        return self.entry.key.removeprefix(UPLOAD).partition("/")[0]

    @property
    def is_published(self) -> bool:
        """Whether the file has its final name."""
        return self.entry.finished_at is not None

    @property
    def is_partial(self) -> bool:
        """Whether the upload is a part of another one, and so never published by itself."""
        return self.concat == "partial"


def _number(kind: type[T], text: str | None) -> T | None:
    try:
        return kind(text) if text else None
    except ValueError:
        return None
