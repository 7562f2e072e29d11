"""Which parts are whole: one line in a log for each, where a record of its own would cost more than the file.

A small file has no record while it arrives: it is fetched anew after a crash. But from its last byte to its final
name it waits for others, as many are published together; a kill in that time must not cost it. So its facts are
appended to a log, one write without a sync: after `kill -9` the page cache is still there, and the next run makes a
record of each line. After a power cut (another boot id) a log counts as nothing.

A line holds for the very file it was written about: its inode, size and time of change must be the same.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX = ".log"
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_FULL_BYTES = 256 * 1024  # then another log is begun, so that the old one can go
_NUMBERS = itertools.count()

Identity = tuple[int, int, int]  # inode, size in bytes, time of change in ns


def identity(fd: int) -> Identity:
    """What tells a file from one that has its name later."""
    found = os.fstat(fd)
    return found.st_ino, found.st_size, found.st_mtime_ns


class CompletedLog:
    """The log of one process; threads share it. A log is locked while its process lives, and removed when none of
    its lines is of use any more.
    """

    def __init__(self, folder: Path, boot: str) -> None:
        self._folder = folder
        self._boot = boot
        self._lock = threading.Lock()
        self._now: _Volume | None = None

    def note(self, name: str, fd: int, record: dict[str, Any]) -> _Volume:
        """The part of that name is whole; give what comes back to `release` when it needs no line any more.

        Raises:
            OSError: the disk.
        """
        line = _to_json([name, identity(fd), record]).encode() + b"\n"
        with self._lock:
            if self._now is None or self._now.written_bytes >= _FULL_BYTES:
                if self._now is not None:
                    self._now.end()
                self._now = _Volume(self._folder, self._boot)
            self._now.hold(line)
            return self._now

    def release(self, volume: _Volume) -> None:
        """The part has its final name, a record, or is gone."""
        with self._lock:
            volume.release()

    def close(self) -> None:
        """Remove the log, unless parts still need it."""
        with self._lock:
            if self._now is not None:
                self._now.end()
                self._now = None


class _Volume:
    """One file of a log: a line with the boot id, then a line for each part."""

    def __init__(self, folder: Path, boot: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{next(_NUMBERS)}{SUFFIX}"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.written_bytes = 0
        self._waiting = 0
        self._is_current = True
        self._append(json.dumps(boot).encode() + b"\n")

    def hold(self, line: bytes) -> None:
        """Write the line of a part that waits for its name."""
        self._waiting += 1
        self._append(line)

    def release(self) -> None:
        """A line is of no use any more."""
        self._waiting -= 1
        self._remove_if_idle()

    def end(self) -> None:
        """No more lines are to come."""
        self._is_current = False
        self._remove_if_idle()

    def _append(self, line: bytes) -> None:
        self.written_bytes += os.pwrite(self._fd, line, self.written_bytes)

    def _remove_if_idle(self) -> None:
        if self._is_current or self._waiting or self._fd < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


class LeftoverLogs:
    """The logs of processes that have died: `records`, by part name, as long as it is open; removed in the end."""

    def __init__(self, folder: Path, boot: str) -> None:
        self._boot = boot
        self._held: list[tuple[Path, int]] = []
        self.records: dict[str, tuple[Identity, dict[str, Any]]] = {}
        for path in folder.glob(f"*{SUFFIX}"):
            self._take(path)

    def close(self) -> None:
        """Every part of them has a record by now, or is worth nothing."""
        for path, fd in self._held:
            path.unlink(missing_ok=True)
            os.close(fd)
        self._held.clear()
        self.records.clear()

    def _take(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # its process lives
                os.close(fd)
                return
            self._held.append((path, fd))
            with path.open("rb") as file:
                self.records.update(_lines(file.read(), self._boot))


def _lines(text: bytes, boot: str) -> Iterator[tuple[str, tuple[Identity, dict[str, Any]]]]:
    """What is torn is passed over, and everything of another boot."""
    first, *rest = text.split(b"\n")
    with suppress(ValueError):
        if not boot or json.loads(first) != boot:
            return
        for line in rest:
            with suppress(ValueError, TypeError):
                name, (inode, size_bytes, changed_ns), record = json.loads(line)
                yield name, ((inode, size_bytes, changed_ns), record)
