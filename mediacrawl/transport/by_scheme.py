"""The choice of the transport for each URL by its scheme: one for HTTP, and one for FTP that is made when needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mediacrawl.transport.base import Transport, TransportResponse
    from mediacrawl.transport.connection_limits import Admission


class TransportByScheme:
    """See `Transport`. Sends ftp and ftps URLs over one transport, and all others over another."""

    def __init__(self, http: Transport, make_ftp: Callable[[], Transport]) -> None:
        self.http = http
        self._make_ftp = make_ftp
        self._lock = threading.Lock()
        self._ftp: Transport | None = None
        self._is_aborted = False

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        timeout_s: float,
        admission: Admission | None = None,
    ) -> TransportResponse:
        """Send a request over the transport of its scheme; see `Transport.get`."""
        transport = self.http if url[:3].lower() != "ftp" else self._made()
        return transport.get(url, headers, proxy=proxy, timeout_s=timeout_s, admission=admission)

    def _made(self) -> Transport:
        with self._lock:
            if self._ftp is None:
                self._ftp = self._make_ftp()
                if self._is_aborted:
                    self._ftp.abort()
            return self._ftp

    def close_idle(self, host: str, idle_s: float) -> bool:
        """Close an idle connection of either transport; see `Transport.close_idle`."""
        ftp = self._ftp
        return self.http.close_idle(host, idle_s) or (ftp is not None and ftp.close_idle(host, idle_s))

    def abort(self) -> None:
        """Wake up the threads that wait for a response, now and from now on."""
        self.http.abort()
        with self._lock:
            self._is_aborted = True
            if self._ftp is not None:
                self._ftp.abort()

    def close(self) -> None:
        """Close all idle connections."""
        self.http.close()
        with self._lock:
            if self._ftp is not None:
                self._ftp.close()
