"""`scrapy forget URL…`, `scrapy forget --missing`: treat files as if they had never been wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import UsageError

from mediacrawl.cli.main import StoreCommand
from mediacrawl.errors import EXIT_FAILED, redact_url
from mediacrawl.ledger.base import State
from mediacrawl.ledger.upload_keys import is_unfinished_upload
from mediacrawl.urls import as_sent, key_of_url
from mediacrawl.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mediacrawl.archive import Archive
    from mediacrawl.ledger.base import Entry


class Command(StoreCommand):
    """Removes ledger rows and part files; removes the finished files only with `--files`."""

    def syntax(self) -> str:
        return "[--files] URL... | --missing"

    def short_desc(self) -> str:
        return "Forget URLs, or all URLs with missing files, so that they are fetched as new"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--missing", action="store_true", help="forget every file that is not there any more")
        parser.add_argument("--files", action="store_true", help="remove the files too")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if bool(args) == opts.missing:
            raise UsageError("give URLs, or --missing")
        with self.archive() as archive:
            if archive is None:  # no file was ever wanted in this store
                self._say_unknown(args)
                return
            if opts.missing:
                self._forget(archive, list(_missing(archive)), files=opts.files)
            for url in args:
                is_known = False
                for entry in _rows_of(archive, url):
                    self._forget(archive, [entry], files=opts.files)
                    is_known = True
                if not is_known:
                    self._say_unknown([url])

    @staticmethod
    def _forget(archive: Archive, entries: list[Entry], *, files: bool) -> None:
        archive.forget([entry.key for entry in entries], files=files)
        for entry in entries:
            stays = entry.path and not files and archive.store.size(entry.path) is not None
            told = f" (the file stays: {entry.path})" if stays else ""
            print(visible(f"forgotten: {entry.url or entry.key}{told}"))

    def _say_unknown(self, urls: list[str]) -> None:
        for url in urls:
            print(visible(f"not known: {redact_url(url)}"))
            self.exitcode = EXIT_FAILED


def _rows_of(archive: Archive, url: str) -> Iterator[Entry]:
    """Yield the rows of a URL, one for each name of its file. The caller deletes each row before the next."""
    shown = redact_url(url)
    try:
        key, sent = key_of_url(url), as_sent(shown)
    except ValueError:  # no request can be sent for it, but an earlier version may have made a row
        key = sent = shown
    archive.lookup([key], [shown])  # gives a row of an earlier version its present key
    while (entry := archive.ledger.find(url, shown, key, sent)) is not None:
        yield entry


def _missing(archive: Archive) -> Iterator[Entry]:
    """Yield the rows of missing files.

    This includes files that a crawl or `verify --repair` has found missing, and could not fetch again.
    """
    for entry in archive.ledger.entries(State.DONE, State.FAILED, State.PENDING):
        if is_unfinished_upload(entry):
            continue  # its file was never there: an attempt to publish it has failed
        if entry.path is not None and archive.store.size(entry.path) is None:
            yield entry
