"""`mediacrawl push` to a real `mediacrawl serve`, both killed in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from urllib.parse import quote

import pytest
from crawling import wait_until
from ftp_server import run_with_people
from origin import Pattern
from serve_process import LIMIT_S, Serve, command, is_running, run

from mediacrawl.archive import Archive
from mediacrawl.server.ports import free_port
from mediacrawl.store.local import HIDDEN, LocalStore

pytestmark = pytest.mark.slow

FILMS = {"films/a.mp4": b"a" * 100_000, "films/old/b \u00e9%#.bin": b"\1\2\3", "films/empty": b""}
LARGE = Pattern(120_000_000, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("pushed") / "store"
    Archive.open(LocalStore(root)).close()
    status, _, errors = run(
        "user", "add", "anna", "--upload", "-s", f"FILES_STORE={root}", input="correct horse battery\n"
    )
    assert status == 0, errors
    return root


@pytest.fixture(scope="module")
def password(store):
    return run_with_people(store, 'print(people.make_application_password("anna", "laptop"))')[0]


class Client:
    """`push` with its state in a folder, and a password that is in `.netrc` alone."""

    def __init__(self, folder, password):
        netrc = folder / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login anna password {password}\n")
        self.folder = folder
        self.env = {"NETRC": str(netrc), "XDG_STATE_HOME": str(folder / "state")}

    def start(self, *words):
        quick = ("-s", "MEDIACRAWL_RETRY_TIMES=100", "-s", "MEDIACRAWL_BACKOFF_MAX_S=0.5")
        return subprocess.Popen(
            command("push", "--json", *quick, *words),
            cwd=self.folder,
            env=os.environ | self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def push(self, *words):
        return self.end(self.start(*words))

    @staticmethod
    def end(process):
        out, err = process.communicate(timeout=3 * LIMIT_S)
        assert "Traceback" not in err, err
        return process.returncode, [json.loads(line) for line in out.splitlines()], err


@pytest.fixture
def client(tmp_path, password):
    return Client(tmp_path, password)


def published(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and HIDDEN not in path.parts
    }


def unfinished_bytes(root):
    return max((path.stat().st_size for path in (root / HIDDEN / "parts").glob("*") if path.is_file()), default=0)


def wait_for_bytes(root, size, process):
    """Wait until so many bytes of an upload have arrived; the process must not end before."""
    wait_until(lambda: unfinished_bytes(root) >= size or process.poll() is not None)
    assert process.poll() is None, "the file is too small for this machine"


def kill(server):
    pids = server.processes()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.end(signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)))


def test_a_folder_arrives_and_is_not_sent_again(store, client, password):
    for name, data in FILMS.items():
        path = client.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    before = published(store)
    with Serve(store) as server:
        url = f"http://127.0.0.1:{server.port}/files/new folder/"
        status, results, err = client.push("films", url)
        assert (status, {result["status"] for result in results}) == (0, {"uploaded"}), err
        assert published(store).keys() - before.keys() == {f"new folder/{name}" for name in FILMS}
        assert {result["url"] for result in results} == {url.replace(" ", "%20") + quote(name) for name in FILMS}
        (client.folder / "state/mediacrawl/push.sqlite3").unlink()
        status, results, err = client.push("films", url)
        assert (status, {result["status"] for result in results}) == (0, {"present"}), err
        for other in (f"http://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.port}/files/~anna"):
            status, results, err = client.push("films/a.mp4", other)
            assert (status, results[0]["status"]) == (0, "uploaded"), err
        status, results, err = client.push("films/a.mp4", f"http://127.0.0.1:{server.port}/files/~bert/")
        assert (status, results[0]["status"]) == (1, "failed"), results
    assert {"a.mp4", "~anna/a.mp4"} <= published(store).keys()
    assert not [path for path in published(store) if path.startswith("~bert")]


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_file_arrives_whole_though_both_ends_are_killed(store, client, scheme):
    name, ports = f"by-{scheme}.bin", {scheme: free_port("127.0.0.1", 0) for scheme in ("http", "ftp")}
    with (client.folder / name).open("wb") as file:
        for block in LARGE.slices():
            file.write(block)
    options = ("--port", ports["http"], "--ftp-port", ports["ftp"])
    server = Serve(store, *options)
    url = f"{scheme}://127.0.0.1:{ports[scheme]}/{'files/' if scheme == 'http' else ''}"
    client_process = client.start(name, url)
    try:
        for number in range(1, 5):
            wait_for_bytes(store, number * 12_000_000, client_process)
            if number % 2:
                client_process.send_signal(signal.SIGSTOP)  # else it may have sent all before the test goes on
                kill(server)
                server = Serve(store, *options)
                client_process.send_signal(signal.SIGCONT)
            else:
                client_process.kill()
                client_process.communicate()
                client_process = client.start(name, url)
        status, (result,), err = client.end(client_process)
        assert (status, result["status"]) == (0, "resumed"), err
        assert result["saved"] >= 12_000_000
        assert published(store)[name] == LARGE.sha256()
        status, (result,), err = client.push(name, url)
        assert (status, result["status"]) == (0, "present"), err
    finally:
        client_process.kill()
        server.end()
    assert not [other for other in published(store) if other.startswith(f"by-{scheme}-")]
