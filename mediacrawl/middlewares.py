"""Middlewares: two of spiders, for start items and for pages that failed, and the one of proxies without a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from scrapy import Request, signals
from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware
from scrapy.spidermiddlewares.httperror import HttpError

from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import describe_error, redact_url
from mediacrawl.transport.errors import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.http import Response

START_ITEMS = 64


class StartItemsMiddleware:
    """Limits the number of start items under way, as Scrapy neither awaits nor limits them.

    An item occupies a place from the moment it leaves `start()` until a signal reports that its processing has
    ended. The signal of a start item carries no response.
    """

    def __init__(self, crawler: Crawler, places: int = START_ITEMS) -> None:
        self._context = CrawlContext.of(crawler)
        self._places = asyncio.Semaphore(places)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the middleware, and connect it to the signals that report the end of an item."""
        middleware = cls(crawler)
        for signal in (signals.item_scraped, signals.item_dropped, signals.item_error):
            crawler.signals.connect(middleware.item_through, signal)
        return middleware

    async def process_start(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield requests at once, and items when a place is free. Yield nothing more once the crawl stops."""
        async for thing in start:
            if not isinstance(thing, Request):
                await self._places.acquire()
            if self._context.stopping:
                return
            yield thing

    def item_through(self, response: Any) -> None:
        """Release the place of a start item."""
        if response is None:
            self._places.release()


class FailedPagesMiddleware:
    """Counts pages with an error status, which Scrapy drops silently, and pages with an exception in their callback.

    The files that these pages link to are missing.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._context = CrawlContext.of(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_spider_exception(self, response: Response, exception: Exception) -> None:
        """Count the page as failed, and leave the exception to the other middlewares."""
        if isinstance(exception, HttpError):
            request = response.request
            route = Route(response.url, 0.0, 0.0, request.meta.get("proxy") if request is not None else None)
            reason = route.phrase(response.status, f"HTTP {response.status}")
        else:
            reason = f"{type(exception).__name__}: {describe_error(exception)}"
        self._context.report.count_page_failure(redact_url(response.url), reason)


class ProxyMiddleware(HttpProxyMiddleware):
    """Scrapy's middleware for the proxies of requests; `PageNetwork` reads those of the environment.

    Scrapy's own (2.19) raises a TypeError for a proxy with a user name and no password.
    """

    def __init__(self, auth_encoding: str | None = "latin-1") -> None:
        self.auth_encoding = auth_encoding
        self.proxies = {}

    def _basic_auth_header(self, username: str, password: str | None) -> bytes:
        return super()._basic_auth_header(username, password or "")
