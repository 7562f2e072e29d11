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
from typing import TYPE_CHECKING, NamedTuple, cast

from mediacrawl.archive.changes import Change, Failure, Link, NoFile, Publish, RecordWanted, Unchanged
from mediacrawl.backends import ledger_url, open_ledger
from mediacrawl.download.adoption import link_of
from mediacrawl.download.records import PresentFile
from mediacrawl.errors import MachineError, MediacrawlError, PathConflict, TransferError
from mediacrawl.headers import Validators
from mediacrawl.ledger.base import Entry, State
from mediacrawl.ledger.rows import options_of
from mediacrawl.store.base import NameTaken
from mediacrawl.store.parts import PartInUse
from mediacrawl.store.safe_paths import fold, is_numbered, numbered, safe_relative_path
from mediacrawl.urls import Origin, former_key_of_url, is_row_of, key_of_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mediacrawl.ledger.base import Ledger
    from mediacrawl.store.base import Store

logger = logging.getLogger(__name__)

_VERSION = ("size_bytes", "sha256", "validators", "content_type", "http_status")  # columns
_PLACED_WITHIN = 5  # attempts to find a name that nobody takes meanwhile
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
        """Close the store and the ledger."""
        self.store.close()
        self.ledger.close()

    def lookup(self, keys: Sequence[str], urls: Sequence[str] = ()) -> list[Entry | None]:
        """Return the rows of these keys, None for a key without a row.

        `urls` are the URLs of these keys. With them, rows that an earlier version has made are found, see
        `adopt_former`.

        If a file is gone, or has another size, its row is no longer done. A file of another size is moved into the
        quarantine, as it may take long until the complete file replaces it.

        The cost is one query of the ledger and one stat for each finished file; no file is read.
        """
        found: Mapping[str, Entry] = self.ledger.lookup(keys)
        if urls:
            found = self.adopt_former(keys, urls, found)
        lost = [entry for entry in found.values() if entry.state == State.DONE and not self._is_there(entry)]
        if lost:
            found = {key: entry for key, entry in found.items() if entry not in lost} | self._mark_missing(lost)
        return [found.get(key) for key in keys]

    def adopt_former(
        self, keys: Sequence[str], urls: Sequence[str], found: Mapping[str, Entry]
    ) -> Mapping[str, Entry]:
        """Give the rows of these URLs that have a former key, and their parts, the keys that they have now.

        Several URLs may have the same former key. The row with that key belongs to the URL that it contains, which
        may be another one than its key says.

        Args:
            keys: the keys that are looked up.
            urls: the URL of each key.
            found: the rows with these keys.

        Returns:
            `found` after the changes.
        """
        former = {}  # key by former key
        others = {}  # former keys of keys without a row
        for key, url in zip(keys, urls, strict=True):
            entry = found.get(key)
            if (entry is not None and entry.url == key) or key_of_url(url) != key:
                continue  # as mostly; or the key is not made from the URL
            if entry is None:
                if (old := former_key_of_url(url)) != key:
                    others[key] = old
            elif (own := key_of_url(entry.url)) != key and former_key_of_url(entry.url) == key:
                former[key] = own
        rows = self.ledger.lookup(list(others.values())) if others else {}
        former |= {old: key for key, old in others.items() if old in rows and is_row_of(key, rows[old].url)}
        return self._with_new_keys(former, found) if former else found

    def _with_new_keys(self, former: Mapping[str, str], found: Mapping[str, Entry]) -> dict[str, Entry]:
        """Change keys, and return `found` with the changed rows. What another process uses now stays as it is.

        A crash may leave a part with its new key, and its row with the former one: the next lookup changes the row.
        """
        changed = dict(found)
        with self.ledger.transaction():
            rows = self.ledger.lookup([*former, *former.values()])
            for old, key in former.items():
                if old not in rows or key in rows or rows[old].state == State.PUBLISHING:
                    continue
                with suppress(PartInUse):
                    self.store.parts.change_key(old, key)
                    self.ledger.change_key(old, key)
                    changed.pop(old, None)
                    changed[key] = rows[old]._replace(key=key)
        return changed

    def _mark_missing(self, entries: Sequence[Entry]) -> dict[str, Entry]:
        """Mark rows as no longer done. Rows that another process has published or deleted meanwhile stay as they are.

        During the transaction, no process can claim a path. The file is moved first: after a crash, the row is done
        while its file is gone, and the next lookup marks it as missing.
        """
        with self.ledger.transaction():
            rows = self.ledger.lookup([entry.key for entry in entries])
            lost = [entry for entry in entries if rows.get(entry.key) == entry and not self._is_there(entry)]
            for entry in lost:
                if entry.path and (aside := self.store.quarantine(entry.path)):
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
        return {key for key, entry in self.ledger.finished(keys).items() if self._is_fetched_elsewhere(key, entry)}

    def _is_fetched_elsewhere(self, key: str, entry: Entry) -> bool:
        if entry.state == State.PUBLISHING:
            if self.store.is_locked(entry.path or ""):  # renamed, but not yet done in the ledger
                return True
            entry = self.ledger.lookup([key]).get(key, entry)
        return entry.state == State.DONE and self._is_there(entry)

    def write(self, changes: Sequence[Change]) -> list[Entry | Exception]:
        """Carry out changes, with two commits in total. Return for each change its row, or its error."""
        now = self._clock()
        present = self._present_links(changes)
        self.store.at_step("ledger-claim")
        with self.ledger.transaction():
            adopted = self._adopt(changes)
            self.ledger.record_wanted((c.entry for c in changes if isinstance(c, RecordWanted)), now)
            self.ledger.record_failure((c.entry for c in changes if isinstance(c, Failure)), now)
            self._forget_unfetched([c.entry.key for c in changes if isinstance(c, NoFile)])
            self.ledger.record_unchanged((c.entry.key for c in changes if isinstance(c, Unchanged)), now)
            named = [n for n, change in enumerate(changes) if isinstance(change, Publish | Link) and n not in present]
            claims = dict(zip(named, self._claims([cast("Publish | Link", changes[n]) for n in named]), strict=True))
        rows = {n: claim.entry for n, claim in claims.items()} | present
        entries = [rows.get(n) or adopted.get(c.entry.key, c.entry) for n, c in enumerate(changes)]
        results, folders = self._rename(changes, entries, claims)
        if folders:
            links = [change for n, change in enumerate(changes) if n in claims and isinstance(change, Link)]
            done = self._identified(entry for n in named if isinstance(entry := results[n], Entry))
            sources = self._identified(link.source for link in links)  # a link changes the ctime of its file
            self.store.sync(folders)
            self.store.at_step("ledger-done")
            with self.ledger.transaction():
                self.ledger.finish(done, self._clock())
                self.ledger.record_identities(sources)
            self._forget_parts(changes, results)
        return results

    def _identified(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return rows with the identities that their files have now."""
        return [entry._replace(identity=identity_text(self.store.identity(entry.path or ""))) for entry in entries]

    def _present_links(self, changes: Sequence[Change]) -> dict[int, Entry]:
        """Return the rows of second names that need no change, by the position of the change.

        The file has the name already, or is the only one that could have it: the name is taken, and the file has the
        name with a number.
        """
        links = {n: change for n, change in enumerate(changes) if isinstance(change, Link)}
        rows = self.ledger.lookup([link.entry.key for link in links.values()]) if links else {}
        present: dict[int, Entry] = {}
        for n, (entry, source) in links.items():
            row = rows.get(entry.key)
            if row is not None and row.state == State.DONE and _facts(row) == _facts(source) and self._is_there(row):
                present[n] = row
            elif row is None or row.path is None:
                path = safe_relative_path(entry.path or "file")
                is_taken = self.ledger.owner_of(path) is not None or self.store.taken(path)
                if is_taken and is_numbered(source.path or "", path):
                    present[n] = source
        return present

    def _adopt(self, changes: Sequence[Change]) -> dict[str, Entry]:
        """Give the rows that files had under other keys to their keys of now. Return the rows, by key."""
        keys = []
        for change in changes:
            if supersedes := _supersedes(change):
                self.ledger.adopt(change.entry, supersedes)
                keys.append(change.entry.key)
        brought = [change.entry for change in changes if isinstance(change, Publish | Unchanged)]
        if wished := {path: entry for entry in brought if (path := _wished_path(entry))}:
            self.ledger.forget(list(self._dead_links(wished)))
        return self.ledger.lookup(keys) if keys else {}

    def _forget_unfetched(self, keys: Sequence[str]) -> None:
        """Delete the rows of these keys that have had no file."""
        if keys:
            self.ledger.forget([row.key for row in self.ledger.lookup(keys).values() if row.path is None])

    def _dead_links(self, wished: Mapping[str, Entry]) -> Iterator[str]:
        """Yield the keys of rows without any bytes, of links to the same files that have failed before: `get -o`.

        Such a link differs from that of the file in its query only, and the user has given the same path for it. The
        rows of the ledger are read once for all files.
        """
        for row in self.ledger.entries(State.FAILED, State.PENDING):
            entry = wished.get(_wished_path(row) or "")
            if (
                entry is None
                or row.key == entry.key
                or row.path is not None
                or link_of(row.url) != link_of(entry.url)
            ):
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

        A power cut may have removed both names of the part file, or left both, and an older version at the path may
        have the same size. The digests are therefore compared. As the rename may be younger than the last sync of its
        folder, the names are synced first.
        """
        found: dict[str, list[Entry]] = {State.DONE: [], State.PENDING: []}
        for entry in list(self.ledger.entries(State.PUBLISHING)):
            with suppress(PartInUse):  # another process is publishing this file now
                found[State.DONE if self._was_renamed(entry) else State.PENDING].append(entry)
        if found[State.DONE]:
            self.store.sync_names(entry.path for entry in found[State.DONE] if entry.path is not None)
        for state, entries in found.items():
            for entry in entries:
                if state == State.DONE:
                    self._discard_part(entry.key)
                elif entry.finished_at is None and not self._has_part(entry.key):
                    self._set_aside(entry)
                self.ledger.settle(entry.key, state, self._clock())
        self.ledger.record_identities(self._identified(found[State.DONE]))  # as a part was a second name of its file

    def _has_part(self, key: str) -> bool:
        with suppress(PartInUse):
            return self.store.parts.exists(key)
        return True

    def _set_aside(self, entry: Entry) -> None:
        """Move a file away that has the claimed path of a part that is gone, and not its bytes."""
        if aside := self.store.quarantine(entry.path or ""):
            logger.warning("%s has other bytes than were fetched: set aside as %s", entry.path, aside)

    def _was_renamed(self, entry: Entry) -> bool:
        """Return whether the claimed path has the file of a row, whatever part a power cut has brought back."""
        self.store.parts.exists(entry.key)  # raises PartInUse
        return self._is_there(entry) and self.store.sha256(entry.path or "") == entry.sha256

    def _discard_part(self, key: str) -> None:
        """Delete the part of a file that is published: a second name of the file, or bytes of an earlier attempt."""
        with suppress(PartInUse):
            if self.store.parts.exists(key):
                with self.store.parts.open(key) as part:
                    part.discard()

    def _is_there(self, entry: Entry) -> bool:
        return entry.path is not None and self.store.size(entry.path) == entry.size_bytes

    def _claims(self, publishes: Sequence[Publish | Link]) -> list[_Claim]:
        """Claim a path in the ledger for each change, with a few queries in total."""
        paths = self._paths([change.entry for change in publishes])
        claims = [
            _Claim(_claimed(change, path), replaces)
            for change, (path, replaces) in zip(publishes, paths, strict=True)
        ]
        self.ledger.claim(*(claim.entry for claim in claims))
        return claims

    def _paths(self, entries: Sequence[Entry]) -> Iterator[tuple[str, bool]]:
        """Yield for each key its present path, or else the wished path, or else a similar path that is free.

        The second value is whether an older version of the file may be at the path. What is at the path of a row that
        was never done is no file of ours.
        """
        rows = self.ledger.lookup([entry.key for entry in entries])
        preferred = [safe_relative_path(entry.path or "file") for entry in entries]
        folded = [fold(path) for path in preferred]
        taken = self.ledger.taken(folded)
        owners = self.ledger.owners([fold(row.path) for row in rows.values() if row.path is not None])
        for entry, wish, folded_preferred in zip(entries, preferred, folded, strict=True):
            row = rows.get(entry.key)
            replaces = row is not None and row.path is not None and row.finished_at is not None
            path = row.path if row is not None else None
            if path is not None and owners.get(fold(path), entry.key) != entry.key:  # a damaged row
                path, replaces = None, False
            if path is not None and not replaces and self.store.taken(path):
                path = self._numbered(wish, entry.key, taken)
            elif path is None:
                is_free = folded_preferred not in taken and not self.store.taken(wish)
                path = wish if is_free else self._numbered(wish, entry.key, taken)
            taken.add(fold(path))
            yield path, replaces

    def _numbered(self, preferred: str, key: str, taken: set[str]) -> str:
        for number in range(2, _NUMBERED_UP_TO):
            path = numbered(preferred, number)
            if fold(path) not in taken and self.ledger.owner_of(path) is None and not self.store.taken(path):
                return path
        return numbered(preferred, int(hashlib.sha256(key.encode()).hexdigest()[:12], 16))

    def _rename(
        self, changes: Sequence[Change], entries: Iterable[Entry], claims: Mapping[int, _Claim]
    ) -> tuple[list[Entry | Exception], set[str]]:
        """Give files their claimed names. Return the result of each change, and the folders."""
        results: list[Entry | Exception] = []
        folders: set[str] = set()
        for n, (change, entry) in enumerate(zip(changes, entries, strict=True)):
            named = entry
            try:
                if isinstance(change, Publish | Link) and n in claims:
                    named, folder = self._place(change, claims[n])
                    folders.add(folder)
                elif isinstance(change, Unchanged) and change.supersedes and entry.path is None:
                    raise TransferError(
                        entry.url, "its file has got another link meanwhile: run the same command again"
                    )
                results.append(named)
            except MediacrawlError as error:
                self.ledger.settle(entry.key, State.PENDING, self._clock())
                results.append(error)
        return results, folders

    def _place(self, change: Publish | Link, claim: _Claim) -> tuple[Entry, str]:
        """Give a file its claimed name, or another one if somebody has put an entry there since the claim.

        Returns:
            The row, and the folder that is to be synced.
        """
        entry, replaces = claim
        for _ in range(_PLACED_WITHIN):
            try:
                return entry, self._give_name(change, entry.path or "", replaces=replaces)
            except NameTaken:
                with self.ledger.transaction():
                    path = safe_relative_path(change.entry.path or "file")
                    entry = _claimed(change, self._numbered(path, entry.key, {fold(entry.path or "")}))
                    self.ledger.claim(entry)
                replaces = False
        raise PathConflict(f"{entry.path}: another program takes each free name: run the same command again")

    def _give_name(self, change: Publish | Link, path: str, *, replaces: bool) -> str:
        if isinstance(change, Link):
            return self.store.link(change.source.path or "", path, replaces=replaces)
        assert change.fetched.part is not None
        return self.store.rename_in(change.fetched.part.file, path, replaces=replaces)


class _Claim(NamedTuple):
    """A row with the path that its file is about to get.

    Attributes:
        replaces: whether an older version of the file may be at the path.
    """

    entry: Entry
    replaces: bool


def _facts(entry: Entry) -> tuple[object, ...]:
    """Return the facts of a row that two names of one version have in common."""
    return tuple(getattr(entry, name) for name in _VERSION)


def _claimed(change: Publish | Link, path: str) -> Entry:
    if isinstance(change, Link):
        facts = {name: getattr(change.source, name) for name in _VERSION}
        return change.entry._replace(path=path, state=State.DONE, **facts)
    fetched = change.fetched
    return change.entry._replace(
        path=path,
        size_bytes=fetched.size_bytes,
        sha256=fetched.sha256 or None,
        validators=json.dumps(fetched.validators.to_dict()),
        content_type=fetched.headers.get("content-type"),
        http_status=fetched.status or None,
        state=State.DONE,
    )


def _wished_path(entry: Entry) -> str | None:
    """Return the path that the user has given for a file."""
    if not entry.wish or '"path"' not in entry.wish:
        return None
    return options_of(entry).get("path")


def _supersedes(change: Change) -> tuple[str, ...]:
    match change:
        case Publish():
            return change.fetched.supersedes
        case Failure() | Unchanged():
            return change.supersedes
    return ()


def identity_text(identity: tuple[int, ...] | None) -> str | None:
    """Return an identity as its column has it."""
    return str(list(identity)) if identity else None  # the JSON of integers, without the time that an encoder takes


def validators_of(entry: Entry) -> Validators:
    """Return the validators of a row; empty validators if the row has none."""
    try:
        return Validators.from_dict(json.loads(entry.validators or "{}"))
    except (ValueError, AttributeError, RecursionError):
        return Validators()
