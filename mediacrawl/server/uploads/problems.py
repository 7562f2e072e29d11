"""The errors of uploads. Each message is one line for the person who uploads."""

from __future__ import annotations

from mediacrawl.errors import MediacrawlError


class UploadProblem(MediacrawlError):
    """An upload, or a step of it, that cannot be. What is durable of it stays durable."""


class NoSuchUpload(UploadProblem):
    """There is no such upload, it has expired, or it is of another person."""


class NameRefused(UploadProblem):
    """The person may not add a file of this name there, or there can be none."""


class QuotaSpent(UploadProblem):
    """The person may not add as many bytes."""


class TooManyUploads(UploadProblem):
    """The person has begun as many uploads as can be unfinished at a time."""


class UploadTooLarge(UploadProblem):
    """More bytes than were announced, or than any file can have."""


class OffsetConflict(UploadProblem):
    """The bytes do not begin where the upload ends.

    Attributes:
        offset: the number of bytes that are durable: where the next bytes have to begin.
    """

    def __init__(self, offset: int, given: int) -> None:
        self.offset = offset
        super().__init__(f"the upload has {offset} bytes, and these begin at {given}: ask for its offset, and go on")


class ChecksumMismatch(UploadProblem):
    """The bytes differ from their checksum. If it was that of a part, the part was dropped; else nothing is left."""


class NotWhole(UploadProblem):
    """The upload cannot be finished: bytes are missing."""


class TakenOver(UploadProblem):
    """Another request goes on with this upload. Its writer has been closed, and writes nothing any more."""


class UploadInUse(UploadProblem):
    """Another process writes to this upload, and does not answer. To be tried again after a second."""


class SilentClient(UploadProblem):
    """Nothing has come from a client for too long. What has come before is durable."""


class TooManyRequests(UploadProblem):
    """As many uploads arrive at this moment as the server can take."""
