from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.download import retry
from mediacrawl.download.retry import Backoff, HostPauses


@pytest.mark.parametrize(
    ("attempt", "least_s", "most_s"),
    [
        (1, 0.25, 0.5),
        (2, 0.5, 1.0),
        (3, 1.0, 2.0),
        (7, 16.0, 32.0),
        (8, 30.0, 60.0),
        (9, 30.0, 60.0),
        (10_000, 30.0, 60.0),
    ],
)
def test_each_wait_is_twice_the_last_up_to_the_maximum_and_half_of_it_is_random(attempt, least_s, most_s):
    backoff = Backoff(base_s=0.5, max_s=60.0)
    assert backoff.delay_s(attempt, lambda: 0.0) == least_s
    assert backoff.delay_s(attempt, lambda: 1.0) == most_s
    assert backoff.delay_s(attempt, lambda: 0.5) == pytest.approx((least_s + most_s) / 2)


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0.001, 100), st.floats(0.001, 1000))
def test_no_wait_is_longer_than_the_maximum_or_shorter_than_half_the_first(attempt, random, base_s, max_s):
    delay_s = Backoff(base_s=base_s, max_s=max_s).delay_s(attempt, lambda: random)
    assert min(base_s, max_s) / 2 <= delay_s <= max_s


def test_many_clients_do_not_come_back_at_once():
    assert len({Backoff().delay_s(5) for _ in range(20)}) > 10


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_host_is_quiet_for_as_long_as_it_asked_for(clock):
    pauses = HostPauses(clock)
    assert pauses.remaining_s("a") == 0.0
    pauses.pause("a", 10)
    assert pauses.remaining_s("a") == 10.0
    clock.now += 4
    assert pauses.remaining_s("a") == 6.0
    clock.now += 6
    assert pauses.remaining_s("a") == 0.0
    clock.now += 1
    assert pauses.remaining_s("a") == 0.0


def test_other_hosts_are_not_quiet(clock):
    pauses = HostPauses(clock)
    pauses.pause("a", 10)
    assert pauses.remaining_s("b") == 0.0


@pytest.mark.parametrize(("first", "second", "expected"), [(10, 5, 10.0), (5, 10, 10.0), (10, 0, 10.0)])
def test_the_longer_of_two_wishes_counts(clock, first, second, expected):
    pauses = HostPauses(clock)
    pauses.pause("a", first)
    pauses.pause("a", second)
    assert pauses.remaining_s("a") == expected


def test_what_is_over_is_forgotten_and_what_is_not_is_kept(clock, monkeypatch):
    monkeypatch.setattr(retry, "_MAX_HOSTS", 10)
    pauses = HostPauses(clock)
    pauses.pause("long", 1000)
    for number in itertools.islice(itertools.count(), 500):
        pauses.pause(f"host{number}", 1)
        clock.now += 1
    assert len(pauses._until) <= 11
    assert pauses.remaining_s("long") == 500.0
