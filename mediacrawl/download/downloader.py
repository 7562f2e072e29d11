"""Execution of decisions for one file: from a part that may exist to a complete, verified and synced part.

The loop is thin. `resume.decide` interprets a response; this module carries out the decision, and retries.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mediacrawl.download.adoption import (
    digest_texts,
    known_of_present,
    link_of,
    part_of_wish,
    validators_if_same,
)
from mediacrawl.download.body import Body, receive
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.content_coding import codings_of
from mediacrawl.download.content_family import can_be_judged, refuse_document
from mediacrawl.download.cookies import Cookies
from mediacrawl.download.decoding import Content, content_of
from mediacrawl.download.host_slots import HostSlots
from mediacrawl.download.progress import Progress
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.download.requester import Requester, anywhere
from mediacrawl.download.resume import (
    OVERLAP_BYTES,
    Action,
    ConditionalRequest,
    RequestKind,
    Saved,
    decide,
    first_request,
    is_same_version,
    range_request,
    whole_request,
)
from mediacrawl.download.retry import HostPauses, concerns_host
from mediacrawl.download.seams import SeamDiffers, Seams, after_overlap
from mediacrawl.download.segments import Segment, SegmentedFetch, SingleConnection
from mediacrawl.download.transfer_policy import Policy, Stall
from mediacrawl.download.verification import BESIDE_FROM_BYTES, RunningHash
from mediacrawl.errors import (
    ConnectionLost,
    DigestMismatch,
    HttpStatusError,
    InvalidResponse,
    MachineError,
    MediacrawlError,
    TooLarge,
    TransferError,
    WrongContent,
    redact_url,
)
from mediacrawl.headers import Agreement, Validators, digests_from_headers, filename_from_disposition, range_header
from mediacrawl.store.parts import PartFetchedElsewhere, PartFile, PartInUse, PartRecord
from mediacrawl.transport.connection_limits import FileConnections, HostConnections
from mediacrawl.transport.netrc_file import NO_NETRC, Netrc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mediacrawl.download.adoption import KnownFile
    from mediacrawl.download.records import Outcome, PresentFile, Wish
    from mediacrawl.download.requester import MayFollow
    from mediacrawl.download.resume import Decision, Head
    from mediacrawl.headers import Digest
    from mediacrawl.store.base import Store
    from mediacrawl.transport.base import Transport, TransportResponse

_PROBES = 2
_PROGRESS_BYTES = 1024  # less between two failures is no progress: one byte a second would never end
_LONG_DIGITS = 8  # of a length: no body of 10 MB is received together with its head
_NO_STOP = Cancel()  # for callers that pass none; never set
_DIGEST_HEADERS = ("repr-digest", "digest", "content-md5")  # kept too: valid for a part that a later run completes
_KEPT = ("content-type", "content-disposition", "last-modified", "etag", "date", "content-length", *_DIGEST_HEADERS)
_OPEN_QUESTIONS = frozenset({"transfer-encoding", "content-range", *_DIGEST_HEADERS})


class Downloader:
    """A downloader of files into the parts of a store.

    All threads share one downloader; the state of a transfer is in `_Transfer`.
    """

    def __init__(
        self,
        store: Store,
        transport: Transport,
        policy: Policy | None = None,
        *,
        pauses: HostPauses | None = None,
        connections: HostConnections | None = None,
        fetched_elsewhere: Callable[[Sequence[str]], set[str]] = lambda _keys: set(),
        present_at: Callable[[str], PresentFile | None] = lambda _path: None,
        may_follow: MayFollow = anywhere,
        cookies: Cookies | None = None,
        clock: Callable[[], float] = time.monotonic,
        netrc: Netrc = NO_NETRC,
    ) -> None:
        self.store = store
        self.transport = transport
        self.policy = policy or Policy()
        self.slots = HostSlots(self.policy.per_host)
        self.pauses = pauses or HostPauses()
        self.connections = connections or HostConnections()
        self.fetched_elsewhere = fetched_elsewhere
        self.present_at = present_at
        self.may_follow = may_follow
        self.cookies = cookies if cookies is not None else Cookies()
        self.clock = clock
        self.netrc = netrc

    def fetch(
        self, request: TransferRequest, *, cancel: Cancel | None = None, progress: Progress | None = None
    ) -> Fetched:
        """Fetch one file; block until the transfer has ended.

        Returns:
            The part: complete, verified, synced and still locked; no part for a 304 response.

        Raises:
            TransferError: the file was not fetched. The received bytes are kept if a later run can use them.
            Interrupted: `cancel` was set. The received bytes are kept likewise.
            MachineError: a disk error. The received bytes are kept likewise.
            PartInUse: another process fetches this key, or has fetched it meanwhile, as `fetched_elsewhere` reports.

        After a crash at any point the part is either resumable or counts as empty.
        """
        (outcome,) = self.fsync_completed(
            self.fetch_batch([request], cancel or _NO_STOP, lambda _: progress or Progress(""))
        )
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def fetch_batch(
        self,
        requests: Sequence[TransferRequest],
        cancel: Cancel,
        progress_of: Callable[[TransferRequest], Progress],
        budget_s: float = math.inf,
    ) -> list[Outcome]:
        """Fetch files one after another, without syncing them.

        Call `fsync_completed` with the outcomes afterwards. The result is the same as that of `fetch` for each file,
        only cheaper: this method keeps a thread busy, while syncing waits for the disk.

        Returns:
            The result or the exception of `fetch` for the first files: once `budget_s` seconds have passed, or an
            error concerns the host, no further file is started. The first file is always started.
        """
        parts = self._take(requests)
        outcomes: list[Outcome] = []
        until = math.inf if budget_s == math.inf else self.clock() + budget_s
        is_over = False
        for request, part in zip(requests, parts, strict=True):
            if is_over or (outcomes and until < math.inf and self.clock() >= until):
                _release_part(part)
                continue
            outcome = part if isinstance(part, BaseException) else self._fetch_one(request, part, cancel, progress_of)
            outcomes.append(outcome)
            is_over = isinstance(outcome, TransferError) and concerns_host(outcome, self.policy.backoff)
        return outcomes

    def _take(self, requests: Sequence[TransferRequest]) -> list[PartFile | BaseException]:
        """Lock the parts of the requests. Then check in one lookup whether another process has fetched the files."""
        parts: list[PartFile | BaseException] = []
        for request in requests:
            try:
                parts.append(self.store.parts.open(request.key))
            except (PartInUse, MediacrawlError) as error:
                parts.append(error)
        try:
            fetched_elsewhere = self.fetched_elsewhere(
                [request.key for request in requests if request.revalidate is None]
            )
        except MediacrawlError as error:
            for part in parts:
                _release_part(part)
            return [error] * len(requests)
        for number, (request, part) in enumerate(zip(requests, parts, strict=True)):
            if request.key in fetched_elsewhere and not isinstance(part, BaseException):
                _release_part(part)
                parts[number] = PartFetchedElsewhere(part.file)
        return parts

    def _fetch_one(
        self,
        request: TransferRequest,
        part: PartFile,
        cancel: Cancel,
        progress_of: Callable[[TransferRequest], Progress],
    ) -> Outcome:
        transfer: _Transfer | None = None
        try:
            transfer = _Transfer(self, request, part, cancel, progress_of(request))
            self.slots.acquire(transfer.host)
            try:
                fetched = transfer.run()
            finally:
                self.slots.release(transfer.host)
        except BaseException as error:
            if isinstance(error, TransferError) and transfer is not None:
                error.last(transfer.lasts_s, transfer.saved_bytes, transfer.fetched_bytes, transfer.supersedes)
            return _release_part(part if transfer is None else transfer.part) or error
        return (_release_part(transfer.part) if fetched.part is None else None) or fetched

    def fsync_completed(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Sync all completed parts to the disk, before the renames that publish them.

        If syncing fails, the error replaces the outcome of each completed part: these files count as not fetched.
        """
        parts = [o.part for o in outcomes if isinstance(o, Fetched) and isinstance(o.part, PartFile)]
        try:
            self.store.parts.sync_all(parts)
        except MachineError as error:
            for part in parts:
                _release_part(part)
            return [error if isinstance(o, Fetched) and o.part is not None else o for o in outcomes]
        return outcomes


def _release_part(part: PartFile | BaseException) -> MachineError | None:
    """Unlock a part. A disk error is returned and not raised, so that the other files of a batch continue."""
    if isinstance(part, PartFile):
        try:
            part.close()
        except MachineError as error:
            return error
    return None


def _record_of(
    answer: TransportResponse,
    validators: Validators,
    total: int | None,
    *,
    resumable: bool = True,
    is_encoded: bool = False,
    wish: Mapping[str, Any] | None = None,
) -> PartRecord:
    """Return the initial record of a part, from the head of a response.

    `is_encoded` says that the response names a content coding, which is not removed from the bytes; `wish` by which
    name and under which keys the file was wanted.
    """
    headers = answer.headers
    return PartRecord(
        validators=validators.to_dict(),
        complete_length=total,
        head={
            "status": answer.status,
            "url": redact_url(answer.url),
            "headers": {name: headers[name] for name in _KEPT if name in headers},
        }
        | ({"is_encoded": True} if is_encoded else {})
        | ({"wish": wish} if wish else {}),
        resumable=resumable,
    )


def _keys_of(record: PartRecord | None) -> list[str]:
    """Return the keys under which the file of a part was wanted, as far as they were noted."""
    wish = record.head.get("wish") if record is not None else None
    return wish.get("keys", []) if isinstance(wish, dict) else []


def _saved_of(part: PartFile) -> Saved:
    record = part.record or PartRecord()
    validators = Validators.from_dict(record.validators)
    is_encoded = record.head.get("is_encoded", False)
    return Saved(record.prefix, record.complete_length, validators, part.gap_stop, is_encoded)


class _Transfer:
    """The state of one transfer.

    Attributes:
        part: the part that the bytes are written to: a newer version is written to a replacement of the given part.
    """

    def __init__(
        self, owner: Downloader, request: TransferRequest, part: PartFile, cancel: Cancel, progress: Progress
    ) -> None:
        self._owner = owner
        self._policy = owner.policy
        self._request = request
        self._initial_bytes = part.written_bytes
        self.part = part.current()
        self._seams = Seams(self.part)
        self._cancel = cancel
        self._progress = progress
        self._max_bytes = self._policy.max_bytes if request.max_bytes is None else request.max_bytes
        self._of_file = FileConnections(max(1, request.connections or self._policy.segments.connections))
        self._cookies = owner.cookies if request.jar is not None else Cookies()
        self._exchange = self._new_exchange()
        self.host = self._exchange.origin.host
        self.saved_bytes = self.part.written_bytes
        self._promised: set[Digest] = set(request.digests)
        if self.part.record is not None:
            self._promised.update(digests_from_headers(self.part.record.head.get("headers", {})))
        self._unchanged: Fetched | None = None
        self._validators: Validators | None = None  # of the version received from its first byte on
        self._refetched = False  # once, after a wrong digest
        self._content: Content | None = None  # of the last response that was received from its first byte on
        self._depth: int | None = None  # number of content codings to remove, once a digest has shown it
        self._has_differed = False  # the whole is requested once after bytes that do not belong together
        self._went_original = False
        self._has_one_connection = False  # after received bytes were of no use: no more helpers
        self._probes = 0
        self._counting = threading.Lock()
        self._began = owner.clock()

    @property
    def fetched_bytes(self) -> int:
        """The number of bytes received until now."""
        return self._progress.fetched_bytes

    @property
    def lasts_s(self) -> float:
        """The duration of the transfer until now, in seconds."""
        return self._owner.clock() - self._began

    def run(self) -> Fetched:
        """Fetch the file, and retry until retrying is pointless. Afterwards the part is no longer read."""
        try:
            return self._try()
        finally:
            self._stop_hashing()

    def _try(self) -> Fetched:
        failures, best = 0, self.part.written_bytes
        is_empty = self.part.record is None and self._request.revalidate is None
        looks = is_empty and self._request.wish is not None
        is_new = is_empty and not self._request.digests
        while True:
            try:
                if looks:
                    if (fetched := self._known_file()) is not None:
                        return fetched
                    looks, is_new, best = False, is_new and self.part.record is None, self.part.written_bytes
                if is_new:
                    is_new = False
                    if (fetched := self._fetch_small()) is not None:
                        return fetched
                self._fetch_resumable()
                if (fetched := self._unchanged or self._finish()) is not None:
                    return fetched
                failures = best = 0  # a digest was wrong: the file is fetched again
            except TransferError as error:
                failures = 0 if self.part.written_bytes >= best + _PROGRESS_BYTES else failures
                best = max(best, self.part.written_bytes)
                failures += 1
                self._wait_or_raise(error, failures)

    def _known_file(self) -> Fetched | None:
        """Look for the wanted file under another URL; return it if it is complete, or else go on with its part."""
        wish = self._request.wish
        assert wish is not None
        if (present := self._present_file(wish)) is not None:
            return Fetched(
                None,
                200,
                redact_url(self._request.url),
                latency_s=self._exchange.latency_s,
                took_s=self.lasts_s,
                supersedes=(present.key,),
            )
        parts = self._owner.store.parts
        for name in parts.begun_for(wish.path):
            found = part_of_wish(parts, name, self._request) if name != self.part.name else None
            if found is not None and self._adopt(*found):
                break
        return None

    def _present_file(self, wish: Wish) -> PresentFile | None:
        """Return the file at the wished path, if the wanted file is the same one."""
        present = self._owner.present_at(wish.path)
        if present is None or (wish.link and wish.link != link_of(present.url)):
            return None
        if self._request.digests:
            given = {digest.hex for digest in self._request.digests if digest.algorithm == "sha256"}
            return present if present.sha256 in given else None
        known = known_of_present(present)
        return present if known is not None and self._validators_if_same(known) is not None else None

    def _adopt(self, part: PartFile, known: KnownFile) -> bool:
        """Go on with a part of another URL if it is of the wanted file; return whether it is."""
        try:
            validators = self._validators_if_same(known)
            if validators is None or part.record is None:
                part.release()
                return False
            head = {**part.record.head, "wish": self._wish_fields(part.record)}
            part.move_to(self.part, part.record._replace(head=head, validators=validators.to_dict()))
        except BaseException:
            part.release()
            raise
        self.part = part
        self._seams = Seams(part)
        self.saved_bytes = self._initial_bytes = part.written_bytes
        self._promised.update(digests_from_headers(head.get("headers", {})))
        return True

    def _validators_if_same(self, known: KnownFile) -> Validators | None:
        def blocks(answer: TransportResponse) -> Iterator[bytes]:
            return self._body(answer, self._cancel).blocks()

        return validators_if_same(known, self._exchange, blocks, self._request.url)

    def _wish_fields(self, record: PartRecord | None) -> dict[str, Any] | None:
        """Return what a record keeps of the wish, and the keys that the file of the former record had."""
        wish = self._request.wish
        if wish is None:
            return None
        keys = [key for key in _keys_of(record) if key != self._request.key]
        return wish._asdict() | {"keys": [*keys, self._request.key], "digests": digest_texts(self._request)}

    @property
    def supersedes(self) -> tuple[str, ...]:
        """The keys under which the file was wanted before, by other URLs."""
        return tuple(key for key in _keys_of(self.part.record) if key != self._request.key)

    def _fetch_small(self) -> Fetched | None:
        """Fetch a small file by a short path: no header needs a decision, and the body was received with the head.

        Return None if the response does not qualify. The response then stays open, and `_fetch_resumable` continues
        from its head on. That method gives the same result, for any response.
        """
        answer = self._exchange.open(whole_request())
        length = answer.headers.get("content-length", "")
        if answer.status != 200 or not _OPEN_QUESTIONS.isdisjoint(answer.headers):
            return None
        if codings_of(answer.headers.get("content-encoding")):
            return None
        body = answer.at_hand(int(length)) if length.isdecimal() and len(length) < _LONG_DIGITS else None
        if body is None:
            return None
        try:
            self._cancel.check()
            if self._policy.check_content:
                refuse_document(self._request, answer.url, answer.headers.get("content-type"), body)
            self._check_size(len(body))
            validators = Validators.from_headers(answer.headers)
            record = _record_of(answer, validators, len(body))
            self.part.fill(record, body)
        finally:
            self._exchange.close()
        progress = self._progress
        progress.arrive(len(body), len(body), len(body))
        return Fetched(
            self.part,
            answer.status,
            record.head["url"],
            record.head["headers"],
            size_bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest() if self._policy.sha256 else "",
            validators=validators,
            fetched_bytes=progress.fetched_bytes,
            latency_s=self._exchange.latency_s,
            took_s=self.lasts_s,
        )

    def _fetch_resumable(self) -> None:
        """Send requests until no byte is missing, or the origin reports that the file is unchanged."""
        ask: ConditionalRequest | None = None
        while self._unchanged is None:
            try:
                if ask is None and self.part.is_whole:
                    self._confirm_seams()
                    return
                ask = self._attempt(ask or first_request(self._saved(), self._request.revalidate))
            except SeamDiffers:
                if self._has_differed:
                    raise InvalidResponse(
                        self._request.url,
                        "its bytes contradict each other, twice: the server sends other bytes than its heads name;"
                        " run the same command again once it is well",
                    ) from None
                self._has_differed = True
                ask = self._ask_whole(over_one_connection=True)

    def _saved(self) -> Saved | None:
        record = self.part.record
        if record is None or not record.resumable or not record.prefix:
            return None
        return _saved_of(self.part)

    def _attempt(self, ask: ConditionalRequest) -> ConditionalRequest | None:
        """Send a request and act on its response. Return the next request if the response requires one."""
        saved = self._saved()
        if saved is not None and ask.kind is not RequestKind.WHOLE:
            self._hash.follow(self.part.have)
        with self._exchange.ask(ask) as (answer, head):
            decision = decide(saved, ask, head)
            match decision.action:
                case Action.RESUME | Action.COMPARE:
                    return self._resume(ask, answer, head, is_complete=decision.action is Action.COMPARE)
                case Action.RESTART if self._is_old_version(head):
                    return self._return_to_old_part()
                case Action.RESTART:
                    return self._restart(ask, answer, head)
                case Action.UNCHANGED:
                    self._unchanged = Fetched(
                        None,
                        head.status,
                        redact_url(answer.url),
                        answer.headers,
                        latency_s=self._exchange.latency_s,
                        took_s=self.lasts_s,
                    )
                    return None
                case Action.COMPLETE:
                    self.part.note_length(self.part.have)
                    return None
        return self._next_ask(decision, answer, head, saved)

    def _return_to_old_part(self) -> ConditionalRequest:
        """Delete the replacement, and return a request for the rest of the old part, whose version came again."""
        self.part = self.part.abandon()
        self._start_over()
        self._validators = None  # those of the part count
        self.saved_bytes = self._initial_bytes
        self._seams = Seams(self.part)
        if self.part.record is not None:
            self._promised.update(digests_from_headers(self.part.record.head.get("headers", {})))
        return first_request(self._saved())

    def _is_old_version(self, head: Head) -> bool:
        """Return whether a response is of the version of the old part, and not of the one that is to replace it."""
        old = self.part.old_record
        if old is None or not old.prefix:
            return False
        of_new = _saved_of(self.part).validators.compare(head.validators)
        of_old = Validators.from_dict(old.validators).compare(head.validators)
        return of_old is Agreement.SAME and of_new is not Agreement.SAME

    def _next_ask(
        self, decision: Decision, answer: TransportResponse, head: Head, saved: Saved | None
    ) -> ConditionalRequest:
        """Return the next request after a response with a body that is of no use.

        Raises:
            HttpStatusError: no further request helps.
        """
        if decision.action is Action.PROBE and saved is not None:
            self._probes += 1
            return range_request(saved) if self._probes <= _PROBES else self._ask_whole()
        if decision.action is Action.REFETCH:
            return self._ask_whole()
        if decision.action is Action.ORIGINAL and not self._went_original:
            self._went_original = True
            return first_request(saved, self._request.revalidate)
        phrase = f"({decision.why})" if head.status in {200, 203, 206} else answer.reason
        raise HttpStatusError(self._request.url, head.status, phrase)

    def _ask_whole(self, *, over_one_connection: bool = False) -> ConditionalRequest:
        """Return a request for the complete representation, and add no helpers to it if `over_one_connection`.

        The part stays until the complete representation is received and verified.
        """
        self._has_one_connection = self._has_one_connection or over_one_connection
        return whole_request()

    @cached_property
    def _hash(self) -> RunningHash:
        return RunningHash(self.part.read_counted, wanted=self._policy.sha256)

    def _stop_hashing(self) -> None:
        """Stop reading the part for its hash, and discard the state of the hash."""
        if hashing := self.__dict__.pop("_hash", None):  # small files have none
            hashing.stop()

    def _start_over(self) -> None:
        """Reset the hash, the saved bytes and the promised digests, before the part is emptied."""
        self.saved_bytes = 0
        self._stop_hashing()
        self._promised = set(self._request.digests)

    def _resume(
        self, ask: ConditionalRequest, answer: TransportResponse, head: Head, *, is_complete: bool
    ) -> ConditionalRequest | None:
        """Continue at the end of the part, after comparing the bytes before it.

        If `is_complete`, the body is the complete representation, otherwise the range that was requested. Return a
        request for the complete representation if the compared bytes differ.
        """
        span = head.content_range
        start, stop = ask.start, None if span is None else span.stop
        if is_complete or span is None:
            start, stop = 0, self._known_length(head)
        total = stop if is_complete or span is None else span.complete_length
        self._probes = 0  # this response delivers bytes: only probes in vain are counted
        body = self._body(answer, self._cancel)
        rest = self._compared(start, self.part.have, body.blocks())
        if rest is None:
            return self._ask_whole(over_one_connection=True)
        if total is not None:
            self._check_size(total)
            self.part.note_length(total)
        self._note_promises(answer, head)
        if is_complete:  # the body has all that follows, and the server has no ranges
            self.part.keep_first(self.part.have)
            self._has_one_connection = True
        self._close_seams(start)
        if self.part.gap_stop is not None:
            stop = min(stop or self.part.gap_stop, self.part.gap_stop)
        self._receive(body, rest, Segment(self.part.have, stop), head)
        if stop is None:
            self.part.note_length(self.part.have)
        # A 206 may have fewer bytes than requested (RFC 9110 15.3.7): the next request is for the rest.
        return None

    def _known_length(self, head: Head) -> int | None:
        """Return the length of a complete representation: of its body, else that of the part of the same version."""
        record = self.part.record
        return head.content_length if head.content_length is not None or record is None else record.complete_length

    def _compared(self, start: int, stop: int, blocks: Iterator[bytes]) -> Iterator[bytes] | None:
        """Return the blocks of a body after the bytes `[start, stop)`; None if these differ from the part's."""
        try:
            return after_overlap(self.part, start, stop, blocks)
        except EOFError:
            raise self._too_short() from None

    def _close_seams(self, start: int) -> None:
        """Close the seams between `start` and the end of the part, whose bytes a response has confirmed."""
        for seam in self.part.record.seams if self.part.record else ():
            if start <= seam < self.part.have:
                self.part.close_seam(seam)

    def _confirm_seams(self) -> None:
        """Compare the bytes around each open seam: a connection broke there, or an earlier run was killed.

        Raises:
            SeamDiffers: the bytes differ, or the server does not send this version any more.
            HttpStatusError: the server responded with an error status.
        """
        self._seams.check()
        saved = _saved_of(self.part)
        if_range = saved.validators.if_range()
        for seam in self.part.record.seams if self.part.record else ():
            start, stop = max(0, seam - OVERLAP_BYTES), seam + self._seams.bytes_beyond(seam)
            fields = [("Range", range_header(start, stop))] + ([("If-Range", if_range)] if if_range else [])
            with self._exchange.ask(ConditionalRequest(RequestKind.IF_RANGE, start, tuple(fields))) as (answer, head):
                if head.status >= 400 and head.status != 416:
                    raise HttpStatusError(self._request.url, head.status, answer.reason)
                if not is_same_version(saved, start, head, is_compared=True):
                    raise SeamDiffers
                rest = self._compared(start, stop, self._body(answer, self._cancel).blocks())
                if rest is None:
                    raise SeamDiffers
                self._seams.read_end(head, stop, rest)
            self.part.close_seam(seam)

    def _restart(self, ask: ConditionalRequest, answer: TransportResponse, head: Head) -> ConditionalRequest | None:
        """Write the complete representation from this same body, from the first byte on.

        Return a request without a range if a document came in response to a range: a login page, perhaps.
        """
        body = self._body(answer, self._cancel)
        try:
            content = self._content = self._content_of(answer, head, body)
            blocks = self._checked(content.blocks, answer, head)
        except WrongContent:
            if ask.kind is RequestKind.WHOLE:
                raise
            return self._ask_whole()
        was_encoded, head = head.is_encoded, head._replace(is_encoded=content.is_decoded)
        total = None if head.is_encoded else head.content_length
        if total is None and not head.is_encoded and head.content_range is not None:
            total = head.content_range.stop  # of a response with all bytes: `decide` restarts with no other
        self._refuse_size(total or 0)
        # The bytes that this run has fetched are lost. With helpers this could happen again and again, without end.
        self._has_one_connection = self._has_one_connection or self._progress.fetched_bytes > 0
        self._start_over()
        wish = self._wish_fields(self.part.record)
        if self.part.is_worth_keeping and not self.part.is_replacement:
            self.part = self.part.replacement()
        self._seams = Seams(self.part)
        self._validators = head.validators
        self._note_promises(answer, head)
        resumable = not content.is_decoded
        self.part.begin(
            _record_of(
                answer, head.validators, total, resumable=resumable, is_encoded=was_encoded and resumable, wish=wish
            )
        )
        self._receive(body, blocks, Segment(0, total), head)
        if total is None:
            if "transfer-encoding" not in answer.headers:
                content.check_end(self.part.blocks(self.part.have))
            self.part.note_length(self.part.have)
        return None

    def _content_of(self, answer: TransportResponse, head: Head, body: Body) -> Content:
        """Return the content of a body, without the content codings that it really has."""
        if not head.is_encoded:
            return Content(body.blocks())
        request = self._request
        paths = (unquote(urlsplit(url).path) for url in (request.url, answer.url))
        disposition = filename_from_disposition(answer.headers.get("content-disposition"))
        return content_of(
            body.blocks(),
            answer.headers,
            request.url,
            names=(request.name, disposition or "", *paths),
            digests=request.digests,
            depth=self._depth,
            check=self._cancel.check,
        )

    def _checked(self, blocks: Iterator[bytes], answer: TransportResponse, head: Head) -> Iterator[bytes]:
        """Return the same blocks after checking the first bytes, before an existing part is touched.

        Raises:
            WrongContent: this cannot be the file.
        """
        content_type = answer.headers.get("content-type")
        checks = self._policy.check_content
        beginning = b""
        for block in blocks:
            beginning += block
            if not checks or can_be_judged(self._request.expected_type, content_type, beginning):
                break
        self._cancel.check()
        if checks:
            refuse_document(self._request, answer.url, content_type, beginning)
        is_kept = self.part.is_worth_keeping or self.part.is_replacement
        if not beginning and is_kept and head.validators == Validators():
            raise WrongContent(self._request.url, "an empty body came; the bytes that are here are kept")
        return itertools.chain([beginning], blocks)

    def _body(self, answer: TransportResponse, cancel: Cancel) -> Body:
        return Body(answer, Stall(self._policy, self._request.url, self._owner.clock), cancel)

    def _receive(self, body: Body, blocks: Iterator[bytes], segment: Segment, head: Head) -> None:
        """Write a body while it is received, until it ends or the segment is full; use helpers where they pay."""
        segments = self._segments(segment, head)
        # Unread by this process; the first bytes were checked. Hashing a small body when received is cheaper than
        # reading it again.
        unseen = not head.is_encoded and (segment.missing_bytes >= BESIDE_FROM_BYTES or not self._policy.sha256)
        try:
            rest = receive(body, blocks, segment, _Front(self, segments), splices=unseen)
            if segment.stop is not None and not segment.is_full:
                raise self._too_short()
            rest = self._seams.read_beyond(segment.stop, rest)
            if segment.stop is not None:
                self._seams.read_end(head, segment.stop + self._seams.bytes_beyond(segment.stop), rest)
            if isinstance(segments, SegmentedFetch):
                self._exchange.release_connection()  # helpers fetch the rest; connections are counted
                segments.join()
        finally:
            segments.stop()

    def write(self, segment: Segment, data: bytes) -> None:
        """Write, hash and count bytes of the front segment."""
        self.part.write_at(segment.start, data)
        self._hash.update(segment.start, data)
        self._note_written(len(data), segment)

    def write_from(self, segment: Segment, pipe: int, size_bytes: int) -> None:
        """Write and count `size_bytes` bytes of the front segment from a pipe; they are hashed later."""
        self.part.splice_at(segment.start, pipe, size_bytes)
        self._note_written(size_bytes, segment)

    def _note_written(self, new_bytes: int, segment: Segment) -> None:
        self.part.mark((segment.start, segment.start + new_bytes))
        segment.advance(new_bytes)
        self._count(new_bytes)

    def _count(self, new_bytes: int) -> None:
        """Count bytes that are marked in the part. Bytes without a gap before them are hashed meanwhile."""
        self._hash.follow(self.part.have)
        with self._counting:  # helpers count too
            record = self.part.record
            total_bytes = record.complete_length if record is not None else None
            self._progress.arrive(new_bytes, self.part.written_bytes, total_bytes)
        self._check_size(self._progress.have_bytes)

    def _segments(self, front: Segment, head: Head) -> SegmentedFetch | SingleConnection:
        """Return the helpers for this body: none unless the body is large and its version is certain."""
        policy = self._policy.segments.of(self._request.connections, ranges_refused=head.ranges_refused)
        if policy.connections <= 1 or self._has_one_connection:
            return SingleConnection()
        return SegmentedFetch(
            front,
            self.part,
            self._seams,
            _saved_of(self.part),
            policy,
            new_exchange=self._new_exchange,
            new_body=self._body,
            count=self._count,
            cancel=self._cancel,
            clock=self._owner.clock,
            # An explicit number of connections is neither limited by slots nor reduced for other files.
            slots=self._owner.slots if self._request.connections is None else None,
            yields=self._owner.connections.yields if self._request.connections is None else None,
            host=self.host,
        )

    def _finish(self) -> Fetched | None:
        """Hash the bytes that are not hashed yet, and compare the file with every promised digest.

        Return None after a first mismatch: the bytes are quarantined, and the file is to be fetched again.
        """
        record = self.part.record
        assert record is not None
        validators = self._validators
        self.part.note_whole()
        size_bytes = self.part.have
        self._hash.finish(size_bytes, self._cancel.check)
        for digest in self._promised:
            if not self._hash.matches(digest, self.part.blocks(size_bytes)):
                if not self._has_in_other_coding(digest):
                    self._quarantine(digest)
                return None
        if self.part.is_replacement:
            self.part.take_place()
        return Fetched(
            self.part,
            status=int(record.head.get("status", 200)),
            url=str(record.head.get("url", self._request.url)),
            headers=dict(record.head.get("headers", {})),
            size_bytes=size_bytes,
            sha256=self._hash.sha256_hex,
            validators=Validators.from_dict(record.validators) if validators is None else validators,
            saved_bytes=self.saved_bytes,
            fetched_bytes=self._progress.fetched_bytes,
            latency_s=self._exchange.latency_s,
            took_s=self.lasts_s,
            supersedes=self.supersedes,
        )

    def _has_in_other_coding(self, digest: Digest) -> bool:
        """Return whether the file has a digest if more or fewer content codings are removed.

        Its bytes are then dropped, so that the file is fetched once more, in that form.
        """
        if self._content is None or self._depth is not None:
            return False
        try:
            self._depth = self._content.depth_for(digest, self.part.blocks(self.part.have))
        except WrongContent:
            self.part.discard()
            raise
        if self._depth is None:
            return False
        self._start_over()
        self.part.discard()
        return True

    def _quarantine(self, digest: Digest) -> None:
        where = self.part.quarantine(self._owner.store.quarantine_folder)
        if self._refetched:
            raise DigestMismatch(
                self._request.url,
                f"{digest.algorithm} is not the promised {digest.hex}, twice; the bytes are kept in {where}",
            )
        self._refetched = True
        self._start_over()

    def _note_promises(self, answer: TransportResponse, head: Head) -> None:
        # These digests cover the bytes as they are sent, with their content coding (RFC 9530 3.1, RFC 1864 2). They
        # do not apply to decoded bytes, and are no sign of a wrong coding. Content-MD5 of a 206 applies to the range.
        if not head.is_encoded:
            headers = answer.headers
            if head.status != 200:
                headers = {name: value for name, value in headers.items() if name != "content-md5"}
            self._promised.update(digests_from_headers(headers))

    def _check_size(self, size_bytes: int) -> None:
        """Delete the bytes of a file that is too large. Raises `TooLarge`."""
        try:
            self._refuse_size(size_bytes)
        except TooLarge:
            self.part.discard()
            raise

    def _refuse_size(self, size_bytes: int) -> None:
        if self._max_bytes and size_bytes > self._max_bytes:
            raise TooLarge(self._request.url, f"larger than the maximal {self._max_bytes} bytes of DOWNLOAD_MAXSIZE")

    def _too_short(self) -> ConnectionLost:
        total = self.part.record.complete_length if self.part.record else None
        return ConnectionLost(
            self._request.url, f"the body ended early, {self.part.written_bytes} of {total} bytes are here"
        )

    def _wait_or_raise(self, error: TransferError, failures: int) -> None:
        self._cancel.check()
        backoff = self._policy.backoff
        if not error.transient or failures > backoff.times or concerns_host(error, backoff):
            raise error
        wait_s = error.retry_after_s or 0.0
        if wait_s > backoff.max_retry_after_s:
            raise error
        if not wait_s:  # if the host named a time, the requester waits, in all transfers from that host
            wait_s = backoff.delay_s(failures)
        with self._progress.sleeping(f"{error.reason}, again in {wait_s:.0f} s"):
            self._cancel.wait(wait_s)

    def _new_exchange(self, cancel: Cancel | None = None, *, waits: bool = True) -> Requester:
        return Requester(
            self._request,
            self._owner.transport,
            self._owner.pauses,
            cancel or self._cancel,
            timeout_s=self._request.timeout_s or self._policy.stall_s,
            max_pause_s=self._policy.backoff.max_retry_after_s,
            progress=self._progress if waits else None,
            may_follow=self._owner.may_follow,
            connections=self._owner.connections,
            of_file=self._of_file,
            cookies=self._cookies,
            waits=waits,
            netrc=self._owner.netrc,
        )


class _Front:
    """The sink for the bytes that the transfer itself receives, see `body.Sink`."""

    def __init__(self, transfer: _Transfer, segments: SegmentedFetch | SingleConnection) -> None:
        self.write = transfer.write
        self.write_from = transfer.write_from
        self.received = segments.consider
        self._segments = segments

    def extend(self, _share: Segment) -> bool:
        return self._segments.goes_on()
