"""The errors of uploads as replies of FTP (RFC 959 4.2)."""

from __future__ import annotations

import logging

from mediacrawl.errors import DiskFull, MachineError, MediacrawlError
from mediacrawl.server.uploads.problems import NameRefused, QuotaSpent

logger = logging.getLogger(__name__)

_CODES = ((DiskFull, 452), (QuotaSpent, 552), (NameRefused, 553))


def reply_code(error: MediacrawlError | None, otherwise: int = 451) -> int:
    """Return the code of the reply that tells of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), otherwise)


def words_of(error: MediacrawlError) -> str:
    """Return an error in words for a client. One of this machine is logged, as its words name paths."""
    if not isinstance(error, MachineError):
        return str(error)
    logger.error("an upload: %s", error)
    if isinstance(error, DiskFull):
        return "there is no room left on the disk of the server"
    return "the server cannot write or read now, and its log says why"
