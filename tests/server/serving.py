"""Real servers for the tests, each a process. It listens at a socket in the file system, so that no port is taken."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
COMMANDS = {
    "gunicorn": ["gunicorn", "--threads", "4", "--worker-class", "gthread", "--bind", "unix:{socket}", "served:wsgi"],
    "granian": ["granian", "--interface", "rsgi", "--workers-kill-timeout", "2", "--uds", "{socket}", "served:rsgi"],
    "aiohttp": ["rsgi_on_aiohttp", "{socket}", "served:rsgi"],
    "django under gunicorn": ["gunicorn", "--threads", "4", "--bind", "unix:{socket}", "served:django_wsgi"],
    "django under uvicorn": ["uvicorn", "--uds", "{socket}", "--lifespan", "off", "served:django_asgi"],
}
FOR_PEOPLE = {  # with logins
    kind: [part.replace("served:", "served:people_") for part in COMMANDS[kind]] for kind in ("gunicorn", "aiohttp")
}
GUARDED = {  # with a check of permission
    kind: [part.replace("served:", "served:guarded_") for part in COMMANDS[kind]]
    for kind in ("gunicorn", "granian", "aiohttp")
}
COMPOSED = {
    kind: [part.replace("served:", "composed:") for part in COMMANDS[kind]] for kind in ("aiohttp", "gunicorn")
}
_READY = ("Listening at", "Uvicorn running")


class Connection(http.client.HTTPConnection):
    """To a socket in the file system."""

    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Server:
    """A server of one store; `log` has what it wrote."""

    def __init__(self, kind, store, *more, commands=COMMANDS, options=""):
        self.folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))  # a path of a socket is short
        self.socket = self.folder / "s"
        command = [part.format(socket=self.socket) for part in commands[kind]]
        self.log = []
        self._ready, self._over = threading.Event(), threading.Event()
        path = os.pathsep.join([str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, *more],
            env=os.environ
            | {"SERVED_STORE": str(store), "SERVED_OPTIONS": options, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.log.append(line)
            if any(ready in line for ready in _READY):
                self._ready.set()
        self._ready.set()
        self._over.set()

    def __enter__(self):
        assert self._ready.wait(60)
        for _ in range(2000):  # granian says so a moment before it is
            assert self.process.poll() is None, "".join(self.log)
            with socket.socket(socket.AF_UNIX) as sock, suppress(FileNotFoundError, ConnectionRefusedError):
                sock.connect(str(self.socket))
                return self
            self._over.wait(0.01)
        raise AssertionError(self.log)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self._reader.join()
        self.process.stdout.close()
        shutil.rmtree(self.folder)

    def connection(self):
        return Connection(self.socket)

    def ask(self, path, headers=(), method="GET", connection=None):
        """Return the status, the fields by their names in lower case, and the content."""
        own = connection or self.connection()
        try:
            own.request(method, path, headers=dict(headers))
            response = own.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            if connection is None:
                own.close()

    def raw(self, head):
        """Send bytes, and return all that comes until the server closes."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(self.socket))
            sock.sendall(head)
            found = []
            while data := sock.recv(65536):
                found.append(data)
            return b"".join(found)

    def memory_mib(self):
        """The resident memory of the server and its workers."""
        pids, total = [self.process.pid], 0
        while pids:
            pid = pids.pop()
            try:
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except FileNotFoundError:
                continue
        return total * os.sysconf("SC_PAGESIZE") / 2**20
