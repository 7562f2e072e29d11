"""Making names durable: to sync a file does not sync the name that it has in its folder."""

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
_MOST_DIRTY_BYTES = 32 * 1024 * 1024  # a moment's work for a slow disk
_DIRTY_LINES = ("Dirty", "Writeback")
_DIRTY = re.compile(rf"^(?:{'|'.join(_DIRTY_LINES)}): +(\d+) kB$".encode(), re.MULTILINE)
_STATFS_BYTES = 1024  # more than any machine's struct statfs has; it begins with the type
_DISK_FILE_SYSTEMS = {0xEF53, 0x58465342, 0x9123683E}  # ext4, xfs, btrfs: see statfs(2)
_LIBC = ctypes.CDLL(None, use_errno=True)
_SYNCFS: Any = getattr(_LIBC, "syncfs", None)  # Linux has it, and Python has no name for it


def sync_folders(folders: Iterable[Path | str]) -> None:
    """Fsync each folder once. A file system that cannot (some network ones) is let be.

    Raises:
        OSError: a folder is not there, or the disk has failed: then the names in it may be lost.
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
    """Fsync many files of one file system together.

    All are on their way to the disk before the first is waited for. Then each fsync would still have the disk empty
    its cache, one after another: with several files, and where that is known to do the same, the file system is
    synced as a whole instead, once (ext4, 64 files: a quarter of the time). What that reports may be about another
    file, so then each is asked.

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
    """Everything that is in memory of its file system on the disk. False if it was not tried, or has failed.

    Others may be writing there: it is not tried while much of that is in memory.
    """
    if not _syncs_whole(fd) or _dirty_bytes() > _MOST_DIRTY_BYTES:
        return False
    return bool(_SYNCFS(fd) == 0)


def _syncs_whole(fd: int) -> bool:
    """Whether syncfs(2) waits for the disk here, and tells of what went wrong: since Linux 5.17, on a disk's own file
    systems; on others (FUSE, say) it may do nothing.
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
    """What the machine has in memory for its disks; more than any where it does not tell."""
    try:
        with open("/proc/meminfo", "rb") as file:  # noqa: PTH123 - for each batch
            found = _DIRTY.findall(file.read(4096))
    except OSError:
        found = []
    return sum(map(int, found)) * 1024 if len(found) == len(_DIRTY_LINES) else _MOST_DIRTY_BYTES + 1


def begin_writing(fd: int) -> None:
    """Send what a file has in memory on its way to the disk, so that a sync has less to wait for. Only a hint: it
    promises nothing, and what fails here fails again in the sync.
    """
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2): begin to write, and do not wait


def _sync_file_range() -> Any:
    """The call of Linux that Python has no name for; None elsewhere."""
    call = getattr(_LIBC, "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_SYNC_FILE_RANGE = _sync_file_range()
