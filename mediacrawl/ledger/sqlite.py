"""The record of every media key, in one SQLite file. Knows no HTTP and no Scrapy.

States of a row:

    pending     wanted, not there yet
    publishing  whole and verified under its part name, about to be renamed to `path`
    done        published at `path`
    failed      did not arrive; `permanent` says whether another run asks again

Several processes may use one ledger: transactions are short, readers never wait (WAL). A commit is durable
(`synchronous=FULL`), because after the rename nothing else knows which file belongs to which URL.
"""

from __future__ import annotations

import heapq
import math
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mediacrawl.errors import DiskFull, StoreNotWritable, redact_url
from mediacrawl.ledger.migrations import STEPS
from mediacrawl.store.paths import fold
from mediacrawl.system.read_only_sqlite import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
PENDING, PUBLISHING, DONE, FAILED = "pending", "publishing", "done", "failed"
BUSY_S = 30.0
_TRY_S, _HURRY_S = 0.25, 2.0
_CLOSE_WITHIN_S = 1.0
_MAX_VARIABLES = 500  # of one query; SQLite's own limit was 999 for long

# Of format 1. The steps of `migrations` make of it what is written today.
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


class Entry(NamedTuple):
    """One row. Times are seconds since the epoch; `url` and `page` carry no credentials.

    `wish` is what the list asked for beside the URL (file name, digests, referer), as JSON.
    """

    key: str
    url: str
    page: str | None = None
    spider: str | None = None
    wish: str | None = None
    state: str = PENDING
    path: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    validators: str | None = None
    content_type: str | None = None
    http_status: int | None = None
    reason: str | None = None
    attempts: int = 0
    permanent: bool = False
    wanted_at: float | None = None
    finished_at: float | None = None
    checked_at: float | None = None


_PERMANENT = Entry._fields.index("permanent")


class SqliteLedger:
    """The rows of one store. Methods may be called from any thread; each is one short transaction or part of
    the caller's `transaction()`.

    Raises:
        StoreNotWritable, DiskFull: from every method, when the database file cannot be used.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file for writing: create it, or bring it to the format of today. `read_only` changes nothing: no
        file, no folder, no row, and reads an older format as it is.
        """
        self._path = path
        self._lock, self._reading = threading.RLock(), threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._read_only: ReadOnlyDatabase | None = None
        self._give_up_at = math.inf
        with self._errors():
            if read_only:
                self._read_only = self._patiently(lambda: ReadOnlyDatabase(path, _TRY_S))
            else:
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
        """From now on wait for other processes no longer than a moment: the run is to end."""
        self._give_up_at = min(self._give_up_at, time.monotonic() + _HURRY_S)

    def _patiently(self, use: Callable[[], T]) -> T:
        """Try until no other process has the file, or `BUSY_S` have passed.

        SQLite's own waiting is short: it lets no Ctrl-C through, and does not hold where two create one ledger.
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
                " use the version that wrote it, or move the ledger away to begin a new one"
            )

    def _format(self) -> int:
        """Return the format of the file, 0 for one without tables."""
        (version,) = self._fetch("PRAGMA user_version")[0]
        return int(version)

    def _prepare(self) -> None:
        """Create what is missing. Where nothing is, this writes nothing, and so waits for no other process."""
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        if self._format() == 0:
            self._db.executescript(_SCHEMA)
        if self._format() < _newest_format():
            self._migrate()

    def _migrate(self) -> None:
        """Take the steps that the file lacks, all or none; another process may have taken some by now."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._check_format()  # a newer version may have been quicker
            for step in STEPS[max(self._format(), 1) - 1 :]:
                self._db.execute(step)
            self._db.execute(f"PRAGMA user_version={_newest_format()}")
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _selected_columns(self) -> str:
        """Return the columns of an `Entry` for SELECT. A file of an older format lacks some, if it is only read."""
        present = {row[1] for row in self._fetch("PRAGMA table_info(files)")} or set(Entry._fields)
        return ", ".join(name if name in present else f"NULL AS {name}" for name in Entry._fields)

    def close(self) -> None:
        """Close the file; the ledger must not be used afterwards.

        Does not wait for a thread that hangs in it: then the end of the process closes the file.
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
        """All or nothing: what is done inside is durable when the block has ended, or never happened."""
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

    # Questions

    def lookup(self, keys: Sequence[str]) -> dict[str, Entry]:
        """The rows of these keys, in one query for each 500."""
        found: dict[str, Entry] = {}
        for start in range(0, len(keys), _MAX_VARIABLES):
            batch = keys[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(batch))
            rows = self._all(f"SELECT {self._columns} FROM files WHERE key IN ({marks})", batch)  # noqa: S608
            found.update((row[0], _entry(row)) for row in rows)
        return found

    def knows_any(self, keys: Sequence[str]) -> bool:
        """Whether there is a row of any of these few keys, as far as it is committed.

        Waits for no transaction, and for no other process: for the event loop.

        Raises:
            StoreNotWritable: it cannot be said now.
        """
        marks = ",".join("?" * len(keys))
        with self._reading, self._errors():
            if self._reader is None:
                self._reader = self._connected("ro", busy_s=0.0)
            found = self._reader.execute(f"SELECT 1 FROM files WHERE key IN ({marks}) LIMIT 1", keys)  # noqa: S608
            return found.fetchone() is not None

    def entries(self, *states: str) -> Iterator[Entry]:
        """Every row in one of the states (all without arguments), by key, each once, in blocks: memory is flat.

        Costs what these rows cost, however many others are done. A row that somebody moves from one of several states
        to another meanwhile may be missed.
        """
        states = states or (PENDING, PUBLISHING, DONE, FAILED)
        if DONE in states:
            yield from self._blocks(f"state IN ({','.join('?' * len(states))})", states)
            return
        # A second condition that says no more: without it SQLite does not see that the index has these rows.
        each = (self._blocks("state = ? AND state <> 'done'", (state,)) for state in states)
        last = ""
        for entry in heapq.merge(*each, key=lambda entry: entry.key):
            if entry.key != last:  # else its state has changed between two questions
                yield entry
            last = entry.key

    def _blocks(self, condition: str, values: Sequence[str]) -> Iterator[Entry]:
        query = f"SELECT {self._columns} FROM files WHERE key > ? AND {condition} ORDER BY key LIMIT 500"  # noqa: S608
        last = ""
        while rows := self._all(query, (last, *values)):
            last = rows[-1][0]
            yield from map(_entry, rows)

    def counts(self) -> dict[str, int]:
        """Rows in each state, and the bytes of what is done."""
        counts = dict.fromkeys((PENDING, PUBLISHING, DONE, FAILED), 0)
        counts.update(self._all("SELECT state, count(*) FROM files GROUP BY state"))
        (total,) = self._all("SELECT sum(size_bytes) FROM files WHERE state = 'done'")[0]
        return counts | {"bytes": total or 0}

    def owner_of(self, path: str) -> str | None:
        """The key that a path, or one that folds to the same, belongs to."""
        rows = self._all("SELECT key FROM files WHERE folded = ?", (fold(path),))
        return rows[0][0] if rows else None

    def at_path(self, path: str) -> Entry | None:
        """Return the row whose file stands, or is to stand, at a path in the store; None if there is none."""
        query = f"SELECT {self._columns} FROM files WHERE folded = ? AND path = ?"  # noqa: S608
        rows = self._all(query, (fold(path), path))
        return _entry(rows[0]) if rows else None

    def taken(self, folded: Sequence[str]) -> set[str]:
        """Which of these paths, as `fold` gives them, belong to some key."""
        found: set[str] = set()
        for start in range(0, len(folded), _MAX_VARIABLES):
            batch = folded[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(batch))
            found.update(row[0] for row in self._all(f"SELECT folded FROM files WHERE folded IN ({marks})", batch))  # noqa: S608
        return found

    def find(self, *names: str) -> Entry | None:
        """The first row whose key or URL is one of these."""
        for column in ("key", "url"):
            for name in names:
                if rows := self._all(f"SELECT {self._columns} FROM files WHERE {column} = ? LIMIT 1", (name,)):  # noqa: S608
                    return _entry(rows[0])
        return None

    def strangers(self, paths: Sequence[str]) -> list[str]:
        """Those of at most 500 paths that belong to no row."""
        marks = ",".join("?" * len(paths))
        rows = self._all(f"SELECT folded FROM files WHERE folded IN ({marks})", [fold(path) for path in paths])  # noqa: S608
        known = {row[0] for row in rows}
        return [path for path in paths if fold(path) not in known]

    # Changes

    def record_wanted(self, entries: Iterable[Entry], now: float) -> None:
        """Note what is wanted. A row that is there keeps its state, so that a finished file stays finished."""
        self._many(
            "INSERT INTO files (key, url, page, spider, wish, state, wanted_at) VALUES (?, ?, ?, ?, ?, 'pending', ?)"
            " ON CONFLICT (key) DO UPDATE SET state = 'pending', wanted_at = excluded.wanted_at,"
            " wish = excluded.wish WHERE state = 'failed'",
            ((*_wanted(e), now) for e in entries),
        )

    def claim(self, *entries: Entry) -> None:
        """Give paths to keys, state `publishing`. Each path must be free, see `owner_of` and `taken`.

        The rows have the facts of the new files from now on, so that they are right after a crash too.
        """
        self._many(
            "INSERT INTO files (key, url, page, spider, wish, state, path, folded, size_bytes, sha256, validators,"
            " content_type, http_status) VALUES (?, ?, ?, ?, ?, 'publishing', ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET state = 'publishing', path = excluded.path,"
            " folded = excluded.folded, size_bytes = excluded.size_bytes, sha256 = excluded.sha256,"
            " validators = excluded.validators, content_type = excluded.content_type,"
            " http_status = excluded.http_status",
            (
                (
                    *(*_wanted(entry), entry.path, fold(entry.path or ""), entry.size_bytes, entry.sha256),
                    *(entry.validators, entry.content_type, entry.http_status),
                )
                for entry in entries
            ),
        )

    def finish(self, entries: Iterable[Entry], now: float) -> None:
        """The files of these entries stand at their paths. The rows have the rest since `claim`."""
        self._many(
            "UPDATE files SET state = 'done', reason = NULL, attempts = 0, permanent = 0, finished_at = ?,"
            " checked_at = ? WHERE key = ?",
            ((now, now, entry.key) for entry in entries),
        )

    def settle(self, key: str, state: str, now: float) -> None:
        """After a crash: whether a publishing row is done after all, or is wanted again."""
        done_at = now if state == DONE else None
        self._many(
            "UPDATE files SET state = ?, finished_at = coalesce(finished_at, ?),"
            " checked_at = coalesce(checked_at, ?) WHERE key = ?",
            [(state, done_at, done_at, key)],
        )

    def record_unchanged(self, keys: Iterable[str], now: float) -> None:
        """The origin says that these are unchanged (304)."""
        self._many("UPDATE files SET checked_at = ? WHERE key = ?", ((now, key) for key in keys))

    def record_failure(self, entries: Iterable[Entry], now: float) -> None:
        """What did not arrive, and why. A file that is done stays done: its newer version did not arrive."""
        self._many(
            "INSERT INTO files (key, url, page, spider, wish, state, http_status, reason, permanent, attempts,"
            " wanted_at, checked_at) VALUES (?, ?, ?, ?, ?, 'failed', ?, ?, ?, 1, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET state = 'failed', http_status = excluded.http_status,"
            " reason = excluded.reason, permanent = excluded.permanent, attempts = attempts + 1,"
            " checked_at = excluded.checked_at WHERE state <> 'done'",
            ((*_wanted(e), e.http_status, e.reason, e.permanent, now, now) for e in entries),
        )

    def mark_missing(self, keys: Iterable[str]) -> None:
        """The files of these keys are gone from the store, or have another size: they are wanted again.

        The path stays theirs, so that a repaired file has the name it had.
        """
        self._many("UPDATE files SET state = 'pending' WHERE key = ?", ((key,) for key in keys))

    def mark_corrupt(self, key: str, reason: str) -> None:
        """The file of a done row is not what it was: failed, and to be fetched again under the same path."""
        self._many("UPDATE files SET state = 'failed', reason = ?, permanent = 0 WHERE key = ?", [(reason, key)])

    def forget(self, keys: Iterable[str]) -> None:
        """Delete rows: as if these had never been wanted."""
        self._many("DELETE FROM files WHERE key = ?", ((key,) for key in keys))

    def is_prepared(self) -> bool:
        """Whether there are tables: not so for a moment while another process makes the file, or if it died then."""
        return bool(self._all("PRAGMA user_version") != [(0,)])

    def is_intact(self) -> bool:
        """SQLite's own check of the whole file."""
        try:
            return bool(self._all("PRAGMA integrity_check") == [("ok",)])
        except StoreNotWritable:  # damaged so badly that the check itself gives up
            return False

    # Plumbing

    def _all(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        with self._lock, self._errors():
            return self._patiently(lambda: self._fetch(query, values))

    def _fetch(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        if self._read_only is not None:
            return self._read_only.fetch(query, values)
        return self._db.execute(query, values).fetchall()

    def _many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._lock:
            if self._read_only is None and self._db.in_transaction:
                self._db.executemany(statement, rows)
            else:
                with self.transaction():
                    self._db.executemany(statement, rows)

    def _is_disk_full(self) -> bool:
        """What SQLite makes of a shared memory that has no room is an error like any other."""
        try:
            return os.statvfs(self._path.parent).f_bavail == 0
        except OSError:
            return False

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "full" in str(error) or ("disk I/O" in str(error) and self._is_disk_full()):
                raise DiskFull(
                    f"no space left for the ledger {self._path}: nothing is lost, free some space and run again"
                ) from None
            hint = " by another process: run again when that is through" if "locked" in str(error) else ""
            raise StoreNotWritable(f"cannot use the ledger {self._path}: {error}{hint}") from None


def _newest_format() -> int:
    """Return the format that this version writes."""
    return 1 + len(STEPS)


def _wanted(entry: Entry) -> tuple[str | None, ...]:
    """The first columns of a row, without credentials, whoever forgot to remove them."""
    return entry.key, redact_url(entry.url), entry.page and redact_url(entry.page), entry.spider, entry.wish


def _entry(row: Sequence[Any]) -> Entry:
    values = list(row)  # in the order of the columns
    values[_PERMANENT] = bool(values[_PERMANENT])
    return Entry(*values)
