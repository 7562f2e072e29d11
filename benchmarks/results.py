"""What was measured, and the figures that come of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Measurement:
    """One counted run. With a `fault` it has no time.

    Attributes:
        requests: that the server saw.
        window_s: from the start of the first request to the end of the last, as the server saw it.
        connections: the most requests that the server saw at once.
        fault: what was wrong, in words.
    """

    wall_s: float
    cpu_s: float
    peak_tree_bytes: int
    peak_process_bytes: int
    requests: int
    window_s: float | None
    connections: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """Which line of which table."""

    workload: str
    file_system: str
    contender: str
    version: str = ""  # of ours, where two are compared


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and extremes."""

    median: float
    least: float
    most: float


@dataclass(slots=True)
class Results:
    """All measurements of one run of the harness.

    Attributes:
        missing: contender to why it did not take part.
    """

    runs: dict[Key, list[Measurement]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, object]]:
        """Give every single run, as it is written into JSON."""
        return [
            {name: value for name, value in asdict(key).items() if value} | {"runs": [asdict(run) for run in runs]}
            for key, runs in self.runs.items()
        ]

    def right(self, key: Key) -> list[Measurement]:
        """The runs that count."""
        return [run for run in self.runs.get(key, []) if run.fault is None]

    def faults(self, key: Key) -> list[str]:
        """Why the others do not."""
        return [run.fault for run in self.runs.get(key, []) if run.fault is not None]

    def spread(self, key: Key, figure: str = "wall_s") -> Spread | None:
        """Of the runs that count; None if there are none."""
        values = [value for run in self.right(key) if (value := getattr(run, figure)) is not None]
        return Spread(median(values), min(values), max(values)) if values else None

    def median(self, key: Key, figure: str = "wall_s") -> float | None:
        """The same, only its middle."""
        spread = self.spread(key, figure)
        return spread.median if spread else None

    def times_as_fast(self, key: Key, than: str, figure: str = "wall_s") -> float | None:
        """How many times as fast as another contender of the same table; None if one of them has no time."""
        mine, other = self.median(key, figure), self.median(Key(key.workload, key.file_system, than), figure)
        return other / mine if mine and other is not None else None

    def net_s(self, key: Key, start: Key) -> float | None:
        """The median without that of a run that does next to nothing: what the work itself takes."""
        whole, base = self.median(key), self.median(start)
        return whole - base if whole is not None and base is not None else None
