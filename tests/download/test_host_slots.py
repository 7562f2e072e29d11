"""Places at a host."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from mediacrawl.download.host_slots import HostSlots


class Clock:
    """Goes on by a second each time that it is asked."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@contextmanager
def taken(slots, host):
    slots.acquire(host)
    yield
    slots.release(host)


def test_a_file_gets_a_place_in_any_case_and_a_helper_only_a_free_one():
    slots = HostSlots(2, Clock())
    with taken(slots, "a"):
        assert slots.try_acquire("a")
        assert not slots.try_acquire("a")
        assert slots.try_acquire("b")
        with taken(slots, "a"):
            assert not slots.try_acquire("a")


def test_as_many_helpers_leave_as_have_to():
    slots = HostSlots(2, Clock())
    with taken(slots, "a"):
        assert slots.try_acquire("a")
        assert not slots.release_excess("a")
        with taken(slots, "a"):
            assert slots.release_excess("a")
            assert not slots.release_excess("a")
            assert not slots.try_acquire("a")
        assert slots.try_acquire("a")


def test_what_was_left_is_forgotten():
    slots = HostSlots(1, Clock())
    assert slots.try_acquire("a")
    slots.release("a")
    assert slots.try_acquire("a")


def test_without_a_limit_there_is_always_room():
    slots = HostSlots()
    assert all(slots.try_acquire("a") for _ in range(100))
    assert not slots.release_excess("a")


@pytest.mark.parametrize(("waited_s", "is_free"), [(0.0, False), (0.019, False), (0.021, True)])
def test_a_place_that_a_file_has_left_is_kept_for_the_next_file_for_a_moment(waited_s, is_free):
    """Else a helper would take it just before that file comes, and have to go again."""
    now = 0.0
    slots = HostSlots(2, clock=lambda: now)
    slots.acquire("a")
    with taken(slots, "a"):
        pass
    now += waited_s
    assert slots.try_acquire("a") is is_free


def test_other_places_are_free_all_the_same():
    """Of a host whose small files end all the time."""
    slots = HostSlots(4, clock=lambda: 0.0)
    slots.acquire("a")
    for _ in range(100):
        with taken(slots, "a"):
            pass
    assert [slots.try_acquire("a") for _ in range(3)] == [True, True, False]


def test_where_all_have_left_there_is_nothing_to_wait_for():
    slots = HostSlots(2, clock=lambda: 0.0)
    with taken(slots, "a"):
        pass
    assert slots.try_acquire("a")
