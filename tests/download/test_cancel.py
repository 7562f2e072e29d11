"""`request.py`: the stop, and the counters."""

from __future__ import annotations

import threading

import pytest

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.errors import Interrupted


class Answer:
    def __init__(self):
        self.aborted = 0

    def abort(self):
        self.aborted += 1


def test_a_stop_is_seen_by_all_who_check():
    cancel = Cancel()
    cancel.check()
    assert not cancel.is_set
    cancel.set()
    assert cancel.is_set
    with pytest.raises(Interrupted, match="received bytes are kept"):
        cancel.check()


def test_a_stop_aborts_what_is_watched_and_nothing_else():
    cancel, before, during, other = Cancel(), Answer(), Answer(), Answer()
    with cancel.watch(before):
        pass
    with cancel.watch(during), cancel.watch(other):
        cancel.set()
    cancel.set()
    assert (before.aborted, during.aborted, other.aborted) == (0, 1, 1)
    assert cancel._watched == set()


def test_after_a_stop_nothing_is_watched_any_more():
    cancel, answer = Cancel(), Answer()
    cancel.set()
    with pytest.raises(Interrupted), cancel.watch(answer):
        pytest.fail("the block must not run")
    assert cancel._watched == set()


@pytest.mark.parametrize("seconds", [0.0, -1.0, 3600.0])
def test_no_wait_outlasts_a_stop(seconds):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        cancel.wait(seconds)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.001])
def test_a_wait_ends_by_itself(seconds):
    cancel = Cancel()
    cancel.wait(seconds)
    assert not cancel.is_set


def test_a_stop_wakes_up_who_waits():
    cancel, woken = Cancel(), []

    def wait():
        try:
            cancel.wait(3600.0)
        except Interrupted:
            woken.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    cancel.set()
    thread.join(30)
    assert woken == [True]


def test_records_are_plain_values():
    request = TransferRequest("k", "http://h/")
    assert request == TransferRequest("k", "http://h/")
    assert hash(request) == hash(TransferRequest("k", "http://h/"))
    with pytest.raises(AttributeError):
        request.url = "http://other/"
    assert Fetched(None, 304, "http://h/").headers == {}
