"""Values that are read once in a turn of the event loop: many requests share them, and none gets an older one."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from contextlib import closing

import pytest
from test_http_server import serving

from mediacrawl.server import http_server, turns
from mediacrawl.server.turns import TurnCache

CLIENTS, REQUESTS = 8, 200


def test_a_value_is_read_once_in_a_turn():
    read = []
    cache = TurnCache(lambda key: read.append(key) or len(read))

    async def ask(key):
        return cache.get(key)

    async def turns():
        first = await asyncio.gather(*(ask(key) for key in "aabba"))
        await asyncio.sleep(0)
        return first, await asyncio.gather(*(ask(key) for key in "ba"))

    assert asyncio.run(turns()) == ([1, 1, 2, 2, 1], [3, 4])
    assert read == ["a", "b", "b", "a"]


def test_an_error_is_not_kept():
    answers = iter([OSError("busy"), 7])

    def read(_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def twice():
        cache = TurnCache(read)
        with pytest.raises(OSError, match="busy"):
            cache.get(1)
        return cache.get(1)

    assert asyncio.run(twice()) == 7


def test_what_was_read_before_bytes_arrive_is_dropped():
    """Since Python 3.12 their request may be answered in the turn in which they arrive."""

    async def main():
        read = []
        cache = TurnCache(lambda key: read.append(key) or len(read))
        first = cache.get("a"), cache.get("a")
        turns.drop_values()
        return first, cache.get("a")

    assert asyncio.run(main()) == ((1, 1), 2)


def test_a_request_that_is_queued_during_a_read_is_answered_by_what_is_read_afterwards():
    """By another thread of the server, as granian has them."""

    async def main():
        told = []

        def read(_):
            if not told:
                told.append("asked")
                asyncio.get_running_loop().call_soon(lambda: told.append(cache.get(None)))
                return "before"
            return "after"

        cache = TurnCache(read)
        told.append(cache.get(None))
        await asyncio.sleep(0)
        return told

    assert asyncio.run(main()) == ["asked", "before", "after"]


def test_the_server_drops_them_whenever_bytes_arrive(monkeypatch):
    dropped = []
    monkeypatch.setattr(http_server, "drop_values", lambda: dropped.append(True))
    with serving(Telling()) as port, closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        for number in range(1, 4):
            connection.request("GET", "/")
            connection.getresponse().read()
            assert len(dropped) >= number


class Telling:
    """An application that tells the time at which a value was read."""

    def __init__(self):
        self._cache = TurnCache(lambda _: time.perf_counter_ns())

    async def __rsgi__(self, scope, protocol):
        protocol.response_bytes(200, [("Content-Type", "text/plain")], str(self._cache.get(scope.path)).encode())


def test_no_request_is_answered_by_what_was_read_before_it_was_sent():
    older = []

    def ask(port):
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            for _ in range(REQUESTS):
                sent = time.perf_counter_ns()
                connection.request("GET", "/")
                if (told := int(connection.getresponse().read())) < sent:
                    older.append((told, sent))

    with serving(Telling()) as port:
        clients = [threading.Thread(target=ask, args=[port]) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert older == []
