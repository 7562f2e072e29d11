"""Threads that carry out calls for an event loop: what a call uses can be closed once the call is awaited."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mediacrawl.server.loop_threads import LoopThreads, ServerThreads


def test_a_call_has_its_result_or_its_error():
    def half(number):
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number // 2

    async def calls():
        with LoopThreads(2, "test") as threads:
            return await asyncio.gather(*(threads.run(half, number) for number in range(4)), return_exceptions=True)

    found = asyncio.run(calls())
    assert found[::2] == [0, 1]
    assert [str(error) for error in found[1::2]] == ["1 is odd", "3 is odd"]


def test_the_loop_goes_on_meanwhile_and_calls_run_side_by_side():
    barrier = threading.Barrier(3)

    async def calls():
        with LoopThreads(3, "test") as threads:
            running = asyncio.gather(*(threads.run(barrier.wait, 10.0) for _ in range(3)))
            turns = 0
            while not running.done():
                await asyncio.sleep(0)
                turns += 1
            return turns, sorted(await running)

    turns, numbers = asyncio.run(calls())
    assert (turns > 1, numbers) == (True, [0, 1, 2])


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_task_ends_after_its_call(fails, times):
    """Else a descriptor that the call reads would be closed, and opened by somebody else for another file."""
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def call(_):
        begun.set()
        assert may_end.wait(20)
        ended.append(True)
        if fails:
            raise OSError("gone")

    async def main():
        with LoopThreads(1, "test") as threads:
            task = asyncio.create_task(threads.run(call, None))
            await asyncio.to_thread(begun.wait)
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
            may_end.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ended == [True]

    asyncio.run(main())


def test_all_calls_have_returned_at_the_end():
    ended, threads = [], ServerThreads()

    async def main():
        with threads:
            calls = [asyncio.ensure_future(threads.disk.run(ended.append, number)) for number in range(20)]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert sorted(ended) == list(range(20))
    with pytest.raises(RuntimeError, match="the threads have ended"):
        asyncio.run(threads.disk.run(ended.append, 20))
    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith(("disk", "sending"))] == []
