"""Run a server until it is stopped: check first, start its processes, and start each of them again if it dies.

`python -m mediacrawl.server.running OPTIONS` is the process that a person or systemd sees. It knows neither Django
nor aiohttp, and so needs little memory and hardly ever fails.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import select
import signal
import socket
import ssl
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple, Self, TextIO

from mediacrawl.errors import EXIT_OK, MediacrawlError, PackageMissing, StoreNotWritable, UsageProblem, disk_error
from mediacrawl.server.hosts import HostCheck
from mediacrawl.server.options import ServeOptions, bracketed, reachable_address
from mediacrawl.server.ports import reserved_port
from mediacrawl.server.routing import Router
from mediacrawl.store.local import HIDDEN
from mediacrawl.system.child_process import start_module
from mediacrawl.system.directories import OWN_FOLDER, Directory
from mediacrawl.system.interfaces import ipv4_addresses, ipv6_addresses
from mediacrawl.visible import visible

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path
    from types import FrameType, TracebackType

    from mediacrawl.server.options import FtpOptions

LOCK_NAME = "server.lock"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PREPARATION = "mediacrawl.server.preparation"
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_STABLE_S = 60.0  # a process that has lived this long has died of something else than the one before
_ENDED_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.05


def main() -> None:
    """Run the server that the argument describes, and exit with a status that the README documents."""
    options = ServeOptions.from_json(sys.argv[1])
    try:
        status = run_server(options)
    except MediacrawlError as error:
        _say(str(error))
        status = error.exit_status
    sys.exit(status)


def run_server(options: ServeOptions) -> int:
    """Serve until a signal comes. Return the exit status.

    Raises:
        PackageMissing: the extra is not installed.
        UsageProblem: an option is wrong, the port is taken, or another server serves the store.
        StoreNotWritable: the hidden folder of the store cannot be written.
    """
    refuse_missing_packages()
    Router(options)  # raises for wrong options
    check_certificate(options.tls_cert, options.tls_key)
    if options.ftp is not None:
        check_ftp(options.ftp)
    with locked_store(options.store), _Signals() as signals, _reserved_ports(options) as chosen:
        status = _prepare(chosen, signals)
        if status != EXIT_OK or signals.count:
            return status
        _warn(chosen)
        return _supervise(chosen, signals)


def refuse_missing_packages() -> None:
    """Raise `PackageMissing` if the extra `serve` is not installed."""
    for name in ("aiohttp", "django", "axes", "argon2", "pyftpdlib"):
        if importlib.util.find_spec(name) is None:
            raise PackageMissing(f"serve needs the package {name}: pip install 'mediacrawl[serve]'")


def check_certificate(cert: Path | None, key: Path | None, options: str = "--tls") -> None:
    """Raise `UsageProblem` if a server cannot use a certificate and its key.

    Args:
        cert: a file with the certificate, in PEM.
        key: a file with its key, in PEM.
        options: the beginning of the names of the two options that have given them.
    """
    if cert is None and key is None:
        return
    if cert is None or key is None:
        raise UsageProblem(
            f"TLS needs both: {options}-cert FILE with the certificate, and {options}-key FILE with its key"
        )
    for path in (cert, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise UsageProblem(f"cannot read {path}: {error.strerror or error}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError):
        raise UsageProblem(
            f"{cert} and {key} are not a certificate and its key, both in PEM and without a password"
        ) from None


def check_ftp(options: FtpOptions) -> None:
    """Raise `UsageProblem` if FTP cannot be offered so: above all, without TLS, where passwords can be read."""
    check_certificate(options.tls_cert, options.tls_key, "--ftp-tls")
    if options.tls_cert is None and not options.allows_plain and not ip_address(options.host).is_loopback:
        raise UsageProblem(
            f"FTP at {options.host} without TLS would show passwords and files to everybody on the way: give a "
            f"certificate with --ftp-tls-cert and --ftp-tls-key, or add --ftp-without-tls if the network is your own"
        )


@contextmanager
def _reserved_ports(options: ServeOptions) -> Iterator[ServeOptions]:
    """Keep the ports of all processes that listen; yield the options with the numbers of these ports."""
    ftp = options.ftp
    with ExitStack() as reserved:
        port = reserved.enter_context(reserved_port(options.host, options.port))
        if ftp is not None:
            ftp = replace(ftp, port=reserved.enter_context(reserved_port(ftp.host, ftp.port, "--ftp-")))
        yield replace(options, port=port, ftp=ftp)


@contextmanager
def locked_store(store: Path) -> Iterator[None]:
    """Hold the lock of the server of a store.

    Raises:
        UsageProblem: another process holds it.
        StoreNotWritable: the lock cannot be written.
    """
    try:
        folder = Directory.at(str(store)).make([HIDDEN], OWN_FOLDER)[0]
        fd = folder.open_file(LOCK_NAME, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise StoreNotWritable(
                f"cannot write in {store / HIDDEN}: {error.strerror}. The server keeps its people there: "
                f"run it as the user to whom the store belongs"
            ) from None
        raise disk_error(error, f"the lock of the store {store}") from None
    with os.fdopen(fd, "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read(20).decode("ascii", "replace").strip() or "unknown"
            raise UsageProblem(f"the store {store} is served already, by process {holder}: stop that one") from None
        file.truncate()
        file.write(f"{os.getpid()}\n".encode())
        yield


class _Signals:
    """The signals that stop the server, and the ends of child processes. They interrupt `wait`, and nothing else.

    Attributes:
        count: of the signals to stop that have come.
    """

    def __init__(self) -> None:
        self.count = 0
        self._reader, self._writer = os.pipe()
        self._before: dict[int, object] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        os.set_blocking(self._writer, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._stop)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # those that the command has held
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._reader)
        os.close(self._writer)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def wait(self, seconds: float) -> None:
        """Wait until a signal comes, at most for these seconds."""
        if select.select([self._reader], [], [], max(0.0, seconds))[0]:
            os.read(self._reader, 1000)


class _Service(NamedTuple):
    """A process of the server that is to run all the time.

    Attributes:
        module: which it runs.
        name: for the log.
        host, port: where it listens.
        announcement: what is told once it answers for the first time.
    """

    module: str
    name: str
    host: str
    port: int
    announcement: str

    @property
    def answers(self) -> bool:
        """Whether the port accepts a connection."""
        with suppress(OSError), socket.create_connection((reachable_address(self.host), self.port), timeout=1.0):
            return True
        return False


def _services(options: ServeOptions) -> list[_Service]:
    """Return the processes that the options ask for."""
    store = visible(str(options.store))
    elsewhere = urls_for_others(options, [*ipv4_addresses(), *ipv6_addresses()])
    where = ", from other devices at ".join(filter(None, [options.url, " or ".join(elsewhere)]))
    found = [
        _Service(
            "mediacrawl.server.http_process",
            "server",
            options.host,
            options.port,
            f"{store} is served at {where} (Ctrl-C ends it)",
        )
    ]
    if (ftp := options.ftp) is not None:
        tls = "with TLS" if ftp.requires_tls else "with TLS or without" if ftp.tls_cert else "without TLS"
        told = f"{store} is served by FTP {tls} at {ftp.url}"
        found.append(_Service("mediacrawl.server.ftp.process", "FTP server", ftp.host, ftp.port, told))
    return found


def _supervise(options: ServeOptions, signals: _Signals) -> int:
    """Keep the processes of the server running until a signal to stop comes. Return the exit status."""
    with ExitStack() as running:
        processes = [_Supervised(service, options, running) for service in _services(options)]
        while not signals.count:
            signals.wait(min([process.look() for process in processes]))
        _end([process.running for process in processes], signals)
    return EXIT_OK


class _Supervised:
    """A process of the server, which is started again if it ends."""

    def __init__(self, service: _Service, options: ServeOptions, running: ExitStack) -> None:
        self._service = service
        self._options = options
        self._running = running.enter_context(ExitStack())
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._starts_at = 0.0
        self._pause = _FIRST_PAUSE_S
        self._answers = self._has_answered = False

    @property
    def running(self) -> subprocess.Popen[bytes] | None:
        """The process; None while there is none."""
        return self._process

    def look(self) -> float:
        """Start the process if its time has come, and tell when it answers and when it has ended.

        Returns:
            The seconds after which to look again, unless a signal comes before.
        """
        now = time.monotonic()
        if self._process is None:
            if now < self._starts_at:
                return self._starts_at - now
            self._began, self._answers = now, False
            self._process = self._running.enter_context(_child(self._service.module, self._options))
        if self._process.poll() is not None:
            return self._note_end(self._process.returncode, now)
        if self._answers:
            return _LONGEST_PAUSE_S
        if not self._service.answers:
            return _LOOK_EVERY_S
        self._tell()
        return _LONGEST_PAUSE_S

    def _note_end(self, status: int, now: float) -> float:
        self._running.close()
        self._process = None
        if now - self._began > _STABLE_S:
            self._pause = _FIRST_PAUSE_S
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE_S)
        self._starts_at = now + pause
        _say(f"the {self._service.name} process has ended ({_how(status)}), it is started again in {pause:.0f} s")
        return pause

    def _tell(self) -> None:
        self._answers = True
        if self._has_answered:
            _say(f"the {self._service.name} runs again")
        else:
            self._has_answered = True
            _write(sys.stdout, self._service.announcement)


def _end(processes: Iterable[subprocess.Popen[bytes] | None], signals: _Signals) -> None:
    """End processes, and what they have started. A second signal does not wait for clients."""
    left = [process for process in processes if process is not None]
    for process in left:
        process.terminate()
    deadline = time.monotonic() + _ENDED_WITHIN_S
    while left := [process for process in left if process.poll() is None]:
        seconds = deadline - time.monotonic()
        if seconds <= 0 or signals.count > 1:
            for process in left:
                process.kill()  # what it has started dies with it
                process.wait()
        else:
            signals.wait(seconds)


@contextmanager
def _child(module: str, options: ServeOptions) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process of the server; kill it at the end of the block, unless it has ended."""
    end, other = socket.socketpair()
    with closing(end):
        with closing(other):
            process = start_module(module, other)
        try:
            with suppress(OSError):  # it has died already
                end.sendall(f"{options.as_json()}\n".encode())
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _prepare(options: ServeOptions, signals: _Signals) -> int:
    """Bring the databases up to date in a process that ends afterwards. Return its exit status."""
    with _child(_PREPARATION, options) as process:
        while process.poll() is None and not signals.count:
            signals.wait(_LONGEST_PAUSE_S)
        if signals.count:
            return EXIT_OK
        return process.returncode if process.returncode >= 0 else 1


def urls_for_others(options: ServeOptions, own: Iterable[IPv4Address | IPv6Address]) -> list[str]:
    """Return the addresses of the first page for other devices, if the server listens at all addresses.

    Args:
        options: of the server.
        own: the addresses of this machine.
    """
    if not options.listens_everywhere or options.trusted_proxies:  # people come by the name of the proxy
        return []
    hosts = HostCheck(options)
    versions = {4, 6} if ":" in options.host else {4}
    reached = [bracketed(str(address)) for address in own if address.version in versions]
    return [options.url_at(host) for host in reached if hosts.accepts(host)]


def _warn(options: ServeOptions) -> None:
    is_private = options.host == "::1" or options.host.startswith("127.")
    if not is_private and not options.is_secure:
        _say("without TLS, passwords can be read on the way: use --tls-cert and --tls-key, or a proxy with TLS")
    if options.ftp is not None and options.ftp.allows_plain:
        _say("by FTP without TLS, application passwords and files can be read on the way")


def _how(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def _say(what: str) -> None:
    _write(sys.stderr, f"mediacrawl: {visible(what)}")


def _write(stream: TextIO | None, line: str) -> None:
    """Write a line. The server runs on if it cannot be written: the reader is gone, or the disk of a log is full."""
    if stream is not None:
        with suppress(OSError):
            os.write(stream.fileno(), f"{line}\n".encode(errors="surrogateescape"))


if __name__ == "__main__":
    main()
