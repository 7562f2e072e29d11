"""What the row of a file says when it is wanted again: it is there, known to be gone, or to be asked for. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.ledger.sqlite import DONE, FAILED, PENDING

if TYPE_CHECKING:
    from mediacrawl.ledger.sqlite import Entry

DAY_S = 86_400.0
# A time that is later than now by more than that was noted by a clock that was wrong: it says nothing.
_CLOCKS_DIFFER_S = 3600.0


class RefetchPolicy(NamedTuple):
    """When to ask again, the same for every front.

    Attributes:
        expires_s: a finished file is revalidated when it was looked at so long ago.
        retry_permanent_s: what has failed for good is asked for again when that was so long ago.
    """

    expires_s: float = 90 * DAY_S
    retry_permanent_s: float = 30 * DAY_S

    def is_fresh(self, entry: Entry | None, now: float) -> bool:
        """Whether the file is there, and need not be revalidated yet."""
        return entry is not None and entry.state == DONE and _age_s(entry, now) <= self.expires_s

    def known_failure(self, entry: Entry | None, now: float) -> str | None:
        """Why a file will not come, where that is known well enough not to ask; else None."""
        if entry is None or entry.state != FAILED or not entry.permanent:
            return None
        if _age_s(entry, now) >= self.retry_permanent_s:
            return None
        try:
            day = time.strftime("%Y-%m-%d", time.localtime((entry.checked_at or 0.0) + self.retry_permanent_s))
        except (OSError, OverflowError, ValueError):  # no calendar goes that far
            return f"{entry.reason} (known, not asked for again)"
        return f"{entry.reason} (known, not asked for again before {day})"


def _age_s(entry: Entry, now: float) -> float:
    """How long ago a row was looked at; infinite for a time that has not come yet."""
    age_s = now - (entry.checked_at or 0.0)
    return age_s if age_s > -_CLOCKS_DIFFER_S else float("inf")


def is_noted(entry: Entry | None) -> bool:
    """Return whether a row says that its file is there, or wanted, so that `RecordWanted` would say nothing new."""
    return entry is not None and entry.state in {DONE, PENDING}
