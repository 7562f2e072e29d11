"""Pages among those who share the connections to a host."""

from __future__ import annotations

import asyncio

import pytest

from mediacrawl.crawl import page_connections
from mediacrawl.crawl.page_connections import PageConnections
from mediacrawl.transport.connection_limits import ConnectionLimit

WAIT_S = 30
H = "h"


class Other:
    """Another holder: files, say."""

    def __init__(self):
        self.granted = 0
        self.has_one = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def grant(self, _host):
        self.granted += 1
        self._loop.call_soon_threadsafe(self.has_one.set)

    def deny(self, _host):
        raise AssertionError

    def recall(self, _host, _count):
        pass


class Pages:
    """Pages, and what they did with their idle connections."""

    def __init__(self, at_most):
        self.limit = ConnectionLimit(at_most) if at_most else None
        self.kept = []
        self.holder = PageConnections(self.limit, self._close_idle)

    def _close_idle(self, host, count):
        assert host == H
        self.kept.append(count)
        return True

    async def come(self, count):
        """So many, one after the other."""
        for _ in range(count):
            async with self.holder.connection(H):
                pass


def in_a_loop(work):
    return asyncio.run(asyncio.wait_for(work(), WAIT_S))


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(page_connections, "KEPT_S", 0.05)
    monkeypatch.setattr(page_connections, "CUT_COUNTS_S", 0.01)


def test_no_more_pages_are_under_way_than_connections_are_allowed():
    async def work():
        pages, under_way, most = Pages(2), 0, 0

        async def page():
            nonlocal under_way, most
            async with pages.holder.connection(H):
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0)
                under_way -= 1

        await asyncio.gather(*(page() for _ in range(20)))
        return most, pages.limit.held(pages.holder, H)

    assert in_a_loop(work) == (2, 2)


def test_a_connection_stays_for_the_next_page_and_goes_to_who_asks_for_it():
    async def work():
        pages, other = Pages(1), Other()
        await pages.come(3)
        assert pages.limit.held(pages.holder, H) == 1
        pages.limit.ask(other, H, wait=True)
        await other.has_one.wait()
        return pages.limit.held(pages.holder, H), pages.kept

    assert in_a_loop(work) == (0, [0])


def test_the_last_of_several_is_kept_for_a_while():
    async def work():
        pages, files = Pages(2), [Other(), Other()]
        await asyncio.gather(pages.come(1), pages.come(1))
        await pages.come(1)
        for other in files:
            pages.limit.ask(other, H, wait=True)
        await files[0].has_one.wait()
        first = files[1].granted, list(pages.kept)
        await files[1].has_one.wait()
        return first, pages.kept

    assert in_a_loop(work) == ((0, [1]), [1, 0])


def test_who_gives_up_waiting_keeps_no_permit():
    async def work():
        pages, other = Pages(1), Other()
        pages.limit.ask(other, H, wait=True)
        waiting = asyncio.ensure_future(pages.come(1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        pages.limit.give_back(other, H, 1)
        await pages.come(1)
        return pages.limit.held(pages.holder, H)

    assert in_a_loop(work) == 1


def test_at_the_end_no_page_waits_any_more():
    async def work():
        pages, other = Pages(1), Other()
        pages.limit.ask(other, H, wait=True)
        waiting = asyncio.ensure_future(pages.come(1))
        await asyncio.sleep(0)
        pages.holder.stop(ValueError("over"))
        with pytest.raises(ValueError, match="over"):
            await waiting

    in_a_loop(work)


@pytest.mark.parametrize(("at_most", "host"), [(None, H), (1, "")], ids=["no limit", "no host"])
def test_without_a_limit_or_a_host_nobody_waits(at_most, host):
    async def work():
        pages = Pages(at_most)
        async with pages.holder.connection(host), pages.holder.connection(host):
            return True

    assert in_a_loop(work)
