"""Folders for runs on each file system, and room for them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.data import Wanted

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs is what is asked for
_RESERVE_BYTES = 2048 * MIB  # of disk or memory, left alone
_FEW_FILES, _LARGE_BYTES = 100, 16 * MIB
_MUCH_BYTES, _GONE_AFTER_S = 1024 * MIB, 6.0
_PREFIX = "mediacrawl-bench-"


@dataclass(slots=True)
class Room:
    """One file system.

    Attributes:
        kind: `tmpfs`, `ext4`, …
        root: a folder on it that belongs to this run of the harness.
        removed_early: folders that had to go before the end, for want of room.
    """

    kind: str
    root: Path
    removed_early: int = 0
    _ended: deque[Path] = field(default_factory=deque)
    _number: int = 0
    _has_freed: bool = False

    @classmethod
    def below(cls, parent: Path) -> Room:
        """A new folder in `parent`."""
        parent.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()
        return cls(kind_of(root), root)

    def new_folder(self, name: str) -> Path:
        """An empty folder that no run had before."""
        self._number += 1
        folder = self.root / f"{self._number:04}-{name}"
        folder.mkdir()
        return folder

    def make_room(self, need_bytes: int) -> None:
        """Remove the oldest ended folders, if there is no other way."""
        while self._ended and self._free_bytes() < need_bytes + _RESERVE_BYTES:
            self._remove_oldest()

    def empty_memory(self) -> None:
        """Remove every ended folder, if they are in memory: the more is, the less may wait for a disk."""
        while self._ended and self.kind == "tmpfs":
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        shutil.rmtree(self._ended.popleft(), ignore_errors=True)
        self.removed_early += 1
        self._has_freed = True

    def warm(self, need_bytes: int) -> None:
        """Touch as much memory as a run will fill, in the way it will: with a file, which goes again.

        On a virtual machine, memory that is free goes back to the host within seconds, and is slow to touch again:
        one run would pay for it, another not. So what the run before has freed is let go first, where it is much;
        then as much as will be needed is touched, and is free only when the run begins. What a process touches will
        not do: ext4 took 0.34 to 3.5 s for the same 2 GiB after that, and 0.33 s every time after a file.
        """
        length = min(need_bytes + 256 * MIB, available_memory_bytes() // 2)
        if need_bytes >= _MUCH_BYTES and self._has_freed:
            time.sleep(_GONE_AFTER_S)
            self._has_freed = False
        block = bytes(MIB)
        with tempfile.TemporaryFile(dir=self.root, buffering=0) as file:
            for _ in range(length // MIB):
                file.write(block)

    def end(self, folder: Path, wanted: Wanted) -> None:
        """A run is over and checked.

        Many removed files make a file system slow for minutes: their folder stays until the end. A few large ones
        cost nothing to remove, and would fill the disk.
        """
        if len(wanted.files) <= _FEW_FILES and wanted.size_bytes >= _LARGE_BYTES:
            shutil.rmtree(folder, ignore_errors=True)
            self._has_freed = True
        else:
            self._ended.append(folder)

    def remove(self) -> None:
        """Everything, at the very end."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _free_bytes(self) -> int:
        disk = os.statvfs(self.root)
        free_bytes = disk.f_bavail * disk.f_frsize
        return min(free_bytes, available_memory_bytes()) if self.kind == "tmpfs" else free_bytes


def kind_of(path: Path, mounts: Iterable[str] | None = None) -> str:
    """The type of the file system that a path is on, by the longest mount point above it."""
    lines = mounts if mounts is not None else Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    found = [(Path(line.split()[1].replace("\\040", " ")), line.split()[2]) for line in lines]
    above = [
        (len(point.parts), number, kind) for number, (point, kind) in enumerate(found) if path.is_relative_to(point)
    ]
    return max(above)[2] if above else "unknown"


def available_memory_bytes(lines: Iterable[str] | None = None) -> int:
    """What can be had without swapping, by the lines of /proc/meminfo.

    The kernel counts names among what it can let go of. Those of a tmpfs it cannot: two million small files were two
    gigabytes of that, and the harness was killed for them.
    """
    if lines is None:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return max(0, sizes.get("MemAvailable", 0) - sizes.get("SReclaimable", 0))
