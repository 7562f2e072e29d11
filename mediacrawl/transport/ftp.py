"""The transport for ftp and ftps URLs: conditional requests of HTTP, carried out with the commands of FTP.

A request takes the same way as a request of HTTP: a connection opens only with a permit, no command is sent while the
host is paused, and the answer has a status and the validators of the file. An idle connection stays logged in, and
serves further files of the same user.
"""

from __future__ import annotations

import ftplib
import os
import select
import socket
import threading
import time
from collections import defaultdict
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import UnsupportedURL
from mediacrawl.transport.authorities import authorities_of
from mediacrawl.transport.connecting import DEFAULT_CONNECT_TIMEOUT_S
from mediacrawl.transport.connection_limits import HostPaused
from mediacrawl.transport.errors import Route
from mediacrawl.transport.ftp_connection import FtpConnection, FtpNetwork
from mediacrawl.transport.ftp_files import FtpAnswer, answer_to
from mediacrawl.transport.ftp_locations import location_of
from mediacrawl.transport.ftp_replies import BROKEN, CLOSING, code_of, failure
from mediacrawl.transport.watchdog import Cut, HeadWatchdog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from mediacrawl.transport.authorities import Authorities
    from mediacrawl.transport.base import TransportResponse
    from mediacrawl.transport.connection_limits import Admission
    from mediacrawl.transport.ftp_files import FtpFacts
    from mediacrawl.transport.ftp_locations import FtpLocation

_BLOCK_BYTES = 512 * 1024
_MOST_IDLE = 16  # for each server and user
_DO_NOT_WAIT = 2  # splice(2): SPLICE_F_NONBLOCK
# From this size on, the facts of a file are asked for again at its end: it takes long enough to be changed meanwhile.
_LONG_BYTES = 1024 * 1024
# How a server ends a connection that was idle for too long, just when it is used again.
_GONE = (EOFError, ConnectionResetError, BrokenPipeError)

_Key = tuple[Any, ...]


class FtpTransport:
    """See `Transport`. Two connections, for commands and for data, count as one connection to a host."""

    def __init__(
        self,
        *,
        verify: bool | str | Authorities = True,
        block_private: bool = False,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
    ) -> None:
        self._network = FtpNetwork(
            authorities_of(verify), connect_timeout_s=connect_timeout_s, block_private=block_private
        )
        self._watch = HeadWatchdog()
        self._lock = threading.Lock()
        self._idle: dict[_Key, list[FtpConnection]] = defaultdict(list)

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        timeout_s: float,
        admission: Admission | None = None,
    ) -> TransportResponse:
        """Send the commands for a file, see `Transport.get`. Of the headers, the conditions and the user count."""
        route = Route.of(url, timeout_s, self._network.connect_timeout_s, proxy)
        location = location_of(url, headers)
        if not location.path or location.path.endswith("/"):
            raise UnsupportedURL(url, "names a folder of an FTP server, not a file")
        while True:
            connection, is_new = self._connection(route, location, admission)
            try:
                return self._asked(route, location, headers, connection, is_new=is_new, admission=admission)
            except _GONE as error:
                if is_new:
                    raise failure(error, route, location.server) from None
            except ftplib.error_temp as error:
                if is_new or code_of(error) != CLOSING:
                    raise failure(error, route, location.server) from None
            except BROKEN as error:
                raise failure(error, route, location.server) from None
            if admission is not None:
                admission.cancel.check()

    def _connection(
        self, route: Route, location: FtpLocation, admission: Admission | None
    ) -> tuple[FtpConnection, bool]:
        """Return an idle connection, or a new one that is not logged in yet, and whether it is new."""
        key: _Key = (location.server, route.proxy)
        while True:
            while (idle := self._taken(key)) is not None:
                if idle.is_connected:
                    idle.set_timeout(route.timeout_s)
                    return idle, False
                idle.close(is_cut=False)
            permit = admission.permit(lambda: bool(self._idle.get(key))) if admission is not None else None
            if permit is None and admission is not None:
                continue  # a connection became idle meanwhile
            try:
                if admission is not None:
                    admission.check()
                return FtpConnection(route, location.server, self._network, permit), True
            except BaseException as error:
                if permit is not None:
                    permit.close(None, cut=False)
                if isinstance(error, BROKEN):
                    raise failure(error, route, location.server) from None
                raise

    def _taken(self, key: _Key) -> FtpConnection | None:
        with self._lock:
            idle = self._idle.get(key)
            connection = idle.pop() if idle else None
            if not idle:
                self._idle.pop(key, None)
            return connection

    def _asked(
        self,
        route: Route,
        location: FtpLocation,
        headers: Mapping[str, str],
        connection: FtpConnection,
        *,
        is_new: bool,
        admission: Admission | None,
    ) -> TransportResponse:
        """Send the commands for a file over a connection, which is kept or closed if they fail."""
        is_usable = False
        try:
            with self.watching(connection, route.timeout_s), _waking(connection, admission):
                if is_new:
                    connection.begin(route.timeout_s)
                is_usable = True
                if admission is not None:
                    admission.check()
                return self._answer(route, location, headers, connection)
        except BaseException as error:
            refused = isinstance(error, ftplib.error_perm | ftplib.error_temp) and code_of(error) != CLOSING
            if is_usable and (refused or isinstance(error, HostPaused)):
                connection.close_data()
                self.keep(connection, (location.server, route.proxy))
            else:
                connection.close(is_cut=True)
            raise

    def _answer(
        self, route: Route, location: FtpLocation, headers: Mapping[str, str], connection: FtpConnection
    ) -> TransportResponse:
        facts = connection.facts(location.path)
        answer = answer_to(headers, facts)
        if answer.status in {304, 416}:
            return _FtpResponse(self, route, location, facts=facts, answer=answer, connection=connection)
        data, start = connection.retrieve(location.path, answer.start)
        if start != answer.start:  # the server has no REST
            answer = FtpAnswer(200, 0, facts.size_bytes)
        return _FtpResponse(self, route, location, facts=facts, answer=answer, connection=connection, data=data)

    def keep(self, connection: FtpConnection, key: _Key) -> None:
        """Keep an idle connection for the next file of the same user."""
        connection.become_idle()
        with self._lock:
            idle = self._idle[key]
            idle.append(connection)
            surplus = idle.pop(0) if len(idle) > _MOST_IDLE else None
        if surplus is not None:
            surplus.close(is_cut=False)
        if connection.permit is not None:
            connection.permit.became_idle()

    def close_idle(self, host: str, idle_s: float) -> bool:
        """Close a connection that has been idle for at least `idle_s` seconds; see `Transport.close_idle`."""
        since = time.monotonic() - idle_s
        with self._lock:
            found = next(
                (
                    (idle, connection)
                    for idle in self._idle.values()
                    for connection in idle
                    if connection.permit is not None
                    and connection.permit.host == host
                    and connection.idle_at <= since
                ),
                None,
            )
            if found is None:
                return False
            idle, connection = found
            idle.remove(connection)
        connection.close(is_cut=False)
        return True

    def watching(self, connection: FtpConnection, timeout_s: float) -> AbstractContextManager[None]:
        """Return a context manager that cuts a connection if its block takes too long, see `HeadWatchdog`."""
        return self._watch.watching(connection, timeout_s)

    def abort(self) -> None:
        """Wake up the threads that wait for a reply."""
        self._watch.cut_all()

    def close(self) -> None:
        """Close all idle connections."""
        self._watch.close()
        with self._lock:
            idle = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
        for connection in idle:
            connection.close(is_cut=False)


def _waking(connection: FtpConnection, admission: Admission | None) -> AbstractContextManager[None]:
    return nullcontext() if admission is None else admission.waking(Cut(connection))


class _FtpResponse:
    """See `TransportResponse`. Without a data connection, the body is empty."""

    def __init__(
        self,
        transport: FtpTransport,
        route: Route,
        location: FtpLocation,
        *,
        facts: FtpFacts,
        answer: FtpAnswer,
        connection: FtpConnection,
        data: socket.socket | None = None,
    ) -> None:
        self.status = answer.status
        self.reason = ""
        self.url = route.url
        self.headers = answer.headers(facts)
        self._transport = transport
        self._route = route
        self._location = location
        self._facts = facts
        self._answer = answer
        self._connection = connection
        self._data = data
        self._received_bytes = 0
        self._is_cut: bool | None = None

    @property
    def _missing_bytes(self) -> int | None:
        """The number of bytes that are still to be received; None if the length is not known."""
        stop = self._answer.stop
        return None if stop is None else stop - self._answer.start - self._received_bytes

    def blocks(self) -> Iterator[bytes]:
        """Yield the body. The last block of a file is yielded once the server has confirmed that all was sent."""
        try:
            if self._data is not None and self._missing_bytes == 0:
                self._take(0)  # an empty file
            while self._data is not None and self._missing_bytes != 0:
                block = self._data.recv(min(_BLOCK_BYTES, self._missing_bytes or _BLOCK_BYTES))
                self._take(len(block))
                if block:
                    yield block
        except BROKEN as error:
            raise failure(error, self._route, self._location.server) from None

    def at_hand(self, _size_bytes: int) -> bytes | None:
        return None

    def splice(self, pipe: int, at_most: int) -> int | None:
        sock, missing_bytes = self._data, self._missing_bytes
        if not missing_bytes or type(sock) is not socket.socket or not hasattr(os, "splice"):
            return None
        try:
            moved = _spliced(sock, pipe, min(missing_bytes, at_most))
            self._take(moved)
        except BROKEN as error:
            raise failure(error, self._route, self._location.server) from None
        return moved

    def _take(self, new_bytes: int) -> None:
        """Count received bytes; 0 is the end of the data connection. Confirm the transfer at the end of the file.

        Raises:
            ConnectionLost: the body is shorter or longer than the server has told, or the file was changed meanwhile.
            Exception: the errors of the control connection.
        """
        self._received_bytes += new_bytes
        missing_bytes = self._missing_bytes
        if missing_bytes != 0 and new_bytes:
            return
        if missing_bytes:
            with self._replying():
                self._connection.end_transfer()  # mostly, the server says why
            raise self._route.lost(f"the data connection ended {missing_bytes} bytes before the end of the file")
        if missing_bytes is None or self._answer.stop == self._facts.size_bytes:
            self._end()

    def _end(self) -> None:
        """Confirm that the file was sent completely, and was not changed meanwhile."""
        with self._replying():
            if self._missing_bytes == 0 and self._data is not None and self._data.recv(1):
                raise self._route.lost(f"more bytes came than the {self._facts.size_bytes} that the server had told")
            self._connection.end_transfer()
            is_long = self._received_bytes >= _LONG_BYTES or self._answer.start > 0
            if is_long and self._connection.facts(self._location.path) != self._facts:
                raise self._route.lost("the file was changed while it was sent")
        self._data = None

    def _replying(self) -> AbstractContextManager[None]:
        """Cut the connection if replies take too long, even if they drip."""
        return self._transport.watching(self._connection, self._route.timeout_s)

    def abort(self) -> None:
        if self._is_cut is None:
            self._connection.shutdown()

    def close(self) -> bool:
        if self._is_cut is not None:
            return self._is_cut
        self._is_cut = self._data is not None
        if self._is_cut:
            self._connection.close(is_cut=True)
        else:
            self._transport.keep(self._connection, (self._location.server, self._route.proxy))
        return self._is_cut


def _spliced(sock: socket.socket, pipe: int, at_most: int) -> int:
    """Move received bytes into a pipe; wait for at least one byte. Return 0 at the end of the stream.

    Raises:
        TimeoutError: no byte was received within the timeout of the socket.
    """
    readable = select.poll()
    readable.register(sock, select.POLLIN)
    while True:
        if not readable.poll(1000 * (sock.gettimeout() or 0)):
            raise TimeoutError
        with suppress(BlockingIOError):
            return os.splice(sock.fileno(), pipe, at_most, flags=_DO_NOT_WAIT)
