"""`scrapy verify`: read every file again and compare it with the ledger."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import UsageError
from tqdm import tqdm

from mediacrawl.archive.archive import identity_text
from mediacrawl.cli.main import StoreCommand
from mediacrawl.commands import crawl
from mediacrawl.errors import EXIT_FAILED
from mediacrawl.ledger.base import Entry, State
from mediacrawl.spiders.retry import RetrySpider
from mediacrawl.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mediacrawl.archive import Archive
    from mediacrawl.store.base import Store

_BLOCK_BYTES = 1024 * 1024
_ROWS_AT_ONCE = 500
_ADOPTED = "file:"
_LOOKS = 5  # at a file that is written continuously; the file that is fetched again will replace it


class Command(crawl.Command, StoreCommand):
    """Exit status: 0 if every file matches the ledger (or was repaired), 1 if not."""

    requires_crawler_process = True  # for --repair

    def syntax(self) -> str:
        return "[--repair] [--adopt]"

    def short_desc(self) -> str:
        return "Hash every file again; find missing, truncated, altered and unknown files"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--repair", action="store_true", help="fetch damaged files again, and nothing else")
        parser.add_argument("--adopt", action="store_true", help="take files into the ledger that it does not know")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args:
            raise UsageError("verify takes no argument; choose the store with -s FILES_STORE=FOLDER")
        if opts.repair and self.refuses_settings():  # before a damaged file is set aside
            return
        with self.archive(create=opts.adopt) as archive:
            damaged, aside = (0, 0) if archive is None else self._check(archive, repair=opts.repair)
            unknown = self._look_for_unknown(archive, adopt=opts.adopt)
            where = f" ({aside} set aside in {self.store().quarantine_folder})" if aside else ""
            print(visible(f"damaged {damaged}{where}, {unknown}"))
        if damaged and opts.repair:
            opts.spargs["damaged"] = "1"
            self.crawl(RetrySpider, opts)
        elif damaged:
            self.exitcode = EXIT_FAILED

    def _check(self, archive: Archive, *, repair: bool) -> tuple[int, int]:
        """Compare all files with the ledger. Return the numbers of damaged files and of files set aside."""
        damaged = aside = 0
        unnoted: list[Entry] = []
        total_bytes = archive.ledger.counts()["bytes"]
        bar: tqdm[Any]
        with tqdm(total=total_bytes, unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:
            for row in archive.ledger.entries(State.DONE, State.FAILED, State.PENDING):
                if row.path is None:
                    continue  # the file was never complete
                identity = archive.store.identity(row.path)
                entry, state, moved = _repaired(archive, row, bar) if repair else _found(archive, row, bar)
                if state is None:
                    if entry.state in {State.FAILED, State.PENDING}:  # the file has been restored
                        archive.ledger.settle(entry.key, State.DONE, time.time())
                    if identity == archive.store.identity(row.path):  # the bytes were those of this file
                        _note_identity(archive, entry, identity, unnoted)
                    continue
                damaged += 1
                aside += moved
                with tqdm.external_write_mode(file=sys.stdout):
                    print(visible(f"{state}: {entry.path} ({entry.url})"))
        archive.ledger.record_identities(unnoted)
        return damaged, aside

    def _look_for_unknown(self, archive: Archive | None, *, adopt: bool) -> str:
        """List the unknown files, and adopt them if `adopt` is set. Return the text about them for the summary."""
        unknown = adopted = 0
        for name in _strangers(self.store(), archive):
            why_not = _adopt(archive, name) if archive is not None and adopt else None
            unknown += 1
            adopted += adopt and why_not is None
            print(f"unknown: {visible(_shown(name))}" + (f" (not adopted: {why_not})" if why_not else ""))
        return f"unknown {unknown}" + (f" ({adopted} adopted)" if adopt else "")


def _note_identity(archive: Archive, entry: Entry, identity: tuple[int, ...] | None, unnoted: list[Entry]) -> None:
    """Record the identity of a file, if it has another one than its row; many rows in one transaction."""
    text = identity_text(identity)
    if text is None or text == entry.identity:
        return
    unnoted.append(entry._replace(identity=text))
    if len(unnoted) >= _ROWS_AT_ONCE:
        archive.ledger.record_identities(unnoted)
        unnoted.clear()


def _found(archive: Archive, row: Entry, bar: tqdm[Any]) -> tuple[Entry, str | None, bool]:
    return *_compared_now(archive, row, bar), False


def _repaired(archive: Archive, row: Entry, bar: tqdm[Any]) -> tuple[Entry, str | None, bool]:
    """Compare a file with its row. Set a damaged file aside, and mark it as wanted again.

    The last value says whether there was a file to move.
    """
    for _ in range(_LOOKS):
        identity = archive.store.identity(row.path or "")
        entry, state = _compared_now(archive, row, bar)
        if state is None:
            return entry, state, False
        if entry.url.startswith(_ADOPTED):  # it has no URL for a new fetch, and its owner may have changed it
            archive.ledger.mark_corrupt(entry.key, state)
            return entry, state, False
        if archive.mark_corrupt(entry, state, identity):
            return entry, state, identity is not None
    archive.ledger.mark_corrupt(entry.key, str(state))
    return entry, state, False


def _compared_now(archive: Archive, entry: Entry, bar: tqdm[Any]) -> tuple[Entry, str | None]:
    """Compare a file with its row. Return the current row and the kind of damage.

    A difference counts only if the row is still the same: a crawl may have replaced the file meanwhile.
    """
    while (state := compared(archive.store, entry, bar)) is not None:
        now = archive.ledger.lookup([entry.key]).get(entry.key)
        if now is None or now.state == State.PUBLISHING:
            return now or entry, None  # the row was removed, or the file is being replaced now
        if now == entry:
            break
        entry = now
    return entry, state


def compared(store: Store, entry: Entry, bar: tqdm[Any]) -> str | None:
    """Return `missing`, `truncated`, `altered` or `unreadable, …`; None for a file that matches the ledger."""
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
    return None if entry.sha256 in {None, digest.hexdigest()} else "altered"


def _blocks(store: Store, name: str) -> Iterator[bytes]:
    with store.open_file(name) as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _strangers(store: Store, archive: Archive | None) -> Iterator[str]:
    """Yield the files in the store that have no ledger row. The ledger is queried in blocks of names."""
    names = store.names() if store.root.exists() else iter(())
    while block := list(islice(names, 500)):
        asked = [name for name in block if archive is not None and _is_text(name)]
        strangers = archive.ledger.strangers(asked) if archive is not None and asked else []
        yield from sorted(set(block).difference(asked).union(strangers))


def _is_text(name: str) -> bool:
    """Return whether a name is UTF-8, as mediacrawl's are. Others may be any bytes, which no ledger can hold."""
    return name == _shown(name)


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _adopt(archive: Archive, name: str) -> str | None:
    """Add a row with the file itself as its key, as its origin is unknown. Return why this failed, or None."""
    if not _is_text(name):
        return "its name is not UTF-8"
    digest, size_bytes, identity = hashlib.sha256(), 0, archive.store.identity(name)
    try:
        for block in _blocks(archive.store, name):
            digest.update(block)
            size_bytes += len(block)
    except OSError as error:
        return str(error.strerror)
    entry = Entry(
        f"{_ADOPTED}{name}", f"{_ADOPTED}{name}", path=name, size_bytes=size_bytes, sha256=digest.hexdigest()
    )
    if identity != archive.store.identity(name):
        return "it is being changed"
    with archive.ledger.transaction():
        if archive.ledger.owner_of(name) is not None:
            return "another file has the same name but for upper and lower case"
        archive.ledger.claim(entry)
        archive.ledger.finish([entry._replace(identity=identity_text(identity))], time.time())
    return None
