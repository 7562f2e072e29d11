"""The crash-safe frontier as a Scrapy scheduler.

With JOBDIR or MEDIACRAWL_FRONTIER, pages are kept in `mediacrawl.frontier`. Without them, Scrapy's own scheduler is
used and nothing changes.

A page counts as done when its request has left `engine._slot.inprogress`. Only then are all requests that it yielded
stored, and all its items have passed the pipelines, so that their files are in the ledger. Middlewares and signals
alone would miss pages (refused downloads, IgnoreRequest, errbacks).
"""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.core.scheduler import BaseScheduler, Scheduler
from scrapy.exceptions import CloseSpider
from scrapy.utils.job import job_dir
from scrapy.utils.request import request_from_dict

from mediacrawl.backends import open_frontier
from mediacrawl.config import FRONTIER
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import MachineError, UsageProblem
from mediacrawl.frontier.base import PageKind

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler

    from mediacrawl.frontier.base import Frontier

logger = logging.getLogger(__name__)

# engine.needs_backout() counts downloads only: without a limit, pages accumulate behind slow media, and each of these
# pages is fetched again after a kill.
MAX_LEASES = 16


class FrontierScheduler(BaseScheduler):
    """Keeps the pages of a crawl in a frontier; see the module.

    Only one process may use a JOBDIR. The next run crawls the pages again that a kill interrupted.
    """

    def __init__(self, crawler: Crawler, folder: str) -> None:
        self._crawler = crawler
        self._folder = folder
        self._context = CrawlContext.of(crawler)
        self._frontier: Frontier | None = None
        self._leases: dict[int, Request] = {}
        self._frozen = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Any:
        """Return this scheduler with JOBDIR or MEDIACRAWL_FRONTIER, and Scrapy's own scheduler without them."""
        try:
            folder = job_dir(crawler.settings)
        except OSError:
            folder = crawler.settings["JOBDIR"]  # the frontier reports the problem
        url = FRONTIER.of(crawler.settings) or folder
        return cls(crawler, str(url)) if url else Scheduler.from_crawler(crawler)

    def open(self, spider: Spider) -> None:
        """Open the job folder; a folder that cannot be used closes the crawl before any request."""
        fifo = "Fifo" in str(self._crawler.settings.get("SCHEDULER_DISK_QUEUE"))
        try:
            self._frontier = open_frontier(self._folder, spider.name, newest_first=not fifo)
        except (MachineError, UsageProblem) as error:
            self._context.report.give_up(error)
            logger.error("%s", error)
            # An exception raised here would leave Scrapy's scraper half open, and Scrapy (2.19) could not close it.
            self._crawler.signals.connect(self._refuse, signals.spider_opened)
            return
        if len(self._frontier):
            logger.info("Going on with the job in %s: %d pages pending", self._folder, len(self._frontier))
            self._context.report.pages.go_on()
        self._context.install()
        self._context.on_stop(self._freeze)
        self._context.page_ends.keep_in(self)

    def _refuse(self) -> None:
        raise CloseSpider(type(self._context.report.fatal).__name__)

    def close(self, reason: str) -> None:
        """Close the frontier. Pages that are not done become pending again when the folder is opened next.

        Pages that earlier runs of the job could not read are counted: they are missing from this job, too.
        """
        if self._frontier is None:
            return
        try:
            self._settle()
            for url, why in self._frontier.earlier_failures():
                self._context.report.count_page_failure(url, why)
            self._frontier.close(finished=reason == "finished")
        except MachineError as error:
            self._context.stop_for(error)

    def has_pending_requests(self) -> bool:
        """Return whether a page is pending or under way: a page under way may yield further pages."""
        return self._frontier is not None and (len(self._frontier) > 0 or bool(self._leases))

    def enqueue_request(self, request: Request) -> bool:
        """Store a request. Return whether it was added to the frontier.

        A request that cannot be stored is refused with an error, and is never kept in memory silently.
        """
        assert self._frontier is not None
        try:
            data = pickle.dumps(request.to_dict(spider=self._crawler.spider), protocol=5)
        except Exception as error:
            logger.error(
                "Request refused, it cannot be kept in JOBDIR: %s: %s. Make its callback a method of the spider, and"
                " its meta and cb_kwargs plain values",
                request.url,
                error,
            )
            self._context.page_ends.count_unread(request, "cannot be kept in JOBDIR")
            return False
        fingerprint = self._crawler.request_fingerprinter.fingerprint(request)
        try:
            added = self._frontier.add(fingerprint, data, priority=request.priority, kind=_kind(request))
        except MachineError as error:
            self._context.stop_for(error)
            return False
        self._count("enqueued" if added else "filtered")
        return added

    def next_request(self) -> Request | None:
        """Return the next page, leased; None if too many are under way, none is pending, or the crawl stops."""
        assert self._frontier is not None
        if self._context.stopping:
            return None
        try:
            self._settle()
            page = self._frontier.lease() if len(self._leases) < MAX_LEASES else None
        except MachineError as error:
            self._context.stop_for(error)
            return None
        if page is None:
            return None
        request = request_from_dict(pickle.loads(page.data), spider=self._crawler.spider)  # noqa: S301 - our own file
        self._context.page_ends.begin_anew(request)
        self._leases[page.id] = request
        self._count("dequeued")
        return request

    def note_failure(self, fingerprint: bytes, url: str, reason: str) -> None:
        """Keep the failure of a page for the next run of this job."""
        assert self._frontier is not None
        try:
            self._frontier.note_failure(fingerprint, url, reason)
        except MachineError as error:
            self._context.stop_for(error)

    def note_read(self, fingerprint: bytes) -> None:
        """Remove the failure of a page that was read after all."""
        assert self._frontier is not None
        try:
            self._frontier.note_read(fingerprint)
        except MachineError as error:
            self._context.stop_for(error)

    def _settle(self) -> None:
        """Mark the pages that have left the engine as done; not during a stop, when pages leave it unfinished."""
        if self._frozen or not self._leases:
            return
        assert self._frontier is not None
        slot = getattr(self._crawler.engine, "_slot", None)
        under_way = slot.inprogress if slot is not None else ()
        # The request that the current call returns is in the set by the time of the next call.
        through = [page_id for page_id, request in self._leases.items() if request not in under_way]
        if through:
            self._frontier.done(through)
            for page_id in through:
                del self._leases[page_id]

    def _freeze(self) -> None:
        self._settle()
        self._frozen = True

    def _count(self, what: str) -> None:
        self._crawler.stats.inc_value(f"scheduler/{what}")


def _kind(request: Request) -> int:
    """Return the kind of a page, which is part of its key.

    Start pages have keys of their own, as each run requests them. A retry or redirect of a start page is not a start
    page.
    """
    meta = request.meta
    again = meta.get("retry_times") or meta.get("redirect_times") or meta.get("depth")
    if meta.get("is_start_request") and not again:
        return PageKind.START
    return PageKind.AGAIN if request.dont_filter else PageKind.ORDINARY
