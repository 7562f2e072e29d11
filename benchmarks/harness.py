"""One call of the harness: everything in turn, and a report that is written anew after each group."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import rooms
from benchmarks.data import MIB
from benchmarks.peers import Tools
from benchmarks.results import Results
from benchmarks.rooms import Room
from benchmarks.runner import Runner
from benchmarks.server import Nginx, nginx_path
from benchmarks.workloads import FULL, SMALL, Scene, Served, Sizes, Workload

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

_PACKAGES = ("scrapy", "requests", "urllib3", "pycurl")
_MOST_SERVED_BYTES = 2560 * MIB  # by one group


class Harness(ABC):
    """Carry out one call. Subclasses say which work is done and which report is written.

    Raises:
        RuntimeError: in `run`: the server or a version cannot be started; in one line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._sizes: Sizes = {"full": FULL, "small": SMALL}[options.scale]
        self._warms_up = options.scale == "full"
        self._tools = Tools(options.peers.absolute() if options.peers else None)
        self._rooms = list(_rooms(options))
        self._served = Room.below(rooms.SHARED_MEMORY if rooms.SHARED_MEMORY.is_dir() else options.work_dir)
        self._workloads: list[Workload] = []
        self._started_at = time.time()
        self.results = Results()

    @abstractmethod
    def workloads(self, name: str, scene: Scene) -> list[Workload]:
        """Make the work of one group."""

    @abstractmethod
    def write(self, out: Path) -> None:
        """Write the report of all runs until now into a folder, which exists."""

    def run(self) -> None:
        """Run every group in turn; the report is written anew after each, so that an interrupted run has one."""
        root = self._served.root
        data = root / "data"
        data.mkdir()
        with Nginx(root / "nginx", data) as server:
            scene = Scene(Served(data, server), self._sizes, self._tools)
            runner = Runner(server, self._rooms, self.results, self._options.repeat, self._warms_up, say)
            for name in self._options.only:
                for room in self._rooms:
                    room.make_room(_MOST_SERVED_BYTES)  # where it is served from may be the memory that a room fills
                for workload in self.workloads(name, scene):
                    self._workloads.append(workload)
                    runner.run(workload)
                scene.served.drop_large()
                self._options.out.mkdir(parents=True, exist_ok=True)
                self.write(self._options.out)

    def remove(self) -> None:
        """Remove what was served and what was fetched, unless it is to be kept."""
        for room in (*self._rooms, self._served):
            if self._options.keep:
                say(f"kept: {room.root}")
            else:
                room.remove()

    @property
    def places(self) -> list[str]:
        """Name the file systems."""
        return [room.kind for room in self._rooms]

    def lines(self) -> list[str]:
        """Say what the figures hold for: time, machine, file systems, tools."""
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        early = ", ".join(f"{room.removed_early} on {room.kind}" for room in self._rooms if room.removed_early)
        minutes = (time.time() - self._started_at) / 60
        date = time.strftime("%Y-%m-%d", time.localtime(self._started_at))
        system = f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, Linux {platform.release()}"
        return [
            f"{date}, {minutes:.0f} minutes, scale {self._options.scale}, {self.rounds_line()}",
            f"{system}, Python {platform.python_version()}; server and client share the cores, over loopback",
            f"file systems: {', '.join(self.places)}; the server reads from {self._served.kind}",
            f"folders of small files removed before the end, for want of room: {early or 'none'}",
            *self.tool_lines(),
            f"server: {first_line(nginx_path() or 'nginx', '-v')}, a private configuration",
            f"`python benchmarks/run.py {shlex.join(_shown(self._options.arguments))}`".replace(" `", "`"),
        ]

    def rounds_line(self) -> str:
        """Say how many rounds there are, and which do not count."""
        warm_up = " after one round that does not count where runs are short" if self._warms_up else ""
        return f"medians of {self._options.repeat}{warm_up}"

    def tool_lines(self) -> Iterator[str]:
        """Say which versions of other software take part."""
        found = []
        for package in _PACKAGES:
            try:
                found.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                continue
        yield "ours with " + ", ".join(found)


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
            say(f"--work-dir {options.work_dir} is on {room.kind} too: only one is measured")
            room.remove()
        else:
            yield room


def first_line(program: str, option: str = "--version") -> str:
    """Ask a program for its version."""
    ran = subprocess.run([program, option], capture_output=True, text=True, check=False)  # noqa: S603
    line = (ran.stdout + ran.stderr).strip().partition("\n")[0].partition(" (")[0].partition(" libcurl")[0]
    return line if Path(program).name in line else f"{Path(program).name} {line}"


def _shown(arguments: Sequence[str]) -> list[str]:
    """Folders of one machine are of no interest to others."""
    return [Path(argument).name if "/" in argument else argument for argument in arguments]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
