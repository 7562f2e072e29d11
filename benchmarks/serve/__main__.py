"""Measure `mediacrawl serve` beside nginx and copyparty, in turns, and write the medians and their ratios."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.serve.contenders import Place, RunningServer, contenders, free_port, make_certificate
from benchmarks.serve.measurements import Load, Scale, compile_load, make_files, tls_cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.serve.contenders import Contender

SCALES = {"full": Scale(), "small": Scale(seconds=3, small_files=500)}
Figures = dict[str, list[float]]


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark. Return the exit status: 1 if a server has answered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--seconds", type=float, help="of the ranges; by default 60, with --scale small 3")
    parser.add_argument("--only", nargs="*", help="names of servers; by default all that are installed")
    parser.add_argument("--copyparty", metavar="PYTHON", help="an interpreter that has copyparty")
    parser.add_argument(
        "--work-dir", default=str(Path(__file__).with_name(".work")), help="where the files go: 1 GiB"
    )
    parser.add_argument("--out", metavar="FILE", help="where the figures of each round go, as JSON")
    options = parser.parse_args(words)
    chosen = [one for one in contenders(options.copyparty) if not options.only or one.name in options.only]
    scale = SCALES[options.scale]
    if options.seconds:
        scale = scale._replace(seconds=options.seconds)
    Path(options.work_dir).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="serve-", dir=options.work_dir) as folder:
        Path(folder).chmod(0o755)
        figures = measure(chosen, Path(folder), scale, options.rounds)
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))  # noqa: T201
    return int(any(any(values) for one in figures.values() for name, values in one.items() if "errors" in name))


def measure(chosen: Sequence[Contender], work: Path, scale: Scale, rounds: int) -> dict[str, Figures]:
    """Return the figures of each server: of each round, by their names."""
    files = work / "files"
    make_files(files, scale)
    program = compile_load(work)
    certificate, key = make_certificate(work)
    figures: dict[str, Figures] = {one.name: defaultdict(list) for one in chosen}
    for turn in range(rounds):
        for one in chosen:
            own = work / f"{one.name}-{turn}"
            own.mkdir()
            place = Place(files, own, certificate, key, free_port(), free_port())
            if turn == 0:
                one.prepare(place)
            print(f"round {turn + 1}: {one.name}", file=sys.stderr)  # noqa: T201
            for name, value in of_one(one, place, program, scale).items():
                figures[one.name][name].append(value)
            shutil.rmtree(own)
    return figures


def of_one(one: Contender, place: Place, program: Path, scale: Scale) -> dict[str, float]:
    """Return all figures of one server, started anew."""
    with RunningServer(one, place) as server:
        cookie = one.cookie(server.url, place.certificate) if one.cookie is not None else ""
        load = Load(program, server, one.above, cookie)
        found = load.small(scale) | load.ranges(scale) | load.stalled(scale)
    if one.tls_command is not None:
        with RunningServer(one, place, tls=True) as server:
            cookie = one.cookie(server.url, place.certificate) if one.cookie is not None else ""
            found |= tls_cpu(server, one.above, cookie)
    return found


def table(figures: dict[str, Figures]) -> str:
    """Return the medians as a table in Markdown, with the ratio of the first server to each of the others."""
    (first, *others) = figures
    names = dict.fromkeys(name for one in figures.values() for name in one)
    head = ["", *figures, *(f"{first} / {other}" for other in others)]
    rows = [head, ["---"] * len(head)]
    for name in names:
        middle = {one: statistics.median(found[name]) for one, found in figures.items() if name in found}
        ratios = [
            f"{middle[first] / middle[other]:.2f}" if middle.get(other) and first in middle else ""
            for other in others
        ]
        rows.append([name, *(f"{middle[one]:.2f}" if one in middle else "" for one in figures), *ratios])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
