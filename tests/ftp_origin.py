"""An FTP server of pyftpdlib on loopback, with a record of the commands that it got, and with faults that have names.

with FtpOrigin(folder) as origin:
    url = origin.add("a/b.jpg", body)
    origin.faults.append(drop_after(100_000))
"""

from __future__ import annotations

import calendar
import logging
import os
import threading
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

with warnings.catch_warnings():  # of asyncore, which Python 3.12 has no longer
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.filesystems import AbstractedFS
    from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S = 60.0
logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)  # faults are told there


@dataclass
class Command:
    """A command that the server got. `user` is empty before the login."""

    name: str
    argument: str
    user: str


@dataclass
class FtpFault:
    """A fault of the server, as often as `times` says.

    Attributes:
        command: the command that it is about.
        reply: what the server replies to it; None if it carries the command out.
        read: changes what is read from a file: it gets the handler, the file, and the bytes that were asked for.
        write: changes what is written to a file: it gets the handler, the file, and the bytes.
    """

    command: str
    reply: str | None = None
    read: Callable[[Any, Any, int], bytes] | None = None
    write: Callable[[Any, Any, bytes], int] | None = None
    times: int | None = 1

    def applies(self, command: str) -> bool:
        if command != self.command or self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


def refuse(command: str, reply: str, *, times: int | None = None) -> FtpFault:
    """Reply to a command without carrying it out."""
    return FtpFault(command, reply, times=times)


def unknown(*commands: str) -> list[FtpFault]:
    """A server that does not know these commands."""
    return [refuse(command, f'500 Command "{command}" not understood.') for command in commands]


def drop_after(size_bytes: int, *, times: int | None = 1) -> FtpFault:
    """Break both connections once a file was sent up to this offset."""

    def read(handler: Any, file: Any, wanted: int) -> bytes:
        if (room := size_bytes - file.tell()) > 0:
            return file.read(min(wanted, room))
        handler.break_off()
        return b""

    return FtpFault("RETR", read=read, times=times)


def end_early(size_bytes: int, *, times: int | None = 1) -> FtpFault:
    """End the data connection in the middle, and say that all is well."""

    def read(_handler: Any, file: Any, wanted: int) -> bytes:
        return file.read(max(0, min(wanted, size_bytes - file.tell())))

    return FtpFault("RETR", read=read, times=times)


def send_more(extra: bytes, *, times: int | None = 1) -> FtpFault:
    """Send bytes behind the end of the file, as of a file that grows."""

    def read(handler: Any, file: Any, wanted: int) -> bytes:
        data = file.read(wanted)
        if not data and not handler.has_sent_more:
            handler.has_sent_more = True
            return extra
        return data

    return FtpFault("RETR", read=read, times=times)


def send_from_0(*, times: int | None = None) -> FtpFault:
    """Accept REST, and send the file from its first byte on."""

    def read(handler: Any, file: Any, wanted: int) -> bytes:
        if not handler.has_sent_more:
            handler.has_sent_more = True
            file.seek(0)
        return file.read(wanted)

    return FtpFault("RETR", read=read, times=times)


def run_at(size_bytes: int, action: Callable[[], object]) -> FtpFault:
    """Do something once a file was sent up to this offset."""
    done: list[bool] = []

    def read(_handler: Any, file: Any, wanted: int) -> bytes:
        if file.tell() >= size_bytes and not done:
            done.append(True)
            action()
        return file.read(wanted)

    return FtpFault("RETR", read=read, times=None)


def drop_upload_after(size_bytes: int, *, command: str = "STOR", times: int | None = 1) -> FtpFault:
    """Break both connections once so many bytes of a file were received."""

    def write(handler: Any, file: Any, data: bytes) -> int:
        file.write(data[: max(0, size_bytes - file.tell())])
        file.flush()
        if file.tell() >= size_bytes:
            handler.break_off()
        return len(data)

    return FtpFault(command, write=write, times=times)


class _FaultySystem(AbstractedFS):
    """Files of the server, whose `write` may be that of a fault."""

    def open(self, filename: str, mode: str) -> Any:
        file = super().open(filename, mode)
        fault = self.cmd_channel._fault
        return file if fault is None or fault.write is None else _Faulty(file, self.cmd_channel, fault)


@dataclass
class _Faulty:
    """A file whose `read` and `write` are those of a fault."""

    file: Any
    handler: Any
    fault: FtpFault

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size) if self.fault.read is None else self.fault.read(self.handler, self.file, size)

    def write(self, data: bytes) -> int:
        return self.file.write(data) if self.fault.write is None else self.fault.write(self.handler, self.file, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Handler:
    """What is added to both kinds of handlers."""

    origin: FtpOrigin
    has_sent_more = False
    use_sendfile = False
    auth_failed_timeout = 0.01
    _fault: FtpFault | None = None

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        self.origin.commands.append(Command(cmd, arg, getattr(self, "username", "")))
        self._fault = next((fault for fault in self.origin.faults if fault.applies(cmd)), None)
        if self._fault is not None and self._fault.reply is not None:
            self.respond(self._fault.reply)
            return
        super().pre_process_command(line, cmd, arg)

    def ftp_MFMT(self, path: str, timeval: str) -> None:  # noqa: N802
        """As in pyftpdlib, which calls a function that Python 3.12 warns of."""
        at = calendar.timegm(time.strptime(timeval, "%Y%m%d%H%M%S"))
        os.utime(path, (at, at))
        self.respond(f"213 Modify={timeval}; {self.fs.fs2ftp(path)}.")

    def push_dtp_data(self, data: Any, isproducer: bool = False, file: Any = None, cmd: str | None = None) -> None:
        if isproducer and file is not None and self._fault is not None and self._fault.read is not None:
            self.has_sent_more = False
            data.file = _Faulty(file, self, self._fault)
        super().push_dtp_data(data, isproducer=isproducer, file=file, cmd=cmd)

    def break_off(self) -> None:
        for channel in (self.data_channel, self):
            if channel is not None:
                shutdown = getattr(channel.socket, "sock_shutdown", channel.socket.shutdown)  # of TLS, and of TCP
                shutdown(2)


@dataclass
class FtpOrigin:
    """The server. `certificate` makes one that speaks TLS: a file with a key and a certificate.

    Attributes:
        commands: what it got, in order.
        faults: the first that applies to a command counts.
    """

    folder: Path
    user: str = "anonymous"
    password: str = ""
    certificate: Path | None = None
    tls_required: bool = False
    permissions: str = "elradfmwMT"
    commands: list[Command] = field(default_factory=list)
    faults: list[FtpFault] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        authorizer = DummyAuthorizer()
        if self.user == "anonymous":
            authorizer.add_anonymous(str(self.folder), perm="elr")
        else:
            authorizer.add_user(self.user, self.password, str(self.folder), perm=self.permissions)
        base = FTPHandler if self.certificate is None else TLS_FTPHandler
        facts: dict[str, Any] = {"origin": self, "authorizer": authorizer, "abstracted_fs": _FaultySystem}
        if self.certificate is not None:
            facts |= {
                "certfile": str(self.certificate),
                "ssl_context": None,
                "tls_control_required": self.tls_required,
                "tls_data_required": self.tls_required,
            }
        handler = type("Handler", (_Handler, base), facts)
        self._loop = IOLoop()
        self._server = FTPServer(("127.0.0.1", 0), handler, ioloop=self._loop)
        self.port = self._server.address[1]
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def _serve(self) -> None:
        while not self._is_over:
            self._loop.loop(timeout=0.02, blocking=False)
        self._server.close_all()
        self._loop.close()

    def __exit__(self, *_exc: object) -> None:
        self._is_over = True
        self._thread.join(PATIENCE_S)

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str, *, scheme: str = "ftp", login: str = "") -> str:
        return f"{scheme}://{f'{login}@' if login else ''}{self.netloc}/{quote(path)}"

    def add(self, path: str, body: bytes, *, age_s: float = 1_000.0, **url: Any) -> str:
        """Write a file that was changed `age_s` seconds ago, and return its URL."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        at = time.time() - age_s
        os.utime(file, (at, at))
        return self.url(path, **url)

    def asked(self, name: str) -> list[str]:
        """The arguments of all commands of a name."""
        return [command.argument for command in list(self.commands) if command.name == name]

    def wait_for(self, condition: Callable[[], Any], for_s: float = PATIENCE_S) -> None:
        until = time.monotonic() + for_s
        while not condition():
            assert time.monotonic() < until, "did not happen"
            threading.Event().wait(0.005)
