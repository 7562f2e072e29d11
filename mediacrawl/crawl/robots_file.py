"""The rules of a robots.txt, of which only the beginning counts, and of which few files are held in parsed form.

Scrapy (2.19) keeps the parser of each host for the whole crawl. A robots.txt of 500 KiB takes a second to parse, and
17 MB once it is parsed: a page that links to a thousand hosts would take all memory.
"""

from __future__ import annotations

import logging
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Self

from scrapy.robotstxt import ProtegoRobotParser

from mediacrawl.crawl.context import CrawlContext, RequestDropped
from mediacrawl.crawl.page_network import in_thread

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

# RFC 9309 2.5. All rules are compared with each URL: those of a file of 25 MB would take seconds for each.
MOST_BYTES = 500 * 1024
_SMALL_BYTES = 4 * 1024  # files up to this size stay parsed: nearly all have less
_MOST_PARSED_BYTES = 2 * 1024 * 1024  # of the larger files that are held in parsed form


class RobotsFile(ProtegoRobotParser):
    """Scrapy's parser, for the first 500 KiB of the file. A line that is cut does not count."""

    def __init__(
        self, robotstxt_body: bytes, spider: Spider | None, crawl_context: CrawlContext | None = None
    ) -> None:
        """Keep the file; a large one is parsed when it is asked for a URL."""
        if len(robotstxt_body) > MOST_BYTES:
            logger.warning("A robots.txt has %d bytes: the rules in the first 500 KiB count", len(robotstxt_body))
            beginning = robotstxt_body[:MOST_BYTES]
            robotstxt_body = beginning[: max(beginning.rfind(b"\n"), beginning.rfind(b"\r")) + 1]
        self._context = crawl_context
        self._size_bytes = len(robotstxt_body)
        self._is_small = self._size_bytes <= _SMALL_BYTES
        self._packed = b"" if self._is_small else zlib.compress(robotstxt_body, 1)
        if self._is_small:
            super().__init__(robotstxt_body, spider)
        else:
            self.spider = spider

    @classmethod
    def from_crawler(cls, crawler: Crawler, robotstxt_body: bytes) -> Self:
        """Build the parser for a response."""
        return cls(robotstxt_body, crawler.spider, CrawlContext.of(crawler))

    def allowed(self, url: str | bytes, user_agent: str | bytes) -> bool:
        """Return whether a URL may be requested."""
        return self._whole().allowed(url, user_agent) if not self._is_small else super().allowed(url, user_agent)

    def crawl_delay(self, user_agent: str | bytes) -> float | None:
        """Return the seconds between two requests; None if the file does not say."""
        return self._whole().crawl_delay(user_agent) if not self._is_small else super().crawl_delay(user_agent)

    @property
    def is_unparsed(self) -> bool:
        """Whether the file has to be parsed before it can be asked."""
        return not self._is_small and _recent.get(self) is None

    async def parse_ahead(self) -> None:
        """Parse a large file in another thread, so that the event loop goes on.

        Raises:
            RequestDropped: the crawl is stopping.
        """
        if not self.is_unparsed:
            return
        if self._context is not None and self._context.stopping:
            raise RequestDropped("the crawl is stopping")
        _recent.add(self, await in_thread(self._parsed), self._size_bytes)

    def _parsed(self) -> ProtegoRobotParser:
        return ProtegoRobotParser(zlib.decompress(self._packed), self.spider)

    def _whole(self) -> ProtegoRobotParser:
        if (parsed := _recent.get(self)) is None:
            parsed = self._parsed()
            _recent.add(self, parsed, self._size_bytes)
        return parsed


class _Recent:
    """The large files that were asked last, in parsed form. For the thread of the event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[ProtegoRobotParser, int]] = OrderedDict()
        self._size_bytes = 0  # of the files

    def get(self, file: RobotsFile) -> ProtegoRobotParser | None:
        """Return a file in parsed form, if it is still held."""
        if file not in self._kept:
            return None
        self._kept.move_to_end(file)
        return self._kept[file][0]

    def add(self, file: RobotsFile, parsed: ProtegoRobotParser, size_bytes: int) -> None:
        """Hold a file in parsed form; release those that were asked longest ago."""
        if file in self._kept:
            return
        self._kept[file] = parsed, size_bytes
        self._size_bytes += size_bytes
        while self._size_bytes > _MOST_PARSED_BYTES and len(self._kept) > 1:
            _, (_, released_bytes) = self._kept.popitem(last=False)
            self._size_bytes -= released_bytes


_recent = _Recent()
