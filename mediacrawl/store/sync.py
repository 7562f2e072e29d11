"""Making names durable: to sync a file does not sync the name that it has in its folder."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_DISK_FAILED = {errno.EIO, errno.ENOSPC, errno.EDQUOT}


def sync_folders(folders: Iterable[Path]) -> None:
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
