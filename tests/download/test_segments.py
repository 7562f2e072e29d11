"""Several connections for one file: when, and that the file is right whatever becomes of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fetching import KEY, Rig, When, front_waits, helpers, of_helper, segment_threads, stop_after
from origin import (
    Fault,
    Pattern,
    body_from_0,
    drop_after,
    drop_header,
    header,
    ignore_if_range,
    ignore_range,
    limit_per_connection,
    multipart_206,
    no_content_range,
    require_header,
    reset_on_connect,
    short_206,
    slow,
    stall_after,
    status,
    weak_etag,
    wrong_start,
    wrong_total,
)

from mediacrawl.download import segments
from mediacrawl.download.body import Body
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.host_slots import HostSlots
from mediacrawl.download.progress import Progress
from mediacrawl.download.resume import OVERLAP_BYTES, Head, Saved
from mediacrawl.download.seams import SeamDiffers, Seams
from mediacrawl.download.segments import Segment, SegmentedFetch, SegmentPolicy
from mediacrawl.download.transfer_policy import Policy, Stall
from mediacrawl.errors import ConnectionLost, DiskFull, HttpStatusError, Interrupted
from mediacrawl.headers import ContentRange, ETag, Validators
from mediacrawl.store.parts import PartFile, PartRecord

MIB = 1024 * 1024
TOTAL = 8 * MIB
BODY, OTHER = Pattern(TOTAL, 1), Pattern(TOTAL, 2)
TAG = f'"p1-{TOTAL}"'


@pytest.fixture
def answered(monkeypatch):
    """A progress with which the front goes on when the first helper has its response, or has ended.

    However busy this machine is, the front does not come first. What becomes of responses that come late is in
    test_slow_responses.py.
    """
    crews, make = [], SegmentedFetch.__init__

    def noted(crew, *given, **named):
        crews.append(crew)
        make(crew, *given, **named)

    monkeypatch.setattr(SegmentedFetch, "__init__", noted)
    return front_waits(1, lambda: crews[-1]._answered.wait(60))


@contextmanager
def released_when_a_helper_comes(rig):
    """The origin stalls until then, so that the first connection does not bring all before there is another."""

    def wait():
        rig.origin.wait_for(lambda: helpers(rig) and helpers(rig)[0].status)
        rig.origin.release()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join(30)


# --- on the wire ------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [2, 4])
def test_a_server_that_limits_each_connection_gets_several_and_the_file_is_right(rig, connections):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(20_000_000), stall_after(TOTAL // 2)])
    progress = Progress("")
    with released_when_a_helper_comes(rig):
        arrived = rig.bring(url, connections=connections, progress=progress)
    assert arrived.data == BODY.read()
    assert 2 <= rig.origin.peak_open <= connections
    assert all(request.headers["if-range"] == TAG for request in helpers(rig))
    assert all(request.status == 206 for request in helpers(rig))
    assert progress.fetched_bytes == progress.have_bytes == arrived.fetched.fetched_bytes == TOTAL


def test_every_segment_is_a_share_of_its_own(rig):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(20_000_000), stall_after(TOTAL // 2)])
    with released_when_a_helper_comes(rig):
        rig.bring(url, connections=4)
    starts = [request.range[0] for request in helpers(rig)]
    assert len(starts) >= 2
    assert len(set(starts)) == len(starts)


def test_a_server_that_limits_nothing_gets_one_helper_at_most(rig, monkeypatch):
    added = []
    add = SegmentedFetch._add
    monkeypatch.setattr(SegmentedFetch, "_add", lambda crew: (added.append(crew), add(crew)))
    progress = Progress("")
    url = rig.origin.add("/a", Pattern(4 * TOTAL, 1))
    downloader = rig.downloader(
        segments=SegmentPolicy(connections=8, from_bytes=2 * MIB, measure_s=1.0, gain=1.25),
        clock=lambda: progress.have_bytes / MIB,  # so the speed is one MiB/s, however many connections there are
        stall_s=1e9,
    )
    assert rig.bring(url, downloader=downloader, progress=progress, timeout_s=30).data == Pattern(4 * TOTAL, 1).read()
    assert len(added) == 1


@pytest.mark.parametrize(
    ("facts", "faults"),
    [
        ({"etag": False, "last_modified": False}, []),
        ({"last_modified": False}, [weak_etag()]),
        ({}, [header("Accept-Ranges", "none", times=None)]),
    ],
    ids=["no validator", "weak ETag", "no ranges"],
)
def test_without_a_certain_version_and_ranges_there_is_one_connection(rig, facts, faults):
    url = rig.origin.add("/a", BODY, faults=faults, **facts)
    assert rig.bring(url, connections=4).data == BODY.read()
    assert len(rig.origin.requests) == 1


@pytest.mark.parametrize(("size", "connections"), [(TOTAL, 1), (2 * MIB - 1, 4)])
def test_one_connection_is_never_more_and_a_small_file_needs_no_helper(rig, size, connections):
    url = rig.origin.add("/a", Pattern(size))
    assert rig.bring(url, connections=connections).data == Pattern(size).read()
    assert len(rig.origin.requests) == 1


def test_a_strong_date_is_validator_enough(rig, answered):
    url = rig.origin.add("/a", BODY, etag=False, faults=[limit_per_connection(40_000_000)])
    assert rig.bring(url, connections=2, progress=answered).data == BODY.read()
    assert {request.headers["if-range"] for request in helpers(rig)} == {"Tue, 02 Jan 2024 03:04:05 GMT"}


def test_segments_help_with_the_rest_of_a_part_too(rig, answered):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(40_000_000)])
    rig.plant(BODY.read(0, 3 * MIB), total=TOTAL, etag=TAG)
    arrived = rig.bring(url, connections=3, progress=answered)
    assert arrived.data == BODY.read()
    assert (arrived.fetched.saved_bytes, arrived.fetched.fetched_bytes) == (3 * MIB, 5 * MIB)
    assert helpers(rig)


def other_version(times=None):
    """The request sees another version of the resource."""

    def act(x):
        x.resource.body, x.resource.etag = OTHER, '"other"'
        return True

    return Fault("other version", 0, act, times)


BREAKS = {
    "drops": [drop_after(100_000, times=None)],
    "drops at once": [drop_after(0, times=None)],
    "less than asked for": [short_206(100_000, times=None)],
}
REFUSALS = {
    "resets": [reset_on_connect(times=None)],
    "another version in a 200": [other_version()],
    "another version in a 206": [other_version(), ignore_if_range(times=None)],
    "a 200": [ignore_range(times=None)],
    "a wrong start": [wrong_start(-1, times=None)],
    "a later start": [wrong_start(1, times=None)],
    "a wrong total": [wrong_total(TOTAL + 1, times=None)],
    "no Content-Range": [no_content_range(times=None)],
    "no validators": [drop_header("ETag", times=None), drop_header("Last-Modified", times=None)],
    "multipart": [multipart_206(times=None)],
    "encoded": [header("Content-Encoding", "gzip", times=None)],
    "403": [status(403, times=None)],
    "500": [status(500, times=None)],
    "a page": [status(200, headers={"Content-Type": "text/html"}, body=b"<html>", times=None)],
}


@pytest.mark.parametrize("failure", BREAKS.values(), ids=BREAKS.keys())
@pytest.mark.parametrize("connections", [2, 4])
def test_what_a_helper_leaves_is_brought_by_others(rig, answered, failure, connections):
    assert_brought_once(rig, failure, connections, answered)
    assert helpers(rig)


@pytest.mark.parametrize("failure", [*BREAKS.values(), *REFUSALS.values()], ids=[*BREAKS, *REFUSALS])
def test_whichever_comes_first_the_file_is_brought_once(rig, failure):
    assert_brought_once(rig, failure, 4, None)


def assert_brought_once(rig, failure, connections, progress):
    """Whole, and no byte twice, though helpers meet with these faults."""
    faults = [limit_per_connection(60_000_000), *(fault.when(of_helper) for fault in failure)]
    url = rig.origin.add("/a", BODY, faults=faults)
    arrived = rig.bring(url, connections=connections, progress=progress)
    assert arrived.data == BODY.read()
    assert arrived.fetched.fetched_bytes == TOTAL


@pytest.mark.parametrize("failure", REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("connections", [2, 4])
def test_where_the_first_helper_is_refused_the_front_goes_on_alone(rig, answered, failure, connections):
    assert_brought_once(rig, failure, connections, answered)
    assert len(helpers(rig)) == 1
    assert not [request for request in rig.origin.requests[1:] if not of_helper(request)]


@pytest.mark.parametrize("policy", [SegmentPolicy(4, 2 * MIB, 0.0), SegmentPolicy(4, 2 * MIB, 0.01)], ids=str)
def test_a_server_that_knows_no_ranges_sends_the_file_once(rig, answered, policy):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000), ignore_range(times=None)])
    arrived = rig.bring(url, downloader=rig.downloader(segments=policy), progress=answered)
    assert (arrived.data, arrived.fetched.fetched_bytes) == (BODY.read(), TOTAL)
    assert len(rig.origin.requests) == 2


def test_there_is_no_second_helper_before_the_first_is_answered(rig):
    """However well the first seems to pay: what came faster meanwhile is not due to it."""

    def is_late(request):
        if of_helper(request):
            rig.origin.wait_for(lambda: helpers(rig)[1:] or rig.origin.requests[0].body_bytes_sent >= 3 * MIB)
        return True

    policy = SegmentPolicy(4, 2 * MIB, 0.001, gain=0)
    faults = [limit_per_connection(60_000_000), ignore_range(times=None).when(is_late)]
    asked = front_waits(1, lambda: rig.origin.wait_for(lambda: helpers(rig)))
    downloader = rig.downloader(segments=policy)
    arrived = rig.bring(rig.origin.add("/a", BODY, faults=faults), downloader=downloader, progress=asked)
    assert (arrived.data, arrived.fetched.fetched_bytes) == (BODY.read(), TOTAL)
    assert len(rig.origin.requests) == 2


def test_a_later_helper_that_is_refused_leaves_its_piece_to_the_others(rig):
    """A server that lets in so many and no more. It refuses nobody before all have asked."""

    def is_refused(request):
        if not of_helper(request) or request.number not in {2, 3}:
            return False
        rig.origin.wait_for(lambda: len(helpers(rig)) >= 3)
        return True

    url = rig.origin.add("/a", Pattern(4 * TOTAL, 1), faults=[status(503, times=None).when(is_refused)])
    all_came = front_waits(MIB, lambda: rig.origin.wait_for(lambda: len(helpers(rig)) >= 3))
    arrived = rig.bring(url, connections=4, progress=all_came)
    assert (arrived.data, arrived.fetched.fetched_bytes) == (Pattern(4 * TOTAL, 1).read(), 4 * TOTAL)
    assert len([request for request in helpers(rig) if request.status == 503]) == 2


def other_bytes(times=None):
    """The head is that of the resource, the body that of another one."""

    def act(x):
        x.answer.body = Pattern(len(x.answer.body), 9)
        return True

    return Fault("other bytes", 2, act, times)


LIES = {
    "from the first byte on": body_from_0(times=None).when(of_helper),
    "from the first byte on, the second helper": body_from_0(times=1).when(lambda request: request.number == 2),
    "of another file": other_bytes().when(of_helper),
    "of another file, once": other_bytes(times=1).when(of_helper),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize(
    "policy",
    [SegmentPolicy(2, 2 * MIB, 0.0), SegmentPolicy(4, 2 * MIB, 0.0), SegmentPolicy(4, 2 * MIB, 0.01)],
    ids=str,
)
def test_bytes_that_are_not_those_of_the_head_are_noticed_at_the_seam(rig, answered, lie, policy):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000), lie])
    assert rig.bring(url, downloader=rig.downloader(segments=policy), progress=answered).data == BODY.read()
    if lie.times is None:
        assert [request for request in rig.origin.requests[1:] if request.range is None], "the whole was asked for"


def test_each_seam_costs_16_kib_and_no_request(rig, answered):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000)])
    assert rig.bring(url, connections=4, progress=answered).data == BODY.read()
    assert len(rig.origin.requests) == 1 + len(helpers(rig))
    starts = {request.range[0] for request in helpers(rig)}
    assert len(starts) >= 3
    for start, stop in (request.range for request in helpers(rig)):
        # Behind the end of its segment, where the next one begins. Some request as much before their own start.
        assert stop == TOTAL or {stop - OVERLAP_BYTES, stop - 2 * OVERLAP_BYTES} & starts, (start, stop, starts)


def plant_two_segments(rig, *spans, seams, body=BODY):
    """A part as a kill leaves it: the counted ranges, and seams that nobody has compared."""
    with rig.store.parts.open(KEY) as part:
        rig.begin(part, total=TOTAL, etag=TAG)
        for start, stop, source in spans:
            part.write_at(start, source.read(start, stop))
            part.mark((start, stop))
        for seam in seams:
            part.note_seam(seam)


HALF = TOTAL // 2


@pytest.mark.parametrize("second", [BODY, OTHER], ids=["the same", "another"])
@pytest.mark.parametrize("gap_bytes", [0, 1, 10_000, MIB])
def test_a_seam_that_a_kill_left_open_is_compared_by_the_next_run(rig, second, gap_bytes):
    plant_two_segments(rig, (0, HALF - gap_bytes, BODY), (HALF, TOTAL, second), seams=[HALF])
    url = rig.origin.add("/a", BODY)
    assert rig.bring(url, connections=1).data == BODY.read()
    whole = [request for request in rig.origin.requests if request.range is None]
    assert bool(whole) == (second is OTHER)
    if second is BODY:
        assert rig.origin.bytes_sent() <= gap_bytes + 3 * OVERLAP_BYTES


def test_a_seam_that_the_server_does_not_confirm_is_not_trusted(rig):
    plant_two_segments(rig, (0, HALF, BODY), (HALF, TOTAL, BODY), seams=[HALF])
    url = rig.origin.add("/a", BODY, faults=[ignore_range(times=None)])
    assert rig.bring(url).data == BODY.read()
    assert [request.status for request in rig.origin.requests] == [200, 200]


@pytest.mark.parametrize("code", [404, 500])
def test_an_error_in_answer_to_the_comparison_of_a_seam_does_not_cost_the_part(rig, code):
    plant_two_segments(rig, (0, HALF, BODY), (HALF, TOTAL, BODY), seams=[HALF])
    url = rig.origin.add("/a", BODY, faults=[status(code, times=None)])
    with pytest.raises(HttpStatusError):
        rig.fetch(url)
    assert rig.planted_bytes() == TOTAL


def test_a_seam_that_differs_does_not_cost_the_part_before_the_whole_is_there(rig):
    plant_two_segments(rig, (0, HALF, BODY), (HALF, TOTAL, OTHER), seams=[HALF])
    url = rig.origin.add("/a", BODY, faults=[status(404, times=None).after(1)])
    with pytest.raises(HttpStatusError):
        rig.fetch(url)
    assert rig.planted_bytes() == TOTAL
    rig.origin.add("/a", BODY)
    assert rig.bring(url).data == BODY.read()


def test_a_seam_without_a_gap_is_in_the_record_before_a_byte_behind_it(rig):
    """After a kill, the size of the file would count without it."""
    with rig.store.parts.open(KEY) as part:
        rig.begin(part, total=TOTAL, etag=TAG)
        part.write_at(0, BODY.read(0, MIB))
        part.mark((0, MIB))
        part.note_seam(MIB)
        record = json.loads(part.path.with_suffix(".json").read_bytes())
    assert (record["seams"], record["in_order"], record["ranges"]) == ([MIB], False, [[0, MIB]])


def test_while_the_end_of_a_body_without_a_length_is_awaited_its_last_bytes_are_a_seam_on_the_disk(rig):
    """A kill while the transfer waits must not leave a part that counts as complete."""
    seen = []
    with rig.store.parts.open(KEY) as part:
        rig.begin(part, total=TOTAL, etag=TAG)
        part.write_at(0, BODY.read())
        part.mark((0, TOTAL))

        def rest():
            record = json.loads(part.path.with_suffix(".json").read_bytes())
            seen.append((record["seams"], record["in_order"]))
            yield from ()

        Seams(part).read_end(Head(206, ContentRange(0, TOTAL, TOTAL)), TOTAL, rest())
        assert part.record.seams == ()
    assert seen == [([TOTAL - 1], False)]


def test_a_difference_is_a_seam_even_where_the_next_segment_has_compared_the_bytes_before_it(rig):
    with rig.store.parts.open(KEY) as part:
        rig.begin(part, total=TOTAL, etag=TAG)
        part.write_at(0, BODY.read())
        part.mark((0, TOTAL))
        with pytest.raises(SeamDiffers):
            Seams(part).read_beyond(HALF, iter([OTHER.read(HALF, TOTAL)]))
        assert part.record.seams == (HALF,)


def test_a_seam_is_in_the_record_as_long_as_it_is_open(rig):
    plant_two_segments(rig, (0, MIB, BODY), (HALF, HALF + MIB, BODY), seams=[HALF])
    with rig.store.parts.open(KEY) as part:
        assert part.record.seams == (HALF,)
        part.close_seam(HALF)
        part.mark((MIB, MIB + 1))
    with rig.store.parts.open(KEY) as part:
        assert part.record.seams == ()


def test_what_had_to_begin_anew_amid_segments_comes_over_one_connection(rig):
    """Else a server that knows ranges only now and then would send the beginning for ever."""
    broken = drop_after(MIB).when(lambda request: request.number == 0)
    stalls = stall_after(MIB // 2).when(lambda request: request.number == 1)  # or it could ask for more by then
    ignores = ignore_range(times=None).when(lambda request: request.number > 1)
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000), broken, stalls, ignores])
    until_asked = front_waits(1, lambda: rig.origin.wait_for(lambda: helpers(rig)))  # else it is stopped before that
    assert rig.bring(url, connections=2, progress=until_asked).data == BODY.read()
    assert rig.origin.requests[2].status == 200
    assert len(rig.origin.requests) == 3


def test_the_file_is_hashed_while_it_comes(rig, monkeypatch):
    """Not all of it in the end, when everything is there."""
    whole, read_after = threading.Event(), []
    note_whole, read = PartFile.note_whole, PartFile.read

    def noted(part):
        whole.set()
        note_whole(part)

    def counted(part, start, stop):
        if whole.is_set():
            read_after.append(stop - start)
        return read(part, start, stop)

    monkeypatch.setattr(PartFile, "note_whole", noted)
    monkeypatch.setattr(PartFile, "read", counted)
    body = Pattern(4 * TOTAL, 1)
    url = rig.origin.add("/a", body, faults=[limit_per_connection(20_000_000)])
    assert rig.bring(url, connections=4).data == body.read()
    assert sum(read_after) <= 2 * TOTAL


def test_a_helper_that_is_stuck_does_not_hold_up_the_others_when_the_front_breaks(rig):
    stuck = stall_after(100_000, times=None).when(lambda request: request.number == 1)
    front = drop_after(MIB).when(lambda request: request.number == 0)
    url = rig.origin.add("/a", BODY, faults=[front, stuck])
    fetched = []
    thread = threading.Thread(target=lambda: fetched.append(rig.fetch(url, connections=2)))
    thread.start()
    # The front's second request comes though the helper has not ended: it would wait for its stall of 30 s.
    rig.origin.wait_for(lambda: len(rig.origin.requests) >= 3)
    rig.origin.release()
    thread.join(30)
    assert rig.publish(fetched[0]) == BODY.read()


def test_a_resource_that_changes_between_segments_is_never_spliced(rig):
    changed = other_version().when(lambda request: request.number > 0)
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000), changed])
    assert rig.bring(url, connections=4).data == BODY.read()


def test_nor_is_it_where_the_server_ignores_if_range(rig):
    faults = [
        fault.when(lambda request: request.number > 0) for fault in (other_version(), ignore_if_range(times=None))
    ]
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000), *faults])
    assert rig.bring(url, connections=4).data == BODY.read()


def test_nor_is_it_where_it_changes_after_some_segments_have_come(rig):
    """The part then has ranges of the old version behind a gap: all of them must go."""
    changed = other_version().when(lambda request: request.number > 0 and not of_helper(request))
    broken = drop_after(MIB).when(lambda request: request.number == 0)
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000), broken, changed])
    assert rig.bring(url, connections=3).data == OTHER.read()


@contextmanager
def interrupted(rig, url, at):
    """A run over two connections that is stopped at so many bytes, while both are stuck."""
    stopped = threading.Event()
    progress = When(at, stopped.set)
    with stop_after(stopped) as cancel, pytest.raises(Interrupted):
        rig.fetch(url, connections=2, cancel=cancel, progress=progress)
    rig.origin.release()
    rig.origin.forget()
    yield progress


@pytest.mark.parametrize("again", [1, 2, 4])
def test_a_run_that_was_stopped_amid_segments_goes_on_with_what_is_missing(rig, again):
    front = stall_after(MIB).when(lambda request: request.number == 0)
    rear = stall_after(MIB).when(of_helper)
    url = rig.origin.add("/a", BODY, faults=[front, rear])
    with interrupted(rig, url, at=2 * MIB) as progress:
        assert progress.fetched_bytes == 2 * MIB == rig.planted_bytes()
    arrived = rig.bring(url, connections=again)
    assert arrived.data == BODY.read()
    assert (arrived.fetched.saved_bytes, arrived.fetched.fetched_bytes) == (2 * MIB, 6 * MIB)


def test_the_gap_and_the_end_are_asked_for_and_nothing_else_is_written(rig):
    front = stall_after(MIB).when(lambda request: request.number == 0)
    rear = stall_after(MIB).when(of_helper)
    url = rig.origin.add("/a", BODY, faults=[front, rear])
    with interrupted(rig, url, at=2 * MIB):
        pass
    rig.bring(url, connections=1)
    first, second = (request.range[0] for request in rig.origin.requests)
    assert first == MIB - OVERLAP_BYTES
    assert 2 * MIB < second < TOTAL


def test_a_part_with_gaps_of_a_resource_that_changed_is_dropped_as_a_whole(rig):
    front = stall_after(MIB).when(lambda request: request.number == 0)
    rear = stall_after(MIB).when(of_helper)
    url = rig.origin.add("/a", BODY, faults=[front, rear])
    with interrupted(rig, url, at=2 * MIB):
        rig.origin.replace("/a", OTHER)
    arrived = rig.bring(url, connections=2)
    assert (arrived.data, arrived.fetched.saved_bytes) == (OTHER.read(), 0)


_KILLED = """
import importlib, os, signal, sys
from mediacrawl.download.downloader import Downloader
from mediacrawl.download.records import TransferRequest
from mediacrawl.store.local import LocalStore

root, url, key, at, room, kind = sys.argv[1:]
steps = 0


def at_step(step):
    global steps
    size = max((entry.stat().st_size for entry in os.scandir(store.parts.folder) if entry.name.endswith(".part")))
    steps += size > 6 * 1024 * 1024  # a helper has written near the end, and the front has not come that far
    if steps == int(at):
        os.kill(os.getpid(), signal.SIGKILL)


store = LocalStore(root, at_step=at_step)
store.open()
transport = getattr(importlib.import_module(room), kind)()
Downloader(store, transport).fetch(TransferRequest(key, url, connections=4))
"""


@pytest.mark.parametrize("at", [1, 6])
def test_a_kill_amid_segments_leaves_no_hole_in_the_file(tmp_path, origin, transport_kind, at):
    url = origin.add("/a", BODY, faults=[limit_per_connection(20_000_000)])
    root = tmp_path / "killed"
    made = [transport_kind.__module__, transport_kind.__name__]
    command = [sys.executable, "-c", _KILLED, str(root), url, KEY, str(at), *made]
    child = subprocess.run(command, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    rig = Rig(root, origin, transport_kind())
    try:
        with rig.store.parts.open(KEY) as part:
            assert part.written_bytes < TOTAL
            for start, stop in part.record.ranges:
                assert part.read(start, stop) == BODY.read(start, stop)
        assert rig.bring(url).data == BODY.read()
    finally:
        rig.close()


def test_a_disk_that_is_full_ends_all_connections_with_that_reason(rig, monkeypatch):
    """It is full for the helper, once the front has written enough to be worth keeping. The front waits for it: were
    it through before, it would ask for a part of what the helper has to fetch.
    """
    genuine, kept = PartFile.write_at, threading.Event()

    def write_at(part, offset, data):
        if threading.current_thread().name == "segment":
            assert kept.wait(30)
            raise DiskFull("no space left")
        genuine(part, offset, data)

    def helper_ends():
        kept.set()
        for thread in segment_threads():
            thread.join(30)

    monkeypatch.setattr(PartFile, "write_at", write_at)
    url = rig.origin.add("/a", BODY)
    with pytest.raises(DiskFull):
        rig.fetch(url, connections=2, progress=When(MIB, helper_ends))
    monkeypatch.undo()
    assert not segment_threads()
    assert len(rig.origin.requests) == 2, "nobody asks for a gap that cannot be written"
    assert MIB <= rig.planted_bytes() < TOTAL


def test_a_helper_that_drips_is_cut_and_the_file_is_right(rig, answered):
    """Two bytes a second for ever: it is no connection that hangs, and has to be noticed all the same."""
    dripping = slow(2).when(of_helper)
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(20_000_000), dripping])
    impatient = rig.downloader(stall_s=1.0, stall_bytes=1024)
    assert rig.bring(url, downloader=impatient, connections=2, progress=answered).data == BODY.read()
    assert helpers(rig)[0].body_bytes_sent < 1024


def test_a_helper_that_hangs_is_left_alone_and_writes_nothing_afterwards(rig, monkeypatch):
    """In a connection that does not open, say: nothing wakes it, and the part may be another file's by then."""
    monkeypatch.setattr(segments, "_STOP_WITHIN_S", 0.01)
    hanging, hangs, goes_on, refused = [], threading.Event(), threading.Event(), []

    class Helper(segments._Helper):
        def write(self, share, data):
            if not hanging:
                hanging.append(threading.current_thread())
                hangs.set()
                assert goes_on.wait(30)
            try:
                super().write(share, data)
            except Interrupted:
                refused.append(threading.current_thread())
                raise

    monkeypatch.setattr(segments, "_Helper", Helper)
    front = drop_after(MIB).when(lambda request: request.number == 0)
    url = rig.origin.add("/a", BODY, faults=[front])
    until_it_hangs = front_waits(1, lambda: hangs.wait(30))
    assert rig.bring(url, connections=2, progress=until_it_hangs).data == BODY.read()
    assert hanging[0].is_alive()
    goes_on.set()
    hanging[0].join(30)
    assert refused == hanging


def test_helpers_send_the_headers_of_the_request(rig, answered):
    wants = require_header("Cookie", "id=7")
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(40_000_000), wants])
    arrived = rig.bring(url, connections=3, headers=(("Cookie", "id=7"),), progress=answered)
    assert arrived.data == BODY.read()
    assert helpers(rig)
    assert all(request.status == 206 for request in helpers(rig))


def test_helpers_of_one_file_do_not_exceed_what_a_host_may_have(rig, answered):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(20_000_000), stall_after(TOTAL // 2)])
    quick = SegmentPolicy(8, 2 * MIB, measure_s=0.01, gain=0.01)
    with released_when_a_helper_comes(rig):
        arrived = rig.bring(url, downloader=rig.downloader(segments=quick, per_host=2), progress=answered)
    assert (arrived.data, arrived.fetched.fetched_bytes) == (BODY.read(), TOTAL)
    assert len({request.client_port for request in rig.origin.requests if request.number < 2}) == 2
    assert rig.origin.peak_open == 2


def test_a_helper_that_had_to_go_comes_again_when_there_is_a_place(rig):
    body = Pattern(8 * TOTAL, 1)
    downloader = rig.downloader(segments=SegmentPolicy(2, 2 * MIB, 0.0), per_host=2)
    url = rig.origin.add("/a", body, faults=[limit_per_connection(20_000_000)])
    fetched = []
    transfer = threading.Thread(target=lambda: fetched.append(rig.fetch(url, downloader=downloader)))
    transfer.start()
    rig.origin.wait_for(lambda: len(helpers(rig)) == 1)
    downloader.slots.acquire("127.0.0.1")
    rig.origin.wait_for(lambda: helpers(rig)[0].finished_at is not None)
    downloader.slots.release("127.0.0.1")
    rig.origin.wait_for(lambda: len(helpers(rig)) > 1)
    transfer.join(30)
    assert rig.publish(fetched[0]) == body.read()


def test_a_helper_leaves_its_place_to_a_file_that_begins(rig):
    """What it had still to bring it gives back."""
    body = Pattern(8 * TOTAL, 1)  # more than the system's buffers hold
    downloader = rig.downloader(segments=SegmentPolicy(2, 2 * MIB, measure_s=1e-6, gain=0.01), per_host=2)
    front = stall_after(MIB).when(lambda request: not of_helper(request))
    rear = stall_after(MIB).when(of_helper)
    url = rig.origin.add("/a", body, faults=[front, rear])
    fetched = []
    first = threading.Thread(target=lambda: fetched.append(rig.fetch(url, downloader=downloader)))
    first.start()
    rig.origin.wait_for(lambda: sum(request.stalled for request in rig.origin.requests) == 2)
    downloader.slots.acquire("127.0.0.1")
    assert downloader.slots.try_acquire("127.0.0.1") is False
    rig.origin.release()
    first.join(30)
    assert rig.publish(fetched[0]) == body.read()
    downloader.slots.release("127.0.0.1")
    assert downloader.slots.try_acquire("127.0.0.1")
    helper = helpers(rig)[0]
    assert helper.body_bytes_sent < helper.body_bytes_meant


# --- the crew by itself, with a clock -----------------------------------------------------------------


class StuckExchange:
    """Its answers are right, and send nothing until they are aborted."""

    def __init__(self, asked, came, latency_s, cancel):
        self.cancel = cancel
        self.asked = asked
        self.came = came
        self.latency_s = latency_s
        self.aborted = threading.Event()
        self.url = "http://h/"

    @contextmanager
    def ask(self, ask):
        self.asked.append(ask)
        self.came.release()
        start, stop = dict(ask.headers)["Range"].removeprefix("bytes=").split("-")
        with self.cancel.watch(self):
            yield self, Head(206, ContentRange(int(start), int(stop) + 1, 10**9), validators=Validators(ETag("a")))

    def blocks(self):
        self.aborted.wait(30)
        raise ConnectionLost(self.url, "aborted")
        yield b""

    def abort(self):
        self.aborted.set()


STRONG = Validators(ETag("a"))


class Bench:
    """A crew whose helpers bring nothing: the speed is what the test says it is."""

    def __init__(self, validators=STRONG, missing=10**9, slots=None, latency_s=0.0, **policy):
        self.now, self.asked, self.came = 0.0, [], threading.Semaphore(0)
        record = PartRecord(complete_length=10**9)
        self.part = SimpleNamespace(written_bytes=0, record=record, has=lambda *_: False)
        self.crew = SegmentedFetch(
            Segment(10**9 - missing, 10**9),
            self.part,
            Seams(self.part),
            Saved(0, 10**9, validators),
            SegmentPolicy(**({"from_bytes": 2 * MIB} | policy)),
            new_exchange=lambda cancel, **_: StuckExchange(self.asked, self.came, latency_s, cancel),
            new_body=lambda answer, cancel: Body(answer, Stall(Policy(), "", time.monotonic), cancel),
            count=lambda _n: None,
            cancel=Cancel(),
            clock=lambda: self.now,
            slots=slots,
            host="h",
        )

    def run(self, *speeds, seconds=2.0):
        """Windows of so many bytes per second, one after the other."""
        for speed in speeds:
            self.now += seconds
            self.part.written_bytes += int(speed * seconds)
            self.crew.consider()
        return self.helpers

    def await_helpers(self, count):
        """Until so many more have asked, and the crew has counted the last of them too."""
        assert all(self.came.acquire(timeout=30) for _ in range(count))
        with self.crew._growing:
            pass

    @property
    def helpers(self):
        return len(self.crew._threads)


@pytest.fixture
def bench():
    benches = []

    def make(**more):
        benches.append(Bench(**more))
        return benches[-1]

    yield make
    for one in benches:
        one.crew.stop()
        assert not any(thread.is_alive() for thread in one.crew._threads)


@pytest.mark.parametrize(
    ("speeds", "count"),
    [
        ([], 0),
        ([100], 1),
        ([100, 100], 1),  # the server limits nothing
        ([100, 124, 200, 400], 1),  # too little gained: never again
        ([100, 125], 2),
        ([100, 200, 300], 3),
        ([100, 200, 210, 900], 2),
        ([100, 200, 300, 400, 500, 600], 3),  # no more than allowed
    ],
)
def test_a_further_connection_is_added_as_long_as_the_last_one_paid(bench, speeds, count):
    assert bench(connections=4).run(*speeds) == count


def test_nothing_is_decided_before_the_window_is_over(bench):
    one = bench(connections=4)
    assert one.run(*[100] * 19, seconds=0.1) == 0
    assert one.run(100, seconds=0.2) == 1


def test_to_measure_nothing_adds_all_at_once(bench):
    one = bench(connections=4, measure_s=0.0)
    one.run(1, seconds=0.0)
    one.await_helpers(3)
    one.run(1, 1, seconds=0.0)
    assert len(one.asked) == 3


def test_those_that_come_at_once_come_when_there_is_a_place_and_as_many_as_there_are_places(bench):
    now = 0.0
    slots = HostSlots(4, clock=lambda: now)
    for _ in range(4):  # this file and three others
        slots.acquire("h")
    one = bench(connections=4, measure_s=0.0, slots=slots)
    assert one.run(1, 1, seconds=0.0) == 0
    slots.release("h")
    slots.release("h")
    assert one.run(1, seconds=0.0) == 0, "the next files come first"
    now = 1.0
    one.run(1, seconds=0.0)
    one.await_helpers(2)
    one.run(1, 1, seconds=0.0)
    assert len(one.asked) == one.helpers == 2


@pytest.mark.parametrize(
    "more",
    [
        {"connections": 1},
        {"connections": 4, "from_bytes": 10**9 + 1},
        {"connections": 4, "missing": 2 * MIB - 1},
        {"connections": 4, "validators": Validators()},
        {"connections": 4, "validators": Validators(ETag("a", weak=True))},
        {"connections": 4, "validators": Validators(last_modified="Tue, 02 Jan 2024 03:04:05 GMT")},
    ],
    ids=str,
)
def test_there_is_no_helper_where_it_cannot_pay_or_nothing_vouches_for_the_version(bench, more):
    assert bench(**more).run(100, 1000, 10_000) == 0


def test_a_helper_takes_the_rear_half_of_the_largest_share(bench):
    one = bench(connections=4, missing=800 * MIB)
    one.run(100, 200, 300)
    one.await_helpers(3)
    first = 10**9 - 800 * MIB
    assert sorted(ask.start - first for ask in one.asked) == [200 * MIB, 400 * MIB, 600 * MIB]


def test_helpers_that_come_all_at_once_take_pieces_from_the_front_on_ever_smaller_ones(bench):
    one = bench(connections=4, measure_s=0.0, missing=512 * MIB)
    one.run(1, seconds=0.0)
    one.await_helpers(3)
    first = 10**9 - 512 * MIB
    assert [ask.start - first for ask in one.asked] == [64 * MIB, 120 * MIB, 169 * MIB]


@pytest.mark.parametrize(("latency_s", "piece_bytes"), [(0.0, MIB), (0.01, MIB), (0.125, 4 * MIB), (20.0, None)])
def test_a_piece_lasts_eight_times_as_long_as_to_ask_for_it(bench, latency_s, piece_bytes):
    one = bench(connections=16, measure_s=0.0, missing=32 * MIB, latency_s=latency_s)
    one.run(1, seconds=0.0)
    one.await_helpers(15)
    one.now += 1.0
    one.part.written_bytes = 64 * MIB  # over 16 connections
    left = sum(share.missing_bytes for share in one.crew._left)
    pieces = [share.missing_bytes for share in iter(lambda: one.crew._next() if one.crew._left else None, None)]
    assert sum(pieces) == left
    assert pieces[0] == (piece_bytes or left // 2)


@pytest.mark.parametrize(
    ("latency_s", "smallest_bytes"),
    [(0.0, MIB // 8), (0.01, MIB // 8), (0.2, MIB), (0.8, 4 * MIB), (20.0, None)],
)
def test_what_is_left_is_halved_while_a_half_lasts_longer_than_to_ask_for_it(bench, latency_s, smallest_bytes):
    one = bench(connections=2, missing=64 * MIB, latency_s=latency_s)
    one.run(8 * MIB)  # a second, over two connections from now on
    assert one.crew._answered.wait(30)
    one.now += 0.00001
    one.part.written_bytes += MIB // 2  # a block is no speed
    halves = [share.missing_bytes for share in iter(one.crew._next, None)]
    assert min(halves, default=None) == smallest_bytes


@pytest.mark.parametrize(
    ("wish", "refused", "expected"),
    [
        (None, False, SegmentPolicy(4)),
        (None, True, SegmentPolicy(1)),
        (8, True, SegmentPolicy(1)),
        (8, False, SegmentPolicy(8, 2 * MIB, 0.0)),
        (1, False, SegmentPolicy(1, 2 * MIB, 0.0)),
    ],
)
def test_the_wish_of_a_request_goes_before_the_policy_and_a_refusal_before_both(wish, refused, expected):
    assert SegmentPolicy(4).of(wish, ranges_refused=refused) == expected


def test_a_share_gives_its_rear_half_away_and_no_byte_twice():
    share = Segment(0, 2 * MIB)
    share.advance(MIB // 2)
    rear = share.split()
    assert (share.start, share.stop, rear.start, rear.stop) == (MIB // 2, 5 * MIB // 4, 5 * MIB // 4, 2 * MIB)
    assert share.split() is None
    assert share.room(10 * MIB) == share.missing_bytes == 3 * MIB // 4
    share.advance(share.room(10 * MIB))
    assert share.is_full
    assert share.room(1) == 0


def test_a_share_without_an_end_takes_everything_and_is_never_split():
    share = Segment(5, None)
    assert (share.room(10), share.is_full, share.missing_bytes, share.split()) == (10, False, 0, None)


def test_a_share_whose_last_bytes_the_front_has_taken_is_not_asked_for():
    crew = object.__new__(SegmentedFetch)  # without a connection, a part or a version
    crew._saved = SimpleNamespace(validators=Validators(etag=ETag("a")))
    share = Segment(5, 9)
    share.advance(4)
    assert crew._fetch_one(share, is_front=False)
