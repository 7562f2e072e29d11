"""What earlier runs have sent, in a database of the user, so that a run that was killed is gone on with.

A row belongs to a file as it was (path, size, time of its last change) and to its place on a server. If the file is
changed, another row counts. After a crash, a row names an upload that may not have begun, or has gone on since: the
server is asked in each case.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.errors import StoreNotWritable, TransferError
from mediacrawl.system.directories import UnexpectedEntry
from mediacrawl.system.private_sqlite import prepare_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.push.local_files import LocalFile

_KEPT_S = 90 * 86_400.0
_TABLE = """CREATE TABLE IF NOT EXISTS pushes (
    path BLOB, size INTEGER, mtime_ns INTEGER, place TEXT,
    upload_url TEXT NOT NULL, sha256 TEXT NOT NULL, is_done INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (path, size, mtime_ns, place)
) WITHOUT ROWID"""


class Pushed(NamedTuple):
    """What is known of a file at a place.

    Attributes:
        upload_url: of an upload of tus, without credentials; empty: there is none yet.
        sha256: of the file, in hex; empty: not computed yet.
        is_begun: whether this program has begun to send the file there.
        is_done: whether all of it was sent.
    """

    upload_url: str = ""
    sha256: str = ""
    is_begun: bool = False
    is_done: bool = False


def state_folder() -> Path:
    """Return the folder for the state of the user (XDG Base Directory Specification).

    Raises:
        StoreNotWritable: this user has no home folder.
    """
    named = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(named) if Path(named).is_absolute() else Path.home() / ".local/state"
    except RuntimeError:
        raise StoreNotWritable("there is no home folder for the state of uploads: set XDG_STATE_HOME") from None
    return base / "mediacrawl"


class PushState:
    """The rows of all files. Thread-safe; several processes may use one file."""

    def __init__(self, folder: Path) -> None:
        """Open the database, and create it if it is missing. Rows that are older than 90 days are removed.

        Raises:
            StoreNotWritable: it cannot be used.
        """
        self._folder = folder
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / "push.sqlite3"
            prepare_private(path)
            self._database = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(_TABLE)
            self._database.execute("DELETE FROM pushes WHERE at < ?", (time.time() - _KEPT_S,))
        except UnexpectedEntry as error:
            raise StoreNotWritable(f"cannot use {error.filename}: {error.strerror}") from None
        except (OSError, sqlite3.Error) as error:
            raise StoreNotWritable(f"cannot keep the state of uploads in {folder}: {error}") from None

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def find(self, file: LocalFile, place: str) -> Pushed:
        """Return what is known of a file at a place: the URL that it gets, without credentials."""
        with self._used():
            row = self._database.execute(
                "SELECT upload_url, sha256, is_done FROM pushes WHERE path=? AND size=? AND mtime_ns=? AND place=?",
                _key(file, place),
            ).fetchone()
        return Pushed() if row is None else Pushed(row[0], row[1], True, bool(row[2]))

    def note(self, file: LocalFile, place: str, pushed: Pushed) -> None:
        """Keep what is known of a file. Once this returns, a kill of the process does not lose it."""
        with self._used():
            self._database.execute(
                "INSERT OR REPLACE INTO pushes VALUES (?,?,?,?,?,?,?,?)",
                (*_key(file, place), pushed.upload_url, pushed.sha256, pushed.is_done, time.time()),
            )

    @contextmanager
    def _used(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise StoreNotWritable(f"cannot keep the state of uploads in {self._folder}: {error}") from None

    @contextmanager
    def locked(self, file: LocalFile, place: str) -> Iterator[None]:
        """Let no other process send the same file to the same place while the block runs.

        Raises:
            TransferError: another process does.
        """
        name = hashlib.sha256("\0".join(map(str, _key(file, place))).encode(errors="surrogateescape")).hexdigest()
        folder = self._folder / "push-locks"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreNotWritable(f"cannot keep the state of uploads in {folder}: {error.strerror}") from None
        try:
            if not _is_locked(fd, folder / name):
                raise TransferError(place, "another process is sending this file there")
            yield
            with suppress(OSError):
                (folder / name).unlink()
        finally:
            os.close(fd)


def _is_locked(fd: int, path: Path) -> bool:
    """Lock a file, and return whether that was possible: it may be locked, or just be removed by its last owner."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:
        return False


def _key(file: LocalFile, place: str) -> tuple[bytes, int, int, str]:
    return os.fsencode(file.path), file.size_bytes, file.mtime_ns, place
