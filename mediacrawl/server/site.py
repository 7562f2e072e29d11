"""The files of one store as resources of a web server: everything that is the same under each kind of server."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from mediacrawl.backends import ledger_url
from mediacrawl.server.digests import RecordedDigests
from mediacrawl.server.files import FilesBelow
from mediacrawl.server.ranges import FileFacts, PlannedResponse, Span, plan_response
from mediacrawl.store.local import LocalStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from mediacrawl.server.files import OpenFile

logger = logging.getLogger(__name__)

READ_BYTES = 256 * 1024  # of one read
# A cache may keep a file, but asks each time: the next person may not be allowed to read it.
_CACHE_CONTROL = "private, no-cache"


_KEPT_FOR_NGINX = frozenset({"Content-Type", "Content-Disposition", "Content-Security-Policy"})


class ResourceRequest(NamedTuple):
    """A request, as a check of its permission sees it.

    Attributes:
        method: `GET` or `HEAD`; other methods are refused before.
        path: decoded, without the "/" at its beginning; not yet checked.
        field: returns a header field by its name in lower case; lines of one name are joined by commas.
        address: of the client, behind all trusted proxies; empty if it is not known.
    """

    method: str
    path: str
    field: Callable[[str], str | None]
    address: str = ""


def text_response(status: int, text: str, *headers: tuple[str, str]) -> PlannedResponse:
    """Return a response with one line of text, which no cache keeps."""
    body = f"{text}\n".encode()
    fields = [
        *headers,
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return PlannedResponse(status, fields, (body,))


NOT_FOUND = text_response(404, "There is no such file.")
NOT_ALLOWED = text_response(405, "Files can only be read here.", ("Allow", "GET, HEAD"))
UNAVAILABLE = text_response(503, "The file cannot be read now.", ("Retry-After", "10"))


class StoreSite:
    """The files of a store, for reading. A file at `a/b.jpg` in the store is the resource `/a/b.jpg`. Thread-safe.

    Attributes:
        files: opens them.
        digests: of the files, from the ledger.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        ledger: str = "",
        accel_location: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open a store that exists; nothing in it is changed.

        Args:
            root: the folder of the store.
            ledger: the URL of the ledger; by default, the ledger is in the store.
            accel_location: the path of an internal location of nginx that has the files; with it, each response asks
                nginx to send the file.
            clock: returns seconds since the epoch.

        Raises:
            StoreNotWritable: there is no such folder, or it cannot be read.
            ValueError: the path of the folder is empty.
            UsageProblem: the URL of the ledger is of an unknown kind.
        """
        self.digests = RecordedDigests(ledger_url(ledger, LocalStore(root)))  # before: it holds nothing open yet
        self.files = FilesBelow(root)
        self._accel_location = accel_location
        self._clock = clock

    def close(self) -> None:
        """Close the folder and the ledger. Open files stay open."""
        self.files.close()
        self.digests.close()

    def respond(self, request: ResourceRequest, file: OpenFile, sha256: str | None) -> PlannedResponse:
        """Decide the response to a request for an open file."""
        facts = FileFacts(file.name, file.identity.size, file.identity.modified_ns, sha256)
        if self._accel_location:
            return _sent_by_nginx(f"{self._accel_location}/{quote(file.path, errors='surrogateescape')}", facts)
        response = plan_response(request.method, request.field, facts, self._clock())
        response.headers.append(("Cache-Control", _CACHE_CONTROL))
        return response

    def unavailable(self, request: ResourceRequest, error: OSError) -> PlannedResponse:
        """Log an error of this machine, and return the response that tells of it."""
        logger.error("cannot read %r: %s", request.path, error.strerror or error)
        return UNAVAILABLE


def _sent_by_nginx(location: str, facts: FileFacts) -> PlannedResponse:
    """Return the response that has nginx send a file, with ranges, conditions and validators of its own.

    nginx keeps these fields, and no others; its configuration takes the policy over.
    """
    whole = plan_response("HEAD", lambda _name: None, facts, 0.0)
    kept = [field for field in whole.headers if field[0] in _KEPT_FOR_NGINX]
    return PlannedResponse(
        200, [("X-Accel-Redirect", location), *kept, ("Cache-Control", _CACHE_CONTROL), ("Content-Length", "0")]
    )


def blocks(body: tuple[bytes | Span, ...], most: int = READ_BYTES) -> Iterator[bytes | Span]:
    """Yield the parts of a body, with each span in blocks of at most `most` bytes."""
    for part in body:
        if isinstance(part, Span):
            for start in range(part.start, part.stop, most):
                yield Span(start, min(start + most, part.stop))
        else:
            yield part


def read_blocks(file: OpenFile, body: tuple[bytes | Span, ...]) -> Iterator[bytes]:
    """Yield the bytes of a body, a block at a time.

    Raises:
        OSError: the file cannot be read, or has become shorter: the response is to be broken off.
    """
    for block in blocks(body):
        if isinstance(block, Span):
            yield from read_span(file, block)
        else:
            yield block


def read_span(file: OpenFile, span: Span) -> Iterator[bytes]:
    """Yield the bytes of a span, mostly at once."""
    start = span.start
    while start < span.stop:
        data = file.read(start, span.stop - start)
        start += len(data)
        yield data
