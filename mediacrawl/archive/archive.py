"""The archive: a store and its ledger, kept consistent.

The steps of publishing are `verify → fsync → claim the path → rename → fsync the folder → ledger: done`, for many
files at once. The claim records the path that a key is about to receive. After a crash between any two steps, it is
therefore known whether the rename has happened (the part file is gone) or not (the part file exists, and the next run
publishes it).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from mediacrawl.archive.changes import Change, Failure, Publish, RecordWanted, Unchanged
from mediacrawl.backends import ledger_url, open_ledger
from mediacrawl.download.adoption import link_of
from mediacrawl.download.records import PresentFile
from mediacrawl.errors import MachineError, MediacrawlError, TransferError
from mediacrawl.headers import Validators
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store.parts import PartInUse
from mediacrawl.store.safe_paths import fold, numbered, safe_relative_path
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mediacrawl.ledger.base import Ledger
    from mediacrawl.store.base import Store

logger = logging.getLogger(__name__)

_NUMBERED_UP_TO = 20  # then a hash of the key: a thousand files of one name must not cause a million queries


class Archive:
    """The wanted and the published files of a store, and the changes that publish them.

    Methods may be called from any thread; `write` from one thread at a time.
    """

    def __init__(self, store: Store, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.ledger = ledger
        self._clock = clock

    @classmethod
    def open(cls, store: Store, ledger: str = "") -> Archive:
        """Open the store for writing, settle rows that a crash left unfinished, and remove files that it left over.

        Args:
            store: the store in which files are published.
            ledger: the URL of the ledger; by default, the ledger is in the store.

        Raises:
            UsageProblem: the kind of the ledger is unknown.
            MachineError: the store or its ledger cannot be used.
        """
        store.open()
        archive = cls(store, open_ledger(ledger_url(ledger, store)))
        try:
            archive.recover()  # checks for part files that the sweep removes
            store.parts.sweep()
        except BaseException:
            archive.close()
            raise
        return archive

    def close(self) -> None:
        """Close the part files and the ledger."""
        self.store.parts.close()
        self.ledger.close()

    def lookup(self, keys: Sequence[str]) -> list[Entry | None]:
        """Return the rows of these keys, None for a key without a row.

        If a file is gone, or has another size, its row is no longer done. A file of another size is moved into the
        quarantine, as it may take long until the complete file replaces it.

        The cost is one query of the ledger and one stat for each finished file; no file is read.
        """
        found = self.ledger.lookup(keys)
        lost = [entry for entry in found.values() if entry.state == State.DONE and not self._is_there(entry)]
        if lost:
            for entry in lost:
                del found[entry.key]
            found |= self._mark_missing(lost)
        return [found.get(key) for key in keys]

    def _mark_missing(self, entries: Sequence[Entry]) -> dict[str, Entry]:
        """Mark rows as no longer done. Rows that another process has published or deleted meanwhile stay as they are.

        During the transaction, no process can claim a path. The file is moved first: after a crash, the row is done
        while its file is gone, and the next lookup marks it as missing.
        """
        with self.ledger.transaction():
            rows = self.ledger.lookup([entry.key for entry in entries])
            lost = [entry for entry in entries if rows.get(entry.key) == entry and not self._is_there(entry)]
            for entry in lost:
                if aside := self.store.quarantine(entry.path or ""):
                    logger.warning("%s has another size than was fetched: set aside as %s", entry.path, aside)
            self.store.at_step("ledger-lose")
            self.ledger.mark_missing([entry.key for entry in lost])
        return rows | {entry.key: entry._replace(state=State.PENDING) for entry in lost}

    def mark_corrupt(self, entry: Entry, reason: str, identity: tuple[int, ...] | None) -> bool:
        """Move a file that differs from its row into the quarantine, and mark the row as corrupt.

        The file is wanted again under the same path. A crash between these steps leaves a row that is done without
        a file; `lookup` handles this state.

        Args:
            entry: the row when the file was checked.
            reason: recorded in the ledger.
            identity: the identity of the file when it was checked.

        Returns:
            False if the row or the file has changed since then: nothing was done, and the caller has to check again.
        """
        with self.ledger.transaction():
            row = self.ledger.lookup([entry.key]).get(entry.key)
            if row != entry or self.store.identity(entry.path or "") != identity:
                return False
            self.store.quarantine(entry.path or "")
            self.store.at_step("ledger-damage")
            self.ledger.mark_corrupt(entry.key, reason)
        return True

    def present_at(self, path: str) -> PresentFile | None:
        """Return the complete file at a path; None if there is none, or if its key was given by the user."""
        if not self.store.taken(path):  # cheaper than a query, and there seldom is a file
            return None
        entry = self.ledger.at_path(path)
        if entry is None or entry.state != State.DONE or not self._is_there(entry) or Origin.of(entry.key) is None:
            return None
        file, size_bytes = self.store.path(path), entry.size_bytes or 0
        return PresentFile(entry.key, entry.url, file, size_bytes, entry.sha256, validators_of(entry))

    def fetched_elsewhere(self, keys: Sequence[str]) -> set[str]:
        """Return the keys that another process has published since this process looked them up, or is publishing now.

        The caller must hold the locks of the part files: without a lock, the other process may still be fetching the
        file. The ledger is only read.
        """
        return {key for key, entry in self.ledger.lookup(keys).items() if self._is_fetched_elsewhere(key, entry)}

    def _is_fetched_elsewhere(self, key: str, entry: Entry) -> bool:
        if entry.state == State.PUBLISHING:
            if self.store.is_locked(entry.path or ""):  # renamed, but not yet done in the ledger
                return True
            entry = self.ledger.lookup([key]).get(key, entry)
        return entry.state == State.DONE and self._is_there(entry)

    def write(self, changes: Sequence[Change]) -> list[Entry | Exception]:
        """Carry out changes, with two commits in total. Return for each change its row, or its error."""
        now = self._clock()
        self.store.at_step("ledger-claim")
        with self.ledger.transaction():
            adopted = self._adopt(changes)
            self.ledger.record_wanted((c.entry for c in changes if isinstance(c, RecordWanted)), now)
            self.ledger.record_failure((c.entry for c in changes if isinstance(c, Failure)), now)
            self.ledger.record_unchanged((c.entry.key for c in changes if isinstance(c, Unchanged)), now)
            claimed = self._claims([change for change in changes if isinstance(change, Publish)])
            claims = [next(claimed) if isinstance(c, Publish) else adopted.get(c.entry.key, c.entry) for c in changes]
        results, folders = self._rename(changes, claims)
        if folders:
            self.store.sync(folders)
            self.store.at_step("ledger-done")
            with self.ledger.transaction():
                done = [r for c, r in zip(changes, results, strict=True) if isinstance(c, Publish)]
                self.ledger.finish((entry for entry in done if isinstance(entry, Entry)), self._clock())
            self._forget_parts(changes, results)
        return results

    def _adopt(self, changes: Sequence[Change]) -> dict[str, Entry]:
        """Give the rows that files had under other keys to their keys of now. Return the rows, by key."""
        keys = []
        for change in changes:
            if supersedes := _supersedes(change):
                self.ledger.adopt(change.entry, supersedes)
                keys.append(change.entry.key)
            if isinstance(change, Publish | Unchanged) and (path := _wished_path(change.entry)):
                self.ledger.forget(list(self._dead_links(change.entry, path)))
        return self.ledger.lookup(keys) if keys else {}

    def _dead_links(self, entry: Entry, path: str) -> Iterator[str]:
        """Yield the keys of rows without any bytes, of links to the same file that have failed before: `get -o`.

        Such a link differs from that of the entry in its query only, and the user has given the same path for it.
        """
        link = link_of(entry.url)
        for row in self.ledger.entries(State.FAILED, State.PENDING):
            if row.key == entry.key or row.path is not None or _wished_path(row) != path or link_of(row.url) != link:
                continue
            with suppress(PartInUse):
                if not self.store.parts.exists(row.key):
                    yield row.key

    def _forget_parts(self, changes: Sequence[Change], results: Sequence[Entry | Exception]) -> None:
        recorded = False
        for change, result in zip(changes, results, strict=True):
            if isinstance(change, Publish) and not isinstance(result, Exception):
                assert change.fetched.part is not None
                with suppress(MachineError):  # the file is there; a record without bytes counts as nothing
                    recorded |= change.fetched.part.published()
        if recorded:
            self.store.parts.sync()

    def forget(self, keys: Sequence[str], *, files: bool = False) -> None:
        """Delete rows and part files; with `files`, delete also the finished files, before their rows."""
        for entry in self.ledger.lookup(keys).values():
            if files and entry.path is not None and entry.finished_at is not None:
                self.store.remove(entry.path)
            with suppress(PartInUse), self.store.parts.open(entry.key) as part:
                part.discard()
        self.ledger.forget(keys)

    def recover(self) -> None:
        """Settle the rows that a crash left in the state `publishing`: done if the part file was renamed to its path.

        A power cut may have removed both names of the part file, and an older version at the path may have the same
        size. The digests are therefore compared. As the rename may be younger than the last sync of its folder, the
        names are synced first.
        """
        found: dict[str, list[Entry]] = {State.DONE: [], State.PENDING: []}
        for entry in list(self.ledger.entries(State.PUBLISHING)):
            with suppress(PartInUse):  # another process is publishing this file now
                found[State.DONE if self._was_renamed(entry) else State.PENDING].append(entry)
        if found[State.DONE]:
            self.store.sync_names(entry.path for entry in found[State.DONE] if entry.path is not None)
        for state, entries in found.items():
            for entry in entries:
                self.ledger.settle(entry.key, state, self._clock())

    def _was_renamed(self, entry: Entry) -> bool:
        gone = not self.store.parts.exists(entry.key)
        return gone and self._is_there(entry) and self.store.sha256(entry.path or "") == entry.sha256

    def _is_there(self, entry: Entry) -> bool:
        return entry.path is not None and self.store.size(entry.path) == entry.size_bytes

    def _claims(self, publishes: Sequence[Publish]) -> Iterator[Entry]:
        """Claim a path in the ledger for each change, with a few queries in total. Return the claimed rows."""
        paths = self._paths([change.entry for change in publishes])
        claims = [_claimed(change, path) for change, path in zip(publishes, paths, strict=True)]
        self.ledger.claim(*claims)
        return iter(claims)

    def _paths(self, entries: Sequence[Entry]) -> Iterator[str]:
        """Yield for each key its present path, or else the wished path, or else a similar path that is free."""
        rows = self.ledger.lookup([entry.key for entry in entries])
        own = [row.path if (row := rows.get(entry.key)) is not None else None for entry in entries]
        preferred = [safe_relative_path(entry.path or "file") for entry in entries]
        folded = [fold(path) for path in preferred]
        taken = self.ledger.taken(folded)
        for entry, path, wish, folded_preferred in zip(entries, own, preferred, folded, strict=True):
            if path is None:
                is_free = folded_preferred not in taken and not self.store.taken(wish)
                path = wish if is_free else self._numbered(wish, entry.key, taken)  # noqa: PLW2901
            taken.add(fold(path))
            yield path

    def _numbered(self, preferred: str, key: str, taken: set[str]) -> str:
        for number in range(2, _NUMBERED_UP_TO):
            path = numbered(preferred, number)
            if fold(path) not in taken and self.ledger.owner_of(path) is None and not self.store.taken(path):
                return path
        return numbered(preferred, int(hashlib.sha256(key.encode()).hexdigest()[:12], 16))

    def _rename(self, changes: Sequence[Change], claims: Iterable[Entry]) -> tuple[list[Entry | Exception], set[str]]:
        results: list[Entry | Exception] = []
        folders: set[str] = set()
        for change, entry in zip(changes, claims, strict=True):
            try:
                if isinstance(change, Publish):
                    assert change.fetched.part is not None
                    assert entry.path is not None
                    folders.add(self.store.rename_in(change.fetched.part.file, entry.path))
                elif isinstance(change, Unchanged) and change.supersedes and entry.path is None:
                    raise TransferError(
                        entry.url, "its file has got another link meanwhile: run the same command again"
                    )
                results.append(entry)
            except MediacrawlError as error:
                self.ledger.settle(entry.key, State.PENDING, self._clock())
                results.append(error)
        return results, folders


def _claimed(change: Publish, path: str) -> Entry:
    fetched = change.fetched
    return change.entry._replace(
        path=path,
        size_bytes=fetched.size_bytes,
        sha256=fetched.sha256 or None,
        validators=json.dumps(fetched.validators.to_dict()),
        content_type=fetched.headers.get("content-type"),
        http_status=fetched.status,
        state=State.DONE,
    )


def _wished_path(entry: Entry) -> str | None:
    """Return the path that the user has given for a file."""
    if not entry.wish or '"path"' not in entry.wish:
        return None
    path = json.loads(entry.wish).get("path")
    return path if isinstance(path, str) else None


def _supersedes(change: Change) -> tuple[str, ...]:
    match change:
        case Publish():
            return change.fetched.supersedes
        case Failure() | Unchanged():
            return change.supersedes
    return ()


def validators_of(entry: Entry) -> Validators:
    """Return the validators of a row; empty validators if the row has none."""
    try:
        return Validators.from_dict(json.loads(entry.validators or "{}"))
    except (ValueError, AttributeError):
        return Validators()
