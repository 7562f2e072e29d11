"""Read a small document into memory, with the credentials, pauses, limits and retries of transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.download.requester import Requester
from mediacrawl.download.resume import whole_request
from mediacrawl.errors import HttpStatusError, TooLarge, TransferError
from mediacrawl.headers import media_type
from mediacrawl.transport.connection_limits import FileConnections

if TYPE_CHECKING:
    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.downloader import Downloader
    from mediacrawl.download.records import TransferRequest

_OK = 200


class Document(NamedTuple):
    """A document: the URL that it came from after redirects, its media type in lower case, and its bytes.

    `content` is None if its media type is not the wanted one.
    """

    url: str
    content_type: str | None
    content: bytes | None


def read_document(
    downloader: Downloader, request: TransferRequest, cancel: Cancel, *, content_type: str, most_bytes: int
) -> Document:
    """Read a document of one media type; block until it is here. Documents of other types are not read.

    Raises:
        TransferError: it could not be read, after as many retries as a file has; or it has more than `most_bytes`.
        Interrupted: `cancel` was set.
    """
    backoff = downloader.policy.backoff
    failures = 0
    while True:
        try:
            return _read(downloader, request, cancel, content_type, most_bytes)
        except TransferError as error:
            failures += 1
            wait_s = error.retry_after_s or 0.0
            if not error.transient or failures > backoff.times or wait_s > backoff.max_retry_after_s:
                raise
            cancel.wait(wait_s or backoff.delay_s(failures))


def _read(
    downloader: Downloader, request: TransferRequest, cancel: Cancel, content_type: str, most_bytes: int
) -> Document:
    requester = Requester(
        request,
        downloader.transport,
        downloader.pauses,
        cancel,
        timeout_s=request.timeout_s or downloader.policy.stall_s,
        max_pause_s=downloader.policy.backoff.max_retry_after_s,
        may_follow=downloader.may_follow,
        connections=downloader.connections,
        of_file=FileConnections(1),
        cookies=downloader.cookies,
        netrc=downloader.netrc,
    )
    with requester.ask(whole_request()) as (answer, _head):
        if answer.status != _OK:
            raise HttpStatusError(request.url, answer.status, answer.reason)
        kind = media_type(answer.headers.get("content-type"))
        if kind != content_type:
            return Document(answer.url, kind, None)
        content = bytearray()
        for block in answer.blocks():
            content += block
            if len(content) > most_bytes:
                raise TooLarge(request.url, f"the list of the folder has more than {most_bytes >> 20} MiB")
        return Document(answer.url, kind, bytes(content))
