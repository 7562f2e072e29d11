"""The requests that a `FetchQueue` receives, and the results that it returns: plain records."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.archive import validators_of
from mediacrawl.config import header_value
from mediacrawl.download.adoption import link_of
from mediacrawl.download.records import TransferRequest, Wish
from mediacrawl.errors import UnsupportedURL, UsageProblem, WrongContent, redact_url, writable
from mediacrawl.fetch.filenames import expected_type, name_in_url, preferred_path
from mediacrawl.ledger.base import Entry, State
from mediacrawl.ledger.rows import options_of
from mediacrawl.sources.list_entry import digests_of, key_problem
from mediacrawl.store.safe_paths import safe_relative_path
from mediacrawl.transport.proxies import environment_proxies, proxy_for
from mediacrawl.urls import Origin, as_sent, has_controls, key_of_url

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
PAGE = "page"
"""The URL, of a hyperlink, leads to an HTML page and not to a file."""
INTERRUPTED = "interrupted"
"""The run stopped before the file had a result; the next run continues."""

LOOKED_UP = "looked up"
"""The ledger row was read, and the file has to be fetched."""
FETCHED = "fetched"
"""The transfer has ended: the bytes are on the disk, or the error is known."""
WRITTEN = "written"
"""The result is recorded in the ledger."""


class Listed(NamedTuple):
    """The version of a file that its server has now, as a list of the server's files tells; None: it does not."""

    size_bytes: int | None = None
    sha256: str | None = None

    def is_that_of(self, entry: Entry) -> bool | None:
        """Return whether the version is that of a row; None if the list tells too little."""
        if self.sha256 is not None and entry.sha256:
            return self.sha256 == entry.sha256
        if self.size_bytes is not None and entry.size_bytes is not None and self.size_bytes != entry.size_bytes:
            return False
        return None


class FileRequest(NamedTuple):
    """One wanted file.

    Attributes:
        transfer: the input of the transfer: media key, URL, headers, …
        path: in the store, if the path is prescribed.
        filename: last component of the path, if only the last component is prescribed.
        page: URL of the page that contains the link.
        page_encoding: encoding that this page declares, for names that are not in UTF-8.
        options: data for a retry that the ledger stores beside the URL, as JSON.
        owner: name of the spider or command that the file belongs to, if another spider or command fetches the file.
        ignores_known_failure: fetch the file even if the ledger records a permanent failure.
        may_be_page: the URL is that of a hyperlink, beside media that its page shows: it may lead to a page.
        batchable: the file may share a batch with other files of its host.
        redirects: number of times that the file was begun again because the robots rules of a redirect were unknown.
        tries: number of transfers in a row that ended without a byte, because of an error that concerns the host.
        saved_bytes: bytes on the disk before the first transfer of this run; None before it.
        fetched_bytes: bytes that earlier transfers of this run have received.
        until: the state up to which the queue handles the file: `LOOKED_UP`, `FETCHED` or `WRITTEN`; see
            `FetchQueue.take_steps`.
        carrier: data that the driver needs to send the request.
        listed: the version that the server has now, if a list of its files tells.
    """

    transfer: TransferRequest
    path: str | None = None
    filename: str | None = None
    page: str | None = None
    page_encoding: str | None = None
    options: str | None = None
    owner: str | None = None
    ignores_known_failure: bool = False
    may_be_page: bool = False
    batchable: bool = True
    redirects: int = 0
    tries: int = 0
    saved_bytes: int | None = None
    fetched_bytes: int = 0
    until: str = WRITTEN
    carrier: Any = None
    listed: Listed | None = None

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
        key: str | None = None,
        proxies: Proxies | None = None,
        **more: Any,
    ) -> FileRequest:
        """Make the request for a URL, through the proxy that the environment names for it.

        Args:
            url: http, https, ftp or ftps, as written; may contain credentials.
            headers: sent to the origin of `url`. If a redirect leads to another origin, secret headers are left out.
            digests: expected digests of the bytes.
            connections: number of connections for a large file; None leaves the number to the settings.
            path: in the store.
            filename: last component of the path, if only the last component is prescribed.
            key: identity of the file, by which its row and its part are found whatever its URL; None takes the URL.
            proxies: from `environment_proxies`, for many requests; None reads the environment.
            **more: the other attributes.

        Raises:
            UsageProblem: `url` is not an http, https, ftp or ftps URL or contains a control character, a header
                cannot be sent, or the environment names a proxy that is none.
            ValueError: `url` contains half a character, or the standard library cannot parse it.
        """
        if key and (problem := key_problem(key)):
            raise UsageProblem(problem)
        if has_controls(url):
            raise UsageProblem(f"{redact_url(url)}: a control character in the URL")
        url, written = as_sent(url), url
        origin = Origin.of(url)
        if origin is None:
            raise UsageProblem(f"{writable(redact_url(written))}: not an http, https, ftp or ftps URL")
        transfer = TransferRequest(
            key or key_of_url(url),
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
    def identity(self) -> str:
        """The key; with the name, if a name is prescribed: a file has one row for each of its names.

        While a project's own methods handle the file, these methods decide its name.
        """
        name = self.path or self.filename
        return f"{self.key}#{name}" if name and self.until == WRITTEN else self.key

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return redact_url(self.transfer.url)

    def entry(self, owner: str, **facts: Any) -> Entry:
        """Make the ledger row of this file. `owner` is the name of the spider or command that fetches the file."""
        return Entry(self.key, self.url, page=self.page, spider=self.owner or owner, wish=self.options, **facts)

    def is_page(self, error: TransferError) -> bool:
        """Return whether an error of the transfer shows that the URL leads to a page, and never led to a file."""
        return self.may_be_page and isinstance(error, WrongContent) and error.is_page and not error.saved_bytes

    def tried(self, error: TransferError) -> FileRequest:
        """Return the request for a further transfer, after one has ended with an error."""
        return self._replace(
            tries=0 if error.fetched_bytes else self.tries + 1,
            saved_bytes=error.saved_bytes if self.saved_bytes is None else self.saved_bytes,
            fetched_bytes=self.fetched_bytes + error.fetched_bytes,
        )

    def has_other_digests(self, entry: Entry) -> bool:
        """Return whether the file was wanted with other digests when it failed: a list was corrected since."""
        if entry.wish == self.options:
            return False
        return digests_of(options_of(entry)) != self.transfer.digests

    def revalidating(self, entry: Entry | None, owner: str) -> FileRequest:
        """Return the request with the validators of the version in the store, if the row has a version.

        Without a version, the request has the name by which the file may be known under another URL.
        """
        validators = validators_of(entry) if entry is not None and entry.state == State.DONE else None
        wish = self._wish(owner) if validators is None and (self.path or self.filename) else None
        if (validators, wish) == (self.transfer.revalidate, self.transfer.wish):
            return self
        return self._replace(transfer=self.transfer._replace(revalidate=validators, wish=wish))

    def _wish(self, owner: str) -> Wish | None:
        url = self.transfer.url
        if self.key != key_of_url(url):  # a file with a key of its own is found by that alone
            return None
        if self.path:
            return Wish(safe_relative_path(self.path))
        return Wish(preferred_path(self.owner or owner, url, None, self.filename), link_of(url))


class FileResult(NamedTuple):
    """The result of one wanted file.

    Attributes:
        url: without credentials. For a line of a list that is no request, `InvalidLine.where`.
        status: `DOWNLOADED`, `RESUMED`, `UPTODATE` or `FAILED`; in a crawl also `PAGE`, and `INTERRUPTED` if it was
            stopped.
        entry: the ledger row of a file that is present; None for a failure.
        reason: why the file failed, or is none; empty otherwise.
        error: the error behind `reason`. None if no request was sent: the file is known to have failed for good, or
            it is a line of a list that is no request.
        size_bytes: size of a file that was fetched; 0 otherwise.
        saved_bytes: how many of these bytes were on the disk before.
        fetched_bytes: bytes that were transferred for the file.
        request: the request for the file; None for a line of a list that is no request, and for a folder that could
            not be read.
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
        saved_bytes = fetched.saved_bytes
        if request.saved_bytes is not None:  # bytes of an earlier transfer of this run are new
            saved_bytes = min(saved_bytes, request.saved_bytes)
        return cls(
            request.url,
            RESUMED if saved_bytes else DOWNLOADED,
            entry,
            size_bytes=fetched.size_bytes,
            saved_bytes=saved_bytes,
            fetched_bytes=request.fetched_bytes + fetched.fetched_bytes,
            request=request,
        )

    @classmethod
    def of_present(cls, request: FileRequest, entry: Entry) -> FileResult:
        """Return the result of a file that is present and up to date."""
        return cls(request.url, UPTODATE, entry, request=request)

    def of_same_file(self, request: FileRequest) -> FileResult:
        """Return the result of another request for the same file."""
        status = UPTODATE if self.entry is not None else self.status
        return FileResult(request.url, status, self.entry, self.reason, self.error, request=request)

    @property
    def host(self) -> str | None:
        """The host that was given up, with its port, if the file has failed because of that."""
        return self.error.host if self.error is not None else None

    @property
    def is_permanent_failure(self) -> bool:
        """Whether the file has failed so that the same command does not request it again."""
        if self.status != FAILED or self.request is None or self.request.ignores_known_failure:
            return False
        return self.error is None or self.error.permanent

    @property
    def is_unusable(self) -> bool:
        """Whether no command can send a request: a line that is no URL, or a URL of another scheme."""
        if self.status != FAILED or (self.request is None and self.error is None):
            return self.status == FAILED
        return isinstance(self.error, UnsupportedURL) and self.error.url == self.url  # not that of a redirect

    @property
    def is_known_failure(self) -> bool:
        """Whether no request was sent because the file is known to have failed for good."""
        return self.status == FAILED and self.error is None and self.request is not None

    @classmethod
    def of_failure(cls, request: FileRequest, reason: str, error: TransferError | None = None) -> FileResult:
        """Return the result of a file that could not be fetched."""
        return cls(request.url, FAILED, reason=reason, error=error, request=request)

    @classmethod
    def of_page(cls, request: FileRequest, reason: str) -> FileResult:
        """Return the result of a hyperlink that leads to a page."""
        return cls(request.url, PAGE, reason=reason, request=request)

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
