"""`scrapy verify`: read every file again and compare it with the ledger."""

from __future__ import annotations

import hashlib
import sys
import time
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import UsageError
from tqdm import tqdm

from mediacrawl.cli import StoreCommand, one_line
from mediacrawl.commands import crawl
from mediacrawl.errors import EXIT_FAILED
from mediacrawl.ledger.ledger import DONE, FAILED, PENDING, Entry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mediacrawl.archive import Archive
    from mediacrawl.store.local import LocalStore

_BLOCK_BYTES = 1024 * 1024


class Command(crawl.Command, StoreCommand):
    """Exit status 0 if every file is as the ledger says (or was repaired), 1 if not."""

    requires_crawler_process = True  # for --repair

    def syntax(self) -> str:
        return "[--repair] [--adopt]"

    def short_desc(self) -> str:
        return "Hash every file again; find what is missing, truncated, altered or unknown"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--repair", action="store_true", help="fetch what is damaged again, and nothing else")
        parser.add_argument("--adopt", action="store_true", help="take files into the ledger that it does not know")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args:
            raise UsageError("verify takes no argument; choose the store with -s FILES_STORE=FOLDER")
        with one_line(), self.archive() as archive:
            damaged = self._check(archive, repair=opts.repair)
            unknown = self._look_for_unknown(archive, adopt=opts.adopt)
        print(f"damaged {damaged}, unknown {unknown}{' (adopted)' if opts.adopt and unknown else ''}")
        if damaged and opts.repair:
            opts.spargs["damaged"] = "1"
            super().run(["retry"], opts)
        elif damaged:
            self.exitcode = EXIT_FAILED

    def _check(self, archive: Archive, *, repair: bool) -> int:
        damaged = 0
        total_bytes = archive.ledger.counts()["bytes"]
        bar: tqdm[Any]
        with tqdm(total=total_bytes, unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:
            for entry in archive.ledger.entries(DONE, FAILED, PENDING):
                if entry.path is None:
                    continue  # was never there
                state = compared(archive.store, entry, bar)
                if state is None:
                    if entry.state != DONE:  # somebody has put it back
                        archive.ledger.settle(entry.key, DONE, time.time())
                    continue
                damaged += 1
                with tqdm.external_write_mode(file=sys.stdout):
                    print(f"{state}: {entry.path} ({entry.url})")
                if repair:
                    archive.ledger.damage(entry.key, state)
        return damaged

    @staticmethod
    def _look_for_unknown(archive: Archive, *, adopt: bool) -> int:
        unknown = 0
        for name in _strangers(archive):
            unknown += 1
            print(f"unknown: {name}")
            if adopt:
                _adopt(archive, name)
        return unknown


def compared(store: LocalStore, entry: Entry, bar: tqdm[Any]) -> str | None:
    """`missing`, `truncated`, `altered`, or None for a file that is what the ledger says."""
    size_bytes = store.size(entry.path or "")
    if size_bytes is None:
        return "missing"
    if size_bytes != entry.size_bytes:
        return "truncated" if size_bytes < (entry.size_bytes or 0) else "altered"
    digest = hashlib.sha256()
    try:
        for block in _blocks(store, entry.path or ""):
            digest.update(block)
            bar.update(len(block))
    except OSError as error:
        return f"unreadable, {error.strerror}"
    return None if digest.hexdigest() == entry.sha256 else "altered"


def _blocks(store: LocalStore, name: str) -> Iterator[bytes]:
    with store.path(name).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _strangers(archive: Archive) -> Iterator[str]:
    """Files in the store of which the ledger knows nothing, asked for in blocks."""
    block: list[str] = []
    for name in archive.store.names():
        block.append(name)
        if len(block) == 500:
            yield from archive.ledger.strangers(block)
            block.clear()
    yield from archive.ledger.strangers(block)


def _adopt(archive: Archive, name: str) -> None:
    """A row with the file itself as its key: nobody knows where it came from."""
    digest = hashlib.sha256()
    for block in _blocks(archive.store, name):
        digest.update(block)
    size_bytes = archive.store.size(name)
    entry = Entry(f"file:{name}", f"file:{name}", path=name, size_bytes=size_bytes, sha256=digest.hexdigest())
    with archive.ledger.transaction():
        archive.ledger.claim(entry)
        archive.ledger.finish([entry], time.time())
