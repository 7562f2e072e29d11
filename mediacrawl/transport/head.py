"""Read the head of a response in the format of HTTP/1.1 (RFC 9112 2 to 6), for both transports.

`http.client` reads the fields with the parser for e-mail, which ends the fields at the first line that it cannot
read: a length, a coding or a type behind that line would be lost, and the file would be wrong. This module reads
every field that can be read. Where a line cannot be read and the fields decide about the file, the head is invalid.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.transport.fields import InvalidHead, combined
from mediacrawl.visible import text_of_field

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD_BYTES = 1024 * 1024  # some servers send a head without end, and a head is held in memory
MAX_LINES = 10_000
BARE_CR = "a header line of the response contains NUL or a bare CR"

_LONGEST_STATUS_LINE = 8 * 1024
# A status code has three digits (RFC 9112 4). Blanks are accepted as RFC 9112 4 describes. libcurl writes HTTP/2.
# `++` never gives a blank back: a server may send megabytes of them.
_STATUS_LINE = re.compile(r"HTTP/(0\.9|1\.[0-9]|[23])[ \t]++([1-9][0-9]{2})(?:[ \t]++([^\0\r\n]{0,8000}+))?")
_FOLD = re.compile(r"\r?\n[ \t]+")  # RFC 9112 5.2
_LENGTH = re.compile(r"[0-9]{1,18}")
_NO_BODY = {204, 304}  # regardless of Content-Length (RFC 9110 6.4.1)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_USUAL_NAME_LENGTH = 64
_LOOKALIKES = frozenset({"transfer_encoding", "transferencoding"})
# The start of a damaged line that may have been a field on which the bytes of the file depend.
_DECISIVE = re.compile(r"[^a-z]*(?:transfer|content)[^a-z]*(?:encoding|length|type|range)", re.IGNORECASE)


class StatusLine(NamedTuple):
    """The status line of a response. `version` is 11 for HTTP/1.1, as in `http.client`."""

    version: int
    status: int
    reason: str


class ResponseHead(NamedTuple):
    """The head of a response.

    Attributes:
        fields: the field lines, as name and value, in their order.
        headers: the same fields, in the form of `TransportResponse.headers`.
        is_chunked: whether the body has the transfer coding `chunked`.
        length_bytes: the number of bytes of the body; None for a chunked body, and for a body that the end of the
            connection ends.
    """

    version: int
    status: int
    reason: str
    fields: list[tuple[str, str]]
    headers: dict[str, str]
    is_chunked: bool
    length_bytes: int | None


def status_line(line: str) -> StatusLine:
    """Parse a status line.

    Raises:
        InvalidHead: the line is no status line (RFC 9112 4), or is of a version of HTTP that is not known.
    """
    if len(line) > _LONGEST_STATUS_LINE:
        raise InvalidHead("the status line of the response is malformed")
    return _status_line(line)


@lru_cache(64)  # all responses of a server have the same few
def _status_line(line: str) -> StatusLine:
    match = _STATUS_LINE.fullmatch(line.removesuffix("\n").removesuffix("\r"))
    if match is None:
        raise InvalidHead("the status line of the response is malformed")
    version = int(match[1].replace(".", "").ljust(2, "0"))
    return StatusLine(version, int(match[2]), (match[3] or "").strip(" \t"))


def read_head(lines: Sequence[bytes]) -> ResponseHead:
    """Parse the lines of a head, without the empty line at its end.

    Raises:
        InvalidHead: the head is too large, or the fields on which the bytes of the file depend are not certain.
    """
    text = b"".join(lines).decode("latin-1")
    if len(lines) > MAX_LINES or len(text) > MAX_HEAD_BYTES:
        check_size(lines)
    first, _, rest = text.partition("\n")
    version, status, reason = status_line(first)
    fields, damaged = _fields_of(rest)
    headers = combined(fields)
    is_chunked, length_bytes = framing(status, headers)
    if damaged and status < 300 and status not in _NO_BODY:
        _check_damaged(damaged, is_framed=is_chunked or length_bytes is not None)
    return ResponseHead(version, status, reason, fields, headers, is_chunked, length_bytes)


def check_size(lines: Sequence[bytes]) -> None:
    """Refuse a head, or the beginning of a head, that is larger than any server needs.

    Raises:
        InvalidHead: the head is too large.
    """
    if len(lines) > MAX_LINES:
        raise too_many_lines()
    if sum(map(len, lines)) > MAX_HEAD_BYTES:
        raise too_large()


def too_many_lines() -> InvalidHead:
    """Return the error for a head of too many lines."""
    return InvalidHead(f"the head of the response has more than {MAX_LINES:,} lines")


def too_large() -> InvalidHead:
    """Return the error for a head of too many bytes."""
    return InvalidHead(f"the head of the response is larger than {MAX_HEAD_BYTES >> 20} MiB")


def _fields_of(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the fields, and the lines that are damaged: no field, or a field whose name is no name.

    Raises:
        InvalidHead: a line contains NUL or a bare CR, which recipients interpret differently (RFC 9110 5.5, RFC 9112
            2.2).
    """
    if "\0" in text or text.count("\r") != text.count("\r\n"):
        raise InvalidHead(BARE_CR)
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    fields: list[tuple[str, str]] = []
    damaged: list[str] = []
    for line in text.split("\n")[:-1]:
        name, colon, value = line.partition(":")
        if not (colon and len(name) <= _USUAL_NAME_LENGTH and _is_name(name)):
            name = name.rstrip(" \t")  # RFC 9112 5.1
            if not (colon and _NAME.fullmatch(name)):
                damaged.append(line)
            if not _has_name(line):
                continue
        fields.append((name, value.strip(" \t\r")))  # latin-1 has other blanks
    return fields, damaged


@lru_cache(1024)  # servers send the same few names; the cache holds no long ones
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _has_name(line: str) -> bool:
    """Return whether a damaged line is a field at least. A line that begins with a blank is none (RFC 9112 2.2)."""
    name, colon, _ = line.partition(":")
    return bool(colon and name.strip(" \t")) and name[0] not in " \t"


def _check_damaged(damaged: list[str], *, is_framed: bool) -> None:
    """Refuse a head whose damaged lines may have been fields that decide about the bytes of the file.

    Raises:
        InvalidHead: a line looks like such a field; or nothing but the end of the connection would end the body, and
            a line may have been anything.
    """
    for line in damaged:
        if _DECISIVE.match(line) or not (is_framed or _has_name(line)):
            raise InvalidHead("a header line of the response is damaged, so where the body ends is not certain")


def framing(status: int, headers: dict[str, str]) -> tuple[bool, int | None]:
    """Return whether the body is chunked, and its length (RFC 9112 6.3); see `ResponseHead`.

    Of `headers`, Transfer-Encoding is removed if it names no coding, and repeated lengths become one.

    Raises:
        InvalidHead: the body has a transfer coding that was not requested, or a Content-Length that is no length. The
            body of an error or a redirect is not used: it ends with its connection then.
    """
    if status in _NO_BODY:
        return False, 0
    try:
        return _framing(headers)
    except InvalidHead:
        if status < 300:
            raise
        return False, None


def _framing(headers: dict[str, str]) -> tuple[bool, int | None]:
    if not _LOOKALIKES.isdisjoint(headers):  # the server has coded the body, some gateway has spoilt the name
        raise InvalidHead("the response has a damaged Transfer-Encoding, so where the body ends is not certain")
    if "transfer-encoding" in headers:
        codings = {item.strip(" \t").lower() for item in headers["transfer-encoding"].split(",")} - {"", "identity"}
        if codings == {"chunked"}:  # a gateway may add a second field; the body is coded once (RFC 9112 6.1)
            return True, None
        if codings:
            shown = repr(text_of_field(headers["transfer-encoding"]))[:80]
            raise InvalidHead(f"the response has the Transfer-Encoding {shown}, which was not requested")
        del headers["transfer-encoding"]
    length = headers.get("content-length")
    if length is None:
        return False, None
    if "," in length:  # a length may be repeated if its values agree (RFC 9110 8.6)
        lengths = [item.strip(" \t") for item in length.split(",")]
        if all(map(_LENGTH.fullmatch, lengths)):
            if len(set(map(int, lengths))) > 1:
                raise InvalidHead("the response has two Content-Length fields that differ")
            length = headers["content-length"] = lengths[0]
    if not _LENGTH.fullmatch(length):
        raise InvalidHead("the Content-Length of the response is no length")
    return False, int(length)
