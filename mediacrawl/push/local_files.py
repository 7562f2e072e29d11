"""The files of this machine that are to be sent: their names on the server, their bytes and their digest."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from mediacrawl.errors import TransferError
from mediacrawl.store.local import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_BLOCK_BYTES = 1024 * 1024


class LocalFile(NamedTuple):
    """A file to be sent.

    Attributes:
        path: on this machine, absolute.
        name: on the server, below the folder that a URL names, with "/" between its components.
        size_bytes: when it was found.
        mtime_ns: when it was found, in nanoseconds since the epoch.
    """

    path: Path
    name: str
    size_bytes: int
    mtime_ns: int


class UnusableFile(NamedTuple):
    """A path that cannot be sent, and the reason."""

    path: Path
    why: str


def local_files(paths: Iterable[str]) -> Iterator[LocalFile | UnusableFile]:
    """Yield the files that paths name, and those in folders, in the order of their names.

    The name of a file begins with the last component of the path that was given, as with `cp -r`. Links that are
    found in a folder are followed to files, and not to folders. The hidden folder of a store is left out: it has the
    people and the keys of a server. Two files that would have one name on the server are not both sent.
    """
    given = [Path(path).absolute() for path in paths]
    begins = [path.name if path.name not in {"", ".."} else "" for path in given]
    if "" not in begins and len(set(begins)) == len(begins):
        for path, name in zip(given, begins, strict=True):
            yield from _found(path, name)
        return
    named: dict[str, Path] = {}
    for path, name in zip(given, begins, strict=True):
        for found in _found(path, name):
            if not isinstance(found, LocalFile) or found.name not in named:
                yield found
            elif (other := named[found.name]) != found.path:
                yield UnusableFile(found.path, f"{other} has the same name on the server: send them one by one")
            if isinstance(found, LocalFile):
                named.setdefault(found.name, found.path)


def _found(path: Path, name: str) -> Iterator[LocalFile | UnusableFile]:
    """Yield a file, or the files below a folder. No recursion: folders may be nested deeper than calls may be."""
    waiting = [(path, name)]
    while waiting:
        path, name = waiting.pop()
        try:
            facts = path.stat()
            if not stat.S_ISDIR(facts.st_mode):
                yield _file(path, name, facts)
                continue
            inner = sorted(os.scandir(path), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            yield UnusableFile(path, error.strerror or "cannot be read")
            continue
        for entry in inner:
            below = f"{name}/{entry.name}" if name else entry.name
            if entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112 - `Path.is_dir` raises some errors
                yield UnusableFile(Path(entry.path), "a link to a folder: name the folder itself")
            elif entry.name != HIDDEN:
                waiting.append((Path(entry.path), below))


def _file(path: Path, name: str, facts: os.stat_result) -> LocalFile | UnusableFile:
    if not stat.S_ISREG(facts.st_mode):
        return UnusableFile(path, "neither a file nor a folder")
    return LocalFile(path, name, facts.st_size, facts.st_mtime_ns)


class OpenedFile:
    """An open file, whose bytes are those that were found."""

    def __init__(self, file: LocalFile) -> None:
        """Open the file.

        Raises:
            TransferError: it cannot be read, or is another one than was found.
        """
        self.file = file
        try:
            self._fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            self.check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def check(self) -> None:
        """Check that the file has not changed since it was found.

        Raises:
            TransferError: it has.
        """
        facts = os.fstat(self._fd)
        if (facts.st_size, facts.st_mtime_ns) != (self.file.size_bytes, self.file.mtime_ns):
            raise TransferError(
                str(self.file.path),
                "it was changed while it was sent: run the same command again once it is complete",
            )

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`.

        Raises:
            TransferError: they cannot be read, or the file has become shorter.
        """
        try:
            data = os.pread(self._fd, stop - start, start)
        except OSError as error:
            raise self._unreadable(error) from None
        if len(data) < stop - start:
            self.check()
            raise TransferError(str(self.file.path), f"only {len(data)} bytes could be read at the offset {start}")
        return data

    def sha256(self, check: Callable[[], None]) -> str:
        """Return the SHA-256 of the file, in hex. `check` is called for each block, and may raise."""
        digest, size = hashlib.sha256(), self.file.size_bytes
        for start in range(0, size, _BLOCK_BYTES):
            check()
            digest.update(self.read(start, min(size, start + _BLOCK_BYTES)))
        self.check()
        return digest.hexdigest()

    def _unreadable(self, error: OSError) -> TransferError:
        return TransferError(str(self.file.path), f"cannot be read: {error.strerror}")
