"""The keys of files that people have uploaded: `upload:PERSON/ID`. These rows have no URL.

The person is a part of the key, so that the rows of one person are a range of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mediacrawl.ledger.base import Entry

UPLOAD = "upload:"
"""How the key of an uploaded file begins."""


def upload_key(person: str, upload_id: str = "") -> str:
    """Return the key of an upload; without an id, the prefix of the keys of all uploads of a person."""
    return f"{UPLOAD}{person}/{upload_id}"


def is_upload(entry: Entry) -> bool:
    """Return whether a row is that of an uploaded file, whole or not."""
    return not entry.url and entry.key.startswith(UPLOAD)


def is_unfinished_upload(entry: Entry) -> bool:
    """Return whether a row is that of an upload whose file has not had its final name yet."""
    return is_upload(entry) and entry.finished_at is None


def uploader_of(entry: Entry) -> str | None:
    """Return the name of the person who has uploaded a file; None if the file was fetched."""
    return entry.key.removeprefix(UPLOAD).partition("/")[0] if is_upload(entry) else None
