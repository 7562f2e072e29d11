"""Requests of any method to one server, with the network of the user: proxies, certificates and credentials."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from mediacrawl.errors import ConnectError, ConnectionLost, HttpStatusError, TooLarge, redact_url
from mediacrawl.headers import media_type
from mediacrawl.transport.connections import GuardedAdapter
from mediacrawl.transport.errors import Route, translated
from mediacrawl.transport.proxies import environment_proxies, proxy_for
from mediacrawl.transport.watchdog import HeadWatchdog
from mediacrawl.urls import Origin
from mediacrawl.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mediacrawl.transport.authorities import Authorities
    from mediacrawl.transport.netrc_file import Netrc

_BROKEN = (requests.RequestException, OSError, urllib3.exceptions.HTTPError, ValueError)
_MOST_BYTES = 64 * 1024 * 1024  # of a response; a page of a folder has a thousand files
_LONGEST_EXPLANATION = 300  # characters of a body that says why
_REPEATED = {"GET", "HEAD", "OPTIONS"}  # safe methods (RFC 9110 9.2.1)
_RETRY_STATUSES = {409, 423, 460}  # of tus: another request of this upload is running, or bytes came damaged


class NetworkOptions(NamedTuple):
    """How servers are reached.

    Attributes:
        authorities: verify the certificates of servers; None: no certificate is verified.
        netrc: the credentials of hosts.
        connect_timeout_s: the time limit for a connection, in seconds.
        stall_s: the time without a byte after which a connection is given up, in seconds.
        block_private: whether to refuse addresses that are not public.
    """

    authorities: Authorities | None
    netrc: Netrc
    connect_timeout_s: float
    stall_s: float
    block_private: bool = False


class HttpResponse(NamedTuple):
    """A response, read to its end. `headers` ignores the case of names; `location` is empty if there is none."""

    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_error(self) -> bool:
        """Whether the status is that of an error."""
        return self.status >= 400

    @property
    def location(self) -> str:
        """The reference that a redirect or a creation names; empty if it names none."""
        return self.headers.get("Location") or ""

    @property
    def explanation(self) -> str:
        """The beginning of a plain text, in one line; empty for any other content."""
        if media_type(self.headers.get("Content-Type")) != "text/plain":
            return ""
        return " ".join(self.content[: 4 * _LONGEST_EXPLANATION].decode("utf-8", "replace").split())


class HttpClient:
    """Sends requests to the server of a URL, whose credentials go to its origin only. Thread-safe."""

    def __init__(self, url: str, network: NetworkOptions) -> None:
        """Take the credentials of the URL, else those of `.netrc`.

        Raises:
            UsageProblem: a variable of the environment names no proxy.
        """
        origin = Origin.of(url)
        assert origin is not None
        self._origin = origin
        self._network = network
        self._authorization = _of_url(url) or network.netrc.authorization(origin.host)
        self._proxy = proxy_for(environment_proxies(), origin)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self._watch = HeadWatchdog()
        self._adapter = GuardedAdapter(
            self._watch,
            authorities=network.authorities,
            connect_timeout_s=network.connect_timeout_s,
            block_private=network.block_private,
        )

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        content: Iterable[bytes] | None = None,
        wait_s: float | None = None,
    ) -> HttpResponse:
        """Send a request, and read its response; no redirect is followed.

        Args:
            method: in capital letters.
            url: at the origin of this client; without credentials.
            headers: beside those of this client.
            content: has a length.
            wait_s: how long the server may need to respond, in seconds; None takes `stall_s`.

        Raises:
            TransferError: there is no response, or the address is not public.
        """
        route = Route.of(url, wait_s or self._network.stall_s, self._network.connect_timeout_s, self._proxy)
        if self._network.block_private:
            route.check_proxied_host()
        named = {"User-Agent": f"mediacrawl/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        if self._authorization and Origin.of(url) == self._origin:
            named["Authorization"] = self._authorization
        try:
            return self._exchanged(method, route, named, content)
        except (ConnectionLost, ConnectError):  # ConnectError: the idle connection was one to a proxy
            if method not in _REPEATED:
                raise
            return self._exchanged(method, route, named, content)  # an idle connection was closed as it was used

    def _exchanged(
        self, method: str, route: Route, headers: Mapping[str, str], content: Iterable[bytes] | None
    ) -> HttpResponse:
        url = route.url
        try:
            with self._session.request(
                method,
                url,
                headers=dict(headers),
                data=content,
                allow_redirects=False,
                stream=True,
                timeout=(route.connect_timeout_s, route.timeout_s),
            ) as response:
                head = response.status_code, response.reason or "", response.headers
                connection = response.raw.connection  # None if the response has no content
                with self._watch.watching(connection and connection.sock, route.timeout_s):
                    found = HttpResponse(*head, _content(response, url))
        except _BROKEN as error:
            raise translated(error, route) from None
        if route.is_refused_by_proxy(found.status):
            raise route.unauthorized()
        return found

    @property
    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
            session.headers.clear()
            session.verify = self._network.authorities is not None
            for prefix in ("http://", "https://"):
                session.mount(prefix, self._adapter)
            if self._proxy:
                session.proxies = {"http": self._proxy, "https": self._proxy}
            with self._lock:
                self._sessions.append(session)
        return session

    def abort(self) -> None:
        """Wake up the threads that wait for a response, now and from now on. May be called from any thread."""
        self._watch.cut_all()

    def close(self) -> None:
        """Close the connections."""
        self._watch.close()
        with self._lock:
            for session in self._sessions:
                session.close()
        self._adapter.close()


def _content(response: requests.Response, url: str) -> bytes:
    content = bytearray()
    for block in response.iter_content(64 * 1024):
        content += block
        if len(content) > _MOST_BYTES:
            raise TooLarge(url, f"the response has more than {_MOST_BYTES >> 20} MiB")
    return bytes(content)


def refusal(url: str, response: HttpResponse) -> HttpStatusError:
    """Return the error for a response with an error status, with the text that explains it."""
    status, reason = response.status, response.reason
    if 300 <= status < 400:
        reason = f"redirect to {redact_url(response.location)}: name that URL"
    elif explanation := response.explanation[:_LONGEST_EXPLANATION]:
        reason = f"{reason}: {explanation}"
    elif status == 403:
        reason += ": this login may not do that there; name another folder, or ask for the right"
    if status == 401:
        scheme, rest = url.split("://", 1)
        place = f"{scheme}://NAME:PASSWORD@{rest.partition('/')[0]}/"
        reason = f"{reason.removesuffix('.')}; name user and password in .netrc, or in the URL as {place}"
    wait = response.headers.get("Retry-After", "")
    error = HttpStatusError(url, status, reason, float(wait) if wait.isdecimal() else None)
    error.transient = error.transient or status in _RETRY_STATUSES
    return error


def _of_url(url: str) -> str | None:
    """Return the credentials of a URL as the header `Authorization` (RFC 7617)."""
    userinfo, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None
    user, _, password = userinfo.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode("ascii")
