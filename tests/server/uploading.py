"""What the tests of uploads share: people, wishes, and a client of tus that does as it is told."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import signal
import subprocess
import sys
import textwrap

from crawling import wait_until
from serve_process import is_running

from mediacrawl.server.accounts.rights import Person
from mediacrawl.server.uploads.uploads import UploadWish

ANNA = Person("anna", can_upload=True)
BERT = Person("bert", can_upload=True)
MIB = 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream"}


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def wish(name="a.jpg", length=None, person=ANNA, folder="", **more):
    return UploadWish(person, folder, name, length, **more)


def uploaded(uploads, data, *arguments, **more):
    """Upload all bytes at once; return the path of the file."""
    more.setdefault("length", len(data))
    facts = uploads.create(wish(*arguments, **more))
    person = more.get("person", ANNA)
    writer = uploads.writer(facts.id, person, 0)
    writer.write(data)
    writer.close()
    return uploads.finish(facts.id, person)


def metadata(**pairs):
    told = (f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in pairs.items())
    return {"Upload-Metadata": ",".join(told)}


def checksum(data, algorithm="sha256"):
    digest = hashlib.new(algorithm, data).digest()
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


def basic(name, password="x"):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def processes(server):
    """Return the numbers of all processes of a server; a thread of one may end meanwhile."""
    while True:
        try:
            return server.processes()
        except FileNotFoundError:
            continue


def kill(server):
    """Kill all processes of a server at once."""
    pids = processes(server)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)))
    server.end()


_LOGIN = """
    import sys
    from pathlib import Path
    from mediacrawl.server.accounts.configuration import migrate, set_up
    from mediacrawl.server.accounts.rights import Rights
    from mediacrawl.server.options import ServeOptions
    set_up(ServeOptions(store=Path(sys.argv[1])))
    migrate()
    from mediacrawl.server.accounts import people
    rights = Rights(can_upload=True, quota_bytes=int(sys.argv[3]) or None)
    people.add_person(sys.argv[2], "correct horse battery", rights)
    print(people.make_application_password(sys.argv[2], "test"))
"""


def login(store, name, quota_bytes=0):
    """Add a person who may upload; return the field `Authorization` of one of their programs."""
    command = [sys.executable, "-c", textwrap.dedent(_LOGIN), str(store), name, str(quota_bytes)]
    return basic(name, subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


class TusClient:
    """One upload to a `mediacrawl serve`, a request at a time.

    Attributes:
        told: the largest offset that the server has told.
    """

    def __init__(self, who, data, **told):
        self.who, self.data, self.metadata = who, data, metadata(**told)
        self.path, self.told = None, 0

    def create(self, server):
        """Begin; return the status and the text."""
        headers = TUS | self.who | self.metadata | {"Upload-Length": str(len(self.data))}
        status, fields, text = server.ask("/uploads/", headers, "POST")
        self.path = fields.get("location")
        return status, text.decode()

    def ask_offset(self, server):
        """Ask for the offset, which must not have fallen."""
        status, fields, text = server.ask(self.path, TUS | self.who, "HEAD")
        assert status == 200, (status, text)
        offset = int(fields["upload-offset"])
        assert offset >= self.told
        self.told = offset
        return offset

    def send(self, server, stop=None, step=65_536, between=lambda: None):
        """Append bytes up to `stop`, from the offset that was told; return the status, None if the server dies."""
        connection = server.connection()
        start = self.told
        stop = len(self.data) if stop is None else stop
        try:
            connection.putrequest("PATCH", self.path)
            fields = CHUNK | self.who | {"Upload-Offset": str(start), "Content-Length": str(stop - start)}
            for name, value in fields.items():
                connection.putheader(name, value)
            connection.endheaders()
            for first in range(start, stop, step):
                connection.send(self.data[first : min(stop, first + step)])
                between()
            response = connection.getresponse()
            response.read()
            if response.status == 204:
                self.told = int(response.getheader("Upload-Offset"))
            return response.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
