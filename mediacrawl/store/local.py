"""The store on a local file system: final names, and the hidden folder of what is not final."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mediacrawl.errors import PathConflict, StoreNotWritable, disk_error
from mediacrawl.store.fsync import sync_folders
from mediacrawl.store.parts import PartFolder
from mediacrawl.store.paths import numbered, safe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HIDDEN = ".mediacrawl"
_PROBE = "probe-"
_PLAIN_PATH = re.compile(r"[^./\\\0][^/\\\0]*(?:/[^./\\\0][^/\\\0]*)*")  # no part of it is empty or begins with a dot
_MOST_KNOWN = 10_000  # folders of which it is not asked each time whether they are there


class LocalStore:
    """A folder of published files. A name in it means: complete, and every byte of one version.

    Attributes:
        root: the folder, absolute.
        hidden: `root/.mediacrawl`: parts, quarantine and the ledger.
        parts: the part files.
        quarantine_folder: bytes whose digest was wrong, or that were altered in the store, kept for a look.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        at_step: Callable[[str], None] | None = None,
        *,
        durable: bool = True,
    ) -> None:
        self.root = Path(root).absolute()
        self._root = str(self.root).rstrip("/")
        self._known_folders: set[str] = set()
        self.hidden = self.root / HIDDEN
        self.quarantine_folder = self.hidden / "quarantine"
        self.at_step = at_step or (lambda _step: None)
        self.parts = PartFolder(self.hidden / "parts", at_step=self.at_step, durable=durable)

    def open(self) -> None:
        """Create the folders and try to write. What a killed process left is not touched: see `Archive.open`.

        Raises:
            StoreNotWritable, DiskFull: with the path and the system's reason.
        """
        try:
            sync_folders(self._make_folder(self.parts.folder))
            probe = self.hidden / f"{_PROBE}{os.getpid()}"
            try:
                probe.write_bytes(b"x")
            finally:  # a disk that is full has taken the name, and not the byte
                probe.unlink(missing_ok=True)
            for left in self.hidden.glob(f"{_PROBE}*"):  # by a process that was killed right here
                left.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, f"the store {self.root}") from None

    def path(self, name: str) -> Path:
        """The absolute path of a relative name, which must not leave the store."""
        relative = Path(os.path.normpath(name))
        if relative.is_absolute() or relative.parts[:1] in {(), ("..",), (HIDDEN,)}:
            raise StoreNotWritable(f"the path {name!r} is not inside the store {self.root}")
        return self.root / relative

    def size(self, name: str) -> int | None:
        """Size in bytes of a published file, None when there is none."""
        try:
            return os.stat(f"{self.root}/{name}").st_size  # noqa: PTH116 - asked for every known file
        except (OSError, ValueError):
            return None

    def identity(self, name: str) -> tuple[int, ...] | None:
        """Tells a published file from what replaces it, and from itself before a change; None when there is none."""
        try:
            found = self.path(name).stat()
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def sha256(self, name: str) -> str | None:
        """Of a published file, in hex; it is read for that. None when it cannot be."""
        try:
            with self.path(name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError):
            return None

    def is_locked(self, name: str) -> bool:
        """Whether a process has renamed its part to that name and is not through with it yet."""
        try:
            with self.path(name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            pass
        return False

    def taken(self, name: str) -> bool:
        """Whether something stands at that name, be it a folder or a dangling link."""
        return os.path.lexists(self._text(name))

    def _text(self, name: str) -> str:
        """The same as `path`, as text: for what is asked of every file."""
        if not _PLAIN_PATH.fullmatch(name):
            return str(self.path(name))
        return f"{self._root}/{name}"

    def rename_in(self, part: str, name: str) -> str:
        """Give a synced part its final name, atomically; returns the folder that is to be synced.

        Raises:
            PathConflict, StoreNotWritable, DiskFull: the part is still where it was.
        """
        target = self._text(name)
        folder = target.rpartition("/")[0]
        try:
            new = self._folder_for(folder)
            self.at_step("file-rename")
            try:
                os.replace(part, target)  # noqa: PTH105 - of every file
            except FileNotFoundError:  # somebody has removed a folder that was there
                new = self._make_folder(Path(folder))
                os.replace(part, target)  # noqa: PTH105
            sync_folders(new)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise PathConflict(f"{name} cannot be a file's path: a part of it is a file, or it is a folder") from None
        except OSError as error:
            raise disk_error(error, target) from None
        self._known_folders.add(folder)
        return folder

    def _folder_for(self, folder: str) -> list[Path]:
        if folder in self._known_folders:
            return []
        if len(self._known_folders) >= _MOST_KNOWN:
            self._known_folders.clear()
        return self._make_folder(Path(folder))

    def remove(self, name: str) -> None:
        """Remove a published file; one that is not there is no error."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, self.path(name)) from None

    def quarantine(self, name: str) -> Path | None:
        """Move what stands at a name into the quarantine, durably; returns where it is, None if there is no file.

        Whoever calls this sees to it that nobody publishes there meanwhile, or sets aside.

        Raises:
            StoreNotWritable, DiskFull: it stands where it was, or in the quarantine.
        """
        if self.identity(name) is None:
            return None
        path = self.path(name)
        key = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]  # files of one name, out of many folders
        wished = safe_name(f"{key}-{path.name}")
        names = (numbered(wished, number) if number > 1 else wished for number in count(1))
        free = (self.quarantine_folder / name for name in names)
        target = next(path for path in free if not os.path.lexists(path))
        try:
            new = self._make_folder(self.quarantine_folder)
            self.at_step("aside-rename")
            path.rename(target)
            self.at_step("aside-sync")
            sync_folders([*new, self.quarantine_folder])  # its new name first
            sync_folders([path.parent])
        except OSError as error:
            raise disk_error(error, target) from None
        return target

    def sync(self, folders: Iterable[Path | str]) -> None:
        """Make the names in these folders durable.

        Raises:
            StoreNotWritable, DiskFull: they may not be.
        """
        self.at_step("folder-sync")
        try:
            sync_folders(folders)
        except OSError as error:
            raise disk_error(error, self.root) from None

    def sync_names(self, names: Iterable[str]) -> None:
        """Make the names of published files durable, and those of the folders that they are in."""
        self.sync({self.root / parent for name in names for parent in Path(name).parents})

    def names(self) -> Iterator[str]:
        """Every published file, as a relative name, in no order."""
        pending = [self.root]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != HIDDEN:
                            pending.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        yield Path(entry.path).relative_to(self.root).as_posix()

    def _make_folder(self, folder: Path) -> list[Path]:
        """Create a folder and its parents; the folders whose entries changed."""
        missing = [folder]
        while not missing[-1].exists():
            missing.append(missing[-1].parent)
        folder.mkdir(parents=True, exist_ok=True)
        return missing[1:]
