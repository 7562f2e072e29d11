"""Give whole uploads their final names: verify, look whether the file is there already, publish."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.archive import Publish
from mediacrawl.archive.archive import identity_text
from mediacrawl.archive.batching import BatchingWorker
from mediacrawl.download.records import Fetched
from mediacrawl.errors import PathConflict
from mediacrawl.ledger.base import State
from mediacrawl.server.uploads.problems import ChecksumMismatch, NameRefused
from mediacrawl.store.safe_paths import fold, numbered

if TYPE_CHECKING:
    from mediacrawl.archive import Archive
    from mediacrawl.ledger.base import Entry
    from mediacrawl.server.uploads.rows import UploadRow
    from mediacrawl.server.uploads.writer import PrefixHash
    from mediacrawl.store.parts import PartFile

logger = logging.getLogger(__name__)

_SAME_UP_TO = 20  # numbers of a name at which a file with the same bytes is looked for
_LOCKS = 64
_NOT_HTTP = 0  # the status of a file that no response has brought


class PublishedFile(NamedTuple):
    """The file of an upload in the store.

    Attributes:
        path: of the file.
        is_new: whether it is the part, and no file that was there before.
    """

    path: str
    is_new: bool


class Publisher:
    """Publish uploads, those of several threads together. Methods may be called from any thread."""

    def __init__(self, archive: Archive) -> None:
        """Publish in an archive, which is closed by the caller."""
        self._archive = archive
        self._worker: BatchingWorker[Publish, Entry] = BatchingWorker("publish uploads", archive.write)
        self._locks = [threading.Lock() for _ in range(_LOCKS)]  # of names, by their hashes

    def close(self) -> None:
        """Publish what waits, and end the thread."""
        self._worker.close()

    def publish(self, row: UploadRow, part: PartFile, prefix: PrefixHash) -> PublishedFile:
        """Publish a part whose bytes are all there; the caller unlocks it.

        If there is a file with the same bytes, under the wished name or a number of it, the part stays as it is, and
        that file is returned.

        Raises:
            ChecksumMismatch: the file has another SHA-256 than was announced.
            NameRefused: a folder of the path is a file by now.
            StoreNotWritable, DiskFull: it is not published, or will be after the next start.
        """
        if row.modified is not None:
            with suppress(OSError, OverflowError, ValueError):  # a time that the file system cannot have
                os.utime(part.fileno(), (row.modified, row.modified))
        part.note_whole()
        self._archive.store.parts.sync_all([part])
        sha256 = _sha256_of(part, prefix)
        if row.sha256 and row.sha256.lower() != sha256:
            raise ChecksumMismatch(
                f"{row.path} was announced with the SHA-256 {row.sha256}, and has {sha256}: "
                "it was removed, send it again"
            )
        with self._locks[hash(fold(row.path)) % _LOCKS]:  # else two with the same bytes would both find no file
            if (same := self._same(row.path, part.have, sha256)) is not None:
                return PublishedFile(same, is_new=False)
            fetched = Fetched(part, _NOT_HTTP, "", size_bytes=part.have, sha256=sha256)
            try:
                entry = self._worker.submit(Publish(row.entry._replace(path=row.path), fetched)).result()
            except PathConflict as error:  # its text may have paths of the machine
                logger.warning("an upload of %s: %s", row.person, error)
                raise NameRefused(
                    f"{row.path} cannot be the path of a file now: one of its folders is a file or a link, or other "
                    "programs take its names"
                ) from None
            return PublishedFile(entry.path or row.path, is_new=True)

    def _same(self, path: str, size_bytes: int, sha256: str) -> str | None:
        """Return the path of a published file with the same bytes and a name of these; None if there is none.

        The name may differ in what some file systems ignore, as then, too, a new file would get a number.
        """
        store, ledger = self._archive.store, self._archive.ledger
        for number in range(1, _SAME_UP_TO):
            name = path if number == 1 else numbered(path, number)
            key = ledger.owner_of(name)
            if key is None and not store.taken(name):
                return None
            row = None if key is None else ledger.lookup([key]).get(key)
            if (
                row is not None
                and row.path is not None
                and row.state == State.DONE
                and (row.size_bytes, row.sha256) == (size_bytes, sha256)
                and (identity := store.identity(row.path)) is not None
                and row.identity == identity_text(identity)
            ):
                return row.path
        return None


def _sha256_of(part: PartFile, prefix: PrefixHash) -> str:
    """Return the SHA-256 of a whole part, of whose first bytes the hash is known."""
    block_bytes = 1024 * 1024
    while block := part.read(prefix.offset, min(part.have, prefix.offset + block_bytes)):
        prefix.update(block)
    return prefix.hexdigest()
