"""The connections of pages, which Scrapy's own handlers open, within the limit for each host."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mediacrawl.transport.connection_limits import CUT_COUNTS_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mediacrawl.transport.connection_limits import ConnectionLimit

# Seconds for which the last connection of a page stays open for the next page, even if a file waits for its permit.
# Pages of a crawl follow each other, and each would otherwise have to connect anew.
KEPT_S = 2.0


@dataclass(slots=True)
class _Host:
    """Permits for one host.

    Attributes:
        permits: the number of connections that may be open.
        active: the number of permits that pages use at present.
        owed: the number of permits that are to be given back.
        pages: the number of pages that have ended. A single page is mostly a robots.txt.
        idle_at: the time at which the last page ended, by the clock of the event loop.
        waiting: the futures of pages that wait for a permit.
    """

    permits: int = 0
    active: int = 0
    owed: int = 0
    pages: int = 0
    idle_at: float = 0.0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    def take(self) -> bool:
        """Use a permit for a page; return False if all permits are in use."""
        is_free = self.active < self.permits
        self.active += is_free
        return is_free

    def release(self, now_s: float) -> None:
        """Note that a page has ended, at `now_s`."""
        self.active -= 1
        self.pages += 1
        self.idle_at = now_s

    def grant(self) -> None:
        """Add one permit."""
        self.permits += 1

    def owe(self, count: int) -> None:
        """Note that `count` permits are to be given back, or all permits if there are fewer."""
        self.owed = min(max(count, self.owed), self.permits)

    def give_back(self, count: int) -> None:
        """Remove `count` permits that were given back."""
        self.permits -= count
        self.owed -= count


class PageConnections:
    """A holder of permits, see `connection_limits.Holder`. All state is changed in the event loop's thread."""

    def __init__(self, limit: ConnectionLimit | None, close_idle: Callable[[str, int], bool]) -> None:
        """Create a holder without permits.

        Args:
            limit: grants the permits; None if connections are not limited.
            close_idle: closes the idle connections to a host except for a given number, and returns whether there
                were more.
        """
        self._limit = limit
        self._close_idle = close_idle
        self._hosts: dict[str, _Host] = {}
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def connection(self, host: str) -> AsyncIterator[None]:
        """Hold a permit while the block runs. It is kept for the next page until another holder requests it."""
        if self._limit is None or not host:
            yield
            return
        state = self._hosts.setdefault(host, _Host())
        if not state.take():
            await self._wait(self._limit, host, state)
        try:
            yield
        finally:
            self._release(host, state)

    async def _wait(self, limit: ConnectionLimit, host: str, state: _Host) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        state.waiting.append(future)
        limit.ask(self, host, wait=True)
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._release(host, state)  # the permit was granted, but its page waits no longer
            else:
                with suppress(ValueError):
                    state.waiting.remove(future)
            raise

    def _release(self, host: str, state: _Host) -> None:
        state.release(self._loop.time())
        self._pass_on(host, state)

    def _pass_on(self, host: str, state: _Host) -> None:
        while state.waiting:
            if state.waiting[0].done():
                state.waiting.popleft()
            elif state.take():
                state.waiting.popleft().set_result(None)
            else:
                break
        self._settle(host, state)

    def stop(self, error: Exception) -> None:
        """Raise `error` in all pages that wait for a permit."""
        for state in self._hosts.values():
            while state.waiting:
                future = state.waiting.popleft()
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # marks it as retrieved: the page may have been abandoned

    def grant(self, host: str) -> None:
        """See `Holder.grant`."""
        self._soon(self._granted, host)

    def deny(self, host: str) -> None:
        """See `Holder.deny`. Never called in practice: pages always wait for a grant."""

    def recall(self, host: str, count: int) -> None:
        """See `Holder.recall`."""
        self._soon(self._recalled, host, count)

    def _soon(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def _granted(self, host: str) -> None:
        state = self._hosts.setdefault(host, _Host())
        state.grant()
        self._pass_on(host, state)

    def _recalled(self, host: str, count: int) -> None:
        state = self._hosts.get(host)
        if state is None:
            return
        if not count and (state.pages <= 1 or state.idle_at + KEPT_S <= self._loop.time()):
            count = state.permits - state.active
        state.owe(count)
        self._settle(host, state)

    def _settle(self, host: str, state: _Host) -> None:
        """Give back the permits that are owed and not in use."""
        assert self._limit is not None
        given = min(state.owed, state.permits - state.active)
        if given and given == state.permits and state.pages > 1 and self._limit.limit_of(host) > 1:
            kept_s = state.idle_at + KEPT_S - self._loop.time()
            if kept_s > 0:
                given -= 1
                self._loop.call_later(kept_s, self._settle, host, state)
        if not given:
            return
        state.give_back(given)
        # A permit may have no open connection, if the server has closed it.
        were_open = self._close_idle(host, state.permits - state.active)
        self._loop.call_later(CUT_COUNTS_S if were_open else 0, self._limit.give_back, self, host, given)
        if not (state.permits or state.waiting) and self._hosts.get(host) is state:
            del self._hosts[host]
