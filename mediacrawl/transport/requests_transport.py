"""The transport on `requests`: a GET request, the head of its response, and a body in blocks.

The transport follows no redirects and makes no retries.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakSet

import requests
import urllib3
from requests.utils import check_header_validity

from mediacrawl.errors import TransferError
from mediacrawl.transport.authorities import authorities_of
from mediacrawl.transport.connecting import DEFAULT_CONNECT_TIMEOUT_S
from mediacrawl.transport.connection_limits import HostPaused
from mediacrawl.transport.connections import GuardedAdapter, sending, waited_for
from mediacrawl.transport.errors import Route, translated
from mediacrawl.transport.fields import InvalidHead, combined
from mediacrawl.transport.head import framing
from mediacrawl.transport.http1 import HTTP1Exchange
from mediacrawl.transport.watchdog import HeadWatchdog
from mediacrawl.urls import DEFAULT_PORTS, HTTP_SCHEMES, as_sent, split_plain, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mediacrawl.transport.authorities import Authorities
    from mediacrawl.transport.base import TransportResponse
    from mediacrawl.transport.connection_limits import Admission, Permit

BLOCK_BYTES = 512 * 1024
# A block is allocated in full size and then cut to the bytes received, mostly below the size at which the release of
# a block makes glibc keep the memory of further blocks. The system would then supply the memory of each block anew,
# page by page, which costs more than reading the block. Once a larger block has been freed, glibc keeps the memory of
# all blocks (mallopt(3), M_MMAP_THRESHOLD).
_ = bytes(4 * BLOCK_BYTES)
del _
_PLAIN_SESSION = requests.Session  # other packages may replace it later
_DRAINED_BYTES = 64 * 1024  # longest rest of an unused body that is read, mostly of an error page
_DRAINED_WITHIN_S = 1.0
_DRAINED_AT_END_WITHIN_S = 0.02
# OSError covers the exceptions of requests. The exceptions of a custom session are not known here.
_BROKEN = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException)


class RequestsTransport:
    """The transport on `requests`.

    All threads share an adapter. Each thread has its own session, as sessions are not designed for sharing.
    """

    def __init__(
        self,
        session_factory: Callable[[], requests.Session] = _PLAIN_SESSION,
        *,
        verify: bool | str | Authorities = True,
        block_private: bool = False,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
    ) -> None:
        authorities = authorities_of(verify)
        self._factory = session_factory
        self._goes_straight = session_factory is _PLAIN_SESSION  # no custom session can change the requests
        self._watch = HeadWatchdog()
        self._adapter = GuardedAdapter(
            self._watch, authorities=authorities, connect_timeout_s=connect_timeout_s, block_private=block_private
        )
        self._verify: bool | str = authorities.path if authorities is not None else False
        self._connect_timeout_s = connect_timeout_s
        self._block_private = block_private
        self._local = threading.local()
        self._sessions: WeakSet[requests.Session] = WeakSet()  # sessions of live threads
        self._lock = threading.Lock()

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        timeout_s: float,
        admission: Admission | None = None,
    ) -> TransportResponse:
        route = Route.of(url, timeout_s, self._connect_timeout_s, proxy)
        try:
            if self._goes_straight and not proxy:
                origin, request = _prepared(url, headers)
                raw = HTTP1Exchange(self._adapter.pool(origin, self._verify), request, timeout_s, admission)
                answer = _straight(raw, route)
            else:
                with _permitted(admission) as permit, waited_for(admission):
                    answer = self._through(route, "GET", headers, None, permit)
        except (requests.RequestException, *_BROKEN, UnicodeError, ValueError, AttributeError) as error:
            raise translated(error, route) from None
        if 300 <= answer.status < 400:
            answer.drain(_DRAINED_WITHIN_S)
        return answer

    def abort(self) -> None:
        """Wake up the threads that wait for the head of a response."""
        self._watch.cut_all()

    def close_idle(self, host: str, idle_s: float) -> bool:
        return self._adapter.close_idle(host, idle_s)

    def close(self) -> None:
        self._watch.close()
        with self._lock:
            for session in list(self._sessions):
                session.close()
            self._sessions.clear()
        self._adapter.close()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, proxy: str, timeout_s: float
    ) -> TransportResponse:
        """Send a request of any method through a proxy, and read the head of its response. See `get`."""
        route = Route.of(url, timeout_s, self._connect_timeout_s, proxy)
        try:
            return self._through(route, method, headers, body or None, None)
        except (requests.RequestException, *_BROKEN, UnicodeError, ValueError, AttributeError) as error:
            raise translated(error, route) from None

    def _through(
        self, route: Route, method: str, headers: Mapping[str, str], body: bytes | None, permit: Permit | None
    ) -> _RequestsResponse:
        """Send a request with a session: through a proxy, or with a session from a custom factory.

        Raises:
            AddressRefused: the address is not public, or cannot be checked.
            ProxyRefused: the proxy wants other credentials.
        """
        if self._block_private:
            route.check_proxied_host()
        session = self._session()  # a custom session may have no method but `get`
        if self._block_private and not route.proxy and not self._is_checked(session, route.url):
            raise route.private("a session of MEDIACRAWL_SESSION_FACTORY connects to addresses that are not checked")
        send = session.get if method == "GET" else partial(session.request, method)
        with sending(target_of(route.url)):
            response = send(
                as_sent(route.url),
                headers=dict(headers),
                data=body,
                stream=True,
                allow_redirects=False,
                timeout=(route.connect_timeout_s, route.timeout_s),
                verify=self._verify,
                proxies={"http": route.proxy, "https": route.proxy} if route.proxy else {},
            )
        try:
            if route.is_refused_by_proxy(response.status_code):
                raise route.unauthorized()
            headers = combined(_field_lines(response))
            framing(response.status_code, headers)
        except (InvalidHead, TransferError):
            response.close()  # its connection, too
            raise
        status = response.status_code
        head = _Head(status, route.phrase(status, response.reason or ""), headers)
        return _RequestsResponse(response.raw, response.close, route, head=head, permit=permit)

    def _is_checked(self, session: requests.Session, url: str) -> bool:
        """Return whether a session sends a request over the connections of this transport, and through no proxy."""
        adapters = getattr(session, "adapters", {})
        prefixes = [prefix for prefix in adapters if url.lower().startswith(prefix.lower())]
        is_ours = bool(prefixes) and all(adapters[prefix] is self._adapter for prefix in prefixes)
        return is_ours and not session.proxies

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._factory()
            # The crawl sets cookies, credentials and proxies: none are taken from .netrc or the environment.
            session.trust_env = False
            session.headers.clear()
            session.cookies.set_policy(_NoCookies())
            # A session would read the complete body of a redirect and parse its target, though none is followed.
            session.get_redirect_target = lambda _response: None  # type: ignore[method-assign,assignment]
            for prefix in ("http://", "https://"):
                if type(session.adapters.get(prefix)) is requests.adapters.HTTPAdapter:  # not a custom adapter
                    session.mount(prefix, self._adapter)
            with self._lock:
                self._sessions.add(session)
        return session


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined,misc]
    """A policy that keeps no cookies: each request carries the cookies of the crawl's own jar."""

    def set_ok(self, *_: Any) -> bool:
        return False


@contextmanager
def _permitted(admission: Admission | None) -> Iterator[Permit | None]:
    """Acquire a permit for a request of a session, and close the permit if the request fails.

    The connection that the session uses is not known here, so the permit belongs to the response.
    """
    permit = admission.permit(lambda: False) if admission is not None else None
    try:
        if admission is not None:
            admission.check()
        yield permit
    except BaseException as error:
        if permit is not None:
            permit.close(None, cut=not isinstance(error, HostPaused))
        raise


def _straight(raw: HTTP1Exchange, route: Route) -> _RequestsResponse:
    """Return the response to a request that was sent without a session.

    The request and the pool are the same as with a session, but the work of a session for each request is saved.
    """
    head = _Head(raw.status, raw.reason, raw.headers)
    return _RequestsResponse(raw, raw.release, route, head=head)


def _prepared(url: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """Return the origin and the request (RFC 9112 3). The target is sent as it is written, see `urls.as_sent`.

    Raises:
        RequestException, ValueError: the URL or a header is invalid, or has text that would break out of its line.
    """
    if (plain := split_plain(url)) is not None:
        origin, target, fields = *plain, _fields(tuple(headers.items()))
    else:
        request = requests.Request("GET", as_sent(url), headers=dict(headers)).prepare()
        parts = urlsplit(request.url or "")
        if parts.scheme not in HTTP_SCHEMES:
            raise requests.exceptions.InvalidSchema(parts.scheme)
        origin, target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", target_of(url)
        fields = _fields(tuple(request.headers.items()))
    return origin, b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (target.encode("ascii"), _host_of(origin), fields)


# As sent by a session, if the crawl sets no User-Agent.
_USER_AGENT = f"python-urllib3/{urllib3.__version__}"  # type: ignore[attr-defined]
_LINE_END = re.compile(r"[\r\n\0]")


@lru_cache(maxsize=64)
def _host_of(origin: str) -> bytes:
    """Return the value of the Host field: with the port, unless it is the default port (RFC 9110 7.2)."""
    scheme, _, netloc = origin.partition("://")
    netloc = _ZONE.sub("]", netloc.removesuffix(f":{DEFAULT_PORTS.get(scheme)}"))
    host, colon, port = netloc.rpartition(":") if _PORT.search(netloc) else (netloc, "", "")
    return f"{host.removesuffix('.')}{colon}{port}".encode("ascii")


_ZONE = re.compile(r"%25[^\]]*\]")  # zone of a link-local address, valid only on this machine (RFC 6874 3)
_PORT = re.compile(r":[0-9]*$")


@lru_cache(maxsize=64)  # all files of a site, or of a page of it, have the same headers
def _fields(headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the header lines of a request; if several headers have the same name, the last counts."""
    named = {"accept-encoding": ("Accept-Encoding", "identity"), "user-agent": ("User-Agent", _USER_AGENT)}
    named |= {name.lower(): (name, value) for name, value in headers}
    named.pop("host", None)  # derived from the URL
    for header in named.values():
        check_header_validity(header)
        if _LINE_END.search("".join(header)):  # requests before 2.34 accepts a line end at the end of a value
            raise requests.exceptions.InvalidHeader(f"a line end in the header {header[0]!r}")
    return "".join(f"{name}: {value}\r\n" for name, value in named.values()).encode("latin-1")


def _field_lines(response: requests.Response) -> Iterable[tuple[str, str]]:
    """Return the field lines of a response, repeated lines one by one where the session has them."""
    lines = getattr(getattr(response.raw, "headers", None), "iteritems", None)  # a custom session may have none
    return response.headers.items() if lines is None else lines()


class _Head(NamedTuple):
    status: int
    reason: str
    headers: dict[str, str]


class _RequestsResponse:
    """See `TransportResponse`."""

    def __init__(
        self,
        raw: Any,
        release: Callable[[], None],
        route: Route,
        *,
        head: _Head,
        permit: Permit | None = None,
    ) -> None:
        self._raw = raw
        self._release = release
        self._route = route
        self._permit = permit
        self._is_broken = False
        self._is_cut: bool | None = None
        self.url = route.url
        self.status, self.reason, self.headers = head

    def blocks(self) -> Iterator[bytes]:
        raw = self._raw
        try:
            # read1, not read: a block is yielded as soon as it is received, so that slow servers show progress,
            # a stop takes effect at once, and a stall is detected.
            while block := raw.read1(BLOCK_BYTES, decode_content=False):
                yield block
        except (*_BROKEN, ValueError, AttributeError) as error:
            self._is_broken = True
            raise translated(error, self._route) from None

    def at_hand(self, size_bytes: int) -> bytes | None:
        return self._raw.at_hand(size_bytes) if isinstance(self._raw, HTTP1Exchange) else None

    def splice(self, pipe: int, at_most: int) -> int | None:
        if not isinstance(self._raw, HTTP1Exchange):
            return None
        try:
            return self._raw.splice(pipe, at_most)
        except (*_BROKEN, ValueError, AttributeError) as error:
            self._is_broken = True
            raise translated(error, self._route) from None

    def drain(self, within_s: float) -> None:
        """Read the rest of an unused body, if the rest is short.

        The connection can then be used for the next request, or is closed where the server expects it.
        """
        with suppress(Exception):
            if isinstance(self._raw, HTTP1Exchange):
                self._raw.drain(_DRAINED_BYTES, within_s)
            elif (self._raw.length_remaining or _DRAINED_BYTES + 1) <= _DRAINED_BYTES:
                _drain_with_limit(self._raw, within_s)

    def abort(self) -> None:
        self._is_broken = True
        with suppress(Exception):
            self._raw.shutdown()

    def close(self) -> bool:
        if self._is_cut is not None:
            return self._is_cut
        self._is_cut = False
        with suppress(Exception):
            if not self._raw.isclosed():
                self._leave_off()
        self._release()
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.close(None, cut=self._is_cut)
        return self._is_cut

    def _leave_off(self) -> None:
        """Read the rest of the body if it is short, and close the connection otherwise.

        The rest of a body would otherwise be taken for the response to the next request.
        """
        if not self._is_broken and isinstance(self._raw, HTTP1Exchange) and not self._raw.is_through:
            self.drain(_DRAINED_AT_END_WITHIN_S)
        if not self._raw.isclosed():
            self._is_cut = not getattr(self._raw, "is_through", False)
            self._raw.close()


def _drain_with_limit(raw: Any, within_s: float) -> None:
    """Read the rest of a body of urllib3, for at most `within_s` seconds: each byte may come late.

    Nothing is read if the socket is not known, as that of a custom session.
    """
    sock = getattr(getattr(raw, "connection", None), "sock", None)
    if sock is None:
        return
    timeout_s, until = sock.gettimeout(), time.monotonic() + within_s
    try:
        while raw.length_remaining and (left_s := until - time.monotonic()) > 0:
            sock.settimeout(left_s)
            if not raw.read1(_DRAINED_BYTES, decode_content=False):
                break
        if not raw.length_remaining:
            raw.read1(1, decode_content=False)  # its end, so that urllib3 takes the connection back
    finally:
        sock.settimeout(timeout_s)
