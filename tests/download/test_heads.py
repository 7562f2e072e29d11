"""Heads and chunks that break the rules: the right bytes or a failure at once, over each way to a server."""

from __future__ import annotations

import contextlib
import re

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from transports import transport_class

from mediacrawl.errors import ConnectionLost, InvalidResponse
from mediacrawl.transport.chunks import ChunkDecoder
from mediacrawl.transport.fields import InvalidHead
from mediacrawl.transport.head import read_head
from mediacrawl.transport.requests_transport import RequestsTransport

STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKS = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
BODY = b"abcde"
WAYS = ["requests", "session", "proxy", "curl"]


class Theirs(requests.Session):
    pass


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def fetch(way, origin):
    """A way to fetch what a server sends: the body and the headers."""
    transport = RequestsTransport(Theirs) if way == "session" else None
    transport = transport or transport_class("requests" if way == "proxy" else way)()

    def fetch_(raw):
        url, proxy = origin.on("/a", lambda _: raw), None
        if way == "proxy":
            url, proxy = "http://nowhere.invalid/a", f"http://{origin.netloc}"
        answer = transport.get(url, {}, proxy=proxy, timeout_s=30.0)
        try:
            return b"".join(answer.blocks()), answer.headers
        finally:
            answer.close()

    yield fetch_
    transport.close()


# Lines that are damaged, and the head that follows is read all the same: `None` where the line leaves no field.
BESIDE = {
    "a blank before the colon": (b"X-FRAME-OPTIONS : SAMEORIGIN\r\n", ("x-frame-options", "SAMEORIGIN")),
    "a tab before the colon": (b"X-A\t:b\r\n", ("x-a", "b")),
    "a bare line feed": (b"X-A: b\n", ("x-a", "b")),
    "bytes in the value": (b"X-A: \xe9\xff\x80\r\n", ("x-a", "\xe9\xff\x80")),
    "controls in the value": (b"X-A: a\x0b\x0c\x1f\x85b\r\n", ("x-a", "a\x0b\x0c\x1f\x85b")),
    "bytes in the name": (b"X-\xe9: b\r\n", ("x-\xe9", "b")),
    "a blank in the name": (b"img-src https: b\r\n", ("img-src https", "b")),
    "a bracket in the name": (b"X[A]: b\r\n", ("x[a]", "b")),
    "an empty value": (b"X-A:\r\n", ("x-a", "")),
    "a folded value": (b"X-A: a\r\n\t b\r\n   c\r\n", ("x-a", "a b c")),
    "a fold of blanks": (b"X-A: a\r\n  \r\n", ("x-a", "a")),
    "a fold with a colon": (b"X-A: a\r\n Transfer-Encoding: gzip\r\n", ("x-a", "a Transfer-Encoding: gzip")),
    "a length of 300 fields": (b"X-A: a\r\n" * 300, ("x-a", ", ".join(["a"] * 300))),
    "a large field": (b"X-A: " + b"a" * 70_000 + b"\r\n", ("x-a", "a" * 70_000)),
}
FRAMES = {
    "length": (b"Content-Length: 5\r\n\r\n", BODY),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", CHUNKS),
    "close": (b"Content-Type: text/html\r\n\r\n", BODY),
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", BESIDE)
def test_a_field_behind_an_odd_line_counts(fetch, name, frame):
    line, field = BESIDE[name]
    rest, body = FRAMES[frame]
    got, headers = fetch(STATUS + line + rest + body)
    assert got == BODY
    assert (headers[field[0]], len(headers)) == (field[1], 2)


# Heads in which the field that frames the body is odd itself.
FRAMED_ODDLY = {
    "length, blank before the colon": b"Content-Length : 5\r\n\r\nabcdeXYZ",
    "length, tab before the colon": b"Content-Length\t:5\r\n\r\nabcdeXYZ",
    "length, folded": b"Content-Length:\r\n 5\r\n\r\nabcdeXYZ",
    "length, twice in a field": b"Content-Length: 5, 5\r\n\r\nabcdeXYZ",
    "length, twice": b"Content-Length: 5\r\nContent-Length: 05\r\n\r\nabcdeXYZ",
    "length, bare line feeds": b"Content-Length: 5\n\nabcdeXYZ",
    "length, identity": b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nabcdeXYZ",
    "length, no coding": b"Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nabcdeXYZ",
    "chunked, blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS,
    "chunked, folded": b"Transfer-Encoding:\r\n\tchunked\r\n\r\n" + CHUNKS,
    "chunked, upper case": b"TRANSFER-ENCODING: Chunked \r\n\r\n" + CHUNKS,
    "chunked, twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKS,
    "chunked, identity": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunked, empty members": b"Transfer-Encoding: ,chunked,\r\n\r\n" + CHUNKS,
    "chunked, and a length": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
}


@pytest.mark.parametrize("raw", FRAMED_ODDLY.values(), ids=FRAMED_ODDLY.keys())
def test_a_body_ends_where_the_field_says_however_it_is_written(fetch, raw):
    assert fetch(STATUS + raw)[0] == BODY


@pytest.mark.parametrize("name", ["blank before the colon", "folded", "identity", "no coding"])
def test_a_body_that_is_cut_is_not_whole_however_its_length_is_written(fetch, name):
    raw = FRAMED_ODDLY[f"length, {name}"].removesuffix(b"deXYZ")
    with pytest.raises(ConnectionLost, match="ended before the end of the body"):
        fetch(STATUS + raw)


LENGTH = b"Content-Length: 5\r\n\r\nabcde"
INVALID = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "two lengths in a field": b"Content-Length: 5, 6\r\n\r\nabcdef",
    "a length below zero": b"Content-Length: -5\r\n\r\nabcde",
    "a length with a sign": b"Content-Length: +5\r\n\r\nabcde",
    "a length with a blank": b"Content-Length: 5 5\r\n\r\nabcde",
    "a length in hex": b"Content-Length: 0x5\r\n\r\nabcde",
    "a length with _": b"Content-Length: 1_0\r\n\r\nabcde",
    "a length with text": b"Content-Length: 5 bytes\r\n\r\nabcde",
    "a length of nothing": b"Content-Length:\r\n\r\nabcde",
    "a length of a comma": b"Content-Length: 5,\r\n\r\nabcde",
    "a length of 23 digits": b"Content-Length: 99999999999999999999999\r\n\r\nabcde",
    "a length with a vertical tab": b"Content-Length: \x0b5\r\n\r\nabcde",
    "an unknown coding": b"Transfer-Encoding: gzip\r\n\r\nabcde",
    "an unknown coding and a length": b"Transfer-Encoding: foo\r\n" + LENGTH,
    "a coding with a damaged name": b"Transfer_Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    "gzip and chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunked and gzip": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n" + CHUNKS,
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1\r\n\r\n" + CHUNKS,
    "chunked in quotes": b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKS,
    "chunked with a vertical tab": b"Transfer-Encoding: chunked\x0b\r\n\r\n" + CHUNKS,
    "NUL in a value": b"X-A: a\0b\r\n" + LENGTH,
    "NUL in a coding": b"Transfer-Encoding: chun\0ked\r\n\r\n" + CHUNKS,
    "NUL in a name": b"X\0A: a\r\n" + LENGTH,
    "a bare CR": b"X-A: a\rb\r\n" + LENGTH,
    "a bare CR before a coding": b"X-A: a\rTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a bare CR at the start": b"\rTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a bare CR at the end": b"Transfer-Encoding: chunked\r\r\n\r\n" + CHUNKS,
    "a bare CR in the last line": b"Content-Length: 5\r\n\r\r\nabcde",
    "no colon": b"X-A\r\n\r\nabcde",
    "no colon in a coding": b"Transfer-Encoding chunked\r\n\r\n" + CHUNKS,
    "no colon in a coding, and a length": b"Transfer-Encoding chunked\r\nContent-Length: 20\r\n\r\n" + CHUNKS,
    "no colon in a type": b"Content-Type text/html\r\n" + LENGTH,
    "no name": b": chunked\r\n\r\n" + CHUNKS,
    "a coding behind a blank": b" Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a coding behind a blank, and a length": b" Transfer-Encoding: chunked\r\nContent-Length: 20\r\n\r\n" + CHUNKS,
    "any field behind a blank": b" X-A: b\r\n\r\nabcde",
    "a coding behind a byte order mark": b"\xef\xbb\xbfTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a coding behind a control": b"\x0bTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a coding with a blank": b"Transfer Encoding: chunked\r\n\r\n" + CHUNKS,
    "another status line": b"HTTP/1.1 200 OK\r\n\r\nabcde",
    "a field of 5 MB": b"X-A: " + b"a" * 5_000_000 + b"\r\n" + LENGTH,
    "too many fields": b"X-A: a\r\n" * 20_000 + LENGTH,
}
STATUS_LINES = [
    b"HTTP/1.1 2000 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 +200 OK", b"HTTP/1.1 2_00 OK", b"HTTP/1.1 099 OK",
    b"HTTP/1.1 200OK", b"HTTP/1.1 OK", b"HTTP/1.1", b"HTTP/1.10 200 OK", b"HTTP/2.0 200 OK", b"HTTP/1 200 OK",
    b"HTTP/x.y 200 OK", b"http/1.1 200 OK", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\0K",
]  # fmt: skip


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID.keys())
def test_a_head_that_leaves_a_doubt_is_refused_at_once(fetch, origin, raw):
    with pytest.raises(InvalidResponse, match="response") as caught:
        fetch(STATUS + raw)
    assert not caught.value.transient
    assert len(origin.requests) == 1


@pytest.mark.parametrize("line", STATUS_LINES)
def test_a_status_line_that_is_malformed_is_refused_at_once(fetch, line):
    with pytest.raises(InvalidResponse, match="response") as caught:
        fetch(line + b"\r\n" + LENGTH)
    assert not caught.value.transient


@pytest.mark.parametrize("status", [b"302 Found", b"404 Not Found", b"304 Not Modified", b"204 No Content"])
@pytest.mark.parametrize("name", ["two lengths", "an unknown coding", "no colon"])
def test_how_a_body_ends_that_is_not_used_does_not_matter(fetch, way, status, name):
    raw = b"HTTP/1.1 " + status + b"\r\nLocation: /b\r\n" + INVALID[name]
    refusal = [InvalidResponse] if way == "curl" and name != "an unknown coding" else []
    with contextlib.suppress(*refusal):  # libcurl refuses some of them by itself
        assert fetch(raw)[1]["location"] == "/b"


SKIPPED = {
    "no colon": b"X-A\r\n",
    "another status line": b"HTTP/1.1 200 OK\r\n",
    "no name": b": x\r\n",
    "a first line behind a blank": b" X-A: b\r\n c\r\n",
    "a first line of blanks": b"  \r\n",
}


@pytest.mark.parametrize("frame", ["length", "chunked"])
@pytest.mark.parametrize("name", SKIPPED)
def test_a_line_that_is_no_field_is_skipped_where_the_end_of_the_body_is_known(fetch, way, name, frame):
    raw = STATUS + SKIPPED[name] + FRAMES[frame][0] + FRAMES[frame][1]
    if way == "curl" and ":" not in SKIPPED[name].decode():  # libcurl refuses it by itself
        with pytest.raises(InvalidResponse, match="Header without colon"):
            fetch(raw)
    else:
        got, headers = fetch(raw)
        assert (got, len(headers)) == (BODY, 1)


@pytest.mark.parametrize("before", [b"\r\n", b"\n\r\n", b"HTTP/1.1 100 Continue\r\nX-A\r\n\r\n\r\n"])
def test_empty_lines_before_a_status_line_are_skipped(fetch, way, before):
    if way == "curl":
        with pytest.raises(InvalidResponse):
            fetch(before + STATUS + LENGTH)
    else:
        assert fetch(before + STATUS + LENGTH)[0] == BODY


@pytest.mark.parametrize("status", [b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1\t200\tOK", b"HTTP/1.1 200 \xe9"])
def test_a_status_line_is_read_as_far_as_it_is_certain(fetch, status):
    assert fetch(status + b"\n" + LENGTH)[0] == BODY


def test_more_fields_than_any_server_sends_are_read(fetch):
    got, headers = fetch(STATUS + b"".join(b"X-%d: a\r\n" % number for number in range(4000)) + LENGTH)
    assert (got, len(headers)) == (BODY, 4001)


def test_a_field_of_several_100_kb_is_read_where_the_library_allows_it(fetch, way):
    raw = STATUS + b"X-A: " + b"a" * 700_000 + b"\r\n" + LENGTH
    if way == "curl":
        with pytest.raises(InvalidResponse, match="larger than libcurl accepts"):
            fetch(raw)
    else:
        assert fetch(raw)[0] == BODY


LONG = b"a" * 17_000
LEFT_OUT = {
    "an entity tag": (b'ETag: "' + LONG + b'"\r\n', "etag"),
    "a location": (b"Location: /" + LONG + b"\r\n", "location"),
    "a date": (b"Last-Modified: " + LONG + b"\r\n", "last-modified"),
    "a name": (b"Content-Disposition: attachment; filename=" + LONG + b"\r\n", "content-disposition"),
    "many short ones": (b"Last-Modified: 1 Jan 2024\r\n" * 2_000, "last-modified"),
}


@pytest.mark.parametrize(("lines", "name"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_a_field_that_is_longer_than_any_use_of_it_is_left_out(fetch, lines, name):
    got, headers = fetch(STATUS + lines + LENGTH)
    assert (got, name in headers) == (BODY, False)


def test_of_several_cookies_the_long_one_is_left_out(fetch):
    lines = b"Set-Cookie: a=1\r\nSet-Cookie: b=" + LONG + b"\r\nSet-Cookie: c=2\r\n"
    assert fetch(STATUS + lines + LENGTH)[1]["set-cookie"] == "a=1\nc=2"


@pytest.mark.parametrize("name", [b"Content-Type", b"Content-Encoding", b"Content-Range", b"Transfer-Encoding"])
def test_a_long_field_that_decides_about_the_file_is_refused(fetch, name):
    with pytest.raises(InvalidResponse, match="longer than 16 KiB"):
        fetch(STATUS + name + b": x; " + LONG + b"\r\n" + LENGTH)


@pytest.mark.parametrize("line", [b"HTTP/1.1 200" + b" " * 9_000 + b"OK", b"HTTP/1.1 200 " + LONG])
def test_a_status_line_that_is_too_long_is_refused(fetch, line):
    with pytest.raises(InvalidResponse, match="status line"):
        fetch(line + b"\r\n" + LENGTH)


# --- chunks -----------------------------------------------------------------------------------------

WHOLE = {
    "usual": (CHUNKS, BODY),
    "upper and lower case": (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "leading zeros": (b"0000000000000003\r\nabc\r\n00\r\n\r\n", b"abc"),
    "extensions": (b'3;a=b;c="d e"\r\nabc\r\n0;x\r\n\r\n', b"abc"),
    "blanks behind the size": (b"3 \t\r\nabc\r\n2 ;a\r\nde\r\n0  \r\n\r\n", BODY),
    "bare line feeds": (b"3\nabc\n10\n0123456789abcdef\n0\n\n", b"abc0123456789abcdef"),
    "trailers": (b"3\r\nabc\r\n0\r\nContent-Length: 99\r\nX: y\r\n\r\n", b"abc"),
    "a trailer without colon": (b"3\r\nabc\r\n0\r\nXY\r\n\r\n", b"abc"),
    "no line end at the end": (b"3\r\nabc\r\n0\r\n", b"abc"),
    "an end within the trailers": (b"3\r\nabc\r\n0\r\nX: y\r\n", b"abc"),
    "bytes behind the end": (b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", b"abc"),
}
CUT = {
    "before the size": b"",
    "within the size": b"3\r\nabc\r\n0",
    "within the chunk": b"3\r\nab",
    "before its line end": b"3\r\nabc",
    "before the last chunk": b"3\r\nabc\r\n",
}
MALFORMED = {
    "below zero": b"-1\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\na:b\r\n0\r\n\r\n",
    "0x0": b"3\r\nabc\r\n0x0\r\n\r\n",
    "-0": b"3\r\nabc\r\n-0\r\n\r\n",
    "_": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a blank before it": b" 3\r\nabc\r\n0\r\n\r\n",
    "a vertical tab": b"3\x0b\r\nabc\r\n0\r\n\r\n",
    "text behind it": b"3x\r\nabc\r\n0\r\n\r\n",
    "NUL behind it": b"3\0\r\nabc\r\n0\r\n\r\n",
    "nothing": b"\r\nabc\r\n0\r\n\r\n",
    "only an extension": b";a\r\nabc\r\n0\r\n\r\n",
    "other digits": "\u0663\r\nabc\r\n0\r\n\r\n".encode(),
    "2 ** 63": b"8000000000000000\r\nabc\r\n0\r\n\r\n",
    "17 digits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a bare CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "a line feed behind the data": b"3\r\nabc\n2\r\nde\r\n0\r\n\r\n",
    "a bare CR behind it": b"3\r\r\nabc\r\n0\r\n\r\n",
    "too few bytes": b"4\r\nabc\r\n0\r\n\r\n",
    "too many bytes": b"3\r\nabcdef\r\n0\r\n\r\n",
    "no line end behind the data": b"3\r\nabc3\r\ndef\r\n0\r\n\r\n",
    "an empty line too many": b"3\r\nabc\r\n\r\n3\r\ndef\r\n0\r\n\r\n",
    "an extension without end": b"3;" + b"a" * 200_000,
}
CHUNKED = STATUS + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("name", WHOLE)
def test_chunks_are_joined(fetch, name):
    sent, joined = WHOLE[name]
    assert fetch(CHUNKED + sent)[0] == joined


@pytest.mark.parametrize("sent", CUT.values(), ids=CUT.keys())
def test_chunks_are_not_whole_before_the_last_one_has_come(fetch, sent):
    with pytest.raises(ConnectionLost, match="ended before the end of the body"):
        fetch(CHUNKED + sent)


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_chunk_that_is_malformed_is_no_part_of_a_file(fetch, sent):
    with pytest.raises(ConnectionLost, match=r"a chunk of the body is malformed|ended before the end"):
        fetch(CHUNKED + sent)


@pytest.mark.parametrize(
    ("extension", "count", "is_read"), [(80, 10_000, True), (4_000, 250, True), (4_000, 300, False)]
)
def test_a_body_of_chunk_extensions_is_given_up(fetch, extension, count, is_read):
    """Each chunk has one byte; those that are read are as long as signatures are, or few."""
    sent = CHUNKED + (b"1;" + b"e" * extension + b"\r\nj\r\n") * count + b"0\r\n\r\n"
    if is_read:
        assert fetch(sent)[0] == b"j" * count
    else:
        with pytest.raises(ConnectionLost, match="the chunk extensions are longer than the data"):
            fetch(sent)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 9))
def test_chunks_that_come_in_pieces_are_the_same(chunks, step):
    raw = b"".join(b"%x;a\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX: y\r\n\r\n"
    decoder = ChunkDecoder()
    pieces = [piece for at in range(0, len(raw), step) for piece in decoder.decode(raw[at : at + step])]
    assert (b"".join(pieces), decoder.is_through) == (b"".join(chunks), True)


# --- the parser -------------------------------------------------------------------------------------


@given(st.binary(max_size=60))
def test_a_head_of_any_bytes_is_read_or_refused(data):
    lines = (STATUS + data.replace(b"\n\n", b"\n") + b"\r\n").splitlines(keepends=True)
    lines = re.findall(rb"[^\n]*\n", b"".join(lines))
    try:
        head = read_head(lines)
    except InvalidHead:
        return
    assert head.status == 200
    assert all(not re.search(r"[\0\r\n]", name + value) for name, value in head.fields)


def test_a_damaged_head_takes_no_longer_than_its_size_deserves(monkeypatch):
    """Neither folds, nor blanks, nor a field that is repeated make its time grow with the square of its size."""
    monkeypatch.setattr("mediacrawl.transport.head.MAX_HEAD_BYTES", 4_000_000)
    for line in (b" " * 100_000 + b"\r\n", b" a\r\n", b"X-A: " + b"a" * 300 + b"\r\n"):
        lines = [STATUS, b"X-A: b\r\n", *[line] * min(9000, 3_000_000 // len(line))]
        read_head(lines)
