"""A run beside the peers: every workload, with all that can do it, and the bars that ours has to reach."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks import plots, report
from benchmarks.bars import all_bars
from benchmarks.harness import Harness, first_line, say
from benchmarks.workloads import GROUPS, Scene, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PROGRAMS = ("curl", "wget", "wget2", "aria2c", "axel", "gallery-dl")


class BesidePeers(Harness):
    """Measure ours and the peers in turns."""

    def workloads(self, name: str, scene: Scene) -> list[Workload]:
        return GROUPS[name](scene)

    def write(self, out: Path) -> None:
        circumstances = report.Circumstances(self.lines(), self.places, self._options.repeat)
        bars = all_bars(self._sizes)
        text = report.written(self.results, self._workloads, bars, circumstances, self._plots(out))
        (out / "results.md").write_text(text, encoding="utf-8")
        (out / "results.json").write_text(json.dumps(self.results.rows(), indent=1) + "\n", encoding="utf-8")
        say(f"written: {out / 'results.md'}")

    def tool_lines(self) -> Iterator[str]:
        yield from super().tool_lines()
        paths = [path for program in _PROGRAMS if (path := self._tools.find(program))]
        yield "peers: " + "; ".join(filter(None, map(first_line, paths)))

    def _plots(self, out: Path) -> list[str]:
        if not plots.is_possible():
            say("no plots: matplotlib is missing, it comes with pip install -e '.[bench]'")
            return []
        names = []
        if any(workload.compare or workload.name == "start" for workload in self._workloads):
            plots.draw_medians(self.results, self._workloads, self.places, out / "medians.png")
            names.append("medians.png")
        if any(workload.name == "cost-ledger" for workload in self._workloads):
            plots.draw_cost(self.results, self._sizes, self.places, out / "cost.png")
            names.append("cost.png")
        return names
