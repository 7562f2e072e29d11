"""Make files and their names durable: fsync of a file does not sync the name of the file in its folder."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_DISK_FAILED = {errno.EIO, errno.ENOSPC, errno.EDQUOT}
_TOGETHER_FROM = 8  # files
_MOST_DIRTY_BYTES = 32 * 1024 * 1024  # even a slow disk writes this in a moment
_DIRTY_LINES = ("Dirty", "Writeback")
_DIRTY = re.compile(rf"^(?:{'|'.join(_DIRTY_LINES)}): +(\d+) kB$".encode(), re.MULTILINE)
_STATFS_BYTES = 1024  # more than struct statfs has on any machine; its first field is the type
_DISK_FILE_SYSTEMS = {0xEF53, 0x58465342, 0x9123683E}  # ext4, xfs, btrfs: see statfs(2)
_LIBC = ctypes.CDLL(None, use_errno=True)
_SYNCFS: Any = getattr(_LIBC, "syncfs", None)  # a call of Linux that the `os` module does not offer


def sync_folders(folders: Iterable[Path | str]) -> None:
    """Fsync each folder once. File systems without support for this (some network file systems) are ignored.

    Raises:
        OSError: a folder does not exist, or the disk has failed: then the names in the folder may be lost.
    """
    for folder in set(folders):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno in _DISK_FAILED:
                raise
        finally:
            os.close(fd)


def sync_files(fds: Sequence[int]) -> None:
    """Fsync several files of one file system together.

    The writing of every file is started before the first fsync waits. Still, each fsync would make the disk flush its
    cache, one after another. From 8 files on, the complete file system is synced once instead, where that is known to
    have the same effect (ext4, 64 files: a quarter of the time). An error of that call may concern another file, so
    each file is then synced separately.

    Raises:
        OSError: the disk has failed.
    """
    if len(fds) > 1:
        for fd in fds:
            begin_writing(fd)
    if len(fds) >= _TOGETHER_FROM and _sync_file_system(fds[0]):
        return
    for fd in fds:
        os.fsync(fd)


def _sync_file_system(fd: int) -> bool:
    """Sync the complete file system of a file. Return False if this was not tried, or has failed.

    Other processes may be writing to their files: the sync is not tried while more than 32 MiB of unwritten data is
    in the machine's memory.
    """
    if not _syncs_whole(fd) or _dirty_bytes() > _MOST_DIRTY_BYTES:
        return False
    return bool(_SYNCFS(fd) == 0)


def _syncs_whole(fd: int) -> bool:
    """Return whether syncfs(2) waits for the disk here and reports errors.

    Linux does so since 5.17, on the file systems of disks. On other file systems (for example FUSE) the call may do
    nothing.
    """
    if _SYNCFS is None or _linux_version() < (5, 17):
        return False
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if _LIBC.fstatfs(fd, found):
        return False
    return ctypes.c_long.from_buffer(found).value in _DISK_FILE_SYSTEMS


def _linux_version() -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _dirty_bytes() -> int:
    """Return how many bytes in memory the machine has yet to write; more than the limit if that is unknown."""
    try:
        with open("/proc/meminfo", "rb") as file:  # noqa: PTH123 - runs for each batch
            found = _DIRTY.findall(file.read(4096))
    except OSError:
        found = []
    return sum(map(int, found)) * 1024 if len(found) == len(_DIRTY_LINES) else _MOST_DIRTY_BYTES + 1


def begin_writing(fd: int) -> None:
    """Start writing the cached bytes of a file to the disk, so that a later sync waits for fewer bytes.

    This is only a hint without a guarantee. An error that occurs here occurs again in the sync.
    """
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2): start to write, do not wait


def _sync_file_range() -> Any:
    """Return the call of Linux that the `os` module does not offer; None on other systems."""
    call = getattr(_LIBC, "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_SYNC_FILE_RANGE = _sync_file_range()
