"""The one local web server of all tests: obeys RFC 9110 until a named fault tells it not to.

    with Origin() as origin:
        origin.add("/a.jpg", Pattern(1_000_000), faults=[drop_after(10_000)])
        requests.get(origin.url("/a.jpg"))
        assert origin.requests_for("/a.jpg")[0].body_bytes_sent == 10_000

Real sockets on an own port, one daemon thread per connection, HTTP/1.1 with keep-alive. Its range arithmetic
is written apart from mediacrawl's on purpose: a server that shares the code's bugs lets its tests pass.

**Faults.** Each belongs to one path (`faults=[...]`, `origin.fault(path, ...)`) or to all
(`origin.everywhere(...)`), is used up after `times` answers (None: never), and is not used up by an answer
that it does not fit: `wrong_start` waits for a 206, `drop_after(n)` for a body longer than n. Two of the same
name take turns: `[status(503), status(429)]` gives one, then the other. `fault.after(n)` lets the first n
fitting answers pass; `fault.when(predicate)` looks at the request. Most are incidents, so `times` is 1; those
that are the nature of a server (`weak_etag`, `changing_etag`, `limit_per_connection`, `require_header`) stay.

What is counted as sent is what the kernel has taken, so a client that was killed may have read less. It is
counted, and the request marked as finished, before the client can know: what a client has read is in the records.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import email.utils
import functools
import gzip
import hashlib
import http
import itertools
import math
import random
import re
import select
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

SLICE_BYTES = 1 << 20
HEAD_LIMIT_BYTES = 1 << 16
LONG_AGO = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


# --- bodies ---------------------------------------------------------------------------------------


class Pattern:
    """`size` bytes that follow from `seed`, of any size, with a memory of 2 MiB.

    The period is a prime, so that no power of two (block, chunk, segment) is a multiple of it: a misplaced
    block shows.
    """

    PERIOD = 1_048_583

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"Pattern({self.size}, seed={self.seed})"

    def slices(self, start: int = 0, stop: int | None = None, step: int = SLICE_BYTES) -> Iterator[memoryview]:
        stop = self.size if stop is None else min(stop, self.size)
        buffer = _pattern_buffer(self.seed) if stop > _SMALL_BYTES else _small_buffer(self.seed)
        for at in range(start, stop, step):
            phase = at % self.PERIOD
            yield buffer[phase : phase + min(step, stop - at)]

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        return b"".join(self.slices(start, stop))

    def sha256(self) -> str:
        return _pattern_sha256(self.size, self.seed)


_SMALL_BYTES = 1 << 16  # a multiple of 4: the generator makes words


@functools.lru_cache(maxsize=8)
def _pattern_buffer(seed: int) -> memoryview:
    return memoryview(random.Random(seed).randbytes(Pattern.PERIOD) * 2)


@functools.lru_cache(maxsize=256)
def _small_buffer(seed: int) -> memoryview:
    """The beginning of the same bytes, which costs less."""
    return memoryview(random.Random(seed).randbytes(_SMALL_BYTES))


@functools.lru_cache(maxsize=64)
def _pattern_sha256(size: int, seed: int) -> str:
    digest = hashlib.sha256()
    for view in Pattern(size, seed).slices():
        digest.update(view)
    return digest.hexdigest()


Body = bytes | Pattern


def _slices(body: Body, start: int, stop: int, step: int) -> Iterator[memoryview]:
    if isinstance(body, Pattern):
        yield from body.slices(start, stop, step)
    else:
        view = memoryview(body)
        for at in range(start, stop, step):
            yield view[at : min(at + step, stop)]


def _read(body: Body, start: int, stop: int) -> bytes:
    return body.read(start, stop) if isinstance(body, Pattern) else body[start:stop]


def _sha256(body: Body) -> str:
    return body.sha256() if isinstance(body, Pattern) else hashlib.sha256(body).hexdigest()


def repr_digest(body: Body) -> str:
    """RFC 9530: the digest of the whole selected representation, whatever part of it an answer carries."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(_sha256(body))).decode()}:"


# --- what is asked, what is there, what is answered -----------------------------------------------


@dataclass
class Request:
    """One request as it came, and what became of it; the last five fields change meanwhile."""

    method: str
    target: str  # as on the request line
    path: str  # without query, percent signs kept
    headers: dict[str, str]  # lower-case names; repeated fields joined by ", "
    body: bytes
    client_port: int
    number: int  # 0, 1, 2 … on the whole origin
    started_at: float  # time.monotonic()
    version: str = "HTTP/1.1"
    status: int | None = None  # None: nothing was answered
    body_bytes_sent: int = 0
    body_bytes_meant: int | None = None  # of a whole answer; None for one without end, or none at all
    stalled: bool = False
    finished_at: float | None = None

    @property
    def whole(self) -> bool:
        return self.body_bytes_sent == self.body_bytes_meant

    @property
    def range(self) -> tuple[int, int | None] | None:
        """The first range as a Python slice: `5-9` is (5, 10), `5-` is (5, None), `-5` is (-5, None)."""
        asked = read_ranges(self.headers.get("range"))
        return asked[0] if asked else None


@dataclass
class Answer:
    """A response; handlers given to `Origin.on` return one. `body[start:stop]` is what travels."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Body = b""
    start: int = 0
    stop: int | None = None
    # How it travels; set by faults.
    framing: str = "length"  # or "chunked", "close"
    close: bool = False
    rate: float | None = None  # bytes per second
    drop_at: int | None = None  # body bytes of this answer
    drop_by_reset: bool = False
    stall_at: int | None = None
    stall_s: float | None = None
    drip_at: int | None = None
    drip_bytes_per_s: float = 0
    endless: str | None = None  # "head" or "body"
    line_bytes: int = 200  # of an endless head

    @property
    def end(self) -> int:
        return len(self.body) if self.stop is None else self.stop

    @property
    def length(self) -> int:
        return self.end - self.start

    def get(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def drop(self, name: str) -> None:
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]

    def set(self, name: str, value: object) -> None:
        self.drop(name)
        self.headers.append((name, str(value)))


Handler = Callable[[Request], Answer | bytes]


@dataclass
class Resource:
    body: Body = b""
    content_type: str | None = "application/octet-stream"
    etag: str | None = None
    last_modified: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    disposition: str | None = None
    delay_s: float = 0
    digest: bool = False
    faults: list[Fault] = field(default_factory=list)
    handler: Handler | None = None


@dataclass
class Exchange:
    """One request and its answer on the way through the faults."""

    request: Request
    resource: Resource  # a copy: a fault may change it for this one answer
    honour_range: bool = True
    honour_if_range: bool = True
    reset: bool = False
    answer: Answer | None = None


# --- RFC 9110: conditions and ranges --------------------------------------------------------------

_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_ONE_RANGE = re.compile(r"([0-9]*)-([0-9]*)")


def _number(digits: str) -> int:
    return int(digits) if len(digits) < 40 else 10**40


def read_ranges(value: str | None) -> list[tuple[int, int | None]]:
    """The ranges of a `Range` field as Python slices; none where it is missing, of another unit or invalid.

    RFC 9110, 14.1.1 and 14.1.2: unit names are case-insensitive, last-pos before first-pos is invalid, and
    one invalid part makes all of it invalid. A suffix of zero, `bytes=-0`, is valid and never satisfiable:
    (0, 0).
    """
    unit, equals, rest = (value or "").partition("=")
    if not equals or unit.lower() != "bytes":
        return []
    found: list[tuple[int, int | None]] = []
    for text in filter(None, (part.strip(" \t") for part in rest.split(","))):
        match = _ONE_RANGE.fullmatch(text)
        if match is None or text == "-" or not any(match.groups()):
            return []
        first, last = match.groups()
        if not first:
            suffix = _number(last)
            found.append((-suffix, None) if suffix else (0, 0))
        elif not last:
            found.append((_number(first), None))
        elif _number(last) < _number(first):
            return []
        else:
            found.append((_number(first), _number(last) + 1))
    return found


def satisfiable(asked: list[tuple[int, int | None]], size: int) -> list[tuple[int, int]]:
    """Those of the asked ranges that have a byte in a representation of `size`, cut to it, half-open."""
    cut = [slice(*one).indices(size)[:2] for one in asked if one != (0, 0)]
    return [(start, stop) for start, stop in cut if start < stop]


def _epoch(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _weak_match(field_value: str, etag: str | None) -> bool:
    if field_value.strip() == "*":
        return True
    return etag is not None and etag.removeprefix("W/") in [
        tag.removeprefix("W/") for tag in _ETAG.findall(field_value)
    ]


def _strong_match(field_value: str, etag: str | None) -> bool:
    if field_value.strip() == "*":
        return True
    return etag is not None and not etag.startswith("W/") and etag in _ETAG.findall(field_value)


def _precondition(request: Request, resource: Resource) -> int | None:
    """RFC 9110, 13.2.2, steps 1 to 4: 412, 304 or None for going on."""
    asked, changed = request.headers, _epoch(resource.last_modified)
    if "if-match" in asked:
        if not _strong_match(asked["if-match"], resource.etag):
            return 412
    elif (since := _epoch(asked.get("if-unmodified-since"))) is not None and changed is not None and changed > since:
        return 412
    if "if-none-match" in asked:
        return 304 if _weak_match(asked["if-none-match"], resource.etag) else None
    since = _epoch(asked.get("if-modified-since"))
    return 304 if since is not None and changed is not None and changed <= since else None


def _if_range_holds(value: str | None, resource: Resource, now: float) -> bool:
    """RFC 9110, 13.1.5: the strong comparison of an ETag, or the very date if it is strong (8.8.2.2)."""
    if value is None:
        return True
    value = value.strip()
    if '"' in value:
        return value == resource.etag and not value.startswith("W/")
    changed, asked = _epoch(resource.last_modified), _epoch(value)
    return changed is not None and asked == changed and changed + 1 <= now


def _validators(resource: Resource) -> list[tuple[str, str]]:
    found = [("ETag", resource.etag), ("Last-Modified", resource.last_modified)]
    return [(name, value) for name, value in found if value is not None]


def _describe(resource: Resource) -> list[tuple[str, str]]:
    """The fields that tell of the representation, the same for 200 and 206."""
    found = [
        ("Content-Type", resource.content_type),
        ("Content-Disposition", resource.disposition),
        ("Repr-Digest", repr_digest(resource.body) if resource.digest else None),
    ]
    return [
        ("Accept-Ranges", "bytes"),
        *((name, value) for name, value in found if value is not None),
        *_validators(resource),
        *resource.headers.items(),
    ]


def plain(status: int, text: str = "", headers: Iterable[tuple[str, str]] = ()) -> Answer:
    body = (text or f"{status} {_reason(status)}\n").encode()
    return Answer(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], body)


def decide(x: Exchange, now: float) -> Answer:
    """What an obedient origin answers to this request for this resource."""
    request, resource = x.request, x.resource
    if request.method not in ("GET", "HEAD"):
        return plain(405, headers=[("Allow", "GET, HEAD")])
    if 200 <= resource.status < 300 and (code := _precondition(request, resource)):
        return Answer(304, _validators(resource)) if code == 304 else plain(412)
    asked = read_ranges(request.headers.get("range")) if x.honour_range else []
    # 14.2: Range is for GET, and only where without it the answer would be 200.
    if not asked or request.method != "GET" or resource.status != 200:
        return Answer(resource.status, _describe(resource), resource.body)
    if x.honour_if_range and not _if_range_holds(request.headers.get("if-range"), resource, now):
        return Answer(200, _describe(resource), resource.body)
    return _in_part(resource, asked)


def _in_part(resource: Resource, asked: list[tuple[int, int | None]]) -> Answer:
    size = len(resource.body)
    ranges = satisfiable(asked, size)
    if len(ranges) == 1:
        (start, stop) = ranges[0]
        fields = [*_describe(resource), ("Content-Range", f"bytes {start}-{stop - 1}/{size}")]
        return Answer(206, fields, resource.body, start, stop)
    # Several: a server may ignore Range. So it does for a suffix of an empty representation, which is
    # satisfiable but which no Content-Range can tell.
    suffix_of_nothing = size == 0 and any(start < 0 for start, _ in asked)
    if ranges or suffix_of_nothing:
        return Answer(200, _describe(resource), resource.body)
    return plain(416, headers=[("Content-Range", f"bytes */{size}"), ("Accept-Ranges", "bytes")])


# --- faults ---------------------------------------------------------------------------------------

VIEW, INSTEAD, ANSWER, WIRE = range(4)  # the order in which faults act


@dataclass
class Fault:
    """`act` changes the exchange and returns False where it does not fit; then it is not used up."""

    name: str
    phase: int
    act: Callable[[Exchange], bool]
    times: int | None = 1
    passes: int = 0
    condition: Callable[[Request], bool] = lambda _request: True

    def after(self, passes: int) -> Fault:
        """The same fault, which leaves the first `passes` answers that it fits alone."""
        return dataclasses.replace(self, passes=passes)

    def when(self, condition: Callable[[Request], bool]) -> Fault:
        """The same fault, for those requests only."""
        return dataclasses.replace(self, condition=condition)

    def apply(self, x: Exchange) -> bool:
        if self.times == 0 or not self.condition(x.request):
            return False
        if self.passes:
            trial = dataclasses.replace(x, resource=dataclasses.replace(x.resource))
            trial.answer = x.answer and dataclasses.replace(x.answer, headers=[*x.answer.headers])
            self.passes -= self.act(trial)
            return False
        if not self.act(x):
            return False
        if self.times is not None:
            self.times -= 1
        return True


def _fault(phase: int, change: Callable[[Exchange], bool | None], times: int | None, name: str) -> Fault:
    return Fault(name, phase, lambda x: change(x) is not False, times)


def _on_answer(
    change: Callable[[Answer], object],
    times: int | None,
    name: str,
    *,
    fits: Callable[[Answer], bool] = lambda _answer: True,
    phase: int = ANSWER,
    methods: tuple[str, ...] = ("GET", "HEAD"),
) -> Fault:
    """A fault that changes an answer in place; the body and wire faults are for GET only."""

    def act(x: Exchange) -> bool:
        if x.answer is None or x.request.method not in methods or not fits(x.answer):
            return False
        change(x.answer)
        return True

    return Fault(name, phase, act, times)


def _has_body(answer: Answer) -> bool:
    return 200 <= answer.status < 300 and answer.status != 204


def _is_partial(answer: Answer) -> bool:
    return answer.status == 206 and answer.get("Content-Range") is not None


def _longer_than(n: int) -> Callable[[Answer], bool]:
    return lambda answer: _has_body(answer) and answer.length > n


def drop_after(n: int, *, reset: bool = False, times: int | None = 1) -> Fault:
    """Closes after n body bytes of an answer that has more; `reset`: by RST, which may lose some."""

    def change(answer: Answer) -> None:
        answer.drop_at, answer.drop_by_reset = n, reset

    return _on_answer(change, times, "drop_after", fits=_longer_than(n), phase=WIRE, methods=("GET",))


def stall_after(n: int, *, for_s: float | None = None, times: int | None = 1) -> Fault:
    """Stops after n body bytes until `origin.release()`, the end, or `for_s`; then sends the rest."""

    def change(answer: Answer) -> None:
        answer.stall_at, answer.stall_s = n, for_s

    return _on_answer(change, times, "stall_after", fits=_longer_than(n), phase=WIRE, methods=("GET",))


def _limited(bytes_per_s: float, times: int | None, name: str) -> Fault:
    def change(answer: Answer) -> None:
        answer.rate = min(bytes_per_s, answer.rate or bytes_per_s)

    return _on_answer(change, times, name, fits=_has_body, phase=WIRE, methods=("GET",))


def drip_after(n: int, bytes_per_s: float, *, times: int | None = 1) -> Fault:
    """Sends n body bytes as fast as it can, and the rest one byte after the other, so many a second."""

    def change(answer: Answer) -> None:
        answer.drip_at, answer.drip_bytes_per_s = n, bytes_per_s

    return _on_answer(change, times, "drip_after", fits=_longer_than(n), phase=WIRE, methods=("GET",))


def slow(bytes_per_s: float, *, times: int | None = 1) -> Fault:
    return _limited(bytes_per_s, times, "slow")


def limit_per_connection(bytes_per_s: float, *, times: int | None = None) -> Fault:
    """Every connection gets this much and no more: several in parallel are faster than one."""
    return _limited(bytes_per_s, times, "limit_per_connection")


def one_byte_per_s(*, times: int | None = 1) -> Fault:
    return _limited(1, times, "one_byte_per_s")


def ignore_range(*, times: int | None = 1) -> Fault:
    """200 and the whole body to a request with Range; legal."""

    def change(x: Exchange) -> bool:
        x.honour_range = False
        return "range" in x.request.headers

    return _fault(VIEW, change, times, "ignore_range")


def ignore_if_range(*, times: int | None = 1) -> Fault:
    """206 whatever If-Range says: the fault that splices files."""

    def change(x: Exchange) -> bool:
        x.honour_if_range = False
        return "if-range" in x.request.headers and "range" in x.request.headers

    return _fault(VIEW, change, times, "ignore_if_range")


def full_200_to_if_range(*, times: int | None = 1) -> Fault:
    """200 with the same validators where If-Range is sent, though a plain Range gets 206."""

    def change(x: Exchange) -> bool:
        if not {"range", "if-range"} <= x.request.headers.keys():
            return False
        x.honour_range = False
        return True

    return _fault(VIEW, change, times, "full_200_to_if_range")


def weak_etag(*, times: int | None = None) -> Fault:
    def change(x: Exchange) -> bool:
        if x.resource.etag is None or x.resource.etag.startswith("W/"):
            return False
        x.resource.etag = "W/" + x.resource.etag
        return True

    return _fault(VIEW, change, times, "weak_etag")


def changing_etag(*, times: int | None = None) -> Fault:
    """Another strong ETag on each answer, for the same bytes, as of a farm whose machines disagree."""

    def change(x: Exchange) -> None:
        x.resource.etag = f'"answer-{x.request.number}"'

    return _fault(VIEW, change, times, "changing_etag")


def encode_gzip(*, times: int | None = 1) -> Fault:
    """gzip whatever was asked, under the ETag of the plain bytes; ranges count coded bytes."""

    def change(x: Exchange) -> None:
        x.resource.body = gzip.compress(_read(x.resource.body, 0, len(x.resource.body)), mtime=0)
        x.resource.headers = {**x.resource.headers, "Content-Encoding": "gzip"}

    return _fault(VIEW, change, times, "encode_gzip")


def reset_on_connect(*, times: int | None = 1) -> Fault:
    """RST in place of any answer; as the path must be known, it comes after the request, not before."""

    def change(x: Exchange) -> None:
        x.reset = True

    return _fault(VIEW, change, times, "reset_on_connect")


def _instead(make: Callable[[Exchange], Answer | None], times: int | None, name: str) -> Fault:
    def act(x: Exchange) -> bool:
        made = make(x) if x.answer is None else None
        x.answer = made or x.answer
        return made is not None

    return Fault(name, INSTEAD, act, times)


def status(
    code: int,
    retry_after: float | str | None = None,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    *,
    times: int | None = 1,
) -> Fault:
    """This status in place of the resource; `retry_after` in seconds or as an HTTP-date."""

    def make(_x: Exchange) -> Answer:
        fields = [] if retry_after is None else [("Retry-After", str(retry_after))]
        return Answer(code, [*fields, ("Content-Type", "text/plain"), *(headers or {}).items()], body)

    return _instead(make, times, "status")


def redirect(to: str, code: int = 302, *, times: int | None = 1) -> Fault:
    """See `Origin.redirect` for a path that does nothing else."""
    return _instead(lambda _x: plain(code, headers=[("Location", to)]), times, "redirect")


def html_instead(*, times: int | None = 1) -> Fault:
    """200 and an error page in HTML, as portals and dead hosts give it."""
    page = b"<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body><h1>Sign in</h1></body></html>\n"
    return _instead(
        lambda _x: Answer(200, [("Content-Type", "text/html; charset=utf-8")], page), times, "html_instead"
    )


def lying_416(total: int, *, times: int | None = 1) -> Fault:
    """416 with `bytes */total` to any request with Range."""

    def make(x: Exchange) -> Answer | None:
        fields = [("Content-Range", f"bytes */{total}")]
        return plain(416, headers=fields) if "range" in x.request.headers else None

    return _instead(make, times, "lying_416")


def require_header(name: str, value: str | None, status: int = 403, *, times: int | None = None) -> Fault:
    """`status` where the request lacks this field or has it with another value; None: any value will do."""

    def make(x: Exchange) -> Answer | None:
        given = x.request.headers.get(name.lower())
        satisfied = given is not None and value in (None, given)
        return None if satisfied else plain(status)

    return _instead(make, times, "require_header")


def _content_range(answer: Answer, total: int | None = None) -> None:
    total = len(answer.body) if total is None else total
    answer.set("Content-Range", f"bytes {answer.start}-{answer.end - 1}/{total}")


def wrong_start(delta: int, *, times: int | None = 1) -> Fault:
    """206 that begins `delta` bytes from what was asked; Content-Range and body agree with each other."""

    def change(answer: Answer) -> None:
        answer.start = min(max(0, answer.start + delta), len(answer.body) - 1)
        answer.stop = max(answer.end, answer.start + 1)
        _content_range(answer)

    return _on_answer(change, times, "wrong_start", fits=_is_partial)


def wrong_total(n: int, *, times: int | None = 1) -> Fault:
    """206 whose Content-Range tells another complete length."""
    return _on_answer(lambda a: _content_range(a, n), times, "wrong_total", fits=_is_partial)


def no_content_range(*, times: int | None = 1) -> Fault:
    return _on_answer(lambda a: a.drop("Content-Range"), times, "no_content_range", fits=_is_partial)


def bare_206(*, times: int | None = 1) -> Fault:
    """206 with no more fields than RFC 9110, 15.3.7 demands; legal."""

    def change(answer: Answer) -> None:
        for name in ("Last-Modified", "Content-Type", "Content-Disposition", "Accept-Ranges", "Repr-Digest"):
            answer.drop(name)

    return _on_answer(change, times, "bare_206", fits=_is_partial)


def body_from_0(*, times: int | None = 1) -> Fault:
    """A 206 whose head is right, and whose body begins with the first byte of the file."""

    def change(answer: Answer) -> None:
        answer.start, answer.stop = 0, answer.length

    return _on_answer(change, times, "body_from_0", fits=_is_partial)


def short_206(n: int, *, times: int | None = 1) -> Fault:
    """206 with only the first n bytes of the asked range, and a Content-Range that says so; legal."""

    def change(answer: Answer) -> None:
        answer.stop = answer.start + n
        _content_range(answer)

    return _on_answer(change, times, "short_206", fits=lambda answer: _is_partial(answer) and answer.length > n)


def partial_200(*, times: int | None = 1) -> Fault:
    """The bytes and the fields of a 206, under the status 200."""
    return _on_answer(lambda a: setattr(a, "status", 200), times, "partial_200", fits=_is_partial)


def non_authoritative(*, times: int | None = 1) -> Fault:
    """203, as a proxy that has changed the response says (RFC 9110 15.3.4)."""
    return _on_answer(lambda a: setattr(a, "status", 203), times, "non_authoritative", fits=lambda a: a.status == 200)


def everything_206(*, times: int | None = 1) -> Fault:
    """206 with a Content-Range of all bytes, to a request without Range."""

    def change(answer: Answer) -> None:
        answer.status = 206
        answer.set("Content-Range", f"bytes 0-{answer.length - 1}/{answer.length}")

    return _on_answer(change, times, "everything_206", fits=lambda answer: answer.status == 200)


def multipart_206(*, times: int | None = 1) -> Fault:
    """multipart/byteranges with one part for each asked range, even for one."""

    def act(x: Exchange) -> bool:
        ranges = satisfiable(read_ranges(x.request.headers.get("range")), len(x.resource.body))
        if not ranges or x.request.method != "GET" or x.answer is None or x.answer.status not in (200, 206):
            return False
        body = x.resource.body
        kind = x.answer.get("Content-Type")
        parts = [
            f"--SEPARATOR\r\nContent-Type: {kind}\r\n"
            f"Content-Range: bytes {start}-{stop - 1}/{len(body)}\r\n\r\n".encode()
            + _read(body, start, stop)
            + b"\r\n"
            for start, stop in ranges
        ]
        x.answer.drop("Content-Range")  # 15.3.7.2: not in the head of a multipart answer
        x.answer.set("Content-Type", "multipart/byteranges; boundary=SEPARATOR")
        x.answer.status, x.answer.body = 206, b"".join([*parts, b"--SEPARATOR--\r\n"])
        x.answer.start, x.answer.stop = 0, None
        return True

    return Fault("multipart_206", ANSWER, act, times)


def wrong_length(delta: int, *, times: int | None = 1) -> Fault:
    """Content-Length too large or (delta < 0) too small; the body is right, then the connection ends."""

    def change(answer: Answer) -> None:
        answer.set("Content-Length", max(0, answer.length + delta))
        answer.close = True

    return _on_answer(change, times, "wrong_length", fits=_has_body)


def header(name: str, value: str, *, times: int | None = 1) -> Fault:
    """Sets a field, in place of one of that name."""
    return _on_answer(lambda a: a.set(name, value), times, f"header {name.lower()}")


def drop_header(name: str, *, times: int | None = 1) -> Fault:
    """Leaves a field out. Of Content-Length, it makes the end of the connection the end of the body."""

    def change(answer: Answer) -> None:
        if name.lower() == "content-length":
            answer.framing = "close"
        answer.drop(name)

    return _on_answer(change, times, f"drop_header {name.lower()}")


def set_cookie(cookie: str, *, times: int | None = 1) -> Fault:
    """Adds a Set-Cookie field: `set_cookie("session=1; Path=/")`."""
    return _on_answer(lambda a: a.headers.append(("Set-Cookie", cookie)), times, f"set_cookie {cookie}")


def wrong_digest(*, times: int | None = 1) -> Fault:
    """A Repr-Digest that is well-formed and of other bytes."""
    return _on_answer(
        lambda a: a.set("Repr-Digest", repr_digest(b"other bytes")), times, "wrong_digest", fits=_has_body
    )


def chunked(*, times: int | None = 1) -> Fault:
    """No Content-Length, the chunked coding."""
    return _on_answer(lambda a: setattr(a, "framing", "chunked"), times, "chunked", fits=_has_body)


def truncate_chunked(n: int, *, times: int | None = 1) -> Fault:
    """The chunked coding, cut off after n body bytes with no last chunk."""

    def change(answer: Answer) -> None:
        answer.framing, answer.drop_at = "chunked", n

    return _on_answer(change, times, "truncate_chunked", fits=_longer_than(n), phase=WIRE, methods=("GET",))


def close_delimited(*, times: int | None = 1) -> Fault:
    """As HTTP/1.0 did: no length at all, the body ends with the connection; a cut is not to be seen."""
    return _on_answer(lambda a: setattr(a, "framing", "close"), times, "close_delimited", fits=_has_body)


def headers_without_end(line_bytes: int = 200, *, times: int | None = 1) -> Fault:
    """A head that goes on, in lines with so many bytes each."""

    def change(answer: Answer) -> None:
        answer.endless, answer.line_bytes = "head", line_bytes

    return _on_answer(change, times, "headers_without_end", phase=WIRE)


def body_without_end(*, times: int | None = 1) -> Fault:
    """The body over and over with no length, until the client hangs up."""

    def change(answer: Answer) -> None:
        answer.endless = "body"
        answer.framing = "close" if answer.framing == "length" else answer.framing

    return _on_answer(change, times, "body_without_end", fits=_longer_than(0), phase=WIRE, methods=("GET",))


# --- the server -------------------------------------------------------------------------------------


_CLOSED_BY_CLIENT = getattr(
    select, "POLLRDHUP", 0
)  # where there is none, a connection is open until it is closed here


class Origin:
    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self._resources: dict[str, Resource] = {}
        self._faults: list[Fault] = []
        self._requests: list[Request] = []
        self._changed = threading.Condition()  # guards all of the above
        self._ending = threading.Event()
        self._released = threading.Event()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self.connections = 0  # accepted so far
        self.peak_open = 0  # the most connections that clients had open at one time, busy or idle
        self._answered_paths: set[str] = set()
        self._most_paths: int | None = None
        self._turn = 0  # of `answer_only`
        self._busy = 0
        self.peak = 0  # the most requests that were being answered at one time
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="origin", daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every answer at once, slow and stalled ones too; no socket and no thread remains."""
        with self._changed:
            self._ending.set()
            self._released.set()
            open_ones = dict(self._connections)
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), 1).close()  # wakes accept()
        for sock in open_ones:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if self._acceptor.ident is not None:
            self._acceptor.join(5)
        for thread in open_ones.values():
            thread.join(5)
        self._listener.close()

    # What there is.

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.netloc}{urllib.parse.quote(path, safe='/%?=&+:;,@!$()*~')}"

    def add(
        self,
        path: str,
        body: Body | str = b"",
        *,
        content_type: str | None = "application/octet-stream",
        etag: str | bool | None = None,
        last_modified: datetime | float | str | bool | None = None,
        faults: Iterable[Fault] = (),
        headers: dict[str, str] | None = None,
        status: int = 200,
        disposition: str | None = None,
        delay_s: float = 0,
        digest: bool = False,
    ) -> str:
        """Puts a resource there and returns its URL.

        `etag`: None for a strong one of the content, False for none. `last_modified`: None for a day long
        ago, False for none, else a datetime, seconds since 1970 or the field as it is. `digest`: with a right
        Repr-Digest.
        """
        body = body.encode() if isinstance(body, str) else body
        tag = f'"{_content_tag(body)}"' if etag is None or etag is True else etag or None
        resource = Resource(
            body=body,
            content_type=content_type,
            etag=tag,
            last_modified=_http_date(LONG_AGO if last_modified is None else last_modified),
            headers=dict(headers or {}),
            status=status,
            disposition=disposition,
            delay_s=delay_s,
            digest=digest,
            faults=[dataclasses.replace(fault) for fault in faults],
        )
        with self._changed:
            self._resources[path] = resource
        return self.url(path)

    def replace(self, path: str, body: Body | str, **changes: object) -> str:
        """The resource changes between two runs: other bytes and validators; faults and the rest stay.

        An ETag of the content follows the content, one given to `add` must be given anew here; the date moves
        on by an hour. A resource that had no ETag or no date has none after it.
        """
        body = body.encode() if isinstance(body, str) else body
        with self._changed:
            old = self._resources[path]
        then = _epoch(old.last_modified)
        kept = {
            "content_type": old.content_type,
            "etag": False if old.etag is None else None,
            "last_modified": False if then is None else then + 3600,
            "faults": old.faults,
            "headers": old.headers,
            "status": old.status,
            "disposition": old.disposition,
            "delay_s": old.delay_s,
            "digest": old.digest,
        }
        return self.add(path, body, **(kept | changes))  # type: ignore[arg-type]

    def remove(self, path: str) -> None:
        with self._changed:
            del self._resources[path]

    def page(self, path: str, html: str, encoding: str = "utf-8", **more: object) -> str:
        kind = {"content_type": f"text/html; charset={encoding}"}
        return self.add(path, html.encode(encoding), **(kind | more))  # type: ignore[arg-type]

    def robots(self, text: str) -> str:
        """Without it, /robots.txt is 404."""
        return self.add("/robots.txt", text, content_type="text/plain; charset=utf-8")

    def redirect(self, path: str, to: str, code: int = 302) -> str:
        return self.on(path, lambda _request: plain(code, headers=[("Location", to)]))

    def on(self, path: str, handler: Handler, faults: Iterable[Fault] = ()) -> str:
        """A handler of any method: it returns an `Answer`, or bytes that go out as they are."""
        with self._changed:
            self._resources[path] = Resource(handler=handler, faults=[dataclasses.replace(f) for f in faults])
        return self.url(path)

    def fault(self, path: str, *faults: Fault) -> None:
        """More faults for what is there already."""
        with self._changed:
            self._resources[path].faults.extend(dataclasses.replace(fault) for fault in faults)

    def everywhere(self, *faults: Fault) -> None:
        """Faults of the host: they count over all paths, known or not, and act before those of a path."""
        with self._changed:
            self._faults.extend(dataclasses.replace(fault) for fault in faults)

    def release(self) -> None:
        """Lets all that stalls go on, and lets nothing stall from now on."""
        self._released.set()

    # What happened.

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def requests_for(self, path: str) -> list[Request]:
        return [
            request for request in self.requests if path in (request.target, _plain_path(request.path), request.path)
        ]

    def bytes_sent(self, path: str | None = None) -> int:
        """Body bytes given to the kernel, of one path or of all."""
        chosen = self.requests if path is None else self.requests_for(path)
        return sum(request.body_bytes_sent for request in chosen)

    @property
    def open_connections(self) -> int:
        """How many are open now, busy or idle."""
        return len(self._connections)

    def forget(self) -> None:
        """Empties the records: the next run begins."""
        with self._changed:
            self._requests.clear()
            self.peak = self._busy
            self.peak_open = self._open_by_client()

    @property
    def answered_paths(self) -> int:
        """How many different paths have been answered, or begun to be, from the start on."""
        return len(self._answered_paths)

    def answer_only(self, paths: int | None) -> None:
        """Answer requests for so many different paths, counted from the start, and hold those for any other.

        Those that are held at the next call are never answered: their connections end then.
        """
        with self._changed:
            self._most_paths = paths
            self._turn += 1
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], object], timeout_s: float = 120) -> None:
        """Returns when the predicate holds; it is asked as a request comes, stalls, ends or sends a slice.

        origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= 10_000)
        """
        with self._changed:
            if not self._changed.wait_for(predicate, timeout_s):
                raise TimeoutError(f"{timeout_s} s passed; the requests so far: {self._requests}")

    # How it works.

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                sock, address = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._serve, args=(sock, address[1]), name=f"origin-{address[1]}", daemon=True
            )
            with self._changed:
                if self._ending.is_set():
                    sock.close()
                    return
                self._connections[sock] = thread
                self.connections += 1
                self.peak_open = max(self.peak_open, self._open_by_client())
                thread.start()

    def _open_by_client(self) -> int:
        """How many connections the client has not closed, also where its threads are slow to notice that."""
        poll = select.poll()
        for sock in self._connections:
            poll.register(sock, _CLOSED_BY_CLIENT)
        return len(self._connections) - len(poll.poll(0))

    def _serve(self, sock: socket.socket, client_port: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = _Connection(self, sock, client_port)
            while not self._ending.is_set() and connection.exchange():
                pass
        except (OSError, _HangUp):
            pass  # the client has gone, or a fault ends it here
        finally:
            with self._changed:  # before the client can know
                self._connections.pop(sock, None)
                self._changed.notify_all()
            sock.close()

    def _find(self, request: Request) -> Resource:
        names = (request.target, request.path, _plain_path(request.path))
        found = next((self._resources[name] for name in names if name in self._resources), None)
        return found or Resource(handler=lambda _request: plain(404))

    def _answer(self, request: Request) -> tuple[Answer | bytes, float]:
        """The answer after all faults, and the seconds to wait before it."""
        with self._changed:
            self._hold(request.path)
            found = self._find(request)
            faults = [*self._faults, *found.faults]
            x = Exchange(request, dataclasses.replace(found))
            used: set[str] = set()
            _apply(faults, VIEW, x, used)
            if x.reset:
                raise _HangUp(reset=True)
            _apply(faults, INSTEAD, x, used)
        if x.answer is None and x.resource.handler is not None:
            made = x.resource.handler(request)
            if isinstance(made, bytes):
                return made, x.resource.delay_s
            x.answer = made
        x.answer = x.answer or decide(x, time.time())
        with self._changed:
            _apply(faults, ANSWER, x, used)
            _apply(faults, WIRE, x, used)
        return x.answer, x.resource.delay_s

    def _hold(self, path: str) -> None:
        turn = self._turn
        while path not in self._answered_paths and len(self._answered_paths) >= (self._most_paths or math.inf):
            self._changed.wait()
            if turn != self._turn or self._ending.is_set():
                raise _HangUp
        self._answered_paths.add(path)
        self._changed.notify_all()

    def _begin(self, request: Request) -> None:
        with self._changed:
            request.number = len(self._requests)
            self._requests.append(request)
            self._busy += 1
            self.peak = max(self.peak, self._busy)
            self._changed.notify_all()

    def _note(self, request: Request, *, sent: int = 0, **changes: object) -> None:
        with self._changed:
            request.body_bytes_sent += sent
            for name, value in changes.items():
                setattr(request, name, value)
            self._changed.notify_all()

    def _end(self, request: Request) -> None:
        with self._changed:
            if request.finished_at is None:
                request.finished_at = time.monotonic()
                self._busy -= 1
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        if seconds > 0 and self._ending.wait(seconds):
            raise _HangUp


def _apply(faults: list[Fault], phase: int, x: Exchange, used: set[str]) -> None:
    for fault in faults:
        if fault.phase == phase and fault.name not in used and fault.apply(x):
            used.add(fault.name)


class _HangUp(Exception):
    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class _Connection:
    """One client's connection: reads a request, answers it, and so on."""

    def __init__(self, origin: Origin, sock: socket.socket, client_port: int) -> None:
        self.origin = origin
        self.sock = sock
        self.client_port = client_port
        self.buffer = b""

    def exchange(self) -> bool:
        """Answers one request; False where the connection ends with it."""
        request = self._read_request()
        if request is None:
            return False
        self.origin._begin(request)
        try:
            answer, delay_s = self.origin._answer(request)
            self.origin.pause(delay_s)
            if isinstance(answer, bytes):
                self.origin._end(request)
                self.sock.sendall(answer)
                return False
            return self._send(request, answer)
        except _HangUp as end:
            if end.reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise
        finally:
            self.origin._end(request)

    # in

    def _read_request(self) -> Request | None:
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_LIMIT_BYTES:
                self.sock.sendall(_head(plain(431), "close", 0))
                return None
            more = self.sock.recv(1 << 16)
            if not more:
                return None
            self.buffer += more
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        try:
            method, target, version = line.split(" ")
            headers: dict[str, str] = {}
            for text in fields:
                name, colon, value = text.partition(":")
                if not colon or name != name.strip():
                    raise ValueError(text)
                name, value = name.lower(), value.strip()
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            if version == "HTTP/1.1" and "host" not in headers:
                raise ValueError("no Host")
            length = int(headers.get("content-length", "0"))
        except ValueError:
            answer = plain(400)
            self.sock.sendall(_head(answer, "close", answer.length) + _read(answer.body, 0, answer.length))
            return None
        if headers.get("expect", "").lower() == "100-continue" and length:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._read_body(length)
        split = urllib.parse.urlsplit(target)  # RFC 9112, 3.2.2: the absolute form is accepted too
        return Request(
            method, target, split.path or "/", headers, body, self.client_port, -1, time.monotonic(), version
        )

    def _read_body(self, length: int) -> bytes:
        while len(self.buffer) < length:
            more = self.sock.recv(1 << 20)
            if not more:
                raise _HangUp
            self.buffer += more
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    # out

    def _send(self, request: Request, answer: Answer) -> bool:
        wishes = request.headers.get("connection", "").lower()
        keep = "close" not in wishes and (request.version == "HTTP/1.1" or "keep-alive" in wishes)
        keep = keep and answer.framing != "close" and not answer.close and answer.endless is None
        head = _head(answer, "keep-alive" if keep else "close", answer.length)
        bodiless = request.method == "HEAD" or not _may_have_body(answer.status)
        meant = None if answer.endless else 0 if bodiless else answer.length
        self.origin._note(request, status=answer.status, body_bytes_meant=meant)
        if answer.endless == "head":
            self._send_endless_head(head, answer.line_bytes)
        elif bodiless:
            self.origin._end(request)
            self.sock.sendall(head)
        else:
            self._send_body(request, answer, head)
        return keep

    def _send_endless_head(self, head: bytes, line_bytes: int) -> None:
        self.sock.sendall(head[:-2])
        for number in itertools.count():
            if self.origin._ending.is_set():
                raise _HangUp
            self.sock.sendall(b"X-Padding-%d: %s\r\n" % (number, b"." * line_bytes))

    def _send_body(self, request: Request, answer: Answer, head: bytes) -> None:
        step = SLICE_BYTES if answer.framing != "chunked" else 1 << 16
        if answer.rate is not None:
            step = int(max(1, min(step, answer.rate / 50)))
        views = _slices(answer.body, answer.start, answer.end, step)
        if answer.endless == "body":
            views = itertools.chain.from_iterable(
                _slices(answer.body, answer.start, answer.end, step) for _ in itertools.count()
            )
        pending, sent, began = head, 0, time.monotonic()
        for view in _dripping(_cut(views, {answer.drop_at, answer.stall_at, answer.drip_at}), answer):
            if answer.drip_at is not None and sent > answer.drip_at:
                self.origin.pause(1 / answer.drip_bytes_per_s)
            if answer.rate is not None and sent:
                self._push(pending)
                pending = b""
                self.origin.pause(began + sent / answer.rate - time.monotonic())
            if sent in (answer.stall_at, answer.drop_at):
                self._push(pending)
                pending = b""
                self._trouble(request, answer, sent)
            if answer.framing == "chunked":
                pending += b"%x\r\n" % len(view)
            elif sent + len(view) == request.body_bytes_meant:
                self.origin._end(request)
            self._send_counted(request, pending, view)
            pending = b"\r\n" if answer.framing == "chunked" else b""
            sent += len(view)
        if answer.drop_at == sent:
            self._push(pending)
            raise _HangUp(reset=answer.drop_by_reset)
        self.origin._end(request)
        self._push(pending + b"0\r\n\r\n" if answer.framing == "chunked" else pending)

    def _trouble(self, request: Request, answer: Answer, sent: int) -> None:
        if sent == answer.stall_at:
            self.origin._note(request, stalled=True)
            self.origin._released.wait(answer.stall_s)
            if self.origin._ending.is_set():
                raise _HangUp
        if sent == answer.drop_at:
            raise _HangUp(reset=answer.drop_by_reset)

    def _push(self, data: bytes) -> None:
        if data:
            self.sock.sendall(data)

    def _send_counted(self, request: Request, before: bytes, view: memoryview) -> None:
        """Sends `before` and the slice, in one call if small, and counts the slice as far as it got."""
        self.origin._note(request, sent=len(view))
        left = len(view)
        try:
            if before and left <= 1 << 16:
                self.sock.sendall(before + view)
                left = 0
            else:
                self._push(before)
            while left:
                left -= self.sock.send(view[-left:])
        except OSError:
            self.origin._note(request, sent=-left)
            raise


def _dripping(views: Iterator[memoryview], answer: Answer) -> Iterator[memoryview]:
    """The same bytes, one at a time from where it drips on."""
    sent = 0
    for view in views:
        drips = answer.drip_at is not None and sent >= answer.drip_at
        yield from (view[at : at + 1] for at in range(len(view))) if drips else (view,)
        sent += len(view)


def _cut(views: Iterator[memoryview], marks: set[int | None]) -> Iterator[memoryview]:
    """The same bytes, with a border at each mark."""
    at = 0
    borders = sorted(mark for mark in marks if mark is not None)
    for view in views:
        rest = view
        for border in borders:
            if at < border < at + len(rest):
                yield rest[: border - at]
                rest = rest[border - at :]
                at = border
        yield rest
        at += len(rest)


def _may_have_body(status: int) -> bool:
    return status >= 200 and status not in (204, 304)


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _head(answer: Answer, connection: str, length: int) -> bytes:
    version = "HTTP/1.0" if answer.framing == "close" else "HTTP/1.1"
    lines = [f"{version} {answer.status} {_reason(answer.status)}"]
    fields = list(answer.headers)
    given = {name.lower() for name, _ in fields}
    if "date" not in given:
        fields.insert(0, ("Date", email.utils.formatdate(usegmt=True)))
    if answer.framing == "chunked":
        fields = [(n, v) for n, v in fields if n.lower() != "content-length"]
        fields.append(("Transfer-Encoding", "chunked"))
    elif answer.framing == "length" and "content-length" not in given and _may_have_body(answer.status):
        fields.append(("Content-Length", str(length)))
    fields.append(("Connection", connection))
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "surrogateescape")


def _plain_path(path: str) -> str:
    return urllib.parse.unquote(path)


def _content_tag(body: Body) -> str:
    return f"p{body.seed}-{body.size}" if isinstance(body, Pattern) else _sha256(body)[:16]


def _http_date(value: datetime | float | str | bool) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return _http_date(LONG_AGO) if value else None
    seconds = value.timestamp() if isinstance(value, datetime) else value
    return email.utils.formatdate(seconds, usegmt=True)


def dead_port(host: str = "127.0.0.1") -> int:
    """A port on which nothing listens: a connection to it is refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])
