"""What the row of a file says when it is wanted again."""

from __future__ import annotations

import pytest

from mediacrawl.fetch.refetch import RefetchPolicy, is_noted
from mediacrawl.ledger.base import Entry, State

NOW = 1_700_000_000.0
HOUR, DAY = 3600.0, 86_400.0
POLICY = RefetchPolicy(expires_s=90 * DAY, retry_permanent_s=30 * DAY)


def entry(state, age_s=0.0, **more):
    return Entry("k", "http://h/a", state=state, checked_at=NOW - age_s, **more)


@pytest.mark.parametrize(
    ("row", "fresh"),
    [
        (None, False),
        (entry(State.DONE), True),
        (entry(State.DONE, 90 * DAY), True),
        (entry(State.DONE, 90 * DAY + 1), False),
        (entry(State.DONE, -HOUR + 1), True),
        (entry(State.DONE, -HOUR), False),
        (entry(State.DONE, -1000 * DAY), False),
        (Entry("k", "http://h/a", state=State.DONE), False),
        (entry(State.PENDING), False),
        (entry(State.FAILED), False),
    ],
    ids=[
        "no row",
        "there",
        "just in time",
        "old",
        "a clock that was a little ahead",
        "an hour ahead",
        "years ahead",
        "never looked at",
        "wanted",
        "failed",
    ],
)
def test_a_finished_file_is_fresh_until_it_expires(row, fresh):
    assert POLICY.is_fresh(row, NOW) is fresh


@pytest.mark.parametrize(
    ("row", "known"),
    [
        (None, False),
        (entry(State.DONE), False),
        (entry(State.PENDING), False),
        (entry(State.FAILED, reason="HTTP 503"), False),
        (entry(State.FAILED, reason="HTTP 404", permanent=True), True),
        (entry(State.FAILED, 30 * DAY - 1, reason="HTTP 404", permanent=True), True),
        (entry(State.FAILED, 30 * DAY, reason="HTTP 404", permanent=True), False),
        (entry(State.FAILED, -1000 * DAY, reason="HTTP 404", permanent=True), False),
    ],
    ids=["no row", "there", "wanted", "may pass", "for good", "just before", "in time", "noted by a wrong clock"],
)
def test_what_has_failed_for_good_is_known_for_a_time(row, known):
    assert (POLICY.known_failure(row, NOW) is not None) is known


def test_the_reason_says_when_it_is_asked_for_again():
    reason = POLICY.known_failure(entry(State.FAILED, reason="HTTP 404 Not Found", permanent=True), NOW)
    assert reason.startswith("HTTP 404 Not Found (known, not asked for again before 2023-12-")


def test_with_nothing_held_to_be_for_good_all_is_asked_for():
    assert POLICY._replace(retry_permanent_s=0.0).known_failure(entry(State.FAILED, permanent=True), NOW) is None


@pytest.mark.parametrize(
    ("row", "noted"),
    [(None, False), (entry(State.PENDING), True), (entry(State.DONE), True), (entry(State.FAILED), False)],
)
def test_what_is_noted_as_wanted_or_there_need_not_be_noted_again(row, noted):
    assert is_noted(row) is noted


@pytest.mark.parametrize(("state", "noted"), [(State.PENDING, False), (State.DONE, True), (State.FAILED, False)])
def test_a_fresh_link_is_noted_for_a_file_that_is_not_there(state, noted):
    row = entry(state)
    assert is_noted(row, f"{row.url}?fresh") is noted
    assert is_noted(row, row.url.replace("//", "//me:secret@")) is is_noted(row)


@pytest.mark.parametrize("days", [1e6, 1e12, float("inf")])
def test_what_is_never_asked_for_again_needs_no_date(days):
    policy = POLICY._replace(retry_permanent_s=days * DAY)
    reason = policy.known_failure(entry(State.FAILED, permanent=True, reason="HTTP 404"), NOW)
    assert reason.startswith("HTTP 404 (known, not asked for again")
