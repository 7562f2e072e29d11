"""HTTP-date (RFC 9110 5.6.7), the one form of time in all headers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from functools import lru_cache

# email.utils was made for mail: it takes comments, line ends and the digits of every script.
_LOOKS_LIKE_A_DATE = re.compile(r"[A-Za-z0-9 ,:+-]{1,64}")
_LEAP_SECOND = 60


def http_date(value: str | None) -> float | None:
    """The instant a header names, in seconds since 1970, or None if it names none.

    All three forms that RFC 9110 5.6.7 makes a recipient accept, and, as it encourages, what mail
    allows beside them: a one-digit day, a numeric zone. A form without a zone is GMT.
    """
    text = (value or "").strip(" \t")
    if not _LOOKS_LIKE_A_DATE.fullmatch(text):
        return None
    try:
        return _instant(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # 31 February, a year of five digits
        return None


@lru_cache(maxsize=1024)  # one answer's dates are asked for again and again, and many answers share them
def _instant(text: str) -> float | None:
    parts = parsedate_tz(text)
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts[:6]
    if not 0 <= second <= _LEAP_SECOND:
        return None
    # The second is added, not given: datetime knows no leap second, the grammar does.
    to_the_minute = datetime(year, month, day, hour, minute, tzinfo=UTC)
    return (to_the_minute + timedelta(seconds=second - (parts[9] or 0))).timestamp()
