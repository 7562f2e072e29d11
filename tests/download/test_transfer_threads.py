from __future__ import annotations

import math
import threading
import time
from concurrent.futures import CancelledError

import pytest
from crawling import wait_until
from fetching import AT_ONCE
from origin import Fault, Pattern, drop_after, stall_after

from mediacrawl.download.downloader import Downloader, Policy
from mediacrawl.download.progress import Progress
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.download.retry import Backoff
from mediacrawl.errors import ConnectionLost, HttpStatusError, Interrupted
from mediacrawl.store.parts import PartInUse
from mediacrawl.workers.threads import TransferThreads

WAIT_S = 30  # for what comes at once; only a test that fails waits for it


class Fake:
    """A downloader whose transfers last until they are let go or stopped."""

    def __init__(self):
        self.transport = self
        self.aborts = 0
        self.running = 0
        self.peak = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.threads = set()

    def abort(self):
        self.aborts += 1

    def fetch_batch(self, requests, cancel, progress_of, _budget_s):
        return [self.outcome(request, cancel, progress_of(request)) for request in requests]

    def fsync_completed(self, outcomes):
        return outcomes

    def outcome(self, request, cancel, progress):
        try:
            return self.fetch(request, cancel=cancel, progress=progress)
        except Exception as error:
            return error

    def fetch(self, request, *, cancel, progress):
        if request.key == "sleeps":
            progress.waits_since_s = Progress.SLEEPS
        elif request.key == "waits":
            progress.waits_since_s = time.monotonic()
        with self.lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
            self.threads.add(threading.get_ident())
        self.begun.release()
        try:
            while not self.go.acquire(timeout=0.01):
                cancel.check()
            progress.fetched_bytes += 5
            if request.key.startswith("bad"):
                raise ConnectionLost(request.url, "broken")
            return Fetched(None, 304, request.url)
        finally:
            with self.lock:
                self.running -= 1

    def wait_begun(self, count):
        assert all(self.begun.acquire(timeout=WAIT_S) for _ in range(count))

    def release(self, count):
        self.go.release(count)


class Submitted:
    """One transfer of a pool, as a future of its own."""

    def __init__(self, future):
        self.future = future

    def __getattr__(self, name):
        return getattr(self.future, name)

    def result(self, timeout_s):
        (outcome,) = self.future.result(timeout_s)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def submit(pool, request, name):
    return Submitted(pool.submit([request._replace(name=name)], math.inf))


def close(pool, grace_s=WAIT_S):
    pool.close(time.monotonic() + grace_s)


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def pool(fake):
    running = TransferThreads(fake, 3)
    yield running
    close(running)
    assert not any(thread.is_alive() for thread in running._threads)


def want(key="a"):
    return TransferRequest(key, f"http://h/{key}")


def test_at_most_so_many_run_at_once_and_all_get_their_turn(pool, fake):
    futures = [submit(pool, want(str(n)), str(n)) for n in range(10)]
    fake.wait_begun(3)
    assert not fake.begun.acquire(blocking=False)
    assert len(pool.active) == 3
    fake.release(10)
    assert [future.result(WAIT_S).url for future in futures] == [f"http://h/{n}" for n in range(10)]
    assert fake.peak == 3


@pytest.mark.parametrize("key", ["sleeps", "waits"])
def test_who_waits_for_a_host_or_for_a_time_holds_no_place(pool, fake, key):
    waiting = [submit(pool, want(key), str(n)) for n in range(20)]
    fake.wait_begun(20)
    others = [submit(pool, want(f"other{n}"), str(n)) for n in range(10)]
    fake.wait_begun(3)
    assert not fake.begun.acquire(timeout=0.1)
    fake.release(30)
    assert all(future.result(WAIT_S) for future in [*waiting, *others])
    fake.wait_begun(7)
    wait_until(lambda: len(pool._threads) <= 3)
    last = [submit(pool, want(str(n)), str(n)) for n in range(10)]
    fake.wait_begun(3)
    assert not fake.begun.acquire(timeout=0.1)
    fake.release(10)
    assert all(future.result(WAIT_S) for future in last)


def test_after_a_burst_a_host_that_waits_holds_no_place_either(fake):
    pool = TransferThreads(fake, 1)
    fake.release(8)
    assert all(submit(pool, want(str(n)), str(n)).result(WAIT_S) for n in range(4))
    burst = [submit(pool, want(str(n)), str(n)) for n in range(4)]
    assert all(future.result(WAIT_S) for future in burst)
    fake.wait_begun(8)
    wait_until(lambda: pool._idle == 1 and not pool._is_behind.is_set())
    submit(pool, want("sleeps"), "sleeps")
    fake.wait_begun(1)
    good = submit(pool, want("good"), "good")
    fake.wait_begun(1)
    fake.release(2)
    assert good.result(WAIT_S)
    close(pool)


def test_threads_that_come_and_go_leave_one_for_the_next_job(fake):
    pool = TransferThreads(fake, 1)
    for turn in range(5):
        sleeping = submit(pool, want("sleeps"), "sleeps")
        fake.wait_begun(1)
        quick = [submit(pool, want(str(n)), str(n)) for n in range(8)]
        fake.wait_begun(1)
        long = submit(pool, want("long"), "long")
        fake.release(10)
        assert all(future.result(WAIT_S) for future in [sleeping, *quick, long])
        fake.wait_begun(8)
        assert (pool._behind, pool._queue.qsize() <= 8) == (0, True), turn
    wait_until(lambda: (len(pool._threads), pool._idle, pool._queue.qsize()) == (1, 1, 0))
    close(pool)


def test_no_more_threads_wait_than_may(fake):
    pool = TransferThreads(fake, 3, most_waiting=4)
    waiting = [submit(pool, want("sleeps"), str(n)) for n in range(20)]
    fake.wait_begun(7)
    assert not fake.begun.acquire(timeout=0.1)
    assert len(pool._threads) == 7
    close(pool)
    assert [type(future.exception(WAIT_S)) for future in waiting[7:]] == [Interrupted] * 13


def test_where_the_system_has_no_room_for_more_threads_those_that_are_there_go_on(pool, fake, monkeypatch):
    waiting = [submit(pool, want("sleeps"), str(n)) for n in range(3)]
    fake.wait_begun(3)

    def start_none(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start_none)
    others = [submit(pool, want(f"other{n}"), str(n)) for n in range(5)]
    assert not fake.begun.acquire(timeout=0.1)
    fake.release(8)
    assert all(future.result(WAIT_S) for future in [*waiting, *others])


def test_threads_start_when_they_are_needed_and_are_used_again(pool, fake):
    fake.release(5)
    for n in range(5):
        submit(pool, want(), str(n)).result(WAIT_S)
        wait_until(lambda: pool._idle == 1)
    assert len(fake.threads) == 1


def test_as_many_threads_as_there_is_work_for(pool, fake):
    first, second = submit(pool, want(), "1"), submit(pool, want(), "2")
    fake.wait_begun(2)
    assert len(pool._threads) == 2
    fake.release(2)
    assert first.result(WAIT_S).status == second.result(WAIT_S).status == 304


def test_threads_do_not_keep_a_process_from_ending(pool, fake):
    fake.release(1)
    submit(pool, want(), "1").result(WAIT_S)
    assert all(thread.daemon for thread in pool._threads)


def test_who_draws_bars_sees_what_is_under_way_under_its_name(pool, fake):
    future = submit(pool, want(), "holiday.jpg")
    fake.wait_begun(1)
    assert [progress.name for progress in pool.active] == ["holiday.jpg"]
    fake.release(1)
    future.result(WAIT_S)
    close(pool)
    assert pool.active == []
    assert pool.fetched_bytes == 5


def test_an_error_comes_through_the_future_and_the_thread_goes_on(pool, fake):
    fake.release(2)
    with pytest.raises(ConnectionLost, match="broken"):
        submit(pool, want("bad"), "1").result(WAIT_S)
    assert submit(pool, want(), "2").result(WAIT_S).status == 304
    close(pool)
    assert pool.fetched_bytes == 10


def test_a_stop_ends_what_runs_and_what_waits_and_what_comes_later(pool, fake):
    futures = [submit(pool, want(str(n)), str(n)) for n in range(8)]
    fake.wait_begun(3)
    assert not pool.stopping
    pool.stop()
    assert pool.stopping
    futures.append(submit(pool, want(), "later"))
    for future in futures:
        with pytest.raises(Interrupted):
            future.result(WAIT_S)
    assert fake.peak == 3
    assert not fake.begun.acquire(blocking=False)


def test_what_is_submitted_after_close_is_not_left_waiting(pool, fake):
    fake.release(1)
    submit(pool, want(), "1").result(WAIT_S)
    close(pool)
    with pytest.raises(Interrupted):
        submit(pool, want(), "2").result(WAIT_S)


def test_what_nobody_waits_for_any_more_is_not_fetched(pool, fake):
    running = [submit(pool, want(str(n)), str(n)) for n in range(3)]
    fake.wait_begun(3)
    given_up, wanted = submit(pool, want("given up"), "4"), submit(pool, want("wanted"), "5")
    assert given_up.cancel()
    fake.release(4)
    assert all(future.result(WAIT_S) for future in [*running, wanted])
    with pytest.raises(CancelledError):
        given_up.result(WAIT_S)
    assert [fake.begun.acquire(blocking=False) for _ in range(2)] == [True, False]  # the wanted one alone began


def test_what_runs_cannot_be_given_up_by_its_future(pool, fake):
    future = submit(pool, want(), "1")
    fake.wait_begun(1)
    assert not future.cancel()
    fake.release(1)
    assert future.result(WAIT_S).status == 304


@pytest.fixture
def real(rig):
    pools = []

    def make(size=4, **policy):
        pools.append(TransferThreads(Downloader(rig.store, rig.transport, Policy(**policy)), size, most_waiting=0))
        return pools[-1]

    yield make
    rig.origin.close()  # ends what hangs
    for pool in pools:
        close(pool)


def test_many_files_arrive_over_a_few_connections(rig, real):
    pool = real(size=4, backoff=AT_ONCE)
    bodies = {f"/{n}": Pattern(50_000 + n, n) for n in range(40)}
    faults = {path: [drop_after(10_000)] if number % 3 == 0 else [] for number, path in enumerate(bodies)}
    urls = {path: rig.origin.add(path, body, faults=faults[path]) for path, body in bodies.items()}
    futures = {path: submit(pool, TransferRequest(path, url), path) for path, url in urls.items()}
    for path, future in futures.items():
        fetched = future.result(WAIT_S)
        assert fetched.sha256 == bodies[path].sha256()
        rig.publish(fetched, path)
    assert rig.origin.peak <= 4
    assert pool.fetched_bytes == sum(map(len, bodies.values()))
    assert rig.leftovers() == []


def test_a_stop_ends_transfers_that_are_stuck_in_the_middle_or_wait_to_try_again(rig, real):
    pool = real(size=2, backoff=Backoff(base_s=3600.0, max_s=3600.0))
    stuck = submit(
        pool, TransferRequest("a", rig.origin.add("/a", Pattern(700_000), faults=[stall_after(300_000)])), "a"
    )
    broken = submit(
        pool, TransferRequest("b", rig.origin.add("/b", Pattern(700_000), faults=[drop_after(300_000)])), "b"
    )
    rig.origin.wait_for(lambda: [r.status for r in rig.origin.requests] == [200, 200])
    close(pool)
    for future in (stuck, broken):
        with pytest.raises(Interrupted):
            future.result(0)
    assert not any(thread.is_alive() for thread in pool._threads)


def test_close_wakes_up_a_thread_that_waits_for_a_head(rig, real):
    asked = threading.Event()

    def silent(_x):
        asked.set()
        return True

    url = rig.origin.add("/a", b"x", delay_s=3600)
    rig.origin.everywhere(Fault("asked", 0, silent))
    pool = real(size=1)
    future = submit(pool, TransferRequest("a", url), "a")
    assert asked.wait(WAIT_S)
    began = time.monotonic()
    close(pool)
    assert time.monotonic() - began < WAIT_S / 3
    with pytest.raises(Interrupted):
        future.result(0)


def test_close_waits_no_longer_than_its_grace_for_a_transfer_that_does_not_end(pool, fake, monkeypatch):
    hangs = threading.Event()

    def fetch(request, *, cancel, progress):
        fake.begun.release()
        hangs.wait(WAIT_S)
        cancel.check()

    monkeypatch.setattr(fake, "fetch", fetch)
    future = submit(pool, want(), "a")
    fake.wait_begun(1)
    began = time.monotonic()
    close(pool, grace_s=0.05)
    assert time.monotonic() - began < WAIT_S / 3
    assert not future.done()
    hangs.set()
    with pytest.raises(Interrupted):
        future.result(WAIT_S)


def test_many_that_are_submitted_together_go_over_one_connection_in_their_order(rig, real):
    urls = {path: rig.origin.add(path, Pattern(1000, n)) for n, path in enumerate(["/a", "/b", "/c"])}
    future = real().submit([TransferRequest(path, url) for path, url in urls.items()], math.inf)
    for path, fetched in zip(urls, future.result(WAIT_S), strict=True):
        rig.publish(fetched, path)
    assert [request.path for request in rig.origin.requests] == ["/a", "/b", "/c"]
    assert len({request.client_port for request in rig.origin.requests}) == 1


def test_what_had_no_time_to_begin_is_left_to_others_and_leaves_nothing_behind(rig, real):
    url = rig.origin.add("/a", Pattern(1000))
    future = real().submit([TransferRequest(str(n), url) for n in range(3)], 0.0)
    (fetched,) = future.result(WAIT_S)
    rig.publish(fetched, "a")
    assert rig.leftovers() == []


def test_one_that_fails_does_not_hold_up_those_behind_it(rig, real):
    good, gone = rig.origin.add("/a", Pattern(1000)), rig.origin.url("/missing")
    requests = [TransferRequest("1", gone), TransferRequest("2", good), TransferRequest("2", good)]
    missing, fetched, twice = real(backoff=AT_ONCE).submit(requests, math.inf).result(WAIT_S)
    assert isinstance(missing, HttpStatusError)
    assert fetched.size_bytes == 1000
    assert isinstance(twice, PartInUse)  # the same file: who asked for it first has it
    rig.publish(fetched, "a")
