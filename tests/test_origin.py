"""The origin is what all other tests stand on, so it is held against RFC 9110 itself, through http.client."""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import hashlib
import http.client
import itertools
import socket
import threading
import time

import pytest
from origin import (
    Answer,
    Origin,
    Pattern,
    bare_206,
    body_without_end,
    changing_etag,
    chunked,
    close_delimited,
    dead_port,
    drop_after,
    drop_header,
    encode_gzip,
    full_200_to_if_range,
    header,
    headers_without_end,
    html_instead,
    ignore_if_range,
    ignore_range,
    limit_per_connection,
    lying_416,
    multipart_206,
    no_content_range,
    one_byte_per_s,
    plain,
    redirect,
    repr_digest,
    require_header,
    reset_on_connect,
    set_cookie,
    short_206,
    slow,
    stall_after,
    status,
    truncate_chunked,
    weak_etag,
    wrong_digest,
    wrong_length,
    wrong_start,
    wrong_total,
)
from range_vectors import RANGES

BODY = b"0123456789"


@contextlib.contextmanager
def connected(origin, timeout_s=60):
    with contextlib.closing(http.client.HTTPConnection(origin.host, origin.port, timeout=timeout_s)) as client:
        yield client


def ask(origin, path="/a", method="GET", timeout_s=60, **headers):
    """Status, fields and body; `If_Range=…` stands for the field If-Range."""
    with connected(origin, timeout_s) as client:
        client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = client.getresponse()
        return response.status, response.headers, response.read()


def ask_raw(origin, path="/a", *fields):
    """Every byte of the answer up to the end of the connection."""
    lines = [f"GET {path} HTTP/1.1", "Host: origin", "Connection: close", *fields, "", ""]
    with socket.create_connection((origin.host, origin.port), 5) as sock:
        sock.sendall("\r\n".join(lines).encode())
        return b"".join(iter(lambda: sock.recv(1 << 16), b""))


@pytest.mark.parametrize(("asked", "size", "ranges"), RANGES)
def test_ranges_are_answered_as_rfc_9110_says(origin, asked, size, ranges):
    origin.add("/a", BODY[:size])
    code, fields, body = ask(origin, **({} if asked is None else {"Range": asked}))
    if ranges == []:
        assert (code, fields["Content-Range"]) == (416, f"bytes */{size}")
    elif ranges is not None and len(ranges) == 1:
        [(start, stop)] = ranges
        assert (code, fields["Content-Range"]) == (206, f"bytes {start}-{stop - 1}/{size}")
        assert body == BODY[start:stop]
    else:  # several: the origin chooses the whole
        assert (code, fields["Content-Range"], body) == (200, None, BODY[:size])
    assert fields["Content-Length"] == str(len(body))
    assert fields["Accept-Ranges"] == "bytes"


def test_the_first_range_is_recorded_as_a_slice(origin):
    origin.add("/a", BODY)
    for asked in ("bytes=2-4", "bytes=4-", "bytes=-3"):
        _, _, body = ask(origin, Range=asked)
        assert body == BODY[slice(*origin.requests[-1].range)]
    ask(origin)
    assert [request.range for request in origin.requests] == [(2, 5), (4, None), (-3, None), None]


def test_a_head_gets_the_fields_of_the_get_and_no_body(origin):
    origin.add(
        "/a",
        BODY,
        content_type="image/jpeg",
        disposition='attachment; filename="a.jpg"',
        headers={"X-Own": "1"},
    )
    code, fields, body = ask(origin, method="HEAD", Range="bytes=1-2")
    assert (code, fields["Content-Length"], body) == (200, "10", b"")
    _, of_get, _ = ask(origin)
    assert dict(fields, Date=0) == dict(of_get, Date=0)
    assert fields["Content-Type"] == "image/jpeg"
    assert fields["Content-Disposition"] == 'attachment; filename="a.jpg"'
    assert fields["X-Own"] == "1"
    assert email.utils.parsedate_to_datetime(fields["Date"])
    assert origin.bytes_sent() == 10


DATE = "Tue, 02 Jan 2024 03:04:05 GMT"
LATER = "Wed, 03 Jan 2024 03:04:05 GMT"
EARLIER = "Mon, 01 Jan 2024 03:04:05 GMT"


@pytest.mark.parametrize(
    ("etag", "if_range", "code"),
    [
        ('"v1"', '"v1"', 206),
        ('"v1"', '"v2"', 200),
        ('"v1"', 'W/"v1"', 200),
        ('W/"v1"', 'W/"v1"', 200),
        ('W/"v1"', '"v1"', 200),
        ('"v1"', DATE, 206),
        ('"v1"', LATER, 200),
        ('"v1"', EARLIER, 200),
        ('"v1"', "nonsense", 200),
        ('"v1"', "v1", 200),
        ('"v1"', '"v1", "v2"', 200),
        (False, '"v1"', 200),
        (False, DATE, 206),
    ],
)
def test_if_range_takes_a_strong_etag_or_the_very_date(origin, etag, if_range, code):
    origin.add("/a", BODY, etag=etag, last_modified=DATE)
    got, _, body = ask(origin, Range="bytes=4-", If_Range=if_range)
    assert (got, body) == ((206, BODY[4:]) if code == 206 else (200, BODY))


def test_if_range_with_a_date_of_this_second_is_weak(origin):
    now = email.utils.formatdate(time.time() + 1, usegmt=True)
    origin.add("/a", BODY, last_modified=now)
    assert ask(origin, Range="bytes=4-", If_Range=now)[0] == 200


def test_if_range_that_fails_turns_an_unsatisfiable_range_into_200(origin):
    origin.add("/a", BODY, etag='"v2"')
    assert ask(origin, Range="bytes=10-", If_Range='"v2"')[0] == 416
    assert ask(origin, Range="bytes=10-", If_Range='"v1"')[0] == 200


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        ({"If_None_Match": '"v1"'}, 304),
        ({"If_None_Match": 'W/"v1"'}, 304),
        ({"If_None_Match": '"v0", "v1"'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"v2"'}, 200),
        ({"If_None_Match": '"v2"', "If_Modified_Since": DATE}, 200),
        ({"If_Modified_Since": DATE}, 304),
        ({"If_Modified_Since": LATER}, 304),
        ({"If_Modified_Since": EARLIER}, 200),
        ({"If_Modified_Since": "nonsense"}, 200),
        ({"If_Match": '"v1"'}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": 'W/"v1"'}, 412),
        ({"If_Match": '"v2"'}, 412),
        ({"If_Unmodified_Since": EARLIER}, 412),
        ({"If_Unmodified_Since": DATE}, 200),
        ({"If_None_Match": '"v1"', "Range": "bytes=10-"}, 304),
    ],
)
def test_preconditions_are_kept(origin, conditions, code):
    origin.add("/a", BODY, etag='"v1"', last_modified=DATE)
    got, fields, body = ask(origin, **conditions)
    assert got == code
    if got == 304:
        assert (fields["ETag"], fields["Content-Length"], body) == ('"v1"', None, b"")


def test_unknown_paths_and_methods_are_told_apart(origin):
    origin.add("/a", BODY)
    assert ask(origin, "/b")[0] == 404
    code, fields, _ = ask(origin, method="DELETE")
    assert (code, fields["Allow"]) == (405, "GET, HEAD")
    assert origin.requests_for("/b")[0].status == 404


def test_paths_are_found_with_and_without_percent_signs_and_query(origin):
    assert ask(origin, origin.add("/图 片.jpg", BODY).partition(origin.netloc)[2])[2] == BODY
    origin.add("/a", BODY)
    assert ask(origin, "/a?token=1")[2] == BODY
    origin.add("/a?token=2", b"other")
    assert ask(origin, "/a?token=2")[2] == b"other"
    assert len(origin.requests_for("/图 片.jpg")) == 1
    assert len(origin.requests_for("/a")) == 2
    assert ask(origin, origin.url("/a"))[2] == BODY  # the absolute form, as to a proxy


def test_a_request_without_host_is_400(origin):
    with socket.create_connection((origin.host, origin.port), 5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")


def test_one_connection_serves_many_requests(origin):
    origin.add("/a", BODY)
    with connected(origin) as client:
        for method in ("GET", "HEAD", "GET"):
            client.request(method, "/a")
            client.getresponse().read()
    assert len({request.client_port for request in origin.requests}) == 1
    assert origin.connections == 1


def test_the_auto_etag_follows_the_content_and_the_date_moves_on(origin):
    origin.add("/a", BODY, content_type="image/png")
    _, before, _ = ask(origin)
    origin.replace("/a", b"new")
    _, after, body = ask(origin)
    assert body == b"new"
    assert after["ETag"] != before["ETag"]
    dates = [email.utils.parsedate_to_datetime(fields["Last-Modified"]) for fields in (before, after)]
    assert dates[0] < dates[1]
    assert after["Content-Type"] == "image/png"
    origin.replace("/a", BODY)
    assert ask(origin)[1]["ETag"] == before["ETag"]
    origin.remove("/a")
    assert ask(origin)[0] == 404


def test_validators_can_be_left_out(origin):
    origin.add("/a", BODY, etag=False, last_modified=False)
    origin.replace("/a", b"new")
    _, fields, _ = ask(origin)
    assert fields["ETag"] is fields["Last-Modified"] is None


def test_a_digest_is_of_the_whole_representation(origin):
    origin.add("/a", BODY, digest=True)
    assert ask(origin)[1]["Repr-Digest"] == ask(origin, Range="bytes=1-2")[1]["Repr-Digest"] == repr_digest(BODY)
    assert repr_digest(Pattern(3, seed=1)) == repr_digest(Pattern(3, seed=1).read())


def test_pages_are_encoded_as_they_say(origin):
    origin.page("/p", "<a>下一页</a>", encoding="gbk")
    _, fields, body = ask(origin, "/p")
    assert fields["Content-Type"] == "text/html; charset=gbk"
    assert body.decode("gbk") == "<a>下一页</a>"


def test_robots_txt_is_404_until_it_is_given(origin):
    assert ask(origin, "/robots.txt")[0] == 404
    origin.robots("User-agent: *\nDisallow: /private\n")
    assert ask(origin, "/robots.txt")[2].endswith(b"/private\n")


# Patterns


def test_a_pattern_reads_the_same_at_any_offset_and_of_any_length():
    pattern = Pattern(3_000_000, seed=7)
    whole = pattern.read()
    assert len(whole) == len(pattern) == 3_000_000
    for start, stop in [(0, 1), (1_048_582, 1_048_585), (2_999_999, 3_000_000), (5, 2_500_000), (9, 9)]:
        assert pattern.read(start, stop) == whole[start:stop]
    assert pattern.sha256() == hashlib.sha256(whole).hexdigest()
    assert Pattern(20, seed=8).read() != whole[:20]
    assert whole[: 1 << 20] != whole[1 << 20 : 2 << 20]


def test_ten_gibibytes_are_served_without_being_held(origin):
    size = 10 * 2**30
    origin.add("/a", Pattern(size))
    code, fields, body = ask(origin, Range=f"bytes={size - 5}-")
    assert (code, fields["Content-Range"]) == (206, f"bytes {size - 5}-{size - 1}/{size}")
    assert body == Pattern(size).read(size - 5, size)


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_a_small_pattern_is_the_beginning_of_a_large_one(seed):
    whole = Pattern(100_000, seed).read()
    for size in (0, 1, 3, 3000, (1 << 16) - 1, 1 << 16, (1 << 16) + 1):
        assert Pattern(size, seed).read() == whole[:size]
        assert Pattern(size, seed).read(size // 3, size // 2) == whole[size // 3 : size // 2]


def test_large_bodies_arrive_whole_and_fast(origin):
    pattern = Pattern(100_000_000)
    origin.add("/a", pattern)
    digest, buffer = hashlib.sha256(), bytearray(1 << 20)
    began = time.process_time()
    with connected(origin) as client:
        client.request("GET", "/a")
        response = client.getresponse()
        while read := response.readinto(buffer):
            digest.update(memoryview(buffer)[:read])
    assert time.process_time() - began < 5  # of both sides; the machine may have other work
    assert digest.hexdigest() == pattern.sha256()
    assert origin.requests[0].whole
    assert origin.requests[0].finished_at
    assert origin.bytes_sent("/a") == 100_000_000


# Faults of the connection


def test_drop_after_ends_the_connection_after_so_many_bytes_once(origin):
    origin.add("/a", BODY, faults=[drop_after(4)])
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(origin)
    assert caught.value.partial == BODY[:4]
    assert ask(origin, Range="bytes=4-")[2] == BODY[4:]
    assert [(r.body_bytes_sent, r.whole) for r in origin.requests] == [(4, False), (6, True)]


@pytest.mark.parametrize("n", [0, 1, 1_500_000])
def test_drop_after_is_exact(origin, n):
    origin.add("/a", Pattern(2_000_000), faults=[drop_after(n)])
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(origin)
    assert caught.value.partial == Pattern(n).read()
    assert origin.bytes_sent() == n


def test_drop_after_waits_for_a_get_whose_body_is_longer(origin):
    origin.add("/a", BODY, faults=[drop_after(4)])
    assert ask(origin, method="HEAD")[0] == 200
    assert ask(origin, Range="bytes=0-3")[2] == BODY[:4]
    with pytest.raises(http.client.IncompleteRead):
        ask(origin)


def test_drop_after_can_reset(origin):
    origin.add("/a", Pattern(10_000_000), faults=[drop_after(5_000_000, reset=True)])
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(origin)


def test_faults_of_one_name_take_turns_and_those_of_several_add_up(origin):
    origin.add("/a", BODY, faults=[drop_after(2), drop_after(4), header("X-A", "1", times=2), header("X-B", "2")])
    seen = []
    for _ in range(3):
        answer = ask_raw(origin)
        seen.append((answer.partition(b"\r\n\r\n")[2], b"X-A" in answer, b"X-B" in answer))
    assert seen == [(b"01", True, True), (b"0123", True, False), (BODY, False, False)]


def test_a_fault_can_come_late_or_for_some_requests_only(origin):
    origin.add("/a", BODY, faults=[status(503).after(2)])
    assert [ask(origin)[0] for _ in range(4)] == [200, 200, 503, 200]
    origin.add("/a", BODY, faults=[status(500, times=None).when(lambda request: "range" in request.headers)])
    assert [ask(origin)[0], ask(origin, Range="bytes=1-")[0], ask(origin)[0]] == [200, 500, 200]
    origin.add("/a", BODY, faults=[set_cookie("a=1").after(1)])
    assert [ask(origin)[1]["Set-Cookie"] for _ in range(3)] == [None, "a=1", None]


def test_a_fault_may_be_used_for_several_paths_and_counts_for_each(origin):
    fault = status(500)
    for path in ("/a", "/b"):
        origin.add(path, BODY, faults=[fault])
    assert [ask(origin, path)[0] for path in ("/a", "/b", "/a", "/b")] == [500, 500, 200, 200]


def test_faults_of_the_host_count_over_all_paths(origin):
    origin.add("/a", BODY)
    origin.add("/b", BODY, faults=[status(500)])
    origin.everywhere(status(429, retry_after=7))
    code, fields, _ = ask(origin, "/b")
    assert (code, fields["Retry-After"]) == (429, "7")
    assert [ask(origin, path)[0] for path in ("/a", "/b", "/b")] == [200, 500, 200]


def test_a_stalled_answer_goes_on_when_it_is_released(origin):
    origin.add("/a", BODY, faults=[stall_after(4, times=None)])
    with connected(origin) as client:
        client.request("GET", "/a")
        response = client.getresponse()
        assert response.read(4) == BODY[:4]
        origin.wait_for(lambda: origin.requests[0].stalled)
        assert origin.bytes_sent() == 4
        origin.release()
        assert response.read() == BODY[4:]
    assert ask(origin)[2] == BODY


def test_a_stall_may_have_an_end_of_its_own(origin):
    origin.add("/a", BODY, faults=[stall_after(4, for_s=0.05)])
    began = time.monotonic()
    assert ask(origin)[2] == BODY
    assert time.monotonic() - began > 0.04


@pytest.mark.parametrize(
    "fault", [stall_after(4), one_byte_per_s(), slow(0.001), body_without_end(), headers_without_end()]
)
def test_the_origin_closes_at_once_whatever_it_is_sending(fault):
    """What it has under way would take an hour."""
    with Origin() as origin:
        origin.add("/a", Pattern(3600), faults=[fault])
        origin.add("/late", BODY, delay_s=3600)
        with (
            socket.create_connection((origin.host, origin.port), 5) as sock,
            socket.create_connection((origin.host, origin.port), 5) as other,
        ):
            sock.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            other.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(10)
            origin.wait_for(lambda: len(origin.requests) == 2)
            closing = threading.Thread(target=origin.close, daemon=True)
            closing.start()
            closing.join(60)
            assert not closing.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("origin")]


@pytest.mark.parametrize("fault", [slow(100_000), limit_per_connection(100_000)])
def test_a_slow_answer_takes_its_time(origin, monkeypatch, fault):
    origin.add("/a", Pattern(20_000), faults=[fault])
    planned_s, pause = [], origin.pause
    monkeypatch.setattr(origin, "pause", lambda seconds: planned_s.append(seconds) or pause(seconds))
    began = time.monotonic()
    assert ask(origin)[2] == Pattern(20_000).read()
    assert time.monotonic() - began > 0.15
    assert sum(planned_s) < 0.2, "what is longer is due to this machine"


def test_a_limit_per_connection_is_beaten_by_several(origin, monkeypatch):
    """They wait side by side, each no longer than for its own bytes."""
    origin.add("/a", Pattern(80_000), faults=[limit_per_connection(100_000)])
    wanted = [{"Range": f"bytes={at}-{at + 19_999}"} for at in range(0, 80_000, 20_000)]
    side_by_side, planned_s = threading.Barrier(4), []

    def pause(seconds):
        planned_s.append(seconds)
        side_by_side.wait(60)

    monkeypatch.setattr(origin, "pause", pause)
    threads = [threading.Thread(target=ask, args=(origin,), kwargs=headers) for headers in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not side_by_side.broken
    assert len(planned_s) > 4
    assert max(planned_s) < 20_000 / 100_000
    assert origin.peak == 4
    origin.forget()
    assert origin.requests == []


def test_one_byte_per_s_sends_single_bytes(origin):
    origin.add("/a", BODY, faults=[one_byte_per_s()])
    with connected(origin) as client:
        client.request("GET", "/a")
        response = client.getresponse()
        assert response.read(1) == b"0"
        assert origin.bytes_sent() == 1


def test_reset_on_connect_gives_no_answer(origin):
    origin.add("/a", BODY, faults=[reset_on_connect()])
    with pytest.raises(ConnectionError):
        ask(origin)
    assert origin.requests[0].status is None
    assert ask(origin)[0] == 200


def test_headers_without_end_have_none(origin):
    origin.add("/a", BODY, faults=[headers_without_end()])
    with pytest.raises(http.client.HTTPException, match="got more than 100 headers"):
        ask(origin)
    assert ask(origin)[0] == 200


def test_a_body_without_end_has_none(origin):
    origin.add("/a", Pattern(100_000), faults=[body_without_end()])
    with connected(origin) as client:
        client.request("GET", "/a")
        response = client.getresponse()
        assert response.getheader("Content-Length") is None
        assert response.read(250_000) == (Pattern(100_000).read() * 3)[:250_000]


def test_a_delay_comes_before_the_answer(origin):
    origin.add("/a", BODY, delay_s=0.05)
    began = time.monotonic()
    assert ask(origin)[2] == BODY
    assert time.monotonic() - began > 0.04


@pytest.mark.parametrize("faults", [[], [chunked(times=None)], [close_delimited(times=None)]])
def test_the_records_know_what_a_client_has_read(origin, faults):
    origin.add("/a", Pattern(70_000), faults=faults)
    for count in range(1, 101):
        ask(origin)
        assert origin.bytes_sent() == count * 70_000
        assert origin.requests[-1].whole
        assert origin.requests[-1].finished_at
        ask(origin, method="HEAD")
    assert origin.peak == 1


def test_a_client_that_hangs_up_ends_the_answer(origin):
    origin.add("/a", Pattern(1 << 30))
    with connected(origin) as client:
        client.request("GET", "/a")
        client.getresponse().close()
    origin.wait_for(lambda: origin.requests[0].finished_at)
    assert not origin.requests[0].whole
    assert 0 <= origin.bytes_sent() < 1 << 30


def test_a_dead_port_refuses():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", dead_port()), 1)


# Faults of ranges


def test_ignore_range_gives_the_whole(origin):
    origin.add("/a", BODY, faults=[ignore_range()])
    assert ask(origin)[0] == 200
    assert ask(origin, Range="bytes=4-")[::2] == (200, BODY)
    assert ask(origin, Range="bytes=4-")[::2] == (206, BODY[4:])


def test_ignore_if_range_gives_a_part_of_the_wrong_version(origin):
    origin.add("/a", BODY, etag='"v2"', faults=[ignore_if_range()])
    assert ask(origin, Range="bytes=4-", If_Range='"v1"')[::2] == (206, BODY[4:])
    assert ask(origin, Range="bytes=4-", If_Range='"v1"')[::2] == (200, BODY)


def test_full_200_to_if_range_still_gives_parts_to_a_plain_range(origin):
    origin.add("/a", BODY, etag='"v1"', faults=[full_200_to_if_range(times=None)])
    code, fields, body = ask(origin, Range="bytes=4-", If_Range='"v1"')
    assert (code, fields["ETag"], body) == (200, '"v1"', BODY)
    assert ask(origin, Range="bytes=4-")[::2] == (206, BODY[4:])


@pytest.mark.parametrize(
    ("fault", "content_range", "body"),
    [
        (wrong_start(-1), "bytes 3-9/10", BODY[3:]),
        (wrong_start(2), "bytes 6-9/10", BODY[6:]),
        (wrong_start(-99), "bytes 0-9/10", BODY),
        (wrong_total(11), "bytes 4-9/11", BODY[4:]),
        (no_content_range(), None, BODY[4:]),
        (short_206(2), "bytes 4-5/10", BODY[4:6]),
    ],
)
def test_a_206_can_be_odd(origin, fault, content_range, body):
    origin.add("/a", BODY, faults=[fault])
    assert ask(origin)[2] == BODY
    code, fields, read = ask(origin, Range="bytes=4-")
    assert (code, fields["Content-Range"], read) == (206, content_range, body)
    assert fields["Content-Length"] == str(len(body))
    assert ask(origin, Range="bytes=4-")[1]["Content-Range"] == "bytes 4-9/10"


def test_a_bare_206_has_only_what_it_must(origin):
    origin.add("/a", BODY, faults=[bare_206()])
    _, fields, _ = ask(origin, Range="bytes=4-")
    assert set(fields) == {"Date", "ETag", "Content-Range", "Content-Length", "Connection"}


def test_a_multipart_206_has_a_part_for_each_range(origin):
    origin.add("/a", BODY, content_type="text/plain", faults=[multipart_206(times=2)])
    code, fields, body = ask(origin, Range="bytes=0-1,-2")
    assert (code, fields["Content-Range"]) == (206, None)
    message = email.message_from_bytes(b"Content-Type: %s\r\n\r\n%s" % (fields["Content-Type"].encode(), body))
    parts = [(part["Content-Range"], part.get_payload(decode=True)) for part in message.get_payload()]
    assert parts == [("bytes 0-1/10", b"01"), ("bytes 8-9/10", b"89")]
    assert ask(origin, Range="bytes=4-")[1]["Content-Type"].startswith("multipart/byteranges")
    assert ask(origin, Range="bytes=4-")[1]["Content-Type"] == "text/plain"


def test_a_lying_416_tells_any_total(origin):
    origin.add("/a", BODY, faults=[lying_416(5)])
    assert ask(origin)[0] == 200
    code, fields, _ = ask(origin, Range="bytes=4-")
    assert (code, fields["Content-Range"]) == (416, "bytes */5")
    assert ask(origin, Range="bytes=4-")[0] == 206


# Faults of the head and the framing


def test_status_gives_retry_after_fields_and_body(origin):
    origin.add("/a", BODY, faults=[status(503, retry_after=1, headers={"X-Why": "tired"}, body=b"later")])
    code, fields, body = ask(origin)
    assert (code, fields["Retry-After"], fields["X-Why"], body) == (503, "1", "tired", b"later")
    assert ask(origin)[0] == 200


def test_a_resource_may_have_a_status_of_its_own(origin):
    origin.add("/a", b"gone", status=410)
    assert ask(origin, Range="bytes=1-")[::2] == (410, b"gone")


def test_encode_gzip_encodes_whatever_was_asked(origin):
    origin.add("/a", BODY, faults=[encode_gzip(times=2)])
    _, fields, body = ask(origin, Accept_Encoding="identity")
    assert fields["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == BODY
    part = ask(origin, Range="bytes=4-")
    assert (part[0], part[2]) == (206, body[4:])
    _, plain_fields, body = ask(origin)
    assert (plain_fields["Content-Encoding"], body) == (None, BODY)
    assert plain_fields["ETag"] == fields["ETag"]


def test_html_instead_is_a_200(origin):
    origin.add("/a", BODY, content_type="image/jpeg", faults=[html_instead()])
    code, fields, body = ask(origin, Range="bytes=4-")
    assert (code, fields.get_content_type(), fields["ETag"]) == (200, "text/html", None)
    assert b"<html>" in body
    assert ask(origin)[1]["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize("delta", [-3, 3])
def test_wrong_length_is_wrong_and_the_connection_ends(origin, delta):
    origin.add("/a", BODY, faults=[wrong_length(delta)])
    head, _, body = ask_raw(origin).partition(b"\r\n\r\n")
    assert f"Content-Length: {10 + delta}".encode() in head
    assert b"Connection: close" in head
    assert body == BODY


def test_fields_can_be_set_added_and_dropped(origin):
    faults = [
        header("ETag", '"x"'),
        drop_header("Last-Modified"),
        set_cookie("a=1; Path=/"),
        set_cookie("b=2"),
    ]
    origin.add("/a", BODY, faults=faults)
    _, fields, _ = ask(origin)
    assert (fields["ETag"], fields["Last-Modified"]) == ('"x"', None)
    assert fields.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
    origin.fault("/a", drop_header("Content-Length"))
    assert ask_raw(origin).endswith(b"\r\nConnection: close\r\n\r\n" + BODY)


def test_chunked_has_no_length(origin):
    origin.add("/a", Pattern(200_000), faults=[chunked()])
    with connected(origin) as client:
        for length in (None, "200000"):
            client.request("GET", "/a")
            response = client.getresponse()
            assert response.getheader("Content-Length") == length
            assert response.read() == Pattern(200_000).read()
    assert origin.connections == 1
    origin.fault("/a", chunked())
    assert ask_raw(origin).endswith(b"\r\n0\r\n\r\n")
    assert origin.bytes_sent() == 600_000


def test_truncate_chunked_has_no_last_chunk(origin):
    origin.add("/a", BODY, faults=[truncate_chunked(4)])
    assert ask_raw(origin).endswith(b"\r\n\r\n4\r\n0123\r\n")
    origin.fault("/a", truncate_chunked(4))
    with pytest.raises(http.client.IncompleteRead):
        ask(origin)


def test_close_delimited_is_as_http_1_0(origin):
    origin.add("/a", BODY, faults=[close_delimited(times=2), drop_after(4).after(1)])
    answer = ask_raw(origin)
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Length" not in answer
    assert answer.endswith(b"\r\n\r\n" + BODY)
    assert ask(origin)[2] == BODY[:4]  # a cut that no one can see


def test_redirects_lead_on_once_or_always(origin):
    origin.add("/a", BODY, faults=[redirect("/b", 307)])
    code, fields, _ = ask(origin)
    assert (code, fields["Location"]) == (307, "/b")
    assert ask(origin)[0] == 200
    origin.redirect("/always", "/a", 301)
    assert [ask(origin, "/always")[0] for _ in range(2)] == [301, 301]


def test_wrong_digest_is_of_other_bytes(origin):
    origin.add("/a", BODY, digest=True, faults=[wrong_digest()])
    assert ask(origin)[1]["Repr-Digest"] == repr_digest(b"other bytes")
    assert ask(origin)[1]["Repr-Digest"] == repr_digest(BODY)


def test_a_weak_etag_never_makes_a_part(origin):
    origin.add("/a", BODY, etag='"v1"', faults=[weak_etag()])
    assert ask(origin)[1]["ETag"] == 'W/"v1"'
    assert ask(origin, Range="bytes=4-", If_Range='W/"v1"')[0] == 200
    assert ask(origin, If_None_Match='W/"v1"')[0] == 304


def test_a_changing_etag_is_never_the_same(origin):
    origin.add("/a", BODY, faults=[changing_etag()])
    first, second = (ask(origin)[1]["ETag"] for _ in range(2))
    assert first != second
    assert ask(origin, Range="bytes=4-", If_Range=second)[0] == 200


def test_require_header_lets_none_pass_without_it(origin):
    origin.add("/a", BODY, faults=[require_header("Referer", "http://here/"), require_header("Cookie", None, 401)])
    assert ask(origin)[0] == 403
    assert ask(origin, Referer="http://there/")[0] == 403


def test_two_required_headers_are_both_required(origin):
    origin.add("/a", BODY, faults=[require_header("Referer", "http://here/"), require_header("Cookie", None, 401)])
    assert ask(origin, Referer="http://here/")[0] == 401
    assert ask(origin, Referer="http://here/", Cookie="a=1")[0] == 200


def test_handlers_answer_any_method_and_raw_bytes(origin):
    origin.on("/echo", lambda request: Answer(201, [("X-Method", request.method)], request.body))
    with connected(origin) as client:
        for size in (5, 300_000):
            client.request("POST", "/echo", body=b"x" * size)
            response = client.getresponse()
            assert (response.status, response.getheader("X-Method")) == (201, "POST")
            assert response.read() == b"x" * size
    origin.on("/raw", lambda _request: b"not HTTP at all")
    assert ask_raw(origin, "/raw") == b"not HTTP at all"
    counter = itertools.count()
    origin.on("/count", lambda _request: plain(200, f"{next(counter)}"), faults=[status(500)])
    assert [ask(origin, "/count")[0], ask(origin, "/count")[2]] == [500, b"0"]


def test_wait_for_tells_what_came_when_it_gives_up(origin):
    with pytest.raises(TimeoutError, match=r"the requests so far: \[\]"):
        origin.wait_for(lambda: origin.requests, timeout_s=0.01)


def test_no_more_paths_are_answered_than_may_be_and_what_was_held_then_ends(origin):
    """A client that is killed when so many have been answered has no more than these, however late that is."""
    for path in "abc":
        origin.add(f"/{path}", BODY)
    origin.answer_only(1)
    assert ask(origin, "/a")
    assert origin.answered_paths == 1
    ends = []

    def held():
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            ask(origin, "/b", timeout_s=60)
        ends.append(True)

    thread = threading.Thread(target=held, daemon=True)
    thread.start()
    origin.wait_for(lambda: origin.requests_for("/b"))
    assert ask(origin, "/a"), "what was answered is answered again"
    origin.answer_only(2)
    thread.join(60)
    assert ends == [True]
    assert ask(origin, "/c")
    assert origin.answered_paths == 2
    origin.answer_only(None)
    assert ask(origin, "/b")
