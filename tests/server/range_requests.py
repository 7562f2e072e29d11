"""One table of requests for a file, for the core and for each door: the request, and the response of RFC 9110."""

from __future__ import annotations

from email.utils import formatdate
from hashlib import sha256
from typing import NamedTuple

from range_vectors import RANGES

MODIFIED = 1_700_000_000
DATE, EARLIER, LATER = (formatdate(MODIFIED + by, usegmt=True) for by in (0, -60, 60))
BODY = bytes(range(256)) * 4  # 1,024 bytes, each 256 apart from its like
ONE = b"x"
BODIES = {"body.bin": BODY, "one.bin": ONE, "empty.bin": b"", "ten.bin": BODY[:10], "hundred.bin": BODY[:100]}
TAGS = {name: f'"{sha256(body).hexdigest()}"' for name, body in BODIES.items()}
TAG = TAGS["body.bin"]
_OF_LENGTH = {len(body): name for name, body in BODIES.items()}
_HUGE = "9" * 4000  # a header of twice as much is refused by servers


class Case(NamedTuple):
    """A request and its response; `ranges` are half-open, several are multipart; None: the whole file."""

    headers: dict[str, str]
    status: int
    ranges: list[tuple[int, int]] | None = None
    name: str = "body.bin"
    method: str = "GET"


def _row(row):
    value, length, ranges = row
    headers = {} if value is None else {"Range": value}
    if ranges is None:
        return Case(headers, 200, name=_OF_LENGTH[length])
    return Case(headers, 206 if ranges else 416, merged(ranges) or None, _OF_LENGTH[length])


def merged(ranges):
    """Ranges that overlap or touch as one, by brute force; in the order of the request."""
    found = list(ranges)
    while True:
        pair = next(
            ((a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a[0] <= b[1] and b[0] <= a[1]), None
        )
        if pair is None:
            return found
        a, b = pair
        found[found.index(a)] = (min(a[0], b[0]), max(a[1], b[1]))
        del found[len(found) - 1 - found[::-1].index(b)]


FROM_THE_TABLE = [_row((value and value.replace("9" * 5000, _HUGE), *rest)) for value, *rest in RANGES]

CASES = [
    *FROM_THE_TABLE,
    # Merged, and in the order of the request (15.3.7.2)
    Case({"Range": "bytes=0-99,50-149"}, 206, [(0, 150)]),
    Case({"Range": "bytes=0-9,10-19"}, 206, [(0, 20)]),
    Case({"Range": "bytes=0-9,11-19"}, 206, [(0, 10), (11, 20)]),
    Case({"Range": "bytes=500-,0-9"}, 206, [(500, 1024), (0, 10)]),
    Case({"Range": "bytes=-1,0-0"}, 206, [(1023, 1024), (0, 1)]),
    Case({"Range": "bytes=600-699,0-9,650-799"}, 206, [(600, 800), (0, 10)]),
    Case({"Range": "bytes=0-9,0-9,0-9"}, 206, [(0, 10)]),
    Case({"Range": "bytes=0-,0-,0-,-5"}, 206, [(0, 1024)]),
    Case({"Range": "bytes=0-0,1024-"}, 206, [(0, 1)]),
    Case({"Range": "bytes=1024-,2000-"}, 416),
    Case(
        {"Range": "bytes=" + ",".join(f"{n * 10}-{n * 10}" for n in range(100))},
        206,
        [(n, n + 1) for n in range(0, 1000, 10)],
    ),
    Case({"Range": "bytes=" + ",".join(["0-0"] * 100)}, 206, [(0, 1)]),
    Case({"Range": "bytes=" + ",".join(["0-0"] * 101)}, 200),
    # HEAD has no ranges (14.2)
    Case({}, 200, method="HEAD"),
    Case({"Range": "bytes=0-9"}, 200, method="HEAD"),
    Case({"Range": "bytes=5000-"}, 200, method="HEAD"),
    Case({"Range": "bytes=0-9", "If-Range": TAG}, 200, method="HEAD"),
    Case({"If-None-Match": TAG}, 304, method="HEAD"),
    Case({"If-Match": '"other"'}, 412, method="HEAD"),
    Case({}, 200, name="empty.bin", method="HEAD"),
    # If-Range (13.1.5): strong, or the exact date
    Case({"Range": "bytes=0-9", "If-Range": TAG}, 206, [(0, 10)]),
    Case({"Range": "bytes=0-9", "If-Range": f"  {TAG} "}, 206, [(0, 10)]),
    Case({"Range": "bytes=0-9", "If-Range": f"W/{TAG}"}, 200),
    Case({"Range": "bytes=0-9", "If-Range": '"other"'}, 200),
    Case({"Range": "bytes=0-9", "If-Range": f'{TAG}, "other"'}, 200),
    Case({"Range": "bytes=0-9", "If-Range": TAG.strip('"')}, 200),
    Case({"Range": "bytes=0-9", "If-Range": "*"}, 200),
    Case({"Range": "bytes=0-9", "If-Range": DATE}, 206, [(0, 10)]),
    Case({"Range": "bytes=0-9", "If-Range": EARLIER}, 200),
    Case({"Range": "bytes=0-9", "If-Range": LATER}, 200),
    Case({"Range": "bytes=0-9", "If-Range": DATE.replace("GMT", "+0000")}, 200),
    Case({"Range": "bytes=0-9", "If-Range": "yesterday"}, 200),
    Case({"If-Range": TAG}, 200),
    Case({"Range": "bytes=5000-", "If-Range": TAG}, 416),
    Case({"Range": "bytes=5000-", "If-Range": '"other"'}, 200),
    Case({"Range": "bytes=3-2", "If-Range": TAG}, 200),
    # The order of conditions (13.2.2)
    Case({"If-Match": TAG}, 200),
    Case({"If-Match": "*"}, 200),
    Case({"If-Match": f'"other", {TAG}'}, 200),
    Case({"If-Match": f"W/{TAG}"}, 412),
    Case({"If-Match": '"other"'}, 412),
    Case({"If-Match": "junk"}, 412),
    Case({"If-Match": TAG, "If-Unmodified-Since": EARLIER}, 200),
    Case({"If-Match": TAG, "If-None-Match": TAG}, 304),
    Case({"If-Match": '"other"', "If-None-Match": TAG}, 412),
    Case({"If-Unmodified-Since": EARLIER}, 412),
    Case({"If-Unmodified-Since": DATE}, 200),
    Case({"If-Unmodified-Since": LATER}, 200),
    Case({"If-Unmodified-Since": "junk"}, 200),
    Case({"If-Unmodified-Since": EARLIER, "Range": "bytes=0-9"}, 412),
    Case({"If-None-Match": TAG}, 304),
    Case({"If-None-Match": f"W/{TAG}"}, 304),
    Case({"If-None-Match": "*"}, 304),
    Case({"If-None-Match": f'"a,b" ,, {TAG}'}, 304),
    Case({"If-None-Match": '"other"'}, 200),
    Case({"If-None-Match": '"other"', "If-Modified-Since": LATER}, 200),
    Case({"If-None-Match": TAG, "If-Modified-Since": EARLIER}, 304),
    Case({"If-None-Match": TAG, "Range": "bytes=0-9"}, 304),
    Case({"If-None-Match": TAG, "Range": "bytes=5000-"}, 304),
    Case({"If-None-Match": '"other"', "Range": "bytes=0-9"}, 206, [(0, 10)]),
    Case({"If-Modified-Since": DATE}, 304),
    Case({"If-Modified-Since": LATER}, 304),
    Case({"If-Modified-Since": EARLIER}, 200),
    Case({"If-Modified-Since": "Tuesday, 14-Nov-23 22:13:20 GMT"}, 304),
    Case({"If-Modified-Since": "Tue Nov 14 22:13:20 2023"}, 304),
    Case({"If-Modified-Since": f"{DATE}, {DATE}"}, 200),
    Case({"If-Modified-Since": DATE, "Range": "bytes=0-9"}, 304),
    Case({"If-Match": TAG, "Range": "bytes=5000-"}, 416),
    Case({"If-Match": "*", "If-Range": '"other"', "Range": "bytes=0-9"}, 200),
]


def ids(cases):
    return [
        f"{case.method} {case.name} " + "; ".join(f"{name}: {value}" for name, value in case.headers.items())[:70]
        for case in cases
    ]


def parts_of(content_type, content):
    """The Content-Range and the bytes of each part of a multipart body; it must be all of the body."""
    boundary = content_type.partition("boundary=")[2].encode()
    assert content.startswith(b"--" + boundary + b"\r\n")
    assert content.endswith(b"\r\n--" + boundary + b"--\r\n")
    inner = content[len(boundary) + 4 : -len(boundary) - 8]
    found = []
    for part in inner.split(b"\r\n--" + boundary + b"\r\n"):
        head, _, data = part.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        assert fields.keys() == {"Content-Type", "Content-Range"}
        found.append((fields["Content-Range"], data))
    return found


def check(case, status, headers, content):
    """Compare a response, its header names in lower case, with what the RFC has."""
    body, ranges = BODIES[case.name], case.ranges
    assert status == case.status
    length = headers.get("content-length")
    if status in {304, 412, 416} or case.method == "HEAD":
        assert content == b""
    if status == 304:
        assert headers["etag"] == TAGS[case.name]
        assert "content-type" not in headers
        return
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    if status == 416:
        assert headers["content-range"] == f"bytes */{len(body)}"
    if status in {412, 416}:
        assert length == "0"
        return
    assert headers["etag"] == TAGS[case.name]
    assert headers["last-modified"] == DATE
    if status == 200:
        assert "content-range" not in headers
        assert (length, content) == (str(len(body)), b"" if case.method == "HEAD" else body)
        return
    assert int(length) == len(content)
    expected = [(f"bytes {start}-{stop - 1}/{len(body)}", body[start:stop]) for start, stop in ranges]
    if len(ranges) == 1:
        assert [(headers["content-range"], content)] == expected
    else:
        assert "content-range" not in headers
        assert parts_of(headers["content-type"], content) == expected
