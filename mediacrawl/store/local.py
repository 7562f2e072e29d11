"""The store on a local file system: published files, and a hidden folder for unpublished data."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mediacrawl.errors import MediacrawlError, PathConflict, StoreNotWritable, disk_error
from mediacrawl.store.base import NameTaken
from mediacrawl.store.fsync import sync_folders
from mediacrawl.store.parts import PartFolder
from mediacrawl.store.safe_paths import numbered, safe_name
from mediacrawl.system.directories import OWN_FOLDER, Directory, UnexpectedEntry, make_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader

logger = logging.getLogger(__name__)

HIDDEN = ".mediacrawl"
_PROBE = "probe-"
_LINK = "link-"  # a second name of a file, not yet in its place
_PLAIN_PATH = re.compile(r"[^./\\\0][^/\\\0]*(?:/[^./\\\0][^/\\\0]*)*")  # no component is empty or begins with a dot
_MOST_OPEN = 32  # folders; the files of one batch are mostly in a few


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
        self._opened = _OpenedFolders(self._root)
        self.hidden = self.root / HIDDEN
        self._parts = f"{self._root}/{HIDDEN}/parts"
        self.quarantine_folder = self.hidden / "quarantine"
        self.at_step = at_step or (lambda _step: None)
        self.parts = PartFolder(
            Path(self._parts), at_step=self.at_step, durable=durable, open_folder=self._open_private
        )

    def open(self) -> None:
        """Create the folders and try to write. The leftovers of a killed process stay: see `Archive.open`.

        Raises:
            StoreNotWritable, DiskFull: with the path and the system's reason.
        """
        self._opened.keep_open()
        self.parts.keep_open()
        try:
            sync_folders(_make_folders(self.root))
            self._check_writing(self._open_private(self.hidden))
            _ = self.parts.directory
        except OSError as error:
            raise disk_error(error, f"the store {self.root}") from None

    def close(self) -> None:
        """Close the folders that are open, and the log of parts.

        A part may be unlocked later, by a transfer that has ended late. It opens the folders that it needs, and they
        are closed with its call.
        """
        self.parts.close()
        self._opened.close(keeps=False)

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
            found = self._opened.top.lstat(name)
        except (OSError, ValueError):
            return None
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def identity(self, name: str) -> tuple[int, ...] | None:
        """Return a tuple that changes when a published file is replaced or modified.

        None if there is no regular file of that name.
        """
        try:
            folder, base = self._entry(name)
            found = folder.lstat(base)
        except (OSError, ValueError):
            return None
        if found is None or not stat.S_ISREG(found.st_mode):
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def open_file(self, name: str) -> BufferedReader:
        """Open a published file for reading.

        Raises:
            OSError: there is no such file, or its entry, or that of one of its folders, is a link or of another kind.
        """
        folder, base = self._entry(name)
        return os.fdopen(folder.open_file(base, os.O_RDONLY), "rb")

    def sha256(self, name: str) -> str | None:
        """Read a published file; return its SHA-256 in hex, None if the file cannot be read."""
        try:
            with self.open_file(name) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError):
            return None

    def is_locked(self, name: str) -> bool:
        """Return whether a process has renamed its part to that name and has not finished publishing it."""
        try:
            with self.open_file(name) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            pass
        return False

    def taken(self, name: str) -> bool:
        """Return whether that name exists, be it as a folder or a dangling link."""
        try:
            return self._opened.top.lstat(self._relative(name)) is not None
        except OSError:
            return False

    def may_be_folder(self, name: str) -> bool:
        """Return whether a folder has that name, or can have it: a file or a link is in the way."""
        try:
            found = self._opened.top.lstat(self._relative(name))
        except OSError:
            return False
        return found is None or stat.S_ISDIR(found.st_mode)

    def _relative(self, name: str) -> str:
        """Return a name as a path below the root; raise `StoreNotWritable` as `path` does."""
        if not _PLAIN_PATH.fullmatch(name):
            return str(self.path(name).relative_to(self.root))
        return name

    def _entry(self, name: str) -> tuple[Directory, str]:
        """Return the open folder of a name, and its last component."""
        folder, _, base = self._relative(name).rpartition("/")
        return self._opened.below(folder), base

    def rename_in(self, part: str, name: str, *, replaces: bool = False) -> str:
        """Rename a synced part to its final name, atomically; return the folder that is to be synced.

        Only with `replaces`, an older file of that name is replaced. Another entry is never replaced.

        Raises:
            NameTaken: there is another entry of that name. The part is not moved.
            PathConflict: a folder of the name exists as a file, or the name as a folder. The part is not moved.
            StoreNotWritable, DiskFull: the part is not moved, or it has its final name in a new folder that could not
                be synced.
        """
        folder, _, base = self._relative(name).rpartition("/")
        source_folder, _, source = os.fspath(part).rpartition("/")
        giver = self.parts.directory if source_folder == self._parts else Directory.at(source_folder or ".")
        try:
            target, new = self._opened.made(folder)
            self.at_step("file-rename")
            try:
                _give_name(giver, source, target, base, replaces=replaces)
            except FileNotFoundError:  # a folder that was there was removed meanwhile
                self._opened.close()
                target, new = self._opened.made(folder)
                _give_name(giver, source, target, base, replaces=replaces)
            for made in new:
                made.sync()
        except OSError as error:
            raise _naming_error(error, name, f"{self._root}/{name}") from None
        return f"{self._root}/{folder}" if folder else self._root

    def link(self, name: str, new_name: str, *, replaces: bool = False) -> str:
        """Give a published file a second name, with the same bytes; return the folder that is to be synced.

        Only with `replaces`, a file with the new name is replaced, atomically. The second name is a hard link, or a
        synced copy where the file system has no hard links, or allows no more of them.

        Raises:
            NameTaken: there is another entry of the new name.
            PathConflict: there is no file of that name, or the new name cannot be the name of a file.
            StoreNotWritable, DiskFull: there is no second name, or it is in a new folder that could not be synced.
        """
        folder, _, base = self._relative(new_name).rpartition("/")
        aside = f"{_LINK}{os.getpid()}-{hashlib.sha256(os.fsencode(new_name)).hexdigest()[:12]}"
        try:
            target, new = self._opened.made(folder)
            hidden = self._open_private(self.hidden)
            hidden.remove(aside)  # left by a killed process that had the same pid
            try:
                _link_or_copy(*self._entry(name), hidden, aside)
            except FileNotFoundError:
                raise PathConflict(f"{new_name}: {name}, which has the same bytes, is gone") from None
            self.at_step("file-link")
            try:
                _give_name(hidden, aside, target, base, replaces=replaces)
            finally:
                hidden.remove(aside)  # a rename keeps it if both are links to one file
            for made in new:
                made.sync()
        except OSError as error:
            raise _naming_error(error, new_name, f"{self._root}/{new_name}") from None
        return f"{self._root}/{folder}" if folder else self._root

    def _open_private(self, folder: Path) -> Directory:
        """Open a folder in the hidden folder, which no other user may read or write; create what is missing."""
        names = folder.relative_to(self.root).parts
        hidden, *changed = self._opened.top.make(names[:1], OWN_FOLDER)
        if make_private(hidden.fd, hidden.path):
            logger.info("%s was open to other users of this machine: its mode is now 0700", hidden.path)
        found, *more = hidden.make(names[1:], OWN_FOLDER)
        for folder_with_new in (*changed, *more):
            folder_with_new.sync()
        return found

    def _check_writing(self, hidden: Directory) -> None:
        """Try to write, and remove what a process that was killed at this point has left."""
        probe = f"{_PROBE}{os.getpid()}"
        try:
            fd = hidden.create_file(probe)
            try:
                os.write(fd, b"x")
            finally:
                os.close(fd)
        finally:  # on a full disk the name was created, but the byte not written
            hidden.remove(probe)
        for left in hidden.names():
            if left.startswith(_PROBE) or (left.startswith(_LINK) and not _is_alive(left)):
                hidden.remove(left)

    def remove(self, name: str) -> None:
        """Remove a published file; a missing file is no error."""
        try:
            with suppress(FileNotFoundError):
                folder, base = self._entry(name)
                folder.remove(base)
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
        target = self.quarantine_folder / preferred
        try:
            (source, base), quarantine = self._entry(name), self._open_private(self.quarantine_folder)
            self.at_step("aside-rename")
            for target in map(self.quarantine_folder.joinpath, names):
                try:
                    source.move(base, quarantine, target.name)
                    break
                except FileExistsError:
                    continue
            self.at_step("aside-sync")
            quarantine.sync()  # the new name first
            source.sync()
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
            for folder in set(map(str, folders)):
                self._opened.below(folder.removeprefix(self._root).strip("/")).sync()
        except OSError as error:
            raise disk_error(error, self.root) from None
        finally:
            self._opened.close()

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


class _OpenedFolders:
    """The folders of published files that are open, between two calls of `close`, unless none is to be kept open.

    An open folder stays the same, whatever somebody puts at its path. It is opened anew for each batch of files, as
    the user may move folders. Methods may be called from any thread.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._top: Directory | None = None
        self._folders: dict[str, Directory] = {}
        self._keeps = True

    @property
    def top(self) -> Directory:
        """The root of the store; its path may lead through symbolic links."""
        with self._lock:
            top = self._top if self._top is not None else Directory.at(self._root or "/")
            if self._keeps:
                self._top = top
            return top

    def below(self, folder: str) -> Directory:
        """Open a folder without following symbolic links, or return it if it is open."""
        found = self._folders.get(folder)
        return found if found is not None else self.top.below(*filter(None, folder.split("/")))

    def made(self, folder: str) -> tuple[Directory, list[Directory]]:
        """Open a folder, and create what is missing of it. Return also the folders that have got a new entry."""
        if (found := self._folders.get(folder)) is not None:
            return found, []
        found, *new = self.top.make([name for name in folder.split("/") if name])
        with self._lock:
            if len(self._folders) >= _MOST_OPEN:
                self._folders.clear()
            if self._keeps:
                self._folders[folder] = found
        return found, new

    def keep_open(self) -> None:
        """Keep folders open from now on."""
        with self._lock:
            self._keeps = True

    def close(self, *, keeps: bool = True) -> None:
        """Close all folders, the root too; without `keeps`, later ones close with their last user."""
        with self._lock:
            self._keeps = keeps
            self._folders.clear()
            self._top = None


def _make_folders(folder: Path) -> list[Path]:
    """Create a folder and its missing parents; return the folders in which a new entry was made."""
    missing = [folder]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    return missing[1:]


def _naming_error(error: OSError, name: str, path: str) -> MediacrawlError:
    """Translate an error of giving a file its name."""
    if isinstance(error, UnexpectedEntry) and error.found != "a regular file":
        return PathConflict(f"{name} cannot be a file's path: {error.filename}: {error.strerror}")
    if isinstance(error, UnexpectedEntry | FileExistsError | NotADirectoryError | IsADirectoryError):
        return PathConflict(f"{name} cannot be a file's path: a part of it is a file, or it is a folder")
    return disk_error(error, path)


def _give_name(giver: Directory, source: str, target: Directory, name: str, *, replaces: bool) -> None:
    """Rename a file.

    Raises:
        NameTaken: there is an entry of the new name; with `replaces`, one that is not a file.
        IsADirectoryError: the entry is a folder.
    """
    if not replaces:
        try:
            giver.move(source, target, name)
        except FileExistsError:
            found = target.lstat(name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
            raise NameTaken(name) from None
        return
    found = target.lstat(name)
    if found is not None and not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise NameTaken(name)
    giver.replace(source, target, name)


def _link_or_copy(source: Directory, name: str, target: Directory, new_name: str) -> None:
    """Make a hard link to a file, or a synced copy where that cannot be."""
    found = source.lstat(name)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    try:
        os.link(name, new_name, src_dir_fd=source.fd, dst_dir_fd=target.fd, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        _copy(source, name, target, new_name)


def _copy(source: Directory, name: str, target: Directory, new_name: str) -> None:
    """Copy a file, and make the bytes of the copy durable."""
    try:
        with (
            os.fdopen(source.open_file(name, os.O_RDONLY), "rb") as old,
            os.fdopen(target.open_file(new_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as new,
        ):
            shutil.copyfileobj(old, new, 1024 * 1024)
            new.flush()
            os.fsync(new.fileno())
    except BaseException:
        target.remove(new_name)
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
