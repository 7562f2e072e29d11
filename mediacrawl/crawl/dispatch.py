"""Sends batches of media through Scrapy: the first file takes the whole way, the others follow over its connection.

What Scrapy's downloader does for one request costs more than to fetch a small file. Of what it does, nearly all
is the same for every file of a site: user agent, default headers, credentials, proxy, and the place in the slot. So
while more files of a site are wanted than it has connections, several of them share one pass: robots.txt is asked
for each, the rest is as the first has it. A file takes Scrapy's way alone where that would not be the same:

- with a delay, AutoThrottle, an HTTP cache, `DOWNLOAD_SLOTS`, a downloader middleware that is not Scrapy's own, or
  somebody who listens to what the downloader tells of each request;
- with cookies, a method, meta or flags of its own;
- where robots.txt says no.
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
# Meta that says nothing about how to ask: ours, and what stock media pipelines set for each of their requests.
_PLAIN_META = {"allow_offsite", "handle_httpstatus_list", "handle_httpstatus_all", "dont_retry", "dont_cache", WANTED}
_SITE_AND_PATH = re.compile(r"([^/?#]*//[^/?#]*)([^?#]*)")  # RFC 3986 B; `urlsplit` costs more than all else here
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
    """What Scrapy's downloader needs to know of a file.

    Attributes:
        request: None where nothing but the URL and headers of its own is to be known.
        offsite: the host need not be among the allowed domains.
        problem: what a project's code raised when it was asked about the request: it is not sent.
        response: set when the file has been fetched, as the middlewares left it.
    """

    request: Request | None = None
    offsite: bool = False
    problem: Exception | None = None
    response: Response | None = None

    def keep(self, response: Response) -> None:
        """Keep the answer, for who gave the request."""
        if self.request is not None:
            self.response = response

    def lead(self, file: FileRequest) -> Request:
        """Return the request for a file as Scrapy wants it."""
        request = self.request
        if request is None:
            # The bytes that they had.
            headers = {name: value.encode("latin-1") for name, value in file.transfer.headers}
            meta: dict[str, Any] = {"media_page": file.page} if file.page else {}
            if self.offsite:
                meta["allow_offsite"] = True
            request = Request(file.transfer.url, headers=headers, meta=meta, callback=NO_CALLBACK)
        request.meta.update(dont_retry=True, dont_cache=True)
        return request


def place_of(request: FileRequest) -> tuple[str, str]:
    """Name the host of a file, and the kind of its line.

    The host is its origin, the slot of the downloader that a project has chosen, and whether it may be offsite.
    """
    found = _SITE_AND_PATH.match(request.transfer.url)
    site, path = found.groups() if found is not None else ("", "")
    sent = request.carrier.request
    slot = sent.meta.get("download_slot") if sent is not None else None
    if slot is not None:  # of a project: it has its own pace
        site = f"{site} {slot}"
    return f"{site}{' offsite' * request.carrier.offsite}", kind_of_line(request, path)


class BatchDispatcher:
    """Sends batches through the downloader of a crawl.

    Attributes:
        may_batch: several files may share a pass.
    """

    def __init__(self, crawler: Crawler, crawl_context: CrawlContext, resources: FetchResources) -> None:
        self._crawler = crawler
        self._context = crawl_context
        self._resources = resources
        self._robots = crawler.get_downloader_middleware(RobotsTxtMiddleware)
        self.may_batch = _may_batch(crawler)

    def is_batchable(self, request: Request) -> bool:
        """Return whether a pipeline's request is like any other of its site."""
        return (
            self.may_batch
            and request.method == "GET"
            and not (request.body or request.cookies or request.flags or "Cookie" in request.headers)
            and all(name in _PLAIN_META or name.startswith("media_") for name in request.meta)
        )

    async def send(self, batch: Batch) -> list[Outcome | None]:
        """Fetch a batch. Return what came of each file; None for those that were not begun."""
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
                wanted.give_up()  # this is the answer to another request, that a middleware has made
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
        except Exception:  # the statistics of a project
            logger.exception("The statistics have raised: %d files are missing there", len(wanted.outcomes))
        came = dict(zip((one.key for one in followers), wanted.outcomes, strict=False))
        return [outcome, *(_judged(one, came.get(one.key)) for one in others)]

    async def _obedient(self, request: Request, others: list[FileRequest]) -> list[FileRequest]:
        """Those that robots.txt does not mind. The others are asked about when they lead, and refused."""
        if self._robots is None or not others:
            return others
        try:
            parser = await self._robots.robot_parser(request)
            if parser is None:
                return others
            return [one for one in others if parser.allowed(one.transfer.url, self._agent(one))]
        except Exception:  # given up, or a mistake of somebody: each is asked about alone
            return []

    def _agent(self, request: FileRequest) -> str:
        """The name that robots.txt is asked for, as Scrapy's middleware chooses it."""
        assert self._robots is not None
        own = {name.lower(): value for name, value in request.transfer.headers}
        agent = self._robots._robotstxt_useragent  # noqa: SLF001
        return agent or own.get("user-agent") or self._robots._default_useragent  # noqa: SLF001

    def _count(self, wanted: Wanted) -> None:
        """The followers in Scrapy's statistics, as if each had taken the whole way."""
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
    """What came of a follower; a mistake of ours is a failure of that file."""
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
        and all(type(middleware).__module__.startswith("scrapy.downloadermiddlewares.") for middleware in middlewares)
        and not any(is_listened_to(crawler, signal) for signal in _PER_REQUEST)
    )


def is_listened_to(crawler: Crawler, signal: object) -> bool:
    """By somebody who is not Scrapy's own, nor ours."""
    receivers = dispatcher.liveReceivers(dispatcher.getAllReceivers(crawler.signals.sender, signal))
    modules = [str(getattr(receiver, "__module__", "")) for receiver in receivers]
    return any(not module.startswith(("scrapy.", "mediacrawl.")) for module in modules)
