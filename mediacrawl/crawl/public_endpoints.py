"""The connections of Scrapy's download handlers, to public addresses only.

A handler of Scrapy (2.19) has a pool, and gives it an endpoint for each connection that it needs. The endpoint
resolves the name of the host and has the reactor connect to one address after the other. Here the endpoint gets a
reactor that refuses an address before a socket is opened for it: whatever resolved the name, and whenever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.web.client import HTTPConnectionPool
from zope.interface import directlyProvides, providedBy

from mediacrawl.transport.addresses import PrivateAddress, check_address

if TYPE_CHECKING:
    from twisted.python.failure import Failure

_PROXY = b"http-proxy"  # begins the key of a connection to a proxy, which may have any address


def connects_to_public(handler: Any) -> bool:
    """Have a download handler connect to public addresses, and to proxies; repeated calls change nothing.

    Return whether that is possible: it is not for a handler of another kind than Scrapy's own for http and https.
    """
    pool: Any = getattr(handler, "_pool", None)
    if isinstance(getattr(pool, "getConnection", None), _Http1Connections):
        return True
    if isinstance(getattr(pool, "get_connection", None), _Http2Connections):
        return True
    if isinstance(pool, HTTPConnectionPool):
        pool.getConnection = _Http1Connections(pool)  # type: ignore[method-assign]
        return True
    if type(pool).__module__ == "scrapy.core._http2.agent":
        pool.get_connection = _Http2Connections(pool)
        return True
    return False


class _Http1Connections:
    """`HTTPConnectionPool.getConnection`, to public addresses."""

    def __init__(self, pool: Any) -> None:
        self._get = pool.getConnection

    def __call__(self, key: Any, endpoint: Any) -> Deferred[Any]:
        from scrapy.core.downloader.handlers.http11 import (  # noqa: PLC0415 - slow to import, and loaded by now
            _TunnelingTCP4ClientEndpoint,
        )

        is_of_proxy = key[0] == _PROXY or isinstance(endpoint, _TunnelingTCP4ClientEndpoint)
        if not is_of_proxy and not _refuses_private(endpoint):
            return fail(_unchecked(endpoint))
        connection: Deferred[Any] = self._get(key, endpoint)
        return connection


class _Http2Connections:
    """`H2ConnectionPool.get_connection`, to public addresses. No proxy is used for HTTP/2."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._get = pool.get_connection

    def __call__(self, key: Any, uri: Any, endpoint: Any) -> Deferred[Any]:
        if not _refuses_private(endpoint):
            return fail(_unchecked(endpoint))
        attempt = _Attempt(endpoint)
        connection: Deferred[Any] = self._get(key, uri, attempt)
        attempt.failed.addErrback(self._fail, key)
        return connection

    def _fail(self, failure: Failure, key: Any) -> None:
        for waiting in self._pool._pending_requests.pop(key, ()):  # noqa: SLF001
            if not waiting.called:
                waiting.errback(failure)


class _Attempt:
    """An endpoint whose failure is told apart: Scrapy's pool for HTTP/2 (2.19) would wait until the time limit.

    Attributes:
        failed: fires with the failure.
    """

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint
        self.failed: Deferred[None] = Deferred()

    def connect(self, factory: Any) -> Deferred[Any]:
        """Return the connection; the result never comes if the connection fails."""
        connected: Deferred[Any] = Deferred()
        self._endpoint.connect(factory).addCallbacks(connected.callback, self.failed.errback)
        return connected


class _PublicReactor:
    """A reactor whose connections go to public addresses."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, *arguments: Any, **more: Any) -> Any:  # noqa: N802 - named by Twisted
        """Connect to an address.

        Raises:
            PrivateAddress: the address is not public, or `host` is a name, which the reactor would resolve itself.
        """
        check_address(host)
        return self._reactor.connectTCP(host, *arguments, **more)


def _refuses_private(endpoint: Any) -> bool:
    """Have an endpoint refuse private addresses; return whether it is of a kind that can."""
    inner = getattr(endpoint, "_wrappedEndpoint", endpoint)  # with TLS
    if not isinstance(inner, HostnameEndpoint):
        return False
    if not isinstance(inner._reactor, _PublicReactor):  # noqa: SLF001
        inner._reactor = _PublicReactor(inner._reactor)  # noqa: SLF001
    return True


def _unchecked(endpoint: Any) -> PrivateAddress:
    return PrivateAddress(f"the addresses of {type(endpoint).__name__} cannot be checked")
