"""Spider middlewares: start items in bounds, and pages that failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from scrapy import Request, signals
from scrapy.spidermiddlewares.httperror import HttpError

from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import describe_error, redact_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.http import Response

START_ITEMS = 64


class StartItemsMiddleware:
    """Lets so many start items be under way and no more, as Scrapy neither awaits nor limits them.

    An item has a place from when it leaves `start()` until a signal says that it is through; start items are those
    whose signal carries no response.
    """

    def __init__(self, crawler: Crawler, places: int = START_ITEMS) -> None:
        self._context = CrawlContext.of(crawler)
        self._places = asyncio.Semaphore(places)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Listen to what tells that an item is through."""
        middleware = cls(crawler)
        for signal in (signals.item_scraped, signals.item_dropped, signals.item_error):
            crawler.signals.connect(middleware.item_through, signal)
        return middleware

    async def process_start(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Hand on requests at once, items as there is room, nothing once the crawl stops."""
        async for thing in start:
            if not isinstance(thing, Request):
                await self._places.acquire()
            if self._context.stopping:
                return
            yield thing

    def item_through(self, response: Any) -> None:
        """A place is free."""
        if response is None:
            self._places.release()


class FailedPagesMiddleware:
    """Counts pages with an error status, which Scrapy drops quietly: what they link to is missing."""

    def __init__(self, crawler: Crawler) -> None:
        self._context = CrawlContext.of(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_spider_exception(self, response: Response, exception: Exception) -> None:
        """Count and leave it to the others."""
        status = isinstance(exception, HttpError)
        reason = f"HTTP {response.status}" if status else f"{type(exception).__name__}: {describe_error(exception)}"
        self._context.report.count_page_failure(redact_url(response.url), reason)
