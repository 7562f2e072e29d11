"""Connections for `requests` that are watched, that need a permit, and that can be closed while they are idle."""

from __future__ import annotations

import http.client
import queue
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from mediacrawl.transport.authorities import Authorities
    from mediacrawl.transport.connection_limits import Admission, Permit
    from mediacrawl.transport.watchdog import HeadWatchdog
from mediacrawl.errors import PackageMissing, UsageProblem, redact_url
from mediacrawl.transport.addresses import PrivateAddress
from mediacrawl.transport.connecting import Winners, connect
from mediacrawl.transport.errors import TunnelBroken
from mediacrawl.transport.http1 import StrictResponse, waking
from mediacrawl.transport.proxies import is_socks

_HOSTS = 32  # number of origins with pools of kept connections
_MOST_KNOWN = 4 * _HOSTS  # number of hosts that had connections
_IDLE_PER_HOST = 16


class GuardedAdapter(HTTPAdapter):
    """The adapter of `requests`, over watched connections. A proxy is trusted to check the addresses it connects to.

    All threads share an adapter: a helper thread of the next file reuses an idle connection that another thread has
    left, without another handshake.
    """

    def __init__(
        self,
        watch: HeadWatchdog,
        *,
        authorities: Authorities | None,
        connect_timeout_s: float,
        block_private: bool,
    ) -> None:
        check_urllib3()
        self._authorities = authorities
        watched = _watched_class(watch, connect_timeout_s)
        self._watched = watched
        self._pools = _pool_classes(watched, block_private=block_private)
        self._known: dict[str, WeakSet[Any]] = {}  # by host
        self._forget_from = _MOST_KNOWN  # number of hosts from which hosts without pools are forgotten
        self._lock = threading.RLock()  # reentrant: a pool may be finalised under it and return its permits
        super().__init__(_HOSTS, _IDLE_PER_HOST)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools
        self.pool = lru_cache(maxsize=_HOSTS)(self._pool)

    def proxy_manager_for(self, proxy: Any, **proxy_kwargs: Any) -> Any:
        """Return the manager of the connections to a proxy, which read responses as all other connections do.

        Raises:
            PackageMissing: the proxy is a SOCKS proxy, and PySocks is not installed.
        """
        with self._lock:
            manager: Any = self.proxy_manager.get(proxy)
            if manager is not None:
                return manager
            if is_socks(proxy):  # not the class that `requests` knows: other packages replace that one
                make = _socks_manager(proxy)
                manager = make(proxy, num_pools=_HOSTS, maxsize=_IDLE_PER_HOST, **proxy_kwargs)
                self.proxy_manager[proxy] = manager
            else:
                manager = super().proxy_manager_for(proxy, **proxy_kwargs)
            pools = manager.pool_classes_by_scheme.items()
            manager.pool_classes_by_scheme = {scheme: _watched_pool(kind, self._watched) for scheme, kind in pools}
        return manager

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        """Return the pool for a request, without `select_proxy`: other packages replace it for the whole process."""
        try:
            host, tls = self.build_connection_pool_key_attributes(request, verify, cert)
        except ValueError as error:
            raise requests.exceptions.InvalidURL(error, request=request) from None
        proxy = _proxy_among(request, proxies)
        manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
        pool: HTTPConnectionPool = manager.connection_from_host(**host, pool_kwargs=tls)
        return pool

    def request_url(self, request: Any, proxies: Any) -> str:
        """Return the target of a request, in the form for its proxy (RFC 9112 3.2), likewise."""
        proxy = _proxy_among(request, proxies)
        is_forwarded = bool(proxy) and not is_socks(proxy) and request.url.lower().startswith("http:")
        target = requests.utils.urldefragauth(request.url) if is_forwarded else request.path_url
        return str(target)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Set the authorities of a pool: a file and a folder, where `requests` has either."""
        if self._authorities is None or not verify or not url.lower().startswith("https"):
            super().cert_verify(conn, url, False, cert)  # type: ignore[no-untyped-call]
            return
        conn.cert_reqs = "CERT_REQUIRED"
        conn.ca_certs, conn.ca_cert_dir = self._authorities

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
        self.cert_verify(pool, request.url or "", verify, None)
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


def check_urllib3() -> None:
    """Refuse to work with urllib3-future, which the installation of `niquests` puts in the place of urllib3.

    Raises:
        UsageProblem: the connections of urllib3 are not those of the standard library.
    """
    if not issubclass(HTTPConnection, http.client.HTTPConnection):
        raise UsageProblem(
            "urllib3 is replaced by urllib3-future, which niquests installs over it: pip uninstall niquests "
            "urllib3-future, and pip install --force-reinstall urllib3; or set MEDIACRAWL_TRANSPORT=curl"
        )


def _proxy_among(request: Any, proxies: Any) -> str | None:
    proxy: str | None = (proxies or {}).get(urlsplit(request.url).scheme.lower())
    return proxy


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
    """The request target that the thread sends with a session, and the admission of the request; None outside."""

    value: str | None = None
    admission: Admission | None = None

    def set(self, target: str | None) -> None:
        self.value = target

    def admit(self, admission: Admission | None) -> None:
        self.admission = admission


_target = _Target()


@contextmanager
def sending(target: str) -> Iterator[None]:
    """Send the requests of the block with this target: `requests` and urllib3 would rewrite it."""
    _target.set(target)
    try:
        yield
    finally:
        _target.set(None)


@contextmanager
def waited_for(admission: Admission | None) -> Iterator[None]:
    """Wait for the responses in the block as `http1.waking` does: a session does not pass an admission on."""
    _target.admit(admission)
    try:
        yield
    finally:
        _target.admit(None)


class _Watched:
    """A connection that is made and watched in the same way for all origins and proxies.

    The connection is made to the address that answers first, within its own time limit. Responses are read by
    `StrictResponse`, and each head within a time limit.
    """

    host: Any
    port: Any
    sock: Any
    timeout: Any
    socket_options: Any
    _dns_host: str
    watch: HeadWatchdog
    winners: Winners
    connect_timeout_s: float
    public_only = False
    response_class: Any = StrictResponse

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Begin a request with the target of `sending`, in absolute form for a proxy (RFC 9112 3.2.2)."""
        if (target := _target.value) is not None:
            url = target if url.startswith("/") else url[: url.find("/", url.find("//") + 2)] + target
        super().putrequest(method, url, *args, **kwargs)  # type: ignore[misc]

    def getresponse(self) -> Any:
        with self.watched(), waking(self.sock, _target.admission):
            return super().getresponse()  # type: ignore[misc]

    def watched(self) -> AbstractContextManager[None]:
        """Return a context manager that limits the time in which the head of a response is read."""
        return self.watch.watching(self.sock, self.timeout)

    def connect(self) -> None:
        """Connect, with the handshakes of TLS and of a proxy.

        Raises:
            ConnectTimeoutError: the time limit has passed; urllib3 raises it only for the connection itself.
        """
        try:
            super().connect()  # type: ignore[misc]
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the handshake timed out") from error
        self.sock.settimeout(self.timeout)

    def _new_conn(self) -> socket.socket:
        """Return a connected socket. Raises the exceptions of urllib3."""
        try:
            self._dns_host.encode("idna")
            return connect(
                self._dns_host,
                self.port,
                self.connect_timeout_s,
                self.socket_options or (),
                self.winners,
                public_only=self.public_only,
            )
        except PrivateAddress:
            raise
        except UnicodeError:
            raise LocationParseError(f"{self._dns_host!r}, label empty or too long") from None
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "timed out") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error  # type: ignore[arg-type]

    def _tunnel(self) -> None:
        """Have the proxy connect to the origin.

        Raises:
            TunnelBroken: the proxy has ended the connection, or has sent no response of HTTP.
        """
        try:
            with self.watched():
                super()._tunnel()  # type: ignore[misc]
        except TimeoutError:
            raise
        except (http.client.HTTPException, ConnectionError, HTTPError) as error:
            raise TunnelBroken(str(error)) from error


def _watched_class(head_watch: HeadWatchdog, time_limit_s: float) -> type[_Watched]:
    class Watched(_Watched):
        watch = head_watch
        winners = Winners()
        connect_timeout_s = time_limit_s

    return Watched


def _watched_pool(kind: Any, watched: type[_Watched]) -> Any:
    """Return a subclass of a class of pools, whose connections are watched."""
    made = kind.ConnectionCls
    more = {}
    if made.__name__.startswith("SOCKS"):
        more["_new_conn"] = made._new_conn  # noqa: SLF001 - connects to the proxy, and has it connect to the origin
    connection = type(made.__name__, (watched, made), more)
    return type(kind.__name__, (kind,), {"ConnectionCls": connection})


def _socks_manager(proxy: str) -> Any:
    try:
        return import_module("urllib3.contrib.socks").SOCKSProxyManager
    except ImportError:
        raise PackageMissing(
            f"the proxy {redact_url(proxy)} needs PySocks: pip install 'mediacrawl[socks]', or choose another proxy"
        ) from None


def _pool_classes(watched: type[_Watched], *, block_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    class Guard(_Permitted, watched):  # type: ignore[valid-type, misc]
        public_only = block_private

        def _new_conn(self) -> socket.socket:
            """Connect. If that fails, `is_cut` stays False, as the server has no connection to close."""
            sock: socket.socket = super()._new_conn()
            self.is_cut = True
            return sock

        def connect(self) -> None:
            super().connect()
            self._readable = select.poll()
            self._readable.register(self.sock, select.POLLIN)

        @property
        def is_connected(self) -> bool:
            """Whether the server has neither closed the idle connection nor sent data; read before each request."""
            return self.sock is not None and not self._readable.poll(0)

        def close(self) -> None:
            permit, self.permit = self.permit, None
            if permit is None:
                super().close()
                return
            sock, self.sock = self.sock, None
            try:
                super().close()
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
