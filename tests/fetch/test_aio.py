"""`AsyncFetch` by itself: whoever gives up, and whenever, nothing stays pending and no part stays locked."""

import asyncio
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from mediacrawl.archive import Publish
from mediacrawl.download.records import Fetched
from mediacrawl.errors import DiskFull, TransferError
from mediacrawl.fetch.aio import _SENT_AT_ONCE, AsyncFetch, Crawl
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.refetch import RefetchPolicy
from mediacrawl.fetch.request import DOWNLOADED, FAILED, INTERRUPTED, FileRequest

MOST_OPEN = 3
URL = "http://h/a.jpg"
PATIENCE_S = 10


class Part:
    def __init__(self):
        self.file = "part"
        self.is_closed = False

    def published(self):
        return False

    def close(self):
        self.is_closed = True


class Scene:
    """An `AsyncFetch` over a ledger and a network that answer at once, or as a test says."""

    def __init__(self, write=lambda change: change.entry, count=lambda results: None):
        self.parts = []
        self.published = []
        self.results = []
        self.stopped_for = []
        self._write = write
        self._count = count
        self.queue = FetchQueue("spider", RefetchPolicy(), 2, MOST_OPEN)
        resources = SimpleNamespace(
            archive=SimpleNamespace(ledger=SimpleNamespace(knows_any=lambda keys: False)),
            questions=SimpleNamespace(submit_all=lambda keys: done([None] * len(keys))),
            changes=SimpleNamespace(submit_all=lambda changes: done([self.write(change) for change in changes])),
        )
        self.files = AsyncFetch(
            resources,
            self.queue,
            Crawl(
                send=self.send,
                want=lambda count: None,
                count_results=self.count,
                failure=lambda key: None,
                refusal=lambda request: None,
                stop_for=self.stopped_for.append,
                learn_robots=None,
                show_pause=lambda pause: None,
            ),
        )

    def write(self, change):
        answer = self._write(change)
        if isinstance(change, Publish) and not isinstance(answer, Exception):
            self.published.append(change.fetched.part)
        return answer

    def count(self, results):
        self.results += results
        self._count(results)

    async def send(self, batch):
        await asyncio.sleep(0)
        parts = [Part() for _ in batch.requests]
        self.parts += parts
        return [Fetched(part, 200, one.url, size_bytes=9) for part, one in zip(parts, batch.requests, strict=True)]

    async def bring(self, request):
        """As a pipeline with methods of a project's own does."""
        if (known := await self.files.look_up(request)) is not None:
            return known
        fetched = await self.files.transfer(request)
        try:
            return await self.files.publish(request, fetched, "own/path.jpg")
        finally:
            self.files.abandon(request, fetched)

    async def end(self):
        await asyncio.wait_for(self.files.drain(), PATIENCE_S)
        assert len(self.queue) == 0
        assert self.queue._free_files == MOST_OPEN
        assert [part for part in self.parts if part not in self.published and not part.is_closed] == []


def done(value):
    future = Future()
    future.set_result(value)
    return future


def run(test, *arguments, **more):
    async def main():
        scene = Scene(*arguments, **more)
        await test(scene)
        await scene.end()
        return scene

    return asyncio.run(main())


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("after", range(26))
def test_a_file_may_be_given_up_at_any_moment(after):
    request = FileRequest.of_url(URL)

    async def test(scene):
        bringing = asyncio.ensure_future(scene.bring(request))
        await turns(after)
        bringing.cancel()
        await asyncio.wait([bringing])
        if after % 2:  # another one wants it
            result = await asyncio.wait_for(scene.bring(request), PATIENCE_S)
            assert result.status == DOWNLOADED
        elif bringing.cancelled():
            result = await asyncio.wait_for(scene.files.fail(request, TransferError(URL, "too slow")), PATIENCE_S)
            assert result.status == FAILED

    run(test)


def test_those_that_want_the_same_at_once_come_one_after_another():
    request = FileRequest.of_url(URL)

    async def test(scene):
        results = await asyncio.wait_for(asyncio.gather(*(scene.bring(request) for _ in range(4))), PATIENCE_S)
        assert {result.status for result in results} == {DOWNLOADED}

    run(test)


def test_a_disk_that_is_full_interrupts_a_file_and_stops_the_crawl():
    async def test(scene):
        (future,) = scene.files.fetch([FileRequest.of_url(URL)])
        assert (await asyncio.wait_for(future, PATIENCE_S)).status == INTERRUPTED

    scene = run(test, lambda change: DiskFull("full") if isinstance(change, Publish) else change.entry)
    assert [type(error) for error in scene.stopped_for] == [DiskFull]


def test_statistics_that_raise_are_told_and_hold_up_nobody(caplog):
    def count(_results):
        raise ValueError("no statistics")

    async def test(scene):
        futures = scene.files.fetch([FileRequest.of_url(f"http://h/{number}.jpg") for number in range(5)])
        await asyncio.wait_for(asyncio.wait(futures), PATIENCE_S)
        assert {future.result().status for future in futures} == {DOWNLOADED}

    assert run(test, count=count).stopped_for == []
    assert "no statistics" in caplog.text
    caplog.clear()


def test_a_stop_interrupts_what_waits_and_what_comes_later():
    async def test(scene):
        before = scene.files.fetch([FileRequest.of_url(f"http://h/{number}.jpg") for number in range(50)])
        await turns(3)
        scene.files.stop()
        after = scene.files.fetch([FileRequest.of_url(URL)])
        await asyncio.wait_for(asyncio.wait([*before, *after]), PATIENCE_S)
        assert {future.result().status for future in before} <= {DOWNLOADED, INTERRUPTED}
        assert [future.result().status for future in after] == [INTERRUPTED]

    run(test)


@pytest.mark.parametrize("event", ["add", "looked_up", "next_batches", "fetched", "written"])
def test_a_mistake_of_ours_ends_the_crawl_and_nobody_waits_for_ever(event, monkeypatch, caplog):
    def mistake(*_arguments, **_more):
        raise RuntimeError("a mistake")

    async def test(scene):
        monkeypatch.setattr(scene.queue, event, mistake)
        futures = scene.files.fetch([FileRequest.of_url(f"http://h/{number}.jpg") for number in range(5)])
        bringing = [asyncio.ensure_future(scene.bring(FileRequest.of_url("http://h/own.jpg"))) for _ in range(2)]
        await asyncio.wait_for(asyncio.wait([*futures, *bringing]), PATIENCE_S)
        assert {future.result().status for future in futures} == {INTERRUPTED}
        await asyncio.wait_for(scene.files.drain(), PATIENCE_S)
        assert [str(error) for error in scene.stopped_for] == ["a mistake in mediacrawl, please report it: a mistake"]

    async def main():
        await test(Scene())

    asyncio.run(main())
    caplog.clear()


def test_the_files_of_many_hosts_are_begun_a_few_at_a_time(monkeypatch):
    """A page may link to thousands of hosts: each begins with steps of milliseconds, and the loop must go on."""
    begun_in_turn = []

    async def run():
        monkeypatch.setattr(sys.modules[__name__], "MOST_OPEN", 1_000)
        scene = Scene()
        send, turn = scene.files._send, [0]

        def counted(batch):
            begun_in_turn.append(turn[0])
            return send(batch)

        monkeypatch.setattr(scene.files, "_send", counted)

        async def turns():
            while True:
                turn[0] += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(turns())
        futures = scene.files.fetch([FileRequest.of_url(f"http://h{number}/a.jpg") for number in range(500)])
        results = await asyncio.wait_for(asyncio.gather(*futures), PATIENCE_S)
        await scene.end()
        task.cancel()
        assert {result.status for result in results} == {DOWNLOADED}

    asyncio.run(run())
    assert len(begun_in_turn) == 500
    assert max(begun_in_turn.count(turn) for turn in set(begun_in_turn)) <= 2 * _SENT_AT_ONCE
