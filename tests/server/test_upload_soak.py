"""Ten people upload and download at once by all doors, while each process is killed now and then.

In the full form it takes ten minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import traceback
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from crawling import PATIENCE_S, wait_until
from drawing import FULL, chance_for
from ftp_server import certificate, run_with_people
from serve_process import Serve, is_running, run
from soak import Member, Refused, Soak, digest, files_below
from soak_doors import (
    GONE,
    PASSWORD,
    Client,
    by_curl,
    by_ftp,
    by_ftps,
    by_joining,
    by_page,
    by_push,
    by_push_over_ftp,
    by_tus,
    by_tus_with_checksums,
    by_tuspy,
    fetch_by_ftp,
    fetch_by_get,
    fetch_range,
    look_around,
    pry,
)
from uploading import TUS, processes

from mediacrawl.archive import Archive
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.server.ports import free_port
from mediacrawl.store.local import HIDDEN, LocalStore

pytestmark = pytest.mark.slow

FULL_S = 600.0
PACE_S = 6.0 if FULL else 1.0  # between two kills
PACE_FILES = 100  # or fewer seconds, if as many are published before
KINDS = ("HTTP", "FTP", "all")
QUOTA = 6_000_000
MEMBERS = {  # their rights, and the doors that they use
    "anna": ({"can_upload": True, "can_manage": True}, [by_tus, by_ftps, by_page, by_joining]),
    "bert": ({"can_upload": True, "can_read": False}, [by_ftps, by_tus_with_checksums, by_ftp]),
    "cleo": ({"can_upload": True, "quota_bytes": QUOTA}, [by_tus, by_ftp, by_ftps]),
    "dora": ({"can_upload": True, "can_read": False, "quota_bytes": QUOTA}, [by_page, by_ftps, by_tus]),
    "emil": ({"can_upload": True}, [by_tus, by_ftp, by_page]),
    "fred": ({"can_upload": True}, [by_ftps, by_tus, by_tuspy]),
    "gina": ({}, [by_tus, by_ftp]),
    "hans": ({"can_upload": True}, [by_page, by_tus, by_ftp]),
    "ines": ({"can_upload": True}, [by_push, by_push_over_ftp, by_curl]),
    "jule": ({"can_upload": True}, [by_page, by_tuspy, by_joining, by_ftp]),
}
ADD = f"""
from mediacrawl.server.accounts.configuration import migrate
migrate()
for name, rights in json.loads(sys.argv[2]).items():
    people.add_person(name, {PASSWORD!r}, Rights(**rights))
    print(people.make_application_password(name, "soak"))
"""
REVOKE = """
for known in people.application_passwords(sys.argv[2]):
    people.revoke_application_password(sys.argv[2], known.number)
"""


class Site:
    """The server, at ports that stay the same. `log` has the lines of all of its processes, of each start."""

    def __init__(self, soak, folder):
        pem = certificate(folder)
        self.port, self.ftp_port = free_port("127.0.0.1", 0), free_port("127.0.0.1", 0)
        options = ["--port", self.port, "--ftp-port", self.ftp_port, "--ftp-tls-cert", pem, "--ftp-tls-key", pem]
        self._words = [soak.store, *options, "--ftp-without-tls"]
        self._soak, self.log = soak, []
        self._serve = self._started()

    def _started(self):
        serve = Serve(*self._words)
        serve.line_with("is served by FTP")
        self._soak.is_up.set()
        return serve

    def kill(self, kind):
        """Kill a process, and wait until the server runs again."""
        self._soak.is_up.clear()
        number = len(self._serve.log)
        victim = self._serve.process.pid if kind == "all" else self._pid(kind)
        pids = processes(self._serve)
        os.kill(victim, signal.SIGKILL)
        self._soak.count("kills")
        if kind == "all":
            wait_until(lambda: not any(map(is_running, pids)))
            self._end(signal.SIGKILL)
            self._serve = self._started()
        else:
            self._serve.line_with(f"the {'FTP server' if kind == 'FTP' else 'server'} runs again", number)
            self._soak.is_up.set()

    def _pid(self, kind):
        mark = "mediacrawl.server.ftp.process" if kind == "FTP" else "mediacrawl.server.http_process"
        (found,) = [one for one in processes(self._serve) if mark in command_line(one)]
        return found

    def _end(self, number):
        status = self._serve.end(number)
        self.log += self._serve.log
        return status

    def end(self):
        """Stop the server; return its exit status."""
        return self._end(signal.SIGTERM)


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""


class Life:
    """What one person does until the end."""

    def __init__(self, client, doors):
        self.client, self.doors = client, doors
        self.soak, self.member, self.chance = client.soak, client.member, client.chance

    def run(self):
        try:
            self.client.log_in()
            for number in count():
                if self.soak.problems or (self.soak.is_over.is_set() and number >= len(self.doors)):
                    break
                if self.doors:
                    self.send(self.doors[number % len(self.doors)])
                with suppress(*GONE):  # the server was killed; `get` and the others are tried again later
                    self.chance.choice([self.fetch, self.fetch, self.look, self.pry])()
            self.soak.count(f"ended {self.member.name}")
        except Exception as error:
            self.soak.complain(f"{self.member.name}:", *traceback.format_exception(error))

    def send(self, door):
        member, chance = self.member, self.chance
        if not member.has_password:
            door = by_page
        if door is by_tus and member.may_read and chance.random() < 0.3:
            file = self.soak.shared_file(member, chance)
        else:
            file = self.soak.new_file(member, chance, private=chance.random() < (0.5 if member.may_read else 0.8))
        is_forbidden = self.soak.begin(file)
        try:
            path = door(self.client, file)
        except Refused as error:
            self.soak.count("refused")
            if member.quota is not None:
                self.make_room()
            elif not is_forbidden and not member.is_changing:
                self.soak.complain(f"{file} by {door.__name__}: {error}")
            return
        self.soak.finish(file, path)
        self.soak.count(door.__name__)
        if not file.is_shared and path != file.path:
            self.soak.complain(f"{file} by {door.__name__} became {path}")

    def make_room(self):
        """Remove what is unfinished of this person; and a file, as the owner of the machine does."""
        with suppress(*GONE):
            remove_unfinished(self.client)
        own = [(file, path) for file, path in self.member.finished if file.size and file.is_private]
        if not own:
            return
        file, path = self.chance.choice(own)
        self.member.finished.remove((file, path))
        self.soak.forget(file)
        ledger = SqliteLedger(self.soak.store / HIDDEN / "ledger.sqlite3", read_only=True)
        try:
            key = ledger.at_path(path).key
        finally:
            ledger.close()
        status, out, err = run("forget", "--files", key, "-s", f"FILES_STORE={self.soak.store}")
        if status or "forgotten" not in out:
            self.soak.complain(f"forget {key}: {status} {out} {err}")
        self.soak.count("files removed")

    def fetch(self):
        """Fetch what anybody has uploaded, and this person may read."""
        found = [one for one in self.soak.expected() if one[1] is not None and self.may_read(one[0])]
        if found:
            way = self.chance.choice([fetch_range, fetch_by_ftp, fetch_by_get if FULL else fetch_range])
            if not self.member.has_password:
                way = fetch_range
            way(self.client, *self.chance.choice(found))
            self.soak.count(way.__name__)

    def may_read(self, file):
        return file.person == self.member.name if file.is_private else self.member.may_read

    def look(self):
        look_around(self.client)

    def pry(self):
        other = self.chance.choice([one for one in self.soak.members.values() if one is not self.member])
        private = [path for file, path in self.soak.expected() if file.person == other.name and file.is_private]
        path = self.chance.choice(private or [f"{other.own}/a.bin"])
        pry(self.client, other, path, self.soak.upload_of(other.name))
        self.soak.count("pried")


def changes(soak):
    """Withdraw rights, one at a time."""
    store = f"FILES_STORE={soak.store}"
    with soak.withdrawing("emil", may_upload=False):
        assert run("user", "rights", "emil", "--no-upload", "-s", store)[0] == 0
    yield
    with soak.withdrawing("fred", may_read=False):
        assert run("user", "rights", "fred", "--no-read", "-s", store)[0] == 0
    yield
    with soak.withdrawing("hans", has_password=False):
        run_with_people(soak.store, REVOKE, "hans")
    yield


def watch(soak, ended):
    """Check all the time what must hold at any time."""
    try:
        while not ended.wait(0.2):
            soak.check_disk()
            soak.check_quotas()
    except Exception as error:
        soak.complain(*traceback.format_exception(error))


def test_ten_people_at_once_while_processes_are_killed(tmp_path, request):
    chance = chance_for(request.node.name)
    store = tmp_path / "store"
    Archive.open(LocalStore(store)).close()
    rights = {name: given for name, (given, _) in MEMBERS.items()}
    members = {name: member_of(name, given) for name, given in rights.items()}
    for member, password in zip(members.values(), run_with_people(store, ADD, json.dumps(rights)), strict=True):
        member.password = password
    soak, ended = Soak(store, members), threading.Event()
    site = Site(soak, tmp_path)
    clients = []
    for name, member in members.items():
        folder = tmp_path / name
        folder.mkdir()
        clients.append(Client(soak, member, site, chance_for(f"{name} {request.node.name}"), folder))
    lives = [Life(client, MEMBERS[client.member.name][1]) for client in clients]
    threads = [threading.Thread(target=life.run, daemon=True) for life in lives]
    threads.append(threading.Thread(target=watch, args=[soak, ended], daemon=True))
    try:
        for thread in threads:
            thread.start()
        kill_now_and_then(soak, site, chance)
        soak.is_over.set()
        for life, thread in zip(lives, threads, strict=False):
            thread.join(4 * PATIENCE_S)
            assert not thread.is_alive(), f"{life.member.name} does not come to an end: {soak.problems}"
        assert not soak.problems, "\n".join(soak.problems)
        for client in clients:
            remove_unfinished(client)
    finally:
        soak.is_over.set()
        ended.set()
        threads[-1].join()
        for client in clients:
            client.close()
        status = site.end()
    print(f"{soak.counts['kills']} kills", dict(sorted(soak.counts.items())))
    assert status == 0
    check_end(soak, site)


def member_of(name, rights):
    places = ("", "common") if name not in {"bert", "dora", "fred"} else ("common",)  # else the own folder is meant
    may_upload, may_read = rights.get("can_upload", False), rights.get("can_read", True)
    return Member(name, may_upload, may_read, rights.get("quota_bytes"), places=places)


def kill_now_and_then(soak, site, chance):
    """Kill each kind of process, in turns; in between, rights are withdrawn."""
    until = time.monotonic() + FULL_S * FULL
    withdrawn = changes(soak)
    while not soak.problems:
        for kind in (
            *chance.sample(KINDS[:-1], 2),
            KINDS[-1],
        ):  # the pauses before a new start begin anew with the last
            soak.wait_for("finished", soak.counts["finished"] + PACE_FILES, PACE_S)
            site.kill(kind)
            next(withdrawn, None)
        if time.monotonic() > until:
            soak.wait_for("finished", soak.counts["finished"] + PACE_FILES, PACE_S)
            return


def remove_unfinished(client):
    """Remove what a person has left unfinished, by whatever door it was begun."""
    own = client.credentials(by_page=True)
    for one in json.loads(client.ask("GET", "/uploads/", own).content)["uploads"]:
        assert client.ask("DELETE", f"/uploads/{one['id']}", TUS | own).status == 204, one
    assert json.loads(client.ask("GET", "/uploads/", own).content)["uploads"] == []


def check_end(soak, site):
    """Check that the folders, the ledger and what clients were told agree."""
    soak.check_disk()
    soak.check_quotas()
    on_disk = {path.relative_to(soak.store).as_posix(): digest(path.read_bytes()) for path in files_below(soak.store)}
    status, out, err = run("manifest", "-s", f"FILES_STORE={soak.store}")
    assert status == 0, err
    rows = {row["path"]: row for row in map(json.loads, out.splitlines())}
    assert {path: row["sha256"] for path, row in rows.items()} == on_disk
    for path, row in rows.items():
        assert row["uploaded_by"] in soak.may_be_of(path, row["sha256"]), row
        assert (row["url"], bool(row["finished_at"])) == ("", True), row
    for file, path in soak.expected():
        found = [path] if path is not None else [other for other in on_disk if on_disk[other] == digest(file.data())]
        assert [on_disk.get(one) for one in found] == [digest(file.data())] * len(found), (file, path)
        assert found, file
    status, out, err = run("verify", "-s", f"FILES_STORE={soak.store}")
    assert (status, re.findall(r"damaged (\d+)", out)) == (0, ["0"]), (out, err)
    assert list((soak.store / HIDDEN / "parts").iterdir()) == []
    log = "".join(site.log)
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]
    assert not [member.name for member in soak.members.values() if member.password in log]
    assert not soak.problems, "\n".join(soak.problems)
    used = {door.__name__ for _, doors in MEMBERS.values() for door in doors}
    assert used <= set(soak.counts), "a door was not used"
