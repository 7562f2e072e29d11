"""Places at a host."""

from __future__ import annotations

from contextlib import contextmanager

from mediacrawl.download.places import HostPlaces


@contextmanager
def taken(places, host):
    places.take(host)
    yield
    places.leave(host)


def test_a_file_gets_a_place_in_any_case_and_a_helper_only_a_free_one():
    places = HostPlaces(2)
    with taken(places, "a"):
        assert places.take_free("a")
        assert not places.take_free("a")
        assert places.take_free("b")
        with taken(places, "a"):
            assert not places.take_free("a")


def test_as_many_helpers_leave_as_have_to():
    places = HostPlaces(2)
    with taken(places, "a"):
        assert places.take_free("a")
        assert not places.leave_crowd("a")
        with taken(places, "a"):
            assert places.leave_crowd("a")
            assert not places.leave_crowd("a")
            assert not places.take_free("a")
        assert places.take_free("a")


def test_what_was_left_is_forgotten():
    places = HostPlaces(1)
    assert places.take_free("a")
    places.leave("a")
    assert places.take_free("a")


def test_without_a_limit_there_is_always_room():
    places = HostPlaces()
    assert all(places.take_free("a") for _ in range(100))
    assert not places.leave_crowd("a")
