"""A file that is here under another URL: whether a fresh link leads to the same file.

The link of a large file may expire while it is fetched, or a user gives a new link to a file that is complete. The
file is then looked for by the path that is wished for. It is the same file if the server says so (complete length,
and strong ETag or a digest that was given for both), and if the bytes at its beginning and at its end agree.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.download.resume import OVERLAP_BYTES, ConditionalRequest, RequestKind
from mediacrawl.errors import HttpStatusError, redact_url
from mediacrawl.headers import Validators, range_header
from mediacrawl.store.parts import PartInUse
from mediacrawl.system.directories import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mediacrawl.download.records import PresentFile, TransferRequest
    from mediacrawl.download.requester import Requester
    from mediacrawl.download.resume import Head
    from mediacrawl.store.parts import PartFile, PartFolder
    from mediacrawl.transport.base import TransportResponse

    # Returns the bytes of a half-open range; fewer at the end of the file.
    Read = Callable[[int, int], bytes]
    Blocks = Callable[[TransportResponse], Iterator[bytes]]


class KnownFile(NamedTuple):
    """The bytes `[0, have)` of a file with these facts.

    Attributes:
        is_same_digest: a digest was given for this file, and the same one for the wanted file.
    """

    read: Read
    have: int
    complete_length: int
    validators: Validators
    is_same_digest: bool = False

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The half-open ranges to compare: the beginning and the end of the bytes."""
        if self.have <= 2 * OVERLAP_BYTES:
            return [(0, self.have)]
        return [(0, OVERLAP_BYTES), (self.have - OVERLAP_BYTES, self.have)]

    def agrees(self, head: Head, start: int, stop: int) -> bool:
        """Return whether a response is of this file and has the bytes of a range, according to its head."""
        mine, theirs = self.validators.etag, head.validators.etag
        is_same = self.is_same_digest or (mine is not None and theirs is not None and mine.strong_match(theirs))
        if not is_same or head.is_encoded or head.is_multipart:
            return False
        span = head.content_range
        if head.status == 206 and span is not None:
            return (span.start, span.complete_length) == (start, self.complete_length) and (span.stop or 0) >= stop
        return head.status == 200 and span is None and start == 0 and head.content_length == self.complete_length


def validators_if_same(known: KnownFile, exchange: Requester, blocks: Blocks, url: str) -> Validators | None:
    """Ask for the beginning and the end of a file. Return the validators of the response if it is the known file.

    A server without ranges answers with the complete file: then the beginning decides, as the rest is compared when
    the file is continued.

    Raises:
        TransferError: no response, or an error status that invites another attempt.
    """
    etag = known.validators.etag
    condition = () if known.is_same_digest or etag is None else (("If-Range", etag.to_header()),)
    found: Validators | None = None
    for start, stop in known.spans:
        fields = (("Range", range_header(start, stop)), *condition)
        with exchange.ask(ConditionalRequest(RequestKind.IF_RANGE, start, fields)) as (answer, head):
            if head.status >= 500:
                raise HttpStatusError(url, head.status, answer.reason)
            if not known.agrees(head, start, stop):
                return None
            if _first_bytes(blocks(answer), stop - start) != known.read(start, stop):
                return None
            found = head.validators
            if head.status == 200:
                break
    return found


def _first_bytes(blocks: Iterator[bytes], size_bytes: int) -> bytes:
    received = bytearray()
    for block in blocks:
        received += block
        if len(received) >= size_bytes:
            break
    return bytes(received[:size_bytes])


def part_of_wish(parts: PartFolder, name: str, request: TransferRequest) -> tuple[PartFile, KnownFile] | None:
    """Open a part that was begun under another URL; None if the wish was another one, or the part cannot be told.

    The caller has to move or to release the part.
    """
    wish, digests = request.wish, digest_texts(request)
    assert wish is not None
    try:
        part = parts.open_name(name)
    except PartInUse:
        return None
    record = part.record
    if record is None:  # published or discarded meanwhile
        part.close()
        return None
    theirs = record.head.get("wish", {})
    validators = Validators.from_dict(record.validators)
    is_same_digest = bool(digests) and digests == theirs.get("digests")
    is_strong = validators.etag is not None and not validators.etag.weak
    if (
        (theirs.get("path"), theirs.get("link")) == wish
        and record.complete_length is not None
        and (record.resumable and part.have and not part.has_replacement)
        and (is_same_digest or is_strong)
        and not record.head.get("is_encoded")
    ):
        return part, KnownFile(part.read, part.have, record.complete_length, validators, is_same_digest)
    part.release()
    return None


def known_of_present(present: PresentFile) -> KnownFile | None:
    """Return the facts of a complete file; None if no response could say that it has the same file."""
    etag = present.validators.etag
    if etag is None or etag.weak or not present.size_bytes:
        return None

    def read(start: int, stop: int) -> bytes:
        try:
            fd = Directory.at(str(present.file.parent)).open_file(present.file.name, os.O_RDONLY)
        except OSError:
            return b""
        try:
            return os.pread(fd, stop - start, start)
        except OSError:
            return b""
        finally:
            os.close(fd)

    return KnownFile(read, present.size_bytes, present.size_bytes, present.validators)


def link_of(url: str) -> str:
    """Return a URL without query, fragment and credentials: what stays of a link that is signed anew."""
    return redact_url(url).partition("#")[0].partition("?")[0]


def digest_texts(request: TransferRequest) -> Sequence[str]:
    """Return the digests of a request as a record keeps them."""
    return sorted(f"{digest.algorithm}:{digest.hex}" for digest in request.digests)
