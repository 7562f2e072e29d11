"""What our RSGI server adds to the tables of all doors: TLS, limits of connections, broken and slow clients."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from certificates import Authority
from crawling import wait_until

from mediacrawl.server import http_response, http_server
from mediacrawl.server.rsgi import rsgi_app

BIG = os.urandom(1 << 20) * 12
LIMIT_S = 60


class Echo:
    """An application that tells the content of each request, or does what its path says."""

    def __init__(self):
        self.contents = {}

    async def __rsgi__(self, scope, protocol):
        content = self.contents[scope.path] = bytearray()
        if scope.path == "/nothing":
            return
        if scope.path == "/fails":
            raise LookupError("secret")
        if scope.path == "/field":
            protocol.response_bytes(200, [("X-A", "b\r\nX-Evil: 1")], b"x")
            return
        if scope.path == "/unread":
            protocol.response_bytes(413, [("Connection", "close")], b"too much")
            return
        try:
            async for chunk in protocol:
                content += chunk
        except ConnectionResetError:
            self.contents[scope.path] = bytes(content) + b" and gone"
            return
        told = f"{scope.http_version} {scope.path!r} {scope.authority} {scope.query_string} {len(content)}"
        protocol.response_bytes(200, [("Content-Type", "text/plain")], told.encode("utf-8", "backslashreplace"))


@contextmanager
def serving(application, *, connections=100, tls=None):
    """Serve in a thread; yield the port. The end is that of the server on a signal."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        loop = asyncio.new_event_loop()
        handlers = {}
        loop.add_signal_handler = handlers.__setitem__
        running = http_server.serve_http(application, listener, most_connections=connections, tls=tls)
        thread = threading.Thread(target=loop.run_until_complete, args=[running])
        thread.start()
        try:
            yield port
        finally:
            wait_until(lambda: handlers)
            loop.call_soon_threadsafe(handlers[signal.SIGTERM])
            thread.join(LIMIT_S)
            assert not thread.is_alive()
            loop.close()


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def answered(sock, until=b""):
    found = b""
    while (not until or until not in found) and (data := sock.recv(65536)):
        found += data
    return found


def asked(port, head):
    with connected(port) as sock:
        sock.sendall(head)
        return answered(sock)


@pytest.fixture
def echo():
    application = Echo()
    with serving(application) as port:
        application.port = port
        yield application


@pytest.fixture
def film(tmp_path):
    (tmp_path / "store").mkdir()
    path = tmp_path / "store/film.mp4"
    path.write_bytes(BIG)
    return path


@contextmanager
def files_served(film, **more):
    app = rsgi_app(str(film.parent))
    try:
        with serving(app, **more) as port:
            yield port
    finally:
        app.close()
        app.site.close()


# Requests


def test_the_target_is_decoded_as_the_system_writes_names(echo):
    end = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    told = {
        b"GET /a%20%ff/%C3%A9?q=%20": rb"1.1 '/a \udcff/" + "é' None q=%20 0".encode(),
        b"GET http://b:1/c?d": b"1.1 '/c' b:1 d 0",
        b"GET http://b": b"1.1 '/' b  0",
        b"GET /a?b?c": b"1.1 '/a' None b?c 0",
        b"OPTIONS *": b"1.1 '*' None  0",
    }
    for begin, expected in told.items():
        assert asked(echo.port, begin + end).endswith(expected), begin


def test_requests_on_one_connection_are_answered_in_order(echo):
    head = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n%b\r\nabc"
    found = asked(echo.port, b"".join(head % (n, b"Connection: close\r\n" * (n == 9)) for n in range(10)))
    answers = found.split(b"HTTP/1.1 200 OK")[1:]
    assert [answer.rpartition(b"1.1 ")[2] for answer in answers] == [f"'/{n}' None  3".encode() for n in range(10)]


def test_another_protocol_is_not_begun(echo):
    with connected(echo.port) as sock:
        for number, name in enumerate([b"websocket", b"h2c", b"h2c"]):
            head = b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
            sock.sendall(head % (number, name))
            assert answered(sock, b"'/%d' None  0" % number).startswith(b"HTTP/1.1 200 OK\r\n")
    answer = asked(echo.port, b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b" 'b:443' None  0")


def test_a_client_of_http_1_0_is_told_whether_the_connection_stays(echo):
    assert b"Connection: close" in asked(echo.port, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    with connected(echo.port) as sock:
        for _ in range(2):
            sock.sendall(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            assert b"Connection: keep-alive" in answered(sock, b"'/' None  0")


def test_a_client_that_waits_is_told_to_continue(echo):
    with connected(echo.port) as sock:
        sock.sendall(b"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert answered(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"12345")
        assert answered(sock, b"'/a' None  5").startswith(b"HTTP/1.1 200 OK\r\n")
    refused = asked(
        echo.port, b"PUT /unread HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    assert refused.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /<script> HTTP/9.9\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_a_line_without_names_of_programs(echo, head):
    answer = asked(echo.port, head)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nThe request is not valid.")
    assert not [name for name in (b"aiohttp", b"Python", b"script") if name in answer]


@pytest.mark.parametrize("path", ["/fails", "/nothing", "/field"])
def test_a_fault_of_the_application_is_told_without_its_text(echo, path, caplog):
    answer = asked(echo.port, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert answer.endswith(b"\r\n\r\nThe server has failed.")
    assert b"Evil" not in answer
    assert "the application has failed at a request" in caplog.text


def test_what_has_come_of_a_broken_content_is_passed_on(echo):
    with connected(echo.port) as sock:
        sock.sendall(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + b"x" * 300_000)
    wait_until(lambda: bytes(echo.contents.get("/a", b"")).endswith(b" and gone"))
    assert len(echo.contents["/a"]) == 300_000 + len(" and gone")
    with connected(echo.port) as sock:
        sock.sendall(b"PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        wait_until(lambda: echo.contents.get("/b") == b"abc")
        sock.sendall(b"zz\r\n")
    wait_until(lambda: echo.contents["/b"] == b"abc and gone")


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(http_server, "HEAD_WITHIN_S", 0.2)
    with serving(Echo()) as port:
        for begin in (b"", b"GET / HTTP/1.1\r\nHost:", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"):
            with connected(port) as sock:
                sock.sendall(begin)
                assert (b"200 OK" in answered(sock)) == begin.endswith(b"HT")


def test_further_clients_wait_for_a_place():
    with serving(Echo(), connections=2) as port, ExitStack() as held:
        first, _second, third = [held.enter_context(connected(port)) for _ in range(3)]
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        first.sendall(request)
        answered(first, b"'/' None  0")
        third.sendall(request)
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            third.recv(1)
        first.close()
        third.settimeout(LIMIT_S)
        assert answered(third, b"'/' None  0").startswith(b"HTTP/1.1 200 OK")


# Responses


def read_whole(connection, path="/film.mp4", **fields):
    connection.request("GET", path, headers=fields)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("is_in_memory", [True, False])
@pytest.mark.parametrize("is_secure", [True, False])
def test_a_large_file_arrives_whole(film, tmp_path, monkeypatch, is_secure, is_in_memory):
    monkeypatch.setattr(http_response.SentFile, "is_in_memory", lambda _: is_in_memory)
    tls, context = None, None
    if is_secure:
        tls = Authority(tmp_path).context("localhost")
        context = ssl._create_unverified_context()
    with files_served(film, tls=tls) as port:
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        more = {"context": context} if is_secure else {}
        with closing(kind("127.0.0.1", port, timeout=LIMIT_S, **more)) as connection:
            assert read_whole(connection) == (200, BIG)
            assert read_whole(connection, Range="bytes=5-9000000") == (206, BIG[5:9000001])
            status, content = read_whole(connection, Range="bytes=0-3000000,5000000-")
            assert status == 206
            assert BIG[:3000001] in content
            assert BIG[5000000:] in content


def test_slow_clients_get_all_and_others_do_not_wait(film):
    with files_served(film) as port, ExitStack() as held:
        slow = [held.enter_context(connected(port)) for _ in range(20)]
        for sock in slow:
            sock.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)) as connection:
            assert read_whole(connection, Range="bytes=1-3") == (206, BIG[1:4])
        for sock in slow:
            assert answered(sock).endswith(BIG)


def test_a_file_that_becomes_shorter_breaks_the_connection_off(film, caplog):
    with files_served(film) as port, connected(port) as sock:
        sock.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.recv(1)
        os.truncate(film, 1000)
        found = answered(sock)
        assert len(found) < len(BIG)
    assert "a response breaks off: the file has become shorter" in caplog.text


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_client_that_ends_its_side_while_a_thread_sends_leaves_nothing_open(film, monkeypatch):
    """Nothing would wake a response that waits for it: its own descriptor keeps the connection."""
    is_lost, lose, really_send = (
        threading.Event(),
        http_response.Response.lose_connection,
        http_response.SentFile.send,
    )
    is_full = threading.Event()

    def lose_connection(response):
        lose(response)
        is_lost.set()

    def send(file, out):
        try:
            really_send(file, out)
        except BlockingIOError:
            is_full.set()
            assert is_lost.wait(LIMIT_S)
            raise

    monkeypatch.setattr(http_response.Response, "lose_connection", lose_connection)
    monkeypatch.setattr(http_response.SentFile, "send", send)
    with files_served(film) as port:
        wait_until(lambda: threading.active_count() > 2)
        before = descriptors()
        with connected(port) as sock:
            sock.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert is_full.wait(LIMIT_S)
            sock.shutdown(socket.SHUT_WR)
            assert is_lost.wait(LIMIT_S)
            wait_until(lambda: descriptors() <= before + 2)  # of the client, and of the film


def test_clients_that_leave_leave_nothing_open(film):
    with files_served(film) as port, connected(port) as first:
        first.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n")
        answered(first, b"\r\n\r\n")
        before = descriptors()
        for _ in range(30):
            with connected(port) as sock:
                sock.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n")
                sock.recv(1)
        wait_until(lambda: descriptors() <= before + 1)  # the film stays open once


def test_the_end_does_not_wait_for_clients_that_do_not_read(film, monkeypatch):
    monkeypatch.setattr(http_server, "_ENDED_WITHIN_S", 0.1)
    with ExitStack() as held:
        with files_served(film) as port:
            sock = held.enter_context(connected(port))
            sock.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n")
            sock.recv(1)
            idle = held.enter_context(connected(port))
        assert answered(idle) == b""
        assert len(answered(sock)) < len(BIG)


def test_a_certificate_that_cannot_be_used_is_told_in_a_line(tmp_path):
    from mediacrawl.server.options import ServeOptions

    (tmp_path / "c.pem").write_text("no certificate")
    options = ServeOptions(store=tmp_path, tls_cert=tmp_path / "c.pem", tls_key=tmp_path / "c.pem")
    own, end = socket.socketpair()
    with own, end:
        own.sendall(f"{options.as_json()}\n".encode())
        command = [sys.executable, "-P", "-m", "mediacrawl.server.http_process", str(end.fileno())]
        done = subprocess.run(command, pass_fds=[end.fileno()], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/c.pem" in done.stderr
    assert len(done.stderr.splitlines()) == 1
