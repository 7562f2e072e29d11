"""The downloader on real sockets: every row of the resume table, and what else servers do."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import itertools
import math
import socket
import threading
import time
from dataclasses import dataclass

import pytest
from fetching import AT_ONCE, KEY, Hurry, Notes, When, content, stop_after
from origin import (
    Answer,
    Fault,
    Pattern,
    bare_206,
    body_from_0,
    body_without_end,
    chunked,
    close_delimited,
    dead_port,
    drop_after,
    drop_header,
    encode_gzip,
    everything_206,
    full_200_to_if_range,
    header,
    html_instead,
    ignore_if_range,
    ignore_range,
    lying_416,
    multipart_206,
    no_content_range,
    non_authoritative,
    partial_200,
    plain,
    redirect,
    repr_digest,
    require_header,
    reset_on_connect,
    set_cookie,
    short_206,
    slow,
    stall_after,
    status,
    truncate_chunked,
    weak_etag,
    wrong_digest,
    wrong_length,
    wrong_start,
    wrong_total,
)

from mediacrawl.download import downloader
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.downloader import Downloader, Policy
from mediacrawl.download.progress import Progress
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.download.resume import OVERLAP_BYTES, UNIDENTIFIED_OVERLAP_BYTES
from mediacrawl.download.retry import Backoff, HostPauses
from mediacrawl.errors import (
    ConnectError,
    ConnectionLost,
    DigestMismatch,
    DiskFull,
    HttpStatusError,
    Interrupted,
    InvalidResponse,
    NoResponse,
    RedirectRefused,
    TooLarge,
    TransferError,
    UnsupportedURL,
    WrongContent,
)
from mediacrawl.headers import Validators, digest_from_hex
from mediacrawl.ledger.base import Entry
from mediacrawl.store.parts import RECORDED_FROM_BYTES, PartFile, PartFolder, PartInUse

TOTAL, HAVE = 700_000, 400_000
BODY, OTHER = Pattern(TOTAL, 1), Pattern(TOTAL, 2)
TAG, DAY = '"p1-700000"', "Tue, 02 Jan 2024 03:04:05 GMT"  # what the origin says of BODY
REST, OVERLAP, WHOLE = f"bytes={HAVE - OVERLAP_BYTES}-", f"bytes={HAVE - UNIDENTIFIED_OVERLAP_BYTES}-", None
ETAG, DATE, BOTH, NEITHER = {"etag": TAG}, {"modified": DAY}, {"etag": TAG, "modified": DAY}, {}
HAVE_ALL = {"have": TOTAL, "total": None}


def served(**facts):
    """Which validators the origin gives: exactly these."""
    return {"etag": facts.get("etag", False), "last_modified": facts.get("modified", False)}


def names(faults):
    return " ".join(fault.name for fault in faults) or "obedient"


@dataclass(frozen=True)
class Row:
    """A part that is there, an answer, and what becomes of them.

    `planted` are the validators of the part and `says` those of the origin, by default the same. `asks` are Range,
    If-Range and the status of the answer of each request in turn. `saved` of the bytes are not fetched again.
    """

    planted: dict[str, str]
    faults: list[Fault]
    asks: list[tuple[str | None, str | None, int]]
    saved: int = HAVE
    says: dict[str, str] | None = None
    old: Pattern = BODY
    have: int = HAVE
    total: int | None = TOTAL


RESTARTED = {"saved": 0, "old": OTHER}  # the part was of another version: no byte of it may be left
TABLE = {
    # 206 | Content-Range starts at `have`; total, ETag and Last-Modified agree | resume
    "206 agrees in all": Row(BOTH, [], [(REST, TAG, 206)]),
    "206 agrees, ETag only": Row(ETAG, [], [(REST, TAG, 206)]),
    "206 agrees, date only": Row(DATE, [], [(REST, DAY, 206)]),
    "206 with the ETag alone": Row(BOTH, [bare_206()], [(REST, TAG, 206)]),
    "206 tells a total that was not known": Row(BOTH, [], [(REST, TAG, 206)], total=None),
    "206 does not tell the total": Row(
        BOTH, [header("Content-Range", f"bytes {HAVE - OVERLAP_BYTES}-{TOTAL - 1}/*")], [(REST, TAG, 206)]
    ),
    "206 with less than was asked for": Row(
        BOTH,
        [short_206(100_000 + OVERLAP_BYTES)],
        [(REST, TAG, 206), (f"bytes={HAVE + 100_000 - OVERLAP_BYTES}-", TAG, 206)],
    ),
    # 206 | anything else | restart from 0
    "206 starts before": Row(BOTH, [wrong_start(-1)], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0),
    "206 starts behind": Row(BOTH, [wrong_start(1)], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0),
    "206 of another total": Row(BOTH, [wrong_total(TOTAL + 1)], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0),
    "206 of another ETag": Row(
        {"etag": '"old"', "modified": DAY},
        [ignore_if_range()],
        [(REST, '"old"', 206), (WHOLE, None, 200)],
        says=BOTH,
        **RESTARTED,
    ),
    "206 of another date": Row(
        {"modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
        [ignore_if_range()],
        [(REST, "Mon, 01 Jan 2024 00:00:00 GMT", 206), (WHOLE, None, 200)],
        says=DATE,
        **RESTARTED,
    ),
    "206 of the same ETag and another date": Row(
        {"etag": TAG, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, [], [(REST, TAG, 206)], says=BOTH
    ),
    "206 in another dialect": Row(
        BOTH, [header("Content-Range", f"bytes={HAVE - OVERLAP_BYTES}-{TOTAL - 1}/{TOTAL}")], [(REST, TAG, 206)]
    ),
    "200 that is a 206": Row(BOTH, [partial_200()], [(REST, TAG, 200)]),
    "200 that is a 206 of another version": Row(
        {"etag": '"old"', "modified": DAY},
        [ignore_if_range(), partial_200()],
        [(REST, '"old"', 200), (WHOLE, None, 200)],
        says=BOTH,
        **RESTARTED,
    ),
    "206 without Content-Range": Row(BOTH, [no_content_range()], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0),
    "206 multipart": Row(BOTH, [multipart_206()], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0),
    "206 encoded": Row(BOTH, [header("Content-Encoding", "gzip")], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0),
    "206 with no total anywhere": Row(
        BOTH,
        [header("Content-Range", f"bytes {HAVE - OVERLAP_BYTES}-{TOTAL - 1}/*")],
        [(REST, TAG, 206), (WHOLE, None, 200)],
        total=None,
        saved=0,
    ),
    "206 whose Content-Length contradicts": Row(
        BOTH, [wrong_length(-1)], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0
    ),
    # 206 | it does not say of which version it is: compare bytes
    "206 without validators": Row(
        BOTH, [drop_header("ETag"), drop_header("Last-Modified")], [(REST, TAG, 206), (OVERLAP, None, 206)]
    ),
    "206 of a dated file without its date": Row(DATE, [bare_206()], [(REST, DAY, 206), (OVERLAP, None, 206)]),
    "206 without validators, of another version": Row(
        {"etag": '"old"'},
        [ignore_if_range(), drop_header("ETag", times=2)],
        [(REST, '"old"', 206), (OVERLAP, None, 206), (WHOLE, None, 200)],
        says=ETAG,
        **RESTARTED,
    ),
    # No usable validator: ask for the last 64 KiB again
    "no validators, the same bytes": Row(NEITHER, [], [(OVERLAP, None, 206)]),
    "no validators, other bytes": Row(NEITHER, [], [(OVERLAP, None, 206), (WHOLE, None, 200)], **RESTARTED),
    "no validators, no total, the same bytes": Row(NEITHER, [], [(OVERLAP, None, 206)], total=None),
    "weak ETag, the same bytes": Row({"etag": f"W/{TAG}"}, [], [(OVERLAP, None, 206)]),
    "the same weak ETag, other bytes": Row(
        {"etag": f"W/{TAG}"}, [], [(OVERLAP, None, 206), (WHOLE, None, 200)], **RESTARTED
    ),
    "another weak ETag": Row(
        {"etag": 'W/"old"'}, [], [(OVERLAP, None, 206), (WHOLE, None, 200)], says={"etag": f"W/{TAG}"}, **RESTARTED
    ),
    "an overlap that the server cuts short for ever": Row(
        NEITHER,
        [short_206(UNIDENTIFIED_OVERLAP_BYTES, times=None)],
        [(OVERLAP, None, 206), (WHOLE, None, 200)],
        saved=0,
    ),
    "an overlap that the server cuts short, with a byte of news": Row(
        NEITHER,
        [short_206(UNIDENTIFIED_OVERLAP_BYTES + 1)],
        [(OVERLAP, None, 206), (f"bytes={HAVE + 1 - UNIDENTIFIED_OVERLAP_BYTES}-", None, 206)],
    ),
    "an overlap without ranges": Row(NEITHER, [ignore_range()], [(OVERLAP, None, 200)], saved=0),
    "200 of the same date": Row(DATE, [ignore_range()], [(REST, DAY, 200)], saved=0),
    # 200 | same strong ETag and length | compare with the part, continue where it ends
    "200, as there are no ranges": Row(BOTH, [ignore_range(), header("Accept-Ranges", "none")], [(REST, TAG, 200)]),
    "200 to If-Range, same strong ETag": Row(BOTH, [full_200_to_if_range()], [(REST, TAG, 200)]),
    "200 of the same strong ETag, no total was known": Row(BOTH, [ignore_range()], [(REST, TAG, 200)], total=None),
    "203 of the same strong ETag": Row(BOTH, [ignore_range(), non_authoritative()], [(REST, TAG, 203)]),
    "200 of the same strong ETag, other bytes": Row(
        BOTH, [full_200_to_if_range()], [(REST, TAG, 200), (WHOLE, None, 200)], **RESTARTED
    ),
    "200 of the same strong ETag, but in chunks": Row(BOTH, [ignore_range(), chunked()], [(REST, TAG, 200)]),
    "200 of the same strong ETag, without a length": Row(
        BOTH, [ignore_range(), close_delimited()], [(REST, TAG, 200)]
    ),
    # 206 | a truthful head, other bytes
    "206 that agrees in all but its bytes": Row(BOTH, [], [(REST, TAG, 206), (WHOLE, None, 200)], **RESTARTED),
    "206 that agrees in all, with the body from the first byte on": Row(
        BOTH, [body_from_0()], [(REST, TAG, 206), (WHOLE, None, 200)], saved=0
    ),
    # 200 | validator differs | restart, using this very body
    "200 of another ETag": Row({"etag": '"old"'}, [], [(REST, '"old"', 200)], says=BOTH, **RESTARTED),
    "200 of another date": Row(
        {"modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
        [],
        [(REST, "Mon, 01 Jan 2024 00:00:00 GMT", 200)],
        says=DATE,
        **RESTARTED,
    ),
    "200 that has lost its ETag": Row({"etag": '"old"'}, [], [(REST, '"old"', 200)], says=NEITHER, **RESTARTED),
    "200 encoded": Row({"etag": '"old"'}, [encode_gzip()], [(REST, '"old"', 200)], says=ETAG, **RESTARTED),
    # The range begins before the end, so that there is always something to send
    "nothing is missing, though no length was known": Row(
        BOTH, [], [(f"bytes={TOTAL - OVERLAP_BYTES}-", TAG, 206)], saved=TOTAL, **HAVE_ALL
    ),
    "no validators, and nothing is missing": Row(
        NEITHER, [], [(f"bytes={TOTAL - UNIDENTIFIED_OVERLAP_BYTES}-", None, 206)], saved=TOTAL, **HAVE_ALL
    ),
    # 416 | `bytes */N`, N equals `have`, validator agrees | complete: verify and publish
    "416 at the end": Row(
        ETAG,
        [lying_416(TOTAL), header("ETag", TAG)],
        [(f"bytes={TOTAL - OVERLAP_BYTES}-", TAG, 416)],
        saved=TOTAL,
        **HAVE_ALL,
    ),
    "416 at the end without validators": Row(
        BOTH,
        [lying_416(TOTAL)],
        [
            (f"bytes={TOTAL - OVERLAP_BYTES}-", TAG, 416),
            (f"bytes={TOTAL - UNIDENTIFIED_OVERLAP_BYTES}-", None, 206),
        ],
        saved=TOTAL,
        **HAVE_ALL,
    ),
    "416 at the end without validators, other bytes": Row(
        {"etag": '"old"'},
        [lying_416(TOTAL)],
        [
            (f"bytes={TOTAL - OVERLAP_BYTES}-", '"old"', 416),
            (f"bytes={TOTAL - UNIDENTIFIED_OVERLAP_BYTES}-", None, 206),
            (WHOLE, None, 200),
        ],
        says=NEITHER,
        **(RESTARTED | HAVE_ALL),
    ),
    # 416 | otherwise | set aside, restart
    "416 of a shorter file": Row(BOTH, [lying_416(5)], [(REST, TAG, 416), (WHOLE, None, 200)], saved=0),
    "416 where we are, though there was more": Row(
        BOTH, [lying_416(HAVE)], [(REST, TAG, 416), (WHOLE, None, 200)], saved=0
    ),
    "416 to an overlap": Row(NEITHER, [lying_416(TOTAL)], [(OVERLAP, None, 416), (WHOLE, None, 200)], saved=0),
    "416 at the end of another version": Row(
        {"etag": '"old"'},
        [lying_416(TOTAL), header("ETag", TAG)],
        [(f"bytes={TOTAL - OVERLAP_BYTES}-", '"old"', 416), (WHOLE, None, 200)],
        says=ETAG,
        **(RESTARTED | HAVE_ALL),
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_the_resume_table_holds_on_the_wire(rig, row):
    says = row.planted if row.says is None else row.says
    url = rig.origin.add("/a", BODY, faults=row.faults, **served(**says))
    rig.plant(row.old.read(0, row.have), total=row.total, **row.planted)
    arrived = rig.bring(url)
    assert arrived.data == BODY.read()
    assert rig.asks("/a") == row.asks
    assert (arrived.fetched.saved_bytes, arrived.fetched.fetched_bytes) == (row.saved, TOTAL - row.saved)


@pytest.mark.parametrize(
    "faults",
    [[everything_206()], [non_authoritative()], [header("Content-Range", f"bytes 0-{TOTAL - 1}/{TOTAL}")]],
    ids=["206 of everything", "203", "200 with the Content-Range of everything"],
)
def test_a_response_with_all_bytes_is_the_file(rig, faults):
    assert rig.bring(rig.origin.add("/a", BODY, faults=faults)).data == BODY.read()
    assert len(rig.asks("/a")) == 1


@pytest.mark.parametrize("code", [200, 206])
def test_a_part_in_response_to_a_request_for_the_whole_is_no_file(rig, code):
    headers = [("Content-Range", f"bytes 5-9/{TOTAL}")]
    url = rig.origin.on("/a", lambda _: plain(code, "12345", headers=headers))
    with pytest.raises(HttpStatusError, match=rf"HTTP {code} \(only a part came"):
        rig.fetch(url)


@pytest.mark.parametrize("path", ["/a", "/old"])
def test_a_resumed_file_costs_the_missing_bytes_and_no_more(rig, path):
    url = rig.origin.add("/a", BODY)
    rig.origin.redirect("/old", "/a")
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    assert rig.bring(rig.origin.url(path)).data == BODY.read()
    assert url.endswith("/a")
    assert rig.origin.bytes_sent("/a") == TOTAL - HAVE + OVERLAP_BYTES


def test_a_comparison_costs_64_kib_more(rig):
    url = rig.origin.add("/a", BODY, **served())
    rig.plant(BODY.read(0, HAVE), total=TOTAL)
    assert rig.bring(url).data == BODY.read()
    assert rig.origin.bytes_sent() == TOTAL - HAVE + UNIDENTIFIED_OVERLAP_BYTES


@pytest.mark.parametrize(("code", "again"), [(401, BODY), (403, BODY), (410, BODY)])
def test_an_expired_signed_url_is_asked_for_through_the_original_one(rig, code, again):
    signatures = iter(["stale", "fresh"])
    url = rig.origin.on("/a", lambda _: plain(302, headers=[("Location", f"/signed?{next(signatures)}")]))
    rig.origin.on("/signed?stale", lambda _: plain(code))
    rig.origin.add("/signed?fresh", again)
    rig.plant(again.read(0, HAVE), total=TOTAL, **BOTH)
    arrived = rig.bring(url)
    assert arrived.data == again.read()
    assert arrived.fetched.url == "http://h/"  # where the first byte came from
    assert rig.asks("/signed?stale") == [(REST, TAG, code)]
    assert rig.asks("/signed?fresh") == [(REST, TAG, 206)]


def test_a_url_that_expires_in_the_middle_is_signed_anew(rig):
    count = iter(range(9))
    url = rig.origin.on("/a", lambda _: plain(302, headers=[("Location", f"/signed{next(count)}")]))
    rig.origin.add("/signed0", BODY, faults=[drop_after(HAVE)])
    rig.origin.add("/signed1", BODY)
    assert rig.bring(url).data == BODY.read()
    assert rig.asks("/signed1") == [(REST, TAG, 206)]


def test_a_signed_url_that_is_refused_twice_is_an_error_and_the_part_stays(rig):
    url = rig.origin.redirect("/a", "/signed")
    rig.origin.on("/signed", lambda _: plain(403))
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(HttpStatusError, match="HTTP 403 Forbidden") as caught:
        rig.fetch(url)
    assert caught.value.http_status == 403
    assert len(rig.asks("/signed")) == 2
    assert rig.planted_bytes() == HAVE


# --- whole files and interruptions within a run ---------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, RECORDED_FROM_BYTES, 3_000_000])
@pytest.mark.parametrize("framing", [None, chunked(), close_delimited(), encode_gzip()], ids=lambda f: f and f.name)
def test_a_file_of_any_size_arrives_whatever_delimits_it(rig, size, framing):
    url = rig.origin.add("/a", Pattern(size, 3), content_type="video/mp4", faults=[framing] if framing else [])
    arrived = rig.bring(url)
    assert arrived.data == Pattern(size, 3).read()
    assert (arrived.fetched.status, arrived.fetched.url, arrived.fetched.headers["content-type"]) == (
        200,
        url,
        "video/mp4",
    )
    assert (arrived.fetched.fetched_bytes, arrived.fetched.saved_bytes) == (size, 0)
    assert rig.asks("/a") == [(None, None, 200)]
    assert rig.origin.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "cut",
    [drop_after(HAVE), drop_after(HAVE, reset=True), truncate_chunked(HAVE), wrong_length(100)],
    ids=lambda fault: fault.name,
)
def test_a_body_that_ends_early_is_resumed_within_the_run(rig, cut):
    url = rig.origin.add("/a", BODY, faults=[cut])
    arrived = rig.bring(url)
    assert arrived.data == BODY.read()
    assert len(rig.asks("/a")) > 1
    assert rig.asks("/a")[1][1] == TAG


def test_a_connection_that_breaks_costs_16_kib_however_often_it_does(rig):
    url = rig.origin.add("/a", BODY, faults=[drop_after(100_000), drop_after(100_000 + OVERLAP_BYTES, times=5)])
    arrived = rig.bring(url)
    assert arrived.data == BODY.read()
    assert rig.origin.bytes_sent() == TOTAL + 6 * OVERLAP_BYTES
    starts = (n * 100_000 - OVERLAP_BYTES for n in range(1, 7))
    assert [ask[0] for ask in rig.asks("/a")] == [None, *(f"bytes={start}-" for start in starts)]


def test_a_server_that_needs_a_longer_comparison_each_time_never_costs_what_is_there(rig):
    nature = [drop_header("ETag", times=None), bare_206(times=None)]
    cut = drop_after(100_000, times=5).when(lambda request: "if-range" not in request.headers)
    url = rig.origin.add("/a", BODY, faults=[*nature, cut])
    arrived = rig.bring(url)
    assert arrived.data == BODY.read()
    assert arrived.fetched.fetched_bytes == TOTAL
    assert len(rig.asks("/a")) == 1 + 5 * 2


def test_a_small_file_is_resumed_within_the_run_too(rig):
    url = rig.origin.add("/a", Pattern(1000, 1), faults=[drop_after(600)])
    assert rig.bring(url).data == Pattern(1000, 1).read()
    assert rig.asks("/a")[1][:2] == ("bytes=0-", '"p1-1000"')


def test_a_server_that_breaks_off_without_a_new_byte_is_given_up_and_the_part_is_kept(rig):
    again = drop_after(1, times=None).when(lambda request: request.number > 0)
    url = rig.origin.add("/a", BODY, faults=[drop_after(HAVE), again])
    with pytest.raises(ConnectionLost, match=r"reset|broke|ended"):
        rig.fetch(url, downloader=rig.downloader(backoff=Backoff(times=3, base_s=0.001)))
    assert len(rig.asks("/a")) == 1 + 3
    assert rig.planted_bytes() == HAVE


def test_a_server_that_sends_no_head_is_a_trouble_of_the_host(rig):
    url = rig.origin.add("/a", BODY, faults=[drop_after(HAVE), reset_on_connect(times=None).after(1)])
    hurry = Hurry()
    with pytest.raises(NoResponse, match=r"reset|broke|ended"):
        rig.fetch(url, cancel=hurry)
    assert (len(rig.asks("/a")), len(hurry.waits), rig.planted_bytes()) == (2, 1, HAVE)


def test_a_length_that_is_never_true_ends_in_an_error_and_not_in_a_file(rig):
    url = rig.origin.add("/a", Pattern(1000), faults=[wrong_length(10, times=None)])
    with pytest.raises(ConnectionLost):
        rig.fetch(url)
    assert rig.leftovers() == []


def test_transfer_encoding_overrides_content_length(rig):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert rig.bring(rig.origin.on("/a", lambda _: raw)).data == b"hello"


def test_an_encoded_body_is_decoded_and_never_resumed(rig):
    text = BODY.read(0, 300_000) + bytes(300_000)
    url = rig.origin.add("/a", text, faults=[drop_after(290_000), encode_gzip(times=None)])
    arrived = rig.bring(url)
    assert arrived.data == text
    assert rig.asks("/a") == [(None, None, 200)] * 2
    assert arrived.fetched.saved_bytes == 0


def test_what_came_of_an_encoded_body_is_not_kept_for_the_next_run(rig):
    url = rig.origin.add("/a", BODY, faults=[encode_gzip(times=None), stall_after(HAVE)])
    rig.interrupt(url, at=RECORDED_FROM_BYTES)
    assert rig.leftovers() == []


def test_a_broken_encoding_is_an_error(rig):
    url = rig.origin.add("/a", b"\x1f\x8bthis is no gzip" * 100, headers={"Content-Encoding": "gzip"})
    with pytest.raises(ConnectionLost, match="Content-Encoding gzip is broken"):
        rig.fetch(url)


def test_a_stall_is_noticed_and_the_transfer_resumed(rig):
    url = rig.origin.add("/a", BODY, faults=[stall_after(HAVE)])
    arrived = rig.bring(url, downloader=rig.downloader(stall_s=1.0))
    assert arrived.data == BODY.read()
    assert rig.origin.requests[0].stalled
    assert rig.asks("/a")[1][:2] == (REST, TAG)


def test_the_request_may_have_a_patience_of_its_own(rig):
    url = rig.origin.add("/a", BODY, faults=[stall_after(0, times=None)])
    with pytest.raises(ConnectionLost, match=r"no byte for 0.1 s"):
        rig.fetch(url, timeout_s=0.1, downloader=rig.downloader(backoff=Backoff(times=1, base_s=0.001)))
    rig.origin.wait_for(lambda: len(rig.origin.requests) >= 2)  # it may be slow to notice
    assert len(rig.origin.requests) == 2


def test_a_trickle_counts_as_a_stall(rig, monkeypatch):
    monkeypatch.setattr(downloader, "BESIDE_FROM_BYTES", math.inf)  # a body that is spliced has windows of its own
    # It is read at the start, as a window begins and after a block: two windows end, then time stands still.
    now = itertools.chain([0, 0, 31, 31, 62], itertools.repeat(62))
    # What is missing then is more than one block, whatever blocks a transport gives.
    body = Pattern(3_000_000, 1)
    url = rig.origin.add("/a", body, faults=[stall_after(HAVE)])
    notes = Notes()
    arrived = rig.bring(
        url,
        downloader=rig.downloader(stall_s=30, stall_bytes=len(body), clock=lambda: float(next(now))),
        progress=notes,
    )
    assert arrived.data == body.read()
    assert len([note for note in notes.all if "stalled" in note]) == 2
    assert rig.asks("/a")[1][1] == '"p1-3000000"'


# --- the resource changes between two runs ---------------------------------------------------------

VALIDATORS = {
    "both": {},
    "ETag only": {"last_modified": False},
    "date only": {"etag": False},
    "weak ETag": {"etag": 'W/"1"', "last_modified": False},
    "weak ETag and date": {"etag": 'W/"1"'},
    "none": {"etag": False, "last_modified": False},
}
# An origin lets no weak ETag follow the content by itself.
CHANGED = {"weak ETag": {"etag": 'W/"2"'}, "weak ETag and date": {"etag": 'W/"2"'}}

rarely = pytest.mark.slow


@pytest.mark.parametrize(
    ("framing", "obedience"),
    [
        pytest.param(None, [], id="length"),
        pytest.param(None, [ignore_if_range(times=None)], id="length, ignores If-Range"),
        pytest.param(None, [ignore_range(times=None)], id="length, ignores Range"),
        pytest.param(chunked(), [], id="chunked"),
        pytest.param(
            chunked(), [ignore_if_range(times=None)], id="chunked, ignores If-Range", marks=pytest.mark.slow
        ),
        pytest.param(chunked(), [ignore_range(times=None)], id="chunked, ignores Range", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("length", [TOTAL, TOTAL - 1, TOTAL + 1, HAVE, HAVE - 1, 1])
@pytest.mark.parametrize("kind", VALIDATORS)
def test_a_resource_that_changed_between_two_runs_is_never_spliced(rig, framing, kind, length, obedience):
    first = [framing] if framing else []
    url = rig.origin.add("/a", BODY, faults=[*first, stall_after(HAVE)], **VALIDATORS[kind])
    rig.interrupt(url, at=HAVE)
    assert rig.planted_bytes() == HAVE
    new = Pattern(length, 9)
    rig.origin.replace("/a", new, faults=obedience, **CHANGED.get(kind, {}))
    arrived = rig.bring(url)
    assert arrived.data == new.read()
    assert arrived.fetched.saved_bytes == 0


@pytest.mark.parametrize("kind", VALIDATORS)
@pytest.mark.parametrize("framing", [None, chunked(), close_delimited()], ids=["length", "chunked", "close"])
def test_a_resource_that_did_not_change_is_gone_on_with(rig, kind, framing):
    first = [framing] if framing else []
    url = rig.origin.add("/a", BODY, faults=[*first, stall_after(HAVE)], **VALIDATORS[kind])
    rig.interrupt(url, at=HAVE)
    arrived = rig.bring(url)
    assert arrived.data == BODY.read()
    assert (arrived.fetched.saved_bytes, arrived.fetched.fetched_bytes) == (HAVE, TOTAL - HAVE)


@pytest.mark.parametrize("obedience", [[], [ignore_if_range(times=None)]], ids=["obedient", "ignores If-Range"])
@pytest.mark.parametrize("kind", VALIDATORS)
def test_a_resource_that_changes_within_the_run_is_never_spliced(rig, kind, obedience):
    def change(_exchange):
        rig.origin.replace("/a", OTHER, faults=obedience, **CHANGED.get(kind, {}))
        return True

    url = rig.origin.add("/a", BODY, faults=[drop_after(HAVE), Fault("change", 2, change)], **VALIDATORS[kind])
    assert rig.bring(url).data == OTHER.read()


# --- a part that is whole, and files that are there -------------------------------------------------


def test_a_part_that_is_whole_costs_no_request(rig):
    rig.plant(BODY.read(), total=TOTAL, **BOTH)
    arrived = rig.bring(rig.origin.url("/a"))
    assert arrived.data == BODY.read()
    assert rig.origin.requests == []
    assert (arrived.fetched.saved_bytes, arrived.fetched.fetched_bytes) == (TOTAL, 0)


@pytest.mark.parametrize("given", [{"etag": TAG}, {"last-modified": DAY}])
def test_a_file_that_has_not_changed_costs_one_304(rig, given):
    url = rig.origin.add("/a", BODY)
    fetched = rig.fetch(url.replace("://", "://me:secret@"), revalidate=Validators.from_headers(given))
    assert (fetched.part, fetched.status, fetched.url) == (None, 304, url)
    assert rig.origin.bytes_sent() == 0
    assert rig.leftovers() == []


def test_a_file_that_has_changed_comes_anew(rig):
    url = rig.origin.add("/a", BODY)
    assert rig.bring(url, revalidate=Validators.from_headers({"etag": '"old"'})).data == BODY.read()


def test_two_runs_of_one_key_at_a_time_are_refused(rig):
    url = rig.origin.add("/a", BODY)
    fetched = rig.fetch(url)
    with pytest.raises(PartInUse):
        rig.fetch(url)
    with pytest.raises(PartInUse):
        PartFolder(rig.store.parts.folder).open(KEY)
    assert len(rig.origin.requests) == 1
    assert rig.publish(fetched) == BODY.read()
    PartFolder(rig.store.parts.folder).open(KEY).close()


def test_two_keys_at_a_time_are_fine(rig):
    url = rig.origin.add("/a", BODY)
    first, second = rig.fetch(url, key="one"), rig.fetch(url, key="two")
    assert rig.publish(first, "one") == rig.publish(second, "two") == BODY.read()


# --- digests ----------------------------------------------------------------------------------------


def test_a_right_digest_is_verified_in_one_go(rig):
    assert rig.bring(rig.origin.add("/a", BODY, digest=True)).data == BODY.read()
    assert len(rig.origin.requests) == 1


def test_a_digest_that_is_wrong_once_costs_a_second_fetch(rig):
    url = rig.origin.add("/a", BODY, faults=[wrong_digest()])
    fetched = rig.fetch(url)
    assert rig.publish(fetched) == BODY.read()
    assert rig.asks("/a") == [(None, None, 200)] * 2
    assert [path.read_bytes() for path in rig.store.quarantine_folder.iterdir()] == [BODY.read()]


def test_retries_are_counted_for_the_whole_transfer_also_after_a_wrong_digest(rig):
    url = rig.origin.add("/a", BODY, faults=[wrong_digest(), status(500, times=None).after(1)])
    with pytest.raises(HttpStatusError):
        rig.fetch(url)
    assert len(rig.asks("/a")) == 1 + 1 + AT_ONCE.times


def test_bytes_that_are_wrong_once_are_fetched_again(rig):
    url = rig.origin.add("/a", BODY, headers={"Repr-Digest": repr_digest(BODY)}, faults=[other_bytes(times=1)])
    assert rig.publish(rig.fetch(url)) == BODY.read()


def other_bytes(times):
    def change(answer):
        answer.answer.body = OTHER
        return True

    return Fault("other bytes", 2, change, times)


def test_a_digest_that_is_always_wrong_is_an_error_that_names_what_was_set_aside(rig):
    url = rig.origin.add("/a", BODY, faults=[wrong_digest(times=None)])
    with pytest.raises(DigestMismatch) as caught:
        rig.fetch(url)
    (bad,) = rig.store.quarantine_folder.iterdir()
    assert str(bad) in str(caught.value)
    assert bad.read_bytes() == BODY.read()
    assert "sha256 is not the promised" in caught.value.reason
    assert caught.value.permanent
    assert len(rig.origin.requests) == 2
    assert rig.planted_bytes() == 0


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha1", "sha512"])
@pytest.mark.parametrize("right", [True, False])
def test_a_digest_from_the_list_is_verified(rig, algorithm, right):
    url = rig.origin.add("/a", BODY)
    value = hashlib.new(algorithm, content(BODY if right else OTHER)).hexdigest()
    digests = (digest_from_hex(algorithm, value),)
    if right:
        assert rig.bring(url, digests=digests).data == BODY.read()
    else:
        with pytest.raises(DigestMismatch, match=f"{algorithm} is not the promised {value}"):
            rig.fetch(url, digests=digests)


def test_all_promises_count(rig):
    url = rig.origin.add("/a", BODY, digest=True)
    wrong = digest_from_hex("md5", "0" * 32)
    with pytest.raises(DigestMismatch, match="md5"):
        rig.fetch(url, digests=(wrong,))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Repr-Digest", repr_digest(OTHER)),
        ("Digest", "SHA-256=" + repr_digest(OTHER).split(":")[1]),
        ("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ],
)
def test_each_header_with_a_digest_counts(rig, name, value):
    with pytest.raises(DigestMismatch):
        rig.fetch(rig.origin.add("/a", BODY, headers={name: value}))


def test_a_content_md5_of_a_206_is_that_of_the_range_and_says_nothing_of_the_file(rig):
    url = rig.origin.add("/a", BODY, headers={"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    assert rig.bring(url).data == BODY.read()


def test_the_digest_of_an_encoded_body_says_nothing_of_what_is_kept(rig):
    packed = gzip.compress(BODY.read())
    url = rig.origin.add("/a", packed, headers={"Content-Encoding": "gzip"}, digest=True)
    assert rig.bring(url).data == BODY.read()


@pytest.mark.parametrize("planted", [HAVE, TOTAL])
def test_a_digest_that_an_earlier_run_was_promised_still_counts(rig, planted):
    url = rig.origin.add("/a", BODY)  # its 206 tells of no digest
    damaged = OTHER.read(0, HAVE - OVERLAP_BYTES) + BODY.read(HAVE - OVERLAP_BYTES)  # where nothing is compared
    rig.plant(damaged[:planted], total=TOTAL, **BOTH, headers={"repr-digest": repr_digest(BODY)})
    assert rig.publish(rig.fetch(url)) == BODY.read()
    (bad,) = rig.store.quarantine_folder.iterdir()
    assert bad.read_bytes() == damaged


def test_the_promised_digest_is_kept_with_the_part(rig):
    url = rig.origin.add("/a", BODY, headers={"Repr-Digest": repr_digest(OTHER)}, faults=[stall_after(HAVE)])
    rig.interrupt(url, at=HAVE)
    rig.origin.fault("/a", drop_header("Repr-Digest", times=None))
    assert rig.publish(rig.fetch(url)) == BODY.read()
    assert rig.asks("/a")[1:] == [(REST, TAG, 206), (None, None, 200)]  # it did not fit, so all of it came anew


# --- what is no media file --------------------------------------------------------------------------

HTML = "<!DOCTYPE html>\n<html><body>Sorry</body></html>"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"anything"),
        ("Text/HTML; charset=utf-8", b"anything"),
        ("application/xhtml+xml", b"anything"),
        ("image/jpeg", HTML.encode()),
        ("application/octet-stream", b"\r\n \t<HTML>" + bytes(300_000)),
        (None, HTML.encode()),
    ],
)
def test_a_page_where_a_file_was_expected_is_an_error_and_no_file(rig, kind, body):
    url = rig.origin.add("/a", body, content_type=kind)
    with pytest.raises(WrongContent, match="HTML page") as caught:
        rig.fetch(url)
    assert not caught.value.permanent  # a login page is over once the user has logged in
    assert len(rig.origin.requests) == 1
    assert rig.leftovers() == []


@pytest.mark.parametrize("kind", ["text/html", "image/jpeg", None])
@pytest.mark.parametrize("framing", [chunked(), encode_gzip(), slow(2_000)], ids=lambda fault: fault.name)
def test_a_page_does_not_cost_the_part_that_is_there(rig, kind, framing):
    url = rig.origin.add("/a", HTML, content_type=kind, faults=[framing])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(WrongContent):
        rig.fetch(url)
    assert rig.planted_bytes() == HAVE
    rig.origin.add("/a", BODY)
    assert rig.bring(url).fetched.saved_bytes == HAVE


def test_a_login_page_instead_of_the_rest_does_not_cost_the_part_either(rig):
    url = rig.origin.add("/a", BODY, faults=[drop_after(HAVE), html_instead(times=None).after(1)])
    with pytest.raises(WrongContent):
        rig.fetch(url)
    assert rig.planted_bytes() == HAVE
    assert rig.asks("/a") == [(None, None, 200), (REST, TAG, 200), (None, None, 200)]


def test_a_page_in_response_to_a_range_does_not_come_to_a_request_without_one(rig):
    url = rig.origin.add("/a", BODY, faults=[html_instead()])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    assert rig.bring(url).data == BODY.read()
    assert rig.asks("/a") == [(REST, TAG, 200), (None, None, 200)]


@pytest.mark.parametrize("length", [TOTAL + 1, TOTAL - 1, 1, 0])
def test_another_length_under_the_same_strong_etag_is_a_failure_and_the_part_stays(rig, length):
    url = rig.origin.add("/a", Pattern(length, 2), etag=TAG, last_modified=False, faults=[ignore_range(times=None)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **ETAG)
    with pytest.raises(HttpStatusError, match=f"{length} bytes came under the ETag of {TOTAL} bytes"):
        rig.fetch(url)
    assert rig.planted_bytes() == HAVE
    rig.origin.replace("/a", BODY)
    assert rig.bring(url).fetched.saved_bytes == HAVE


@pytest.mark.parametrize("planted", [BOTH, DATE, NEITHER])
@pytest.mark.parametrize("framing", [[], [chunked(times=None)], [close_delimited(times=None)]], ids=names)
def test_an_empty_body_without_validators_is_no_newer_version(rig, planted, framing):
    url = rig.origin.add("/a", b"", faults=framing, **served())
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **planted)
    with pytest.raises(WrongContent, match="an empty body came; the bytes that are here are kept"):
        rig.fetch(url)
    assert rig.planted_bytes() == HAVE
    rig.origin.replace("/a", BODY)
    assert rig.bring(url).data == BODY.read()


def test_an_empty_file_of_another_version_is_one(rig):
    url = rig.origin.add("/a", b"")
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    assert rig.bring(url).data == b""


# --- a newer version is written beside the part ------------------------------------------------------


def test_a_newer_version_that_breaks_off_is_continued_by_the_next_run_and_the_part_stays_meanwhile(rig):
    url = rig.origin.add("/a", OTHER, faults=[stall_after(200_000)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    rig.interrupt(url, at=200_000)
    assert rig.planted_bytes() == HAVE
    arrived = rig.bring(url)
    assert (arrived.data, arrived.fetched.saved_bytes) == (OTHER.read(), 200_000)


def test_a_newer_version_of_which_little_came_leaves_nothing_but_the_part(rig):
    url = rig.origin.add("/a", OTHER, faults=[stall_after(1000)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    left = rig.leftovers()
    rig.interrupt(url, at=1000)
    assert rig.leftovers() == left
    rig.origin.replace("/a", BODY)
    assert rig.bring(url).fetched.saved_bytes == HAVE


def test_a_third_version_replaces_the_second_and_the_part_stays_until_it_is_complete(rig):
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    url = rig.origin.add("/a", OTHER, faults=[stall_after(200_000)])
    rig.interrupt(url, at=200_000)
    third = Pattern(TOTAL, 3)
    rig.origin.replace("/a", third, faults=[drop_after(150_000)])
    with pytest.raises(ConnectionLost):
        rig.fetch(url, downloader=rig.downloader(backoff=Backoff(times=0)))
    assert rig.planted_bytes() == HAVE
    arrived = rig.bring(url)
    assert (arrived.data, arrived.fetched.saved_bytes) == (third.read(), 150_000)


def test_a_newer_version_with_a_wrong_digest_does_not_cost_the_part(rig):
    url = rig.origin.add("/a", OTHER, headers={"Repr-Digest": repr_digest(Pattern(TOTAL, 3))})
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(DigestMismatch):
        rig.fetch(url)
    assert rig.planted_bytes() == HAVE


def test_a_full_disk_does_not_cost_the_part(rig, monkeypatch):
    url = rig.origin.add("/a", OTHER)
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)

    def full(*_):
        raise DiskFull("no space left")

    with monkeypatch.context() as patches:
        patches.setattr(PartFile, "write_at", full)
        with pytest.raises(DiskFull):
            rig.fetch(url)
    assert rig.planted_bytes() == HAVE
    assert rig.bring(url).data == OTHER.read()


def test_an_empty_body_costs_the_part_no_more_where_a_newer_version_has_begun(rig):
    empty = Fault("empty", 0, lambda x: setattr(x.resource, "body", b"") or True, None).after(1)
    url = rig.origin.add("/a", OTHER, faults=[drop_after(1000), empty], **served())
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(TransferError):
        rig.fetch(url)
    assert rig.planted_bytes() == HAVE


def test_a_newer_version_that_is_too_large_does_not_cost_the_part(rig):
    url = rig.origin.add("/a", Pattern(10 * TOTAL, 2))
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(TooLarge):
        rig.fetch(url, max_bytes=2 * TOTAL)
    assert rig.planted_bytes() == HAVE


@pytest.mark.parametrize("came", [1000, 200_000])
def test_the_part_is_continued_if_the_server_is_back_at_its_version(rig, came):
    url = rig.origin.add("/a", OTHER, faults=[stall_after(came)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    rig.interrupt(url, at=came)
    rig.origin.forget()
    rig.origin.replace("/a", BODY)
    arrived = rig.bring(url)
    assert (arrived.data, arrived.fetched.saved_bytes) == (BODY.read(), HAVE)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\0" * 10])
def test_a_newer_version_without_a_readable_record_does_not_hide_the_part(rig, damage):
    url = rig.origin.add("/a", OTHER, faults=[stall_after(200_000)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    rig.interrupt(url, at=200_000)
    (record,) = rig.store.parts.folder.glob("*.new.json")
    record.write_bytes(damage)
    rig.origin.replace("/a", BODY)
    assert rig.bring(url).fetched.saved_bytes == HAVE


@pytest.mark.parametrize("code", [200, 206])
def test_a_body_that_is_longer_than_its_range_is_asked_for_twice_and_no_more(rig, code):
    data = BODY.read(0, 1005)
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    fields = b"Content-Range: bytes 0-999/1000\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = rig.origin.on("/a", lambda _: b"HTTP/1.1 %d x\r\n%b%b" % (code, fields, chunk))
    with pytest.raises(InvalidResponse, match="its bytes contradict each other, twice"):
        rig.fetch(url)
    assert len(rig.asks("/a")) == 2


@pytest.mark.parametrize(
    "value", ["bytes 383616-699999", "BYTES 383616 - 699999 / 700000", "nonsense", "bytes */700000"]
)
@pytest.mark.parametrize("etag", ["", '"other"'])
def test_a_200_with_a_content_range_that_cannot_be_read_is_no_file(rig, value, etag):
    """It may be the tail, whatever was asked for."""
    headers = [("Content-Range", value), *([("ETag", etag)] if etag else [])]
    url = rig.origin.on("/a", lambda _: Answer(200, headers, BODY.read(383_616)))
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(HttpStatusError, match="with a Content-Range that cannot be read"):
        rig.fetch(url)
    assert rig.planted_bytes() == HAVE


def test_a_repeated_content_range_that_a_proxy_has_joined_counts_once(rig):
    start = HAVE - OVERLAP_BYTES
    joined = f"bytes {start}-{TOTAL - 1}/{TOTAL}, bytes {start}-{TOTAL - 1}/{TOTAL}"
    url = rig.origin.add("/a", BODY, faults=[header("Content-Range", joined)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    assert rig.bring(url).fetched.saved_bytes == HAVE


def test_a_stop_while_the_end_of_a_chunked_range_is_awaited_publishes_nothing_unseen(rig):
    """The framing of a chunk that names too large a size is in the file by then, and no byte is missing."""
    start = HAVE - OVERLAP_BYTES
    data = BODY.read(start, TOTAL - 100) + b"\r\n64\r\n" + bytes(94)
    head = f"HTTP/1.1 206 x\r\nETag: {TAG}\r\nContent-Range: bytes {start}-{TOTAL - 1}/{TOTAL}\r\n"
    raw = f"{head}Transfer-Encoding: chunked\r\n\r\nffffff\r\n".encode() + data
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = []

    def serve():
        accepted.append(listener.accept()[0])
        accepted[0].recv(65536)
        accepted[0].sendall(raw)

    thread = threading.Thread(target=serve)
    thread.start()
    rig.plant(BODY.read(0, HAVE), total=TOTAL, etag=TAG)
    stopped = threading.Event()
    liar = f"http://127.0.0.1:{listener.getsockname()[1]}/a"
    with stop_after(stopped) as cancel, pytest.raises(Interrupted):
        rig.fetch(liar, cancel=cancel, progress=When(TOTAL, stopped.set))
    thread.join()
    accepted[0].close()
    listener.close()
    assert rig.planted_bytes() == TOTAL
    assert rig.bring(rig.origin.add("/a", BODY)).data == BODY.read()


def test_what_is_forgotten_takes_the_newer_version_with_it(rig):
    url = rig.origin.add("/a", OTHER, faults=[stall_after(200_000)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    rig.interrupt(url, at=200_000)
    rig.archive.ledger.record_wanted([Entry(KEY, url, path="file.bin")], 0)
    rig.archive.forget([KEY])
    assert rig.leftovers() == []


def test_a_page_that_is_wanted_is_a_file(rig):
    url = rig.origin.page("/a", HTML)
    assert rig.bring(url, expected_type="text/html").data == HTML.encode()


def test_a_file_that_only_mentions_html_is_a_file(rig):
    text = b"# how to write <!DOCTYPE html> and <html>"
    assert rig.bring(rig.origin.add("/a", text, content_type="text/plain")).data == text


# --- too large --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "framing",
    [None, chunked(), close_delimited(), encode_gzip(), body_without_end()],
    ids=lambda fault: fault and fault.name,
)
def test_more_than_the_maximum_is_refused_and_removed(rig, framing):
    url = rig.origin.add("/a", BODY, faults=[framing] if framing else [])
    with pytest.raises(TooLarge, match="larger than the maximal 300000 bytes") as caught:
        rig.fetch(url, downloader=rig.downloader(max_bytes=300_000))
    assert caught.value.permanent
    assert len(rig.origin.requests) == 1
    assert rig.leftovers() == []


def test_a_part_of_a_file_that_is_too_large_is_removed(rig):
    url = rig.origin.add("/a", BODY)
    rig.plant(BODY.read(0, HAVE), total=None, **BOTH)
    with pytest.raises(TooLarge):
        rig.fetch(url, max_bytes=500_000)
    assert rig.leftovers() == []


def test_with_a_length_that_is_too_large_no_byte_is_written(rig):
    url = rig.origin.add("/a", BODY)
    progress = Progress("")
    with pytest.raises(TooLarge):
        rig.fetch(url, max_bytes=TOTAL - 1, progress=progress)
    assert progress.fetched_bytes == 0


@pytest.mark.parametrize(("of_policy", "of_request"), [(TOTAL, None), (0, None), (1, TOTAL), (1, 0)])
def test_up_to_the_maximum_is_fine_and_the_requests_wish_goes_first(rig, of_policy, of_request):
    url = rig.origin.add("/a", BODY)
    arrived = rig.bring(url, downloader=rig.downloader(max_bytes=of_policy), max_bytes=of_request)
    assert arrived.data == BODY.read()


# --- statuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "permanent"), [(404, True), (410, True), (403, False), (400, False), (501, False)])
def test_a_refusal_is_final_for_this_run_and_costs_no_part(rig, code, permanent):
    url = rig.origin.add("/a", BODY, faults=[status(code, times=None)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(HttpStatusError, match=f"HTTP {code}") as caught:
        rig.fetch(url)
    assert (caught.value.http_status, caught.value.permanent) == (code, permanent)
    assert len(rig.origin.requests) == 1
    assert rig.planted_bytes() == HAVE


@pytest.mark.parametrize("code", [204, 206, 300, 304, 416])
def test_a_status_that_brings_no_file_is_an_error(rig, code):
    with pytest.raises(HttpStatusError, match=f"HTTP {code}"):
        rig.fetch(rig.origin.add("/a", BODY, faults=[status(code)]))
    assert len(rig.origin.requests) == 1


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_trouble_of_the_host_is_not_waited_out_by_one_transfer(rig, code):
    """The queue of the host waits; see tests/fetch/test_host_failures.py."""
    url = rig.origin.add("/a", BODY, faults=[drop_after(HAVE), status(code).after(1)])
    hurry = Hurry()
    with pytest.raises(HttpStatusError, match=f"HTTP {code}") as caught:
        rig.fetch(url, cancel=hurry)
    assert [ask[2] for ask in rig.asks("/a")] == [200, code]
    assert (caught.value.saved_bytes, caught.value.fetched_bytes, rig.planted_bytes()) == (0, HAVE, HAVE)


def test_a_batch_ends_with_a_trouble_of_the_host(rig):
    urls = [rig.origin.add(f"/{n}", BODY, faults=[status(429)] if n == 1 else []) for n in range(4)]
    wanted = [TransferRequest(url, url) for url in urls]
    downloader = rig.downloader()
    outcomes = downloader.fsync_completed(downloader.fetch_batch(wanted, Cancel(), lambda _: Progress("")))
    assert [type(outcome) for outcome in outcomes] == [Fetched, HttpStatusError]
    outcomes[0].part.close()
    assert [request.path for request in rig.origin.requests] == ["/0", "/1"]
    with rig.store.parts.open(urls[3]):
        pass  # unlocked


@pytest.mark.parametrize("code", [408, 425, 500])
def test_a_passing_trouble_is_waited_out(rig, code):
    url = rig.origin.add("/a", BODY, faults=[drop_after(HAVE), status(code, times=3).after(1)])
    hurry = Hurry()
    arrived = rig.bring(url, cancel=hurry, downloader=rig.downloader(backoff=Backoff(times=4, base_s=1.0)))
    assert arrived.data == BODY.read()
    assert [ask[2] for ask in rig.asks("/a")] == [200, code, code, code, 206]
    waits = [wait for wait in hurry.waits if wait]
    assert len(waits) == 4  # after the drop too
    assert all(low <= wait <= 2 * low for low, wait in zip([0.5, 1.0, 2.0, 4.0], waits, strict=True))


def test_a_trouble_that_does_not_pass_is_an_error_after_so_many_times(rig):
    url = rig.origin.add("/a", BODY, faults=[status(500, times=None)])
    with pytest.raises(HttpStatusError, match="HTTP 500 Internal Server Error") as caught:
        rig.fetch(url, downloader=rig.downloader(backoff=Backoff(times=3, base_s=0.001)))
    assert not caught.value.permanent
    assert len(rig.origin.requests) == 1 + 3


def test_a_new_byte_makes_the_count_of_failures_begin_anew(rig):
    every_second = status(500, times=None).when(lambda request: request.number % 2)
    url = rig.origin.add("/a", BODY, faults=[drop_after(100_000, times=6), every_second])
    twice = rig.downloader(backoff=Backoff(times=2, base_s=0.001))
    assert rig.bring(url, downloader=twice).data == BODY.read()
    assert [ask[2] for ask in rig.asks("/a")] == [200, *([500, 206] * 6)]


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_in_seconds_quiets_the_whole_host(rig, code):
    url = rig.origin.add("/a", BODY, faults=[status(code, retry_after=120)])
    hurry = Hurry()
    pauses = HostPauses(hurry.clock)
    downloader = rig.downloader(pauses=pauses)
    with pytest.raises(HttpStatusError) as caught:
        rig.fetch(url, cancel=hurry, downloader=downloader)
    assert caught.value.retry_after_s == pauses.remaining_s("127.0.0.1") == 120
    assert rig.bring(url, cancel=hurry, downloader=downloader).data == BODY.read()
    assert sum(hurry.waits) == pytest.approx(120)
    pauses.pause("127.0.0.1", 30)
    other = rig.origin.add("/b", BODY)
    notes = Notes()
    rig.bring(other, cancel=hurry, downloader=downloader, key="b", progress=notes)
    assert sum(hurry.waits) == pytest.approx(150)
    assert "127.0.0.1 asked for a pause" in notes.all
    assert notes.note == ""


def test_retry_after_as_a_date_is_the_time_until_then(rig):
    date = email.utils.formatdate(time.time() + 120, usegmt=True)
    url = rig.origin.add("/a", BODY, faults=[status(503, retry_after=date)])
    pauses = HostPauses(Hurry().clock)
    with pytest.raises(HttpStatusError) as caught:
        rig.fetch(url, downloader=rig.downloader(pauses=pauses))
    assert 60 < pauses.remaining_s("127.0.0.1") == caught.value.retry_after_s <= 120


@pytest.mark.parametrize("planted", [False, True])
def test_a_file_that_is_being_prepared_is_asked_for_again_after_the_time_that_the_server_names(rig, planted):
    url = rig.origin.add("/a", BODY, faults=[status(202, retry_after=20, body=b"soon", times=3)], **ETAG)
    if planted:
        rig.plant(BODY.read(0, HAVE), total=TOTAL, **ETAG)
    hurry = Hurry()
    pauses = HostPauses(hurry.clock)
    arrived = rig.bring(url, cancel=hurry, downloader=rig.downloader(pauses=pauses))
    assert (arrived.data, hurry.waits) == (BODY.read(), [20.0] * 3)
    assert [ask[2] for ask in rig.asks("/a")] == [202, 202, 202, 206 if planted else 200]
    assert pauses.remaining_s("127.0.0.1") == 0.0


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (status(202, body=b"x" * 100_000, times=None), 1),
        (status(202, retry_after=301, times=None), 1),
        (status(202, retry_after=1, times=None), 5),
    ],
    ids=["without a time", "for too long", "again and again"],
)
def test_a_file_that_is_not_prepared_in_time_is_a_failure_that_says_so(rig, fault, asked):
    url = rig.origin.add("/a", BODY, faults=[fault])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    with pytest.raises(HttpStatusError, match="HTTP 202 Accepted: the server is still preparing the file") as caught:
        rig.fetch(url, cancel=Hurry())
    assert (len(rig.origin.requests), caught.value.permanent, rig.planted_bytes()) == (asked, False, HAVE)


def test_a_choice_that_the_server_prefers_is_followed(rig):
    rig.origin.add("/b", BODY)
    assert rig.bring(rig.origin.redirect("/a", "/b", 300)).data == BODY.read()


@pytest.mark.parametrize("value", ["0", "soon", "-1", "Tue, 02 Jan 2024 03:04:05 GMT"])
def test_a_retry_after_that_says_nothing_is_an_ordinary_backoff(rig, value):
    url = rig.origin.add("/a", BODY, faults=[status(503, retry_after=value)])
    pauses = HostPauses(Hurry().clock)
    with pytest.raises(HttpStatusError) as caught:
        rig.fetch(url, downloader=rig.downloader(pauses=pauses))
    assert (pauses.remaining_s("127.0.0.1"), caught.value.retry_after_s or 0.0) == (0.0, 0.0)


TOO_LONG_S = ["301", "86400", "999999999999999999"]


@pytest.mark.parametrize("seconds", TOO_LONG_S)
def test_a_503_with_a_retry_after_that_is_too_long_fails_its_own_file_and_no_other(rig, seconds):
    url = rig.origin.add("/a", BODY, faults=[status(503, retry_after=seconds)])
    other = rig.origin.add("/b", BODY)
    hurry = Hurry()
    downloader = rig.downloader(pauses=HostPauses(hurry.clock))
    with pytest.raises(HttpStatusError, match="HTTP 503"):
        rig.fetch(url, cancel=hurry, downloader=downloader)
    assert rig.bring(other, cancel=hurry, downloader=downloader, key="b").data == BODY.read()
    assert (hurry.waits, len(rig.origin.requests)) == ([], 2)


@pytest.mark.parametrize("seconds", TOO_LONG_S)
def test_a_429_with_a_retry_after_that_is_too_long_ends_the_run_for_all_files_of_the_host(rig, seconds):
    url = rig.origin.add("/a", BODY, faults=[status(429, retry_after=seconds)])
    other = rig.origin.add("/b", BODY)
    hurry = Hurry()
    downloader = rig.downloader(pauses=HostPauses(hurry.clock))
    with pytest.raises(HttpStatusError, match="HTTP 429"):
        rig.fetch(url, cancel=hurry, downloader=downloader)
    with pytest.raises(TransferError, match=r"127.0.0.1 asked for a pause") as caught:
        rig.fetch(other, cancel=hurry, downloader=downloader)
    assert caught.value.retry_after_s == pytest.approx(float(seconds))
    assert not caught.value.permanent
    assert (hurry.waits, len(rig.origin.requests)) == ([], 1)


# --- redirects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_the_record_names_where_it_led(rig, code):
    url = rig.origin.redirect("/old", "/new", code)
    target = rig.origin.add("/new", BODY)
    arrived = rig.bring(url)
    assert (arrived.data, arrived.fetched.url) == (BODY.read(), target)


def test_redirects_that_turn_in_a_circle_are_refused(rig):
    url = rig.origin.redirect("/a", "/b")
    rig.origin.redirect("/b", "/a")
    with pytest.raises(RedirectRefused, match="loop"):
        rig.fetch(url)
    assert len(rig.origin.requests) == 2


def test_too_many_redirects_are_refused(rig):
    for n in range(30):
        rig.origin.redirect(f"/{n}", f"/{n + 1}")
    with pytest.raises(RedirectRefused, match="more than 20 redirects"):
        rig.fetch(rig.origin.url("/0"))
    assert len(rig.origin.requests) == 21


def test_the_body_of_a_redirect_is_not_waited_for(rig):
    headers = [("Location", "/b")]
    url = rig.origin.on("/a", lambda _: Answer(302, headers, b"moved" * 1000, framing="close", endless="body"))
    rig.origin.add("/b", BODY)
    assert rig.bring(url).data == BODY.read()
    # What was sent before it hung up waits in buffers: some MiB, and not what it can send in a second.
    assert rig.origin.bytes_sent("/a") < 64 * 1024 * 1024


def test_the_short_body_of_a_redirect_does_not_cost_the_connection(rig):
    url = rig.origin.redirect("/a", "/b")
    rig.origin.add("/b", BODY)
    assert rig.bring(url).data == BODY.read()
    assert rig.origin.connections == 1


def test_twenty_redirects_are_not_too_many(rig):
    for n in range(20):
        rig.origin.redirect(f"/{n}", f"/{n + 1}")
    rig.origin.add("/20", BODY)
    assert rig.bring(rig.origin.url("/0")).data == BODY.read()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", "redirect to file: is refused"),
        ("ftp://127.0.0.1/a", "redirect to ftp: is refused"),
        ("data:text/plain,a", "redirect to data: is refused"),
        ("javascript:alert(1)", "redirect to javascript: is refused"),
        ("http://[::1", "not an http, https, ftp or ftps URL"),
        ("https://", "not an http, https, ftp or ftps URL"),
        ("http://host:99999/", "not an http, https, ftp or ftps URL"),
    ],
)
def test_a_redirect_to_where_we_do_not_go_is_refused(rig, target, reason):
    with pytest.raises((RedirectRefused, UnsupportedURL), match=reason):
        rig.fetch(rig.origin.redirect("/a", target))
    assert len(rig.origin.requests) == 1


@pytest.mark.parametrize("headers", [[("Location", "/b")], []])
def test_redirects_are_not_followed_where_they_are_not_allowed(rig, headers):
    url = rig.origin.on("/a", lambda _: plain(302, headers=headers))
    rig.origin.add("/b", BODY)
    with pytest.raises(HttpStatusError, match="HTTP 302"):
        rig.fetch(url, allow_redirects=not headers)
    assert len(rig.origin.requests) == 1


SECRETS = (("Cookie", "session=1"), ("Authorization", "Bearer 1"), ("User-Agent", "me"), ("Referer", "http://p/"))


def test_cookies_and_credentials_stay_within_their_origin(rig, origin_2):
    url = rig.origin.redirect("/a", "/b")
    rig.origin.redirect("/b", origin_2.url("/c"))
    origin_2.redirect("/c", rig.origin.url("/d"))
    rig.origin.add("/d", BODY)
    assert rig.bring(url, headers=SECRETS).data == BODY.read()
    (abroad,) = origin_2.requests
    assert abroad.headers.keys().isdisjoint({"cookie", "authorization"})
    assert (abroad.headers["user-agent"], abroad.headers["referer"]) == ("me", "http://p/")
    for request in rig.origin.requests:
        assert (request.headers["cookie"], request.headers["authorization"]) == ("session=1", "Bearer 1")


def test_user_name_and_password_of_the_url_stay_within_their_origin(rig, origin_2):
    basic = "Basic bWU6c2VjcmV0"
    url = rig.origin.redirect("/a", rig.origin.url("/b")).replace("://", "://me:secret@")
    rig.origin.redirect("/b", "/c")
    rig.origin.redirect("/c", origin_2.url("/d"))
    origin_2.add("/d", BODY)
    assert rig.bring(url).data == BODY.read()
    assert [request.headers.get("authorization") for request in rig.origin.requests] == [basic] * 3
    assert "authorization" not in origin_2.requests[0].headers


def test_cookies_that_redirects_set_are_sent_from_then_on(rig, origin_2):
    url = rig.origin.on("/a", lambda _: plain(302, headers=[("Location", "/b")]))
    rig.origin.fault(
        "/a",
        set_cookie("seen=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT; Path=/"),
        set_cookie("token=a=b, c; Partitioned; HttpOnly"),
        set_cookie("hidden=1; Secure"),
        set_cookie("lang=en"),
    )
    rig.origin.redirect("/b", f"http://localhost:{origin_2.port}/c")
    origin_2.redirect("/c", rig.origin.url("/d"))
    rig.origin.add("/d", BODY, faults=[require_header("Cookie", "id=7; seen=1; token=a=b, c; lang=en")])
    assert rig.bring(url, headers=(("Cookie", "id=7; lang=de"),)).data == BODY.read()
    assert "cookie" not in origin_2.requests[0].headers


def test_a_site_that_greets_with_a_cookie_and_the_same_url_is_no_loop(rig):
    def greet(request):
        if "cookie" in request.headers:
            return Answer(200, [("Content-Type", "image/png")], b"\xff\xd8\xffpicture")
        return plain(302, headers=[("Location", "/a"), ("Set-Cookie", "hello=1; Path=/")])

    assert rig.bring(rig.origin.on("/a", greet)).data == b"\xff\xd8\xffpicture"


def test_what_only_we_may_say_is_not_taken_from_the_request(rig):
    url = rig.origin.add("/a", BODY)
    ours = {"Range": "bytes=5-", "If-Range": '"x"', "Accept-Encoding": "br", "If-None-Match": "*", "Host": "x"}
    assert rig.bring(url, headers=tuple(ours.items())).data == BODY.read()
    sent = rig.origin.requests[0].headers
    assert sent["accept-encoding"] == "identity"
    assert sent["host"] == rig.origin.netloc
    assert sent.keys().isdisjoint({"range", "if-range", "if-none-match"})


# --- no connection ----------------------------------------------------------------------------------


def test_a_refused_connection_is_a_trouble_of_the_host(rig):
    hurry, port = Hurry(), dead_port()
    with pytest.raises(ConnectError, match=rf"connection refused by 127\.0\.0\.1:{port}$"):
        rig.fetch(f"http://127.0.0.1:{port}/a", cancel=hurry)
    assert hurry.waits == []


def test_a_name_that_does_not_resolve_is_named(rig, monkeypatch):
    def unknown(host, *_args, **_more):
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host}")

    with monkeypatch.context() as patches:
        patches.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(ConnectError, match=r"the name 'nowhere\.invalid' does not resolve"):
            rig.fetch("http://nowhere.invalid/a")


@pytest.mark.parametrize("url", ["", "a.jpg", "gopher://h/a", "file:///a", "http://", "http://h:0/", "http://a b/"])
def test_what_is_no_url_is_not_fetched(rig, url):
    with pytest.raises(UnsupportedURL):
        rig.fetch(url)
    assert rig.leftovers() == []


TROUBLES = {
    "status": [status(404)],
    "busy": [status(503, times=None)],
    "drop": [reset_on_connect(times=None)],
    "html": [html_instead()],
    "digest": [wrong_digest(times=None)],
    "loop": [redirect("/a", times=None)],
    "file": [redirect("file:///")],
    "length": [wrong_length(5, times=None)],
    "encoding": [encode_gzip(times=None), header("Content-Encoding", "pack200-gzip", times=None)],
}


@pytest.mark.parametrize("trouble", [*TROUBLES, "refused", "too large", "port"])
def test_no_error_tells_the_credentials_of_a_url(rig, trouble):
    url = rig.origin.add("/a", BODY, faults=TROUBLES.get(trouble, []))
    port = {"refused": str(dead_port()), "port": "99999"}.get(trouble, str(rig.origin.port))
    url = url.replace("://", "://me:s3cret@").replace(f":{rig.origin.port}", f":{port}")
    with pytest.raises(TransferError) as caught:
        rig.fetch(url, max_bytes=1 if trouble == "too large" else None)
    error = caught.value
    assert "s3cret" not in f"{error} {error!r} {error.reason} {error.url}"
    assert error.url == url.replace("me:s3cret@", "")


def test_a_redirect_with_credentials_tells_none_either(rig):
    url = rig.origin.redirect("/a", f"http://me:s3cret@127.0.0.1:{dead_port()}/")
    with pytest.raises(ConnectError) as caught:
        rig.fetch(url)
    assert "s3cret" not in str(caught.value)


def test_the_record_of_a_file_tells_no_credentials(rig):
    url = rig.origin.add("/a", BODY)
    assert rig.bring(url.replace("://", "://me:s3cret@")).fetched.url == url


# --- a stop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", [None, chunked(), close_delimited()], ids=["length", "chunked", "close"])
def test_a_stop_while_nothing_comes_keeps_every_byte_that_came(rig, framing):
    url = rig.origin.add("/a", BODY, faults=[*([framing] if framing else []), stall_after(HAVE)])
    rig.interrupt(url, at=HAVE)  # would wait for the 30 s of the stall otherwise
    assert rig.planted_bytes() == HAVE
    arrived = rig.bring(url)
    assert arrived.data == BODY.read()
    assert arrived.fetched.saved_bytes == HAVE


@pytest.mark.parametrize("at", [RECORDED_FROM_BYTES, 3_000_000])
def test_a_stop_while_bytes_pour_in_keeps_them(rig, at):
    url = rig.origin.add("/a", Pattern(8_000_000, 1), faults=[slow(50_000_000)])
    cancel = Cancel()
    progress = When(at, cancel.set)
    with pytest.raises(Interrupted):
        rig.fetch(url, cancel=cancel, progress=progress)
    assert at <= rig.planted_bytes() == progress.have_bytes < 8_000_000
    arrived = rig.bring(url)
    assert arrived.data == Pattern(8_000_000, 1).read()
    assert arrived.fetched.fetched_bytes == 8_000_000 - progress.have_bytes


@pytest.mark.parametrize("kind", ["image/png", "text/html"])
def test_a_stop_does_not_pass_for_the_end_of_a_body_without_a_length(rig, kind):
    url = rig.origin.add("/a", BODY, content_type=kind, faults=[close_delimited(), stall_after(1000)])
    rig.interrupt(url, at=1000, expected_type=kind)
    assert rig.leftovers() == []


@pytest.mark.parametrize("framing", [None, chunked(), close_delimited()], ids=["length", "chunked", "close"])
def test_a_stop_before_the_first_byte_of_an_answer_keeps_the_part(rig, framing):
    url = rig.origin.add("/a", OTHER, faults=[*([framing] if framing else []), stall_after(0)])
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    reading = threading.Event()
    downloader = Downloader(rig.store, TellingTransport(rig.transport, reading), Policy(backoff=AT_ONCE))
    with stop_after(reading) as cancel, pytest.raises(Interrupted):
        rig.fetch(url, cancel=cancel, downloader=downloader)
    assert rig.planted_bytes() == HAVE


class TellingTransport:
    """Tells when the body of an answer begins to be read."""

    def __init__(self, transport, reading):
        self.transport = transport
        self.reading = reading

    def get(self, url, headers, **more):
        answer = self.transport.get(url, headers, **more)
        blocks = answer.blocks

        def told():
            self.reading.set()
            yield from blocks()

        answer.blocks = told
        return answer


def test_a_stop_ends_a_backoff_at_once(rig):
    url = rig.origin.add("/a", BODY, faults=[drop_after(HAVE)])
    patient = rig.downloader(backoff=Backoff(base_s=3600.0, max_s=3600.0))
    notes = Notes()
    with stop_after(notes.noted) as cancel, pytest.raises(Interrupted):
        rig.fetch(url, cancel=cancel, downloader=patient, progress=notes)
    assert rig.planted_bytes() == HAVE
    assert len(rig.origin.requests) == 1
    assert "again in" in notes.all[-1]
    assert (notes.note, notes.waits_since_s) == ("", None)


def test_a_stop_ends_the_wait_for_a_host_that_asked_for_quiet(rig):
    pauses, notes = HostPauses(), Notes()
    pauses.pause("127.0.0.1", 299)
    url = rig.origin.add("/a", BODY)
    with stop_after(notes.noted) as cancel, pytest.raises(Interrupted):
        rig.fetch(url, cancel=cancel, progress=notes, downloader=rig.downloader(pauses=pauses))
    assert rig.origin.requests == []
    assert notes.all == ["127.0.0.1 asked for a pause"]


def test_nothing_is_asked_after_a_stop(rig):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        rig.fetch(rig.origin.add("/a", BODY), cancel=cancel)
    assert rig.origin.requests == []


def test_a_weak_server_gets_no_if_range(rig):
    url = rig.origin.add("/a", BODY, faults=[weak_etag(), drop_after(HAVE)])
    assert rig.bring(url).data == BODY.read()
    assert rig.asks("/a") == [(None, None, 200), (OVERLAP, None, 206)]


def test_progress_tells_what_is_there_what_travelled_and_how_much_there_is(rig):
    url = rig.origin.add("/a", BODY)
    rig.plant(BODY.read(0, HAVE), total=TOTAL, **BOTH)
    progress = Progress("a")
    rig.bring(url, progress=progress)
    assert (progress.have_bytes, progress.total_bytes, progress.fetched_bytes) == (TOTAL, TOTAL, TOTAL - HAVE)


def test_the_policy_of_these_tests_waits_a_millisecond():
    assert AT_ONCE.delay_s(30) <= 0.001
