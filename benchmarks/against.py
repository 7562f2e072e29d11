"""A run that compares two versions of ours: the working tree ("now") and a commit ("then"), in pairs of runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import peers, report
from benchmarks.data import MIB
from benchmarks.harness import Harness, say
from benchmarks.paired import Comparison, compare, pairs
from benchmarks.versions import Version, are_alike, check_out
from benchmarks.workloads import GROUPS, Scene, Workload

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.peers import Contender
    from benchmarks.results import Results

# Group to the contenders that take part, by name. A workload that none of them does is left out.
CHOICE: Mapping[str, tuple[str, ...]] = {
    "small": (peers.OURS, peers.OURS_CURL, peers.OURS_GET),
    "many": (peers.OURS, peers.OURS_GET),
    "single": (peers.OURS,),
    "site": (peers.OURS,),
    "start": (peers.OURS_GET_NEW, peers.OURS_GET_THERE),
    "tls-small": (peers.OURS, peers.OURS_CURL, peers.OURS_GET),
    "tls-single": (peers.OURS,),
    "limit": (peers.OURS,),
    "second": (peers.OURS,),
}
DEFAULT = [name for name in CHOICE if name != "second"]
_SEGMENTS = (4, 16)
_FIGURES = ("wall_s", "cpu_s", "peak_tree_bytes")


class AgainstCommit(Harness):
    """Measure two versions in turns, and no peers."""

    def __init__(self, options: argparse.Namespace, root: Path) -> None:
        super().__init__(options)
        self._root = root
        self._sources: Path | None = None
        self._versions: tuple[Version, ...] = ()

    def run(self) -> None:
        self._sources = Path(tempfile.mkdtemp(prefix="mediacrawl-versions-"))
        self._versions = check_out(self._root, self._options.against, self._sources)
        super().run()
        print("\n\n".join(self._tables()))  # noqa: T201 - what was asked for

    def remove(self) -> None:
        super().remove()
        if self._sources:
            shutil.rmtree(self._sources, ignore_errors=True)

    def workloads(self, name: str, scene: Scene) -> list[Workload]:
        return chosen(name, scene, self._versions)

    def write(self, out: Path) -> None:
        parts = ["# Two versions", "\n".join(f"- {line}" for line in self.lines()), _EXPLANATION, *self._tables()]
        (out / "against.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        raw = {
            "versions": {version.name: version.label for version in self._versions},
            "comparisons": [
                row for place in self.places for row in comparisons(self.results, self._workloads, place)
            ],
            "runs": self.results.rows(),
        }
        (out / "against.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        say(f"written: {out / 'against.md'}")

    def lines(self) -> list[str]:
        same = ["both have the same source, so that every difference is chance"] if are_alike(*self._versions) else []
        return [*(f"{version.name}: {version.label}" for version in self._versions), *same, *super().lines()]

    def rounds_line(self) -> str:
        warm_up = " after one that does not count" if self._warms_up else ""
        return f"pairs of runs: {self._options.repeat}{warm_up}"

    def _tables(self) -> list[str]:
        parts = []
        for place in self.places:
            parts.append(f"On {place}:\n\n{comparison_table(self.results, self._workloads, place)}")
            for workload in self._workloads:
                parts += report.faults(workload, self.results, place)
        if self.results.missing:
            parts.append("\n".join(f"- skipped: {name}: {why}" for name, why in self.results.missing.items()))
        return parts


def chosen(name: str, scene: Scene, versions: Sequence[Version]) -> list[Workload]:
    """Make the work of one group, with each contender once for each version."""
    sizes = replace(scene.sizes, limited_bytes=scene.sizes.limited_bytes[:1], segments=_SEGMENTS)
    workloads = []
    for workload in GROUPS[name](replace(scene, sizes=sizes)):
        some = [contender for contender in workload.contenders if contender.name in CHOICE[name]]
        if some:
            each = [one for contender in some for one in of_each(contender, versions)]
            workloads.append(replace(workload, contenders=each, warm_round=True))
    return workloads


def of_each(contender: Contender, versions: Sequence[Version]) -> list[Contender]:
    """Let every version do the same. Where one cannot, none does: there would be nothing to compare with."""
    each = [contender.of(version) for version in versions]
    missing = next((f"{one.version.name}: {one.missing}" for one in each if one.missing), None)
    return [replace(one, missing=missing) for one in each]


def _rows(
    results: Results, workloads: Sequence[Workload], place: str
) -> Iterator[tuple[Workload, str, int, list[Comparison | None]]]:
    """Give workload, name of the contender, number of pairs, and a comparison for each of `_FIGURES`."""
    for workload in workloads:
        if workload.missing:
            continue
        for now, then in zip(workload.contenders[::2], workload.contenders[1::2], strict=True):
            if now.missing:
                continue
            both = pairs(*(results.runs.get(one.key(workload.name, place), []) for one in (now, then)))
            yield workload, now.name, len(both), [compare(both, figure) for figure in _FIGURES]


def comparisons(results: Results, workloads: Sequence[Workload], place: str) -> Iterator[dict[str, object]]:
    """Give each row of the table, as it is written into JSON."""
    for workload, name, count, (wall, *others) in _rows(results, workloads, place):
        figures = {
            figure: asdict(one) if one else None for figure, one in zip(_FIGURES, (wall, *others), strict=True)
        }
        verdict = wall.verdict if wall else None
        yield {
            "workload": workload.name,
            "file_system": place,
            "contender": name,
            "pairs": count,
            "verdict": verdict,
            **figures,
        }


def comparison_table(results: Results, workloads: Sequence[Workload], place: str) -> str:
    """Make one row for each workload and contender."""
    columns = ["work", "", "now s", "then s", "now/then", "interval", "verdict", "pairs"]
    columns += ["CPU s now", "then", "now/then", "peak MiB now", "then", "now/then"]
    rows = []
    for workload, name, count, (wall, cpu, memory) in _rows(results, workloads, place):
        row = [workload.name, name]
        if wall is None:
            rows.append([*row, "", "", "", "", "no figure", "0"])
            continue
        between = wall.interval
        row += [*_figures(wall), f"{between.low:.3f}-{between.high:.3f} ({between.coverage:.1%})"]
        rows.append([*row, wall.verdict, str(count), *_figures(cpu), *_figures(memory, MIB)])
    return report.table(columns, rows)


def _figures(comparison: Comparison | None, unit: float = 1) -> list[str]:
    if comparison is None:
        return ["", "", ""]
    return [
        report.number(comparison.now / unit),
        report.number(comparison.then / unit),
        f"{comparison.ratio:.3f}",
    ]


_EXPLANATION = """\
Each run is checked: count, size and sha256 of each file. A pair is two runs, one after the other, of the two
versions; the version that is first changes from pair to pair. A pair does not count if one of its runs did not
finish, or its files are not all there and right. Times, CPU and memory are medians. "now/then" is the median of the
ratios of all pairs: above 1, the working tree needs more. The interval is that of the median ratio of the times,
between two of the sorted ratios, with its coverage; fewer than six pairs do not reach 95 %, and a verdict of so few
may be chance. "no slower": the median is at most 1.03, or the interval covers 1; "slower": neither. CPU is user and
system time of the process and its children. Memory is the largest sum of resident memory over these, sampled; pages
that they share count for each."""
