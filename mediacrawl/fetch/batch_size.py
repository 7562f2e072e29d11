"""How many files of a host go one after another over one connection, as a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mediacrawl.download.records import Fetched
from mediacrawl.errors import ConnectionLost, NoResponse, TransferError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.download.records import Outcome

_LONGEST = 64  # files in a batch, at most
SHORTEST_S = 0.05  # files that take less than this in sequence are not spread over more connections
BATCH_S = 0.25  # then the files of a batch that were not begun are queued again
_NEWS = 0.3  # the weight of the last batch in the mean time per file
_FAILING_FROM = 3  # consecutive failures


class BatchSizer:
    """The recent time per file of one host, and whether the host responds.

    Handing over a file to a thread or worker process costs more than fetching a small file, so small files share a
    batch. A host that breaks off its responses gets a single connection until one is complete.

    Attributes:
        file_s: mean time per file in seconds; 0 while it is unknown.
        failures: consecutive files for which the connection broke during the response.
    """

    __slots__ = ("failures", "file_s")

    def __init__(self) -> None:
        self.file_s = 0.0
        self.failures = 0

    def connections(self, most: float) -> float:
        """Return how many connections the host may have, `most` or fewer."""
        return 1 if self.failures >= _FAILING_FROM else most

    def learn(self, outcomes: Sequence[Outcome | None]) -> None:
        """Update the mean time per file and the number of failures with the outcomes of a batch.

        A file that was slow by chance has little weight.
        """
        for outcome in outcomes:
            if isinstance(outcome, ConnectionLost) and not isinstance(outcome, NoResponse):
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
        """Return how many of the waiting files form the next batch; at least 1.

        A batch holds as many files as can be fetched in `BATCH_S`, so large or slow files go alone. A batch is no
        larger than the share of each free connection, unless its files take less than `SHORTEST_S` together.

        Args:
            waiting: number of files that wait.
            free: number of connections that are free.
        """
        if not self.file_s:
            return 1
        fair = math.ceil(waiting / free)
        worth_it = int(SHORTEST_S / self.file_s)
        return max(1, min(_LONGEST, max(fair, worth_it), int(BATCH_S / self.file_s)))
