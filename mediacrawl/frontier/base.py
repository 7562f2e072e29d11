"""What a frontier is, whatever keeps its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediacrawl.frontier.sqlite import FrontierPage


class Frontier(Protocol):
    """The pages of one job, for one process at a time. For one thread.

    A page is pending, then leased, then done. Whoever opens a frontier closes it. After a crash it is in an earlier
    state of the whole, and pages that were leased are pending again: a page may be crawled twice, and none is lost.
    `tests/frontier` holds what every implementation must do.

    Raises:
        JobInUse: on opening: another process works here, or it belongs to another spider.
        StoreNotWritable, DiskFull: from every method.
    """

    def add(self, fingerprint: bytes, data: bytes, *, priority: int = 0, kind: int = 0) -> bool:
        """Store a page; return False if it was seen before. `kind` is one of `PageKind`."""
        ...

    def lease(self) -> FrontierPage | None:
        """Return the next page, the one with the highest priority first; None if none is pending."""
        ...

    def done(self, ids: Iterable[int]) -> None:
        """Note that these pages are through, and that all that they yielded is safe."""

    def __len__(self) -> int:
        """Return how many pages are pending."""
        ...

    def close(self, *, finished: bool) -> None:
        """Free what is open. A job that is finished and has nothing left begins anew when it is opened next."""
