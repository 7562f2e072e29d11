"""`scrapy manifest`: the contents of the complete store as JSON Lines, from the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import UsageError

from mediacrawl.archive import validators_of
from mediacrawl.cli.main import StoreCommand
from mediacrawl.ledger.base import State
from mediacrawl.ledger.upload_keys import uploader_of
from mediacrawl.urls import key_of_url
from mediacrawl.visible import visible_json

if TYPE_CHECKING:
    import argparse

    from mediacrawl.ledger.base import Entry


class Command(StoreCommand):
    """Writes one object for each file that is done. Unlike a feed export, it loses no line if a crawl is killed."""

    def syntax(self) -> str:
        return ""

    def short_desc(self) -> str:
        return "Write every file of the store with its URL and page, as JSON Lines"

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args:
            raise UsageError("manifest takes no argument; choose the store with -s FILES_STORE=FOLDER")
        with self.ledger() as ledger:
            for entry in ledger.entries(State.DONE) if ledger is not None else ():
                if entry.path is not None:  # else its row is damaged, and counts as not done
                    print(visible_json(described(entry)))


def described(entry: Entry) -> dict[str, Any]:
    """Return a ledger row as an object for other programs; times are in UTC (RFC 3339)."""
    validators = validators_of(entry)
    return {
        "url": entry.url,
        **key_of(entry),
        "page": entry.page,
        "spider": entry.spider,
        **({} if (person := uploader_of(entry)) is None else {"uploaded_by": person}),
        "path": entry.path,
        "size": entry.size_bytes,
        "sha256": entry.sha256,
        "content_type": entry.content_type,
        "etag": validators.etag.to_header() if validators.etag else None,
        "last_modified": validators.last_modified,
        "finished_at": _utc(entry.finished_at),
        "checked_at": _utc(entry.checked_at),
    }


def key_of(entry: Entry) -> dict[str, str]:
    """Return the key of a file as a field for other programs; no field if the key follows from the URL."""
    return {"key": entry.key} if not entry.url or entry.key not in {entry.url, key_of_url(entry.url)} else {}


def _utc(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
