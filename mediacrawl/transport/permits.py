"""How many connections to a host are open: a limit that holds over all threads and processes of a run.

A connection needs a permit from before it opens until the server has closed its side too; so an idle one counts.

    ConnectionLimit     one for a run, in the process that leads it: grants permits, recalls those that idle
    HostConnections     one for each process: its permits, and its connections that have them
    Permit              one for each connection

Permits stay where they are: a process that closes a connection keeps its permit for the next one, and a process whose
connections are kept alive asks for nothing. When a permit is asked for and none is free, all others that have some
are asked to give back what they do not use, and close an idle connection for that. Nothing here blocks but `acquire`.
"""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


# So long a connection counts that was closed in the middle of an answer: a server that is just sending notices it
# with one of its next packets, and nothing tells when.
CUT_COUNTS_S = 0.1
_CLOSE_WITHIN_S = 2.0  # then a server that does not close its side is taken to have
_WATCH_EVERY_S = 0.002
_STAY_S = 1.0  # with nothing to watch
_LONG_IDLE_S = 1.0
_ENTER_EVERY_S = 0.005
_LOOK_EVERY_S = 0.1  # for a stop, while a permit is waited for
_REPLY_WITHIN_S = 2.0
_MOST_HOSTS = 512  # of which unused permits are kept: a host that is asked again soon needs no new one
# tcp_states.h of Linux: the other side has closed.
_CLOSED_THERE = {6, 7, 8, 9, 11}


class StopCheck(Protocol):
    """See `download.cancel.Cancel`."""

    def check(self) -> None: ...


class WaitClock(Protocol):
    """See `download.progress.Progress`."""

    def wait(self, since_s: float | None) -> None: ...


class Holder(Protocol):
    """Holds permits. May be called from any thread, and must not block."""

    def grant(self, host: str) -> None:
        """One more connection to the host may be open."""

    def deny(self, host: str) -> None:
        """There is none now, and nobody will come back to it."""

    def recall(self, host: str, count: int) -> None:
        """Give back so many, as soon as they are not used; 0: all that have not been used for a while."""


class Limit(Protocol):
    """Grants permits. Its answers go to the holder, at once or later."""

    def ask(self, holder: Holder, host: str, *, wait: bool) -> None:
        """Ask for a permit; the holder gets a `grant`, now or when there is one, or without `wait` a `deny`."""

    def give_back(self, holder: Holder, host: str, count: int) -> None:
        """These permits are free."""


class _Granted:
    """The permits of one host. (No dataclass here: its module is a twentieth of the start of `get`.)"""

    __slots__ = ("granted", "waiting")

    def __init__(self) -> None:
        self.granted: Counter[Holder] = Counter()
        self.waiting: deque[Holder] = deque()

    def drop(self, holder: Holder) -> None:
        """Take away what a holder has, and what it waits for."""
        self.granted.pop(holder, None)
        self.waiting = deque(other for other in self.waiting if other is not holder)

    def tidy(self) -> None:
        """Forget the holders that have no permits."""
        self.granted = +self.granted


class ConnectionLimit:
    """The permits of a run. Whoever asks first is served first."""

    def __init__(self, limit: int) -> None:
        """`limit` is the number of connections that may be open to each host; 0 is none."""
        self._limit = limit
        self._parts: dict[str, dict[str, int]] = {}
        self._hosts: dict[str, _Granted] = {}
        self._untold: deque[Callable[[], None]] = deque()
        self._is_telling = False
        self._lock = threading.Lock()

    def allow(self, host: str, limit: int, part: str = "") -> None:
        """Give one host another limit. Where it has several parts, each with its own, they add up."""
        if part == host and limit == self._limit and host not in self._parts:  # nearly always
            return
        with self._lock:
            self._parts.setdefault(host, {})[part] = limit

    def limit_of(self, host: str) -> float:
        """How many connections to a host may be open; infinite where that is not limited."""
        parts = self._parts.get(host)
        limits = list(parts.values()) if parts else [self._limit]
        return math.inf if 0 in limits else sum(limits)

    def held(self, holder: Holder, host: str) -> int:
        """How many permits for a host a holder has, used or not."""
        permits = self._hosts.get(host)
        return permits.granted[holder] if permits is not None else 0

    def ask(self, holder: Holder, host: str, *, wait: bool) -> None:
        """See `Limit.ask`."""
        with self._lock:
            permits = self._hosts.setdefault(host, _Granted())
            if not permits.waiting and self._has_room(host, permits):
                permits.granted[holder] += 1
                self._untold.append(partial(holder.grant, host))
            else:
                if wait:
                    permits.waiting.append(holder)
                others = [other for other, count in permits.granted.items() if count and other is not holder]
                self._recall(host, others, len(permits.waiting))
                if not wait:
                    self._untold.append(partial(holder.deny, host))
        self._tell()

    def give_back(self, holder: Holder, host: str, count: int) -> None:
        """See `Limit.give_back`."""
        with self._lock:
            permits = self._hosts.get(host)
            if permits is None:
                return
            permits.granted[holder] -= min(count, permits.granted[holder])
            self._serve(host, permits)
        self._tell()

    def drop(self, holder: Holder) -> None:
        """A holder is gone: what it held is free, what it asked for is not wanted."""
        with self._lock:
            for host, permits in list(self._hosts.items()):
                if holder in permits.granted or holder in permits.waiting:
                    permits.drop(holder)
                    self._serve(host, permits)
        self._tell()

    def _serve(self, host: str, permits: _Granted) -> None:
        """Grant free permits to the holders that wait; recall permits while a holder still waits."""
        while permits.waiting and self._has_room(host, permits):
            holder = permits.waiting.popleft()
            permits.granted[holder] += 1
            self._untold.append(partial(holder.grant, host))
        permits.tidy()
        if permits.waiting:
            self._recall(host, permits.granted, len(permits.waiting))
        elif not permits.granted:
            del self._hosts[host]

    def _recall(self, host: str, holders: Iterable[Holder], needed: int) -> None:
        self._untold += [partial(holder.recall, host, needed) for holder in holders]

    def _tell(self) -> None:
        """Tell the holders in the order of the decisions: a grant is told before the recall of the same permit.

        One thread at a time tells, also the decisions of other threads; without the lock, as a holder may call back.
        """
        with self._lock:
            if self._is_telling:
                return
            self._is_telling = True
        try:
            while tell := self._next_untold():
                tell()
        except BaseException:
            self._is_telling = False
            raise

    def _next_untold(self) -> Callable[[], None] | None:
        with self._lock:
            self._is_telling = bool(self._untold)
            return self._untold.popleft() if self._untold else None

    def _has_room(self, host: str, permits: _Granted) -> bool:
        return permits.granted.total() < self.limit_of(host)


class _Host:
    """The connections of this process to one host.

    Attributes:
        permits: granted to this process.
        open: connections that have one: busy, idle, or closing.
        closing: closed on this side, and not on the other yet.
        yielding: helpers that are about to close theirs.
        owed: permits that are to be given back as soon as they are not used.
        asked: permits that were asked for, and neither granted nor denied yet.
        denied: how often there was none.
        waiting: threads that want a permit; `urgent`: those that wait until there is one.
    """

    __slots__ = ("asked", "closing", "denied", "open", "owed", "permits", "urgent", "waiting", "yielding")

    def __init__(self) -> None:
        self.permits = self.open = self.closing = self.yielding = self.owed = 0
        self.asked = self.denied = self.waiting = self.urgent = 0

    @property
    def unused(self) -> int:
        return self.permits - self.open

    @property
    def is_unused(self) -> bool:
        """Whether there is no connection, and nobody who wants one."""
        return not (self.open or self.waiting or self.asked)

    def take(self) -> bool:
        """Use a permit for a connection, if one is not used."""
        is_free = self.unused > 0
        self.open += is_free
        return is_free

    def drop(self) -> None:
        """A connection does without its permit from now on."""
        self.open -= 1

    def wait(self, by: int, *, urgent: bool) -> None:
        """One thread more, or one less, waits."""
        self.waiting += by
        self.urgent += by * urgent

    def ask(self) -> bool:
        """Whether one more permit is to be asked for, for the threads that wait."""
        asks = self.asked < self.waiting
        self.asked += asks
        return asks

    def grant(self) -> None:
        """One more permit is there."""
        self.permits += 1
        self.asked = max(0, self.asked - 1)

    def deny(self) -> None:
        """There is none."""
        self.denied += 1
        self.asked = max(0, self.asked - 1)

    def owe(self, count: int) -> None:
        """So many permits are to be given back, or as many as there are."""
        self.owed = min(max(count, self.owed), self.permits)

    def give_back(self, count: int) -> None:
        """So many are given back."""
        self.permits -= count
        self.owed = min(self.owed - count, self.permits) if self.owed > count else 0

    def have_one_yield(self) -> bool:
        """Whether one more helper is to close its connection."""
        yields = self.owed + self.urgent > self.closing + self.yielding
        self.yielding += yields
        return yields

    def note(self, *, closing: int, yielded: bool) -> None:
        """So many connections more, or less, are closing; and a helper may have been the one that closed it."""
        self.closing += closing
        self.yielding = max(0, self.yielding - yielded)


class HostConnections:
    """The permits of this process, and the connections that have them. Any thread."""

    def __init__(
        self, limit: Limit | None = None, close_idle: Callable[[str, float], bool] = lambda _host, _idle_s: False
    ) -> None:
        """Without a limit, every connection may open.

        `close_idle` closes a connection to a host that has been idle for so many seconds, if there is one, without
        blocking; whether there was one.
        """
        self._limit = limit
        self._close_idle = close_idle
        self._hosts: dict[str, _Host] = {}
        self._forget_from = _MOST_HOSTS  # the number of hosts at which some are forgotten that have no connection
        self._changed = threading.Condition()
        self._closing = _Closing()

    def acquire(
        self, host: str, cancel: StopCheck, has_idle: Callable[[], bool], *, wait: bool = True
    ) -> Permit | None:
        """Get a permit for a new connection, and wait for it if need be.

        Returns:
            None where an idle connection has come back meanwhile, as `has_idle` says: take that.

        Raises:
            NoPermit: there is none now, and `wait` is False.
            Interrupted: `cancel` was set.
        """
        if self._limit is None:
            return Permit(None, host)
        with self._changed:
            unused = self._forget_hosts()
            state = self._hosts.setdefault(host, _Host())
            is_there = state.take()
            if not is_there:
                state.wait(1, urgent=wait)
        for other, count in unused:
            self._give_back(other, count)
        if is_there:
            return Permit(self, host)
        try:
            return self._wait_for_permit(self._limit, host, state, cancel, has_idle, wait=wait)
        finally:
            with self._changed:
                state.wait(-1, urgent=wait)
                given = self._settled(state, kept=state.waiting)
            self._give_back(host, given)

    def _wait_for_permit(
        self, limit: Limit, host: str, state: _Host, cancel: StopCheck, has_idle: Callable[[], bool], *, wait: bool
    ) -> Permit | None:
        denied, give_up_at = state.denied, time.monotonic() + _REPLY_WITHIN_S
        while True:
            cancel.check()
            if has_idle():
                return None
            with self._changed:
                if state.take():
                    return Permit(self, host)
                if not wait and (state.denied > denied or time.monotonic() >= give_up_at):
                    raise NoPermit(host)
                asks = state.ask()
            if asks:
                limit.ask(self, host, wait=wait)
                continue  # the answer may be there already
            self._close_idle(host, 0.0)  # that is one to another port of it
            with self._changed:
                if state.unused <= 0 and not has_idle():
                    self._changed.wait(_LOOK_EVERY_S)

    def became_idle(self, host: str) -> None:
        """A connection can be used by others now; or it goes, where another process waits for its permit."""
        if self._limit is None or (state := self._hosts.get(host)) is None:
            return
        if state.waiting:
            with self._changed:
                self._changed.notify_all()
        if state.owed:
            self._close_idle(host, 0.0)

    def yields(self, host: str) -> bool:
        """Whether a helper is to close its connection, for a file that waits for one. As many do as have to."""
        state = self._hosts.get(host)
        if state is None or not (state.owed or state.urgent):  # nearly always, and asked for each block
            return False
        with self._changed:
            return state.have_one_yield()

    # From the limit

    def grant(self, host: str) -> None:
        """See `Holder.grant`."""
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
            state.grant()
            self._changed.notify_all()
            given = self._settled(state, kept=state.waiting)
        self._give_back(host, given)

    def deny(self, host: str) -> None:
        """See `Holder.deny`."""
        with self._changed:
            if (state := self._hosts.get(host)) is not None:
                state.deny()
                self._changed.notify_all()

    def recall(self, host: str, count: int) -> None:
        """See `Holder.recall`."""
        if count:
            self._owe(host, count)
            while self.owes(host) and self._close_idle(host, 0.0):
                pass
            return
        closed = 0
        while self._close_idle(host, _LONG_IDLE_S):
            closed += 1
        self._owe(host, closed)

    def _owe(self, host: str, count: int) -> None:
        with self._changed:
            state = self._hosts.get(host)
            if state is None:
                return
            state.owe(count)
            given = self._settled(state, kept=state.waiting)
        self._give_back(host, given)

    def owes(self, host: str) -> bool:
        """Whether permits are to be given back, beyond those whose connections are closing."""
        with self._changed:
            state = self._hosts.get(host)
            return state is not None and state.owed > state.closing

    # From connections

    def close(self, host: str, sock: socket.socket | None, *, cut: bool) -> None:
        """See `Permit.close`. The permit is free as soon as the server has closed the connection too."""
        is_closed = not cut if sock is None else _is_closed_there(sock)
        if sock is not None and not is_closed:
            with suppress(OSError):  # not the method of an SSLSocket, see `_cut` in `sockets`
                socket.socket.shutdown(sock, socket.SHUT_RDWR if cut else socket.SHUT_WR)
        if sock is not None and (is_closed or cut):
            sock.close()
        self._note(host, closing=not is_closed, yielded=True)
        if is_closed:
            self.release(host)
        else:
            sock, within_s = (None, CUT_COUNTS_S) if cut else (sock, _CLOSE_WITHIN_S)
            self._closing.add(sock, within_s, lambda: self._closed(host))

    def release(self, host: str) -> None:
        """A connection is closed on both sides, or was never opened."""
        with self._changed:
            state = self._hosts[host]
            state.drop()
            given = self._settled(state)
            self._changed.notify_all()
        self._give_back(host, given)

    def _closed(self, host: str) -> None:
        self._note(host, closing=-1)
        self.release(host)

    def _note(self, host: str, *, closing: int = 0, yielded: bool = False) -> None:
        with self._changed:
            self._hosts[host].note(closing=closing, yielded=yielded)

    def _forget_hosts(self) -> list[tuple[str, int]]:
        """Of very many hosts, forget half of those without connections, the older ones; return their permits."""
        if len(self._hosts) < self._forget_from:
            return []
        unused = [host for host, state in self._hosts.items() if state.is_unused]
        forgotten = [(host, self._hosts.pop(host).permits) for host in unused[: len(unused) // 2 + 1]]
        self._forget_from = max(_MOST_HOSTS, len(self._hosts) + _MOST_HOSTS // 2)  # not to look at all for each
        return forgotten

    def _settled(self, state: _Host, kept: int = 0) -> int:
        """How many permits go back: what is owed and not used.

        `kept` of those that are not used stay: threads are about to use them. If they went back at once, two
        processes could pass a permit to and fro, and no request would be sent.
        """
        given = max(0, min(state.owed, state.unused - kept))
        state.give_back(given)
        return given

    def _give_back(self, host: str, count: int) -> None:
        if count and self._limit is not None:
            self._limit.give_back(self, host, count)


class NoPermit(Exception):
    """No connection to that host is free now."""


class Permit:
    """For one connection to a host: from before it opens until it is closed."""

    __slots__ = ("_connections", "host")

    def __init__(self, connections: HostConnections | None, host: str) -> None:
        self._connections = connections
        self.host = host

    def became_idle(self) -> None:
        """See `HostConnections.became_idle`. Call it when the connection can be taken by others."""
        if self._connections is not None:
            self._connections.became_idle(self.host)

    def close(self, sock: socket.socket | None, *, cut: bool) -> None:
        """Close the connection. `sock` is None where there is none, or somebody else has closed it just now.

        `cut` says that it was in the middle of an answer, so that the server does not expect it.
        """
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.close(self.host, sock, cut=cut)
        elif sock is not None:
            sock.close()


class HostPaused(Exception):
    """The host has asked for quiet since its connection was chosen."""


class Pauses(Protocol):
    """See `retry.HostPauses`."""

    def remaining_s(self, host: str) -> float: ...


class Admission(NamedTuple):
    """For one request to a host: the permit of its connection, and a last look before it is sent.

    Attributes:
        wait: until there is a permit. A helper does without.
        progress: says since when the host is waited for, and not others that have its connections.
    """

    connections: HostConnections
    pauses: Pauses
    host: str
    cancel: StopCheck
    wait: bool = True
    progress: WaitClock | None = None

    def permit(self, has_idle: Callable[[], bool]) -> Permit | None:
        """See `HostConnections.acquire`."""
        if self.progress is not None:
            self.progress.wait(None)
        permit = self.connections.acquire(self.host, self.cancel, has_idle, wait=self.wait)
        if self.progress is not None:
            self.progress.wait(time.monotonic())
        return permit

    def check(self) -> None:
        """Raise `HostPaused` where nothing may be sent now: to wait for a connection may have taken long."""
        if self.pauses.remaining_s(self.host) > 0:
            raise HostPaused(self.host)


class FileConnections:
    """The connections of one file: no more at a time than it may have, those included that the server still has to
    see closed. For threads that fetch it together.
    """

    __slots__ = ("_clock", "_cut", "_limit", "_lock", "_open")

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._open = 0
        self._cut: tuple[float, ...] = ()  # until when these count

    def enter(self, cancel: StopCheck, *, wait: bool = True) -> None:
        """Wait until one more may be used; then it is to `leave`.

        Raises:
            NoPermit: there is none now, and `wait` is False.
            Interrupted: `cancel` was set.
        """
        while not self._enters():
            if not wait:
                raise NoPermit
            cancel.check()
            time.sleep(_ENTER_EVERY_S)

    def _enters(self) -> bool:
        with self._lock:
            if self._cut:
                now = self._clock()
                self._cut = tuple(until for until in self._cut if until > now)
            has_room = self._open + len(self._cut) < self._limit
            self._open += has_room
            return has_room

    def leave(self, *, cut: bool) -> None:
        """It is not used any more; `cut` says that it was closed in the middle of an answer."""
        with self._lock:
            self._open -= 1
            if cut:
                self._cut += (self._clock() + CUT_COUNTS_S,)


class _Watched(NamedTuple):
    """A connection that this side has closed. `sock` is None where nothing tells when the other side has."""

    sock: socket.socket | None
    until: float
    then: Callable[[], None]


class _Closing:
    """Connections that are closed on this side, until they are on the other. Has a thread while there are some, and a
    moment longer: where each file comes from another host, one connection after another is closed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._new: list[_Watched] = []
        self._has_thread = False

    def add(self, sock: socket.socket | None, at_most_s: float, then: Callable[[], None]) -> None:
        """Call `then` when the other side has closed the connection, or after so long; then free the socket."""
        with self._changed:
            self._new.append(_Watched(sock, time.monotonic() + at_most_s, then))
            starts, self._has_thread = not self._has_thread, True
            self._changed.notify()
        if starts:
            try:
                threading.Thread(target=self._watch, daemon=True, name="closing").start()
            except RuntimeError:  # none can be started: the process is about to end, or there are too many
                self._watch(stay_s=0.0)

    def _watch(self, stay_s: float = _STAY_S) -> None:
        watched: list[_Watched] = []
        while True:
            with self._changed:
                if not (watched or self._new):
                    self._changed.wait(stay_s)
                watched += self._new
                self._new = []
                if not watched:
                    self._has_thread = False
                    return
            watched = self._looked_at(watched)

    @staticmethod
    def _looked_at(watched: list[_Watched]) -> list[_Watched]:
        """Wait a moment; those that are still open."""
        poll = select.poll()
        for one in watched:
            if one.sock is not None and one.sock.fileno() >= 0:
                poll.register(one.sock, select.POLLRDHUP)
        closed = {fd for fd, _ in poll.poll(1000 * _WATCH_EVERY_S)} | {-1}
        now = time.monotonic()
        still = []
        for one in watched:
            if one.until > now and (one.sock is None or one.sock.fileno() not in closed):
                still.append(one)
                continue
            if one.sock is not None:
                one.sock.close()
            one.then()
        return still


def _is_closed_there(sock: socket.socket) -> bool:
    """Whether the other side has closed a connection; False where the system does not tell."""
    if sock.fileno() < 0:
        return True
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _CLOSED_THERE
    except (OSError, AttributeError):
        return False
