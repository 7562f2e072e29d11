"""nginx with a configuration of its own, on a free port, started and stopped here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

LIMIT_BYTES_PER_S = 10 * 1024 * 1024
_LOG_FLUSH_S = 0.05
_START_S = 10.0

# `sendfile_max_chunk`: without it the first megabytes of each limited answer come at once.
_CONFIGURATION = """
{user}
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    types {{ text/html html; image/png png; }}
    default_type application/octet-stream;
    log_format bench '$msec $request_time $status $bytes_sent $request_uri';
    access_log {folder}/access.log bench buffer=256k flush={flush_ms}ms;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 10000000;
    open_file_cache max=1000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {data};
        location /limited/ {{
            alias {data}/;
            limit_rate {limit};
            sendfile_max_chunk 256k;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What nginx saw of one run.

    Attributes:
        requests: all, whatever the answer.
        window_s: from the start of the first request to the end of the last; None without requests.
        connections: the most requests under way at once; times are rounded to 1 ms, so for long ones only.
    """

    requests: int
    window_s: float | None
    connections: int = 0


def nginx_path() -> str | None:
    """Debian puts it where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nginx:
    """Serves `data` while the `with` block runs; with `limited/` before the path, each connection is limited.

    Raises:
        RuntimeError: it cannot be started, with what it says.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder = folder
        self._data = data
        self._log_at_bytes = 0
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.limited_url = f"{self.url}/limited"

    def __enter__(self) -> Self:
        program = nginx_path()
        if program is None:
            raise RuntimeError("nginx is not installed (Debian: apt-get install nginx-light)")
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "nginx.conf"
        configuration.write_text(self._configuration(), encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603
            [program, "-p", str(self._folder), "-c", str(configuration), "-e", str(self._folder / "error.log")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def seen(self) -> Seen:
        """What was seen since this was called last."""
        time.sleep(3 * _LOG_FLUSH_S)  # every run waits for it before: nothing else writes the log
        log = self._folder / "access.log"
        with log.open("rb") as stream:
            stream.seek(self._log_at_bytes)
            lines = stream.read().decode("utf-8", "replace").splitlines()
            self._log_at_bytes = stream.tell()
        return seen_in(lines)

    def _configuration(self) -> str:
        return _CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=self._folder,
            data=self._data,
            port=self._port,
            limit=LIMIT_BYTES_PER_S,
            flush_ms=int(1000 * _LOG_FLUSH_S),
        )

    def _wait(self) -> None:
        give_up_at = time.monotonic() + _START_S
        while time.monotonic() < give_up_at and self._process.poll() is None:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        log = self._folder / "error.log"
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise RuntimeError(f"nginx does not start: {said.strip()[-500:]}")


def seen_in(lines: list[str]) -> Seen:
    """Read the lines of the access log: end and duration of each request, in seconds, are its first columns."""
    times = [(float(end), float(took)) for end, took, _ in (line.split(" ", 2) for line in lines)]
    if not times:
        return Seen(0, None)
    window_s = max(end for end, _ in times) - min(end - took for end, took in times)
    return Seen(len(times), window_s, _most_at_once(times))


def _most_at_once(times: list[tuple[float, float]]) -> int:
    """Whoever ends in the millisecond in which another begins was there before it."""
    events = [(round(1000 * end), -1) for end, _ in times] + [(round(1000 * (end - took)), 1) for end, took in times]
    return max(accumulate(change for _, change in sorted(events)))


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
