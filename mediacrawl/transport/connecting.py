"""Connect to the address of a host that answers first (RFC 8305, "Happy Eyeballs").

A host may have addresses that do not answer, mostly IPv6 addresses on a network without IPv6. If one address after
the other got the complete time limit, each connection would cost that time.
"""

from __future__ import annotations

import errno
import math
import os
import selectors
import socket
import time
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Self

from mediacrawl.transport.addresses import check_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEFAULT_CONNECT_TIMEOUT_S = 15.0  # as long as the system repeats the first packet three times
ATTEMPT_DELAY_S = 0.25  # RFC 8305 5
REMEMBERED_S = 600.0
_MOST_REMEMBERED = 1024
_IN_PROGRESS = {0, errno.EINPROGRESS, errno.EWOULDBLOCK}
# These errors say that this machine has no such network, which is less than what the other addresses say.
_NO_NETWORK = {errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH}

Address = tuple[Any, Any, int, str, Any]  # as in the result of `socket.getaddrinfo`


class Winners:
    """The addresses that have answered while an address that is tried before them has not, by host and port.

    An address is remembered for `REMEMBERED_S` seconds, so that further connections to the host do not wait. Hosts
    whose first address answers are not remembered: their resolver may distribute the load. The methods of a dict are
    thread-safe.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[Any, float]] = {}

    def note(self, place: tuple[str, int], address: Any) -> None:
        """Remember the address that has answered."""
        if len(self._kept) >= _MOST_REMEMBERED:
            self._kept.clear()
        self._kept[place] = address, time.monotonic() + REMEMBERED_S

    def get(self, place: tuple[str, int]) -> Any:
        """Return the address that has answered, or None."""
        address, until = self._kept.get(place, (None, 0.0))
        if address is not None and until < time.monotonic():
            self._kept.pop(place, None)
            return None
        return address

    def forget(self, place: tuple[str, int]) -> None:
        """Forget the address of a host."""
        self._kept.pop(place, None)


def connect(
    host: str,
    port: int,
    timeout_s: float | None,
    options: Iterable[tuple[int, int, Any]],
    winners: Winners,
    *,
    public_only: bool = False,
) -> socket.socket:
    """Return a connected socket with a time limit of `timeout_s` seconds; the limit holds for all addresses together.

    With `public_only`, no packet is sent to an address that is not public.

    Raises:
        PrivateAddress: the name has no public address that answers, and has one that is not public.
        socket.gaierror: the name does not resolve.
        TimeoutError: no address has answered in time.
        OSError: no connection is possible; the error of the address that says most.
        UnicodeError: the name cannot be encoded.
    """
    place = host, port
    found: Sequence[Address] = socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)
    first = winners.get(place)
    addresses = _in_order(found, first)
    with _Race(options, public_only=public_only) as race:
        sock = race.run(addresses, timeout_s)
    if sock is None:
        winners.forget(place)
        raise race.error
    sock.settimeout(timeout_s)
    peer = race.peer(sock)
    if peer != addresses[0][4] and first is None:
        winners.note(place, peer)
    elif peer != first and first is not None:
        winners.forget(place)
    return sock


def _in_order(found: Sequence[Address], first: Any) -> list[Address]:
    """Return the addresses in the order of the attempts: families take turns (RFC 8305 4), and `first` is first."""
    leading = [one for one in found if one[0] == found[0][0]]
    others = [one for one in found if one[0] != found[0][0]]
    turns = [one for one in chain.from_iterable(zip_longest(leading, others)) if one is not None]
    return sorted(turns, key=lambda one: one[4] != first)


class _Race:
    """Attempts to connect to several addresses; the first that succeeds wins.

    Attributes:
        error: the error to raise if no attempt succeeds.
    """

    def __init__(self, options: Iterable[tuple[int, int, Any]], *, public_only: bool = False) -> None:
        self.error: OSError = OSError("the name has no address")
        self._options = tuple(options)
        self._public_only = public_only
        self._selector = selectors.PollSelector()
        self._peers: dict[socket.socket, Any] = {}
        self._won: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._selector.close()
        for sock in self._peers:
            if sock is not self._won:
                sock.close()

    def peer(self, sock: socket.socket) -> Any:
        """Return the address of a socket, as the resolver has given it."""
        return self._peers[sock]

    def run(self, addresses: Sequence[Address], timeout_s: float | None) -> socket.socket | None:
        """Connect, and return the connected socket. Return None if no attempt succeeds; `error` says why."""
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        for number, address in enumerate(addresses):
            self._begin(address)
            is_last = number == len(addresses) - 1
            self._wait(until if is_last else min(until, time.monotonic() + ATTEMPT_DELAY_S), for_all=is_last)
            if self._won is not None or time.monotonic() >= until:
                break
        if self._won is None and self._selector.get_map():
            self.error = TimeoutError("timed out")
        return self._won

    def _wait(self, until: float, *, for_all: bool) -> None:
        """Wait until an attempt has succeeded, or `until`. Unless `for_all` is set, stop if an attempt fails."""
        has_failed = False
        while self._won is None and self._selector.get_map() and (for_all or not has_failed):
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            for key, _ in self._selector.select(None if left_s == math.inf else left_s):
                has_failed |= self._has_failed(key.fileobj)

    def _begin(self, address: Address) -> None:
        family, kind, protocol, _, peer = address
        sock = None
        try:
            if self._public_only:
                check_address(str(peer[0]))
            sock = socket.socket(family, kind, protocol)
            self._peers[sock] = peer
            for option in self._options:
                sock.setsockopt(*option)
            sock.setblocking(False)
            if (code := sock.connect_ex(peer)) not in _IN_PROGRESS:
                raise _error(code)
            self._selector.register(sock, selectors.EVENT_WRITE)
        except OSError as error:
            self._fail(sock, error)

    def _has_failed(self, sock: Any) -> bool:
        """Return whether an attempt that has ended has failed."""
        self._selector.unregister(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(sock, _error(code))
            return True
        self._won = self._won or sock
        return False

    def _fail(self, sock: socket.socket | None, error: OSError) -> None:
        if sock is not None:
            with suppress(OSError):
                sock.close()
            self._peers.pop(sock, None)
        if self.error.errno is None or self.error.errno in _NO_NETWORK:
            self.error = error


def _error(code: int) -> OSError:
    """Return the error for an `errno`, of the subclass of OSError that Python raises for it."""
    return OSError(code, os.strerror(code))
