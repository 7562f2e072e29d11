"""An SQLite database that no other user may read or write, with the files that SQLite keeps beside it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from mediacrawl.system.directories import OTHERS, OWN_FILE, belongs_to_us, of_another_user, unexpected

_SUFFIXES = ("", "-wal", "-shm", "-journal")


def prepare_private(path: Path) -> None:
    """Check a database and the files beside it before SQLite opens them, and create the database if it is missing.

    SQLite gives `-wal` and `-shm` the mode of the database. It would follow a symbolic link, and it would replay a
    `-wal` of another user. Files that are there are not opened here: to close one of them would release the locks
    that SQLite holds on it in this process.

    Raises:
        UnexpectedEntry: one of these is not a regular file, or belongs to another user.
    """
    check_regular(path)
    for found_path, found in _present(path):
        if not belongs_to_us(found):
            raise of_another_user(found_path, found)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):  # it is there, or SQLite reports why it cannot be created
        os.close(os.open(path, flags, OWN_FILE))


def withdraw_permissions(path: Path) -> None:
    """Take away the permissions of other users on a database and its files, after `prepare_private`."""
    for found_path, found in _present(path):
        if found.st_mode & OTHERS and found.st_uid == os.geteuid():
            with suppress(OSError):  # on a read-only file system; SQLite reports it
                Path(found_path).chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)


def check_regular(path: Path) -> None:
    """Check a database and the files beside it before they are only read.

    Raises:
        UnexpectedEntry: one of these is not a regular file.
    """
    for found_path, found in _present(path):
        if not stat.S_ISREG(found.st_mode):
            raise unexpected(found_path, found)


def is_written_by_us_alone(path: Path) -> bool:
    """Return whether a database belongs to the user of this process, and no other user could have written to it."""
    return all(found.st_uid == os.geteuid() and not found.st_mode & 0o022 for _, found in _present(path))


def _present(path: Path) -> list[tuple[str, os.stat_result]]:
    found = []
    for suffix in _SUFFIXES:
        with suppress(OSError):  # missing; or SQLite reports why it cannot be reached
            found.append((f"{path}{suffix}", os.lstat(f"{path}{suffix}")))
    return found
