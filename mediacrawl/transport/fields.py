"""Combine the field lines of a head (RFC 9110 5.3)."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Fields with one value, on which a decision rests. A gateway that adds a second line mostly repeats the first one.
_SINGLETONS = frozenset({"content-disposition", "content-range", "content-type", "etag", "location"})
_NO_LISTS = ("content-type", "content-range")  # their values contain no comma


class InvalidHead(HTTPException):
    """A head breaks the rules of HTTP, or contradicts itself, so that its response must not be used."""


def combined(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the fields of a head by lower-case name, with repeated fields combined as `TransportResponse` describes.

    Raises:
        InvalidHead: a field with one value has two that differ. Their values may hold credentials, so the
            message does not contain them.
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
    for key in _NO_LISTS:
        if "," in (value := headers.get(key, "")):  # two lines that a gateway has joined
            members = {member.strip() for member in value.split(",")}
            if len(members) == 1:
                headers[key] = members.pop()
    return headers
