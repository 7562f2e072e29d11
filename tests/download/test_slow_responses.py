"""Helpers whose responses do not come, or come late: the front reads on, and nothing waits for the stall limit."""

from __future__ import annotations

import pytest
from fetching import front_waits, helpers, of_helper, segment_threads
from origin import Pattern, status

from mediacrawl.download import segments
from mediacrawl.download.segments import SegmentPolicy

MIB = 1024 * 1024
TOTAL = 8 * MIB
BODY = Pattern(TOTAL, 1)
TAG = f'"p1-{TOTAL}"'


class Turns:
    """Lets requests wait for their turn, and notes those that nothing but the patience of the test has ended."""

    def __init__(self, rig, may_go):
        self.rig, self.may_go, self.hung = rig, may_go, []

    def __call__(self, request):
        def comes():
            earlier = [one for one in self.rig.origin.requests[: request.number] if one.finished_at is None]
            return self.rig.origin._released.is_set() or self.may_go(request, len(earlier))

        try:
            self.rig.origin.wait_for(comes, 20)
        except TimeoutError:
            self.hung.append(request)
        return False

    @property
    def fault(self):
        return status(500, times=None).when(self)

    def let_go(self):
        self.rig.origin.release()
        assert self.hung == []


def answers_when_the_first_has_ended(_request, busy):
    """It may have sent all of it before the client has read it: the system holds some megabytes."""
    return busy == 0


def never_answers_the_second(request, _busy):
    return request.number == 0


@pytest.mark.parametrize("may_go", [answers_when_the_first_has_ended, never_answers_the_second])
@pytest.mark.parametrize("policy", [SegmentPolicy(4, 2 * MIB, 0.0), SegmentPolicy(4, 2 * MIB, 1e-6)], ids=str)
@pytest.mark.parametrize("have_bytes", [0, 3 * MIB], ids=["fresh", "continued"])
def test_a_server_that_answers_one_connection_at_a_time_sends_all_over_the_first(rig, may_go, policy, have_bytes):
    turns = Turns(rig, may_go)
    url = rig.origin.add("/a", BODY, faults=[turns.fault])
    if have_bytes:
        rig.plant(BODY.read(0, have_bytes), total=TOTAL, etag=TAG)
    asked = front_waits(have_bytes + 1, lambda: rig.origin.wait_for(lambda: helpers(rig)))
    downloader = rig.downloader(segments=policy, stall_s=600)
    arrived = rig.bring(url, downloader=downloader, progress=asked)
    assert (arrived.data, arrived.fetched.fetched_bytes) == (BODY.read(), TOTAL - have_bytes)
    assert [request for request in rig.origin.requests if not of_helper(request)] == rig.origin.requests[:1]
    assert not segment_threads(), "the helper is woken"
    if "never" in may_go.__name__:
        assert len(rig.origin.requests) == 2
        assert rig.origin.requests[0].whole
    turns.let_go()


def test_a_server_that_answers_two_connections_at_a_time_holds_nobody_up(rig):
    turns = Turns(rig, lambda _request, busy: busy < 2)
    url = rig.origin.add("/a", BODY, faults=[turns.fault])
    asked = front_waits(1, lambda: rig.origin.wait_for(lambda: helpers(rig)))
    arrived = rig.bring(url, downloader=rig.downloader(stall_s=600), connections=4, progress=asked)
    assert (arrived.data, arrived.fetched.fetched_bytes) == (BODY.read(), TOTAL)
    turns.let_go()


@pytest.mark.parametrize("number", [2, 3])
def test_what_a_helper_without_a_response_would_bring_is_brought_by_others(rig, monkeypatch, number):
    monkeypatch.setattr(segments, "_HEAD_WITHIN_S", 0.01)
    turns = Turns(rig, lambda request, _busy: request.number != number)
    url = rig.origin.add("/a", Pattern(4 * TOTAL, 1), faults=[turns.fault])
    all_came = front_waits(MIB, lambda: rig.origin.wait_for(lambda: len(helpers(rig)) >= 3))
    arrived = rig.bring(url, downloader=rig.downloader(stall_s=600), connections=4, progress=all_came)
    assert (arrived.data, arrived.fetched.fetched_bytes) == (Pattern(4 * TOTAL, 1).read(), 4 * TOTAL)
    assert not segment_threads()
    turns.let_go()


def test_a_helper_whose_response_comes_late_takes_the_rear_of_what_is_left(rig):
    """The front has read on into its piece meanwhile. Both go on, and no byte is fetched twice."""

    def goes(request, _busy):
        return request.number != 1 or rig.origin.requests[0].body_bytes_sent >= 6 * TOTAL

    turns = Turns(rig, goes)
    body = Pattern(8 * TOTAL, 1)
    url = rig.origin.add("/a", body, faults=[turns.fault])

    def until_late():
        rig.origin.wait_for(lambda: helpers(rig))
        if rig.origin.requests[0].body_bytes_sent >= 6 * TOTAL:
            rig.origin.wait_for(lambda: len(helpers(rig)) >= 2, 20)

    policy = SegmentPolicy(2, 2 * MIB, 1e-6)
    downloader = rig.downloader(segments=policy, stall_s=600)
    arrived = rig.bring(url, downloader=downloader, progress=front_waits(1, until_late))
    assert (arrived.data, arrived.fetched.fetched_bytes) == (body.read(), 8 * TOTAL)
    first, second = (request.range[0] for request in helpers(rig)[:2])
    assert first < 5 * TOTAL < second
    turns.let_go()
