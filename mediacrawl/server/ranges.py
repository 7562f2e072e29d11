"""The response to a GET or HEAD request for a file: RFC 9110 13 (conditions), 14 (ranges), 15.3.7 (partial content).

Only the facts of the file and the fields of the request decide. Nothing is read here, and no framework is known.
"""

from __future__ import annotations

import secrets
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.headers import ContentRange, ETag, http_date, media_type, parse_range, type_of_path
from mediacrawl.server.fields import content_disposition, entity_tags, is_any, repr_digest, wants_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NS = 1_000_000_000
_UNKNOWN_TYPE = "application/octet-stream"
# Names that browsers know better than the ones that the table has for the extension.
_REGISTERED = {
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/x-icon": "image/vnd.microsoft.icon",
    "video/x-m4v": "video/mp4",
}
# Browsers show these within the page of a site. A file of any other kind is downloaded: SVG, HTML, XML and PDF can
# carry scripts, which would act for the person who looks at the file, and so may kinds that come later.
_SHOWN = ("image/", "audio/", "video/")
_EMPTY = (("Content-Type", "text/plain"), ("Content-Length", "0"))
_SANDBOX = "sandbox; default-src 'none'"


class Span(NamedTuple):
    """The bytes `[start, stop)` of a file."""

    start: int
    stop: int


class FileFacts(NamedTuple):
    """Everything that the response to a request for a file depends on.

    Attributes:
        name: the last component of the path, for `Content-Disposition` and the media type.
        size: in bytes.
        modified_ns: the time of modification, in nanoseconds since the epoch.
        sha256: of exactly these bytes, in hex; None if it is not known for certain.
        content_type: instead of the one that the name implies.
        as_attachment: whether browsers save the file instead of showing it. By default, all but pictures, sound,
            video and plain text is saved; if it is opened nevertheless, its scripts do not run.
    """

    name: str
    size: int
    modified_ns: int
    sha256: str | None = None
    content_type: str | None = None
    as_attachment: bool | None = None


class PlannedResponse(NamedTuple):
    """A response: its status, its fields, and the content, in which a `Span` stands for bytes of the file.

    To a HEAD request, `body` is empty, and the fields are the same as for GET.
    """

    status: int
    headers: list[tuple[str, str]]
    body: tuple[bytes | Span, ...] = ()

    @property
    def only_span(self) -> Span | None:
        """The span that is all of the body; None for a body of any other kind."""
        only = self.body[0] if len(self.body) == 1 else None
        return only if isinstance(only, Span) else None


def plan_response(method: str, field: Callable[[str], str | None], facts: FileFacts, now: float) -> PlannedResponse:
    """Decide the response to a request.

    Args:
        method: of the request. Every method but GET and HEAD is only checked for its conditions.
        field: returns the value of a field by its name in lower case; lines of one name are joined by commas.
        facts: of the file.
        now: seconds since the epoch.
    """
    version, kind, known = _known(facts, int(now))
    status = version.precondition(method, field)
    if status == 304:
        return PlannedResponse(304, version.fields_of_304())
    if status == 412:
        return PlannedResponse(412, [*version.fields(), *_EMPTY])
    ranges = _wanted_ranges(field, version, facts.size) if method == "GET" else None
    if ranges is not None and not ranges:
        unsatisfied = ContentRange(None, None, facts.size).to_header()
        return PlannedResponse(416, [*version.fields(), ("Content-Range", unsatisfied), *_EMPTY])
    about = [*known]
    if facts.sha256 and wants_sha256(field("want-repr-digest")):
        about.append(("Repr-Digest", repr_digest(facts.sha256)))
    if ranges is None:
        return _whole(method, facts, kind.content_type, about)
    if len(ranges) == 1:
        return _single(ranges[0], facts, kind.content_type, about)
    return _several(ranges, facts, kind.content_type, about)


@lru_cache(256)  # most requests are for ranges of a few files
def _known(facts: FileFacts, now: int) -> tuple[_Version, _Kind, tuple[tuple[str, str], ...]]:
    """Return what follows from the facts and the second: the version, the kind, and the fields of both."""
    version, kind = _Version.of(facts, now), _kind(facts.name, facts.content_type, facts.as_attachment)
    return version, kind, (*version.fields(), *kind.fields)


class _Version(NamedTuple):
    """The validators of a file (RFC 9110 8.8)."""

    etag: ETag | None
    modified_s: int | None
    last_modified: str | None
    date_is_strong: bool

    @classmethod
    def of(cls, facts: FileFacts, now: int) -> _Version:
        etag = ETag(facts.sha256) if facts.sha256 else None
        seconds = facts.modified_ns // _NS
        if not 0 <= seconds <= now:  # RFC 9110 8.8.2.1: no date later than that of the response
            return cls(etag, None, None, date_is_strong=False)
        # RFC 9110 8.8.2.2: within the same second the file may change once more.
        return cls(etag, seconds, _date(seconds), date_is_strong=seconds + 1 <= now)

    def fields(self) -> list[tuple[str, str]]:
        found = [("Accept-Ranges", "bytes"), ("X-Content-Type-Options", "nosniff")]
        if self.etag is not None:
            found.append(("ETag", self.etag.to_header()))
        if self.last_modified is not None:
            found.append(("Last-Modified", self.last_modified))
        return found

    def fields_of_304(self) -> list[tuple[str, str]]:
        """Return the validator alone: a cache updates its stored response with all other fields (15.4.5)."""
        if self.etag is not None:
            return [("ETag", self.etag.to_header())]
        return [("Last-Modified", self.last_modified)] if self.last_modified is not None else []

    def precondition(self, method: str, field: Callable[[str], str | None]) -> int | None:
        """Return 304 or 412 if a condition is false (RFC 9110 13.2.2), else None."""
        if (tags := field("if-match")) is not None:
            if not (is_any(tags) or self._is_among(tags, ETag.strong_match)):
                return 412
        elif self._is_later_than(field("if-unmodified-since")):
            return 412
        is_read = method in {"GET", "HEAD"}
        if (tags := field("if-none-match")) is not None:
            if is_any(tags) or self._is_among(tags, ETag.weak_match):
                return 304 if is_read else 412
        elif is_read and self._is_later_than(field("if-modified-since")) is False:
            return 304
        return None

    def _is_among(self, tags: str, match: Callable[[ETag, ETag], bool]) -> bool:
        etag = self.etag
        return etag is not None and any(match(etag, tag) for tag in entity_tags(tags))

    def _is_later_than(self, date: str | None) -> bool | None:
        """Compare with a date; None if it is not one date, or if the file has none: the field is then ignored."""
        at = http_date(date) if date and date.count(",") <= 1 else None
        return None if at is None or self.modified_s is None else self.modified_s > at

    def is_meant_by(self, if_range: str) -> bool:
        """Return whether If-Range names this version, for certain (RFC 9110 13.1.5)."""
        if (tag := ETag.from_header(if_range)) is not None:
            return self.etag is not None and tag.strong_match(self.etag)
        return self.date_is_strong and if_range.strip(" \t") == self.last_modified


@lru_cache(1024)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _wanted_ranges(field: Callable[[str], str | None], version: _Version, size: int) -> list[Span] | None:
    """Return the ranges to send, none if none can be satisfied; None for the whole file."""
    wanted = field("range")
    if wanted is None:
        return None
    if_range = field("if-range")
    if if_range is not None and not version.is_meant_by(if_range):
        return None
    ranges = parse_range(wanted, size)
    return None if ranges is None else merge_ranges(ranges)


def merge_ranges(ranges: Sequence[tuple[int, int]]) -> list[Span]:
    """Join ranges that overlap or touch (RFC 9110 15.3.7.2), so that no byte is sent twice.

    The results have no byte in common. They are in the order of the request: by the first of their parts there.
    """
    if len(ranges) == 1:
        return [Span(*ranges[0])]
    merged: list[tuple[int, Span]] = []  # with the position in the request, by their start
    for position, (start, stop) in sorted(enumerate(ranges), key=lambda one: one[1]):
        if merged and start <= merged[-1][1].stop:
            first, last = merged[-1]
            merged[-1] = (min(first, position), Span(last.start, max(last.stop, stop)))
        else:
            merged.append((position, Span(start, stop)))
    return [span for _, span in sorted(merged)]


def _whole(method: str, facts: FileFacts, content_type: str, about: list[tuple[str, str]]) -> PlannedResponse:
    body = (Span(0, facts.size),) if method == "GET" and facts.size else ()
    return PlannedResponse(200, [*about, ("Content-Type", content_type), ("Content-Length", str(facts.size))], body)


def _single(span: Span, facts: FileFacts, content_type: str, about: list[tuple[str, str]]) -> PlannedResponse:
    headers = [
        *about,
        ("Content-Type", content_type),
        ("Content-Range", ContentRange(*span, facts.size).to_header()),
        ("Content-Length", str(span.stop - span.start)),
    ]
    return PlannedResponse(206, headers, (span,))


def _several(spans: list[Span], facts: FileFacts, content_type: str, about: list[tuple[str, str]]) -> PlannedResponse:
    """Return a multipart response (RFC 9110 14.6)."""
    boundary = secrets.token_hex(16)  # in no file but by a chance of 2 to the power of -128
    body: list[bytes | Span] = []
    for span in spans:
        line_end = "\r\n" if body else ""
        content_range = ContentRange(*span, facts.size).to_header()
        head = f"{line_end}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n"
        body += [head.encode("ascii"), span]
    body.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    headers = [
        *about,
        ("Content-Type", f"multipart/byteranges; boundary={boundary}"),
        ("Content-Length", str(body_length(body))),
    ]
    return PlannedResponse(206, headers, tuple(body))


def body_length(body: Sequence[bytes | Span]) -> int:
    """Return the number of bytes of a body."""
    return sum(part.stop - part.start if isinstance(part, Span) else len(part) for part in body)


def is_inline(name: str) -> bool:
    """Return whether browsers are asked to show a file of this name by itself, and not to save it."""
    return _is_shown(_implied_type(name))


class _Kind(NamedTuple):
    """What follows from the name of a file: its type, and the fields that say how browsers treat it."""

    content_type: str
    fields: tuple[tuple[str, str], ...]


@lru_cache(1024)  # the ranges of one file have one name
def _kind(name: str, content_type: str | None, as_attachment: bool | None) -> _Kind:
    if content_type is None:
        content_type = _implied_type(name)
    is_safe = _is_shown(content_type)
    if not as_attachment and (is_safe or as_attachment is not None):
        return _Kind(content_type, (("Content-Disposition", content_disposition("inline", name)),))
    saved = ("Content-Disposition", content_disposition("attachment", name))
    return _Kind(content_type, (saved,) if is_safe else (saved, ("Content-Security-Policy", _SANDBOX)))


def _implied_type(name: str) -> str:
    implied = type_of_path(name) or _UNKNOWN_TYPE
    return _REGISTERED.get(implied, implied)


def _is_shown(content_type: str) -> bool:
    """Return whether a browser shows files of this type, and runs no script in them."""
    essence = media_type(content_type) or ""
    return essence == "text/plain" or (essence.startswith(_SHOWN) and not essence.endswith("xml"))
