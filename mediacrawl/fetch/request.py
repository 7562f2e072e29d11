"""What goes into a `FetchQueue`, and what comes out of it: plain records."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import getproxies, proxy_bypass

from mediacrawl.archive import validators_of
from mediacrawl.config import header_value
from mediacrawl.download.records import TransferRequest
from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.fetch.filenames import is_page_name, key_of_url, name_in_url
from mediacrawl.ledger.sqlite import DONE, Entry
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mediacrawl.download.records import Fetched
    from mediacrawl.errors import TransferError
    from mediacrawl.headers import Digest

DOWNLOADED = "downloaded"
"""The file has arrived."""
RESUMED = "resumed"
"""The file has arrived, and some of its bytes were on the disk before this run."""
UPTODATE = "uptodate"
"""The file was there, and no byte of it travelled."""
FAILED = "failed"
"""The file is not there."""
INTERRUPTED = "interrupted"
"""The run has stopped before it was known; the next one goes on."""

LOOKED_UP = "looked up"
"""Its row has been read, and it has to be fetched."""
FETCHED = "fetched"
"""Its bytes are here, or it is known why they are not."""
WRITTEN = "written"
"""The ledger says what became of it."""


# Of the environment, as `urllib.request` reads it: where none of these has changed, neither have the proxies.
_PROXY_VARIABLES = (
    *("http_proxy", "https_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    "REQUEST_METHOD",
)


class FileRequest(NamedTuple):
    """One wanted file.

    Attributes:
        transfer: what the transfer has to know: media key, URL, headers, …
        path: in the store, where it is prescribed.
        filename: last part of the path, where only that is prescribed.
        page: URL of the page that has the link.
        options: what the ledger keeps for a retry beside the URL, as JSON.
        owner: name of the spider or command that it belongs to, where that is not the one that fetches it.
        ignores_known_failure: fetch it even if the ledger knows that it failed for good.
        batchable: it may go with others of its host over one connection.
        redirects: so often it was begun again, as nobody knew whether it may go to where it is redirected.
        until: how far it goes by itself: `LOOKED_UP`, `FETCHED` or `WRITTEN`; see `FetchQueue.take_steps`.
        carrier: what the driver needs to send it.
    """

    transfer: TransferRequest
    path: str | None = None
    filename: str | None = None
    page: str | None = None
    options: str | None = None
    owner: str | None = None
    ignores_known_failure: bool = False
    batchable: bool = True
    redirects: int = 0
    until: str = WRITTEN
    carrier: Any = None

    @classmethod
    def of_url(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        digests: tuple[Digest, ...] = (),
        connections: int | None = None,
        path: str | None = None,
        filename: str | None = None,
        **more: Any,
    ) -> FileRequest:
        """Make the request for a URL, through the proxy that the environment names for it.

        Args:
            url: http or https; may have credentials.
            headers: sent to its origin; to another, where a redirect leads there, only what is no secret.
            digests: what the bytes must hash to.
            connections: for a large file; None leaves that to the settings.
            path: in the store.
            filename: last part of the path, where only that is prescribed.
            **more: the other attributes.

        Raises:
            UsageProblem: it is not an http or https URL, or a header cannot be sent.
            ValueError: the standard library cannot take it apart.
        """
        origin = Origin.of(url)
        if origin is None:
            raise UsageProblem(f"{redact_url(url)}: not an http or https URL")
        transfer = TransferRequest(
            key_of_url(url),
            url,
            headers=_checked(headers),
            proxy=_proxy_of(origin),
            digests=digests,
            connections=connections,
            accept_html=is_page_name(url),
            name=path or filename or name_in_url(url),
        )
        return cls(transfer, path=path, filename=filename, **more)

    @property
    def key(self) -> str:
        """The media key."""
        return self.transfer.key

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return redact_url(self.transfer.url)

    def entry(self, owner: str, **facts: Any) -> Entry:
        """Make the ledger row of this file; `owner` is the name of the spider or command that fetches it."""
        return Entry(self.key, self.url, page=self.page, spider=self.owner or owner, wish=self.options, **facts)

    def revalidating(self, entry: Entry | None) -> FileRequest:
        """Return the request that fits a row: with the validators of the version that is there, if one is."""
        validators = validators_of(entry) if entry is not None and entry.state == DONE else None
        if validators == self.transfer.revalidate:
            return self
        return self._replace(transfer=self.transfer._replace(revalidate=validators))


class FileResult(NamedTuple):
    """What became of one wanted file.

    Attributes:
        url: without credentials; of a line of a list that has none, where the line stands.
        status: one of `DOWNLOADED`, `RESUMED`, `UPTODATE`, `FAILED`; in a crawl that has stopped also `INTERRUPTED`.
        entry: the ledger row of a file that is there; None for a failure.
        reason: why it failed; empty otherwise.
        error: what that came from; None where it was not asked for, as it is known to have failed for good.
        size_bytes: of a file that arrived; 0 otherwise.
        saved_bytes: of these, those that were on the disk before.
        fetched_bytes: that travelled for it.
        request: the request that it answers; None for a line of a list that is none.
    """

    url: str
    status: str
    entry: Entry | None = None
    reason: str = ""
    error: TransferError | None = None
    size_bytes: int = 0
    saved_bytes: int = 0
    fetched_bytes: int = 0
    request: FileRequest | None = None

    @classmethod
    def of_fetched(cls, request: FileRequest, entry: Entry, fetched: Fetched) -> FileResult:
        """Return the result of a file that has arrived and has its name."""
        return cls(
            request.url,
            RESUMED if fetched.saved_bytes else DOWNLOADED,
            entry,
            size_bytes=fetched.size_bytes,
            saved_bytes=fetched.saved_bytes,
            fetched_bytes=fetched.fetched_bytes,
            request=request,
        )

    @classmethod
    def of_present(cls, request: FileRequest, entry: Entry) -> FileResult:
        """Return the result of a file that needs nothing."""
        return cls(request.url, UPTODATE, entry, request=request)

    @property
    def is_known_failure(self) -> bool:
        """Whether it was not asked for, as it is known to have failed for good."""
        return self.status == FAILED and self.error is None and self.request is not None

    @classmethod
    def of_failure(cls, request: FileRequest, reason: str, error: TransferError | None = None) -> FileResult:
        """Return the result of a file that did not arrive."""
        return cls(request.url, FAILED, reason=reason, error=error, request=request)

    @classmethod
    def of_interruption(cls, request: FileRequest) -> FileResult:
        """Return the result of a file that the run did not come to."""
        return cls(request.url, INTERRUPTED, request=request)


@lru_cache(256)  # most requests have the same ones
def _parsed(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    for name, value in headers:
        try:
            header_value(name)
            header_value(value)
        except ValueError as error:
            raise UsageProblem(f"the header {name!r} {error}") from None
    return headers


def _checked(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if isinstance(headers, tuple):
        return _parsed(headers)
    return _parsed(tuple((name, value) for name, value in dict(headers).items()))


def _proxy_of(origin: Origin) -> str | None:
    proxies = _proxies(tuple(map(os.environ.get, _PROXY_VARIABLES)))
    return _proxy_among(proxies, origin) if proxies else None


@lru_cache(1)
def _proxies(_values: tuple[str | None, ...]) -> tuple[tuple[str, str], ...]:
    """Return the proxies by scheme. To read the whole environment for each host costs as much as a small file."""
    return tuple(getproxies().items())


@lru_cache(256)
def _proxy_among(proxies: tuple[tuple[str, str], ...], origin: Origin) -> str | None:
    return None if proxy_bypass(origin.host) else dict(proxies).get(origin.scheme)
