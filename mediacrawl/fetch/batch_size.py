"""How many files of a host go one after another over one connection, as a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mediacrawl.download.records import Fetched
from mediacrawl.errors import ConnectError, ConnectionLost, TransferError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.records import Outcome

_LONGEST = 64  # files of a batch
SHORTEST_S = 0.05  # what comes faster one after another is not spread over more connections
BATCH_S = 0.25  # then what has not begun takes its turn again
_NEWS = 0.3  # the weight of the last batch in what a file takes
_FAILING_FROM = 3  # files in a row


class BatchSizer:
    """What a file of one host takes, of late: to hand one over costs more than to fetch a small one.

    And whether the host answers. One that does not gets one connection until it answers again, so that few of its
    files fail while it is down for a moment, and few wait.

    Attributes:
        file_s: what one took; 0 while nothing is known.
        failures: files in a row for which no connection came about, or which broke off.
    """

    __slots__ = ("failures", "file_s")

    def __init__(self) -> None:
        self.file_s = 0.0
        self.failures = 0

    def connections(self, most: float) -> float:
        """Return how many connections the host may have, `most` or fewer."""
        return 1 if self.failures >= _FAILING_FROM else most

    def learn(self, outcomes: Sequence[Outcome | None]) -> None:
        """What those of a batch took; one that was slow by chance does not count for much."""
        for outcome in outcomes:
            if isinstance(outcome, ConnectError | ConnectionLost):
                self.failures += 1
            elif isinstance(outcome, Fetched | TransferError):
                self.failures = 0
        took_s = [
            min(outcome.took_s, BATCH_S)
            for outcome in outcomes
            if isinstance(outcome, Fetched | TransferError) and outcome.took_s
        ]
        if took_s:
            new_s = sum(took_s) / len(took_s)
            self.file_s += (new_s - self.file_s) * (_NEWS if self.file_s else 1)

    def batch_files(self, waiting: int, free: float) -> int:
        """How many of those that wait go together next, where so many connections are free; at least one.

        As many as come in `BATCH_S`, so large or slow files go alone; and no more than fall to each of the free
        connections, unless they are through within `SHORTEST_S`.
        """
        if not self.file_s:
            return 1
        fair = math.ceil(waiting / free)
        worth_it = int(SHORTEST_S / self.file_s)
        return max(1, min(_LONGEST, max(fair, worth_it), int(BATCH_S / self.file_s)))
