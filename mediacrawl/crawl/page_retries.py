"""The patience of pages with a host that fails: the same as that of media.

Pages and media count their failures apart: they have other connections, and another way to resolve names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy.exceptions import CannotResolveHostError, DownloadConnectionRefusedError, DownloadFailedError
from twisted.internet.error import ConnectError as TwistedConnectError

from mediacrawl.download.retry import concerns_host, wished_wait_s
from mediacrawl.errors import ConnectError, HttpStatusError, TransferError, describe_error
from mediacrawl.fetch.host_failures import FailingHosts
from mediacrawl.fetch.paused_hosts import PausedHosts, PauseOfHost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from mediacrawl.download.retry import Backoff, HostPauses
    from mediacrawl.fetch.host_failures import HostFailures

_NO_CONNECTION = (CannotResolveHostError, DownloadConnectionRefusedError, TwistedConnectError)


class PageRetries:
    """Repeats the request of a page, if no connection was established or the host requests a pause.

    Scrapy's `RetryMiddleware` repeats a request at once, and twice: too soon and too seldom for a server that
    restarts. What a project has set for it holds here too: `RETRY_ENABLED`, `RETRY_HTTP_CODES`, `dont_retry`, and
    statuses that a spider handles itself. All other failures are left to the middleware.

    Args:
        pauses: pauses of hosts, shared with all processes of the crawl.
        paused: shows the pauses to the user.
        most: connections that a host may have.
    """

    def __init__(
        self, crawler: Crawler, backoff: Backoff, pauses: HostPauses, paused: PausedHosts, most: float
    ) -> None:
        self._crawler = crawler
        self._failing = FailingHosts()
        self._backoff = backoff
        self._pauses = pauses
        self._paused = paused
        self._most = most
        self._is_enabled = crawler.settings.getbool("RETRY_ENABLED")
        self._statuses = {int(status) for status in crawler.settings.getlist("RETRY_HTTP_CODES")}

    async def send(self, request: Request, send: Callable[[], Awaitable[Response]]) -> Response:
        """Send the request of a page with `send`, and again after pauses. Return the last response.

        Raises:
            DownloadFailedError: the host was given up before.
            Exception: the last exception of `send`.
        """
        loop, failures, tries = asyncio.get_running_loop(), self._failing.of(request.url), 0
        while True:
            self._refuse_given_up(failures, loop.time())
            if (pause_s := failures.pause_s(loop.time())) > 0:
                await asyncio.sleep(pause_s)
            began_s = loop.time()
            response, exception = await _outcome(send)
            error = _error_of(request, response, exception)
            if not concerns_host(error, self._backoff):
                if response is not None:
                    failures.succeed(began_s, 1, self._most)
                return _through(response, exception)
            assert error is not None
            tries += 1
            failures.fail(error, began_s, loop.time(), self._most, self._backoff)
            self._failing.keep(failures)
            if response is not None:
                self._pauses.pause(failures.site[0], failures.pause_s(loop.time()))
            if failures.error is not None or (response is None and tries > self._backoff.times):
                request.meta["dont_retry"] = True
                return _through(response, exception)
            if not self._is_repeated(request, response):
                return _through(response, exception)
            host, port = failures.site
            until_s = loop.time() + failures.pause_s(loop.time())
            self._paused.add(PauseOfHost(host, f"{host}:{port}", error.reason, until_s, response is not None))

    def _refuse_given_up(self, failures: HostFailures, now_s: float) -> None:
        failures.retry_if_due(now_s, self._backoff)
        if failures.error is not None:
            host, port = failures.site
            raise DownloadFailedError(f"{host}:{port} was given up for this run: {failures.error.reason}")

    def _is_repeated(self, request: Request, response: Response | None) -> bool:
        """Return whether the project lets Scrapy repeat such a request."""
        meta = request.meta
        if not self._is_enabled or meta.get("dont_retry"):
            return False
        if response is None:
            return True
        of_spider = getattr(self._crawler.spider, "handle_httpstatus_list", ())
        handled: Sequence[int] = meta.get("handle_httpstatus_list") or of_spider
        return response.status in self._statuses and not (
            meta.get("handle_httpstatus_all") or response.status in handled
        )


async def _outcome(send: Callable[[], Awaitable[Response]]) -> tuple[Response | None, Exception | None]:
    try:
        return await send(), None
    except _NO_CONNECTION as exception:
        return None, exception


def _through(response: Response | None, exception: Exception | None) -> Response:
    if exception is not None:
        raise exception
    assert response is not None
    return response


def _error_of(request: Request, response: Response | None, exception: Exception | None) -> TransferError | None:
    """Return the outcome of a page as the error that media have; None for a response that says nothing of the host.

    A response 502, 503 or 504 without Retry-After is left to Scrapy.
    """
    if response is None:
        host = urlsplit(request.url).hostname or ""
        return ConnectError(request.url, f"no connection to {host}: {describe_error(exception)}")
    fields = {
        name: value.decode("latin-1")
        for name in ("retry-after", "date")
        if (value := response.headers.get(name)) is not None
    }
    wait_s = wished_wait_s(fields)
    if response.status == 429 or (response.status == 503 and wait_s):
        return HttpStatusError(request.url, response.status, "", wait_s)
    return None
