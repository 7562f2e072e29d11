"""The ledger in one SQLite file: a row for every media key. Independent of HTTP and Scrapy.

Several processes may use one ledger: transactions are short, readers never wait (WAL). A commit is durable
(`synchronous=FULL`), because after the rename only the ledger knows which file belongs to which URL.
"""

from __future__ import annotations

import heapq
import logging
import math
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mediacrawl.errors import DiskFull, StoreNotWritable, disk_error, redact_url
from mediacrawl.ledger.base import Entry, State, Total
from mediacrawl.ledger.migrations import STEPS
from mediacrawl.ledger.rows import entry_of, suspects
from mediacrawl.store.safe_paths import fold
from mediacrawl.system.private_sqlite import check_regular, prepare_private, withdraw_permissions
from mediacrawl.system.read_only_sqlite import ReadOnlyDatabase, decodes_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
BUSY_S = 30.0
_WORDS_OF_DAMAGE = ("malformed", "not a database", "no such table", "no such column", "has no column", "disk image")
_PRICE = "then every file is fetched again, beside those that are there (docs/crash-safety.md)"
_TRY_S, _HURRY_S = 0.25, 2.0
_CLOSE_WITHIN_S = 1.0
_MOST_BYTES = 1 << 50  # of one file: a larger size is damaged, and could make the sum of all sizes overflow
_MAX_VARIABLES = 500  # of one query; SQLite's own limit was 999 for a long time

_STATES = (State.PENDING, State.PUBLISHING, State.DONE, State.FAILED)

# The schema of format 1. The steps of `migrations` convert it to the current format.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    key           TEXT PRIMARY KEY,
    url           TEXT NOT NULL,
    page          TEXT,
    spider        TEXT,
    wish          TEXT,
    state         TEXT NOT NULL,
    path          TEXT,
    folded        TEXT UNIQUE,
    size_bytes    INTEGER,
    sha256        TEXT,
    validators    TEXT,
    content_type  TEXT,
    http_status   INTEGER,
    reason        TEXT,
    attempts      INTEGER NOT NULL DEFAULT 0,
    permanent     INTEGER NOT NULL DEFAULT 0,
    wanted_at     REAL,
    finished_at   REAL,
    checked_at    REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_state ON files (state) WHERE state <> 'done';
"""


logger = logging.getLogger(__name__)


class SqliteLedger:
    """The rows of one store, in one SQLite file.

    Methods may be called from any thread. Each call is one short transaction, or part of the caller's
    `transaction()`.

    Raises:
        StoreNotWritable, DiskFull: from every method, when the database file cannot be used.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file for writing: create it, or convert it to the current format.

        With `read_only`, no file, folder or row is changed, and an older format is read without conversion.
        """
        self._path = path
        self._lock, self._reading = threading.RLock(), threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._read_only: ReadOnlyDatabase | None = None
        self._give_up_at = math.inf
        self._damaged: set[object] = set()  # the keys of damaged rows that were told
        with self._errors():
            if read_only:
                check_regular(path)
                self._read_only = self._patiently(lambda: ReadOnlyDatabase(path, _TRY_S))
            else:
                prepare_private(path)
                withdraw_permissions(path)
                self._db = self._connected("rwc")
            try:
                self._patiently(self._check_format)
                if not read_only:
                    self._patiently(self._prepare)
                self._columns = self._patiently(self._selected_columns)
            except BaseException:
                self._close()
                raise

    def hurry(self) -> None:
        """Limit all further waits for other processes to 2 s from the first call, as the run is to end."""
        self._give_up_at = min(self._give_up_at, time.monotonic() + _HURRY_S)

    def _patiently(self, use: Callable[[], T]) -> T:
        """Try until no other process has locked the file, at most `BUSY_S` seconds, or less after `hurry`.

        SQLite's own wait is set to a short time: it blocks Ctrl-C, and has no effect where two processes create the
        same ledger.
        """
        give_up_at = time.monotonic() + BUSY_S
        while True:
            try:
                return use()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() >= min(give_up_at, self._give_up_at):
                    raise
                time.sleep(0.01)

    def _connected(self, mode: str, busy_s: float = _TRY_S) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)

    def _check_format(self) -> None:
        version = self._format()
        if version > _newest_format():
            raise StoreNotWritable(
                f"the ledger {self._path} has format {version}, this mediacrawl writes format {_newest_format()}:"
                f" use the version that wrote it, or move the ledger away to begin a new one: {_PRICE}"
            )

    def _format(self) -> int:
        """Return the format of the file; 0 for a file without tables."""
        (version,) = self._fetch("PRAGMA user_version")[0]
        return int(version)

    def _prepare(self) -> None:
        """Create missing tables and execute missing steps.

        If nothing is missing, this writes nothing, and therefore waits for no other process.
        """
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        if self._format() == 0:
            self._db.executescript(_SCHEMA)
        if self._format() < _newest_format():
            self._migrate()

    def _migrate(self) -> None:
        """Execute all missing steps, or none if one fails; another process may have executed some meanwhile."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._check_format()  # a newer version may have converted the file meanwhile
            for step in STEPS[max(self._format(), 1) - 1 :]:
                self._db.execute(step)
            self._db.execute(f"PRAGMA user_version={_newest_format()}")
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _selected_columns(self) -> str:
        """Return the columns of an `Entry` for SELECT, NULL for columns that an older format (read-only) lacks."""
        present = {row[1] for row in self._fetch("PRAGMA table_info(files)")} or set(Entry._fields)
        for name in ("key", "url", "state"):
            if name not in present:
                raise sqlite3.OperationalError(f"no such column: {name}")
        return ", ".join(name if name in present else f"NULL AS {name}" for name in Entry._fields)

    def close(self) -> None:
        """Close the file; the ledger must not be used afterwards.

        The wait for a call of another thread is limited to 1 s. If that thread hangs, the file is closed when the
        process ends.
        """
        with self._reading:
            if self._reader is not None:
                self._reader.close()
        if self._lock.acquire(timeout=_CLOSE_WITHIN_S):
            try:
                self._close()
            finally:
                self._lock.release()

    def _close(self) -> None:
        if self._read_only is not None:
            self._read_only.close()
        else:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes of the block atomic: after the block they are durable; after an error none is made."""
        if self._read_only is not None:
            raise StoreNotWritable(f"the ledger {self._path} was opened for reading only")
        with self._lock, self._errors():
            self._patiently(partial(self._db.execute, "BEGIN IMMEDIATE"))
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # Queries

    def lookup(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the rows of these keys, with one query for every 500 keys; keys without a row are omitted."""
        found: dict[str, Entry] = {}
        for start in range(0, len(keys), _MAX_VARIABLES):
            batch = keys[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(batch))
            rows = self._all(f"SELECT {self._columns} FROM files WHERE key IN ({marks})", batch)  # noqa: S608
            found.update((entry.key, entry) for entry in self._entries(rows))
        return found

    def finished(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the committed rows of these keys that are done or being published; other keys are omitted.

        The call waits for no transaction of another thread: the threads that fetch files ask while rows are written.
        """
        found: dict[str, Entry] = {}
        for start in range(0, len(keys), _MAX_VARIABLES):
            batch = keys[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(batch))
            wanted = f"key IN ({marks}) AND state IN ('publishing', 'done')"
            query = f"SELECT {self._columns} FROM files WHERE {wanted}"  # noqa: S608
            if self._read_only is not None:
                rows = self._all(query, batch)
            else:
                with self._errors():
                    rows = self._patiently(partial(self._fetch_committed, query, batch))
            found.update((entry.key, entry) for entry in self._entries(rows))
        return found

    def knows_any(self, keys: Sequence[str]) -> bool:
        """Return whether a committed row of any of these few keys exists.

        The call never waits for a transaction or another process, so that it can run in the event loop.

        Raises:
            StoreNotWritable: the file is locked or cannot be read now.
        """
        marks = ",".join("?" * len(keys))
        with self._errors():
            return bool(self._fetch_committed(f"SELECT 1 FROM files WHERE key IN ({marks}) LIMIT 1", keys))  # noqa: S608

    def entries(self, *states: str, prefix: str = "") -> Iterator[Entry]:
        """Yield every row in one of the states (every row without arguments), by key, each row once.

        With `prefix`, only rows are read whose keys begin with it. Rows are read in blocks, so that memory use is
        constant. Unless `done` is among the states, the cost depends only on the yielded rows, not on the number of
        done rows. A row may be missed if another thread or process meanwhile moves it from one of several states to
        another.
        """
        states = states or _STATES
        if State.DONE in states:
            yield from self._blocks(f"state IN ({','.join('?' * len(states))})", states, prefix)
            return
        # The second condition is redundant, but without it SQLite does not see that the partial index has these rows.
        each = (self._blocks("state = ? AND state <> 'done'", (state,), prefix) for state in states)
        last = ""
        for entry in heapq.merge(*each, key=lambda entry: entry.key):
            if entry.key != last:  # else its state has changed between two queries
                yield entry
            last = entry.key

    def _blocks(self, condition: str, values: Sequence[str], prefix: str) -> Iterator[Entry]:
        if prefix:
            condition, values = f"key < ? AND {condition}", (_behind(prefix), *values)
        query = f"SELECT {self._columns} FROM files WHERE key > ? AND {condition} ORDER BY key LIMIT 500"  # noqa: S608
        last = prefix
        while rows := self._all(query, (last, *values)):
            last = rows[-1][0]
            yield from self._entries(rows)

    def done_total(self, prefix: str) -> Total:
        """Return the number and size of the done rows whose keys begin with a prefix."""
        return self._total("state = 'done'", prefix)

    def unfinished_total(self, prefix: str) -> Total:
        """Return the number and size of the rows whose keys begin with a prefix, and which have had no file yet.

        The cost does not depend on the number of done rows.
        """
        return self._total("state <> 'done' AND finished_at IS NULL", prefix)

    def _total(self, condition: str, prefix: str) -> Total:
        sizes = "sum(size_bytes) FILTER (WHERE size_bytes BETWEEN 0 AND ?)"
        query = f"SELECT count(*), {sizes} FROM files WHERE {condition} AND key >= ? AND key < ?"  # noqa: S608
        rows, size_bytes = self._all(query, (_MOST_BYTES, prefix, _behind(prefix)))[0]
        return Total(rows, size_bytes or 0)

    def counts(self) -> dict[str, int]:
        """Return the number of rows in each state, and as `bytes` the total size of the done files.

        A damaged row counts in the state in which it is read: one without a path in the store is not done.
        """
        counts: dict[Any, int] = dict.fromkeys(_STATES, 0)
        counts.update(self._all("SELECT state, count(*) FROM files GROUP BY state"))
        query = "SELECT sum(size_bytes) FROM files WHERE state = 'done' AND size_bytes BETWEEN 0 AND ?"
        (total,) = self._all(query, (_MOST_BYTES,))[0]
        counts["bytes"] = int(total or 0)
        for row in self._suspects(("key", "url", "path")):
            entry, state = next(self._entries([row]), None), row[Entry._fields.index("state")]
            if entry is None or entry.state != state:
                counts[state] -= 1
                size_bytes = row[Entry._fields.index("size_bytes")]
                is_counted = state == State.DONE and isinstance(size_bytes, int) and 0 <= size_bytes <= _MOST_BYTES
                counts["bytes"] -= size_bytes if is_counted else 0
            if entry is not None and entry.state != state:
                counts[entry.state] += 1
        return {name: number for name, number in counts.items() if name in {*_STATES, "bytes"}}

    def damaged(self) -> dict[object, tuple[str, Entry | None]]:
        """Return by key the damaged rows: the name of a damaged column, and the entry without it, if there is one."""
        found: dict[object, tuple[str, Entry | None]] = {}
        for row in self._suspects():
            told: dict[str, object] = {}
            entry = entry_of(row, lambda key, name, told=told: told.setdefault(name, key))  # type: ignore[misc]
            if told:
                found[row[0]] = (next(iter(told)), entry)
        return found

    def _suspects(self, names: Iterable[str] = Entry._fields) -> list[Any]:
        query = f"SELECT * FROM (SELECT {self._columns} FROM files) WHERE {suspects(names)}"  # noqa: S608
        return self._all(query)

    def owner_of(self, path: str) -> str | None:
        """Return the key that a path belongs to, or a path with the same `fold`; None if it is free."""
        rows = self._all("SELECT key FROM files WHERE folded = ?", (fold(path),))
        return rows[0][0] if rows else None

    def at_path(self, path: str) -> Entry | None:
        """Return the row of the file that is, or is to be, at a path in the store; None if there is none."""
        query = f"SELECT {self._columns} FROM files WHERE folded = ? AND path = ?"  # noqa: S608
        rows = self._all(query, (fold(path), path))
        return next(self._entries(rows), None)

    def taken(self, folded: Sequence[str]) -> set[str]:
        """Return which of these paths, as returned by `fold`, belong to some key."""
        return set(self.owners(folded))

    def owners(self, folded: Sequence[str]) -> dict[str, str]:
        """Return the keys that these paths, as returned by `fold`, belong to; free paths are left out."""
        found: dict[str, str] = {}
        for start in range(0, len(folded), _MAX_VARIABLES):
            batch = folded[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(batch))
            found.update(self._all(f"SELECT folded, key FROM files WHERE folded IN ({marks})", batch))  # noqa: S608
        return found

    def find(self, *names: str) -> Entry | None:
        """Return the first row with one of these names as its key, else as its URL; None if there is none."""
        for column in ("key", "url"):
            for name in names:
                rows = self._all(f"SELECT {self._columns} FROM files WHERE {column} = ? LIMIT 1", (name,))  # noqa: S608
                if (entry := next(self._entries(rows), None)) is not None:
                    return entry
        return None

    def strangers(self, paths: Sequence[str]) -> list[str]:
        """Return the paths, out of at most 500, that belong to no row."""
        marks = ",".join("?" * len(paths))
        rows = self._all(f"SELECT folded FROM files WHERE folded IN ({marks})", [fold(path) for path in paths])  # noqa: S608
        known = {row[0] for row in rows}
        return [path for path in paths if fold(path) not in known]

    # Changes

    def record_wanted(self, entries: Iterable[Entry], now: float) -> None:
        """Note that files are wanted.

        An existing row keeps its state, so that a finished file stays finished; only a failed row is pending again.
        A row that is not finished takes the URL of the entry, which may be a newer link to the file.
        """
        self._many(
            "INSERT INTO files (key, url, page, spider, wish, state, wanted_at) VALUES (?, ?, ?, ?, ?, 'pending', ?)"
            " ON CONFLICT (key) DO UPDATE SET state = 'pending', wanted_at = excluded.wanted_at, url = excluded.url,"
            " wish = excluded.wish WHERE state = 'failed' OR (state = 'pending' AND url <> excluded.url)",
            ((*_wanted(e), now) for e in entries),
        )

    def reserve(self, entry: Entry, now: float) -> None:
        """Note the size in bytes and the wish of a file that is arriving, in the state `pending`.

        A row that has had a file stays as it is.
        """
        self._many(
            "INSERT INTO files (key, url, page, spider, wish, state, size_bytes, wanted_at)"
            " VALUES (?, ?, ?, ?, ?, 'pending', ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " size_bytes = excluded.size_bytes, wish = excluded.wish WHERE state = 'pending' AND finished_at IS NULL",
            [(*_wanted(entry), entry.size_bytes, now)],
        )

    def claim(self, *entries: Entry) -> None:
        """Assign paths to keys, state `publishing`. Each path must be free, see `owner_of` and `taken`.

        From now on the rows contain the facts of the new files, so that they are correct after a crash, too.
        """
        self._many(
            "INSERT INTO files (key, url, page, spider, wish, state, path, folded, size_bytes, sha256, validators,"
            " content_type, http_status) VALUES (?, ?, ?, ?, ?, 'publishing', ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET state = 'publishing', url = excluded.url, path = excluded.path,"
            " folded = excluded.folded, size_bytes = excluded.size_bytes, sha256 = excluded.sha256,"
            " validators = excluded.validators, content_type = excluded.content_type,"
            " http_status = excluded.http_status, identity = NULL",
            (
                (
                    *(*_wanted(entry), entry.path, fold(entry.path or ""), entry.size_bytes, entry.sha256),
                    *(entry.validators, entry.content_type, entry.http_status),
                )
                for entry in entries
            ),
        )

    def change_key(self, key: str, new_key: str) -> None:
        """Give a row another key, which has no row."""
        self._many("UPDATE files SET key = ? WHERE key = ?", [(new_key, key)])

    def finish(self, entries: Iterable[Entry], now: float) -> None:
        """Note that the files of these entries are at their paths. The rows have the other facts since `claim`."""
        self._many(
            "UPDATE files SET state = 'done', reason = NULL, attempts = 0, permanent = 0, finished_at = ?,"
            " checked_at = ?, identity = ? WHERE key = ?",
            ((now, now, entry.identity, entry.key) for entry in entries),
        )

    def record_identities(self, entries: Iterable[Entry]) -> None:
        """Note the identities of files whose bytes are unchanged; a row with another digest stays as it is."""
        self._many(
            "UPDATE files SET identity = ? WHERE key = ? AND sha256 = ? AND state = 'done'",
            ((entry.identity, entry.key, entry.sha256) for entry in entries),
        )

    def settle(self, key: str, state: str, now: float) -> None:
        """Set the state of a row after a crash or a failed rename: done after all, or wanted again.

        An upload that has never had a file gives its path back: its client may send the file anew, with another key.
        """
        done_at = now if state == State.DONE else None
        is_wanted = state == State.PENDING
        self._many(
            "UPDATE files SET state = ?, finished_at = coalesce(finished_at, ?),"
            " checked_at = coalesce(checked_at, ?),"
            " path = CASE WHEN ? AND url = '' AND finished_at IS NULL THEN NULL ELSE path END,"
            " folded = CASE WHEN ? AND url = '' AND finished_at IS NULL THEN NULL ELSE folded END WHERE key = ?",
            [(state, done_at, done_at, is_wanted, is_wanted, key)],
        )

    def record_unchanged(self, keys: Iterable[str], now: float) -> None:
        """Note that the origin reports these files as unchanged (304)."""
        self._many("UPDATE files SET checked_at = ? WHERE key = ?", ((now, key) for key in keys))

    def record_failure(self, entries: Iterable[Entry], now: float) -> None:
        """Note which files were not fetched, and why. A done file stays done: only its newer version is missing."""
        self._many(
            "INSERT INTO files (key, url, page, spider, wish, state, http_status, reason, permanent, attempts,"
            " wanted_at, checked_at) VALUES (?, ?, ?, ?, ?, 'failed', ?, ?, ?, 1, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET state = 'failed', url = excluded.url,"
            " http_status = excluded.http_status,"
            " reason = excluded.reason, permanent = excluded.permanent, attempts = attempts + 1,"
            " checked_at = excluded.checked_at WHERE state <> 'done'",
            ((*_wanted(e), e.http_status, e.reason, e.permanent, now, now) for e in entries),
        )

    def mark_missing(self, keys: Iterable[str]) -> None:
        """Mark files as wanted again that are missing from the store, or have another size there.

        The rows keep their paths, so that a repaired file has its former name.
        """
        self._many("UPDATE files SET state = 'pending' WHERE key = ?", ((key,) for key in keys))

    def mark_corrupt(self, key: str, reason: str) -> None:
        """Note that the file of a done row was altered: failed, and to be fetched again under the same path."""
        self._many("UPDATE files SET state = 'failed', reason = ?, permanent = 0 WHERE key = ?", [(reason, key)])

    def adopt(self, entry: Entry, keys: Iterable[str]) -> None:
        """Note that files of other keys are the file of this entry, which then has the path of one of them."""
        key, url, page, _, wish = _wanted(entry)
        for other in keys:
            self._many(
                "DELETE FROM files WHERE key = ? AND path IS NULL"
                " AND EXISTS (SELECT 1 FROM files WHERE key = ? AND path IS NOT NULL)",
                [(key, other)],
            )
            self._many(
                "UPDATE OR IGNORE files SET key = ?, url = ?, page = coalesce(?, page), wish = coalesce(?, wish)"
                " WHERE key = ? AND path IS NOT NULL",
                [(key, url, page, wish, other)],
            )
            self._many("DELETE FROM files WHERE key = ? AND path IS NULL", [(other,)])

    def forget(self, keys: Iterable[object]) -> None:
        """Delete rows, as if their files had never been wanted."""
        self._many("DELETE FROM files WHERE key = ?", ((key,) for key in keys))

    def is_prepared(self) -> bool:
        """Return whether there are tables: False while another process creates the file, or if it died meanwhile."""
        return bool(self._all("PRAGMA user_version") != [(0,)])

    def is_intact(self) -> bool:
        """Check the complete file with SQLite's own integrity check; return whether there is no damage."""
        try:
            return bool(self._all("PRAGMA integrity_check") == [("ok",)])
        except StoreNotWritable:  # so badly damaged that the check itself fails
            return False

    # Helpers

    def _entries(self, rows: Iterable[Sequence[Any]]) -> Iterator[Entry]:
        """Yield the entries of rows; a row that is too damaged for one is left out."""
        for row in rows:
            if (entry := entry_of(row, self._tell_damaged)) is not None:
                yield entry

    def _tell_damaged(self, key: object, column: str) -> None:
        """Log a damaged row, once: it is read several times in a run."""
        if key not in self._damaged:
            self._damaged.add(key)
            logger.warning(
                "The ledger %s is damaged in the row of %r (%s): that does not count", self._path, key, column
            )

    def _all(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        with self._lock, self._errors():
            return self._patiently(lambda: self._fetch(query, values))

    def _fetch(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        if self._read_only is not None:
            return self._read_only.fetch(query, values)
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if not decodes_after(error, self._db):
                raise
            return self._fetch(query, values)

    def _fetch_committed(self, query: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows of a query, beside the transaction of another thread. Never wait for another process."""
        with self._reading:
            if self._reader is None:
                self._reader = self._connected("ro", busy_s=0.0)
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if not decodes_after(error, self._reader):
                    raise
                return self._reader.execute(query, values).fetchall()

    def _many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._lock:
            if self._read_only is None and self._db.in_transaction:
                self._db.executemany(statement, rows)
            else:
                with self.transaction():
                    self._db.executemany(statement, rows)

    def _is_disk_full(self) -> bool:
        """Return whether the disk is full. SQLite reports a lack of room for its shared memory as an I/O error."""
        try:
            return os.statvfs(self._path.parent).f_bavail == 0
        except OSError:
            return False

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_error(error, f"the ledger {self._path}") from None
        except sqlite3.Error as error:
            if "full" in str(error) or ("disk I/O" in str(error) and self._is_disk_full()):
                raise DiskFull(
                    f"no space left for the ledger {self._path}: nothing is lost, free some space and run again"
                ) from None
            raise StoreNotWritable(f"cannot use the ledger {self._path}: {error}{_hint(str(error))}") from None


def _behind(prefix: str) -> str:
    """Return a text that is behind all texts with a prefix, and before all others that are behind it."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _hint(error: str) -> str:
    """Return what to do about an error of SQLite."""
    if "locked" in error:
        return " by another process: run again when that is through"
    if any(words in error for words in _WORDS_OF_DAMAGE):
        return ": it is damaged, or no ledger; restore it from a copy, or move it away to begin a new one: " + _PRICE
    return ""


def _newest_format() -> int:
    """Return the format that this version writes."""
    return 1 + len(STEPS)


def _wanted(entry: Entry) -> tuple[str | None, ...]:
    """Return the first columns of a row. Credentials are removed here, in case the caller did not remove them."""
    return entry.key, redact_url(entry.url), entry.page and redact_url(entry.page), entry.spider, entry.wish
