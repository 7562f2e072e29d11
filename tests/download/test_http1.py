from __future__ import annotations

import contextlib
import socket
import threading
from http.client import HTTPException, HTTPResponse

import pytest
from origin import body_without_end, headers_without_end, one_byte_per_s, redirect

from mediacrawl.download.downloader import Downloader, Policy
from mediacrawl.download.records import TransferRequest
from mediacrawl.download.retry import Backoff
from mediacrawl.errors import AddressRefused, ConnectionLost, InvalidResponse, TooLarge
from mediacrawl.store.local import LocalStore
from mediacrawl.transport import connections, http1
from mediacrawl.transport.addresses import is_public
from mediacrawl.transport.connections import GuardedAdapter
from mediacrawl.transport.fields import combined
from mediacrawl.transport.watchdog import HeadWatchdog


@pytest.fixture
def fetch(tmp_path, transport_kind):
    """A way to fetch with a policy, and with or without private addresses."""
    opened = []

    def fetch_(url, *, block_private=False, **policy):
        store = LocalStore(tmp_path / "store")
        store.open()
        transport = transport_kind(block_private=block_private)
        opened.append(transport)
        downloader = Downloader(store, transport, Policy(backoff=Backoff(times=1, base_s=0.001), **policy))
        fetched = downloader.fetch(TransferRequest(url, url))
        fetched.part.close()
        return fetched

    yield fetch_
    for transport in opened:
        transport.close()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("", False),
        ("example.org", False),
    ],
)
def test_an_address_is_public_or_not(address, public):
    assert is_public(address) is public


def test_a_private_address_is_refused_before_anything_is_sent(origin, fetch):
    url = origin.add("/a.jpg", b"\1" * 100, content_type="image/jpeg")
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 is not a public address"):
        fetch(url, block_private=True)
    assert origin.requests == []


def test_the_name_does_not_count_but_the_address_does(origin, fetch):
    url = origin.add("/a.jpg", b"\1" * 100, content_type="image/jpeg").replace("127.0.0.1", "localhost")
    with pytest.raises(AddressRefused):
        fetch(url, block_private=True)


def test_private_addresses_are_no_matter_unless_asked_for(origin, fetch):
    origin.add("/a.jpg", b"\1" * 100, content_type="image/jpeg")
    url = origin.add("/r.jpg", faults=[redirect("/a.jpg")])
    assert fetch(url).size_bytes == 100


@pytest.mark.parametrize(("line_bytes", "limit"), [(10, "has more than 10,000 lines"), (200, "is larger than 1 MiB")])
def test_a_head_without_end_is_an_error_and_not_for_ever(origin, fetch, transport_kind, line_bytes, limit):
    url = origin.add("/a.jpg", b"x", faults=[headers_without_end(line_bytes, times=None)])
    said = "is larger than libcurl accepts" if transport_kind.__name__ == "CurlTransport" else limit
    with pytest.raises(InvalidResponse, match=f"the head of the response {said}"):
        fetch(url, stall_s=1.0)
    assert len(origin.requests) == 1


def test_a_body_without_end_stops_at_the_maximal_size_and_leaves_nothing(origin, fetch, tmp_path):
    url = origin.add("/a.jpg", b"\1" * 65_536, content_type="image/jpeg", faults=[body_without_end(times=None)])
    with pytest.raises(TooLarge):
        fetch(url, max_bytes=1_000_000)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_one_byte_a_second_is_given_up(origin, fetch):
    url = origin.add("/a.jpg", b"\1" * 5000, content_type="image/jpeg", faults=[one_byte_per_s(times=None)])
    with pytest.raises(ConnectionLost, match=r"stalled|no byte"):
        fetch(url, stall_s=1.5, stall_bytes=1024)


def test_a_head_that_drips_is_cut_when_its_time_is_over():
    """Each line comes in time, the head never ends: without the watch this would hold the thread for ever."""
    watch = HeadWatchdog()
    ours, theirs = socket.socketpair()
    with ours, theirs, watch.watching(ours, 0.05):
        assert ours.recv(1) == b""  # cut, not closed
    watch.close()


def test_idle_connections_are_looked_for_while_others_open_some_to_new_hosts():
    adapter, failed = GuardedAdapter(HeadWatchdog(), authorities=None, connect_timeout_s=5.0, block_private=False), []

    def look():
        try:
            for number in range(20_000):
                adapter.close_idle(f"h{number % 500}", 0.0)
        except RuntimeError as error:
            failed.append(error)

    looking = [threading.Thread(target=look) for _ in range(3)]
    for thread in looking:
        thread.start()
    kept = [adapter.pool(f"http://h{number}", True) for number in range(500)]
    for thread in looking:
        thread.join(30)
    assert failed == []
    assert len(adapter._known) == len(kept)
    kept.clear()
    adapter.pool.cache_clear()
    adapter.poolmanager.clear()
    for number in range(1500):
        adapter.pool(f"http://other{number}", True)
    assert len(adapter._known) < 1100
    adapter.close()


def test_a_stop_cuts_heads_that_are_about_to_be_waited_for():
    watch = HeadWatchdog()
    watch.cut_all()
    ours, theirs = socket.socketpair()
    with ours, theirs, watch.watching(ours, 3600.0):
        assert ours.recv(1) == b""
    watch.close()


def test_a_stop_cuts_heads_that_are_waited_for():
    watch = HeadWatchdog()
    ours, theirs = socket.socketpair()
    with ours, theirs, watch.watching(ours, 3600.0):
        watch.cut_all()
        assert ours.recv(1) == b""
    watch.close()


HEADS = {
    "usual": b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: x, y\r\nETag: "a"\r\n\r\nabcde',
    "no reason": b"HTTP/1.1 206\r\ncontent-length:3\r\n\r\nabc",
    "a long reason": b"HTTP/1.1 404  Not  Found \r\nContent-Length:\t 3\r\n\r\nabc",
    "to be closed": b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 3\r\n\r\nabc",
    "closed twice": b"HTTP/1.1 200 OK\r\nConnection: foo\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    "kept": b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    "an empty field": b"HTTP/1.1 200 OK\r\nX-A:\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc",
    "a field of blanks": b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: \r\nETag: "a"\r\n\r\nabc',
    "blanks behind": b"HTTP/1.1 200 OK\r\nX-A: a  \r\nContent-Length: 3 \r\n\r\nabc",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\nX-A: a\r\n\r\nabc",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 3\r\n\r\nabc",
    "bare line ends": b"HTTP/1.1 200 OK\nContent-Length: 3\nX-A: b\n\nabc\r\n\r\n",
    "bare carriage return": b"HTTP/1.1 200 OK\r\nX-A: a\rContent-Length: 9\r\nContent-Length: 3\r\n\r\nabc",
    "latin": b"HTTP/1.1 200 OK\r\nX-A: \xe9\r\nContent-Length: 3\r\n\r\nabc",
    "a control": b"HTTP/1.1 200 OK\r\nX-A: a\x0bb\r\nContent-Length: 3\r\n\r\nabc",
    "no colon": b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 3\r\n\r\nabc",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    "a length below zero": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
    "a length in hex": b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc",
    "no length": b"HTTP/1.1 200 OK\r\nX-A: a\r\n\r\nabc",
    "no content": b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc",
    "not modified": b"HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\nabc",
    "continue": b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    "an older version": b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 101 + b"Content-Length: 3\r\n\r\nabc",
    "nothing": b"",
    "no HTTP": b"SSH-2.0-server\r\nContent-Length: 3\r\n\r\nabc",
    "a status too long": b"HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc",
}


def facts_of(kind, raw):
    """What a response class makes of an answer, its error included."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw)
        theirs.shutdown(socket.SHUT_WR)
        try:
            response = kind(ours, method="GET")
            response.begin()
            fields = [(name, value.strip(" \t")) for name, value in response.msg.items()]  # as urllib3 does
            facts = response.version, response.status, response.reason, response.length, response.chunked
            return *facts, response.will_close, fields, repr(response.msg.defects), response.read()
        except HTTPException as error:
            return repr(error)
        finally:
            response.close()


# What the standard library reads wrongly, or not at all: the length and the fields, or the error.
READ_OTHERWISE = {
    "a blank before the colon": (3, [("Content-Length", "3"), ("X-A", "a")]),
    "folded": (3, [("X-A", "a b"), ("Content-Length", "3")]),
    "bare carriage return": "bare CR",
    "no colon": (3, [("Content-Length", "3")]),
    "a list of lengths": (3, [("Content-Length", "3, 3")]),
    "a length below zero": "no length",
    "a length in hex": "no length",
    "many fields": (3, [("X-A", "a")] * 101 + [("Content-Length", "3")]),
    "a status too long": "status line",
}
READ_AS_EVER = sorted(HEADS.keys() - READ_OTHERWISE.keys())


@pytest.mark.parametrize("name", READ_AS_EVER)
def test_a_head_is_read_as_the_standard_library_reads_it(name):
    assert facts_of(http1.StrictResponse, HEADS[name]) == facts_of(HTTPResponse, HEADS[name])


@pytest.mark.parametrize("name", READ_OTHERWISE)
def test_a_head_that_the_standard_library_does_not_read_is_read_or_refused(name):
    facts, expected = facts_of(http1.StrictResponse, HEADS[name]), READ_OTHERWISE[name]
    if isinstance(expected, str):
        assert facts.startswith("InvalidHead"), facts
        assert expected in facts
    else:
        assert (facts[3], facts[6], facts[8]) == (*expected, b"abc")
    assert facts != facts_of(HTTPResponse, HEADS[name])


@pytest.mark.parametrize("arrived", [1, 20, 64])
@pytest.mark.parametrize("name", HEADS)
def test_a_head_of_which_a_little_was_read_already_is_read_all_the_same(name, arrived):
    def begun(sock, method):
        return http1.StrictResponse(sock, method=method, arrived=sock.recv(arrived))

    known = http1.StrictResponse if name in READ_OTHERWISE else HTTPResponse
    assert facts_of(begun, HEADS[name]) == facts_of(known, HEADS[name])


@pytest.mark.parametrize("raw", HEADS.values(), ids=HEADS.keys())
def test_a_plain_head_is_what_the_standard_library_reads(raw):
    head = http1.plain_head(raw)
    if head is None:
        return
    version, status, reason, length, chunked, will_close, fields, defects, body = facts_of(HTTPResponse, raw)
    assert (version, chunked, defects) == (11, False, "[]")
    assert head == (head.size_bytes, status, reason, combined(fields), length, will_close)
    assert raw[head.size_bytes :][: head.content_length] == body


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 3", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: 1\r\n"],
    ids=["within a line", "behind the first", "behind a field"],
)
def test_a_head_that_was_cut_short_is_no_head(raw):
    assert http1.plain_head(raw) is None
    assert "within the head" in facts_of(http1.StrictResponse, raw)
    assert "within the head" not in facts_of(HTTPResponse, raw)  # which takes it for one


PLAIN = ["usual", "no reason", "a long reason", "kept", "an empty field"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_usual_head_is_not_parsed_as_an_email(name):
    assert http1.plain_head(HEADS[name]) is not None


@pytest.mark.parametrize("name", sorted(HEADS.keys() - set(PLAIN)))
def test_a_head_that_leaves_a_question_open_is_not_plain(name):
    assert http1.plain_head(HEADS[name]) is None


class Pool(connections._Permitted):
    """As much of a pool as one exchange uses; the connection is there already."""

    def __init__(self, sock):
        self.sock = sock
        self.timeout = None
        self.is_closed = False

    def _get_conn(self):
        return self

    def _put_conn(self, connection):
        pass

    def _validate_conn(self, connection):
        pass

    def watched(self):
        return contextlib.nullcontext()

    def close(self):
        self.is_closed = True


def exchanged(raw):
    """What comes of one answer: its body in blocks, and whether the connection can be used again."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw)
        exchange = http1.HTTP1Exchange(Pool(ours), b"GET / HTTP/1.1\r\n\r\n", 5.0)
        blocks = []
        while block := exchange.read1(1024):
            blocks.append(block)
        return b"".join(blocks), exchange.isclosed()


@pytest.mark.parametrize(
    ("body", "again"),
    [(b"abc", True), (b"abcdef", False)],
    ids=["nothing behind it", "something behind it"],
)
def test_what_is_behind_a_body_is_not_taken_for_the_next_answer(body, again):
    assert exchanged(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body) == (b"abc", again)


def test_a_body_in_small_steps_is_whole():
    assert exchanged(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000) == (b"x" * 5000, True)


@pytest.mark.parametrize("size_bytes", [1, 100, 8 * 1024 * 1024])
def test_a_request_is_sent_to_its_last_byte_however_little_room_there_is(size_bytes):
    request = bytes(range(1, 201)) * (size_bytes // 200) or b"G" * size_bytes
    ours, theirs = socket.socketpair()
    arrived = bytearray()

    def read():
        while block := theirs.recv(64 * 1024):
            arrived.extend(block)

    with ours, theirs:
        ours.settimeout(10)
        reader = threading.Thread(target=read)
        if size_bytes < 1024:
            http1._send(ours, request)
            reader.start()
        else:
            sending = threading.Thread(target=http1._send, args=(ours, request))
            sending.start()  # as far as there is room; then somebody reads
            reader.start()
            sending.join()
        ours.shutdown(socket.SHUT_WR)
        reader.join()
    assert bytes(arrived) == request


def test_a_request_for_which_there_is_no_room_at_all_waits_as_long_as_it_may():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 65_536)
        ours.settimeout(0.01)
        with pytest.raises(TimeoutError):
            http1._send(ours, b"GET")
