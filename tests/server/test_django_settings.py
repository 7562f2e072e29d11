"""The settings of Django, and the files that they need in the hidden folder of a store."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from people_set_up import PASSWORD, options, run_in_threads  # noqa: F401

import mediacrawl
from mediacrawl.errors import StoreNotWritable
from mediacrawl.server.accounts.configuration import django_settings, migrate, session_cookie, set_up
from mediacrawl.server.options import ServeOptions

TLS = {"tls_cert": Path("c.pem"), "tls_key": Path("k.pem")}


def test_the_key_and_the_database_are_private_and_stay(tmp_path):
    first = django_settings(ServeOptions(store=tmp_path))
    second = django_settings(ServeOptions(store=tmp_path))
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert len(first["SECRET_KEY"]) >= 50
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / ".mediacrawl").iterdir()}
    assert modes == {"secret_key": 0o600, "people.sqlite3": 0o600}
    assert stat.S_IMODE((tmp_path / ".mediacrawl").stat().st_mode) == 0o700


def test_two_stores_have_two_keys(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    keys = {django_settings(ServeOptions(store=tmp_path / name))["SECRET_KEY"] for name in ("a", "b")}
    assert len(keys) == 2


def test_processes_that_start_at_once_have_one_key(tmp_path, options):  # noqa: F811
    found = run_in_threads(lambda _: django_settings(ServeOptions(store=tmp_path))["SECRET_KEY"], range(8))
    assert len(set(found)) == 1
    assert sorted(path.name for path in (tmp_path / ".mediacrawl").iterdir()) == ["people.sqlite3", "secret_key"]


def planted_link(hidden, name):
    (hidden / name).symlink_to(hidden.parent / "elsewhere")


def planted_folder(hidden, name):
    (hidden / name).mkdir()


def planted_fifo(hidden, name):
    os.mkfifo(hidden / name)


@pytest.mark.parametrize("name", ["secret_key", "people.sqlite3", "people.sqlite3-wal"])
@pytest.mark.parametrize("plant", [planted_link, planted_folder, planted_fifo])
def test_what_was_planted_is_not_used(tmp_path, plant, name):
    hidden = tmp_path / ".mediacrawl"
    hidden.mkdir()
    plant(hidden, name)
    with pytest.raises(StoreNotWritable, match="expected a regular file"):
        django_settings(ServeOptions(store=tmp_path))
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_that_was_cut_is_one_line(tmp_path):
    django_settings(ServeOptions(store=tmp_path))
    (tmp_path / ".mediacrawl/secret_key").write_text("short")
    with pytest.raises(StoreNotWritable, match="too short for a key: remove it"):
        django_settings(ServeOptions(store=tmp_path))


def test_a_database_that_is_deleted_is_not_made_anew(tmp_path):
    """A thread that opens it then would serve from one without tables, and leave it to the next start."""
    store = tmp_path / "a store: 100% ?mode=memory"
    store.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from mediacrawl.server.accounts.configuration import migrate, people_database, set_up\n"
        "from mediacrawl.server.options import ServeOptions\n"
        "options = ServeOptions(store=Path(sys.argv[1]))\n"
        "set_up(options); migrate()\n"
        "from django.db import OperationalError, connection\n"
        "from mediacrawl.server.accounts import people\n"
        "assert people.list_people() == []\n"
        "connection.close(); people_database(options.store).unlink()\n"
        "try: people.list_people()\n"
        "except OperationalError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, store], capture_output=True, text=True, check=True)
    assert done.stdout == "unable to open database file\n"
    assert "people.sqlite3" not in {path.name for path in (store / ".mediacrawl").iterdir()}


def test_a_missing_store_is_one_line(tmp_path):
    with pytest.raises(StoreNotWritable, match="No such file"):
        django_settings(ServeOptions(store=tmp_path / "none"))


def test_django_is_set_up_once(options, tmp_path):  # noqa: F811
    set_up(options)
    with pytest.raises(RuntimeError):
        set_up(ServeOptions(store=tmp_path))


@pytest.mark.parametrize(
    ("facts", "cookie", "path", "is_secure"),
    [
        ({}, "mediacrawl_session_8000", "/", False),
        ({"port": 9}, "mediacrawl_session_9", "/", False),
        ({"prefix": "/media/b"}, "mediacrawl_session_8000.media.b", "/media/b/", False),
        (TLS, "__Host-mediacrawl_session_8000", "/", True),
        (TLS | {"prefix": "/media"}, "__Secure-mediacrawl_session_8000.media", "/media/", True),
    ],
)
def test_the_cookies(tmp_path, facts, cookie, path, is_secure):
    """Another server of this host must not take them for its own, and no script reads them."""
    options = ServeOptions(store=tmp_path, **facts)  # noqa: F811
    found = django_settings(options)
    assert session_cookie(options) == found["SESSION_COOKIE_NAME"] == cookie
    assert found["CSRF_COOKIE_NAME"] == cookie.replace("session", "csrf")
    for kind in ("SESSION", "CSRF"):
        expected = {"PATH": path, "SECURE": is_secure, "HTTPONLY": True, "SAMESITE": "Lax"}
        assert {key: found[f"{kind}_COOKIE_{key}"] for key in expected} == expected


@pytest.mark.parametrize(
    ("facts", "hosts"),
    [
        ({"host": "::1"}, {"localhost", "127.0.0.1", "[::1]"}),
        ({"host": "192.0.2.7"}, {"localhost", "127.0.0.1", "[::1]", "192.0.2.7"}),
        ({"host": "0.0.0.0"}, {"*"}),  # each address, which the application checks before
        ({"host": "0.0.0.0", "hosts": ("media.example.org",)}, {"media.example.org"}),
    ],
)
def test_the_hosts(tmp_path, facts, hosts):
    assert set(django_settings(ServeOptions(store=tmp_path, **facts))["ALLOWED_HOSTS"]) == hosts


CHECK = """
import json, sys
from pathlib import Path
from mediacrawl.server.accounts.configuration import migrate, set_up
from mediacrawl.server.options import ServeOptions
facts = json.loads(sys.argv[1])
facts |= {name: Path(facts[name]) for name in ("store", "tls_cert", "tls_key")}
set_up(ServeOptions(**facts))
migrate()
from django.core.management import call_command
call_command("check", deploy=True, fail_level="INFO")
call_command("makemigrations", check=True, dry_run=True)
"""


def test_djangos_own_check_finds_nothing_behind_tls(tmp_path):
    """`check --deploy`; and no change of a model lacks its migration."""
    facts = {"store": str(tmp_path), "tls_cert": "c", "tls_key": "k", "prefix": "/media"}
    ran = subprocess.run(
        [sys.executable, "-c", CHECK, json.dumps(facts)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == ("System check identified no issues (1 silenced).\nNo changes detected\n"), (
        "silenced: HSTS, which holds for all ports of a host"
    )


def test_the_database_is_the_one_of_people(options):  # noqa: F811
    """WAL, and each commit is durable: a password that was changed stays changed."""
    from django.db import connection

    with connection.cursor() as cursor:
        found = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]
    migrate()  # again: nothing to do
    assert {path.name for path in (options.store / ".mediacrawl").iterdir()} >= {"people.sqlite3"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (options.store / ".mediacrawl").iterdir()}
    assert modes == {0o600}


def test_a_database_that_is_none_is_one_line(tmp_path):
    django_settings(ServeOptions(store=tmp_path))
    (tmp_path / ".mediacrawl/people.sqlite3").write_bytes(b"no database" * 1000)
    code = CHECK.partition("from django.core")[0].replace("migrate()", "", 1) + (
        "\nfrom mediacrawl.errors import StoreNotWritable\n"
        "try: migrate()\nexcept StoreNotWritable as error: print(error)\n"
    )
    facts = {"store": str(tmp_path), "tls_cert": "c", "tls_key": "k"}
    ran = subprocess.run([sys.executable, "-c", code, json.dumps(facts)], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout.startswith(f"cannot use {tmp_path}/.mediacrawl/people.sqlite3: file is not a database")
    assert ran.stdout.count("\n") == 1


def test_who_only_fetches_does_not_meet_django():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['django', 'axes', 'argon2', 'aiohttp']))\n"
        "import mediacrawl.commands.user, mediacrawl.commands.crawl, mediacrawl.cli.plain_get\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the command sqlite3")
def test_the_documented_backup_is_whole_while_the_server_runs(options, tmp_path):  # noqa: F811
    from mediacrawl.server.accounts import people

    people.add_person("anna", PASSWORD)  # is in the log of SQLite, as the database is open
    text = (Path(mediacrawl.__file__).parents[1] / "docs/people.md").read_text("utf-8")
    commands = text.partition("```sh\n")[2].partition("```")[0]
    environment = os.environ | {"STORE": str(options.store), "BACKUP": str(tmp_path)}
    subprocess.run(["sh", "-euc", commands], env=environment, check=True)
    with closing(sqlite3.connect(tmp_path / "people.sqlite3")) as copy:
        assert copy.execute("SELECT username FROM auth_user").fetchall() == [("anna",)]
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
