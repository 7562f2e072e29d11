"""`mediacrawl serve` as a process of the tests, at a free port of this machine."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

from crawling import children_of

LIMIT_S = 60  # generous: the machine may be busy
_ADDRESS = re.compile(r"is served at (https?)://(\S+?):(\d+)(\S*) ")


def command(*arguments):
    return [sys.executable, "-P", "-m", "mediacrawl", *map(str, arguments)]


def run(*arguments, **more):
    """Run a command of mediacrawl to its end; return its status, output and errors."""
    environment = os.environ | more.pop("env", {})
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False, **more
    )
    return done.returncode, done.stdout, done.stderr


class Serve:
    """A running server. `log` has its lines; `password` is that of the first person, if it was printed."""

    def __init__(self, store, *arguments, env=None, **more):
        self.log = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            command("serve", store, "--port", 0, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | (env or {}),
            **more,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.scheme, self.host, port, self.prefix = _ADDRESS.search(self.line_with(" is served at ")).groups()
        except BaseException:
            self.end()
            raise
        self.port = int(port)
        made = re.search(r"first person is (\S+), with the password (\S+) ", "".join(self.log))
        self.name, self.password = made.groups() if made else (None, None)

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.log.append(line)
                self._changed.notify_all()
        with self._changed:
            self._reader = None
            self._changed.notify_all()

    def line_with(self, text, after=0):
        """Wait for a line of the log that has a text, of those after the first `after` lines."""

        def found():
            return next((line for line in self.log[after:] if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._reader is None, LIMIT_S)
            line = found()
        assert line, "".join(self.log)
        return line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, number=signal.SIGTERM):
        """Stop the server; return its exit status."""
        reader = self._reader
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(LIMIT_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if reader is not None:
                reader.join(LIMIT_S)
            self.process.stdout.close()

    def connection(self):
        if self.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=LIMIT_S, context=context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)

    def ask(self, path, headers=(), method="GET", body=None):
        """Return the status, the fields by their names in lower case, and the content."""
        own = self.connection()
        try:
            own.request(method, path, body=body, headers=dict(headers))
            response = own.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            own.close()

    def stalled(self, path):
        """Return a socket whose client has requested a path, and reads nothing."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return sock

    def processes(self):
        """Return the numbers of all processes of the server."""
        found, parents = [], [self.process.pid]
        while parents:
            pid = parents.pop()
            found.append(pid)
            parents += children_of(pid)
        return found


def is_running(pid):
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
