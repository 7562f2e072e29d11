"""The pace of good hosts beside dead and silent ones: `python -m benchmarks.hosts`.

Each host has an address of its own on the loopback network and one small file. A dead host refuses connections, a
silent one accepts them and answers nothing. The same list is fetched with and without those hosts, in turns. The pace
is that of the good files: their number by the time from the start of the program to the end of the last of them, as
nginx saw it. The program is stopped then: what it still tries is patience, not pace.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness import say
from benchmarks.server import nginx_path

if TYPE_CHECKING:
    from collections.abc import Iterator

FRONTS = {
    "get": ("get", "-i", "LIST"),
    "crawl": ("crawl", "urllist", "-a", "file=LIST"),
}
_GIVE_UP_S = 300.0
_FILE_BYTES = 3000
_CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
events {{ worker_connections 20000; }}
http {{
    default_type image/png;
    log_format ends '$msec $status $request_uri';
    access_log {folder}/access.log ends;
    server {{
        listen 0.0.0.0:{port} backlog=4096;
        root {folder}/data;
    }}
}}
"""


class Run(NamedTuple):
    """One run of a program.

    Attributes:
        pace: good files a second; 0.0 if not all of them arrived in time.
        peak_descriptors: open descriptors, at most, of the program and its worker processes together.
        peak_bytes: resident memory, at most, of all of them.
        cpu_s: processor time of all of them, in seconds.
    """

    pace: float
    peak_descriptors: int
    peak_bytes: int
    cpu_s: float


def main() -> None:
    """Run the comparison, and print its lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", type=int, default=4000)
    parser.add_argument("--dead", type=int, default=500)
    parser.add_argument("--silent", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=FRONTS, action="append")
    parser.add_argument("--program", default=str(Path(sys.executable).with_name("mediacrawl")))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hosts-", dir="/dev/shm"))  # files in memory
    try:
        with _silent_port() as silent, _nginx(folder) as port:
            lists = _lists(folder, options, port, silent)
            for front in options.only or FRONTS:
                _compare(folder, front, lists, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare(folder: Path, front: str, lists: dict[str, Path], options: argparse.Namespace) -> None:
    runs: dict[str, list[Run]] = {name: [] for name in lists}
    for number in range(options.rounds + 1):
        for name, file in lists.items():
            argv = [options.program, *(word.replace("LIST", str(file)) for word in FRONTS[front])]
            run = _run(folder, argv, options.good)
            if number:  # the first round does not count
                runs[name].append(run)
    for name, series in runs.items():
        paces = ", ".join(f"{run.pace:.0f}" for run in series)
        peak = max(run.peak_descriptors for run in series), max(run.peak_bytes for run in series) // 2**20
        cpu = ", ".join(f"{run.cpu_s:.1f}" for run in series)
        say(f"{front} {name}: {paces} files/s; {cpu} s of CPU; at most {peak[0]} descriptors, {peak[1]} MiB")
    ratios = [beside.pace / alone.pace for alone, beside in zip(runs["alone"], runs["beside"], strict=True)]
    say(f"{front} beside/alone: {median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")


def _run(folder: Path, argv: list[str], good: int) -> Run:
    """Run the program until the last good file has been sent."""
    work = folder / f"work-{time.monotonic_ns()}"
    work.mkdir()
    log = folder / "access.log"
    began_at = log.stat().st_size
    began_s = time.time()
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    process = subprocess.Popen(  # noqa: S603
        argv, cwd=work, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    peak_descriptors = peak_bytes = 0
    cpu_s = 0.0
    ends: list[float] = []
    with log.open(encoding="ascii") as stream:
        stream.seek(began_at)
        while len(ends) < good and process.poll() is None and time.time() - began_s < _GIVE_UP_S:
            time.sleep(0.05)
            ends += [float(line.split()[0]) for line in stream if line.split()[1:2] == ["200"]]
            descriptors, size_bytes, cpu_s = _used(process.pid)
            peak_descriptors, peak_bytes = max(peak_descriptors, descriptors), max(peak_bytes, size_bytes)
        time.sleep(0.1)
        ends += [float(line.split()[0]) for line in stream if line.split()[1:2] == ["200"]]
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(work)
    pace = good / (max(ends) - began_s) if len(ends) >= good else 0.0
    return Run(pace, peak_descriptors, peak_bytes, cpu_s)


def _used(pid: int) -> tuple[int, int, float]:
    """Return the open descriptors, the resident bytes and the processor time of a process and its descendants."""
    descriptors = size_bytes = ticks = 0
    pids = [pid]
    for one in pids:
        try:
            descriptors += len(list(Path(f"/proc/{one}/fd").iterdir()))
            size_bytes += int(Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()[1]) * 4096
            fields = Path(f"/proc/{one}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
            for task in Path(f"/proc/{one}/task").iterdir():
                children = (task / "children").read_text(encoding="ascii")
                pids += [int(child) for child in children.split()]
        except OSError:  # it has ended
            continue
    return descriptors, size_bytes, ticks / os.sysconf("SC_CLK_TCK")


def _lists(folder: Path, options: argparse.Namespace, port: int, silent: int) -> dict[str, Path]:
    """Write both lists, in an order that is the same for each run."""
    dead = _free_port()
    good = [f"http://{_address(10, number)}:{port}/p.png" for number in range(options.good)]
    bad = [f"http://{_address(20, number)}:{dead}/p.png" for number in range(options.dead)]
    bad += [f"http://{_address(30, number)}:{silent}/p.png" for number in range(options.silent)]
    lists = {"alone": good, "beside": [*good, *bad]}
    files = {}
    for name, urls in lists.items():
        random.Random(17).shuffle(urls)  # the same order each time
        files[name] = folder / name
        files[name].write_text("".join(f"{url}\n" for url in urls), encoding="ascii")
    return files


def _address(second: int, number: int) -> str:
    return f"127.{second}.{number // 250}.{number % 250 + 1}"


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("0.0.0.0", 0))  # noqa: S104 - all of the loopback network
        return int(trial.getsockname()[1])


@contextmanager
def _silent_port() -> Iterator[int]:
    """Accept all connections to a port, and answer nothing."""
    listener = socket.create_server(("0.0.0.0", 0), backlog=4096)  # noqa: S104
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                kept.append(listener.accept()[0])
            except OSError:
                return
            if len(kept) > 4000:
                kept.pop(0).close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


@contextmanager
def _nginx(folder: Path) -> Iterator[int]:
    """Serve one file on all addresses of a port."""
    program = nginx_path()
    if program is None:
        raise SystemExit("nginx is not installed (Debian: apt-get install nginx-light)")
    (folder / "data").mkdir()
    (folder / "data/p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(_FILE_BYTES))
    port = _free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(user=user, folder=folder, port=port), encoding="utf-8")
    process = subprocess.Popen(  # noqa: S603
        [program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
    )
    try:
        while not (folder / "access.log").exists() or socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None:
                raise SystemExit("nginx does not start")
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
