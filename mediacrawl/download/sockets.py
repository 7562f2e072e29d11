"""Connections that are watched: a head must come in time, and private addresses can be refused.

`requests` has no limit for the whole head of an answer: a server that sends one header line now and then would hold a
thread for ever. And the address that counts is the one really connected to, not what the name said a moment ago.
"""

from __future__ import annotations

import io
import ipaddress
import os
import re
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

_BUFFER_BYTES = 64 * 1024
_DO_NOT_WAIT = 2  # splice(2): SPLICE_F_NONBLOCK
_LOOK_EVERY_S = 0.5
HEAD_TIMEOUTS = 2  # as long as so many silences, a head may take in all


class PrivateAddress(OSError):
    """The connection leads to an address that is not public."""


class HeadWatch:
    """Cuts connections whose head does not come to an end; one thread for all, started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._stopped = False

    @contextmanager
    def watching(self, sock: Any, timeout_s: float | None) -> Iterator[None]:
        """While the block runs, `sock` is cut when the time is over."""
        if sock is None or not timeout_s:
            yield
            return
        with self._lock:
            self._waiting[id(sock)] = time.monotonic() + HEAD_TIMEOUTS * timeout_s, sock
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True, name="head-watch")
                self._thread.start()
            stopped = self._stopped
        if stopped:  # the stop came between its request and this
            _cut(sock)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(id(sock), None)

    def cut_all(self) -> None:
        """A stop, for good: nobody waits for a head any more, nor begins to."""
        with self._lock:
            self._stopped = True
            waiting = list(self._waiting.values())
        for _, sock in waiting:
            _cut(sock)

    def close(self) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            now = time.monotonic()
            with self._lock:
                late = [sock for until, sock in self._waiting.values() if until < now]
            for sock in late:
                _cut(sock)


def _cut(sock: Any) -> None:
    """Not close: the thread that reads must see an end, not a number that another file has got meanwhile.

    Nor the method of an `SSLSocket`: that one takes its TLS away first, and who reads gets ciphertext for a body.
    """
    with suppress(OSError):
        if isinstance(sock, socket.socket):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        else:
            sock.shutdown(socket.SHUT_RDWR)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; what is no address is not."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast


def leads_to_public(host: str) -> bool:
    """Whether all that a name stands for now is public; what stands for nothing is not. May block."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(is_public(str(address[0])) for *_, address in found)


class GuardedAdapter(HTTPAdapter):
    """Requests' own adapter, over watched connections. A proxy is trusted to know where it connects to."""

    def __init__(self, watch: HeadWatch, *, block_private: bool) -> None:
        self._pools = _pool_classes(watch, block_private=block_private)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools
        self.pool = lru_cache(maxsize=requests.adapters.DEFAULT_POOLSIZE)(self._pool)

    def close(self) -> None:
        self.pool.cache_clear()
        super().close()

    def _pool(self, origin: str, verify: bool | str) -> HTTPConnectionPool:
        """The connections to an origin, with TLS as `HTTPAdapter.send` sets it up each time. `pool` remembers."""
        request = requests.Request("GET", origin).prepare()
        pool = self.get_connection_with_tls_context(request, verify)
        self.cert_verify(pool, request.url, verify, None)  # type: ignore[no-untyped-call]
        assert isinstance(pool, HTTPConnectionPool)
        return pool


class _QuickResponse(HTTPResponse):
    """The standard library's, but for the cost of a small file.

    A head and its body are read from the system in one go, not in steps of 8 KiB. And a head that leaves no question
    open is not sent through the parser for e-mail; every other one is.
    """

    fp: Any
    is_plain = False
    fields: list[tuple[str, str]]
    _method: str | None

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(_WideSocket(sock), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        plain = _plain_head(self.fp.peek()) if self.headers is None and self._method == "GET" else None
        if plain is None:
            super().begin()
            if self.fp is not None and self.fp.has_ended:
                raise HTTPException("the connection ended within the head of the answer")
            return
        self.is_plain, self.will_close = True, False
        size_bytes, self.status, self.reason, self.fields = plain
        self.fp.read(size_bytes)
        self.code = self.status
        self.version = 11
        self.chunked = False
        for name, value in self.fields:
            match name.lower():
                case "content-length":
                    self.length = int(value)
                case "connection":
                    self.will_close = "close" in value.lower()
        self._note_headers()

    def _note_headers(self) -> None:
        self.headers = self.msg = HTTPMessage()
        for name, value in self.fields:
            self.headers.set_raw(name, value)

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
        if self.is_plain or str(self.status) in _NO_BODY:
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
# RFC 9112 4 and 5, of the answers that have a body whose length is known.
_STATUS_LINE = re.compile(r"HTTP/1\.1 (2[0-9]{2}|[3-5][0-9]{2})(?: ([\x20-\x7e]*))?")
_FIELD_LINE = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*((?:[\x21-\x7e]+(?:[ \t]+[\x21-\x7e]+)*)?)")
_NO_BODY = {"204", "304"}  # whatever their Content-Length says (RFC 9110 6.4.1)
_LENGTH = re.compile(r"[0-9]{1,18}")
_MAX_PLAIN_FIELDS = 64


def _plain_head(arrived: bytes) -> tuple[int, int, str, list[tuple[str, str]]] | None:
    """Its size, status, reason and fields, if all of it is there and two readers cannot read it in two ways."""
    head, end, _ = arrived.partition(b"\r\n\r\n")
    if not end or not head.isascii():
        return None
    first, *lines = head.decode("ascii").split("\r\n")
    status = _STATUS_LINE.fullmatch(first)
    fields = [(match[1], match[2]) for line in lines if (match := _FIELD_LINE.fullmatch(line))]
    if status is None or status[1] in _NO_BODY or len(fields) != len(lines) or len(lines) > _MAX_PLAIN_FIELDS:
        return None
    names = [name.lower() for name, _ in fields]
    if names.count("content-length") != 1 or names.count("connection") > 1 or "transfer-encoding" in names:
        return None
    if not _LENGTH.fullmatch(fields[names.index("content-length")][1]):
        return None
    return len(head) + len(end), int(status[1]), (status[2] or "").strip(), fields


class _BareResponse(_QuickResponse):
    """Of a plain head it keeps `fields`, and no `headers`."""

    def _note_headers(self) -> None:
        pass


class Exchanged:
    """One GET over a connection of a pool, and its answer, as `http.client` reads it: what urllib3 does beyond that
    costs more than a small file.

    Attributes:
        status, reason: of the head.
        fields: its names and values, as they came.
    """

    def __init__(self, pool: HTTPConnectionPool, request: bytes, timeout_s: float) -> None:
        """Send, and read the head. Raises what `http.client`, ssl and urllib3's connections raise."""
        self._pool: Any = pool
        self._connection: Any = pool._get_conn()  # noqa: SLF001 - an idle one that lives, or a new one
        self._raw: Any = None
        self._has_ended = False
        try:
            self._ask(request, timeout_s)
        except BaseException:
            self.close()
            self.release()
            raise

    def _ask(self, request: bytes, timeout_s: float) -> None:
        connection = self._connection
        connection.timeout = timeout_s
        self._pool._validate_conn(connection)  # noqa: SLF001 - connects where TLS is to be checked
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(timeout_s)
        self._sock = connection.sock
        with suppress(BrokenPipeError):  # the answer to half a request may be there
            connection.sock.sendall(request)
        self._raw = _BareResponse(self._sock, method="GET")
        with connection.watched():
            self._raw.begin()
        self._raw.settle_framing()
        self.status: int = self._raw.status
        self.reason: str = self._raw.reason or ""

    @property
    def fields(self) -> Iterable[tuple[str, str]]:
        raw: _BareResponse = self._raw
        if raw.is_plain:
            return raw.fields
        return [(name, _FOLD.sub(" ", value).strip(" \t")) for name, value in raw.headers.items()]

    @property
    def length_remaining(self) -> int | None:
        """What is to come of the body, in bytes; None where only its end will tell."""
        length_bytes: int | None = self._raw.length
        return length_bytes

    def read1(self, size_bytes: int, *, decode_content: bool = False) -> bytes:
        """As much as is there, once something is; nothing at the end. `IncompleteRead` where that is too early."""
        block: bytes
        if self._raw.chunked:  # what is between the chunks may drip, and tell of nothing
            with self._connection.watched():
                block = self._raw.read1(size_bytes)
        else:
            block = self._raw.read1(size_bytes)
        if block:
            return block
        if self._raw.length:
            raise IncompleteRead(b"", self._raw.length)
        self._has_ended = True
        self._raw.close()
        return b""

    def splice(self, pipe: int, at_most: int) -> int | None:
        """Move what is there of the body, once something is, into an empty pipe, and return how much. None where that
        cannot be: TLS, chunks, no length. `IncompleteRead` at an end that is too early.

        Only after a `read1` of more bytes than the buffer has: that one leaves nothing in it (`io.BufferedReader`).
        """
        raw, sock = self._raw, self._sock
        if raw.chunked or not raw.length or type(sock) is not socket.socket or not hasattr(os, "splice"):
            return None
        readable = select.poll()
        readable.register(sock, select.POLLIN)
        while True:
            with suppress(BlockingIOError):
                moved = os.splice(sock.fileno(), pipe, min(raw.length, at_most), flags=_DO_NOT_WAIT)
                break
            if not readable.poll(1000 * (sock.gettimeout() or 0)):
                raise TimeoutError
        if not moved:
            raise IncompleteRead(b"", raw.length)
        raw.length -= moved
        return moved

    def read(self, size_bytes: int) -> None:
        """Throw away so much of the body, if it comes in time."""
        with self._connection.watched():
            self._raw.read(size_bytes)

    def shutdown(self) -> None:
        if self._connection is not None:  # else it may be somebody else's by now
            _cut(self._sock)

    def isclosed(self) -> bool:
        """Whether the body was read to its proper end, and there is nothing behind it: this can be used again."""
        raw = self._raw
        in_step = self._has_ended or (raw.length == 0 and not raw.chunked)
        return in_step and not raw.will_close and not getattr(self._sock, "pending", int)()

    def close(self) -> None:
        """Not to be used again: what is left of the body would be taken for the next answer."""
        self._connection.close()

    def release(self) -> None:
        """The connection goes back to its pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._raw is not None:
                self._raw.close()
            pool, self._pool = self._pool, None  # urllib3 closes the connections of a pool that nobody holds any more
            pool._put_conn(connection)  # noqa: SLF001


class _WideSocket:
    """As much of a socket as an `HTTPResponse` uses."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> Any:
        return _HeadReader(self._sock.makefile(mode, 0), _BUFFER_BYTES)


class _HeadReader(io.BufferedReader):
    """Knows whether there was a line to read. `http.client` takes an end within a head for the end of the head, and
    then a file without length and without a byte for a whole one.
    """

    has_ended = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.has_ended = self.has_ended or not line
        return line


def _pool_classes(watch: HeadWatch, *, block_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    class Guard:
        sock: Any
        timeout: Any
        response_class: Any = _QuickResponse

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            if block_private:
                _check_peer(self.sock)

        def getresponse(self) -> Any:
            with self.watched():
                return super().getresponse()  # type: ignore[misc]

        def watched(self) -> AbstractContextManager[None]:
            """While its head is read."""
            return watch.watching(self.sock, self.timeout)

    class Plain(Guard, HTTPConnection):
        pass

    class TLS(Guard, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = TLS

    return {"http": Pool, "https": TLSPool}


def _check_peer(sock: Any) -> None:
    """Before the first byte of a request is sent."""
    address = str(sock.getpeername()[0])
    if not is_public(address):
        sock.close()
        raise PrivateAddress(f"{address} is not a public address")
