"""What the kinds of servers that files are sent to have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.progress import Progress
    from mediacrawl.push.local_files import LocalFile, OpenedFile

LEAST_PROGRESS_BYTES = 1024
"""Fewer bytes between two failures are no progress."""


class Sent(NamedTuple):
    """A file that the server has now.

    Attributes:
        url: of the file on the server, without credentials; where the server does not tell it, of its upload.
        sha256: in hex; empty if it was not computed.
        is_present: whether the server had the complete file before.
    """

    url: str
    sha256: str = ""
    is_present: bool = False


class Errand:
    """One file on its way.

    Attributes:
        opened: its bytes.
        progress: counts the bytes that were sent; read by the display.
        cancel: ends the transfer.
        confirmed_bytes: the most that the server has told to have of this file.
        saved_bytes: what the server had of this file before a byte of it was sent; None until it has told.
    """

    def __init__(self, opened: OpenedFile, progress: Progress, cancel: Cancel) -> None:
        self.opened = opened
        self.progress = progress
        self.cancel = cancel
        self.confirmed_bytes = 0
        self.saved_bytes: int | None = None

    def confirm(self, have_bytes: int) -> None:
        """Note how many bytes the server has."""
        self.progress.arrive(0, have_bytes, self.opened.file.size_bytes)
        self.confirmed_bytes = max(self.confirmed_bytes, have_bytes)
        self.saved_bytes = have_bytes if self.saved_bytes is None else self.saved_bytes

    def blocks(self, start: int, block_bytes: int) -> Iterator[bytes]:
        """Yield the bytes from an offset on, and count them once they were taken.

        Raises:
            Interrupted: the errand was cancelled.
            TransferError: the file cannot be read, or was changed.
        """
        size = self.opened.file.size_bytes
        for begin in range(start, size, block_bytes):
            self.cancel.check()
            end = min(size, begin + block_bytes)
            yield self.opened.read(begin, end)
            self.progress.arrive(end - begin, end, size)


class PushTarget(Protocol):
    """A folder of a server. All threads share one."""

    def place(self, file: LocalFile) -> str:
        """Return what stands for the place of a file on the server, without credentials, in the state of the user."""
        ...

    def send(self, errand: Errand) -> Sent:
        """Send a file, or what the server lacks of it: one try.

        Raises:
            TransferError: it was not sent; what the server has stays there.
            Interrupted: the errand was cancelled.
            MachineError: this machine cannot go on.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
