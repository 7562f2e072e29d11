"""Send a GET request over a connection and read its response in the format of HTTP/1.1 (RFC 9112)."""

from __future__ import annotations

import io
import os
import re
import select
import socket
import ssl
import time
from contextlib import nullcontext, suppress
from http import HTTPStatus
from http.client import (
    BadStatusLine,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    IncompleteRead,
    RemoteDisconnected,
)
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.transport.chunks import LONGEST_CHUNK_LINE, MALFORMED_CHUNK, ChunkLines, check_end
from mediacrawl.transport.connection_limits import HostPaused
from mediacrawl.transport.fields import InvalidHead, combined
from mediacrawl.transport.head import (
    BARE_CR,
    MAX_HEAD_BYTES,
    MAX_LINES,
    check_size,
    read_head,
    status_line,
    too_large,
)
from mediacrawl.transport.watchdog import Cut, cut
from mediacrawl.visible import text_of_field

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from urllib3.connectionpool import HTTPConnectionPool

    from mediacrawl.transport.connection_limits import Admission

_BUFFER_BYTES = 64 * 1024
_RECORD_BYTES = 16 * 1024
_DO_NOT_WAIT = 2  # splice(2): SPLICE_F_NONBLOCK
_TOGETHER_BYTES = 256 * 1024  # moved in one step while the body is received quickly: a fifth of the steps
_QUICKLY_MS = 50


class StrictResponse(HTTPResponse):
    """The response of `http.client` with another reader of heads and of chunks, and a larger read buffer.

    urllib3 creates it too, for sessions and proxies.
    """

    fp: Any

    def __init__(self, sock: Any, *args: Any, arrived: bytes = b"", **kwargs: Any) -> None:
        """Initialise the response. `arrived` holds the bytes that were already read from the socket."""
        super().__init__(_WideSocket(sock, arrived), *args, **kwargs)  # type: ignore[arg-type]
        self._tls = sock if hasattr(sock, "suppress_ragged_eofs") else None
        self._room_bytes = MAX_HEAD_BYTES
        self._status_line = self._size_line = b""  # the size line is that of the current chunk
        self._chunk_lines = ChunkLines()
        self.fields: dict[str, str] = {}

    def begin(self, **_limits: Any) -> None:
        """Read the head of the final response, and determine where its body ends.

        Raises:
            InvalidHead: the head cannot be read with certainty.
            HTTPException: the response is no response of HTTP, or the connection ended within the head.
        """
        if self.headers is not None:
            return
        self._read_status()
        head = read_head([self._status_line, *self._lines()])
        if head.version > 19:
            raise InvalidHead("the response is of another version of HTTP than 1")
        self.version = 10 if head.version < 11 else 11
        self.code = self.status = head.status
        self.reason = head.reason
        self.fields = head.headers
        self.headers = self.msg = HTTPMessage()
        has_length = _LENGTH.fullmatch(head.headers.get("content-length", ""))
        for name, value in head.fields:
            if has_length or name.lower() != "content-length":  # urllib3 refuses it even where there is no body
                self.headers.set_raw(name, value)
        self.chunked, self.chunk_left, self.length = head.is_chunked, None, head.length_bytes
        is_open_ended = not self.chunked and self.length is None
        self.will_close = is_open_ended or self._check_close()
        if is_open_ended and self._tls is not None:
            # Only the end of the connection ends the body: it must be one that the server meant (RFC 9112 9.8).
            self._tls.suppress_ragged_eofs = False

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the final response; `http.client` calls this method for a CONNECT request, too.

        Interim responses may precede the final response (RFC 9110 15.2). Empty lines before a response are skipped
        (RFC 9112 2.2).
        """
        while True:
            line = self._line()
            if line in _LINE_ENDS:
                continue
            if line[:5].upper() != b"HTTP/":
                raise BadStatusLine(text_of_field(line.decode("latin-1")))
            version, status, reason = status_line(line.decode("latin-1"))
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise InvalidHead("101 Switching Protocols, which was not requested")
            if status >= 200:
                self._status_line = line
                return f"HTTP/{version / 10}", status, reason
            self._lines()

    def _lines(self) -> list[bytes]:
        """Read the lines up to the empty line that ends the fields."""
        lines: list[bytes] = []
        while (line := self._line()) not in _LINE_ENDS:
            lines.append(line)
            if len(lines) > MAX_LINES:
                check_size(lines)
            if line.startswith(b"\r"):  # an end of the head for some recipients: no further line may come
                raise InvalidHead(BARE_CR)
        return lines

    def _line(self) -> bytes:
        line: bytes = self.fp.readline(self._room_bytes + 1)
        self._room_bytes -= len(line)
        if self._room_bytes < 0:
            raise too_large()
        if line.endswith(b"\n"):
            return line
        if not line and self._room_bytes == MAX_HEAD_BYTES:
            raise RemoteDisconnected("Remote end closed connection without response")
        raise HTTPException("the connection ended within the head of the response")

    def read1(self, n: int = -1) -> bytes:
        """Read the received bytes of the body, up to `n`; wait for at least one byte.

        Raises:
            IncompleteRead: the connection ended before the end of the body.
        """
        is_cut = False
        try:
            return super().read1(n)
        except ssl.SSLEOFError:
            is_cut = True
        if is_cut:  # raised here, the error has no context: it is no failure of TLS
            raise IncompleteRead(b"")
        return b""

    def _get_chunk_left(self) -> int | None:
        """Return the number of bytes that are left of the current chunk; None after the last chunk.

        `http.client` accepts any two bytes as the end of a chunk, and as its size whatever `int` accepts.

        Raises:
            IncompleteRead: the connection ended before the last chunk.
            HTTPException: a chunk is malformed (RFC 9112 7.1), or chunk extensions are the most of the body.
        """
        left: int | None = self.chunk_left
        if left:
            return left
        if left is not None:
            check_end(self._size_line, self._chunk_line())
        self._size_line = self._chunk_line()
        left = self._chunk_lines.size(self._size_line)
        if left == 0:
            self._skip_trailers()
            self._close_conn()  # type: ignore[attr-defined]
            left = None
        self.chunk_left = left
        return left

    def _chunk_line(self) -> bytes:
        line: bytes = self.fp.readline(LONGEST_CHUNK_LINE + 1)
        if not line.endswith(b"\n"):
            self._close_conn()  # type: ignore[attr-defined]
            raise HTTPException(MALFORMED_CHUNK) if len(line) > LONGEST_CHUNK_LINE else IncompleteRead(b"")
        return line

    def _skip_trailers(self) -> None:
        """Read the trailer section. The body is complete, even if the connection ends now (RFC 9112 8)."""
        room_bytes = _MAX_TRAILER_BYTES
        while room_bytes > 0 and (line := self.fp.readline(room_bytes)):
            if line in _LINE_ENDS:
                return
            room_bytes -= len(line)
        self.will_close = True


_LINE_ENDS = (b"\r\n", b"\n")
_MAX_TRAILER_BYTES = 64 * 1024
_NO_BODY = {"204", "304"}  # regardless of Content-Length (RFC 9110 6.4.1)
_LENGTH = re.compile(r"[0-9]{1,18}")
_MAX_PLAIN_FIELDS = 64
# RFC 9112 4 and 5. No value ends with a blank. The group of a field is not possessive: CPython before 3.11.5 loses
# the end of the last complete repetition (gh-100061) and would end the head within that field.
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 (2[0-9]{2}|[3-5][0-9]{2})(?: ([\x20-\x7e]{0,8000}+))?\r\n"
    rb"((?:[A-Za-z0-9!#$%&'*+.^_`|~-]++:[\t\x20-\x7e]*+(?<![\t ])\r\n)+)\r\n"
)


class PlainHead(NamedTuple):
    """An unambiguous head: two parsers cannot interpret it differently, and the body has a known length."""

    size_bytes: int
    status: int
    reason: str
    headers: dict[str, str]
    content_length: int
    will_close: bool


def plain_head(arrived: bytes) -> PlainHead | None:
    """Return the head at the start of `arrived`, or None if the head is incomplete or not a plain one."""
    match = _PLAIN_HEAD.match(arrived)
    if match is None:
        return None
    code, reason, lines = match[1].decode(), (match[2] or b"").decode(), match[3].decode()
    if lines.count("\r\n") > _MAX_PLAIN_FIELDS:
        return None
    fields = [line.partition(":") for line in lines.split("\r\n")[:-1]]
    headers = combined((name, value.lstrip(" \t")) for name, _, value in fields)
    length = headers.get("content-length", "")
    closes = headers.get("connection", "")
    if code in _NO_BODY or "transfer-encoding" in headers or not _LENGTH.fullmatch(length):
        return None
    if "," in closes:
        return None
    return PlainHead(match.end(), int(code), reason.strip(), headers, int(length), "close" in closes.lower())


class HTTP1Exchange:
    """A GET request over a connection of a pool, and its response.

    A plain head (see `PlainHead`) does not pass through the e-mail parser of `http.client`, and its body does not
    pass through three layers of buffers: the parser, the buffers and urllib3 cost more than the transfer of a small
    file. Every other response is read by `http.client`.

    Attributes:
        status, reason: status code and reason phrase of the head.
        headers: in the form of `TransportResponse.headers`.
    """

    status: int
    reason: str
    headers: dict[str, str]

    def __init__(
        self, pool: HTTPConnectionPool, request: bytes, timeout_s: float, admission: Admission | None = None
    ) -> None:
        """Send the request and read the head of the response.

        Raises:
            NoPermit, HostPaused: nothing was sent.
            Exception: any error of `http.client`, of ssl or of the connections of urllib3.
        """
        self._pool: Any = pool
        self._raw: StrictResponse | None = None  # of a response without a plain head
        self._arrived = b""  # bytes of the body that were received with the head
        self._missing_bytes = 0  # bytes of the body that no caller has read yet
        self._has_ended = self._will_close = False
        self._comes_quickly = True
        self._together_bytes = 1
        if not self._is_answered(_taken(pool, admission), request, timeout_s, admission):
            self._pool = pool
            self._is_answered(_new(pool, admission), request, timeout_s, admission)

    def _is_answered(self, connection: Any, request: bytes, timeout_s: float, admission: Admission | None) -> bool:
        """Send the request over a connection and read the head of the response.

        Return False if the server has closed an idle connection at the moment at which it was used again: a GET
        request may be repeated then, over a new connection (RFC 9110 9.2.2, RFC 9112 9.3.1).
        """
        self._connection: Any = connection
        is_reused = self._connection.sock is not None
        try:
            self._ask(request, timeout_s, admission)
        except HostPaused:
            self.release()
            raise
        except (RemoteDisconnected, ConnectionResetError):
            self.close()
            self.release()
            if not is_reused:
                raise
        except BaseException:
            self.close()
            self.release()
            raise
        else:
            return True
        self._raw = None
        if admission is not None:
            admission.cancel.check()
        return False

    def _ask(self, request: bytes, timeout_s: float, admission: Admission | None) -> None:
        connection = self._connection
        connection.begin(timeout_s)
        self._pool._validate_conn(connection)  # noqa: SLF001 - connects if TLS is to be verified
        if connection.sock is None:
            connection.connect()
        sock = self._sock = connection.sock
        if sock.gettimeout() != timeout_s:
            sock.settimeout(timeout_s)
        if admission is not None:
            admission.check()
        try:  # noqa: SIM105 - a try block costs nothing
            _send(sock, request)
        except BrokenPipeError:  # the server may have responded to a partial request
            pass
        with connection.watched(), waking(sock, admission):
            arrived = sock.recv(_BUFFER_BYTES)
            head = plain_head(arrived)
            if head is None:
                self._read_carefully(arrived)
                return
        size_bytes, self.status, self.reason, self.headers, self._missing_bytes, self._will_close = head
        self._arrived = arrived[size_bytes:]
        if len(self._arrived) > self._missing_bytes:  # the surplus bytes belong to no request
            self._arrived, self._will_close = self._arrived[: self._missing_bytes], True

    def _read_carefully(self, arrived: bytes) -> None:
        raw = self._raw = StrictResponse(self._sock, method="GET", arrived=arrived)
        raw.begin()
        self.status, self.reason, self.headers = raw.status, raw.reason, raw.fields

    @property
    def length_remaining(self) -> int | None:
        """The number of bytes of the body that are not read yet; None if only the end of the body determines it."""
        return self._missing_bytes if self._raw is None else self._raw.length

    def at_hand(self, size_bytes: int) -> bytes | None:
        """Return the complete body if it has `size_bytes` bytes and was received with the head, otherwise None."""
        if self._raw is not None or not size_bytes == self._missing_bytes == len(self._arrived):
            return None
        body, self._arrived, self._missing_bytes = self._arrived, b"", 0
        return body

    def read1(self, size_bytes: int, *, decode_content: bool = False) -> bytes:
        """Return the received bytes of the body, up to `size_bytes`; wait for at least one byte.

        Return an empty value at the end of the body.

        Raises:
            IncompleteRead: the connection ended before the end of the body.
        """
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
        if raw.chunked:  # a server may send chunk headers byte by byte, without any data
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
        """Move the received bytes of the body into an empty pipe, up to `at_most`; wait for at least one byte.

        Returns:
            The number of bytes moved. None where splicing is not possible: with TLS, with chunks, without a length,
            or while bytes received with the head are unread.

        Raises:
            IncompleteRead: the connection ended before the end of the body.
            TimeoutError: no byte was received within the timeout of the socket.
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
        """Set how many bytes must have been received for the socket to become readable.

        The number has to be 1 again before the end of a body.
        """
        if size_bytes != self._together_bytes:
            self._together_bytes = size_bytes
            with suppress(OSError):  # a system without this option moves any bytes received
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)

    def drain(self, at_most_bytes: int, within_s: float) -> None:
        """Discard the rest of the body, up to `at_most_bytes` bytes and for at most `within_s` seconds.

        Nothing is read if the rest is known to be longer, or if its length is unknown and the body is not chunked.
        The errors of `read1` are raised; the connection cannot be used again then.
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
        if self._connection is not None:  # a released connection may serve another request by now
            cut(self._sock)

    @property
    def is_through(self) -> bool:
        """Whether the body was read to its proper end."""
        raw = self._raw
        if raw is None:
            return not self._missing_bytes
        return self._has_ended or (raw.length == 0 and not raw.chunked)

    def isclosed(self) -> bool:
        """Return whether the body was read to its proper end, and the connection can be used again.

        The connection can be used again if the server keeps it open and no decrypted bytes follow the body.
        """
        will_close = self._will_close if self._raw is None else self._raw.will_close
        is_through = not self._missing_bytes if self._raw is None else self.is_through
        return is_through and not will_close and not getattr(self._sock, "pending", int)()

    def close(self) -> None:
        """Close the connection, as the rest of the body would be taken for the response to the next request."""
        if self.is_through:
            self._connection.end()
        self._connection.close()

    def release(self) -> None:
        """Return the connection to its pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._raw is not None:
                self._raw.close()
            pool, self._pool = self._pool, None  # urllib3 closes the connections of a pool without references
            if connection.sock is not None:
                connection.end()
                permit = connection.permit
                pool._put_conn(connection)  # noqa: SLF001
                if permit is not None:
                    permit.became_idle()


def _taken(pool: Any, admission: Admission | None) -> Any:
    """Return an idle connection of the pool that is still open, otherwise a new connection with a permit."""
    while True:
        connection = pool._get_conn()  # noqa: SLF001
        if connection.sock is not None or admission is None:
            return connection
        if connection.get_permit(admission, lambda: pool.pool is not None and bool(pool.pool.items)):
            return connection


def _new(pool: Any, admission: Admission | None) -> Any:
    """Return a new connection, with a permit."""
    connection = pool._new_conn()  # noqa: SLF001
    if admission is not None:
        connection.get_permit(admission, lambda: False)
    return connection


def waking(sock: Any, admission: Admission | None) -> AbstractContextManager[None]:
    """Return a context manager that ends the wait of a helper thread for its response, see `Admission.waking`."""
    return nullcontext() if admission is None or admission.wait else admission.waking(Cut(sock))


def _send(sock: Any, request: bytes) -> None:
    """Send a request as `sendall` does, but without waiting for space in the send buffer first.

    There is nearly always enough space for a short request.
    """
    sent = 0
    if type(sock) is socket.socket:
        with suppress(BlockingIOError):
            sent = os.write(sock.fileno(), request)
    if sent < len(request):
        sock.sendall(request[sent:])


def _received(sock: Any, at_most: int) -> bytes:
    """Receive all bytes that are available, up to `at_most`; wait for at least one byte.

    TLS returns one record at a time, of at most 16 KiB. Further received records are added to the same block, as each
    block costs more than a record.
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
        except OSError:  # no further record was received, or an error that recurs at the next read
            pass
        finally:
            sock.settimeout(timeout_s)
    return b"".join(records)


class _Begun(io.RawIOBase):
    """The stream of a socket from which some bytes have been read already."""

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
    """The part of the socket interface that `HTTPResponse` uses."""

    def __init__(self, sock: Any, arrived: bytes) -> None:
        self._sock = sock
        self._arrived = arrived

    def makefile(self, mode: str) -> Any:
        raw = self._sock.makefile(mode, 0)
        return io.BufferedReader(_Begun(self._arrived, raw) if self._arrived else raw, _BUFFER_BYTES)
