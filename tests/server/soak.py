"""What `test_upload_soak` knows: who has sent what, what the server has said of it, and what must hold at any time.

A file of a private folder has the name of its owner in its own name and in its bytes, so that it is recognized
wherever it turns up. Its bytes follow from its number, and are not kept.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from crawling import PATIENCE_S
from drawing import FULL

from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.ledger.upload_keys import upload_key
from mediacrawl.server.uploads.rows import UploadRow
from mediacrawl.store.local import HIDDEN, LocalStore

SIZES = (0, 1, 60, 5_000, 120_000, 140_000, 400_000, 1_000_000, 2_500_000) + (12_000_000,) * FULL
"""Of files, in bytes: some are too small for a record."""
SECRET = re.compile(rb"secret of (\w+);|only-(\w+)-\d")


class Refused(Exception):
    """The server does not take a file, whenever it is sent."""


class Cut(OSError):
    """The client has cut the connection itself."""


class SentFile(NamedTuple):
    """A file that a person sends.

    Attributes:
        person: who sends it.
        folder: in the store; empty: the common folder.
        name: in the folder.
        size: in bytes.
        seed: of its bytes.
        is_shared: whether others send the same bytes, or other ones, under the same name.
    """

    person: str
    folder: str
    name: str
    size: int
    seed: int
    is_shared: bool = False

    @property
    def path(self):
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def is_private(self):
        return self.folder.startswith("~")

    def data(self):
        head = f"secret of {self.person};{self.seed};" if self.is_private else f"common;{self.seed};"
        return (head.encode() + random.Random(self.seed).randbytes(self.size))[: self.size]


@dataclass
class Member:
    """A person, with what is known of the rights at this moment.

    Attributes:
        may_upload, may_read: the rights; with the lock of `Soak` only.
        has_password: whether the application password holds.
        is_changing: whether a right is being withdrawn, or has been.
        places: folders of the common one in which this person adds files.
        quota: in bytes; None: no limit.
        password: for programs.
        cookie: of the session; None: not logged in.
        finished: the files that are published, with their paths.
    """

    name: str
    may_upload: bool = True
    may_read: bool = True
    quota: int | None = None
    password: str = ""
    has_password: bool = True
    is_changing: bool = False
    places: tuple = ("", "common")
    cookie: str | None = None
    finished: list = field(default_factory=list)

    @property
    def own(self):
        return f"~{self.name}"


class Soak:
    """Methods may be called from any thread.

    Attributes:
        store: the folder of the store.
        members: the people, by their names.
        problems: what must not have happened.
        is_up: set while all processes of the server run.
        is_over: set when no new file is to be begun.
        counts: how often what has happened.
    """

    def __init__(self, store, members):
        self.store = store
        self.members = members
        self.problems, self.counts = [], defaultdict(int)
        self.is_up, self.is_over = threading.Event(), threading.Event()
        self._changed = threading.Condition()  # guards all of these
        self._sent, self._forbidden, self._forgotten = defaultdict(list), set(), set()
        self._uploads = {}
        self._seen = {}  # the identities of files on the disk that have been read
        self._parts = LocalStore(store).parts
        self._number = 0

    # --- files

    def new_file(self, member, chance, *, private):
        """Return a file that nobody else sends."""
        folder = chance.choice([member.own, f"{member.own}/deep er"] if private else member.places)
        with self._changed:
            self._number += 1
            name = f"{'only' if private else 'all'}-{member.name}-{self._number}.bin"
            return SentFile(member.name, folder, name, chance.choice(SIZES), self._number)

    def shared_file(self, member, chance):
        """Return a file whose name others use, too, for the same bytes or for others."""
        seed = chance.randrange(1_000_000, 1_000_003)
        return SentFile(member.name, "common", "together.bin", 300_000, seed, is_shared=True)

    def begin(self, file):
        """Note that a file is going to be sent; return whether the person may no longer add it."""
        with self._changed:
            member = self.members[file.person]
            is_forbidden = not member.may_upload or not (file.is_private or member.may_read)
            self._sent[digest(file.data())].append(file)
            if is_forbidden:
                self._forbidden.add(file)
            return is_forbidden

    def finish(self, file, path=None):
        """Note that the client was told that a file is published, and its path if it was told."""
        with self._changed:
            if file in self._forbidden:
                self.problems.append(f"{file} was accepted after the right was withdrawn")
            self.members[file.person].finished.append((file, path))
            self._tell("finished")

    def forget(self, file):
        """Note that a published file is going to be removed."""
        with self._changed:
            self._forgotten.add(file)

    def count(self, what):
        with self._changed:
            self._tell(what)

    def _tell(self, what):
        self.counts[what] += 1
        self._changed.notify_all()

    def complain(self, *said):
        with self._changed:
            self.problems.append(" ".join(map(str, said)))
            self._changed.notify_all()

    @contextmanager
    def withdrawing(self, name, **rights):
        """Within the block, a right is withdrawn: what is begun afterwards must be refused."""
        member = self.members[name]
        with self._changed:
            member.is_changing = True
        yield
        with self._changed:
            for right, value in rights.items():
                setattr(member, right, value)
            self._tell("rights withdrawn")

    def note_upload(self, name, path):
        """Note the path of an upload of a person."""
        with self._changed:
            self._uploads[name] = path

    def upload_of(self, name):
        """Return the path of the last upload of a person; None if there was none."""
        with self._changed:
            return self._uploads.get(name)

    # --- the time

    def wait_for(self, what, number, within_s=PATIENCE_S):
        """Wait until something has happened so often, or the time is over; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self.counts[what] >= number or self.problems, within_s)

    def wait_for_server(self):
        """Wait until the server runs again."""
        self.is_up.wait(PATIENCE_S)
        threading.Event().wait(0.05)  # its end may be noticed before it is known here

    # --- what must hold

    def check_seen(self, name, content, asked=""):
        """Check that a person is shown no secret of another one."""
        for found in SECRET.finditer(content):
            owner = (found[1] or found[2]).decode()
            if owner != name:
                self.complain(f"{name} was shown {found[0]!r} by {asked}")

    def check_disk(self):
        """Check that each file with a final name is whole, and that whoever has sent it might add it there."""
        for path in files_below(self.store):
            try:
                found = path.stat()
                identity = found.st_ino, found.st_size, found.st_mtime_ns
                name = path.relative_to(self.store).as_posix()
                if self._seen.get(name) == identity:
                    continue
                self.check_file(name, digest(path.read_bytes()))
                self._seen[name] = identity
            except FileNotFoundError:
                continue  # it was removed meanwhile

    def check_file(self, path, sha256):
        """Check a file with a final name."""
        with self._changed:
            senders = list(self._sent.get(sha256, ()))
        top = path.split("/")[0] if path.startswith("~") else ""
        allowed = [one for one in senders if (one.folder.split("/")[0] if one.is_private else "") == top]
        if not allowed:
            self.complain(f"{path} has bytes that nobody has sent there; they were sent as {senders}")
        elif all(one in self._forbidden for one in allowed):
            self.complain(f"{path} was published for {allowed}, who had lost the right before")

    def check_quotas(self):
        """Check what people have added, and reserved, against what they may add, and the disk against that."""
        parts = self.store / HIDDEN / "parts"
        ledger = SqliteLedger(self.store / HIDDEN / "ledger.sqlite3", read_only=True)
        try:
            for member in self.members.values():
                if member.quota is None:
                    continue
                key = upload_key(member.name)
                sizes = {name: size_of(parts / f"{name}.part") for name in self._names_of_parts(ledger, key)}
                rows = list(ledger.entries(prefix=key))  # later than the sizes: a row is written before the bytes
                total = sum(row.size_bytes or 0 for row in rows)
                if total > member.quota:
                    self.complain(f"{member.name} has {total} bytes of {member.quota}: {rows}")
                for row in rows:
                    is_unfinished = row.finished_at is None and not UploadRow.of(row).is_published
                    if is_unfinished and sizes.get(self._parts.name(row.key), 0) > (row.size_bytes or 0):
                        self.complain(f"{row} has more bytes on the disk than are reserved: {sizes}")
        finally:
            ledger.close()
        self.count("quotas checked")

    def _names_of_parts(self, ledger, prefix):
        return [self._parts.name(row.key) for row in ledger.entries(prefix=prefix)]

    def expected(self):
        """Return the files that clients were told are published, and their paths, but those that were removed."""
        with self._changed:
            found = [one for member in self.members.values() for one in member.finished]
            return [(file, path) for file, path in found if file not in self._forgotten]

    def may_be_of(self, path, sha256):
        """Return who has sent a file that is in a place."""
        with self._changed:
            return {one.person for one in self._sent.get(sha256, ())}


def files_below(store):
    return [path for path in store.rglob("*") if HIDDEN not in path.parts and path.is_file()]


def size_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Patience:
    """Attempts of one client, until it gives up: then something hangs."""

    def __init__(self, soak, what):
        self._soak, self._what = soak, what
        self._until = time.monotonic() + 2 * PATIENCE_S
        self.attempts = 0

    def wait(self, error):
        """Wait until the server runs; raise an error if that was in vain for too long."""
        self.attempts += 1
        self._soak.count("attempts again")
        if time.monotonic() > self._until:
            raise AssertionError(f"{self._what} does not come to an end after {self.attempts} attempts: {error!r}")
        if not isinstance(error, Cut):
            self._soak.wait_for_server()
