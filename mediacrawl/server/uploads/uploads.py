"""Unfinished uploads, on the part files of a store. No HTTP and no FTP.

An upload is a row of the ledger, whose key is `upload:PERSON/ID` and which has no URL, and a part file of that key.
The row is written first; its `size_bytes` is what is reserved in the quota of the person. The part has the bytes, and
is the only place that says how many of them are there. An upload that is whole is published as a fetched file is: see
`Archive`.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from mediacrawl.archive import Archive
from mediacrawl.backends import store_of
from mediacrawl.errors import DiskFull, MachineError
from mediacrawl.ledger.base import State
from mediacrawl.ledger.upload_keys import UPLOAD, upload_key
from mediacrawl.server.accounts.rights import may_add
from mediacrawl.server.uploads.held_parts import HeldParts
from mediacrawl.server.uploads.placing import path_of_wish, refuse_conflict
from mediacrawl.server.uploads.problems import (
    ChecksumMismatch,
    NameRefused,
    NoSuchUpload,
    NotWhole,
    OffsetConflict,
    QuotaSpent,
    UploadInUse,
    UploadTooLarge,
)
from mediacrawl.server.uploads.publishing import Publisher
from mediacrawl.server.uploads.quotas import Quotas
from mediacrawl.server.uploads.records import Checksum, UploadFacts, UploadWish
from mediacrawl.server.uploads.rows import UploadRow
from mediacrawl.server.uploads.writer import UploadWriter
from mediacrawl.store.parts import PartRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mediacrawl.server.accounts.rights import Person
    from mediacrawl.store.parts import PartFile

__all__ = ["Checksum", "UploadFacts", "UploadWish", "UploadWriter", "Uploads"]

UPLOAD_KEPT_S = 7 * 24 * 3600.0
"""An unfinished upload expires this long after its last byte, in seconds."""
MOST_UPLOAD_BYTES = 1 << 50
"""The largest file: the ledger counts no larger one."""
MOST_JOINED = 100
"""The most uploads that are joined to one: each of them is open meanwhile."""

_RESERVED_STEP_BYTES = 16 * 1024 * 1024  # of an upload of unknown length
_MOST_SETTLED = 10_000
_MOST_KNOWN_JOINED = 1_000
_ATTEMPTS = 5
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Uploads:
    """The unfinished uploads of a store, one object for each process. Methods block, and any thread may call them.

    Each method that takes an id and a person raises `NoSuchUpload` if this person has no such upload. Each may raise
    `DiskFull` or `StoreNotWritable`.
    """

    def __init__(
        self, store: Path, ledger: str = "", *, is_public: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        """Open the store and its ledger for writing, settle what a crash has left, and remove what has expired.

        Args:
            store: the folder of the store.
            ledger: the URL of the ledger; by default, the ledger is in the store.
            is_public: whether everybody may read the common folder, as `ServeOptions` has it.
            clock: returns seconds since the epoch.

        Raises:
            UsageProblem: the kind of the ledger is unknown.
            StoreNotWritable, DiskFull: the store or its ledger cannot be used.
        """
        self._archive = Archive.open(store_of(str(store)), ledger)
        self._store = self._archive.store
        self._is_public = is_public
        self._clock = clock
        self._quotas = Quotas(self._archive.ledger, clock)
        self._held = HeldParts(self._store)
        self._publisher = Publisher(self._archive)
        self._settled = _SettledUploads()
        self.sweep()

    def close(self) -> None:
        """Close all writers, which makes their bytes durable, and the store."""
        self._held.close()
        try:
            self._publisher.close()
        finally:
            self._archive.close()

    def create(self, wish: UploadWish) -> UploadFacts:
        """Begin an upload. After a crash it is there, with no bytes.

        Raises:
            NameRefused: the person may not write there, or the path cannot be that of a file.
            QuotaSpent: the person may not add as many bytes.
            TooManyUploads: too many are unfinished.
            UploadTooLarge: no file can be as large.
            DiskFull: there is less room on the disk.
        """
        row = self._wished(wish)
        row = self._quotas.begin(row, wish.person, row.length_bytes or 0)
        return self._facts(row, 0)

    def look(self, upload_id: str, person: Person) -> UploadFacts:
        """Return the facts of an upload without a change for its writer: the offset is of the moment."""
        found = self._find(upload_id, person)
        return found if isinstance(found, UploadFacts) else self._facts(found, self._offset_now(found))

    def facts(self, upload_id: str, person: Person) -> UploadFacts:
        """End the writer of an upload, if there is one, in any process; make its bytes durable, and return the facts.

        The offset never falls: it is durable, and no other writer adds to it any more. An upload that is being
        finished is waited for.

        Raises:
            UploadInUse: the process of the writer does not answer.
        """
        for _ in range(_ATTEMPTS):
            self._held.wait_until_idle(upload_key(person.name, upload_id))
            found = self._find(upload_id, person)
            if isinstance(found, UploadFacts):
                return found
            if found.is_published:
                return self._facts(found, found.length_bytes or 0)
            with suppress(NoSuchUpload):  # it was finished or removed meanwhile: look again
                return self._durable_facts(*self._lock(upload_id, person))
        raise UploadInUse("other requests change this upload: ask again in a moment")

    def _durable_facts(self, row: UploadRow, part: PartFile) -> UploadFacts:
        try:
            if part.record is None:
                part.close()  # which removes it
                return self._facts(row, 0)
            part.checkpoint()
            self._store.parts.sync()
            return self._facts(row, part.have)
        finally:
            part.release()

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
            NameRefused: the person may not add the file any more.
            UploadInUse: the process of the former writer does not answer.
        """
        self._held.wait_until_idle(upload_key(person.name, upload_id))
        row, part = self._lock(upload_id, person)
        try:
            self._check_right(row, person)
            _begin(part, row)
            if part.have != offset:
                part.checkpoint()  # the offset is told
                self._store.parts.sync()
                raise OffsetConflict(part.have, offset)
            writer = UploadWriter(
                part,
                self._held.prefix_of(part),
                most_bytes=row.length_bytes,
                checksum=checksum,
                make_room=_Room(self._quotas, row, person),
                sync_names=self._store.parts.sync,
                at_takeover=at_takeover,
                at_close=self._held.released,
            )
            self._held.register(part, writer)
        except BaseException:
            part.release()
            raise
        return writer

    def finish(self, upload_id: str, person: Person, writer: UploadWriter | None = None) -> str:
        """Verify an upload, and give the file its final name. Return its path in the store.

        The upload must be whole; one of unknown length is. Its writer is ended as by `facts`. The path is the wished
        one, or the same with a number if another file has it. If a file with one of these names has the same bytes,
        there is no second one, and its path is returned. A second call returns the same path. After a crash the
        upload is either published or whole and unfinished.

        Args:
            upload_id: of the upload.
            person: whose upload it is.
            writer: that of the upload, which has written the last byte and is not closed: that spares syncs.

        Raises:
            TakenOver: of the writer.
            NotWhole: bytes are missing, or it is a part of another upload.
            ChecksumMismatch: the file has another SHA-256 than was announced, and the upload is removed; or the bytes
                of the writer differ from their checksum, and are dropped.
            NameRefused: a folder of the path is a file by now, or the person may not add the file any more; the
                upload stays.
            UploadInUse: the process of its writer does not answer.
        """
        with self._held.only(upload_key(person.name, upload_id)):
            try:
                found = self._find(upload_id, person)
            except NoSuchUpload:
                if writer is not None:  # its row was forgotten: nobody can go on with the bytes
                    _drop(writer.detach())
                raise
            if found.is_published:
                return found.path
            assert isinstance(found, UploadRow)
            if found.is_partial:
                raise NotWhole("this upload is a part of another one: it is published with that")
            self._check_right(found, person)
            if writer is not None:
                return self._finish(found, writer.detach())
            return self._finish(*self._lock(upload_id, person))

    def join(self, wish: UploadWish, part_ids: Sequence[str]) -> UploadFacts:
        """Make one upload of several whole ones, in this order, publish it, and remove the others.

        The length of the wish is not used. A second call with the same ids returns the same upload, as long as this
        process runs. After a crash the others are there, unless the file is published.

        Raises:
            NotWhole: one of them is not whole, was not begun as a part, or is named twice.
            The errors of `create` and `finish`.
        """
        keys = [upload_key(wish.person.name, one) for one in part_ids]
        if not keys or len(keys) > MOST_JOINED or len(set(keys)) < len(keys):
            raise NotWhole(f"expected from 1 to {MOST_JOINED} different uploads to join, got {len(keys)}")
        with ExitStack() as held:
            for key in sorted(keys):  # in one order, so that two calls do not wait for each other
                held.enter_context(self._held.only(key))
            if (joined := self._settled.joined(keys)) is not None:
                return joined
            locked = []
            for one in part_ids:  # until the end, so that their bytes stay reserved
                locked.append(self._lock(one, wish.person))
                held.callback(locked[-1][1].release)
                _refuse_no_part(*locked[-1])
            facts = self._joined(wish, [part for _, part in locked])
            self._settled.note_joined(keys, facts)
            for row, part in locked:
                self._settled.add(self._facts(row, part.have), facts.path)
                self._discard(row, part)
            return facts

    def amend(self, upload_id: str, wish: UploadWish) -> UploadFacts:
        """Give an unfinished upload the path of another wish, and its time if it has one. Its writer is ended.

        Raises:
            NameRefused: the person may not write there, or the path cannot be that of a file.
            UploadInUse: the process of its writer does not answer.
        """
        path = path_of_wish(wish, is_public=self._is_public)
        refuse_conflict(self._store, path)
        with self._held.only(upload_key(wish.person.name, upload_id)):
            row, part = self._lock(upload_id, wish.person)
            try:
                modified = row.modified if wish.modified is None else wish.modified
                row = row._replace(path=path, modified=modified)
                row = self._quotas.extend(row, wish.person, row.entry.size_bytes or 0)
                return self._facts(row, 0 if part.record is None else part.have)
            finally:
                part.release()

    def remove(self, upload_id: str, person: Person) -> None:
        """End the writer of an unfinished upload, and remove it with its bytes. A file that is published stays."""
        with self._held.only(upload_key(person.name, upload_id)):
            self._discard(*self._lock(upload_id, person))

    def list_unfinished(self, person: Person) -> list[UploadFacts]:
        """Return the unfinished uploads of a person, the oldest first. Writers go on: offsets are of the moment."""
        rows = [row for row in self._rows(upload_key(person.name)) if not row.is_published]
        rows.sort(key=lambda row: row.entry.wanted_at or 0.0)
        return [self._facts(row, self._offset_now(row)) for row in rows]

    def left_bytes(self, person: Person) -> int | None:
        """Return how many bytes a person may still add; None: no limit."""
        return self._quotas.left_bytes(person)

    def sweep(self) -> int:
        """Remove the uploads that have expired. Return their number."""
        removed = 0
        for row in self._rows(UPLOAD):
            if row.is_published or self._expires_at(row) > self._clock():
                continue
            with suppress(UploadInUse), self._held.only(row.entry.key):
                self._discard(row, self._held.lock(row.entry.key))
                removed += 1
        return removed

    # Rows

    def _rows(self, prefix: str) -> Iterator[UploadRow]:
        return map(UploadRow.of, self._archive.ledger.entries(State.PENDING, prefix=prefix))

    def _find(self, upload_id: str, person: Person) -> UploadRow | UploadFacts:
        """Return the row of an upload, or the facts of one that has no row any more."""
        if _ID.fullmatch(upload_id) is None:
            raise _no_such_upload()
        key = upload_key(person.name, upload_id)
        entry = self._archive.ledger.lookup([key]).get(key)
        if entry is not None and entry.state == State.PUBLISHING:  # an attempt to publish it has failed
            self._archive.recover()
            entry = self._archive.ledger.lookup([key]).get(key)
        if entry is not None:
            return UploadRow.of(entry)
        if (facts := self._settled.get(upload_id, person)) is not None:
            return facts
        raise _no_such_upload()

    def _unfinished(self, upload_id: str, person: Person) -> UploadRow:
        found = self._find(upload_id, person)
        if isinstance(found, UploadFacts) or found.is_published:
            raise NoSuchUpload("this upload is finished: its file is in the store")
        return found

    def _wished(self, wish: UploadWish) -> UploadRow:
        """Return the row of a new upload, which is not written yet."""
        length = wish.length_bytes or 0
        if length > MOST_UPLOAD_BYTES:
            raise UploadTooLarge(f"a file has at most {MOST_UPLOAD_BYTES} bytes, and this one has {length}")
        path = path_of_wish(wish, is_public=self._is_public)
        refuse_conflict(self._store, path)
        _refuse_full_disk(self._store.root, length)
        row = UploadRow.wished(secrets.token_urlsafe(16), wish, path)
        return row._replace(entry=row.entry._replace(wanted_at=self._clock()))

    def _check_right(self, row: UploadRow, person: Person) -> None:
        """Raise `NameRefused` if a right was withdrawn since the upload was begun."""
        if not may_add(person, row.path, is_public=self._is_public):
            raise NameRefused(f"{person.name} may not add the file {row.path} any more")

    def _facts(self, row: UploadRow, offset: int) -> UploadFacts:
        return UploadFacts(
            row.id,
            row.person,
            row.path,
            row.length_bytes,
            offset,
            self._expires_at(row),
            row.is_published,
            row.metadata,
            row.concat,
        )

    def _expires_at(self, row: UploadRow) -> float:
        # Not `st_mtime`: before a file gets its name, that is set to what the client has told.
        written_at = found.st_ctime if (found := self._lstat(row)) is not None else 0.0
        return max(written_at, row.entry.wanted_at or 0.0) + UPLOAD_KEPT_S

    def _offset_now(self, row: UploadRow) -> int:
        if row.is_published:
            return row.length_bytes or 0
        if (offset := self._held.offset_of_writer(row.entry.key)) is not None:
            return offset
        size_bytes = found.st_size if (found := self._lstat(row)) is not None else 0
        return size_bytes if row.length_bytes is None else min(size_bytes, row.length_bytes)

    def _lstat(self, row: UploadRow) -> os.stat_result | None:
        parts = self._store.parts
        return parts.directory.lstat(f"{parts.name(row.entry.key)}.part")

    # Parts

    def _lock(self, upload_id: str, person: Person) -> tuple[UploadRow, PartFile]:
        """Return the row of an unfinished upload, and its part, locked, which may be empty and without a record.

        Another process may have published the file just before: then the part of this name is a new one.
        """
        for _ in range(_ATTEMPTS):
            key = self._unfinished(upload_id, person).entry.key
            part = self._held.lock(key)
            try:
                entry = self._archive.ledger.lookup([key]).get(key)
            except BaseException:
                part.release()
                raise
            if entry is not None and entry.state == State.PENDING and entry.finished_at is None:
                return UploadRow.of(entry), part
            part.close()
        raise UploadInUse("another process finishes this upload: ask again in a moment")

    def _finish(self, row: UploadRow, part: PartFile) -> str:
        try:
            _begin(part, row)
            if row.length_bytes is None:
                part.note_length(part.have)
            elif part.have != row.length_bytes:
                part.checkpoint()
                raise NotWhole(f"the upload has {part.have} bytes of {row.length_bytes}: send the rest first")
            return self._publish(row, part)
        finally:
            part.release()

    def _publish(self, row: UploadRow, part: PartFile) -> str:
        facts = self._facts(row._replace(length_bytes=part.have), part.have)
        try:
            file = self._publisher.publish(row, part, self._held.prefix_of(part))
        except ChecksumMismatch:
            self._discard(row, part)
            raise
        except BaseException:
            part.close()  # which makes it durable
            raise
        if not file.is_new:
            self._settled.add(facts, file.path)
            self._discard(row, part)
        return file.path

    def _joined(self, wish: UploadWish, parts: Sequence[PartFile]) -> UploadFacts:
        """Publish the bytes of parts, in this order, as one file."""
        length = sum(part.have for part in parts)
        row = self._wished(wish._replace(length_bytes=length))
        row = self._quotas.begin(row, wish.person, 0)  # the bytes are reserved for the parts
        try:
            writer = self.writer(row.id, wish.person, 0)
            try:
                for part in parts:
                    for block in part.blocks(part.have):
                        writer.write(block)
            finally:
                writer.close()
            path = self.finish(row.id, wish.person)
        except BaseException:
            with suppress(MachineError, UploadInUse):
                self._discard(row, self._held.lock(row.entry.key))
            raise
        return self._facts(row, length)._replace(path=path, is_published=True)

    def _discard(self, row: UploadRow, part: PartFile) -> None:
        """Remove the bytes and the row of an upload. After a crash in between, the upload has no bytes."""
        _drop(part)
        self._held.forget(part)
        self._archive.ledger.forget([row.entry.key])


class _SettledUploads:
    """Uploads that are finished and have no row: the file was there already, or they were joined to another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: OrderedDict[str, UploadFacts] = OrderedDict()
        self._joined: OrderedDict[tuple[str, ...], UploadFacts] = OrderedDict()

    def add(self, facts: UploadFacts, path: str) -> None:
        """Note an upload and the path of its file."""
        with self._lock:
            self._facts[upload_key(facts.person, facts.id)] = facts._replace(path=path, is_published=True)
            while len(self._facts) > _MOST_SETTLED:
                self._facts.popitem(last=False)

    def note_joined(self, keys: Sequence[str], facts: UploadFacts) -> None:
        """Note the upload that others were joined to, in this order."""
        with self._lock:
            self._joined[tuple(keys)] = facts
            while len(self._joined) > _MOST_KNOWN_JOINED:
                self._joined.popitem(last=False)

    def get(self, upload_id: str, person: Person) -> UploadFacts | None:
        """Return the facts of an upload; None if it is not known."""
        with self._lock:
            return self._facts.get(upload_key(person.name, upload_id))

    def joined(self, keys: Sequence[str]) -> UploadFacts | None:
        """Return the upload that exactly these were joined to, in this order; None if there is none."""
        with self._lock:
            return self._joined.get(tuple(keys))


class _Room:
    """Reserve bytes for an upload of unknown length, some ahead of those that are there."""

    def __init__(self, quotas: Quotas, row: UploadRow, person: Person) -> None:
        self._quotas = quotas
        self._row = row
        self._person = person

    def __call__(self, size_bytes: int) -> None:
        """Make room for so many bytes in total; raise `QuotaSpent` if there is none."""
        if self._row.length_bytes is not None or size_bytes <= (self._row.entry.size_bytes or 0):
            return
        if size_bytes > MOST_UPLOAD_BYTES:
            raise UploadTooLarge(f"a file has at most {MOST_UPLOAD_BYTES} bytes")
        ahead = -(-size_bytes // _RESERVED_STEP_BYTES) * _RESERVED_STEP_BYTES
        try:
            self._row = self._quotas.extend(self._row, self._person, ahead)
        except QuotaSpent:
            self._row = self._quotas.extend(self._row, self._person, size_bytes)


def _drop(part: PartFile) -> None:
    """Remove a part with its bytes."""
    try:
        part.discard()
    finally:
        part.close()


def _begin(part: PartFile, row: UploadRow) -> None:
    """Give a part that has no record one, with no bytes."""
    if part.record is None:
        part.begin(PartRecord(complete_length=row.length_bytes))
        if row.length_bytes is None:  # `begin` has written no record, as the file may be small
            part.checkpoint()


def _refuse_no_part(row: UploadRow, part: PartFile) -> None:
    if not row.is_partial:
        raise NotWhole(f"the upload {row.id} was not begun as a part of another one")
    if part.have != row.length_bytes:
        raise NotWhole(f"the upload {row.id} has {part.have} bytes of {row.length_bytes}: send the rest first")


def _refuse_full_disk(folder: Path, length_bytes: int) -> None:
    found = os.statvfs(folder)
    free_bytes = found.f_bavail * found.f_frsize
    if length_bytes > free_bytes:
        raise DiskFull(f"the disk of the server has {free_bytes} bytes left, and this file has {length_bytes}")


def _no_such_upload() -> NoSuchUpload:
    return NoSuchUpload("there is no such upload: it is finished, has expired, or is of somebody else")
