"""Messages between a crawl and the process that reads its pages, beside `PageQuestion` and its answer."""

from __future__ import annotations

from typing import NamedTuple


class ReadingLimits(NamedTuple):
    """What a page may need: the first message to the process. 0 is no limit.

    Attributes:
        time_s: processor time, in seconds. Neither other programs nor Ctrl-Z count.
        memory_bytes: resident memory of the process. Only Linux tells it.
    """

    time_s: float
    memory_bytes: int


class Mistake(NamedTuple):
    """The traceback of an exception that no page should cause."""

    traceback: str


class OutOfMemory(NamedTuple):
    """The system gives the process no more memory. The process ends."""
