"""Decide from its ledger row whether a wanted file is present, known to be gone, or to be requested.

The functions have no side effects.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.errors import redact_url
from mediacrawl.ledger.base import State

if TYPE_CHECKING:
    from mediacrawl.ledger.base import Entry

DAY_S = 86_400.0
# A recorded time that is later than now by more than this comes from a wrong clock: the row counts as expired.
_CLOCKS_DIFFER_S = 3600.0


class RefetchPolicy(NamedTuple):
    """When to send requests for a file again; the same for commands, spiders and programs.

    Attributes:
        expires_s: seconds after its last check at which a finished file is revalidated.
        retry_permanent_s: seconds after a permanent failure at which the file is requested again.
    """

    expires_s: float = 90 * DAY_S
    retry_permanent_s: float = 30 * DAY_S

    def is_fresh(self, entry: Entry | None, now: float) -> bool:
        """Return whether the file is present and need not be revalidated yet."""
        return entry is not None and entry.state == State.DONE and _age_s(entry, now) <= self.expires_s

    def known_failure(self, entry: Entry | None, now: float) -> str | None:
        """Return why a file has failed for good, if that is recent enough to send no request; otherwise None."""
        if entry is None or entry.state != State.FAILED or not entry.permanent:
            return None
        if _age_s(entry, now) >= self.retry_permanent_s:
            return None
        try:
            day = time.strftime("%Y-%m-%d", time.localtime((entry.checked_at or 0.0) + self.retry_permanent_s))
        except (OSError, OverflowError, ValueError):  # beyond the range of the calendar
            return f"{entry.reason} (known, not asked for again)"
        return f"{entry.reason} (known, not asked for again before {day})"


def _age_s(entry: Entry, now: float) -> float:
    """Return the seconds since a row was checked; infinite for a time more than an hour in the future."""
    age_s = now - (entry.checked_at or 0.0)
    return age_s if age_s > -_CLOCKS_DIFFER_S else float("inf")


def is_noted(entry: Entry | None, url: str | None = None) -> bool:
    """Return whether a row records its file as present, or as wanted; from this URL, if one is given.

    `RecordWanted` would then add no information.
    """
    if entry is None or entry.state not in {State.DONE, State.PENDING}:
        return False
    return entry.state == State.DONE or url is None or entry.url == redact_url(url)
