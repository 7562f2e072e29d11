"""The command line: which workloads, how often, where; then the report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import plots, report, rooms
from benchmarks.bars import all_bars
from benchmarks.data import MIB
from benchmarks.peers import Tools
from benchmarks.results import Results
from benchmarks.rooms import Room
from benchmarks.runner import Runner
from benchmarks.server import Nginx, nginx_path
from benchmarks.workloads import FULL, GROUPS, SMALL, Scene, Served, Sizes, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
_PROGRAMS = ("curl", "wget", "wget2", "aria2c", "axel", "gallery-dl")
_PACKAGES = ("scrapy", "requests", "urllib3", "pycurl")
_MOST_SERVED_BYTES = 2560 * MIB  # by one group


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: everything ran, 1: some run has no time, 2: wrong usage or no server, 3: interrupted."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    harness = _Harness(options)
    try:
        harness.run()
    except RuntimeError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("interrupted")
        return 3
    finally:
        harness.remove()
    return int(any(run.fault for runs in harness.results.runs.values() for run in runs))


class _Harness:
    """One call."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._sizes: Sizes = {"full": FULL, "small": SMALL}[options.scale]
        self._repeat: int = options.repeat or (5 if options.scale == "full" else 1)
        self._tools = Tools(options.peers.absolute() if options.peers else None)
        self._rooms = list(_rooms(options))
        self._served = Room.below(rooms.SHARED_MEMORY if rooms.SHARED_MEMORY.is_dir() else options.work_dir)
        self._workloads: list[Workload] = []
        self._started_at = time.time()
        self.results = Results()

    def run(self) -> None:
        """Every group in turn; the report is written anew after each, so that an interrupted run has one."""
        root = self._served.root
        data = root / "data"
        data.mkdir()
        with Nginx(root / "nginx", data) as server:
            scene = Scene(Served(data, server), self._sizes, self._tools)
            warm_up = self._options.scale == "full"
            runner = Runner(server, self._rooms, self.results, self._repeat, warm_up, _say)
            for name in self._options.only or GROUPS:
                for room in self._rooms:
                    room.make_room(_MOST_SERVED_BYTES)  # where it is served from may be the memory that a room fills
                for workload in GROUPS[name](scene):
                    self._workloads.append(workload)
                    runner.run(workload)
                scene.served.drop_large()
                self._write()

    def remove(self) -> None:
        """What was served and what was fetched, unless it is to be kept."""
        for room in (*self._rooms, self._served):
            if self._options.keep:
                _say(f"kept: {room.root}")
            else:
                room.remove()

    def _write(self) -> None:
        out: Path = self._options.out
        out.mkdir(parents=True, exist_ok=True)
        places = [room.kind for room in self._rooms]
        circumstances = report.Circumstances(self._lines(), places, self._repeat)
        bars = all_bars(self._sizes)
        text = report.written(self.results, self._workloads, bars, circumstances, self._plots(out, places))
        (out / "results.md").write_text(text, encoding="utf-8")
        raw = [asdict(key) | {"runs": [asdict(run) for run in runs]} for key, runs in self.results.runs.items()]
        (out / "results.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        _say(f"written: {out / 'results.md'}")

    def _plots(self, out: Path, places: Sequence[str]) -> list[str]:
        if not plots.is_possible():
            _say("no plots: matplotlib is missing, it comes with pip install -e '.[bench]'")
            return []
        names = []
        if any(workload.compare or workload.name == "start" for workload in self._workloads):
            plots.draw_medians(self.results, self._workloads, places, out / "medians.png")
            names.append("medians.png")
        if any(workload.name == "cost-ledger" for workload in self._workloads):
            plots.draw_cost(self.results, self._sizes, places, out / "cost.png")
            names.append("cost.png")
        return names

    def _lines(self) -> list[str]:
        """What the figures hold for."""
        options = self._options
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        early = ", ".join(f"{room.removed_early} on {room.kind}" for room in self._rooms if room.removed_early)
        minutes = (time.time() - self._started_at) / 60
        warm_up = " after one round that does not count where runs are short" if options.scale == "full" else ""
        date = time.strftime("%Y-%m-%d", time.localtime(self._started_at))
        system = f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, Linux {platform.release()}"
        kinds = ", ".join(room.kind for room in self._rooms)
        return [
            f"{date}, {minutes:.0f} minutes, scale {options.scale}, medians of {self._repeat}{warm_up}",
            f"{system}, Python {platform.python_version()}; server and client share the cores, over loopback",
            f"file systems: {kinds}; the server reads from {self._served.kind}",
            f"folders of small files removed before the end, for want of room: {early or 'none'}",
            *_versions(self._tools),
        ]


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), metavar="NAME", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--repeat", type=int, metavar="N", help="counted rounds; 5, with --scale small 1")
    parser.add_argument("--scale", choices=("full", "small"), default="full", help="small: a smoke test")
    where = parser.add_argument("--file-system", choices=("tmpfs", "ext4", "both"))
    where.help = "ext4: that of --work-dir, whatever it is; both, with --scale small tmpfs"
    parser.add_argument("--work-dir", type=Path, default=HERE / ".work", help="folder on a disk; %(default)s")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="virtual environment with gallery-dl and others")
    parser.add_argument("--out", type=Path, default=HERE, help="where results.md and the plots go; %(default)s")
    parser.add_argument("--keep", action="store_true", help="leave what was fetched")
    options = parser.parse_args(argv)
    options.file_system = options.file_system or {"full": "both", "small": "tmpfs"}[options.scale]
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat must be at least 1")
    return options


def _rooms(options: argparse.Namespace) -> Iterator[Room]:
    """The file systems that are asked for; two of one kind would be one in the tables."""
    kinds = set()
    if options.file_system in ("tmpfs", "both"):
        room = Room.below(rooms.SHARED_MEMORY)
        kinds.add(room.kind)
        yield room
    if options.file_system in ("ext4", "both"):
        room = Room.below(options.work_dir)
        if room.kind in kinds:
            _say(f"--work-dir {options.work_dir} is on {room.kind} too: only one is measured")
            room.remove()
        else:
            yield room


def _versions(tools: Tools) -> Iterator[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    yield "ours with " + ", ".join(found)
    paths = [path for program in _PROGRAMS if (path := tools.find(program))]
    yield "peers: " + "; ".join(filter(None, map(_first_line, paths)))
    yield f"server: {_first_line(nginx_path() or 'nginx', '-v')}, a private configuration"
    yield f"`python benchmarks/run.py {shlex.join(_shown(sys.argv[1:]))}`".replace(" `", "`")


def _first_line(program: str, option: str = "--version") -> str:
    ran = subprocess.run([program, option], capture_output=True, text=True, check=False)  # noqa: S603
    line = (ran.stdout + ran.stderr).strip().partition("\n")[0].partition(" (")[0].partition(" libcurl")[0]
    return line if Path(program).name in line else f"{Path(program).name} {line}"


def _shown(arguments: Sequence[str]) -> list[str]:
    """Folders of one machine are of no interest to others."""
    return [Path(argument).name if "/" in argument else argument for argument in arguments]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
