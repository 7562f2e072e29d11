"""HTTP-date (RFC 9110 5.6.7), the only format of an instant in all headers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from functools import lru_cache

# email.utils was made for mail: it accepts comments, line ends and the digits of every script.
_LOOKS_LIKE_A_DATE = re.compile(r"[A-Za-z0-9 ,:+-]{1,64}")
_LEAP_SECOND = 60


def http_date(value: str | None) -> float | None:
    """Return the instant that a header names, in seconds since 1970, or None if it names none.

    The function accepts all three forms that RFC 9110 5.6.7 requires of a recipient and, as the RFC encourages, the
    variants that mail allows: a one-digit day, a numeric zone. A form without a zone is GMT.
    """
    text = (value or "").strip(" \t")
    if not _LOOKS_LIKE_A_DATE.fullmatch(text):
        return None
    try:
        return _instant(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # 31 February, a year of five digits
        return None


@lru_cache(maxsize=1024)  # the dates of one response are read repeatedly, and many responses share them
def _instant(text: str) -> float | None:
    parts = parsedate_tz(text)
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts[:6]
    if not 0 <= second <= _LEAP_SECOND:
        return None
    # The second is added afterwards: datetime has no leap second, the grammar has.
    to_the_minute = datetime(year, month, day, hour, minute, tzinfo=UTC)
    return (to_the_minute + timedelta(seconds=second - (parts[9] or 0))).timestamp()
