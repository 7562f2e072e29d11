"""Connections for `requests` that are watched, that need a permit, and that can be closed while they are idle."""

from __future__ import annotations

import queue
import select
import threading
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from mediacrawl.transport.connection_limits import Admission, Permit
    from mediacrawl.transport.watchdog import HeadWatchdog
from mediacrawl.transport.addresses import check_peer
from mediacrawl.transport.http1 import StrictResponse

_HOSTS = 32  # number of origins with pools of kept connections
_MOST_KNOWN = 4 * _HOSTS  # number of hosts that had connections
_IDLE_PER_HOST = 16


class GuardedAdapter(HTTPAdapter):
    """The adapter of `requests`, over watched connections. A proxy is trusted to check the addresses it connects to.

    All threads share an adapter: a helper thread of the next file reuses an idle connection that another thread has
    left, without another handshake.
    """

    def __init__(self, watch: HeadWatchdog, *, block_private: bool) -> None:
        self._watch = watch
        self._pools = _pool_classes(watch, block_private=block_private)
        self._known: dict[str, WeakSet[Any]] = {}  # by host
        self._forget_from = _MOST_KNOWN  # number of hosts from which hosts without pools are forgotten
        self._lock = threading.RLock()  # reentrant: a pool may be finalised under it and return its permits
        super().__init__(_HOSTS, _IDLE_PER_HOST)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools
        self.pool = lru_cache(maxsize=_HOSTS)(self._pool)

    def proxy_manager_for(self, proxy: Any, **proxy_kwargs: Any) -> Any:
        """Return the manager of the connections to a proxy, which read responses as all other connections do."""
        with self._lock:
            is_new = proxy not in self.proxy_manager
            manager: Any = super().proxy_manager_for(proxy, **proxy_kwargs)
            if is_new:
                pools = manager.pool_classes_by_scheme.items()
                manager.pool_classes_by_scheme = {scheme: _watched_pool(kind, self._watch) for scheme, kind in pools}
        return manager

    def close(self) -> None:
        """Close all idle connections now.

        Otherwise urllib3 closes them when a pool has no references left, which may be at interpreter exit.
        """
        self.pool.cache_clear()
        for host in list(self._known):
            for pool in self._pools_to(host):
                pool.close()
        super().close()

    def close_idle(self, host: str, idle_s: float) -> bool:
        """Close the connection of a pool that has been idle for longest; see `Transport.close_idle`."""
        since = time.monotonic() - idle_s
        for pool in self._pools_to(host):
            if pool.pool is None:  # closed
                continue
            for connection in list(pool.pool.items):
                is_it = connection.permit is not None and connection.permit.host == host
                if is_it and connection.idle_at <= since and pool.pool.remove(connection):
                    connection.close()
                    return True
        return False

    def _pool(self, origin: str, verify: bool | str) -> HTTPConnectionPool:
        """Return a pool of connections to an origin, with the TLS settings of `HTTPAdapter.send`.

        `HTTPAdapter.send` computes these settings for each request; `pool` caches the result of this method.
        """
        request = requests.Request("GET", origin).prepare()
        pool = self.get_connection_with_tls_context(request, verify)
        self.cert_verify(pool, request.url, verify, None)  # type: ignore[no-untyped-call]
        assert isinstance(pool, HTTPConnectionPool)
        host = urlsplit(origin).hostname or ""
        with self._lock:
            self._known.setdefault(host, WeakSet()).add(pool)
            if len(self._known) > self._forget_from:
                self._known = {host: pools for host, pools in self._known.items() if pools}
                self._forget_from = max(_MOST_KNOWN, 2 * len(self._known))
        return pool

    def _pools_to(self, host: str) -> list[Any]:
        with self._lock:
            # The permits of a host hold another form of a name that is not ASCII, so all pools are candidates.
            pools = [self._known.get(host, ())] if host.isascii() else self._known.values()
            return [pool for of_host in pools for pool in of_host]


class _Idle:
    """The idle connections of a pool, last in, first out: `queue.LifoQueue` without its locks.

    No thread waits for an item, and the methods of a list are thread-safe.
    """

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self.items: list[Any] = []

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        try:
            return self.items.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: Any, block: bool = True) -> None:
        """Add a connection. If the pool is full, close the connection that has been idle for longest."""
        if item is None:  # urllib3 fills a new pool with None
            return
        self.items.append(item)
        if len(self.items) > self._maxsize:
            with suppress(IndexError):
                self.items.pop(0).close()

    def remove(self, item: Any) -> bool:
        """Remove a connection and return whether it was still in the pool."""
        try:
            self.items.remove(item)
        except ValueError:
            return False
        return True

    def qsize(self) -> int:
        return len(self.items)


class _Permitted:
    """A connection that may need a permit.

    Attributes:
        permit: the permit of this connection; None if it has none.
        is_cut: whether a response is in progress, so that closing the connection now would cut it off.
        idle_at: monotonic time at which the last response ended, in seconds.
    """

    sock: Any
    timeout: Any
    permit: Permit | None = None
    is_cut = False
    idle_at = 0.0

    def get_permit(self, admission: Admission, has_idle: Callable[[], bool]) -> bool:
        """Acquire a permit as `Admission.permit` does, and return whether the connection has a permit now."""
        self.permit = admission.permit(has_idle)
        return self.permit is not None

    def begin(self, timeout_s: float) -> None:
        """Prepare for a request that is about to be sent."""
        self.is_cut, self.timeout = self.sock is not None, timeout_s

    def end(self) -> None:
        """Record that the response has been read to its end."""
        self.is_cut, self.idle_at = False, time.monotonic()


class _Target(threading.local):
    """The request target that the thread sends with a session; None outside `sending`."""

    value: str | None = None

    def set(self, target: str | None) -> None:
        self.value = target


_target = _Target()


@contextmanager
def sending(target: str) -> Iterator[None]:
    """Send the requests of the block with this target: `requests` and urllib3 would rewrite it."""
    _target.set(target)
    try:
        yield
    finally:
        _target.set(None)


class _Watched:
    """A connection whose responses are read by `StrictResponse`, and each head within a time limit."""

    sock: Any
    timeout: Any
    watch: HeadWatchdog
    response_class: Any = StrictResponse

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Begin a request with the target of `sending`, in absolute form for a proxy (RFC 9112 3.2.2)."""
        if (target := _target.value) is not None:
            url = target if url.startswith("/") else url[: url.find("/", url.find("//") + 2)] + target
        super().putrequest(method, url, *args, **kwargs)  # type: ignore[misc]

    def getresponse(self) -> Any:
        with self.watched():
            return super().getresponse()  # type: ignore[misc]

    def watched(self) -> AbstractContextManager[None]:
        """Return a context manager that limits the time in which the head of a response is read."""
        return self.watch.watching(self.sock, self.timeout)


def _watched_pool(kind: Any, watch: HeadWatchdog) -> Any:
    """Return a subclass of a class of pools, whose connections are watched."""
    connection = type(kind.ConnectionCls.__name__, (_Watched, kind.ConnectionCls), {"watch": watch})
    return type(kind.__name__, (kind,), {"ConnectionCls": connection})


def _pool_classes(head_watch: HeadWatchdog, *, block_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    class Guard(_Permitted, _Watched):
        watch = head_watch

        def _new_conn(self) -> socket.socket:
            """Connect. If that fails, `is_cut` stays False, as the server has no connection to close."""
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]
            self.is_cut = True
            return sock

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            if block_private:
                check_peer(self.sock)
            self._readable = select.poll()
            self._readable.register(self.sock, select.POLLIN)

        @property
        def is_connected(self) -> bool:
            """Whether the server has neither closed the idle connection nor sent data; read before each request."""
            return self.sock is not None and not self._readable.poll(0)

        def close(self) -> None:
            permit, self.permit = self.permit, None
            if permit is None:
                super().close()  # type: ignore[misc]
                return
            sock, self.sock = self.sock, None
            try:
                super().close()  # type: ignore[misc]
            finally:
                permit.close(sock, cut=self.is_cut)

    class Plain(Guard, HTTPConnection):
        pass

    class TLS(Guard, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Plain
        QueueCls = _Idle  # type: ignore[assignment]

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = TLS
        QueueCls = _Idle  # type: ignore[assignment]

    return {"http": Pool, "https": TLSPool}
