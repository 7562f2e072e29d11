"""Making names durable: to sync a file does not sync the name that it has in its folder."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_DISK_FAILED = {errno.EIO, errno.ENOSPC, errno.EDQUOT}


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
    """Fsync many files together: all are on their way to the disk before the first is waited for, so that one
    commit of the file system's journal serves for all (ext4: half the time).

    Raises:
        OSError: the disk has failed.
    """
    if len(fds) > 1:
        for fd in fds:
            begin_writing(fd)
    for fd in fds:
        os.fsync(fd)


def begin_writing(fd: int) -> None:
    """Send what a file has in memory on its way to the disk, so that a sync has less to wait for. Only a hint: it
    promises nothing, and what fails here fails again in the sync.
    """
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2): begin to write, and do not wait


def _sync_file_range() -> Any:
    """The call of Linux that Python has no name for; None elsewhere."""
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_SYNC_FILE_RANGE = _sync_file_range()
