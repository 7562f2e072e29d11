"""Run a server until it is stopped: check first, start its process, and start that process again if it dies.

`python -m mediacrawl.server.running OPTIONS` is the process that a person or systemd sees. It knows neither Django
nor granian, and so needs little memory and hardly ever fails.
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
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TextIO

from mediacrawl.errors import EXIT_OK, MediacrawlError, PackageMissing, StoreNotWritable, UsageProblem, disk_error
from mediacrawl.server.hosts import HostCheck
from mediacrawl.server.options import ServeOptions, bracketed
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

LOCK_NAME = "server.lock"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PREPARATION = "mediacrawl.server.preparation"
_GRANIAN = "mediacrawl.server.granian_process"
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
    check_certificate(options)
    with (
        locked_store(options.store),
        _Signals() as signals,
        reserved_port(options.host, options.port) as port,
    ):
        options = replace(options, port=port)
        status = _prepare(options, signals)
        if status != EXIT_OK or signals.count:
            return status
        _warn(options)
        return _Supervisor(options, signals).run()


def refuse_missing_packages() -> None:
    """Raise `PackageMissing` if the extra `serve` is not installed."""
    for name in ("granian", "django", "axes", "argon2"):
        if importlib.util.find_spec(name) is None:
            raise PackageMissing(f"serve needs the package {name}: pip install 'mediacrawl[serve]'")


def check_certificate(options: ServeOptions) -> None:
    """Raise `UsageProblem` if a server cannot use the certificate and the key."""
    cert, key = options.tls_cert, options.tls_key
    if cert is None and key is None:
        return
    if cert is None or key is None:
        raise UsageProblem("TLS needs both: --tls-cert FILE with the certificate, and --tls-key FILE with its key")
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


def free_port(host: str, port: int) -> int:
    """Return a port at which no other program listens: the given one, or a free one for 0.

    A program that would share the port (SO_REUSEPORT, as another granian does) is found too.

    Raises:
        UsageProblem: the port is taken, or cannot be used here.
    """
    with _socket_for(host) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server before this one
        try:
            sock.bind((host, port))
            sock.listen(1)
        except OSError as error:
            raise _cannot_listen(host, port, error) from None
        found: int = sock.getsockname()[1]
        return found


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Keep a port that `free_port` has found, also while no process of granian listens there; yield its number.

    granian shares its port (SO_REUSEPORT). A socket that is bound with the same option, and does not listen, leaves
    connections to granian, and keeps other programs out.

    Raises:
        UsageProblem: as `free_port`.
    """
    port = free_port(host, port)
    with _socket_for(host) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            try:
                sock.bind((host, port))  # without SO_REUSEADDR, which would let others listen that have it, too
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of another program end
                sock.bind((host, port))
        except OSError as error:
            raise _cannot_listen(host, port, error) from None
        yield port


def _socket_for(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)


def _cannot_listen(host: str, port: int, error: OSError) -> UsageProblem:
    if error.errno == errno.EADDRINUSE:
        said = "another program listens there. Choose another port with --port, or stop that program"
    elif error.errno == errno.EADDRNOTAVAIL:
        said = "this machine has no such address. Choose one with --host (0.0.0.0 stands for all)"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        said = "ports below 1024 need a privilege. Choose another one with --port"
    else:
        said = error.strerror or str(error)
    return UsageProblem(f"cannot listen at {bracketed(host)}:{port}: {said}")


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


class _Supervisor:
    """Keep the process of granian running."""

    def __init__(self, options: ServeOptions, signals: _Signals) -> None:
        self._options = options
        self._signals = signals
        self._has_told = False

    def run(self) -> int:
        """Run until a signal to stop comes. Return the exit status."""
        pause = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            with _child(_GRANIAN, self._options) as process:
                self._watch(process)
                if self._signals.count:
                    self._end(process)
                    return EXIT_OK
            if time.monotonic() - began > _STABLE_S:
                pause = _FIRST_PAUSE_S
            _say(f"the server process has ended ({_how(process.returncode)}), it is started again in {pause:.0f} s")
            self._sleep(pause)
            if self._signals.count:
                return EXIT_OK
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of the process, or for a signal to stop; tell the address when the server answers."""
        answers = False
        while process.poll() is None and not self._signals.count:
            if answers:
                self._signals.wait(_LONGEST_PAUSE_S)
            elif answers := _answers(self._options):
                self._tell()
            else:
                self._signals.wait(_LOOK_EVERY_S)

    def _tell(self) -> None:
        if self._has_told:
            _say("the server runs again")
            return
        self._has_told = True
        elsewhere = urls_for_others(self._options, [*ipv4_addresses(), *ipv6_addresses()])
        where = ", from other devices at ".join(filter(None, [self._options.url, " or ".join(elsewhere)]))
        _write(sys.stdout, f"{visible(str(self._options.store))} is served at {where} (Ctrl-C ends it)")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End the process and its worker. A second signal does not wait for clients."""
        process.terminate()
        deadline = time.monotonic() + _ENDED_WITHIN_S
        while process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0 or self._signals.count > 1:
                process.kill()  # its worker dies with it
                process.wait()
            else:
                self._signals.wait(left)

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._signals.count and (left := deadline - time.monotonic()) > 0:
            self._signals.wait(left)


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


def _answers(options: ServeOptions) -> bool:
    """Return whether the port accepts a connection."""
    host = options.host
    if options.listens_everywhere:
        host = "::1" if ":" in host else "127.0.0.1"
    with suppress(OSError), socket.create_connection((host, options.port), timeout=1.0):
        return True
    return False


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
