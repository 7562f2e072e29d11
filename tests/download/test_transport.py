"""The one file that knows `requests`: what it sends, what it gives, and its errors in words."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time

import pytest
import requests
from origin import (
    Answer,
    Pattern,
    chunked,
    close_delimited,
    dead_port,
    drop_after,
    headers_without_end,
    reset_on_connect,
    set_cookie,
    stall_after,
    truncate_chunked,
)

from mediacrawl.errors import ConnectError, ConnectionLost, InvalidResponse, UnsupportedURL
from mediacrawl.transport.curl import CurlTransport
from mediacrawl.transport.requests_transport import RequestsTransport

BODY = Pattern(700_000, 1)


@pytest.fixture
def transport(transport_kind):
    made = transport_kind()
    yield made
    made.close()


def get(transport, url, headers=(), *, proxy=None, timeout_s=30.0):
    return transport.get(url, dict(headers), proxy=proxy, timeout_s=timeout_s)


def read(transport, url, **more):
    answer = get(transport, url, **more)
    try:
        return b"".join(answer.blocks())
    finally:
        answer.close()


@pytest.mark.parametrize("framing", [None, chunked(), close_delimited()], ids=lambda fault: fault and fault.name)
def test_a_body_comes_whole_in_blocks_of_at_most_a_mib(transport, origin, framing):
    body = Pattern(5_000_000, 1)
    url = origin.add("/a", body, faults=[framing] if framing else [])
    answer = get(transport, url)
    blocks = list(answer.blocks())
    answer.close()
    assert b"".join(blocks) == body.read()
    assert all(0 < len(block) <= 1024 * 1024 for block in blocks)
    assert (answer.status, answer.reason, answer.url) == (200, "OK", url)


def test_a_block_is_given_as_soon_as_it_is_there(transport, origin):
    url = origin.add("/a", BODY, faults=[stall_after(1000)])
    answer = get(transport, url)
    blocks, came = answer.blocks(), b""
    while len(came) < 1000:  # a read of a whole MiB would wait for the rest
        came += next(blocks)
    assert came == BODY.read(0, 1000)
    answer.close()


def test_header_names_are_in_lower_case_and_values_joined(transport, origin):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"
    answer = get(transport, origin.on("/a", lambda _: raw))
    answer.close()
    assert (answer.headers["x-a"], answer.headers["set-cookie"]) == ("1, 2", "a=1\nb=2")


def test_what_is_sent_is_what_was_given(transport, origin):
    url = origin.add("/a", b"")
    read(transport, url, headers={"User-Agent": "me", "Accept-Encoding": "identity", "X-A": "é"}.items())
    sent = origin.requests[0].headers
    assert (sent.pop("host"), sent.pop("x-a")) == (origin.netloc, "é")
    assert sent == {"user-agent": "me", "accept-encoding": "identity"}


def test_no_cookie_is_kept_from_one_request_to_the_next(transport, origin):
    url = origin.add("/a", b"", faults=[set_cookie("a=1; Path=/")])
    read(transport, url)
    read(transport, url)
    assert all("cookie" not in request.headers for request in origin.requests)


def test_neither_the_environment_nor_netrc_has_a_say(transport, origin, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{dead_port()}")
    assert read(transport, origin.add("/a", b"x")) == b"x"
    assert "authorization" not in origin.requests[0].headers


def test_a_proxy_is_asked_with_its_credentials(transport, origin):
    origin.on("/a", lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
    assert read(transport, "http://nowhere.invalid/a", proxy=f"http://me:pw@{origin.netloc}") == b"x"
    (asked,) = origin.requests
    assert asked.target == "http://nowhere.invalid/a"
    assert asked.headers["proxy-authorization"] == "Basic bWU6cHc="


def test_redirects_are_not_followed(transport, origin):
    answer = get(transport, origin.redirect("/a", "/b"))
    answer.close()
    assert (answer.status, answer.headers["location"], len(origin.requests)) == (302, "/b", 1)


@pytest.mark.parametrize("way", ["proxy", "session"])
def test_the_body_of_a_redirect_that_comes_byte_by_byte_is_not_waited_for(origin, way):
    class Theirs(requests.Session):
        pass

    url, proxy = origin.url("/a"), None
    origin.on("/a", lambda _: Answer(302, [("Location", "/b")], b"x" * 1000, drip_at=10, drip_bytes_per_s=2))
    if way == "proxy":
        url, proxy = "http://nowhere.invalid/a", f"http://{origin.netloc}"
    transport = RequestsTransport(Theirs) if way == "session" else RequestsTransport()
    began = time.monotonic()
    answer = transport.get(url, {}, proxy=proxy, timeout_s=30.0)
    assert (answer.status, answer.headers["location"]) == (302, "/b")
    answer.close()
    transport.close()
    assert time.monotonic() - began < 20  # of 500 s


def test_a_connection_to_a_proxy_is_used_again_after_a_redirect(origin):
    origin.on("/a", lambda _: Answer(302, [("Location", "/b")], b"moved"))
    with contextlib.closing(RequestsTransport()) as transport:
        for _ in range(3):
            transport.get("http://nowhere.invalid/a", {}, proxy=f"http://{origin.netloc}", timeout_s=30.0).close()
    assert len({request.client_port for request in origin.requests}) == 1


def test_a_connection_is_used_again_after_a_whole_body_and_not_after_half_a_one(transport, origin):
    url = origin.add("/a", BODY, faults=[stall_after(100_000).after(2)])
    read(transport, url)
    read(transport, url)
    assert origin.connections == 1
    answer = get(transport, url)
    next(answer.blocks())
    answer.close()
    assert read(transport, url) == BODY.read()
    assert origin.connections == 2


def test_each_thread_has_a_session_and_close_ends_them_all(origin):
    sessions = []

    def factory():
        sessions.append(requests.Session())
        return sessions[-1]

    transport = RequestsTransport(factory)
    url = origin.add("/a", b"x")
    threads = [threading.Thread(target=read, args=(transport, url)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert read(transport, url) == read(transport, url) == b"x"
    assert len(sessions) == 4
    transport.close()
    assert all(not adapter.poolmanager.pools for session in sessions for adapter in session.adapters.values())


def test_a_body_comes_in_the_coding_in_which_it_was_sent(transport, origin):
    packed = gzip.compress(bytes(3_000_000))
    url = origin.add("/a", packed, headers={"Content-Encoding": "gzip"})
    assert read(transport, url) == packed


def test_a_read_that_waits_is_woken_by_an_abort(transport, origin):
    answer = get(transport, origin.add("/a", BODY, faults=[stall_after(1000)]))
    blocks = answer.blocks()
    next(blocks)
    thread = threading.Timer(0.05, answer.abort)
    thread.start()
    with pytest.raises(ConnectionLost, match="ended before the end of the body"):
        list(blocks)
    thread.join()
    answer.close()


def raw(*fields, body=b"12345"):
    lines = [b"HTTP/1.1 200 OK", *(field.encode("latin-1") for field in fields), b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


@pytest.mark.parametrize("name", ["Location", "Content-Type", "ETag", "Content-Range", "Content-Disposition"])
def test_a_field_that_is_repeated_counts_once(transport, origin, name):
    answer = get(transport, origin.on("/a", lambda _: raw(f"{name}: x/y", f"{name.lower()}:  x/y ", "A: 1", "A: 2")))
    assert (answer.headers[name.lower()], answer.headers["a"]) == ("x/y", "1, 2")
    answer.close()


@pytest.mark.parametrize("name", ["Location", "Content-Type", "ETag", "Content-Range", "Content-Disposition"])
def test_a_field_that_contradicts_itself_is_no_response(transport, origin, name):
    url = origin.on("/a", lambda _: raw(f"{name}: http://me:secret@h/", f"{name}: other"))
    with pytest.raises(InvalidResponse, match=f"{url}: the response has two {name} fields that differ") as caught:
        get(transport, url)
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ("text/html, text/html", "text/html"),
        ("image/jpeg,image/jpeg", "image/jpeg"),
        ("text/html, image/jpeg", "text/html, image/jpeg"),
    ],
)
def test_a_content_type_that_a_gateway_has_joined_counts_once(transport, origin, value, read_as):
    answer = get(transport, origin.on("/a", lambda _: raw(f"Content-Type: {value}")))
    assert answer.headers["content-type"] == read_as
    answer.close()


def test_a_chunked_body_whose_coding_is_named_twice_is_chunked_once(transport, origin):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read(transport, origin.on("/a", lambda _: head + b"5\r\n12345\r\n0\r\n\r\n")) == b"12345"


@pytest.mark.parametrize("when", ["read", "closed"])
def test_an_abort_that_comes_too_late_does_nothing(transport, origin, when):
    url = origin.add("/a", b"x")
    answer = get(transport, url)
    assert b"".join(answer.blocks()) == b"x"
    if when == "closed":
        answer.close()
    answer.abort()
    answer.close()
    assert read(transport, url) == b"x"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (drop_after(1000), "the connection ended before the end of the body"),
        (drop_after(1000, reset=True), "the server reset the connection|ended before the end of the body"),
        (truncate_chunked(1000), "the connection ended before the end of the body"),
        (stall_after(1000), "no byte for 0.1 s"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_body_that_breaks_off_says_how(transport, origin, fault, reason):
    url = origin.add("/a", BODY, faults=[fault])
    with pytest.raises(ConnectionLost, match=reason) as caught:
        read(transport, url, timeout_s=0.1 if fault.name == "stall_after" else 30.0)
    assert caught.value.transient


RAW = {
    "nothing": (b"", "broke|reset"),
    "no HTTP": (b"SSH-2.0-server\r\n", "broke|reset"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", "broke"),
    "a head without end": (b"HTTP/1.1 200 OK\r\nX-A: b\r\n", "broke"),
    "a bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "ended before|broke"),
}


@pytest.mark.parametrize(("raw", "reason"), RAW.values(), ids=RAW.keys())
def test_whatever_a_server_sends_is_an_error_in_words_or_a_body(transport, origin, raw, reason):
    url = origin.on("/a", lambda _: raw)
    with pytest.raises(ConnectionLost, match=reason):
        read(transport, url)


def test_a_length_that_is_said_twice_in_one_field_counts_once(transport, origin):
    url = origin.on("/a", lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok and more")
    assert read(transport, url) == b"ok"


def test_a_reset_before_the_head_says_so(transport, origin):
    with pytest.raises(ConnectionLost, match=r"reset|broke"):
        get(transport, origin.add("/a", BODY, faults=[reset_on_connect()]))


@pytest.mark.parametrize(("line_bytes", "limit"), [(10, "has more than 10,000 lines"), (200, "is larger than 1 MiB")])
def test_a_head_without_end_is_given_up(transport, origin, line_bytes, limit):
    said = "is larger than libcurl accepts" if isinstance(transport, CurlTransport) else limit
    with pytest.raises(InvalidResponse, match=f"the head of the response {said}"):
        get(transport, origin.add("/a", BODY, faults=[headers_without_end(line_bytes)]))


def test_a_head_that_does_not_come_is_given_up(transport, origin):
    with pytest.raises(ConnectionLost, match=r"no byte for 0\.1 s"):
        get(transport, origin.add("/a", BODY, delay_s=60), timeout_s=0.1)


def test_a_refused_connection_says_by_whom_and_not_for_whom(transport):
    port = dead_port()
    with pytest.raises(ConnectError) as caught:
        get(transport, f"http://me:s3cret@127.0.0.1:{port}/a")
    assert str(caught.value) == f"http://127.0.0.1:{port}/a: connection refused by 127.0.0.1:{port}"


def test_a_name_that_does_not_resolve_says_which(transport, monkeypatch):
    def unknown(*_args, **_more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        ConnectError, match=r"^http://nowhere\.invalid/a: the name 'nowhere\.invalid' does not resolve$"
    ):
        get(transport, "http://me:s3cret@nowhere.invalid/a")


def test_tls_that_fails_says_so(transport):
    def speak_plainly(listener):
        sock, _ = listener.accept()
        with sock:
            sock.recv(1)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=speak_plainly, args=(listener,))
        thread.start()
        with pytest.raises(ConnectError, match="TLS failed"):
            get(transport, f"https://127.0.0.1:{listener.getsockname()[1]}/a")
        thread.join()


def test_a_proxy_that_is_not_there_says_so_without_its_password(transport):
    with pytest.raises(ConnectError) as caught:
        get(transport, "http://nowhere.invalid/a", proxy=f"http://me:s3cret@127.0.0.1:{dead_port()}")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http:///a", "http://*/a", "http://.a/", "ftp://a/"])
def test_what_is_no_url_is_not_fetchable(transport, url):
    with pytest.raises(UnsupportedURL):
        get(transport, url)


@pytest.mark.parametrize(
    "headers", [{"X-A": "a\nb"}, {"X-A": "a\n"}, {"X-A": "\u20ac"}, {"X\n": "a"}, {"X-A": "a\r\nHost: b"}]
)
def test_a_header_that_cannot_be_sent_is_an_error_and_not_sent(transport, origin, headers):
    with pytest.raises((ConnectionLost, UnsupportedURL)):
        get(transport, origin.add("/a", b"x"), headers=headers.items())
    assert origin.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/a b",
        "/ä",
        "/a%7Eb",
        "/a/../b",
        "/a?",
        "/a#b",
        "/a?b=c d",
        "//a",
        "/a%zz",
        "/",
        "/a.b?c=/./d",
        "?a",
        "/.",
        "/./a",
        "/../a",
        "/.a",
    ],
)
def test_what_is_asked_for_is_the_same_whoever_made_the_session(origin, path):
    class Theirs(requests.Session):
        pass

    ours, theirs = RequestsTransport(), RequestsTransport(Theirs)
    for each in (ours, theirs):
        for url in (f"http://{origin.netloc}{path}", f"http://me:p%40w@{origin.netloc}{path}"):
            get(each, url, headers={"Cookie": "a", "X-A": "b", "cookie": "c"}.items()).close()
    theirs.close()
    ours.close()
    asked = [(request.target, request.headers) for request in origin.requests]
    assert asked[:2] == asked[2:]
    assert asked[1][1]["authorization"] == "Basic bWU6cEB3"


def test_a_session_whose_response_contradicts_itself_keeps_no_connection():
    ended = []

    def contradict(listener):
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(30)
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 200 OK\r\nETag: 1\r\nETag: 2\r\nContent-Length: 5\r\n\r\n")
            ended.append(sock.recv(1))

    transport = RequestsTransport(type("Theirs", (requests.Session,), {}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=contradict, args=(listener,))
        thread.start()
        with pytest.raises(InvalidResponse, match="two ETag fields that differ") as caught:
            get(transport, f"http://127.0.0.1:{listener.getsockname()[1]}/a")
        thread.join(30)
    assert (ended, caught.value.transient) == ([b""], False)
    transport.close()


def test_a_session_of_another_kind_is_asked_itself(origin):
    asked = []

    class Theirs(requests.Session):
        def get(self, url, **more):
            asked.append(url)
            return super().get(url, **more)

    transport = RequestsTransport(Theirs)
    url = origin.add("/a", b"x")
    assert read(transport, url) == b"x"
    assert asked == [url]
    transport.close()
