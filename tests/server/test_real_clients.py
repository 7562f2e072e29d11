"""Real clients, each killed in the middle and started again: the file ends whole, and its first half is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from archive_job import publish
from crawling import wait_until
from serving import Server

from mediacrawl.archive import Archive
from mediacrawl.store.local import LocalStore

pytestmark = pytest.mark.slow

SIZE = 12 << 20
FILM = b"\x00\x00\x00\x18ftypmp42" + os.urandom(1 << 20) * 12
FILM = FILM[:SIZE]


class Relay:
    """A port that leads to a server, and stands still once it has passed on so many bytes."""

    def __init__(self, server, stops_after):
        self._server = server
        self._left = stops_after
        self.passed = 0
        self.stopped, self._over = threading.Event(), threading.Event()
        self._lock, self._threads = threading.Lock(), []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self.release()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def release(self):
        """Let all pass from now on; connections that stand still are closed. Return what has passed until now."""
        with self._lock:
            self._left = None
            self._over.set()
            return self.passed

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)  # little is in no program's hands
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server.socket))
                self._start(self._pass_on, client, server, False)
                self._start(self._pass_on, server, client, True)

    def _pass_on(self, source, target, counts):
        with suppress(OSError):
            while data := source.recv(65536):
                if counts and not self._may_pass(len(data)):
                    self.stopped.set()
                    self._over.wait()
                    break
                target.sendall(data)
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if counts:
            source.close()
            target.close()

    def _may_pass(self, size):
        with self._lock:
            if self._left is not None and self.passed + size > self._left:
                return False
            self.passed += size
            return True


CLIENTS = {
    "curl": (["curl", "-sS", "-C", "-", "-o", "{folder}/film.mp4", "{url}"], signal.SIGKILL),
    "wget": (["wget", "-q", "-c", "-O", "{folder}/film.mp4", "{url}"], signal.SIGKILL),
    # With SIGKILL its list of pieces would be lost.
    "aria2c": (
        ["aria2c", "-q", "-x8", "-s8", "-k1M", "--file-allocation=none", "-d", "{folder}", "{url}"],
        signal.SIGINT,
    ),
    "mediacrawl": (
        [sys.executable, "-m", "mediacrawl", "get", "{url}", "-s", "FILES_STORE={folder}"],
        signal.SIGKILL,
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("clients") / "store"
    archive = Archive.open(LocalStore(root))
    publish(archive, {"http://h/film.mp4": ("film.mp4", FILM)})
    archive.close()
    return root


@pytest.fixture(scope="module", params=["gunicorn", "aiohttp", "django under gunicorn", "django under uvicorn"])
def server(request, store):
    with Server(request.param, store) as server:
        yield server


def written_below(folder):
    """The bytes of the files below a folder, as far as they are there."""
    written = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            written += path.stat().st_size
    return written


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_was_killed_goes_on(server, client, tmp_path):
    command, kill = CLIENTS[client]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{client} is not installed")
    with Relay(server, SIZE // 2) as relay:
        arguments = [part.format(folder=tmp_path, url=f"{relay.url}/film.mp4") for part in command]
        with subprocess.Popen(arguments, cwd=tmp_path) as running:
            assert relay.stopped.wait(60)
            wait_until(lambda: written_below(tmp_path) >= SIZE // 4)
            running.send_signal(kill)
        before = relay.release()
        subprocess.run(arguments, cwd=tmp_path, check=True, timeout=60)
        passed = relay.passed - before
    (film,) = [path for path in tmp_path.rglob("film*.mp4") if ".mediacrawl" not in path.parts]
    assert hashlib.sha256(film.read_bytes()).digest() == hashlib.sha256(FILM).digest()
    if client != "aria2c":  # its eight connections ask for more than they read
        assert passed < SIZE * 9 // 10, "it began again"  # a part of the first half was in buffers


@pytest.fixture(scope="module")
def clip(store):
    """A film that ends with the table of its frames, as most do: a player reads its end first."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    path = store / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=10,noise=alls=60:allf=t", "-t", "30"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", "mpeg4", "-q:v", "3", str(path)], check=True)
    return path


def frames_at(second, source):
    """The command that writes the digests of three frames from a second on."""
    reading = ["ffmpeg", "-v", "error", "-nostdin", "-ss", str(second), "-i", str(source)]
    return [*reading, "-frames:v", "3", "-f", "framemd5", "-"]


def test_ffmpeg_seeks_and_does_so_again_after_it_was_killed(server, clip):
    size = clip.stat().st_size
    assert size > 4 << 20
    right = subprocess.run(frames_at(25, clip), check=True, capture_output=True).stdout
    with Relay(server, size // 64) as relay:
        command = frames_at(25, f"{relay.url}/clip.mp4")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            assert relay.stopped.wait(60)
            running.kill()
        before = relay.release()
        again = subprocess.run(command, check=True, capture_output=True, timeout=60)
        passed = relay.passed - before
    assert again.stdout == right
    assert passed < size // 2, "it has read the film from its beginning"
