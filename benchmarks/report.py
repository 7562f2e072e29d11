"""The results as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bars import AIM, MUST, Bar
from benchmarks.data import MIB
from benchmarks.results import Key, Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.peers import Contender
    from benchmarks.workloads import Workload

_VERDICTS = {True: "reached", False: "**not reached**", None: "no figure"}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the figures hold for.

    Attributes:
        lines: of the machine, the tools, the call.
        places: the file systems, by name.
        repeat: counted rounds.
    """

    lines: Sequence[str]
    places: Sequence[str]
    repeat: int


def written(
    results: Results,
    workloads: Sequence[Workload],
    bars: Sequence[Bar],
    circumstances: Circumstances,
    plots: Sequence[str],
) -> str:
    """The whole report."""
    parts = ["# Benchmarks", "\n".join(f"- {line}" for line in circumstances.lines), _EXPLANATION]
    groups = {workload.name.partition("-")[0] for workload in workloads}
    ran = [bar for bar in bars if bar.group in groups]
    parts += [_bars_table(kind, ran, results, circumstances.places) for kind in (MUST, AIM)]
    parts += [f"![]({name})" for name in plots]
    parts += [_section(workload, results, circumstances) for workload in workloads if not workload.missing]
    if results.missing:
        parts += ["## Skipped", "\n".join(f"- {name}: {why}" for name, why in results.missing.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


_EXPLANATION = """\
Each run is checked: count, size and sha256 of each file. A run that did not finish, or whose files are not all there
and right, has no time. All take turns, one round after the other. CPU is user and system time of the process and its
children. Memory is the largest sum of resident memory over these, sampled; pages that they share count for each.
"Times as fast" is the other's median divided by ours: above 1, ours is faster. Requests are what the server saw; the
transfer window is from the start of the first request to the end of the last, as the server saw it."""


def _bars_table(kind: str, bars: Sequence[Bar], results: Results, places: Sequence[str]) -> str:
    rows = [_bar_row(bar, results, places) for bar in bars if bar.kind == kind]
    title = {MUST: "## Must", AIM: "## Aim"}[kind]
    return f"{title}\n\n{table(['work', 'bar', *places], rows)}" if rows else ""


def _bar_row(bar: Bar, results: Results, places: Sequence[str]) -> list[str]:
    values = [bar.figure(results, place) for place in places]
    return [bar.work, bar.wording, *(f"{number(value)} {_VERDICTS[bar.reached(value)]}".strip() for value in values)]


def _section(workload: Workload, results: Results, circumstances: Circumstances) -> str:
    tables = [f"## {workload.title}"]
    for place in circumstances.places:
        tables.append(f"On {place}:\n\n{workload_table(workload, results, place)}")
        tables += list(faults(workload, results, place))
    return "\n\n".join(tables)


def workload_table(workload: Workload, results: Results, place: str) -> str:
    """One line for each contender that took part, the fastest first."""
    present = [contender for contender in workload.contenders if contender.missing is None]
    ours = (
        [contender.name for contender in present if contender.ours and contender.wanted is None]
        if workload.compare
        else []
    )
    columns = [*_columns(workload), *(f"{name}: times as fast" for name in ours)]
    if not workload.compare:
        ordered = present
    else:
        ordered = sorted(present, key=lambda one: results.median(Key(workload.name, place, one.name)) or float("inf"))
    return table(columns, [_row(workload, one, results, place, ours) for one in ordered])


def _columns(workload: Workload) -> list[str]:
    rate = {"files": ["files/s"], "bytes": ["MB/s"], "": []}[workload.unit]
    window = ["window s", "of the ideal: run", "window"] if workload.ideal_s else []
    connections = ["connections"] if workload.limited else []
    return [
        "",
        "median s",
        "min-max s",
        *rate,
        *window,
        *connections,
        "CPU s",
        "peak MiB, tree",
        "largest process",
        "requests",
    ]


def _row(workload: Workload, contender: Contender, results: Results, place: str, ours: Sequence[str]) -> list[str]:
    key = Key(workload.name, place, contender.name)
    name = f"**{contender.name}**" if contender.ours else contender.name
    time_s = results.spread(key)
    if time_s is None:
        return [name, "no time"]
    rate = [number(_rate(workload, contender, time_s.median))] if workload.unit else []
    memory = [number(_mib(results.median(key, figure))) for figure in ("peak_tree_bytes", "peak_process_bytes")]
    speeds = [number(results.times_as_fast(Key(workload.name, place, one), contender.name)) for one in ours]
    return [
        name,
        number(time_s.median),
        f"{number(time_s.least)}-{number(time_s.most)}",
        *rate,
        *(_window(workload, contender, results, key) if workload.ideal_s else []),
        *([number(results.median(key, "connections"))] if workload.limited else []),
        number(results.median(key, "cpu_s")),
        *memory,
        number(results.median(key, "requests")),
        *speeds,
    ]


def _rate(workload: Workload, contender: Contender, time_s: float) -> float:
    wanted = contender.wanted(0) if contender.wanted else workload.wanted
    amount = wanted.size_bytes / 1e6 if workload.unit == "bytes" else len(wanted.files)
    return amount / time_s


def _window(workload: Workload, contender: Contender, results: Results, key: Key) -> list[str]:
    ideal_s, run_s, window_s = workload.ideal_s[contender.name], results.median(key), results.median(key, "window_s")
    return [number(window_s), *(number(ideal_s / took_s if took_s else None) for took_s in (run_s, window_s))]


def faults(workload: Workload, results: Results, place: str) -> Iterator[str]:
    """Say for each contender how many runs have no time, and why the first has none."""
    for contender in workload.contenders:
        key = contender.key(workload.name, place)
        if wrong := results.faults(key):
            of = len(wrong) + len(results.right(key))
            said = " ".join(wrong[0].split()).replace("`", "'")
            yield f"{contender.label}: {len(wrong)} of {of} runs have no time: `{said}`"


def _mib(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else size_bytes / MIB


def number(value: float | None) -> str:
    """Three figures that count; nothing for None."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, short rows are filled."""
    full = [[*row, *[""] * (len(columns) - len(row))] for row in rows]
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *full))
