"""The servers that are compared, each started on a free port of this machine for one folder."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PERSON, PASSWORD = "anna", "correct horse battery"
READY_WITHIN_S = 60
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")

_NGINX = """
daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log; user root; worker_processes auto;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u;
  scgi_temp_path {work}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; }}
  server {{ listen 127.0.0.1:{tls_port} ssl; root {folder}; ssl_certificate {certificate}; ssl_certificate_key {key};
           ssl_protocols TLSv1.3; }}
}}
"""


class Place(NamedTuple):
    """What a server is started with: the folder, a folder for its own files, a certificate, and two ports."""

    folder: Path
    work: Path
    certificate: Path
    key: Path
    port: int
    tls_port: int


class Contender(NamedTuple):
    """A kind of server.

    Attributes:
        command: makes the command line of a server without TLS.
        tls_command: the same with TLS; the command itself if one server does both, None if TLS is not measured.
        above: the path of the folder in URLs.
        prepare: is called once, before the first start.
        cookie: returns the Cookie field of a person who has logged in at a URL, of a server with a certificate; None
            for a server without logins.
    """

    name: str
    command: Callable[[Place], list[str]]
    tls_command: Callable[[Place], list[str]] | None
    above: str = "/"
    prepare: Callable[[Place], None] = lambda _place: None
    cookie: Callable[[str, Path], str] | None = None


def nginx_command(place: Place) -> list[str]:
    """Write a configuration, and return the command."""
    (place.work / "nginx.conf").write_text(_NGINX.format(**place._asdict()))
    return ["nginx", "-c", str(place.work / "nginx.conf"), "-p", str(place.work)]


def copyparty_command(python: str) -> Callable[[Place], list[str]]:
    """Return what makes the command line of the copyparty that an interpreter has: for reading, without a login."""
    quiet = ("-q", "--no-thumb", "--no-mtag-ff", "--no-robots", "--no-reload", "--no-rescan", "--hist")

    def command(place: Place) -> list[str]:
        listens = ("-i", "127.0.0.1", "-p", str(place.port), "-v", f"{place.folder}::r")
        return [python, "-m", "copyparty", *listens, *quiet, str(place.work / "hist")]

    return command


def ours_command(place: Place) -> list[str]:
    """Return the command line of `mediacrawl serve`."""
    return _serve(place, place.port)


def ours_tls_command(place: Place) -> list[str]:
    """Return the command line of `mediacrawl serve` with TLS."""
    return _serve(place, place.tls_port, "--tls-cert", str(place.certificate), "--tls-key", str(place.key))


def _serve(place: Place, port: int, *more: str) -> list[str]:
    store = ("-s", f"FILES_STORE={place.folder}")
    return [sys.executable, "-m", "mediacrawl", "serve", *store, "--port", str(port), "--no-access-log", *more]


def make_person(place: Place) -> None:
    """Make a store with one person."""
    words = ["user", "add", PERSON, "-s", f"FILES_STORE={place.folder}"]
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mediacrawl", *words],
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )


def logged_in(url: str, certificate: Path) -> str:
    """Log in as a browser does, and return the Cookie field."""
    jar = CookieJar()
    trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(certificate)))
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), trust)
    with browser.open(f"{url}/login") as page:
        page.read()
    token = next(cookie.value for cookie in jar if "csrf" in cookie.name)
    fields = {"name": PERSON, "password": PASSWORD, "csrfmiddlewaretoken": token, "next": "/files/"}
    request = urllib.request.Request(  # noqa: S310
        f"{url}/login", urllib.parse.urlencode(fields).encode(), {"Referer": f"{url}/login"}
    )
    with browser.open(request) as page:
        page.read()
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class RunningServer:
    """A server under way, as a context.

    Attributes:
        place: what it was started with.
        url: of the server, without a path.
    """

    def __init__(self, contender: Contender, place: Place, *, tls: bool = False) -> None:
        """Start a server; its log is `<name>.log` in the folder of its own files."""
        command = contender.tls_command if tls else contender.command
        assert command is not None
        self.place = place
        self._port = place.tls_port if tls else place.port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"
        self._log = (place.work / f"{contender.name}.log").open("ab")
        self._process = subprocess.Popen(command(place), stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)  # noqa: S603

    def __enter__(self) -> Self:
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return self
            time.sleep(0.02)
        self.__exit__()
        raise RuntimeError(f"the server does not start, see {self._log.name}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self._process.kill()
        self._process.wait()
        self._log.close()

    def cpu_s(self) -> float:
        """Return the processor time of the server and its children until now, in seconds."""
        return sum(self._times(pid) for pid in self._pids()) / TICKS

    def memory_mib(self) -> float:
        """Return the memory of the server and its children now: shared pages count once for all that share them."""
        return sum(self._proportional_kib(pid) for pid in self._pids()) / 1024

    def _pids(self) -> list[int]:
        waiting, found = [self._process.pid], []
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return found

    @staticmethod
    def _times(pid: int) -> int:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return sum(map(int, fields[11:15]))  # also of children that have ended
        return 0

    @staticmethod
    def _proportional_kib(pid: int) -> int:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return 0


def contenders(copyparty: str | None) -> list[Contender]:
    """Return the servers that are installed; `copyparty` is the interpreter that has it."""
    found = [Contender("mediacrawl", ours_command, ours_tls_command, "/files/", make_person, logged_in)]
    if shutil.which("nginx"):
        found.append(Contender("nginx", nginx_command, nginx_command))
    if copyparty:
        found.append(Contender("copyparty", copyparty_command(copyparty), None))
    return found


def make_certificate(work: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 with openssl, and return it and its key."""
    certificate, key = work / "certificate.pem", work / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    subprocess.run(  # noqa: S603
        [  # noqa: S607
            "openssl",
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            *curve,
            *subject,
            "-out",
            str(certificate),
            "-keyout",
            str(key),
        ],
        check=True,
        capture_output=True,
    )
    ssl.create_default_context().load_verify_locations(certificate)
    return certificate, key
