"""Lines of a list that nobody needs as items: asked, fetched and noted in blocks.

What Scrapy does for one item costs more than to skip a finished file, or to fetch a small one. So where no feed and
no other pipeline would see them, the lines of a list take a shorter way to the same ledger, the same transfers and
the same report:

    list ──block──▶ ledger: done? ──▶ convoys ──convoy──▶ ledger ──▶ report
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.http.request import NO_CALLBACK
from twisted.python.failure import Failure as TwistedFailure

from mediacrawl.archive import Change, Publish, Unchanged, Want, validators_of
from mediacrawl.bridge import Bridge, GivenUp, Wanted, let_go
from mediacrawl.convoys import Traveller, is_listened_to
from mediacrawl.download.request import Fetched
from mediacrawl.errors import Interrupted, MachineError, RedirectUnasked
from mediacrawl.ledger.ledger import DONE, FAILED, Entry
from mediacrawl.naming import is_page_name, wished_path
from mediacrawl.pipelines import IN_USE_WAIT_S, MediaError, MediaFilesPipeline
from mediacrawl.store.partfile import PartInUse
from mediacrawl.wishes import key_of_url, wish_of, without_credentials

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from scrapy import Request
    from scrapy.crawler import Crawler

    from mediacrawl.download.request import Outcome
    from mediacrawl.lists import Row

logger = logging.getLogger(__name__)

MOST_UNDER_WAY = 4096  # lines whose files have not arrived: what memory holds
_ITEM_SIGNALS = (signals.item_scraped, signals.item_dropped, signals.item_error)


class Bulk:
    """The short way of one crawl's lines."""

    def __init__(self, crawler: Crawler, pipeline: MediaFilesPipeline) -> None:
        self._pipeline = pipeline
        self._bridge = Bridge.of(crawler)
        self._spider = str(crawler.spider.name if crawler.spider else "files")
        self._under_way: set[str] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived: list[tuple[Traveller, Outcome]] = []
        pipeline.before_close.append(self.drain)

    @classmethod
    def of(cls, crawler: Crawler, items: str = "") -> Bulk | None:
        """None where each line is to become an item: with `items` "all", or by itself where somebody would see it."""
        pipeline = crawler.get_item_pipeline(MediaFilesPipeline)
        if type(pipeline) is not MediaFilesPipeline or getattr(crawler.spider, "media_key", None) or items == "all":
            return None  # a project has its own way
        if not pipeline.convoys.may_form or (not items and _is_watched(crawler)):
            return None
        return cls(crawler, pipeline)

    @property
    def stopping(self) -> bool:
        """Nothing is taken any more."""
        return self._bridge.stopping

    async def take(self, rows: Sequence[Row]) -> None:
        """See to these lines; comes back when there is room for more."""
        lines = self._lines(rows)
        self._bridge.report.wanted += len(lines)
        travellers, wants = [], []
        for (key, (row, request)), entry in zip(lines.items(), await self._known(list(lines)), strict=True):
            traveller = self._settle(key, row, request, entry)
            if traveller is None:
                continue
            travellers.append(traveller)
            if traveller.wanted.revalidate is None:
                wants.append(Want(self._entry(traveller)))
        self._pipeline.works.changes.submit_all(wants)
        self._set_out(travellers)
        while len(self._under_way) > MOST_UNDER_WAY and not self.stopping:
            await self._next_change()

    async def drain(self) -> None:
        """Until each line is through."""
        while self._under_way or self._tasks:
            await self._next_change()

    # Out: which lines want a transfer

    def _lines(self, rows: Sequence[Row]) -> dict[str, tuple[Row, Request | None]]:
        """By key; a line whose file is on its way already is passed over."""
        lines: dict[str, tuple[Row, Request | None]] = {}
        for row in rows:
            request = None if row.is_plain else self._request(row)
            key = key_of_url(row.url) if request is None else self._pipeline.media_key(request)
            if key not in self._under_way:
                lines.setdefault(key, (row, request))
        return lines

    def _request(self, row: Row) -> Request:
        """A line that says more than a URL: with all that an item would ask for."""
        (request,) = self._pipeline.get_media_requests(row.item(), self._pipeline.spiderinfo)
        request = without_credentials(request)
        request.callback = NO_CALLBACK
        return request

    async def _known(self, keys: list[str]) -> list[Entry | Exception | None]:
        return await asyncio.wrap_future(self._pipeline.works.questions.submit_all(keys)) if keys else []

    def _settle(
        self, key: str, row: Row, request: Request | None, entry: Entry | Exception | None
    ) -> Traveller | None:
        """None for a line that needs no transfer: it is counted."""
        pipeline = self._pipeline
        done = entry if isinstance(entry, Entry) and entry.state == DONE else None
        try:
            if isinstance(entry, Exception):
                raise entry
            if done is not None and not pipeline.is_expired(done):
                pipeline.count_present(key)
                return None
            if entry is not None and entry.state == FAILED:
                pipeline.refuse_known_failure(row.url, entry, again=False)
        except MachineError as error:
            self._bridge.stop_for(error)
            return None
        except MediaError:
            return None
        wanted = self._plain(key, row.url, done) if request is None else pipeline.wanted(request, key, done)
        return self._traveller(wanted, request)

    def _plain(self, key: str, url: str, done: Entry | None) -> Wanted:
        return Wanted(
            key,
            self._pipeline.works,
            url=url,
            name=url.rpartition("/")[2],
            revalidate=validators_of(done) if done is not None else None,
            allow_redirects=self._pipeline.allow_redirects,
            accept_html=is_page_name(url),
        )

    def _traveller(self, wanted: Wanted, request: Request | None) -> Traveller:
        traveller = Traveller(wanted, lambda outcome: self._arrive(traveller, outcome), request, offsite=True)
        return traveller

    def _set_out(self, travellers: list[Traveller]) -> None:
        self._under_way.update(traveller.wanted.key for traveller in travellers)
        self._pipeline.convoys.add(travellers)

    # Back: what came of them

    def _arrive(self, traveller: Traveller, outcome: Outcome) -> None:
        if not self._arrived:  # those of one convoy are noted together
            asyncio.get_running_loop().call_soon(self._note_arrived)
        self._arrived.append((traveller, outcome))

    def _note_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        fetched = [(t, o) for t, o in arrived if isinstance(o, Fetched)]
        if fetched:
            self._begin(self._publish(fetched))
        for traveller, outcome in arrived:
            if not isinstance(outcome, Fetched):
                self._fail(traveller, outcome)

    async def _publish(self, fetched: list[tuple[Traveller, Fetched]]) -> None:
        results: list[Entry | Exception]
        try:
            changes = [self._change(traveller, outcome) for traveller, outcome in fetched]
            results = await asyncio.wrap_future(self._pipeline.works.changes.submit_all(changes))
        except asyncio.CancelledError:  # the crawl has closed: the next run finds them whole
            results = [Interrupted("closed")] * len(fetched)
        except Exception as error:  # each line ends, whatever happens
            results = [error] * len(fetched)
        new: list[tuple[str, Fetched]] = []
        for (traveller, outcome), result in zip(fetched, results, strict=True):
            if isinstance(result, Exception):
                let_go(outcome)
                self._fail(traveller, result)
                continue
            if outcome.part is None:
                self._pipeline.count_present(traveller.wanted.key)
            else:
                new.append((traveller.wanted.key, outcome))
            self._end(traveller)
        self._pipeline.count_arrived(new)

    def _change(self, traveller: Traveller, fetched: Fetched) -> Change:
        if fetched.part is None:
            return Unchanged(self._entry(traveller))
        filename = traveller.request.meta.get("media_filename") if traveller.request else None
        path = wished_path(self._spider, traveller.wanted.url, fetched.headers, filename)
        return Publish(self._entry(traveller, path), fetched)

    def _entry(self, traveller: Traveller, path: str | None = None) -> Entry:
        wish = wish_of(traveller.request) if traveller.request else None
        return Entry(traveller.wanted.key, traveller.wanted.url, spider=self._spider, wish=wish, path=path)

    def _fail(self, traveller: Traveller, error: BaseException) -> None:
        match error:
            case PartInUse():
                self._begin(self._ask_again(traveller))
            case RedirectUnasked():
                self._begin(self._learn(traveller, error.target))
            case MachineError():
                self._bridge.stop_for(error)
                self._end(traveller)
            case Interrupted() | GivenUp() | asyncio.CancelledError():
                self._end(traveller)
            case _:
                with suppress(MediaError):
                    failure = TwistedFailure(error)
                    self._pipeline.media_failed(failure, traveller.lead(), self._pipeline.spiderinfo)
                self._end(traveller)

    async def _ask_again(self, traveller: Traveller) -> None:
        """Another process brings it: ask the ledger again when it is through."""
        await asyncio.sleep(IN_USE_WAIT_S)
        (entry,) = await self._known([traveller.wanted.key])
        if isinstance(entry, Entry) and entry.state == DONE:
            self._pipeline.count_present(traveller.wanted.key)
            self._end(traveller)
        elif isinstance(entry, Exception):
            self._fail(traveller, entry)
        else:
            self._go_again(traveller)

    async def _learn(self, traveller: Traveller, target: str) -> None:
        await self._bridge.learn_robots(target)
        self._go_again(traveller)

    def _go_again(self, traveller: Traveller) -> None:
        if self.stopping:
            self._end(traveller)
        else:
            self._pipeline.convoys.add([traveller])

    # Details

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._through)

    def _through(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A list's lines were not noted: %s", error, exc_info=error)

    def _end(self, traveller: Traveller) -> None:
        self._under_way.discard(traveller.wanted.key)
        self._changed.set()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _is_watched(crawler: Crawler) -> bool:
    """Whether items would be seen by a feed, by another pipeline, or by who listens to what becomes of them."""
    settings = crawler.settings
    return bool(
        settings.getdict("FEEDS")
        or settings.getint("CLOSESPIDER_ITEMCOUNT")
        or len([name for name, order in settings.getdict("ITEM_PIPELINES").items() if order is not None]) > 1
        or any(is_listened_to(crawler, signal) for signal in _ITEM_SIGNALS)
    )
