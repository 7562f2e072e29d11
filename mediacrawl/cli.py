"""`mediacrawl …`: Scrapy's command line with this project's settings; and what our own commands share."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scrapy.cmdline import execute
from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from mediacrawl.archive import LEDGER_NAME, Archive
from mediacrawl.errors import MediacrawlError, UsageProblem
from mediacrawl.ledger.ledger import Ledger
from mediacrawl.wiring import DEFAULT_STORE, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.store.local import LocalStore


def main() -> None:
    """The console script. Exits with the statuses that the README documents."""
    os.environ["SCRAPY_SETTINGS_MODULE"] = "mediacrawl.settings"
    execute()


class StoreCommand(ScrapyCommand):
    """A command about the store that `FILES_STORE` names, without a crawl. Errors are one line."""

    requires_project = True
    requires_crawler_process = False

    def store(self) -> LocalStore:
        """Raises `UsageError` for what cannot be a store."""
        assert self.settings is not None
        try:
            return store_of(str(self.settings.get("FILES_STORE") or DEFAULT_STORE))
        except UsageProblem as error:
            raise UsageError(str(error), print_help=False) from None

    @contextmanager
    def ledger(self) -> Iterator[Ledger | None]:
        """The ledger for reading; None for a store in which nothing was ever wanted."""
        path = self.store().hidden / LEDGER_NAME
        if not path.exists():
            yield None
            return
        with one_line():
            ledger = Ledger(path, read_only=True)
            try:
                yield ledger
            finally:
                ledger.close()

    @contextmanager
    def archive(self) -> Iterator[Archive]:
        """Store and ledger for changes."""
        with one_line():
            archive = Archive.open(self.store())
            try:
                yield archive
            finally:
                archive.close()


@contextmanager
def one_line() -> Iterator[None]:
    """What a user or a disk can cause ends the command with one line and the right exit status."""
    try:
        yield
    except MediacrawlError as error:
        raise SystemExit(_said(error)) from None


def _said(error: MediacrawlError) -> int:
    print(f"mediacrawl: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_status
