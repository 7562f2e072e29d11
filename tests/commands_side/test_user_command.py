"""`mediacrawl user`: people, on the machine."""

from __future__ import annotations

import getpass
import io
import json
import os
import pty
import subprocess
import sys

import pytest
from crawling import environment
from people_set_up import PASSWORD, options  # noqa: F401

from mediacrawl.server.accounts.rights import Person, Rights

HERE = "192.0.2.1"


@pytest.fixture
def user(command, options, monkeypatch):  # noqa: F811
    """`mediacrawl user WORDS…` with a standard input."""

    def user(*words, typed=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        return command("user", *words, store=str(options.store))

    return user


@pytest.fixture
def people(options):  # noqa: F811
    from mediacrawl.server.accounts import people

    return people


def test_a_person_is_added_with_a_password_of_standard_input(user, people):
    done = user("add", "anna", "--upload", "--quota", "20G", typed=f"{PASSWORD}\n")
    assert (done.status, done.out) == (0, "added: anna\n")
    assert people.authenticate("anna", PASSWORD, HERE) == Person("anna", can_upload=True, quota_bytes=20 * 10**9)


def test_people_are_listed(user, people):
    people.add_person("anna", PASSWORD, Rights(can_upload=True, can_manage=True))
    people.add_person("bert", PASSWORD, Rights(can_read=False, quota_bytes=2 * 10**9))
    assert user("list").out == "anna: read upload manage\nbert: own folder only, at most 2.00GB\n"
    assert [json.loads(line)["quota_bytes"] for line in user("list", "--json").out.splitlines()] == [None, 2 * 10**9]


def test_a_password_is_changed(user, people):
    people.add_person("anna", PASSWORD)
    done = user("passwd", "anna", typed="battery staple\r\n")
    assert (done.status, done.err) == (0, "")
    assert people.authenticate("anna", "battery staple", HERE) == Person("anna")


def test_a_database_that_cannot_be_written_is_one_line(user, people, monkeypatch):
    from django.db import OperationalError

    people.add_person("anna", PASSWORD)

    def fail(*_arguments):
        raise OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(people, "remove_person", fail)
    done = user("remove", "anna")
    assert (done.status, done.err.count("\n")) == (4, 1)
    assert "attempt to write a readonly database; restore a copy of it, or free space" in done.err


def test_the_rights_of_a_person_are_changed_one_by_one(user, people):
    people.add_person("anna", PASSWORD, Rights(can_upload=True, quota_bytes=5))
    people.add_person("bert", PASSWORD, Rights(can_manage=True))
    for words, rights, said in (
        (
            ["--manage", "--quota", "2G"],
            Rights(True, True, True, 2 * 10**9),
            "anna: read upload manage, at most 2.00GB",
        ),
        (["--no-upload"], Rights(True, False, True, 2 * 10**9), "anna: read manage, at most 2.00GB"),
        (["--no-read", "--quota", "none"], Rights(False, False, True), "anna: manage"),
        (["--read", "--upload", "--no-manage"], Rights(True, True, False), "anna: read upload"),
        (["--upload"], Rights(True, True, False), "anna: read upload"),
        (["--quota", "0"], Rights(True, True, False, 0), "anna: read upload, at most 0B"),
    ):
        done = user("rights", "anna", *words)
        assert (done.status, done.out, done.err) == (0, f"{said}\n", ""), words
        assert people.find_person("anna").rights == rights
    assert people.find_person("bert").rights == Rights(can_manage=True)


def test_a_server_that_nobody_can_manage_is_told(user, people):
    said = "nobody can manage this server yet: user rights anna --manage gives the right\n"
    assert user("add", "anna", typed=PASSWORD).err == said
    assert user("rights", "anna", "--manage").err == user("add", "bert", typed=PASSWORD).err == ""


def test_a_person_is_removed(user, people):
    people.add_person("anna", PASSWORD)
    assert user("remove", "anna").out == "removed: anna; the files in the folder ~anna stay\n"
    assert people.list_people() == []


def test_an_invitation_is_a_link(user, people):
    done = user("invite", "--no-read", "--manage", "--days", "2", "--url", "https://example.org/media/")
    start, _, token = done.out.strip().rpartition("/")
    assert (done.status, start) == (0, "https://example.org/media/invitation")
    assert people.open_invitation(token).rights == Rights(can_read=False, can_manage=True)
    assert "within 2 days" in done.err


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        ([], "", "give one of: add NAME"),
        (["ad", "anna"], "", "give one of: add NAME"),
        (["add"], "", "add takes the name of one person"),
        (["add", "a", "b"], "", "add takes the name of one person"),
        (["list", "a"], "", "list takes no name"),
        (["add", "Anna"], PASSWORD, "cannot be a name: expected"),
        (["add", "\x1b[31m"], PASSWORD, "cannot be a name: expected"),
        (["add", "bert"], PASSWORD, "there is a person with the name bert already"),
        (["add", "anna"], "short", "too short"),
        (["add", "anna"], "", "no password on standard input"),
        (["add", "anna", "--quota", "many"], PASSWORD, "--quota many: expected a number of bytes"),
        (["add", "anna", "--quota", "9999999T"], PASSWORD, "--quota 9999999T: expected at most"),
        (["invite", "--quota", "999999999999T"], "", "--quota 999999999999T: expected at most"),
        (["add", "anna", "--uplaod"], PASSWORD, "there is no option --uplaod"),
        (["passwd", "nobody"], PASSWORD, "there is no person with the name nobody"),
        (["rights", "nobody", "--read"], "", "there is no person with the name nobody"),
        (["rights", "bert"], "", "rights takes at least one of --read"),
        (["rights"], "", "rights takes the name of one person"),
        (["rights", "bert", "--no-manage"], "", "nobody but bert may manage"),
        (["rights", "bert", "--quota", "-1"], "", "--quota"),
        (["remove", "nobody"], "", "there is no person with the name 'nobody'"),
        (["remove", "bert"], "", "nobody but bert may manage"),
        (["invite", "--days", "0"], "", "valid for 1 to 365 days, not 0"),
    ],
)
def test_wrong_usage_is_told_and_changes_nothing(user, people, words, typed, said):
    people.add_person("bert", PASSWORD, Rights(can_manage=True))
    done = user(*words, typed=typed)
    assert done.status == 2
    assert said in done.err
    assert "scrapy" not in done.err
    assert "\x1b" not in done.err
    assert people.list_people() == [Person("bert", can_manage=True)]
    assert people.open_invitations() == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_password_at_a_terminal_is_typed_twice(command, people, options, monkeypatch):  # noqa: F811
    typed = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda _prompt: typed.pop(0))
    typed[:] = [PASSWORD, "another one"]
    done = command("user", "add", "anna", store=str(options.store))
    assert (done.status, people.list_people()) == (2, [])
    assert "the two passwords differ" in done.err
    typed[:] = [PASSWORD, PASSWORD]
    assert command("user", "add", "anna", store=str(options.store)).status == 0
    assert people.authenticate("anna", PASSWORD, HERE) == Person("anna")


@pytest.mark.parametrize(("error", "status"), [(EOFError, 2), (KeyboardInterrupt, 3)])
def test_a_password_that_is_not_typed_changes_nothing(command, people, options, monkeypatch, error, status):  # noqa: F811
    def stopped(_prompt):
        raise error

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", stopped)
    done = command("user", "add", "anna", store=str(options.store))
    assert (done.status, done.err.count("\n"), people.list_people()) == (status, 1, [])


@pytest.mark.parametrize("store", ["none", "a/file"])
def test_a_missing_store_is_wrong_usage(command, tmp_path, store):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").touch()
    done = command("user", "list", store=store)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert not (tmp_path / "none").exists()


def test_the_extra_may_be_missing(tmp_path):
    """One line says what to install."""
    code = (
        "import sys; sys.modules['django'] = None\n"
        "from mediacrawl.cli.main import main\n"
        f"sys.argv = ['mediacrawl', 'user', 'list', '-s', 'FILES_STORE={tmp_path}']\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (4, "")
    assert ran.stderr == "mediacrawl: people need Django: pip install 'mediacrawl[serve]'\n"


def test_a_password_is_not_shown_at_a_terminal(tmp_path):
    """A whole run: an own store, a terminal, and the hash of a real server."""
    (tmp_path / "store").mkdir()
    ours, theirs = pty.openpty()
    words = ["user", "add", "anna", "-s", "FILES_STORE=store"]
    with subprocess.Popen(
        [sys.executable, "-m", "mediacrawl", *words],
        cwd=tmp_path,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        for prompt in (b"Password: ", b"The same again: "):
            while not shown.endswith(prompt):
                shown += os.read(ours, 1000)
            os.write(ours, f"{PASSWORD}\n".encode())
        try:
            while data := os.read(ours, 1000):
                shown += data
        except OSError:  # the process has closed the terminal
            pass
        assert process.wait(60) == 0
    os.close(ours)
    assert b"added: anna" in shown
    assert PASSWORD.encode() not in shown
