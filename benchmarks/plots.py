"""The results as pictures. Needs matplotlib, from the extra `bench`."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from benchmarks.bars import cost_beside_s, cost_per_file_s
from benchmarks.results import Key, Results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.workloads import Sizes, Workload

_OURS, _OTHERS = ("#d1495b", "#f4a6b0"), ("#30638e", "#a8c5da")  # the first and the second file system


def is_possible() -> bool:
    """Whether there is something to draw with."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_medians(results: Results, workloads: Sequence[Workload], places: Sequence[str], path: Path) -> None:
    """One panel for each workload, one bar for each contender and file system; shorter is faster."""
    ran = [workload for workload in workloads if not workload.missing]
    shown = [workload for workload in ran if workload.compare or workload.name == "start"]
    if not shown:
        return
    heights = [1.2 + 0.42 * len(workload.contenders) for workload in shown]
    figure, panels = _figure(len(shown), 9.0, heights)
    for panel, workload in zip(panels, shown, strict=True):
        _bars(panel, results, workload, places)
    figure.savefig(path, dpi=110)


def draw_cost(results: Results, sizes: Sizes, places: Sequence[str], path: Path) -> None:
    """Milliseconds for each file, against the number of files and against the length of the ledger."""
    figure, panels = _figure(2, 7.0, [3.4, 3.4])

    def beside(place: str, rows: int) -> float | None:
        return cost_beside_s(results, place, rows, sizes.ledger_new)

    def alone(place: str, count: int) -> float | None:
        return cost_per_file_s(results, place, count)

    _line(panels[0], sizes.cost_files, places, alone, "files in one run")
    _line(panels[1], sizes.ledger_rows, places, beside, f"rows in the ledger before {sizes.ledger_new:,} new files")
    figure.savefig(path, dpi=110)


def _figure(count: int, width: float, heights: Sequence[float]) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    axes = figure.subplots(count, 1, squeeze=False, height_ratios=list(heights))
    return figure, [row[0] for row in axes]


def _bars(panel: Any, results: Results, workload: Workload, places: Sequence[str]) -> None:
    present = [contender for contender in workload.contenders if contender.missing is None]
    thickness = 0.8 / len(places)
    for number, place in enumerate(places):
        spreads = [results.spread(Key(workload.name, place, contender.name)) for contender in present]
        medians = [spread.median if spread else 0.0 for spread in spreads]
        errors = [[s.median - s.least if s else 0 for s in spreads], [s.most - s.median if s else 0 for s in spreads]]
        colors = [(_OURS if contender.ours else _OTHERS)[number % 2] for contender in present]
        at = [index + (number - (len(places) - 1) / 2) * thickness for index in range(len(present))]
        drawn = panel.barh(at, medians, thickness, xerr=errors, color=colors, ecolor="#555555")
        labels = [f" {median:.3g} s, {place}" if median else f" no time, {place}" for median in medians]
        panel.bar_label(drawn, labels, fontsize=7)
    panel.set_yticks(range(len(present)), [contender.name for contender in present], fontsize=8)
    panel.invert_yaxis()
    panel.margins(x=0.2)
    panel.set_title(f"{workload.title}: seconds, shorter is faster", fontsize=9, loc="left")
    panel.spines[["top", "right"]].set_visible(False)


def _line(
    panel: Any, amounts: Sequence[int], places: Sequence[str], cost_s: Callable[[str, int], float | None], label: str
) -> None:
    for number, place in enumerate(places):
        points = [(amount, cost) for amount in amounts if (cost := cost_s(place, amount)) is not None]
        if points:
            x, y = zip(*((amount, 1000 * cost) for amount, cost in points), strict=True)
            panel.plot(x, y, marker="o", label=place, color=(_OURS[0], _OTHERS[0])[number % 2])
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.set_xlabel(label)
    panel.set_ylabel("ms for each file, without start")
    panel.spines[["top", "right"]].set_visible(False)
    if panel.lines:
        panel.legend(frameon=False)
