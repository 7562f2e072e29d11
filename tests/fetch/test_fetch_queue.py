"""`FetchQueue` by itself: events in, effects out, no thread and no clock."""

import math
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediacrawl.archive import Failure, Publish, RecordWanted, Unchanged
from mediacrawl.download.records import Fetched
from mediacrawl.errors import (
    ConnectError,
    ConnectionLost,
    DiskFull,
    HostAvoided,
    HttpStatusError,
    Interrupted,
    NoResponse,
    PathConflict,
    RobotsUnknown,
)
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.refetch import DAY_S, RefetchPolicy
from mediacrawl.fetch.request import (
    DOWNLOADED,
    FAILED,
    FETCHED,
    INTERRUPTED,
    LOOKED_UP,
    RESUMED,
    UPTODATE,
    WRITTEN,
    FileRequest,
)
from mediacrawl.headers import Validators
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store.parts import PartInUse

NOW_S = 1e9
PART = SimpleNamespace(file="part")


def queue_of(per_host=2, most_open=math.inf, **more):
    return FetchQueue("get", RefetchPolicy(), per_host, most_open, **more)


def request(url="http://h/a.jpg", **more):
    return FileRequest.of_url(url, **more)


def fetched(**more):
    return Fetched(**({"part": PART, "status": 200, "url": "http://h/", "size_bytes": 9, "took_s": 0.01} | more))


def unchanged():
    return fetched(part=None, status=304, size_bytes=0)


def row(state, url="http://h/a.jpg", age_s=0.0, **more):
    return Entry(url, url, state=state, path="get/h/a.jpg", checked_at=NOW_S - age_s, **more)


def look_up(files, *entries, now_s=0.0):
    """Answers all lookups; without a row where none is given."""
    asked = files.take_lookups()
    files.looked_up(asked, [*entries, *[None] * (len(asked) - len(entries))], NOW_S, now_s)


def begin(files, now_s=0.0):
    return list(files.next_batches(now_s))


def write(files, *outcomes):
    """Answers all writes; with their own entries where nothing is given."""
    writes = files.take_writes()
    answers = [*outcomes, *[w.change.entry for w in writes[len(outcomes) :]]]
    files.written(writes, answers)
    return [type(w.change) for w in writes]


# One file


def test_a_new_file_is_looked_up_noted_fetched_published_and_told():
    files = queue_of()
    assert files.add([request()]) == len(files) == 1
    look_up(files)
    (batch,) = begin(files)
    assert write(files) == [RecordWanted]
    files.fetched(batch, [fetched()], 0.0)
    (publish,) = files.take_writes()
    assert isinstance(publish.change, Publish)
    assert publish.change.entry.path == "get/h/a.jpg"
    files.written([publish], [publish.change.entry])
    (result,) = files.take_results()
    assert (result.url, result.status, result.entry.path) == ("http://h/a.jpg", DOWNLOADED, "get/h/a.jpg")
    assert (result.size_bytes, result.request.key) == (9, "http://h/a.jpg")
    assert len(files) == 0


@pytest.mark.parametrize(
    ("entry", "more", "status"),
    [
        (row(State.DONE), {}, UPTODATE),
        (row(State.DONE, age_s=90 * DAY_S), {}, UPTODATE),
        (row(State.FAILED, reason="HTTP 404", permanent=True), {}, FAILED),
    ],
)
def test_what_the_ledger_knows_needs_no_transfer(entry, more, status):
    files = queue_of()
    files.add([request(**more)])
    look_up(files, entry)
    (result,) = files.take_results()
    assert (result.status, result.is_known_failure) == (status, status == FAILED)
    assert (begin(files), files.take_writes(), len(files)) == ([], [], 0)


@pytest.mark.parametrize(
    ("entry", "more"),
    [
        (row(State.DONE, age_s=91 * DAY_S), {}),
        (row(State.PENDING), {}),
        (row(State.FAILED, reason="HTTP 503"), {}),
        (row(State.FAILED, reason="HTTP 404", permanent=True, age_s=31 * DAY_S), {}),
        (row(State.FAILED, reason="HTTP 404", permanent=True), {"ignores_known_failure": True}),
    ],
)
def test_all_else_is_fetched_and_noted_where_the_row_does_not_say_so(entry, more):
    files = queue_of()
    files.add([request(**more)])
    look_up(files, entry)
    assert len(begin(files)) == 1
    assert write(files) == [RecordWanted] * (entry.state == State.FAILED)


def test_an_old_file_is_asked_for_with_its_validators_and_stays_where_it_is_when_unchanged():
    files = queue_of()
    files.add([request()])
    entry = row(State.DONE, age_s=91 * DAY_S, validators='{"etag": "\\"v1\\""}', sha256="ab")
    look_up(files, entry)
    (batch,) = begin(files)
    assert batch.requests[0].transfer.revalidate == Validators.from_dict({"etag": '"v1"'})
    files.fetched(batch, [unchanged()], 0.0)
    assert write(files) == [Unchanged]
    (result,) = files.take_results()
    assert (result.status, result.entry) == (UPTODATE, entry)


def test_bytes_that_were_here_make_a_file_a_resumed_one():
    files = queue_of()
    files.add([request()])
    look_up(files)
    files.fetched(begin(files)[0], [fetched(saved_bytes=4)], 0.0)
    write(files)
    (result,) = files.take_results()
    assert (result.status, result.saved_bytes) == (RESUMED, 4)


def test_a_failure_is_told_and_noted_with_what_is_known_of_it():
    files = queue_of()
    files.add([request(page="http://h/", options='{"filename": "b"}')])
    look_up(files)
    write(files)
    files.fetched(begin(files)[0], [HttpStatusError("http://h/a.jpg", 404, "Not Found")], 0.0)
    assert files.take_results() == [], "it is told once it is noted"
    (failure,) = files.take_writes()
    assert isinstance(failure.change, Failure)
    entry = failure.change.entry
    files.written([failure], [entry])
    (result,) = files.take_results()
    assert (result.status, result.reason, result.entry) == (FAILED, "HTTP 404 Not Found", None)
    assert (entry.http_status, entry.permanent, entry.page, entry.wish) == (
        404,
        True,
        "http://h/",
        '{"filename": "b"}',
    )


def test_a_name_that_cannot_be_had_is_a_failure_of_that_file():
    files = queue_of()
    files.add([request(path="a/b.jpg")])
    look_up(files)
    write(files)
    files.fetched(begin(files)[0], [fetched()], 0.0)
    assert write(files, PathConflict("a is a file")) == [Publish]
    assert write(files) == [Failure]
    (result,) = files.take_results()
    assert (result.status, result.reason) == (FAILED, "a is a file")


def test_a_file_that_another_process_fetches_is_looked_up_again_when_it_may_be_there():
    files = queue_of()
    files.add([request()])
    look_up(files)
    write(files)
    files.fetched(begin(files)[0], [PartInUse()], 10.0)
    assert [met.key for met in files.take_met()] == ["http://h/a.jpg"]
    files.wake(10.4)
    assert (files.take_lookups(), len(files)) == ([], 1)
    files.wake(10.5)
    look_up(files, row(State.DONE))
    assert [result.status for result in files.take_results()] == [UPTODATE]


@pytest.mark.parametrize("error", [DiskFull("full"), Interrupted("stopped"), RuntimeError("a bug")])
def test_what_concerns_the_whole_run_is_raised_once_the_others_have_been_taken(error):
    files = queue_of(per_host=1)
    files.add([request(f"http://h/{number}.jpg") for number in range(3)])
    look_up(files)
    files.fetched(begin(files)[0], [fetched()], 0.0)  # so that it is known that files are small
    write(files)
    files.take_results()
    (batch,) = begin(files)
    assert len(batch.requests) == 2
    with pytest.raises(type(error)):
        files.fetched(batch, [error, fetched()], 0.0)
    assert write(files) == [Publish]
    assert [result.status for result in files.take_results()] == [INTERRUPTED, DOWNLOADED]
    assert len(files) == 0


def test_an_error_of_a_write_is_raised_once_the_others_have_been_taken():
    files = queue_of()
    files.add([request("http://h/1.jpg"), request("http://other/2.jpg")])
    look_up(files)
    write(files)
    for batch in begin(files):
        files.fetched(batch, [fetched()], 0.0)
    with pytest.raises(DiskFull):
        write(files, DiskFull("full"))
    assert {result.url: result.status for result in files.take_results()} == {
        "http://h/1.jpg": INTERRUPTED,
        "http://other/2.jpg": DOWNLOADED,
    }


# Several


def test_a_file_that_is_pending_is_not_wanted_twice():
    files = queue_of()
    assert files.add([request(), request(), request("http://h/b.jpg")]) == 2
    assert files.add([request()]) == 0
    assert len(files.take_lookups()) == 2


def test_a_host_has_as_many_batches_as_it_may_have_and_others_do_not_wait_for_it():
    files = queue_of(per_host=2)
    files.add([request(f"http://{host}/{number}.jpg") for host in ("h", "other") for number in range(5)])
    look_up(files)
    batches = begin(files)
    assert sorted(batch.host.name for batch in batches) == ["h:80", "h:80", "other:80", "other:80"]
    assert begin(files) == []
    files.fetched(batches[0], [fetched()], 0.0)
    assert len(begin(files)) == 1


def test_a_picture_does_not_wait_behind_a_film():
    files = queue_of(per_host=1)
    urls = ["http://h/1.mp4", "http://h/2.jpg", "http://h/3.jpg"]
    files.add([request(url) for url in urls])
    look_up(files)
    order = []
    while batches := begin(files):
        assert all(len({one.url[-3:] for one in batch.requests}) == 1 for batch in batches)
        for batch in batches:
            order += [one.url for one in batch.requests]
            files.fetched(batch, [fetched(took_s=0.001)] * len(batch.requests), 0.0)
    assert order == urls


@pytest.mark.parametrize("per_host", [1, 4])
def test_lines_of_a_host_share_its_connections(per_host):
    files = queue_of(per_host)
    films = [f"http://h/{number}.mp4" for number in range(50)]
    files.add([request(url) for url in [*films, *(f"http://h/{number}.jpg" for number in range(50))]])
    look_up(files)
    under_way = begin(files)
    for _ in range(20):  # a film takes for ever, but for the only connection; pictures come at once
        pictures = [batch for batch in under_way if batch.requests[0].url.endswith("jpg")]
        assert per_host == 1 or len(pictures) == per_host // 2
        through = pictures or under_way
        for batch in through:
            files.fetched(batch, [fetched(took_s=0.2)] * len(batch.requests), 0.0)
            under_way.remove(batch)
        under_way += begin(files)
    waiting = {line: len(line._waiting) for line in files._hosts["h:80"]._lines.values()}
    assert min(waiting.values()) < 41, "both lines go on"


def test_what_was_not_begun_does_not_keep_the_other_line_of_its_host_waiting():
    files = queue_of(per_host=1)
    files.add([request(f"http://h/{number}.{kind}") for kind in ("jpg", "mp4") for number in range(9)])
    look_up(files)
    kinds = []
    for _ in range(6):
        (batch,) = begin(files)
        kinds.append(batch.requests[0].url[-3:])
        files.fetched(batch, [], 0.0)
    assert kinds == ["jpg", "mp4"] * 3


def test_hosts_take_turns_where_few_parts_may_be_open():
    files = queue_of(per_host=8, most_open=2)
    files.add([request(f"http://{host}/{number}.jpg") for host in "abc" for number in range(30)])
    look_up(files)
    hosts = []
    for _ in range(6):
        for batch in begin(files):
            hosts.append(batch.host.name[0])
            files.fetched(batch, [HttpStatusError("http://h/", 403)], 0.0)
        files.take_writes()
    assert [hosts.count(host) for host in "abc"] == [4, 4, 4]


def test_what_was_not_begun_waits_again_in_front():
    files = queue_of(per_host=1)
    files.add([request(f"http://h/{number}.jpg") for number in range(4)])
    look_up(files)
    files.fetched(begin(files)[0], [fetched()], 0.0)
    (batch,) = begin(files)
    assert [one.url for one in batch.requests] == [f"http://h/{number}.jpg" for number in (1, 2, 3)]
    files.fetched(batch, [fetched()], 0.0)
    assert [one.url for one in begin(files)[0].requests] == ["http://h/2.jpg", "http://h/3.jpg"]


def test_where_another_process_has_the_same_list_rows_are_looked_at_before_a_batch():
    files = queue_of(per_host=1)
    files.add([request(f"http://h/{number}.jpg") for number in range(5)])
    look_up(files)
    files.fetched(begin(files)[0], [PartInUse()], 10.0)
    there = row(State.DONE)
    for batch in files.next_batches(14.9):
        assert batch.is_contended
        left = files.confirmed(batch, [there] * len(batch.requests), NOW_S)
        assert left.requests == []
    assert [result.status for result in files.take_results()] == [UPTODATE] * 4
    files.wake(11.0)
    look_up(files)
    (batch,) = files.next_batches(15.1)
    assert not batch.is_contended
    assert files.confirmed(batch, [None], NOW_S).requests == batch.requests


def test_what_was_not_begun_in_the_middle_of_a_batch_waits_again_too():
    files = queue_of(per_host=1)
    files.add([request(f"http://h/{number}.jpg") for number in range(5)])
    look_up(files)
    files.fetched(begin(files)[0], [fetched()], 0.0)
    (batch,) = begin(files)
    files.fetched(batch, [fetched(), None, fetched(), None], 0.0)
    assert [one.url for one in begin(files)[0].requests] == ["http://h/2.jpg", "http://h/4.jpg"]


def test_a_file_that_is_not_like_others_of_its_host_goes_alone():
    files = queue_of(per_host=1)
    pictures = [request(f"http://h/{number}.jpg") for number in range(3)]
    alone = [request(f"http://h/alone{number}.jpg")._replace(batchable=False) for number in range(3)]
    files.add([pictures[0], *alone, *pictures[1:]])
    look_up(files)
    order = []
    while batches := begin(files):
        (batch,) = batches
        order.append([one.url[9:-4] for one in batch.requests])
        files.fetched(batch, [fetched(took_s=0.001)] * len(batch.requests), 0.0)
    assert order == [["0"], ["alone0"], ["1", "2"], ["alone1"], ["alone2"]]


def test_files_that_come_one_at_a_time_are_gathered_for_a_moment():
    files = queue_of(per_host=4, gathers=True)
    for number in range(4):
        files.add([request(f"http://h/{number}.jpg")])
    files.looked_up(files.take_lookups(), [None] * 4, NOW_S, now_s=5.0)
    first, _ = begin(files, now_s=5.0)
    assert (files.next_wake_s, begin(files, now_s=5.01)) == (5.02, [])
    files.wake(5.02)
    assert len(begin(files, now_s=5.02)) == 2, "nothing is known: they do not wait any longer"
    files.fetched(first, [fetched(took_s=0.01)], 5.1)
    files.add([request(f"http://h/{number}.jpg") for number in range(4, 6)])
    files.looked_up(files.take_lookups(), [None] * 2, NOW_S, now_s=5.1)
    assert begin(files, now_s=5.1) == [], "those under way are soon through"
    files.wake(5.15)
    (batch,) = begin(files, now_s=5.15)
    assert len(batch.requests) == 2


def test_what_is_known_of_a_host_is_kept_while_there_are_few():
    files = queue_of(kept_hosts=1)
    for host in ("a", "b"):
        files.add([request(f"http://{host}/1.jpg")])
        look_up(files)
        files.fetched(begin(files)[0], [fetched()], 0.0)
        write(files)
        assert begin(files) == []
    assert list(files._hosts) == ["a:80"]


def handed_over(files, mine):
    """Has a file fetched whose request ends there. Returns the step."""
    files.add([mine._replace(until=FETCHED)])
    look_up(files)
    (batch,) = begin(files)
    files.fetched(batch, [fetched()], 0.0)
    (step,) = files.take_steps()
    return step


def test_a_file_whose_row_is_asked_for_is_handed_over_where_it_has_to_be_fetched():
    files = queue_of()
    files.add([request()._replace(until=LOOKED_UP), request("http://h/b.jpg")._replace(until=LOOKED_UP)])
    look_up(files, row(State.DONE))
    assert [(step.request.url, step.outcome) for step in files.take_steps()] == [("http://h/b.jpg", None)]
    assert [result.status for result in files.take_results()] == [UPTODATE]
    assert (begin(files), write(files), len(files)) == ([], [], 0)


def test_a_file_that_was_fetched_is_handed_over_and_published_under_the_name_that_it_is_given():
    files = queue_of()
    mine = request()._replace(until=FETCHED)
    step = handed_over(files, mine)
    assert write(files) == [RecordWanted]
    assert step.outcome.part is PART
    files.publish(mine, step.outcome, "own/a.jpg")
    with pytest.raises(KeyError):
        files.publish(mine, step.outcome, "own/b.jpg")
    (publish,) = files.take_writes()
    assert publish.change.entry.path == "own/a.jpg"
    files.written([publish], [publish.change.entry])
    assert [result.status for result in files.take_results()] == [DOWNLOADED]


def test_a_name_that_cannot_be_had_is_handed_over_and_can_be_noted_as_a_failure():
    files = queue_of(most_open=1)
    mine = request()._replace(until=FETCHED)
    step = handed_over(files, mine)
    assert write(files) == [RecordWanted]
    files.publish(mine, step.outcome, "own/a.jpg")
    assert write(files, PathConflict("own is a file")) == [Publish]
    (step,) = files.take_steps()
    assert (step.outcome.reason, len(files)) == ("own is a file", 0)
    files.fail(mine, step.outcome)
    assert write(files) == [Failure]
    (result,) = files.take_results()
    assert (result.status, result.reason, files._free_files) == (FAILED, "own is a file", 1)


def test_a_file_that_is_seen_to_elsewhere_is_forgotten_with_its_part():
    files = queue_of(most_open=1)
    step = handed_over(files, request())
    assert not files.release(step.request, fetched()), "that of another holder"
    assert files.release(step.request, step.outcome)
    assert not files.release(step.request, step.outcome)
    assert len(files) == 0
    assert handed_over(files, request("http://h/b.jpg")).outcome


def test_an_error_that_no_one_expects_is_the_failure_of_the_file_that_it_is_about():
    files = queue_of()
    files.add([request("http://h/1.jpg"), request("http://other/2.jpg")])
    look_up(files)
    write(files)
    for batch in begin(files):
        files.fetched(batch, [fetched()], 0.0)
    write(files, TypeError("no such thing"))
    assert write(files, TypeError("no such thing")) == [Failure]
    assert {result.url: (result.status, result.reason) for result in files.take_results()} == {
        "http://h/1.jpg": (FAILED, "no such thing"),
        "http://other/2.jpg": (DOWNLOADED, ""),
    }


def test_a_redirect_to_where_nobody_knows_whether_it_may_go_is_tried_again_when_that_is_known():
    files = queue_of()
    files.add([request()])
    look_up(files)
    files.fetched(begin(files)[0], [RobotsUnknown("http://h/a.jpg", "?", target="http://other/")], 0.0)
    ((mine, target),) = files.take_unasked()
    assert (target, files.take_lookups()) == ("http://other/", [])
    files.retry([mine])
    look_up(files)
    assert len(begin(files)) == 1


@pytest.mark.parametrize("until", [WRITTEN, FETCHED])
def test_a_redirect_of_which_that_never_becomes_known_is_a_failure(until):
    files = queue_of()
    files.add([request(until=until)])
    look_up(files)
    unasked = RobotsUnknown("http://h/a.jpg", "not known", target="http://other/")
    for _ in range(20):
        files.fetched(begin(files)[0], [unasked], 0.0)
        ((mine, _target),) = files.take_unasked()
        files.retry([mine])
        look_up(files)
    files.fetched(begin(files)[0], [unasked], 0.0)
    write(files)
    write(files)
    assert files.take_unasked() == []
    if until == FETCHED:
        assert [step.outcome for step in files.take_steps()] == [unasked]
    else:
        assert [result.reason for result in files.take_results()] == ["not known"]


def test_a_stop_interrupts_what_waits_and_what_comes_back_unfinished():
    files = queue_of(per_host=1)
    files.add([request(f"http://{host}/1.jpg") for host in ("used", "unasked", "h", "h2")])
    look_up(files)
    batches = {batch.host.name: batch for batch in begin(files)}
    files.fetched(batches["used:80"], [PartInUse()], 0.0)
    files.fetched(batches["unasked:80"], [RobotsUnknown("http://h/", "?", target="http://other/")], 0.0)
    files.add([request("http://h/waits.jpg"), request("http://h/alone.jpg")._replace(batchable=False)])
    look_up(files)
    files.add([request("http://h/new.jpg")])
    write(files)
    files.stop()
    files.fetched(batches["h:80"], [None], 0.0)
    files.fetched(batches["h2:80"], [fetched()], 0.0)
    assert begin(files) == []
    assert write(files) == [Publish]
    files.add([request("http://h/late.jpg")])
    results = {result.url: result.status for result in files.take_results()}
    assert results.pop("http://h2/1.jpg") == DOWNLOADED
    assert (set(results.values()), len(results), len(files)) == ({INTERRUPTED}, 7, 0)
    assert files.next_wake_s is None


# Anything


def test_a_host_that_answers_nothing_has_one_request_at_a_time_until_it_answers():
    files = queue_of(per_host=3)
    silent = ConnectionLost("http://h/", "nothing came")
    files.add([request(f"http://h/{number}.jpg") for number in range(20)])
    files.add([request(f"http://good/{number}.jpg") for number in range(20)])
    look_up(files)
    under_way = {"h:80": [], "good:80": []}
    most = []
    for _ in range(12):
        for batch in begin(files):
            under_way[batch.host.name].append(batch)
        most.append(len(under_way["h:80"]))
        assert len(under_way["good:80"]) == 3
        batch = under_way["h:80"].pop(0)
        files.fetched(batch, [silent], 0.0)
    assert most == [3, 3, 3, 2, *[1] * 8]
    (batch,) = [batch for batch in begin(files) if batch.host.name == "h:80"]
    files.fetched(batch, [fetched(took_s=1.0)], 0.0)
    assert len([batch for batch in begin(files) if batch.host.name == "h:80"]) == 3


def test_a_host_that_redirects_to_one_that_fails_is_not_the_one_that_fails():
    files = queue_of(per_host=3)
    files.add([request(f"http://h/{number}.jpg") for number in range(20)])
    look_up(files)
    for _ in range(5):
        for batch in begin(files):
            files.fetched(batch, [ConnectionLost("http://elsewhere/", "nothing came")] * len(batch.requests), 0.0)
            files.add([request(f"http://h/again{len(files)}.jpg")])
    look_up(files)
    assert len(begin(files)) == 3


def test_a_line_that_fails_does_not_hold_up_the_other_one_of_its_host():
    files = queue_of(per_host=3)
    files.add([request(f"http://h/{number}.mp4") for number in range(6)])
    look_up(files)
    for batch in begin(files):
        files.fetched(batch, [ConnectionLost("http://h/", "nothing came")], 0.0)
    files.add([request(f"http://h/{number}.jpg") for number in range(6)])
    look_up(files)
    kinds = [batch.requests[0].url[-3:] for batch in begin(files)]
    assert sorted(kinds) == ["jpg", "jpg", "mp4"]


OUTCOMES = (fetched(), fetched(saved_bytes=1), unchanged(), ConnectionLost("http://h/", "broken"), PartInUse(), None)
HOST_FAILS = (
    lambda url: ConnectError(url, "refused"),
    lambda url: NoResponse(url, "silent"),
    lambda url: HttpStatusError(url, 429),
    lambda url: HttpStatusError(url, 503, "", 2.0),
    lambda url: HttpStatusError(url, 502),
    lambda _: ConnectError("http://elsewhere/", "refused"),
    lambda _: HostAvoided("http://elsewhere/", "later"),
)


def drawn_outcome(chance, request, trouble):
    """`trouble` is the share of errors that concern a host."""
    if chance.random() < trouble:
        return chance.choice(HOST_FAILS)(request.url)
    return chance.choice(OUTCOMES)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**64))
def test_each_file_has_one_result_whatever_happens_and_no_host_more_than_it_may_have(seed):
    """A seed draws the events: twenty times as fast as if hypothesis drew each of them."""
    chance = Random(seed)
    per_host, most_open = chance.randint(1, 3), chance.choice([1, 2, 5, math.inf])
    files = queue_of(per_host, most_open)
    wanted, results, under_way, unwritten = set(), [], [], []
    now_s, trouble = 0.0, chance.choice([0.0, 0.3, 0.9])
    for step in range(chance.randint(5, 60)):
        now_s += chance.choice([0.0, 0.1, 1.0, 6.0])
        event = chance.choice(["add", "look up", "begin", "fetched", "write", "written", "wake"])
        take_a_step(files, event, chance, now_s, (wanted, under_way, unwritten, trouble), step)
        if chance.random() < 0.5:
            see_to_steps(files, chance)
        for name in {batch.host.name for batch in under_way}:
            assert sum(batch.host.name == name for batch in under_way) <= per_host
        held = [one for one in unwritten if isinstance(one.change, Publish)]
        assert sum(len(batch.requests) for batch in under_way) + len(held) <= most_open
        results += files.take_results()
    steps = 0
    see_to_steps(files, chance)
    while len(files):  # now everything goes well
        steps += 1
        assert steps < 2000, "it goes on"
        now_s += 1.0
        files.wake(now_s)
        look_up(files)
        under_way += begin_confirmed(files, chance, now_s, answer=None)
        while under_way:
            batch = under_way.pop()
            assert not any(batch.host.failures.site in one.transfer.avoided for one in batch.requests)
            files.fetched(batch, [fetched()] * len(batch.requests), now_s)
        see_to_steps(files, chance)
        unwritten += files.take_writes()
        files.written(unwritten, [one.change.entry for one in unwritten])
        unwritten.clear()
        results += files.take_results()
    assert sorted(result.url for result in results) == sorted(wanted)
    assert list(files.next_batches(now_s)) == []
    assert files._hosts == {}, "nothing is kept of a host that has nothing to do"
    assert files._free_files == most_open


def take_a_step(files, event, chance, now_s, state, step):
    wanted, under_way, unwritten, trouble = state
    match event:
        case "add":
            urls = [f"http://h{n % 3}/{step}-{n}.{'mp4' if n % 4 else 'jpg'}" for n in range(chance.randint(1, 9))]
            until = chance.choice([LOOKED_UP, FETCHED, WRITTEN, WRITTEN])
            files.add([request(url)._replace(until=until) for url in [*urls, urls[0]]])
            wanted.update(urls)
        case "look up":
            asked = files.take_lookups()
            rows = [chance.choice([None, row(State.DONE), row(State.PENDING)]) for _ in asked]
            files.looked_up(asked, rows, NOW_S, now_s)
        case "begin":
            under_way += begin_confirmed(files, chance, now_s, answer=chance.choice([None, row(State.DONE)]))
        case "fetched" if under_way:
            batch = under_way.pop(chance.randint(0, len(under_way) - 1))
            outcomes = [drawn_outcome(chance, one, trouble) for one in batch.requests]
            begun = (
                outcomes[: outcomes.index(None)] if None in outcomes[1:] else [one or unchanged() for one in outcomes]
            )
            files.fetched(batch, begun, now_s)
        case "write":
            unwritten += files.take_writes()
        case "written":
            files.written(unwritten, [one.change.entry for one in unwritten])
            unwritten.clear()
        case "wake":
            files.wake(now_s)


def see_to_steps(files, chance):
    """Does with what is handed over what a driver may do."""
    for mine, outcome in files.take_steps():
        if outcome is None:
            files.add([mine._replace(until=FETCHED)])
        elif isinstance(outcome, Fetched) and chance.random() < 0.5:
            files.publish(mine, outcome, "own/path.jpg")
        elif isinstance(outcome, Fetched) and chance.random() < 0.5:
            assert files.release(mine, outcome)
            files.add([mine])
        elif isinstance(outcome, Fetched):
            files.release(mine, outcome)
            files.fail(mine._replace(until=WRITTEN), ConnectionLost(mine.url, "own reason"))
        else:
            files.fail(mine._replace(until=WRITTEN), outcome)


def begin_confirmed(files, chance, now_s, answer):
    begun = []
    for batch in files.next_batches(now_s):
        confirmed = batch
        if batch.is_contended:
            confirmed = files.confirmed(batch, [answer] * len(batch.requests), NOW_S)
        if confirmed.requests:
            begun.append(confirmed)
    return begun
