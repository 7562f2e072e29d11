"""The decision to resume: a pure function of the saved state, the request and the head of the response.

The resume table in the tests (`tests/download/test_resume.py`) is the contract of this module.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from mediacrawl.headers import Agreement, ContentRange, Validators, range_header

OVERLAP_BYTES = 16 * 1024  # requested again and compared: a head with the right validators may precede wrong bytes
UNIDENTIFIED_OVERLAP_BYTES = 64 * 1024  # the same, if no strong validator identifies the bytes


class Saved(NamedTuple):
    """The saved state: the bytes `[0, have)` of a representation with these validators and this length.

    Attributes:
        gap_stop: the offset of the next saved byte behind `have`; None if there is none.
        is_encoded: the response named a content coding, which was not removed: the bytes are those that were sent.
    """

    have: int
    complete_length: int | None = None
    validators: Validators = Validators()
    gap_stop: int | None = None
    is_encoded: bool = False

    def range_from(self, start: int) -> str:
        """Return a Range from `start` on, which includes some of the saved bytes behind the gap."""
        if self.gap_stop is None or self.complete_length is None:
            return range_header(start)
        return range_header(start, min(self.complete_length, self.gap_stop + OVERLAP_BYTES))


class RequestKind(Enum):
    """The kind of a request for a representation or a part of it."""

    WHOLE = auto()  # no Range
    IF_RANGE = auto()  # Range from shortly before `have` on, if the file is unchanged (If-Range)
    RANGE = auto()  # Range from further before `have` on, without If-Range: only the bytes identify the version


class ConditionalRequest(NamedTuple):
    """One request. `start` is the offset of the first requested byte; the bytes before `have` are compared."""

    kind: RequestKind
    start: int = 0
    headers: tuple[tuple[str, str], ...] = ()


class Head(NamedTuple):
    """The fields of a response's head that the decision needs.

    Attributes:
        has_unreadable_range: the response has a Content-Range that is none of bytes.
        has_other_unit: that Content-Range counts other units than bytes.
        content_length: the length of this body, not of the representation; None if absent.
        is_encoded: the response has a Content-Encoding that names a registered content coding.
        is_multipart: the media type is `multipart/byteranges`.
        ranges_refused: the response has `Accept-Ranges: none`.
        redirected: the response is from another URL than the original one.
    """

    status: int
    content_range: ContentRange | None = None
    content_length: int | None = None
    validators: Validators = Validators()
    has_unreadable_range: bool = False
    has_other_unit: bool = False
    is_encoded: bool = False
    is_multipart: bool = False
    ranges_refused: bool = False
    redirected: bool = False


class Action(Enum):
    """The action that a response requires."""

    RESUME = auto()  # compare the overlap, then continue with this body
    COMPARE = auto()  # this body is complete: compare its beginning with the saved bytes, continue where they end
    RESTART = auto()  # start from the first byte, with this same body
    REFETCH = auto()  # this body is of no use: request the complete representation
    PROBE = auto()  # send another request with a plain Range and compare more bytes
    COMPLETE = auto()  # no byte is missing
    UNCHANGED = auto()  # 304: the existing file is current
    ORIGINAL = auto()  # the redirect's target has expired: start again at the original URL
    REJECT = auto()  # an error status


class Decision(NamedTuple):
    """An action, and the reason for the log."""

    action: Action
    why: str


def first_request(saved: Saved | None, revalidate: Validators | None = None) -> ConditionalRequest:
    """Return the first request of a transfer (RFC 9110 13.1.5: If-Range only with a strong validator)."""
    if saved is None or saved.have == 0:
        conditional = revalidate.conditional_headers() if revalidate else {}
        return ConditionalRequest(RequestKind.WHOLE, headers=tuple(conditional.items()))
    if_range = saved.validators.if_range()
    if if_range is None:
        return range_request(saved)
    start = max(0, saved.have - OVERLAP_BYTES)
    return ConditionalRequest(
        RequestKind.IF_RANGE, start, (("Range", saved.range_from(start)), ("If-Range", if_range))
    )


def range_request(saved: Saved) -> ConditionalRequest:
    """Return a request with a plain Range from before the end of the saved bytes, to compare more of them."""
    start = max(0, saved.have - UNIDENTIFIED_OVERLAP_BYTES)
    return ConditionalRequest(RequestKind.RANGE, start, (("Range", saved.range_from(start)),))


def whole_request() -> ConditionalRequest:
    """Return a request for the complete representation, without Range and conditions."""
    return ConditionalRequest(RequestKind.WHOLE)


def decide(saved: Saved | None, ask: ConditionalRequest, head: Head) -> Decision:
    """Return the action for a response, according to the resume table."""
    head = _as_meant(head)
    if head.status in {401, 403, 410} and head.redirected:
        return Decision(Action.ORIGINAL, f"HTTP {head.status} behind a redirect: a signed URL may have expired")
    if ask.kind is RequestKind.WHOLE or saved is None:
        return _decide_whole(ask, head)
    match head.status:
        case 206:
            return _decide_206(saved, ask, head)
        case 200:
            return _decide_200(saved, head)
        case 416:
            return _decide_416(saved, ask, head)
    return Decision(Action.REJECT, f"HTTP {head.status}")


def _as_meant(head: Head) -> Head:
    """Return the head with the status that its fields have.

    A 203 is a 200 that a proxy has changed (RFC 9110 15.3.4). A 200 with the Content-Range of a part is a 206.
    """
    status = 200 if head.status == 203 else head.status
    span = head.content_range
    is_part = span is not None and span.start is not None and not _is_everything(head)
    return head._replace(status=206 if status == 200 and is_part else status)


def _is_everything(head: Head) -> bool:
    """Return whether a response has all bytes of a representation, according to its Content-Range."""
    span = head.content_range
    return (
        span is not None
        and span.start == 0
        and span.stop == span.complete_length
        and head.content_length in (None, span.stop)
        and not head.is_multipart
    )


def _decide_whole(ask: ConditionalRequest, head: Head) -> Decision:
    if head.status == 200 and _names_no_bytes(head) and not head.has_other_unit:
        return Decision(Action.REJECT, "with a Content-Range that cannot be read: only a part may have come")
    if head.status == 200 or (head.status == 206 and _is_everything(head)):
        return Decision(Action.RESTART, "the whole representation")
    if head.status == 206:
        return Decision(Action.REJECT, "only a part came in response to a request for the whole")
    if head.status == 304 and ask.headers:
        return Decision(Action.UNCHANGED, "not modified")
    return Decision(Action.REJECT, f"HTTP {head.status}")


def _decide_206(saved: Saved, ask: ConditionalRequest, head: Head) -> Decision:
    if unfit := _unfit_206(saved, ask, head):
        return Decision(Action.REFETCH, unfit)
    match saved.validators.compare(head.validators):
        case Agreement.DIFFERENT:
            return Decision(Action.REFETCH, "206 of another version")
        case Agreement.UNKNOWN if ask.kind is not RequestKind.RANGE:
            return Decision(Action.PROBE, "206 that does not say of which version it is")
    return Decision(Action.RESUME, "206 of the same version at the right place")


def _unfit_206(saved: Saved, ask: ConditionalRequest, head: Head) -> str | None:
    """Return the reason why this 206 response cannot continue the saved bytes, None if it can."""
    answer = head.content_range
    if head.is_multipart or answer is None or answer.start is None or answer.stop is None:
        return "206 without one usable Content-Range"
    # Ranges count the bytes as they are sent (RFC 9110 14). A 206 to If-Range may omit the field (15.3.7).
    if head.is_encoded and not saved.is_encoded:
        return "206 with a Content-Encoding"
    if answer.start != ask.start:
        return f"206 that starts at {answer.start}, asked for {ask.start}"
    if answer.complete_length is None and saved.complete_length is None:
        return "206 without a complete length"
    if None not in (answer.complete_length, saved.complete_length) and (
        answer.complete_length != saved.complete_length
    ):
        return f"206 of {answer.complete_length} bytes, began with {saved.complete_length}"
    if answer.stop < saved.have or (saved.complete_length or answer.stop) < answer.stop:
        return "206 that ends within the part, or beyond the end"
    if answer.stop == saved.have and answer.stop not in (answer.complete_length, saved.complete_length):
        return "206 that brings nothing new"  # a truncated overlap would repeat for ever
    if head.content_length not in (None, answer.stop - answer.start):
        return "206 whose Content-Length contradicts its Content-Range"
    return None


def _names_no_bytes(head: Head) -> bool:
    """Return whether a response has a Content-Range from which its bytes do not follow."""
    span = head.content_range
    return head.has_unreadable_range or (span is not None and span.is_unsatisfied)


def _decide_200(saved: Saved, head: Head) -> Decision:
    if _names_no_bytes(head):
        return Decision(Action.REFETCH, "200 with a Content-Range that names no bytes")
    mine, theirs = saved.validators.etag, head.validators.etag
    same = mine is not None and theirs is not None and mine.strong_match(theirs)
    if not same or head.is_encoded != saved.is_encoded:
        return Decision(Action.RESTART, "200: changed, or no ranges here")
    known = None not in (head.content_length, saved.complete_length)
    if known and head.content_length != saved.complete_length:
        return Decision(
            Action.REJECT,
            f"{head.content_length} bytes came under the ETag of {saved.complete_length} bytes;"
            f" the {saved.have} bytes that are here are kept",
        )
    if head.content_length is not None and head.content_length < saved.have:
        return Decision(
            Action.REJECT, f"{head.content_length} bytes came under the ETag of the {saved.have} bytes that are here"
        )
    return Decision(Action.COMPARE, "200 of the same strong ETag and length")


def is_same_version(saved: Saved, start: int, head: Head, *, is_compared: bool = False) -> bool:
    """Return whether a response is certainly a part of the saved representation, from `start` on.

    If `is_compared`, all its bytes are compared with the saved ones, so that no validator is needed.
    """
    span = head.content_range
    agreement = saved.validators.compare(head.validators)
    return (
        head.status == 206
        and span is not None
        and span.start == start
        and span.complete_length == saved.complete_length
        and (not head.is_encoded or saved.is_encoded)
        and not head.is_multipart
        and (agreement is Agreement.SAME or (is_compared and agreement is Agreement.UNKNOWN))
    )


def _decide_416(saved: Saved, ask: ConditionalRequest, head: Head) -> Decision:
    total = head.content_range.complete_length if head.content_range else None
    agreement = saved.validators.compare(head.validators)
    fits = total == saved.have and saved.complete_length in (None, total)
    if not fits or agreement is Agreement.DIFFERENT:
        return Decision(Action.REFETCH, f"416: {total} bytes there, {saved.have} here")
    if agreement is Agreement.SAME:
        return Decision(Action.COMPLETE, "416: nothing is missing")
    if ask.kind is RequestKind.IF_RANGE:
        return Decision(Action.PROBE, "416 that does not say of which version it is")
    return Decision(Action.REFETCH, "416 to a range that exists")
