"""The content of a form that does not arrive in time, or that too many send, in the bridge alone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from mediacrawl.server import wsgi_bridge
from mediacrawl.server.proxies import Client
from mediacrawl.server.routing import Part, RequestHead, RoutedRequest
from mediacrawl.server.wsgi_bridge import WsgiBridge


class Protocol:
    """What a server does: `chunks` are the content of the request; after them nothing comes, unless it is `None`."""

    def __init__(self, *chunks):
        self._chunks = list(chunks)
        self.status = self.content = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._chunks:
            await asyncio.Event().wait()
        chunk = self._chunks.pop(0)
        return b"" if chunk is None else chunk

    def response_bytes(self, status, headers, content):
        self.status, self.content = status, content

    def response_empty(self, status, headers):
        self.status, self.content = status, b""


def request(length, method="POST"):
    head = RequestHead(method=method, path="/x", peer="", scheme="http", host="localhost", field={}.get)
    return head, RoutedRequest(Client("127.0.0.1", "http", "localhost"), Part.PAGES, "/x", length)


def echo(environ, start_response):
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


def answered(*protocols, length, application=echo, within_s=60.0):
    async def main():
        bridge = WsgiBridge(application, body_within_s=within_s)
        await asyncio.gather(*(bridge.respond(*request(length), protocol) for protocol in protocols))
        bridge.close()

    asyncio.run(main())
    return [protocol.status for protocol in protocols]


def test_content_arrives_in_chunks():
    protocol = Protocol(b"ab", b"c")
    assert answered(protocol, length=3) == [200]
    assert protocol.content == b"abc"


def test_content_that_does_not_arrive_is_not_waited_for():
    assert answered(Protocol(b"ab"), length=3, within_s=0.01) == [408]
    assert answered(Protocol(b"ab"), length=300_000, within_s=0.01) == [408]


def test_content_that_is_broken_off_reaches_no_page():
    assert answered(Protocol(b"ab", None), length=3) == [400]


def test_large_forms_that_do_not_arrive_do_not_keep_small_ones_waiting():
    async def main():
        bridge = WsgiBridge(echo)
        slow = [asyncio.create_task(bridge.respond(*request(500_000), Protocol())) for _ in range(200)]
        await asyncio.sleep(0)
        quick = Protocol(b"abc")
        await bridge.respond(*request(3), quick)
        for task in slow:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        bridge.close()
        return quick.status

    assert asyncio.run(main()) == 200


def test_a_page_that_nobody_waits_for_any_more_leaves_no_thread(monkeypatch):
    """Too many requests at a time are told to come again, and the others are answered."""
    monkeypatch.setattr(wsgi_bridge, "_MOST_WAITING", 3)
    go = threading.Event()

    def slow(environ, start_response):
        go.wait(60)
        return echo(environ, start_response)

    async def main():
        bridge = WsgiBridge(slow)
        protocols = [Protocol() for _ in range(20)]
        tasks = [asyncio.create_task(bridge.respond(*request(0), protocol)) for protocol in protocols]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        other = Protocol()  # the threads of pages are others
        task = asyncio.create_task(bridge.respond(*request(0, "GET"), other))
        go.set()
        await asyncio.gather(*tasks, task)
        bridge.close()
        return sorted(protocol.status for protocol in protocols), other.status

    assert asyncio.run(main()) == ([200] * 7 + [503] * 13, 200)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_response_is_closed_in_a_thread(method):
    closed = []

    class Content(list):
        def close(self):
            closed.append(threading.current_thread().name)

    def application(environ, start_response):
        start_response("404 Not Found", [("Content-Length", "3")])
        return Content([b"abc"])

    async def main():
        bridge, protocol = WsgiBridge(application), Protocol()
        await bridge.respond(*request(0, method), protocol)
        bridge.close()
        return protocol

    protocol = asyncio.run(main())
    assert (protocol.status, protocol.content) == (404, b"" if method == "HEAD" else b"abc")
    assert len(closed) == 1
    assert closed[0].startswith("pages")


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [("localhost", "localhost", "80"), ("media.example:8000", "media.example", "8000"), ("[::1]:81", "[::1]", "81"),
     ("[::1]", "[::1]", "80")],
)  # fmt: skip
def test_the_environment_names_the_server_as_the_client_does(host, name, port):
    head, route = request(0)
    environ = wsgi_bridge.environ_of(head, route._replace(client=Client("", "http", host)), "/media", b"")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["HTTP_HOST"]) == (name, port, host)
    assert environ["SCRIPT_NAME"] == "/media"
