"""What a ledger is, whatever keeps its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from mediacrawl.ledger.sqlite import Entry


class Ledger(Protocol):
    """The rows of one store, one for each media key.

    Whoever opens a ledger closes it. Methods may be called from any thread, and several processes may have one ledger
    open: each call is one transaction, or part of the caller's `transaction()`. A change is durable when its call, or
    the block of `transaction()`, has ended; after a crash before that it has not happened. `tests/ledger` holds what
    every implementation must do.

    Raises:
        StoreNotWritable, DiskFull: from every method, when the rows cannot be read or written.
    """

    def hurry(self) -> None:
        """From now on wait for other processes no longer than a moment: the run is to end. From any thread."""

    def close(self) -> None:
        """Free what is open; waits no longer than a moment for a call of another thread."""

    def transaction(self) -> AbstractContextManager[None]:
        """Make what is done in a block happen as a whole, or not at all."""
        ...

    # Questions

    def lookup(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the rows of these keys; those that have none are left out."""
        ...

    def knows_any(self, keys: Sequence[str]) -> bool:
        """Return whether there is a row of any of these few keys, as far as it is committed; waits for nobody."""
        ...

    def entries(self, *states: str) -> Iterator[Entry]:
        """Yield every row in one of the states (all without arguments), by key; memory stays flat."""
        ...

    def counts(self) -> dict[str, int]:
        """Return the number of rows in each state, and the `bytes` of what is done."""
        ...

    def at_path(self, path: str) -> Entry | None:
        """Return the row whose file stands, or is to stand, at a path in the store."""
        ...

    def owner_of(self, path: str) -> str | None:
        """Return the key that a path, or one that folds to the same, belongs to."""
        ...

    def taken(self, folded: Sequence[str]) -> set[str]:
        """Return which of these paths, as `fold` gives them, belong to some key."""
        ...

    def strangers(self, paths: Sequence[str]) -> list[str]:
        """Return those of at most 500 paths that belong to no row."""
        ...

    def find(self, *names: str) -> Entry | None:
        """Return the first row whose key or URL is one of these."""
        ...

    def is_prepared(self) -> bool:
        """Return whether it can hold rows: not so for a moment while another process makes it."""
        ...

    def is_intact(self) -> bool:
        """Check all of it for damage."""
        ...

    # Changes; `now` is in seconds since the epoch

    def record_wanted(self, entries: Iterable[Entry], now: float) -> None:
        """Note what is wanted. A row that is there keeps its state, but for a failed one."""

    def claim(self, *entries: Entry) -> None:
        """Give free paths to keys: state `publishing`, with the facts of the new files."""

    def finish(self, entries: Iterable[Entry], now: float) -> None:
        """Note that the files of claimed rows stand at their paths: state `done`."""

    def settle(self, key: str, state: str, now: float) -> None:
        """Say after a crash whether a publishing row is done after all, or wanted again."""

    def record_unchanged(self, keys: Iterable[str], now: float) -> None:
        """Note that the origin still has these versions."""

    def record_failure(self, entries: Iterable[Entry], now: float) -> None:
        """Note what did not arrive, and why. A file that is done stays done."""

    def mark_missing(self, keys: Iterable[str]) -> None:
        """Want files again that are gone from the store; their paths stay theirs."""

    def mark_corrupt(self, key: str, reason: str) -> None:
        """Note that the file of a done row is not what it was: failed, with its path."""

    def forget(self, keys: Iterable[str]) -> None:
        """Delete rows."""
