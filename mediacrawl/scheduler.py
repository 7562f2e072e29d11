"""The crash-safe frontier as a Scrapy scheduler.

With JOBDIR or MEDIACRAWL_FRONTIER, pages are kept in `mediacrawl.frontier`. Without them, Scrapy's own scheduler is
used and nothing changes.

A page counts as done when its request has left `engine._slot.inprogress`. Only then are all requests that it yielded
stored, and all its items have passed the pipelines, so that their files are in the ledger. Middlewares and signals
alone would miss pages (refused downloads, IgnoreRequest, errbacks).
"""

from __future__ import annotations

import heapq
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.core.scheduler import BaseScheduler, Scheduler
from scrapy.exceptions import CloseSpider
from scrapy.extensions.spiderstate import SpiderState
from scrapy.utils.job import job_dir

from mediacrawl.backends import open_frontier
from mediacrawl.config import FRONTIER
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.crawl.stored_requests import (
    UnreadableRequest,
    UnstorableRequest,
    is_pickled,
    request_from_bytes,
    request_from_pickle,
    request_to_bytes,
)
from mediacrawl.errors import JobInUse, MachineError, UsageProblem, disk_error, redact_url
from mediacrawl.frontier.base import PageKind
from mediacrawl.frontier.job_folder import open_job_folder
from mediacrawl.system.directories import others_may_write

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
        self._held: list[tuple[int, int, Request]] = []  # pages in memory only, a heap: priority, id, request
        self._in_memory: set[int] = set()  # ids of such pages that are leased
        self._number_held = 0
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
            _check_spider_state(self._crawler.settings["JOBDIR"])
            self._frontier = open_frontier(self._folder, spider.name, newest_first=not fifo)
        except (MachineError, UsageProblem) as error:
            self._leave_spider_state()
            self._context.report.give_up(error)
            logger.error("%s", error)
            # An exception raised here would leave Scrapy's scraper half open, and Scrapy (2.19) could not close it.
            self._crawler.signals.connect(self._refuse, signals.spider_opened)
            return
        if len(self._frontier):
            logger.info("Going on with the job in %s: %d pages pending", self._folder, len(self._frontier))
            if self._frontier.reads_pickles:
                logger.info("An earlier version has stored pages of this job: they are read, as only you wrote them")
            self._context.report.pages.go_on()
        self._context.install()
        self._context.on_stop(self._freeze)
        self._context.page_ends.keep_in(self)

    def _leave_spider_state(self) -> None:
        """Keep Scrapy from reading `spider.state`, a pickle, in a folder that was refused."""
        if (extension := self._crawler.get_extension(SpiderState)) is not None:
            self._crawler.signals.disconnect(extension.spider_opened, signals.spider_opened)
            self._crawler.signals.disconnect(extension.spider_closed, signals.spider_closed)

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
            if self._number_held > 1:
                logger.warning("%d requests were kept in memory, not in JOBDIR", self._number_held)
            for url, why in self._frontier.earlier_failures():
                self._context.report.count_page_failure(url, why)
            self._frontier.close(finished=reason == "finished")
        except MachineError as error:
            self._context.stop_for(error)

    def has_pending_requests(self) -> bool:
        """Return whether a page is pending or under way: a page under way may yield further pages."""
        return self._frontier is not None and (len(self._frontier) > 0 or bool(self._leases or self._held))

    def enqueue_request(self, request: Request) -> bool:
        """Store a request. Return whether it was added to the frontier.

        A request that JSON cannot represent is kept in memory. While there is one, no page is marked as done, so that
        a crash costs no page: the page that has yielded it is crawled again.
        """
        assert self._frontier is not None
        fingerprint = self._crawler.request_fingerprinter.fingerprint(request)
        kind = _kind(request)
        try:
            data = request_to_bytes(request, self._crawler.spider)
        except UnstorableRequest as error:
            reason = str(error)
        else:
            reason = ""
        try:
            if reason:
                added = self._hold(request, fingerprint, kind, reason)
            else:
                added = self._frontier.add(fingerprint, data, priority=request.priority, kind=kind)
        except MachineError as error:
            self._context.stop_for(error)
            return False
        self._count("enqueued" if added else "filtered")
        return added

    def _hold(self, request: Request, fingerprint: bytes, kind: int, reason: str) -> bool:
        """Keep a request in memory; return False if the page was seen before."""
        assert self._frontier is not None
        page_id = self._frontier.hold(fingerprint, kind=kind)
        if page_id is None:
            return False
        heapq.heappush(self._held, (-request.priority, page_id, request))
        self._number_held += 1
        self._count("enqueued/memory")
        if self._number_held == 1:
            logger.warning(
                "Request kept in memory, not in JOBDIR: %s: %s. Its page is crawled, but after a stop the page is"
                " crawled again that has led to it. Make its callback a method of the spider, and its meta and"
                " cb_kwargs plain values",
                redact_url(request.url),
                reason,
            )
        return True

    def next_request(self) -> Request | None:
        """Return the next page, leased; None if too many are under way, none is pending, or the crawl stops."""
        assert self._frontier is not None
        if self._context.stopping:
            return None
        try:
            self._settle()
            found = self._taken()
        except MachineError as error:
            self._context.stop_for(error)
            return None
        if found is None:
            return None
        page_id, request = found
        self._context.page_ends.begin_anew(request)
        self._leases[page_id] = request
        self._count("dequeued")
        return request

    def _taken(self) -> tuple[int, Request] | None:
        """Take the next page; those in memory first, as other pages are done only after them."""
        assert self._frontier is not None
        if self._held:
            _, page_id, request = heapq.heappop(self._held)
            self._in_memory.add(page_id)
            return page_id, request
        while len(self._leases) < MAX_LEASES and (page := self._frontier.lease()) is not None:
            try:
                return page.id, self._read(page.data)
            except UnreadableRequest as error:  # the page stays leased, so that the next run tries it again
                logger.error("A page of the job folder %s cannot be read: %s", self._folder, error)
                self._context.report.count_page_failure(f"a page of {self._folder}", f"cannot be read: {error}")
        return None

    def _read(self, data: bytes) -> Request:
        assert self._frontier is not None
        if not is_pickled(data):
            return request_from_bytes(data, self._crawler.spider)
        if not self._frontier.reads_pickles:
            raise UnreadableRequest("it is a pickle, and another user may have written it")
        return request_from_pickle(data, self._crawler.spider)

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
        if through and not self._held and self._in_memory.issubset(through):
            self._frontier.done(through)
            self._in_memory.clear()
            for page_id in through:
                del self._leases[page_id]

    def _freeze(self) -> None:
        self._settle()
        self._frozen = True

    def _count(self, what: str) -> None:
        self._crawler.stats.inc_value(f"scheduler/{what}")


def _check_spider_state(folder: str | None) -> None:
    """Check the file of Scrapy's extension SpiderState, which it reads as a pickle: that runs the code in it.

    The folder is checked too, as the frontier may be in another one. A user who can write in it could replace the
    file after the check, and the extension writes to the file when the crawl ends.

    Raises:
        JobInUse: the file is a link, or another user may have written it.
        MachineError: the folder cannot be used, or other users may write in it.
    """
    if not folder:
        return
    try:
        open_job_folder(Path(folder))
    except OSError as error:
        raise disk_error(error, f"the job folder {folder}") from None
    path = Path(folder) / "spider.state"
    try:
        found = path.lstat()
    except OSError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or others_may_write(str(path), found):
        raise JobInUse(
            f"{path} may have been written by another user of this machine, and to read it could run code of that"
            " user: move it away and run the same command again"
        )


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
