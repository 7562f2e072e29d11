"""The rules of a robots.txt, of which only the beginning counts, and of which few files are held in parsed form.

Scrapy (2.19) keeps the parser of each host for the whole crawl. A robots.txt of 500 KiB takes a second to parse, and
17 MB once it is parsed: a page that links to a thousand hosts would take all memory.
"""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Self

from scrapy.robotstxt import ProtegoRobotParser

from mediacrawl.crawl.context import CrawlContext, RequestDropped
from mediacrawl.crawl.page_network import in_thread
from mediacrawl.crawl.recent_robots import RecentRobots

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

# RFC 9309 2.5. All rules are compared with each URL: those of a file of 25 MB would take seconds for each.
MOST_BYTES = 500 * 1024
_SMALL_BYTES = 4 * 1024  # files up to this size stay parsed: nearly all have less


class RobotsFile(ProtegoRobotParser):
    """Scrapy's parser, for the first 500 KiB of the file. A line that is cut does not count."""

    def __init__(
        self, robotstxt_body: bytes, spider: Spider | None, crawl_context: CrawlContext | None = None
    ) -> None:
        """Keep the file; a large one is parsed when it is asked for a URL, and held among those of its crawl."""
        if len(robotstxt_body) > MOST_BYTES:
            logger.warning("A robots.txt has %d bytes: the rules in the first 500 KiB count", len(robotstxt_body))
            beginning = robotstxt_body[:MOST_BYTES]
            robotstxt_body = beginning[: max(beginning.rfind(b"\n"), beginning.rfind(b"\r")) + 1]
        self._context = crawl_context
        self._recent = RecentRobots() if crawl_context is None else crawl_context.recent_robots
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
    def parsed(self) -> ProtegoRobotParser | None:
        """The file in parsed form; None if it has to be parsed before it can be asked."""
        return self if self._is_small else self._recent.get(self)

    async def parse_ahead(self) -> ProtegoRobotParser:
        """Return the file in parsed form. A large file is parsed in another thread, so that the event loop goes on.

        Raises:
            RequestDropped: the crawl is stopping.
        """
        if (parsed := self.parsed) is not None:
            return parsed
        if self._context is not None and self._context.stopping:
            raise RequestDropped("the crawl is stopping")
        parsed = await in_thread(self._parsed)
        self._recent.add(self, parsed, self._size_bytes)
        return parsed

    def _parsed(self) -> ProtegoRobotParser:
        return ProtegoRobotParser(zlib.decompress(self._packed), self.spider)

    def _whole(self) -> ProtegoRobotParser:
        if (parsed := self._recent.get(self)) is None:
            parsed = self._parsed()
            self._recent.add(self, parsed, self._size_bytes)
        return parsed
