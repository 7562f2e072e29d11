"""Places at a host."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from mediacrawl.download.places import HostSlots


class Clock:
    """Goes on by a second each time that it is asked."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@contextmanager
def taken(places, host):
    places.take(host)
    yield
    places.leave(host)


def test_a_file_gets_a_place_in_any_case_and_a_helper_only_a_free_one():
    places = HostSlots(2, Clock())
    with taken(places, "a"):
        assert places.try_acquire("a")
        assert not places.try_acquire("a")
        assert places.try_acquire("b")
        with taken(places, "a"):
            assert not places.try_acquire("a")


def test_as_many_helpers_leave_as_have_to():
    places = HostSlots(2, Clock())
    with taken(places, "a"):
        assert places.try_acquire("a")
        assert not places.release_excess("a")
        with taken(places, "a"):
            assert places.release_excess("a")
            assert not places.release_excess("a")
            assert not places.try_acquire("a")
        assert places.try_acquire("a")


def test_what_was_left_is_forgotten():
    places = HostSlots(1, Clock())
    assert places.try_acquire("a")
    places.leave("a")
    assert places.try_acquire("a")


def test_without_a_limit_there_is_always_room():
    places = HostSlots()
    assert all(places.try_acquire("a") for _ in range(100))
    assert not places.release_excess("a")


@pytest.mark.parametrize(("waited_s", "is_free"), [(0.0, False), (0.019, False), (0.021, True)])
def test_a_place_that_a_file_has_left_is_kept_for_the_next_file_for_a_moment(waited_s, is_free):
    """Else a helper would take it just before that file comes, and have to go again."""
    now = 0.0
    places = HostSlots(2, clock=lambda: now)
    places.take("a")
    with taken(places, "a"):
        pass
    now += waited_s
    assert places.try_acquire("a") is is_free


def test_other_places_are_free_all_the_same():
    """Of a host whose small files end all the time."""
    places = HostSlots(4, clock=lambda: 0.0)
    places.take("a")
    for _ in range(100):
        with taken(places, "a"):
            pass
    assert [places.try_acquire("a") for _ in range(3)] == [True, True, False]


def test_where_all_have_left_there_is_nothing_to_wait_for():
    places = HostSlots(2, clock=lambda: 0.0)
    with taken(places, "a"):
        pass
    assert places.try_acquire("a")
