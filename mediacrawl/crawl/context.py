"""The only module that changes Scrapy's engine.

Media requests go through `engine.download_async`, so that the politeness of Scrapy's downloader applies to media too:
robots.txt, cookies, user agent, proxies, slots, delays, AutoThrottle, statistics. Only the last step differs: a
request that carries a `Wanted` is passed to the transfer pool instead of Scrapy's own HTTP handler.

The changes are made on the engine's instance, so that a project that only replaces its `FilesPipeline` needs no other
setting:

- `downloader.handlers`: passes media to the transfer pool, and delays requests to hosts that requested a pause;
- `downloader.fetch`: all open requests can be abandoned at once, so that a stop takes seconds;
- `downloader.needs_backout`: long media files do not use up the concurrency of pages;
- `engine.crawl`, the scheduler's `enqueue_request`, the spider middlewares' `get_processed_request`: pages that
  are left out are counted;
- `engine.close_spider_async`: every way of stopping a crawl calls this method, and no earlier notification exists;
- the robots.txt middleware's `robot_parser`: every request that waits for a robots.txt gets the parsed file.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from scrapy import Request, signals
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import DownloadFailedError, IgnoreRequest
from scrapy.http import Headers, Response
from scrapy.http.request import NO_CALLBACK
from scrapy.spidermiddlewares.base import BaseSpiderMiddleware
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool

from mediacrawl import config
from mediacrawl.crawl.page_connections import PageConnections
from mediacrawl.crawl.page_cookies import PageCookies
from mediacrawl.crawl.page_ends import PageEnds
from mediacrawl.crawl.page_network import PageNetwork, proxy_of
from mediacrawl.crawl.page_retries import PageRetries
from mediacrawl.crawl.recent_robots import RecentRobots
from mediacrawl.crawl.referrer_policies import policy_name
from mediacrawl.crawl.semaphores import KeyedSemaphore
from mediacrawl.download.cookies import Cookies
from mediacrawl.download.records import unlock
from mediacrawl.download.retry import HostPauses
from mediacrawl.errors import Interrupted, MachineError, RobotsUnknown, TransferError, UsageProblem, redact_url
from mediacrawl.fetch.batch_size import BATCH_S
from mediacrawl.fetch.paused_hosts import PausedHosts
from mediacrawl.fetch.resources import backoff_of, connection_limit_of, cookies_of
from mediacrawl.fetch.stats import RunStats
from mediacrawl.urls import HTTP_SCHEMES
from mediacrawl.urls.referrer import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Self

    from scrapy.crawler import Crawler

    from mediacrawl.crawl.page_contents import PageContents
    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.records import Fetched, Outcome, TransferRequest
    from mediacrawl.fetch.resources import FetchResources

logger = logging.getLogger(__name__)

WANTED = "mediacrawl_wanted"  # the key in Request.meta
_SOON_S = 0.05
_ASKED_ENOUGH_S = 30.0  # then a transfer releases its slot, so that requests waiting for the slot can go on
_BRIDGES: WeakKeyDictionary[Crawler, CrawlContext] = WeakKeyDictionary()


class RequestDropped(IgnoreRequest):
    """The request was dropped because the run is stopping: neither a failure nor a response."""


@dataclass(slots=True)
class Wanted:
    """The files that a request is for, and the outcome of each.

    Attributes:
        transfers: the transfer of the request itself; then transfers of the same site, to be fetched right after it
            over the same connection. They have only their own headers, without the headers that middlewares add to
            all requests of a site.
        fetched: set when the first file has been fetched. Its part file is locked until it is published.
        outcomes: the outcomes of the other transfers that were begun, in their order.
        elapsed_s: the duration of all transfers together, in seconds.
    """

    resources: FetchResources
    transfers: Sequence[TransferRequest]
    fetched: Fetched | None = None
    outcomes: Sequence[Outcome] = ()
    elapsed_s: float = 0.0

    def only_first(self) -> None:
        """Remove the transfers after the first: each of them gets a request of its own."""
        self.transfers = self.transfers[:1]

    def answer(self, outcomes: Sequence[Outcome], elapsed_s: float) -> Fetched:
        """Record the outcomes of the transfers. Return the outcome of the first.

        Raises:
            BaseException: the error because of which the first file was not fetched.
        """
        first, *self.outcomes = outcomes
        self.elapsed_s = elapsed_s
        if isinstance(first, BaseException):
            raise first
        self.fetched = first
        return first

    def release(self) -> None:
        """Close the first part file without publishing it. The part file stays for the next run."""
        unlock(self.fetched)

    def give_up(self) -> None:
        """Close all part files without publishing them, and discard the outcomes."""
        for outcome in (self.fetched, *self.outcomes):
            unlock(outcome)
        self.fetched, self.outcomes = None, ()


class CrawlContext:
    """The state that mediacrawl keeps for one crawl, and the notification that the crawl stops.

    Attributes:
        stopping: the crawl is being closed before its regular end. A page or file that ends from then on does not
            count as done.
        report: the counts of this run.
        page_ends: is told how pages end.
        pauses: the hosts that requested a pause, for pages and media alike.
        paused: the hosts for which pages or media wait now, for the progress display.
        limit: the connections that may be open to each host, for pages and media together; None without a limit.
        recent_robots: the large robots.txt files that are held in parsed form.
        contents: the contents of pages that were read before a spider parses them, see `PageReader`.
        cookies: the cookies of media.
        page_cookies: joins these with the cookies of pages; None before `install`, and for a crawl without cookies.
        pages: the connections of pages; None before `install`.
        stall_s: the time within which a robots.txt has to come: all files of its host wait for it.
        longest_pause_s: the longest pause that is waited for, in seconds. If a host requests a longer pause, its
            pages fail, as its media do.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._open: dict[Deferred[Any], Request] = {}
        self._media: set[Request] = set()
        self._on_stop: list[Callable[[], None]] = []
        self._look_is_due = False
        self.stopping = False
        self.report = RunStats()
        self.page_ends = PageEnds(crawler, self.report)
        self.pauses = HostPauses()
        self.paused = PausedHosts()
        self.longest_pause_s = config.RETRY_AFTER_MAX_S.of(crawler.settings)
        self.stall_s = config.STALL_S.of(crawler.settings)
        self.resources: list[FetchResources] = []
        self.limit = connection_limit_of(crawler.settings)
        self.recent_robots = RecentRobots()
        self.contents: WeakKeyDictionary[Response, PageContents] = WeakKeyDictionary()
        self.refused: UsageProblem | None = None  # the first pipeline that opens closes the crawl because of it
        try:
            self.cookies = cookies_of(crawler.settings)
        except UsageProblem as error:
            self.cookies, self.refused = Cookies(), error
        self.page_cookies: PageCookies | None = None
        self.pages: PageConnections | None = None
        self._robots: RobotsTxtMiddleware | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[asyncio.Task[Any]] = set()

    @classmethod
    def of(cls, crawler: Crawler) -> CrawlContext:
        """Return the context of a crawler; all components of the crawler share one context."""
        context = _BRIDGES.get(crawler)
        if context is None:
            context = _BRIDGES[crawler] = cls(crawler)
        return context

    def install(self) -> None:
        """Connect to the engine; a repeated call does nothing. Call it from a component's `open` or later."""
        engine = self._crawler.engine
        assert engine is not None
        if isinstance(engine.downloader.handlers, _Handlers):
            return
        self._loop = asyncio.get_running_loop()
        self._robots = self._crawler.get_downloader_middleware(RobotsTxtMiddleware)
        if self._robots is not None:
            _ask_once(self._robots)
        cookies = self._crawler.get_downloader_middleware(CookiesMiddleware)
        self.page_cookies = PageCookies.of(cookies, self.cookies, self._loop)
        downloader: Any = engine.downloader
        self.pages = PageConnections(self.limit, partial(_close_idle, downloader.handlers))
        network = PageNetwork(self._crawler)
        self.on_stop(network.stop)
        self._crawler.signals.connect(network.close, signals.engine_stopped)
        page_maxsize_bytes = config.PAGE_MAXSIZE.of(self._crawler.settings)
        downloader.handlers = _Handlers(downloader, self, network, page_maxsize_bytes)
        downloader.fetch = self._abandonable(downloader.fetch)
        total = downloader.total_concurrency
        downloader.needs_backout = lambda: 0 < total <= len(downloader.active) - len(self._media)
        self._wrap_close(engine)
        self._count_page_ends(engine)
        for signal in (signals.item_scraped, signals.item_dropped, signals.item_error):
            self._crawler.signals.connect(self._item_through, signal)

    async def download(self, request: Request) -> Response:
        """Send a media request through Scrapy's downloader.

        Raises:
            RequestDropped: the crawl is stopping. This replaces every exception of Scrapy during a stop: its engine
                (2.19) raises `AlreadyCalledError` for each request that ends after the last request it knows of.
        """
        engine = self._crawler.engine
        if self.stopping or engine is None:
            raise RequestDropped("the crawl is stopping")
        try:
            return await engine.download_async(request)
        except MachineError:
            raise
        except Exception:
            if self.stopping:
                raise RequestDropped("the crawl is stopping") from None
            raise

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Register a callback to be called once when a stop begins, before any request is abandoned."""
        self._on_stop.append(callback)

    def may_follow(self, request: TransferRequest, url: str, cancel: Cancel) -> str | None:
        """Return why a transfer may not be redirected to `url`; None if the redirect is allowed.

        The crawl's robots.txt middleware decides, as for pages. The method blocks for up to 30 s; it is for transfer
        threads, see `Downloader.may_follow`.

        Raises:
            RobotsUnknown: the robots.txt of the target must be fetched first, while no transfer holds a slot for it.
            Interrupted: the crawl is stopping, or has ended.
        """
        if self._robots is None or self._loop is None:
            return None
        sent = {name: value for name, value in request.headers if name.lower() == "user-agent"}
        answer, target = _Answer(), Request(redact_url(url), headers=sent)
        try:
            self._loop.call_soon_threadsafe(lambda: self._ask(self._answer(answer, target)))
        except RuntimeError:  # the loop is closed
            raise Interrupted(request.url) from None
        with cancel.watch(answer):
            try:
                return answer.result(_ASKED_ENOUGH_S)
            except CancelledError:
                raise Interrupted(request.url) from None
            except TimeoutError:
                raise _unasked(target.url) from None

    def referrer_policy(self, request: Request) -> str:
        """Return the name of the referrer policy for a media request."""
        return policy_name(self._crawler, request)

    def page_retries(self) -> PageRetries:
        """Return the object that repeats the requests of pages."""
        settings = self._crawler.settings
        most = config.CONCURRENT_REQUESTS_PER_DOMAIN.of(settings) or math.inf
        return PageRetries(self._crawler, backoff_of(settings), self.pauses, self.paused, most)

    async def learn_robots(self, url: str) -> None:
        """Fetch the robots.txt of a URL's host, if it is not known yet."""
        if self._robots is not None and not self.stopping:
            await asyncio.shield(self._ask(self._robots.robot_parser(Request(url))))

    async def _answer(self, answer: _Answer, target: Request) -> None:
        try:
            if self.stopping:
                raise Interrupted(target.url)
            why_not = await self._why_not(target)
        except Exception as error:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
        else:
            if answer.set_running_or_notify_cancel():
                answer.set_result(why_not)

    async def _why_not(self, target: Request) -> str | None:
        assert self._robots is not None
        # A separate task, which is never cancelled: other requests may wait for the same robots.txt.
        learning = self._ask(self._robots.robot_parser(target))
        await asyncio.sleep(0)  # now the task is done, if the robots.txt is known
        if not learning.done() and self._holds_media(target):
            raise _unasked(target.url)
        await asyncio.shield(learning)
        try:
            await self._robots.process_request(target)
        except IgnoreRequest as error:
            return str(error)
        return None

    def _ask(self, question: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(question)
        self._asking.add(task)  # an event loop keeps only weak references to its tasks
        task.add_done_callback(self._asking.discard)
        return task

    def _holds_media(self, request: Request) -> bool:
        """Return whether media hold places in a request's slot.

        A transfer that holds a place in the slot and waits for a second place may wait for ever.
        """
        assert self._crawler.engine is not None
        downloader = self._crawler.engine.downloader
        slot = downloader.slots.get(downloader.get_slot_key(request))
        return slot is not None and any(WANTED in active.meta for active in slot.active)

    def _item_through(self, response: Any) -> None:
        if response is None:
            self._look_soon()

    def _look_soon(self) -> None:
        # Delayed, because the scraper counts an item as active until its signals have been sent. One check is also
        # enough for all items of a long list that end in the meantime.
        if not self._look_is_due:
            self._look_is_due = True
            asyncio.get_running_loop().call_later(_SOON_S, self._look)

    def _look(self) -> None:
        """Have the engine check, after a start item, whether the crawl has ended.

        By itself the engine (2.19) checks only after a response. A finished crawl would then end with the next
        heartbeat, up to 5 s later; a stopped crawl would never end.
        """
        self._look_is_due = False
        engine: Any = self._crawler.engine
        slot, items = getattr(engine, "_slot", None), engine.scraper.slot
        if slot is None:
            return
        if not self.stopping:
            slot.nextcall.schedule()
        elif items.closing is None or not items.is_idle():
            self._look_soon()
        elif not items.closing.called:
            items.closing.callback(self._crawler.spider)

    def stop_for(self, error: MachineError) -> None:
        """Report once that this machine cannot go on, and close the crawl so that all of it can be resumed."""
        if self.report.fatal is not None:
            return
        self.report.give_up(error)
        logger.error("%s", error)
        engine = self._crawler.engine
        if engine is not None and engine.spider is not None and not self.stopping:
            task = asyncio.ensure_future(engine.close_spider_async(reason=type(error).__name__))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _wrap_close(self, engine: Any) -> None:
        close = engine.close_spider_async

        async def close_spider_async(*, reason: str = "cancelled") -> None:
            if reason != "finished":
                if self.report.fatal is None:
                    # CLOSESPIDER_ITEMCOUNT closes the crawl from an item's signal, just before the item's page is
                    # done. If the page did not count as done, the next run would fetch the same pages and close at
                    # the same place.
                    await asyncio.sleep(_SOON_S)
                    if engine.spider is None:  # the crawl ended by itself before the stop
                        return
                self._stop()
            await close(reason=reason)

        engine.close_spider_async = close_spider_async

    def _count_page_ends(self, engine: Any) -> None:
        ends, scheduler = self.page_ends, engine._slot.scheduler  # noqa: SLF001
        ends.connect()
        scheduler.enqueue_request = ends.noting_reached(scheduler.enqueue_request)
        engine.crawl = ends.counting_refused(engine.crawl)
        for middleware in engine.scraper.spidermw.middlewares:
            if isinstance(middleware, BaseSpiderMiddleware):
                middleware.get_processed_request = ends.counting_dropped(middleware)  # type: ignore[method-assign]

    def _stop(self) -> None:
        if self.stopping:
            return
        self.stopping = True
        self.report.stop()
        for callback in self._on_stop:
            callback()
        for resources in self.resources:
            resources.pool.stop()
            resources.archive.ledger.hurry()
        if self.pages is not None:
            self.pages.stop(RequestDropped("the crawl is stopping"))
        self._look_soon()
        for given_up in list(self._open):
            if not given_up.called:
                given_up.errback(Failure(RequestDropped("the crawl is stopping")))

    def _abandonable(self, fetch: Callable[[Request], Deferred[Any]]) -> Callable[[Request], Deferred[Any]]:
        """Return a `fetch` with a result that can be abandoned while Scrapy's own `fetch` still waits."""

        def fetch_or_give_up(request: Request) -> Deferred[Any]:
            outer: Deferred[Any] = Deferred()
            self._open[outer] = request
            wanted = request.meta.get(WANTED)
            if wanted is not None:
                self._media.add(request)

            def through(result: Any) -> None:
                self._open.pop(outer, None)
                self._media.discard(request)
                if outer.called:
                    if wanted is not None:
                        wanted.give_up()
                elif isinstance(result, Failure):
                    if wanted is None and not isinstance(result.value, RequestDropped):
                        self.page_ends.count_exception(request, result.value)
                    outer.errback(result)
                else:
                    if isinstance(result, Request):
                        self.page_ends.replaced(result)
                    outer.callback(result)

            if self.stopping:
                outer.errback(Failure(RequestDropped("the crawl is stopping")))
                self._open.pop(outer)
                self._media.discard(request)
                return outer
            fetch(request).addBoth(through)
            return outer

        return fetch_or_give_up


class _Answer(Future["str | None"]):
    """The result that a transfer thread waits for; a stop cancels the wait."""

    def abort(self) -> None:
        self.cancel()


def _unasked(target: str) -> RobotsUnknown:
    return RobotsUnknown(target, "the robots.txt of a redirect's target is not known yet", target=target)


def _ask_once(robots: Any) -> None:
    """Have the robots.txt middleware give the parsed file to every request that waits for it.

    By itself the middleware (2.19) gives the parsed robots.txt only to the first two requests. Each later request is
    told that there is no robots.txt, and may then be sent to a forbidden URL.

    A large file is parsed in another thread, see `RobotsFile`, and one after another. The requests get the file in
    parsed form: it can be asked, even if it is not held for later requests any more.
    """
    ask = robots.robot_parser
    asking: dict[str, asyncio.Task[Any]] = {}
    one_at_a_time = asyncio.Lock()

    async def robot_parser(request: Request) -> Any:
        parser = await found(request)
        parse_ahead = getattr(parser, "parse_ahead", None)  # a project may have a parser of its own
        if parse_ahead is None:
            return parser
        if (parsed := parser.parsed) is None:
            async with one_at_a_time:
                parsed = await parse_ahead()
        return parsed

    async def found(request: Request) -> Any:
        site = urlsplit(request.url).netloc
        known = robots._parsers.get(site, asking)  # noqa: SLF001 - `asking` stands for "not known yet"
        if known is not asking and not isinstance(known, Deferred):
            return known
        if site not in asking:
            asking[site] = asyncio.ensure_future(ask(request))
            asking[site].add_done_callback(lambda _: asking.pop(site))
        return await asyncio.shield(asking[site])

    robots.robot_parser = robot_parser


class _Handlers:
    """Scrapy's download handlers, except that media go to the transfer pool."""

    def __init__(
        self, downloader: Any, crawl_context: CrawlContext, network: PageNetwork, page_maxsize_bytes: int
    ) -> None:
        self._downloader = downloader
        self._network = network
        self._handlers = downloader.handlers
        self._context = crawl_context
        self._page_maxsize = page_maxsize_bytes
        self._gate = KeyedSemaphore()
        self._retries = crawl_context.page_retries()

    async def download_request_async(self, request: Request) -> Response:
        # Scrapy 2.19 starts the complete queue of a slot in one iteration of the event loop, because it counts a
        # request as transferring only when its task runs (measured: 60 requests at once where
        # CONCURRENT_REQUESTS_PER_DOMAIN was 2).
        key = str(request.meta.get("download_slot", ""))
        slot = self._downloader.slots.get(key)
        if slot is not None and self._context.limit is not None:
            self._context.limit.allow(urlsplit(request.url).hostname or "", slot.concurrency, key)
        async with self._gate.place(key, slot.concurrency if slot is not None else 0):
            if self._context.stopping:
                raise RequestDropped("the crawl is stopping")
            wanted: Wanted | None = request.meta.get(WANTED)
            if wanted is None:
                return await self._page(request)
            own_cookies = "Cookie" in request.headers and self._context.page_cookies is None
            if slot is None or slot.delay or own_cookies:
                wanted.only_first()  # each file is requested at its own time, with its own cookies
            return await self._media(request, wanted)

    async def _media(self, request: Request, wanted: Wanted) -> Response:
        if wanted.fetched is not None:  # otherwise a failed request is retried
            wanted.give_up()
            raise TransferError(request.url, "a downloader middleware requested it again after it was complete")
        started = time.monotonic()
        with self._network.proxy_chosen(request) as environment_proxy:
            transfers = transfers_of(
                request,
                wanted,
                self._context.page_cookies,
                environment_proxy=environment_proxy,
                referrer_policy=self._context.referrer_policy(request),
            )
        budget_s = BATCH_S if len(transfers) > 1 else math.inf
        outcomes = await asyncio.wrap_future(wanted.resources.pool.submit(transfers, budget_s))
        first = wanted.answer(outcomes, time.monotonic() - started)
        # AutoThrottle needs the time to the head of the response; a transfer with several requests counts as slow.
        request.meta["download_latency"] = first.latency_s or wanted.elapsed_s
        return MediaResponse.of(request, first)

    async def _page(self, request: Request) -> Response:
        if self._page_maxsize:
            request.meta.setdefault("download_maxsize", self._page_maxsize)
        if request.callback is NO_CALLBACK:  # a robots.txt: without one, the site may be crawled
            limit_s = request.meta.get("download_timeout") or math.inf
            request.meta["download_timeout"] = min(limit_s, self._context.stall_s)
            return await self._sent_page(request)
        return await self._retries.send(request, partial(self._sent_page, request))

    async def _sent_page(self, request: Request) -> Response:
        pauses, pages = self._context.pauses, self._context.pages
        assert pages is not None
        if self._context.stopping:  # during a pause
            raise RequestDropped("the crawl is stopping")
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        await self._wait_for_quiet_end(host)
        async with pages.connection(host if parts.scheme in HTTP_SCHEMES else ""):
            await self._wait_for_quiet_end(host)  # the wait for a connection may have been long
            response = await self._downloaded(request)
        fields = {
            name: value.decode("latin-1")
            for name in ("retry-after", "date")
            if (value := response.headers.get(name)) is not None
        }
        longest_s = self._context.longest_pause_s
        if (pauses.heed(host, response.status, fields, longest_s=longest_s) or 0.0) > longest_s:
            request.meta["dont_retry"] = True  # Scrapy would repeat the request at once
        return response

    async def _downloaded(self, request: Request) -> Response:
        try:
            with self._network.proxy_chosen(request):
                return await self._network.download(request, self._handlers)
        except MachineError as error:
            self._context.stop_for(error)
            raise RequestDropped(str(error)) from None

    async def _wait_for_quiet_end(self, host: str) -> None:
        while (pause_s := self._context.pauses.remaining_s(host)) > 0:  # the pause may be prolonged meanwhile
            if pause_s > self._context.longest_pause_s:
                raise DownloadFailedError(f"{host} asked for a pause for {pause_s:.0f} s more")
            await asyncio.sleep(pause_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handlers, name)


def _close_idle(handlers: Any, host: str, but_for: int) -> bool:
    """Close the idle connections that Scrapy's handlers keep to a host, except for `but_for` of them.

    Handlers of another kind keep their connections, because these cannot be identified.

    Returns:
        Whether a connection was closed.
    """
    closed = False
    for handler in handlers._handlers.values():  # noqa: SLF001
        pool: Any = getattr(handler, "_pool", None)
        if not isinstance(pool, HTTPConnectionPool):
            continue
        for key, idle in list(pool._connections.items()):  # noqa: SLF001
            if key[1].decode("ascii", "replace").lower() != host:
                continue
            for connection in list(idle):
                if but_for > 0:
                    but_for -= 1
                    continue
                pool._removeConnection(key, connection)  # noqa: SLF001
                connection.transport.loseConnection()
                closed = True
    return closed


class MediaResponse(Response):
    """The head of a media response; the body is on the disk.

    Attributes:
        fields: the headers, with lower-case names and text values, until the first access to `headers`. `headers` is
            built then, and may be changed. Most files get their names without this access.
    """

    __slots__ = ("fields",)

    def __init__(self, *args: Any, fields: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields = fields

    @classmethod
    def of(cls, request: Request, fetched: Fetched) -> Self:
        return cls(fetched.url or request.url, fetched.status, request=request, fields=fetched.headers)

    @property
    def headers(self) -> Headers:
        if self.fields is not None:
            fields, self.fields = self.fields, None
            self._headers = Headers({name: [value] for name, value in fields.items()}, encoding="latin-1")
        if self._headers is None:
            self._headers = Headers()
        return self._headers

    @headers.setter
    def headers(self, value: Any) -> None:
        self.fields = None
        self._headers = value if isinstance(value, Headers) else Headers(value or {})


def fields_of(response: Response | None) -> Mapping[str, str]:
    """Return the headers of a response as middlewares and projects left them, as text with lower-case names."""
    if isinstance(response, MediaResponse) and response.fields is not None:
        return response.fields
    if response is None:
        return {}
    return {
        name.decode("latin-1").lower(): values[0].decode("latin-1")
        for name, values in response.headers.items()
        if values
    }


def transfers_of(
    request: Request,
    wanted: Wanted,
    cookies: PageCookies | None = None,
    *,
    environment_proxy: bool,
    referrer_policy: str = DEFAULT_POLICY,
) -> list[TransferRequest]:
    """Return the transfer of a request as its middlewares left it, then the transfers that follow.

    Each follower has the headers that the middlewares set on the request, and its own headers. `environment_proxy`
    says that the environment has named the proxy, or none.
    """
    first, *followers = wanted.transfers
    jar = cookies.number_of(request.meta) if cookies is not None else None
    of_jar = cookies.field(jar, request.url) if cookies is not None and jar is not None else ""
    headers, proxy = _with_own_cookie(dict(headers_of(request)), first, of_jar), proxy_of(request)
    own = {name.lower() for name, _ in first.headers}
    of_site = {name: value for name, value in headers.items() if name.lower() not in own}
    over = lru_cache(maxsize=16)(partial(_over, of_site))  # files of one page have equal own headers
    leader = first._replace(
        url=request.url,
        headers=tuple(headers.items()),
        proxy=proxy,
        environment_proxy=environment_proxy,
        max_bytes=request.meta.get("download_maxsize"),
        jar=jar,
        referrer_policy=referrer_policy,
    )
    return [
        leader,
        *(
            one._replace(
                headers=over(one.headers),
                proxy=proxy,
                environment_proxy=environment_proxy,
                jar=jar,
                referrer_policy=referrer_policy,
            )
            for one in followers
        ),
    ]


def _with_own_cookie(headers: dict[str, str], wanted: TransferRequest, of_jar: str) -> dict[str, str]:
    """Return the headers with the file's own cookies, and without those of the jar, which the transfer adds itself.

    Scrapy's middleware replaces a Cookie header by a header that has only the crawl's cookies. Like all cookies of a
    header, the file's own are sent only to the origin of the URL.
    """
    own = next((value for name, value in wanted.headers if name.lower() == "cookie"), "")
    sent = next((name for name in headers if name.lower() == "cookie"), "Cookie")
    known = {pair.partition("=")[0] for pair in (*own.split("; "), *of_jar.split("; "))}
    others = [pair for pair in headers.get(sent, "").split("; ") if pair and pair.partition("=")[0] not in known]
    if not (own or others):
        return {name: value for name, value in headers.items() if name != sent}
    return headers | {sent: "; ".join([*others, own] if own else others)}


def headers_of(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the headers of a request as a transfer sends them."""
    return tuple(
        (name.decode("latin-1"), b", ".join(values).decode("latin-1"))
        for name, values in request.headers.items()
        if values and name.lower() != b"proxy-authorization"
    )


def _over(of_site: dict[str, str], own: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if not own:
        return tuple(of_site.items())
    names = {name.lower() for name, _ in own}
    return (*((name, value) for name, value in of_site.items() if name.lower() not in names), *own)
