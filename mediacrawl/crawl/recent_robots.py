"""The large robots.txt files of a crawl that were asked last, in parsed form."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.robotstxt import ProtegoRobotParser

_MOST_BYTES = 2 * 1024 * 1024  # of the files; a parsed file takes many times as much


class RecentRobots:
    """Parsed files by the object that has the text of the file. For the thread of the event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[ProtegoRobotParser, int]] = OrderedDict()
        self._size_bytes = 0  # of the files

    def get(self, file: object) -> ProtegoRobotParser | None:
        """Return a file in parsed form, if it is still held."""
        if file not in self._kept:
            return None
        self._kept.move_to_end(file)
        return self._kept[file][0]

    def add(self, file: object, parsed: ProtegoRobotParser, size_bytes: int) -> None:
        """Hold a file in parsed form; release those that were asked longest ago."""
        if file in self._kept:
            return
        self._kept[file] = parsed, size_bytes
        self._size_bytes += size_bytes
        while self._size_bytes > _MOST_BYTES and len(self._kept) > 1:
            _, (_, released_bytes) = self._kept.popitem(last=False)
            self._size_bytes -= released_bytes
