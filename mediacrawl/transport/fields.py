"""Combine the field lines of a head (RFC 9110 5.3)."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Fields with one value, on which a decision rests. A gateway that adds a second line mostly repeats the first one.
_SINGLETONS = frozenset({"content-disposition", "content-range", "content-type", "etag", "location"})
_NO_LISTS = ("content-type", "content-range")  # their values contain no comma
# Fields that decide about the bytes of a file: none of them may be left out.
_DECISIVE = frozenset({"transfer-encoding", "content-encoding", "content-length", "content-range", "content-type"})
# Fields that are sent again, stored, or kept in caches.
_KEPT = frozenset({
    "accept-ranges", "content-digest", "content-disposition", "content-md5", "date", "digest", "etag",
    "last-modified", "location", "referrer-policy", "repr-digest", "retry-after", "set-cookie", "x-goog-hash",
})  # fmt: skip
LONGEST_FIELD = 16 * 1024  # servers and browsers accept 8 KiB to 16 KiB in a request


class InvalidHead(HTTPException):
    """A head breaks the rules of HTTP, or contradicts itself, so that its response must not be used."""


def combined(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the fields of a head by lower-case name, with repeated fields combined as `TransportResponse` describes.

    A field that would be kept is left out if its value is longer than `LONGEST_FIELD`; of several cookies, the long
    ones.

    Raises:
        InvalidHead: a field with one value has two that differ, or a field that decides about the bytes of the file
            is too long. The values may hold credentials, so the message does not contain them.
    """
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}  # joined once: a head may repeat a field thousands of times
    for name, value in fields:
        key = name.lower()
        if key not in headers:
            headers[key] = value
        elif key not in _SINGLETONS:
            repeated.setdefault(key, [headers[key]]).append(value)
        elif headers[key] != value:
            raise InvalidHead(f"the response has two {name} fields that differ")
    for key, values in repeated.items():
        headers[key] = ("\n" if key == "set-cookie" else ", ").join(values)
    if headers and max(map(len, headers.values())) > LONGEST_FIELD:
        _leave_out_long(headers)
    for key in _NO_LISTS:
        if "," in (value := headers.get(key, "")):  # two lines that a gateway has joined
            members = {member.strip() for member in value.split(",")}
            if len(members) == 1:
                headers[key] = members.pop()
    return headers


def _leave_out_long(headers: dict[str, str]) -> None:
    for name in [name for name, value in headers.items() if len(value) > LONGEST_FIELD]:
        if name in _DECISIVE:
            raise InvalidHead(f"the field {name} of the response is longer than {LONGEST_FIELD >> 10} KiB")
        if name == "set-cookie":
            headers[name] = "\n".join(line for line in headers[name].split("\n") if len(line) <= LONGEST_FIELD)
        elif name in _KEPT:
            del headers[name]
