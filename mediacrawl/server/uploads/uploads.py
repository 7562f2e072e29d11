"""Unfinished uploads, on the part files of a store. No HTTP and no FTP.

An upload is a row of the ledger, whose key is `upload:PERSON/ID` and which has no URL, and a part file of that key.
The row is written first; its `size_bytes` is what is reserved in the quota of the person. The part has the bytes, and
is the only place that says how many of them are there. An upload that is whole is published as a fetched file is: see
`Archive`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mediacrawl.server.accounts.rights import Person

KEPT_S = 7 * 24 * 3600.0
"""An unfinished upload expires this long after its last byte, in seconds."""


class UploadWish(NamedTuple):
    """What a client wants to upload. Names are as the client has sent them: they become safe ones.

    Attributes:
        person: who uploads.
        folder: in the store, with "/" between its components; empty: the common folder, or else the own one.
        name: of the file; it may have folders in it.
        length_bytes: of the whole file; None: not known yet, the end of the bytes is the end of the file.
        sha256: of the whole file, in hex; None: not known.
        modified: when the file was changed last, in seconds since the epoch; None: not known.
    """

    person: Person
    folder: str
    name: str
    length_bytes: int | None = None
    sha256: str | None = None
    modified: float | None = None


class UploadFacts(NamedTuple):
    """An upload, as it is now.

    Attributes:
        id: of letters, digits, "-" and "_", not to be guessed.
        person: the name of whoever uploads.
        path: of the file in the store: the wished one, which is safe, or the final one if `is_published`.
        length_bytes: of the whole file; None: not known yet.
        offset: the number of bytes that are durable, from the first one on.
        expires_at: in seconds since the epoch.
        is_published: whether the file has its final name.
    """

    id: str
    person: str
    path: str
    length_bytes: int | None
    offset: int
    expires_at: float
    is_published: bool = False


class Checksum(NamedTuple):
    """The digest that the bytes of one writer must have.

    Attributes:
        algorithm: `sha1` or `sha256`.
        digest: its bytes.
    """

    algorithm: str
    digest: bytes


class UploadWriter:
    """The one that may write to an upload. Methods may be called from any thread, one at a time.

    What was written is durable after `checkpoint` or `close`; after a kill of the process (without a power cut) all
    of it counts. With a checksum, no byte counts before `close` has compared it.
    """

    @property
    def offset(self) -> int:
        """The number of bytes in the upload, durable or not."""
        raise NotImplementedError

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Blocks for the disk, and now and then for the time of a sync.

        Raises:
            TakenOver: another writer goes on. Nothing was written.
            UploadTooLarge: more bytes than were announced. Nothing was written.
            QuotaSpent: of an upload of unknown length. Nothing was written.
            DiskFull, StoreNotWritable: some of the bytes may have been written.
        """
        raise NotImplementedError

    def checkpoint(self) -> int:
        """Make the bytes durable, and return how many there are.

        Raises:
            TakenOver: another writer goes on.
            DiskFull, StoreNotWritable: what was durable before still is.
        """
        raise NotImplementedError

    def close(self) -> int:
        """Make the bytes durable, and return how many there are. Later calls return the same.

        Raises:
            TakenOver: another writer goes on; it has made the bytes durable.
            ChecksumMismatch: the bytes differ from the checksum, and are dropped.
            DiskFull, StoreNotWritable: what was durable before still is.
        """
        raise NotImplementedError

    def drop(self) -> int:
        """Close without comparing the checksum: the bytes of a writer with one are dropped, as they may be wrong.

        Returns how many bytes are durable. Without a checksum this is `close`.
        """
        raise NotImplementedError


class Uploads:
    """The unfinished uploads of a store, one object for each process. Methods block, and any thread may call them.

    Each method that takes an id and a person raises `NoSuchUpload` if this person has no such upload. Each may raise
    `DiskFull` or `StoreNotWritable`.
    """

    def __init__(self, store: Path, ledger: str = "", *, is_public: bool = False) -> None:
        """Open the store and its ledger for writing, settle what a crash has left, and remove what has expired.

        Args:
            store: the folder of the store.
            ledger: the URL of the ledger; by default, the ledger is in the store.
            is_public: whether everybody may read the common folder, as `ServeOptions` has it.

        Raises:
            UsageProblem: the kind of the ledger is unknown.
            StoreNotWritable, DiskFull: the store or its ledger cannot be used.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close all writers, which makes their bytes durable, and the store."""
        raise NotImplementedError

    def create(self, wish: UploadWish) -> UploadFacts:
        """Begin an upload. After a crash it is there, with no bytes.

        Raises:
            NameRefused: the person may not write there, or the path cannot be that of a file.
            QuotaSpent: the person may not add as many bytes.
            TooManyUploads: too many are unfinished.
            UploadTooLarge: no file can be as large.
            DiskFull: there is less room on the disk.
        """
        raise NotImplementedError

    def facts(self, upload_id: str, person: Person) -> UploadFacts:
        """End the writer of an upload, if there is one, in any process; make its bytes durable, and return the facts.

        The offset never falls: it is durable, and no other writer adds to it any more.

        Raises:
            UploadInUse: the process of the writer does not answer.
        """
        raise NotImplementedError

    def writer(
        self,
        upload_id: str,
        person: Person,
        offset: int,
        *,
        checksum: Checksum | None = None,
        at_takeover: Callable[[], None] | None = None,
    ) -> UploadWriter:
        """Return a writer that appends from `offset` on. The one before, in any process, is ended: see `TakenOver`.

        Args:
            upload_id: of the upload.
            person: whose upload it is.
            offset: where the bytes begin.
            checksum: of the bytes that this writer writes.
            at_takeover: called once, from any thread, when another request has taken over. It must not block.

        Raises:
            OffsetConflict: the upload does not end at `offset`.
            UploadInUse: the process of the former writer does not answer.
        """
        raise NotImplementedError

    def finish(self, upload_id: str, person: Person) -> str:
        """Verify an upload, and give the file its final name. Return its path in the store.

        The upload must be whole; one of unknown length is. Its writer is ended as by `facts`. The path is the wished
        one, or the same with a number if another file has it. If a file with one of these names has the same bytes,
        there is no second one, and its path is returned. A second call returns the same path. After a crash the
        upload is either published or whole and unfinished.

        Raises:
            NotWhole: bytes are missing.
            ChecksumMismatch: the file has another SHA-256 than was announced. The upload is removed.
            NameRefused: a folder of the path is a file by now. The upload stays.
        """
        raise NotImplementedError

    def remove(self, upload_id: str, person: Person) -> None:
        """End the writer of an unfinished upload, and remove it with its bytes. A file that is published stays."""
        raise NotImplementedError

    def list_unfinished(self, person: Person) -> list[UploadFacts]:
        """Return the unfinished uploads of a person, the oldest first. Writers go on: offsets are of the moment."""
        raise NotImplementedError

    def sweep(self) -> int:
        """Remove the uploads that have expired. Return their number."""
        raise NotImplementedError
