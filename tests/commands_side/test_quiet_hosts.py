"""A host that asks for quiet while worker processes fetch from it: the command ends, and the host gets its quiet."""

from __future__ import annotations

import email.utils
import os
import signal
import time

import pytest
from crawling import children_of, run, sha256, start, wait_until
from origin import Answer, Origin

FILES = 100
QUIET_S = 1
TAKES_S = 0.05
# What was on its way when the answer came may still arrive: a request, and the news to the other processes.
ON_ITS_WAY_S = 0.3

slow = pytest.mark.slow
LIST = ("crawl", "urllist", "-a", "file=list")
GET = ("get", "-i", "list")


def body(number):
    return b"\x89PNG\r\n\x1a\n" + b"%d " % number * 300


class Busy:
    """A server of so many files. `quiet` has the answer to the first request for one, where that asks for quiet."""

    def __init__(self, origin, quiet, files=FILES, hosts=("127.0.0.1",)):
        self.origin, self.files, self._quiet, self._seen = origin, files, quiet, set()
        self.urls = [f"http://{hosts[n % len(hosts)]}:{origin.port}/p{n}.png" for n in range(files)]
        for number in range(files):
            origin.on(f"/p{number}.png", self._answer)

    def _answer(self, request):
        number = int(request.path.strip("/p.ng"))
        if number not in self._seen:
            self._seen.add(number)
            if (answer := self._quiet(number)) is not None:
                return answer
        self.origin.pause(TAKES_S)  # so that there is something left to ask for
        return Answer(200, [("Content-Type", "image/png")], body(number))

    def list_in(self, folder):
        (folder / "list").write_text("".join(f"{url}\n" for url in self.urls))

    def assert_all_there(self, done):
        assert done.status == 0, str(done)
        assert sorted(done.store.values()) == sorted(sha256(body(number)) for number in range(self.files))

    @property
    def asked_during_quiet(self):
        """Requests that came between an answer that asks for quiet and the end of that quiet, at the same host."""
        requests = self.origin.requests
        asked = [(one.headers["host"], one.finished_at) for one in requests if one.status in {429, 503}]
        assert asked
        return [
            one.path
            for one in requests
            if any(
                host == one.headers["host"] and at + ON_ITS_WAY_S < one.started_at < at + QUIET_S
                for host, at in asked
            )
        ]


def quiet(status, retry_after=QUIET_S, **headers):
    return Answer(status, [("Retry-After", str(retry_after)), *headers.items()], b"later")


def each_fortieth(number):
    """503 and 429 in turn."""
    return quiet(503 if number % 80 == 7 else 429) if number % 40 == 7 else None


def every_third(number):
    return quiet(429) if number % 3 == 0 and number < 24 else None


def date_of_another_clock(number):
    now = time.time() - 7200
    dates = (email.utils.formatdate(when, usegmt=True) for when in (now, now + QUIET_S))
    return quiet(503, Date=next(dates), retry_after=next(dates)) if number in {7, 60} else None


@pytest.mark.parametrize("words", [LIST, pytest.param(GET, marks=slow)], ids=" ".join)
def test_one_retry_after_does_not_hang_a_crawl_with_workers_and_is_obeyed_by_all_of_them(origin, tmp_path, words):
    busy = Busy(origin, each_fortieth)
    busy.list_in(tmp_path)
    busy.assert_all_there(run(tmp_path, *words))
    assert {request.status for request in origin.requests} >= {429, 503}
    assert busy.asked_during_quiet == []


@slow
@pytest.mark.parametrize("answers", [each_fortieth, every_third], ids=["each fortieth", "every third"])
def test_nor_a_gallery(origin, tmp_path, answers):
    busy = Busy(origin, answers)
    images = "".join(f'<img src="{url}">' for url in busy.urls)
    busy.assert_all_there(run(tmp_path, "crawl", "site", "-a", f"url={origin.page('/', images)}"))
    assert busy.asked_during_quiet == []


@slow
@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize("words", [LIST, GET], ids=" ".join)
@pytest.mark.parametrize("answers", [every_third, date_of_another_clock], ids=["every third", "a date"])
def test_many_pauses_and_dates_are_obeyed_too(origin, tmp_path, answers, words, transport):
    busy = Busy(origin, answers)
    busy.list_in(tmp_path)
    busy.assert_all_there(run(tmp_path, *words, settings={"MEDIACRAWL_TRANSPORT": transport}))
    assert busy.asked_during_quiet == []


@slow
@pytest.mark.parametrize("words", [LIST, GET], ids=" ".join)
def test_fifty_hosts_at_once_each_have_their_quiet(tmp_path, words):
    hosts = [f"127.0.0.{number}" for number in range(1, 51)]
    with Origin("0.0.0.0") as origin:
        busy = Busy(origin, lambda number: quiet(503) if number < 50 else None, files=200, hosts=hosts)
        busy.list_in(tmp_path)
        busy.assert_all_there(run(tmp_path, *words, settings={"ROBOTSTXT_OBEY": False}))
        assert len({request.headers["host"] for request in origin.requests if request.status == 503}) == 50
        assert busy.asked_during_quiet == []


@slow
@pytest.mark.parametrize("words", [LIST, GET], ids=" ".join)
def test_ctrl_c_during_a_pause_ends_at_once_and_the_next_run_goes_on(origin, tmp_path, words):
    busy = Busy(origin, lambda number: quiet(429, 200) if number == 80 else None)
    busy.list_in(tmp_path)
    with start(tmp_path, *words) as running:
        origin.wait_for(lambda: any(request.status == 429 for request in origin.requests))
        origin.wait_for(lambda: all(request.finished_at for request in origin.requests))
        running.interrupt()
        done = running.wait()
    assert done.status == 3, str(done)
    assert "Traceback" not in done.err
    assert done.seconds < 30, "the pause was waited for"
    busy.assert_all_there(run(tmp_path, *words))


@slow
@pytest.mark.parametrize("words", [LIST, GET], ids=" ".join)
def test_workers_that_are_killed_during_a_pause_lose_nothing_and_the_pause_is_kept(origin, tmp_path, words):
    busy = Busy(origin, lambda number: quiet(429, 4) if number == 80 else None)
    busy.list_in(tmp_path)
    with start(tmp_path, *words) as running:
        origin.wait_for(lambda: any(one.status == 429 and one.finished_at for one in origin.requests))
        (asked_at,) = (request.finished_at for request in origin.requests if request.status == 429)
        # By then the worker has told it: what only a worker has known dies with it.
        wait_until(lambda: time.monotonic() > asked_at + ON_ITS_WAY_S and children_of(running.process.pid))
        for pid in children_of(running.process.pid):
            os.kill(pid, signal.SIGKILL)
        done = running.wait()
    busy.assert_all_there(done)
    assert "Traceback" not in done.err
    assert [one.path for one in origin.requests if asked_at + ON_ITS_WAY_S < one.started_at < asked_at + 4] == []
