"""The measurements of one server. Each returns figures by name; what is counted is that of the server alone."""

from __future__ import annotations

import array
import http.client
import json
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.serve.contenders import RunningServer

FILM, FILM_BYTES = "film.bin", 512 << 20
SMALL, SMALL_BYTES = "small/%05ld.bin", 4096
CLIENTS = 200
SMALL_CLIENTS = 50
TLS_CLIENTS = 8
RANGE_BYTES = 1 << 20
_PAGE_EVERY_S = 0.05
_GIB = 1 << 30


class Scale(NamedTuple):
    """How much is measured."""

    seconds: float = 60
    small_files: int = 10_000


def make_files(folder: Path, scale: Scale) -> None:
    """Write a film, in which each 8 bytes are their own offset, and small files."""
    (folder / "small").mkdir(parents=True)
    with (folder / FILM).open("wb") as film:
        for start in range(0, FILM_BYTES, 1 << 20):
            film.write(array.array("Q", range(start, start + (1 << 20), 8)).tobytes())
    for number in range(scale.small_files):
        (folder / (SMALL % number)).write_bytes(number.to_bytes(8, "little") * (SMALL_BYTES // 8))


def compile_load(work: Path) -> Path:
    """Compile the load generator."""
    program = work / "load"
    source = Path(__file__).with_name("load.c")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)  # noqa: S603, S607
    return program


class Load:
    """The load generator, for one server.

    Args:
        program: the compiled one.
        above: the path of the folder in URLs.
        cookie: of a person who has logged in; empty where there is no login.
    """

    def __init__(self, program: Path, server: RunningServer, above: str, cookie: str = "") -> None:
        self._server = server
        self._above = above
        self._headers = {"Cookie": cookie} if cookie else {}
        self._program = program

    def _start(self, mode: str, connections: int, path: str, **options: float) -> subprocess.Popen[str]:
        words = [f"--{name}={value}" for name, value in options.items()]
        headers = [f"--header={name}: {value}" for name, value in self._headers.items()]
        where = (f"--port={self._server.place.port}", f"--path={self._above}{path}", f"--connections={connections}")
        return subprocess.Popen(  # noqa: S603
            [str(self._program), mode, *where, *words, *headers], stdout=subprocess.PIPE, text=True
        )

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> dict[str, float]:
        said, _ = process.communicate()
        found: dict[str, float] = json.loads(said)
        return found

    def ranges(self, scale: Scale) -> dict[str, float]:
        """Measure clients that read ranges of one file, and meanwhile the pages of another person and the memory."""
        memory: list[float] = []
        with self._pages() as waits:
            before_s = self._server.cpu_s()
            load = self._start("ranges", CLIENTS, FILM, seconds=scale.seconds, size=FILM_BYTES, length=RANGE_BYTES)
            while load.poll() is None:
                time.sleep(min(1.0, scale.seconds / 10))
                memory.append(self._server.memory_mib())
            found = self._end(load)
            cpu_s = self._server.cpu_s() - before_s
        third = memory[len(memory) // 3 : -1] or memory  # once all clients are there, and before they leave
        return {
            "ranges MiB/s": found["mib_per_s"],
            "ranges errors": found["errors"],
            "CPU s/GiB": cpu_s / (found["bytes"] / _GIB),
            "page p95 ms": _quantile(waits, 0.95),
            "memory MiB": max(memory),
            "memory growth MiB": third[-1] - third[0],
        }

    def stalled(self, scale: Scale) -> dict[str, float]:
        """Measure the pages of a person while other clients have stopped reading."""
        seconds = scale.seconds / 4
        load = self._start("stall", CLIENTS, FILM, seconds=seconds)
        with self._pages() as waits:
            time.sleep(seconds * 0.8)
        errors = self._end(load)["errors"]
        return {"page p95 ms beside 200 stalled": _quantile(waits, 0.95), "stalled errors": errors}

    def small(self, scale: Scale) -> dict[str, float]:
        """Measure small files, each once."""
        found = self._end(self._start("list", SMALL_CLIENTS, SMALL, count=scale.small_files))
        return {"small files/s": found["requests"] / found["seconds"], "small errors": found["errors"]}

    @contextmanager
    def _pages(self) -> Iterator[list[float]]:
        """Ask for the page of a folder again and again; yield the times in ms, complete at the end."""
        waits: list[float] = []
        is_over = threading.Event()
        thread = threading.Thread(target=self._ask_pages, args=(waits, is_over))
        thread.start()
        try:
            yield waits
        finally:
            is_over.set()
            thread.join()

    def _ask_pages(self, waits: list[float], is_over: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.place.port, timeout=60)
        while not is_over.wait(_PAGE_EVERY_S):
            began = time.perf_counter()
            try:
                connection.request("GET", self._above, headers=self._headers | {"Accept": "text/html"})
                response = connection.getresponse()
                response.read()
                right = response.status == http.HTTPStatus.OK
            except (OSError, http.client.HTTPException):
                right = False
                connection.close()
            waits.append((time.perf_counter() - began) * 1e3 if right else float("inf"))
        connection.close()


def tls_cpu(server: RunningServer, above: str, cookie: str) -> dict[str, float]:
    """Measure the processor time for a film over TLS 1.3, read by several curl."""
    url = f"https://127.0.0.1:{server.place.tls_port}{above}{FILM}"
    before_s = server.cpu_s()
    header = ("-H", f"Cookie: {cookie}") if cookie else ()
    command = ["curl", "-sS", "-f", "--tlsv1.3", "--http1.1", "--cacert", str(server.place.certificate), *header]
    running = [subprocess.Popen([*command, "-o", "/dev/null", url]) for _ in range(TLS_CLIENTS)]  # noqa: S603
    errors = sum(one.wait() != 0 for one in running)
    return {"CPU s/GiB TLS": (server.cpu_s() - before_s) / (TLS_CLIENTS * FILM_BYTES / _GIB), "TLS errors": errors}


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")
