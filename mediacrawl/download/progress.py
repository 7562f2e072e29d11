"""The progress of a transfer, for progress bars."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress:
    """Counters of one transfer, written by its threads and read by the thread that draws progress bars.

    Attributes:
        have_bytes: the number of bytes on the disk.
        total_bytes: the complete length, None while unknown.
        fetched_bytes: the number of bytes transferred in this run.
        note: the reason why the transfer waits, or an empty string.
        waits_since_s: the monotonic time since which the transfer has waited for the head of a response; `SLEEPS`
            while the transfer waits until a certain time; None while it does neither.
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
        """Note newly transferred bytes, the number of bytes on the disk now, and the complete length."""
        self.fetched_bytes += new_bytes
        self.have_bytes = have_bytes
        self.total_bytes = total_bytes

    def wait(self, since_s: float | None) -> None:
        """Note since when the transfer has waited for the head of a response; None if it does not wait."""
        self.waits_since_s = since_s

    @contextmanager
    def sleeping(self, note: str) -> Iterator[None]:
        """Note, while the `with` block runs, that the transfer waits until a certain time, and why."""
        self.note, self.waits_since_s = note, self.SLEEPS
        try:
            yield
        finally:
            self.note, self.waits_since_s = "", None
