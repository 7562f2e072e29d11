"""Sends batches of media through Scrapy: only the first file uses its downloader, the others reuse the connection.

The work of Scrapy's downloader for one request costs more than the transfer of a small file. Nearly all of this work
is the same for every file of a site: user agent, default headers, credentials, proxy, and the place in the slot. So
while more files of a site are wanted than the site has connections, several files share one pass through the
downloader. robots.txt is checked for each file; everything else is taken from the first file. A file passes through
Scrapy alone where the result would differ:

- with a delay, AutoThrottle, an HTTP cache, `DOWNLOAD_SLOTS`, `CLOSESPIDER_PAGECOUNT`, a downloader middleware that
  is not Scrapy's own, or a receiver of the downloader's signals about single requests;
- with cookies, a method, a body, meta or flags of its own;
- where robots.txt forbids the file.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydispatch import dispatcher
from scrapy import Request, signals
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.http.request import NO_CALLBACK

from mediacrawl.crawl.context import WANTED, RequestDropped, Wanted, fields_of
from mediacrawl.download.records import Fetched
from mediacrawl.errors import Interrupted, MachineError, TransferError, failure_of
from mediacrawl.fetch.host_queue import kind_of_line
from mediacrawl.store.parts import PartInUse

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from mediacrawl.crawl.context import CrawlContext
    from mediacrawl.download.records import Outcome
    from mediacrawl.fetch.host_queue import Batch
    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.fetch.resources import FetchResources

logger = logging.getLogger(__name__)

ANSWERED_ELSEWHERE = "a downloader middleware answered, and not the network"
# Meta that does not change a request: keys of mediacrawl, and keys that stock media pipelines set on each request.
_PLAIN_META = {
    "allow_offsite",
    "verbatim_url",
    "handle_httpstatus_list",
    "handle_httpstatus_all",
    "dont_retry",
    "dont_cache",
    WANTED,
}
_SITE_AND_PATH = re.compile(r"([^/?#]*//[^/?#]*)([^?#]*)")  # RFC 3986 B; `urlsplit` costs more than the rest
_WITHOUT_A_SAY = ("scrapy.downloadermiddlewares.", "mediacrawl.middlewares")  # modules of middlewares
_PER_REQUEST = (
    signals.request_reached_downloader,
    signals.request_left_downloader,
    signals.response_received,
    signals.response_downloaded,
    signals.headers_received,
    signals.bytes_received,
)


@dataclass(slots=True)
class Carrier:
    """The facts about a file that Scrapy's downloader needs.

    Attributes:
        request: Scrapy's request; None if the file has no more than a URL and its own headers.
        offsite: the host need not be among the allowed domains.
        problem: the exception that a project's code raised for the request. The request is then not sent.
        response: set when the file has been fetched, as the middlewares left it.
    """

    request: Request | None = None
    offsite: bool = False
    problem: Exception | None = None
    response: Response | None = None

    def keep(self, response: Response) -> None:
        """Keep the response for the caller that supplied the request."""
        if self.request is not None:
            self.response = response

    def lead(self, file: FileRequest) -> Request:
        """Return the request for a file in the form that Scrapy needs."""
        request = self.request
        if request is None:
            # latin-1 restores the original bytes.
            headers = {name: value.encode("latin-1") for name, value in file.transfer.headers}
            meta: dict[str, Any] = {"media_page": file.page} if file.page else {}
            if self.offsite:
                meta["allow_offsite"] = True
            request = request_as_sent(file.transfer.url, meta, headers=headers)
        request.meta.update(dont_retry=True, dont_cache=True)
        return request


def request_as_sent(url: str, meta: dict[str, Any] | None = None, **more: Any) -> Request:
    """Return a request that has exactly this URL, also where Scrapy would encode or drop a part of it.

    Raises:
        ValueError: the URL has no scheme.
    """
    request = Request(url, meta=meta, callback=NO_CALLBACK, **more)
    if request.url == url:
        return request
    return Request(url, meta={**(meta or {}), "verbatim_url": True}, callback=NO_CALLBACK, **more)


def place_of(request: FileRequest) -> tuple[str, str]:
    """Return the name of a file's host queue, and the kind of its subqueue.

    The name consists of the origin, the downloader slot that a project has chosen, and whether the file may be
    offsite.
    """
    found = _SITE_AND_PATH.match(request.transfer.url)
    site, path = found.groups() if found is not None else ("", "")
    sent = request.carrier.request
    slot = sent.meta.get("download_slot") if sent is not None else None
    if slot is not None:  # chosen by a project: the slot has its own pace
        site = f"{site} {slot}"
    return f"{site}{' offsite' * request.carrier.offsite}", kind_of_line(request, path)


class BatchDispatcher:
    """Sends batches through the downloader of a crawl.

    Attributes:
        may_batch: several files may share one pass through the downloader.
    """

    def __init__(self, crawler: Crawler, crawl_context: CrawlContext, resources: FetchResources) -> None:
        self._crawler = crawler
        self._context = crawl_context
        self._resources = resources
        self._robots = crawler.get_downloader_middleware(RobotsTxtMiddleware)
        self.may_batch = _may_batch(crawler)

    def is_batchable(self, request: Request) -> bool:
        """Return whether a pipeline's request is like others of its site, so that several may share a pass."""
        return (
            self.may_batch
            and request.method == "GET"
            and not (request.body or request.cookies or request.flags or "Cookie" in request.headers)
            and all(name in _PLAIN_META or name.startswith("media_") for name in request.meta)
        )

    async def send(self, batch: Batch) -> list[Outcome | None]:
        """Fetch a batch. Return the outcome of each file; None for the files that were not begun."""
        first, *others = batch.requests
        request = first.carrier.lead(first)
        followers = await self._obedient(request, others)
        wanted = Wanted(self._resources, [one.transfer for one in (first, *followers)])
        request.meta[WANTED] = wanted
        outcome: Outcome
        try:
            response = await self._context.download(request)
            first.carrier.keep(response)
            if response.request is not None and response.request.meta.get(WANTED) is not wanted:
                wanted.give_up()  # the response belongs to another request, made by a middleware
            outcome = wanted.fetched or TransferError(first.url, ANSWERED_ELSEWHERE)
            if not first.batchable and isinstance(outcome, Fetched):
                outcome = outcome._replace(headers=fields_of(response))
        except (RequestDropped, asyncio.CancelledError):
            wanted.give_up()
            return [Interrupted(request.url)] * len(batch.requests)
        except Exception as error:
            wanted.release()
            is_ours = isinstance(error, TransferError | MachineError | Interrupted | PartInUse)
            outcome = error if is_ours else failure_of(first.url, error)
        finally:
            request.meta.pop(WANTED, None)
        try:
            self._count(wanted)
        except Exception:  # raised by a project's own statistics class
            logger.exception("The statistics have raised: %d files are missing there", len(wanted.outcomes))
        came = dict(zip((one.key for one in followers), wanted.outcomes, strict=False))
        return [outcome, *(_judged(one, came.get(one.key)) for one in others)]

    async def _obedient(self, request: Request, others: list[FileRequest]) -> list[FileRequest]:
        """Return the requests that robots.txt allows.

        The other requests are checked again, and refused, when they are first in a batch.
        """
        if self._robots is None or not others:
            return others
        try:
            parser = await self._robots.robot_parser(request)
            if parser is None:
                return others
            return [one for one in others if parser.allowed(one.transfer.url, self._agent(one))]
        except Exception:  # abandoned, or an error in other code: each file is checked alone
            return []

    def _agent(self, request: FileRequest) -> str:
        """Return the user agent for which robots.txt is evaluated, as Scrapy's middleware chooses it."""
        assert self._robots is not None
        own = {name.lower(): value for name, value in request.transfer.headers}
        agent = self._robots._robotstxt_useragent  # noqa: SLF001
        return agent or own.get("user-agent") or self._robots._default_useragent  # noqa: SLF001

    def _count(self, wanted: Wanted) -> None:
        """Add the followers to Scrapy's statistics, as if each had passed through the downloader alone."""
        fetched = [outcome for outcome in wanted.outcomes if isinstance(outcome, Fetched)]
        if not wanted.outcomes:
            return
        stats = self._crawler.stats
        stats.inc_value("downloader/request_count", len(wanted.outcomes))
        stats.inc_value("downloader/request_method_count/GET", len(wanted.outcomes))
        stats.inc_value("downloader/response_count", len(fetched))
        stats.inc_value("response_received_count", len(fetched))
        for status in {outcome.status for outcome in fetched}:
            count = sum(outcome.status == status for outcome in fetched)
            stats.inc_value(f"downloader/response_status_count/{status}", count)


def _judged(request: FileRequest, outcome: Outcome | None) -> Outcome | None:
    """Return the outcome of a follower; an unexpected exception becomes a failure of that file."""
    if outcome is None or isinstance(outcome, Fetched | TransferError | MachineError | Interrupted | PartInUse):
        return outcome
    return failure_of(request.url, outcome)


def _may_batch(crawler: Crawler) -> bool:
    settings = crawler.settings
    assert crawler.engine is not None
    middlewares: Any = crawler.engine.downloader.middleware.middlewares
    return (
        not (settings.getfloat("DOWNLOAD_DELAY") or settings.getbool("AUTOTHROTTLE_ENABLED"))
        and not (settings.getbool("HTTPCACHE_ENABLED") or settings.getdict("DOWNLOAD_SLOTS"))
        and not settings.getint("CLOSESPIDER_PAGECOUNT")
        and all(type(middleware).__module__.startswith(_WITHOUT_A_SAY) for middleware in middlewares)
        and not any(is_listened_to(crawler, signal) for signal in _PER_REQUEST)
    )


def is_listened_to(crawler: Crawler, signal: object) -> bool:
    """Return whether a signal has a receiver that belongs neither to Scrapy nor to mediacrawl."""
    receivers = dispatcher.liveReceivers(dispatcher.getAllReceivers(crawler.signals.sender, signal))
    modules = [str(getattr(receiver, "__module__", "")) for receiver in receivers]
    return any(not module.startswith(("scrapy.", "mediacrawl.")) for module in modules)
