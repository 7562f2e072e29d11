"""A job of the real downloader on a store, against an origin; what must hold after it was stopped anywhere.

    trial = Trial(origin, {"/a.jpg": Wanted(Version(700, seed=1), "s/h/a.jpg")})
    trial.prepare(folder)
    trial.run(folder)
    trial.assert_through(folder)

Run as a script, it kills itself at the steps of such a job: `fetch_job.py ROOT PREPARED BATCHES_AS_JSON TRANSPORT`.
It leaves
`ROOT/<step>-<n>`, a copy of the prepared store that was killed when it came to the step for the n-th time.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from transports import transport_class

from mediacrawl.archive import Archive, Publish, RecordWanted, Unchanged, validators_of
from mediacrawl.download import segments
from mediacrawl.download.downloader import Downloader, Policy
from mediacrawl.download.records import TransferRequest
from mediacrawl.download.retry import Backoff
from mediacrawl.headers import Validators
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store import parts
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import PartRecord
from mediacrawl.transport import requests_transport
from mediacrawl.transport.requests_transport import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from origin import Origin

    from mediacrawl.archive import Change
    from mediacrawl.download.records import Fetched

KIB = 1024
# So that a job of a megabyte has records, checkpoints and segments.
SMALL_IS_LARGE = [
    (parts, "RECORDED_FROM_BYTES", 16 * KIB),
    (parts, "CHECKPOINT_S", 0.0),
    (segments, "_SPLIT_BYTES", 64 * KIB),
    (requests_transport, "BLOCK_BYTES", 32 * KIB),
]
STEPS = [
    "part-write",
    "part-sync",
    "part-record",
    "part-drop",
    "part-replace",
    "part-rename",
    "file-sync",
    "ledger-claim",
    "file-rename",
    "folder-sync",
    "ledger-done",
    "part-forget",
]
_MANY = {"part-write", "part-sync", "part-record"}
KILLED = 9


class Killed(BaseException):
    """Raised at a step, where a job is stopped within the process of the tests."""


# --- the job ------------------------------------------------------------------------------------------


class Version:
    """Bytes of a resource, with an ETag of their own."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.data = random.Random(seed).randbytes(size)
        self.etag = f'"v{seed}"'
        self.sha256 = hashlib.sha256(self.data).hexdigest()

    def put(self, origin: Origin, path: str, faults=()) -> None:
        origin.add(path, self.data, etag=self.etag, faults=faults)


@dataclass
class Wanted:
    """A file: what the origin has, what stands in the store before, what an earlier run left of it.

    `wish` is the path that is asked for, where another file has it first.
    """

    body: Version
    path: str
    faults: list = field(default_factory=list)
    before: Version | None = None
    part_of: Version | None = None
    connections: int | None = None
    wish: str | None = None

    @property
    def versions(self) -> list[Version]:
        return [version for version in (self.body, self.before, self.part_of) if version is not None]


@dataclass(frozen=True)
class File:
    """All that a run needs to know of one."""

    url: str
    wish: str
    connections: int | None = None


def run(
    folder: Path, batches: list[list[File]], at_step=None, transport_kind: type = RequestsTransport
) -> dict[str, Fetched]:
    """Bring what is not there, ask whether the rest has changed; each batch is published at once."""
    archive = Archive.open(LocalStore(folder, at_step=at_step))
    wire = transport_kind()
    downloader = Downloader(archive.store, wire, Policy(backoff=Backoff(base_s=0.001, max_s=0.001)))
    fetched: dict[str, Fetched] = {}
    try:
        for batch in batches:
            rows = archive.lookup([file.url for file in batch])
            changes: list[Change] = []
            for file, row in zip(batch, rows, strict=True):
                fetched[file.url] = _fetch(archive, downloader, file, row)
                entry = Entry(file.url, file.url, path=file.wish)
                arrived = fetched[file.url].part is not None
                changes.append(Publish(entry, fetched[file.url]) if arrived else Unchanged(entry))
            results = archive.write(changes)
            assert not [result for result in results if isinstance(result, Exception)]
    except Killed:
        for one in fetched.values():
            release_connection(one.part)
        raise
    finally:
        wire.close()
        archive.close()
    return fetched


def _fetch(archive: Archive, downloader: Downloader, file: File, row: Entry | None) -> Fetched:
    done = row is not None and row.state == State.DONE
    if not done:
        archive.write([RecordWanted(Entry(file.url, file.url))])
    revalidate = validators_of(row) if done else None
    return downloader.fetch(TransferRequest(file.url, file.url, revalidate=revalidate, connections=file.connections))


def release_connection(part) -> None:
    """What the kernel does with the part of a dead process; no code of ours runs."""
    if part is not None and part._fd >= 0:
        os.close(part._fd)
        part._fd = -1


@dataclass
class Trial:
    """A job on an origin. `batches` of paths; all in one if there are none."""

    origin: Origin
    job: dict[str, Wanted]
    batches: list[list[str]] = field(default_factory=list)
    transport_kind: type = RequestsTransport

    @property
    def files(self) -> list[list[File]]:
        return [[self._file(path) for path in batch] for batch in self.batches or [list(self.job)]]

    @property
    def result(self) -> dict[str, bytes]:
        return {wanted.path: wanted.body.data for wanted in self.job.values()}

    def _file(self, path: str) -> File:
        wanted = self.job[path]
        return File(self.origin.url(path), wanted.wish or wanted.path, wanted.connections)

    def _versions(self) -> Iterator[Version]:
        for wanted in self.job.values():
            yield from wanted.versions

    def prepare(self, folder: Path) -> None:
        """The store before the job. Its newer versions come to the origin afterwards, with their faults."""
        before = {path: wanted.before for path, wanted in self.job.items() if wanted.before is not None}
        for path, body in before.items():
            body.put(self.origin, path)
        run(folder, [[self._file(path) for path in before]], None, self.transport_kind)
        store = LocalStore(folder)
        for path, wanted in self.job.items():
            if wanted.part_of is not None:
                plant(store, self.origin.url(path), wanted.part_of)
            wanted.body.put(self.origin, path, wanted.faults)

    def calm(self) -> None:
        """The origin makes no trouble from now on."""
        for path, wanted in self.job.items():
            wanted.body.put(self.origin, path)

    def run(self, folder: Path, at_step: Callable[[str], None] | None = None) -> dict[str, Fetched]:
        """By path on the origin."""
        fetched = run(folder, self.files, at_step, self.transport_kind)
        return {path: fetched[self.origin.url(path)] for path in self.job}

    # What must hold

    def assert_names_are_whole(self, folder: Path) -> None:
        """Each name in the store is of one version of that very file, from its first byte to its last."""
        versions = {wanted.path: {body.data for body in wanted.versions} for wanted in self.job.values()}
        for name, content in on_disk(folder).items():
            assert content in versions[name], f"{name}: {len(content)} bytes that are no whole version"

    def assert_rows_are_true(self, archive: Archive) -> None:
        etags = {body.sha256: body.etag for body in self._versions()}
        for row in archive.ledger.entries(State.DONE):
            assert archive.store.size(row.path) is not None, f"{row.path} is done and not there"
            content = (archive.store.root / row.path).read_bytes()
            assert (row.size_bytes, row.sha256) == (len(content), hashlib.sha256(content).hexdigest()), row.path
            assert validators_of(row).etag.to_header() == etags[row.sha256], row.path
        assert not list(archive.ledger.entries(State.PUBLISHING))
        assert archive.ledger.is_intact()

    def assert_parts_hold_what_they_count(self, archive: Archive) -> dict[str, int]:
        """What a record counts is on the disk, and of the version that it names. How many bytes, by path."""
        bodies = {body.etag.strip('"'): body.data for body in self._versions()}
        counted = {}
        for path in self.job:
            key = self.origin.url(path)
            part = archive.store.parts.open(key)
            record = part.record
            for start, stop in record.ranges if record else ():
                body = bodies[record.validators["etag"].strip('"')]
                assert part.read(start, stop) == body[start:stop], f"{key}: bytes that are not there are counted"
            counted[path] = part.written_bytes
            release_connection(part)  # not `close`, which may take it away
        return counted

    def assert_sound(self, folder: Path) -> dict[str, int]:
        """All that holds at any moment, before and after the store is opened. How much of each file is partial."""
        if folder.exists():
            self.assert_names_are_whole(folder)
        archive = Archive.open(LocalStore(folder))
        try:
            self.assert_names_are_whole(folder)
            self.assert_rows_are_true(archive)
            return self.assert_parts_hold_what_they_count(archive)
        finally:
            archive.close()

    def assert_through(self, folder: Path) -> None:
        archive = Archive.open(LocalStore(folder))
        try:
            assert on_disk(folder) == self.result
            assert list(archive.store.parts.folder.iterdir()) == []
            counts = archive.ledger.counts()
            assert (counts["done"], counts["pending"], counts["failed"]) == (len(self.job), 0, 0)
            self.assert_rows_are_true(archive)
        finally:
            archive.close()


def plant(store: LocalStore, key: str, body: Version) -> None:
    """The first three quarters, as a run leaves them that was interrupted."""
    validators = Validators.from_headers({"etag": body.etag}).to_dict()
    head = {"status": 200, "url": key, "headers": {}}
    data = body.data[: len(body.data) * 3 // 4]
    with store.parts.open(key) as part:
        part.begin(PartRecord(validators=validators, complete_length=len(body.data), head=head))
        part.write_at(0, data)
        part.mark((0, len(data)))
    store.parts.sync()  # it was long ago


def on_disk(folder: Path) -> dict[str, bytes]:
    store = LocalStore(folder)
    return {name: (store.root / name).read_bytes() for name in store.names()}


def small_is_large(patches: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL_IS_LARGE:
        patches.setattr(module, name, value)


# --- killing it ---------------------------------------------------------------------------------------


class DieAt:
    """Ends the process, as a kill does, when it comes to a step for the n-th time."""

    def __init__(self, step: str, number: int) -> None:
        self.step = step
        self.left = number

    def __call__(self, step: str) -> None:
        self.left -= step == self.step
        if not self.left:
            os._exit(KILLED)


def killed(folder: Path, batches: list[list[File]], at_step: DieAt, transport_kind: type) -> bool:
    """Run in a process of its own; False if it was through before the step came so often."""
    pid = os.fork()  # this script has a single thread
    if pid == 0:
        run(folder, batches, at_step, transport_kind)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in (0, KILLED):
        sys.exit(f"the job ended with {status} in {folder}")
    return status == KILLED


def kill_at_each_step(root: Path, prepared: Path, batches: list[list[File]], transport_kind: type) -> None:
    """The first time, the second, and so on, until the job does not come there so often. A few of many writes do."""
    for step in STEPS:
        number = 1
        while True:
            folder = Path(shutil.copytree(prepared, root / f"{step}-{number}"))
            if not killed(folder, batches, DieAt(step, number), transport_kind):
                shutil.rmtree(folder)
                break
            number += number if step in _MANY else 1


if __name__ == "__main__":
    for module, name, value in SMALL_IS_LARGE:
        setattr(module, name, value)
    root, prepared, batches, name = sys.argv[1:]
    kill_at_each_step(
        Path(root),
        Path(prepared),
        [[File(*facts) for facts in batch] for batch in json.loads(batches)],
        transport_class(name),
    )
