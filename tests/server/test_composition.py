"""The composed application in real servers: files, pages of the tests, and requests that try to get between them."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hostile_paths import SECRET, make_traps
from serving import COMPOSED, Server

from mediacrawl.server.options import ServeOptions

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
HEAD_END = "Host: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = make_traps(tmp_path_factory.mktemp("composed") / "store")
    (root / "~anna").mkdir()
    (root / "~anna" / "own.jpg").write_bytes(SECRET)
    (root / "page.html").write_text("<script>alert(1)</script>")
    (root / "a+b %41.txt").write_text("plus")
    (root / "two\nlines.txt").write_text("two lines")
    return root


@pytest.fixture(scope="module", params=COMPOSED)
def server(request, store):
    with Server(request.param, store, commands=COMPOSED, options=ServeOptions(store=store).as_json()) as running:
        running.kind = request.param
        yield running


@pytest.fixture(scope="module", params=COMPOSED)
def proxied(request, store):
    """Behind a proxy with TLS, below a prefix."""
    options = ServeOptions(
        store=store, prefix="/media", trusted_proxies=("unix",), hosts=("media.example",), accel_location="/inner"
    )
    with Server(request.param, store, commands=COMPOSED, options=options.as_json()) as running:
        yield running


def told(answer):
    assert answer[0] == 200, answer
    return json.loads(answer[2])


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def posted(server, path, body, **fields):
    fields = {"Content-Type": "application/x-www-form-urlencoded"} | fields
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    length = f"Content-Length: {len(body)}\r\n" if "Content_Length" not in fields else ""
    return server.raw(f"POST {path} HTTP/1.1\r\n{head}{length}{HEAD_END}".encode() + body)


def log_of(server, wanted):
    """Wait for a line of the access log."""
    server.ask("/last-of-all")
    for _ in range(6000):
        if any("/last-of-all" in line for line in server.log) and any(wanted in line for line in server.log):
            return [line for line in server.log if wanted in line]
        threading.Event().wait(0.01)
    raise AssertionError("".join(server.log))


# Files and pages


def test_files_and_pages_have_their_paths(server):
    assert server.ask("/files/a/b/c.jpg")[2] == b"picture"
    assert server.ask("/files/a/b/c.jpg", {"Range": "bytes=1-2"})[::2] == (206, b"ic")
    assert server.ask("/files/a%2Bb%20%2541.txt")[2] == server.ask("/files/a+b%20%2541.txt")[2] == b"plus"
    assert server.ask("/files/two%0Alines.txt")[2] == b"two lines"
    assert server.ask("/files/nothing.jpg")[0] == server.ask("/files/~anna/own.jpg")[0] == 404
    assert server.ask("/files/a/b/c.jpg", method="POST")[0] == 405
    for path in ("/", "/files/", "/files/a/", "/files", "/play/a/b/c.jpg", "/search?q=%C3%A9"):
        page = told(server.ask(path))
        assert page["PATH_INFO"] == path.partition("?")[0]
        assert page["QUERY_STRING"] == path.partition("?")[2]
        assert (page["SCRIPT_NAME"], page["scheme"]) == ("", "http")
    assert told(server.ask("/files/%C3%A9/"))["PATH_INFO"].encode("latin-1").decode() == "/files/é/"


def test_a_browser_that_gets_no_file_is_shown_the_page_of_its_path(server):
    for path in ("/files/nothing.jpg", "/files/~anna/own.jpg", "/files/told/x?a=b", "/files/a/b", "/files/%C3%A9%0A"):
        for headers in ({"Accept": "text/html,*/*;q=0.8"}, {"Sec-Fetch-Mode": "navigate"}):
            page = told(server.ask(path, headers))
            assert (page["PATH_INFO"], page["QUERY_STRING"]) == (
                unquote_to_bytes(path.partition("?")[0]).decode("latin-1"),
                path.partition("?")[2],
            )
        for headers in ({"Accept": "*/*"}, {"Accept": "text/html", "Sec-Fetch-Mode": "no-cors"}):
            assert server.ask(path, headers)[1]["content-type"] == "text/plain; charset=utf-8"
    assert server.ask("/files/a/b/c.jpg", {"Sec-Fetch-Mode": "navigate"})[2] == b"picture"
    assert server.ask("/files/nothing.jpg", {"Sec-Fetch-Mode": "navigate"}, "POST")[0] == 405


def test_health_is_told_to_each(server):
    status, fields, content = server.ask("/healthz")
    assert (status, content, fields["cache-control"]) == (200, b"ok\n", "no-store")
    assert status_of(server.raw(b"GET /healthz HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n")) == 200


def test_head_is_get_without_content(server):
    for path in ("/files/a/b/c.jpg", "/search", "/healthz", "/nothing", "/files/nothing", "/long"):
        answer = server.raw(f"HEAD {path} HTTP/1.1\r\n{HEAD_END}".encode())
        head, _, content = answer.partition(b"\r\n\r\n")
        assert content == b"", path
        assert re.search(rb"content-length: [1-9]", head.lower()), path


def test_a_page_has_the_fields_of_its_request(server):
    page = told(
        server.ask(
            "/",
            {
                "Cookie": "a=1; b=2",
                "Accept-Language": "de",
                "X-Forwarded-For": "198.51.100.1",
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-Proto": "https",
                "X_Forwarded_For": "198.51.100.2",
            },
        )
    )
    assert (page["HTTP_COOKIE"], page["HTTP_ACCEPT_LANGUAGE"]) == ("a=1; b=2", "de")
    assert (page["REMOTE_ADDR"], page["HTTP_HOST"]) == ("", "localhost")
    # gunicorn itself believes this field of a client at a socket in the file system.
    assert page["scheme"] == ("https" if server.kind == "gunicorn" else "http")
    assert not [name for name in page if "FORWARDED" in name]


def test_cookies_in_several_lines_are_one_list(server):
    answer = server.raw(f"GET / HTTP/1.1\r\nCookie: a=1\r\nCookie: b=2\r\n{HEAD_END}".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["HTTP_COOKIE"] in {"a=1; b=2", "a=1,b=2"}


# Behind a proxy

PROXIED = {"Host": "media.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1, 203.0.113.9"}


def test_a_trusted_proxy_tells_the_client(proxied):
    page = told(proxied.ask("/media/search?q=x", PROXIED))
    assert (page["REMOTE_ADDR"], page["HTTP_HOST"], page["scheme"]) == ("203.0.113.9", "media.example", "https")
    assert (page["SCRIPT_NAME"], page["PATH_INFO"], page["QUERY_STRING"]) == ("/media", "/search", "q=x")
    assert not [name for name in page if "FORWARDED" in name]
    assert proxied.ask("/media/files/told/x", PROXIED)[2] == b"203.0.113.9 told/x\n"
    assert proxied.ask("/files/a/b/c.jpg", PROXIED)[0] == proxied.ask("/mediafiles/a/b/c.jpg", PROXIED)[0] == 404
    assert proxied.ask("/media/files/a/b/c.jpg", PROXIED | {"Host": "evil.example"})[0] == 400
    assert proxied.ask("/media/files/a/b/c.jpg", PROXIED | {"X-Forwarded-Host": "evil.example"})[0] == 400
    assert proxied.ask("/media/files/a/b/c.jpg", {"Host": "media.example"})[0] == 400
    assert proxied.ask("/media/", PROXIED | {"X-Forwarded-Proto": "http"})[0] == 308


def test_nginx_is_asked_to_send_a_file(proxied):
    status, fields, content = proxied.ask(
        "/media/files/a%2Bb%20%2541.txt", PROXIED | {"Range": "bytes=0-1", "If-None-Match": "*"}
    )
    assert (status, content, fields["x-accel-redirect"]) == (200, b"", "/inner/a%2Bb%20%2541.txt")
    assert (fields["content-type"], fields["cache-control"]) == ("text/plain", "private, no-cache")
    assert proxied.ask("/media/files/page.html", PROXIED)[1]["content-disposition"].startswith("attachment")
    for path in ("nothing", "link", "up/secret", ".mediacrawl/secret.sqlite3", "~anna/own.jpg"):
        status, fields, _ = proxied.ask(f"/media/files/{path}", PROXIED)
        assert (status, "x-accel-redirect" in fields) == (404, False)


# Requests that try to get between


TARGETS = [
    "/files/../secret",
    "/files/..%2fsecret",
    "/files/%2e%2e/secret",
    "/files/%2e%2e%2fsecret",
    "/files/%252e%252e/secret",
    "/files/a/%2e%2e/%2e%2e/secret",
    "/files/a/..;/../secret",
    "/files/.mediacrawl/secret.sqlite3",
    "/files/%2emediacrawl/secret.sqlite3",
    "/files/.mediacrawl%2fsecret.sqlite3",
    "/files//.mediacrawl/secret.sqlite3",
    "/files/a/../.mediacrawl/secret.sqlite3",
    "/files/./.mediacrawl/secret.sqlite3",
    "/files/.mediacrawl/secret.sqlite3/",
    "/files/.mediacrawl/secret.sqlite3%00.jpg",
    "/files%2f.mediacrawl%2fsecret.sqlite3",
    "/%66iles/.mediacrawl/secret.sqlite3",
    "/files/%5c..%5csecret",
    "/files/~anna/own.jpg",
    "/files/%7eanna/own.jpg",
    "/files/%7Eanna%2Fown.jpg",
    "/files/./~anna/own.jpg",
    "/files//~anna/own.jpg",
    "/files/a/../~anna/own.jpg",
    "/files/a/%2e%2e/~anna/own.jpg",
    "/files/~anna/own.jpg?format=json",
    "/files/~anna/own.jpg;x",
    "/files/~anna/own.jpg%00",
    "/files/~ANNA/own.jpg",
    "//files/~anna/own.jpg",
    "/./files/~anna/own.jpg",
    "/play/../files/~anna/own.jpg",
    "/static/../files/.mediacrawl/secret.sqlite3",
    "/healthz/../files/~anna/own.jpg",
    "http://localhost/files/~anna/own.jpg",
    "http://localhost//files/~anna/own.jpg",
    "http://localhost@localhost/files/~anna/own.jpg",
    "files/~anna/own.jpg",
    "*",
]


def test_no_request_line_gets_a_secret(server):
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        for target in TARGETS:
            answer = server.raw(f"{method} {target} HTTP/1.1\r\n{HEAD_END}".encode())
            assert SECRET not in answer, (method, target)
            assert status_of(answer) in {200, 400, 404, 405, 411}, (method, target, answer[:100])
            if status_of(answer) == 200 and method == "GET":
                assert b'"REQUEST_METHOD": "GET"' in answer, "a page of the tests, which shows no files"


def test_an_absolute_target_is_for_the_host_in_it(server):
    for target, host, status in (
        ("http://localhost/files/a/b/c.jpg", "localhost", {200}),
        ("http://evil.example/files/a/b/c.jpg", "evil.example", {400}),
        ("http://evil.example/files/a/b/c.jpg", "localhost", {400} if server.kind == "aiohttp" else {200, 400}),
        ("http://localhost/files/a/b/c.jpg", "evil.example", {200} if server.kind == "aiohttp" else {200, 400}),
    ):
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert status_of(server.raw(head.encode())) in status, target


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "", "localhost:80:80", "localhost/x", "localhost\tx", "a\r\nHost: b"],
)
def test_another_host_gets_neither_files_nor_pages(server, host):
    for path in ("/files/a/b/c.jpg", "/", "/files/"):
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        answer = server.raw(head.encode())
        assert status_of(answer) == 400, answer
        assert b"picture" not in answer


def test_a_request_without_a_host_gets_nothing(server):
    for version in ("1.0", "1.1"):
        assert status_of(server.raw(f"GET / HTTP/{version}\r\nConnection: close\r\n\r\n".encode())) in {400, None}


# Content of requests


def test_a_page_gets_no_text_that_its_parsers_fail_at(server):
    """Encodings that are none, and parameters and quotes for which parsers of Python take a quadratic time."""
    target = b"/search?q=\xe2\x82\xac"
    fields = b"Content-Type: x; charset=hex; a*=bogus''%41\r\nCookie: a=\"" + b'\\"' * 2000 + b'"; b=1\r\n'
    answer = server.raw(b"GET " + target + b" HTTP/1.1\r\n" + fields + HEAD_END.encode())
    assert status_of(answer) in {200, 400}
    if status_of(answer) == 200:  # a server may refuse the target
        page = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert page["QUERY_STRING"].encode("latin-1") == b"q=\xe2\x82\xac"
    answer = server.raw(b"GET /search?q=%E2%82%AC HTTP/1.1\r\n" + fields + HEAD_END.encode())
    page = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (page["CONTENT_TYPE"], page["HTTP_COOKIE"].strip()) == ("", "b=1")
    other = f"POST /login HTTP/1.1\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n{HEAD_END}x"
    assert status_of(server.raw(other.encode())) == 415
    for path in ("/page", "/files/nothing.jpg"):  # a browser is shown a page for a file that is not there
        fields = f"Sec-Fetch-Mode: navigate\r\nAccept: {'a' * 8193}"
        long = server.raw(f"GET {path} HTTP/1.1\r\n{fields}\r\n{HEAD_END}".encode())
        assert status_of(long) in {431, 400}


def test_a_form_arrives_whole(server):
    body = os.urandom(300_000)
    answer = posted(server, "/login", body)
    page = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert page["body"].encode("latin-1") == body
    assert (page["CONTENT_TYPE"], page["CONTENT_LENGTH"]) == ("application/x-www-form-urlencoded", "300000")


def test_a_form_that_is_too_large_or_has_no_length_is_refused(server):
    assert status_of(posted(server, "/login", b"", Content_Length=1024 * 1024 + 1)) == 413
    assert status_of(posted(server, "/login", b"x" * 1024 * 1024)) == 200
    chunked = f"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{HEAD_END}1\r\nx\r\n0\r\n\r\n"
    assert status_of(server.raw(chunked.encode())) == 411
    assert server.ask("/healthz")[0] == 200


def test_a_form_that_is_broken_off_reaches_no_page(server):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(server.socket))
        sock.sendall(f"POST /broken-off HTTP/1.1\r\nContent-Length: 10\r\n{FORM}{HEAD_END}".encode() + b"12345")
        sock.shutdown(socket.SHUT_WR)
        answer = sock.recv(65536)
    assert status_of(answer) != 200
    assert server.ask("/healthz")[0] == 200


def test_forms_that_wait_leave_the_threads_of_the_pages(server):
    """Under gunicorn with a thread for each: there are enough of them here."""
    if server.kind != "aiohttp":
        return
    with ExitStack() as until_the_end:
        for _ in range(20):  # more than there are threads
            sock = until_the_end.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(server.socket))
            sock.sendall(f"POST /wait HTTP/1.1\r\nContent-Length: 1\r\n{FORM}{HEAD_END}x".encode())
        assert told(server.ask("/page"))["PATH_INFO"] == "/page"
        assert told(server.ask("/go"))["PATH_INFO"] == "/go"


# Content of responses


def test_a_long_page_is_whole_and_takes_little_memory(server):
    before = server.memory_mib()
    status, _, content = server.ask("/long")
    assert (status, content.count(b"x")) == (200, 20 * 1024 * 1024)
    if server.kind != "aiohttp":
        return
    with ExitStack() as until_the_end:
        for _ in range(20):
            sock = until_the_end.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(60)
            sock.connect(str(server.socket))
            sock.sendall(f"GET /long HTTP/1.1\r\n{HEAD_END}".encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        assert told(server.ask("/page"))["PATH_INFO"] == "/page"
        assert server.memory_mib() - before < 150, "20 such pages have 400 MiB"
    assert told(server.ask("/page"))["PATH_INFO"] == "/page"


def test_a_page_that_fails_is_an_error_and_no_end_of_the_server(server):
    status, _, content = server.ask("/broken")
    assert status == 500
    assert b"LookupError" not in content
    with suppress(http.client.HTTPException, OSError):  # the connection may be broken
        assert len(server.ask("/breaks")[2]) < 5_000_000
    assert told(server.ask("/page"))["PATH_INFO"] == "/page"


# The access log


def test_the_log_tells_the_range_and_no_secret(server):
    server.ask("/files/a/b/c.jpg", {"Range": "bytes=1-2"})
    (line, *_) = log_of(server, '"bytes=1-2"')
    assert re.match(r'\S+ - - \[[^\]]+\] "GET /files/a/b/c.jpg HTTP/1.1" 206 2 "bytes=1-2" [0-9.]+ ms\n', line)
    server.ask("/invitation/TOKENTOKEN?q=SECRETQUERY")
    server.ask("/invitation/TOKENTOKEN/more")
    server.ask("/Invitation/TOKENTOKEN")
    server.ask("/x%0A127.0.0.1%20forged%1B[31m%22%E2%80%AE")
    lines = log_of(server, "forged")
    assert len(lines) == 1
    assert '"GET /x\\n127.0.0.1 forged\\x1b[31m%22\\u202e HTTP/1.1"' in lines[0]
    text = "".join(server.log)
    assert "/invitation/*** HTTP" in text
    assert "TOKENTOKEN" not in text
    assert "SECRETQUERY" not in text


def test_the_processes_leave_no_files(server, store):
    """A server that reads changes nothing."""
    assert not list(Path(store).glob("*.log"))
