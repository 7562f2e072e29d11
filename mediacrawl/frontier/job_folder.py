"""A job folder (JOBDIR), in which no other user of the machine may write."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from mediacrawl.system.directories import (
    OWN_FOLDER,
    Directory,
    UnexpectedEntry,
    belongs_to_us,
    make_private,
    of_another_user,
    others_may_write,
)

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_OF_A_JOB = re.compile(r"frontier\..*|requests\..*|spider\.state|demo-port")  # names in a folder of nothing but a job


def open_job_folder(path: Path) -> Directory:
    """Open a job folder, which is created if it is missing, so that no other user can read or write in it.

    A folder of this user that contains nothing but a job loses the permissions of others. One that contains other
    files keeps them.

    Raises:
        OSError: the folder cannot be used, belongs to another user, or keeps the permission of others to write.
    """
    path.mkdir(OWN_FOLDER, parents=True, exist_ok=True)
    folder = Directory.at(str(path))
    found = os.fstat(folder.fd)
    if not belongs_to_us(found):
        raise of_another_user(str(path), found)
    if all(map(_OF_A_JOB.fullmatch, folder.names())):
        if make_private(folder.fd, str(path)):
            logger.info("The job folder %s was open to other users of this machine: its mode is now 0700", path)
    elif others_may_write(folder.fd, found):
        raise UnexpectedEntry(
            str(path), "other users can write in it: take a folder of its own for the job, or take their permission"
        )
    return folder
