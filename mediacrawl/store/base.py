"""What a store is, wherever its files are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mediacrawl.store.parts import PartFolder


class Store(Protocol):
    """Published files, each complete and every byte of one version, and the parts of those that are not.

    A store has nothing to close but its `parts`. Methods may be called from any thread, and several processes may use
    one store; `Archive` sees to it that one of them at a time publishes at a name, or moves a file away. After a
    crash a name is there with a whole file, or it is not there. `tests/store` holds what every implementation must
    do.

    Attributes:
        root: what names are relative to.
        hidden: place of what is not published: parts, quarantine, and the ledger unless that is elsewhere.
        quarantine_folder: place of bytes whose digest was wrong, or that were altered in the store.
        parts: the part files.
        at_step: is called with the name of each step that matters after a crash; tests stop there.

    Raises:
        StoreNotWritable, DiskFull: from every method that writes.
    """

    root: Path
    hidden: Path
    quarantine_folder: Path
    parts: PartFolder
    at_step: Callable[[str], None]

    def open(self) -> None:
        """Make it usable, and try to write."""

    def path(self, name: str) -> Path:
        """Return the absolute path of a name; raise `StoreNotWritable` for one that leaves the store."""
        ...

    def size(self, name: str) -> int | None:
        """Return the size in bytes of a published file, None when there is none."""
        ...

    def identity(self, name: str) -> tuple[int, ...] | None:
        """Return what tells a published file from what replaces it, None when there is none."""
        ...

    def sha256(self, name: str) -> str | None:
        """Read a published file; return its sha256 in hex, None when it cannot be read."""
        ...

    def is_locked(self, name: str) -> bool:
        """Return whether a process has renamed its part to that name and is not through with it yet."""
        ...

    def taken(self, name: str) -> bool:
        """Return whether something stands at that name, whatever it is."""
        ...

    def rename_in(self, part: str, name: str) -> str:
        """Give a synced part its final name, atomically; return the folder that `sync` has to make durable.

        Raises:
            PathConflict: something else stands where a folder of it should be. The part is where it was.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a published file; one that is not there is no error."""

    def quarantine(self, name: str) -> Path | None:
        """Move what stands at a name into the quarantine, durably; return where it is, None if there is no file."""
        ...

    def sync(self, folders: Iterable[Path | str]) -> None:
        """Make the names in these folders durable."""

    def sync_names(self, names: Iterable[str]) -> None:
        """Make the names of published files durable, and those of the folders that they are in."""

    def names(self) -> Iterator[str]:
        """Yield every published file, as a relative name, in no order."""
        ...
