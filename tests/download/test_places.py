"""Places at a host."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import pytest

from mediacrawl.download.places import HostPlaces

MIB = 1024 * 1024


@contextmanager
def taken(places, host):
    places.take(host)
    yield
    places.leave(host)


class Clock:
    """Time that a test lets pass."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settled(clock):
    """Two places at a host, and a clock that goes on a second whenever it is asked."""
    return HostPlaces(2, itertools.count().__next__)


def test_a_file_gets_a_place_in_any_case_and_a_helper_only_a_free_one(settled):
    places = settled
    with taken(places, "a"):
        assert places.take_free("a")
        assert not places.take_free("a")
        assert places.take_free("b")
        with taken(places, "a"):
            assert not places.take_free("a")


def test_as_many_helpers_leave_as_have_to(settled):
    places = settled
    with taken(places, "a"):
        assert places.take_free("a")
        assert not places.leave_crowd("a")
        with taken(places, "a"):
            assert places.leave_crowd("a")
            assert not places.leave_crowd("a")
            assert not places.take_free("a")
        assert places.take_free("a")


def test_a_place_that_one_file_has_just_left_is_for_the_next_file(clock):
    places = HostPlaces(3, clock)
    places.take("a")
    assert not places.take_free("a")  # the next may begin right after it
    clock.now += 0.06
    assert places.take_free("a")
    assert places.take_free("a")
    places.leave("a")
    assert not places.take_free("a")
    clock.now += 0.04
    places.leave("a")  # that one more is free does not make the first wait longer
    clock.now += 0.02
    assert places.take_free("a")
    assert places.take_free("a")
    assert not places.take_free("a")


def test_the_pace_of_a_connection_is_that_of_the_last_file_that_tells(clock):
    places = HostPlaces(2, clock)
    assert places.pace("a") is None
    places.note_pace("a", MIB - 1, 1.0)
    places.note_pace("a", MIB, 0.0)
    assert places.pace("a") is None
    places.note_pace("a", 3 * MIB, 2.0)
    places.note_pace("a", 100, 1.0)
    assert places.pace("a") == 1.5 * MIB
    assert places.pace("b") is None


def test_the_paces_of_many_hosts_are_forgotten_some_time(clock):
    places = HostPlaces(2, clock)
    for number in range(1001):
        places.note_pace(str(number), MIB, 1.0)
    assert places.pace("999") is None
    assert places.pace("1000") == MIB


def test_what_was_left_is_forgotten():
    places = HostPlaces(1)
    assert places.take_free("a")
    places.leave("a")
    assert places.take_free("a")


def test_without_a_limit_there_is_always_room():
    places = HostPlaces()
    assert all(places.take_free("a") for _ in range(100))
    assert not places.leave_crowd("a")
