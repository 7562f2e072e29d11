"""Limit the number of open connections to each host, over all threads and processes of a run.

A connection needs a permit from before it opens until the server has closed its side too. An idle connection
therefore counts.

    ConnectionLimit     one for a run, in the leading process: grants permits, recalls unused permits
    HostConnections     one for each process: its permits, and the connections that use them
    Permit              one for each connection

A process that closes a connection keeps the permit for its next connection, and a process that keeps its connections
alive requests no permits. When a permit is requested and none is free, all other holders of permits are requested to
return their unused permits, and to close an idle connection for that purpose. Only `acquire` blocks.
"""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections import Counter, deque
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager


# A connection closed in the middle of a response counts for this time after its close. A server that is sending
# notices the close with one of its next packets, and this side cannot observe when.
CUT_COUNTS_S = 0.1
_CLOSE_WITHIN_S = 2.0  # after this time the server is assumed to have closed its side
_WATCH_EVERY_S = 0.002
_STAY_S = 1.0  # how long the watching thread stays with nothing to watch
_LONG_IDLE_S = 1.0
_ENTER_EVERY_S = 0.005
_LOOK_EVERY_S = 0.1  # interval of the checks for a stop, while waiting for a permit
_REPLY_WITHIN_S = 2.0
_MOST_HOSTS = 512  # hosts with kept unused permits: a further request to a host soon needs no new permit
# States of tcp_states.h of Linux in which the other side has closed the connection.
_CLOSED_THERE = {6, 7, 8, 9, 11}


class Wakeable(Protocol):
    """See `download.cancel.Abortable`."""

    def abort(self) -> None:
        """Wake the thread that blocks."""


class StopCheck(Protocol):
    """See `download.cancel.Cancel`."""

    def check(self) -> None:
        """Raise `Interrupted` if a stop was requested."""

    def watch(self, answer: Wakeable) -> AbstractContextManager[None]:
        """Abort `answer` on a stop while the `with` block runs. Raises `Interrupted` if already stopped."""


class WaitClock(Protocol):
    """See `download.progress.Progress`."""

    def wait(self, since_s: float | None) -> None:
        """Note since when a response is waited for; None ends the wait."""


class Holder(Protocol):
    """A holder of permits. Its methods may be called from any thread, and must not block."""

    def grant(self, host: str) -> None:
        """Receive a permit: another connection to the host may be open."""

    def deny(self, host: str) -> None:
        """Receive a refusal: no permit is free now, and this request will not be granted later."""

    def recall(self, host: str, count: int) -> None:
        """Return `count` permits as soon as they are unused; 0: return all permits unused for a while."""


class Limit(Protocol):
    """A source of permits. Its decisions are sent to the holder, at once or later."""

    def ask(self, holder: Holder, host: str, *, wait: bool) -> None:
        """Request a permit for a holder.

        The holder receives a `grant`, now or as soon as a permit is free. Without `wait`, the holder receives a
        `deny` if no permit is free now.
        """

    def give_back(self, holder: Holder, host: str, count: int) -> None:
        """Return `count` permits of a holder: they are free."""


class _Granted:
    """The permits granted for a host, and the holders that wait for a permit.

    Not a dataclass: the import of `dataclasses` takes a twentieth of the start-up time of `get`.
    """

    __slots__ = ("granted", "waiting")

    def __init__(self) -> None:
        self.granted: Counter[Holder] = Counter()
        self.waiting: deque[Holder] = deque()

    def drop(self, holder: Holder) -> None:
        """Remove the permits of a holder and its requests for permits."""
        self.granted.pop(holder, None)
        self.waiting = deque(other for other in self.waiting if other is not holder)

    def tidy(self) -> None:
        """Forget the holders that have no permits."""
        self.granted = +self.granted


class ConnectionLimit:
    """The permits of a run. Requests for permits are served in the order in which they were made."""

    def __init__(self, limit: int) -> None:
        """Set the number of connections that may be open to each host; 0 means no limit."""
        self._limit = limit
        self._parts: dict[str, dict[str, int]] = {}
        self._hosts: dict[str, _Granted] = {}
        self._notifications: deque[Callable[[], None]] = deque()
        self._is_notifying = False
        self._lock = threading.Lock()

    def allow(self, host: str, limit: int, part: str = "") -> None:
        """Set the limit of a host. The limits of several parts of a host (Scrapy download slots) add up."""
        if part == host and limit == self._limit and host not in self._parts:  # nearly always
            return
        with self._lock:
            self._parts.setdefault(host, {})[part] = limit

    def limit_of(self, host: str) -> float:
        """Return how many connections to a host may be open; infinity if the number is not limited."""
        parts = self._parts.get(host)
        limits = list(parts.values()) if parts else [self._limit]
        return math.inf if 0 in limits else sum(limits)

    def held(self, holder: Holder, host: str) -> int:
        """Return the number of permits that a holder has for a host, used or unused."""
        permits = self._hosts.get(host)
        return permits.granted[holder] if permits is not None else 0

    def ask(self, holder: Holder, host: str, *, wait: bool) -> None:
        """See `Limit.ask`."""
        with self._lock:
            permits = self._hosts.setdefault(host, _Granted())
            if not permits.waiting and self._has_room(host, permits):
                permits.granted[holder] += 1
                self._notifications.append(partial(holder.grant, host))
            else:
                if wait:
                    permits.waiting.append(holder)
                others = [other for other, count in permits.granted.items() if count and other is not holder]
                self._recall(host, others, len(permits.waiting))
                if not wait:
                    self._notifications.append(partial(holder.deny, host))
        self._notify()

    def give_back(self, holder: Holder, host: str, count: int) -> None:
        """See `Limit.give_back`."""
        with self._lock:
            permits = self._hosts.get(host)
            if permits is None:
                return
            permits.granted[holder] -= min(count, permits.granted[holder])
            self._serve(host, permits)
        self._notify()

    def drop(self, holder: Holder) -> None:
        """Free the permits of a holder that has ended, and discard its requests for permits."""
        with self._lock:
            for host, permits in list(self._hosts.items()):
                if holder in permits.granted or holder in permits.waiting:
                    permits.drop(holder)
                    self._serve(host, permits)
        self._notify()

    def _serve(self, host: str, permits: _Granted) -> None:
        """Grant free permits to the waiting holders. If a holder still waits afterwards, recall permits."""
        while permits.waiting and self._has_room(host, permits):
            holder = permits.waiting.popleft()
            permits.granted[holder] += 1
            self._notifications.append(partial(holder.grant, host))
        permits.tidy()
        if permits.waiting:
            self._recall(host, permits.granted, len(permits.waiting))
        elif not permits.granted:
            del self._hosts[host]

    def _recall(self, host: str, holders: Iterable[Holder], needed: int) -> None:
        self._notifications += [partial(holder.recall, host, needed) for holder in holders]

    def _notify(self) -> None:
        """Send the decisions to the holders in order, so that a grant precedes the recall of the same permit.

        Only one thread at a time sends, and it also sends the decisions of other threads. The lock is not held
        meanwhile, as a holder may call a method of the limit.
        """
        with self._lock:
            if self._is_notifying:
                return
            self._is_notifying = True
        try:
            while notify := self._next_notification():
                notify()
        except BaseException:
            self._is_notifying = False
            raise

    def _next_notification(self) -> Callable[[], None] | None:
        with self._lock:
            self._is_notifying = bool(self._notifications)
            return self._notifications.popleft() if self._notifications else None

    def _has_room(self, host: str, permits: _Granted) -> bool:
        return permits.granted.total() < self.limit_of(host)


class _Host:
    """The connections of this process to one host.

    Attributes:
        permits: permits granted to this process.
        open: connections with a permit: busy, idle, or closing.
        closing: connections closed on this side, but not on the server's side yet.
        yielding: helper threads that are about to close their connections.
        owed: permits that have to be returned as soon as they are unused.
        asked: requested permits that are neither granted nor denied yet.
        denied: number of denied requests.
        waiting: threads that want a permit.
        urgent: threads among them that wait until a permit is granted.
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
        """Whether there is neither a connection nor a thread that wants a connection."""
        return not (self.open or self.waiting or self.asked)

    def take(self) -> bool:
        """Use a permit for a new connection, and return whether an unused permit was available."""
        is_free = self.unused > 0
        self.open += is_free
        return is_free

    def drop(self) -> None:
        """Count a connection as closed, so that its permit is unused."""
        self.open -= 1

    def wait(self, by: int, *, urgent: bool) -> None:
        """Change the number of waiting threads by `by`: 1 or -1."""
        self.waiting += by
        self.urgent += by * urgent

    def ask(self) -> bool:
        """Return whether to request another permit for the waiting threads, and count that request."""
        asks = self.asked < self.waiting
        self.asked += asks
        return asks

    def grant(self) -> None:
        """Count a permit that was granted."""
        self.permits += 1
        self.asked = max(0, self.asked - 1)

    def deny(self) -> None:
        """Count a denied request."""
        self.denied += 1
        self.asked = max(0, self.asked - 1)

    def owe(self, count: int) -> None:
        """Record that at least `count` permits have to be returned, or all permits if there are fewer."""
        self.owed = min(max(count, self.owed), self.permits)

    def give_back(self, count: int) -> None:
        """Remove `count` returned permits from the numbers."""
        self.permits -= count
        self.owed = min(self.owed - count, self.permits) if self.owed > count else 0

    def have_one_yield(self) -> bool:
        """Return whether another helper thread has to close its connection, and count that thread."""
        yields = self.owed + self.urgent > self.closing + self.yielding
        self.yielding += yields
        return yields

    def note(self, *, closing: int, yielded: bool) -> None:
        """Add `closing` to the number of closing connections.

        `yielded` means that the connection may have been closed by a helper thread.
        """
        self.closing += closing
        self.yielding = max(0, self.yielding - yielded)


class HostConnections:
    """The permits of this process, and the connections that use them. Thread-safe."""

    def __init__(
        self, limit: Limit | None = None, close_idle: Callable[[str, float], bool] = lambda _host, _idle_s: False
    ) -> None:
        """Initialise without any permits. If `limit` is None, every connection may open.

        `close_idle` takes a host and a number of seconds. It closes a connection to the host that has been idle for
        at least that time, without blocking, and returns whether it closed a connection.
        """
        self._limit = limit
        self._close_idle = close_idle
        self._hosts: dict[str, _Host] = {}
        self._forget_from = _MOST_HOSTS  # number of hosts from which some hosts without connections are forgotten
        self._changed = threading.Condition()
        self._closing = _Closing()

    def acquire(
        self, host: str, cancel: StopCheck, has_idle: Callable[[], bool], *, wait: bool = True
    ) -> Permit | None:
        """Acquire a permit for a new connection, and wait for it if necessary.

        Returns:
            The permit. None if a connection became idle meanwhile, according to `has_idle`: the caller has to use
            that connection.

        Raises:
            NoPermit: no permit is free now, and `wait` is False.
            Interrupted: `cancel` was set.
        """
        if self._limit is None:
            return Permit(None, host)
        if len(self._hosts) >= self._forget_from:
            self._forget_hosts()
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
            if state.take():
                return Permit(self, host)
            state.wait(1, urgent=wait)
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
                continue  # the limit may have granted or denied it already
            self._close_idle(host, 0.0)  # `has_idle` is False: this closes a connection to another port of the host
            with self._changed:
                if state.unused <= 0 and not has_idle():
                    self._changed.wait(_LOOK_EVERY_S)

    def became_idle(self, host: str) -> None:
        """Notify waiting threads that a connection has become idle and can be reused.

        If another process waits for a permit of this host, an idle connection is closed.
        """
        if self._limit is None or (state := self._hosts.get(host)) is None:
            return
        if state.waiting:
            with self._changed:
                self._changed.notify_all()
        if state.owed:
            self._close_idle(host, 0.0)

    def yields(self, host: str) -> bool:
        """Return whether a helper thread has to close its connection, because another file waits for a connection.

        The result is True for no more helper threads than necessary.
        """
        state = self._hosts.get(host)
        if state is None or not (state.owed or state.urgent):  # nearly always; called for each block
            return False
        with self._changed:
            return state.have_one_yield()

    # Called by the limit

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
        """Return whether more permits are owed than connections are closing."""
        with self._changed:
            state = self._hosts.get(host)
            return state is not None and state.owed > state.closing

    # Called by the connections

    def close(self, host: str, sock: socket.socket | None, *, cut: bool) -> None:
        """Close a connection; see `Permit.close`. The permit is free once the server has closed its side too."""
        is_closed = not cut if sock is None else _is_closed_there(sock)
        if sock is not None and not is_closed:
            with suppress(OSError):  # not `SSLSocket.shutdown`, see `watchdog.cut`
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
        """Free the permit of a connection that is closed on both sides, or was never opened."""
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

    def _forget_hosts(self) -> None:
        """Forget the older half of the hosts without connections, and give their permits back."""
        with self._changed:
            unused = [host for host, state in self._hosts.items() if state.is_unused]
            forgotten = [(host, self._hosts.pop(host).permits) for host in unused[: len(unused) // 2 + 1]]
            # Not to look at all hosts again for each further host.
            self._forget_from = max(_MOST_HOSTS, len(self._hosts) + _MOST_HOSTS // 2)
        for host, count in forgotten:
            self._give_back(host, count)

    def _settled(self, state: _Host, kept: int = 0) -> int:
        """Remove the owed permits that are unused, and return their number; the caller returns them to the limit.

        `kept` unused permits remain, because waiting threads are about to use them. If these permits were returned at
        once, two processes could pass a permit back and forth without sending any request.
        """
        given = max(0, min(state.owed, state.unused - kept))
        state.give_back(given)
        return given

    def _give_back(self, host: str, count: int) -> None:
        if count and self._limit is not None:
            self._limit.give_back(self, host, count)


class NoPermit(Exception):
    """No further connection to the host may be opened now."""


class Permit:
    """The permit for a connection to a host, from before the connection opens until it is closed."""

    __slots__ = ("_connections", "host")

    def __init__(self, connections: HostConnections | None, host: str) -> None:
        self._connections = connections
        self.host = host

    def became_idle(self) -> None:
        """Report that the connection can be reused by other threads; see `HostConnections.became_idle`."""
        if self._connections is not None:
            self._connections.became_idle(self.host)

    def close(self, sock: socket.socket | None, *, cut: bool) -> None:
        """Close the connection. `sock` is None if there is no connection, or if other code has just closed it.

        `cut` is True if the close happens in the middle of a response, so that the server does not expect it.
        """
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.close(self.host, sock, cut=cut)
        elif sock is not None:
            sock.close()


class HostPaused(Exception):
    """The host requested a pause after the connection for the request was chosen."""


class Pauses(Protocol):
    """See `download.retry.HostPauses`."""

    def remaining_s(self, host: str) -> float:
        """Return the seconds until requests may be sent to the host."""
        ...


class Admission(NamedTuple):
    """The admission of a request to a host: the permit of its connection, and a final check before sending.

    Attributes:
        wait: whether to wait for a permit. A helper thread does not wait.
        progress: records since when the transfer waits for the host. The time spent waiting for a permit, while other
            transfers use the connections, does not count.
    """

    connections: HostConnections
    pauses: Pauses
    host: str
    cancel: StopCheck
    wait: bool = True
    progress: WaitClock | None = None

    def permit(self, has_idle: Callable[[], bool]) -> Permit | None:
        """Acquire a permit as `HostConnections.acquire` does, and update `progress`."""
        if self.progress is not None:
            self.progress.wait(None)
        permit = self.connections.acquire(self.host, self.cancel, has_idle, wait=self.wait)
        if self.progress is not None:
            self.progress.wait(time.monotonic())
        return permit

    def check(self) -> None:
        """Raise `HostPaused` if the host is paused now: the wait for a connection may have taken long."""
        if self.pauses.remaining_s(self.host) > 0:
            raise HostPaused(self.host)

    def waking(self, wait_for_head: Wakeable) -> AbstractContextManager[None]:
        """Return a context manager that aborts the wait of a helper thread on a stop.

        Helper threads are stopped while the run goes on. A stop of the run ends all waits, see `Transport.abort`.
        """
        return nullcontext() if self.wait else self.cancel.watch(wait_for_head)


class FileConnections:
    """Limits the number of connections that the threads of a file use at the same time.

    Connections that the server has not seen closed yet are included.
    """

    __slots__ = ("_clock", "_cut", "_limit", "_lock", "_open")

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._open = 0
        self._cut: tuple[float, ...] = ()  # monotonic times until which cut connections count

    def enter(self, cancel: StopCheck, *, wait: bool = True) -> None:
        """Wait until another connection may be used, and count it. The caller has to call `leave` afterwards.

        Raises:
            NoPermit: no further connection is allowed now, and `wait` is False.
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
        """Count a connection as no longer in use; `cut` means that it was closed in the middle of a response."""
        with self._lock:
            self._open -= 1
            if cut:
                self._cut += (self._clock() + CUT_COUNTS_S,)


class _Watched(NamedTuple):
    """A connection closed on this side. `sock` is None if the close on the other side cannot be observed."""

    sock: socket.socket | None
    until: float
    then: Callable[[], None]


class _Closing:
    """The connections that are closed on this side, but not on the other side yet.

    A thread runs while there are any, and a moment longer: if each file is on another host, connections are closed in
    quick succession.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._new: list[_Watched] = []
        self._has_thread = False

    def add(self, sock: socket.socket | None, at_most_s: float, then: Callable[[], None]) -> None:
        """Watch a connection until the other side closes it, or for `at_most_s` seconds.

        Close the socket and call `then` afterwards.
        """
        with self._changed:
            self._new.append(_Watched(sock, time.monotonic() + at_most_s, then))
            starts, self._has_thread = not self._has_thread, True
            self._changed.notify()
        if starts:
            try:
                threading.Thread(target=self._watch, daemon=True, name="closing").start()
            except RuntimeError:  # no thread can start: the interpreter is exiting, or there are too many threads
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
        """Wait a moment, finish the closed and expired connections, and return the rest."""
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
    """Return whether the other side has closed a connection; False if the system does not report the state."""
    if sock.fileno() < 0:
        return True
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _CLOSED_THERE
    except (OSError, AttributeError):
        return False
