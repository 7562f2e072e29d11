"""Runs every contender of every workload, in turns, and checks what each has brought."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks import check, measure
from benchmarks.peers import Job
from benchmarks.results import Measurement, Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.measure import Usage
    from benchmarks.peers import Contender
    from benchmarks.rooms import Room
    from benchmarks.server import Nginx
    from benchmarks.workloads import Workload

_OUTPUT_SHOWN = 300  # characters of what a command said last


@dataclass(slots=True)
class Runner:
    """Carries out workloads, one file system after the other.

    Attributes:
        repeat: counted rounds.
        warm_up: whether the machine is made ready before each run, and one more round comes first, uncounted, where
            the workload wants it. Second runs always have that round: it is their first.
        say: shows a line of progress.
    """

    server: Nginx
    rooms: Sequence[Room]
    results: Results
    repeat: int
    warm_up: bool
    say: Callable[[str], None]
    _kept: dict[tuple[str, str, str], Path] = field(default_factory=dict)

    def run(self, workload: Workload) -> None:
        """All contenders on all file systems, A B C A B C …; versions of one, A1 A2 B1 B2, A2 A1 B2 B1, …"""
        if workload.missing:
            self._skip(workload.title, workload.missing)
            return
        present = [contender for contender in workload.contenders if self._takes_part(contender)]
        if workload.empty_memory:
            for room in self.rooms:
                room.empty_memory()
        for room in self.rooms:
            for turn in range(self.repeat + 1):
                for contender in in_turn(present, turn):
                    if turn or (self.warm_up and workload.warm_round) or contender.kept:
                        self._one(workload, contender, room, turn)

    def _takes_part(self, contender: Contender) -> bool:
        if contender.missing and contender.name not in self.results.missing:
            self._skip(contender.name, contender.missing)
        return contender.missing is None

    def _skip(self, name: str, why: str) -> None:
        self.results.missing[name] = why
        self.say(f"skipped: {name}: {why}")

    def _one(self, workload: Workload, contender: Contender, room: Room, turn: int) -> None:
        """One run, from before its room is made to after it is checked."""
        wanted = contender.wanted(turn) if contender.wanted else workload.wanted
        room.make_room(wanted.size_bytes)
        scratch = room.new_folder("run")
        job = Job(wanted, self._folder(workload, contender, room, scratch), scratch, contender.version)
        measurement = self._measured(workload, contender, room, job)
        counts = turn > 0
        if counts:
            self.results.runs[contender.key(workload.name, room.kind)].append(measurement)
        if not contender.kept:
            room.end(scratch, wanted)
        which = f"{turn}/{self.repeat}" if counts else "uncounted"
        took = f"no time: {measurement.fault}" if measurement.fault else f"{measurement.wall_s:.2f} s"
        self.say(f"{workload.name} on {room.kind}, {which}: {contender.label}: {took}")

    def _folder(self, workload: Workload, contender: Contender, room: Room, scratch: Path) -> Path:
        """Where the files go: a new folder, or the one that the rounds share."""
        if contender.kept is None:
            folder = scratch / "files"
            folder.mkdir()
            return folder
        key = (workload.name, str(room.root), f"{contender.kept} {contender.version.name}")
        if key not in self._kept:
            self._kept[key] = room.new_folder("kept")
            if contender.prepare:
                contender.prepare(self._kept[key])
        return self._kept[key]

    def _measured(self, workload: Workload, contender: Contender, room: Room, job: Job) -> Measurement:
        argv = contender.argv(job)
        output = job.scratch / "output.txt"
        if self.warm_up:
            os.sync()  # what the run before has left to write is not this one's
            room.warm(job.wanted.size_bytes)
        env = measure.common_environment(job.scratch) | dict(contender.env) | contender.version.env
        usage = measure.run(
            measure.Command(argv, contender.cwd or job.scratch, env),
            output,
            workload.timeout_s,
        )
        seen = self.server.seen()
        fault = _fault(contender, job, usage, output)
        return Measurement(
            usage.wall_s,
            usage.cpu_s,
            usage.peak_tree_bytes,
            usage.peak_process_bytes,
            seen.requests,
            seen.window_s,
            seen.connections,
            fault,
        )


def in_turn(contenders: Sequence[Contender], turn: int) -> Iterator[Contender]:
    """Give the contenders in the order of one turn. Those of one name are versions, and take turns at being first, so
    that neither profits where the machine becomes faster or slower.
    """
    for _, versions in groupby(contenders, key=lambda contender: contender.name):
        yield from list(versions)[:: 1 if turn % 2 else -1]


def _fault(contender: Contender, job: Job, usage: Usage, output: Path) -> str | None:
    if usage.status != 0:
        said = output.read_text(encoding="utf-8", errors="replace").strip()[-_OUTPUT_SHOWN:]
        return f"it ended with status {usage.status}: {said}"
    if contender.check:
        return contender.check(job, output)
    return check.fault_of_files(
        job.folder,
        job.wanted.files,
        by_name=contender.by_name,
        exact=contender.kept is None,
        beside=contender.beside,
    )
