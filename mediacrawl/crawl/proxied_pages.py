"""Pages through proxies that Scrapy's handler does not know, or waits for: SOCKS, and tunnels for https."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from scrapy.core.downloader.handlers._base_streaming import BaseStreamingDownloadHandler
from scrapy.exceptions import DownloadFailedError, DownloadTimeoutError
from scrapy.http import Headers

from mediacrawl.crawl.page_network import in_thread, proxy_of
from mediacrawl.errors import ConnectionLost, ProxyRefused, TransferError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy import Request
    from scrapy.crawler import Crawler

    from mediacrawl.transport.base import TransportResponse
    from mediacrawl.transport.requests_transport import RequestsTransport


class ProxiedPages(BaseStreamingDownloadHandler[Any]):
    """A download handler of Scrapy on the transport of media, whose calls block a thread for each page."""

    def __init__(self, crawler: Crawler, transport: RequestsTransport) -> None:
        super().__init__(crawler)
        self._transport = transport

    @asynccontextmanager
    async def _make_request(self, request: Request, timeout: float) -> AsyncIterator[TransportResponse]:  # noqa: ASYNC109
        send = partial(
            self._transport.send,
            request.method,
            request.url,
            {
                name.decode("latin-1"): b", ".join(values).decode("latin-1")
                for name, values in self._request_headers(request).items()
            },
            request.body,
            proxy=proxy_of(request) or "",
            timeout_s=timeout,
        )
        try:
            async with asyncio.timeout(timeout):
                response = await in_thread(send, lambda late: late.close())
                try:
                    yield response
                finally:
                    response.abort()
                    response.close()
        except TimeoutError:
            raise DownloadTimeoutError(f"Getting {request.url} took longer than {timeout} seconds.") from None
        except TransferError as error:
            if isinstance(error, ProxyRefused):
                request.meta["dont_retry"] = True
            raise DownloadFailedError(error.reason) from error

    @staticmethod
    def _extract_headers(response: TransportResponse) -> Headers:
        return Headers({
            name: value.split("\n") if name == "set-cookie" else [value] for name, value in response.headers.items()
        }, encoding="latin-1")  # fmt: skip

    @staticmethod
    def _build_base_response_args(response: TransportResponse, request: Request, headers: Headers) -> Any:
        return {"status": response.status, "url": request.url, "headers": headers, "protocol": None}

    @staticmethod
    async def _iter_body_chunks(response: TransportResponse) -> AsyncIterator[bytes]:
        blocks = response.blocks()
        while block := await in_thread(partial(next, blocks, b"")):
            yield block

    @staticmethod
    def _is_dataloss_exception(exc: Exception) -> bool:
        return isinstance(exc, ConnectionLost)

    def stop(self) -> None:
        """Wake up the threads that wait for the head of a response."""
        self._transport.abort()

    async def close(self) -> None:
        """Close the connections."""
        self._transport.close()
