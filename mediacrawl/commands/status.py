"""`scrapy status`: shows the files that the store holds, the files that it waits for, and the failed files."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from scrapy.exceptions import UsageError

from mediacrawl.backends import frontier_folder
from mediacrawl.cli.main import StoreCommand
from mediacrawl.commands.manifest import key_of
from mediacrawl.config import FRONTIER
from mediacrawl.fetch.advice import retry_command
from mediacrawl.fetch.stats import size_text
from mediacrawl.frontier.sqlite import describe
from mediacrawl.ledger.base import State
from mediacrawl.ledger.upload_keys import UPLOAD, is_unfinished_upload
from mediacrawl.visible import visible, visible_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from mediacrawl.ledger.base import Entry, Ledger
    from mediacrawl.store.base import Store


class Command(StoreCommand):
    """Only reads. Takes the same settings as a crawl: `-s FILES_STORE=…`, and `-s JOBDIR=…` for pages too."""

    def syntax(self) -> str:
        return "[--json] [--failed]"

    def short_desc(self) -> str:
        return "Count the files that are done, partial, pending and failed in the store"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--json", action="store_true", help="one JSON object; with --failed one for each file")
        parser.add_argument("--failed", action="store_true", help="list failed files, with the reason")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args:
            raise UsageError("status takes no argument; choose the store with -s FILES_STORE=FOLDER")
        assert self.settings is not None
        with self.ledger() as ledger:
            if opts.failed:
                _print_failed(ledger.entries(State.FAILED) if ledger is not None else (), as_json=opts.json)
            else:
                job = FRONTIER.of(self.settings) or self.settings.get("JOBDIR")
                numbers = counts(ledger, self.store())
                _print_counts(numbers, job, as_json=opts.json)
                if ledger is not None and numbers["failed"] and not opts.json:
                    self._advise(ledger.entries(State.FAILED))

    def _advise(self, failed: Iterable[Entry]) -> None:
        """Write to standard error which commands request the failed files again."""
        assert self.settings is not None
        total = permanent = 0
        for total, entry in enumerate(failed, 1):  # noqa: B007
            permanent += entry.permanent
        if total > permanent:
            print(f"try the failed ones again with: {retry_command(self.settings)}", file=sys.stderr)
        if permanent:
            again = retry_command(self.settings, permanent=True)
            print(f"to request permanent failures again: {again}", file=sys.stderr)


def counts(ledger: Ledger | None, store: Store) -> dict[str, int]:
    """Return the numbers of files, and the size of the files that are done.

    The keys are `done`, `partial` (some bytes are present), `pending` (no bytes are present), `failed` and `bytes`.
    `uploads` is the number of unfinished uploads, which count nowhere else.
    """
    if ledger is None:
        return {"done": 0, "partial": 0, "pending": 0, "failed": 0, "bytes": 0, "uploads": 0}
    rows = ledger.counts()
    parts = store.parts.names()
    wanted = ledger.entries(State.PENDING, State.PUBLISHING) if parts else ()
    partial = sum(store.parts.name(entry.key) in parts and not is_unfinished_upload(entry) for entry in wanted)
    uploads = ledger.unfinished_total(UPLOAD).rows
    return {
        "done": rows["done"],
        "partial": partial,
        "pending": rows[State.PENDING] + rows[State.PUBLISHING] - partial - uploads,
        "failed": rows[State.FAILED],
        "bytes": rows["bytes"],
        "uploads": uploads,
    }


def _print_counts(numbers: dict[str, int], job: str | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(numbers))
        return
    print(f"done {numbers['done']} ({size_text(numbers['bytes'])}), partial {numbers['partial']}, ", end="")
    uploads = f", unfinished uploads {numbers['uploads']}" if numbers["uploads"] else ""
    print(f"pending {numbers['pending']}, failed {numbers['failed']}{uploads}")
    if job and (pages := describe(frontier_folder(job))):
        print(f"job {visible(job)}: {pages['pages_pending']} pages pending, {pages['pages_done']} done")


def _print_failed(entries: Iterable[Entry], *, as_json: bool) -> None:
    for entry in entries:
        facts = {
            "url": entry.url,
            **key_of(entry),
            "reason": entry.reason,
            "http_status": entry.http_status,
            "attempts": entry.attempts,
            "permanent": entry.permanent,
        }
        if as_json:
            print(visible_json(facts))
        else:
            lasting = ", permanent" if entry.permanent else ""
            print(visible(f"{entry.url}: {entry.reason} ({entry.attempts} attempts{lasting})"))
