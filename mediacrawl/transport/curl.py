"""The transport on libcurl: less Python code per small file, and HTTP/2 with the https hosts that support it.

libcurl handles the network, and passes header lines and pieces of a body to callbacks. This module inverts the
control: libcurl runs only while a thread waits for a head or for a block. Memory therefore holds only the data of one
step, and a slow reader slows down the sender.

The rules for valid hosts and headers are not implemented twice: `requests` prepares each URL and header that is not
plainly valid, so that both transports send the same requests and refuse the same ones.
"""

from __future__ import annotations

import errno
import http
import os
import re
import select
import socket
import threading
import time
from contextlib import nullcontext, suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pycurl
import requests

from mediacrawl.errors import (
    ConnectionLost,
    InvalidResponse,
    TransferError,
    UnsupportedURL,
)
from mediacrawl.transport.addresses import PrivateAddress, check_address
from mediacrawl.transport.authorities import authorities_of
from mediacrawl.transport.chunks import ChunkDecoder
from mediacrawl.transport.connecting import ATTEMPT_DELAY_S, DEFAULT_CONNECT_TIMEOUT_S, REMEMBERED_S
from mediacrawl.transport.connection_limits import HostPaused
from mediacrawl.transport.errors import Route, translated
from mediacrawl.transport.fields import InvalidHead
from mediacrawl.transport.head import check_size, read_head
from mediacrawl.transport.proxies import is_socks
from mediacrawl.transport.watchdog import HEAD_TIMEOUTS
from mediacrawl.urls import as_sent, is_plain, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mediacrawl.transport.authorities import Authorities
    from mediacrawl.transport.connection_limits import Admission, Permit

_BUFFER_BYTES = 16 * 1024  # one step of libcurl fills the buffer at most 44 times, which bounds blocks and memory
_BLOCK_BYTES = 1024 * 1024
_DRAINED_BYTES = 64 * 1024  # as in `requests_transport`
_DRAINED_WITHIN_S, _DRAINED_AT_END_WITHIN_S = 1.0, 0.02
_KEPT_CONNECTIONS = 1  # idle connections of each handle
_MOST_LINES = 32  # from this number on, an idle handle replaces its connection by a connection to another origin
_SUPPRESS_CONNECT_HEADERS, _HAPPY_EYEBALLS_MS, _QUICK_EXIT = 265, 271, 322  # options that pycurl does not name
_ATTEMPT_DELAY_MS = int(ATTEMPT_DELAY_S * 1000)
_MOST_SLOW_HOSTS = 1024
_READY = {select.POLLIN: pycurl.CSELECT_IN, select.POLLOUT: pycurl.CSELECT_OUT}
_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}
_LINE_ENDS = (b"\r\n", b"\n")
_CR = 13
_ENDS_HEAD = b"\r\n"  # the first byte of a line that ends the head
_EMPTY_HEADS = ([b"\r\n"], [b"\n"])
_MANY_LINES = 100  # from this number of lines on, the size of a head is checked while the head is received
_FOR_EVER = float("inf")

_PREREQUEST = getattr(pycurl, "PREREQFUNCTION", None)  # called by libcurl when it has connected

_ENDED = "the connection ended before the end of the body"
_STOPPED = "the connection broke: stopped"


class CurlTransport:
    """The transport on libcurl, with a handle for each transfer in progress. See `Transport`; thread-safe."""

    def __init__(
        self,
        *,
        verify: bool | str | Authorities = True,
        block_private: bool = False,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
    ) -> None:
        self._authorities = authorities_of(verify)
        self._block_private = block_private
        self._connect_timeout_s = connect_timeout_s
        self._slow_hosts: dict[str, float] = {}  # by origin: until when the first address counts as dead
        self._lock = threading.Lock()
        self._lines: set[_CurlConnection] = set()
        self._free: list[_CurlConnection] = []  # in order of use, the last used handle at the end
        self.is_stopped = False
        self._closed = False
        self._last_headers = dict[str, str](), _header_lines({})  # the next request mostly has the same headers

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        timeout_s: float,
        admission: Admission | None = None,
    ) -> CurlResponse:
        if self.is_stopped:
            raise ConnectionLost(url, _STOPPED)
        route = Route.of(url, timeout_s, self._connect_timeout_s, proxy)
        if self._block_private:
            route.check_proxied_host()
        try:
            sent_url, sent_headers = self._as_sent(url, headers)
            line = self._admitted(sent_url, admission)
        except (requests.RequestException, OSError, UnicodeError, ValueError, AttributeError) as error:
            raise translated(error, route) from None
        answer = CurlResponse(self, line, route)
        try:
            if admission is not None:
                admission.check()
            line.begin(sent_url, sent_headers, route.proxy, admission)
            with nullcontext() if admission is None else admission.waking(answer):
                answer.wait_for_head()
            if route.is_refused_by_proxy(answer.status):
                raise route.unauthorized()
        except BaseException as error:
            answer.close()
            if isinstance(error, pycurl.error):
                raise UnsupportedURL(url, f"libcurl refuses it: {error.args[-1]}") from None
            raise
        return answer

    def abort(self) -> None:
        """Interrupt all waits for a head, and refuse new requests from now on: a stop for good."""
        self.is_stopped = True
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.wake()

    def close(self) -> None:
        """Close the idle handles at once; each other handle is closed when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._free = self._free, []
            self._lines.difference_update(idle)
        for line in idle:
            line.close()

    def close_idle(self, host: str, idle_s: float) -> bool:
        since = time.monotonic() - idle_s
        with self._lock:
            connected = (line for line in self._free if line.is_connected_to(host))
            line = next((line for line in connected if line.idle_at <= since), None)
            if line is None:
                return False
            self._free.remove(line)
        line.disconnect()
        self._free_again(line)
        return True

    def give_back(self, line: _CurlConnection, *, keep: bool = True) -> bool:
        """End the transfer of a handle, and make the handle available again.

        The connection of an incomplete transfer is closed; with `keep` unset, any connection. Return whether the
        transfer was incomplete.
        """
        was_cut = line.end()
        if not keep:
            line.disconnect(was_cut=was_cut)
        self._free_again(line)
        if line.permit is not None:
            line.permit.became_idle()
        return was_cut

    def _free_again(self, line: _CurlConnection) -> None:
        with self._lock:
            if not self._closed:
                self._free.append(line)
                return
            self._lines.discard(line)
        line.close()

    def _as_sent(self, url: str, headers: Mapping[str, str]) -> tuple[str, list[bytes]]:
        """Return the URL and the header lines as `requests` would send them.

        The errors of `requests` are raised for an invalid URL or header.
        """
        known, lines = self._last_headers
        if not is_plain(url) or (headers != known and not _is_plain(headers)):
            url, headers = _prepared(url, headers)
            return url, _header_lines(headers)
        if headers != known:
            lines = _header_lines(headers)
            self._last_headers = dict(headers), lines
        return url, lines

    def _admitted(self, url: str, admission: Admission | None) -> _CurlConnection:
        """Return a handle that is connected to the origin of `url`, or has the permit to connect.

        Raises:
            NoPermit, Interrupted: see `HostConnections.acquire`.
        """
        origin = url[: url.find("/", 8)]
        while True:
            line = self._take(origin)
            if admission is None or line.permit is not None:
                return line
            try:
                line.get_permit(admission, lambda: self._has_idle(origin))
            finally:
                if line.permit is None:
                    self._free_again(line)
            if line.permit is not None:
                return line

    def _has_idle(self, origin: str) -> bool:
        with self._lock:
            return any(line.origin == origin for line in self._free)

    def _take(self, origin: str) -> _CurlConnection:
        """Take a handle for an origin: a handle connected to it, else an unconnected handle, else a new handle.

        From `_MOST_LINES` handles on, the handle that has been idle for longest is taken in place of a new handle.
        """
        with self._lock:
            line = next((line for line in reversed(self._free) if line.origin == origin), None)
            line = line or next((line for line in self._free if not line.origin), None)
            if line is None and self._free and len(self._lines) >= _MOST_LINES:
                line = self._free[0]
            if line is not None:
                self._free.remove(line)
            else:
                easy = _easy_handle(self._authorities, self._connect_timeout_s)
                line = _CurlConnection(easy, self._slow_hosts, block_private=self._block_private)
                self._lines.add(line)
        if line.origin != origin:
            line.disconnect()
        return line


class CurlResponse:
    """See `TransportResponse`."""

    def __init__(self, transport: CurlTransport, line: _CurlConnection, route: Route) -> None:
        self._transport = transport
        self._line: _CurlConnection | None = line
        self._route = route
        self._timeout_s = route.timeout_s
        self._aborted = self._is_broken = self._was_cut = False
        self._left_bytes: int | None = None  # of a body with a known length
        self._chunks: ChunkDecoder | None = None
        self.url = route.url
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}

    def at_hand(self, size_bytes: int) -> bytes | None:
        line = self._line
        if line is None or not line.is_over or line.code or self._left_bytes != size_bytes:
            return None
        if sum(map(len, line.body)) != size_bytes:
            return None
        body = b"".join(line.body)
        line.body.clear()
        self._left_bytes = 0
        return body

    def splice(self, pipe: int, at_most: int) -> int | None:
        return None  # libcurl itself reads from its connections

    def abort(self) -> None:
        self._aborted = True
        if line := self._line:
            line.wake()

    def close(self) -> bool:
        line = self._line
        if line is not None:
            if not (line.is_over or self._aborted or self._is_broken):
                self._drain(line, _DRAINED_AT_END_WITHIN_S)
            self._line = None
            self._was_cut = self._transport.give_back(line, keep=not self._is_broken)
        return self._was_cut

    def wait_for_head(self) -> None:
        """Run libcurl until the head is complete.

        Raises:
            TransferError: no head was received, or the head is not trustworthy.
        """
        line = self._line
        assert line is not None
        patience = None
        heads = _Heads(line.head)
        while (head := heads.final()) is None:
            if line.is_over:
                raise self._failure(line)
            if self._transport.is_stopped or self._aborted:
                raise ConnectionLost(self.url, _STOPPED)
            patience = patience or _Patience(line, self._route)
            line.step(patience.until(len(line.head)))
            if len(line.head) > _MANY_LINES:
                self._check_size(line.head)
        self._read(head)
        if 300 <= self.status < 400:
            self._drain(line, _DRAINED_WITHIN_S)

    def _read(self, lines: list[bytes]) -> None:
        """Read a complete head.

        Raises:
            InvalidResponse: the head is malformed or contradicts itself.
        """
        try:
            head = read_head(lines)
        except InvalidHead as error:
            self._is_broken = True
            raise InvalidResponse(self.url, str(error)) from None
        self.status, self.headers = head.status, head.headers
        self.reason = self._route.phrase(head.status, head.reason or _phrase(head.status))
        self._left_bytes = head.length_bytes
        # libcurl finds the end of the chunks, too, but reads malformed sizes as other sizes.
        self._chunks = ChunkDecoder() if head.is_chunked else None

    def blocks(self) -> Iterator[bytes]:
        while (line := self._line) is not None and not self._is_through:
            if line.body:
                yield from self._framed(line.taken())
            elif line.is_over:
                if line.code:
                    raise self._failure(line)
                if self._chunks is not None or self._left_bytes:
                    self._is_broken = True
                    raise self._route.lost(_ENDED)
                return
            else:
                self._wait(line)

    @property
    def _is_through(self) -> bool:
        """Whether the body was read to the end that its head or its last chunk determines."""
        return self._left_bytes == 0 if self._chunks is None else self._chunks.is_through

    def _framed(self, pieces: list[bytes]) -> list[bytes]:
        """Return the bytes of the body in pieces as they were sent.

        libcurl may determine another end of the body than the head, where it does not recognise a damaged field.

        Raises:
            ConnectionLost: a chunk is malformed.
        """
        if self._chunks is not None:
            try:
                return [piece for sent in pieces for piece in self._chunks.decode(sent)]
            except HTTPException as error:
                self._is_broken = True
                raise ConnectionLost(self.url, f"the connection broke: {error}") from None
        if self._left_bytes is None:
            return pieces
        if sum(map(len, pieces)) > self._left_bytes:
            self._is_broken = True
            pieces = [b"".join(pieces)[: self._left_bytes]]
        self._left_bytes -= sum(map(len, pieces))
        return pieces

    def _wait(self, line: _CurlConnection) -> None:
        """Run libcurl until a piece of the body, or its end, was received."""
        until = time.monotonic() + self._timeout_s
        while not line.body and not line.is_over:
            if self._aborted:
                raise ConnectionLost(self.url, _ENDED)
            line.step(until)
            if time.monotonic() >= until and not line.body and not line.is_over:
                self._is_broken = True
                raise self._route.lost(_silence(self._timeout_s))

    def _drain(self, line: _CurlConnection, within_s: float) -> None:
        """Read the rest of an unused body, if the rest is short, so that the connection can be reused."""
        left_bytes = self._left_bytes if self._chunks is None else _DRAINED_BYTES
        if left_bytes is None or left_bytes > _DRAINED_BYTES:
            return
        until = time.monotonic() + within_s
        while not line.is_over and not self._transport.is_stopped and time.monotonic() < until:
            line.step(until)
            if sum(map(len, line.body)) > _DRAINED_BYTES:
                return

    def _check_size(self, lines: list[bytes]) -> None:
        try:
            check_size(lines)
        except InvalidHead as error:
            raise InvalidResponse(self.url, str(error)) from None

    def _failure(self, line: _CurlConnection) -> TransferError:
        if line.code == _ABORTED_BEFORE:
            raise HostPaused(self.url)
        if line.head[:1] in _EMPTY_HEADS and line.is_new:  # on an old connection, it belongs to the last response
            return InvalidResponse(self.url, "the response begins with an empty line, which libcurl does not accept")
        if not line.code:
            return self._route.lost("the connection broke: no response head was received")
        return _error(line, self._route)


class _Patience:
    """The time limits for a head: `timeout_s` for each line, `HEAD_TIMEOUTS` times `timeout_s` for the complete head.

    The time needed to connect does not count, as libcurl has a limit for it.
    """

    def __init__(self, line: _CurlConnection, route: Route) -> None:
        self._line = line
        self._route = route
        self._timeout_s = route.timeout_s
        self._began_at = self._heard_at = time.monotonic()
        self._heard = 0

    def until(self, heard: int) -> float:
        """Return the monotonic time of the next check, given the number of lines received.

        Raises:
            ConnectionLost: a time limit has passed.
        """
        now = time.monotonic()
        if heard != self._heard:
            self._heard, self._heard_at = heard, now
        until = min(self._heard_at + self._timeout_s, self._began_at + HEAD_TIMEOUTS * self._timeout_s)
        if now < until:
            return until
        connecting_s = self._line.connecting_s
        late_at = self._began_at + connecting_s + HEAD_TIMEOUTS * self._timeout_s
        if connecting_s == 0.0 and now < late_at:
            return late_at
        silent_at = max(self._heard_at, self._began_at + connecting_s) + self._timeout_s
        if now >= silent_at:
            raise self._route.lost(_silence(self._timeout_s))
        if now >= late_at:
            raise self._route.lost(f"no complete response head within {HEAD_TIMEOUTS * self._timeout_s:g} s")
        return min(silent_at, late_at)


class _CurlConnection:
    """A handle of libcurl with its connection. It carries one transfer at a time, and is not bound to a thread.

    libcurl reads and writes a copy of the file descriptor. This object holds another copy, so that it knows when the
    connection is closed, and so that it can close the connection reliably.

    Attributes:
        origin: the origin that the handle is connected to, or is about to connect to; empty without a connection.
        permit: the permit of the connection.
        idle_at: monotonic time of the last use, in seconds.
        head: lines of the head and of the trailer section, as received.
        body: received pieces of the body that were not taken yet.
        is_over: whether the transfer has ended.
        code: the error code of libcurl, 0 without an error.
        words: the error message that belongs to `code`.
        refused: why an address was refused that is not public; empty if none was.
        proxy: the URL of the proxy; empty without a proxy.
    """

    def __init__(self, easy: Any, slow_hosts: dict[str, float], *, block_private: bool) -> None:
        self.origin = ""
        self.permit: Permit | None = None
        self.idle_at = 0.0
        self._sock: socket.socket | None = None  # socket of the connection that libcurl keeps
        self._opened: list[socket.socket] = []  # sockets opened for the current transfer
        self._has_begun = False
        self._kept_fd = -1  # libcurl's descriptor of the connection that it keeps after a transfer
        self._admission: Admission | None = None
        self.head: list[bytes] = []
        self.body: list[bytes] = []
        self.is_over = True
        self.code = 0
        self.words = ""
        self.refused = ""
        self.proxy = ""
        self._headers: list[bytes] = []
        self._slow_hosts = slow_hosts
        self._due_at = _FOR_EVER
        self._poll = select.poll()
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._woken_fd = self._woken.fileno()
        self._poll.register(self._woken_fd, select.POLLIN)
        self._multi = _multi_handle(self._watch, self._schedule)
        self._easy = easy
        self._target = _RequestTarget(easy)
        # Methods of lists, not of this class: no Python code runs for a line or a piece.
        self._easy.setopt(pycurl.HEADERFUNCTION, self.head.append)
        self._easy.setopt(pycurl.WRITEFUNCTION, self.body.append)
        self._block_private = block_private
        self._easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    @property
    def is_new(self) -> bool:
        """Whether the connection was opened for the current transfer."""
        return bool(self._opened)

    def is_connected_to(self, host: str) -> bool:
        return self.permit is not None and self.permit.host == host

    def begin(
        self,
        url: str,
        headers: list[bytes],
        proxy: str | None,
        admission: Admission | None = None,
    ) -> None:
        """Start a GET request. Options are set only if they differ from the last request of this handle."""
        easy = self._easy
        self._has_begun = True
        self.origin = url[: url.find("/", 8)]
        if admission is not None and self._sock is None and _PREREQUEST is not None:
            self._admission = admission
            easy.setopt(_PREREQUEST, self._before_request)
        self.head.clear()
        self.body.clear()
        self.code, self.words, self.refused = 0, "", ""
        easy.setopt(pycurl.URL, url)
        self._target.set(url, self.origin, proxy)
        if headers != self._headers:
            easy.setopt(pycurl.HTTPHEADER, headers)
            self._headers = headers
        if (proxy or "") != self.proxy:
            self.proxy = proxy or ""
            easy.setopt(pycurl.PROXY, self.proxy)
        if self._sock is None and self._slow_hosts:
            is_slow = self._slow_hosts.get(self.origin, 0.0) > time.monotonic()
            easy.setopt(_HAPPY_EYEBALLS_MS, 1 if is_slow else _ATTEMPT_DELAY_MS)
        self._multi.add_handle(easy)
        self.is_over = False
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def step(self, until: float) -> None:
        """Wait for the network, a timer of libcurl or `wake`, and let libcurl process the events.

        The wait ends at the monotonic time `until` at the latest.
        """
        wait_s = min(until, self._due_at) - time.monotonic()
        ready = self._poll.poll(wait_s * 1000 + 1) if wait_s > 0 else ()  # 1 ms more: poll() counts in milliseconds
        for fd, event in ready:
            if fd == self._woken_fd:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
            elif not self.is_over:
                # libcurl detects an error or a hang-up by reading.
                self._act(fd, _READY.get(event, pycurl.CSELECT_IN | pycurl.CSELECT_OUT))
        if not self.is_over and self._due_at <= time.monotonic():
            self._due_at = _FOR_EVER
            self._act(pycurl.SOCKET_TIMEOUT, 0)

    def taken(self) -> list[bytes]:
        """Return the received pieces of the body, joined to few blocks, and clear `body`."""
        data = b"".join(self.body) if len(self.body) > 1 else self.body[0] if self.body else b""
        self.body.clear()
        if len(data) <= _BLOCK_BYTES:
            return [data] if data else []
        return [data[start : start + _BLOCK_BYTES] for start in range(0, len(data), _BLOCK_BYTES)]

    def get_permit(self, admission: Admission, has_idle: Callable[[], bool]) -> None:
        """Acquire a permit for the connection, see `Admission.permit`."""
        self.permit = admission.permit(has_idle)

    def end(self) -> bool:
        """End the transfer.

        The connection of an incomplete body is closed. Return whether the body was incomplete.
        """
        self.idle_at = time.monotonic()
        if not self._has_begun:
            if self._sock is None:
                self.disconnect()
            return False
        self._has_begun = False
        was_cut = not self.is_over
        if was_cut:
            self.is_over = True
            self._multi.remove_handle(self._easy)
        if self._admission is not None:
            self._admission = None
            self._easy.unsetopt(_PREREQUEST)
        if len(self._opened) > 1 and self._kept_fd >= 0:  # the first address has not answered at once
            if len(self._slow_hosts) >= _MOST_SLOW_HOSTS:
                self._slow_hosts.clear()
            self._slow_hosts[self.origin] = time.monotonic() + REMEMBERED_S
        if self._opened or self._kept_fd < 0:
            self._keep_sockets(self._kept_fd, was_cut=was_cut)
        self._kept_fd = -1
        return was_cut

    def _keep_sockets(self, kept_fd: int, *, was_cut: bool) -> None:
        """Keep the socket of the connection that libcurl keeps, and close all others.

        `kept_fd` is the descriptor of that connection in libcurl; -1 if libcurl keeps none.
        """
        found = [sock for sock in (self._sock, *self._opened) if sock is not None]
        self._opened.clear()
        last = next((sock for sock in found if len(found) == 1 or _are_same(sock, kept_fd)), None)
        for sock in found:
            if sock is not last:
                sock.close()
        self._sock = last
        if kept_fd < 0:
            self.disconnect(was_cut=was_cut)

    def disconnect(self, *, was_cut: bool = False) -> None:
        """Close the connection, if it exists. libcurl detects the close when it looks for a connection to reuse."""
        sock, self._sock = self._sock, None
        permit, self.permit = self.permit, None
        self.origin = ""
        if permit is not None:
            permit.close(sock, cut=was_cut)
        elif sock is not None:
            _shut_down(sock)
            sock.close()

    def wake(self) -> None:
        """End a `step` that is waiting. May be called from any thread, at any time."""
        with suppress(OSError):
            self._wake.send(b"!")

    def close(self) -> None:
        self._multi.close()
        self._easy.close()
        self.disconnect()
        self._woken.close()
        self._wake.close()

    @property
    def connecting_s(self) -> float:
        """The time in seconds until the request could be sent; 0 until then."""
        return float(self._easy.getinfo(pycurl.PRETRANSFER_TIME))

    @property
    def connect_code(self) -> int:
        """The status with which a proxy has answered CONNECT; 0 without an answer."""
        return int(self._easy.getinfo(pycurl.HTTP_CONNECTCODE))

    @property
    def errno(self) -> int:
        """The `errno` of the last system call that failed."""
        return int(self._easy.getinfo(pycurl.OS_ERRNO))

    def _act(self, fd: int, what: int) -> None:
        _, running = self._multi.socket_action(fd, what)
        if not running:
            self.is_over = True
            for _, code, words in self._multi.info_read()[2]:
                self.code, self.words = code, words
            self._kept_fd = int(self._easy.getinfo(pycurl.ACTIVESOCKET))  # not available after the handle is removed
            self._multi.remove_handle(self._easy)

    def _watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        """Register the events that libcurl waits for; a callback of libcurl."""
        if what == pycurl.POLL_REMOVE:
            self._poll.unregister(fd)
        else:
            self._poll.register(fd, _EVENTS.get(what, 0))

    def _schedule(self, wait_ms: int) -> None:
        """Set the time in milliseconds to the next call without an event, -1 for never; a callback of libcurl."""
        self._due_at = time.monotonic() + wait_ms / 1000 if wait_ms >= 0 else _FOR_EVER

    def _open_socket(self, _purpose: int, address: Any) -> Any:
        """Open a socket for libcurl; with `block_private`, only for a public address, or for the proxy."""
        family, kind, protocol, where = address
        if self._block_private and not self.proxy:
            try:
                check_address(str(where[0]))
            except PrivateAddress as error:
                self.refused = str(error)
                return pycurl.SOCKET_BAD
        if self._sock is not None:  # the connection is dead: otherwise libcurl would reuse it
            self._sock.close()
            self._sock = None
        sock = socket.socket(family, kind, protocol)  # libcurl duplicates the descriptor
        self._opened.append(sock)
        return sock

    def _before_request(self, *_addresses: object) -> int:
        """Refuse the request if the host requested a pause while the connection was opened."""
        try:
            if self._admission is not None:
                self._admission.check()
        except HostPaused:
            return int(pycurl.PREREQFUNC_ABORT)
        return int(pycurl.PREREQFUNC_OK)


class _RequestTarget:
    """The request target of a handle, set where libcurl would change the case of escapes, or drop an empty query."""

    def __init__(self, easy: Any) -> None:
        self._easy = easy
        self._target = ""

    def set(self, url: str, origin: str, proxy: str | None) -> None:
        """Set the target for a URL. pycurl cannot unset the option, so later requests of the handle have it, too."""
        target = url[len(origin) :]
        if not self._target and "%" not in target and not target.endswith("?"):
            return
        if proxy and url.startswith("http:") and proxy.startswith("http"):
            target = url  # absolute form, for a proxy that makes the request (RFC 9112 3.2.2)
        if target != self._target:
            self._target = target
            self._easy.setopt(pycurl.REQUEST_TARGET, target)


def _are_same(sock: socket.socket, fd: int) -> bool:
    """Return whether a socket and a descriptor refer to the same open socket."""
    return fd >= 0 and os.path.sameopenfile(sock.fileno(), fd)


def _shut_down(sock: socket.socket) -> None:
    """Shut down the connection itself: if only `sock` were closed, the descriptor of libcurl would keep it open."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _multi_handle(watch: Any, schedule: Any) -> Any:
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_SOCKETFUNCTION, watch)
    multi.setopt(pycurl.M_TIMERFUNCTION, schedule)
    multi.setopt(pycurl.M_MAXCONNECTS, _KEPT_CONNECTIONS)
    return multi


def _easy_handle(authorities: Authorities | None, connect_timeout_s: float) -> Any:
    """Make a handle with the options that are the same for each request.

    libcurl sends, follows and keeps nothing without an explicit option.
    """
    easy = pycurl.Curl()
    protocols = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
    for option, value in (
        (pycurl.NOSIGNAL, 1),
        (_QUICK_EXIT, 1),  # do not wait for the thread of a name resolution
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
        (pycurl.HTTP09_ALLOWED, 0),
        (pycurl.BUFFERSIZE, _BUFFER_BYTES),
        (pycurl.PROTOCOLS, protocols),
        (pycurl.REDIR_PROTOCOLS, protocols),
        (pycurl.FOLLOWLOCATION, 0),
        (pycurl.PATH_AS_IS, 1),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.PROXY, ""),  # empty, not unset, so that libcurl ignores the environment
        (pycurl.NOPROXY, ""),
        (_SUPPRESS_CONNECT_HEADERS, 1),
        (pycurl.HTTP_TRANSFER_DECODING, 0),  # see `ChunkDecoder`
        (pycurl.TCP_NODELAY, 1),
        (pycurl.CONNECTTIMEOUT_MS, max(1, int(connect_timeout_s * 1000))),
        (_HAPPY_EYEBALLS_MS, _ATTEMPT_DELAY_MS),
    ):
        easy.setopt(option, value)
    _set_verify(easy, authorities)
    return easy


def _set_verify(easy: Any, authorities: Authorities | None) -> None:
    """Set the authorities. By itself libcurl has the path of a file on the machine where it was built."""
    for peer, host in (
        (pycurl.SSL_VERIFYPEER, pycurl.SSL_VERIFYHOST),
        (pycurl.PROXY_SSL_VERIFYPEER, pycurl.PROXY_SSL_VERIFYHOST),
    ):
        easy.setopt(peer, 1 if authorities else 0)
        easy.setopt(host, 2 if authorities else 0)
    files, folders = (pycurl.CAINFO, pycurl.PROXY_CAINFO), (pycurl.CAPATH, pycurl.PROXY_CAPATH)
    for options, path in zip((files, folders), authorities or (), strict=False):
        for option in options:
            if path is None:
                easy.unsetopt(option)
            else:
                easy.setopt(option, path)


_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PLAIN_VALUE = re.compile(r"(?:[!-~\xa1-\xff][ -~\xa1-\xff]*)?")


def _is_plain(headers: Mapping[str, str]) -> bool:
    return all(map(_PLAIN_NAME.fullmatch, headers)) and all(map(_PLAIN_VALUE.fullmatch, headers.values()))


def _header_lines(headers: Mapping[str, str]) -> list[bytes]:
    """Return the header lines in the format of libcurl, with lines that suppress its default headers."""
    unwanted = {name.lower(): f"{name}:".encode() for name in ("User-Agent", "Accept")}
    return list((unwanted | {name.lower(): _header_line(name, value) for name, value in headers.items()}).values())


def _prepared(url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Return the URL as it is sent, and the headers; the host and the headers are checked by `requests`.

    Credentials in the URL become a header. The errors of `requests` are raised for an invalid URL or header.
    """
    prepared = requests.Request("GET", as_sent(url), headers=dict(headers)).prepare()
    parts = urlsplit(str(prepared.url))
    if parts.scheme not in {"http", "https"}:
        raise requests.exceptions.InvalidSchema(f"{parts.scheme}: is neither http nor https")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{target_of(url)}", {
        _text(name): _text(value) for name, value in prepared.headers.items()
    }


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _header_line(name: str, value: str) -> bytes:
    line = f"{name}: {value}" if value else f"{name};"  # for libcurl, "name:" means to omit the header
    encoded = line.encode("latin-1")
    if any(byte in encoded for byte in (b"\r", b"\n", b"\0")):
        raise ValueError(f"the header {name[:40]!r} has a line end in it")
    return encoded


class _Heads:
    """The heads of a response, whose lines libcurl appends to a list while they are received."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self._start = self._at = 0  # of the head that is being received, and of the next line to look at

    def final(self) -> list[bytes] | None:
        """Return the lines of the first complete head that is not of an interim response (RFC 9110 15.2).

        The line at the end is excluded if it is empty: for libcurl, any line that begins with CR ends the head.
        Return None if there is no complete head yet. No line is looked at twice, however often this is called.
        """
        lines = self._lines
        for at in range(self._at, len(lines)):
            line = lines[at]
            if line[0] <= _CR and line[:1] in _ENDS_HEAD and at:
                if line not in _LINE_ENDS:
                    return lines[self._start : at + 1]
                if not lines[self._start].partition(b" ")[2].startswith(b"1"):
                    return lines[self._start : at]
                self._start = at + 1
        self._at = len(lines)
        return None


def _phrase(status: int) -> str:
    """Return the standard reason phrase of a status, to be read in a summary. HTTP/2 has no reason phrases."""
    with suppress(ValueError):
        return http.HTTPStatus(status).phrase
    return ""


def _silence(timeout_s: float) -> str:
    return f"no byte for {timeout_s:g} s"


# Error codes of libcurl that do not have names in every version of pycurl, see curl/curl.h.
_UNSUPPORTED_PROTOCOL, _URL_MALFORMAT, _NO_PROXY_NAME, _NO_NAME, _NO_CONNECTION = 1, 3, 5, 6, 7
_WEIRD_REPLY, _PARTIAL, _TIMED_OUT, _ABORTED_BEFORE, _PROXY = 8, 18, 28, 42, 97
_TOO_LARGE = {27, 100}  # a libcurl before 8.6 gives its error for no memory
_UNTRUSTED = 60
_BROKEN = {52, 55, 56}
_TLS = {35, 51, 53, 54, 58, 59, 60, 64, 66, 77, 80, 82, 83, 90, 91, 98}


def _error(line: _CurlConnection, route: Route) -> TransferError:
    """Return the error for the error code of libcurl, with the same messages as `translated`."""
    code, words, url = line.code, " ".join(line.words.split())[:200], route.url
    if code == _NO_CONNECTION and line.refused:  # and no other address of that name could be connected to
        return route.private(line.refused)
    if (invalid := _invalid_head(line, code, words)) is not None:
        return InvalidResponse(url, invalid)
    if code == _URL_MALFORMAT or (code == _UNSUPPORTED_PROTOCOL and "HTTP/0.9" not in words):
        return UnsupportedURL(url, "not a URL that can be fetched")
    if route.proxy and (refused := _of_proxy(line, route, words)) is not None:
        return refused
    return _of_connection(line, route, words) or route.lost(_broken_reason(line, code, words))


def _of_connection(line: _CurlConnection, route: Route, words: str) -> TransferError | None:
    """Return the error for a request that was not sent; None if a connection was made."""
    code = line.code
    if code in {_NO_PROXY_NAME, _NO_NAME}:
        return route.unresolved()
    if code == _UNTRUSTED:
        return route.untrusted(_CERTIFICATE_WORDS.sub("", words))
    if code in _TLS:
        return route.connect_error(f"TLS failed: {words}")
    if code == _TIMED_OUT:
        return route.timed_out()
    if code != _NO_CONNECTION:
        return None
    if line.errno == errno.ECONNREFUSED:
        return route.refused()
    return route.connect_error(f"no connection: {os.strerror(line.errno) if line.errno else words}")


# What precedes the reason in the words of libcurl, which depend on its version.
_CERTIFICATE_WORDS = re.compile(r"^(?:SSL certificate (?:problem|verification failed)|SSL): ")


def _of_proxy(line: _CurlConnection, route: Route, words: str) -> TransferError | None:
    """Return the error for what a proxy has answered, or has not; None if the proxy is not the reason."""
    if found := re.search(r"CONNECT tunnel failed, response (\d+)", words):
        return route.tunnel_refused(int(found[1]), _phrase(int(found[1])))
    if line.code == _PROXY:
        if re.search(r"rejected by the SOCKS5|authentication", words, re.IGNORECASE):
            return route.unauthorized()
        return route.proxy_failed(words)
    is_tunnel = route.url[:6].lower() == "https:" and not is_socks(route.proxy)
    if "CONNECT" in words or (is_tunnel and line.code in _BROKEN and not (line.connect_code or line.connecting_s)):
        return route.tunnel_broken()
    return None


def _invalid_head(line: _CurlConnection, code: int, words: str) -> str | None:
    """Return the reason why libcurl refuses a head; None if libcurl has failed for another reason."""
    if _Heads(line.head).final() is not None or not line.connecting_s or "CONNECT" in words:
        return None
    if code == _WEIRD_REPLY and (double := re.match(r"Multiple (\S+) headers", words)):
        return f"the response has two {double[1]} fields that differ"
    if code in _TOO_LARGE or "Too large response headers" in words:
        return f"the head of the response is larger than libcurl accepts: {words}"
    if "Content-Length" in words:
        return "the Content-Length of the response is no length, or there are two that differ"
    if code == _WEIRD_REPLY or (code == _UNSUPPORTED_PROTOCOL and "HTTP/0.9" not in words):
        return f"the head of the response is malformed: {words}"
    return None


def _broken_reason(line: _CurlConnection, code: int, words: str) -> str:
    if code == _PARTIAL:
        return _ENDED
    if line.errno in {errno.ECONNRESET, errno.EPIPE} or "reset by peer" in words:
        return "the server reset the connection"
    return f"the connection broke: {words or 'no reason given'}"
