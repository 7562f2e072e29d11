"""The interface of a ledger, independent of where its rows are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager


class State:
    """The states of a row.

    Attributes:
        PENDING: wanted, not fetched yet.
        PUBLISHING: complete and verified under its part name, about to be renamed to `path`.
        DONE: published at `path`.
        FAILED: not fetched; `permanent` says that another run does not try again.
    """

    PENDING = "pending"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"


class Entry(NamedTuple):
    """One row. Times are in seconds since the epoch; `url` and `page` contain no credentials.

    `wish` holds the values that the list gives in addition to the URL (file name, digests, referer), as JSON.
    `identity` is that of the file in the store when `sha256` was last known to be its digest, as a JSON list: see
    `Store.identity`.
    """

    key: str
    url: str
    page: str | None = None
    spider: str | None = None
    wish: str | None = None
    state: str = State.PENDING
    path: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    validators: str | None = None
    content_type: str | None = None
    http_status: int | None = None
    reason: str | None = None
    attempts: int = 0
    permanent: bool = False
    wanted_at: float | None = None
    finished_at: float | None = None
    checked_at: float | None = None
    identity: str | None = None


class Total(NamedTuple):
    """The number of some rows, and the sum of their sizes in bytes."""

    rows: int
    size_bytes: int


class Ledger(Protocol):
    """The rows of one store, one for each media key.

    The caller that opens a ledger closes it. Methods may be called from any thread, and several processes may have
    one ledger open: each call is one transaction, or part of the caller's `transaction()`. A change is durable when
    its call, or the block of `transaction()`, has ended; after a crash before that point the change has not happened.
    `tests/ledger` contains the requirements for every implementation.

    Raises:
        StoreNotWritable, DiskFull: from every method, when the rows cannot be read or written.
    """

    def hurry(self) -> None:
        """Limit all further waits for other processes to a moment, as the run is to end. Thread-safe."""

    def close(self) -> None:
        """Close the ledger; wait no longer than a moment for a call of another thread."""

    def transaction(self) -> AbstractContextManager[None]:
        """Make the changes of a block atomic: either every change is made, or no change."""
        ...

    # Queries

    def lookup(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the rows of these keys; keys without a row are omitted."""
        ...

    def finished(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the committed rows of these keys that are done or being published, without waiting for a thread."""
        ...

    def knows_any(self, keys: Sequence[str]) -> bool:
        """Return, without waiting, whether a committed row of any of these few keys exists."""
        ...

    def entries(self, *states: str, prefix: str = "") -> Iterator[Entry]:
        """Yield every row in one of the states (every row without arguments), by key, in constant memory.

        With `prefix`, only rows are read whose keys begin with it.
        """
        ...

    def done_total(self, prefix: str) -> Total:
        """Return the number and size of the done rows whose keys begin with a prefix."""
        ...

    def unfinished_total(self, prefix: str) -> Total:
        """Return the number and size of the rows without a file yet whose keys begin with a prefix."""
        ...

    def counts(self) -> dict[str, int]:
        """Return the number of rows in each state, and as `bytes` the total size of the done files."""
        ...

    def damaged(self) -> Mapping[object, tuple[str, Entry | None]]:
        """Return by key the damaged rows: the name of a damaged column, and the entry without it, if there is one."""
        ...

    def at_path(self, path: str) -> Entry | None:
        """Return the row of the file that is, or is to be, at a path in the store; None if there is none."""
        ...

    def owner_of(self, path: str) -> str | None:
        """Return the key that a path belongs to, or a path with the same `fold`; None if it is free."""
        ...

    def taken(self, folded: Sequence[str]) -> set[str]:
        """Return which of these paths, as `fold` gives them, belong to some key."""
        ...

    def owners(self, folded: Sequence[str]) -> Mapping[str, str]:
        """Return the keys that these paths, as returned by `fold`, belong to; free paths are left out."""
        ...

    def strangers(self, paths: Sequence[str]) -> list[str]:
        """Return the paths, out of at most 500, that belong to no row."""
        ...

    def find(self, *names: str) -> Entry | None:
        """Return the first row with one of these names as its key or URL; None if there is none."""
        ...

    def is_prepared(self) -> bool:
        """Return whether the ledger can hold rows: False for a moment while another process creates it."""
        ...

    def is_intact(self) -> bool:
        """Check the complete ledger for damage; return whether there is none."""
        ...

    # Changes; `now` is in seconds since the epoch

    def record_wanted(self, entries: Iterable[Entry], now: float) -> None:
        """Note that files are wanted. An existing row keeps its state, except that a failed row is pending again.

        A row that is pending or failed takes the URL of the entry.
        """

    def reserve(self, entry: Entry, now: float) -> None:
        """Note the size in bytes and the wish of a file that is arriving, in the state `pending`.

        A row that has had a file stays as it is.
        """

    def claim(self, *entries: Entry) -> None:
        """Assign free paths to keys: state `publishing`, with the facts of the new files."""

    def change_key(self, key: str, new_key: str) -> None:
        """Give a row another key, which has no row."""

    def finish(self, entries: Iterable[Entry], now: float) -> None:
        """Note that the files of claimed rows are at their paths, with their identities there: state `done`."""

    def record_identities(self, entries: Iterable[Entry]) -> None:
        """Note the identities of files whose bytes are unchanged; a row with another digest stays as it is."""

    def settle(self, key: str, state: str, now: float) -> None:
        """Set the state of a row after a crash or a failed rename: done after all, or wanted again.

        An upload, which has no URL, gives its path back if it has never had a file.
        """

    def record_unchanged(self, keys: Iterable[str], now: float) -> None:
        """Note that the origin still has the recorded versions of these files."""

    def record_failure(self, entries: Iterable[Entry], now: float) -> None:
        """Note which files were not fetched, and why. A file that is done stays done."""

    def mark_missing(self, keys: Iterable[str]) -> None:
        """Mark files as wanted again that are missing from the store; the rows keep their paths."""

    def mark_corrupt(self, key: str, reason: str) -> None:
        """Note that the file of a done row was altered: state `failed`; the row keeps its path."""

    def adopt(self, entry: Entry, keys: Iterable[str]) -> None:
        """Note that files of other keys are the file of this entry.

        The row with a path takes the key and the URL of the entry. Rows of these keys without a path are deleted.
        """

    def forget(self, keys: Iterable[object]) -> None:
        """Delete rows. The key of a damaged row may be no text."""
