"""`scrapy forget URL…`, `scrapy forget --missing`: treat files as if they had never been wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import UsageError

from mediacrawl.cli.main import StoreCommand
from mediacrawl.errors import EXIT_FAILED, redact_url
from mediacrawl.fetch.filenames import key_of_url
from mediacrawl.ledger.base import State

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
            entries = list(_missing(archive)) if opts.missing else self._named(archive, args)
            archive.forget([entry.key for entry in entries], files=opts.files)
            for entry in entries:
                stays = entry.path and not opts.files and archive.store.size(entry.path) is not None
                print(f"forgotten: {entry.url}" + (f" (the file stays: {entry.path})" if stays else ""))

    def _named(self, archive: Archive, urls: list[str]) -> list[Entry]:
        found = []
        for url in urls:
            entry = archive.ledger.find(url, redact_url(url), key_of_url(url))
            if entry is None:
                self._say_unknown([url])
            else:
                found.append(entry)
        return found

    def _say_unknown(self, urls: list[str]) -> None:
        for url in urls:
            print(f"not known: {redact_url(url)}")
            self.exitcode = EXIT_FAILED


def _missing(archive: Archive) -> Iterator[Entry]:
    """Yield the rows of missing files.

    This includes files that a crawl or `verify --repair` has found missing, and could not fetch again.
    """
    for entry in archive.ledger.entries(State.DONE, State.FAILED, State.PENDING):
        if entry.path is not None and archive.store.size(entry.path) is None:
            yield entry
