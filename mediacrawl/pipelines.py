"""item -> ledger -> downloader -> item: a drop-in for Scrapy's `FilesPipeline`."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, cast

from itemadapter import ItemAdapter
from scrapy import Request
from scrapy.exceptions import CloseSpider, DropItem
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.pipelines.files import FilesPipeline
from scrapy.pipelines.media import FileInfo, FileInfoOrError, MediaPipeline
from scrapy.spidermiddlewares.referer import RefererMiddleware
from scrapy.utils.defer import ensure_awaitable
from scrapy.utils.misc import arg_to_iter
from twisted.python.failure import Failure as TwistedFailure

from mediacrawl import config
from mediacrawl.archive import Publish, Unchanged, Want
from mediacrawl.bridge import WANTED, Bridge, GivenUp, MediaResponse, Wanted, headers_of, in_words, let_go
from mediacrawl.bulk import Bulk, UnderWay, Wish
from mediacrawl.convoys import Convoys, Traveller
from mediacrawl.download.exchange import MAX_REDIRECTS, origin_of
from mediacrawl.download.request import Fetched
from mediacrawl.errors import (
    Interrupted,
    MachineError,
    NotFetchable,
    RedirectUnasked,
    TransferError,
    UsageProblem,
    shown_url,
)
from mediacrawl.ledger.ledger import DONE, Entry
from mediacrawl.naming import key_of_url, wished_path
from mediacrawl.opening import store_of
from mediacrawl.refetch import DAY_S, RefetchPolicy, is_noted
from mediacrawl.store.partfile import PartInUse
from mediacrawl.tally import MediaError, Tally, info_of, status_of
from mediacrawl.threads import start_thread
from mediacrawl.urls import Origin
from mediacrawl.wiring import Works
from mediacrawl.wishes import (
    hide_credentials,
    note_options,
    plain_url,
    request_for,
    says_more,
    wanted_of,
    wish_of,
    without_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    from mediacrawl.download.request import Outcome
    from mediacrawl.store.base import Store

logger = logging.getLogger(__name__)


class MediaFilesPipeline(FilesPipeline):
    """Scrapy's `FilesPipeline`, resumable.

    The same settings (`FILES_STORE`, `FILES_URLS_FIELD`, `FILES_RESULT_FIELD`, `FILES_EXPIRES`,
    `MEDIA_ALLOW_REDIRECTS`, each also with the class name as prefix), the same methods to override
    (`get_media_requests`, `file_path`, `item_completed`), the same results:

    - `files`: `{url, path, checksum, status}`; `checksum` is the sha256 in hex, `status` one of `downloaded`,
      `resumed` (some bytes were here before), `uptodate` (no byte travelled);
    - `file_errors`: `{url, reason}` of what did not arrive.

    After a crash nothing is half: a path in the store is a whole file, a partial one is continued by the next run.
    """

    DEFAULT_FILES_ERRORS_FIELD = "file_errors"
    store: Store  # type: ignore[assignment]

    def __init__(self, store_uri: str | PathLike[str], download_func: None = None, *, crawler: Crawler) -> None:
        self._durable = config.SYNC.of(crawler.settings)
        # Read by Scrapy, which has no message for what is no whole number.
        config.FILES_EXPIRES.of(
            crawler.settings, self._key_for_pipe("FILES_EXPIRES", "FilesPipeline", crawler.settings)
        )
        super().__init__(store_uri, download_func, crawler=crawler)
        self._bridge = Bridge.of(crawler)
        self._works: Works | None = None
        self._tally: Tally | None = None
        self._under_way: UnderWay = {}
        self._retry_permanent_days = config.RETRY_PERMANENT_DAYS.of(crawler.settings)
        errors_key = self._key_for_pipe("FILES_ERRORS_FIELD", "FilesPipeline", crawler.settings)
        self.files_errors_field: str = crawler.settings.get(errors_key, self.DEFAULT_FILES_ERRORS_FIELD)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """`FILES_STORE` of the settings, a folder; `downloads` unless set."""
        return cls(config.FILES_STORE.of(crawler.settings), crawler=crawler)

    def _get_store(self, uri: str) -> Store:  # type: ignore[override]
        return store_of(uri, durable=self._durable)

    def open_spider(self, spider: Any = None) -> None:
        """Open the store. A store that cannot be used closes the crawl before any request."""
        self.spiderinfo = self.SpiderInfo(cast("Any", self.crawler.spider))
        try:
            _refuse_empty_slots(self.crawler.settings)
            self._works = Works(
                self.crawler.settings, self.store, pauses=self._bridge.pauses, limit=self._bridge.limit
            )
        except (MachineError, UsageProblem) as error:
            self._bridge.report.fatal = error
            logger.error("%s", error)
            raise CloseSpider(type(error).__name__) from None
        self._tally = Tally(
            self.crawler,
            self._works,
            refetch=RefetchPolicy(self.expires * DAY_S, self._retry_permanent_days * DAY_S),
            count_status=self._count_status,
        )
        self._works.ask_before_redirects(self._bridge.may_follow)
        self._bridge.works.append(self._works)
        self._bridge.install()

    def _count_status(self, status: str, count: int) -> None:
        """`inc_stats`, which a project may have of its own, for many files at once."""
        if getattr(self.inc_stats, "__func__", None) is not FilesPipeline.inc_stats:
            for _ in range(count):
                self.inc_stats(status)
            return
        stats = self.crawler.stats
        stats.inc_value("file_count", count)
        stats.inc_value(f"file_status_count/{status}", count)

    async def close_spider(self, spider: Any = None) -> None:
        """Carry out what is queued, and close the ledger."""
        if self._works is None:
            return
        if "bulk" in self.__dict__ and self.bulk is not None:
            await self.bulk.drain()
        self._works.hand_over()
        try:
            await asyncio.wrap_future(start_thread(self._works.close, "close"))
        except MachineError as error:
            self._bridge.stop_for(error)

    # The way of one item

    async def process_item(self, item: Any, spider: Any = None) -> Any:
        """Fetch what the item wants; the item comes back when each file is there, or is known not to come."""
        outcomes = await self._outcomes(item, self.spiderinfo)
        # A page must not count as done before it is known what became of its files.
        if not await self.tally.all_noted():
            raise DropItem("the ledger cannot be written, the next run goes on here", log_level="DEBUG")
        results: list[FileInfoOrError] = []
        for outcome in outcomes:
            if isinstance(outcome, Interrupted | asyncio.CancelledError):
                raise DropItem("interrupted, the next run goes on here", log_level="DEBUG")
            if isinstance(outcome, BaseException):
                results.append((False, TwistedFailure(outcome)))
            else:
                results.append((True, outcome))
        hide_credentials(ItemAdapter(item), self.files_urls_field)
        return self.item_completed(results, item, self.spiderinfo)

    async def _outcomes(self, item: Any, info: MediaPipeline.SpiderInfo) -> list[FileInfo | BaseException]:
        """What came of each file, in the order of the item."""
        wishes = self._plain_wishes(ItemAdapter(item))
        if wishes is None:
            requests = list(arg_to_iter(self.get_media_requests(item, info)))
            self._bridge.report.count_wanted(len(requests))
            return await asyncio.gather(*(self._outcome(r, info, item) for r in requests), return_exceptions=True)
        assert self.bulk is not None
        files = self.bulk.bring(wishes)
        if files:
            await asyncio.wait(files)
        return [
            file.exception() or FileInfo(**(file.result() | {"url": wish.url}))
            for wish, file in zip(wishes, files, strict=True)
        ]

    def _plain_wishes(self, adapter: ItemAdapter) -> list[Wish] | None:
        """The files of an item that can take the short way; None where each is to have a request of its own."""
        if self.bulk is None or says_more(adapter):
            return None
        page = adapter.get("page")
        if page and not self._has_stock_policy:
            return None
        wishes = []
        referers: dict[Origin | None, tuple[tuple[str, str], ...]] = {}
        for raw in self._urls(adapter):
            if (url := plain_url(raw)) is None:
                return None
            origin = Origin.of(url)
            if origin not in referers:
                referers[origin] = self._referer(url, str(page)) if page else ()
            wishes.append(Wish(key_of_url(url), url, referers[origin], str(page) if page else None))
        return wishes

    async def _outcome(self, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        """One file. Whoever wants the same one meanwhile waits for the first to bring it."""
        errback = request.errback
        request = without_credentials(request)
        request.callback, request.errback = NO_CALLBACK, None
        key = self.media_key(request)
        try:
            if (first := self._under_way.get(key)) is not None:
                self._bridge.report.count_wanted(-1)  # counted once
                info_of_first = await asyncio.shield(first)
                return FileInfo(**(info_of_first | {"url": request.url}))
            return await self._bring_shared(key, request, info, item)
        except (Interrupted, asyncio.CancelledError):
            raise
        except Exception:
            if errback is None:
                raise
            return cast("FileInfo", errback(TwistedFailure()))

    async def _bring_shared(self, key: str, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        shared: asyncio.Future[FileInfo] = asyncio.get_running_loop().create_future()
        self._under_way[key] = shared
        self.tally.expect(key)
        try:
            file_info = await self._bring(request, info, item)
            self.tally.conclude(key, request.url, None)
            shared.set_result(file_info)
            return file_info
        except BaseException as error:
            self.tally.conclude(key, request.url, error)
            shared.set_exception(error)
            shared.exception()  # seen: nobody else may be waiting
            raise
        finally:
            del self._under_way[key]

    async def _bring(self, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        while True:
            if self._bridge.stopping:
                raise Interrupted(request.url)
            try:
                return await self._redirected(request, info, item)
            except PartInUse as in_use:  # another process brings it: ask the ledger again when it is through
                await asyncio.sleep(in_use.ask_after_s)
            except (Interrupted, MediaError):
                raise
            except MachineError as error:
                self._bridge.stop_for(error)
                raise Interrupted(str(error)) from None
            except GivenUp:
                raise Interrupted(request.url) from None
            except Exception:
                # Ours raises; that of a project may return what stands for the file, or a failure.
                outcome: Any = cast("Any", self).media_failed(TwistedFailure(), request, info)
                if isinstance(outcome, TwistedFailure):
                    outcome.raiseException()
                return cast("FileInfo", outcome)

    async def _redirected(self, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        for _ in range(MAX_REDIRECTS):
            try:
                return await self._known_or_fetched(request, info, item)
            except RedirectUnasked as error:  # its place is free now
                await self._bridge.learn_robots(error.target)
        return await self._known_or_fetched(request, info, item)

    async def _known_or_fetched(self, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        known = await ensure_awaitable(self.media_to_download(request, info, item=item))
        if known is not None:
            return known
        self._modify_media_request(request)
        wanted = cast("Wanted", request.meta[WANTED])
        joins, has_joined = self.convoys.may_join(request), False
        try:
            response = await (self._join(request, wanted) if joins else self._bridge.download(request))
            has_joined = joins
            return await ensure_awaitable(self.media_downloaded(response, request, info, item=item))
        finally:
            request.meta.pop(WANTED, None)
            wanted.release()
            if has_joined and wanted.fetched is not None and wanted.fetched.part is not None:
                self.convoys.release(1)

    async def _join(self, request: Request, wanted: Wanted) -> Response:
        """Send a request through Scrapy's downloader together with others of its site."""
        future: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()

        def arrived(_: Traveller, outcome: Outcome) -> None:
            if future.done():  # nobody waits for it any more
                let_go(outcome)
                self.convoys.release(int(isinstance(outcome, Fetched) and outcome.part is not None))
            elif isinstance(outcome, Fetched):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        self.convoys.add([Traveller(wanted, arrived, request, bool(request.meta.get("allow_offsite")))])
        wanted.fetched = await future
        return MediaResponse.of(request, wanted.fetched)

    # What Scrapy's media pipelines let a project override

    def media_key(self, request: Request) -> str:
        """What identifies a wanted file: `media_key` of the request's meta, of the spider, or the canonical URL."""
        key = request.meta.get("media_key")
        of_spider = getattr(self.crawler.spider, "media_key", None)
        if key is None and of_spider is not None:
            key = of_spider(request.url)
        return str(key or key_of_url(request.url))

    def get_media_requests(self, item: Any, info: MediaPipeline.SpiderInfo) -> list[Request]:
        """A request for each URL of the item.

        An item with one URL may say more about it: `filename`, `sha256`, `md5`, `referer`, `headers`. `page` is
        where the links were found; it becomes the Referer, as far as `REFERRER_POLICY` lets it.
        """
        adapter = ItemAdapter(item)
        requests = [request_for(url) for url in self._urls(adapter)]
        single = len(requests) == 1
        offsite = getattr(self.crawler.spider, "media_offsite", False)
        for request in requests:
            if offsite:
                request.meta["allow_offsite"] = True
            note_options(request, adapter, single=single)
            if single and isinstance(headers := adapter.get("headers"), dict):
                request.headers.update(headers)
        self._add_referers(requests)
        return requests

    async def media_to_download(  # type: ignore[override]
        self, request: Request, info: MediaPipeline.SpiderInfo, *, item: Any = None
    ) -> FileInfo | None:
        """Ask the ledger; None means that it is to be fetched, and prepares the request for that."""
        works = self.works
        key = self.media_key(request)
        origin_of(request.url)  # raises for what is no http or https URL, before anything is asked
        if request.method != "GET":
            raise NotFetchable(request.url, f"only GET can be resumed, not {request.method}")
        entry = await works.questions.ask(key)
        if entry is not None and self.tally.is_finished(entry):
            return self._present(request, entry)
        self.tally.refuse_known_failure(key, request.url, entry, again=bool(request.meta.get("media_again")))
        done = entry if entry is not None and entry.state == DONE else None
        if not is_noted(entry):
            works.changes.tell(Want(self._entry(request, key)))
        request.meta[WANTED] = wanted_of(request, key, works, done, allow_redirects=self.allow_redirects)
        # Our loop retries and follows redirects by itself, and there is no body that a cache could keep.
        request.meta.update(dont_retry=True, dont_cache=True)
        return None

    async def media_downloaded(
        self, response: Response, request: Request, info: MediaPipeline.SpiderInfo, *, item: Any = None
    ) -> FileInfo:
        """The bytes are whole and verified: give them their name and note them in the ledger."""
        wanted = cast("Wanted", request.meta[WANTED])
        fetched = wanted.fetched
        if fetched is None:  # a middleware answered instead of the network
            raise TransferError(request.url, "a downloader middleware answered, and not the network")
        works = self.works
        if fetched.part is None:
            await works.changes.ask(Unchanged(self._entry(request, wanted.key)))
            known = await works.questions.ask(wanted.key)
            assert known is not None
            return self._present(request, known)
        path = self.file_path(request, response=response, info=info, item=item)
        published = await works.changes.ask(Publish(self._entry(request, wanted.key, path), fetched))
        self.tally.arrived([(published, fetched)])
        return info_of(request.url, published, status_of(fetched))

    def media_failed(self, failure: TwistedFailure, request: Request, info: MediaPipeline.SpiderInfo) -> NoReturn:
        """Note why, in the ledger, the log and the report; raises `MediaError`."""
        assert failure.value is not None
        raise self.tally.failed(self._entry(request, self.media_key(request)), failure.value)

    def file_path(
        self,
        request: Request,
        response: Response | None = None,
        info: MediaPipeline.SpiderInfo | None = None,
        *,
        item: Any = None,
    ) -> str:
        """`<spider>/<host>/<name>`; the name from the list, Content-Disposition or the URL.

        What an override returns is made safe, and numbered if another URL has that path already.
        """
        headers: Mapping[str, str] = {}
        if isinstance(response, MediaResponse) and response.fields is not None:
            headers = response.fields
        elif response is not None:
            headers = {
                name.decode("latin-1").lower(): values[0].decode("latin-1")
                for name, values in response.headers.items()
                if values
            }
        return wished_path(self._owner(request), request.url, headers, request.meta.get("media_filename"))

    def item_completed(self, results: list[FileInfoOrError], item: Any, info: MediaPipeline.SpiderInfo) -> Any:
        """Put `files` and `file_errors` into the item, where it has such fields."""
        adapter = ItemAdapter(item)
        with suppress(KeyError):
            adapter[self.files_result_field] = [value for ok, value in results if ok]
        with suppress(KeyError):
            adapter[self.files_errors_field] = [_error_info(value) for ok, value in results if not ok]
        return item

    # Details

    @cached_property
    def convoys(self) -> Convoys:
        """Those of this crawl."""
        return Convoys(self.crawler, self._bridge, self.works.concurrent, self.works.most_open_parts)

    @cached_property
    def bulk(self) -> Bulk | None:
        """The short way, None where a project has one of its own."""
        has_own = type(self) is not MediaFilesPipeline or getattr(self.crawler.spider, "media_key", None)
        if has_own or not self.convoys.may_form:
            return None
        return Bulk(
            self.crawler,
            self.works,
            self.convoys,
            self.tally,
            self._under_way,
            allow_redirects=self.allow_redirects,
        )

    @property
    def tally(self) -> Tally:
        """The books; there from `open_spider` on."""
        assert self._tally is not None
        return self._tally

    @property
    def works(self) -> Works:
        """Store, ledger and transfers; there from `open_spider` on."""
        assert self._works is not None
        return self._works

    def _entry(self, request: Request, key: str, path: str | None = None) -> Entry:
        return Entry(
            key,
            shown_url(request.url),
            page=request.meta.get("media_page"),
            spider=self._owner(request),
            wish=wish_of(request),
            path=path,
        )

    def _owner(self, request: Request) -> str:
        """The spider that a file belongs to, which is not the one that retries it."""
        spider = self.crawler.spider
        return str(request.meta.get("media_owner") or (spider.name if spider else "files"))

    def _urls(self, adapter: ItemAdapter) -> list[str]:
        urls = adapter.get(self.files_urls_field, [])
        if not isinstance(urls, list):
            raise TypeError(f"{self.files_urls_field} must be a list of URLs, got {type(urls).__name__}.")
        return urls

    def _present(self, request: Request, entry: Entry) -> FileInfo:
        self.tally.present(entry.key)
        return info_of(request.url, entry, "uptodate")

    def _referer(self, url: str, page: str) -> tuple[tuple[str, str], ...]:
        """The header, as far as the policy lets it."""
        request = Request(url)
        self._add_page(request, page)
        return headers_of(request)

    def _add_referers(self, requests: Sequence[Request]) -> None:
        """What the item says, else the page as far as the policy lets it."""
        known: dict[tuple[str, Origin | None], bytes | None] = {}
        for request in requests:
            if referer := request.meta.get("media_referer"):
                request.headers.setdefault("Referer", referer)
            elif page := request.meta.get("media_page"):
                # Scrapy's policies look at no more of the target than its origin.
                place = page, Origin.of(request.url)
                if place not in known or not self._has_stock_policy:
                    self._add_page(request, page)
                    known[place] = request.headers.get("Referer")
                elif (referer := known[place]) is not None:
                    request.headers.setdefault("Referer", referer)

    def _add_page(self, request: Request, page: str) -> None:
        if self._referers is not None:
            self._referers.get_processed_request(request, Response(page))

    @cached_property
    def _referers(self) -> RefererMiddleware | None:
        return self.crawler.get_spider_middleware(RefererMiddleware)

    @cached_property
    def _has_stock_policy(self) -> bool:
        stock = RefererMiddleware.__module__
        return type(self._referers) is RefererMiddleware and self._referers.default_policy.__module__ == stock


def _refuse_empty_slots(settings: BaseSettings) -> None:
    """Raise `UsageProblem` where a slot may have no request at all: Scrapy (2.19) sends nothing then, for ever."""
    for name, slot in settings.getdict("DOWNLOAD_SLOTS").items():
        if slot.get("concurrency", 1) == 0:
            raise UsageProblem(
                f"DOWNLOAD_SLOTS: with the concurrency 0 of {name} Scrapy sends nothing: choose 1 or more"
            )
    # The limit for an address goes before the one for a host.
    if not (config.CONCURRENT_REQUESTS_PER_DOMAIN.of(settings) or settings.getint("CONCURRENT_REQUESTS_PER_IP")):
        raise UsageProblem("CONCURRENT_REQUESTS_PER_DOMAIN=0: with that Scrapy sends nothing: choose 1 or more")


def _error_info(failure: Any) -> dict[str, str]:
    error = failure.value
    if isinstance(error, MediaError):
        return {"url": error.url, "reason": error.reason}
    return {"url": "", "reason": in_words(error)}
