"""A model of HTTP answers, true ones and lies: what a server sends, and what a client may make of it.

An `Answer` is a deviation from the truth, in named fields; `Answer()` is the truth. A `Plan` is the answers to the
requests of one transfer, one after the other. A `Conversation` renders them and notes for each whether a client could
tell that it lies. Failures print the plan as an expression that can be pasted into a test.

**The truth.** The resource has two versions, whose bytes differ from the 17th on (before that is the signature of
their format, so a client that looks at the content lets them pass). A version has a strong ETag, a Last-Modified and
a length of its own. A file is right if it is exactly one of the versions, byte by byte, whatever head it came with.

**A client can tell**, so the file has to be right, or there is none:

- a body that ends before its Content-Length, its last chunk, the end that its Content-Range names, or the end of its
  gzip or zlib data; a connection that is reset; a head without its end;
- a Content-Length that is no number, too large, or repeated with another value, and a chunk size that is none, or
  that the data contradicts; Transfer-Encoding decides over Content-Length;
- a field in any form that a parser could read: other case, other blanks, a blank before the colon, folded, behind a
  line that is no field. A bare CR ends no line (RFC 9112 2.2);
- bytes after the body, whether they look like an answer or not;
- a Content-Range that starts elsewhere, that no range can be, or that contradicts the Content-Length; a complete
  length that is not the one of the part;
- a 206 of another version, or of none that it names; bytes under a truthful 206 that are of another version or of
  another place: the client has some of them, or will have them, and compares;
- fewer bytes than the version had, under its strong ETag, if the client has a part of that version and its length;
- a wrong Content-Encoding; a document in place of media;
- everything, if the request or this same answer promises the digest of the file.

**No client can tell**, so such a transfer may end with any file:

- `short`: a 200 whose Content-Length, last chunk or gzip data end it early, or a 200 with the bytes of a range;
- `cut`: a 200 whose end is that of the connection, which ends early and without a reset;
- `total`: a 206 or a 416 with a smaller complete length, to a client that has not heard another one.

What a client could tell and does not yet is in `KNOWN_GAPS`: what goes wrong then is counted and no failure.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import gzip
import hashlib
import random
import re
import threading
import zlib
from dataclasses import dataclass
from typing import NamedTuple

# The reasons of `Sent.gap` that are no failure. Take out what a client has learned to tell.
KNOWN_GAPS: set[str] = set()
MOST_ANSWERS = 500  # a client that asks more often would ask for ever

SIGNATURES = {
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x01\x00\x48",
    "image/png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR",
    "video/mp4": b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00",
}
DOCUMENTS = {
    "html": ("text/html; charset=utf-8", b"<!DOCTYPE html>\n<html><title>Log in</title>" + b"<p>sorry" * 40),
    "json": ("application/json", b'{"error": "quota exceeded", "detail": "' + b"sorry " * 40 + b'"}'),
}
MODIFIED = ("Mon, 06 Jan 2025 00:00:00 GMT", "Tue, 07 Jan 2025 00:00:00 GMT")
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
SURPLUS = {
    "junk": b"\r\n\x00surplus bytes",
    "answer": b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "v0"\r\n\r\nwrong',
}
BEGINS = frozenset({200, 203})  # a file may begin with the body
LEGAL_CHUNKS = ("16 KiB", "whole", "small", "odd", "extensions", "leading zeros", "trailers")
HARMLESS_NOISE = frozenset({"lower", "upper", "no blank", "tabs"})
UNCHUNKED = frozenset({"length", "close"})


class _Brief:
    """A record that prints only the fields that are not the default."""

    def __repr__(self) -> str:
        given = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        )
        return f"{type(self).__name__}({', '.join(given)})"


@dataclass(frozen=True, repr=False)
class Answer(_Brief):
    """One answer, as far as it is not the truth.

    Attributes:
        status: None: the one that is true of the request.
        version: of the head, and of the body unless `body` says otherwise.
        ranges: whether a Range counts, if no status is given.
        body: "right", "other version", "from 0", "whole", "shifted", "short", "range", or a document.
        content_range: see `_content_range`.
        coding: the Content-Encoding, and whether it is true: see `_coded`.
        framing: "length", "chunked", "chunked in two fields", "chunked twice", "both", "close".
        length: the form of the Content-Length, see `_length`.
        chunks: the form of the chunks, see `_chunked`.
        cut: where the body is cut, from 0 to 1; -1: in the head.
        reset: whether a cut connection is reset.
        surplus: what follows the body.
        noise: the forms of the lines of the head, each with the number of the line: see `_noisy`.
        repeat: a field that is repeated, and whether with an "equal" or an "other" value.
        order: by how many the fields are rotated.
        keeps: whether the connection is kept, if a client cannot wait for more of this answer.
    """

    status: int | None = None
    version: int = 0
    ranges: bool = True
    body: str = "right"
    etag: str = "strong"
    modified: str = "right"
    date: bool = True
    content_range: str = "right"
    coding: str = ""
    framing: str = "length"
    length: str = "right"
    chunks: str = "16 KiB"
    cut: float | None = None
    reset: bool = False
    surplus: str = ""
    noise: tuple[tuple[str, int], ...] = ()
    repeat: tuple[str, str] | None = None
    order: int = 0
    content_type: str = "right"
    accept_ranges: str = "bytes"
    digest: str = ""
    retry_after: str = ""
    location: str = ""
    line: str = "HTTP/1.1 {} OK"
    interim: str = ""
    keeps: bool = True


@dataclass(frozen=True, repr=False)
class Planted(_Brief):
    """The part of version 0 that an earlier run has left: `at` is how much of it, `total` whether it has a length."""

    at: float = 0.7
    etag: str = "strong"
    modified: str = "right"
    total: bool = True


@dataclass(frozen=True, repr=False)
class Plan(_Brief):
    """The answers to the requests of a transfer.

    Attributes:
        answers: to the transfer itself, in the order of its requests.
        helpers: to requests for a range with an end, round and round; none: the truth.
        rest: to all requests after `answers`.
        digest: the algorithm of the digest of version 0 that the request promises.
        revalidates: whether the request has the validators of version 0.
        later: the version that a later run finds, after a failure.
    """

    answers: tuple[Answer, ...] = ()
    helpers: tuple[Answer, ...] = ()
    rest: Answer = Answer()
    size: int = 40_000
    other_size: int = 40_000
    media: str = "image/jpeg"
    planted: Planted | None = None
    digest: str = ""
    hashes: bool = True
    revalidates: bool = False
    later: int = 0

    def versions(self) -> tuple[bytes, bytes]:
        return version(self.media, 0, self.size), version(self.media, 1, self.other_size)


@functools.lru_cache(64)
def version(media: str, number: int, size: int) -> bytes:
    return (SIGNATURES[media] + random.Random(number).randbytes(size))[:size]


class Ask(NamedTuple):
    """A request: the half-open range that it is for, and its conditions."""

    start: int | None = None
    stop: int | None = None
    if_range: str | None = None
    is_conditional: bool = False

    @classmethod
    def parse(cls, head: bytes) -> Ask:
        fields = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", fields.get("range", ""))
        return cls(
            int(span[1]) if span else None,
            int(span[2]) + 1 if span and span[2] else None,
            fields.get("if-range"),
            "if-none-match" in fields or "if-modified-since" in fields,
        )


@dataclass
class Sent:
    """An answer as it is sent, and what is to be known of it.

    Attributes:
        untellable: why no client could tell that it lies; empty: a client could, or it tells the truth.
        gap: why a client may not tell it yet.
        is_true: whether it tells the truth in a form that every client understands.
        wrong_digest: whether it promises a digest that no version has.
        begins: whether a file may begin with it: its strong ETag or None, and whether it names the length.
        names: the version that its strong ETag names, and whether its bytes are of that one.
    """

    answer: Answer
    ask: Ask
    status: int
    head: bytes = b""
    body: bytes = b""
    ends: str = "keeps"
    untellable: str = ""
    gap: str = ""
    is_true: bool = False
    wrong_digest: bool = False
    begins: tuple[int | None, bool] | None = None
    has_bytes: bool = False

    def __str__(self) -> str:
        asked = "" if self.ask.start is None else f" to {self.ask.start}-{self.ask.stop or ''}"
        asked += f" if {self.ask.if_range}" if self.ask.if_range else ""
        notes = "; ".join(note for note in (self.untellable, self.gap and f"gap: {self.gap}") if note)
        return f"{self.status}{asked}: {self.answer!r}{f'  [{notes}]' if notes else ''}"


class Conversation:
    """All answers of one transfer; thread-safe."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.versions = plan.versions()
        self.sent: list[Sent] = []
        self.helper_came = threading.Event()
        self._answers = list(plan.answers)
        self._helpers = 0
        self._lock = threading.Lock()
        self._begun: list[tuple[int | None, bool]] = []
        if plan.planted is not None:
            self._begun.append((0 if plan.planted.etag == "strong" else None, plan.planted.total))

    @property
    def is_endless(self) -> bool:
        return len(self.sent) >= MOST_ANSWERS

    def answer(self, ask: Ask) -> Sent:
        with self._lock:
            if ask.stop is not None and ask.stop != len(self.versions[0]):
                self.helper_came.set()
            sent = self._rendered(self._next(ask), ask)
            self.sent.append(sent)
            if sent.begins is not None:
                self._begun.append(sent.begins)
            return sent

    def _next(self, ask: Ask) -> Answer:
        if ask.stop is not None:
            helpers = self.plan.helpers or (Answer(version=self.plan.rest.version),)
            self._helpers += 1
            return helpers[(self._helpers - 1) % len(helpers)]
        return self._answers.pop(0) if self._answers else self.plan.rest

    def _rendered(self, answer: Answer, ask: Ask) -> Sent:
        data, total = self.versions[answer.version], len(self.versions[answer.version])
        sent = Sent(answer, ask, answer.status or _true_status(answer, ask, total))
        span = _span(answer, ask, sent.status, total)
        payload = self._payload(sent, span)
        coded = _coded(payload, answer.coding) if sent.status not in {204, 304} else b""
        framed, lines = _framed(answer, coded)
        if sent.status in {204, 304}:
            framed = b""
        fields = [
            ("Content-Type", _content_type(answer, self.plan.media)),
            ("ETag", _etag(answer, len(self.sent))),
            ("Last-Modified", _modified(answer)),
            ("Date", DATE if answer.date else None),
            ("Accept-Ranges", answer.accept_ranges or None),
            ("Content-Encoding", _CODINGS[answer.coding]),
            ("Content-Range", _content_range(answer, ask, sent.status, span, total)),
            ("Repr-Digest", _repr_digest(answer, data)),
            ("Retry-After", answer.retry_after or None),
            ("Location", answer.location or None),
            ("Connection", None if answer.keeps else "close"),
            *lines,
        ]
        sent.head = _head(answer, sent.status, [(name, value) for name, value in fields if value is not None])
        self._finish(sent, framed)
        self._judge(sent, span, payload, len(framed))
        return sent

    def _payload(self, sent: Sent, span: tuple[int, int]) -> bytes:
        """The bytes that this answer has, before codings."""
        answer, (start, stop) = sent.answer, span
        if answer.body in DOCUMENTS:
            return DOCUMENTS[answer.body][1]
        if sent.status not in {200, 203, 206}:
            return b"sorry"
        data, other = self.versions[answer.version], self.versions[1 - answer.version]
        is_part = (start, stop) != (0, len(data))
        sent.has_bytes = True
        match answer.body:
            case "other version":
                return other[start:stop] if is_part else other
            case "from 0":
                return data[: stop - start]
            case "whole":
                return data
            case "shifted" if start:
                return data[start - 1 : stop - 1]
            case "short":
                return data[start : start + (stop - start) * 3 // 5]
            case "range" if sent.ask.start is not None:
                return data[sent.ask.start : sent.ask.stop]
        return data[start:stop]

    def _finish(self, sent: Sent, framed: bytes) -> None:
        """Cut it, add to it, and say how its connection ends."""
        answer = sent.answer
        sent.body = framed
        exact = (
            (answer.framing != "close" or sent.status in {204, 304})
            and (answer.framing != "length" or answer.length in {"right", "repeated", "list"})
            and answer.chunks in LEGAL_CHUNKS
            and {name for name, _ in answer.noise} <= HARMLESS_NOISE
            and answer.repeat is None
            and "1.1 {}" in answer.line
            and answer.keeps
        )
        if exact or answer.framing != "close":
            sent.body += SURPLUS.get(answer.surplus, b"")
        sent.ends = "keeps" if exact else "fin"
        if answer.cut is not None:
            sent.ends = "reset" if answer.reset else "fin"
            if answer.cut < 0:
                sent.head, sent.body = sent.head[: len(sent.head) * 3 // 4], b""
            else:
                sent.body = framed[: int(len(framed) * answer.cut)]

    def _judge(self, sent: Sent, span: tuple[int, int], payload: bytes, framed_bytes: int) -> None:
        answer, ask = sent.answer, sent.ask
        sent.is_true = _is_true(answer)
        sent.wrong_digest = (
            answer.digest == "wrong" and not answer.coding and answer.repeat is None and not answer.noise
        )
        may_begin = sent.status in BEGINS or (sent.status == 206 and ask.start is None)
        told = answer.framing == "length" and answer.length in {"right", "repeated", "list"} and not answer.coding
        tag = answer.version if answer.etag == "strong" else None
        known = bool(self._begun) and ask.start is not None and all(length for _, length in self._begun)
        if may_begin:
            sent.begins = (tag, told)
        if answer.cut == -1:
            return
        promised = self.plan.digest or (answer.digest == "right" and answer.coding in {"", "identity"})
        sent.gap = _gap_of_form(sent) or self._gap(sent, span)
        if sent.status in BEGINS and answer.content_range != "on 200":
            lie = self._ends_early(sent, payload, framed_bytes)
            if lie and not promised:
                if known and tag is not None and {tag} == {begun for begun, _ in self._begun}:
                    sent.gap = sent.gap or "another length"
                else:
                    sent.untellable = lie
        elif sent.status == 206 and answer.content_range == "smaller total":
            sent.untellable = "" if promised or known else "total"
        elif sent.status == 416 and answer.content_range in {"smaller total", "start"}:
            sent.untellable = "" if self.plan.digest or known else "total"

    def _ends_early(self, sent: Sent, payload: bytes, framed_bytes: int) -> str:
        """Why a 200 looks whole and has fewer bytes than its version; empty if it does not."""
        answer = sent.answer
        if answer.body in {"short", "range"} and payload not in self.versions:
            return "short"
        if answer.coding in {"gzip", "x-gzip", "deflate", "gzip cut"}:
            return ""
        if answer.framing == "length" and answer.length == "shorter":
            return "short"
        is_cut = answer.framing == "close" and answer.cut is not None and not answer.reset
        return "cut" if is_cut and len(sent.body) < framed_bytes else ""

    def _gap(self, sent: Sent, span: tuple[int, int]) -> str:
        answer = sent.answer
        if not sent.has_bytes and answer.body not in DOCUMENTS:
            return ""
        is_part = sent.status == 206 or (sent.status in BEGINS and answer.content_range == "on 200")
        if answer.body == "other version" and (answer.etag == "strong" or answer.modified == "right"):
            return "other bytes"
        if is_part and answer.body in {"other version", "from 0", "whole", "shifted", *DOCUMENTS}:
            return "other bytes"
        return "a document" if answer.body == "json" and sent.status in BEGINS | {206} else ""

    # --- the verdict ---

    @property
    def untellable(self) -> list[str]:
        return [sent.untellable for sent in self.sent if sent.untellable]

    @property
    def gaps(self) -> list[str]:
        return [sent.gap for sent in self.sent if sent.gap in KNOWN_GAPS]

    @property
    def has_to_succeed(self) -> bool:
        """Whether every answer told the truth, so that there is no reason to fail."""
        if not all(sent.is_true for sent in self.sent):
            return False
        return not self.plan.digest or all(sent.answer.version == 0 for sent in self.sent)

    def wrong_with(self, data: bytes) -> str:
        """What is wrong with a file; empty for a right one."""
        if data not in self.versions:
            return f"is no version: {self.described(data)}"
        if self.plan.digest and data != self.versions[0]:
            return "has not the digest that the request promises"
        bodies = [sent for sent in self.sent if sent.has_bytes]
        if bodies and self.plan.planted is None and all(sent.wrong_digest for sent in bodies):
            return "has not the digest that the answers promise"
        return ""

    def wrong_with_tag(self, opaque: str | None, data: bytes) -> str:
        """What is wrong with the strong ETag that a file is recorded with."""
        names = opaque is not None and re.fullmatch(r"v[01]", opaque)
        if not names or any(sent.answer.body == "other version" for sent in self.sent):
            return ""
        is_right = data == self.versions[int(opaque[1])]
        return "" if is_right else f"is recorded with the ETag {opaque}, which is that of the other version"

    def described(self, data: bytes) -> str:
        """Of which version the bytes of a file are, and from where to where."""
        pieces: list[str] = []
        at = 0
        while at < len(data) and len(pieces) < 12:
            runs = [(_same_from(data, at, body, where), f"v{n}", where) for n, body in enumerate(self.versions)
                    for where in _places(data, at, body)]  # fmt: skip
            length, name, where = max(runs, default=(0, "", 0))
            if length < 8:
                pieces.append(f"{len(data) - at} other bytes {data[at : at + 24]!r}")
                break
            pieces.append(f"{name}[{where}:{where + length}]")
            at += length
        sizes = ", ".join(str(len(body)) for body in self.versions)
        return f"{' + '.join(pieces) or 'empty'}, {len(data)} bytes; versions have {sizes}"

    def log(self) -> str:
        return "\n".join(f"  {number}. {sent}" for number, sent in enumerate(self.sent[:40], 1))


def _gap_of_form(sent: Sent) -> str:
    """Why a client may not understand the form of an answer."""
    answer = sent.answer
    if not {name for name, _ in answer.noise} <= HARMLESS_NOISE:
        return "lines of the head"
    if answer.framing not in UNCHUNKED and answer.chunks not in LEGAL_CHUNKS:
        return "chunks"
    if answer.surplus and sent.ends == "keeps":
        return "bytes after the body"
    return "a long length" if answer.length == "endless" and answer.framing == "length" else ""


def _places(data: bytes, at: int, body: bytes) -> list[int]:
    needle = data[at : at + 24]
    return [at] if body[at : at + 24] == needle else [where] if (where := body.find(needle)) >= 0 else []


def _same_from(data: bytes, at: int, body: bytes, where: int) -> int:
    most = min(len(data) - at, len(body) - where)
    low, high = 0, most  # the longest common prefix, by bisection
    while low < high:
        middle = (low + high + 1) // 2
        if data[at : at + middle] == body[where : where + middle]:
            low = middle
        else:
            high = middle - 1
    return low


# --- the truth --------------------------------------------------------------------------------------

_PLAIN = {
    "status": {None}, "body": {"right"}, "content_range": {"right", "star"}, "coding": {"", "identity"},
    "framing": {"length", "chunked", "close"}, "length": {"right"}, "chunks": set(LEGAL_CHUNKS), "cut": {None},
    "surplus": {""}, "repeat": {None}, "content_type": {"right", "octets", "none"}, "digest": {"", "right"},
    "retry_after": {""}, "location": {""}, "line": {"HTTP/1.1 {} OK", "HTTP/1.1 {} "},
    "interim": {"", "100", "103"},
}  # fmt: skip


def _is_true(answer: Answer) -> bool:
    plain = all(getattr(answer, name) in values for name, values in _PLAIN.items())
    return plain and {name for name, _ in answer.noise} <= HARMLESS_NOISE


def _true_status(answer: Answer, ask: Ask, total: int) -> int:
    if ask.start is None or not answer.ranges:
        return 200
    if ask.if_range is not None and ask.if_range not in {f'"v{answer.version}"', MODIFIED[answer.version]}:
        return 200
    if answer.content_range == "on 200" and ask.start < total:
        return 200
    return 206 if ask.start < total else 416


def _span(answer: Answer, ask: Ask, status: int, total: int) -> tuple[int, int]:
    """The half-open range that the body has."""
    is_part = status == 206 or (status in BEGINS and answer.content_range == "on 200")
    if not is_part or ask.start is None:
        start, stop = 0, total
    else:
        start = min(ask.start, total - 1)
        stop = max(start + 1, min(ask.stop or total, total))
    if is_part and answer.content_range == "really later" and stop - start > 1:
        start += 1
    if is_part and answer.content_range == "really from 0":
        start = 0
    if is_part and answer.content_range == "shorter":
        stop = start + max(1, (stop - start) // 2)
    if is_part and answer.content_range == "smaller total":
        stop = min(stop, max(start + 1, total - total // 4))
    return start, stop


# --- fields -----------------------------------------------------------------------------------------


def _content_type(answer: Answer, media: str) -> str | None:
    true = DOCUMENTS[answer.body][0] if answer.body in DOCUMENTS else media
    kinds = {"right": true, "media": media, "octets": "application/octet-stream", "none": None, "html": "text/html",
             "multipart": "multipart/byteranges; boundary=x"}  # fmt: skip
    return kinds[answer.content_type]


def _etag(answer: Answer, number: int) -> str | None:
    name = f"v{answer.version}"
    kinds = {"strong": f'"{name}"', "weak": f'W/"{name}"', "none": None, "bare": name, "changed": f'"x{number}"'}
    return kinds[answer.etag]


def _modified(answer: Answer) -> str | None:
    return {"right": MODIFIED[answer.version], "none": None, "changed": "Wed, 08 Jan 2025 00:00:00 GMT",
            "junk": "yesterday"}[answer.modified]  # fmt: skip


def _repr_digest(answer: Answer, data: bytes) -> str | None:
    if not answer.digest:
        return None
    value = hashlib.sha256(data if answer.digest == "right" else b"something else").digest()
    return f"sha-256=:{base64.b64encode(value).decode()}:"


def _content_range(answer: Answer, ask: Ask, status: int, span: tuple[int, int], total: int) -> str | None:
    form, (start, stop) = answer.content_range, span
    if form == "none":
        return None
    if status == 416:
        there = {"smaller total": total - total // 4, "larger total": total + 1000, "start": ask.start or 0}
        return f"bytes */{there.get(form, total)}"
    if status != 206 and not (status in BEGINS and form == "on 200"):
        return None
    last = stop - 1
    forms = {
        "later start": f"bytes {start + 1}-{max(last, start + 1)}/{max(total, start + 2)}",
        "from 0": f"bytes 0-{last - start}/{total}",
        "larger total": f"bytes {start}-{last}/{total + 1000}",
        "smaller total": f"bytes {start}-{last}/{max(start + 1, total - total // 4)}",
        "star": f"bytes {start}-{last}/*",
        "equals": f"bytes={start}-{last}/{total}",
        "colon": f"bytes: {start}-{last}/{total}",
        "no unit": f"{start}-{last}/{total}",
        "capital": f"Bytes {start}-{last}/{total}",
        "blanks": f"bytes {start} - {last} / {total}",
        "items": f"items {start}-{last}/{total}",
        "exclusive": f"bytes {start}-{stop}/{total}",
        "backwards": f"bytes {last}-{start}/{total}",
        "unsatisfied": f"bytes */{total}",
        "two": f"bytes {start}-{start}/{total}, bytes {start}-{last}/{total}",
    }
    return forms.get(form, f"bytes {start}-{last}/{total}")


# --- codings and framing ----------------------------------------------------------------------------

_CODINGS = {
    "": None, "identity": "identity", "gzip": "gzip", "x-gzip": "x-gzip", "deflate": "deflate", "gzip cut": "gzip",
    "gzip lie": "gzip", "gzip twice lie": "gzip, gzip", "br lie": "br", "utf-8": "UTF-8", "empty": "",
}  # fmt: skip


def _coded(payload: bytes, coding: str) -> bytes:
    match coding:
        case "gzip" | "x-gzip" | "gzip twice lie":
            return _gzipped(payload)
        case "gzip cut":
            coded = _gzipped(payload)
            return coded[: len(coded) * 3 // 5]
        case "deflate":
            return zlib.compress(payload, 1)
    return payload


@functools.lru_cache(32)
def _gzipped(payload: bytes) -> bytes:
    return gzip.compress(payload, 1, mtime=0)


def _framed(answer: Answer, coded: bytes) -> tuple[bytes, list[tuple[str, str]]]:
    """The body on the wire, and the fields that frame it."""
    coding = ("Transfer-Encoding", "chunked")
    match answer.framing:
        case "length":
            return coded, _length(answer.length, len(coded))
        case "chunked":
            return _chunked(coded, answer.chunks), [coding]
        case "chunked in two fields":
            return _chunked(coded, answer.chunks), [coding, coding]
        case "chunked twice":  # said twice, and coded once
            return _chunked(coded, answer.chunks), [("Transfer-Encoding", "chunked, chunked")]
        case "both":
            wire = _chunked(coded, answer.chunks)
            return wire, [*_length(answer.length, len(coded)), coding]
    return coded, []


def _length(form: str, size: int) -> list[tuple[str, str]]:
    values = {
        "right": [f"{size}"],
        "longer": [f"{size + 100}"],
        "shorter": [f"{size // 2}"],
        "huge": [f"{10**17}"],
        # Behind that number of digits, `int` raises: as long as that leaves sockets open, tests would fail for that.
        "endless": ["9" * (4000 if "a long length" in KNOWN_GAPS else 5000)],
        "repeated": [f"{size}", f"{size}"],
        "repeated other": [f"{size}", f"{size // 2}"],
        "repeated other first": [f"{size // 2}", f"{size}"],
        "list": [f"{size}, {size}"],
        "list other": [f"{size // 2}, {size}"],
        "plus": [f"+{size}"],
        "zeros": [f"000{size}"],
        "underscore": [f"{size:_}" if size > 999 else f"{size}_"],
        "decimal": [f"{size}.0"],
        "negative": ["-1"],
        "empty": [""],
        "words": ["many"],
        "semicolon": [f"{size};"],
        "two numbers": [f"{size // 2} {size}"],
        "hex": [f"{size:#x}"],
    }[form]
    return [("Content-Length", value) for value in values]


def _chunked(data: bytes, form: str) -> bytes:
    """A body in chunks. What is not in `LEGAL_CHUNKS` is broken."""
    step = {"whole": max(1, len(data)), "small": 997, "odd": 4093}.get(form, 16 * 1024)
    step = max(step, len(data) // 200 + 1)
    chunks = [data[at : at + step] for at in range(0, len(data), step)]
    sizes = [f"{len(chunk):x}" for chunk in chunks]
    ends = ["\r\n"] * len(chunks)
    last = "0\r\n\r\n"
    half = len(chunks) // 2
    if chunks:
        match form:
            case "extensions":
                sizes = [f'{size};name="a;b"' for size in sizes]
            case "leading zeros":
                sizes = [f"000{size.upper()}" for size in sizes]
            case "trailers":
                last = "0\r\nX-Checksum: 1\r\nContent-Length: 3\r\n\r\n"
            case "0x":
                sizes[half] = f"0x{sizes[half]}"
            case "plus":
                sizes[half] = f"+{sizes[half]}"
            case "blanks":
                sizes[half] = f" {sizes[half]} "
            case "underscore":
                sizes[half] = f"{sizes[half][0]}_{sizes[half][1:]}"
            case "negative":
                sizes[half] = f"-{sizes[half]}"
            case "empty":
                sizes[half] = ""
            case "words":
                sizes[half] = "zz"
            case "huge":
                sizes[half] = "f" * 15
            case "endless":
                sizes[half] = "1" * 5000
            case "too large":
                sizes[half] = f"{len(chunks[half]) + 2:x}"
            case "too small":
                sizes[half] = f"{max(0, len(chunks[half]) - 2):x}"
            case "no end of data":
                ends = [""] * len(chunks)
            case "other end of data":
                ends = ["--"] * len(chunks)
            case "bare LF":
                return _bare_lf(chunks, sizes)
            case "no last chunk":
                last = ""
            case "no end of trailers":
                last = "0\r\n"
            case "last chunk cut":
                last = "0"
    rows = zip(sizes, chunks, ends, strict=True)
    return b"".join([*(size.encode() + b"\r\n" + chunk + end.encode() for size, chunk, end in rows), last.encode()])


def _bare_lf(chunks: list[bytes], sizes: list[str]) -> bytes:
    rows = zip(sizes, chunks, strict=True)
    return b"".join([*(size.encode() + b"\n" + chunk + b"\n" for size, chunk in rows), b"0\n\n"])


# --- the head ---------------------------------------------------------------------------------------

_INTERIM = {
    "": b"",
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
    "103 that misleads": b'HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nETag: "v1"\r\n\r\n',
}
_OTHER = {
    "Content-Type": "text/html", "ETag": '"x"', "Last-Modified": "Wed, 08 Jan 2025 00:00:00 GMT",
    "Content-Range": "bytes 0-4/5", "Content-Encoding": "identity", "Transfer-Encoding": "identity",
    "Content-Length": "5", "Accept-Ranges": "none", "Repr-Digest": "sha-256=:AAAA:", "Location": "/other.jpg",
    "Retry-After": "120", "Date": "Fri, 02 Jan 2026 00:00:00 GMT",
}  # fmt: skip
_LINES = {
    "junk": ["this is no field"],
    "colon first": [": nothing"],
    "blank line": [" "],
    "leading blank": [" X-Early: 1"],
    "150 fields": [f"X-{number}: {number}" for number in range(150)],
    "60 fields": [f"X-{number}: {number}" for number in range(60)],
    "long": ["X-Long: " + "x" * 9000],
    "longer": ["X-Long: " + "x" * 70_000],
    "latin-1": ["X-N\xe4me: \xe9\x85\xa0\x1c x"],
    "nul": ["X-Nul: a\0b"],
    "CR length": ["X-CR: a\rContent-Length: 7"],
    "CR range": ["X-CR: a\rContent-Range: bytes 0-6/7"],
    "CR etag": ['X-CR: a\rETag: "v1"'],
    "CR chunked": ["X-CR: a\rTransfer-Encoding: chunked"],
    "CR end": ["X-CR: a\r\r"],
}
NOISES = ("lower", "upper", "no blank", "tabs", "blank before colon", "fold", "fold later", "bare LF", "one bare LF",
          "blank line first", *_LINES)  # fmt: skip


def _head(answer: Answer, status: int, fields: list[tuple[str, str]]) -> bytes:
    if answer.repeat is not None:
        name, how = answer.repeat
        value = next((value for other, value in fields if other == name), None)
        if value is not None:
            fields = [*fields, (name, value if how == "equal" else _OTHER[name])]
    turn = answer.order % max(1, len(fields))
    lines = _noisy([[name, ": ", value] for name, value in fields[turn:] + fields[:turn]], answer.noise)
    first = "\r\n" if any(name == "blank line first" for name, _ in answer.noise) else ""
    text = "".join(f"{line}\r\n" for line in [first + answer.line.format(status), *lines, ""])
    head = text.encode("latin-1")
    if any(name == "bare LF" for name, _ in answer.noise):
        head = head.replace(b"\r\n", b"\n")
    for name, number in answer.noise:
        if name == "one bare LF":
            pieces = head.split(b"\r\n")
            at = number % max(1, len(pieces) - 2)
            pieces[at : at + 2] = [pieces[at] + b"\n" + pieces[at + 1]]
            head = b"\r\n".join(pieces)
    return _INTERIM[answer.interim] + head


def _noisy(lines: list[list[str]], noise: tuple[tuple[str, int], ...]) -> list[str]:
    """The lines of a head, each as a text: what is told of one line, or of all."""
    added: list[tuple[int, list[str]]] = []
    for form, number in noise:
        line = lines[number % len(lines)] if lines else ["", "", ""]
        match form:
            case "lower" | "upper":
                lines = [[getattr(name, form)(), colon, value] for name, colon, value in lines]
            case "no blank":
                line[1] = ":"
            case "tabs":
                line[1], line[2] = ":\t ", f"{line[2]} \t"
            case "blank before colon":
                line[1] = " : "
            case "fold":
                line[1] = ":\r\n "
            case "fold later":
                line[2] = line[2].replace(" ", "\r\n\t", 1)
            case _ if form in _LINES:
                added.append((number % (len(lines) + 1), _LINES[form]))
    texts = ["".join(line) for line in lines]
    for at, more in sorted(added, key=lambda place: place[0], reverse=True):
        texts[at:at] = more
    return texts
