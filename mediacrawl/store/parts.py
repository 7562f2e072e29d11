"""Part files: the received bytes of files that are not complete yet.

A part consists of two files in the store's hidden folder: `<name>.part` contains the bytes, `<name>.json` the record
(validators, complete length, written ranges). Every change has the following order. Each step has a name, so that a
test can stop the process there:

    part-write   the bytes are appended, or written at their offset
    part-sync    fdatasync of the bytes
    part-record  the record that counts the bytes is written to a temporary file, synced, and renamed over the old one

A record therefore never counts a byte that is not on the disk, and the record is durably removed before its bytes
are changed. After `kill -9` the page cache still exists. If the machine has not been restarted (the boot id in the
record is the same), and the part was written from front to back, every byte in the file counts, and no byte is
fetched twice. After a power cut only the record counts.

A part too small for a record gets a line in a log when it is complete, see `CompletedLog`.

A newer version of a file is written beside the part: `<name>.new.part`, with its record `<name>.new.json`. Once the
newer version is complete and verified, it takes the place of the part in these steps:

    part-drop     the record of the old bytes is durably removed
    part-replace  the new bytes get the name of the old ones, durably
    part-rename   their record gets the name of the old record

After a crash between these steps, opening the part completes them.

A part that a fresh link continues under another key is moved to the name of that key, in these steps:

    part-record  its record is written with the name that it moves to
    part-move    the bytes get their new name, durably
    part-adopt   the record gets its new name

After a crash between the last two, `PartFolder.sweep` gives the record to the bytes.

A part is locked (flock) while it is open, so that two processes never write the same part. When a process dies, the
system releases its locks.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from mediacrawl.errors import MachineError, disk_error
from mediacrawl.store.completed_log import CompletedLog, LeftoverLogs, identity
from mediacrawl.store.fsync import begin_writing, sync_files
from mediacrawl.store.part_record import VERSION, BadRecord, checked_record, inode_of, merged, moved_to, wished_path
from mediacrawl.system.directories import (
    OWN_FOLDER,
    Directory,
    UnexpectedEntry,
    belongs_to_us,
    make_private,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

logger = logging.getLogger(__name__)

CHECKPOINT_S = 1.0  # a power cut costs this many seconds of fetching, or twice as many
_WRITE_EVERY_BYTES = 8 * 1024 * 1024  # after this many new bytes writing to the disk is started, ahead of a sync
RECORDED_FROM_BYTES = 128 * 1024  # below this size a part is not worth a record: it is fetched again
_PUBLISHED_MODE = 0o644  # less the umask: a part becomes the published file; until then its folder is private
_NEW = ".new"  # ends the name of a part that is to replace another one

Range = tuple[int, int]  # half-open


class PartInUse(Exception):
    """Another process is fetching the same file.

    Attributes:
        ask_after_s: time in seconds after which the caller is to look up the result in the ledger.
    """

    ask_after_s = 0.5


class PartFetchedElsewhere(PartInUse):
    """Another process has fetched the same file, since the caller last looked it up."""

    ask_after_s = 0.05


class PartRecord(NamedTuple):
    """The facts of the first response of a part. A later response that differs is of another version of the resource.

    Attributes:
        validators: ETag and Last-Modified, as returned by `Validators.to_dict`.
        complete_length: length of the complete representation in bytes, None if the server did not send it.
        head: status, final URL and headers of the response, kept for naming the file.
        ranges: half-open ranges that are on the disk, ascending, not touching.
        seams: offsets within the ranges where the bytes of two responses meet that were not compared with each other.
        resumable: False for a body that was encoded in transit: its offsets cannot be used in a range request.
        in_order: False as soon as a byte was written behind a gap: then the size of the file is meaningless.
    """

    validators: Mapping[str, Any] = {}
    complete_length: int | None = None
    head: Mapping[str, Any] = {}
    ranges: tuple[Range, ...] = ()
    seams: tuple[int, ...] = ()
    resumable: bool = True
    in_order: bool = True

    @property
    def prefix(self) -> int:
        """The number of bytes on the disk from the first byte up to the first gap."""
        return self.ranges[0][1] if self.ranges and self.ranges[0][0] == 0 else 0


def boot_id() -> str:
    """Return an identifier of the machine's current boot.

    Empty where the system provides none: then every part is treated as after a power cut.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def add_range(ranges: tuple[Range, ...], new: Range) -> tuple[Range, ...]:
    """Return the union of `ranges` and `new`, ascending and merged."""
    if len(ranges) == 1 and ranges[0][0] <= new[0] <= ranges[0][1]:  # the usual case: the next block
        return ((ranges[0][0], max(ranges[0][1], new[1])),)
    return merged((*ranges, new))


def _no_stop(_step: str) -> None:
    """Do nothing: the default for `at_step`, which a test replaces to stop the process at a step."""


class PartFolder:
    """All parts of one store."""

    def __init__(
        self,
        folder: Path,
        *,
        boot: str | None = None,
        at_step: Callable[[str], None] = _no_stop,
        durable: bool = True,
        open_folder: Callable[[Path], Directory] | None = None,
    ) -> None:
        """Create an object for the parts in a folder.

        Without `durable`, no bytes of parts are synced: a kill loses no more than with it, but a power cut loses all
        bytes of each part. `open_folder` opens the folder, and the folders beside it, and creates what is missing.
        """
        self.open_folder = open_folder or private_folder
        self._directory: Directory | None = None
        self._keeps = True  # the folder open
        self.folder = folder
        self._text = str(folder)
        self.durable = durable
        self.boot = boot_id() if boot is None else boot
        self.at_step = at_step
        self.logs = folder.with_name("whole")
        self.completed_log = CompletedLog(self.logs, self.boot, self.open_folder)
        self.left: LeftoverLogs | None = None
        self._lock = threading.Lock()
        self._wishes: dict[str, set[str]] | None = None  # names of parts, by the path that they were begun for

    @property
    def directory(self) -> Directory:
        """The open folder; it is created if it is missing."""
        found = self._directory
        return found if found is not None else self.reopen(None)

    def reopen(self, former: Directory | None) -> Directory:
        """Open the folder again, unless another thread has done so since the caller has used `former`."""
        with self._lock:
            if self._directory is not None and self._directory is not former:
                return self._directory
            found = self.open_folder(self.folder)
            if self._keeps:
                self._directory = found
            return found

    def keep_open(self) -> None:
        """Keep the folder open from now on."""
        with self._lock:
            self._keeps = True

    def close(self) -> None:
        """Remove the log of complete parts, unless parts still need it, and close the folder.

        A later call opens the folder for itself.
        """
        with self._lock:
            self._keeps = False
            self._directory = None
        with _disk_errors(self.folder):
            self.completed_log.close()

    def exists(self, key: str) -> bool:
        """Return whether there is a part of that key.

        Raises:
            PartInUse: the part exists, and another process has locked it.
        """
        name = f"{self.name(key)}.part"
        try:
            fd = self.directory.open_file(name, os.O_RDONLY)
        except (FileNotFoundError, UnexpectedEntry):  # `open` replaces an entry of another kind
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PartInUse(f"{self._text}/{name}") from None
        finally:
            os.close(fd)
        return True

    def open(self, key: str) -> PartFile:
        """Return the part of a media key, locked; create it if there is none.

        Raises:
            PartInUse: another process has locked the part.
            MachineError: the folder cannot be written.
        """
        try:
            return PartFile(self, f"{self._text}/{self.name(key)}.part")
        except OSError as error:
            raise disk_error(error, self.folder) from None

    def change_key(self, key: str, new_key: str) -> None:
        """Give the part of a key, if there is one, to another key, unless that has a part.

        Raises:
            PartInUse: another process has locked the part.
            MachineError: the folder cannot be written.
        """
        if not self.exists(key) or self.exists(new_key):
            return
        name, new_name = self.name(key), self.name(new_key)
        with _disk_errors(self.folder):
            directory = self.directory
            for suffix in (".json", f"{_NEW}.json", f"{_NEW}.part", ".part"):
                with suppress(FileNotFoundError):
                    directory.replace(f"{name}{suffix}", directory, f"{new_name}{suffix}")
            directory.sync()

    def open_name(self, name: str) -> PartFile:
        """Return the part of a name from `begun_for`, locked; raises the errors of `open`."""
        try:
            return PartFile(self, f"{self._text}/{name}.part")
        except OSError as error:
            raise disk_error(error, self.folder) from None

    def begun_for(self, path: str) -> list[str]:
        """Return the names of the parts that may have been begun for a wished path.

        The records are read once. Later, only parts of this process are added.
        """
        with self._lock:
            if self._wishes is None:
                self._wishes = {}
                for name in self.names():
                    if wished := _wished_path(self.directory, f"{name}.json"):
                        self._wishes.setdefault(wished, set()).add(name.removesuffix(_NEW))
            names = sorted(self._wishes.get(path, ()))
        return [name for name in names if self.directory.lstat(f"{name}.json") is not None]

    def note_begun(self, path: str, name: str) -> None:
        """Note that a part was begun for a wished path."""
        with self._lock:
            if self._wishes is not None:
                self._wishes.setdefault(path, set()).add(name.removesuffix(_NEW))

    def name(self, key: str) -> str:
        """Return the file name of a key's part, without suffix."""
        return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:40]

    def names(self) -> set[str]:
        """Return the names of the parts that a later run can resume: the parts with a record."""
        try:
            with os.scandir(self.folder) as entries:
                return {
                    entry.name.removesuffix(".json")
                    for entry in entries
                    if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False)
                }
        except FileNotFoundError:
            return set()

    def _path(self, key: str) -> Path:
        return self.folder / f"{self.name(key)}.part"

    def sync_all(self, parts: Sequence[PartFile]) -> None:
        """Sync all bytes of complete parts to the disk, before the renames that publish the parts.

        Raises:
            StoreNotWritable, DiskFull: some bytes may not be on the disk.
        """
        if not self.durable:
            return
        for _ in parts:
            self.at_step("file-sync")
        with _disk_errors(self.folder):
            sync_files([part.fileno() for part in parts if part.is_new])
            for part in parts:
                if not part.is_new:  # write errors of an earlier process are reported only by fsync of that very file
                    sync_files([part.fileno()])

    def sync(self) -> None:
        """Make the removal of the records of published parts durable, see `PartFile.published`."""
        with _disk_errors(self.folder):
            self.directory.sync()

    def sweep(self) -> None:
        """Write the records that a killed process had yet to write, and remove its useless files.

        Useless are parts with neither a record nor a valid log line, records without a part, and torn records.
        """
        if not os.path.lexists(self.folder):
            return
        with _disk_errors(self.folder):
            self.left = LeftoverLogs(self.logs, self.boot, self.open_folder)
            try:
                self._sweep()
            finally:
                self.left.close()
                self.left = None

    def _sweep(self) -> None:
        left = self.directory.names()
        for name in left:
            if name.endswith(".tmp"):
                self._sweep_torn(name)  # before its part: the lock of the part shows that no process is writing
        bodiless = self._settle_moves(left)
        for name in left:
            if name.endswith(f"{_NEW}.json"):
                self._settle(
                    name.removesuffix(f"{_NEW}.json")
                )  # opening a part completes the steps of its replacement
        for name in left:
            stem = name.removesuffix(".part")
            if stem != name and self._has(name) and not self._has(f"{stem}.json"):
                self._settle(stem)  # closing a part writes its record, or removes a useless part
        if bodiless:
            self.sync()

    def _settle(self, name: str) -> None:
        with suppress(PartInUse), PartFile(self, f"{self._text}/{name}.part"):
            pass

    def _has(self, name: str) -> bool:
        return self.directory.lstat(name) is not None

    def _settle_moves(self, left: Sequence[str]) -> bool:
        """Settle the records without bytes; return whether there were any.

        A record of a replacement is left out: a living process may be about to rename it; otherwise opening the part
        settles it.
        """
        records = [name for name in left if name.endswith(".json") and not name.endswith(f"{_NEW}.json")]
        return bool([name for name in records if self._settle_move(name.removesuffix(".json"))])

    def _settle_move(self, name: str) -> bool:
        """Give a record without bytes to the part that its bytes were moved to, or remove it; return whether it was.

        A process that moves a part holds the lock of its bytes.
        """
        directory, record = self.directory, f"{name}.json"
        if self._has(f"{name}.part"):
            return False
        target, inode = _moved_to(directory, record)
        try:
            fd = directory.open_file(f"{target}.part", os.O_RDONLY)
        except (FileNotFoundError, UnexpectedEntry):  # there is no such part
            directory.remove(record)
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == inode and not self._has(f"{target}.json"):
                with suppress(FileNotFoundError):  # another process has settled the record
                    directory.replace(record, directory, f"{target}.json")
                return True
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        directory.remove(record)
        return True

    def _sweep_torn(self, torn: str) -> None:
        """Remove a temporary record if its process died before the rename.

        A process that writes a record holds the lock of the part.
        """
        directory = self.directory
        try:
            fd = directory.open_file(f"{torn.removesuffix('.tmp')}.part", os.O_RDONLY)
        except (FileNotFoundError, UnexpectedEntry):  # no part either, but another process may be about to create it
            if _is_old(directory.lstat(torn)):
                directory.remove(torn)
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            directory.remove(torn)
        except BlockingIOError:
            pass  # another process may be about to rename the record
        finally:
            os.close(fd)


def private_folder(path: Path) -> Directory:
    """Open a folder, which is created if it is missing, so that no other user can read or write in it.

    The folder itself may not be a symbolic link; a folder that contains it may.
    """
    path.mkdir(OWN_FOLDER, parents=True, exist_ok=True)
    found = Directory.at(str(path.parent)).below(path.name)
    make_private(found.fd, found.path)
    return found


def _is_old(found: os.stat_result | None, age_s: float = 60.0) -> bool:
    return found is not None and time.time() - found.st_mtime > age_s


def _name_of(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".part")


class PartFile:
    """One part, open and locked.

    Only one thread at a time may use a part, except for `write_at` and `mark`: the segments of a file share these.

    Attributes:
        file: path of the file with the bytes.
        name: the file name, without suffix.
        is_new: whether this object has created the file.
    """

    def __init__(self, folder: PartFolder, path: str, *, replaces: PartFile | None = None) -> None:
        """Open and lock the part at a path; create it if there is none.

        `replaces` is the part whose place this one takes by `take_place`. It is closed together with this one.
        """
        self._folder = folder
        self._replaces = replaces
        self.file = path
        self.name = _name_of(path)
        self._lock = threading.RLock()  # several threads write segments of one file
        self._fd, self.is_new = self._open_locked()
        self._checkpoint_at = time.monotonic()
        self._unsynced_bytes = self._begun_bytes = 0
        self._recorded = False
        self._moves_to = ""
        self._volume: Any = None  # the log file with the line that says that this part is complete
        self.record: PartRecord | None = None
        try:
            if replaces is None:
                self._settle_replacement()
            if not self.is_new:  # a new part has no bytes that a record could count
                self.record = self._load()
                # Bytes that a power cut left behind the counted ones must not count once the record has this boot id.
                self._truncate(self.record.ranges[-1][1] if self.record and self.record.ranges else 0)
        except BaseException:
            self._close_file()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the file descriptor of the bytes."""
        return self._fd

    @cached_property
    def path(self) -> Path:
        """The same as `file`."""
        return Path(self.file)

    @property
    def _stem(self) -> str:
        """The path without suffix."""
        return self.file.removesuffix(".part")

    @property
    def have(self) -> int:
        """The number of counted bytes from the first byte up to the first gap."""
        return self.record.prefix if self.record else 0

    @property
    def written_bytes(self) -> int:
        """The number of counted bytes, including bytes behind gaps."""
        return sum(stop - start for start, stop in self.record.ranges) if self.record else 0

    @property
    def gap_stop(self) -> int | None:
        """The offset of the first counted byte behind the first gap; None if there is none."""
        ranges = self.record.ranges if self.record else ()
        return next((start for start, _stop in ranges if start > self.have), None)

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the complete length is counted."""
        record = self.record
        return bool(record and record.complete_length is not None and record.prefix == record.complete_length)

    @property
    def has_replacement(self) -> bool:
        """Whether bytes of a newer version are kept beside this part."""
        return not self.is_new and self._folder.directory.lstat(f"{self.name}{_NEW}.json") is not None

    @property
    def is_replacement(self) -> bool:
        """Whether this part holds a newer version beside another part, whose place it has not taken yet."""
        return self._replaces is not None

    def current(self) -> PartFile:
        """Return the part to continue: the replacement, if its bytes are worth keeping, otherwise this part."""
        if not self.has_replacement:
            return self
        new = self.replacement()
        return new if new.is_worth_keeping else new.abandon()

    def abandon(self) -> PartFile:
        """Delete this replacement, and return the part that it was to replace."""
        old, self._replaces = self._replaces, None
        assert old is not None
        try:
            self.discard()
        finally:
            self.close()
        return old

    @property
    def old_record(self) -> PartRecord | None:
        """The record of the part that this one is to replace; None if this is no replacement."""
        return self._replaces.record if self._replaces is not None else None

    def replacement(self) -> PartFile:
        """Open the part for a newer version of the file; create it if there is none.

        This part keeps its bytes and its lock. Closing the replacement closes this part, too.
        """
        try:
            return PartFile(self._folder, f"{self._stem}{_NEW}.part", replaces=self)
        except OSError as error:
            raise disk_error(error, self._folder.folder) from None

    def take_place(self) -> None:
        """Give the bytes and the record of this replacement the names of the old part, whose bytes are deleted.

        The bytes must be complete and verified. After a crash the part is found in its old or in its new state.
        """
        old, self._replaces = self._replaces, None
        assert old is not None
        self._forget_line()
        old.make_way(self.name)
        self.file = old.file
        self.name = _name_of(self.file)
        self.__dict__.pop("path", None)
        self.note_whole()

    def make_way(self, new: str) -> None:
        """Delete the record, give the names of this part to the files of the part `new`, and release the lock."""
        try:
            with _disk_errors(self.file):
                self._folder.at_step("part-drop")
                self._drop_record()
                _take_names(self._folder, new, self.name)
        finally:
            self._unlock()

    def move_to(self, empty: PartFile, record: PartRecord) -> None:
        """Give this part, with a new record, the name of an empty part of another key, which is closed.

        The record must count the same bytes. After a crash the part is found under its old or its new name.
        """
        directory = self._folder.directory
        with _disk_errors(self.file):
            self.record = record
            self._moves_to = empty.name
            self._write_record()
            directory.sync()
            self._folder.at_step("part-move")
            directory.replace(f"{self.name}.part", directory, f"{empty.name}.part")
            empty.release()
            directory.sync()
            self._folder.at_step("part-adopt")
            directory.replace(f"{self.name}.json", directory, f"{empty.name}.json")
            directory.sync()
        self.file, self.name, self._moves_to = empty.file, empty.name, ""
        self.__dict__.pop("path", None)
        if wished := wished_path(record.head):
            self._folder.note_begun(wished, self.name)

    def release(self) -> None:
        """Release the lock, and leave all files as they are."""
        self._close_file()

    def begin(self, record: PartRecord) -> None:
        """Drop the old bytes and begin again with the facts of a new response.

        The old record is removed first: if the process dies in between, the part counts as empty.
        """
        with _disk_errors(self.file):
            self._drop_record()
            if self.record is not None or not self.is_new:  # else the file is empty
                self._truncate(0)
        self.record = record._replace(ranges=(), seams=(), in_order=True)
        self._unsynced_bytes = self._begun_bytes = 0
        self._checkpoint_at = time.monotonic()
        if record.complete_length and record.complete_length > RECORDED_FROM_BYTES:
            self._write_record()  # before the first byte, so that the part can be resumed even after a kill now

    def fill(self, record: PartRecord, data: bytes) -> None:
        """Begin, write and note a small file completely. The record must have its length."""
        self.begin(record)
        self.write_at(0, data)
        self.record = record._replace(ranges=((0, len(data)),) if data else (), in_order=True)
        self._unsynced_bytes = len(data)
        self.note_whole()

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at an offset, without counting them yet."""
        if offset > self.have:
            self._leave_order()
        self._folder.at_step("part-write")
        view = memoryview(data)
        with _disk_errors(self.file):
            while view:
                written = os.pwrite(self._fd, view, offset)
                offset += written
                view = view[written:]

    def splice_at(self, offset: int, pipe: int, size_bytes: int) -> None:
        """Write `size_bytes` bytes from a pipe at an offset, without counting them yet. Not for use behind a gap."""
        self._folder.at_step("part-write")
        with _disk_errors(self.file):
            while size_bytes:
                try:
                    moved = os.splice(pipe, self._fd, size_bytes, offset_dst=offset)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    data = os.read(pipe, size_bytes)  # a file system without splice
                    self.write_at(offset, data)
                    moved = len(data)
                offset += moved
                size_bytes -= moved

    def _leave_order(self) -> None:
        """Write to the record that the size of the file no longer counts, before the file grows over a gap.

        Otherwise a kill now would leave a record with one range from the front, and a file with a hole.
        """
        with self._lock:
            if self.record is None or not self.record.in_order:
                return
            self.record = self.record._replace(in_order=False)
            if self._recorded:
                self.checkpoint()

    def mark(self, written: Range) -> None:
        """Count a range that was written, and make a checkpoint if it is due."""
        with self._lock:
            assert self.record is not None
            self.record = self.record._replace(ranges=add_range(self.record.ranges, written))
            self._unsynced_bytes += written[1] - written[0]
            due = time.monotonic() - self._checkpoint_at >= CHECKPOINT_S
            if due and (self._recorded or self._unsynced_bytes >= RECORDED_FROM_BYTES):
                self.checkpoint()
            elif self._unsynced_bytes - self._begun_bytes >= _WRITE_EVERY_BYTES and self._folder.durable:
                self._begun_bytes = self._unsynced_bytes
                begin_writing(self._fd)

    def note_seam(self, offset: int) -> None:
        """Note that the bytes from an offset on are from another response than the bytes before it.

        From now on only the record counts, which names the seam: a kill must not make the size of the file count.
        """
        with self._lock:
            if self.record is None:
                return
            self.record = self.record._replace(seams=(*self.record.seams, offset))
            self._leave_order()

    def close_seam(self, offset: int) -> None:
        """Note that the bytes on both sides of an offset were compared and belong together."""
        with self._lock:
            if self.record is None:
                return
            self.record = self.record._replace(seams=tuple(seam for seam in self.record.seams if seam != offset))

    def count_recorded_only(self) -> None:
        """From now on, count after a kill only the bytes that the record counts, whatever the size of the file is.

        For bytes that are written without `mark`, because they may yet turn out to be wrong.
        """
        self._leave_order()

    def keep_first(self, size_bytes: int) -> None:
        """Count only the first `size_bytes` bytes, which must be counted, and forget all others."""
        with self._lock:
            assert self.record is not None
            self.record = self.record._replace(ranges=((0, size_bytes),) if size_bytes else (), seams=())
            if self._recorded:
                self.checkpoint()

    def has(self, start: int, stop: int) -> bool:
        """Return whether all bytes of a half-open range are counted."""
        ranges = self.record.ranges if self.record else ()
        return any(first <= start and stop <= last for first, last in ranges)

    def checkpoint(self) -> None:
        """Make all counted bytes durable, then write the record that counts them."""
        self._folder.at_step("part-sync")
        with _disk_errors(self.file):
            if self._folder.durable:
                os.fdatasync(self._fd)
        self._write_record()
        self._checkpoint_at = time.monotonic()
        self._unsynced_bytes = self._begun_bytes = 0

    def note_length(self, complete_length: int) -> None:
        """Set the complete length when it becomes known: from a Content-Range, or because the body has ended."""
        assert self.record is not None
        self.record = self.record._replace(complete_length=complete_length)

    def note_whole(self) -> None:
        """Note that the part is complete: after a kill no byte is fetched again, even without a record."""
        if self._recorded or self._volume is not None or self.record is None or not self.record.resumable:
            return
        with _disk_errors(self.file):
            self._volume = self._folder.completed_log.note(self.name, self._fd, self._facts())

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a half-open range; fewer at the end of the file."""
        with _disk_errors(self.file):
            return os.pread(self._fd, stop - start, start)

    def read_counted(self, start: int, stop: int) -> bytes:
        """Return bytes of a counted range: at least the first byte, perhaps not all.

        Raises:
            MachineError: the bytes cannot be read, or another program has truncated the file.
        """
        if data := self.read(start, stop):
            return data
        raise MachineError(
            f"{self.file} was cut off at byte {start} while it was being written: run the same command again,"
            " it goes on from there"
        )

    def blocks(self, stop: int, block_bytes: int = 1024 * 1024) -> Iterator[bytes]:
        """Yield the first `stop` bytes, in blocks; fewer if the file is shorter."""
        offset = 0
        while offset < stop and (block := self.read(offset, min(stop, offset + block_bytes))):
            yield block
            offset += len(block)

    def discard(self) -> None:
        """Delete the bytes; the file itself is removed when the part is closed.

        The record is removed first: if the process dies in between, the part counts as empty. Until then the file
        stays locked under its name, so that no other process begins the same part.
        """
        if not self.is_replacement and self.has_replacement:
            with PartFile(self._folder, f"{self._stem}{_NEW}.part") as new:
                new.discard()
        self._drop_record()
        self.record = None
        with _disk_errors(self.file):
            os.ftruncate(self._fd, 0)

    def published(self) -> bool:
        """Remove the record and close the part, after the bytes were renamed to their final name.

        Returns:
            Whether there was a record. `PartFolder.sync` makes its removal durable, for many parts at once.
        """
        self._folder.at_step("part-forget")
        recorded, self._recorded = self._recorded, False
        try:
            if recorded:
                with _disk_errors(f"{self._stem}.json"):
                    self._folder.directory.remove(f"{self.name}.json")
        finally:
            self._unlock()
        return recorded

    def _unlock(self) -> None:
        try:
            self._forget_line()
        finally:
            self._close_file()

    def _close_file(self) -> None:
        if self._fd >= 0:  # the user of the part may have closed it meanwhile
            os.close(self._fd)
            self._fd = -1

    def _forget_line(self) -> None:
        if self._volume is not None:
            volume, self._volume = self._volume, None
            with _disk_errors(self._folder.logs):
                self._folder.completed_log.release(volume)

    def quarantine(self, folder: Path) -> Path:
        """Move the bytes to a quarantine folder, one file for each key, and begin empty; return their new path."""
        target = folder / f"{self.name.removesuffix(_NEW)}.bad"
        with _disk_errors(target):
            quarantine = self._folder.open_folder(folder)
            self._drop_record()
            self._folder.directory.replace(f"{self.name}.part", quarantine, target.name)
            os.close(self._fd)
            self._fd = -1  # `close` must not touch a file that another process may create here now
            self._fd, self.is_new = self._open_locked()
        self.record = None
        return target

    def close(self) -> None:
        """Make a part that is worth keeping durable, remove any other part, and release the lock."""
        if self._fd < 0:
            return
        try:
            if not self.is_worth_keeping:
                self._drop_record()
                with _disk_errors(self.file):
                    self._folder.directory.remove(f"{self.name}.part")
            elif self._unsynced_bytes or not self._recorded:
                self.checkpoint()
        finally:
            try:
                self._unlock()
            finally:
                if self._replaces is not None:
                    self._replaces.close()

    def _drop_record(self) -> None:
        """Remove the record durably, before the bytes change: a record restored by a power cut would count others."""
        self._forget_line()
        record, directory = f"{self.name}.json", self._folder.directory
        with _disk_errors(f"{self._stem}.json"):
            # For every file, mostly without a record: unlike unlink, lstat does not lock the folder.
            if directory.lstat(record) is not None:
                directory.remove(record)
                directory.sync()
        self._recorded = False

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a later run can use the bytes, and they are enough for a record."""
        enough = self.is_whole or self.written_bytes >= RECORDED_FROM_BYTES
        return bool(self.record and self.record.resumable and enough)

    def _truncate(self, size_bytes: int) -> None:
        if os.fstat(self._fd).st_size != size_bytes:
            os.ftruncate(self._fd, size_bytes)

    def _open_locked(self) -> tuple[int, bool]:
        """Open and lock the file; return its descriptor, and whether this call created it: then it is empty."""
        while True:
            fd, is_new = self._open()
            directory, name = self._folder.directory, f"{self.name}.part"
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = os.fstat(fd)
                if held.st_nlink > 1 or not (is_new or belongs_to_us(held)):
                    # Published, by a rename that a power cut left half done, or of another user: must not change.
                    directory.remove(name)
                elif held.st_ino == os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_ino:
                    return fd, is_new and not held.st_size  # another process may have written since our open
            except BlockingIOError:
                os.close(fd)
                raise PartInUse(self.file) from None
            except FileNotFoundError:
                pass  # published by another process between our open and our lock: create a new file
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _settle_replacement(self) -> None:
        """Complete the steps of `take_place` after a crash, or drop a replacement that has no bytes.

        A power cut may leave any of the names that were not synced. The record of the replacement counts bytes of
        this file only if it was made for this very file.
        """
        new, directory = f"{self.name}{_NEW}", self._folder.directory
        if directory.lstat(f"{new}.json") is None:
            return
        has_record = directory.lstat(f"{self.name}.json") is not None
        has_bytes = directory.lstat(f"{new}.part") is not None
        if not has_record and (has_bytes or _inode_of(directory, f"{new}.json") == os.fstat(self._fd).st_ino):
            _take_names(self._folder, new, self.name)
            os.close(self._fd)  # the file of the old bytes, or already that of the new ones
            self._fd = -1
            self._fd, self.is_new = self._open_locked()
        elif not has_bytes:
            directory.remove(f"{new}.json")

    def _open(self) -> tuple[int, bool]:
        """Open the file; an entry of another kind, which another program has made, is removed and told."""
        flags, name = os.O_RDWR | os.O_CREAT, f"{self.name}.part"
        directory = self._folder.directory
        while True:
            try:
                return directory.open_file(name, flags | os.O_EXCL, _PUBLISHED_MODE), True
            except FileExistsError:
                pass
            except FileNotFoundError:  # somebody has removed the folder
                directory = self._folder.reopen(directory)
                continue
            try:
                return directory.open_file(name, flags, _PUBLISHED_MODE), False
            except (UnexpectedEntry, PermissionError) as error:
                found = directory.lstat(name)
                if isinstance(error, PermissionError) and (found is None or belongs_to_us(found)):
                    raise
                directory.remove(name)
                logger.warning("%s was removed: another program or user had put it there", self.file)

    def _load(self) -> PartRecord | None:
        """Return the record, with ranges that the bytes on the disk confirm; None if the record is torn.

        Without a record, the log line of a dead process is used; None if there is no valid line either.
        """
        try:
            raw = json.loads(self._folder.directory.read(f"{self.name}.json"))
            record = _record_of(raw)
            same_boot = bool(self._folder.boot) and raw["boot"] == self._folder.boot
            if not (same_boot or raw.get("durable", True)):
                record = record._replace(ranges=(), seams=())
        except FileNotFoundError:
            return self._load_line()
        except (OSError, ValueError, RecursionError):
            logger.warning(
                "%s.json, the record of a part, is damaged and does not count: its file begins anew", self._stem
            )
            return None
        self._recorded = True
        return record._replace(ranges=self._trusted(record, same_boot=same_boot))

    def _load_line(self) -> PartRecord | None:
        """Return the record in the log of a dead process, if its line is about this very file; else None."""
        line = self._folder.left.records.get(self.name) if self._folder.left else None
        if line is None or line[0] != identity(self._fd):
            return None
        try:
            record = _record_of(line[1])
        except BadRecord:
            return None
        return record._replace(ranges=((0, line[0][1]),)) if record.complete_length == line[0][1] else None

    def _trusted(self, record: PartRecord, *, same_boot: bool) -> tuple[Range, ...]:
        size = os.fstat(self._fd).st_size
        if same_boot and record.in_order:
            limit = size if record.complete_length is None else min(size, record.complete_length)
            return ((0, limit),) if limit else ()
        return merged((start, min(stop, size)) for start, stop in record.ranges)

    def _write_record(self) -> None:
        assert self.record is not None
        if not self.record.resumable:
            return
        facts = self._facts()
        directory, aside = self._folder.directory, f"{self.name}.tmp"
        self._folder.at_step("part-record")
        with _disk_errors(f"{self._stem}.json"):
            fd = directory.create_file(aside)
            try:
                write_all(fd, json.dumps(facts).encode("ascii"))
                if self.record.ranges:  # without this, a power cut may leave an empty new record, and no old record
                    os.fsync(fd)
            finally:
                os.close(fd)
            directory.replace(aside, directory, f"{self.name}.json")
        if (wished := wished_path(self.record.head)) and not self._recorded:
            self._folder.note_begun(wished, self.name)
        self._recorded = True

    def _facts(self) -> dict[str, Any]:
        """Return the record as it is written to the disk."""
        assert self.record is not None
        record = self.record
        return {
            "validators": record.validators,
            "complete_length": record.complete_length,
            "head": record.head,
            "ranges": record.ranges,
            "durable": self._folder.durable,  # otherwise a power cut may have taken the bytes
            "seams": record.seams,
            "in_order": record.in_order,
            "boot": self._folder.boot,
            "inode": os.fstat(self._fd).st_ino,
            "version": VERSION,
        } | ({"moves_to": self._moves_to} if self._moves_to else {})


def _take_names(folder: PartFolder, new: str, old: str) -> None:
    """Rename the files of a replacement to the names of the part, in an order that survives a crash.

    The record must not get its new name before the bytes have theirs: it would count the old bytes.
    """
    folder.at_step("part-replace")
    directory = folder.directory
    with suppress(FileNotFoundError):  # a crash after this step
        directory.replace(f"{new}.part", directory, f"{old}.part")
    directory.sync()
    folder.at_step("part-rename")
    with suppress(FileNotFoundError):  # a part too small for a record
        directory.replace(f"{new}.json", directory, f"{old}.json")


def _inode_of(folder: Directory, record: str) -> int | None:
    """Return the inode number of the file that a record was made for; None if the record is torn."""
    try:
        return inode_of(json.loads(folder.read(record)))
    except (OSError, ValueError, RecursionError):
        return None


def _moved_to(folder: Directory, record: str) -> tuple[str, int | None]:
    """Return the name that a part was moved to, and its inode number; an empty name if it was not moved."""
    try:
        return moved_to(json.loads(folder.read(record)))
    except (OSError, ValueError, RecursionError):
        return "", None


def _wished_path(folder: Directory, record: str) -> str | None:
    """Return the path that a part was begun for, as its record has it."""
    try:
        return wished_path(checked_record(json.loads(folder.read(record)))["head"])
    except (OSError, ValueError, RecursionError):
        return None


def _record_of(raw: object) -> PartRecord:
    """Return the record that a JSON value describes.

    Raises:
        BadRecord: this version has not written the value.
    """
    facts = checked_record(raw)
    names = ("validators", "complete_length", "head", "ranges", "in_order")
    return PartRecord(**{name: facts[name] for name in names}, seams=tuple(facts["seams"]))


class _disk_errors:  # noqa: N801 - reads as a statement
    """Context manager that turns an OSError of its block into an error with a one-line message for the user."""

    def __init__(self, where: Path | str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise disk_error(error, self._where) from None
