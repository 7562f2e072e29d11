"""Work in daemon threads: results, errors, and an end that waits for nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mediacrawl.system.threads import iterate_in_thread, start_thread

WAIT_S = 30


def test_a_function_gives_its_result_or_raises():
    assert start_thread(lambda: 42, "test").result(WAIT_S) == 42
    with pytest.raises(ZeroDivisionError):
        start_thread(lambda: 1 / 0, "test").result(WAIT_S)


def collected(items, until=None):
    async def collect():
        found = []
        iterating = iterate_in_thread(items, "test")
        try:
            async for item in iterating:
                found.append(item)
                if item == until:
                    break
        finally:
            await iterating.aclose()
        return found

    return asyncio.run(collect())


def test_all_items_come_in_their_order():
    assert collected(range(100)) == list(range(100))
    assert collected([]) == []


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        collected(items())


def test_no_more_is_produced_than_is_used_and_a_little_ahead():
    produced, left = [], threading.Event()

    def items():
        try:
            for number in range(100):
                produced.append(number)
                yield number
        finally:
            left.set()

    assert collected(items(), until=5) == list(range(6))
    assert len(produced) <= 10


def test_an_iteration_that_is_left_off_waits_for_no_item():
    never = threading.Event()

    def items():
        yield 1
        never.wait(WAIT_S)

    assert collected(items(), until=1) == [1]
    never.set()
