"""Measure uploads beside `dd conv=fsync` of the same file, in turns: each ends when the file is durable and named.

The clients: PATCH of a browser, `mediacrawl push` by tus and by FTP, curl and lftp by FTP, with TLS and without.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.serve.contenders import (
    PASSWORD,
    PERSON,
    READY_WITHIN_S,
    Contender,
    Place,
    RunningServer,
    free_port,
    logged_in,
    make_certificate,
    ours_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MIB = 1 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
_NAMED_WITHIN_S = 60
_CODE_OF_PERSON = """
import sys
from pathlib import Path
from mediacrawl.server.accounts.configuration import set_up
from mediacrawl.server.options import ServeOptions
set_up(ServeOptions(store=Path(sys.argv[1])))
from mediacrawl.server.accounts.people import make_application_password
print(make_application_password(sys.argv[2], "benchmark"))
"""


class Site(NamedTuple):
    """What a client needs: the server, and who uploads.

    Attributes:
        place: what the server was started with; FTP is at its `tls_port`.
        cookie: of a session.
        password: of a program.
    """

    place: Place
    cookie: str
    password: str


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark. Return the exit status: 1 if a file has arrived with other bytes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve.uploads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--pieces", type=int, default=1, help="as many PATCH requests bring it")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="those to measure, with commas: %(default)s")
    parser.add_argument("--work-dir", default=str(Path(__file__).with_name(".work")), help="on a disk, not a tmpfs")
    parser.add_argument("--out", metavar="FILE", help="where the figures of each round go, as JSON")
    options = parser.parse_args(words)
    chosen = [name for name in options.clients.split(",") if _is_installed(name)]
    Path(options.work_dir).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="uploads-", dir=options.work_dir) as folder:
        figures = measure(Path(folder), options.mib * _MIB, options.rounds, options.pieces, chosen)
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=1) + "\n")
    for client, found in figures.items():
        for name, values in found.items():
            text = ", ".join(f"{one:.2f}" for one in values)
            print(f"{client}, {name}: {statistics.median(values):.2f} ({text})")  # noqa: T201
    return int(any(any(found["wrong files"]) for found in figures.values()))


def _is_installed(client: str) -> bool:
    program = client.partition(" ")[0]
    return program not in {"curl", "lftp"} or shutil.which(program) is not None


def measure(
    work: Path, size_bytes: int, rounds: int, pieces: int, clients: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """Return the figures of each round, by their names, for each client."""
    store, source = work / "store", work / "source.bin"
    store.mkdir()
    with source.open("wb") as file:
        for _ in range(0, size_bytes, _MIB):
            file.write(os.urandom(_MIB))
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    place = Place(store, work, *make_certificate(work), free_port(), free_port())
    _make_uploader(place)
    names = ("dd MiB/s", "upload MiB/s", "upload / dd", "CPU s/GiB", "load", "wrong files")
    figures: dict[str, dict[str, list[float]]] = {client: {name: [] for name in names} for client in clients}
    with RunningServer(Contender("mediacrawl", _command, None), place) as server:
        _wait_for_ftp(place)
        site = Site(place, logged_in(server.url, place.certificate), _application_password(store))
        for turn, client in ((turn, client) for turn in range(rounds) for client in clients):
            copied_s = _copy(source, work / "copy.bin")
            before_s = server.cpu_s()
            name = f"{turn} {client}.bin"
            sent_s = _timed(CLIENTS[client](site, source, name, pieces), store / name, size_bytes)
            cpu_s = server.cpu_s() - before_s
            with (store / name).open("rb") as file:
                is_right = hashlib.file_digest(file, "sha256").hexdigest() == digest
            (store / name).write_bytes(b"")  # the next one is no copy of it
            mib = size_bytes / _MIB
            found = (mib / copied_s, mib / sent_s, copied_s / sent_s, cpu_s * 1024 / mib, os.getloadavg()[0])
            for figure, value in zip(names, (*found, float(not is_right)), strict=True):
                figures[client][figure].append(value)
            print(f"round {turn + 1}, {client}: {found[2]:.2f}", file=sys.stderr)  # noqa: T201
    return figures


def _command(place: Place) -> list[str]:
    tls = ("--ftp-tls-cert", str(place.certificate), "--ftp-tls-key", str(place.key), "--ftp-without-tls")
    return [*ours_command(place), "--ftp-port", str(place.tls_port), *tls]


def _make_uploader(place: Place) -> None:
    words = ["user", "add", PERSON, "--upload", "-s", f"FILES_STORE={place.folder}"]
    command = [sys.executable, "-m", "mediacrawl", *words]
    subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)  # noqa: S603


def _application_password(store: Path) -> str:
    command = [sys.executable, "-c", _CODE_OF_PERSON, str(store), PERSON]
    return subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout.strip()  # noqa: S603


def _wait_for_ftp(place: Place) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", place.tls_port)):
            return
        time.sleep(0.05)
    raise TimeoutError("FTP does not answer")


def _copy(source: Path, target: Path) -> float:
    """Copy a file durably; return the seconds that it took."""
    os.sync()
    dd = shutil.which("dd") or "dd"
    began = time.perf_counter()
    subprocess.run([dd, f"if={source}", f"of={target}", "bs=1M", "conv=fsync", "status=none"], check=True)  # noqa: S603
    took = time.perf_counter() - began
    target.unlink()
    return took


def _timed(upload: Callable[[], None], arrived: Path, size_bytes: int) -> float:
    """Upload a file; return the seconds until it has its name, which it gets once it is durable."""
    os.sync()
    began = time.perf_counter()
    upload()
    while not (arrived.exists() and arrived.stat().st_size == size_bytes):
        if time.perf_counter() - began > _NAMED_WITHIN_S:
            raise TimeoutError(f"{arrived} has not arrived")
        time.sleep(0.01)
    return time.perf_counter() - began


# Clients: each returns the call that uploads a file under a name.


def _by_patch(site: Site, source: Path, name: str, pieces: int) -> Callable[[], None]:
    return lambda: _patch(site, source, name, pieces)


def _patch(site: Site, source: Path, name: str, pieces: int) -> None:
    """Send a file in requests of a session, as the page does."""
    size, port = source.stat().st_size, site.place.port
    own = {"Cookie": site.cookie, "Origin": f"http://127.0.0.1:{port}"}
    encoded = base64.b64encode(name.encode()).decode()
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
    connection.close()


def _by_push(scheme: str) -> Callable[[Site, Path, str, int], Callable[[], None]]:
    def prepared(site: Site, source: Path, name: str, _pieces: int) -> Callable[[], None]:
        link = _linked(site, source, name)
        port, folder = (site.place.port, "files/") if scheme == "http" else (site.place.tls_port, "")
        url = f"{scheme}://{PERSON}:{site.password}@127.0.0.1:{port}/{folder}"
        environment = os.environ | {"XDG_STATE_HOME": str(site.place.work / "state")}
        return _program(sys.executable, "-m", "mediacrawl", "push", str(link), url, env=environment)

    return prepared


def _by_curl(*options: str) -> Callable[[Site, Path, str, int], Callable[[], None]]:
    def prepared(site: Site, source: Path, name: str, _pieces: int) -> Callable[[], None]:
        url = f"ftp://127.0.0.1:{site.place.tls_port}/"
        person = ("-u", f"{PERSON}:{site.password}")
        return _program("curl", "-sS", "--insecure", *options, *person, "-T", str(_linked(site, source, name)), url)

    return prepared


def _by_lftp(uses_tls: str) -> Callable[[Site, Path, str, int], Callable[[], None]]:
    def prepared(site: Site, source: Path, name: str, _pieces: int) -> Callable[[], None]:
        tls = f"set ftp:ssl-allow {uses_tls}; set ftp:ssl-force {uses_tls}; set ftp:ssl-protect-data {uses_tls}"
        address = f"open -u {PERSON},{site.password} -p {site.place.tls_port} 127.0.0.1"
        return _program(
            "lftp", "-c", f'{tls}; set ssl:verify-certificate no; {address}; put "{_linked(site, source, name)}"'
        )

    return prepared


def _linked(site: Site, source: Path, name: str) -> Path:
    """Return the path of the file under another name."""
    path = site.place.work / name
    os.link(source, path)
    return path


def _program(*words: str, env: dict[str, str] | None = None) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)  # noqa: S603

    return run


CLIENTS = {
    "PATCH": _by_patch,
    "push by tus": _by_push("http"),
    "push by FTP": _by_push("ftp"),
    "curl by FTP": _by_curl(),
    "curl by FTPS": _by_curl("--ssl-reqd"),
    "lftp by FTP": _by_lftp("no"),
    "lftp by FTPS": _by_lftp("yes"),
}


if __name__ == "__main__":
    sys.exit(main())
