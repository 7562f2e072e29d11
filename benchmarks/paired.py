"""Compares two series of runs that were made in pairs: the ratio of each pair, the median, an interval for it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import comb
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Measurement

COVERAGE = 0.95  # of an interval, at least, where there are pairs enough
NO_SLOWER = 1.03  # a median ratio up to this is no loss


@dataclass(frozen=True, slots=True)
class Interval:
    """Hold a confidence interval for a median.

    Attributes:
        coverage: the probability that an interval made in this way covers the true median; at least that.
    """

    low: float
    high: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compare one figure of two versions.

    Attributes:
        now: median of the working tree.
        then: median of the commit.
        ratio: median of the ratios now/then, formed pair by pair.
        interval: of that median.
    """

    now: float
    then: float
    ratio: float
    interval: Interval

    @property
    def is_slower(self) -> bool:
        """Say whether the figure has become larger by more than is let pass, and by more than chance."""
        return self.ratio > NO_SLOWER and not self.interval.low <= 1 <= self.interval.high

    @property
    def verdict(self) -> str:
        """Say in words whether the figure has become larger, and why not if not."""
        if self.is_slower:
            return "slower"
        why = f"median at most {NO_SLOWER}" if self.ratio <= NO_SLOWER else "the interval covers 1"
        return f"no slower: {why}"


def pairs(now: Sequence[Measurement], then: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Put together the runs of one turn. A turn counts if both of its runs are right."""
    return [(one, other) for one, other in zip(now, then, strict=False) if one.fault is None and other.fault is None]


def compare(paired: Sequence[tuple[Measurement, Measurement]], figure: str = "wall_s") -> Comparison | None:
    """Compare one figure of all pairs; None where no pair has it."""
    values = [(getattr(now, figure), getattr(then, figure)) for now, then in paired]
    ratios = [now / then for now, then in values if then]
    if not ratios:
        return None
    return Comparison(
        median(now for now, _ in values), median(then for _, then in values), median(ratios), interval(ratios)
    )


def interval(values: Sequence[float], coverage: float = COVERAGE) -> Interval:
    """Find the interval for the median of the distribution that the values are drawn from, which may be any.

    Each value lies below the true median with probability 1/2, independently of the others. So the k-th smallest and
    the k-th largest of n values enclose it with probability 1 - 2 P(B < k), where B is binomial with n and 1/2. The
    largest k is taken whose coverage is at least the one that is asked for. With fewer than six values none covers
    95 %: then the extremes are taken, and `Interval.coverage` says how little that is.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is no median of nothing")
    ordered = sorted(values)
    count = len(ordered)
    depths = [depth for depth in range(1, (count + 1) // 2 + 1) if _coverage(count, depth) >= coverage]
    depth = max(depths, default=1)
    return Interval(ordered[depth - 1], ordered[-depth], float(_coverage(count, depth)))


def _coverage(count: int, depth: int) -> Fraction:
    outside = sum(comb(count, below) for below in range(depth))
    return 1 - Fraction(2 * outside, 2**count)
