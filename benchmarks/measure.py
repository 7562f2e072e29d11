"""Run one command and note what it took: time, CPU, memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SAMPLE_EVERY_S = 0.2  # more often, and what is measured would have to share its cores with who measures
_SIZE = re.compile(r"^Vm(RSS|HWM):\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, the folder it runs in, and what its environment has beyond the common one."""

    argv: list[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one command took.

    Attributes:
        status: exit status; negative: the signal that ended it.
        wall_s: from before the start to after the end.
        cpu_s: user and system, of the process and all its children that have ended.
        peak_tree_bytes: the largest sum of resident memory over the process and its children, sampled every 200 ms;
            pages that they share count for each.
        peak_process_bytes: the largest resident memory that one of these processes ever had.
    """

    status: int
    wall_s: float
    cpu_s: float
    peak_tree_bytes: int
    peak_process_bytes: int


def common_environment(home: Path) -> dict[str, str]:
    """No proxy, no configuration of the user, nothing that differs between two machines but PATH."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": tempfile.gettempdir(),
    }


def run(command: Command, output: Path, timeout_s: float) -> Usage:
    """Run to the end; what takes longer than `timeout_s` is killed with all its children. Raises nothing for that."""
    with output.open("wb") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - the command lines are in peers.py
            command.argv,
            cwd=command.cwd,
            env=dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        memory = _Memory(process.pid)
        alarm = threading.Timer(timeout_s, _kill, [process])
        alarm.start()
        memory.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: it is in a session of its own and has not seen it
            _kill(process)
            process.wait()
            raise
        finally:
            wall_s = time.perf_counter() - started
            alarm.cancel()
            memory.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
    return Usage(
        process.returncode, wall_s, usage.ru_utime + usage.ru_stime, memory.peak_tree_bytes, memory.peak_process_bytes
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With all its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class _Memory:
    """Samples of a process and its children.

    `ru_maxrss` will not do: Linux hands the peak of the harness down to whatever it starts.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_tree_bytes = 0
        self.peak_process_bytes = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        wait_s = 0.005  # the shortest commands end before the second sample otherwise
        while True:
            sizes = [_resident_bytes(pid) for pid in _tree(self._pid)]
            self.peak_tree_bytes = max(self.peak_tree_bytes, sum(now_bytes for now_bytes, _ in sizes))
            self.peak_process_bytes = max(self.peak_process_bytes, *(most_bytes for _, most_bytes in sizes))
            if self._ended.wait(wait_s):
                return
            wait_s = min(_SAMPLE_EVERY_S, wait_s * 2)


def _tree(pid: int) -> Iterator[int]:
    """The process and all below it. A process may end while one looks."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            children = (thread / "children").read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            yield from _tree(int(child))


def _resident_bytes(pid: int) -> tuple[int, int]:
    """Now, and the most since it was started."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0, 0
    sizes = dict(_SIZE.findall(status))
    return int(sizes.get("RSS", 0)) * 1024, int(sizes.get("HWM", 0)) * 1024
