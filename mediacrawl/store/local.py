"""The store on a local file system: published files, and a hidden folder for unpublished data."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mediacrawl.errors import PathConflict, StoreNotWritable, disk_error
from mediacrawl.store.fsync import sync_folders
from mediacrawl.store.parts import PartFolder
from mediacrawl.store.safe_paths import numbered, safe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HIDDEN = ".mediacrawl"
_PROBE = "probe-"
_LINK = "link-"  # a second name of a file, not yet in its place
_PLAIN_PATH = re.compile(r"[^./\\\0][^/\\\0]*(?:/[^./\\\0][^/\\\0]*)*")  # no component is empty or begins with a dot
_MOST_KNOWN = 10_000  # folders that are assumed to exist, without a check each time


class LocalStore:
    """A folder of published files. A file in this folder is complete, with every byte of one version.

    Attributes:
        root: the folder, absolute.
        hidden: `root/.mediacrawl`: parts, quarantine and the ledger.
        parts: the part files.
        quarantine_folder: files with a wrong digest, and files that were altered in the store, kept for inspection.
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
        """Create the folders and try to write. The leftovers of a killed process stay: see `Archive.open`.

        Raises:
            StoreNotWritable, DiskFull: with the path and the system's reason.
        """
        try:
            sync_folders(self._make_folder(self.parts.folder))
            probe = self.hidden / f"{_PROBE}{os.getpid()}"
            try:
                probe.write_bytes(b"x")
            finally:  # on a full disk the name was created, but the byte not written
                probe.unlink(missing_ok=True)
            for left in self.hidden.glob(f"{_PROBE}*"):  # by a process that was killed at this point
                left.unlink(missing_ok=True)
            for left in self.hidden.glob(f"{_LINK}*"):
                if not _is_alive(left.name):
                    left.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, f"the store {self.root}") from None

    def path(self, name: str) -> Path:
        """Return the absolute path of a relative name.

        Raises:
            StoreNotWritable: the name leaves the store, or lies in its hidden folder.
        """
        relative = Path(os.path.normpath(name))
        if relative.is_absolute() or relative.parts[:1] in {(), ("..",), (HIDDEN,)}:
            raise StoreNotWritable(f"the path {name!r} is not inside the store {self.root}")
        return self.root / relative

    def size(self, name: str) -> int | None:
        """Return the size in bytes of a published file; None if there is no file of that name."""
        try:
            return os.stat(f"{self.root}/{name}").st_size  # noqa: PTH116 - runs for every known file
        except (OSError, ValueError):
            return None

    def identity(self, name: str) -> tuple[int, ...] | None:
        """Return a tuple that changes when a published file is replaced or modified.

        None if there is no regular file of that name.
        """
        try:
            found = os.stat(self._text(name))  # noqa: PTH116 - runs for every published file
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def sha256(self, name: str) -> str | None:
        """Read a published file; return its SHA-256 in hex, None if the file cannot be read."""
        try:
            with self.path(name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError):
            return None

    def is_locked(self, name: str) -> bool:
        """Return whether a process has renamed its part to that name and has not finished publishing it."""
        try:
            with self.path(name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            pass
        return False

    def taken(self, name: str) -> bool:
        """Return whether that name exists, be it as a folder or a dangling link."""
        return os.path.lexists(self._text(name))

    def _text(self, name: str) -> str:
        """Return the same as `path`, as text: faster, for calls that are made for every file."""
        if not _PLAIN_PATH.fullmatch(name):
            return str(self.path(name))
        return f"{self._root}/{name}"

    def rename_in(self, part: str, name: str) -> str:
        """Rename a synced part to its final name, atomically; return the folder that is to be synced.

        Raises:
            PathConflict: a folder of the name exists as a file, or the name as a folder. The part is not moved.
            StoreNotWritable, DiskFull: the part is not moved, or it has its final name in a new folder that could not
                be synced.
        """
        target = self._text(name)
        folder = target.rpartition("/")[0]
        try:
            new = self._folder_for(folder)
            self.at_step("file-rename")
            try:
                os.replace(part, target)  # noqa: PTH105 - runs for every file
            except FileNotFoundError:  # a folder that existed was removed meanwhile
                new = self._make_folder(Path(folder))
                os.replace(part, target)  # noqa: PTH105
            sync_folders(new)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise PathConflict(f"{name} cannot be a file's path: a part of it is a file, or it is a folder") from None
        except OSError as error:
            raise disk_error(error, target) from None
        self._known_folders.add(folder)
        return folder

    def link(self, name: str, new_name: str) -> str:
        """Give a published file a second name, with the same bytes; return the folder that is to be synced.

        A file with the new name is replaced, atomically. The second name is a hard link, or a synced copy where the
        file system has no hard links, or allows no more of them.

        Raises:
            PathConflict: there is no file of that name, or the new name cannot be the name of a file.
            StoreNotWritable, DiskFull: there is no second name, or it is in a new folder that could not be synced.
        """
        source, target = self._text(name), self._text(new_name)
        folder = target.rpartition("/")[0]
        aside = self.hidden / f"{_LINK}{os.getpid()}-{hashlib.sha256(os.fsencode(new_name)).hexdigest()[:12]}"
        try:
            new = self._folder_for(folder)
            aside.unlink(missing_ok=True)  # left by a killed process that had the same pid
            try:
                os.link(source, aside)
            except FileNotFoundError:
                raise
            except OSError:
                _copy(source, aside)
            self.at_step("file-link")
            try:
                os.replace(aside, target)  # noqa: PTH105 - as in `rename_in`
            finally:
                aside.unlink(missing_ok=True)  # `replace` keeps it if both are links to one file
            sync_folders(new)
        except FileNotFoundError:
            raise PathConflict(f"{new_name}: {name}, which has the same bytes, is gone") from None
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise PathConflict(
                f"{new_name} cannot be a file's path: a part of it is a file, or it is a folder"
            ) from None
        except OSError as error:
            raise disk_error(error, target) from None
        return folder

    def _folder_for(self, folder: str) -> list[Path]:
        if folder in self._known_folders:
            return []
        if len(self._known_folders) >= _MOST_KNOWN:
            self._known_folders.clear()
        return self._make_folder(Path(folder))

    def remove(self, name: str) -> None:
        """Remove a published file; a missing file is no error."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, self.path(name)) from None

    def quarantine(self, name: str) -> Path | None:
        """Move a published file to the quarantine, durably; return its new path, None if there is no file.

        The caller must ensure that meanwhile no process publishes at this name or moves its file to the quarantine.

        Raises:
            StoreNotWritable, DiskFull: the file has its old name, or is in the quarantine.
        """
        if self.identity(name) is None:
            return None
        path = self.path(name)
        key = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]  # for files of the same name from different folders
        preferred = safe_name(f"{key}-{path.name}")
        names = (numbered(preferred, number) if number > 1 else preferred for number in count(1))
        free = (self.quarantine_folder / name for name in names)
        target = next(path for path in free if not os.path.lexists(path))
        try:
            new = self._make_folder(self.quarantine_folder)
            self.at_step("aside-rename")
            path.rename(target)
            self.at_step("aside-sync")
            sync_folders([*new, self.quarantine_folder])  # the new name first
            sync_folders([path.parent])
        except OSError as error:
            raise disk_error(error, target) from None
        return target

    def sync(self, folders: Iterable[Path | str]) -> None:
        """Make the names in these folders durable.

        Raises:
            StoreNotWritable, DiskFull: the names may not be durable.
        """
        self.at_step("folder-sync")
        try:
            sync_folders(folders)
        except OSError as error:
            raise disk_error(error, self.root) from None

    def sync_names(self, names: Iterable[str]) -> None:
        """Make the names of published files durable, and the names of the folders that contain the files."""
        self.sync({self.root / parent for name in names for parent in Path(name).parents})

    def names(self) -> Iterator[str]:
        """Yield the relative name of every published file, in no particular order."""
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
        """Create a folder and its missing parents; return the folders in which a new entry was made."""
        missing = [folder]
        while not missing[-1].exists():
            missing.append(missing[-1].parent)
        folder.mkdir(parents=True, exist_ok=True)
        return missing[1:]


def _copy(source: str, target: Path) -> None:
    """Copy a file, and make the bytes of the copy durable."""
    try:
        with open(source, "rb") as old, target.open("xb") as new:  # noqa: PTH123 - a text, as in `rename_in`
            shutil.copyfileobj(old, new, 1024 * 1024)
            new.flush()
            os.fsync(new.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _is_alive(name: str) -> bool:
    """Return whether the process may be alive that has made the file `link-PID-…`."""
    pid = name.removeprefix(_LINK).partition("-")[0]
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:  # of another user
        pass
    return True
