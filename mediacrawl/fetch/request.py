"""The requests that a `FetchQueue` receives, and the results that it returns: plain records."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.archive import validators_of
from mediacrawl.config import header_value
from mediacrawl.download.records import TransferRequest
from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.fetch.filenames import expected_type, key_of_url, name_in_url
from mediacrawl.ledger.base import Entry, State
from mediacrawl.transport.proxies import environment_proxies, proxy_for
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mediacrawl.download.records import Fetched
    from mediacrawl.errors import TransferError
    from mediacrawl.headers import Digest
    from mediacrawl.transport.proxies import Proxies

DOWNLOADED = "downloaded"
"""The file was fetched."""
RESUMED = "resumed"
"""The file was fetched, and a part of its bytes was on the disk before this run."""
UPTODATE = "uptodate"
"""The file was present, and no byte of it was transferred."""
FAILED = "failed"
"""The file could not be fetched."""
INTERRUPTED = "interrupted"
"""The run stopped before the file had a result; the next run continues."""

LOOKED_UP = "looked up"
"""The ledger row was read, and the file has to be fetched."""
FETCHED = "fetched"
"""The transfer has ended: the bytes are on the disk, or the error is known."""
WRITTEN = "written"
"""The result is recorded in the ledger."""


class FileRequest(NamedTuple):
    """One wanted file.

    Attributes:
        transfer: the input of the transfer: media key, URL, headers, …
        path: in the store, if the path is prescribed.
        filename: last component of the path, if only the last component is prescribed.
        page: URL of the page that contains the link.
        options: data for a retry that the ledger stores beside the URL, as JSON.
        owner: name of the spider or command that the file belongs to, if another spider or command fetches the file.
        ignores_known_failure: fetch the file even if the ledger records a permanent failure.
        batchable: the file may share a batch with other files of its host.
        redirects: number of times that the file was begun again because the robots rules of a redirect were unknown.
        until: the state up to which the queue handles the file: `LOOKED_UP`, `FETCHED` or `WRITTEN`; see
            `FetchQueue.take_steps`.
        carrier: data that the driver needs to send the request.
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
        proxies: Proxies | None = None,
        **more: Any,
    ) -> FileRequest:
        """Make the request for a URL, through the proxy that the environment names for it.

        Args:
            url: http or https; may contain credentials.
            headers: sent to the origin of `url`. If a redirect leads to another origin, secret headers are left out.
            digests: expected digests of the bytes.
            connections: number of connections for a large file; None leaves the number to the settings.
            path: in the store.
            filename: last component of the path, if only the last component is prescribed.
            proxies: from `environment_proxies`, for many requests; None reads the environment.
            **more: the other attributes.

        Raises:
            UsageProblem: `url` is not an http or https URL, a header cannot be sent, or the environment names a proxy
                that is none.
            ValueError: the standard library cannot parse `url`.
        """
        origin = Origin.of(url)
        if origin is None:
            raise UsageProblem(f"{redact_url(url)}: not an http or https URL")
        transfer = TransferRequest(
            key_of_url(url),
            url,
            headers=_checked(headers),
            proxy=proxy_for(environment_proxies() if proxies is None else proxies, origin),
            environment_proxy=True,
            digests=digests,
            connections=connections,
            expected_type=expected_type(url, path or filename),
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
        """Make the ledger row of this file. `owner` is the name of the spider or command that fetches the file."""
        return Entry(self.key, self.url, page=self.page, spider=self.owner or owner, wish=self.options, **facts)

    def revalidating(self, entry: Entry | None) -> FileRequest:
        """Return the request with the validators of the version in the store, if the row has a version."""
        validators = validators_of(entry) if entry is not None and entry.state == State.DONE else None
        if validators == self.transfer.revalidate:
            return self
        return self._replace(transfer=self.transfer._replace(revalidate=validators))


class FileResult(NamedTuple):
    """The result of one wanted file.

    Attributes:
        url: without credentials. For a line of a list that is no request, `InvalidLine.where`.
        status: `DOWNLOADED`, `RESUMED`, `UPTODATE` or `FAILED`; in a crawl that was stopped also `INTERRUPTED`.
        entry: the ledger row of a file that is present; None for a failure.
        reason: why the file failed; empty otherwise.
        error: the error behind `reason`. None if no request was sent, as the file is known to have failed for good.
        size_bytes: size of a file that was fetched; 0 otherwise.
        saved_bytes: how many of these bytes were on the disk before.
        fetched_bytes: bytes that were transferred for the file.
        request: the request for the file; None for a line of a list that is no request.
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
        """Return the result of a file that was fetched and has its name."""
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
        """Return the result of a file that is present and up to date."""
        return cls(request.url, UPTODATE, entry, request=request)

    @property
    def is_known_failure(self) -> bool:
        """Whether no request was sent because the file is known to have failed for good."""
        return self.status == FAILED and self.error is None and self.request is not None

    @classmethod
    def of_failure(cls, request: FileRequest, reason: str, error: TransferError | None = None) -> FileResult:
        """Return the result of a file that could not be fetched."""
        return cls(request.url, FAILED, reason=reason, error=error, request=request)

    @classmethod
    def of_interruption(cls, request: FileRequest) -> FileResult:
        """Return the result of a file that the run did not finish."""
        return cls(request.url, INTERRUPTED, request=request)


@lru_cache(256)  # most requests have the same headers
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
