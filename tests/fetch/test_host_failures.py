"""Hosts that fail: their files wait together, a single file is tried, and at last all of them fail."""

import contextlib
import math
import socket
import threading

import pytest
from origin import Answer, Origin, Pattern, dead_port

from mediacrawl.download.records import Fetched
from mediacrawl.download.retry import Backoff, concerns_host
from mediacrawl.errors import (
    ConnectError,
    ConnectionLost,
    HostAvoided,
    HttpStatusError,
    InvalidResponse,
    NoResponse,
    TooLarge,
    UnsupportedURL,
    WrongContent,
)
from mediacrawl.fetch.host_failures import FailingHosts, HostFailures
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.refetch import RefetchPolicy
from mediacrawl.fetch.request import DOWNLOADED, FAILED, FETCHED, INTERRUPTED, RESUMED, FileRequest
from mediacrawl.fetch.session import fetch

URL = "http://h/a.jpg"
REFUSED = ConnectError(URL, "connection refused by h")
SILENT = NoResponse(URL, "nothing came for 30 s")
LIMITED = HttpStatusError(URL, 429, "Too Many Requests")
TWICE = Backoff(times=2, base_s=1.0, max_s=8.0, max_retry_after_s=300.0)


def unavailable(code=503, retry_after_s=None):
    return HttpStatusError(URL, code, "", retry_after_s)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (REFUSED, True),
        (SILENT, True),
        (LIMITED, True),
        (HttpStatusError(URL, 429, "", 9999.0), True),
        (unavailable(502), True),
        (unavailable(503, 300.0), True),
        (unavailable(503, 301.0), False),
        (unavailable(504), True),
        (HttpStatusError(URL, 500), False),
        (HttpStatusError(URL, 404), False),
        (ConnectionLost(URL, "cut"), False),
        (InvalidResponse(URL, "no head"), False),
        (UnsupportedURL(URL, "ftp"), False),
        (None, False),
    ],
)
def test_which_errors_concern_the_host(error, expected):
    assert concerns_host(error, TWICE) is expected


# The failures of a host by themselves


class Steady(Backoff):
    """Delays without jitter."""

    def delay_s(self, attempt, _random=None):
        return min(self.max_s, self.base_s * 2.0 ** (attempt - 1))


STEADY = Steady(times=3, base_s=1.0, max_s=60.0, max_retry_after_s=300.0)


def fail(failures, error, now_s, began_s=None, backoff=STEADY, most=8):
    return failures.fail(error, now_s if began_s is None else began_s, now_s, most, backoff)


def pauses_of(error, tries, backoff=STEADY):
    """The pauses after so many failures in a row, each of a request that is sent when the pause is over."""
    failures, now_s, pauses = HostFailures(("h", 80)), 100.0, []
    for _ in range(tries):
        fail(failures, error, now_s, backoff=backoff)
        if failures.error is not None:
            pauses.append(None)
            break
        pauses.append(failures.wait_s(now_s))
        now_s += pauses[-1]
    return pauses


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (REFUSED, [1, 2, 4, None]),
        (SILENT, [1, 2, 4, None]),
        (unavailable(503, 7.0), [7, 7, 7, None]),
        (HttpStatusError(URL, 429, "", 7.0), [7, 7, 7, None]),
        (LIMITED, [1, 2, 4, 8, 16, 32, None]),  # until a minute has passed
        (HttpStatusError(URL, 429, "", 301.0), [None]),
        (unavailable(503), [0, 0, 1, 2, 4, None]),  # at first only the files wait
    ],
)
def test_the_pauses_grow_until_the_host_is_given_up(error, pauses):
    assert pauses_of(error, 20) == pauses


def test_failures_of_another_kind_begin_another_row():
    failures, now_s = HostFailures(("h", 80)), 0.0
    for number in range(40):
        fail(failures, (REFUSED, LIMITED, unavailable(502))[number % 3], now_s)
        now_s += failures.wait_s(now_s)
    assert failures.error is None


def test_a_limit_is_waited_for_without_a_storm_of_requests():
    """Even if no delay between retries is wanted."""
    assert len(pauses_of(LIMITED, 10_000, Steady(times=3, base_s=0.0, max_s=60.0))) < 70


def test_a_response_after_a_host_was_given_up_shows_that_it_is_there():
    failures = HostFailures(("h", 80))
    fail(failures, REFUSED, 10.0, backoff=TWICE._replace(times=0))
    assert failures.error is not None
    failures.succeed(9.0, 1, 8)
    assert (failures.error, failures.is_failing) == (None, False)


@pytest.mark.parametrize("error", [REFUSED, LIMITED])
def test_without_retries_the_first_failure_counts(error):
    assert pauses_of(error, 3, Steady(times=0)) == [None]


def test_a_number_of_retries_is_as_good_for_a_connection_as_for_all_else():
    assert len(pauses_of(REFUSED, 100, Steady(times=20))) == 21


def test_failures_that_began_before_a_pause_are_one_failure():
    failures = HostFailures(("h", 80))
    for _ in range(50):
        assert fail(failures, REFUSED, 10.0, began_s=9.0)
    assert (failures.error, failures.wait_s(10.0)) == (None, 1.0)
    assert fail(failures, REFUSED, 11.0)
    assert failures.wait_s(11.0) == 2.0


def test_a_response_to_a_request_from_before_a_pause_does_not_end_it():
    failures = HostFailures(("h", 80))
    fail(failures, LIMITED, 10.0)
    failures.succeed(9.0, 5, 8)
    assert failures.is_failing
    failures.succeed(11.0, 1, 8)
    assert not failures.is_failing


def test_a_429_lowers_the_connections_and_they_rise_slowly():
    failures = HostFailures(("h", 80))
    fail(failures, LIMITED, 10.0)
    assert failures.connections(8) == 1
    now_s, seen = 11.0, []
    for _ in range(400):
        failures.succeed(now_s, 1, 8)
        now_s += 1
        if (now := failures.connections(8)) not in seen:
            seen.append(now)
    assert seen == [4, 5, 6, 7, 8]
    fail(failures, REFUSED, now_s)
    failures.succeed(now_s + 2, 1, 8)
    assert failures.connections(8) == 8  # a connection that fails says nothing of a limit


def test_a_host_that_limits_again_is_left_alone_for_longer():
    failures, now_s = HostFailures(("h", 80)), 0.0
    for _ in range(4):
        fail(failures, LIMITED, now_s)
        now_s += failures.wait_s(now_s)
    failures.succeed(now_s, 1, 8)
    fail(failures, LIMITED, now_s)
    assert failures.wait_s(now_s) == 4.0


def test_a_single_file_is_tried_after_a_pause_and_another_where_that_one_is_large():
    failures = HostFailures(("h", 80))
    fail(failures, REFUSED, 10.0)
    assert failures.wait_s(11.0) == 0.0
    failures.begin(11.0)
    assert failures.wait_s(11.0) == 15.0
    failures.end(9.0)  # a batch from before the pause
    assert failures.wait_s(12.0) == 14.0
    failures.end(11.0)
    assert failures.wait_s(12.0) == 0.0


def test_a_host_that_was_given_up_is_tried_once_more_after_a_long_time():
    failures = HostFailures(("h", 80))
    fail(failures, REFUSED, 10.0, backoff=TWICE._replace(times=0))
    failures.retry_if_due(309.0, TWICE)
    assert failures.error is not None
    failures.retry_if_due(310.0, TWICE)
    assert failures.error is None
    fail(failures, REFUSED, 311.0, backoff=TWICE._replace(times=0))
    assert failures.error is not None


def test_hosts_are_known_by_host_and_port_and_forgotten_when_they_respond():
    hosts = FailingHosts()
    one = hosts.of("http://h/a")
    assert hosts.of("http://h:80/b") is one
    assert hosts.of("https://h/a") is not one
    hosts.keep(one)
    del one
    assert hosts.of("http://h/c").site == ("h", 80)
    assert hosts.of("no url").site == ("", 0)


# In the queue


def queue_of(per_host=4, backoff=TWICE, **more):
    return FetchQueue("get", RefetchPolicy(), per_host, math.inf, backoff, **more)


def look_up(files, now_s=0.0):
    asked = files.take_lookups()
    files.looked_up(asked, [None] * len(asked), 1e9, now_s)


def wanted(files, *urls, **more):
    files.add([FileRequest.of_url(url)._replace(**more) for url in urls])
    look_up(files)


def begin(files, now_s):
    files.wake(now_s)
    look_up(files, now_s)
    return list(files.next_batches(now_s))


def after_pause(files, now_s):
    """The time at which the next batch may begin; none may begin now."""
    assert begin(files, now_s) == []
    return files.next_wake_s


def results(files):
    writes = files.take_writes()
    files.written(writes, [write.change.entry for write in writes])
    return files.take_results()


def pictures(host, count):
    return [f"http://{host}/{number}.jpg" for number in range(count)]


def fetched():
    return Fetched(None, 304, "http://h/", took_s=0.01)


def test_one_file_stands_for_the_others_and_all_fail_when_the_tries_are_spent():
    files, now_s, asked = queue_of(), 0.0, []
    wanted(files, *pictures("h", 20))
    for batch in (batches := begin(files, now_s)):
        files.fetched(batch, [REFUSED], now_s)
    assert len(batches) == 4
    for _ in range(2):
        now_s = after_pause(files, now_s)
        (batch,) = begin(files, now_s)
        asked += [request.url for request in batch.requests]
        files.fetched(batch, [REFUSED], now_s)
    assert begin(files, now_s) == []
    failed = results(files)
    assert len(asked) == len(set(asked)) == 2
    assert (len(files), {result.status for result in failed}, len(failed)) == (0, {FAILED}, 20)
    assert {(result.error.host, result.reason) for result in failed} == {("h:80", "connection refused by h")}
    wanted(files, "http://h/late.jpg")
    assert begin(files, now_s) == []
    assert [result.error.host for result in results(files)] == ["h:80"]


def test_a_host_that_comes_back_loses_no_file():
    files, now_s = queue_of(), 0.0
    wanted(files, *pictures("h", 9))
    for batch in begin(files, now_s):
        files.fetched(batch, [SILENT], now_s)
    (batch,) = begin(files, now_s := after_pause(files, 0.0))
    files.fetched(batch, [fetched()], now_s)
    batches = begin(files, now_s)
    assert len(batches) > 1
    while batches:
        for batch in batches:
            files.fetched(batch, [fetched()] * len(batch.requests), now_s)
        batches = begin(files, now_s)
    assert (len(results(files)), len(files)) == (9, 0)


def test_the_pause_after_a_probe_is_not_longer_because_others_waited_for_the_probe():
    files = queue_of(per_host=1)
    wanted(files, *pictures("h", 3))
    (batch,) = begin(files, 0.0)
    files.fetched(batch, [REFUSED], 0.0)
    now_s = after_pause(files, 0.0)
    (batch,) = begin(files, now_s)
    assert begin(files, now_s) == []  # the others wait for the end of the probe
    files.fetched(batch, [REFUSED], now_s)
    assert after_pause(files, now_s) - now_s <= 2.0


def test_hosts_that_fail_do_not_hold_up_others():
    files = queue_of()
    wanted(files, *pictures("h", 9), *pictures("good", 9))
    for batch in begin(files, 0.0):
        files.fetched(batch, [REFUSED if batch.host.name == "h:80" else fetched()], 0.0)
    assert {batch.host.name for batch in begin(files, 0.0)} == {"good:80"}


def test_a_file_that_fails_alone_does_not_give_up_its_host():
    files, now_s, tries = queue_of(per_host=1), 0.0, 0
    wanted(files, *pictures("h", 60))
    for _ in range(200):
        for batch in begin(files, now_s):
            outcomes = []
            for request in batch.requests:
                outcomes.append(SILENT if request.url.endswith("/7.jpg") else fetched())
                tries += outcomes[-1] is SILENT
                if outcomes[-1] is SILENT:
                    break
            files.fetched(batch, outcomes, now_s)
        now_s = max(now_s, files.next_wake_s or now_s)
    failed = [result for result in results(files) if result.status == FAILED]
    assert [result.url for result in failed] == ["http://h/7.jpg"]
    assert tries == TWICE.times + 1


@pytest.mark.parametrize("code", [502, 503, 504])
def test_one_file_that_is_unavailable_does_not_pause_the_host(code):
    files = queue_of(per_host=1)
    wanted(files, *pictures("h", 3))
    (batch,) = begin(files, 0.0)
    files.fetched(batch, [unavailable(code)], 0.0)
    assert len(begin(files, 0.0)) == 1
    assert files.take_pauses() == []


def test_a_redirect_to_a_host_that_fails_is_no_failure_of_the_first_host():
    files = queue_of(per_host=1)
    wanted(files, *pictures("h", 3))
    elsewhere = ConnectError("http://cdn:81/x", "connection refused by cdn:81")
    (batch,) = begin(files, 0.0)
    files.fetched(batch, [elsewhere], 0.0)
    (second,) = begin(files, 0.0)
    assert second.requests[0].url == "http://h/1.jpg"
    files.fetched(second, [fetched()], 0.0)
    now_s = 0.0
    for _ in range(20):
        for batch in begin(files, now_s):
            outcomes = [elsewhere if one.url.endswith("0.jpg") else fetched() for one in batch.requests]
            files.fetched(batch, outcomes, now_s)
        now_s = max(now_s, files.next_wake_s or now_s)
    (failed,) = [result for result in results(files) if result.status == FAILED]
    assert (failed.url, failed.error.host) == ("http://h/0.jpg", "cdn:81")


def test_of_the_files_that_are_redirected_to_a_host_that_fails_one_is_tried_at_a_time():
    files = queue_of(per_host=4)
    wanted(files, *pictures("h", 40))
    elsewhere, now_s, asked = ConnectError("http://cdn:81/x", "refused"), 0.0, 0
    for _ in range(200):
        for batch in begin(files, now_s):
            outcomes = []
            for request in batch.requests:
                avoided = ("cdn", 81) in request.transfer.avoided
                asked += not avoided
                outcomes.append(HostAvoided("http://cdn:81/x", "later") if avoided else elsewhere)
                if len(batch.requests) > 1:
                    break
            files.fetched(batch, outcomes, now_s)
        if files.next_wake_s is None and not files._ready:
            break
        now_s = max(now_s, files.next_wake_s or 0.0)
    assert {result.error.host for result in results(files)} == {"cdn:81"}
    assert (len(files), asked) == (0, 4 + TWICE.times)


def test_files_that_avoided_a_host_are_fetched_once_it_responds():
    files, now_s, tries = queue_of(per_host=4), 0.0, 0
    wanted(files, *pictures("h", 40))
    elsewhere = ConnectError("http://cdn:81/x", "refused")
    for _ in range(300):
        for batch in begin(files, now_s):
            outcomes = []
            for request in batch.requests:
                avoided = ("cdn", 81) in request.transfer.avoided
                tries += 1
                outcomes.append(
                    HostAvoided("http://cdn:81/x", "later") if avoided else elsewhere if now_s < 0.1 else fetched()
                )
                if not isinstance(outcomes[-1], Fetched):
                    break
            files.fetched(batch, outcomes, now_s)
        now_s = max(now_s, files.next_wake_s or now_s)
    assert (len(results(files)), len(files)) == (40, 0)
    assert tries <= 2 * 40 + 1


def test_a_429_pauses_the_host_for_all_processes():
    files = queue_of()
    wanted(files, URL)
    (batch,) = begin(files, 0.0)
    files.fetched(batch, [LIMITED], 0.0)
    (pause,) = files.take_pauses()
    assert (pause.host, pause.site, pause.reason, pause.concerns_all) == ("h", "h:80", LIMITED.reason, True)
    assert 0.5 <= pause.until_s <= 1.0


def test_a_stop_interrupts_files_that_wait_for_their_host():
    files = queue_of()
    wanted(files, *pictures("h", 6), "http://other/1.jpg")
    *batches, last = begin(files, 0.0)
    for batch in batches:
        files.fetched(batch, [REFUSED], 0.0)
    files.stop()
    files.fetched(last, [REFUSED], 0.0)
    assert {result.status for result in results(files)} == {INTERRUPTED}
    assert (len(files), files.next_wake_s) == (0, None)


def test_a_file_whose_driver_takes_over_gets_the_error_as_its_step():
    files, now_s = queue_of(backoff=TWICE._replace(times=1)), 0.0
    wanted(files, URL, until=FETCHED)
    for _ in range(2):
        (batch,) = begin(files, now_s)
        files.fetched(batch, [REFUSED], now_s)
        now_s = after_pause(files, now_s)
    (step,) = files.take_steps()
    assert (step.outcome.reason, len(files)) == ("connection refused by h", 0)


@pytest.mark.parametrize(
    "outcome", [fetched(), HttpStatusError(URL, 404), WrongContent(URL, "html"), TooLarge(URL, "large")]
)
def test_a_response_of_any_kind_ends_the_row_of_failures(outcome):
    files = queue_of(per_host=1)
    wanted(files, *pictures("h", 20))
    (batch,) = begin(files, 0.0)
    files.fetched(batch, [REFUSED], 0.0)
    (batch,) = begin(files, now_s := after_pause(files, 0.0))
    files.fetched(batch, [outcome], now_s)
    assert not batch.host.failures.is_failing


def dead_hosts(files, count):
    """Hosts that have failed once, beside one that is busy. Return the batch of the busy one."""
    wanted(files, "http://busy/film.mp4", *(f"http://dead{number}/1.jpg" for number in range(count)))
    busy, *batches = begin(files, 0.0)
    for batch in batches:
        files.fetched(batch, [ConnectError(batch.requests[0].url, "refused")], 0.0)
    return busy


def probes_until(files, until_s, step_s=0.02):
    """The batches that begin until then; each of them fails at once."""
    count, now_s = 0, 0.0
    while now_s <= until_s:
        for batch in begin(files, now_s):
            count += 1
            files.fetched(batch, [ConnectError(batch.requests[0].url, "refused")], now_s)
        now_s += step_s
    return count


def test_while_others_are_busy_hosts_that_fail_are_tried_one_after_another():
    files = queue_of(per_host=1, backoff=TWICE._replace(times=9, max_s=1.0))
    dead_hosts(files, 500)
    assert 60 < probes_until(files, 10.0) <= 105


def test_without_other_work_all_that_are_due_are_tried_at_once():
    files = queue_of(per_host=1, backoff=TWICE._replace(times=9, max_s=1.0))
    busy = dead_hosts(files, 100)
    probes_until(files, 1.5)
    files.fetched(busy, [fetched()], 1.6)
    assert len(begin(files, 1.6)) > 50


# Over real connections

SOON = {"MEDIACRAWL_BACKOFF_S": "0.02", "MEDIACRAWL_BACKOFF_MAX_S": "0.3", "MEDIACRAWL_PROCESSES": "0"}
BODY = Pattern(300_000).read()
transports = pytest.mark.parametrize("transport", ["requests", "curl"])


def bring(folder, urls, transport="requests", **more):
    settings = SOON | {"MEDIACRAWL_TRANSPORT": transport} | more
    return {result.url: result for result in fetch(urls, store=folder, settings=settings)}


@transports
def test_a_server_that_restarts_in_the_middle_loses_no_file(tmp_path, transport):
    """Half of the files are under way when the server goes; each of them is continued."""
    first = Origin().__enter__()
    port, gone = first.port, threading.Event()

    def cut(_request):
        gone.set()
        head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Type: video/mp4\r\nContent-Length: 300000\r\n\r\n'
        return head + BODY[:200_000]

    urls = [first.on(f"/{number}.mp4", cut) for number in range(12)]
    again = []

    def restart():
        gone.wait()
        first.close()
        second = Origin(port=port)
        for number in range(12):
            second.add(f"/{number}.mp4", BODY, etag='"1"')
        again.append(second.__enter__())

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        results = bring(tmp_path, urls, transport, MEDIACRAWL_RETRY_TIMES="40")
    finally:
        thread.join()
        again[0].close()
    assert {(result.status, result.reason) for result in results.values()} == {(DOWNLOADED, "")}
    assert sorted(result.size_bytes for result in results.values()) == [300_000] * 12


@transports
def test_a_rate_limit_without_a_time_is_waited_for(tmp_path, transport):
    with Origin() as origin:
        allowed = iter([True] * 5 + [False] * 6 + [True] * 4 + [False] * 3 + [True] * 99)
        lock = threading.Lock()

        def answer(_request):
            with lock:
                fine = next(allowed)
            return Answer(200, [], b"\x89PNG\r\n\x1a\n" + bytes(99)) if fine else Answer(429)

        urls = [origin.on(f"/{n}.png", answer) for n in range(20)]
        results = bring(tmp_path, urls, transport, MEDIACRAWL_BACKOFF_MAX_S="2")
    assert {result.status for result in results.values()} == {DOWNLOADED}


@transports
def test_a_dead_host_fails_at_once_once_its_tries_are_spent(tmp_path, transport):
    dead = dead_port()
    with Origin() as origin:
        good = [origin.add(f"/{number}.bin", bytes(99)) for number in range(30)]
        bad = [f"http://127.0.0.2:{dead}/{number}.bin" for number in range(300)]
        results = bring(tmp_path, [*bad, *good], transport, MEDIACRAWL_RETRY_TIMES="2")
    assert {results[url].status for url in good} == {DOWNLOADED}
    assert {(results[url].status, results[url].error.host) for url in bad} == {(FAILED, f"127.0.0.2:{dead}")}


def test_bytes_of_an_earlier_try_of_the_run_do_not_count_as_there_before(tmp_path):
    with Origin() as origin:
        plan = iter([BODY[:200_000], None])

        def answer(request):
            body = next(plan, BODY)
            if body is None:
                return Answer(503)
            start = int(request.headers.get("range", "bytes=0-").strip("bytes=-"))
            code, fields = (206, f"Content-Range: bytes {start}-299999/300000\r\n") if start else (200, "")
            head = f'HTTP/1.1 {code} OK\r\nETag: "1"\r\n{fields}Content-Length: {300_000 - start}\r\n\r\n'
            return head.encode() + (body[start:] if len(body) == len(BODY) else body)

        url = origin.on("/a.mp4", answer)
        result = bring(tmp_path, [url])[url]
    assert (result.status, result.saved_bytes) == (DOWNLOADED, 0)
    assert result.fetched_bytes >= 300_000
    assert RESUMED != DOWNLOADED


def test_files_of_hosts_that_fail_take_no_room_of_others():
    files = queue_of(per_host=1)
    wanted(files, *pictures("h", 50), *pictures("good", 5))
    assert (files.has_room(55), files.has_room(56)) == (False, True)
    for batch in begin(files, 0.0):
        if batch.host.name == "h:80":
            files.fetched(batch, [REFUSED], 0.0)
    assert (files.has_room(5), files.has_room(6)) == (False, True)


@contextlib.contextmanager
def silent_port():
    """Accepts connections by the backlog, and answers nothing."""
    with socket.create_server(("0.0.0.0", 0), backlog=1024) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_a_list_of_twenty_hosts_of_which_half_fail(tmp_path, transport):
    """Five are dead, three silent, two answer 429 in bursts, and ten are good."""
    lock, turns = threading.Lock(), {}

    def limited(request):
        with lock:
            turn = turns[request.headers["host"]] = turns.get(request.headers["host"], 0) + 1
        return Answer(429) if turn % 30 > 24 else Answer(200, [], b"x" * 99)

    dead = dead_port("0.0.0.0")
    with Origin("0.0.0.0") as origin, silent_port() as silent:
        for number in range(20):
            origin.add(f"/good/{number}.bin", bytes(99))
            origin.on(f"/limited/{number}.bin", limited)
        hosts = [f"127.0.7.{number}:{dead}/dead" for number in range(1, 6)]
        hosts += [f"127.0.8.{number}:{silent}/silent" for number in range(1, 4)]
        hosts += [f"127.0.9.{number}:{origin.port}/limited" for number in range(1, 3)]
        hosts += [f"127.0.6.{number}:{origin.port}/good" for number in range(1, 11)]
        urls = [f"http://{host}/{number}.bin" for host in hosts for number in range(20)]
        results = bring(
            tmp_path,
            urls,
            transport,
            MEDIACRAWL_STALL_S="0.5",
            MEDIACRAWL_RETRY_TIMES="2",
            MEDIACRAWL_BACKOFF_MAX_S="5",
        )
    assert len(results) == 400
    failed = {url for url, result in results.items() if result.status == FAILED}
    assert failed == {url for url in urls if "/dead/" in url or "/silent/" in url}
    given_up = {result.error.host for url, result in results.items() if url in failed}
    assert given_up == {host.partition("/")[0] for host in hosts[:8]}
