"""Pages to crawl, in one SQLite file: `pending -> leased -> done`. Independent of Scrapy: a page is a `bytes` object.

A leased page that was not done when the process died is pending again when the frontier is next opened.

Commits are delayed (by up to `COMMIT_S` seconds) and not synced. SQLite keeps them in order, so that a crash leaves
an earlier state of the complete frontier, in which a page that was done later is still pending. That page is
fetched twice, not lost.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import DiskFull, JobInUse, StoreNotWritable, disk_error
from mediacrawl.frontier.base import FrontierPage, PageKind
from mediacrawl.frontier.job_folder import open_job_folder
from mediacrawl.system.directories import Directory, make_private
from mediacrawl.system.private_sqlite import (
    check_regular,
    is_written_by_us_alone,
    prepare_private,
    withdraw_permissions,
)
from mediacrawl.system.read_only_sqlite import ReadOnlyDatabase, replace_wrong_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

logger = logging.getLogger(__name__)

FORMAT = 2
_PICKLED_FORMAT = 1  # its pages are pickles, which run code when they are read
_DATABASE, _LOCK = "frontier.sqlite3", "frontier.lock"
COMMIT_S = 0.02
_BUSY_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (
    id           INTEGER PRIMARY KEY,
    fingerprint  BLOB NOT NULL,
    kind         INTEGER NOT NULL,
    is_start     INTEGER NOT NULL,
    run          INTEGER NOT NULL,
    state        INTEGER NOT NULL DEFAULT 0,
    priority     INTEGER NOT NULL,
    place        INTEGER NOT NULL,
    data         BLOB
);
CREATE INDEX IF NOT EXISTS pages_seen ON pages (fingerprint, kind);
CREATE INDEX IF NOT EXISTS pages_next ON pages (priority DESC, is_start, place) WHERE state = 0;
CREATE TABLE IF NOT EXISTS failures (
    fingerprint  BLOB PRIMARY KEY,
    url          TEXT NOT NULL,
    reason       TEXT NOT NULL,
    run          INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""
_PENDING, _LEASED, _DONE = 0, 1, 2
_MOST = 1 << 48  # a run or place beyond is damaged, a higher priority counts as this one
_LAST = """
SELECT max(CASE WHEN typeof(run) = 'integer' AND run BETWEEN 0 AND :most THEN run END),
       max(CASE WHEN typeof(place) = 'integer' AND place BETWEEN -:most AND :most THEN abs(place) END)
FROM pages
"""


class SqliteFrontier:
    """The pages of one job folder, for one process.

    Args:
        folder: the JOBDIR; created if missing.
        owner: the spider's name; a folder of another spider is refused.
        newest_first: the order of Scrapy's default queues; False is breadth first.

    Raises:
        JobInUse: another process (the message has its pid) uses the folder, or the folder belongs to another spider
            or has another format.
        StoreNotWritable, DiskFull: from every method.
    """

    def __init__(
        self,
        folder: Path,
        owner: str,
        *,
        newest_first: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._direction = -1 if newest_first else 1
        self._lock_fd = self._lock()
        self.reads_pickles = False
        try:
            self._is_ours_alone = self._checked_database()
            self._db = self._call(self._connect)
        except BaseException:
            os.close(self._lock_fd)
            raise
        try:
            self._call(self._configure)
            self._call(self._check, owner)
            withdraw_permissions(folder / _DATABASE)  # not before `_check`: what others could write stays visible
            self._call(self._recover)
        except BaseException:
            self._db.close()
            os.close(self._lock_fd)
            raise

    def add(self, fingerprint: bytes, data: bytes, *, priority: int = 0, kind: int = PageKind.ORDINARY) -> bool:
        """Store a page; return False if the page was seen before."""
        if kind != PageKind.AGAIN and self._call(self._seen, fingerprint, kind):
            return False
        place = self._next_place * (1 if kind == PageKind.START else self._direction)
        self._next_place += 1
        self._call(
            self._db.execute,
            "INSERT INTO pages (fingerprint, kind, is_start, run, priority, place, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (fingerprint, kind, kind == PageKind.START, self._run, _clamped(priority), place, data),
        )
        self._pending += 1
        self._commit_when_due()
        return True

    def hold(self, fingerprint: bytes, *, kind: int = PageKind.ORDINARY) -> int | None:
        """Note a page that is kept in memory only; return its id for `done`, None if the page was seen before."""
        if kind != PageKind.AGAIN and self._call(self._seen, fingerprint, kind):
            return None
        added = self._call(
            self._db.execute,
            "INSERT INTO pages (fingerprint, kind, is_start, run, state, priority, place)"
            " VALUES (?, ?, ?, ?, ?, 0, 0)",
            (fingerprint, kind, kind == PageKind.START, self._run, _LEASED),
        )
        self._commit_when_due()
        return int(added.lastrowid)

    def lease(self) -> FrontierPage | None:
        """Return the next page; None if no page is pending.

        Pages are ordered by descending priority. Within a priority, start pages are last, in the order of addition;
        the other pages are ordered newest first, or oldest first without `newest_first`.
        """
        if not self._pending:
            self._commit_when_due()  # also while the last pages wait for their files, perhaps for hours
            return None
        row = self._call(self._pop)
        self._commit_when_due()
        if row is None:
            return None
        self._pending -= 1
        return FrontierPage(row[0], row[1])

    def done(self, ids: Iterable[int]) -> None:
        """Mark pages as done: everything they yielded is safe. Their data is deleted."""
        rows = [(_DONE, page_id) for page_id in ids]
        self._call(self._db.executemany, "UPDATE pages SET state = ?, data = NULL WHERE id = ?", rows)
        self._commit_when_due()

    def note_failure(self, fingerprint: bytes, url: str, reason: str) -> None:
        """Note that a page could not be read. `url` has no credentials."""
        self._has_failures = True
        row = (fingerprint, url, reason, self._run)
        self._call(self._db.execute, "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", row)
        self._commit_when_due()

    def note_read(self, fingerprint: bytes) -> None:
        """Remove the note that a page could not be read."""
        if self._has_failures:
            self._call(self._db.execute, "DELETE FROM failures WHERE fingerprint = ?", (fingerprint,))
            self._commit_when_due()

    def earlier_failures(self) -> list[tuple[str, str]]:
        """Return URL and reason of each page that only earlier runs of this job have noted as not read."""
        query = "SELECT CAST(url AS TEXT), CAST(reason AS TEXT) FROM failures WHERE run < ? ORDER BY rowid"
        return list(self._call(lambda: self._db.execute(query, (self._run,)).fetchall()))

    def __len__(self) -> int:
        """Return how many pages are pending."""
        return self._pending

    def close(self, *, finished: bool) -> None:
        """Close the frontier after a commit. A finished job without remaining pages starts anew when next opened."""
        left = self._pending + self._call(self._count, _LEASED)
        self._call(self._put, "finished", "yes" if finished and not left else "no")
        self._call(self._db.execute, "COMMIT")
        self._db.close()
        os.close(self._lock_fd)

    # Helpers

    def _lock(self) -> int:
        try:
            return self._locked_in(open_job_folder(self._folder))
        except OSError as error:
            raise disk_error(error, f"the job folder {self._folder}") from None

    def _locked_in(self, folder: Directory) -> int:
        """Return the descriptor of the lock file, locked. A file with a second name is not ours to write."""
        while True:
            fd = folder.open_file(_LOCK, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(fd, 100, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise JobInUse(f"the job folder {self._folder} is in use by process {holder}") from None
            if os.fstat(fd).st_nlink <= 1:
                break
            os.close(fd)
            folder.remove(_LOCK)
        try:
            make_private(fd, f"{self._folder}/{_LOCK}")
        except OSError:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _checked_database(self) -> bool:
        """Check the database before SQLite opens it; return whether no other user can have written to it."""
        path = self._folder / _DATABASE
        try:
            is_ours_alone = is_written_by_us_alone(path)
            prepare_private(path)
        except OSError as error:
            raise disk_error(error, path) from None
        return is_ours_alone

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._folder / _DATABASE, isolation_level=None)
        replace_wrong_bytes(db)  # slower, but there are few texts
        return db

    def _configure(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")

    def _check(self, owner: str) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _PICKLED_FORMAT, FORMAT):
            raise JobInUse(
                f"the job folder {self._folder} has format {version}, this mediacrawl knows format {FORMAT}:"
                " finish it with the version that wrote it, or take another JOBDIR"
            )
        if version == 0 and (self._folder / "requests.queue").exists():
            raise JobInUse(
                f"the job folder {self._folder} was begun by Scrapy's own scheduler, which this one cannot read:"
                " finish it without mediacrawl's SCHEDULER, or take another JOBDIR"
            )
        self._db.executescript(_SCHEMA)
        self._check_pages(version)
        self._db.execute(f"PRAGMA user_version={FORMAT}")
        row = self._db.execute("SELECT value FROM facts WHERE name = 'owner'").fetchone()
        if row is not None and row[0] != owner:
            raise JobInUse(
                f"the job folder {self._folder} belongs to the spider {row[0]!r}, not to {owner!r}:"
                " take another JOBDIR"
            )
        self._put("owner", owner)

    def _check_pages(self, version: int) -> None:
        """Refuse pages that another user may have written, and find out whether pages of an earlier version are left.

        Reading a pickle runs the code that is in it. A page in JSON names methods of the spider, classes and URLs.
        """
        if version == _PICKLED_FORMAT:
            self._put("pickles", "yes")
        if not self._is_ours_alone and self._has("SELECT 1 FROM pages WHERE data IS NOT NULL LIMIT 1"):
            raise JobInUse(
                f"the job folder {self._folder} has pages, and other users may have written to its frontier.sqlite3:"
                " to read pages of another user could run code of that user; if nobody else has written to it, give"
                " the file to the user that runs this command, with mode 0600; else take another JOBDIR"
            )
        if self._get("pickles") == "yes":
            self.reads_pickles = self._has("SELECT 1 FROM pages WHERE data >= x'80' AND data < x'81' LIMIT 1")
            if not self.reads_pickles:
                self._put("pickles", "no")

    def _has(self, query: str) -> bool:
        return self._db.execute(query).fetchone() is not None

    def _recover(self) -> None:
        self._db.execute("BEGIN")
        if self._get("finished") == "yes":
            self._db.execute("DELETE FROM pages")
            self._db.execute("DELETE FROM failures")
            self._put("finished", "no")
        self._db.execute("DELETE FROM pages WHERE state = ? AND data IS NULL", (_LEASED,))  # were kept in memory only
        # Not `state = 1`: a damaged state must not end the job before its pages.
        self._db.execute("UPDATE pages SET state = ? WHERE state NOT IN (?, ?)", (_PENDING, _PENDING, _DONE))
        (last_run, last_place) = self._db.execute(_LAST, {"most": _MOST}).fetchone()
        self._has_failures = self._has("SELECT 1 FROM failures LIMIT 1")
        self._run = (last_run or 0) + 1
        self._next_place = (last_place or 0) + 1
        self._pending = self._count(_PENDING)
        self._commit()

    def _seen(self, fingerprint: bytes, kind: int) -> bool:
        # Within one run a start page is stored each time the spider yields it, as with Scrapy's own scheduler.
        run = self._run if kind == PageKind.START else self._run + 1
        query = "SELECT 1 FROM pages WHERE fingerprint = ? AND kind = ? AND run < ? LIMIT 1"
        return self._db.execute(query, (fingerprint, kind, run)).fetchone() is not None

    def _pop(self) -> Any:
        row = self._db.execute(
            "SELECT id, data FROM pages WHERE state = 0 ORDER BY priority DESC, is_start, place LIMIT 1"
        ).fetchone()
        if row is not None:
            self._db.execute("UPDATE pages SET state = ? WHERE id = ?", (_LEASED, row[0]))
        return row

    def _count(self, state: int) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM pages WHERE state = ?", (state,)).fetchone()
        return int(count)

    def _put(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _get(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _commit_when_due(self) -> None:
        if self._clock() - self._committed_at >= COMMIT_S:
            self._call(self._commit)

    def _commit(self) -> None:
        self._db.execute("COMMIT")
        self._db.execute("BEGIN")
        self._committed_at = self._clock()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except sqlite3.Error as error:
            where = f"the job folder {self._folder}"
            if "full" in str(error):
                raise DiskFull(f"no space left for {where}: free some space and run the same command again") from None
            raise StoreNotWritable(f"cannot use {where}: {error}") from None


def _clamped(priority: int) -> int:
    """Return a priority as a number that SQLite can store."""
    return priority if -_MOST <= priority <= _MOST else _MOST if priority > 0 else -_MOST


def describe(folder: Path) -> dict[str, int]:
    """Return how many pages of a job are pending (or leased) and done, for `scrapy status`.

    Nothing is written. Empty if the job has no frontier, or if it cannot be read.
    """
    path = folder / _DATABASE
    try:
        check_regular(path)
        if not path.exists():
            return {}
        with closing(ReadOnlyDatabase(path, _BUSY_S)) as db:
            counts = dict(db.fetch("SELECT state, count(*) FROM pages GROUP BY state"))
    except (sqlite3.Error, OSError):
        return {}
    return {"pages_pending": counts.get(_PENDING, 0) + counts.get(_LEASED, 0), "pages_done": counts.get(_DONE, 0)}
