"""Translate the errors of `requests`, urllib3 and the standard library into the errors of mediacrawl."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3

from mediacrawl.errors import (
    AddressRefused,
    ConnectError,
    ConnectionLost,
    InvalidResponse,
    ProxyRefused,
    TransferError,
    UnsupportedURL,
    UsageProblem,
    redact_url,
)
from mediacrawl.transport.addresses import PrivateAddress, check_host
from mediacrawl.transport.fields import InvalidHead
from mediacrawl.transport.proxies import is_socks, proxy_url, resolves_names
from mediacrawl.visible import text_of_field

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_PROXIES = {400, 401, 403, 407}  # statuses with which proxies refuse a request, beside those from 500 on
_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3}) ?(.*)")
# What OpenSSL says of a certificate whose authority it does not know, and of one outside its time.
_UNKNOWN_AUTHORITY = re.compile(r"issuer|self.signed|first certificate|cannot be verified")
_OUTSIDE_ITS_TIME = re.compile(r"expired|not yet valid")
_OPENSSL_PLACE = re.compile(r" \(_ssl\.c:\d+\)$")


class TunnelBroken(OSError):
    """The connection to a proxy ended before the proxy had answered CONNECT."""


class Route(NamedTuple):
    """The way of a request: its URL, its proxy, and the time limits.

    Attributes:
        url: the URL of the request.
        timeout_s: the time limit for a byte of the response, in seconds.
        connect_timeout_s: the time limit for a connection, in seconds.
        proxy: the URL of the proxy; None without a proxy.
    """

    url: str
    timeout_s: float
    connect_timeout_s: float
    proxy: str | None = None

    @classmethod
    def of(cls, url: str, timeout_s: float, connect_timeout_s: float, proxy: str | None) -> Route:
        """Return the way of a request, with the scheme and the port of its proxy.

        Raises:
            ProxyRefused: `proxy` is not the URL of a proxy.
        """
        if not proxy:
            return cls(url, timeout_s, connect_timeout_s)
        try:
            return cls(url, timeout_s, connect_timeout_s, proxy_url(proxy, "proxy"))
        except UsageProblem:
            raise ProxyRefused(url, f"{redact_url(proxy)} is not the URL of a proxy") from None

    @property
    def server(self) -> str:
        """Host and port of the URL, as the URL has them."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def shown_proxy(self) -> str:
        """The URL of the proxy without credentials."""
        return redact_url(self.proxy or "").removesuffix("/")

    @property
    def through(self) -> str:
        """The end of an error message: the proxy, if there is one."""
        return f", through the proxy {self.shown_proxy}" if self.proxy else ""

    def connect_error(self, reason: str) -> ConnectError:
        """Return the error for a connection that was not made."""
        return ConnectError(self.url, f"{reason}{self.through}")

    def timed_out(self) -> ConnectError:
        """Return the error for a connection that was not made in time."""
        return self.connect_error(f"no connection within {self.connect_timeout_s:g} s")

    def unresolved(self) -> ConnectError:
        """Return the error for a name that has no address; with a proxy, the client resolves the proxy's name."""
        if self.proxy:
            return ConnectError(self.url, f"the name of the proxy {self.shown_proxy} does not resolve")
        return ConnectError(self.url, f"the name {urlsplit(self.url).hostname!r} does not resolve")

    def refused(self) -> ConnectError:
        """Return the error for a port that takes no connections."""
        if self.proxy:
            return ConnectError(self.url, f"the proxy {self.shown_proxy} refused the connection")
        return ConnectError(self.url, f"connection refused by {self.server}")

    def private(self, reason: str) -> AddressRefused:
        """Return the error for an address that is not public."""
        return AddressRefused(self.url, f"{reason}, and MEDIACRAWL_BLOCK_PRIVATE is on")

    def check_proxied_host(self) -> None:
        """Check the host of the URL before a proxy is asked to connect to it. May block, see `check_host`.

        Raises:
            AddressRefused: the host is, or resolves to, an address that is not public.
        """
        if not self.proxy:
            return
        try:
            check_host(urlsplit(self.url).hostname or "", resolve=not resolves_names(self.proxy))
        except PrivateAddress as error:
            raise self.private(str(error)) from None

    def lost(self, reason: str) -> ConnectionLost:
        """Return the error for a connection that broke."""
        return ConnectionLost(self.url, f"{reason}{self.through}")

    def untrusted(self, reason: str) -> ConnectError:
        """Return the error for a certificate that is not accepted."""
        host = urlsplit(self.url).hostname
        said = f"TLS failed: the certificate of {host} is not accepted: {reason}"
        if _UNKNOWN_AUTHORITY.search(reason):
            advice = "-s MEDIACRAWL_VERIFY_TLS=FILE trusts the authorities whose certificates FILE has"
        else:
            advice = "-s MEDIACRAWL_VERIFY_TLS=False accepts any certificate, of anybody"
            if _OUTSIDE_ITS_TIME.search(reason):
                advice = f"is the clock of this machine right? {advice}"
        return ConnectError(self.url, f"{said}{self.through}; {advice}")

    def proxy_failed(self, reason: str) -> ConnectError:
        """Return the error for a proxy that did not do its work."""
        return ConnectError(self.url, f"the proxy {self.shown_proxy} failed: {reason}")

    def tunnel_broken(self) -> ConnectError:
        """Return the error for a proxy that ended the connection before it had answered CONNECT."""
        return self.proxy_failed(f"it ended the connection while it was to connect to {self.server}")

    def tunnel_refused(self, status: int, phrase: str) -> TransferError:
        """Return the error for the status with which a proxy has answered CONNECT (RFC 9110 9.3.6)."""
        if status == 407:
            return self.unauthorized()
        said = f"{status} {text_of_field(phrase.strip())}".rstrip()
        if 400 <= status < 500:
            return ProxyRefused(
                self.url,
                f"the proxy {self.shown_proxy} does not connect to {self.server}: {said}",
                http_status=status,
            )
        return self.proxy_failed(f"{said}, when it was to connect to {self.server}")

    @property
    def is_forwarded(self) -> bool:
        """Whether the proxy itself receives the request and sends the response (RFC 9110 3.7)."""
        return (self.proxy or "").startswith("http") and self.url[:5].lower() == "http:"

    def phrase(self, status: int, reason: str) -> str:
        """Return the reason phrase of a response, with the proxy that may have sent it: proxies have errors, too."""
        is_of_proxies = status >= 500 or status in _OF_PROXIES
        return f"{reason}{self.through}" if is_of_proxies and self.is_forwarded else reason

    def is_refused_by_proxy(self, status: int) -> bool:
        """Return whether a response is that of the proxy, and not of the origin (RFC 9110 15.5.8)."""
        return status == 407 and self.is_forwarded

    def unauthorized(self) -> ProxyRefused:
        """Return the error for a proxy that wants a user name and a password, or other ones."""
        status = None if is_socks(self.proxy) else 407
        number = f" ({status})" if status else ""
        if "@" in (self.proxy or ""):
            said = f"refused the user name or the password{number}"
        else:
            scheme, _, host = self.shown_proxy.partition("://")
            said = f"wants a user name and a password{number}: name it as {scheme}://USER:PASSWORD@{host}"
        return ProxyRefused(self.url, f"the proxy {self.shown_proxy} {said}", http_status=status)


def translated(error: BaseException, route: Route) -> TransferError:
    """Return the error of mediacrawl that stands for `error`, with a short message for the user."""
    chain = list(_causes(error))
    return _of_proxy(chain, route) or _of_connection(chain, route) or route.lost(_broken_reason(chain, route))


def _of_proxy(chain: list[BaseException], route: Route) -> TransferError | None:
    """Return the error for what the proxy has answered, or has not."""
    if not route.proxy:
        return None
    for cause in chain:
        if found := _TUNNEL_STATUS.match(str(cause)):
            return route.tunnel_refused(int(found[1]), found[2])
        if isinstance(cause, TunnelBroken):
            return route.tunnel_broken()
    named = {type(cause).__name__: cause for cause in chain}  # PySocks is an optional package
    if "SOCKS5AuthError" in named:
        return route.unauthorized()
    for name in ("SOCKS5Error", "SOCKS4Error"):
        if name in named:
            return route.proxy_failed(f"{_words(named[name])}, when it was to connect to {route.server}")
    if "GeneralProxyError" in named:
        return route.proxy_failed(_words(named["GeneralProxyError"]))
    return None


def _of_connection(chain: list[BaseException], route: Route) -> TransferError | None:
    """Return the error for a request that was not sent; None if a connection was made."""
    for kinds, make in _TRANSLATIONS:
        for cause in chain:
            if isinstance(cause, kinds):
                return make(route, cause, _words(chain[-1]))
    return None


_Make = Callable[[Route, BaseException, str], TransferError]
# The order matters: a NewConnectionError is also a ConnectTimeoutError.
_TRANSLATIONS: list[tuple[tuple[type[BaseException], ...], _Make]] = [
    ((urllib3.exceptions.NameResolutionError, socket.gaierror), lambda route, *_: route.unresolved()),
    (
        (ssl.SSLCertVerificationError,),
        lambda route, cause, _: route.untrusted(getattr(cause, "verify_message", "") or _words(cause)),
    ),
    (
        (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError),
        lambda route, cause, _: route.connect_error(f"TLS failed: {_OPENSSL_PLACE.sub('', _words(cause))}"),
    ),
    (
        (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema),
        lambda route, *_: UnsupportedURL(route.url, "not a URL that can be fetched"),
    ),
    (
        (requests.exceptions.InvalidHeader,),  # its message repeats the value, which may be a credential
        lambda route, *_: UnsupportedURL(route.url, "a header of the request cannot be sent"),
    ),
    (
        (PrivateAddress,),
        lambda route, cause, _: route.private(_words(cause)),
    ),
    ((InvalidHead,), lambda route, cause, _: InvalidResponse(route.url, str(cause))),
    ((ConnectionRefusedError,), lambda route, *_: route.refused()),
    (
        (urllib3.exceptions.NewConnectionError,),
        lambda route, _, words: route.connect_error(f"no connection: {words}"),
    ),
    ((urllib3.exceptions.ConnectTimeoutError,), lambda route, *_: route.timed_out()),
    ((urllib3.exceptions.ProxyError,), lambda route, _, words: route.proxy_failed(words)),
]


def _broken_reason(chain: list[BaseException], route: Route) -> str:
    for cause in chain:
        if isinstance(cause, urllib3.exceptions.IncompleteRead | http.client.IncompleteRead):
            return "the connection ended before the end of the body"
        if isinstance(cause, TimeoutError | urllib3.exceptions.ReadTimeoutError):
            return f"no byte for {route.timeout_s:g} s"
        if isinstance(cause, ConnectionError) and cause.errno in {errno.ECONNRESET, errno.EPIPE}:
            return "the server reset the connection"
    return f"the connection broke: {_words(chain[-1])}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error, the error wrapped in it, and so on, each error at most once.

    Libraries keep the wrapped error in `reason`, in `args`, in `__cause__` or in `__context__`.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = [getattr(error, "reason", None), *error.args, error.__cause__, error.__context__]
        error = next((item for item in wrapped if isinstance(item, BaseException)), None)


def _words(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return " ".join(text.split())[:200]
