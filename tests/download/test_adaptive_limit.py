"""How many threads are let in, by a clock and a share of work that the test sets."""

from __future__ import annotations

import threading

import pytest

from mediacrawl.download.records import Fetched
from mediacrawl.workers.adaptive_limit import BUSY, IDLE, LOOK_EVERY_S, SMALL_BYTES, AdaptiveThreadLimit

WAIT_S = 30
SMALL = [Fetched(None, 200, "http://h/", fetched_bytes=SMALL_BYTES - 1)]
LARGE = [Fetched(None, 200, "http://h/", fetched_bytes=SMALL_BYTES)]


class Time:
    def __init__(self):
        self.now = self.worked = 0.0

    def goes_on(self, share, seconds=2 * LOOK_EVERY_S, outcomes=SMALL):
        self.now += seconds
        self.worked += share * seconds
        return outcomes


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def room(time):
    return AdaptiveThreadLimit(4, clock=lambda: time.now, worked=lambda: time.worked)


def beside_another(room, action):
    """Carry it out while somebody else is inside, so that it tells nothing of what one alone can do."""
    entered, done = threading.Event(), threading.Event()

    def stay():
        entered.set()
        done.wait(WAIT_S)
        return LARGE

    other = threading.Thread(target=room.run, args=[stay])
    other.start()
    entered.wait(WAIT_S)
    try:
        return action()
    finally:
        done.set()
        other.join(WAIT_S)


def test_others_come_in_for_those_inside_that_wait():
    room, entered, go = AdaptiveThreadLimit(1), threading.Semaphore(0), threading.Event()

    def stay():
        entered.release()
        go.wait(WAIT_S)
        return LARGE

    threads = [threading.Thread(target=room.run, args=[stay]) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=WAIT_S)
    assert not entered.acquire(timeout=3 * LOOK_EVERY_S)
    assert room.is_wanted
    room.discount(1)
    assert entered.acquire(timeout=WAIT_S)
    assert not entered.acquire(timeout=3 * LOOK_EVERY_S)
    room.discount(2)
    assert entered.acquire(timeout=WAIT_S)
    go.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert not room.is_wanted


def rounds(room, time, share, count, outcomes=SMALL):
    for _ in range(count):
        room.run(lambda: time.goes_on(share, outcomes=outcomes))
    return room.limit


def test_what_was_brought_is_given_back_and_an_error_lets_the_next_one_in(room):
    assert room.run(lambda: LARGE) is LARGE
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            room.run(lambda: 1 // 0)
    assert room.run(lambda: SMALL) is SMALL


def test_a_process_that_is_at_work_lets_ever_fewer_in_but_never_none(room, time):
    assert beside_another(room, lambda: rounds(room, time, BUSY + 0.1, 1)) == 2
    assert [rounds(room, time, BUSY + 0.1, 1) for _ in range(4)] == [1, 1, 1, 1]


def test_one_that_waits_for_the_network_lets_all_in_again(room, time):
    rounds(room, time, 1.0, 10)
    assert [rounds(room, time, IDLE - 0.1, 1) for _ in range(4)] == [2, 4, 4, 4]


def test_between_the_two_nothing_changes(time):
    room = AdaptiveThreadLimit(4, first=2, clock=lambda: time.now, worked=lambda: time.worked)
    assert beside_another(room, lambda: rounds(room, time, (BUSY + IDLE) / 2, 20)) == 2


def test_one_that_is_alone_tells_how_many_there_is_work_for(room, time):
    room.run(lambda: time.goes_on(0.7, LOOK_EVERY_S / 100))
    assert room.limit == 1
    rounds(room, time, 0.0, 4)
    room.run(lambda: time.goes_on(BUSY / 3, LOOK_EVERY_S / 100))
    assert room.limit == 3


def test_beside_others_it_tells_nothing(room, time):
    beside_another(room, lambda: room.run(lambda: time.goes_on(1.0, LOOK_EVERY_S / 100)))
    assert room.limit == 4


def test_large_files_may_keep_it_at_work(room, time):
    assert rounds(room, time, 1.0, 10, LARGE) == 4
    assert rounds(room, time, 1.0, 1, LARGE * 3 + SMALL) == 1
    assert [rounds(room, time, 1.0, 1, LARGE) for _ in range(4)] == [2, 4, 4, 4]


def test_work_counts_while_it_lasts(time):
    """Else who waits would see nobody at work, and be let in."""
    room = AdaptiveThreadLimit(4, first=1, clock=lambda: time.now, worked=lambda: time.worked)
    entered = threading.Event()
    thread = threading.Thread(target=room.run, args=[lambda: entered.set() or LARGE])

    def stay():
        thread.start()
        for _ in range(4):
            time.goes_on(1.0)
            room.note(0)
            assert not entered.wait(2 * LOOK_EVERY_S)
        return SMALL

    room.run(stay)
    assert entered.wait(WAIT_S)
    thread.join(WAIT_S)


def test_who_has_no_room_waits_for_one_who_leaves(time):
    room = AdaptiveThreadLimit(4, first=1, clock=lambda: time.now, worked=lambda: time.worked)
    entered = threading.Event()
    thread = threading.Thread(target=room.run, args=[lambda: entered.set() or LARGE])

    def stay():
        thread.start()
        assert not entered.wait(3 * LOOK_EVERY_S)
        return LARGE

    room.run(stay)
    assert entered.wait(WAIT_S)
    thread.join(WAIT_S)


def test_those_that_wait_are_let_in_when_the_one_inside_waits_for_long(room, time):
    rounds(room, time, 1.0, 10)
    entered = threading.Event()
    thread = threading.Thread(target=room.run, args=[lambda: entered.set() or LARGE])

    def stay():
        time.goes_on(0.0, 10.0)  # nobody leaves, and nothing is worked at
        thread.start()
        assert entered.wait(WAIT_S)
        return LARGE

    room.run(stay)
    thread.join(WAIT_S)


def test_a_stop_lets_nobody_wait(room, time):
    rounds(room, time, 1.0, 10)
    entered = threading.Event()
    thread = threading.Thread(target=room.run, args=[lambda: entered.set() or LARGE])

    def stay():
        thread.start()
        room.open()
        assert entered.wait(WAIT_S)
        return LARGE

    room.run(stay)
    thread.join(WAIT_S)
    rounds(room, time, 1.0, 3)
    assert room.limit > 1000
