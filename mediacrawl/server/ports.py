"""The ports of a server: whether another program listens there, and how they are kept while processes restart."""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mediacrawl.errors import UsageProblem
from mediacrawl.server.options import bracketed

if TYPE_CHECKING:
    from collections.abc import Iterator


def free_port(host: str, port: int, options: str = "--") -> int:
    """Return a port at which no other program listens: the given one, or a free one for 0.

    A program that would share the port (SO_REUSEPORT, as another server of ours does) is found too.

    Args:
        host: the address to listen at.
        port: the port to listen at.
        options: the beginning of the names of the two options that choose another address and port.

    Raises:
        UsageProblem: the port is taken, or cannot be used here.
    """
    with _socket_for(host) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server before this one
        try:
            sock.bind((host, port))
            sock.listen(1)
        except OSError as error:
            raise _cannot_listen(host, port, error, options) from None
        found: int = sock.getsockname()[1]
        return found


@contextmanager
def reserved_port(host: str, port: int, options: str = "--") -> Iterator[int]:
    """Keep a port that `free_port` has found, also while no process of the server listens there; yield its number.

    The processes share their ports (SO_REUSEPORT), see `shared_socket`. A socket that
    is bound with the same option, and does not listen, leaves connections to them, and keeps other programs out.

    Raises:
        UsageProblem: as `free_port`.
    """
    port = free_port(host, port, options)
    with _socket_for(host) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            try:
                sock.bind((host, port))  # without SO_REUSEADDR, which would let others listen that have it, too
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of another program end
                sock.bind((host, port))
        except OSError as error:
            raise _cannot_listen(host, port, error, options) from None
        yield port


def shared_socket(host: str, port: int, options: str = "--") -> socket.socket:
    """Return a socket that is bound to a port of which `reserved_port` has the number, and can listen there.

    Raises:
        UsageProblem: another program listens there.
    """
    sock = _socket_for(host)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of another program end
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise _cannot_listen(host, port, error, options) from None
    return sock


def _socket_for(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)


def _cannot_listen(host: str, port: int, error: OSError, options: str) -> UsageProblem:
    if error.errno == errno.EADDRINUSE:
        said = f"another program listens there. Choose another port with {options}port, or stop that program"
    elif error.errno == errno.EADDRNOTAVAIL:
        said = f"this machine has no such address. Choose one with {options}host (0.0.0.0 stands for all)"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        said = f"ports below 1024 need a privilege. Choose another one with {options}port"
    else:
        said = error.strerror or str(error)
    return UsageProblem(f"cannot listen at {bracketed(host)}:{port}: {said}")
