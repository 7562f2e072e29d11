"""Pages whose head has no end: they are given up before the head has taken memory."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from types import SimpleNamespace

import pytest
from crawling import run
from scrapy.exceptions import DownloadFailedError
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from mediacrawl.crawl.page_heads import invalid_head, limit_heads
from mediacrawl.transport.fields import InvalidHead

BEGINNINGS = {
    "fields": (b"HTTP/1.1 200 OK\r\n", b"X-A: aaaaaaaaaaaaaaaa\r\n"),
    "interim responses": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "a field in many lines": (b"HTTP/1.1 200 OK\r\nX-A: a\r\n", b" aaaaaaaaaaaaaaaaaa\r\n"),
}
MOST = 400_000  # lines


@contextlib.contextmanager
def server_without_end(beginning, line):
    """A server that sends a head without end; `sent` counts the bytes of each connection."""
    sent = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            if b"robots.txt" in self.request.recv(65536):
                self.request.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            sent.append(0)
            with contextlib.suppress(OSError):
                self.request.sendall(beginning)
                for _ in range(MOST // 1000):
                    self.request.sendall(line * 1000)
                    sent[-1] += 1000 * len(line)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/", sent
        finally:
            server.shutdown()


@pytest.mark.parametrize(("beginning", "line"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_page_whose_head_has_no_end_is_given_up_at_once(tmp_path, beginning, line):
    with server_without_end(beginning, line) as (url, sent):
        done = run(tmp_path, "crawl", "site", "-a", f"url={url}")
    assert done.status == 1
    assert f"{url}: page: the head of the response has more than 10,000 lines" in done.err
    assert len(sent) == 1  # and it is not requested again
    assert sent[0] < MOST * len(line)


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([Failure(InvalidHead("too large"))], "too large"),
        ([Failure(ValueError("x"))], None),
        ([ValueError("of HTTP/2"), InvalidHead("last")], "last"),
        ([], None),
    ],
)
def test_a_head_that_was_refused_is_found_among_the_reasons_of_both_handlers(reasons, expected):
    error = DownloadFailedError("failed")
    error.__cause__ = ResponseFailed(reasons)
    found = invalid_head(error)
    assert (str(found) if found else None) == expected
    assert invalid_head(DownloadFailedError("alone")) is None


class Event(SimpleNamespace):
    """An event of h2: its kind is the name of its class."""


class H2Connection:
    """What Scrapy's handler for HTTP/2 has as a connection."""

    def __init__(self):
        self.handled, self._conn_lost_errors, self.is_aborted = [], [], False
        self.transport = SimpleNamespace(abortConnection=lambda: setattr(self, "is_aborted", True))

    def _handle_events(self, events):
        self.handled += events


class H2Pool:
    __module__ = "scrapy.core._http2.agent"

    def put_connection(self, connection, _key):
        return connection


def event(kind, **facts):
    return type(kind, (Event,), {})(**facts)


@pytest.mark.parametrize(
    ("between", "is_given_up"),
    [
        ([], True),
        ([event("DataReceived", data=b"")], True),
        ([event("DataReceived", data=b"x")], False),
        ([event("ResponseReceived")], False),
    ],
    ids=["frames only", "empty data", "data", "a response"],
)
@pytest.mark.parametrize("kind", ["InformationalResponseReceived", "PingReceived", "RemoteSettingsChanged"])
def test_a_connection_of_http_2_on_which_nothing_but_frames_come_is_given_up(kind, between, is_given_up):
    handler = SimpleNamespace(_pool=H2Pool())
    for _ in range(2):
        limit_heads(handler)
    connection = handler._pool.put_connection(H2Connection(), "key")
    for _ in range(11):
        connection._handle_events([event(kind)] * 1000 + between)
    assert connection.is_aborted == is_given_up
    assert [str(error) for error in connection._conn_lost_errors] == [
        "more than 10,000 frames have come that are no part of a page"
    ] * is_given_up
    assert len(connection.handled) >= 9_000
