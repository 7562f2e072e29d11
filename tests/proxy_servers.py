"""Proxies for tests: small ones of our own, with faults, and real ones where they are installed.

    with HttpProxy(user="me", password="secret") as proxy:
        get(url, proxy=proxy.url("me:wrong"))
    assert proxy.targets == []

For a proxy of our own, all names that end in `.test` or `.invalid` are those of this machine.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class _Proxy:
    """A server with a thread for each connection. `targets` are the places that it has connected to."""

    scheme = "http"

    def __init__(self, user: str = "", password: str = "", fault: str = "") -> None:
        self._credentials = user, password
        self._fault = fault
        self.targets: list[str] = []
        self.connections = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def url(self, credentials: str = "", scheme: str = "") -> str:
        return f"{scheme or self.scheme}://{credentials}{'@' * bool(credentials)}{self.netloc}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, struct.error, IndexError):
            self._talk(sock)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def _talk(self, sock: socket.socket) -> None:
        raise NotImplementedError

    def _connect(self, host: str, port: int) -> socket.socket:
        self.targets.append(f"{host}:{port}")
        other = socket.create_connection(("127.0.0.1" if host.endswith((".test", ".invalid")) else host, port), 10)
        self._sockets.append(other)
        return other

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        threading.Thread(target=_copy, args=(other, one), daemon=True).start()
        _copy(one, other)


def _copy(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _line(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end) and (byte := sock.recv(1)):
        data += byte
    return data


class HttpProxy(_Proxy):
    """A proxy of HTTP (RFC 9110 7.7 and 9.3.6). `fault` is what it does with each request instead."""

    def _talk(self, sock: socket.socket) -> None:
        head = _line(sock, b"\r\n\r\n")
        first, _, rest = head.partition(b"\r\n")
        method, target, _ = first.decode("latin-1").split(" ")
        if self._fault == "ends":
            return
        if self._fault:
            sock.sendall(f"HTTP/1.1 {self._fault}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        if self._credentials[0]:
            wanted = base64.b64encode(":".join(self._credentials).encode())
            if b"\r\nproxy-authorization: basic " not in head.lower() or wanted not in head:
                answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n"
                sock.sendall(answer + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
                return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            other = self._connect(host.strip("[]"), int(port))
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            other = self._connect(str(parts.hostname), parts.port or 80)
            path = target[target.index("/", 8) :]
            lines = [line for line in rest.split(b"\r\n") if not line.lower().startswith((b"proxy-", b"connection:"))]
            other.sendall(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode() + b"\r\n".join(lines))
        self._pump(sock, other)


class SocksProxy(_Proxy):
    """A SOCKS proxy of the versions 4, 4a and 5 (RFC 1928, RFC 1929). `fault` is `ends` or the code of an error."""

    scheme = "socks5h"

    def _talk(self, sock: socket.socket) -> None:
        version = sock.recv(1)
        if self._fault == "ends":
            return
        host, port = self._socks5(sock) if version == b"\x05" else self._socks4(sock)
        if not host:
            return
        try:
            if self._fault:
                raise ConnectionRefusedError
            other = self._connect(host, port)
        except OSError:
            code = int(self._fault or 5)
            sock.sendall(bytes([5, code, 0, 1]) + bytes(6) if version == b"\x05" else bytes([0, 0x5B]) + bytes(6))
            return
        sock.sendall(b"\x05\x00\x00\x01" + bytes(6) if version == b"\x05" else b"\x00\x5a" + bytes(6))
        self._pump(sock, other)

    def _socks4(self, sock: socket.socket) -> tuple[str, int]:
        _, port, address = struct.unpack("!BH4s", sock.recv(7, socket.MSG_WAITALL))
        user = _line(sock, b"\0")[:-1].decode()
        host = socket.inet_ntoa(address)
        if host.startswith("0.0.0."):
            host = _line(sock, b"\0")[:-1].decode()
        if self._credentials[0] not in {"", user}:
            sock.sendall(b"\x00\x5b" + bytes(6))
            return "", 0
        return host, port

    def _socks5(self, sock: socket.socket) -> tuple[str, int]:
        methods = sock.recv(sock.recv(1)[0], socket.MSG_WAITALL)
        if self._credentials[0]:
            if 2 not in methods:
                sock.sendall(b"\x05\xff")
                return "", 0
            sock.sendall(b"\x05\x02")
            sock.recv(1)
            user, password = (sock.recv(sock.recv(1)[0], socket.MSG_WAITALL).decode() for _ in range(2))
            is_right = (user, password) == self._credentials
            sock.sendall(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return "", 0
        else:
            sock.sendall(b"\x05\x00")
        _, _, _, kind = sock.recv(4, socket.MSG_WAITALL)
        if kind == 3:
            host = sock.recv(sock.recv(1)[0], socket.MSG_WAITALL).decode()
        else:
            family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, sock.recv(length, socket.MSG_WAITALL))
        return host, int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")


class RealProxy:
    """A proxy that Debian has, in a process of its own. Skips the test where it is not installed."""

    def __init__(self, folder: Path, scheme: str, user: str = "", password: str = "") -> None:
        self._command = "tinyproxy" if scheme == "http" else "microsocks"
        self._scheme, self._folder, self._credentials = scheme, folder, (user, password)

    def __enter__(self) -> Self:
        path = shutil.which(self._command)
        if path is None:
            pytest.skip(f"{self._command} is not installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        user, password = self._credentials
        if self._command == "tinyproxy":
            config = self._folder / "tinyproxy.conf"
            auth = f"BasicAuth {user} {password}\n" if user else ""
            config.write_text(
                f"Port {self._port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Error\n{auth}"
            )
            words = [path, "-d", "-c", str(config)]
        else:
            words = [path, "-i", "127.0.0.1", "-p", str(self._port), *(["-u", user, "-P", password] if user else [])]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return self
            assert time.monotonic() < until, f"{self._command} does not start"
            assert self._process.poll() is None, f"{self._command} has ended"
            threading.Event().wait(0.01)

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def url(self, credentials: str = "", scheme: str = "") -> str:
        return f"{scheme or self._scheme}://{credentials}{'@' * bool(credentials)}127.0.0.1:{self._port}"
