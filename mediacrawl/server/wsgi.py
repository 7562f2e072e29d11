"""The files of a store under WSGI (PEP 3333): gunicorn, mod_wsgi, waitress and the like."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mediacrawl.server.site import (
    NOT_ALLOWED,
    NOT_FOUND,
    READ_BYTES,
    ResourceRequest,
    StoreSite,
    read_blocks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mediacrawl.server.files import OpenFile
    from mediacrawl.server.ranges import PlannedResponse, Span


def _allow(_request: ResourceRequest) -> None:
    """Let everybody read every file."""


class WsgiFiles:
    """A WSGI application that serves the files of a store, for reading.

    `sendfile` sends a single range where the server has it; otherwise a response takes one block of memory.
    """

    def __init__(self, site: StoreSite, refuse: Callable[[ResourceRequest], PlannedResponse | None] = _allow) -> None:
        """Serve a site.

        Args:
            site: the store; closed by the caller.
            refuse: returns the response to a request that may not be fulfilled, None if it may. By default, everybody
                may read every file.
        """
        self.site = site
        self._refuse = refuse

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Respond to a request."""
        request = ResourceRequest(environ["REQUEST_METHOD"], path_info(environ).removeprefix("/"), field_of(environ))
        response, file = self.planned(request)
        if file is None:
            return without_file(request.method, response, start_response)
        return with_file(environ, file, response, start_response)

    def planned(self, request: ResourceRequest) -> tuple[PlannedResponse, OpenFile | None]:
        """Return a response, and its file if bytes of it are to be sent."""
        if request.method not in {"GET", "HEAD"}:
            return NOT_ALLOWED, None
        if (refusal := self._refuse(request)) is not None:
            return refusal, None
        try:
            file = self.site.files.open(request.path)
        except OSError as error:
            return self.site.unavailable(request, error), None
        if file is None:
            return NOT_FOUND, None
        try:
            response = self.site.respond(request, file, self.site.digests.look_up(file))
        except BaseException:
            file.close()
            raise
        if response.body:
            return response, file
        file.close()
        return response, None


def field_of(environ: dict[str, Any]) -> Callable[[str], str | None]:
    """Return the fields of a request by their names in lower case."""
    return lambda name: environ.get(f"HTTP_{name.upper().replace('-', '_')}")


def path_info(environ: dict[str, Any]) -> str:
    """Return the decoded path as the system writes names: bytes that are not UTF-8 become surrogates."""
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode("utf-8", "surrogateescape")


def without_file(method: str, response: PlannedResponse, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Start a response that needs no file, and return its content."""
    _start(response, start_response)
    return [] if method == "HEAD" else [part for part in response.body if isinstance(part, bytes)]


def with_file(
    environ: dict[str, Any], file: OpenFile, response: PlannedResponse, start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Start a response, and return its content as the server sends it best. The server closes the file with it."""
    _start(response, start_response)
    wrapper, span = environ.get("wsgi.file_wrapper"), response.only_span
    if wrapper is None or span is None:
        return FileBlocks(file, response)
    content: Iterable[bytes] = wrapper(window_of(file, span, environ), READ_BYTES)
    return content


def _start(response: PlannedResponse, start_response: Callable[..., Any]) -> None:
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", response.headers)


class FileBlocks:
    """The content of a response in blocks; `close` closes the file."""

    def __init__(self, file: OpenFile, response: PlannedResponse) -> None:
        self._file = file
        self._blocks = read_blocks(file, response.body)

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FileWindow:
    """The bytes of one span of a file, as a file that `wsgi.file_wrapper` takes."""

    def __init__(self, file: OpenFile, span: Span) -> None:
        self._file = file
        self._span = span
        self._at = span.start

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; at the end of the span, none."""
        left = self._span.stop - self._at
        if not left:
            return b""
        data = self._file.read(self._at, min(size, left) if size >= 0 else left)
        self._at += len(data)
        return data

    def check(self) -> None:
        """Raise OSError if the file has become shorter than the span.

        `sendfile` then ends early without an error, and the client would take the head of the next response for the
        end of this one: the server must close the connection.
        """
        if self._file.descriptor >= 0:
            self._file.check_size(self._span.stop)

    def close(self) -> None:
        """Close the file; raise the error of `check`, if any."""
        try:
            self.check()
        finally:
            self._file.close()


class _SendableWindow(FileWindow):
    """A window of which a server may send the descriptor, from its offset on."""

    def __init__(self, file: OpenFile, span: Span) -> None:
        super().__init__(file, span)
        os.lseek(file.descriptor, span.start, os.SEEK_SET)

    def fileno(self) -> int:
        return self._file.descriptor


def window_of(file: OpenFile, span: Span, environ: dict[str, Any]) -> FileWindow:
    """Return a span as a file, with a descriptor if the server sends exactly these bytes of it.

    PEP 3333 has the server start at the current offset and stop after Content-Length. Servers that always send the
    complete file (uWSGI) are given the descriptor for a complete file only.
    """
    is_whole = span == (0, file.identity.size)
    if not is_whole and "gunicorn" not in str(environ.get("SERVER_SOFTWARE", "")):
        return FileWindow(file, span)
    return _SendableWindow(file, span)


def wsgi_app(
    root: str | os.PathLike[str],
    *,
    ledger: str = "",
    refuse: Callable[[ResourceRequest], PlannedResponse | None] = _allow,
) -> WsgiFiles:
    """Return an application that serves the files of a store, for reading.

    Args:
        root: the folder of the store.
        ledger: the URL of the ledger; by default, the ledger is in the store.
        refuse: as for `WsgiFiles`: by default, everybody may read every file.

    Raises:
        StoreNotWritable: there is no such folder, or it cannot be read.
        ValueError: the path of the folder is empty.
        UsageProblem: the URL of the ledger is of an unknown kind.
    """
    return WsgiFiles(StoreSite(root, ledger=ledger), refuse)
