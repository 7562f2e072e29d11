"""Failed logins are slowed, and nobody can lock another person out."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from people_set_up import PASSWORD, options, run_in_threads  # noqa: F401

from mediacrawl.server.accounts.throttling import (
    COOL_OFF,
    FREE_OF_NAME,
    LONGEST_OF_NAME_S,
    MOST_OF_ADDRESS,
    MOST_OF_PAIR,
    Count,
    RecentFailures,
    seconds_to_wait,
    throttled_address,
)

ALL_S = COOL_OFF.total_seconds()
HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.mark.parametrize(
    ("recent", "wait_s", "wait_at_known_s"),
    [
        (RecentFailures(), 0, 0),
        (RecentFailures(of_pair=Count(MOST_OF_PAIR - 1)), 0, 0),
        (RecentFailures(of_pair=Count(MOST_OF_PAIR)), ALL_S, ALL_S),
        (RecentFailures(of_pair=Count(MOST_OF_PAIR, ALL_S - 5)), 5, 5),
        (RecentFailures(of_address=Count(MOST_OF_ADDRESS - 1)), 0, 0),
        (RecentFailures(of_address=Count(MOST_OF_ADDRESS, 10)), ALL_S - 10, ALL_S - 10),
        (RecentFailures(of_name=Count(FREE_OF_NAME - 1)), 0, 0),
        (RecentFailures(of_name=Count(FREE_OF_NAME)), 1, 0),
        (RecentFailures(of_name=Count(FREE_OF_NAME + 2, 1)), 3, 0),
        (RecentFailures(of_name=Count(FREE_OF_NAME + 10**9)), LONGEST_OF_NAME_S, 0),
        (RecentFailures(of_name=Count(10**9, LONGEST_OF_NAME_S)), 0, 0),
        (RecentFailures(Count(MOST_OF_PAIR, 100), Count(MOST_OF_ADDRESS, 10), Count(99)), ALL_S - 10, ALL_S - 10),
    ],
)
def test_the_wait(recent, wait_s, wait_at_known_s):
    assert seconds_to_wait(recent, is_known_address=False) == wait_s
    assert seconds_to_wait(recent, is_known_address=True) == wait_at_known_s


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("", "0.0.0.0"),
        ("unix:", "0.0.0.0"),
        ("192.0.2.1\r\nX: y", "0.0.0.0"),
    ],
)
def test_the_address_that_is_counted(address, counted):
    assert throttled_address(address) == counted


@pytest.fixture
def people(options):  # noqa: F811
    from mediacrawl.server.accounts import people

    people.add_person("anna", PASSWORD)
    people.add_person("bert", PASSWORD)
    return people


def failures(people, many, name="anna", address=HERE):
    """Try wrong passwords; return how many of them were checked."""
    checked = 0
    for count in range(many):
        try:
            assert people.authenticate(name, f"wrong {count}", address) is None
            checked += 1
        except people.TooManyAttempts:
            continue
    return checked


def let_pass(seconds):
    """Move all failures into the past."""
    from axes.models import AccessAttempt

    for attempt in AccessAttempt.objects.all():
        then = attempt.attempt_time - timedelta(seconds=seconds)
        AccessAttempt.objects.filter(pk=attempt.pk).update(attempt_time=then)


def test_twenty_wrong_passwords(people):
    assert failures(people, 20) == MOST_OF_PAIR
    with pytest.raises(people.TooManyAttempts, match="try again in 15 minutes"):
        people.authenticate("anna", PASSWORD, HERE)
    assert people.authenticate("anna", PASSWORD, THERE).name == "anna"
    assert people.authenticate("bert", PASSWORD, HERE).name == "bert"
    let_pass(ALL_S)
    assert people.authenticate("anna", PASSWORD, HERE).name == "anna"


def test_attempts_that_were_refused_do_not_prolong_the_wait(people):
    failures(people, MOST_OF_PAIR)
    let_pass(ALL_S - 20)
    failures(people, 5)
    with pytest.raises(people.TooManyAttempts) as caught:
        people.authenticate("anna", PASSWORD, HERE)
    assert caught.value.retry_after_s <= 20


def test_a_login_forgets_the_failures_of_its_pair_alone(people):
    failures(people, MOST_OF_PAIR - 1)
    failures(people, MOST_OF_PAIR - 1, name="bert")
    assert people.authenticate("anna", PASSWORD, HERE).name == "anna"
    assert failures(people, MOST_OF_PAIR) == MOST_OF_PAIR
    assert failures(people, MOST_OF_PAIR, name="bert") == 1


def test_an_address_is_slowed_whatever_names_it_tries(people):
    checked = sum(failures(people, 2, name=f"name{count}") for count in range(MOST_OF_ADDRESS))
    assert checked == MOST_OF_ADDRESS
    with pytest.raises(people.TooManyAttempts):
        people.authenticate("anna", PASSWORD, HERE)
    assert people.authenticate("anna", PASSWORD, THERE).name == "anna"


def test_the_addresses_of_one_subscriber_are_counted_together(people):
    checked = sum(failures(people, 1, address=f"2001:db8::{count:x}") for count in range(20))
    assert checked == MOST_OF_PAIR
    assert people.authenticate("anna", PASSWORD, "2001:db8:0:1::1").name == "anna"


def fail_from_everywhere(people, name="anna"):
    for count in range(40):
        failures(people, 1, name=name, address=f"203.0.113.{count}")


def test_nobody_can_lock_a_person_out(people):
    """From an address where the person has been, logins go on; from a new one they are slowed by seconds."""
    people.authenticate("anna", PASSWORD, HERE)
    fail_from_everywhere(people)
    assert people.authenticate("anna", PASSWORD, HERE).name == "anna"
    with pytest.raises(people.TooManyAttempts) as caught:
        people.authenticate("anna", PASSWORD, THERE)
    assert caught.value.retry_after_s <= LONGEST_OF_NAME_S
    let_pass(LONGEST_OF_NAME_S)
    assert people.authenticate("anna", PASSWORD, THERE).name == "anna"


def test_an_address_is_forgotten_after_a_time(people):
    from mediacrawl.server.accounts.models import KnownAddress

    people.authenticate("anna", PASSWORD, HERE)
    KnownAddress.objects.update(last_login_at="2020-01-01T00:00Z")
    fail_from_everywhere(people)
    with pytest.raises(people.TooManyAttempts):
        people.authenticate("anna", PASSWORD, HERE)


def test_names_that_nobody_has_are_slowed_like_others(people):
    """Otherwise, the refusal would tell whether there is such a person."""
    for name in ("anna", "nobody"):
        assert failures(people, 20, name=name, address=THERE) == MOST_OF_PAIR
    assert failures(people, 1, name="anybody", address=THERE) == 1
    for name in ("bert", "somebody"):
        fail_from_everywhere(people, name)
        with pytest.raises(people.TooManyAttempts) as caught:
            people.authenticate(name, "wrong", HERE)
        assert caught.value.retry_after_s <= LONGEST_OF_NAME_S


def test_what_was_typed_is_neither_logged_nor_kept(people, caplog):
    """Some people type the password into the field for the name."""
    from axes.models import AccessAttempt

    with caplog.at_level(logging.DEBUG):
        assert people.authenticate("hunter2-secret", "hunter3-secret", HERE) is None
        assert people.authenticate("anna", "hunter4-secret\r\nforged", HERE) is None
        failures(people, 20, name="hunter5-secret")
    kept = [str(value) for row in AccessAttempt.objects.values() for value in row.values()]
    said = [record.getMessage() for record in caplog.records]
    assert not [text for text in kept + said if "hunter" in text]
    assert f"a login of an unknown name from {HERE} has failed" in said
    assert f"a login of anna from {HERE} has failed" in said


@pytest.mark.parametrize("password", ["", "x" * 100_000, "\0", "\udcff", "é" * 10])
@pytest.mark.parametrize("name", ["anna", "", "\0", "\udcff", "x" * 100_000])
def test_any_text_is_a_wrong_password(people, name, password):
    assert people.authenticate(name, password, "") is None


@pytest.mark.parametrize("name", ["Anna", " anna ", "ANNA"])
def test_a_phone_may_begin_a_name_with_a_capital(people, name):
    assert people.authenticate(name, PASSWORD, HERE).name == "anna"


def test_attempts_at_once_do_not_get_round_the_limit(people):
    """At most one more than the limit: it may be under way when the last one that counts fails."""
    found = run_in_threads(lambda count: people.authenticate("anna", f"wrong {count}", HERE), range(30))
    assert MOST_OF_PAIR <= found.count(None) <= MOST_OF_PAIR + 1
    assert all(isinstance(one, people.TooManyAttempts) for one in found if one is not None)


def test_fifty_logins_at_once_make_two_hashes_at_a_time(people, monkeypatch):
    """The others wait without a hash; each of them is served in the end."""
    from django.contrib.auth.hashers import MD5PasswordHasher

    lock, count, most, second = threading.Lock(), 0, 0, threading.Event()
    verify = MD5PasswordHasher.verify

    def counted(self, password, encoded):
        nonlocal count, most
        with lock:
            count += 1
            most = max(most, count)
            if count == 2:
                second.set()
        second.wait(60)
        try:
            return verify(self, password, encoded)
        finally:
            with lock:
                count -= 1

    monkeypatch.setattr(MD5PasswordHasher, "verify", counted)
    found = run_in_threads(lambda _: people.authenticate("anna", PASSWORD, HERE), range(50))
    assert {person.name for person in found} == {"anna"}
    assert most == 2
