"""A server with FTP for the tests, its people, and clients that are interrupted."""

from __future__ import annotations

import ftplib
import io
import json
import re
import socket
import ssl
import subprocess
import sys

from certificates import Authority
from crawling import wait_until
from serve_process import LIMIT_S, Serve

from mediacrawl.server.options import FtpOptions, ServeOptions
from mediacrawl.server.ports import free_port
from mediacrawl.system.child_process import start_module

_ADDRESS = re.compile(r"is served by FTP (.*) at ftp://(\S+?):(\d+)/")
_SET_UP = """
import json, sys
from pathlib import Path
from mediacrawl.server.accounts.configuration import set_up
from mediacrawl.server.options import ServeOptions
set_up(ServeOptions(store=Path(sys.argv[1])))
from mediacrawl.server.accounts import people
from mediacrawl.server.accounts.rights import Rights
"""
_ADD = """
for name, rights in json.loads(sys.argv[2]).items():
    people.add_person(name, "correct horse", Rights(**rights))
    print(people.make_application_password(name, "FTP"))
"""


def run_with_people(store, code, *arguments):
    """Run code in a process that knows the people of a store; return its lines."""
    words = [sys.executable, "-P", "-c", _SET_UP + code, str(store), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def add_people(store, people):
    """Add people with these rights; return their application passwords by name."""
    return dict(zip(people, run_with_people(store, _ADD, json.dumps(people)), strict=True))


class FtpServer(Serve):
    """A running server. `passwords` are the application passwords of its people, by name."""

    def __init__(self, store, people, *arguments, **more):
        self.store = store
        super().__init__(store, "--ftp-port", 0, *arguments, **more)
        try:
            self.tls, _, port = _ADDRESS.search(self.line_with(" is served by FTP ")).groups()
            self.ftp_port = int(port)
            self.passwords = add_people(store, people)
        except BaseException:
            self.end()
            raise

    def ftp(self, name="anna", *, tls=False, password=None):
        """Return a client that has logged in."""
        return logged_in(self.ftp_port, name, self.passwords[name] if password is None else password, tls=tls)

    def url(self, path, name="anna", scheme="ftp"):
        return f"{scheme}://{name}:{self.passwords[name]}@127.0.0.1:{self.ftp_port}/{path}"


class FtpProcess:
    """One more process that serves the store of a server by FTP, without TLS, and is killed at the end."""

    def __init__(self, server):
        self._server = server
        port = free_port("127.0.0.1", 0)
        options = ServeOptions(store=server.store, ftp=FtpOptions(port=port), log_access=False)
        end, other = socket.socketpair()
        with other:
            self._process = start_module("mediacrawl.server.ftp.process", other)
        self._end = end
        end.sendall(f"{options.as_json()}\n".encode())
        self.port = port

    @property
    def pid(self):
        return self._process.pid

    def __enter__(self):
        wait_until(lambda: self._process.poll() is not None or is_listening(self.port))
        return self

    def __exit__(self, *_):
        self.kill()
        self._end.close()

    def ftp(self, name="anna"):
        return logged_in(self.port, name, self._server.passwords[name])

    def kill(self):
        self._process.kill()
        self._process.wait()


def is_listening(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def logged_in(port, name, password, *, tls=False):
    """Return a client that has logged in."""
    client = TlsClient(context=trusting()) if tls else ftplib.FTP(encoding="utf-8")
    try:
        client.connect("127.0.0.1", port, timeout=LIMIT_S)
        client.login(name, password)
        if tls:
            client.prot_p()
    except BaseException:
        client.close()
        raise
    return client


class TlsClient(ftplib.FTP_TLS):
    """Continues the session of the control connection, as most clients do."""

    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            session = self.sock.session
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=session)
        return conn, size


def trusting():
    """Return a context of TLS that trusts each certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate(folder):
    """Return a file with a certificate for this machine, and its key."""
    Authority(folder).context("localhost", "127.0.0.1")
    return folder / "server1.pem"


def send(client, path, content, *, rest=None, command="STOR"):
    """Send a file as `ftplib` does; return the reply."""
    return client.storbinary(f"{command} {path}", io.BytesIO(content), rest=rest)


def receive(client, path, *, rest=None):
    """Return the content of a file."""
    found = []
    client.retrbinary(f"RETR {path}", found.append, rest=rest)
    return b"".join(found)


def begin(client, path, content, *, rest=None, command="STOR"):
    """Begin an upload, and send these bytes of it; return the data connection."""
    client.voidcmd("TYPE I")
    conn = client.transfercmd(f"{command} {path}", rest)
    conn.sendall(content)
    return conn


def cut(conn):
    """Close a connection without any alert of TLS, as the system does for a process that was killed."""
    with socket.socket(fileno=conn.detach()):
        pass
