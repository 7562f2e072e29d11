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
from mediacrawl.ledger.upload_keys import is_unfinished_upload, is_upload, uploader_of
from mediacrawl.spiders.retry import ADOPTED, DAMAGED_ROW, RetrySpider
from mediacrawl.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Container, Iterator

    from mediacrawl.archive import Archive
    from mediacrawl.store.base import Store

_BLOCK_BYTES = 1024 * 1024
_ROWS_AT_ONCE = 500
_NEXT_STEP = "restore it from a copy, or remove its row with `forget`"
_LOOKS = 5  # at a file that is written continuously; the file that is fetched again will replace it


class Command(crawl.Command, StoreCommand):
    """Exit status: 0 if every file matches the ledger (or was repaired), 1 if not."""

    requires_crawler_process = True  # for --repair
    _can_repair_all = True

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
            damaged = aside = 0
            if archive is not None:
                rows = self._check_rows(archive, repair=opts.repair)
                damaged, aside = self._check(archive, repair=opts.repair, counted=rows)
                damaged += len(rows)
            unknown = self._look_for_unknown(archive, adopt=opts.adopt)
            where = f" ({aside} set aside in {self.store().quarantine_folder})" if aside else ""
            print(visible(f"damaged {damaged}{where}, {unknown}"))
        if damaged and opts.repair:
            opts.spargs["damaged"] = "1"
            self.crawl(RetrySpider, opts)
        if damaged and not (opts.repair and self._can_repair_all):
            self.exitcode = self.exitcode or EXIT_FAILED

    def _check(self, archive: Archive, *, repair: bool, counted: Container[object] = ()) -> tuple[int, int]:
        """Compare all files with the ledger. Return the numbers of damaged files and of files set aside.

        Those with one of the keys in `counted` have been counted.
        """
        damaged = aside = 0
        unnoted: list[Entry] = []
        total_bytes = archive.ledger.counts()["bytes"]
        bar: tqdm[Any]
        with tqdm(total=total_bytes, unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:
            for row in archive.ledger.entries(State.DONE, State.FAILED, State.PENDING):
                if row.path is None or is_unfinished_upload(row):
                    continue  # the file was never complete
                identity = archive.store.identity(row.path)
                entry, state, moved = _repaired(archive, row, bar) if repair else _found(archive, row, bar)
                if state is None:
                    if entry.state in {State.FAILED, State.PENDING}:  # the file has been restored
                        archive.ledger.settle(entry.key, State.DONE, time.time())
                    if identity == archive.store.identity(row.path):  # the bytes were those of this file
                        _note_identity(archive, entry, identity, unnoted)
                    continue
                damaged += entry.key not in counted
                aside += moved
                why_not = _why_no_repair(entry)
                self._can_repair_all = self._can_repair_all and not why_not
                hint = f"; {why_not}, so there is no URL to fetch it from: {_NEXT_STEP}" if why_not else ""
                with tqdm.external_write_mode(file=sys.stdout):
                    print(visible(f"{state}: {entry.path} ({entry.url or entry.key}){hint}"))
        archive.ledger.record_identities(unnoted)
        return damaged, aside

    def _check_rows(self, archive: Archive, *, repair: bool) -> set[object]:
        """Tell the damaged rows of the ledger, and mend them if `repair` is set. Return their keys."""
        rows = archive.ledger.damaged()
        for key, (column, entry) in rows.items():
            if entry is None:
                self._can_repair_all = False
                what_next = "is removed" if repair else "verify --repair removes it"
                what_next += ": its file, whose URL is lost, is fetched again when it is wanted again"
            else:
                what_next = "is mended" if repair else "mend it with: verify --repair"
            print(visible(f"damaged row: {(entry and entry.url) or key} ({column}), {what_next}"))
            if repair:
                _mend_row(archive, key, entry)
        return set(rows)

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
        if _why_no_repair(entry):  # its owner may have changed it
            return entry, state, False
        if archive.mark_corrupt(entry, state, identity):
            return entry, state, identity is not None
    archive.ledger.mark_corrupt(entry.key, str(state))
    return entry, state, False


def _why_no_repair(entry: Entry) -> str:
    """Return why a file cannot be fetched again, in a word or two; empty if it can be."""
    if entry.url.startswith(ADOPTED):
        return "adopted"
    return f"uploaded by {uploader_of(entry)}" if is_upload(entry) else ""


def _mend_row(archive: Archive, key: object, entry: Entry | None) -> None:
    """Write a damaged row anew without what is damaged; remove it if there is no entry without it.

    The row of a file that is not known to be in the store any more is that of a failed file: it is fetched again.
    """
    with archive.ledger.transaction():
        archive.ledger.forget([key])
        if entry is None:
            return
        if is_unfinished_upload(entry):
            archive.ledger.reserve(entry, time.time())
            return
        if entry.path is None:
            archive.ledger.record_failure([entry._replace(reason=DAMAGED_ROW)], time.time())
            return
        size_bytes = archive.store.size(entry.path) if entry.size_bytes is None else entry.size_bytes
        archive.ledger.claim(entry._replace(size_bytes=size_bytes))
        archive.ledger.finish([entry], time.time())
        if entry.state != State.DONE:
            archive.ledger.mark_corrupt(entry.key, entry.reason or DAMAGED_ROW)


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
    is_size_known = entry.size_bytes is not None or entry.sha256 is None  # of a damaged row it may be the digest only
    if is_size_known and size_bytes != entry.size_bytes:
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
    entry = Entry(f"{ADOPTED}{name}", f"{ADOPTED}{name}", path=name, size_bytes=size_bytes, sha256=digest.hexdigest())
    if identity != archive.store.identity(name):
        return "it is being changed"
    with archive.ledger.transaction():
        if archive.ledger.owner_of(name) is not None:
            return "another file has the same name but for upper and lower case"
        archive.ledger.claim(entry)
        archive.ledger.finish([entry._replace(identity=identity_text(identity))], time.time())
    return None
