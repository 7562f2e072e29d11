"""Counts each page that ends without being read. Scrapy drops most of these without a word.

A page that could not be read is a failure: its links are unknown. A page that a setting, a middleware or a spider
leaves out on purpose is counted apart.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4
from weakref import WeakSet

from scrapy import Request, signals
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK
from scrapy.spidermiddlewares.depth import DepthMiddleware
from scrapy.spidermiddlewares.urllength import UrlLengthMiddleware
from w3lib.url import canonicalize_url

from mediacrawl.config import PAGE_MAXSIZE
from mediacrawl.errors import describe_error, redact_url
from mediacrawl.fetch.stats import FORBIDDEN, Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.spidermiddlewares.base import BaseSpiderMiddleware

    from mediacrawl.fetch.stats import RunStats

FRAME = "media_frame"  # keys in Request.meta
_WAY = "mediacrawl_way"
_RUN = "mediacrawl_way_run"
_FORCED = "mediacrawl_redirect_forced"
_MOST_WAITING = 10_000
_MOST_BEING_READ = 1000
_LONGEST = 2000  # characters that are shown of a long URL
# Scrapy gives a page up with an IgnoreRequest of these words. All others leave a page out on purpose.
_FAILURES = {
    "max redirections reached": "redirected more than REDIRECT_MAX_TIMES times",
    "exceeded DOWNLOAD_MAXSIZE": "larger than DOWNLOAD_MAXSIZE allows",
    "Forbidden by robots.txt": FORBIDDEN,
}
_TOO_LARGE = ("exceeded DOWNLOAD_MAXSIZE", "download max size")
_WITHOUT_CONTENT = (FORBIDDEN, "an empty response", "not a page but binary", "HTTP 404", "HTTP 410")
_ON_PURPOSE = {
    "Filtered offsite request": "outside allowed_domains",
    "Ignored request not in cache": "not in the HTTP cache",
}
_TO_UNREAD, _CIRCLE = _OF_REDIRECTS = "redirected to a page that could not be read", "redirected in a circle"


class PageFailures(Protocol):
    """Keeps the failures of pages, by the fingerprints of their requests."""

    def note_failure(self, fingerprint: bytes, url: str, reason: str) -> None:
        """Note that a page could not be read."""

    def note_read(self, fingerprint: bytes) -> None:
        """Remove the note that a page could not be read."""


class PageEnds:
    """Is told how the pages of a crawl end, and decides which redirects are followed to a URL asked before.

    Scrapy filters a redirect to a URL that was asked before. That is right where two links lead to one page. A page
    that is to be asked again with a cookie, which itself or another URL has set, would be lost.
    """

    def __init__(self, crawler: Crawler, report: RunStats) -> None:
        self._crawler = crawler
        self._report = report
        self._run = uuid4().hex
        self._read = Recent()  # fingerprints of pages that a spider got
        self._being_read = Recent(_MOST_BEING_READ)  # those of which it may still find that they are not the page
        self._unread = Recent()
        self._unread_with = Recent()  # fingerprints with the digests of the cookies that were sent
        self._only_redirects = Recent()
        self._asked = Recent()  # by this run
        # By fingerprint of their common target: the pages whose redirects were filtered.
        self._waiting: OrderedDict[bytes, list[Request]] = OrderedDict()
        self._misled: OrderedDict[bytes, tuple[str, str]] = OrderedDict()  # failures that redirects have caused
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
        self._report.pages.count_read(_host_of(response), media)
        if response.request is not None:
            fingerprint = self._fingerprint(response.request)
            self._being_read.discard(fingerprint)
            self._waiting.pop(fingerprint, None)

    def count_read_in_part(self, response: Response, media: int) -> None:
        """Count the links to media of a page that counts as one that could not be read."""
        self._report.pages.count_read_in_part(_host_of(response), media)

    def count_failure(self, response: Response, reason: str) -> None:
        """Count a page that could not be read."""
        self.count_unread(response.request or Request(response.url), reason)

    def count_unread(self, request: Request, reason: str) -> None:
        """Count the page of a request that brought no page. A frame without content is no loss."""
        if request.meta.get(FRAME) and reason.startswith(_WITHOUT_CONTENT):
            self.leave_out(request.url, f"a frame without content: {reason}")
        else:
            self._count(request, reason)
        self._end_unread(request, _digest(request.headers.getlist("Cookie")))

    def count_exception(self, request: Request, exception: BaseException | None) -> None:
        """Count a page by the exception with which its download ended."""
        if not _is_page(request):
            return
        said = describe_error(exception)
        failure = said if not isinstance(exception, IgnoreRequest) else _first(_FAILURES, said)
        if failure is not None and any(words in said for words in _TOO_LARGE):
            name = PAGE_MAXSIZE.name if PAGE_MAXSIZE.of(self._crawler.settings) else "DOWNLOAD_MAXSIZE"
            failure = f"larger than {name} allows"
        if failure is not None:
            self.count_unread(request, failure)
        else:
            self.leave_out(request.url, _first(_ON_PURPOSE, said) or said)

    def leave_out(self, url: str, reason: str) -> None:
        """Count a page that is left out on purpose."""
        self._report.pages.count_left_out(redact_url(url), reason)

    def leave_out_all(self, urls: Sequence[str], reason: str) -> None:
        """Count pages that are left out on purpose. After many of them, the others are only counted."""
        for url in urls[:_MOST_WAITING]:
            self.leave_out(url, reason)
        self._report.pages.count_others_left_out(len(urls[_MOST_WAITING:]), reason)

    def note_read(self, request: Request) -> None:
        """Note that a spider gets the response of a page."""
        fingerprint = self._fingerprint(request)
        self._read.add(fingerprint)
        self._being_read.add(fingerprint)
        self._unread.discard(fingerprint)
        if fingerprint in self._misled:
            self._report.withdraw_page_failure(*self._misled.pop(fingerprint))
        if self._failures is not None:
            self._failures.note_read(fingerprint)

    # Redirects

    def note_way(self, request: Request, redirected: Request) -> None:
        """Note in the request that follows a redirect which cookies were sent on the way."""
        if redirected.meta.pop(_FORCED, False):
            redirected.dont_filter = False
        redirected.meta.update(self.way_after(request))

    def note_redirects(self, request: Request) -> None:
        """Note that a URL has no page, but redirects."""
        fingerprint = self._fingerprint(request)
        self._only_redirects.add(fingerprint)
        for waiting in self._waiting.pop(fingerprint, ()):
            self._force(waiting)

    def way_after(self, request: Request) -> dict[str, Any]:
        """Return the meta of a request that a browser sends by itself after another: which cookies were sent."""
        way = request.meta.get(_WAY, {}) if request.meta.get(_RUN) == self._run else {}
        sent = _digest(request.headers.getlist("Cookie"))
        return {_WAY: way | {canonicalize_url(request.url): sent}, _RUN: self._run}

    def has_other_cookies(self, request: Request) -> bool:
        """Return whether a request would send other cookies than when its URL was asked on the way to it.

        The jar is compared, and not what one response has set: the cookie may come from another page of the crawl.
        """
        sent: str | None = request.meta.get(_WAY, {}).get(canonicalize_url(request.url))
        return sent != self._cookies_for(request)

    def _cookies_for(self, request: Request) -> str:
        middleware = self._crawler.get_downloader_middleware(CookiesMiddleware)
        if request.meta.get("dont_merge_cookies") or middleware is None:
            return _digest(request.headers.getlist("Cookie"))
        asked = Request(request.url)
        middleware.jars[request.meta.get("cookiejar")].add_cookie_header(asked)
        return _digest(asked.headers.getlist("Cookie"))

    def begin_anew(self, request: Request) -> None:
        """Forget the redirects of a request that an earlier run of the job has kept; its cookies are lost."""
        meta = request.meta
        if meta.get("redirect_urls") and meta.get(_RUN) != self._run:
            meta.pop("redirect_ttl", None)
            meta.update(redirect_times=1, redirect_urls=meta["redirect_urls"][:1])
            meta.update({_WAY: {}, _RUN: self._run})

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
        fingerprint = self._fingerprint(request)
        if self._is_asked_again(request, fingerprint):
            self._force(request)
        elif self.is_circle(request):
            self._count(_first_of(request), _CIRCLE)
            self._end_unread(request, self._cookies_for(request))
        elif fingerprint in self._unread:
            self._count(_first_of(request), _TO_UNREAD)
        elif fingerprint not in self._read or fingerprint in self._being_read:
            self._waiting.setdefault(fingerprint, []).append(request)
            if len(self._waiting) > _MOST_WAITING:
                self._waiting.popitem(last=False)

    def _is_asked_again(self, request: Request, fingerprint: bytes) -> bool:
        """Return whether a redirect is followed to a URL that was asked before.

        It is if it may lead to something else: with other cookies, or to a URL that only redirects, as the gate of an
        age check. What only an earlier run of the job has asked may be such a gate, too.
        """
        if _WAY not in request.meta:  # a middleware of the project has followed the redirect
            return False
        if self.is_circle(request) or canonicalize_url(request.url) in request.meta[_WAY]:
            return self.has_other_cookies(request)
        if fingerprint in self._unread:
            return (fingerprint, self._cookies_for(request)) not in self._unread_with
        is_asked_by_this_run = fingerprint in self._asked or not self._report.pages.goes_on
        return fingerprint not in self._read and (fingerprint in self._only_redirects or not is_asked_by_this_run)

    def _force(self, request: Request) -> None:
        again = request.replace(dont_filter=True)
        again.meta[_FORCED] = True
        assert self._crawler.engine is not None
        self._crawler.engine.crawl(again)

    def _end_unread(self, request: Request, sent: str) -> None:
        """Note that a request, sent with these cookies, has brought no page."""
        fingerprint = self._fingerprint(request)
        self._being_read.discard(fingerprint)
        self._unread.add(fingerprint)
        self._unread_with.add((fingerprint, sent))
        for waiting in self._waiting.pop(fingerprint, ()):
            self._count(_first_of(waiting), _TO_UNREAD)

    def _count(self, request: Request, reason: str) -> None:
        url = redact_url(request.url)
        url = url if len(url) <= _LONGEST else f"{url[:_LONGEST]}…"
        fingerprint = self._fingerprint(request)
        if reason in _OF_REDIRECTS and fingerprint in self._read:
            return  # another request has read the page
        self._report.count_page_failure(url, reason)
        if reason in _OF_REDIRECTS:
            self._misled[fingerprint] = url, reason
            if len(self._misled) > _MOST_WAITING:
                self._misled.popitem(last=False)
        if self._failures is not None:
            self._failures.note_failure(fingerprint, url, reason)

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
            is_new = enqueue(request)
            if is_new:
                self._asked.add(self._fingerprint(request))
            return is_new

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


def _host_of(response: Response) -> str:
    return urlsplit(response.url).hostname or ""


def _is_same(url: str, other: str) -> bool:
    return url == other or canonicalize_url(url) == canonicalize_url(other)


def _first(reasons: dict[str, str], said: str) -> str | None:
    return next((reason for words, reason in reasons.items() if words in said), None)


def _first_of(request: Request) -> Request:
    """Return the request for the page that was redirected first."""
    return request.replace(url=request.meta.get("redirect_urls", [request.url])[0])


def _digest(fields: Iterable[bytes]) -> str:
    """Return a digest of the field Cookie, whatever the order: a job folder is to contain no cookies."""
    pairs = sorted(pair.strip() for pair in b"; ".join(fields).split(b";"))
    return hashlib.sha256(b";".join(pairs)).hexdigest()
