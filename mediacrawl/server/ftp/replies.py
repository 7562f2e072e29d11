"""The errors of uploads as replies of FTP (RFC 959 4.2)."""

from __future__ import annotations

import logging

from mediacrawl.errors import DiskFull, MachineError, MediacrawlError
from mediacrawl.server.uploads.problems import NameRefused, QuotaSpent, TakenOver, UploadInUse, UploadTooLarge

logger = logging.getLogger(__name__)

# A client may try again after 4xx, and need not after 5xx (RFC 959 4.2.1). The first that applies counts.
_CODES: tuple[tuple[type[MediacrawlError], int], ...] = (
    (DiskFull, 452),
    (QuotaSpent, 552),
    (UploadTooLarge, 552),
    (NameRefused, 553),
    (UploadInUse, 451),
    (TakenOver, 426),
    (MachineError, 451),
)
_OTHERWISE = 550


def reply_code(error: MediacrawlError) -> int:
    """Return the code of the reply that tells of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), _OTHERWISE)


def words_of(error: MediacrawlError) -> str:
    """Return an error in words for a client. One of this machine is logged, as its words name paths."""
    if not isinstance(error, MachineError):
        return str(error)
    logger.error("an upload: %s", error)
    if isinstance(error, DiskFull):
        return "there is no room left on the disk of the server"
    return "the server cannot write or read now, and its log says why"
