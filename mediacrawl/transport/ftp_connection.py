"""A connection to an FTP server (RFC 959, 2428, 3659, 4217): commands, replies, and a data connection for each file.

`ftplib` reads the replies. The connections are made here: to the address that answers first, through proxies, with
TLS sessions that servers require for data connections, and to no address that a reply names. A data connection goes
to the host of the control connection, whatever address the reply to PASV has: a server could have this machine
connect to any other.
"""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import ConnectError
from mediacrawl.transport.addresses import PrivateAddress
from mediacrawl.transport.connecting import Winners, connect
from mediacrawl.transport.ftp_files import FtpFacts, facts_of_entry, size_of, time_of
from mediacrawl.transport.ftp_locations import Security
from mediacrawl.transport.ftp_replies import CLOSING, LoginRefused, TlsRefused, code_of, is_unknown_command
from mediacrawl.transport.ftp_tunnels import tunnel
from mediacrawl.transport.watchdog import cut

if TYPE_CHECKING:
    from mediacrawl.transport.authorities import Authorities
    from mediacrawl.transport.connection_limits import Permit
    from mediacrawl.transport.errors import Route
    from mediacrawl.transport.ftp_locations import FtpServer

_TLS_END_S = 5.0
_NOT_ALLOWED = 550
_MOST_LINES = 1_000  # of a reply; greetings have a screen of text at most
_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class FtpNetwork:
    """Makes connections to FTP servers: addresses, proxies and certificates. All threads share one."""

    def __init__(
        self, authorities: Authorities | None, *, connect_timeout_s: float, block_private: bool = False
    ) -> None:
        """Set which certificates are trusted (None: any), and whether only public addresses are connected to."""
        self._authorities = authorities
        self._block_private = block_private
        self._winners = Winners()
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self.connect_timeout_s = connect_timeout_s

    @property
    def context(self) -> ssl.SSLContext:
        """The settings of TLS; one object for all connections, as sessions are resumed only within one."""
        with self._lock:
            if self._context is None:
                self._context = _tls_context(self._authorities)
            return self._context

    def connect(self, route: Route, host: str, port: int) -> socket.socket:
        """Return a connection to a host, directly or through the proxy of the route.

        Raises:
            TransferError, OSError, HTTPException: there is no connection.
        """
        if route.proxy:
            if self._block_private:
                route.check_proxied_host()
            return tunnel(route, host, port)
        try:
            return connect(
                host, port, self.connect_timeout_s, _OPTIONS, self._winners, public_only=self._block_private
            )
        except TimeoutError:
            raise route.timed_out() from None


class FtpConnection:
    """A control connection to an FTP server.

    Not thread-safe, except for `shutdown`.

    Attributes:
        permit: the permit of this connection; None if it has none.
        idle_at: monotonic time at which the last transfer ended, in seconds.
    """

    def __init__(self, route: Route, server: FtpServer, network: FtpNetwork, permit: Permit | None = None) -> None:
        """Connect. `begin` has to be called before any other method.

        Raises:
            TransferError, OSError, HTTPException: there is no connection.
        """
        self.permit = permit
        self.idle_at = 0.0
        self.server = server
        self._route = route
        self._network = network
        self._unknown: set[str] = set()  # commands that the server does not know
        self._data: socket.socket | None = None
        self._control = _Control(context=network.context if server.security is not Security.NONE else None)
        self._control.use(network.connect(route, server.host, server.port), server.host)

    def begin(self, timeout_s: float) -> None:
        """Read the greeting, log in, and set the type of all transfers to bytes.

        Raises:
            LoginRefused, TlsRefused: the server refuses the login, or TLS.
            ftplib.Error, EOFError, OSError: the connection cannot be used.
        """
        control = self._control
        control.sock.settimeout(timeout_s)
        if self.server.security is Security.IMPLICIT:
            control.encrypt()
        try:
            control.greet()
            if self.server.security is Security.EXPLICIT:
                self._encrypt(control.auth)
            self._log_in()
        except (ftplib.error_temp, ftplib.error_perm) as error:
            raise LoginRefused(*error.args) from None
        if self.server.security is not Security.NONE:
            self._encrypt(control.prot_p)
        control.voidcmd("TYPE I")

    def _encrypt(self, ask: Any) -> None:
        try:
            ask()
        except ftplib.error_perm as error:
            raise TlsRefused(*error.args) from None

    def _log_in(self) -> None:
        """Send user and password. `ftplib` would send a password that is its own guess for an empty one."""
        reply = self._control.sendcmd(f"USER {self.server.user}")
        if reply.startswith("3") and not reply.startswith("332"):  # which wants an account
            reply = self._control.sendcmd(f"PASS {self.server.password}")
        if not reply.startswith("2"):
            raise ftplib.error_perm(reply)

    @property
    def is_connected(self) -> bool:
        """Whether the server has neither closed the idle connection nor sent a reply."""
        readable = select.poll()
        readable.register(self._control.sock, select.POLLIN)
        return not readable.poll(0)

    def set_timeout(self, timeout_s: float) -> None:
        """Set the time limit for a reply and for a byte of the data connection, in seconds."""
        self._control.sock.settimeout(timeout_s)

    def facts(self, path: str, *, is_needed: bool = False) -> FtpFacts:
        """Return the facts of a file, with the commands that the server knows: SIZE and MDTM, or MLST.

        Args:
            path: of the file.
            is_needed: whether a refusal for this moment (4xx) is an error, and not a file without facts.
        """
        size = size_of(self._asked("SIZE", path, is_needed=is_needed))
        modified = time_of(self._asked("MDTM", path, is_needed=is_needed))
        if {"SIZE", "MDTM"} & self._unknown and (size is None or modified is None):
            listed = facts_of_entry(self._asked("MLST", path, is_needed=is_needed))
            size = listed.size_bytes if size is None else size
            modified = listed.modified if modified is None else modified
        return FtpFacts(size, modified)

    def _asked(self, command: str, path: str, *, is_needed: bool = False) -> str:
        """Return the reply to a command that a server may not know; empty if the server refuses it.

        With `is_needed`, a refusal for this moment is raised.
        """
        if command in self._unknown:
            return ""
        try:
            return self._control.sendcmd(f"{command} {path}" if path else command)
        except ftplib.error_perm as error:
            if is_unknown_command(error):
                self._unknown.add(command)
        except ftplib.error_temp as error:
            if is_needed or code_of(error) == CLOSING:
                raise
        return ""

    def retrieve(self, path: str, start: int) -> tuple[socket.socket, int]:
        """Begin to receive a file, from the byte `start` on.

        Return the data connection, and the offset of its first byte: 0 if the server has no REST.

        Raises:
            ftplib.Error, EOFError, OSError, TransferError: the server refuses, or a connection is not made or broke.
        """
        data = self._data = self._open_data()
        if start and not self._restart_at(start):
            start = 0
        return self._transferring(f"RETR {path}", data), start

    def store(self, path: str, start: int, size_bytes: int) -> socket.socket:
        """Begin to send a file, from the byte `start` on, and return the data connection.

        Where the server has no REST, the bytes are appended to the file that is there, so it must have `start` bytes.

        Raises:
            ftplib.Error, EOFError, OSError, TransferError: the server refuses, or a connection is not made or broke.
        """
        self._asked("ALLO", str(size_bytes))
        data = self._data = self._open_data()
        if start and not self._restart_at(start):
            return self._transferring(f"APPE {path}", data)
        return self._transferring(f"STOR {path}", data)

    def make_folder(self, path: str) -> None:
        """Create a folder; it may be there already. Whether it is shows with the first file in it."""
        self._asked("MKD", path)

    def set_time(self, path: str, modified: str) -> None:
        """Set the time of the last change of a file, where the server knows how; see `FtpFacts.modified`.

        Servers know MFMT, or take two arguments for MDTM; with these, others ask for a file that is not there.
        """
        if not self._asked("MFMT", f"{modified} {path}"):
            self._asked("MDTM", f"{modified} {path}")

    def leave_file(self) -> None:
        """Send a command about no file: the server has carried out the commands before it, when it replies.

        A server that cannot tell a whole upload from one that was cut may wait for such a command; NOOP also comes
        in the middle of an upload.

        Raises:
            ftplib.Error: the server says that something has failed, and it is not this command.
        """
        try:
            self._control.sendcmd("PWD")
        except ftplib.error_perm as error:
            if not is_unknown_command(error) and code_of(error) != _NOT_ALLOWED:
                raise

    def _restart_at(self, start: int) -> bool:
        try:
            reply = self._control.sendcmd(f"REST {start}")
        except ftplib.error_perm:
            return False
        if not reply.startswith("3"):
            raise ftplib.error_reply(reply)
        return True

    def _transferring(self, command: str, data: socket.socket) -> socket.socket:
        """Send a command that transfers a file, and return the data connection, encrypted if it is to be."""
        reply = self._control.sendcmd(command)
        if reply.startswith("2"):  # some servers send such a reply before the one that is expected
            reply = self._control.getresp()
        if not reply.startswith("1"):
            raise ftplib.error_reply(reply)
        if self.server.security is Security.NONE:
            return data
        # Most servers accept a data connection only with the TLS session of the control connection.
        control: Any = self._control.sock
        self._data = self._network.context.wrap_socket(
            data, server_hostname=self.server.host, session=control.session
        )
        return self._data

    def _open_data(self) -> socket.socket:
        """Open a data connection in passive mode; with PASV where the port that EPSV names does not answer."""
        control = self._control.sock
        while True:
            port, is_extended = self._passive_port()
            # Through a proxy, the address of the control connection is that of the proxy.
            host = self.server.host if self._route.proxy else str(control.getpeername()[0])
            try:
                data = self._network.connect(self._route, host, port)
            except (OSError, ConnectError) as error:
                if is_extended and self._control.af == socket.AF_INET:
                    self._unknown.add("EPSV")
                    continue
                raise self._no_data(port, error) from None
            data.settimeout(control.gettimeout())
            return data

    def _no_data(self, port: int, error: OSError | ConnectError) -> Exception:
        if isinstance(error, PrivateAddress):
            return error
        why = error.reason if isinstance(error, ConnectError) else error.strerror or type(error).__name__
        return self._route.connect_error(f"no data connection to port {port} of the server: {why}")

    def _passive_port(self) -> tuple[int, bool]:
        """Return the port for a data connection, and whether EPSV has named it (RFC 2428 3, RFC 959 4.1.2)."""
        if "EPSV" not in self._unknown:
            try:
                reply = self._control.sendcmd("EPSV")
                return _port(ftplib.parse229(reply, self._control.sock.getpeername())[1]), True
            except ftplib.error_perm:
                if self._control.af != socket.AF_INET and not self._route.proxy:
                    raise
                self._unknown.add("EPSV")
        return _port(ftplib.parse227(self._control.sendcmd("PASV"))[1]), False

    def end_transfer(self) -> None:
        """Close the data connection, and read the reply that says that the transfer is complete.

        Raises:
            ftplib.Error, EOFError, OSError: it is not, or the connection broke.
        """
        data = self._data
        if isinstance(data, ssl.SSLSocket):
            with suppress(OSError):  # a server may take a connection without this end for one that was cut
                data.settimeout(_TLS_END_S)
                data.unwrap()
        self.close_data()
        self._control.voidresp()

    def become_idle(self) -> None:
        """Note that no transfer uses the connection any more."""
        self.idle_at = time.monotonic()

    def close_data(self) -> None:
        """Close the data connection, if there is one."""
        data, self._data = self._data, None
        if data is not None:
            data.close()

    def shutdown(self, _how: int = socket.SHUT_RDWR) -> None:
        """Wake up a thread that waits for the server. May be called from any thread, see `watchdog.cut`."""
        for sock in (self._data, self._control.sock):
            if sock is not None:
                cut(sock)

    def close(self, *, is_cut: bool) -> None:
        """Close both connections, and return the permit. `is_cut`: in the middle of a transfer or of a reply."""
        self.close_data()
        permit, self.permit = self.permit, None
        sock = self._control.leave(quits=not is_cut)
        if permit is not None:
            permit.close(sock, cut=is_cut)
        elif sock is not None:
            sock.close()


class _Control(ftplib.FTP_TLS):
    """The commands and replies of `ftplib`, on a connection that is given to it. Bytes are text in Latin-1."""

    sock: Any
    file: Any

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(context=context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), encoding="latin-1")

    def use(self, sock: socket.socket, host: str) -> None:
        """Take a connection. The host is that of the certificate."""
        self.sock, self.host, self.af = sock, host, sock.family

    def encrypt(self) -> None:
        """Use TLS from the first byte on."""
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.host)

    def greet(self) -> None:
        """Read the greeting. A server may announce that it will be ready in a moment (RFC 959 5.4)."""
        self.file = self.sock.makefile("r", encoding=self.encoding)
        while not (reply := self.getresp()).startswith("2"):
            if not reply.startswith("1"):
                raise ftplib.error_perm(reply)

    def getline(self) -> str:
        """Read a line. `ftplib` takes the beginning of one for a line, where the connection breaks in its middle.

        Raises:
            ftplib.Error: it is longer than any server needs.
            EOFError: the connection ended before the end of the line.
        """
        line: str = self.file.readline(self.maxline + 1)
        if len(line) > self.maxline:
            raise ftplib.Error(f"got more than {self.maxline} bytes")
        if not line.endswith("\n"):
            raise EOFError
        return line.removesuffix("\n")

    def getmultiline(self) -> str:
        """Read a reply.

        Raises:
            ftplib.error_proto: it has more lines than any server needs.
        """
        lines = [self.getline()]
        code, is_long = lines[0][:3], lines[0][3:4] == "-"
        while is_long:
            lines.append(self.getline())
            is_long = lines[-1][:3] != code or lines[-1][3:4] == "-"
            if len(lines) > _MOST_LINES:
                raise ftplib.error_proto(f"a reply of more than {_MOST_LINES:,} lines")
        return "\n".join(lines)

    def leave(self, *, quits: bool) -> Any:
        """Return the socket, which the caller has to close; with `quits`, tell the server."""
        sock, self.sock = self.sock, None
        if sock is not None and quits:
            with suppress(OSError):
                sock.settimeout(1.0)
                sock.sendall(b"QUIT\r\n")
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
            self.file = None
        return sock


def _port(number: int) -> int:
    if not 0 < number < 65_536:
        raise ftplib.error_proto(f"{number} is no port for a data connection")
    return number


def _tls_context(authorities: Authorities | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(*authorities)
    return context
