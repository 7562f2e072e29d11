"""One request and its response, through redirects: the headers for each host, and the redirects that are refused."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mediacrawl.download.content_coding import codings_of
from mediacrawl.download.cookies import MAIN_JAR, Cookies
from mediacrawl.download.progress import Progress
from mediacrawl.download.resume import Head
from mediacrawl.download.retry import wished_wait_s
from mediacrawl.errors import (
    ConnectionLost,
    HostAvoided,
    HttpStatusError,
    NoResponse,
    RedirectRefused,
    RobotsForbidden,
    TransferError,
    UnsupportedURL,
    redact_url,
)
from mediacrawl.headers import ContentRange, Validators, media_type
from mediacrawl.transport.connection_limits import Admission, HostConnections, HostPaused, NoPermit
from mediacrawl.transport.netrc_file import NO_NETRC
from mediacrawl.transport.proxies import environment_proxies, proxy_for
from mediacrawl.urls import HTTP_SCHEMES, Origin, has_controls, resolve
from mediacrawl.urls.referrer import policy_of_field, referer_under
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.records import TransferRequest
    from mediacrawl.download.resume import ConditionalRequest
    from mediacrawl.download.retry import HostPauses
    from mediacrawl.transport.base import Transport, TransportResponse
    from mediacrawl.transport.connection_limits import FileConnections
    from mediacrawl.transport.netrc_file import Netrc

    # Returns the reason why a transfer may not follow a redirect to a URL; None if it may. Blocks; ends at once when
    # the transfer is cancelled.
    MayFollow = Callable[[TransferRequest, str, Cancel], str | None]

REDIRECTS = {300, 301, 302, 303, 307, 308}  # the Location of a 300 is the preferred choice (RFC 9110 15.4.1)
MAX_REDIRECTS = 20
_PREPARING = 202
# A Content-Range of an interface that counts records, not bytes (RFC 9110 14.1).
_OTHER_UNIT = re.compile(r"(?!bytes?\b)[a-z]\w* [0-9*]", re.IGNORECASE)
# Headers that a request sets by itself, or that belong to one connection (RFC 9110 7.6.1).
_OURS = {
    "range", "if-range", "accept-encoding", "connection", "proxy-authorization", "host", "content-length",
    "transfer-encoding", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since",
}  # fmt: skip
# Headers that are also sent to another origin after a redirect. Any other header may be a secret, like X-Api-Key. The
# Referer is sent as far as the policy allows it.
ANY_ORIGIN = {
    "user-agent",
    "accept",
    "accept-language",
    "accept-charset",
    "referer",
    "cache-control",
    "pragma",
    "dnt",
}


def anywhere(_request: TransferRequest, _target: str, _cancel: Cancel) -> None:
    """Allow every redirect to be followed."""


class Requester:
    """A sender of requests for one file, as many as the transfer needs.

    Attributes:
        origin: the origin of the requested URL.
        latency_s: seconds from the last request to the head of its response; None if no request was sent.
    """

    def __init__(
        self,
        request: TransferRequest,
        transport: Transport,
        pauses: HostPauses,
        cancel: Cancel,
        *,
        timeout_s: float,
        max_pause_s: float = float("inf"),
        progress: Progress | None = None,
        may_follow: MayFollow = anywhere,
        connections: HostConnections | None = None,
        of_file: FileConnections | None = None,
        cookies: Cookies | None = None,
        waits: bool = True,
        netrc: Netrc = NO_NETRC,
    ) -> None:
        """Create a requester for a file.

        `waits` is False for a helper: `NoPermit` is raised if no connection to the host is free. `netrc` has the
        credentials of hosts; those in the URL or in the headers take precedence.
        """
        self._request = request
        self._transport = transport
        self._pauses = pauses
        self._cancel = cancel
        self._timeout_s = timeout_s
        self._max_pause_s = max_pause_s
        self._progress = progress or Progress("")
        self._may_follow = may_follow
        self._connections = connections or HostConnections()
        self._of_file = of_file
        self._waits = waits
        self._answer: TransportResponse | None = None  # holds a connection of the file
        self.origin = origin_of(request.url)
        self._opened: TransportResponse | None = None
        self.latency_s: float | None = None
        self._authorization = netrc.authorization(self.origin.host)
        if self._authorization and _has_credentials(request):
            self._authorization = None
        self._cookies = cookies if cookies is not None else Cookies()
        self._jar = MAIN_JAR if request.jar is None else request.jar
        self._policies: tuple[str, ...] = ()  # those of the redirects that were followed
        self._renewed: set[tuple[str, str]] = set()  # host and name of each cookie that responses have set or removed

    def open(self, ask: ConditionalRequest) -> TransportResponse:
        """Send a first request and read the head of the response, so that the caller can inspect the head.

        The response is returned for any status but 202, 429 and 503. The next call of `ask` reuses this response;
        call `close` if no call of `ask` follows. Raises the errors of `ask`.
        """
        self._policies = ()
        self._opened = self._get(self._request.url, ask)
        return self._opened

    def close(self) -> None:
        """Discard the response that `open` has returned, and close it."""
        self._opened = None
        self.release_connection()

    def release_connection(self) -> None:
        """Close the last response, so that its connection is free for the next request."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        is_cut = answer.close()
        if self._of_file is not None:
            self._of_file.leave(cut=is_cut)

    @contextmanager
    def ask(self, ask: ConditionalRequest) -> Iterator[tuple[TransportResponse, Head]]:
        """Send a request, follow redirects, and close the response at the end of the `with` block.

        Raises:
            TransferError: no connection, a refused redirect, an error status that requests a retry, or a host that
                requested a longer pause than `max_pause_s`.
        """
        answer = self._follow(ask)
        try:
            with self._cancel.watch(answer):
                yield answer, head_of(answer, redirected=answer.url != self._request.url)
        finally:
            self.release_connection()

    def _follow(self, ask: ConditionalRequest) -> TransportResponse:
        url, self._policies = self._request.url, ()
        seen: set[tuple[str, str]] = {(url, ""), (url, self._own_cookie)}
        while True:
            opened, self._opened = self._opened, None
            answer = opened or self._get(url, ask)
            if answer.status not in REDIRECTS:
                return answer
            self.release_connection()
            target = answer.headers.get("location")
            if not self._request.allow_redirects or not target:
                raise HttpStatusError(url, answer.status, answer.reason)
            url = self._target(url, target, seen)
            if policy := policy_of_field(answer.headers.get("referrer-policy")):
                self._policies += (policy,)
            self._check_allowed(url)
            self._check_avoided(url)

    def _check_allowed(self, target: str) -> None:
        if not self._request.ask_before_redirect:
            return
        why_not = self._may_follow(self._request, target, self._cancel)
        if why_not is not None:
            raise RobotsForbidden(self._request.url, f"redirect to {redact_url(target)}: {why_not}")

    def _check_avoided(self, target: str) -> None:
        origin = Origin.of(target) if self._request.avoided else None
        if origin is not None and (origin.host, origin.port) in self._request.avoided:
            raise HostAvoided(target, f"{origin.host}:{origin.port} fails, and is tried later")

    def _target(self, url: str, location: str, seen: set[tuple[str, str]]) -> str:
        # HTTP libraries decode header bytes as Latin-1. Servers send UTF-8; other bytes are sent as they came.
        with suppress(UnicodeEncodeError):
            location = location.encode("latin-1").decode("utf-8", "surrogateescape")
        if has_controls(location):
            shown = visible(redact_url(location))[:200]
            raise RedirectRefused(self._request.url, f"redirect to {shown}: a control character in the URL")
        target = resolve(url, location)
        scheme = target.partition(":")[0].lower()
        if scheme not in HTTP_SCHEMES:
            raise RedirectRefused(
                self._request.url, f"redirect to {scheme}: is refused, only http and https are followed"
            )
        if not self._request.leaves_origin and Origin.of(target) != self.origin:
            raise RedirectRefused(
                self._request.url, f"redirect to {redact_url(target)}: is refused, it is another origin"
            )
        # A redirect to the same URL with a new cookie is no loop: sites that require a cookie respond like that.
        step = (target, self._cookie_field(target, origin_of(target)))
        if step in seen:
            raise RedirectRefused(self._request.url, f"redirect loop at {redact_url(target)}")
        if len(seen) > MAX_REDIRECTS:
            raise RedirectRefused(self._request.url, f"more than {MAX_REDIRECTS} redirects")
        seen.add(step)
        return target

    def _get(self, url: str, ask: ConditionalRequest) -> TransportResponse:
        origin = self.origin if url == self._request.url else origin_of(url)
        if self._of_file is not None:
            self._of_file.enter(self._cancel, wait=self._waits)
        try:
            answer = self._answer = self._sent(url, origin, ask)
        except BaseException as error:
            if self._of_file is not None:
                self._of_file.leave(cut=isinstance(error, ConnectionLost))
            raise
        if "set-cookie" in answer.headers:
            self._keep_cookies(url, origin.host, answer.headers["set-cookie"].split("\n"))
        if answer.status in {429, 503}:
            self._raise_busy(url, origin, answer)
        if answer.status == _PREPARING:
            self._raise_preparing(url, answer)
        return answer

    def _sent(self, url: str, origin: Origin, ask: ConditionalRequest) -> TransportResponse:
        """Send a request as soon as requests may be sent to the host, and return the response."""
        admission = Admission(self._connections, self._pauses, origin.host, self._cancel, self._waits, self._progress)
        while True:
            self._wait_for_quiet_end(url, origin.host)
            asked_at = time.monotonic()
            self._progress.wait(asked_at)
            try:
                answer = self._transport.get(
                    self._signed(url, origin),
                    self._headers(url, origin, ask),
                    proxy=self._proxy(origin),
                    timeout_s=self._timeout_s,
                    admission=admission,
                )
            except HostPaused:
                continue
            except ConnectionLost as error:
                raise NoResponse(error.url, error.reason) from error.__cause__
            finally:
                self._progress.wait(None)
            self.latency_s = time.monotonic() - asked_at
            return answer

    def _proxy(self, origin: Origin) -> str | None:
        """Return the proxy for an origin. A redirect may lead to an origin that the environment names another for."""
        request = self._request
        if origin == self.origin or not request.environment_proxy:
            return request.proxy
        return proxy_for(environment_proxies(), origin)

    def _wait_for_quiet_end(self, url: str, host: str) -> None:
        """Wait while a host is paused, including pauses that other transfers or processes report meanwhile."""
        self._cancel.check()
        while (pause_s := self._pauses.remaining_s(host)) > 0:
            if not self._waits:
                raise NoPermit(host)
            if pause_s > self._max_pause_s:
                raise TransferError(url, f"{host} asked for a pause for {pause_s:.0f} s", retry_after_s=pause_s)
            with self._progress.sleeping(f"{host} asked for a pause"):
                self._cancel.wait(pause_s)

    def _raise_busy(self, url: str, origin: Origin, answer: TransportResponse) -> None:
        wait_s = self._pauses.heed(origin.host, answer.status, answer.headers, longest_s=self._max_pause_s)
        self.release_connection()
        raise HttpStatusError(url, answer.status, answer.reason, wait_s)

    def _raise_preparing(self, url: str, answer: TransportResponse) -> None:
        """Raise the error for a file that the server will have later (RFC 9110 15.3.3): its host is not paused."""
        self.release_connection()
        phrase = f"{answer.reason}: the server is still preparing the file"
        raise HttpStatusError(url, answer.status, phrase, wished_wait_s(answer.headers))

    def _headers(self, url: str, origin: Origin, ask: ConditionalRequest) -> Mapping[str, str]:
        cookies = self._cookies.field(self._jar, url) if self._cookies.has_any(self._jar) else ""
        plain = not (ask.headers or cookies or self._renewed or self._authorization or self._policies)
        if plain and origin == self.origin:
            return _usual_headers(self._request.headers)
        foreign = origin != self.origin
        headers = {
            name: value
            for name, value in self._request.headers
            if name.lower() not in _OURS and (name.lower() in ANY_ORIGIN or not foreign) and name.lower() != "cookie"
        }
        if foreign or self._policies:
            headers = self._with_referer(headers, url, foreign=foreign)
        # An encoded body cannot be resumed: its ranges are ranges of the encoded data (RFC 9110 8.4, 14).
        headers |= {"Accept-Encoding": "identity", **dict(ask.headers)}
        is_plain_again = (self.origin.scheme, origin.scheme) == ("https", "http")
        if self._authorization and origin.host == self.origin.host and not is_plain_again:
            headers["Authorization"] = self._authorization
        if cookies := self._cookie_field(url, origin):
            headers["Cookie"] = cookies
        return headers

    def _with_referer(self, headers: dict[str, str], url: str, *, foreign: bool) -> dict[str, str]:
        """Return headers with the Referer that the policies allow: a redirect may set one that takes more away."""
        name = next((name for name in headers if name.lower() == "referer"), None)
        if name is None:
            return headers
        referer: str | None = headers[name]
        for policy in (*((self._request.referrer_policy,) if foreign else ()), *self._policies):
            referer = referer_under(policy, referer, url) if referer is not None else None
        others = {other: value for other, value in headers.items() if other != name}
        return others if referer is None else others | {name: referer}

    def _signed(self, url: str, origin: Origin) -> str:
        """Add the user name and password of the original URL, if a redirect within its origin has omitted them."""
        if "@" not in self._request.url:
            return url
        user, at, _ = urlsplit(self._request.url).netloc.rpartition("@")
        if not at or origin != self.origin or "@" in urlsplit(url).netloc:
            return url
        return url.replace("//", f"//{user}@", 1)  # `urlunsplit` would drop an empty query

    @cached_property
    def _own_cookie(self) -> str:
        """The Cookie header of the request itself, which no other origin gets."""
        return next((value for name, value in self._request.headers if name.lower() == "cookie"), "")

    def _cookie_field(self, url: str, origin: Origin) -> str:
        """Return the cookies of the request itself and those of the jar, which it takes precedence over.

        A cookie of the request that a response has replaced or removed is left out.
        """
        own = self._own_cookie.split("; ") if origin == self.origin and self._own_cookie else []
        own = [pair for pair in own if pair and (origin.host, _name_of(pair)) not in self._renewed]
        named = {_name_of(pair) for pair in own}
        of_jar = self._cookies.field(self._jar, url).split("; ")
        return "; ".join([*own, *(pair for pair in of_jar if pair and _name_of(pair) not in named)])

    def _keep_cookies(self, url: str, host: str, lines: Sequence[str]) -> None:
        names = self._cookies.keep(self._jar, url, lines)  # of the removed ones; then of those that are sent instead
        names.update(map(_name_of, self._cookies.field(self._jar, url).split("; ")))
        self._renewed.update((host, name) for name in map(_name_of, lines) if name in names)


def _name_of(pair: str) -> str:
    return pair.partition("=")[0].strip()


def _has_credentials(request: TransferRequest) -> bool:
    """Return whether a request has credentials of its own, in its URL or in a header."""
    return "@" in urlsplit(request.url).netloc or any(name.lower() == "authorization" for name, _ in request.headers)


@lru_cache(64)  # all files of a site, or of one of its pages, have the same headers
def _usual_headers(preferred: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Return the headers of a request for the complete representation at the original origin."""
    return {name: value for name, value in preferred if name.lower() not in _OURS} | {"Accept-Encoding": "identity"}


def head_of(answer: TransportResponse, *, redirected: bool) -> Head:
    """Return the fields of a response's head that the decision needs."""
    headers = answer.headers
    kind = media_type(headers.get("content-type"))
    content_range = ContentRange.from_header(headers.get("content-range"))
    return Head(
        status=answer.status,
        content_range=content_range,
        has_unreadable_range=content_range is None and "content-range" in headers,
        has_other_unit=_OTHER_UNIT.match(headers.get("content-range", "")) is not None,
        # Transfer-Encoding overrides Content-Length (RFC 9112 6.3).
        content_length=None if "transfer-encoding" in headers else content_length(headers.get("content-length")),
        validators=Validators.from_headers(headers),
        is_encoded=bool(codings_of(headers.get("content-encoding"))),
        is_multipart=kind == "multipart/byteranges",
        ranges_refused=headers.get("accept-ranges", "").strip().lower() == "none",
        redirected=redirected,
    )


def content_length(value: str | None) -> int | None:
    """Parse a Content-Length (RFC 9110 8.6): up to 18 digits.

    A list of equal values counts as one value. Any other field is no length, and gives None.
    """
    if value is None:
        return None
    values = {item.strip() for item in value.split(",")}
    item = values.pop()
    if values or not item.isascii() or not item.isdigit() or len(item) > 18:
        return None
    return int(item)


def origin_of(url: str) -> Origin:
    """Return the origin of a URL. Raises `UnsupportedURL`, a `TransferError`, for a URL that cannot be fetched."""
    origin = Origin.of(url)
    if origin is None:
        raise UnsupportedURL(url, "not an http, https, ftp or ftps URL with a host")
    return origin
