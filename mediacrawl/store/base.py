"""The interface of a store, independent of where its files are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader
    from pathlib import Path

    from mediacrawl.store.parts import PartFolder


class NameTaken(Exception):
    """There is an entry of the new name of a file, which is not to be replaced. Nothing was changed."""


class Store(Protocol):
    """Published files, each complete and with every byte of one version, and the parts of unfinished files.

    Only the `parts` of a store need to be closed. Methods may be called from any thread, and several processes may
    use one store. `Archive` ensures that only one process at a time publishes at a name, or moves a file away. After
    a crash, either a complete file has the name, or the name does not exist. `tests/store` contains the requirements
    for every implementation.

    Attributes:
        root: the folder that names are relative to.
        hidden: folder of unpublished data: parts, quarantine, and the ledger unless the ledger is elsewhere.
        quarantine_folder: folder of files with a wrong digest, and of files that were altered in the store.
        parts: the part files.
        at_step: called with the name of each step that matters after a crash; tests stop the process there.

    Raises:
        StoreNotWritable, DiskFull: from every method that writes.
    """

    root: Path
    hidden: Path
    quarantine_folder: Path
    parts: PartFolder
    at_step: Callable[[str], None]

    def open(self) -> None:
        """Prepare the store for use, and test that it can be written."""

    def close(self) -> None:
        """Close the part files and all else that is open.

        A later call opens what it needs, and keeps nothing open until `open` is called again.
        """

    def path(self, name: str) -> Path:
        """Return the absolute path of a name; raise `StoreNotWritable` for a name that leaves the store."""
        ...

    def size(self, name: str) -> int | None:
        """Return the size in bytes of a published file; None if there is no file of that name."""
        ...

    def identity(self, name: str) -> tuple[int, ...] | None:
        """Return a tuple that differs between a published file and its replacement; None if there is no file."""
        ...

    def sha256(self, name: str) -> str | None:
        """Read a published file; return its SHA-256 in hex, None if the file cannot be read."""
        ...

    def is_locked(self, name: str) -> bool:
        """Return whether a process has renamed its part to that name and has not finished publishing it."""
        ...

    def open_file(self, name: str) -> BufferedReader:
        """Open a published file for reading; raise `OSError` for an entry of another kind."""
        ...

    def taken(self, name: str) -> bool:
        """Return whether that name exists: as a file or as any other kind of entry."""
        ...

    def may_be_folder(self, name: str) -> bool:
        """Return whether a folder has that name, or can have it."""
        ...

    def rename_in(self, part: str, name: str, *, replaces: bool = False) -> str:
        """Rename a synced part to its final name, atomically; return the folder that `sync` has to make durable.

        Only with `replaces`, an older file of that name is replaced.

        Raises:
            NameTaken: there is another entry of that name. The part is not moved.
            PathConflict: a folder of the name exists as a file, or the name as a folder. The part is not moved.
        """
        ...

    def link(self, name: str, new_name: str, *, replaces: bool = False) -> str:
        """Give a published file a second name, with the same bytes; return the folder that is to be synced.

        Only with `replaces`, a file with the new name is replaced, atomically. The second name is a hard link, or
        else a synced copy.

        Raises:
            NameTaken: there is another entry of the new name.
            PathConflict: there is no file of that name, or the new name cannot be the name of a file.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a published file; a missing file is no error."""

    def quarantine(self, name: str) -> Path | None:
        """Move a published file to the quarantine, durably; return its new path, None if there is no file."""
        ...

    def sync(self, folders: Iterable[Path | str]) -> None:
        """Make the names in these folders durable."""

    def sync_names(self, names: Iterable[str]) -> None:
        """Make the names of published files durable, and the names of the folders that contain the files."""

    def names(self) -> Iterator[str]:
        """Yield the relative name of every published file, in no particular order."""
        ...
