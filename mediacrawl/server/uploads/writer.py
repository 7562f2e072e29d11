"""Write to one upload, until another request takes over."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import MachineError
from mediacrawl.server.uploads.problems import ChecksumMismatch, TakenOver, UploadTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.server.uploads.records import Checksum
    from mediacrawl.store.parts import PartFile


class PrefixHash:
    """The SHA-256 of the first bytes of an upload; `offset` is the number of these bytes."""

    __slots__ = ("_hash", "offset")

    def __init__(self, state: Any = None, offset: int = 0) -> None:
        """Begin with no bytes, or with those of an object of `hashlib`."""
        self._hash = hashlib.sha256() if state is None else state
        self.offset = offset

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes."""
        self._hash.update(data)
        self.offset += len(data)

    def copy(self) -> PrefixHash:
        """Return an object that goes on independently."""
        return PrefixHash(self._hash.copy(), self.offset)

    def hexdigest(self) -> str:
        """Return the digest, in hex."""
        return self._hash.hexdigest()


class UploadWriter:
    """The one that may write to an upload. Methods may be called from any thread, one at a time.

    What was written is durable after `checkpoint` or `close`; after a kill of the process (without a power cut) all
    of it counts. With a checksum, no byte counts before `close` has compared it.
    """

    def __init__(
        self,
        part: PartFile,
        prefix: PrefixHash,
        *,
        most_bytes: int | None,
        checksum: Checksum | None,
        make_room: Callable[[int], None],
        sync_names: Callable[[], None],
        at_takeover: Callable[[], None] | None,
        at_close: Callable[[UploadWriter], None],
    ) -> None:
        """Take over a part; called by `Uploads.writer`.

        Args:
            part: open and begun.
            prefix: the hash of its first bytes, of all or of some.
            most_bytes: the length of the whole file; None: not known.
            checksum: of the bytes that this writer will write.
            make_room: called before the upload gets as many bytes as it says.
            sync_names: makes the names of parts and records durable.
            at_takeover: see `Uploads.writer`.
            at_close: called once, when the part has been released.
        """
        self._lock = threading.Lock()
        self._part = part
        self._offset = self._start = part.have
        self.prefix = prefix
        self._most_bytes = most_bytes
        self._checked = None if checksum is None else _CheckedBytes(checksum, prefix)
        self._make_room = make_room
        self._sync_names = sync_names
        self._at_takeover = at_takeover
        self._at_close = at_close
        self._is_open = True
        self._is_taken = False
        if self._checked is not None:
            part.count_recorded_only()

    @property
    def offset(self) -> int:
        """The number of bytes in the upload, durable or not."""
        return self._offset

    @property
    def part_name(self) -> str:
        """The file name of the part, without suffix."""
        return self._part.name

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Blocks for the disk, and now and then for the time of a sync.

        Raises:
            TakenOver: another writer goes on. Nothing was written.
            UploadTooLarge: more bytes than were announced. Nothing was written.
            QuotaSpent: of an upload of unknown length. Nothing was written.
            DiskFull, StoreNotWritable: some of the bytes may have been written.
        """
        with self._lock:
            self._check_open()
            stop = self._offset + len(data)
            if self._most_bytes is not None and stop > self._most_bytes:
                raise UploadTooLarge(f"the upload was announced with {self._most_bytes} bytes, and these are more")
            self._make_room(stop)
            self._part.write_at(self._offset, data)
            if self.prefix.offset == self._offset:  # else some bytes before are not in it
                self.prefix.update(data)
            start, self._offset = self._offset, stop
            if self._checked is not None:
                self._checked.update(data)
            else:
                self._part.mark((start, stop))

    def checkpoint(self) -> int:
        """Make the bytes durable, and return how many there are.

        Raises:
            TakenOver: another writer goes on.
            DiskFull, StoreNotWritable: what was durable before still is.
        """
        with self._lock:
            self._check_open()
            return self._sync()

    def close(self) -> int:
        """Make the bytes durable, and return how many there are. Later calls return the same.

        Raises:
            TakenOver: another writer goes on; it has made the bytes durable.
            ChecksumMismatch: the bytes differ from the checksum, and are dropped.
            DiskFull, StoreNotWritable: what was durable before still is.
        """
        with self._lock:
            self._check_taken()
            if not self._is_open:
                return self._offset
            try:
                self._compare()
                return self._sync()
            finally:
                self._release()

    def detach(self) -> PartFile:
        """Close, and return the part, which stays locked, and whose bytes are not durable yet.

        Raises:
            TakenOver: another writer goes on; it has made the bytes durable.
            ChecksumMismatch: the bytes differ from the checksum, and are dropped.
            DiskFull, StoreNotWritable: what was durable before still is.
        """
        with self._lock:
            self._check_open()
            try:
                self._compare()
            except BaseException:
                self._release()
                raise
            self._is_open = False
            self._at_close(self)
            return self._part

    def drop(self) -> int:
        """Close without comparing the checksum: the bytes of a writer with one are dropped, as they may be wrong.

        Return how many bytes are durable. Without a checksum this is `close`. A later call returns the same.

        Raises:
            TakenOver: another writer goes on; it has made the bytes durable.
            DiskFull, StoreNotWritable: what was durable before still is.
        """
        with self._lock:
            self._check_taken()
            if not self._is_open:
                return self._offset
            try:
                self._forget_checked()
                return self._sync()
            finally:
                self._release()

    def hand_over(self) -> None:
        """Drop, for another writer: from now on each call raises `TakenOver`. Nothing happens to a closed writer."""
        with self._lock:
            if not self._is_open:
                return
            try:
                self._forget_checked()
                with suppress(MachineError):  # the next writer meets the same error
                    self._sync()
            finally:
                self._is_taken = True
                self._release()
        if self._at_takeover is not None:
            self._at_takeover()

    def _check_open(self) -> None:
        self._check_taken()
        if not self._is_open:
            raise ValueError("the writer is closed")

    def _check_taken(self) -> None:
        if self._is_taken:
            raise TakenOver("another request goes on with this upload")

    def _sync(self) -> int:
        self._part.checkpoint()
        self._sync_names()
        return self._part.have

    def _compare(self) -> None:
        """Count the bytes of a writer with a checksum if it is right."""
        if self._checked is None:
            return
        if not self._checked.is_right():
            self._forget_checked()
            raise ChecksumMismatch("the bytes differ from their checksum: they were dropped, send them again")
        if self._offset > self._start:
            self._part.mark((self._start, self._offset))

    def _forget_checked(self) -> None:
        """Go back to the bytes before those whose checksum is not known to be right."""
        if self._checked is not None:
            self._offset, self.prefix = self._start, self._checked.prefix_before

    def _release(self) -> None:
        self._is_open = False
        try:
            self._part.release()
        finally:
            self._at_close(self)


class _CheckedBytes:
    """The bytes of a writer with a checksum, and the hash of the bytes before them."""

    def __init__(self, checksum: Checksum, prefix: PrefixHash) -> None:
        self._expected = checksum.digest
        self._hash = hashlib.new(checksum.algorithm, usedforsecurity=False)
        self.prefix_before = prefix.copy()

    def update(self, data: bytes | memoryview) -> None:
        self._hash.update(data)

    def is_right(self) -> bool:
        return self._hash.digest() == self._expected
