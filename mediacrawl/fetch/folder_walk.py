"""Walk the folders of a `mediacrawl serve`, and request each of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.download.documents import read_document
from mediacrawl.errors import InvalidResponse, RedirectRefused, TransferError, redact_url
from mediacrawl.fetch.request import Listed
from mediacrawl.fetch.threaded import InvalidLine
from mediacrawl.sources.folder_page import read_folder_page
from mediacrawl.sources.list_entry import kept_of
from mediacrawl.store.safe_paths import safe_name, safe_relative_path
from mediacrawl.urls import Origin, resolve, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.documents import Document
    from mediacrawl.download.downloader import Downloader
    from mediacrawl.download.records import TransferRequest
    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.fetch.threaded import Block
    from mediacrawl.sources.folder_page import FolderPage, ListedFile

_JSON = "application/json"
_MOST_BYTES = 16 * 1024**2  # of a page; a thousand of the longest names have a quarter of that
_MOST_PAGES = 10_000  # of a folder
_MOST_FOLDERS = 100_000
_MOST_DEEP = 64
_BLOCK_FILES = 250


class _Folder(NamedTuple):
    """A folder to read: its URL, its path in the store with "/" at its end, and its depth below the first one.

    The path of the first folder is None: the server tells its own.
    """

    url: str
    path: str | None
    depth: int


class FolderWalk:
    """The files below one folder of a server.

    Args:
        downloader: reads the pages.
        first: the request for the folder itself.
        into: the folder of the store that receives the files, with their paths below the first folder; None for
            `<owner>/<host>/`, with their paths on the server.
        owner: the name of the command.
        request_of: makes the request for a URL, with the facts of a `FileRequest`.
        cancel: ends the walk.
    """

    def __init__(
        self,
        downloader: Downloader,
        first: FileRequest,
        into: str | None,
        *,
        owner: str,
        request_of: Callable[..., FileRequest],
        cancel: Cancel,
    ) -> None:
        self._downloader = downloader
        self._first = _page_request(first.transfer)
        self._into = into
        self._owner = owner
        self._request_of = request_of
        self._cancel = cancel
        self._known = 1  # folders

    def blocks(self) -> Iterator[Block]:
        """Yield the requests for the files, in blocks. A folder that cannot be read is an `InvalidLine`.

        Raises:
            Interrupted: the walk was cancelled.
        """
        folders = [_Folder(_folder_url(self._first.url), None, 0)]
        while folders:
            folder = folders.pop()
            inner: list[_Folder] = []
            try:
                for page, path in self._pages(folder):
                    for start in range(0, len(page.files), _BLOCK_FILES):
                        yield [self._request(file, path) for file in page.files[start : start + _BLOCK_FILES]]
                    inner += [
                        _Folder(one.url, f"{path}{safe_name(one.name)}/", folder.depth + 1) for one in page.folders
                    ]
                    self._check_end(folder, inner)
            except TransferError as error:
                yield [InvalidLine(error.url, error.reason, error)]
            self._known += len(inner)
            folders += reversed(inner)

    def _check_end(self, folder: _Folder, inner: list[_Folder]) -> None:
        """Raise `TransferError` for folders in folders, or many of them, without end; and walk none of these."""
        if inner and folder.depth >= _MOST_DEEP:
            inner.clear()
            raise InvalidResponse(
                folder.url, f"more than {_MOST_DEEP} folders in each other: the inner ones are left out"
            )
        if self._known + len(inner) > _MOST_FOLDERS:
            inner.clear()
            raise InvalidResponse(folder.url, f"more than {_MOST_FOLDERS} folders: those of this folder are left out")

    def _pages(self, folder: _Folder) -> Iterator[tuple[FolderPage, str]]:
        """Yield the pages of a folder, and the path in the store that its files go below.

        Raises:
            TransferError: a page cannot be read, or is none of this folder.
        """
        base, url = folder.url, folder.url
        seen: set[str] = set()
        while True:
            seen.add(url)
            document = self._document(url)
            if _target(document.url) != _target(url):
                base = self._redirected(folder, document.url)
            page = _parsed(document, url, base)
            yield page, self._first_path(page.folder) if folder.path is None else folder.path
            if page.next_url is None:
                return
            url = page.next_url
            if url in seen or len(seen) >= _MOST_PAGES or not (page.files or page.folders):
                raise InvalidResponse(folder.url, "the pages of the folder have no end")

    def _document(self, url: str) -> Document:
        request = self._first._replace(url=url)
        return read_document(self._downloader, request, self._cancel, content_type=_JSON, most_bytes=_MOST_BYTES)

    def _redirected(self, folder: _Folder, url: str) -> str:
        """Return the URL of the first folder after a redirect within its origin: with the same credentials."""
        if folder.path is not None:
            raise RedirectRefused(folder.url, f"redirect to {redact_url(url)}: is refused, it is another folder")
        return _folder_url(resolve(folder.url, target_of(url)))

    def _first_path(self, folder: str) -> str:
        if self._into is not None:
            return f"{self._into}/"
        origin = Origin.of(self._first.url)
        host = origin.host if origin is not None else ""
        parts = [self._owner, host, *filter(None, folder.split("/"))]
        return "".join(f"{safe_name(part)}/" for part in parts)

    def _request(self, file: ListedFile, folder: str) -> FileRequest:
        path = safe_relative_path(f"{folder}{safe_name(file.name)}")
        sha256 = file.sha256.value.hex() if file.sha256 is not None else None
        request = self._request_of(
            file.url,
            path=path,
            digests=(file.sha256,) if file.sha256 is not None else (),
            listed=Listed(file.size_bytes, sha256),
            options=kept_of({"path": path}),
            ignores_known_failure=True,
        )
        return request._replace(transfer=request.transfer._replace(leaves_origin=False))


def _page_request(transfer: TransferRequest) -> TransferRequest:
    """Return the request for a page of a folder, with the headers of the request for a file."""
    others = tuple((name, value) for name, value in transfer.headers if name.lower() != "accept")
    return transfer._replace(headers=(*others, ("Accept", _JSON)), wish=None, digests=(), leaves_origin=False)


def _folder_url(url: str) -> str:
    """Return the URL of a folder without a query, and with "/" at its end."""
    return resolve(url, f"{target_of(url).partition('?')[0].removesuffix('/')}/")


def _target(url: str) -> tuple[Origin | None, str]:
    return Origin.of(url), target_of(url)


def _parsed(document: Document, url: str, base: str) -> FolderPage:
    if document.content is None:
        raise InvalidResponse(
            url,
            f"no folder of mediacrawl serve: {document.content_type or 'no Content-Type'} came, and not {_JSON}; "
            "without -r a single file is fetched",
        )
    try:
        return read_folder_page(document.content, base)
    except ValueError as error:
        raise InvalidResponse(url, f"no folder of mediacrawl serve: {error}") from None
