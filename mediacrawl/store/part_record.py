"""Check what a record of a part on the disk says, before any of it counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
"""The version of the records that are written."""

_MOST = 2**63 - 1  # the largest offset of a file
_MOST_SEAMS = 1_000  # each costs a request
PART_NAME = re.compile(r"[0-9a-f]{40}(?:\.new)?")
"""The file name of a part, without suffix."""


class BadRecord(ValueError):
    """A record that this version has not written, or that was damaged since."""


def checked_record(raw: object) -> dict[str, Any]:
    """Return the facts of a record if each has its type and its range.

    Raises:
        BadRecord: the part has no record that can be used.
    """
    facts = _object(raw)
    length = facts.get("complete_length", "missing")
    if facts.get("version") != VERSION or not (length is None or _is_offset(length)):
        raise BadRecord
    ranges = merged(_range(pair, _MOST if length is None else length) for pair in _list(facts.get("ranges")))
    seams = _list(facts.get("seams", []))
    least = 1 if length is None else 0
    if len(seams) > _MOST_SEAMS or not all(_is_offset(seam, least, length) for seam in seams):
        raise BadRecord
    flags = (facts.get("in_order"), facts.get("durable", True))
    if not all(isinstance(flag, bool) for flag in flags) or not isinstance(facts.get("boot"), str):
        raise BadRecord
    _object(facts.get("validators"))
    _check_head(_object(facts.get("head")))
    return facts | {"ranges": ranges, "seams": seams}


def moved_to(raw: object) -> tuple[str, int]:
    """Return the name that a part was moved to, and the inode number of its bytes.

    Raises:
        BadRecord: the record names none.
    """
    facts = _object(raw)
    name = facts.get("moves_to")
    if not isinstance(name, str) or not PART_NAME.fullmatch(name):
        raise BadRecord
    return name, inode_of(facts)


def inode_of(raw: object) -> int:
    """Return the inode number of the file that a record was made for.

    Raises:
        BadRecord: the record names none.
    """
    number = _object(raw).get("inode")
    if not isinstance(number, int):
        raise BadRecord
    return number


def wished_path(head: object) -> str | None:
    """Return the path that a part was begun for, according to the head in its record; None if there is none."""
    wish = head.get("wish") if isinstance(head, dict) else None
    path = wish.get("path") if isinstance(wish, dict) else None
    return path if isinstance(path, str) else None


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return half-open ranges in ascending order, each as large as it can be; empty ones are left out."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return tuple(found)


def _check_head(head: dict[str, Any]) -> None:
    headers, wish = _object(head.get("headers", {})), _object(head.get("wish") or {})
    texts = [head.get("url", ""), *headers.values(), wish.get("path", ""), wish.get("link", "")]
    texts += [*_list(wish.get("keys", [])), *_list(wish.get("digests", []))]
    if not all(isinstance(text, str) for text in texts) or not isinstance(head.get("is_encoded", False), bool):
        raise BadRecord
    if not _is_offset(head.get("status", 200), 100, 1_000):
        raise BadRecord


def _range(pair: object, length: int) -> tuple[int, int]:
    match pair:
        case [int(start), int(stop)] if (
            start < stop and _is_offset(start, 0, length) and _is_offset(stop, 1, length + 1)
        ):
            return start, stop
    raise BadRecord


def _is_offset(value: object, least: int = 0, below: int | None = None) -> bool:
    """Return whether a value is a number from `least` on; True and False are none."""
    return type(value) is int and least <= value < (_MOST if below is None else below)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise BadRecord
    return value
