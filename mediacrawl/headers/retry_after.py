"""Retry-After (RFC 9110 10.2.3): how long a server wants to be left alone."""

from __future__ import annotations

import re

from mediacrawl.headers.dates import http_date

_DELAY_S = re.compile(r"[0-9]{1,18}")


def retry_after_s(value: str | None, now: float) -> float | None:
    """Give the wait in seconds from `now` (seconds since 1970), or None if the header says nothing.

    A date in the past is 0.0. There is no upper bound here: a caller that minds must set one.
    """
    text = (value or "").strip(" \t")
    if _DELAY_S.fullmatch(text):
        return float(text)
    at = http_date(text)
    return None if at is None else max(0.0, at - now)
