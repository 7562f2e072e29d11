"""The robots.txt of an FTP server (RFC 9309 2.3), over the transport of its files.

Scrapy's handler knows no ftps, and the addresses that it connects to are not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import DownloadFailedError
from scrapy.http import TextResponse
from scrapy.http.request import NO_CALLBACK

from mediacrawl.errors import TransferError
from mediacrawl.transport.ftp import FtpTransport

if TYPE_CHECKING:
    from scrapy import Request

    from mediacrawl.transport.authorities import Authorities

_MOST_BYTES = 512 * 1024  # the rules behind them do not count, see `RobotsFile`


def is_ftp_robots(request: Request) -> bool:
    """Return whether a request is for the robots.txt of an FTP server."""
    return request.callback is NO_CALLBACK and request.url.startswith(("ftp://", "ftps://"))


class FtpRobots:
    """Reads robots.txt files. Methods block, and may be called from any thread."""

    def __init__(self, authorities: Authorities | None, *, block_private: bool, connect_timeout_s: float) -> None:
        """Prepare; see `FtpTransport`."""
        self._transport = FtpTransport(
            verify=authorities or False, block_private=block_private, connect_timeout_s=connect_timeout_s
        )

    def read(self, request: Request, proxy: str | None, timeout_s: float) -> TextResponse:
        """Return the beginning of the file, or the status of a server that has none.

        Raises:
            DownloadFailedError: the server does not answer.
        """
        content = bytearray()
        try:
            answer = self._transport.get(request.url, {}, proxy=proxy, timeout_s=timeout_s)
            try:
                for block in answer.blocks():
                    content += block
                    if len(content) > _MOST_BYTES:
                        break
            finally:
                answer.close()
        except TransferError as error:
            if error.http_status is None:
                raise DownloadFailedError(error.reason) from None
            return TextResponse(request.url, status=error.http_status, request=request)
        return TextResponse(request.url, status=answer.status, body=bytes(content), request=request)

    def stop(self) -> None:
        """Wake up the threads that wait for a reply."""
        self._transport.abort()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
