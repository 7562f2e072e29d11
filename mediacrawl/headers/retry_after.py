"""Retry-After (RFC 9110 10.2.3): how long a server wants to be left alone."""

from __future__ import annotations

import re

from mediacrawl.headers.dates import http_date

_DELAYS_S = re.compile(r"[0-9]+(?:[ \t]*,[ \t]*[0-9]+)*")  # several where a proxy has added its own
_LONGEST_S = 1e18


def retry_after_s(value: str | None, now: float) -> float | None:
    """Give the wait in seconds from `now` (seconds since 1970), or None if the header says nothing.

    A date in the past is 0.0. Of several delays the longest counts. However long one is: a caller that minds must set
    a bound.
    """
    text = (value or "").strip(" \t")
    if _DELAYS_S.fullmatch(text):
        return min(_LONGEST_S, max(float(delay_s) for delay_s in text.split(",")))
    at = http_date(text)
    return None if at is None else max(0.0, at - now)
