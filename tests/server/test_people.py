"""People: added, invited, changed and removed; without HTTP."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta

import pytest
from people_set_up import PASSWORD, options, run_in_threads  # noqa: F401

from mediacrawl.server.accounts.first_start import PASSWORD_VARIABLE, first_administrator
from mediacrawl.server.accounts.rights import Person, Rights

HERE = "192.0.2.1"
NEW = "battery staple"
MANAGER = Rights(can_manage=True)
LIMITED = Rights(can_read=False, can_upload=True, quota_bytes=2**40)


@pytest.fixture
def people(options):  # noqa: F811
    from mediacrawl.server.accounts import people

    return people


def test_a_person_who_was_added_can_log_in(people):
    assert people.add_person("anna", PASSWORD, LIMITED) == Person("anna", *LIMITED)
    assert people.authenticate("anna", PASSWORD, HERE) == Person("anna", *LIMITED)
    assert people.authenticate("anna", NEW, HERE) is None
    assert people.find_person("anna") == Person("anna", *LIMITED)
    assert people.find_person("bert") is None


def test_people_are_listed_by_name(people):
    for name in ("bert", "anna"):
        people.add_person(name, PASSWORD)
    assert people.list_people() == [Person("anna"), Person("bert")]


@pytest.mark.parametrize("name", ["", "Anna", "~anna", "../x", "anna.", "a" * 33, "an\nna", "\udcff", "\x1b[31m"])
def test_what_cannot_be_a_name_is_refused_in_one_line(people, name):
    with pytest.raises(people.AccountProblem, match="cannot be a name: expected") as caught:
        people.add_person(name, PASSWORD)
    assert str(caught.value).isprintable()
    assert people.list_people() == []


def test_a_name_that_is_taken_is_refused(people):
    people.add_person("anna", PASSWORD)
    with pytest.raises(people.AccountProblem, match="there is a person with the name anna already"):
        people.add_person("anna", NEW)
    assert people.authenticate("anna", NEW, HERE) is None


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "too short"),
        ("password1234", "too common"),
        ("konstanze1", "too similar"),
        ("x" * 1001, "at most 1000"),
        ("\udcff" * 12, "Unicode"),
    ],
)
def test_a_weak_password_is_refused(people, password, reason):
    with pytest.raises(people.AccountProblem, match=reason):
        people.add_person("konstanze", password)
    assert people.list_people() == []


@pytest.mark.parametrize("typed", ["K\u00f6nigsberger", "Ko\u0308nigsberger"])
def test_an_accent_may_be_typed_in_two_ways(people, typed):
    people.add_person("anna", "K\u00f6nigsberger")
    assert people.authenticate("anna", typed, HERE) is not None


def test_a_password_is_changed(people):
    people.add_person("anna", PASSWORD)
    people.change_password("anna", NEW)
    assert people.authenticate("anna", PASSWORD, HERE) is None
    assert people.authenticate("anna", NEW, HERE) == Person("anna")
    with pytest.raises(people.AccountProblem, match="too short"):
        people.change_password("anna", "short")
    assert people.authenticate("anna", NEW, HERE) == Person("anna")


def test_rights_are_changed(people):
    people.add_person("anna", PASSWORD)
    people.set_rights("anna", LIMITED)
    assert people.find_person("anna") == Person("anna", *LIMITED)


def test_there_is_always_somebody_who_may_manage(people):
    people.add_person("anna", PASSWORD, MANAGER)
    people.add_person("bert", PASSWORD)
    for action in (lambda: people.remove_person("anna"), lambda: people.set_rights("anna", Rights())):
        with pytest.raises(people.AccountProblem, match="nobody but anna may manage"):
            action()
    people.set_rights("bert", MANAGER)
    people.remove_person("anna")
    assert people.list_people() == [Person("bert", *MANAGER)]


def test_two_managers_who_remove_each_other_leave_one(people):
    people.add_person("anna", PASSWORD, MANAGER)
    people.add_person("bert", PASSWORD, MANAGER)
    found = run_in_threads(people.remove_person, ["anna", "bert"])
    assert sorted(map(repr, found))[1:] == ["None"]
    assert len(people.list_people()) == 1


def test_a_person_who_was_removed_is_gone_with_all_that_lets_them_in(people):
    people.add_person("anna", PASSWORD)
    secret = people.make_application_password("anna", "television")
    token = people.invite("anna", Rights())
    people.remove_person("anna")
    assert people.authenticate("anna", PASSWORD, HERE) is None
    assert people.authenticate_application("anna", secret, HERE) is None
    assert people.open_invitation(token) is None


@pytest.mark.parametrize("action", ["remove_person", "change_password", "set_rights", "make_application_password"])
def test_a_missing_person_is_one_line(people, action):
    arguments = {"change_password": [PASSWORD], "set_rights": [Rights()], "make_application_password": ["x"]}
    with pytest.raises(people.AccountProblem, match="there is no person with the name 'nobody'"):
        getattr(people, action)("nobody", *arguments.get(action, []))


# --- invitations -------------------------------------------------------------------------------------


def test_an_invitation_makes_one_person_with_its_rights(people):
    people.add_person("anna", PASSWORD, MANAGER)
    token = people.invite("anna", LIMITED)
    (found,) = people.open_invitations()
    assert people.open_invitation(token) == found
    assert (found.made_by, found.rights) == ("anna", LIMITED)
    assert people.accept(token, "bert", PASSWORD) == Person("bert", *LIMITED)
    assert people.authenticate("bert", PASSWORD, HERE) == Person("bert", *LIMITED)
    assert people.open_invitations() == []
    with pytest.raises(people.AccountProblem, match="expired or been used"):
        people.accept(token, "carl", PASSWORD)


def test_an_invitation_that_is_accepted_twice_at_once_makes_one_person(people):
    token = people.invite(None, Rights())
    found = run_in_threads(lambda name: people.accept(token, name, PASSWORD), [f"name{count}" for count in range(8)])
    assert len([one for one in found if isinstance(one, Person)]) == 1
    assert len(people.list_people()) == 1


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        ("anna", PASSWORD, "the name anna is taken"),
        ("carl", PASSWORD, "the name carl is taken"),  # the folder of a person who was removed
        ("Bert", PASSWORD, "cannot be a name"),
        ("bert", "short", "too short"),
    ],
)
def test_an_invitation_stays_open_when_it_cannot_be_accepted(people, options, name, password, reason):  # noqa: F811
    people.add_person("anna", PASSWORD)
    (options.store / "~carl").mkdir()
    token = people.invite(None, Rights())
    with pytest.raises(people.AccountProblem, match=reason):
        people.accept(token, name, password)
    assert people.accept(token, "bert", PASSWORD) == Person("bert")


def test_an_invitation_expires_and_can_be_withdrawn(people):
    from mediacrawl.server.accounts.models import Invitation

    first, second = people.invite(None, Rights()), people.invite(None, Rights(), days=3)
    people.withdraw_invitation(people.open_invitation(first).number)
    assert people.open_invitation(first) is None
    row = Invitation.objects.get()
    assert row.expires_at - row.made_at == timedelta(days=3)
    Invitation.objects.update(expires_at=row.made_at)
    assert people.open_invitation(second) is None
    with pytest.raises(people.AccountProblem, match="expired or been used"):
        people.accept(second, "anna", PASSWORD)
    people.remove_expired()
    assert not Invitation.objects.exists()


@pytest.mark.parametrize("days", [0, -1, 366])
def test_a_time_without_sense_is_refused(people, days):
    with pytest.raises(people.AccountProblem, match="valid for 1 to 365 days"):
        people.invite(None, Rights(), days=days)


def test_the_invitations_of_a_manager_end_with_the_right(people):
    """Else a manager who was demoted could become one again by the own link."""
    for name in ("anna", "bert"):
        people.add_person(name, PASSWORD, MANAGER)
    tokens = [people.invite(name, MANAGER) for name in ("anna", "bert", None)]
    people.set_rights("bert", MANAGER)
    assert all(map(people.open_invitation, tokens))
    people.set_rights("bert", Rights())
    assert [people.open_invitation(token) is not None for token in tokens] == [True, False, True]


@pytest.mark.parametrize("token", ["", "x", "\0", "\udcff", "x" * 100_000])
def test_any_text_is_no_invitation(people, token):
    people.invite(None, Rights())
    assert people.open_invitation(token) is None


# --- application passwords ---------------------------------------------------------------------------


def test_an_application_password_is_for_one_person_and_one_use(people):
    for name in ("anna", "bert"):
        people.add_person(name, PASSWORD)
    secret = people.make_application_password("anna", " television ")
    assert re.fullmatch(r"([a-z2-9]{5}-){4}[a-z2-9]{5}", secret)
    assert people.authenticate_application("anna", secret, HERE) == Person("anna")
    assert people.authenticate_application("Anna", secret, HERE) == Person("anna")
    assert people.authenticate_application("bert", secret, HERE) is None
    assert people.authenticate_application("anna", PASSWORD, HERE) is None
    assert people.authenticate("anna", secret, HERE) is None


def test_application_passwords_are_listed_and_revoked_one_by_one(people):
    for name in ("anna", "bert"):
        people.add_person(name, PASSWORD)
    first, second = (people.make_application_password("anna", label) for label in ("one", "two"))
    listed = people.application_passwords("anna")
    assert [(row.label, row.last_used_at) for row in listed] == [("two", None), ("one", None)]
    people.authenticate_application("anna", second, HERE)
    assert people.application_passwords("anna")[0].last_used_at is not None
    people.revoke_application_password("bert", listed[0].number)  # of another person
    assert people.authenticate_application("anna", second, HERE) is not None
    people.revoke_application_password("anna", listed[0].number)
    assert people.authenticate_application("anna", second, HERE) is None
    assert people.authenticate_application("anna", first, HERE) is not None


@pytest.mark.parametrize("label", ["", "  ", "x" * 61])
def test_an_application_password_has_a_label(people, label):
    people.add_person("anna", PASSWORD)
    with pytest.raises(people.AccountProblem, match="1 to 60 characters"):
        people.make_application_password("anna", label)


def test_no_secret_is_kept(people, options):  # noqa: F811
    people.add_person("anna", PASSWORD)
    secrets = [people.make_application_password("anna", "x"), people.invite(None, Rights()), PASSWORD]
    files = (options.store / ".mediacrawl").glob("people.sqlite3*")
    # In another process: to close a file here would release the locks that SQLite holds on it in this process.
    kept = subprocess.run(["cat", *files], capture_output=True, check=True).stdout
    assert len(kept) > 100_000
    assert not [secret for secret in secrets if secret.encode() in kept]


# --- the first start ---------------------------------------------------------------------------------


def test_the_first_start_makes_one_administrator(people, options, monkeypatch):  # noqa: F811
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    made = first_administrator(options)
    everything = Rights(can_read=True, can_upload=True, can_manage=True)
    assert people.authenticate(made.name, made.password, HERE) == Person("admin", *everything)
    assert first_administrator(options) is None


def test_the_environment_may_give_the_password(people, options, monkeypatch):  # noqa: F811
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    assert first_administrator(options) == ("admin", None)
    assert people.authenticate("admin", PASSWORD, HERE).can_manage


def test_a_weak_password_of_the_environment_is_refused(people, options, monkeypatch):  # noqa: F811
    monkeypatch.setenv(PASSWORD_VARIABLE, "short")
    with pytest.raises(people.AccountProblem, match=f"{PASSWORD_VARIABLE}: .*too short"):
        first_administrator(options)
    assert people.list_people() == []
