"""How many threads are let in, by a clock and a share of work that the test sets."""

from __future__ import annotations

import threading

import pytest

from mediacrawl.download.room import BUSY, IDLE, LOOK_EVERY_S, SMALL_BYTES, Room

WAIT_S = 30


class Time:
    def __init__(self):
        self.now = self.worked = 0.0

    def goes_on(self, share, seconds=2 * LOOK_EVERY_S):
        self.now += seconds
        self.worked += share * seconds


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def room(time):
    return Room(4, lambda: time.now, lambda: time.worked)


def rounds(room, time, share, count, size_bytes=0):
    for _ in range(count):
        with room:
            time.goes_on(share)
            room.note(size_bytes)
    return room.limit


def test_a_process_that_is_at_work_lets_ever_fewer_in_but_never_none(room, time):
    assert [rounds(room, time, BUSY + 0.1, 1) for _ in range(6)] == [2, 1, 1, 1, 1, 1]


def test_one_that_waits_for_the_network_lets_all_in_again(room, time):
    rounds(room, time, 1.0, 10)
    assert [rounds(room, time, IDLE - 0.1, 1) for _ in range(6)] == [2, 3, 4, 4, 4, 4]


def test_large_files_may_keep_it_at_work(room, time):
    assert rounds(room, time, 1.0, 10, SMALL_BYTES) == 4
    rounds(room, time, 1.0, 10, SMALL_BYTES - 1)
    assert [rounds(room, time, 1.0, 1, SMALL_BYTES) for _ in range(4)] == [2, 3, 4, 4]


def test_of_each_file_counts_what_it_has_cost_itself(room, time):
    with room:
        time.goes_on(10.0)
        room.note(SMALL_BYTES)
        time.goes_on(BUSY - 0.1, 100 * LOOK_EVERY_S)
        room.note(0)
    assert room.limit == 4


def test_between_the_two_nothing_changes(room, time):
    rounds(room, time, 1.0, 1)
    assert rounds(room, time, (BUSY + IDLE) / 2, 20) == 2


def test_a_moment_says_nothing(room, time):
    for _ in range(20):
        with room:
            time.goes_on(1.0, LOOK_EVERY_S / 100)
            room.note(0)
    assert room.limit == 4


def test_who_has_no_room_waits_for_one_who_leaves(room, time):
    rounds(room, time, 1.0, 10)
    entered = threading.Event()

    def work():
        with room:
            entered.set()

    thread = threading.Thread(target=work)
    with room:
        time.goes_on(0.3)  # neither more nor fewer
        room.note(0)
        thread.start()
        assert not entered.wait(3 * LOOK_EVERY_S)
    assert entered.wait(WAIT_S)
    thread.join(WAIT_S)


def test_those_that_wait_are_let_in_when_the_one_inside_waits_for_long(room, time):
    rounds(room, time, 1.0, 10)
    entered = threading.Event()

    def work():
        with room:
            entered.set()

    thread = threading.Thread(target=work)
    with room:
        time.goes_on(0.0, 10.0)  # nobody leaves, and nothing is worked at
        thread.start()
        assert entered.wait(WAIT_S)
    thread.join(WAIT_S)


def test_a_stop_lets_nobody_wait(room, time):
    rounds(room, time, 1.0, 10)
    entered = threading.Event()

    def work():
        with room:
            entered.set()

    with room:
        thread = threading.Thread(target=work)
        thread.start()
        room.open()
        assert entered.wait(WAIT_S)
    thread.join(WAIT_S)
