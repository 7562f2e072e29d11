"""A drop-in replacement for Scrapy's `FilesPipeline`: item -> ledger -> downloader -> item."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, cast

from itemadapter import ItemAdapter
from scrapy import Request
from scrapy.exceptions import CloseSpider, DropItem
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.pipelines.files import FilesPipeline
from scrapy.spidermiddlewares.referer import RefererMiddleware
from scrapy.utils.defer import ensure_awaitable
from scrapy.utils.misc import arg_to_iter
from twisted.python.failure import Failure as TwistedFailure

from mediacrawl import config
from mediacrawl.backends import store_of
from mediacrawl.crawl.context import CrawlContext, MediaResponse, RequestDropped, fields_of, headers_of
from mediacrawl.crawl.items import (
    HYPERLINKS,
    file_request_of,
    hide_credentials,
    mask_headers,
    note_options,
    plain_request,
    plain_url,
    refusal_of,
    request_for,
    says_more,
    without_credentials,
)
from mediacrawl.crawl.polite_dispatch import ANSWERED_ELSEWHERE, BatchDispatcher, Carrier, place_of
from mediacrawl.crawl.results import MediaError, MediaPage, ResultCounter, info_of
from mediacrawl.errors import (
    Interrupted,
    MachineError,
    TransferError,
    UsageProblem,
    describe_error,
    failure_of,
    redact_url,
    writable,
)
from mediacrawl.fetch.aio import AsyncFetch, Crawl
from mediacrawl.fetch.filenames import preferred_path
from mediacrawl.fetch.names import is_wished
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.refetch import DAY_S, RefetchPolicy
from mediacrawl.fetch.request import INTERRUPTED, PAGE, FileRequest, FileResult
from mediacrawl.fetch.resources import FetchResources
from mediacrawl.sources.list_entry import key_problem
from mediacrawl.store.safe_paths import is_numbered, safe_relative_path
from mediacrawl.system.threads import start_thread
from mediacrawl.urls import Origin, key_of_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
    from os import PathLike
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.pipelines.media import FileInfo, FileInfoOrError, MediaPipeline
    from scrapy.settings import BaseSettings

    from mediacrawl.crawl.results import CountedFile
    from mediacrawl.download.records import Fetched
    from mediacrawl.store.base import Store

logger = logging.getLogger(__name__)

_FETCHED_KEY = "mediacrawl_fetched"  # keys in Request.meta
COUNTED = "media_counted"
R = TypeVar("R")
T = TypeVar("T")
_AT_ONCE = 2048  # files of an item that are handled in one step of the event loop
_KEPT_HOSTS = 256
# Methods that a project overrides to change how a file is fetched.
_HOOKS = ("get_media_requests", "media_to_download", "media_downloaded", "media_failed", "media_key", "file_path")


class _UnderWay(NamedTuple):
    """A file that is being fetched.

    Attributes:
        info: the result of the file; cancelled if its item was given up.
        counted: counts the results of the file.
        filename: name that the item gives for the file; None if it gives none.
    """

    info: asyncio.Future[FileInfo]
    counted: CountedFile
    filename: str | None


class MediaFilesPipeline(FilesPipeline):
    """Scrapy's `FilesPipeline`, resumable.

    The pipeline has the same settings (`FILES_STORE`, `FILES_URLS_FIELD`, `FILES_RESULT_FIELD`, `FILES_EXPIRES`,
    `MEDIA_ALLOW_REDIRECTS`, each also with the class name as prefix), the same methods to override
    (`get_media_requests`, `file_path`, `item_completed`) and the same results:

    - `files`: `{url, path, checksum, status}`; `checksum` is the sha256 in hex, `status` is `downloaded`, `resumed`
      (some bytes were in the store before) or `uptodate` (no byte of the file was transferred);
    - `file_errors`: `{url, reason}` of each file that failed.

    After a crash, each path in the store holds a complete file, and the next run continues the part files.
    """

    DEFAULT_FILES_ERRORS_FIELD = "file_errors"
    store: Store  # type: ignore[assignment]

    def __init__(self, store_uri: str | PathLike[str], download_func: None = None, *, crawler: Crawler) -> None:
        self._durable = config.FSYNC.of(crawler.settings)
        # Scrapy reads this setting, too, but has no message for a value that is no integer.
        config.FILES_EXPIRES.of(
            crawler.settings, self._key_for_pipe("FILES_EXPIRES", "FilesPipeline", crawler.settings)
        )
        super().__init__(store_uri, download_func, crawler=crawler)
        self._context = CrawlContext.of(crawler)
        self._resources: FetchResources | None = None
        self._result_counter: ResultCounter | None = None
        self._under_way: dict[str, _UnderWay] = {}  # by key: later requests wait for the first
        self._results: set[asyncio.Task[Any]] = set()  # results that are to be noted
        self._noting: set[asyncio.Task[FileResult]] = set()  # ledger writes of failures
        self._retry_permanent_days = config.RETRY_PERMANENT_DAYS.of(crawler.settings)
        errors_key = self._key_for_pipe("FILES_ERRORS_FIELD", "FilesPipeline", crawler.settings)
        self.files_errors_field: str = crawler.settings.get(errors_key, self.DEFAULT_FILES_ERRORS_FIELD)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the pipeline for the folder in `FILES_STORE`; `downloads` unless that is set."""
        return cls(config.FILES_STORE.of(crawler.settings), crawler=crawler)

    def _get_store(self, uri: str) -> Store:  # type: ignore[override]
        return store_of(uri, durable=self._durable)

    def open_spider(self, spider: Any = None) -> None:
        """Open the store and the ledger. If one of them cannot be used, close the crawl before any request."""
        self.spiderinfo = self.SpiderInfo(cast("Any", self.crawler.spider))
        try:
            if self._context.refused is not None:
                raise self._context.refused
            refuse_empty_slots(self.crawler.settings)
            self._resources = FetchResources(
                self.crawler.settings,
                self.store,
                pauses=self._context.pauses,
                limit=self._context.limit,
                may_follow=self._context.may_follow,
                cookies=self._context.cookies,
            )
        except (MachineError, UsageProblem) as error:
            self._context.report.give_up(error)
            logger.error("%s", error)
            raise CloseSpider(type(error).__name__) from None
        self._result_counter = ResultCounter(self.crawler, self._count_status)
        self._context.resources.append(self._resources)
        self._context.install()

    def _count_status(self, status: str, count: int) -> None:
        """Count several files at once; call `inc_stats` for each file if a project overrides that method."""
        if getattr(self.inc_stats, "__func__", None) is not FilesPipeline.inc_stats:
            try:
                for _ in range(count):
                    self.inc_stats(status)
            except Exception:
                logger.exception("inc_stats has raised: %d files may be missing in the statistics", count)
            return
        stats = self.crawler.stats
        stats.inc_value("file_count", count)
        stats.inc_value(f"file_status_count/{status}", count)

    async def close_spider(self, spider: Any = None) -> None:
        """Complete the queued work, and close the ledger."""
        if self._resources is None:
            return
        if "files" in self.__dict__:
            await self.files.drain()
        try:
            await asyncio.wrap_future(start_thread(self._resources.close, "close"))
        except MachineError as error:
            self._context.stop_for(error)

    # Processing of an item

    async def process_item(self, item: Any, spider: Any = None) -> Any:
        """Fetch the files of an item. Return the item when each file is in the store or has failed.

        Raises:
            DropItem: the run was interrupted; the next run continues with this item.
        """
        results: list[FileInfoOrError] = []
        is_through = True
        try:
            async for outcomes in self._outcomes_of_hooks(item) if self._has_hooks else self._outcomes(item):
                for outcome in outcomes:
                    if isinstance(outcome, Interrupted | asyncio.CancelledError):
                        raise DropItem("interrupted, the next run goes on here", log_level="DEBUG")
                    if isinstance(outcome, BaseException):
                        results.append((False, TwistedFailure(outcome)))
                    else:
                        results.append((True, outcome))
                self._request_pages([outcome for outcome in outcomes if isinstance(outcome, MediaPage)], item)
                if len(outcomes) == _AT_ONCE:
                    await asyncio.sleep(0)
            is_through = self._is_last
        finally:
            if ItemAdapter.is_item(item):
                self._hide_credentials(ItemAdapter(item), is_through=is_through)
        return self.item_completed(results, item, self.spiderinfo)

    @property
    def _is_last(self) -> bool:
        """Whether no later pipeline of mediacrawl sends the headers of an item again."""
        assert self.crawler.engine is not None
        ours = [
            one for one in self.crawler.engine.scraper.itemproc.middlewares if isinstance(one, MediaFilesPipeline)
        ]
        return not ours or ours[-1] is self

    def _hide_credentials(self, adapter: ItemAdapter, *, is_through: bool) -> None:
        """Mask the credentials of an item that goes on to feeds and logs; its headers once none is to be sent."""
        is_single = len(adapter.get(self.files_urls_field) or ()) == 1
        hide_credentials(adapter, self.files_urls_field, HYPERLINKS)
        if is_through and is_single:
            mask_headers(adapter)

    def _request_pages(self, pages: Sequence[MediaPage], item: Any) -> None:
        """Request the pages that hyperlinks lead to, as the spider's `linked_page(url, item)` wants.

        This is done before the item is through: a page of a job counts as done only after its items, so that a kill
        loses no request.
        """
        for page in pages:
            linked_page: Any = getattr(self.crawler.spider, "linked_page", None)
            if linked_page is None:
                self._context.report.site.note_page_alone()
            elif (request := linked_page(page.url, item)) is not None:
                self._add_page(request, str(ItemAdapter(item).get("page") or ""))
                assert self.crawler.engine is not None
                self.crawler.engine.crawl(request)

    async def _outcomes(self, item: Any) -> AsyncIterator[list[FileInfo | BaseException]]:
        """Yield the result or the error of each file, in the order of the item, some files at a time."""
        files: list[tuple[FileRequest, asyncio.Future[FileResult]]] = []
        adapter = ItemAdapter(item)
        with self._counting_lost(item):
            urls, hyperlinks = self._urls(adapter), _hyperlinks(adapter)
        for some in _batched(urls, _AT_ONCE) if len(urls) > _AT_ONCE else (urls,):
            with self._counting_lost(item):
                requests = self._plain_requests(adapter, some, hyperlinks)
                if requests is None:
                    of_item = self._media_requests(adapter, some, hyperlinks, single=len(urls) == 1)
                    requests = [self.file_request(one) for one in of_item]
            files.extend(zip(requests, self.files.fetch(requests), strict=True))
            if len(some) == _AT_ONCE:
                await self.files.wait_for_room()
                if self.stopping:
                    yield [Interrupted("stopped before all files of the item were requested")]
                    return
        for part in _batched(files, _AT_ONCE):
            if waiting := [future for _, future in part if not future.done()]:
                await asyncio.wait(waiting)
            yield [
                _info_or_error(request.transfer.url, self._own_result(request, future.result()))
                for request, future in part
            ]

    def _own_result(self, request: FileRequest, result: FileResult) -> FileResult:
        """Return the result of a request that may share it with others: a page is a failure where media is shown."""
        if result.status != PAGE or request.may_be_page:
            return result
        failed = FileResult.of_failure(request, result.reason)
        self._context.report.count_wanted(1)
        self._context.report.count_failure(failed.url, failed.reason)
        return failed

    def _plain_requests(
        self, adapter: ItemAdapter, urls: Sequence[str], hyperlinks: set[str]
    ) -> list[FileRequest] | None:
        """Return the requests for URLs of an item that gives only URLs and facts of the page; None for other items.

        None is also returned if the project has media keys or a referrer policy of its own.
        """
        page, page_encoding = (writable(str(adapter.get(name) or "")) for name in ("page", "page_encoding"))
        if self._has_own_keys or says_more(adapter) or (page and not self._has_stock_policy):
            return None
        requests: list[FileRequest] = []
        referers: dict[Origin | None, tuple[tuple[str, str], ...]] = {}
        for raw in urls:
            if (url := plain_url(raw)) is None:
                return None
            origin = Origin.of(url)
            if origin not in referers:
                referers[origin] = self._referer(url, page) if page else ()
            requests.append(
                self.plain_request(
                    url, referers[origin], page or None, page_encoding or None, may_be_page=raw in hyperlinks
                )
            )
        return requests

    @contextmanager
    def _counting_lost(self, item: Any) -> Iterator[None]:
        """Count an item as one failed file if an error hides the files that it wants; Scrapy logs the error."""
        try:
            yield
        except Exception as error:
            report = self._context.report
            report.count_wanted(1)
            page = ItemAdapter(item).get("page") if ItemAdapter.is_item(item) else None
            report.count_failure(
                writable(redact_url(str(page or "an item"))), f"its files are not known: {describe_error(error)}"
            )
            raise

    def plain_request(
        self,
        url: str,
        headers: tuple[tuple[str, str], ...] = (),
        page: str | None = None,
        page_encoding: str | None = None,
        *,
        may_be_page: bool = False,
    ) -> FileRequest:
        """Return the request for a URL without any other options than headers and page."""
        return plain_request(
            url,
            headers,
            page,
            page_encoding,
            carrier=self._plain_carrier,
            allow_redirects=self.allow_redirects,
            batchable=self._dispatcher.may_batch,
            may_be_page=may_be_page,
        )

    def file_request(self, request: Request) -> FileRequest:
        """Return the file request for a Scrapy request of `get_media_requests`."""
        request = without_credentials(request)
        request.callback = NO_CALLBACK
        return file_request_of(
            request,
            self._key_or_problem(request),
            allow_redirects=self.allow_redirects,
            batchable=self._dispatcher.is_batchable(request),
        )

    def _key_or_problem(self, request: Request) -> str | Exception:
        if Origin.of(request.url) is None:
            return request.url
        try:
            key = writable(str(self.media_key(request) or key_of_url(request.url)))
        except Exception as error:  # of a project: the error of one file must not be that of the complete item
            return error
        # The key of a row, which a retry gives, may contain the name of the file.
        problem = None if request.meta.get("media_owner") else key_problem(key)
        return TransferError(request.url, problem) if problem else key

    # Processing of a file with methods that a project overrides

    async def _outcomes_of_hooks(self, item: Any) -> AsyncIterator[list[FileInfo | BaseException]]:
        with self._counting_lost(item):
            requests = self._requests_of_item(item)
        while True:
            with self._counting_lost(item):
                some = list(islice(requests, _AT_ONCE))
            yield await self._outcomes_together(some, item)
            if len(some) < _AT_ONCE:
                return

    def _requests_of_item(self, item: Any) -> Iterator[Request]:
        """Return the requests of `get_media_requests`; unless a project overrides that, they are made one by one."""
        if type(self).get_media_requests is not MediaFilesPipeline.get_media_requests:
            return iter(list(arg_to_iter(self.get_media_requests(item, self.spiderinfo))))
        adapter = ItemAdapter(item)
        urls, hyperlinks = self._urls(adapter), _hyperlinks(adapter)
        parts = (
            self._media_requests(adapter, some, hyperlinks, single=len(urls) == 1) for some in _batched(urls, 64)
        )
        return chain.from_iterable(parts)

    async def _outcomes_together(self, requests: Sequence[Request], item: Any) -> list[FileInfo | BaseException]:
        info = self.spiderinfo
        self._context.report.count_wanted(len(requests))
        outcomes = await asyncio.gather(*(self._outcome(r, info, item) for r in requests), return_exceptions=True)
        # A page must not count as done before the results of its files are noted.
        noting = list(self._noting)
        if noting:
            await asyncio.wait(noting)
        self._noting.difference_update(noting)
        if any(one.cancelled() or one.exception() or one.result().status == INTERRUPTED for one in noting):
            raise DropItem("the ledger cannot be written, the next run goes on here", log_level="DEBUG")
        return outcomes

    async def _outcome(self, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        """Fetch one file. Later requests for the same file wait for the result of the first request."""
        try:
            if not isinstance(request, Request):
                raise TypeError(f"get_media_requests must return requests, got {type(request).__name__}")
            errback = request.errback
            request = without_credentials(request)
            request.callback, request.errback = NO_CALLBACK, None
            key = self.file_request(request).key
        except Exception as error:  # the value is no request
            self.result_counter.expect_result(str(getattr(request, "url", request))).conclude(error)
            raise
        try:
            while (first := self._under_way.get(key)) is not None:
                await asyncio.wait([first.info])
                # If it was cancelled, this request fetches the file.
                if not (first.info.cancelled() or self._wants_another_name(request, first)):
                    self._context.report.count_wanted(-1)  # the file counts once
                    info_of_first: Any = first.info.result()
                    is_info = isinstance(info_of_first, dict)  # a project's methods may return any type
                    return cast("FileInfo", info_of_first | {"url": request.url} if is_info else info_of_first)
            return await self._fetch_shared(key, request, info, item)
        except (Interrupted, asyncio.CancelledError):
            raise
        except Exception:
            if errback is None:
                raise
            return cast("FileInfo", errback(TwistedFailure()))

    @staticmethod
    def _wants_another_name(request: Request, first: _UnderWay) -> bool:
        """Return whether the first request has succeeded, and this request prescribes another name for the file."""
        filename = request.meta.get("media_filename")
        return bool(filename) and filename != first.filename and first.info.exception() is None

    async def _fetch_shared(self, key: str, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        counted = self.result_counter.expect_result(request.url)
        shared: asyncio.Future[FileInfo] = asyncio.get_running_loop().create_future()
        self._under_way[key] = _UnderWay(shared, counted, request.meta.get("media_filename"))
        request.meta[COUNTED] = counted
        try:
            file_info = await self._fetch_counted(request, info, item, counted)
            counted.conclude(None if file_info is not None else ValueError("the pipeline has returned None for it"))
            shared.set_result(file_info)
            return file_info
        except asyncio.CancelledError:
            shared.cancel()
            raise
        except BaseException as error:
            counted.conclude(error)
            shared.set_exception(error)
            shared.exception()  # marks it as retrieved: there may be no waiting request
            raise
        finally:
            request.meta.pop(COUNTED, None)
            del self._under_way[key]

    def _counted(self, request: Request, key: str) -> CountedFile:
        """Return the counter of the file that a method was called for, even if a project has replaced the request."""
        counted: CountedFile | None = request.meta.get(COUNTED)
        if counted is None and (under_way := self._under_way.get(key)) is not None:
            counted = under_way.counted
        if counted is None:  # a request that a project made itself
            self._context.report.count_wanted(1)
            counted = self.result_counter.expect_result(request.url)
        return counted

    async def _fetch_counted(
        self, request: Request, info: MediaPipeline.SpiderInfo, item: Any, counted: CountedFile
    ) -> FileInfo:
        if self.stopping:
            raise Interrupted(request.url)
        try:
            return await self._known_or_fetched(request, info, item)
        except (Interrupted, MediaError):
            raise
        except MachineError as error:
            self._context.stop_for(error)
            raise Interrupted(str(error)) from None
        except RequestDropped:  # a request that a project sent itself
            raise Interrupted(request.url) from None
        except Exception as error:
            # Our `media_failed` raises; an override may return a result for the file, or a failure.
            failed: Any = self.media_failed
            outcome = await self._returned(failed(TwistedFailure(), request, info))
            if outcome is None:
                counted.conclude(error)
            return cast("FileInfo", outcome)

    async def _returned(self, value: Any) -> Any:
        """Return the result of a project's method, awaited if necessary; raise the failure that it gives."""
        try:
            value = await ensure_awaitable(value)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.stopping or (task is not None and task.cancelling()):
                raise
            raise RuntimeError("a task that a method of the pipeline waited for was cancelled") from None
        if isinstance(value, TwistedFailure):
            value.raiseException()
        return value

    async def _known_or_fetched(self, request: Request, info: MediaPipeline.SpiderInfo, item: Any) -> FileInfo:
        known: FileInfo | None = await self._returned(self.media_to_download(request, info, item=item))
        if known:
            return known
        self._modify_media_request(request)
        file = self.file_request(request)
        fetched: Fetched | None = None
        try:
            result = await self.files.transfer(file)
        except TransferError:
            response = file.carrier.response
            if response is None:
                raise
        else:
            if isinstance(result, FileResult):  # another process has fetched the file
                self._counted(request, file.key).note_result()
                return info_of(request.url, result)
            fetched = result
            request.meta[_FETCHED_KEY] = file, fetched
            response = file.carrier.response or MediaResponse.of(request, fetched)
        try:
            downloaded: FileInfo = await self._returned(self.media_downloaded(response, request, info, item=item))
            return downloaded
        finally:
            request.meta.pop(_FETCHED_KEY, None)
            if fetched is not None:
                self.files.abandon(file, fetched)

    async def _noted(self, result: Coroutine[Any, Any, R], request: Request, key: str) -> R:
        """Wait for a result and note it. If the waiting task is cancelled, note the result when it is complete."""
        task = asyncio.ensure_future(result)
        self._results.add(task)

        def note(done: asyncio.Task[R]) -> None:
            self._results.discard(done)
            if done.cancelled() or done.exception() is not None:
                return
            came = done.result()
            if isinstance(came, FileResult) and came.status != INTERRUPTED:
                self._counted(request, key).note_result()

        task.add_done_callback(note)
        return await asyncio.shield(task)

    # Methods of Scrapy's media pipelines that a project may override

    def media_key(self, request: Request) -> str:
        """Return the key of a wanted file: `media_key` of the request's meta or of the spider, or the URL as sent."""
        key = request.meta.get("media_key")
        of_spider = getattr(self.crawler.spider, "media_key", None)
        if key is None and of_spider is not None:
            key = of_spider(request.url)
        return str(key or key_of_url(request.url))

    def get_media_requests(self, item: Any, info: MediaPipeline.SpiderInfo) -> list[Request]:
        """Return a request for each URL of the item.

        An item with one URL may have options for it: `filename`, `sha256`, `md5`, `referer`, `headers`. `page` is the
        URL of the page with the links; it becomes the Referer, as far as `REFERRER_POLICY` allows. `page_encoding` is
        the encoding of names that are not in UTF-8.
        """
        adapter = ItemAdapter(item)
        urls = self._urls(adapter)
        return self._media_requests(adapter, urls, _hyperlinks(adapter), single=len(urls) == 1)

    def _media_requests(
        self, adapter: ItemAdapter, urls: Sequence[str], hyperlinks: set[str], *, single: bool
    ) -> list[Request]:
        requests = [request_for(url) for url in urls]
        offsite = getattr(self.crawler.spider, "media_offsite", False)
        for url, request in zip(urls, requests, strict=True):
            if offsite:
                request.meta["allow_offsite"] = True
            if url in hyperlinks:
                request.meta["media_may_be_page"] = True
            note_options(request, adapter, single=single)
            if single and isinstance(headers := adapter.get("headers"), dict):
                request.headers.update(headers)
        self._add_referers(requests)
        return requests

    async def media_to_download(  # type: ignore[override]
        self, request: Request, info: MediaPipeline.SpiderInfo, *, item: Any = None
    ) -> FileInfo | None:
        """Look the file up in the ledger. Return its result, or None if it is to be fetched."""
        file = self.file_request(request)
        if (reason := self.result_counter.failure(file.key)) is not None:
            self._counted(request, file.key).note_known_result()
            raise MediaError(file.url, reason)
        if file.may_be_page and (reason := self.result_counter.page(file.key)) is not None:
            self._counted(request, file.key).note_known_result()
            raise MediaPage(file.url, reason)
        if (refusal := refusal_of(file)) is not None:
            raise refusal
        named = partial(self.file_path, request, info=info, item=item)
        result = await self._noted(self._named(self.files.look_up(file), file, named), request, file.key)
        return info_of(request.url, result) if result is not None else None

    async def _named(
        self, result: Coroutine[Any, Any, R], file: FileRequest, path_of: Callable[[], str], path: str = ""
    ) -> R | FileResult:
        """Return a result. If the file is present under another name than the item gives, it gets that name, too.

        `path` is the path of a file that was fetched; for another file, `path_of` returns it.
        """
        found = await result
        entry = found.entry if isinstance(found, FileResult) else None
        if entry is None or not file.filename or (not path and is_wished(file.filename, entry)):
            return found
        wished = safe_relative_path(str(path or path_of()))
        has_it = wished == entry.path or (bool(path) and is_numbered(entry.path or "", wished))
        return found if has_it else await self.files.link(file, entry, wished)

    async def media_downloaded(
        self, response: Response, request: Request, info: MediaPipeline.SpiderInfo, *, item: Any = None
    ) -> FileInfo:
        """Give a complete and verified file its path in the store, and note it in the ledger."""
        file: FileRequest
        fetched: Fetched
        try:
            file, fetched = request.meta[_FETCHED_KEY]
        except KeyError:
            raise TransferError(request.url, ANSWERED_ELSEWHERE) from None
        path_of = partial(self.file_path, request, response=response, info=info, item=item)
        path = "" if fetched.part is None else str(path_of())
        published = self._named(self.files.publish(file, fetched, path), file, path_of, path)
        return info_of(request.url, await self._noted(published, request, file.key))

    def media_failed(self, failure: TwistedFailure, request: Request, info: MediaPipeline.SpiderInfo) -> NoReturn:
        """Note the reason of a failure in the ledger, the log and the report, and raise `MediaError`."""
        assert failure.value is not None
        file = self.file_request(request)
        error = failure_of(file.url, failure.value)
        counted = self._counted(request, file.key)
        if self.result_counter.failure(file.key) is not None:
            counted.note_known_result()
        else:
            counted.note_result()
            self._noting.add(self.files.fail(file, error))
            if file.is_page(error):
                self.result_counter.note_page(file.key, error.reason)
                raise MediaPage(file.url, error.reason)
            self.result_counter.note_failure(file.key, error.reason)
        raise MediaError(file.url, error.reason)

    def file_path(
        self,
        request: Request,
        response: Response | None = None,
        info: MediaPipeline.SpiderInfo | None = None,
        *,
        item: Any = None,
    ) -> str:
        """Return `<spider>/<host>/<name>`; the name is from the list, Content-Disposition or the URL.

        The path that an override returns is made safe, and numbered if another URL already has that path.
        """
        if path := request.meta.get("media_path"):
            return str(path)
        filename, page_encoding = (request.meta.get(f"media_{name}") for name in ("filename", "page_encoding"))
        return preferred_path(self._owner(request), request.url, fields_of(response), filename, page_encoding)

    def item_completed(self, results: list[FileInfoOrError], item: Any, info: MediaPipeline.SpiderInfo) -> Any:
        """Put `files` and `file_errors` into the item, if it has these fields; `file_pages` where it has links."""
        adapter = ItemAdapter(item)
        errors: list[Any] = [value for ok, value in results if not ok]
        with suppress(KeyError):
            adapter[self.files_result_field] = [value for ok, value in results if ok]
        with suppress(KeyError):
            adapter[self.files_errors_field] = [_error_info(error) for error in errors if not _is_page(error)]
        if HYPERLINKS in adapter:
            adapter[HYPERLINKS] = [error.value.url for error in errors if _is_page(error)]
        return item

    # Details

    @cached_property
    def files(self) -> AsyncFetch:
        """The fetcher of the files of this crawl."""
        settings, resources, crawl_context = self.crawler.settings, self.resources, self._context
        # Scrapy's slots limit the concurrency: the limit of the queue must not be lower.
        of_slots = [
            slot["concurrency"] for slot in settings.getdict("DOWNLOAD_SLOTS").values() if "concurrency" in slot
        ]
        of_host = settings.getint("CONCURRENT_REQUESTS_PER_IP") or config.CONCURRENT_REQUESTS_PER_DOMAIN.of(settings)
        queue = FetchQueue(
            self._spider_name,
            self._refetch,
            min(max([of_host, *of_slots]), resources.concurrent),
            resources.most_open_parts,
            resources.downloader.policy.backoff,
            place_of=place_of,
            gathers=True,
            kept_hosts=_KEPT_HOSTS,
        )
        crawl = Crawl(
            send=self._dispatcher.send,
            want=crawl_context.report.count_wanted,
            count_results=self.result_counter.count,
            failure=self.result_counter.failure,
            refusal=refusal_of,
            stop_for=crawl_context.stop_for,
            learn_robots=crawl_context.learn_robots,
            show_pause=crawl_context.paused.add,
            page=self.result_counter.page,
        )
        files = AsyncFetch(resources, queue, crawl)
        crawl_context.on_stop(files.stop)
        if crawl_context.stopping:
            files.stop()
        return files

    @cached_property
    def _dispatcher(self) -> BatchDispatcher:
        return BatchDispatcher(self.crawler, self._context, self.resources)

    @cached_property
    def _plain_carrier(self) -> Carrier:
        return Carrier(None, bool(getattr(self.crawler.spider, "media_offsite", False)))

    @cached_property
    def _has_hooks(self) -> bool:
        """Whether a project's subclass overrides a method that affects how a file is fetched."""
        return any(getattr(type(self), name) is not getattr(MediaFilesPipeline, name) for name in _HOOKS)

    @cached_property
    def _has_own_keys(self) -> bool:
        return getattr(self.crawler.spider, "media_key", None) is not None

    @property
    def stopping(self) -> bool:
        """Whether the crawl is stopping, so that no work is begun."""
        return self._context.stopping

    @property
    def takes_lines(self) -> bool:
        """Whether lines of a list can be fetched without becoming items."""
        is_stock = type(self) is MediaFilesPipeline  # a subclass may process items, too
        return is_stock and not self._has_own_keys and self._dispatcher.may_batch

    @property
    def _refetch(self) -> RefetchPolicy:
        return RefetchPolicy(self.expires * DAY_S, self._retry_permanent_days * DAY_S)

    @property
    def result_counter(self) -> ResultCounter:
        """The counter of results; available from `open_spider` on."""
        assert self._result_counter is not None
        return self._result_counter

    @property
    def resources(self) -> FetchResources:
        """Store, ledger and transfers; available from `open_spider` on."""
        assert self._resources is not None
        return self._resources

    def _owner(self, request: Request) -> str:
        """Return the name of the spider that a file belongs to, which is not the spider that retries the file."""
        return str(request.meta.get("media_owner") or self._spider_name)

    @property
    def _spider_name(self) -> str:
        return str(self.crawler.spider.name if self.crawler.spider else "files")

    def _urls(self, adapter: ItemAdapter) -> list[str]:
        urls = adapter.get(self.files_urls_field, [])
        if not isinstance(urls, list):
            raise TypeError(f"{self.files_urls_field} must be a list of URLs, got {type(urls).__name__}.")
        return urls

    def _referer(self, url: str, page: str) -> tuple[tuple[str, str], ...]:
        """Return the Referer header, as far as the policy allows."""
        request = Request(url)
        self._add_page(request, page)
        return headers_of(request)

    def _add_referers(self, requests: Sequence[Request]) -> None:
        """Set each Referer to the value in the item, else to the page as far as the policy allows."""
        known: dict[tuple[str, Origin | None], bytes | None] = {}
        for request in requests:
            if referer := request.meta.get("media_referer"):
                request.headers.setdefault("Referer", referer)
            elif page := request.meta.get("media_page"):
                # Scrapy's policies use no other part of the target than its origin.
                place = page, Origin.of(request.url)
                if place not in known or not self._has_stock_policy:
                    self._add_page(request, page)
                    known[place] = request.headers.get("Referer")
                elif (referer := known[place]) is not None:
                    request.headers.setdefault("Referer", referer)

    def _add_page(self, request: Request, page: str) -> None:
        """Set the Referer with the spider middleware, if it is enabled; a page without a URL gives no Referer."""
        if self._referers is not None:
            with suppress(ValueError):
                self._referers.get_processed_request(request, Response(page))

    @cached_property
    def _referers(self) -> RefererMiddleware | None:
        return self.crawler.get_spider_middleware(RefererMiddleware)

    @cached_property
    def _has_stock_policy(self) -> bool:
        stock = RefererMiddleware.__module__
        return type(self._referers) is RefererMiddleware and self._referers.default_policy.__module__ == stock


def refuse_empty_slots(settings: BaseSettings) -> None:
    """Raise `UsageProblem` if a slot allows no request at all: Scrapy (2.19) would then never send a request."""
    for name, slot in settings.getdict("DOWNLOAD_SLOTS").items():
        concurrency = slot.get("concurrency", 1)
        if not isinstance(concurrency, int) or concurrency < 1:
            raise UsageProblem(
                f"DOWNLOAD_SLOTS: the concurrency {concurrency!r} of {name} lets Scrapy send nothing: choose 1"
            )
    # The limit for an address takes precedence over the limit for a host.
    if not (config.CONCURRENT_REQUESTS_PER_DOMAIN.of(settings) or settings.getint("CONCURRENT_REQUESTS_PER_IP")):
        raise UsageProblem("CONCURRENT_REQUESTS_PER_DOMAIN=0: with that Scrapy sends nothing: choose 1 or more")


def _batched(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield parts of a sequence, of this size and the last of at most this size."""
    return (values[start : start + size] for start in range(0, len(values), size))


def _hyperlinks(adapter: ItemAdapter) -> set[str]:
    """Return the URLs of an item that may lead to pages."""
    urls = adapter.get(HYPERLINKS)
    return {url for url in urls if isinstance(url, str)} if isinstance(urls, list) else set()


def _is_page(failure: Any) -> bool:
    return isinstance(failure.value, MediaPage)


def _error_info(failure: Any) -> dict[str, str]:
    error = failure.value
    if isinstance(error, MediaError):
        return {"url": error.url, "reason": error.reason}
    return {"url": "", "reason": describe_error(error)}


def _info_or_error(url: str, result: FileResult) -> FileInfo | BaseException:
    try:
        return info_of(url, result)
    except (MediaError, Interrupted) as error:
        return error
