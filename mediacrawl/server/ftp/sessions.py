"""The control connection of one client (RFC 959, RFC 3659, with TLS RFC 4217), on pyftpdlib.

Each session has a thread, so that it may wait for the disk. Bytes are never changed: the type ASCII is accepted, and
means the same as binary. An upload gets its final name when `settlement` says that it is whole. If it cannot be
published then, the command that has said so is not carried out, and gets the reason as its reply.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from OpenSSL import SSL
from pyftpdlib.exceptions import AuthenticationFailed, FilesystemError
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.utils import strerror

from mediacrawl.errors import MediacrawlError
from mediacrawl.server.access_log import AccessLog, AnsweredRequest
from mediacrawl.server.ftp.data_connections import (
    ActiveConnector,
    DataConnection,
    PassiveListener,
    TlsDataConnection,
    has_left,
)
from mediacrawl.server.ftp.replies import reply_code, words_of
from mediacrawl.server.ftp.settlement import STILL_OPEN_S, Settlement, settle
from mediacrawl.server.ftp.view import SharedStore, StoreView

if TYPE_CHECKING:
    from pathlib import Path

    from mediacrawl.server.accounts.rights import Person
    from mediacrawl.server.ftp.logins import Logins
    from mediacrawl.server.ftp.transferred_files import ReceivedFile
    from mediacrawl.server.options import FtpOptions

logger = logging.getLogger(__name__)

_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_NOT_OFFERED = ("STOU", "SITE CHMOD")
_CONNECTING = frozenset({"EPRT", "EPSV", "PASV", "PORT"})
_TRANSFERS = frozenset({"APPE", "LIST", "MLSD", "NLST", "RETR", "STOR"})
# They would end a transfer without a reply to its command, or have it end as the transfer of somebody else.
_NOT_MEANWHILE = _TRANSFERS | _CONNECTING | {"AUTH", "REIN", "USER"}
_MOST_REPLIES = 1_000  # that a client has not read
_LONGEST_COMMAND = 8_192  # bytes; a path of Linux has 4,096
_WRONG = "the name or the application password is wrong: your own password is for browsers"
"""Of which pyftpdlib makes a sentence."""


class Permissions:
    """What pyftpdlib asks about people. `StoreView` decides about paths."""

    def __init__(self, session: FtpSession) -> None:
        self._session = session

    def validate_authentication(self, username: str, password: str, _session: Any) -> None:
        """Raise `AuthenticationFailed` for a wrong name or password."""
        self._session.log_in(username, password)

    def get_home_dir(self, username: str) -> str:
        """Return the first folder."""
        return "/"

    def get_msg_login(self, username: str) -> str:
        """Return what a person is told at the login."""
        return f"Welcome, {username}."

    def get_msg_quit(self, username: str) -> str:
        """Return what a person is told at the end."""
        return "Goodbye."

    def has_perm(self, username: str, perm: str, path: str | None = None) -> bool:
        """Return True: each command decides itself."""
        return True

    def get_perms(self, username: str) -> str:
        """Return the permissions that MLSD tells of each file."""
        person = self._session.person
        return "elramw" if person is not None and person.can_upload else "elr"

    def impersonate_user(self, username: str, password: str) -> None:
        """Do nothing: all files belong to the user of the server."""

    def terminate_impersonation(self, username: str) -> None:
        """Do nothing."""


class FtpSession(FTPHandler):
    """A session without TLS. Each process of the server has a subclass, see `session_class`.

    Attributes:
        person: who has logged in; None: nobody.
    """

    shared: SharedStore
    logins: Logins
    log_of_access: AccessLog | None = None

    banner = "mediacrawl"
    auth_failed_timeout = 1  # seconds; an application password cannot be guessed
    dtp_handler = DataConnection
    active_dtp = ActiveConnector
    passive_dtp = PassiveListener
    unicode_errors = "surrogateescape"  # names that are not UTF-8 stay as they are
    proto_cmds: ClassVar = {name: facts for name, facts in FTPHandler.proto_cmds.items() if name not in _NOT_OFFERED}

    def __init__(self, conn: Any, server: Any, ioloop: Any = None) -> None:
        self.person: Person | None = None
        self.authorizer = Permissions(self)
        self._revision = 0
        self._announced: int | None = None  # with ALLO, for the next upload
        self._received: ReceivedFile | None = None  # is settled by the next commands
        self._settled_later: Any = None
        # Of pyftpdlib, which sets them:
        self._restart_position = 0
        self._in_dtp_queue: Any = None
        self._out_dtp_queue: Any = None
        super().__init__(conn, server, ioloop)

    @property
    def _current_type(self) -> str:
        return "i"

    @_current_type.setter
    def _current_type(self, _asked: str) -> None:
        """Ignore the type: to change line ends would damage pictures and films."""

    def push(self, data: str) -> None:
        """Send text, also with names that are not UTF-8."""
        super(FTPHandler, self).push(data.encode(self.encoding, self.unicode_errors))

    # --- people

    def log_in(self, name: str, password: str) -> None:
        """Note who has logged in.

        Raises:
            AuthenticationFailed: the name or the password is wrong.
        """
        try:
            self._look_up(name, password)
        except MediacrawlError as error:
            raise AuthenticationFailed(str(error)) from None
        if self.person is None:
            raise AuthenticationFailed(_WRONG)

    def _look_up(self, name: str, password: str) -> None:
        self._revision = self.logins.revision()
        self.person = self.logins.find(name, password, self.remote_ip)

    def handle_auth_failed(self, msg: str, password: str) -> None:
        """Respond after a while. What was sent behind a wrong password is dropped: it may be further guesses."""
        super().handle_auth_failed(msg, password)
        self.ac_in_buffer = b""

    def abstracted_fs(self, _home: str, session: FtpSession) -> StoreView:
        """Return the store as the person sees it."""
        assert self.person is not None
        return StoreView(self.shared, self.person, session)

    def _is_still_allowed(self) -> bool:
        """Return whether the login still holds; end the session if it does not."""
        if not self.authenticated:
            return True
        before = self.person
        try:
            if self.logins.revision() == self._revision:
                return True
            self._look_up(self.username, self.password)
            said = "The login has been withdrawn"
        except MediacrawlError as error:
            self.person, said = None, str(error)
        if self.person is None:
            self.respond(f"421 {said}.")
            self.close_when_done()
            return False
        if self.person != before:
            self.fs.change_person(self.person)
        return True

    def _refusal_now(self, command: str) -> str:
        """Return the reply to a command that cannot be carried out at this moment; empty: it can.

        A transfer whose data connection has not come is forgotten.
        """
        if command not in _NOT_MEANWHILE or not self.authenticated:
            return ""
        if self.data_channel is not None and self.data_channel.cmd is not None:
            return "450 A transfer is going on: wait for its end, or send ABOR."
        self._forget_waiting_transfer()  # else the next data connection would be its own
        if command not in _TRANSFERS:
            return ""
        expected = (self.data_channel, self._dtp_acceptor, self._dtp_connector)
        if all(one is None or one._closed for one in expected):  # noqa: SLF001 - pyftpdlib has no other name for it
            return "425 There is no data connection: send PASV, EPSV, PORT or EPRT first."
        return ""

    def lose_data_connection(self, why: str) -> None:
        """Forget a data connection that has not come or was broken off, and the transfer that waits for it."""
        self._shutdown_connecting_dtp()
        if self._in_dtp_queue is not None or self._out_dtp_queue is not None:
            self._forget_waiting_transfer()
            self.respond(f"{why}: nothing was transferred.")

    def _make_epasv(self, extmode: bool = False) -> None:
        try:
            super()._make_epasv(extmode)
        except OSError as error:  # too many open files, for example
            logger.warning("no port for a data connection: %s", error)
            self.respond(f"425 There is no port for a data connection: {error.strerror}.")

    def _forget_waiting_transfer(self) -> None:
        """Forget a transfer whose data connection has not come."""
        if self._in_dtp_queue is not None:
            self._in_dtp_queue[0].close()
        self._in_dtp_queue = self._out_dtp_queue = None

    # --- commands

    def collect_incoming_data(self, data: bytes) -> None:
        """Collect the bytes of a command. One without an end ends the session."""
        if self._is_ending:
            return
        self._in_buffer.append(data)
        self._in_buffer_len += len(data)
        if self._in_buffer_len > _LONGEST_COMMAND:
            self.respond("500 The command is too long.")
            self.close_when_done()

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        """Carry out a command, once the upload before it is settled."""
        if self._is_ending or not self._reads_replies():
            return  # further commands were sent with the one that has ended the session
        if _CONTROL.search(arg):
            self.respond("501 No name has control characters.")
            return
        if not self._is_still_allowed():
            return
        command = cmd if cmd in self.proto_cmds else cmd[-4:]
        if said := self._refusal_now(command) or self._settle_by(command, arg):
            self.respond(said)
            if command == "QUIT":
                self.close_when_done()
        elif not self._is_ending:
            self._carry_out(line, cmd, arg)

    def _carry_out(self, line: str, cmd: str, arg: str) -> None:
        try:
            super().pre_process_command(line, cmd, arg)
        except MediacrawlError as error:
            self.respond(f"{reply_code(error)} {words_of(error)}.")
        except OSError as error:  # the disk fails, or there are too many open files
            logger.warning("a command of %s has failed: %s", self.username, error)
            self.respond(f"451 {strerror(error)}.")

    def _reads_replies(self) -> bool:
        """Return whether the client reads the replies; end the session if it does not."""
        if len(self.producer_fifo) <= _MOST_REPLIES:
            return True
        logger.info("a client at %s sends commands, and reads no reply", self.remote_ip)
        self.close()
        return False

    @property
    def _is_ending(self) -> bool:
        return any((self._closed, self._closing, self._quit_pending))

    def handle_timeout(self) -> None:
        """End a session that was silent for too long, also one whose client does not read the reply."""
        super().handle_timeout()
        self.close()

    def ftp_ALLO(self, line: str) -> None:
        """Note the length of the next upload, in bytes (RFC 959 4.1.3). Some clients send 0 for an unknown one."""
        digits = line.partition(" ")[0]
        if not digits.isdecimal() or len(digits) > 18:
            self.respond("501 Expected a number of bytes.")
            return
        self._announced = int(digits) or None
        self.respond("200 This is compared with what comes.")

    def ftp_SIZE(self, path: str) -> Any:
        """Tell the size of a file: of an own unfinished upload, the number of bytes that are safe.

        No size holds for a download and an upload of one name: the client may mean either.
        """
        size = self.fs.durable_size(path)
        if size is None:
            return super().ftp_SIZE(path)
        has_just_sent = self._received is not None and self._received.name == path
        if not has_just_sent and self.fs.is_published(path):
            self.respond("550 There is a file and an unfinished upload of its name: fetch or send it without a size.")
            return None
        self.respond(f"213 {size}")
        return path

    def ftp_MLSD(self, path: str) -> Any:
        """List a folder. A missing one is 550: clients take 501 for a fault of theirs (RFC 3659 7.2.1)."""
        if not self.fs.lexists(path):
            self.respond("550 No such file or directory.")
            return None
        return super().ftp_MLSD(path)

    def ftp_RNTO(self, path: str) -> Any:
        """Rename an own unfinished upload."""
        named = super().ftp_RNTO(path)
        if named is not None and self._received is not None and self._received.name == named[0]:
            self._received.rename(path)
        return named

    def ftp_MFMT(self, path: str, timeval: str) -> Any:
        """Note the time of an own unfinished upload, in UTC (draft-somers-ftp-mfxx 3)."""
        try:
            modified = datetime.strptime(timeval.partition(".")[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            self.fs.utime(path, modified.timestamp())
        except ValueError:
            self.respond("501 Expected a time as 20261231235959.")
        except (OSError, FilesystemError) as error:
            self.respond(f"550 {strerror(error)}.")
        else:
            self.respond(f"213 Modify={modified:%Y%m%d%H%M%S}; {self.fs.fs2ftp(path)}")

    def ftp_STOR(self, file: str, mode: str = "w") -> Any:
        """Receive a file, or the rest of it after REST or by APPE."""
        start, self._restart_position = self._restart_position, 0
        announced, self._announced = self._announced, None
        self.fs.prepare_upload(None if mode == "a" else start, announced)
        return super().ftp_STOR(file, mode)

    # --- uploads

    def on_file_received(self, file: str) -> None:
        """Wait for what the client does next, as the end of the data does not tell whether the file is whole."""
        received = self.data_channel.file_obj
        if received.is_received and not self._quit_pending:
            self._received = received
            self._settle_later()

    def settle_at_quit(self, file: ReceivedFile) -> str:
        """Publish an upload whose client has sent QUIT before its end, if the client still waits for the reply.

        Returns:
            A reply that says why it is not published; empty: it is, or there was no QUIT.
        """
        if not self._quit_pending:
            return ""
        if has_left(self.socket, STILL_OPEN_S):
            return f"426 {file.offset} bytes are safe, the client has left: the file may not be whole, continue it."
        self._received = file
        said = self._publish()
        self._forget_received()
        return said

    def _settle_by(self, command: str, argument: str) -> str:
        """Return the reply to a command that is not carried out, as the upload before it cannot be published."""
        if self._received is None:
            return ""
        path = argument.partition(" ")[2] if command == "MFMT" else argument
        settlement = settle(self._received.name, command, self.fs.ftp2fs(path))
        if settlement is Settlement.OPEN:
            self._settle_later()
            return ""
        said = self._publish() if settlement is Settlement.WHOLE else ""
        self._forget_received()
        return said

    def _settle_later(self) -> None:
        self._cancel_settling()
        self._settled_later = self.call_later(STILL_OPEN_S, self._publish_if_still_open)

    def _publish_if_still_open(self) -> None:
        if not has_left(self.socket):
            self._publish()

    def _publish(self) -> str:
        """Publish the last upload. If that fails, return a reply that says why: the next command tries again."""
        self._cancel_settling()
        file = self._received
        if file is None or not self._is_still_allowed():
            return ""
        try:
            path = self.fs.uploads.publish(file.upload_id)
        except MediacrawlError as error:
            said = words_of(error)
            logger.warning("the upload /%s of %s stays unfinished: %s", file.name, self.username, said)
            return f"{reply_code(error)} /{file.name} was received, and is not published: {said}."
        self._received = None
        self._log_access("PUBLISH", path, 250, file.offset)
        return ""

    def _forget_received(self) -> None:
        self._cancel_settling()
        self._received = None

    def _cancel_settling(self) -> None:
        if self._settled_later is not None and not self._settled_later.cancelled:
            self._settled_later.cancel()
        self._settled_later = None

    def flush_account(self) -> None:
        """Forget who has logged in."""
        self._forget_waiting_transfer()
        self.person = None
        super().flush_account()

    def close(self) -> None:
        """End the session. An upload that is not settled stays unfinished: the client may have been killed."""
        self._forget_received()
        super().close()

    # --- logs

    def log_transfer(
        self,
        cmd: str,
        filename: str,
        receive: bool,
        completed: bool,
        elapsed: float,
        bytes: int,  # noqa: A002
    ) -> None:
        """Write the line of a transfer."""
        command = cmd or ("STOR" if receive else "RETR")  # not set yet if a file is sent at once
        self._log_access(command, filename, 226 if completed else 426, bytes, elapsed)

    def log_exception(self, instance: Any) -> None:
        """Log an error: without a traceback if the network or the client has caused it."""
        error = sys.exc_info()[1]
        if isinstance(error, (OSError, SSL.Error)):
            logger.info("a connection of %s has failed: %r", self.remote_ip, error)
        else:
            logger.error("a session of %s has failed", self.remote_ip, exc_info=error)

    def _log_access(self, command: str, path: str, status: int, length: int, took_s: float = 0.0) -> None:
        if self.log_of_access is not None:
            self.log_of_access.note(
                AnsweredRequest(
                    client=self.remote_ip,
                    method=command,
                    path=f"/{path}",
                    version="",
                    status=status,
                    length=str(length),
                    wanted="",
                    began=time.monotonic() - took_s,
                    protocol="FTP",
                    person=self.username,
                )
            )


class TlsFtpSession(FtpSession, TLS_FTPHandler):
    """A session with TLS, once the client has asked for it."""

    dtp_handler = TlsDataConnection
    proto_cmds: ClassVar = {
        name: facts for name, facts in TLS_FTPHandler.proto_cmds.items() if name not in _NOT_OFFERED
    }

    def ftp_AUTH(self, line: str) -> None:
        """Begin TLS. What was sent before the client has seen the reply is not believed."""
        super().ftp_AUTH(line)
        self.ac_in_buffer = b""

    def ftp_PROT(self, line: str) -> None:
        """Choose whether data connections have TLS, unless they have to (RFC 4217 9)."""
        if self.tls_data_required and line.upper() == "C":
            self.respond("534 Files are sent with TLS alone here: PROT P.")
        else:
            super().ftp_PROT(line)


def session_class(
    options: FtpOptions, shared: SharedStore, logins: Logins, log: AccessLog | None
) -> type[FtpSession]:
    """Return the class of the sessions of a server."""
    own: dict[str, Any] = {
        "shared": shared,
        "logins": logins,
        "log_of_access": log,
        "masquerade_address": options.public_address or None,
        "passive_ports": None,
    }
    if options.passive_ports is not None:
        first, last = options.passive_ports
        own["passive_ports"] = range(first, last + 1)
    if options.tls_cert is None or options.tls_key is None:
        return type("OwnFtpSession", (FtpSession,), own)
    own["ssl_context"] = _tls_context(options.tls_cert, options.tls_key)
    own["tls_control_required"] = own["tls_data_required"] = options.requires_tls
    return type("OwnTlsFtpSession", (TlsFtpSession,), own)


def _tls_context(cert: Path, key: Path) -> SSL.Context:
    """Return a context of TLS 1.2.

    With TLS 1.3, a server sends tickets after the handshake. A client that uploads does not read them, and closes its
    socket with unread data: then TCP resets the connection, and the last bytes are lost. pyOpenSSL cannot turn the
    tickets off.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20")
    context.use_certificate_chain_file(str(cert))
    context.use_privatekey_file(str(key))
    return context
