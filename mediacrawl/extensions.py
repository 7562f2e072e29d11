"""The progress display during a crawl, and the summary at its end."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import TYPE_CHECKING, TextIO

from scrapy import exceptions, signals

from mediacrawl.config import PROGRESS_S
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import describe_error
from mediacrawl.fetch.advice import advice_for_crawl
from mediacrawl.fetch.progress_display import Display, Snapshot
from mediacrawl.visible import make_log_visible

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

logger = logging.getLogger("mediacrawl")
# Loggers that write a traceback for each page that could not be fetched.
_LOUD = (
    "scrapy.core.scraper",
    "scrapy.downloadermiddlewares.robotstxt",
    "scrapy.downloadermiddlewares.retry",
    "tldextract",  # fetches the list of public suffixes when a cookie names a domain
)
_NETWORK = (
    OSError,
    exceptions.CannotResolveHostError,
    exceptions.DownloadCancelledError,
    exceptions.DownloadConnectionRefusedError,
    exceptions.DownloadFailedError,
    exceptions.DownloadTimeoutError,
    exceptions.ResponseDataLossError,
    exceptions.UnsupportedURLSchemeError,
    exceptions.NotSupported,
)
_BAD_REDIRECT = "Missing scheme in request url"  # Scrapy follows redirects to `javascript:…`, and fails


class ProgressExtension:
    """Shows bars on a terminal, or else a line every few seconds, and a summary at the end, on standard error.

    All log records then show text from outside in its visible form, also those of Scrapy.
    """

    def __init__(self, crawler: Crawler, line_every_s: float, stream: TextIO | None = None) -> None:
        self._context = CrawlContext.of(crawler)
        self._crawler = crawler
        self._stream = stream or sys.stderr
        self._display = Display(self._stream, line_every_s)
        self._task: asyncio.Task[None] | None = None
        self._has_ended = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the extension for a crawler; `MEDIACRAWL_PROGRESS_S` is the time between two lines, in seconds."""
        extension = cls(crawler, PROGRESS_S.of(crawler.settings))
        crawler.signals.connect(extension.spider_opened, signals.spider_opened)
        crawler.signals.connect(extension.spider_closed, signals.spider_closed)
        for name in _LOUD:
            logging.getLogger(name).addFilter(_in_one_line)
        make_log_visible()
        return extension

    def spider_opened(self) -> None:
        """Start to draw the progress."""
        self._task = asyncio.ensure_future(self._draw())

    def spider_closed(self, reason: str) -> None:
        """Clear the bars, and write the summary, also to a log that goes elsewhere; a second call does nothing."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._task is not None:
            self._task.cancel()
        self._display.close(self._snapshot())
        is_logged_there = any(getattr(one, "stream", None) is self._stream for one in logging.getLogger().handlers)
        for line in self._context.report.lines(*advice_for_crawl(self._crawler.settings)):
            self._stream.write(f"{line}\n")
            if not is_logged_there:
                logger.info(line)
        self._stream.flush()

    async def _draw(self) -> None:
        while True:
            self._display.draw(self._snapshot())
            await asyncio.sleep(self._display.every_s)

    def _snapshot(self) -> Snapshot:
        pools = [resources.pool for resources in self._context.resources]
        active = [progress for pool in pools for progress in pool.active]
        fetched = sum(pool.fetched_bytes for pool in pools) + sum(p.fetched_bytes for p in active)
        now_s, report = time.monotonic(), self._context.report
        waiting = self._context.paused.progress(now_s)
        return Snapshot(now_s, report.settled, report.wanted, fetched, [*active, *waiting])


def _in_one_line(record: logging.LogRecord) -> bool:
    """Replace the traceback of an error of the network or of a server by its reason; keep every record."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, _NETWORK) or str(error).startswith(_BAD_REDIRECT):
        said, reason = record.getMessage(), describe_error(error)
        record.msg, record.args = (said if reason in said else f"{said}: {reason}"), ()
        record.exc_info = None
    return True
