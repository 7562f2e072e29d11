"""Worker processes: real ones, on a real origin."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from crawling import BIG, STALLS_AT, files_in, parts_in
from origin import Pattern, drop_after, redirect, stall_after
from teams import WAIT_S

from mediacrawl import errors
from mediacrawl.download.downloader import Downloader
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.download.transfer_policy import Policy
from mediacrawl.errors import HttpStatusError, Interrupted, RedirectRefused
from mediacrawl.store.parts import PartInUse
from mediacrawl.transport.registry import TransportChoice
from mediacrawl.transport.requests_transport import RequestsTransport
from mediacrawl.workers.executor import TransferExecutor
from mediacrawl.workers.processes import MOST_DEATHS, WorkerDied, start_process
from mediacrawl.workers.protocol import RedirectAnswer
from mediacrawl.workers.threads import TransferThreads


def add(origin, count, size=1000):
    return [origin.add(f"/{n}.jpg", Pattern(size + n, n), content_type="image/jpeg") for n in range(count)]


@pytest.mark.parametrize("name", ["requests", "curl"])
def test_what_a_worker_fetches_is_published_whole_and_nothing_is_left(origin, team, name):
    if name == "curl":
        pytest.importorskip("pycurl")
    team = team(transport=TransportChoice(name))
    urls = add(origin, 40)
    outcomes = team.fetch(*urls)
    entries = team.publish(outcomes, urls)
    assert [entry.sha256 for entry in entries] == [Pattern(1000 + n, n).sha256() for n in range(40)]
    team.pool.close(time.monotonic() + WAIT_S)
    assert files_in(team.store.root) == {f"{n}.jpg": Pattern(1000 + n, n).sha256() for n in range(40)}
    assert parts_in(team.store.root) == []
    assert len({request.client_port for request in origin.requests}) == 1


def test_a_part_is_locked_until_it_is_published(origin, team):
    team = team()
    (url,) = add(origin, 1)
    (fetched,) = team.fetch(url)
    with pytest.raises(PartInUse):
        team.store.parts.open(url)
    (again,) = team.fetch(url)
    assert isinstance(again, PartInUse)
    fetched.part.close()
    team.pool.flush()
    (again,) = team.fetch(url)  # nobody has published it, and it is whole: it does not travel again
    assert (again.saved_bytes, again.fetched_bytes, len(origin.requests)) == (1000, 0, 1)
    team.publish([again], [url])


def test_what_another_process_has_brought_meanwhile_is_not_fetched_again(origin, team):
    team = team()
    (url,) = add(origin, 1)
    team.publish(team.fetch(url), [url])
    team.pool.flush()
    (again,) = team.fetch(url)
    assert isinstance(again, PartInUse)
    assert len(origin.requests) == 1


def test_each_outcome_comes_as_it_would_from_a_thread(origin, team):
    team = team()
    good, broken = add(origin, 2, 50_000)
    origin.fault("/1.jpg", drop_after(10_000))
    missing, good_outcome, resumed = team.fetch(origin.url("/missing.jpg"), good, broken)
    assert isinstance(missing, HttpStatusError)
    assert (missing.http_status, missing.permanent) == (404, True)
    assert "/missing.jpg: HTTP 404" in str(missing)
    assert isinstance(good_outcome, Fetched)
    assert resumed.sha256 == Pattern(50_001, 1).sha256()
    team.publish([good_outcome, resumed], [good, broken])


def test_what_had_no_time_to_begin_is_left_out(origin, team):
    team = team()
    urls = add(origin, 3)
    outcomes = team.fetch(*urls, budget_s=0.0)
    team.publish(outcomes, urls[:1])
    assert len(outcomes) == 1


def test_a_worker_that_is_killed_says_so_and_another_takes_its_place(origin, team):
    team = team()
    url = origin.add("/a.jpg", Pattern(300_000), faults=[stall_after(200_000)])
    future = team.pool.submit([TransferRequest(url, url)], 10.0)
    origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= 200_000)
    team.pool._workers[0]._process.kill()
    with pytest.raises(WorkerDied):
        future.result(WAIT_S)
    team.publish(team.fetch(url), [url])
    assert files_in(team.store.root) == {"a.jpg": Pattern(300_000).sha256()}


def test_what_a_dead_worker_had_is_brought_by_threads(origin, team):
    team = team()
    url = origin.add("/a.jpg", Pattern(300_000), faults=[stall_after(200_000)])
    transport = RequestsTransport()
    threads = TransferThreads(Downloader(team.store, transport, Policy()), 1)
    transfers = TransferExecutor(threads, team.pool, workers_from=0)
    team.publish(team.fetch(origin.add("/0.jpg", b"0")), ["/0.jpg"])  # now there is one that is ready
    future = transfers.submit([TransferRequest(url, url)], 10.0)
    origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= 200_000)
    team.pool._workers[0]._process.kill()
    team.publish(future.result(WAIT_S), [url])
    assert files_in(team.store.root)["a.jpg"] == Pattern(300_000).sha256()
    transfers.end()
    transport.close()


def test_workers_that_die_again_and_again_are_given_up(origin, team, monkeypatch, caplog):
    team = team()
    monkeypatch.setattr("mediacrawl.system.child_process.sys.executable", "false")  # ends at once
    urls, transport = add(origin, 12), RequestsTransport()
    transfers = TransferExecutor(
        TransferThreads(Downloader(team.store, transport, Policy()), 1), team.pool, workers_from=0
    )
    for url in urls:
        team.publish(transfers.submit([TransferRequest(url, url)], 10.0).result(WAIT_S), [url])
        for worker in list(team.pool._workers):
            worker._thread.join(WAIT_S)
    assert team.pool.deaths == MOST_DEATHS
    assert len(files_in(team.store.root)) == 12
    assert [record.getMessage() for record in caplog.records if "again and again" in record.getMessage()] != []
    assert team.pool._workers == []
    transfers.end()
    transport.close()


def test_threads_go_on_until_a_process_is_ready(origin, team, monkeypatch):
    team = team()
    urls, transport = add(origin, 3), RequestsTransport()
    threads = TransferThreads(Downloader(team.store, transport, Policy()), 1)
    transfers = TransferExecutor(threads, team.pool, workers_from=0)
    took = []
    for pool in (threads, team.pool):
        monkeypatch.setattr(pool, "submit", lambda *given, pool=pool, do=pool.submit: took.append(pool) or do(*given))
    outcomes = transfers.submit([TransferRequest(urls[0], urls[0])], 10.0).result(WAIT_S)
    outcomes += team.fetch(urls[1])  # straight to the process
    outcomes += transfers.submit([TransferRequest(urls[2], urls[2])], 10.0).result(WAIT_S)
    assert took == [threads, team.pool, team.pool]
    team.publish(outcomes, urls)
    transfers.end()
    transport.close()


def test_a_few_files_start_no_process(origin, team):
    team = team()
    urls = add(origin, 3)
    transport = RequestsTransport()
    transfers = TransferExecutor(
        TransferThreads(Downloader(team.store, transport, Policy()), 1), team.pool, workers_from=4
    )
    team.publish(transfers.submit([TransferRequest(url, url) for url in urls], 10.0).result(WAIT_S), urls)
    assert team.pool._workers == []
    transfers.end()
    transport.close()


def test_a_stop_ends_what_is_under_way_and_refuses_what_comes_later(origin, team):
    team = team()
    urls = [origin.add("/a.jpg", BIG, faults=[stall_after(STALLS_AT)]), origin.add("/b.jpg", b"b")]
    future = team.pool.submit([TransferRequest(url, url) for url in urls], 100.0)
    origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= STALLS_AT)
    team.pool.stop()
    assert all(isinstance(outcome, Interrupted) for outcome in future.result(WAIT_S))
    with pytest.raises(Interrupted):
        team.fetch(urls[1])
    team.pool.close(time.monotonic() + WAIT_S)
    assert any(path.suffix == ".json" for path in parts_in(team.store.root))  # what has arrived is kept


@pytest.mark.parametrize("answer", [None, "robots.txt says no", errors.RedirectRefused("http://h/", "not there")])
def test_the_crawl_is_asked_before_a_redirect_is_followed(origin, team, answer):
    team = team()
    asked = []

    def may_follow(request, url, _cancel):
        asked.append((request.url, url))
        if isinstance(answer, Exception):
            raise answer
        return answer

    team.pool.may_follow = may_follow
    target = origin.add("/target.jpg", b"x")
    url = origin.add("/a.jpg", b"", faults=[redirect(target)])
    (outcome,) = team.fetch(url)
    assert asked == [(url, target)]
    if answer is None:
        team.publish([outcome], [url])
    else:
        assert isinstance(outcome, RedirectRefused)
        assert str(getattr(answer, "reason", answer)) in outcome.reason
        assert origin.requests_for("/target.jpg") == []


def test_a_stop_ends_a_worker_that_waits_for_that_answer(origin, team):
    team = team()
    asked = threading.Event()

    def may_follow(_request, _url, cancel):
        asked.set()
        cancel.wait(WAIT_S)

    team.pool.may_follow = may_follow
    url = origin.add("/a.jpg", b"", faults=[redirect(origin.url("/b.jpg"))])
    future = team.pool.submit([TransferRequest(url, url)], 10.0)
    assert asked.wait(WAIT_S)
    began = time.monotonic()
    team.pool.stop()
    (outcome,) = future.result(WAIT_S)
    assert isinstance(outcome, Interrupted)
    assert time.monotonic() - began < WAIT_S / 3


def test_a_session_factory_serves_in_a_worker_too(origin, team, tmp_path, monkeypatch):
    (tmp_path / "own_sessions.py").write_text(
        "import requests\n\ndef make():\n    session = requests.Session()\n    session.auth = ('me', 'secret')\n"
        "    return session\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    team = team(transport=TransportChoice(session_factory="own_sessions.make"))
    urls = add(origin, 1)
    team.publish(team.fetch(*urls), urls)
    assert origin.requests[0].headers["authorization"].startswith("Basic ")


def test_who_draws_bars_sees_what_lasts(origin, team):
    team = team()
    url = origin.add("/a.jpg", Pattern(900_000), faults=[stall_after(500_000)])
    team.pool.submit([TransferRequest(url, url, name="holiday.jpg")], 10.0)
    deadline = time.monotonic() + WAIT_S
    while not team.pool.active and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    (progress,) = team.pool.active
    assert (progress.name, progress.total_bytes) == ("holiday.jpg", 900_000)
    team.pool.stop()


def test_a_worker_dies_with_the_process_that_started_it(origin, tmp_path):
    url = origin.add("/a.jpg", Pattern(900_000), faults=[stall_after(500_000)])
    code = f"""
        import sys, threading
        sys.path[:0] = {sys.path!r}
        from teams import Team
        from mediacrawl.download.records import TransferRequest
        team = Team({str(tmp_path / "store")!r})
        team.pool.submit([TransferRequest({url!r}, {url!r})], 1000.0)
        worker = team.pool._workers[0]
        while worker._process is None:
            threading.Event().wait(0.01)
        print(worker._process.pid, flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as crawl:
        worker = int(crawl.stdout.readline())
        origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= 500_000)
        os.kill(worker, 0)
        crawl.kill()
    deadline = time.monotonic() + WAIT_S
    while is_alive(worker) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert not is_alive(worker)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_is_for_the_crawl_and_not_for_its_workers(origin, team):
    team = team()
    urls = add(origin, 2)
    team.publish(team.fetch(urls[0]), urls[:1])
    team.pool._workers[0]._process.send_signal(signal.SIGINT)
    team.publish(team.fetch(urls[1]), urls[1:])


@pytest.mark.parametrize(
    "error",
    [
        errors.HttpStatusError("http://me:secret@h/a", 503, "Busy", 7.0),
        errors.TooLarge("http://h/a", "too large"),
        errors.RobotsUnknown("http://h/a", "not yet", target="http://h/b"),
        errors.DiskFull("no space"),
        errors.Interrupted("stopped"),
    ],
)
def test_an_error_is_the_same_in_another_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_ledger_that_cannot_be_asked_fails_the_batch_and_lets_its_parts_go(origin, team):
    """And does not leave who asked for it waiting for ever."""
    team = team()
    urls = add(origin, 3)
    team.publish(team.fetch(urls[0]), urls[:1])
    team.archive.ledger._db.execute("ALTER TABLE files RENAME TO gone")
    outcomes = team.fetch(*urls[1:])
    assert [type(outcome) for outcome in outcomes] == [errors.StoreNotWritable] * 2
    team.archive.ledger._db.execute("ALTER TABLE gone RENAME TO files")
    team.publish(team.fetch(*urls[1:]), urls[1:])


def test_ctrl_c_reaches_no_worker_not_even_one_that_is_starting():
    """A terminal sends it to all processes; one that had just begun to import would say so at length."""
    ours, theirs = socket.socketpair()
    with ours, theirs, start_process(theirs) as process:
        blocked = Path(f"/proc/{process.pid}/status").read_text().partition("SigBlk:")[2].split()[0]
        process.kill()
    assert int(blocked, 16) & 1 << signal.SIGINT - 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_answer_that_nobody_waits_for_any_more_does_no_harm(origin, team):
    team = team()
    urls = add(origin, 2)
    team.publish(team.fetch(urls[0]), urls[:1])
    team.pool._workers[0].post(RedirectAnswer(12345, None))
    team.publish(team.fetch(urls[1]), urls[1:])
    assert len(team.pool._workers) == 1
