"""Ranges for any Django project: a response, and a view as `django.views.static.serve`.

Django itself ignores `Range`: https://code.djangoproject.com/ticket/22479. Only this module needs Django.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import PackageMissing, StoreNotWritable
from mediacrawl.server.files import FilesBelow, open_file, refuse_empty
from mediacrawl.server.ranges import FileFacts, Span, plan_response
from mediacrawl.server.site import READ_BYTES, blocks, read_blocks
from mediacrawl.server.wsgi import field_of, window_of

try:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.handlers.asgi import ASGIRequest
    from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
    from django.urls import re_path
    from django.views.decorators.http import require_safe
except ImportError:
    raise PackageMissing("the Django view needs Django: pip install 'mediacrawl[serve]'") from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mediacrawl.server.files import OpenFile
    from mediacrawl.server.ranges import PlannedResponse
    from mediacrawl.server.wsgi import FileWindow

_ASGI_BYTES = 64 * 1024  # the most that Django sends in one message
_MISSING = "There is no such file."
_SHA256 = re.compile("[0-9a-fA-F]{64}")


def ranged_response(
    request: Any,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    content_type: str | None = None,
    filename: str | None = None,
    as_attachment: bool | None = None,
) -> Any:
    """Return the response to a GET or HEAD request for a file: with ranges, conditions and safe headers.

    Under WSGI, a single range is sent by `wsgi.file_wrapper`, under ASGI by an asynchronous iterator; either takes
    one block of memory. The file may be replaced by a rename meanwhile: each response has the bytes of one version.

    Args:
        request: Django's.
        path: of the file. It is opened as it is: never make it of a request alone, see `serve`.
        sha256: of exactly the file that is there now: 64 hexadecimal digits. With it, the response has a strong ETag,
            and Repr-Digest for a request that wants it. With None or an empty text, versions are told apart by
            Last-Modified alone.
        content_type: by default, what the name implies.
        filename: under which browsers save the file; by default, the last component of the path.
        as_attachment: whether browsers save the file instead of showing it. By default, all but pictures, sound,
            video and plain text is saved, because it may carry scripts.

    Raises:
        Http404: there is no regular file at this path that may be read.
        ValueError: `sha256` is not the text of such a digest.
    """
    digest = _checked_digest(sha256)
    file = open_file(os.fspath(path))
    if file is None:
        raise Http404(_MISSING)
    facts = FileFacts(
        filename or file.name, file.identity.size, file.identity.modified_ns, digest, content_type, as_attachment
    )
    return _ranged(request, file, facts)


@require_safe
def serve(request: Any, path: str, document_root: str | os.PathLike[str], **options: Any) -> Any:
    """Serve the files below a folder, as `django.views.static.serve` does, with ranges.

    Symbolic links are not followed, and names that begin with a dot are not there.

    Args:
        request: Django's.
        path: below the folder, as the URL has it.
        document_root: the folder.
        options: `content_type` and `as_attachment`, as for `ranged_response`, for all files.

    Raises:
        Http404: there is no regular file at this path that may be read.
        ImproperlyConfigured: there is no such folder, its path is empty, or it cannot be read.
    """
    try:
        files = FilesBelow(document_root)
    except (StoreNotWritable, ValueError) as error:
        raise ImproperlyConfigured(str(error)) from None
    with closing(files):
        file = files.open(path)
    if file is None:
        raise Http404(_MISSING)
    facts = FileFacts(file.name, file.identity.size, file.identity.modified_ns, **options)
    return _ranged(request, file, facts)


def files_url(prefix: str, document_root: str | os.PathLike[str], **options: Any) -> Any:
    """Return the URL pattern that serves the files below a folder: `urlpatterns = [files_url("media/", folder)]`.

    Args:
        prefix: of the paths, as `media/`; slashes at its ends are optional.
        document_root: the folder.
        options: as for `serve`.

    Raises:
        ImproperlyConfigured: the prefix is empty or the URL of another host, or the path of the folder is empty.
    """
    name = prefix.strip("/")
    if not name or "//" in prefix.rstrip("/"):
        raise ImproperlyConfigured(f"the prefix of files is a path below this site, as 'media/', and not {prefix!r}")
    try:
        refuse_empty(document_root)
    except ValueError as error:
        raise ImproperlyConfigured(f"{error} (MEDIA_ROOT is empty unless it is set)") from None
    return re_path(rf"^{re.escape(name)}/(?P<path>.+)\Z", serve, {"document_root": document_root, **options})


def _checked_digest(sha256: object) -> str | None:
    """Return a digest as it is sent, in lower case: it becomes the ETag."""
    if sha256 is None or sha256 == "":
        return None
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise ValueError(f"sha256 is a text of 64 hexadecimal digits, and not {sha256!r:.100}")
    return sha256.lower()


def _ranged(request: Any, file: OpenFile, facts: FileFacts) -> Any:
    """Return the response to a request for an open file, which is closed with the response."""
    try:
        planned = plan_response(request.method, field_of(request.META), facts, time.time())
        response = _with_body(request, file, planned)
    except BaseException:
        file.close()
        raise
    if "Content-Type" in response.headers:  # the default one of a response without content
        del response.headers["Content-Type"]
    for name, value in planned.headers:
        response.headers[name] = value
    return response


def _with_body(request: Any, file: OpenFile, planned: PlannedResponse) -> Any:
    if not planned.body:
        file.close()
        return HttpResponse(status=planned.status)
    if isinstance(request, ASGIRequest):
        response: Any = _Blocks(_asynchronous(file, planned), status=planned.status)
    elif (span := planned.only_span) is not None:
        return _Window(window_of(file, span, request.META), status=planned.status)
    else:
        response = _Blocks(read_blocks(file, planned.body), status=planned.status)
    response.closes(file)
    return response


async def _asynchronous(file: OpenFile, planned: PlannedResponse) -> AsyncIterator[bytes]:
    """Yield the bytes of a response; each block is read in a thread."""
    for block in blocks(planned.body, _ASGI_BYTES):
        if isinstance(block, Span):
            start = block.start
            while start < block.stop:
                data = await asyncio.to_thread(file.read, start, block.stop - start)
                start += len(data)
                yield data
        else:
            yield block


class _Uncompressed:
    """Tell `GZipMiddleware` to leave the bytes of a range as they are; it looks for this field, which is not sent."""

    def has_header(self, name: str) -> bool:
        return name.lower() == "content-encoding" or bool(super().has_header(name))  # type: ignore[misc]


class _Blocks(_Uncompressed, StreamingHttpResponse):
    def closes(self, file: OpenFile) -> None:
        self._resource_closers.append(file.close)


class _Window(_Uncompressed, FileResponse):
    block_size = READ_BYTES

    def __init__(self, window: FileWindow, status: int) -> None:
        super().__init__(window, status=status)
        self._window = window  # `file_to_stream` is None once a middleware or the test client has wrapped the content

    def set_headers(self, filelike: Any) -> None:
        """Set no headers: they are known."""

    def close(self) -> None:
        """Close the file. An error tells the server to close the connection, and Django would suppress it."""
        try:
            self._window.check()
        finally:
            super().close()
