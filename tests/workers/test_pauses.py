"""Hosts that ask for quiet, and what processes say to each other of them: absolute, one way, and never blocking."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import Future

import pytest
from origin import Pattern, stall_after, status
from teams import WAIT_S
from thread_worker import ThreadWorker

from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.download.retry import HostPauses
from mediacrawl.errors import HttpStatusError
from mediacrawl.workers.channel import Channel
from mediacrawl.workers.processes import MOST_SILENT_TICKS, WorkerDied
from mediacrawl.workers.protocol import HostPause, Release, Stop, TransferBatch, UnderWay

FLOOD = 20000


def heard(team, host="127.0.0.1"):
    """Wait until the leading process knows of a pause."""
    known = threading.Event()
    team.pauses.subscribe(lambda paused, _until: paused == host and known.set())
    assert known.wait(WAIT_S)


def pid_of(worker):
    while worker._process is None:
        threading.Event().wait(0.01)
    return worker._process.pid


# --- who tells whom ---------------------------------------------------------------------------------


def test_a_host_that_asks_one_worker_for_quiet_is_left_alone_by_all(origin, team):
    team = team(processes=2, threads=1, spawn=ThreadWorker)
    url = origin.add("/a.jpg", b"x", faults=[status(429, retry_after=1000)])
    first, _second = start(team, origin)
    (outcome,) = ask(first, team, url)
    assert isinstance(outcome, HttpStatusError)
    heard(team)
    assert team.pauses.remaining_s("127.0.0.1") == pytest.approx(1000, abs=60)
    for worker in list(team.pool._workers):
        (outcome,) = ask(worker, team, origin.add("/b.jpg", b"y"))
        assert "asked for a pause" in str(outcome)
    assert origin.requests_for("/b.jpg") == []


def ask(worker, team, url):
    """Of this very worker."""
    future = Future()
    worker.begin(TransferBatch(next(team.pool._numbers), [TransferRequest(url, url)], 10.0), "", future)
    return future.result(WAIT_S)


def test_a_deadline_is_told_once_to_each_other_worker_and_never_back(origin, team, monkeypatch):
    team = team(processes=3, threads=1, spawn=ThreadWorker)
    posted = Counter()
    for worker in start(team, origin):
        post = worker._channel.post
        monkeypatch.setattr(
            worker._channel,
            "post",
            lambda message, worker=worker, post=post: (
                posted.update([worker] if isinstance(message, HostPause) else []),
                post(message),
            ),
        )
    asking, *others = team.pool._workers
    ask(asking, team, origin.add("/a.jpg", b"x", faults=[status(429, retry_after=1000)]))
    heard(team)
    # Each worker answers once more, so whatever it had to say before has been heard.
    for worker in list(team.pool._workers):
        ask(worker, team, origin.add("/b.jpg", b"y"))
    assert posted == dict.fromkeys(others, 1)


def start(team, origin):
    """All workers of a team, ready."""
    team.pool.start()
    for worker in list(team.pool._workers):
        outcomes = ask(worker, team, origin.add("/start.jpg", b"s"))
        for outcome in outcomes:
            if isinstance(outcome, Fetched):
                outcome.part.close()
        team.pool.flush()
    return list(team.pool._workers)


def test_a_worker_that_starts_during_a_pause_keeps_it_too(origin, team):
    team = team(spawn=ThreadWorker)
    team.pauses.pause("127.0.0.1", 1000.0)
    (outcome,) = team.fetch(origin.add("/a.jpg", b"x"))
    assert "asked for a pause" in str(outcome)
    assert origin.requests == []


def test_so_does_one_that_takes_the_place_of_a_worker_that_was_killed(origin, team):
    team = team(spawn=ThreadWorker)
    url = origin.add("/a.jpg", Pattern(300_000), faults=[stall_after(200_000)])
    future = team.pool.submit([TransferRequest(url, url)], 10.0)
    origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= 200_000)
    team.pauses.pause("127.0.0.1", 1000.0)
    team.pool._workers[0]._process.kill()
    with pytest.raises(WorkerDied):
        future.result(WAIT_S)
    (outcome,) = team.fetch(url)
    assert "asked for a pause" in str(outcome)
    assert len(origin.requests) == 1


# --- floods: nothing that posts ever waits ----------------------------------------------------------


def test_a_process_that_does_not_read_blocks_nobody_who_posts_to_it(origin, team):
    """A stopped worker: 20,000 pauses, releases and answers go to it; then it reads them all, and works on."""
    team = team(threads=1)
    (worker,) = start(team, origin)
    os.kill(pid_of(worker), signal.SIGSTOP)
    for number in range(FLOOD):
        team.pauses.pause(f"host-{number}.example", 1000.0)
        worker.post(Release([]))
    assert worker._channel._outbox.qsize() > FLOOD  # so the sockets are full, and the sender waits
    os.kill(pid_of(worker), signal.SIGCONT)
    (outcome,) = team.fetch(origin.add("/a.jpg", b"x"))
    assert isinstance(outcome, Fetched)
    outcome.part.close()


def test_two_processes_that_both_say_much_before_they_read_hear_all_of_it():
    """With a send that blocks, each would wait for the other for ever."""
    ours, theirs = socket.socketpair()
    ends = [Channel(ours), Channel(theirs)]
    for end in ends:
        for number in range(FLOOD):
            end.post(HostPause(f"host-{number}.example", 1000.0 + number))
    for end in ends:
        for number in range(FLOOD):
            assert end.receive() == HostPause(f"host-{number}.example", 1000.0 + number)
    for end in ends:
        end.finish(WAIT_S)
    for end in ends:
        with pytest.raises(EOFError):
            end.receive()
        end.close()


@pytest.mark.parametrize("message", [HostPause("host.example", 1e12), UnderWay([])], ids=["HostPause", "UnderWay"])
def test_a_worker_that_says_the_same_again_and_again_keeps_nobody_from_working(origin, team, message):
    """What it says is heard by a thread that passes nothing on but news."""
    team = team(processes=2, threads=1, spawn=ThreadWorker)
    first, second = start(team, origin)
    posted = []
    post = second._channel.post
    second._channel.post = lambda news: (posted.append(news), post(news))
    for _ in range(FLOOD):
        first._hear(message)
    quiet = [news for news in posted if isinstance(news, HostPause)]
    assert len(quiet) == isinstance(message, HostPause)
    (outcome,) = ask(second, team, origin.add("/a.jpg", b"x"))
    assert isinstance(outcome, Fetched)
    outcome.part.close()


def test_finish_gives_up_on_a_process_that_does_not_read():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    for _ in range(FLOOD):
        channel.post(HostPause("host.example", 1000.0))
    channel.finish(0.0)
    assert not channel._sender.is_alive()
    channel.close()
    theirs.close()


def test_what_is_posted_to_a_process_that_has_gone_is_dropped():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.close()
    channel.post(Stop())
    channel._sender.join(WAIT_S)
    channel.post(Stop())
    assert channel._outbox.qsize() == 0
    channel.finish(0.0)
    channel.close()


def test_a_message_that_cannot_be_pickled_is_said_to_who_posts_it():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with pytest.raises(Exception, match="pickle"):
        channel.post(threading.Lock())
    channel.post(Stop())
    channel.finish(WAIT_S)
    channel.close()
    other = Channel(theirs)
    assert isinstance(other.receive(), Stop)
    other.finish(WAIT_S)
    other.close()


# --- a worker that is there, and does nothing -------------------------------------------------------


def test_a_worker_that_says_nothing_any_more_is_ended_and_its_files_begin_anew(origin, team, monkeypatch, caplog):
    monkeypatch.setattr("mediacrawl.workers.processes.TICK_S", 0.01)
    monkeypatch.setattr(
        "mediacrawl.workers.processes.MOST_SILENT_TICKS", 10_000
    )  # a process begins: that may take long
    team = team()
    url = origin.add("/a.jpg", Pattern(300_000), faults=[stall_after(200_000)])
    future = team.pool.submit([TransferRequest(url, url)], 10.0)
    origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= 200_000)
    worker = team.pool._workers[0]
    os.kill(pid_of(worker), signal.SIGSTOP)
    monkeypatch.setattr("mediacrawl.workers.processes.MOST_SILENT_TICKS", worker._silent_ticks + 100)
    with pytest.raises(WorkerDied):
        future.result(WAIT_S)
    assert any("says nothing any more" in record.getMessage() for record in caplog.records)


def test_that_takes_a_minute_and_a_worker_speaks_twice_a_second():
    assert MOST_SILENT_TICKS == 60


def test_close_ends_a_worker_that_is_stopped(origin, team):
    team = team()
    (worker,) = start(team, origin)
    os.kill(pid_of(worker), signal.SIGSTOP)
    team.pool.close(time.monotonic() + 0.1)
    assert not worker._thread.is_alive()
    assert worker._process.returncode == -signal.SIGKILL


def test_a_worker_that_cannot_be_started_is_said_in_one_line_and_given_up(origin, team, caplog):
    team = team()

    def refuse(_end):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    team.pool._spawn = refuse
    url = origin.add("/a.jpg", b"x")
    for _ in range(5):
        with pytest.raises(WorkerDied):
            team.pool.submit([TransferRequest(url, url)], 10.0).result(WAIT_S)
    assert "A worker process cannot be started: [Errno 11] Resource temporarily unavailable" in caplog.text
    assert "again and again" in caplog.text


# --- subscribers ------------------------------------------------------------------------------------


def test_listeners_hear_of_each_longer_deadline_and_of_those_known_before():
    now = [100.0]
    pauses = HostPauses(lambda: now[0])
    pauses.pause("over", 1)
    pauses.pause("a", 50)
    now[0] = 110.0
    told = []
    listener = lambda host, until: told.append((host, until))  # noqa: E731
    pauses.subscribe(listener)
    pauses.pause_until("a", 140.0)  # shorter
    pauses.pause_until("a", 150.0)  # the same
    pauses.pause_until("a", 160.0)
    pauses.pause_until("b", 170.0, sent_by=listener)
    pauses.unsubscribe(listener)
    pauses.pause_until("c", 180.0)
    assert told == [("a", 150.0), ("a", 160.0)]
    assert pauses.remaining_s("b") == 60.0
