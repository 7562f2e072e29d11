"""Pages whose head has no end: they are given up before the head has taken memory."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading

import pytest
from crawling import run
from scrapy.exceptions import DownloadFailedError
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from mediacrawl.crawl.page_heads import invalid_head
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
