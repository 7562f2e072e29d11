"""One ask and its answer, through redirects: which headers go to which host, and where we do not go."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from mediacrawl.download.progress import Progress
from mediacrawl.download.resume import Head
from mediacrawl.errors import (
    ConnectionLost,
    HttpStatusError,
    RedirectRefused,
    RobotsForbidden,
    TransferError,
    UnsupportedURL,
    redact_url,
)
from mediacrawl.headers import ContentRange, Validators, media_type
from mediacrawl.transport.permits import Admission, HostConnections, HostPaused, NoPermit
from mediacrawl.urls import DEFAULT_PORTS, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.records import TransferRequest
    from mediacrawl.download.resume import ConditionalRequest
    from mediacrawl.download.retry import HostPauses
    from mediacrawl.transport.base import Transport, TransportResponse
    from mediacrawl.transport.permits import FileConnections

    # Why a transfer may not be redirected to a URL; None if it may. Blocks; ends at once when it is cancelled.
    MayFollow = Callable[[TransferRequest, str, Cancel], str | None]

REDIRECTS = {301, 302, 303, 307, 308}
MAX_REDIRECTS = 20
# What an ask sets itself, or what belongs to one connection (RFC 9110 7.6.1).
_OURS = {
    "range", "if-range", "accept-encoding", "connection", "proxy-authorization", "host", "content-length",
    "transfer-encoding", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since",
}  # fmt: skip
# Headers that a redirect to another origin takes along. Any other may be a secret, as X-Api-Key is.
_ANY_ORIGIN = {
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
    """Every redirect may be followed."""


class Requester:
    """Asks for one wanted file, as often as the transfer needs it.

    Attributes:
        origin: of the URL that is wanted.
        latency_s: from the last ask to the head of its answer; None when nothing was asked.
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
        waits: bool = True,
    ) -> None:
        """`waits` is False for a helper: it raises `NoPermit` where no connection to the host is free."""
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
        self._answer: TransportResponse | None = None  # that has a connection of the file
        self.origin = origin_of(request.url)
        self._opened: TransportResponse | None = None
        self.latency_s: float | None = None
        self._cookies: dict[str, dict[str, str]] = {}  # host -> what redirects set on the way

    def open(self, ask: ConditionalRequest) -> TransportResponse:
        """Send a first ask and read the head of the answer, whatever it says: for a look at it. An `ask` that follows
        gets this answer; if none does, `close` it. Raises as `ask` does.
        """
        self._opened = self._get(self._request.url, ask)
        return self._opened

    def close(self) -> None:
        """The answer that was opened is not to be asked for any more."""
        self._opened = None
        self.release_connection()

    def release_connection(self) -> None:
        """Close the last answer: its connection is free for the next one."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        is_cut = answer.close()
        if self._of_file is not None:
            self._of_file.leave(cut=is_cut)

    @contextmanager
    def ask(self, ask: ConditionalRequest) -> Iterator[tuple[TransportResponse, Head]]:
        """Open, follow redirects, and close in the end.

        Raises:
            TransferError: no connection, a refused redirect, an error status that asks to come again, or a host
                that asked for more quiet than `max_pause_s`.
        """
        answer = self._follow(ask)
        try:
            with self._cancel.watch(answer):
                yield answer, head_of(answer, redirected=answer.url != self._request.url)
        finally:
            self.release_connection()

    def _follow(self, ask: ConditionalRequest) -> TransportResponse:
        url = self._request.url
        seen: set[tuple[str, str]] = {(url, "")}
        while True:
            opened, self._opened = self._opened, None
            answer = opened or self._get(url, ask)
            if answer.status not in REDIRECTS:
                return answer
            self.release_connection()
            target = answer.headers.get("location")
            if not self._request.allow_redirects or not target:
                raise HttpStatusError(url, answer.status, answer.reason)
            self._keep_cookies(url, answer)
            url = self._target(url, target, seen)
            self._check_allowed(url)

    def _check_allowed(self, target: str) -> None:
        if not self._request.ask_before_redirect:
            return
        why_not = self._may_follow(self._request, target, self._cancel)
        if why_not is not None:
            raise RobotsForbidden(self._request.url, f"redirect to {redact_url(target)}: {why_not}")

    def _target(self, url: str, location: str, seen: set[tuple[str, str]]) -> str:
        # http libraries decode header bytes as latin-1; servers send UTF-8.
        with suppress(UnicodeError):
            location = location.encode("latin-1").decode("utf-8")
        try:
            target = urljoin(url, location)
        except ValueError:
            raise RedirectRefused(self._request.url, "redirect to something that is no URL") from None
        scheme = target.partition(":")[0].lower()
        if scheme not in DEFAULT_PORTS:
            raise RedirectRefused(
                self._request.url, f"redirect to {scheme}: is refused, only http and https are followed"
            )
        # To the same URL with a new cookie is no loop: sites that want one greet like that.
        step = (target, self._cookie_field("", origin_of(target).host))
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
        if answer.status in {429, 503}:
            self._raise_busy(url, origin, answer)
        return answer

    def _sent(self, url: str, origin: Origin, ask: ConditionalRequest) -> TransportResponse:
        """Ask as soon as the host may be asked."""
        admission = Admission(self._connections, self._pauses, origin.host, self._cancel, self._waits, self._progress)
        while True:
            self._wait_for_quiet_end(url, origin.host)
            asked_at = time.monotonic()
            self._progress.wait(asked_at)
            try:
                answer = self._transport.get(
                    self._signed(url, origin),
                    self._headers(origin, ask),
                    proxy=self._request.proxy,
                    timeout_s=self._timeout_s,
                    admission=admission,
                )
            except HostPaused:
                continue
            finally:
                self._progress.wait(None)
            self.latency_s = time.monotonic() - asked_at
            return answer

    def _wait_for_quiet_end(self, url: str, host: str) -> None:
        """Wait while a host is paused: also for what other transfers, or processes, learn meanwhile."""
        self._cancel.check()
        while (pause_s := self._pauses.remaining_s(host)) > 0:
            if not self._waits:
                raise NoPermit(host)
            if pause_s > self._max_pause_s:
                raise TransferError(url, f"{host} asked for quiet for {pause_s:.0f} s", retry_after_s=pause_s)
            with self._progress.sleeping(f"{host} asked for quiet"):
                self._cancel.wait(pause_s)

    def _raise_busy(self, url: str, origin: Origin, answer: TransportResponse) -> None:
        wait_s = self._pauses.heed(origin.host, answer.status, answer.headers, longest_s=self._max_pause_s)
        self.release_connection()
        raise HttpStatusError(url, answer.status, answer.reason, wait_s)

    def _headers(self, origin: Origin, ask: ConditionalRequest) -> Mapping[str, str]:
        if not (ask.headers or self._cookies) and origin == self.origin:
            return _usual_headers(self._request.headers)
        foreign = origin != self.origin
        headers = {
            name: value
            for name, value in self._request.headers
            if name.lower() not in _OURS and (name.lower() in _ANY_ORIGIN or not foreign)
        }
        # An encoded body cannot be resumed: a range of it is a range of another thing (RFC 9110 8.4, 14).
        headers |= {"Accept-Encoding": "identity", **dict(ask.headers)}
        sent = next((name for name in headers if name.lower() == "cookie"), "Cookie")
        if cookies := self._cookie_field(headers.get(sent, ""), origin.host):
            headers[sent] = cookies
        return headers

    def _signed(self, url: str, origin: Origin) -> str:
        """With the user name and password of the wanted URL, where a redirect within its origin left them out."""
        if "@" not in self._request.url:
            return url
        parts = urlsplit(url)
        user, at, _ = urlsplit(self._request.url).netloc.rpartition("@")
        if not at or origin != self.origin or "@" in parts.netloc:
            return url
        return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc}"))

    def _cookie_field(self, sent: str, host: str) -> str:
        """The cookies of the crawl, but for those that a redirect has set anew, then those of redirects."""
        own = self._cookies.get(host, {})
        pairs = [pair for pair in sent.split("; ") if pair and pair.partition("=")[0] not in own]
        return "; ".join([*pairs, *(f"{name}={value}" for name, value in own.items())])

    def _keep_cookies(self, url: str, answer: TransportResponse) -> None:
        """Names and values (RFC 6265 5.2); they live for this transfer and this host, so attributes do not matter."""
        for line in answer.headers.get("set-cookie", "").split("\n"):
            name, equals, value = line.partition(";")[0].partition("=")
            if equals and name.strip():
                self._cookies.setdefault(origin_of(url).host, {})[name.strip()] = value.strip()


@lru_cache(64)  # those of all files of a site, or of a page of it, are the same
def _usual_headers(wished: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Of an ask for the whole that goes where it was meant to go."""
    return {name: value for name, value in wished if name.lower() not in _OURS} | {"Accept-Encoding": "identity"}


def head_of(answer: TransportResponse, *, redirected: bool) -> Head:
    """The part of an answer's head that decides."""
    headers = answer.headers
    kind = media_type(headers.get("content-type"))
    return Head(
        status=answer.status,
        content_range=ContentRange.from_header(headers.get("content-range")),
        # Transfer-Encoding overrides Content-Length (RFC 9112 6.3).
        content_length=None if "transfer-encoding" in headers else content_length(headers.get("content-length")),
        validators=Validators.from_headers(headers),
        is_encoded=headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"},
        is_multipart=kind == "multipart/byteranges",
        ranges_refused=headers.get("accept-ranges", "").strip().lower() == "none",
        redirected=redirected,
    )


def content_length(value: str | None) -> int | None:
    """RFC 9110 8.6: digits; a list of equal values counts once, anything else is no length."""
    if value is None:
        return None
    values = {item.strip() for item in value.split(",")}
    item = values.pop()
    if values or not item.isascii() or not item.isdigit() or len(item) > 18:
        return None
    return int(item)


def origin_of(url: str) -> Origin:
    """Raises `TransferError` for what cannot be fetched."""
    origin = Origin.of(url)
    if origin is None:
        raise UnsupportedURL(url, "not an http or https URL with a host")
    return origin
