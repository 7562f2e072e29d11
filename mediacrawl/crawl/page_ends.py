"""Counts each page that ends without being read. Scrapy drops most of these without a word.

A page that could not be read is a failure: its links are unknown. A page that a setting, a middleware or a spider
leaves out on purpose is counted apart.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from weakref import WeakSet

from scrapy import Request, signals
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK
from scrapy.spidermiddlewares.depth import DepthMiddleware
from scrapy.spidermiddlewares.urllength import UrlLengthMiddleware
from w3lib.url import canonicalize_url

from mediacrawl.errors import describe_error, redact_url
from mediacrawl.fetch.stats import FORBIDDEN, Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.spidermiddlewares.base import BaseSpiderMiddleware

    from mediacrawl.fetch.stats import RunStats

_CHANGED, _NEW = "changed", "new"  # what a redirect did to a cookie
_COOKIE = "mediacrawl_redirect_cookie"  # keys in Request.meta
_FORCED = "mediacrawl_redirect_forced"
_MOST_WAITING = 10_000
_LONGEST = 2000  # characters that are shown of a long URL
# Scrapy gives a page up with an IgnoreRequest of these words. All others leave a page out on purpose.
_FAILURES = {
    "max redirections reached": "redirected more than REDIRECT_MAX_TIMES times",
    "exceeded DOWNLOAD_MAXSIZE": "larger than DOWNLOAD_MAXSIZE",
    "Forbidden by robots.txt": FORBIDDEN,
}
_ON_PURPOSE = {
    "Filtered offsite request": "outside allowed_domains",
    "Ignored request not in cache": "not in the HTTP cache",
}
_TO_UNREAD = "redirected to a page that could not be read"


class PageFailures(Protocol):
    """Keeps the failures of pages, by the fingerprints of their requests."""

    def note_failure(self, fingerprint: bytes, url: str, reason: str) -> None:
        """Note that a page could not be read."""

    def note_read(self, fingerprint: bytes) -> None:
        """Remove the note that a page could not be read."""


class PageEnds:
    """Is told how the pages of a crawl end, and decides which redirects are followed to a URL asked before.

    Scrapy filters a redirect to a URL that was asked before. That is right where two links lead to one page. A page
    that sets a cookie, redirects to another page or to itself, and is to be asked again with the cookie, is lost.
    """

    def __init__(self, crawler: Crawler, report: RunStats) -> None:
        self._crawler = crawler
        self._report = report
        self._read = Recent()  # fingerprints
        self._unread = Recent()
        # By fingerprint of their common target: the pages whose redirects were filtered.
        self._waiting: OrderedDict[bytes, list[Request]] = OrderedDict()
        self._redirects: WeakSet[Request] = WeakSet()
        self._reached: list[Request] = []  # the scheduler, during calls of the engine's `crawl`
        self._failures: PageFailures | None = None

    def connect(self) -> None:
        """Connect to the signal of requests that the scheduler has filtered."""
        self._crawler.signals.connect(self._dropped, signals.request_dropped)

    def keep_in(self, failures: PageFailures) -> None:
        """Keep the failures of this crawl for the next run of a job."""
        self._failures = failures

    def count_read(self, response: Response, media: int) -> None:
        """Count a page that a spider has read, and its links to media."""
        self._report.pages.count_read(urlsplit(response.url).hostname or "", media)
        if response.request is not None:
            self._waiting.pop(self._fingerprint(response.request), None)

    def count_failure(self, response: Response, reason: str) -> None:
        """Count a page that could not be read."""
        self.count_unread(response.request or Request(response.url), reason)

    def count_unread(self, request: Request, reason: str) -> None:
        """Count the page of a request that brought no page."""
        self._count(request, reason)
        self._has_ended_unread(request)

    def count_exception(self, request: Request, exception: BaseException | None) -> None:
        """Count a page by the exception with which its download ended."""
        if not _is_page(request):
            return
        said = describe_error(exception)
        failure = said if not isinstance(exception, IgnoreRequest) else _first(_FAILURES, said)
        if failure is not None:
            self.count_unread(request, failure)
        else:
            self.leave_out(request.url, _first(_ON_PURPOSE, said) or said)

    def leave_out(self, url: str, reason: str) -> None:
        """Count a page that is left out on purpose."""
        self._report.pages.count_left_out(redact_url(url), reason)

    def note_read(self, request: Request) -> None:
        """Note that a spider gets the response of a page."""
        fingerprint = self._fingerprint(request)
        self._read.add(fingerprint)
        self._unread.discard(fingerprint)
        if self._failures is not None:
            self._failures.note_read(fingerprint)

    # Redirects

    def brings_cookie(self, request: Request, response: Response) -> str | None:
        """Return whether a response sets a cookie that the request did not send: "new", "changed", or None."""
        if request.meta.get("dont_merge_cookies") or not self._crawler.get_downloader_middleware(CookiesMiddleware):
            return None
        sent = _pairs(b"; ".join(request.headers.getlist("Cookie")).split(b";"))
        brought = _pairs(field.partition(b";")[0] for field in response.headers.getlist("Set-Cookie"))
        if not brought.keys() <= sent.keys():
            return _NEW
        return _CHANGED if brought.items() - sent.items() else None

    def redirect(self, request: Request, response: Response, redirected: Request) -> None:
        """Note in the request that follows a redirect whether a cookie came on the way."""
        if redirected.meta.pop(_FORCED, False):
            redirected.dont_filter = False
        if cookie := self.brings_cookie(request, response):
            redirected.meta[_COOKIE] = cookie
        if redirected.meta.get(_COOKIE) and self.is_circle(redirected) and not _is_same(request.url, redirected.url):
            self._has_ended_unread(request)  # it sets the cookie, and redirects back: this is no page

    def replaced(self, request: Request) -> None:
        """Note that a request replaces another, as a redirect or a retry."""
        self._redirects.add(request)

    def is_circle(self, redirected: Request) -> bool:
        """Return whether a redirect leads to a URL that was asked on the way to it."""
        return any(_is_same(url, redirected.url) for url in redirected.meta.get("redirect_urls", ()))

    def _dropped(self, request: Request) -> None:
        """Force a redirect that the scheduler has filtered, or count the page if the target is no page."""
        if request not in self._redirects or request.dont_filter or not _is_page(request):
            return
        first = request.replace(url=request.meta.get("redirect_urls", [request.url])[0])
        cookie, fingerprint = request.meta.get(_COOKIE), self._fingerprint(request)
        is_circle = self.is_circle(request)
        if cookie and (is_circle or (cookie == _NEW and fingerprint not in self._read)):
            self._force(request)
        elif is_circle:
            self._count(first, "redirected in a circle")
            self._has_ended_unread(request)
        elif fingerprint in self._unread:
            self._count(first, _TO_UNREAD)
        elif fingerprint not in self._read:
            self._waiting.setdefault(fingerprint, []).append(first)
            if len(self._waiting) > _MOST_WAITING:
                self._waiting.popitem(last=False)

    def _force(self, request: Request) -> None:
        again = request.replace(dont_filter=True)
        again.meta[_FORCED] = True
        del again.meta[_COOKIE]
        assert self._crawler.engine is not None
        self._crawler.engine.crawl(again)

    def _has_ended_unread(self, request: Request) -> None:
        fingerprint = self._fingerprint(request)
        self._unread.add(fingerprint)
        for waiting in self._waiting.pop(fingerprint, ()):
            self._count(waiting, _TO_UNREAD)

    def _count(self, request: Request, reason: str) -> None:
        url = redact_url(request.url)
        url = url if len(url) <= _LONGEST else f"{url[:_LONGEST]}…"
        self._report.count_page_failure(url, reason)
        if self._failures is not None:
            self._failures.note_failure(self._fingerprint(request), url, reason)

    def _fingerprint(self, request: Request) -> bytes:
        return self._crawler.request_fingerprinter.fingerprint(request)

    # Requests that do not reach the scheduler

    def counting_dropped(self, middleware: BaseSpiderMiddleware) -> Callable[..., Request | None]:
        """Return the middleware's `get_processed_request`, which then counts the requests that it drops."""
        process = middleware.get_processed_request

        def get_processed_request(request: Request, response: Response | None) -> Request | None:
            processed = process(request, response)
            if processed is None:
                self._count_dropped_by(middleware, request)
            return processed

        return get_processed_request

    def _count_dropped_by(self, middleware: BaseSpiderMiddleware, request: Request) -> None:
        if isinstance(middleware, DepthMiddleware):
            self.leave_out(request.url, "deeper than DEPTH_LIMIT")
        elif isinstance(middleware, UrlLengthMiddleware):
            self.count_unread(request, "its URL is longer than URLLENGTH_LIMIT")
        else:
            self.leave_out(request.url, f"dropped by {type(middleware).__name__}")

    def noting_reached(self, enqueue: Callable[[Request], bool]) -> Callable[[Request], bool]:
        """Return the scheduler's `enqueue_request`, which then notes that a request has come so far."""

        def enqueue_request(request: Request) -> bool:
            self._reached.append(request)
            return enqueue(request)

        return enqueue_request

    def counting_refused(self, crawl: Callable[[Request], None]) -> Callable[[Request], None]:
        """Return the engine's `crawl`, which then counts requests that do not reach the scheduler.

        A receiver of the signal `request_scheduled` has refused such a request, as Scrapy's offsite middleware does.
        """

        def crawl_and_count(request: Request) -> None:
            before = len(self._reached)
            crawl(request)
            if not any(one is request for one in self._reached[before:]):
                self._count_refused(request)
            del self._reached[before:]

        return crawl_and_count

    def _count_refused(self, request: Request) -> None:
        url = request.meta["redirect_urls"][0] if request in self._redirects else request.url
        offsite, spider = self._crawler.get_downloader_middleware(OffsiteMiddleware), self._crawler.spider
        is_offsite = offsite is not None and spider is not None and not offsite.should_follow(request, spider)
        self.leave_out(url, "outside allowed_domains" if is_offsite else "refused by a receiver of request_scheduled")


def _is_page(request: Request) -> bool:
    """Return whether a spider has made the request: neither a robots.txt nor media have a callback."""
    return request.callback is not NO_CALLBACK


def _is_same(url: str, other: str) -> bool:
    return url == other or canonicalize_url(url) == canonicalize_url(other)


def _first(reasons: dict[str, str], said: str) -> str | None:
    return next((reason for words, reason in reasons.items() if words in said), None)


def _pairs(fields: Iterable[bytes]) -> dict[bytes, bytes]:
    pairs = (field.partition(b"=") for field in fields)
    return {name.strip(): value.strip() for name, _, value in pairs}
