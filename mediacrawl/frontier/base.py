"""The interface of a frontier, independent of where its pages are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class PageKind:
    """The reason why a page is wanted. The kind determines when the page counts as seen."""

    ORDINARY = 0  # once for each job
    AGAIN = 1  # `dont_filter`: always
    START = 2  # once for each job, though each run requests it again


class FrontierPage(NamedTuple):
    """A row that was leased."""

    id: int
    data: bytes


class Frontier(Protocol):
    """The pages of one job, for one process at a time, and for one thread.

    A page is pending, then leased, then done. The caller that opens a frontier closes it. After a crash the complete
    frontier is in an earlier state, and leased pages are pending again: a page may be crawled twice, but no page is
    lost. `tests/frontier` contains the requirements for every implementation.

    Raises:
        JobInUse: on opening: another process has the job open, or the job belongs to another spider.
        StoreNotWritable, DiskFull: from every method.

    Attributes:
        reads_pickles: whether the job was begun by a version that pickled its pages, and only the user of this
            process can have written them.
    """

    reads_pickles: bool

    def add(self, fingerprint: bytes, data: bytes, *, priority: int = 0, kind: int = 0) -> bool:
        """Store a page; return False if the page was seen before. `kind` is a constant of `PageKind`."""
        ...

    def hold(self, fingerprint: bytes, *, kind: int = 0) -> int | None:
        """Note a page that is kept in memory only; return its id for `done`, None if the page was seen before.

        After a crash it was never noted.
        """
        ...

    def lease(self) -> FrontierPage | None:
        """Return the next page, in the order of descending priority; None if no page is pending."""
        ...

    def done(self, ids: Iterable[int]) -> None:
        """Mark pages as done: they were processed completely, and everything they yielded is safe."""

    def note_failure(self, fingerprint: bytes, url: str, reason: str) -> None:
        """Note that a page could not be read. `url` has no credentials."""

    def note_read(self, fingerprint: bytes) -> None:
        """Remove the note that a page could not be read."""

    def earlier_failures(self) -> list[tuple[str, str]]:
        """Return URL and reason of each page that only earlier runs of this job have noted as not read."""
        ...

    def __len__(self) -> int:
        """Return how many pages are pending."""
        ...

    def close(self, *, finished: bool) -> None:
        """Close the frontier. A finished job without remaining pages starts anew when it is next opened."""
