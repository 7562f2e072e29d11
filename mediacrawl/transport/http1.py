"""Send one GET over a connection and read its response, as HTTP/1.1 is written (RFC 9112)."""

from __future__ import annotations

import io
import os
import re
import select
import socket
import ssl
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.transport.permits import HostPaused
from mediacrawl.transport.watchdog import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

    from urllib3.connectionpool import HTTPConnectionPool

    from mediacrawl.transport.permits import Admission

_BUFFER_BYTES = 64 * 1024
_RECORD_BYTES = 16 * 1024
_DO_NOT_WAIT = 2  # splice(2): SPLICE_F_NONBLOCK
_TOGETHER_BYTES = 256 * 1024  # to be moved in one go as long as they come quickly: a fifth of the turns
_QUICKLY_MS = 50


class StrictResponse(HTTPResponse):
    """The standard library's, where it does not look closely, and with larger steps."""

    fp: Any

    def __init__(self, sock: Any, *args: Any, arrived: bytes = b"", **kwargs: Any) -> None:
        """`arrived` has been read from the socket already."""
        super().__init__(_WideSocket(sock, arrived), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        super().begin()
        if self.fp is not None and self.fp.has_ended:
            raise HTTPException("the connection ended within the head of the answer")

    def _read_status(self) -> tuple[str, int, str]:
        """Of the final answer: there may be interim ones before it (RFC 9110 15.2), not only 100."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise HTTPException("101 Switching Protocols, which nobody asked for")
            if not 101 < status < 200:
                return version, status, reason
            while self.fp.readline(_LONGEST_LINE).strip(b"\r\n"):
                pass

    def settle_framing(self) -> None:
        """How the body ends (RFC 9112 6.3), where `http.client` does not look closely. Where urllib3 reads, it does.

        One length, however often it is said (RFC 9110 8.6): `http.client` takes the first, or none. And a coding but
        `chunked` would be kept as if it were the file, as would `chunked` with a blank behind it.
        """
        if str(self.status) in _NO_BODY:
            return
        codings = [
            item.strip().lower() for item in ",".join(self.headers.get_all("Transfer-Encoding", [])).split(",")
        ]
        if codings == ["chunked"]:
            self.chunked, self.chunk_left, self.length = True, None, None
            self.will_close = self._check_close()  # type: ignore[attr-defined]
            return
        if set(codings) - {"", "identity"}:
            raise HTTPException(f"Transfer-Encoding {', '.join(codings)}, which nobody asked for")
        lengths = {item.strip() for item in ",".join(self.headers.get_all("Content-Length", [])).split(",")}
        if len(lengths) > 1:
            raise HTTPException("Content-Length contained different values")
        if self.length is None and _LENGTH.fullmatch(length := lengths.pop()):
            self.length = int(length)


_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")  # RFC 9112 5.2
_LONGEST_LINE = 65_536
_NO_BODY = {"204", "304"}  # whatever their Content-Length says (RFC 9110 6.4.1)
_LENGTH = re.compile(r"[0-9]{1,18}")
_MAX_PLAIN_FIELDS = 64
# RFC 9112 4 and 5. No value ends with a blank. The group of a field is not possessive: CPython before 3.11.5 forgets
# where the last whole one ended (gh-100061), and would end the head within it.
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 (2[0-9]{2}|[3-5][0-9]{2})(?: ([\x20-\x7e]*+))?\r\n"
    rb"((?:[A-Za-z0-9!#$%&'*+.^_`|~-]++:[\t\x20-\x7e]*+(?<![\t ])\r\n)+)\r\n"
)


class PlainHead(NamedTuple):
    """A head that leaves no question open: two readers cannot read it in two ways, and the body has a length."""

    size_bytes: int
    status: int
    reason: str
    headers: dict[str, str]
    content_length: int
    will_close: bool


def plain_head(arrived: bytes) -> PlainHead | None:
    """The head that bytes begin with, if all of it is there and it is a plain one."""
    match = _PLAIN_HEAD.match(arrived)
    if match is None:
        return None
    code, reason, lines = match[1].decode(), (match[2] or b"").decode(), match[3].decode()
    if lines.count("\r\n") > _MAX_PLAIN_FIELDS:
        return None
    fields = [line.partition(":") for line in lines.split("\r\n")[:-1]]
    headers = merged((name, value.lstrip(" \t")) for name, _, value in fields)
    length = headers.get("content-length", "")
    closes = headers.get("connection", "")
    if code in _NO_BODY or "transfer-encoding" in headers or not _LENGTH.fullmatch(length):
        return None
    if "," in closes:
        return None
    return PlainHead(match.end(), int(code), reason.strip(), headers, int(length), "close" in closes.lower())


def merged(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Lower-case names; repeated fields together, as `TransportResponse` says."""
    headers: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        if key in headers:
            between = "\n" if key == "set-cookie" else ", "
            headers[key] = f"{headers[key]}{between}{value}"
        else:
            headers[key] = value
    return headers


class HTTP1Exchange:
    """One GET over a connection of a pool, and its answer.

    A head that leaves no question open is not sent through the parser for e-mail, nor its body through three layers
    of buffers: what those and urllib3 do costs more than a small file. Every other answer is read by `http.client`.

    Attributes:
        status, reason: of the head.
        headers: as `TransportResponse` has them.
    """

    status: int
    reason: str
    headers: dict[str, str]

    def __init__(
        self, pool: HTTPConnectionPool, request: bytes, timeout_s: float, admission: Admission | None = None
    ) -> None:
        """Send, and read the head.

        Raises:
            NoPermit, HostPaused: nothing was sent.
            Exception: what `http.client`, ssl and urllib3's connections raise.
        """
        self._pool: Any = pool
        self._connection: Any = _taken(pool, admission)
        self._raw: StrictResponse | None = None  # of an answer that is not plain
        self._arrived = b""  # of the body, with the head
        self._missing_bytes = 0  # of the body, those that nobody has got
        self._has_ended = self._will_close = False
        self._comes_quickly = True
        self._together_bytes = 1
        try:
            self._ask(request, timeout_s, admission)
        except HostPaused:
            self.release()
            raise
        except BaseException:
            self.close()
            self.release()
            raise

    def _ask(self, request: bytes, timeout_s: float, admission: Admission | None) -> None:
        connection = self._connection
        connection.begin(timeout_s)
        self._pool._validate_conn(connection)  # noqa: SLF001 - connects where TLS is to be checked
        if connection.sock is None:
            connection.connect()
        sock = self._sock = connection.sock
        if sock.gettimeout() != timeout_s:
            sock.settimeout(timeout_s)
        if admission is not None:
            admission.check()
        try:  # noqa: SIM105 - costs nothing
            _send(sock, request)
        except BrokenPipeError:  # the answer to half a request may be there
            pass
        with connection.watched():
            arrived = sock.recv(_BUFFER_BYTES)
            head = plain_head(arrived)
            if head is None:
                self._read_carefully(arrived)
                return
        size_bytes, self.status, self.reason, self.headers, self._missing_bytes, self._will_close = head
        self._arrived = arrived[size_bytes:]
        if len(self._arrived) > self._missing_bytes:  # what is behind it answers nothing
            self._arrived, self._will_close = self._arrived[: self._missing_bytes], True

    def _read_carefully(self, arrived: bytes) -> None:
        raw = self._raw = StrictResponse(self._sock, method="GET", arrived=arrived)
        raw.begin()
        raw.settle_framing()
        self.status = raw.status
        self.reason = raw.reason or ""
        self.headers = merged((name, _FOLD.sub(" ", value).strip(" \t")) for name, value in raw.headers.items())

    @property
    def length_remaining(self) -> int | None:
        """What is to come of the body, in bytes; None where only its end will tell."""
        return self._missing_bytes if self._raw is None else self._raw.length

    def at_hand(self, size_bytes: int) -> bytes | None:
        """The whole body, if it has so many bytes and all of them came along with the head."""
        if self._raw is not None or not size_bytes == self._missing_bytes == len(self._arrived):
            return None
        body, self._arrived, self._missing_bytes = self._arrived, b"", 0
        return body

    def read1(self, size_bytes: int, *, decode_content: bool = False) -> bytes:
        """As much as is there, once something is; nothing at the end. `IncompleteRead` where that is too early."""
        if self._raw is not None:
            return self._read1_carefully(self._raw, size_bytes)
        if not self._missing_bytes:
            return b""
        if self._arrived:
            block, self._arrived = self._arrived[:size_bytes], self._arrived[size_bytes:]
        else:
            self._wait_for(1)
            block = _received(self._sock, min(size_bytes, self._missing_bytes))
        if not block:
            raise IncompleteRead(b"", self._missing_bytes)
        self._missing_bytes -= len(block)
        return block

    def _read1_carefully(self, raw: StrictResponse, size_bytes: int) -> bytes:
        if raw.chunked:  # what is between the chunks may drip, and tell of nothing
            with self._connection.watched():
                block = raw.read1(size_bytes)
        else:
            block = raw.read1(size_bytes)
        if block:
            return block
        if raw.length:
            raise IncompleteRead(b"", raw.length)
        self._has_ended = True
        raw.close()
        return b""

    def splice(self, pipe: int, at_most: int) -> int | None:
        """Move what is there of the body, once something is, into an empty pipe, and return how much. None where that
        cannot be: TLS, chunks, no length, bytes that came along with the head. `IncompleteRead` at an end that is too
        early.
        """
        sock, missing_bytes = self._sock, self._missing_bytes
        if not missing_bytes or self._arrived or type(sock) is not socket.socket or not hasattr(os, "splice"):
            return None
        readable = select.poll()
        readable.register(sock, select.POLLIN)
        if self._comes_quickly and missing_bytes >= 2 * _TOGETHER_BYTES:
            self._wait_for(_TOGETHER_BYTES)
            self._comes_quickly = bool(readable.poll(_QUICKLY_MS))
        if not self._comes_quickly:
            self._wait_for(1)
        while True:
            with suppress(BlockingIOError):
                moved = os.splice(sock.fileno(), pipe, min(missing_bytes, at_most), flags=_DO_NOT_WAIT)
                break
            self._wait_for(1)
            if not readable.poll(1000 * (sock.gettimeout() or 0)):
                raise TimeoutError
        if not moved:
            raise IncompleteRead(b"", missing_bytes)
        self._missing_bytes -= moved
        if self._missing_bytes < 2 * _TOGETHER_BYTES:
            self._wait_for(1)
        return moved

    def _wait_for(self, size_bytes: int) -> None:
        """How much has to be there for the socket to be readable. Before the end of a body it is 1 again."""
        if size_bytes != self._together_bytes:
            self._together_bytes = size_bytes
            with suppress(OSError):  # a system that does not know it moves what is there
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)

    def drain(self, at_most_bytes: int, within_s: float) -> None:
        """Throw away the rest of the body, if it is no more than that, and comes in time.

        Raises what `read1` raises; then the connection cannot be used again.
        """
        sock, until = self._sock, time.monotonic() + within_s
        rest = self.length_remaining
        if (rest or 0) > at_most_bytes or (rest is None and not (self._raw and self._raw.chunked)):
            return
        try:
            while not self.is_through and at_most_bytes > 0 and (left_s := until - time.monotonic()) > 0:
                sock.settimeout(left_s)
                at_most_bytes -= len(self.read1(at_most_bytes))
        finally:
            sock.settimeout(self._connection.timeout)

    def shutdown(self) -> None:
        if self._connection is not None:  # else it may be somebody else's by now
            cut(self._sock)

    @property
    def is_through(self) -> bool:
        """Whether the body was read to its proper end."""
        raw = self._raw
        if raw is None:
            return not self._missing_bytes
        return self._has_ended or (raw.length == 0 and not raw.chunked)

    def isclosed(self) -> bool:
        """Whether the body was read to its proper end, and there is nothing behind it: this can be used again."""
        will_close = self._will_close if self._raw is None else self._raw.will_close
        is_through = not self._missing_bytes if self._raw is None else self.is_through
        return is_through and not will_close and not getattr(self._sock, "pending", int)()

    def close(self) -> None:
        """Not to be used again: what is left of the body would be taken for the next answer."""
        if self.is_through:
            self._connection.end()
        self._connection.close()

    def release(self) -> None:
        """The connection goes back to its pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._raw is not None:
                self._raw.close()
            pool, self._pool = self._pool, None  # urllib3 closes the connections of a pool that nobody holds any more
            if connection.sock is not None:
                connection.end()
                permit = connection.permit
                pool._put_conn(connection)  # noqa: SLF001
                if permit is not None:
                    permit.became_idle()


def _taken(pool: Any, admission: Admission | None) -> Any:
    """An idle connection of a pool that lives, else a new one that may open."""
    while True:
        connection = pool._get_conn()  # noqa: SLF001
        if connection.sock is not None or admission is None:
            return connection
        if connection.get_permit(admission, lambda: pool.pool is not None and bool(pool.pool.items)):
            return connection


def _send(sock: Any, request: bytes) -> None:
    """`sendall`, without asking first whether there is room: for what is so short there nearly always is."""
    sent = 0
    if type(sock) is socket.socket:
        with suppress(BlockingIOError):
            sent = os.write(sock.fileno(), request)
    if sent < len(request):
        sock.sendall(request[sent:])


def _received(sock: Any, at_most: int) -> bytes:
    """As much as is there, once something is.

    TLS gives one record at a time, of at most 16 KiB: what else has come is taken along, as a block costs more.
    """
    if not isinstance(sock, ssl.SSLSocket):
        return bytes(sock.recv(at_most))
    record = sock.recv(min(at_most, _RECORD_BYTES))
    records, missing_bytes = [record], at_most - len(record)
    if missing_bytes and record:
        timeout_s = sock.gettimeout()
        sock.settimeout(0)
        try:
            while missing_bytes and (record := sock.recv(min(missing_bytes, _RECORD_BYTES))):
                records.append(record)
                missing_bytes -= len(record)
        except OSError:  # nothing more is there; what has failed fails again when it is asked for
            pass
        finally:
            sock.settimeout(timeout_s)
    return b"".join(records)


class _Begun(io.RawIOBase):
    """A socket of which a little has been read already."""

    def __init__(self, arrived: bytes, rest: Any) -> None:
        super().__init__()
        self._arrived = arrived
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._arrived:
            read: int | None = self._rest.readinto(buffer)
            return read
        block, self._arrived = self._arrived[: len(buffer)], self._arrived[len(buffer) :]
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._rest.close()
        super().close()


class _WideSocket:
    """As much of a socket as an `HTTPResponse` uses."""

    def __init__(self, sock: Any, arrived: bytes) -> None:
        self._sock = sock
        self._arrived = arrived

    def makefile(self, mode: str) -> Any:
        raw = self._sock.makefile(mode, 0)
        return _HeadReader(_Begun(self._arrived, raw) if self._arrived else raw, _BUFFER_BYTES)


class _HeadReader(io.BufferedReader):
    """Knows whether there was a line to read. `http.client` takes an end within a head for the end of the head, and
    then a file without length and without a byte for a whole one.
    """

    has_ended = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.has_ended = self.has_ended or not line
        return line
