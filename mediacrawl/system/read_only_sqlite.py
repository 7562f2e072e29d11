"""Read an SQLite database without changing its folder, also on a read-only file system.

SQLite creates the files `-wal` and `-shm` for every connection to a database in WAL mode. It fails where it may not
create them, and leaves them behind when the connection was read-only. A reader that runs as another user would then
lock the owner of the database out.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_COPIES = 5
_WAL, _SHM, _JOURNAL = "-wal", "-shm", "-journal"

# Device, inode, size, times of modification and of change; None for a file that is missing.
_Identity = tuple[int, ...] | None


def decodes_after(error: sqlite3.Error, db: sqlite3.Connection) -> bool:
    """Have a connection decode texts that are not UTF-8, if the error is about one; return whether it does so now.

    A replacement character stands for each wrong byte. This is slower, and only needed for a damaged database.
    """
    if not str(error).startswith("Could not decode to UTF-8") or db.text_factory is _replacing:
        return False
    replace_wrong_bytes(db)
    return True


def replace_wrong_bytes(db: sqlite3.Connection) -> None:
    """Have a connection decode each text, with a replacement character for each byte that is not UTF-8."""
    db.text_factory = _replacing


def _replacing(text: bytes) -> str:
    return text.decode(errors="replace")


class ReadOnlyDatabase:
    """A read-only database. Its files determine in which of three ways it is read.

    - `-wal` and `-shm` exist: another process has the database open. The database is read beside that process. (If
      that process closes it first, these files stay, as SQLite then sees a reader; the next process that writes
      removes them.)
    - `-wal` and the journal are missing or empty: the database file alone is read, on the assumption that no process
      writes to it. This is checked before rows are returned. If a process has begun to write meanwhile, the rows are
      read again beside that process.
    - Otherwise a process was killed, or the files were copied in part, or `-shm` cannot be used. The files are copied
      into a temporary folder, where SQLite can recover them.

    Not thread-safe.

    Raises:
        sqlite3.Error: from every method.
    """

    def __init__(self, path: Path, busy_s: float) -> None:
        self._path = path
        self._busy_s = busy_s
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._alone: _Identity = None  # of the file that is read alone
        self._db = self._open()

    def fetch(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """Return all rows of a query, which belong to one committed state of the database."""
        while True:
            try:
                rows = self._db.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                if decodes_after(error, self._db):
                    continue
                if self._is_valid():
                    raise
            else:
                if self._is_valid():
                    return rows
            self.close()
            self._db = self._open()

    def close(self) -> None:
        """Close the database, and remove the temporary copy if there is one."""
        self._db.close()
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _is_valid(self) -> bool:
        """Return whether a file that was read alone is unchanged, and no process has opened it for writing."""
        return self._alone is None or (not self._size(_WAL) and self._identities("") == (self._alone,))

    def _open(self) -> sqlite3.Connection:
        self._alone = None
        if self._size(_WAL) is not None and self._size(_SHM) is not None:
            db = self._connect(self._path, "mode=ro")
            try:
                db.execute("PRAGMA user_version").fetchone()  # opens the files; connecting alone does not
            except sqlite3.OperationalError as error:
                db.close()
                if "locked" in str(error):
                    raise
            else:
                return db
        elif not self._size(_WAL) and not self._size(_JOURNAL):
            (self._alone,) = self._identities("")
            return self._connect(self._path, "mode=ro&immutable=1")
        self._copy = tempfile.TemporaryDirectory(prefix="mediacrawl-")
        try:
            return self._open_copy(Path(self._copy.name) / "copy.sqlite3")
        except BaseException:
            self._copy.cleanup()
            raise

    def _open_copy(self, target: Path) -> sqlite3.Connection:
        suffixes = ("", _WAL, _JOURNAL)
        before, tries = None, 0
        while (now := self._identities(*suffixes)) != before:  # repeated if a process has written meanwhile
            before, tries = now, tries + 1
            if tries > _MOST_COPIES:
                raise sqlite3.OperationalError("another process writes to it all the time, and this one may not join")
            for suffix in suffixes:
                target.with_name(target.name + suffix).unlink(missing_ok=True)
                try:
                    shutil.copyfile(self._file(suffix), target.with_name(target.name + suffix))
                except FileNotFoundError:
                    if not suffix:
                        raise sqlite3.OperationalError("unable to open database file") from None
                except OSError as error:
                    raise sqlite3.OperationalError(f"unable to copy it: {error.strerror}") from None
        return self._connect(target, "mode=rw")

    def _connect(self, path: Path, options: str) -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?{options}"
        return sqlite3.connect(uri, uri=True, timeout=self._busy_s, isolation_level=None, check_same_thread=False)

    def _file(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _size(self, suffix: str) -> int | None:
        try:
            return self._file(suffix).stat().st_size
        except OSError:
            return None

    def _identities(self, *suffixes: str) -> tuple[_Identity, ...]:
        return tuple(map(self._identity, suffixes))

    def _identity(self, suffix: str) -> _Identity:
        try:
            found = self._file(suffix).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
