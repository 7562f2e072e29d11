"""How far a transfer is, for progress bars."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress:
    """Counters of one transfer, written by its thread and read by whoever draws bars.

    Attributes:
        have_bytes: on the disk.
        total_bytes: complete length, None while unknown.
        fetched_bytes: travelled in this run.
        note: why it waits, if it does.
        waits_since_s: the monotonic time since which it has waited for the head of an answer; `SLEEPS` where it waits
            for a time to come; None while it does neither.
    """

    __slots__ = ("fetched_bytes", "have_bytes", "name", "note", "total_bytes", "waits_since_s")

    SLEEPS = float("-inf")

    def __init__(self, name: str, *, have_bytes: int = 0, total_bytes: int | None = None, note: str = "") -> None:
        self.name = name
        self.have_bytes = have_bytes
        self.total_bytes = total_bytes
        self.fetched_bytes = 0
        self.note = note
        self.waits_since_s: float | None = None

    def arrive(self, new_bytes: int, have_bytes: int, total_bytes: int | None) -> None:
        """Note bytes that travelled, and how many are on the disk now."""
        self.fetched_bytes += new_bytes
        self.have_bytes = have_bytes
        self.total_bytes = total_bytes

    def wait(self, since_s: float | None) -> None:
        """Say since when the head of an answer has been waited for; None: it is not."""
        self.waits_since_s = since_s

    @contextmanager
    def sleeping(self, note: str) -> Iterator[None]:
        """Say, while the block runs, that the transfer waits for a time to come, and why."""
        self.note, self.waits_since_s = note, self.SLEEPS
        try:
            yield
        finally:
            self.note, self.waits_since_s = "", None
