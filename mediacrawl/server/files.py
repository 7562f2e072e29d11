"""Open the files below a folder, and no others, whatever path a request names and whoever renames meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple, Self

from mediacrawl.errors import StoreNotWritable
from mediacrawl.store.local import HIDDEN
from mediacrawl.store.safe_paths import fold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: to open a FIFO without it waits for a writer. Reading a regular file is the same with it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_NOT_THERE = frozenset({errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV, errno.EINVAL, errno.EILSEQ})

_SHORTER = "has become shorter while it was being sent"
_CAN_READ_CACHED = hasattr(os, "RWF_NOWAIT")  # Linux


class FileIdentity(NamedTuple):
    """Changes whenever a file is replaced or modified, as `LocalStore.identity`."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileIdentity:
        """Return the identity of the file with this status."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class OpenFile:
    """A regular file, open for reading, with its identity when it was opened. It is closed by `close` or `with`."""

    __slots__ = ("descriptor", "identity", "path")

    def __init__(self, path: str, descriptor: int, identity: FileIdentity) -> None:
        self.path = path
        self.descriptor = descriptor
        self.identity = identity

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    def read(self, start: int, most: int) -> bytes:
        """Return at least one byte from `start` on, at most `most` bytes.

        Raises:
            OSError: the file cannot be read, or has become shorter: the response must not be completed.
        """
        data = os.pread(self.descriptor, most, start)
        if not data:
            raise OSError(f"{self.path} {_SHORTER}")
        return data

    def check_size(self, least: int) -> None:
        """Raise OSError if the file has fewer than `least` bytes now."""
        if os.fstat(self.descriptor).st_size < least:
            raise OSError(f"{self.path} {_SHORTER}")

    def read_cached(self, start: int, size: int) -> bytes | None:
        """Return all `size` bytes from `start` on if the system has them in memory, without waiting for the disk."""
        if not _CAN_READ_CACHED:
            return None
        data = bytearray(size)
        try:
            if os.preadv(self.descriptor, [data], start, os.RWF_NOWAIT) != size:
                return None
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        return bytes(data)

    def duplicate(self) -> OpenFile:
        """Return the same open file for another user, who closes it.

        Raises:
            OSError: too many files are open.
        """
        return OpenFile(self.path, fcntl.fcntl(self.descriptor, fcntl.F_DUPFD_CLOEXEC, 0), self.identity)

    def renumber(self, least: int) -> int:
        """Give the descriptor another number, `least` or the next one that is free, and return it.

        Raises:
            OSError: all of these numbers are taken, or are beyond the limit of the process.
        """
        number = fcntl.fcntl(self.descriptor, fcntl.F_DUPFD_CLOEXEC, least)
        os.close(self.descriptor)
        self.descriptor = number
        return number

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class OpenFolder:
    """A folder, open for reading. It is closed by `close` or `with`."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """Yield the regular files and the folders in it, in no order, without the names that begin with a dot.

        Symbolic links are left out. Call `stat(follow_symlinks=False)` of an entry before the folder is closed.

        Raises:
            OSError: the folder cannot be read.
        """
        with os.scandir(self._descriptor) as found:
            for entry in found:
                is_shown = entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
                if is_shown and not fold(entry.name).startswith("."):
                    yield entry

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class FilesBelow:
    """The regular files below a folder. Methods may be called from any thread.

    A path is a relative one, with "/" between its components. Symbolic links are not followed, also within the
    folder; a name that begins with a dot is not there, which holds for the hidden folder of a store. (A store gives
    no file such a name.) Each component is opened below the one before, so that no rename can lead elsewhere.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Open the folder, which may be a link itself.

        Raises:
            StoreNotWritable: there is no such folder, or it cannot be read.
            ValueError: the path is empty.
        """
        refuse_empty(root)
        self.root = Path(root).absolute()
        try:
            self._descriptor = os.open(self.root, _FOLDER & ~os.O_NOFOLLOW)
        except OSError as error:
            raise StoreNotWritable(f"cannot read the folder {self.root}: {error.strerror or error}") from None

    def close(self) -> None:
        """Close the folder. Open files stay open."""
        os.close(self._descriptor)

    def open(self, path: str) -> OpenFile | None:
        """Open a file; None if there is no regular file at this path that may be read.

        Raises:
            OSError: the machine cannot open any file now, or the disk fails.
        """
        parts = _components(path)
        if parts is None:
            return None
        with _missing_is_none():
            return self._opened(parts)
        return None

    def identity(self, path: str) -> FileIdentity | None:
        """Return the identity of the file that `open` would open now; None if there is no file.

        A link on the way is followed here: compare the result with that of an open file, and trust nothing else.
        """
        if _components(path) is None:
            return None
        try:
            found = os.stat(path, dir_fd=self._descriptor, follow_symlinks=False)
        except (OSError, ValueError):
            return None
        return FileIdentity.of(found) if stat.S_ISREG(found.st_mode) else None

    def folder(self, path: str) -> OpenFolder | None:
        """Open a folder, the root if the path is empty; None if there is no folder at this path that may be read.

        Raises:
            OSError: the machine cannot open any file now, or the disk fails.
        """
        parts = _components(path) if path else []
        if parts is None:
            return None
        with _missing_is_none():
            descriptor = self._opened_folder(parts)
            return None if descriptor is None else OpenFolder(path, descriptor)
        return None

    def _opened(self, parts: list[str]) -> OpenFile | None:
        folder = self._opened_folder(parts[:-1])
        if folder is None:
            return None
        try:
            descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
        finally:
            os.close(folder)
        return _checked("/".join(parts), descriptor)

    def _opened_folder(self, parts: list[str]) -> int | None:
        """Return a new descriptor of a folder, None if it is the hidden one or within it."""
        folder = os.open(".", _FOLDER, dir_fd=self._descriptor)
        for part in parts:
            try:
                inner = os.open(part, _FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = inner
            if part is parts[0] and self._is_hidden(folder):
                os.close(folder)
                return None
        return folder

    def _is_hidden(self, folder: int) -> bool:
        """Return whether this is the hidden folder, under any spelling that the file system takes for its name."""
        with suppress(OSError):
            hidden = os.stat(HIDDEN, dir_fd=self._descriptor, follow_symlinks=False)
            return os.path.samestat(hidden, os.fstat(folder))
        return False


def refuse_empty(root: str | os.PathLike[str]) -> None:
    """Raise ValueError for an empty path: it is a setting that was not made, and would mean the working directory.

    `Path("")` is empty too; the text "." is not.
    """
    if not os.fspath(root) or (isinstance(root, PurePath) and not root.parts):
        raise ValueError("the path of the folder to serve is empty: set it, best as an absolute path")


def open_file(path: str) -> OpenFile | None:
    """Open the regular file at a path that is trusted, links included; None if there is none that may be read.

    Raises:
        OSError: the machine cannot open any file now, or the disk fails.
    """
    with _missing_is_none():
        return _checked(path, os.open(path, _FILE & ~os.O_NOFOLLOW))
    return None


@contextmanager
def _missing_is_none() -> Iterator[None]:
    """Suppress the errors that mean that a path leads to no file."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError):
        pass  # ValueError: a NUL, or a character that no name can have
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise


def _checked(path: str, descriptor: int) -> OpenFile | None:
    """Return an open file if it is a regular one, else close it."""
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return OpenFile(path, descriptor, FileIdentity.of(found))
    os.close(descriptor)
    return None


def _components(path: str) -> list[str] | None:
    """Return the components of a path; None if one of them is empty, hidden, or leads upwards."""
    parts = path.split("/")
    # HFS+ ignores some characters in names, in front of a dot too.
    return None if any(not part or fold(part).startswith(".") for part in parts) else parts
