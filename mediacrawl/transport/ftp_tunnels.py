"""Connections to FTP servers through proxies: SOCKS, and CONNECT of HTTP (RFC 9110 9.3.6)."""

from __future__ import annotations

import base64
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mediacrawl.errors import PackageMissing, ProxyRefused
from mediacrawl.transport.errors import TunnelBroken
from mediacrawl.transport.fields import InvalidHead
from mediacrawl.transport.head import status_line
from mediacrawl.transport.proxies import is_socks, resolves_names

if TYPE_CHECKING:
    from mediacrawl.transport.errors import Route

_MOST_HEAD_BYTES = 64 * 1024


def tunnel(route: Route, host: str, port: int) -> socket.socket:
    """Return a connection to a host through the proxy of a route.

    Raises:
        PackageMissing: the proxy is a SOCKS proxy, and PySocks is not installed.
        ProxyRefused: the proxy is reached over TLS.
        OSError, HTTPException: the proxy does not answer, or does not connect to the host.
    """
    if is_socks(route.proxy):
        return _over_socks(route, host, port)
    parts = urlsplit(route.proxy or "")
    if parts.scheme != "http":
        raise ProxyRefused(
            route.url, f"the proxy {route.shown_proxy} is of a kind that FTP cannot use: name one of http or socks5"
        )
    sock = socket.create_connection((parts.hostname or "", parts.port or 0), route.connect_timeout_s)
    try:
        sock.sendall(
            _request(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", parts.username, parts.password)
        )
        _read_response(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _request(target: str, user: str | None, password: str | None) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if user is not None:
        text = f"{unquote(user)}:{unquote(password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(text.encode()).decode('ascii')}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _read_response(sock: socket.socket) -> None:
    """Read the response to CONNECT and no byte more: an FTP server speaks first.

    Raises:
        TunnelBroken: it ended early, or is none.
        OSError: the proxy refuses; the message is that of `http.client`, which `transport.errors` knows.
    """
    head = bytearray()
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        byte = sock.recv(1)
        if not byte or len(head) > _MOST_HEAD_BYTES:
            raise TunnelBroken("no response to CONNECT")
        head += byte
    try:
        status = status_line(bytes(head).decode("latin-1").partition("\n")[0])
    except InvalidHead as error:
        raise TunnelBroken(str(error)) from None
    if not 200 <= status.status < 300:
        raise OSError(f"Tunnel connection failed: {status.status} {status.reason}")


def _over_socks(route: Route, host: str, port: int) -> socket.socket:
    try:
        socks: Any = import_module("socks")
    except ImportError:
        raise PackageMissing(
            f"the proxy {route.shown_proxy} needs PySocks: pip install 'mediacrawl[socks]', or choose another proxy"
        ) from None
    parts = urlsplit(route.proxy or "")
    kind = socks.SOCKS4 if parts.scheme.startswith("socks4") else socks.SOCKS5
    sock: socket.socket = socks.create_connection(
        (host, port),
        timeout=route.connect_timeout_s,
        proxy_type=kind,
        proxy_addr=parts.hostname,
        proxy_port=parts.port,
        proxy_rdns=resolves_names(route.proxy or ""),
        proxy_username=unquote(parts.username) if parts.username is not None else None,
        proxy_password=unquote(parts.password or "") if parts.username is not None else None,
    )
    return sock
