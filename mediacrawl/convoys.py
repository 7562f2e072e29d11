"""Media that go together: the first takes Scrapy's whole way, the others follow it over the same connection.

What Scrapy's downloader does for one request costs more than to fetch a small file. Of what it does, nearly all
is the same for every file of a site: user agent, default headers, credentials, proxy, and the place in the slot. So
while more files of a site are wanted than it has connections, several of them share one pass: robots.txt is asked
for each, the rest is as the first has it. A file takes Scrapy's way alone where that would not be the same:

- with a delay, AutoThrottle, an HTTP cache, `DOWNLOAD_SLOTS`, a downloader middleware that is not Scrapy's own, or
  somebody who listens to what the downloader tells of each request;
- with cookies, a method, meta or flags of its own;
- where robots.txt says no.

A convoy takes as many as its site brings in a quarter of a second, so large or slow files travel alone too. Files
that come at once are not spread over all connections: a few go faster one after another. So another convoy sets out
only when those that wait would take longer than a moment behind the ones under way, or have waited that long; and of
a site that nothing is known of, two go ahead. What is under way at a kill is small by that, too.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydispatch import dispatcher
from scrapy import Request, signals
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.http.request import NO_CALLBACK

from mediacrawl.bridge import WANTED, Wanted
from mediacrawl.download.request import Fetched
from mediacrawl.errors import Interrupted, TransferError
from mediacrawl.headers import kind_of_path
from mediacrawl.pace import SHORTEST_S, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.bridge import Bridge
    from mediacrawl.download.request import Outcome

_UNKNOWN_S = 0.02  # the same of a site that nothing is known of, where two have gone ahead
_AHEAD = 2
_KEPT_LINES = 256
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


_Place = tuple[str, bool, bool]  # origin, whether offsite is allowed, whether its files are of those that last


@dataclass(slots=True, eq=False)
class Traveller:
    """One wanted file on its way.

    Attributes:
        request: made when it comes to lead, unless it is there already.
        since_s: when it began to wait, by the clock of the loop.
        arrived: called once, with it and what came of it.
    """

    wanted: Wanted
    arrived: Callable[[Traveller, Outcome], None]
    request: Request | None = None
    offsite: bool = False
    since_s: float = field(default=0.0, init=False)

    def lead(self) -> Request:
        """As Scrapy wants it."""
        if self.request is None:
            meta = {"allow_offsite": True} if self.offsite else {}
            headers = {name: value.encode("latin-1") for name, value in self.wanted.headers}  # the bytes that it had
            self.request = Request(self.wanted.url, headers=headers, meta=meta, callback=NO_CALLBACK)
            self.request.meta.update(dont_retry=True, dont_cache=True)
        self.request.meta[WANTED] = self.wanted
        return self.request


@dataclass(slots=True, eq=False)
class _Line:
    """Those of one site that wait.

    Attributes:
        leading: convoys that are under way.
        is_due: it is looked at in this turn of the loop.
        alarm: when the first of those that wait will have waited long enough.
    """

    waiting: deque[Traveller] = field(default_factory=deque)
    leading: int = 0
    pace: Pace = field(default_factory=Pace)
    is_due: bool = False
    alarm: asyncio.TimerHandle | None = None


class Convoys:
    """Sends travellers on their way, a few convoys for each site at a time.

    Args:
        concurrent: convoys of one site at a time, where the settings say no less.
        most_open: part files at a time: from when a convoy sets out until `release`.
    """

    def __init__(self, crawler: Crawler, bridge: Bridge, concurrent: int, most_open: int) -> None:
        self._crawler = crawler
        self._bridge = bridge
        self._robots = crawler.get_downloader_middleware(RobotsTxtMiddleware)
        self._lines: dict[_Place, _Line] = {}
        self._free_files = most_open
        self._starved: dict[_Place, _Line] = {}  # that wait for files to be released
        per_site = crawler.settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN")
        self._per_site = min(per_site, concurrent) if per_site > 0 else concurrent
        self._tasks: set[asyncio.Task[None]] = set()
        self.may_form = _may_form(crawler)

    def may_join(self, request: Request) -> bool:
        """Whether a pipeline's request is like any other of its site."""
        return (
            self.may_form
            and request.method == "GET"
            and not (request.body or request.cookies or request.flags or "Cookie" in request.headers)
            and all(name in _PLAIN_META or name.startswith("media_") for name in request.meta)
        )

    def add(self, travellers: Sequence[Traveller]) -> None:
        """Each is on its way as soon as there is room; `arrived` tells of it."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for traveller in travellers:
            traveller.since_s = now_s
            found = _SITE_AND_PATH.match(traveller.wanted.url)
            site, path = found.groups() if found is not None else ("", "")
            # Songs and videos by themselves: a picture behind a film would wait for its end.
            key = site, traveller.offsite, kind_of_path(path) in {"audio", "video"}
            line = self._lines.get(key)
            if line is None:
                line = self._lines[key] = _Line()
            line.waiting.append(traveller)
            if line.leading < line.pace.connections(self._per_site) and not line.is_due:
                line.is_due = True
                # Not at once: those that are added in the same turn of the loop may go together.
                loop.call_soon(self._send, key, line)

    def _send(self, key: _Place, line: _Line) -> None:
        line.is_due = False
        if self._bridge.stopping:
            self._give_up(line.waiting)
        while line.waiting and line.leading < (most := line.pace.connections(self._per_site)):
            if self._free_files < 1:
                self._starved[key] = line
                break
            if (wait_s := self._wait_s(line)) > 0:
                self._send_later(key, line, wait_s)
                break
            size = line.pace.batch_files(len(line.waiting), most - line.leading)
            convoy = [line.waiting.popleft() for _ in range(min(size, len(line.waiting), self._free_files))]
            self._free_files -= len(convoy)
            line.leading += 1
            task = asyncio.ensure_future(self._travel(line, convoy))
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._through(key, line, done))
        is_idle = not line.waiting and not line.leading and self._lines.get(key) is line
        if is_idle and len(self._lines) > _KEPT_LINES:
            del self._lines[key]  # else what was learnt of the site is of use when its next page comes

    @staticmethod
    def _wait_s(line: _Line) -> float:
        """How long the first in line may wait for one of the convoys that are under way to take it up."""
        file_s = line.pace.file_s
        if not line.leading or (not file_s and line.leading < _AHEAD):
            return 0
        if file_s and len(line.waiting) * file_s >= SHORTEST_S * line.leading:
            return 0
        waited_s = asyncio.get_running_loop().time() - line.waiting[0].since_s
        return (SHORTEST_S if file_s else _UNKNOWN_S) - waited_s

    def release(self, files: int) -> None:
        """Take back the count of part files that have arrived, and been published or closed."""
        self._free_files += files
        starved, self._starved = self._starved, {}
        for key, line in starved.items():
            if not line.is_due:
                line.is_due = True
                asyncio.get_running_loop().call_soon(self._send, key, line)

    def _send_later(self, key: _Place, line: _Line, wait_s: float) -> None:
        if line.alarm is None:
            line.alarm = asyncio.get_running_loop().call_later(wait_s, self._ring, key, line)

    def _ring(self, key: _Place, line: _Line) -> None:
        line.alarm = None
        self._send(key, line)

    def _through(self, key: _Place, line: _Line, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        line.leading -= 1
        self._send(key, line)

    async def _travel(self, line: _Line, convoy: list[Traveller]) -> None:
        first, *others = convoy
        request, wanted = first.lead(), first.wanted
        wanted.fetched, wanted.outcomes = None, []  # it may have travelled before
        followers = await self._obedient(request, others)
        wanted.followers = [follower.wanted for follower in followers]
        outcome: Outcome
        try:
            response = await self._bridge.download(request)
            outcome = wanted.fetched or TransferError(response.url, "a middleware answered, and not the network")
        except BaseException as error:
            outcome = error
        begun = len(wanted.outcomes)
        line.pace.learn([outcome, *wanted.outcomes])
        self._count(request, wanted)
        held = sum(_holds_part(one) for one in (outcome, *wanted.outcomes))
        self.release(1 + len(others) - held)
        first.arrived(first, outcome)
        for follower, result in zip(followers, wanted.outcomes, strict=False):
            follower.arrived(follower, result)
        left = [traveller for traveller in others if traveller not in followers[:begun]]
        line.waiting.extendleft(reversed(left))

    @staticmethod
    def _give_up(waiting: deque[Traveller]) -> None:
        """The crawl stops: none of these will be asked for."""
        while waiting:
            traveller = waiting.popleft()
            traveller.arrived(traveller, Interrupted(traveller.wanted.url))

    async def _obedient(self, request: Request, others: list[Traveller]) -> list[Traveller]:
        """Those that robots.txt does not mind. The others are asked about when they lead, and refused."""
        if self._robots is None or not others:
            return others
        try:
            parser = await self._robots.robot_parser(request)
        except Exception:  # given up, or a mistake of somebody: each is asked about alone
            return []
        if parser is None:
            return others
        return [traveller for traveller in others if parser.allowed(traveller.wanted.url, self._agent(traveller))]

    def _agent(self, traveller: Traveller) -> str:
        """The name that robots.txt is asked for, as Scrapy's middleware chooses it."""
        assert self._robots is not None
        own = {name.lower(): value for name, value in traveller.wanted.headers}
        agent = self._robots._robotstxt_useragent  # noqa: SLF001
        return agent or own.get("user-agent") or self._robots._default_useragent  # noqa: SLF001

    def _count(self, request: Request, wanted: Wanted) -> None:
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


def _holds_part(outcome: Outcome) -> bool:
    return isinstance(outcome, Fetched) and outcome.part is not None


def _may_form(crawler: Crawler) -> bool:
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
