"""A log of complete parts: one line for each part for which a separate record would cost more than the file.

A small file has no record during its transfer: after a crash it is fetched again. But between its last byte and its
final name, the part waits for other parts, as many files are published together. A kill in that time must not lose
the part. Its facts are therefore appended to a log, in one write without a sync: after `kill -9` the page cache still
exists, and the next run writes a record for each line. After a power cut (another boot id) a log is ignored.

A line is valid only for the very file that it describes: inode, size and modification time must be the same.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mediacrawl.system.directories import Directory, UnexpectedEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUFFIX = ".log"
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_FULL_BYTES = 256 * 1024  # then another log is begun, so that the old log can be removed
_NUMBERS = itertools.count()

Identity = tuple[int, int, int]  # inode, size in bytes, modification time in ns


def identity(fd: int) -> Identity:
    """Return a tuple that distinguishes a file from a later file of the same name."""
    found = os.fstat(fd)
    return found.st_ino, found.st_size, found.st_mtime_ns


class CompletedLog:
    """The log of one process, shared by its threads.

    A log file is locked while its process lives, and removed when none of its lines is needed any more.
    """

    def __init__(self, folder: Path, boot: str, open_folder: Callable[[Path], Directory]) -> None:
        """Create a log, without a file yet; `open_folder` opens the folder, and creates it if it is missing."""
        self._folder = folder
        self._open_folder = open_folder
        self._boot = boot
        self._lock = threading.Lock()
        self._now: _Volume | None = None

    def note(self, name: str, fd: int, record: dict[str, Any]) -> _Volume:
        """Append a line that says that a part is complete.

        Returns:
            The log file, to be passed to `release` when the part needs its line no longer.

        Raises:
            OSError: the disk has failed or is full.
        """
        line = _to_json([name, identity(fd), record]).encode() + b"\n"
        with self._lock:
            if self._now is None or self._now.written_bytes >= _FULL_BYTES:
                if self._now is not None:
                    self._now.end()
                self._now = _Volume(self._open_folder(self._folder), self._boot)
            self._now.hold(line)
            return self._now

    def release(self, volume: _Volume) -> None:
        """Release the line of a part that has its final name or a record, or was removed."""
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

    def __init__(self, folder: Directory, boot: str) -> None:
        self._folder = folder
        self._name = f"{os.getpid()}-{next(_NUMBERS)}{SUFFIX}"
        self._fd = folder.create_file(self._name)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.written_bytes = 0
        self._waiting = 0
        self._is_current = True
        self._append(json.dumps(boot).encode() + b"\n")

    def hold(self, line: bytes) -> None:
        """Write the line of a part that waits for its final name."""
        self._waiting += 1
        self._append(line)

    def release(self) -> None:
        """Release one line; remove the file if it is ended and no line is needed."""
        self._waiting -= 1
        self._remove_if_idle()

    def end(self) -> None:
        """End the file: no line is added from now on."""
        self._is_current = False
        self._remove_if_idle()

    def _append(self, line: bytes) -> None:
        self.written_bytes += os.pwrite(self._fd, line, self.written_bytes)

    def _remove_if_idle(self) -> None:
        if self._is_current or self._waiting or self._fd < 0:
            return
        self._folder.remove(self._name)
        os.close(self._fd)
        self._fd = -1


class LeftoverLogs:
    """The logs of processes that have died, locked until `close` removes them.

    Attributes:
        records: identity and record of each complete part, by part name; empty after `close`.
    """

    def __init__(self, folder: Path, boot: str, open_folder: Callable[[Path], Directory]) -> None:
        self._boot = boot
        self._held: list[tuple[str, int]] = []
        self.records: dict[str, tuple[Identity, dict[str, Any]]] = {}
        self._folder = open_folder(folder) if os.path.lexists(folder) else None
        if self._folder is not None:
            for name in self._folder.names():
                if name.endswith(SUFFIX):
                    self._take(self._folder, name)

    def close(self) -> None:
        """Remove the logs. By now each of their parts has a record, or is of no use."""
        for name, fd in self._held:
            if self._folder is not None:
                self._folder.remove(name)
            os.close(fd)
        self._held.clear()
        self.records.clear()

    def _take(self, folder: Directory, name: str) -> None:
        with suppress(FileNotFoundError, UnexpectedEntry):
            fd = folder.open_file(name, os.O_RDONLY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # its process is alive
                os.close(fd)
                return
            self._held.append((name, fd))
            self.records.update(_lines(folder.read(name), self._boot))


def _lines(text: bytes, boot: str) -> Iterator[tuple[str, tuple[Identity, dict[str, Any]]]]:
    """Yield the valid lines of a log. Torn lines are skipped, and every line of another boot."""
    first, *rest = text.split(b"\n")
    if not boot or _parsed(first) != boot:
        return
    for line in rest:
        match _parsed(line):
            case [str(name), [int(inode), int(size_bytes), int(changed_ns)], dict(record)]:
                yield name, ((inode, size_bytes, changed_ns), record)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
