"""Middlewares: for start items, for pages that failed or take long, and some of Scrapy's without a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy import Request, signals
from scrapy.downloadermiddlewares import redirect
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware
from scrapy.exceptions import DownloadFailedError, IgnoreRequest
from scrapy.http import Response, TextResponse
from scrapy.http.request import NO_CALLBACK
from scrapy.spidermiddlewares.httperror import HttpError

from mediacrawl.config import PAGE_MEMORY_LIMIT, PAGE_TIME_LIMIT_S
from mediacrawl.crawl.context import CrawlContext, RequestDropped
from mediacrawl.crawl.page_body import DATALOSS, is_complete, is_download
from mediacrawl.crawl.page_contents import PageQuestion
from mediacrawl.crawl.page_encoding import with_web_encoding
from mediacrawl.crawl.page_messages import ReadingLimits
from mediacrawl.crawl.page_reader import PageReader
from mediacrawl.download.requester import ANY_ORIGIN, REDIRECTS
from mediacrawl.errors import Interrupted, describe_error, redact_url
from mediacrawl.extract.refresh import AT_ONCE_S, parse_refresh
from mediacrawl.transport.errors import Route
from mediacrawl.urls import Origin, has_controls, target_of
from mediacrawl.urls.referrer import policy_of_field, referer_under
from mediacrawl.visible import text_of_field, visible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Self

    from scrapy import Spider
    from scrapy.crawler import Crawler

    from mediacrawl.crawl.page_contents import WantedContents

START_ITEMS = 64
_BEGINNING_BYTES = 128 * 1024  # of a larger page, in which a refresh is looked for


class StartItemsMiddleware:
    """Limits the number of start items under way, as Scrapy neither awaits nor limits them.

    An item occupies a place from the moment it leaves `start()` until a signal reports that its processing has
    ended. The signal of a start item carries no response.
    """

    def __init__(self, crawler: Crawler, places: int = START_ITEMS) -> None:
        self._context = CrawlContext.of(crawler)
        self._places = asyncio.Semaphore(places)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the middleware, and connect it to the signals that report the end of an item."""
        middleware = cls(crawler)
        for signal in (signals.item_scraped, signals.item_dropped, signals.item_error):
            crawler.signals.connect(middleware.item_through, signal)
        return middleware

    async def process_start(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield requests at once, and items when a place is free. Yield nothing more once the crawl stops."""
        async for thing in start:
            if not isinstance(thing, Request):
                await self._places.acquire()
            if self._context.stopping:
                return
            yield thing

    def item_through(self, response: Any) -> None:
        """Release the place of a start item."""
        if response is None:
            self._places.release()


class FailedPagesMiddleware:
    """Counts pages with an error status, which Scrapy drops silently, and pages with an exception in their callback.

    The files that these pages link to are missing. So are all files of a crawl whose pages have none.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._context = CrawlContext.of(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the middleware, and connect it to the signal that no page is left."""
        middleware = cls(crawler)
        crawler.signals.connect(middleware.spider_idle, signals.spider_idle)
        return middleware

    def process_spider_input(self, response: Response) -> None:
        """Note that the page is read: Scrapy calls this method for no page with an error status."""
        if response.request is not None:
            self._context.page_ends.note_read(response.request)

    def process_spider_exception(self, response: Response, exception: Exception) -> None:
        """Count the page as failed, and leave the exception to the other middlewares."""
        if isinstance(exception, HttpError):
            request = response.request
            route = Route(response.url, 0.0, 0.0, request.meta.get("proxy") if request is not None else None)
            reason = route.phrase(response.status, f"HTTP {response.status}")
        else:
            reason = f"{type(exception).__name__}: {describe_error(exception)}"
        self._context.page_ends.count_failure(response, reason)

    def spider_idle(self, spider: Spider) -> None:
        """Note whether pages were read of which neither this run nor an earlier run of the job has any medium."""
        pages = self._context.report.pages
        pages.end(has_earlier_media=pages.goes_on and not pages.media and self._has_earlier_media(spider.name))

    def _has_earlier_media(self, spider: str) -> bool:
        """Return whether a ledger has media of this spider that come from the hosts of this crawl's pages."""
        hosts = self._context.report.pages.hosts
        return bool(hosts) and any(
            entry.spider == spider and (not entry.page or urlsplit(entry.page).hostname in hosts)
            for resources in self._context.resources
            for entry in resources.archive.ledger.entries()
        )


# Headers that a redirect to another origin keeps beside those that media keep: they describe the body of the request.
_OF_BODY = {"content-type", "content-encoding", "content-language"}


class _WithoutCredentials(redirect.BaseRedirectMiddleware):
    """Leaves credentials with the origin that they are for.

    User name and password are removed from the URL of a redirect: Scrapy (2.19) shows them, and cannot send them. A
    redirect to another origin keeps few headers of the request, as that of media, and not its `http_user`.
    """

    def _build_redirect_request(
        self, source_request: Request, response: Response, *, url: str, **kwargs: Any
    ) -> Request:
        redirected = super()._build_redirect_request(source_request, response, url=redact_url(url), **kwargs)
        if not _is_same_origin(redirected.url, source_request.url):
            kept = ANY_ORIGIN | _OF_BODY | ({"proxy-authorization"} if redirected.meta.get("proxy") else set())
            for name in list(redirected.headers):
                if name.decode("latin-1").lower() not in kept:
                    del redirected.headers[name]
            for key in ("http_user", "http_pass", "http_auth_domain"):
                redirected.meta.pop(key, None)
        return redirected


class RedirectMiddleware(_WithoutCredentials, redirect.RedirectMiddleware):
    """Scrapy's middleware for redirects. Notes the cookies of the redirects, see `PageEnds`."""

    def handle_referer(self, request: Request, response: Response) -> None:
        """Set the Referer of a redirect to another origin as browsers do: the former one, as far as it is allowed.

        Scrapy (2.19) sends the URL that redirects, even if the request for it had no Referer. Within an origin that
        is left as it is; such a URL does not leave the origin.
        """
        former = request.headers.get("Referer")
        super().handle_referer(request, response)
        if _is_same_origin(request.url, response.url) or request.headers.pop("Referer", None) is None:
            return
        middleware = self._referer_spider_middleware
        referer = (former or b"").decode("latin-1")
        is_scrapys = any(_is_same_url(referer, url) for url in request.meta.get("redirect_urls", ()))
        if not referer or is_scrapys or middleware is None:
            return
        allowed = middleware.policy(Response(referer), request).referrer(referer, request.url)
        policy = policy_of_field((response.headers.get("Referrer-Policy") or b"").decode("latin-1"))
        if allowed is not None and policy is not None:
            allowed = referer_under(policy, allowed, request.url)
        if allowed is not None:
            request.headers["Referer"] = allowed.encode("latin-1")

    def process_response(  # type: ignore[override]  # Scrapy (2.19) passes no spider
        self, request: Request, response: Response
    ) -> Request | Response:
        """Return the request that follows a redirect, or the response.

        Raises:
            DownloadFailedError: the field Location is no URL, or contains a control character.
        """
        location = (response.headers.get("Location") or b"").decode("utf-8", "surrogateescape")
        if has_controls(location) and response.status in REDIRECTS:
            shown = visible(redact_url(location))[:200]
            raise DownloadFailedError(f"redirected to {shown}: a control character in the URL")
        try:
            result = super().process_response(request, response)
        except ValueError as error:
            raise DownloadFailedError(f"redirected to a URL that is none: {describe_error(error)}") from None
        if isinstance(result, Request):
            page_ends = CrawlContext.of(self.crawler).page_ends
            page_ends.note_way(request, result)
            page_ends.note_redirects(request)
        return result


def _is_same_origin(url: str, other: str) -> bool:
    origin = Origin.of(url)
    return origin is not None and origin == Origin.of(other)


def _is_same_url(url: str, other: str) -> bool:
    return _is_same_origin(url, other) and target_of(url) == target_of(other)


class MetaRefreshMiddleware(_WithoutCredentials, redirect.MetaRefreshMiddleware):
    """Scrapy's middleware for `<meta http-equiv=refresh>`, except that the page is read where no page follows.

    A page that loads itself again, or pages that do so in a circle, would be requested until the limit of redirects.
    One that sets a cookie is requested again once. A header `Refresh` of at most a second is followed, too. Other
    refreshes are left to `MediaSpider`.
    """

    def process_response(  # type: ignore[override]  # Scrapy (2.19) passes no spider
        self, request: Request, response: Response
    ) -> Request | Response:
        """Return the request that follows a refresh, or the response."""
        try:
            result = self._by_header(request, response) or self._by_meta(request, response)
        except IgnoreRequest:  # too many
            return response
        if isinstance(result, Request):
            page_ends = CrawlContext.of(self.crawler).page_ends
            if is_download(result.url):  # a browser goes on to show the page
                page_ends.leave_out(result.url, "a download")
                return response
            page_ends.note_way(request, result)
            is_again = page_ends.is_circle(request) or not page_ends.has_other_cookies(result)
            if is_again and page_ends.is_circle(result):
                return response
            page_ends.note_redirects(request)
        return result

    def _by_meta(self, request: Request, response: Response) -> Request | Response:
        """Have Scrapy look for a refresh in the beginning of a page: it looks at 4096 characters, and decodes all."""
        if not isinstance(response, TextResponse) or len(response.body) <= _BEGINNING_BYTES:
            return super().process_response(request, response)
        beginning = type(response)(
            response.url,
            headers=response.headers,
            body=response.body[:_BEGINNING_BYTES].rpartition(b">")[0] + b">",
            encoding=response._declared_encoding(),  # noqa: SLF001 - `encoding` would decode all, too
        )
        result = super().process_response(request, beginning)
        return response if result is beginning else result

    def _by_header(self, request: Request, response: Response) -> Request | None:
        if not isinstance(response, TextResponse) or request.meta.get("dont_redirect") or request.method == "HEAD":
            return None  # media, for example
        field = response.headers.get("Refresh")
        if field is None:
            return None
        refresh = parse_refresh(field.decode("latin-1"), response.url)
        if refresh is None or refresh.delay_s > AT_ONCE_S or refresh.delay_s >= self._maxdelay:
            return None
        redirected = self._redirect_request_using_get(request, response, refresh.url)
        return self._redirect(redirected, request, "refresh header")


class CompressionMiddleware(HttpCompressionMiddleware):
    """Scrapy's middleware for compressed pages. Marks those of which only the beginning has arrived."""

    def process_response(  # type: ignore[override]  # Scrapy (2.19) passes no spider
        self, request: Request, response: Response
    ) -> Request | Response:
        """Return the decoded response.

        Raises:
            DownloadFailedError: the body cannot be decoded.
        """
        codings, _ = self._split_encodings(response.headers.getlist("Content-Encoding"))
        body = response.body
        try:
            result = super().process_response(request, response)
        except IgnoreRequest:
            raise
        except Exception:
            named = text_of_field(b", ".join(codings).decode("latin-1"))
            reason = f"Content-Encoding {named} cannot be decoded"
            raise DownloadFailedError(reason) from None
        if codings and body and request.method != "HEAD" and not is_complete(body, codings[0].decode("latin-1")):
            result.flags.append(DATALOSS)
        return result


class EncodingMiddleware:
    """Decodes pages as browsers do where a page declares an encoding that is not of the web."""

    def process_response(self, request: Request, response: Response) -> Response:
        """Return the response with an encoding of the web."""
        return with_web_encoding(response) if isinstance(response, TextResponse) else response


class PageReadingMiddleware:
    """Reads pages that may take long before the spider gets them, in another process.

    Which pages these are, and what is to be read, says the spider's method `wanted_of(request, response)`; a spider
    without it gets its responses as they are. The spider finds the contents in `CrawlContext.contents`. While a page
    is read, it counts as being downloaded.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._context = CrawlContext.of(crawler)
        limits = ReadingLimits(PAGE_TIME_LIMIT_S.of(crawler.settings), PAGE_MEMORY_LIMIT.of(crawler.settings))
        self.reader = PageReader(limits)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the middleware, and end its process when the crawl ends."""
        middleware = cls(crawler)
        middleware._context.on_stop(middleware.reader.stop)
        crawler.signals.connect(middleware.spider_closed, signals.spider_closed)
        return middleware

    def spider_closed(self) -> None:
        """End the process that reads pages."""
        self.reader.stop()

    async def process_response(self, request: Request, response: Response) -> Response:
        """Return the response, when the page that it contains was read.

        Raises:
            RequestDropped: the crawl is stopping; the next run of a job requests the page again.
        """
        wanted_of: Callable[[Request, Response], WantedContents] | None
        wanted_of = getattr(self._crawler.spider, "wanted_of", None)
        if wanted_of is None or not isinstance(response, TextResponse) or request.callback is NO_CALLBACK:
            return response
        wanted = wanted_of(request, response)
        if len(response.body) <= wanted.most_at_once:
            return response
        try:
            contents = await self.reader.read(PageQuestion.about(request, response, wanted))
        except Interrupted as error:
            raise RequestDropped(str(error)) from None
        if contents is not None:
            self._context.contents[response] = contents
        return response


class ProxyMiddleware(HttpProxyMiddleware):
    """Scrapy's middleware for the proxies of requests; `PageNetwork` reads those of the environment.

    Scrapy's own (2.19) raises a TypeError for a proxy with a user name and no password.
    """

    def __init__(self, auth_encoding: str | None = "latin-1") -> None:
        self.auth_encoding = auth_encoding
        self.proxies = {}

    def _basic_auth_header(self, username: str, password: str | None) -> bytes:
        return super()._basic_auth_header(username, password or "")
