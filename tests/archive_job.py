"""A small job on an archive, and a way to kill it at each of its steps. Run as a script, it kills.

The job brings four files: a small one, one large enough for a record, a second URL of the same name, and a newer
version, of the same size, of a file that is there already.
"""

from __future__ import annotations

import hashlib
import os
import sys
from itertools import count
from pathlib import Path

from mediacrawl.archive import Archive, Publish, RecordWanted
from mediacrawl.download.records import Fetched
from mediacrawl.headers import ETag, Validators
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import RECORDED_FROM_BYTES, PartRecord

SMALL = b"small " * 100
LARGE = bytes(range(256)) * (RECORDED_FROM_BYTES // 256 + 1)
TWIN = b"twin of the small one"
OLD, NEW = b"old version", b"new version"
UPDATED = "http://h/updated.jpg"
# URL: wished path, bytes
JOB = {
    "http://h/small.jpg": ("s/h/small.jpg", SMALL),
    "http://h/large.bin": ("s/h/large.bin", LARGE),
    "http://h/other/small.jpg": ("s/h/Small.jpg", TWIN),
    UPDATED: ("s/h/updated.jpg", NEW),
}
# What stands in the store when the job is through: exactly this, however often it was killed.
RESULT = {"s/h/small.jpg": SMALL, "s/h/large.bin": LARGE, "s/h/Small-2.jpg": TWIN, "s/h/updated.jpg": NEW}
KILLED = 9


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def etag_of(data: bytes) -> Validators:
    return Validators(etag=ETag(sha256(data)[:8]))


def fetch(archive: Archive, url: str, data: bytes) -> Fetched:
    """What the downloader does: go on with the part if it is of this version, write, sync."""
    part = archive.store.parts.open(url)
    validators = etag_of(data).to_dict()
    if part.record is None or part.record.validators != validators:
        part.begin(PartRecord(validators=validators, complete_length=len(data)))
    saved = part.have
    middle = max(saved, len(data) // 2)
    for start, stop in ((saved, middle), (middle, len(data))):
        if start < stop:
            part.write_at(start, data[start:stop])
            part.mark((start, stop))
            if stop > RECORDED_FROM_BYTES // 4:
                part.checkpoint()
    archive.store.parts.sync_all([part])
    return Fetched(
        part,
        status=200,
        url=url,
        headers={"content-type": "image/jpeg"},
        size_bytes=len(data),
        sha256=sha256(data),
        validators=etag_of(data),
        saved_bytes=saved,
    )


def publish(archive: Archive, wanted: dict[str, tuple[str, bytes]]) -> list[Entry | Exception]:
    """Fetch and publish all, in one batch."""
    return archive.write(
        [Publish(Entry(url, url, path=path), fetch(archive, url, data)) for url, (path, data) in wanted.items()]
    )


def prepare(folder: Path) -> None:
    """The store as it is before the job: the old version of one file."""
    archive = Archive.open(LocalStore(folder))
    publish(archive, {UPDATED: ("s/h/updated.jpg", OLD)})
    archive.close()


def run(folder: Path, at_step=None) -> None:
    """Bring what is not there yet. The origin has the new version, so the old one is fetched again."""
    archive = Archive.open(LocalStore(folder, at_step=at_step))
    missing = {
        url: wanted
        for (url, wanted), entry in zip(JOB.items(), archive.lookup(list(JOB)), strict=True)
        if entry is None or entry.state != State.DONE or entry.sha256 != sha256(wanted[1])
    }
    archive.write([RecordWanted(Entry(url, url)) for url in missing])
    results = publish(archive, missing)
    assert not [result for result in results if isinstance(result, Exception)]
    archive.close()


class DieAt:
    """Ends the process, as a kill does, at the n-th step of all; says at which."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, step: str) -> None:
        self.left -= 1
        if self.left == 0:
            print(step, flush=True)
            os._exit(KILLED)


def killed_at(number: int, folder: Path) -> bool:
    """Run the job in a process of its own; False if it was through before that step came."""
    pid = os.fork()  # this script has a single thread, whatever the tests have
    if pid == 0:
        run(folder, DieAt(number))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in (0, KILLED):
        sys.exit(f"the job ended with {status} in {folder}")
    return status == KILLED


def kill_at_each_step(root: Path) -> None:
    """A store for each step, `root/1`, `root/2`, …, left as the kill left it; prints the steps in that order."""
    for number in count(1):
        folder = root / str(number)
        prepare(folder)
        if not killed_at(number, folder):
            return


def kill_again_and_again(folder: Path) -> None:
    """One store: a run that dies at its first step, one that dies at its second, …, until one is through."""
    prepare(folder)
    for number in count(1):
        if not killed_at(number, folder):
            return


if __name__ == "__main__":
    kill_at_each_step(Path(sys.argv[1]) / "once")
    kill_again_and_again(Path(sys.argv[1]) / "again")
