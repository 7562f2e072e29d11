"""`kill -9` of the server within an upload, again and again; a stopped server, a full disk, a spent quota."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from itertools import count

import pytest
from drawing import FULL, chance_for
from serve_process import Serve
from uploading import MIB, TusClient, content, kill, login, processes, sha256

from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.ledger.upload_keys import UPLOAD
from mediacrawl.store.local import HIDDEN

pytestmark = pytest.mark.slow

KILLS = 30 if FULL else 3
SIZE = KILLS * 2 * MIB


@pytest.fixture
def chance(request):
    return chance_for(request.node.name)


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    return root


def check_prefix(store, client):
    """The bytes on the disk, up to the offset that was told, are those of the file."""
    (part,) = (store / HIDDEN / "parts").glob("*.part")
    assert part.read_bytes()[: client.told] == client.data[: client.told]


def check_published(store, name, data):
    assert sha256((store / name).read_bytes()) == sha256(data)
    ledger = SqliteLedger(store / HIDDEN / "ledger.sqlite3", read_only=True)
    try:
        (row,) = ledger.entries(prefix=UPLOAD)
        assert (row.path, row.state, row.sha256) == (name, "done", sha256(data))
    finally:
        ledger.close()
    assert list((store / HIDDEN / "parts").iterdir()) == []


def test_kills_within_one_upload_lose_no_byte_that_was_told(store, chance):
    client = TusClient(login(store, "anna"), content(SIZE), filename="film.mkv")
    reached = []
    for _ in range(KILLS):
        with Serve(store, "--no-access-log") as server:
            if client.path is None:
                client.create(server)
            client.ask_offset(server)
            check = chance.randrange(2)
            if check and client.told < len(client.data) - MIB:
                assert client.send(server, client.told + chance.randrange(1, 300_000)) == 204
            if client.told:
                check_prefix(store, client)
            sent = count(chance.randrange(-40, 0))

            def die_in_time(server=server, sent=sent):
                if next(sent) == 0:
                    kill(server)

            if client.told < len(client.data):
                assert client.send(server, between=die_in_time, step=chance.randrange(1, 100_000)) is None
            reached.append(client.told)
    with Serve(store, "--no-access-log") as server:
        client.ask_offset(server)
        assert client.told == len(client.data) or client.send(server) == 204
    assert reached == sorted(reached)
    print(f"{KILLS} kills, told {reached}")
    check_published(store, "film.mkv", client.data)


def test_a_kill_while_the_last_byte_is_published(store, chance):
    """The client has sent all, and is not answered."""
    who = login(store, "anna")
    for number in range(8 if FULL else 2):
        client = TusClient(who, content(200_000, number), filename=f"{number}.bin")
        with Serve(store, "--no-access-log") as server:
            client.create(server)
            killer = threading.Timer(chance.random() * 0.03, kill, [server])
            threading.Thread(target=client.send, args=[server]).start()
            killer.start()
            killer.join()
        with Serve(store, "--no-access-log") as server:
            client.ask_offset(server)
            assert client.told == len(client.data) or client.send(server) == 204
        assert (store / f"{number}.bin").read_bytes() == client.data


def test_a_stopped_server_goes_on(store):
    client = TusClient(login(store, "anna"), content(6 * MIB), filename="film.mkv")
    with Serve(store, "--no-access-log") as server:
        client.create(server)
        pids = processes(server)
        stopped = []

        def stop_once():
            if not stopped:
                stopped.append(pids)
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)

        assert client.send(server, 2 * MIB, between=stop_once) == 204
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        sender = threading.Thread(target=client.send, args=[server, 4 * MIB])
        sender.start()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        client.ask_offset(server)
        sender.join()
        client.ask_offset(server)
        check_prefix(store, client)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        kill(server)
    with Serve(store, "--no-access-log") as server:
        client.ask_offset(server)
        assert client.send(server) == 204
    check_published(store, "film.mkv", client.data)


@contextmanager
def small_disk(folder, size):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can make a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_and_what_was_told_stays(tmp_path):
    with small_disk(tmp_path / "small", "24m") as store:
        client = TusClient(login(store, "anna"), content(12 * MIB), filename="film.mkv")
        with Serve(store, "--no-access-log") as server:
            client.create(server)
            assert client.send(server, 3 * MIB) == 204
            ballast = store / "ballast"
            with ballast.open("wb") as file:
                left = os.statvfs(store).f_bavail * 4096 - MIB
                file.write(bytes(left))
            for _ in range(3):
                assert client.send(server) in {507, 503, None}
            too_large = TusClient(client.who, content(12 * MIB), filename="other")
            status, text = too_large.create(server)
            assert (status, "no room left" in text) == (507, True)
            ballast.unlink()
            offset = client.ask_offset(server)
            assert offset >= 3 * MIB
            check_prefix(store, client)
            assert client.send(server) == 204
        check_published(store, "film.mkv", client.data)


def test_a_spent_quota_refuses_and_another_person_goes_on(store):
    anna, bert = login(store, "anna", 5 * MIB), login(store, "bert")
    with Serve(store, "--no-access-log") as server:
        clients = [TusClient(anna, content(2 * MIB, number), filename=f"{number}.bin") for number in range(4)]
        results = []

        def upload(client):
            status, text = client.create(server)
            results.append(client.send(server) if status == 201 else (status, "are left" in text))

        threads = [threading.Thread(target=upload, args=[client]) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results, key=str) == [(413, True), (413, True), 204, 204]
        other = TusClient(bert, content(9 * MIB), filename="of bert.bin")
        other.create(server)
        assert other.send(server) == 204
        assert sorted(path.stat().st_size for path in store.glob("*.bin")) == [2 * MIB, 2 * MIB, 9 * MIB]
