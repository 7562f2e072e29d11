"""nginx with a configuration of its own, on a free port, started and stopped here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
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
    {tls}
}}
"""

# The same files over TLS. All clients are new enough for 1.3, so that no two are compared over different versions.
_TLS_CONFIGURATION = """
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        root {data};
        ssl_protocols TLSv1.3;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
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

    Attributes:
        url: of `data`.
        limited_url: of `data`, with the limit.
        tls_url: of `data`, over TLS.
        certificate: the certificate of `tls_url`, which is the bundle that clients have to trust too.
        no_tls: why there is no TLS, if so.

    Raises:
        RuntimeError: it cannot be started, with what it says.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder = folder
        self._data = data
        self._log_at_bytes = 0
        self._port, self._tls_port = _free_ports(2)
        self.url = f"http://127.0.0.1:{self._port}"
        self.limited_url = f"{self.url}/limited"
        self.tls_url = f"https://127.0.0.1:{self._tls_port}"
        self.certificate = folder / "certificate.pem"
        self.no_tls: str | None = None

    def __enter__(self) -> Self:
        program = nginx_path()
        if program is None:
            raise RuntimeError("nginx is not installed (Debian: apt-get install nginx-light)")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.no_tls = _without_tls(program) or make_certificate(self.certificate, self._key)
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

    @property
    def _key(self) -> Path:
        return self._folder / "key.pem"

    def _configuration(self) -> str:
        tls = _TLS_CONFIGURATION.format(
            port=self._tls_port, data=self._data, certificate=self.certificate, key=self._key
        )
        return _CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=self._folder,
            data=self._data,
            port=self._port,
            tls="" if self.no_tls else tls,
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


def _free_ports(count: int) -> list[int]:
    """Find ports that differ: all are held until the last is found."""
    with ExitStack() as stack:
        trials = [stack.enter_context(socket.socket()) for _ in range(count)]
        for trial in trials:
            trial.bind(("127.0.0.1", 0))
        return [int(trial.getsockname()[1]) for trial in trials]


def _without_tls(program: str) -> str | None:
    ran = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)  # noqa: S603
    return None if "http_ssl_module" in ran.stdout + ran.stderr else "this nginx was built without TLS"


def make_certificate(certificate: Path, key: Path) -> str | None:
    """Write a certificate for 127.0.0.1 and localhost that vouches for itself. Return why there is none, if so."""
    program = shutil.which("openssl")
    if program is None:
        return "openssl is not installed (Debian: apt-get install openssl)"
    extensions = (
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "keyUsage=critical,digitalSignature,keyCertSign",
        "extendedKeyUsage=serverAuth",
    )
    argv = [program, "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"]
    argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(key), "-out", str(certificate)]
    argv += [word for extension in extensions for word in ("-addext", extension)]
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode == 0:
        return None
    return f"openssl makes no certificate: {' '.join(ran.stderr.split())[-300:]}"
