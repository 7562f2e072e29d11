"""Byte ranges (RFC 9110 14): half-open in code, inclusive only on the wire."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

_MAX_DIGITS = 18  # 10**18 bytes is an exabyte; a larger number is an attack on integer types
_MAX_RANGES = 100  # RFC 9110 14.2: many small ranges are a known way to exhaust a server

# Unit names are case-insensitive (RFC 9110 14.1). re.ASCII: without it IGNORECASE lets a long s pass for s. Servers
# also write `bytes=0-9/10` and `bytes: 0-9/10`, or leave the unit out: the numbers are as clear.
_CONTENT_RANGE = re.compile(
    rf"(?:bytes(?: +|[=:] *))?(?:([0-9]{{1,{_MAX_DIGITS}}})-([0-9]{{1,{_MAX_DIGITS}}})/([0-9]{{1,{_MAX_DIGITS}}}|\*)"
    rf"|\*/([0-9]{{1,{_MAX_DIGITS}}}))",
    re.IGNORECASE | re.ASCII,
)
_RANGE = re.compile(r"bytes=(.*)", re.IGNORECASE | re.ASCII)
_ONE_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{1,15})")
_RANGE_SPEC = re.compile(r"([0-9]*)-([0-9]*)")


class _Range(NamedTuple):
    start: int | None
    stop: int | None
    complete_length: int | None


class ContentRange(_Range):
    """The bytes `[start, stop)` of a representation of `complete_length` bytes that a response carries.

    `complete_length` is None if the server does not know it (`bytes 0-9/*`). `start` and `stop` are both None in the
    response to a range that cannot be satisfied (`bytes */10`). The constructor raises ValueError for values that no
    header can express.
    """

    __slots__ = ()

    def __new__(cls, start: int | None, stop: int | None, complete_length: int | None) -> Self:
        new = super().__new__(cls, start, stop, complete_length)
        if not new._is_sayable():
            raise ValueError(f"no Content-Range can say [{start}, {stop}) of {complete_length}")
        return new

    @classmethod
    def from_header(cls, value: str | None) -> ContentRange | None:
        """Read `Content-Range`; None for another unit and for every value that RFC 9110 14.4 calls invalid."""
        if value is None:
            return None
        match = _CONTENT_RANGE.fullmatch(value.strip(" \t"))
        if match is None:
            return None
        first, last, total, total_if_unsatisfied = match.groups()
        try:
            if first is None:
                return cls(None, None, int(total_if_unsatisfied))
            return cls(int(first), int(last) + 1, None if total == "*" else int(total))
        except ValueError:  # last before first, or beyond the complete length
            return None

    def to_header(self) -> str:
        """Return the value of the header field."""
        total = "*" if self.complete_length is None else self.complete_length
        if self.start is None or self.stop is None:
            return f"bytes */{total}"
        return f"bytes {self.start}-{self.stop - 1}/{total}"

    @property
    def is_unsatisfied(self) -> bool:
        """Whether this is the form of a 416 response, `bytes */N`."""
        return self.start is None

    def _is_sayable(self) -> bool:
        if self.start is None or self.stop is None:
            return self.start is self.stop and self.complete_length is not None and self.complete_length >= 0
        return 0 <= self.start < self.stop and (self.complete_length is None or self.stop <= self.complete_length)


def range_header(start: int, stop: int | None = None) -> str:
    """Return the `Range` value that requests `[start, stop)`; without `stop`, all bytes from `start` on."""
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"no Range can ask for [{start}, {stop})")
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


def parse_range(value: str | None, complete_length: int) -> list[tuple[int, int]] | None:
    """Return the satisfiable ranges of a request for a representation of `complete_length` bytes, for a server.

    The ranges are half-open pairs in the requested order, not merged. None: there is no usable `Range` (none at all,
    another unit, invalid, more than 100), so respond with 200 as RFC 9110 14.2 allows. Empty: the header is valid but
    none of its bytes exists, so respond with 416.
    """
    if value is not None and (only := _ONE_RANGE.fullmatch(value)) is not None:  # nearly all of them: quicker
        first, last = int(only[1]), int(only[2])
        if first > last:
            return None
        return [(first, min(last + 1, complete_length))] if first < complete_length else []
    match = _RANGE.fullmatch((value or "").strip(" \t"))
    specs = _range_specs(match[1]) if match else None
    if specs is None:
        return None
    if complete_length == 0 and any(first is None and last for first, last in specs):
        return None  # A suffix of an empty file is satisfiable (14.1.2), but no Content-Range can express it.
    resolved = [_resolve(first, last, complete_length) for first, last in specs]
    return [(start, stop) for start, stop in resolved if start < stop]


def _range_specs(range_set: str) -> list[tuple[int | None, int | None]] | None:
    """Return all range specs; None if there are none or too many, or if a spec is invalid."""
    # RFC 9110 5.6.1.2: empty list elements are to be ignored.
    texts = [text for part in range_set.split(",") if (text := part.strip(" \t"))]
    if not 0 < len(texts) <= _MAX_RANGES:
        return None
    specs = [spec for text in texts if (spec := _range_spec(text))]
    return specs if len(specs) == len(texts) else None


def _range_spec(text: str) -> tuple[int | None, int | None] | None:
    """Return `(first, last)` of an int-range, `(None, length)` of a suffix-range, None if invalid (14.1.1)."""
    match = _RANGE_SPEC.fullmatch(text)
    if match is None:
        return None
    first, last = (_saturated(digits) if digits else None for digits in match.groups())
    if first is None and last is None:
        return None
    return None if first is not None and last is not None and last < first else (first, last)


def _saturated(digits: str) -> int:
    """Convert digits to at most 10**18.

    RFC 9110 14.1.2: large numerals are valid and must not overflow; Python refuses 5,000 digits.
    """
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _resolve(first: int | None, last: int | None, complete_length: int) -> tuple[int, int]:
    """Limit a range to the existing bytes (14.1.2); the result is empty, so unsatisfiable, if there are none."""
    if first is None:
        return max(0, complete_length - (last or 0)), complete_length
    return first, complete_length if last is None else min(last + 1, complete_length)
