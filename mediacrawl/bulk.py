"""Files of which nothing but the URL is to be known: asked, fetched and noted in blocks.

What Scrapy does for one request costs more than to skip a finished file, or to fetch a small one. So the media of an
item that says no more about them, and the lines of a list that nobody needs as items, take a shorter way to the same
ledger, the same transfers and the same books:

    item, list ──block──▶ ledger: done? ──▶ convoys ──convoy──▶ ledger ──▶ books ──▶ item
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.archive import Change, Publish, Unchanged, Want, validators_of
from mediacrawl.bridge import Bridge, GivenUp, Wanted, let_go
from mediacrawl.convoys import Traveller
from mediacrawl.download.request import Fetched
from mediacrawl.errors import Interrupted, MachineError, RedirectUnasked
from mediacrawl.ledger.ledger import DONE, Entry
from mediacrawl.naming import is_page_name, name_in_url, wished_path
from mediacrawl.refetch import is_noted
from mediacrawl.store.partfile import PartInUse
from mediacrawl.tally import MediaError, info_of, status_of
from mediacrawl.wishes import wanted_of, wish_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable, Sequence

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.pipelines.media import FileInfo

    from mediacrawl.convoys import Convoys
    from mediacrawl.download.request import Outcome
    from mediacrawl.tally import Tally
    from mediacrawl.wiring import Works

logger = logging.getLogger(__name__)

_ASKED_AT_ONCE = 64  # keys
_AT_ONCE_S = 0.02  # a disk that is slower than that once is asked by a thread from then on
MOST_UNDER_WAY = 4096  # lines whose files have not arrived: what memory holds

UnderWay = dict[str, "asyncio.Future[FileInfo]"]  # by key: who wants the same file waits for the first to bring it


class Wish(NamedTuple):
    """A file that is wanted.

    Attributes:
        headers: of its request alone.
        page: where the link was found.
        request: where it is to be asked for in a way of its own, else None.
    """

    key: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    page: str | None = None
    request: Request | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class _Errand(Traveller):
    """A wish on its way.

    Attributes:
        wish: what it is for.
        done: the row of a version that is there, to be revalidated.
        is_noted: the ledger says that the file is wanted, or there.
    """

    wish: Wish
    done: Entry | None
    is_noted: bool


class Bulk:
    """The short way of one pipeline's files.

    Args:
        under_way: shared with those that take the long way.
        allow_redirects: whether media may be redirected.
    """

    def __init__(
        self,
        crawler: Crawler,
        works: Works,
        convoys: Convoys,
        tally: Tally,
        under_way: UnderWay,
        *,
        allow_redirects: bool,
    ) -> None:
        self._works = works
        self._convoys = convoys
        self._tally = tally
        self._under_way = under_way
        self._allow_redirects = allow_redirects
        self._bridge = Bridge.of(crawler)
        self._spider = str(crawler.spider.name if crawler.spider else "files")
        self._offsite = bool(getattr(crawler.spider, "media_offsite", False))
        self._loop = asyncio.get_running_loop()
        self._asks_at_once = True
        self._mine = 0  # of those under way
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived: list[tuple[_Errand, Outcome]] = []
        self._in_use: list[Wish] = []  # by another process

    @property
    def stopping(self) -> bool:
        """Nothing is taken any more."""
        return self._bridge.stopping

    # In

    def bring(self, wishes: Sequence[Wish]) -> list[asyncio.Future[FileInfo]]:
        """For an item: the files as they will be there, in this order; who waits for one must not cancel it.

        Each raises `MediaError` if it does not come, `Interrupted` if the crawl stops before.
        """
        fresh: dict[str, Wish] = {}
        for wish in wishes:
            if wish.key not in self._under_way:
                fresh[wish.key] = wish
                self._promise(wish.key)
        self._bridge.report.count_wanted(len(fresh))
        waiting = [self._under_way[wish.key] for wish in wishes]
        if fresh:
            self._begin(self._ask(list(fresh.values())))
        return waiting

    async def _ask(self, wishes: Sequence[Wish]) -> None:
        entries: list[Entry | Exception | None]
        try:
            entries = await self._known([wish.key for wish in wishes])
        except asyncio.CancelledError:  # the crawl has closed
            entries = [Interrupted("closed")] * len(wishes)
        self._set_out(zip(wishes, entries, strict=True))

    async def take(self, wishes: Iterable[Wish]) -> None:
        """For a list: nobody waits for its lines. Comes back when there is room for more."""
        fresh: dict[str, Wish] = {}
        for wish in wishes:
            if wish.key not in self._under_way:
                fresh.setdefault(wish.key, wish)
        self._bridge.report.count_wanted(len(fresh))
        finished, unfinished = [], []
        for wish, entry in zip(fresh.values(), await self._known(list(fresh)), strict=True):
            if wish.key in self._under_way:  # an item wanted it meanwhile
                self._bridge.report.count_wanted(-1)
            elif isinstance(entry, Entry) and self._tally.is_finished(entry):
                finished.append(wish.key)
            else:
                unfinished.append((wish, entry))
                self._promise(wish.key)
        self._tally.present(*finished)
        self._set_out(unfinished)
        while self._mine > MOST_UNDER_WAY and not self.stopping:
            await self._next_change()

    async def drain(self) -> None:
        """Until each is through."""
        while self._mine or self._tasks:
            await self._next_change()

    async def _known(self, keys: list[str]) -> list[Entry | Exception | None]:
        if not keys or self._are_new(keys):
            return [None] * len(keys)
        return await asyncio.wrap_future(self._works.questions.submit_all(keys))

    def _are_new(self, keys: list[str]) -> bool:
        """Whether the ledger has nothing about the files of a page: that is asked here and now, as long as it takes
        no time to speak of, as to wake a thread takes longer. False where nobody knows.
        """
        if not self._asks_at_once or len(keys) > _ASKED_AT_ONCE:
            return False
        began_s = self._loop.time()
        try:
            return not self._works.archive.ledger.knows_any(keys)
        except MachineError:  # who asks again is told
            return False
        finally:
            self._asks_at_once = self._loop.time() - began_s < _AT_ONCE_S

    # Out

    def _set_out(self, wishes: Iterable[tuple[Wish, Entry | Exception | None]]) -> None:
        """Those that want a transfer are on their way, the others are through."""
        errands = [errand for wish, entry in wishes if (errand := self._settle(wish, entry)) is not None]
        wants = [Want(self._entry(errand.wish)) for errand in errands if not errand.is_noted]
        if wants:  # else it would be a transaction for nothing
            self._works.changes.submit_all(wants)
        self._convoys.add(errands)

    def _settle(self, wish: Wish, entry: Entry | Exception | None) -> _Errand | None:
        try:
            if isinstance(entry, Exception):
                raise entry
            if self.stopping:
                raise Interrupted(wish.url)
            if entry is not None and self._tally.is_finished(entry):
                self._tally.present(wish.key)
                self._end(wish.key, info_of(wish.url, entry, "uptodate"))
                return None
            self._tally.refuse_known_failure(wish.key, wish.url, entry)
            done = entry if entry is not None and entry.state == DONE else None
            return _Errand(
                self._wanted(wish, done),
                self._arrive,
                wish.request,
                self._offsite,
                wish=wish,
                done=done,
                is_noted=is_noted(entry),
            )
        except Exception as error:  # each is through, whatever happens
            self._fail(wish, error)
            return None

    def _wanted(self, wish: Wish, done: Entry | None) -> Wanted:
        if wish.request is not None:
            return wanted_of(wish.request, wish.key, self._works, done, allow_redirects=self._allow_redirects)
        return Wanted(
            wish.key,
            self._works,
            url=wish.url,
            headers=wish.headers,
            name=name_in_url(wish.url),
            revalidate=validators_of(done) if done is not None else None,
            allow_redirects=self._allow_redirects,
            accept_html=is_page_name(wish.url),
        )

    # Back

    def _arrive(self, errand: Traveller, outcome: Outcome) -> None:
        assert isinstance(errand, _Errand)
        if not self._arrived:  # those of one convoy are noted together
            self._loop.call_soon(self._note_arrived)
        self._arrived.append((errand, outcome))

    def _note_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        fetched = [(e, o) for e, o in arrived if isinstance(o, Fetched)]
        if fetched:
            self._begin(self._publish(fetched))
        for errand, outcome in arrived:
            if not isinstance(outcome, Fetched):
                self._come_to_nothing(errand.wish, outcome)

    async def _publish(self, fetched: list[tuple[_Errand, Fetched]]) -> None:
        results: list[Entry | Exception]
        try:
            changes = [self._change(errand, outcome) for errand, outcome in fetched]
            results = await asyncio.wrap_future(self._works.changes.submit_all(changes))
        except asyncio.CancelledError:  # the crawl has closed: the next run finds them whole
            results = [Interrupted("closed")] * len(fetched)
        except Exception as error:  # each is through, whatever happens
            results = [error] * len(fetched)
        self._convoys.release(sum(outcome.part is not None for _, outcome in fetched))
        new: list[tuple[Entry, Fetched]] = []
        for (errand, outcome), entry in zip(fetched, results, strict=True):
            if isinstance(entry, Exception):
                let_go(outcome)
                self._come_to_nothing(errand.wish, entry)
            elif errand.done is not None and outcome.part is None:
                self._tally.present(errand.wanted.key)
                self._end(errand.wanted.key, info_of(errand.wanted.url, errand.done, "uptodate"))
            else:
                new.append((entry, outcome))
                self._end(errand.wanted.key, info_of(errand.wanted.url, entry, status_of(outcome)))
        self._tally.arrived(new)

    def _change(self, errand: _Errand, fetched: Fetched) -> Change:
        if fetched.part is None:
            return Unchanged(self._entry(errand.wish))
        filename = errand.request.meta.get("media_filename") if errand.request else None
        path = wished_path(self._spider, errand.wanted.url, fetched.headers, filename)
        return Publish(self._entry(errand.wish, path), fetched)

    def _entry(self, wish: Wish, path: str | None = None) -> Entry:
        more = wish_of(wish.request) if wish.request is not None else None
        return Entry(wish.key, wish.url, page=wish.page, spider=self._spider, wish=more, path=path)

    def _come_to_nothing(self, wish: Wish, error: BaseException) -> None:
        """A transfer has not brought it: now, or for good."""
        match error:
            case PartInUse():  # another process brings it: ask the ledger again when it is through
                if not self._in_use:
                    self._begin(self._ask_in_use_again(error.ask_after_s))
                self._in_use.append(wish)
            case RedirectUnasked():
                self._begin(self._ask_again(wish, self._bridge.learn_robots(error.target)))
            case _:
                self._fail(wish, error)

    async def _ask_in_use_again(self, after_s: float) -> None:
        """Those that have gathered meanwhile, together: another process may be fetching the same list."""
        try:
            await asyncio.sleep(after_s)
        finally:
            in_use, self._in_use = self._in_use, []
        await self._ask(in_use)

    async def _ask_again(self, wish: Wish, before: Awaitable[None]) -> None:
        try:
            await before
        except BaseException as error:
            self._fail(wish, error)
        else:
            await self._ask([wish])

    def _fail(self, wish: Wish, error: BaseException) -> None:
        """It is through. Of what the crawl did not come to the ledger has no word: it is wanted as before."""
        match error:
            case MediaError():
                self._end(wish.key, error)
            case MachineError():
                self._bridge.stop_for(error)
                self._end(wish.key, Interrupted(str(error)))
            case Interrupted() | GivenUp() | asyncio.CancelledError():
                self._end(wish.key, Interrupted(wish.url))
            case _:
                self._end(wish.key, self._tally.failed(self._entry(wish), error))

    # Details

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._through)

    def _through(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Files were not noted: %s", error, exc_info=error)

    def _promise(self, key: str) -> None:
        self._under_way[key] = self._loop.create_future()
        self._mine += 1

    def _end(self, key: str, result: FileInfo | Exception) -> None:
        shared = self._under_way.pop(key)
        self._mine -= 1
        if isinstance(result, Exception):
            shared.set_exception(result)
            shared.exception()  # seen: nobody may be waiting
        else:
            shared.set_result(result)
        self._changed.set()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
