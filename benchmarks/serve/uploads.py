"""Measure uploads by tus beside `dd conv=fsync` of the same file, in turns: each ends when all bytes are durable."""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.serve.contenders import (
    PASSWORD,
    PERSON,
    Contender,
    Place,
    RunningServer,
    free_port,
    logged_in,
    make_certificate,
    ours_command,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_MIB = 1 << 20
_TUS = {"Tus-Resumable": "1.0.0"}


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark. Return the exit status: 1 if a file has arrived with other bytes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve.uploads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--pieces", type=int, default=1, help="as many PATCH requests bring it")
    parser.add_argument("--work-dir", default=str(Path(__file__).with_name(".work")), help="on a disk, not a tmpfs")
    parser.add_argument("--out", metavar="FILE", help="where the figures of each round go, as JSON")
    options = parser.parse_args(words)
    Path(options.work_dir).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="uploads-", dir=options.work_dir) as folder:
        figures = measure(Path(folder), options.mib * _MIB, options.rounds, options.pieces)
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=1) + "\n")
    for name, values in figures.items():
        print(f"{name}: {statistics.median(values):.2f} ({', '.join(f'{one:.2f}' for one in values)})")  # noqa: T201
    return int(any(figures["wrong files"]))


def measure(work: Path, size_bytes: int, rounds: int, pieces: int) -> dict[str, list[float]]:
    """Return the figures of each round, by their names."""
    store, source = work / "store", work / "source.bin"
    store.mkdir()
    with source.open("wb") as file:
        for _ in range(0, size_bytes, _MIB):
            file.write(os.urandom(_MIB))
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    place = Place(store, work, *make_certificate(work), free_port(), free_port())
    _make_uploader(place)
    names = ("dd MiB/s", "upload MiB/s", "upload / dd", "CPU s/GiB", "wrong files")
    figures: dict[str, list[float]] = {name: [] for name in names}
    with RunningServer(Contender("mediacrawl", ours_command, None), place) as server:
        cookie = logged_in(server.url, place.certificate)
        for turn in range(rounds):
            copied_s = _copy(source, work / "copy.bin")
            before_s = server.cpu_s()
            sent_s = _upload(source, place.port, cookie, f"{turn}.bin", pieces)
            cpu_s = server.cpu_s() - before_s
            arrived = store / f"{turn}.bin"
            with arrived.open("rb") as file:
                is_right = hashlib.file_digest(file, "sha256").hexdigest() == digest
            arrived.write_bytes(b"")  # the next one is no copy of it
            mib = size_bytes / _MIB
            found = (mib / copied_s, mib / sent_s, copied_s / sent_s, cpu_s * 1024 / mib, float(not is_right))
            for name, value in zip(names, found, strict=True):
                figures[name].append(value)
            print(f"round {turn + 1}: {found[2]:.2f}", file=sys.stderr)  # noqa: T201
    return figures


def _make_uploader(place: Place) -> None:
    words = ["user", "add", PERSON, "--upload", "-s", f"FILES_STORE={place.folder}"]
    command = [sys.executable, "-m", "mediacrawl", *words]
    subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)  # noqa: S603


def _copy(source: Path, target: Path) -> float:
    """Copy a file durably; return the seconds that it took."""
    os.sync()
    dd = shutil.which("dd") or "dd"
    began = time.perf_counter()
    subprocess.run([dd, f"if={source}", f"of={target}", "bs=1M", "conv=fsync", "status=none"], check=True)  # noqa: S603
    took = time.perf_counter() - began
    target.unlink()
    return took


def _upload(source: Path, port: int, cookie: str, name: str, pieces: int) -> float:
    """Upload a file; return the seconds until the last response, which comes when the file has its name."""
    os.sync()
    size = source.stat().st_size
    own = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"}
    encoded = base64.b64encode(name.encode()).decode()
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    announced = {"Upload-Length": str(size), "Upload-Metadata": f"filename {encoded}"}
    connection.request("POST", "/uploads/", headers=_TUS | own | announced)
    response = connection.getresponse()
    response.read()
    path = response.getheader("Location")
    assert response.status == http.HTTPStatus.CREATED, response.status
    assert path is not None
    for number in range(pieces):
        start, stop = size * number // pieces, size * (number + 1) // pieces
        connection.putrequest("PATCH", path)
        fields = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(start)}
        for field, value in (_TUS | own | fields | {"Content-Length": str(stop - start)}).items():
            connection.putheader(field, value)
        connection.endheaders()
        with source.open("rb") as file:
            connection.sock.sendfile(file, start, stop - start)
        response = connection.getresponse()
        response.read()
        assert response.status == http.HTTPStatus.NO_CONTENT, response.status
    took = time.perf_counter() - began
    connection.close()
    return took


if __name__ == "__main__":
    sys.exit(main())
