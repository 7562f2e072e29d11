"""Files as pyftpdlib reads and writes them: a published one for a download, an upload that is being received."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from mediacrawl.errors import MediacrawlError
from mediacrawl.server.ftp.replies import reply_code, words_of
from mediacrawl.server.ftp.settlement import is_whole_length
from mediacrawl.server.ftp.write_behind import WriteBehind
from mediacrawl.server.uploads.problems import TakenOver

if TYPE_CHECKING:
    from mediacrawl.server.files import OpenFile
    from mediacrawl.server.uploads.uploads import UploadFacts, UploadWriter


class StoredFile(io.FileIO):
    """A published file, open for reading.

    Attributes:
        name: its path in the store.
        size: in bytes, when it was opened.
    """

    def __init__(self, file: OpenFile) -> None:
        """Take over an open file, which is closed."""
        with file:
            super().__init__(os.dup(file.descriptor), "rb")
        self.name = file.path
        self.size = file.identity.size


class ReceivedFile:
    """An upload that is being received. No method raises: nothing is written after the first error.

    Attributes:
        name: the path, as the client has named it.
        upload_id: of the upload.
        failure: the first error; None: there was none.
        closed: whether `close` was called.
        offset: the number of bytes that were durable when it was closed.
        is_received: whether the client has ended it in order, and nothing is known to be missing.
    """

    def __init__(self, name: str, facts: UploadFacts, writer: UploadWriter, announced: int | None) -> None:
        """Begin with a writer.

        Args:
            name: the path, as the client has named it.
            facts: of the upload.
            writer: of the upload; it is closed with the file.
            announced: the number of bytes that the client has announced for this transfer; None: it has not.
        """
        self.name = name
        self.upload_id = facts.id
        self.failure: MediacrawlError | None = None
        self.closed = self.is_received = False
        self.offset = self._begun_at = writer.offset
        self._writer = writer
        self._length = facts.length_bytes
        self._announced = announced
        self._behind = WriteBehind(self._append)

    def write(self, data: bytes) -> None:
        """Append bytes, the last of which may be written later."""
        self._behind.write(data)

    def _append(self, data: bytes) -> None:
        if self.failure is None:
            try:
                self._writer.write(data)
            except MediacrawlError as error:
                self.failure = error

    def close(self) -> None:
        """Make the bytes durable."""
        self.closed = True
        try:
            try:
                self._behind.finish()
            finally:
                self.offset = self._writer.close()
        except MediacrawlError as error:
            self.failure = self.failure or error

    def rename(self, name: str) -> None:
        """Note the path that the client has given it."""
        self.name = name

    def note_received(self) -> None:
        """Note that the client has ended it in order."""
        self.is_received = True

    def refusal(self) -> str:
        """Return the reply to bytes that could not be written (RFC 959 4.2)."""
        assert self.failure is not None
        reply = f"{reply_code(self.failure)} {words_of(self.failure)}"
        if isinstance(self.failure, TakenOver):
            return reply
        return f"{reply}; SIZE tells how many bytes are safe."

    def missing(self) -> str:
        """Return what is missing by the length that the client has told, in words; empty if nothing is."""
        if self._length is not None:
            return "" if self.offset == self._length else f"expected {self._length} bytes in all"
        if is_whole_length(self._announced, self.offset, self._begun_at):
            return ""
        return f"expected {self._announced} bytes"
