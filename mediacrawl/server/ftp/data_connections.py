"""Data connections: one file, or one listing, each (RFC 959 3.2; with TLS, RFC 4217 9).

What has been received is durable before the client is told so. A connection that was broken off is told from one that
the client has closed: by TLS for certain, without TLS only as far as TCP tells. See `settlement` for the rest.
"""

from __future__ import annotations

import logging
import select
import socket
import sys
from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler

from mediacrawl.server.ftp.transferred_files import ReceivedFile, StoredFile

logger = logging.getLogger(__name__)

_MOST_DRAINED = 256  # reads: more than a socket buffers

_Reply = tuple[str, Any]  # and the function that logs it


class DataConnection(DTPHandler):
    """A data connection without TLS."""

    ac_in_buffer_size = 256 * 1024

    def __init__(self, sock: Any, cmd_channel: Any) -> None:
        self._is_at_end = False
        super().__init__(sock, cmd_channel)
        if not self.connected:  # reset before it was accepted, of which pyftpdlib tells nobody
            cmd_channel.lose_data_connection("426 The data connection was broken off")

    def recv(self, buffer_size: int) -> bytes:
        """Return received bytes. Notes whether the client has closed the connection, or it was broken off."""
        if isinstance(self.socket, socket.socket):
            with suppress(OSError):
                self._is_at_end = not self.socket.recv(1, socket.MSG_PEEK)
        data: bytes = super().recv(buffer_size)
        return data

    def handle_read(self) -> None:
        """Write what has come, and break off if that fails."""
        super().handle_read()
        if not self.receive or self._closed or self.file_obj.closed:
            return
        if self.file_obj.failure is not None:
            self._end((self.file_obj.refusal(), logger.debug))
        elif self.was_closed():  # behind the bytes that were read
            self.handle_close()

    handle_read_event = handle_read  # as in the base class

    def handle_close(self) -> None:
        """Respond to the end of the connection."""
        if self._closed:
            return
        if self.receive and self.file_obj.closed:
            self.close()  # TLS is being ended
        elif self.receive:
            self._end_upload(self.file_obj)
        elif self._has_sent_less(self.file_obj):
            logger.error("%s has become shorter while it was being sent", self.file_obj.name)
            self._end(("426 The file has become shorter meanwhile.", logger.debug))
        else:
            super().handle_close()

    def close(self) -> None:
        """Close the connection, without a loss of bytes that have come."""
        self._drain()
        super().close()

    def was_closed(self) -> bool:
        """Return whether the client has closed the connection."""
        return self._is_at_end

    def _drain(self) -> None:
        """Write the bytes that the system has received already."""
        if not self.receive or self._closed or self.file_obj.closed:
            return
        with suppress(OSError, SSL.Error):  # no more of them
            for _ in range(_MOST_DRAINED):
                if not (data := self.socket.recv(self.ac_in_buffer_size)):
                    break
                self.file_obj.write(data)

    def _end_upload(self, file: ReceivedFile) -> None:
        file.close()
        if file.failure is not None:
            self._end((file.refusal(), logger.debug))
        elif not self.was_closed():
            self._end(_kept(file, "the data connection was broken off"))
        elif said := file.missing():
            self._end(_kept(file, said))
        elif said := self.cmd_channel.settle_at_quit(file):
            self._end((said, logger.debug))
        else:
            file.note_received()
            self.transfer_finished = True
            self._end((f"226 {file.offset} bytes are safe.", logger.debug))

    def _end(self, reply: _Reply) -> None:
        self._resp = reply
        self.close()

    def _has_sent_less(self, file: Any) -> bool:
        """Return whether all of a file was sent, which was shorter than before."""
        if not isinstance(file, StoredFile) or len(self.producer_fifo):
            return False
        return (file.tell() if self._offset is None else self._offset) < file.size


class TlsDataConnection(TLS_DTPHandler, DataConnection):
    """A data connection with TLS, once the client has asked for it."""

    def recv(self, buffer_size: int) -> bytes:
        """Return received bytes, those of several records of TLS: each is a call of the system and a write."""
        found = bytearray(super().recv(buffer_size))
        if self.receive and found and isinstance(self.socket, SSL.Connection):
            with suppress(OSError, SSL.Error):  # no more of them, or the end, which is seen again
                while len(found) < buffer_size and (data := self.socket.recv(buffer_size)):
                    found += data  # a record may have a single byte
        return bytes(found)

    def was_closed(self) -> bool:
        """Return whether the client has closed the connection: with TLS, by an alert (RFC 8446 6.1)."""
        if isinstance(self.socket, SSL.Connection):
            return bool(self.socket.get_shutdown() & SSL.RECEIVED_SHUTDOWN)
        return super().was_closed()

    def close(self) -> None:
        """Close the connection, without a loss of bytes that have come."""
        self._drain()  # before TLS ends
        super().close()

    def handle_error(self) -> None:
        """Respond to an error of TLS."""
        self._resp = ("426 The data connection has failed.", logger.debug)
        super().handle_error()


class PassiveListener(FTPHandler.passive_dtp):
    """Waits for the data connection after PASV or EPSV. Nothing is sent that is no reply to a command."""

    def handle_timeout(self) -> None:
        """Give up."""
        self.cmd_channel.lose_data_connection(f"425 No data connection has come within {self.timeout} s")
        self.close()

    def handle_error(self) -> None:
        """Give up: this process has as many open files as it may, for example."""
        if isinstance(error := sys.exc_info()[1], OSError):
            logger.warning("a data connection cannot be accepted: %s", error)
        else:
            self.log_exception(self)
        self.cmd_channel.lose_data_connection("425 The data connection cannot be accepted")
        self.close()


class ActiveConnector(FTPHandler.active_dtp):
    """Opens the data connection after PORT or EPRT, whose reply tells whether it was."""

    def handle_timeout(self) -> None:
        """Give up."""
        self.handle_close()


def has_left(sock: Any, within_s: float = 0.0) -> bool:
    """Return whether the other side ends a connection within some seconds, or has, even behind unread bytes."""
    end = getattr(select, "POLLRDHUP", 0)  # only Linux tells it
    watched = select.poll()
    watched.register(sock.fileno(), end)
    return bool(watched.poll(1000 * within_s))


def _kept(file: ReceivedFile, said: str) -> _Reply:
    return f"426 {file.offset} bytes are safe, {said}: the file is not whole, continue it.", logger.debug
