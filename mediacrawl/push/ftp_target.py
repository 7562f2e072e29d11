"""An FTP server as the target of files, plain or with TLS."""

from __future__ import annotations

import ftplib
import os
import re
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from mediacrawl.errors import TransferError, redact_url
from mediacrawl.push.targets import Sent
from mediacrawl.transport.errors import Route
from mediacrawl.transport.ftp_connection import FtpConnection, FtpNetwork
from mediacrawl.transport.ftp_locations import location_of
from mediacrawl.transport.ftp_replies import BROKEN, CLOSING, code_of, failure
from mediacrawl.transport.proxies import environment_proxies, proxy_for
from mediacrawl.transport.watchdog import HeadWatchdog
from mediacrawl.urls import Origin, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.push.http_client import NetworkOptions
    from mediacrawl.push.local_files import LocalFile
    from mediacrawl.push.push_state import Pushed, PushState
    from mediacrawl.push.targets import Errand
    from mediacrawl.transport.ftp_files import FtpFacts

_BLOCK_BYTES = 256 * 1024
_FINISHING_S = 600.0  # how long a server may need at the end of a file: it syncs and perhaps hashes a large one
_BREAKS = re.compile(r"[\r\n]")
_OVERLAP_BYTES = 64 * 1024  # read back and compared, where the server lets a part be read


class _Way(Enum):
    """What is to be done for a file."""

    SKIP = auto()  # it is there
    BEGIN = auto()  # from its first byte on
    GO_ON = auto()  # from where the bytes on the server end
    REFUSE = auto()  # another file has its name


class _Plan(NamedTuple):
    way: _Way
    start: int = 0


def plan_of(file: LocalFile, remote: FtpFacts | None, pushed: Pushed) -> _Plan:
    """Return what is to be done for a file, given the facts of the file of its name on the server, if there is one.

    Only a file that this program has begun to send is gone on with or replaced; any other one of the name stays.
    """
    if remote is None:
        return _Plan(_Way.BEGIN)
    size = remote.size_bytes
    is_known = pushed.is_done or (_is_of_time(remote, file) and not pushed.is_begun)
    if is_known and size == file.size_bytes:
        return _Plan(_Way.SKIP)
    if not pushed.is_begun or pushed.is_done:
        return _Plan(_Way.REFUSE)
    if size is None or size > file.size_bytes:
        return _Plan(_Way.BEGIN)
    return _Plan(_Way.GO_ON, size)


def _is_of_time(remote: FtpFacts, file: LocalFile) -> bool:
    return remote.modified is not None and remote.modified[:14] == time_of_file(file)


def time_of_file(file: LocalFile) -> str:
    """Return the time of the last change as FTP writes it (RFC 3659 2.3), in UTC and whole seconds.

    It is empty for a year that does not have four digits.
    """
    try:
        at = datetime.fromtimestamp(file.mtime_ns // 10**9, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{at.year:04}{at:%m%d%H%M%S}"  # the year of `%Y` has no zeros at its beginning


class FtpTarget:
    """See `PushTarget`. The URL is that of a folder. Each thread has a connection of its own."""

    def __init__(self, url: str, network: NetworkOptions, state: PushState) -> None:
        """Prepare; no connection is made before the first file. The URL is one that `location_of` reads."""
        origin = Origin.of(url)
        assert origin is not None
        self._url = redact_url(url)
        authorization = network.netrc.authorization(origin.host)
        self._location = location_of(url, {"Authorization": authorization} if authorization else {})
        self._stall_s = network.stall_s
        proxy = proxy_for(environment_proxies(), origin)
        self._route = Route.of(self._url, network.stall_s, network.connect_timeout_s, proxy)
        self._network = FtpNetwork(
            network.authorities, connect_timeout_s=network.connect_timeout_s, block_private=network.block_private
        )
        self._state = state
        self._watch = HeadWatchdog()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[FtpConnection] = set()
        self._folders: set[str] = set()  # that were created or found

    def place(self, file: LocalFile) -> str:
        """Return the URL of the file."""
        return resolve(f"{self._url.removesuffix('/')}/", quote(file.name, errors="surrogateescape"))

    def send(self, errand: Errand) -> Sent:
        """Send a file, or what the server lacks of it; see `PushTarget.send`."""
        try:
            connection = self._connection()
            with errand.cancel.watch(_Shutdown(connection)):
                sent = self._sent(errand, connection)
        except BROKEN as error:
            self._drop()
            errand.cancel.check()
            route = self._route._replace(url=self.place(errand.opened.file))
            raise failure(error, route, self._location.server) from None
        except BaseException:
            self._drop()
            raise
        return sent

    def _sent(self, errand: Errand, connection: FtpConnection) -> Sent:
        file = errand.opened.file
        place, path = self.place(file), self._path(file.name)
        if _BREAKS.search(file.name):
            raise TransferError(place, "a line end in the name of the file, which FTP cannot send")
        pushed = self._state.find(file, place)
        self._make_folders(connection, file.name)
        with self._replying(connection):
            plan = plan_of(file, self._facts(connection, path), pushed)
        if plan.way is _Way.SKIP:
            return Sent(place, is_present=True)
        if plan.way is _Way.REFUSE:
            raise TransferError(place, "another file of this name is there: remove it, or name another folder")
        start, is_file = self._agreed(errand, connection, path, plan.start) if plan.way is _Way.GO_ON else (0, False)
        errand.confirm(start)
        self._state.note(file, place, pushed._replace(is_begun=True))
        if start < file.size_bytes or not is_file:
            self._stored(errand, connection, path, start)
        self._finish(errand, connection, path)
        self._state.note(file, place, pushed._replace(is_done=True))
        return Sent(place)

    def _stored(self, errand: Errand, connection: FtpConnection, path: str, start: int) -> None:
        with self._replying(connection):
            data = connection.store(path, start, errand.opened.file.size_bytes)
        for block in errand.blocks(start, _BLOCK_BYTES):
            _send(data, block)
        with self._replying(connection, _FINISHING_S):
            connection.end_transfer()

    def _finish(self, errand: Errand, connection: FtpConnection, path: str) -> None:
        """Set the time of a file that was sent, and check that the server has all of it.

        Raises:
            TransferError: it has another size.
        """
        file = errand.opened.file
        errand.opened.check()
        with self._replying(connection, _FINISHING_S):
            if at := time_of_file(file):
                connection.set_time(path, at)
            connection.leave_file()
            size = connection.facts(path).size_bytes
        if size not in {None, file.size_bytes}:
            raise TransferError(self.place(file), f"{file.size_bytes} bytes were sent, and the server has {size}")
        errand.confirm(file.size_bytes)

    @contextmanager
    def _replying(self, connection: FtpConnection, within_s: float = 0.0) -> Iterator[None]:
        """Cut a connection on which the replies to the commands of a block take too long, even if they drip."""
        within_s = within_s or self._stall_s
        connection.set_timeout(within_s)
        with self._watch.watching(connection, within_s):
            yield
        connection.set_timeout(self._stall_s)

    def _agreed(self, errand: Errand, connection: FtpConnection, path: str, stop: int) -> tuple[int, bool]:
        """Return up to where the file on the server is a part of the file to be sent, and whether it can be read.

        Its last bytes are read and compared: if they differ, that is 0. If the server lets none be read, `stop`
        counts, the size that it told; the server may then wait for the end of an upload of which all bytes have come.
        It may still be writing what came over an earlier connection, so that there are more.
        """
        start = max(0, stop - _OVERLAP_BYTES)
        if start == stop:
            return stop, False
        with self._replying(connection):
            try:
                data, offset = connection.retrieve(path, start)
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if code_of(error) == CLOSING:
                    raise
                connection.close_data()
                return stop, False
            is_same, size = True, errand.opened.file.size_bytes
            while block := data.recv(_BLOCK_BYTES):
                end = offset + len(block)
                if end > size:
                    raise self._route.lost(f"the server sends more than the {size} bytes of the file")
                is_same = is_same and block == errand.opened.read(offset, end)
                offset = end
            connection.end_transfer()
        return (offset if is_same and offset >= stop else 0), True

    @staticmethod
    def _facts(connection: FtpConnection, path: str) -> FtpFacts | None:
        """Return the facts of a file; None if there is none, or its server does not tell."""
        facts = connection.facts(path, is_needed=True)
        return facts if facts.size_bytes is not None or facts.modified is not None else None

    def _path(self, name: str) -> str:
        folder = self._location.path
        below = os.fsencode(name).decode("latin-1")
        return f"{folder.removesuffix('/')}/{below}" if folder and folder != "/" else f"{folder}{below}"

    def _make_folders(self, connection: FtpConnection, name: str) -> None:
        """Create the folders that a file is in, below that of the URL, and that one."""
        path = self._path(name)
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folder and folder not in self._folders:
                with self._replying(connection):
                    connection.make_folder(folder)
                self._folders.add(folder)

    # Connections

    def _connection(self) -> FtpConnection:
        """Return the connection of this thread."""
        known: FtpConnection | None = getattr(self._local, "connection", None)
        if known is not None and known.is_connected:
            return known
        self._drop()
        connection = FtpConnection(self._route, self._location.server, self._network)
        with self._lock:
            self._open.add(connection)
        self._local.connection = connection
        with self._watch.watching(connection, self._stall_s):
            connection.begin(self._stall_s)
        return connection

    def _drop(self) -> None:
        connection: FtpConnection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with self._lock:
                self._open.discard(connection)
            with suppress(OSError):
                connection.close(is_cut=True)

    def close(self) -> None:
        """Close the connections. No thread may be sending."""
        self._watch.close()
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with suppress(OSError):
                connection.close(is_cut=False)


def _send(data: Any, block: bytes) -> None:
    """Send a block. The time limit is that for a byte; with `sendall` it would be that for all of them."""
    left = memoryview(block)
    while left:
        left = left[data.send(left) :]


class _Shutdown(NamedTuple):
    """Wakes up a thread that waits for a connection."""

    connection: FtpConnection

    def abort(self) -> None:
        """Shut the connection down."""
        self.connection.shutdown()
