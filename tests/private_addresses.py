"""Hosts of URLs that name private addresses, in the forms that resolvers, browsers and proxies read, for tests.

with Listener() as listener:
    for host in NAMED:
        get(f"http://{host}:{listener.port}/")
assert listener.connections == 0
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

# Forms that resolve without a name server, or that a parser might take for an address.
LOOPBACK = (
    "127.0.0.1",
    "127.8.9.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.000.000.001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.1",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0x0.0x0.0x1",
    "0",
    "0.0.0.0",
    "localhost",
    "LocalHost",
    "localhost.",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0.0.0.0]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::1]",
    "[::1%25lo]",
    "[fe80::1%25lo]",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u246b7.0.0.1",
    "%31%32%37.0.0.1",
    "127.0.0.1%2e",
    "public.example@127.0.0.1",
    "public.example:80@127.1",
)
ELSEWHERE = (
    "10.1.2.3",
    "169.254.169.254",
    "0xa9fea9fe",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[fd00::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[::ffff:10.1.2.3]",
    "[64:ff9b::10.1.2.3]",
)
NAMED = LOOPBACK + ELSEWHERE


class Listener:
    """Counts the connections to a port of all addresses of this machine, of IPv6 too where there is any."""

    def __init__(self) -> None:
        self.connections = 0

    def __enter__(self) -> Self:
        if socket.has_dualstack_ipv6():
            self._listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            self._listener = socket.create_server(("0.0.0.0", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.close()


def only(*public: str):
    """A judgement of addresses in which only these are public."""
    return lambda address: address in public


def rebinding(name: str, *answers: str):
    """A resolver for which a name has one address after the other, again and again; it knows addresses besides."""
    real, turn = socket.getaddrinfo, iter(answers * 1000)

    def getaddrinfo(host, port, *more, **options):
        host = host.decode() if isinstance(host, bytes) else host
        return real(next(turn) if host == name else host, port, *more, **options)

    return getaddrinfo
