"""The resume table of the design, as one table; and that nothing outside of it is resumed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.download.resume import (
    OVERLAP_BYTES,
    UNIDENTIFIED_OVERLAP_BYTES,
    Action,
    ConditionalRequest,
    Head,
    RequestKind,
    Saved,
    decide,
    first_request,
    range_request,
    whole_request,
)
from mediacrawl.headers import ContentRange, ETag, Validators

HAVE, TOTAL = 100_000, 300_000
START = HAVE - OVERLAP_BYTES  # of a request with If-Range
PLAIN = HAVE - UNIDENTIFIED_OVERLAP_BYTES  # of one without
DAY, NEXT_DAY = "Tue, 02 Jan 2024 03:04:05 GMT", "Wed, 03 Jan 2024 03:04:05 GMT"
NOW = "Thu, 01 Jan 2026 00:00:00 GMT"

BOTH = {"etag": '"a"', "last-modified": DAY, "date": NOW}
ONLY_ETAG = {"etag": '"a"', "date": NOW}
ONLY_DATE = {"last-modified": DAY, "date": NOW}
WEAK = {"etag": 'W/"a"', "date": NOW}
WEAK_AND_DATE = {"etag": 'W/"a"', "last-modified": DAY, "date": NOW}
FRESH_DATE = {"last-modified": DAY, "date": DAY}  # changed in this very second: it may change again in it
NONE = {"date": NOW}


def saved(validators=BOTH, total=TOTAL, have=HAVE):
    return Saved(have, total, Validators.from_headers(validators))


def head(status, content_range=None, validators=BOTH, **more):
    body = ContentRange.from_header(content_range)
    return Head(status, body, validators=Validators.from_headers(validators), **more)


def tail(start=START, stop=TOTAL, total=TOTAL):
    return f"bytes {start}-{stop - 1}/{total}"


def whole(_state):
    return whole_request()


def if_range(state):
    ask = first_request(state)
    assert ask.kind is RequestKind.IF_RANGE
    return ask


def overlap(state):
    return range_request(state)


SAVED, DATED, UNTAGGED, OPEN = saved(), saved(ONLY_DATE), saved(NONE), saved(total=None)
WHOLE_TOTAL = saved(total=None, have=TOTAL)
UNVOUCHED = saved(NONE, total=None, have=TOTAL)

TABLE = {
    # 206 | Content-Range starts at `have`; total, ETag and Last-Modified agree | resume
    "206 agrees in all": (SAVED, if_range, head(206, tail()), Action.RESUME),
    "206 agrees, its Content-Length too": (
        SAVED,
        if_range,
        head(206, tail(), content_length=TOTAL - START),
        Action.RESUME,
    ),
    "206 with the ETag alone, as 15.3.7 allows": (SAVED, if_range, head(206, tail(), ONLY_ETAG), Action.RESUME),
    "206 of a dated file agrees": (DATED, if_range, head(206, tail(), ONLY_DATE), Action.RESUME),
    "206 with the date in another form": (
        DATED,
        if_range,
        head(206, tail(), {"last-modified": "Tuesday, 02-Jan-24 03:04:05 GMT", "date": NOW}),
        Action.RESUME,
    ),
    "206 tells a total that was not known": (OPEN, if_range, head(206, tail()), Action.RESUME),
    "206 does not tell the total that is known": (SAVED, if_range, head(206, tail(total="*")), Action.RESUME),
    "206 with less than was asked for": (SAVED, if_range, head(206, tail(stop=HAVE + 1)), Action.RESUME),
    # 206 | anything else | restart from 0
    "206 starts before": (SAVED, if_range, head(206, tail(START - 1)), Action.REFETCH),
    "206 starts behind": (SAVED, if_range, head(206, tail(START + 1)), Action.REFETCH),
    "206 starts at have": (SAVED, if_range, head(206, tail(HAVE)), Action.REFETCH),
    "206 starts at 0": (SAVED, if_range, head(206, tail(0)), Action.REFETCH),
    "206 of a longer total": (SAVED, if_range, head(206, tail(total=TOTAL + 1)), Action.REFETCH),
    "206 of a shorter total": (SAVED, if_range, head(206, tail(stop=TOTAL - 1, total=TOTAL - 1)), Action.REFETCH),
    "206 goes beyond the known end": (SAVED, if_range, head(206, tail(stop=TOTAL + 1, total="*")), Action.REFETCH),
    "206 of another ETag": (SAVED, if_range, head(206, tail(), {**BOTH, "etag": '"b"'}), Action.REFETCH),
    "206 of another weak ETag": (SAVED, if_range, head(206, tail(), {**BOTH, "etag": 'W/"b"'}), Action.REFETCH),
    "206 of the same ETag and another date": (
        SAVED,
        if_range,
        head(206, tail(), {**BOTH, "last-modified": NEXT_DAY}),
        Action.RESUME,
    ),
    "206 of the same weak ETag and another date": (
        saved(WEAK_AND_DATE),
        overlap,
        head(206, tail(PLAIN), {**WEAK_AND_DATE, "last-modified": NEXT_DAY}),
        Action.REFETCH,
    ),
    "200 that is a 206": (SAVED, if_range, head(200, tail(), content_length=TOTAL - START), Action.RESUME),
    "200 with the tail from another place": (SAVED, if_range, head(200, tail(START + 1)), Action.REFETCH),
    "200 with the tail of another version": (
        SAVED,
        if_range,
        head(200, tail(), {**BOTH, "etag": '"b"'}),
        Action.REFETCH,
    ),
    "206 of another date, no ETag": (
        DATED,
        if_range,
        head(206, tail(), {"last-modified": NEXT_DAY, "date": NOW}),
        Action.REFETCH,
    ),
    "206 without Content-Range": (SAVED, if_range, head(206), Action.REFETCH),
    "206 with an unsatisfied Content-Range": (SAVED, if_range, head(206, f"bytes */{TOTAL}"), Action.REFETCH),
    "206 multipart": (SAVED, if_range, head(206, is_multipart=True), Action.REFETCH),
    "206 multipart that has a Content-Range": (SAVED, if_range, head(206, tail(), is_multipart=True), Action.REFETCH),
    "206 encoded": (SAVED, if_range, head(206, tail(), is_encoded=True), Action.REFETCH),
    "206 encoded, as the part": (
        SAVED._replace(is_encoded=True),
        if_range,
        head(206, tail(), is_encoded=True),
        Action.RESUME,
    ),
    "206 that names no coding, of an encoded part": (
        SAVED._replace(is_encoded=True),
        if_range,
        head(206, tail()),
        Action.RESUME,
    ),
    "206 with no total anywhere": (OPEN, if_range, head(206, tail(total="*")), Action.REFETCH),
    "206 whose Content-Length is too large": (
        SAVED,
        if_range,
        head(206, tail(), content_length=TOTAL),
        Action.REFETCH,
    ),
    "206 whose Content-Length is too small": (SAVED, if_range, head(206, tail(), content_length=1), Action.REFETCH),
    # 206 | it does not say of which version it is | ask for an overlap
    "206 without validators": (SAVED, if_range, head(206, tail(), NONE), Action.PROBE),
    "206 with the date alone, the ETag is missing": (SAVED, if_range, head(206, tail(), ONLY_DATE), Action.PROBE),
    "206 with the same ETag, but weak": (SAVED, if_range, head(206, tail(), WEAK), Action.PROBE),
    "206 of a dated file without its date": (DATED, if_range, head(206, tail(), NONE), Action.PROBE),
    # No usable validator, or a probe: the bytes are compared, what contradicts is not even looked at
    "overlap without validators": (UNTAGGED, range_request, head(206, tail(PLAIN), NONE), Action.RESUME),
    "overlap of the same weak ETag": (saved(WEAK), range_request, head(206, tail(PLAIN), WEAK), Action.RESUME),
    "overlap of another weak ETag": (
        saved(WEAK),
        range_request,
        head(206, tail(PLAIN), {"etag": 'W/"b"'}),
        Action.REFETCH,
    ),
    "overlap of the same weak ETag, another date": (
        saved(WEAK_AND_DATE),
        range_request,
        head(206, tail(PLAIN), {**WEAK_AND_DATE, "last-modified": NEXT_DAY}),
        Action.REFETCH,
    ),
    "overlap of another date that is not strong": (
        saved(FRESH_DATE),
        range_request,
        head(206, tail(PLAIN), {**FRESH_DATE, "last-modified": NEXT_DAY}),
        Action.REFETCH,
    ),
    "overlap of another total": (
        UNTAGGED,
        range_request,
        head(206, tail(PLAIN, TOTAL + 1, TOTAL + 1), NONE),
        Action.REFETCH,
    ),
    "overlap that starts at have": (UNTAGGED, range_request, head(206, tail(HAVE), NONE), Action.REFETCH),
    "overlap that ends within what is there": (
        UNTAGGED,
        range_request,
        head(206, tail(PLAIN, HAVE - 1), NONE),
        Action.REFETCH,
    ),
    "overlap that ends where we are, though there is more": (
        UNTAGGED,
        range_request,
        head(206, tail(PLAIN, HAVE), NONE),
        Action.REFETCH,
    ),
    "overlap that shows that nothing is missing": (
        UNVOUCHED,
        range_request,
        head(206, tail(TOTAL - UNIDENTIFIED_OVERLAP_BYTES), NONE),
        Action.RESUME,
    ),
    "overlap encoded": (UNTAGGED, range_request, head(206, tail(PLAIN), NONE, is_encoded=True), Action.REFETCH),
    "200 to an overlap": (UNTAGGED, range_request, head(200, None, NONE), Action.RESTART),
    "200 of the same ETag to an overlap": (SAVED, range_request, head(200, content_length=TOTAL), Action.COMPARE),
    "416 to an overlap": (UNTAGGED, range_request, head(416, f"bytes */{TOTAL}", NONE), Action.REFETCH),
    # 200 | same strong ETag and length | compare with the saved bytes, continue where they end
    "200 of the same strong ETag": (SAVED, if_range, head(200, content_length=TOTAL), Action.COMPARE),
    "200 of the same strong ETag, there are no ranges": (
        SAVED,
        if_range,
        head(200, content_length=TOTAL, ranges_refused=True),
        Action.COMPARE,
    ),
    "203 of the same strong ETag": (SAVED, if_range, head(203, content_length=TOTAL), Action.COMPARE),
    "200 of the same strong ETag, total was not known": (
        OPEN,
        if_range,
        head(200, content_length=TOTAL),
        Action.COMPARE,
    ),
    "200 of the same strong ETag, no length": (SAVED, if_range, head(200), Action.COMPARE),
    "200 of the same strong ETag, no length then or now": (OPEN, if_range, head(200), Action.COMPARE),
    "200 of the same strong ETag and another date": (
        SAVED,
        if_range,
        head(200, validators={**BOTH, "last-modified": NEXT_DAY}, content_length=TOTAL),
        Action.COMPARE,
    ),
    # 200 | another length under the same strong ETag | failure, the part stays
    "200 of the same ETag, another length": (SAVED, if_range, head(200, content_length=TOTAL - 1), Action.REJECT),
    "200 of the same ETag, no byte": (SAVED, if_range, head(200, content_length=0), Action.REJECT),
    "200 of the same ETag, shorter than the part": (OPEN, if_range, head(200, content_length=9), Action.REJECT),
    # 200 | otherwise: changed, or no ranges here | written beside the part
    "200 of the same date": (DATED, if_range, head(200, None, ONLY_DATE), Action.RESTART),
    "200 of the same strong ETag, encoded": (SAVED, if_range, head(200, is_encoded=True), Action.RESTART),
    # 200 | validator differs | restart with this body
    "200 of another ETag": (SAVED, if_range, head(200, None, {"etag": '"b"'}), Action.RESTART),
    "200 of the same ETag, but weak": (SAVED, if_range, head(200, None, WEAK), Action.RESTART),
    "200 of another date": (DATED, if_range, head(200, None, {"last-modified": NEXT_DAY}), Action.RESTART),
    "200 without validators": (SAVED, if_range, head(200, None, NONE), Action.RESTART),
    "200 encoded": (SAVED, if_range, head(200, None, {"etag": '"b"'}, is_encoded=True), Action.RESTART),
    # 416 | `bytes */N`, N equals `have`, validator agrees | complete
    "416 at the end": (WHOLE_TOTAL, if_range, head(416, f"bytes */{TOTAL}"), Action.COMPLETE),
    "416 at the end without validators": (WHOLE_TOTAL, if_range, head(416, f"bytes */{TOTAL}", NONE), Action.PROBE),
    # 416 | otherwise | restart
    "416 at the end of another version": (
        WHOLE_TOTAL,
        if_range,
        head(416, f"bytes */{TOTAL}", {"etag": '"b"'}),
        Action.REFETCH,
    ),
    "416 of a shorter file": (SAVED, if_range, head(416, "bytes */5", NONE), Action.REFETCH),
    "416 of a longer file": (SAVED, if_range, head(416, f"bytes */{TOTAL}"), Action.REFETCH),
    "416 where we are, though there was more": (SAVED, if_range, head(416, f"bytes */{HAVE}"), Action.REFETCH),
    "416 without Content-Range": (SAVED, if_range, head(416), Action.REFETCH),
    # 403 / 410 after a redirect | go again through the original URL
    "401 behind a redirect": (SAVED, if_range, head(401, redirected=True), Action.ORIGINAL),
    "403 behind a redirect": (SAVED, if_range, head(403, redirected=True), Action.ORIGINAL),
    "410 behind a redirect": (SAVED, if_range, head(410, redirected=True), Action.ORIGINAL),
    "403 behind a redirect, nothing saved": (None, whole, head(403, redirected=True), Action.ORIGINAL),
    "404 behind a redirect": (SAVED, if_range, head(404, redirected=True), Action.REJECT),
    "403": (SAVED, if_range, head(403), Action.REJECT),
    "410": (SAVED, if_range, head(410), Action.REJECT),
    # Everything else
    "404": (SAVED, if_range, head(404), Action.REJECT),
    "500": (SAVED, if_range, head(500), Action.REJECT),
    "304 to a range": (SAVED, if_range, head(304), Action.REJECT),
    "204 to a range": (SAVED, if_range, head(204), Action.REJECT),
    "whole: 200": (None, whole, head(200), Action.RESTART),
    "whole, though a part is there: 200": (SAVED, whole, head(200), Action.RESTART),
    "whole: 206 that nobody asked for": (SAVED, whole, head(206, tail()), Action.REJECT),
    "whole: 206 of everything": (None, whole, head(206, tail(0)), Action.RESTART),
    "whole: 206 of everything, with its length": (
        None,
        whole,
        head(206, tail(0), content_length=TOTAL),
        Action.RESTART,
    ),
    "whole: 206 of everything with another length": (
        None,
        whole,
        head(206, tail(0), content_length=9),
        Action.REJECT,
    ),
    "whole: 206 from the first byte, not to the end": (None, whole, head(206, tail(0, 9)), Action.REJECT),
    "whole: 206 from the first byte, of no known length": (None, whole, head(206, tail(0, 9, "*")), Action.REJECT),
    "whole: 206 of everything, encoded": (None, whole, head(206, tail(0), is_encoded=True), Action.RESTART),
    "whole: 206 of everything, multipart": (None, whole, head(206, tail(0), is_multipart=True), Action.REJECT),
    "whole: 200 with the tail": (None, whole, head(200, tail(), content_length=TOTAL - START), Action.REJECT),
    "whole: 200 with a Content-Range of everything": (None, whole, head(200, tail(0)), Action.RESTART),
    "whole: 200 with a Content-Range of another unit": (
        None,
        whole,
        head(200, has_unreadable_range=True, has_other_unit=True),
        Action.RESTART,
    ),
    "whole: 200 with an unreadable Content-Range": (None, whole, head(200, has_unreadable_range=True), Action.REJECT),
    "whole: 200 with an unsatisfied Content-Range": (None, whole, head(200, "bytes */5"), Action.REJECT),
    "200 with an unreadable Content-Range": (
        SAVED,
        if_range,
        head(200, content_length=TOTAL, has_unreadable_range=True),
        Action.REFETCH,
    ),
    "200 with a Content-Range of another unit": (
        SAVED,
        if_range,
        head(200, validators=NONE, has_unreadable_range=True, has_other_unit=True),
        Action.REFETCH,
    ),
    "200 with an unsatisfied Content-Range": (SAVED, if_range, head(200, f"bytes */{TOTAL}"), Action.REFETCH),
    "whole: 203": (None, whole, head(203), Action.RESTART),
    "203 to a range: changed": (SAVED, if_range, head(203, validators=NONE), Action.RESTART),
    "whole: 416": (None, whole, head(416, "bytes */5"), Action.REJECT),
    "whole: 204": (None, whole, head(204), Action.REJECT),
    "whole: 304 that nobody asked for": (None, whole, head(304), Action.REJECT),
    "whole, if changed: 304": (
        None,
        lambda _saved: first_request(None, Validators.from_headers(BOTH)),
        head(304),
        Action.UNCHANGED,
    ),
    "whole, if changed: 200": (
        None,
        lambda _saved: first_request(None, Validators.from_headers(BOTH)),
        head(200),
        Action.RESTART,
    ),
}


@pytest.mark.parametrize(("state", "ask", "answer", "expected"), TABLE.values(), ids=TABLE.keys())
def test_the_resume_table_holds(state, ask, answer, expected):
    decision = decide(state, ask(state), answer)
    assert (decision.action, bool(decision.why)) == (expected, True)


@pytest.mark.parametrize(
    ("validators", "kind", "headers"),
    [
        (BOTH, RequestKind.IF_RANGE, {"Range": f"bytes={START}-", "If-Range": '"a"'}),
        (ONLY_ETAG, RequestKind.IF_RANGE, {"Range": f"bytes={START}-", "If-Range": '"a"'}),
        (ONLY_DATE, RequestKind.IF_RANGE, {"Range": f"bytes={START}-", "If-Range": DAY}),
        (WEAK, RequestKind.RANGE, {"Range": f"bytes={PLAIN}-"}),
        (WEAK_AND_DATE, RequestKind.RANGE, {"Range": f"bytes={PLAIN}-"}),
        (FRESH_DATE, RequestKind.RANGE, {"Range": f"bytes={PLAIN}-"}),
        (NONE, RequestKind.RANGE, {"Range": f"bytes={PLAIN}-"}),
    ],
)
def test_if_range_is_sent_with_a_strong_validator_only(validators, kind, headers):
    ask = first_request(saved(validators))
    assert (ask.kind, dict(ask.headers)) == (kind, headers)


@pytest.mark.parametrize(
    ("validators", "overlap_bytes"), [(ONLY_ETAG, OVERLAP_BYTES), (NONE, UNIDENTIFIED_OVERLAP_BYTES)]
)
@pytest.mark.parametrize(("behind", "start"), [(1, 0), (0, 0), (-1, 1)])
def test_a_continuation_begins_so_many_bytes_before_the_end(validators, overlap_bytes, behind, start):
    ask = first_request(saved(validators, have=overlap_bytes - behind))
    assert (ask.start, dict(ask.headers)["Range"]) == (start, f"bytes={start}-")


@pytest.mark.parametrize(
    ("validators", "headers"),
    [
        (None, {}),
        (NONE, {}),
        (BOTH, {"If-None-Match": '"a"'}),
        (WEAK, {"If-None-Match": 'W/"a"'}),
        (ONLY_DATE, {"If-Modified-Since": DAY}),
    ],
)
@pytest.mark.parametrize("state", [None, saved(have=0)])
def test_without_a_saved_byte_the_whole_is_asked_for_if_it_has_changed(state, validators, headers):
    ask = first_request(state, Validators.from_headers(validators) if validators else None)
    assert (ask.kind, ask.start, dict(ask.headers)) == (RequestKind.WHOLE, 0, headers)


def test_a_part_is_gone_on_with_rather_than_asked_whether_it_has_changed():
    ask = first_request(SAVED, Validators(ETag("other")))
    assert dict(ask.headers) == {"Range": f"bytes={START}-", "If-Range": '"a"'}


# Small numbers, so that answers agree with what is saved often enough to be resumed.
_LENGTHS = st.one_of(st.none(), st.integers(0, 6))
_ETAGS = st.one_of(st.none(), st.builds(ETag, st.sampled_from("ab"), st.booleans()))
_VALIDATORS = st.builds(Validators, _ETAGS, st.sampled_from([None, DAY, NEXT_DAY]), st.booleans())


@st.composite
def _content_ranges(draw):
    start, length, total = draw(st.integers(0, 5)), draw(st.integers(1, 4)), draw(_LENGTHS)
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([None, ContentRange(None, None, total or 0)]))
    return ContentRange(start, start + length, None if total is None else max(total, start + length))


_HEADS = st.builds(
    Head,
    status=st.sampled_from([200, 206, 206, 206, 206, 304, 403, 404, 416, 500]),
    content_range=_content_ranges(),
    content_length=_LENGTHS,
    validators=_VALIDATORS,
    is_encoded=st.sampled_from([False] * 4 + [True]),
    is_multipart=st.sampled_from([False] * 4 + [True]),
    ranges_refused=st.booleans(),
    redirected=st.booleans(),
)


@st.composite
def _situations(draw):
    """What is saved (the length not below what is there) and an ask that fits it."""
    have = draw(st.integers(1, 4))
    length = draw(st.one_of(st.none(), st.integers(have, 6)))
    state = Saved(have, length, draw(_VALIDATORS))
    near = ConditionalRequest(RequestKind.RANGE, max(0, have - 2))  # as with an overlap of two bytes
    state = state._replace(is_encoded=draw(st.booleans()))
    return state, draw(st.sampled_from([first_request(state), range_request(state), near, whole_request()]))


def _known(*values):
    return {value for value in values if value is not None}


@given(_situations(), _HEADS)
def test_nothing_is_resumed_that_disagrees_in_start_total_or_any_validator(situation, answer):
    state, ask = situation
    if decide(state, ask, answer).action is not Action.RESUME:
        return
    body, mine, theirs = answer.content_range, state.validators, answer.validators
    assert answer.status in {200, 203, 206}  # with a Content-Range
    assert not answer.is_encoded or state.is_encoded
    assert not answer.is_multipart
    assert ask.kind is not RequestKind.WHOLE
    assert body.start == ask.start <= state.have
    assert len(_known(body.complete_length, state.complete_length)) == 1
    assert len({tag.opaque for tag in _known(mine.etag, theirs.etag)}) <= 1
    by_tag = mine.etag is not None and mine.etag == theirs.etag and not mine.etag.weak
    assert by_tag or len(_known(mine.last_modified, theirs.last_modified)) <= 1
    assert answer.content_length in (None, body.stop - body.start)
    (total,) = _known(body.complete_length, state.complete_length)
    assert state.have < body.stop <= total or state.have == body.stop == total
    if ask.kind is RequestKind.IF_RANGE:  # then no byte is compared: a strong validator must vouch for them
        by_date = not _known(mine.etag, theirs.etag) and mine.last_modified == theirs.last_modified is not None
        assert by_tag or (by_date and mine.last_modified_is_strong)


@given(_situations(), _HEADS)
def test_nothing_counts_as_complete_that_has_another_length_or_no_strong_agreement(situation, answer):
    state, ask = situation
    if decide(state, ask, answer).action is not Action.COMPLETE:
        return
    assert answer.status == 416
    assert answer.content_range.complete_length == state.have
    assert state.complete_length in (None, state.have)
    assert state.validators.etag == answer.validators.etag
    assert state.validators.if_range() is not None


_NUMBERS = st.integers(0, 10**18)


@given(
    st.one_of(
        st.none(), st.builds(Saved, st.integers(1, 10**18), st.one_of(st.none(), _NUMBERS), _VALIDATORS, st.none())
    ),
    st.one_of(st.none(), _VALIDATORS),
    st.builds(Head, st.integers(100, 999), _content_ranges(), st.one_of(st.none(), _NUMBERS), _VALIDATORS),
)
def test_every_answer_to_every_ask_has_a_decision(state, revalidate, answer):
    asks = [first_request(state, revalidate), whole_request(), *([range_request(state)] if state else [])]
    for ask in asks:
        assert decide(state, ask, answer).why


@given(_situations(), _HEADS)
def test_nothing_is_compared_with_a_whole_that_differs_in_its_strong_etag_or_length(situation, answer):
    state, ask = situation
    if decide(state, ask, answer).action is not Action.COMPARE:
        return
    assert answer.status in {200, 203}
    assert not answer.is_encoded
    assert state.validators.etag == answer.validators.etag is not None
    assert not answer.validators.etag.weak
    assert len(_known(state.complete_length, answer.content_length)) <= 1
    assert answer.content_length is None or answer.content_length >= state.have


@pytest.mark.parametrize(
    ("gap_stop", "stop"), [(HAVE + 1, HAVE + 1 + OVERLAP_BYTES), (TOTAL - 1, TOTAL), (TOTAL - OVERLAP_BYTES, TOTAL)]
)
@pytest.mark.parametrize(("validators", "start"), [(BOTH, START), (NONE, PLAIN)])
def test_a_request_for_a_gap_ends_behind_it(gap_stop, stop, validators, start):
    ask = first_request(saved(validators)._replace(gap_stop=gap_stop))
    assert dict(ask.headers)["Range"] == f"bytes={start}-{stop - 1}"
