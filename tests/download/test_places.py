"""Places at a host."""

from __future__ import annotations

from mediacrawl.download.places import HostPlaces


def test_a_file_gets_a_place_in_any_case_and_a_helper_only_a_free_one():
    places = HostPlaces(2)
    with places.taken("a"):
        assert places.take_free("a")
        assert not places.take_free("a")
        assert places.take_free("b")
        with places.taken("a"):
            assert not places.take_free("a")


def test_as_many_helpers_leave_as_have_to():
    places = HostPlaces(2)
    with places.taken("a"):
        assert places.take_free("a")
        assert not places.leave_crowd("a")
        with places.taken("a"):
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
