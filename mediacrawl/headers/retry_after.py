"""Retry-After (RFC 9110 10.2.3): the wait that a server requests."""

from __future__ import annotations

import re

from mediacrawl.headers.dates import http_date

_DELAYS_S = re.compile(r"[0-9]+(?:[ \t]*,[ \t]*[0-9]+)*")  # several if a proxy has added its own
_LONGEST_S = 1e18


def retry_after_s(value: str | None, now: float) -> float | None:
    """Return the wait in seconds from `now` (seconds since 1970), or None if the header is missing or invalid.

    A date in the past gives 0.0. Of several delays the longest counts, up to 1e18 s: a caller must limit the wait
    itself if necessary.
    """
    text = (value or "").strip(" \t")
    if _DELAYS_S.fullmatch(text):
        return min(_LONGEST_S, max(float(delay_s) for delay_s in text.split(",")))
    at = http_date(text)
    return None if at is None else max(0.0, at - now)
