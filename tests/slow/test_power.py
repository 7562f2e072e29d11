"""Promise 1 at a power cut: whatever of the last writes and names is lost, no file is wrong and no row lies.

A job is recorded, the states that a power cut could leave are derived from the record (see `recording`), and each is
opened under another boot. That the checks can fail is tested too: the order is broken on purpose, one rule at a time.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import fetch_job
import pytest
from fetch_job import KIB, Killed, Trial, Version, Wanted
from origin import drop_after, ignore_range, limit_per_connection, wrong_digest
from recording import Recording

from mediacrawl.archive import Archive, Publish
from mediacrawl.store import fsync, local, parts
from mediacrawl.store.fsync import sync_folders
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import PartFile, PartFolder, PartRecord

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from origin import Origin
    from recording import Cut

pytestmark = pytest.mark.slow

JOB = {
    "/small.jpg": Wanted(Version(700, 1), "s/h/small.jpg"),
    "/twin/small.jpg": Wanted(Version(700, 2), "s/h/small-2.jpg", wish="s/h/small.jpg"),
    "/empty.jpg": Wanted(Version(0), "s/h/empty.jpg"),
    "/large.bin": Wanted(Version(90 * KIB, 3), "s/i/large.bin", [drop_after(50 * KIB)]),
    "/segments.bin": Wanted(
        Version(512 * KIB, 4), "s/i/segments.bin", [limit_per_connection(5_000_000)], connections=3
    ),
    "/changed.jpg": Wanted(Version(900, 6), "s/h/changed.jpg", before=Version(900, 5)),
    "/changed.bin": Wanted(Version(60 * KIB, 8), "s/h/changed.bin", before=Version(60 * KIB, 7)),
    "/unchanged.jpg": Wanted(Version(500, 9), "s/h/unchanged.jpg", before=Version(500, 9)),
    # Begun anew, though there is a part: of another version, and of the same.
    "/half.bin": Wanted(Version(80 * KIB, 11), "s/h/half.bin", part_of=Version(80 * KIB, 10)),
    "/norange.bin": Wanted(
        Version(80 * KIB, 12), "s/h/norange.bin", [ignore_range(times=None)], part_of=Version(80 * KIB, 12)
    ),
    "/wrong.jpg": Wanted(Version(800, 13), "s/h/wrong.jpg", [wrong_digest()]),
    "/wrong.bin": Wanted(Version(50 * KIB, 14), "s/h/wrong.bin", [wrong_digest()]),
}
BATCHES = [list(JOB)[:5], list(JOB)[5:7], list(JOB)[7:]]


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    fetch_job.small_is_large(monkeypatch)


class _NoSync(sqlite3.Connection):
    def execute(self, statement, *rest):
        return super().execute(
            "PRAGMA synchronous=OFF" if statement == "PRAGMA synchronous=FULL" else statement, *rest
        )


@contextmanager
def quick_disk():
    """While the states are looked at: nobody cuts their power."""
    connect = sqlite3.connect
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(os, "fsync", lambda _fd: None)
        patches.setattr(os, "fdatasync", lambda _fd: None)
        patches.setattr(fsync, "_sync_file_system", lambda _fd: True)
        patches.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=_NoSync, **k))
        yield


def rows_in(folder: Path) -> set[str]:
    archive = Archive.open(LocalStore(folder))
    try:
        return {row.key for row in archive.ledger.entries()}
    finally:
        archive.close()


@dataclass
class Bench:
    """Where jobs are recorded, and their states looked at."""

    folder: Path
    origin: Origin
    chance: random.Random
    patches: pytest.MonkeyPatch
    boots: int = 0

    def start_machine(self) -> None:
        """Anew: no part is trusted for having been written by this boot."""
        self.boots += 1
        name = f"boot {self.boots}"
        self.patches.setattr(parts, "boot_id", lambda: name)

    def record(self, trial: Trial, step: str | None = None) -> Recording:
        """All of it, from the first moment of the store on. With `step`, the job is killed when it comes there
        first, and goes on in another process.
        """
        store, kills = self.folder / "disk" / "store", []

        def die_once(reached: str) -> None:
            if reached == step and not kills:
                kills.append(step)
                raise Killed

        self.start_machine()
        with Recording(store.parent) as recording:
            trial.prepare(store)
            try:
                trial.run(store, die_once)
            except Killed:
                trial.run(store)
        assert step is None or kills
        recording.assert_nothing_unseen()
        trial.calm()
        return recording

    def check(self, trial: Trial, cuts: Iterable[Cut], again: float = 1.0) -> int:
        """Open each state, in that share of them run the job again; how many there were. What fails is said."""
        states, cut_off = 0, self.folder / "cut"
        with quick_disk():
            for cut in cuts:
                states += 1
                self.start_machine()
                cut.materialise(cut_off)
                try:
                    trial.assert_sound(cut_off / "store")
                    assert cut.keys <= rows_in(cut_off / "store"), "the ledger has lost rows"
                    if self.chance.random() < again:
                        trial.run(cut_off / "store")  # may publish the older version, if all of it had arrived
                        trial.run(cut_off / "store")
                        trial.assert_through(cut_off / "store")
                except BaseException:
                    print(cut)
                    raise
                finally:
                    shutil.rmtree(cut_off)
        return states


@pytest.fixture
def bench(tmp_path, origin, chance, monkeypatch):
    return Bench(tmp_path, origin, chance, monkeypatch)


# --- what holds ---------------------------------------------------------------------------------------


def test_a_power_cut_at_any_moment_spoils_no_file_and_no_row(bench, full):
    trial = Trial(bench.origin, JOB, BATCHES)
    recording = bench.record(trial)
    states = bench.check(trial, recording.cuts(bench.chance, 1.0 if full else 0.08), again=1.0 if full else 0.3)
    print(states, "states,", len(recording.events), "events")
    assert states > len(recording.events) / 10


@pytest.mark.parametrize("step", ["ledger-claim", "file-rename", "folder-sync", "ledger-done", "part-forget"])
def test_nor_does_one_after_a_kill_and_another_run(bench, full, step):
    """The names that the killed run had not synced are there for the next one, and are not durable yet."""
    batches = [["/small.jpg", "/changed.jpg", "/wrong.bin"], ["/changed.bin"]]
    trial = Trial(bench.origin, {path: JOB[path] for batch in batches for path in batch}, batches)
    recording = bench.record(trial, step)
    assert bench.check(trial, recording.cuts(bench.chance, 1.0 if full else 0.2), again=1.0 if full else 0.3) > 20


def test_what_a_checkpoint_has_counted_is_not_lost_to_the_next_one(bench):
    """Each record takes the place of one that is durable: so it must be that itself, first."""
    bench.start_machine()
    body = JOB["/large.bin"].body.data
    disk = bench.folder / "disk"
    with Recording(disk) as recording, PartFolder(disk / "parts").open("key") as part:
        part.begin(PartRecord(complete_length=len(body)))
        for start in range(0, len(body), 10 * KIB):
            part.write_at(start, body[start : start + 10 * KIB])
            part.mark((start, start + 10 * KIB))
            if start == 0:
                sync_folders([disk, disk / "parts"])
                counted = len(recording.events)
    with quick_disk():
        for cut in recording.cuts(bench.chance):
            if cut.events >= counted:
                bench.start_machine()
                cut.materialise(bench.folder / "cut")
                with PartFolder(bench.folder / "cut" / "parts").open("key") as part:
                    assert part.have >= 10 * KIB, cut
                    assert part.read(0, part.have) == body[: part.have]
                shutil.rmtree(bench.folder / "cut")


# --- and that it can fail -----------------------------------------------------------------------------


def _no_file_sync(patches):
    """Rename what is not on the disk yet."""
    patches.setattr(PartFolder, "sync_all", lambda _folder, _parts: None)


def _record_first(patches):
    """Count bytes before they are on the disk."""
    patches.setattr(PartFile, "checkpoint", PartFile._write_record)


def _no_folder_sync(patches):
    """Say done before the name is durable."""
    patches.setattr(LocalStore, "sync", lambda _store, _folders: None)


def _no_new_folder_sync(patches):
    """Sync the folder of the file, and not the one which that is in."""
    genuine = local._OpenedFolders.made
    patches.setattr(local._OpenedFolders, "made", lambda opened, folder: (genuine(opened, folder)[0], []))


def _no_store_folder_sync(patches):
    """Begin a store, and never sync the folder which that is in."""
    genuine = local._make_folders
    patches.setattr(local, "_make_folders", lambda root: genuine(root)[:0])


def _no_record_sync(patches):
    """Go on with the bytes while the old record is only seemingly gone."""
    patches.setattr(PartFile, "_drop_record", lambda part: part.path.with_suffix(".json").unlink(missing_ok=True))


def _no_claim(patches):
    """Rename at once, then note in the ledger."""
    genuine = Archive.write

    def write(archive, changes):
        for change in changes:
            if isinstance(change, Publish):
                name = JOB[change.entry.url[change.entry.url.index("/", 8) :]].path
                data = Path(change.fetched.part.file).read_bytes()
                archive.store.path(name).parent.mkdir(parents=True, exist_ok=True)
                archive.store.path(name).write_bytes(data)
        return genuine(archive, changes)

    patches.setattr(Archive, "write", write)


def _no_part_folder_sync(patches):
    """Leave the record of a published file to come back."""
    patches.setattr(PartFolder, "sync", lambda _parts: None)


def _no_sync_when_settled(patches):
    """Take a rename for durable because a killed process has done it."""
    patches.setattr(LocalStore, "sync_names", lambda _store, _names: None)


def _size_alone(patches):
    """Take the older version for the new one, where the rename is lost."""
    patches.setattr(LocalStore, "sha256", lambda _store, name: BY_PATH[name].sha256)


def _links_alike(patches):
    """Take the published file for a part, where the rename has left both names."""
    fstat = os.fstat

    def one_link(fd):
        return os.stat_result([1 if place == 3 else value for place, value in enumerate(fstat(fd))])

    patches.setattr(os, "fstat", one_link)


BY_PATH = {wanted.path: wanted.body for wanted in JOB.values()}
BROKEN = [
    (_no_file_sync, "/small.jpg", None, "no whole version"),
    (_record_first, "/large.bin", None, "bytes that are not there are counted"),
    (_record_first, "/segments.bin", None, "bytes that are not there are counted"),
    (_no_folder_sync, "/small.jpg", None, "is done and not there"),
    (_no_folder_sync, "/changed.jpg", None, "s/h/changed.jpg"),
    (_no_new_folder_sync, "/small.jpg", None, "is done and not there"),
    (_no_store_folder_sync, "/small.jpg", None, "the ledger has lost rows"),
    (_no_record_sync, "/half.bin", None, "bytes that are not there are counted"),
    (_no_part_folder_sync, "/changed.bin", None, "bytes that are not there are counted"),
    (_no_claim, "/small.jpg", None, "no whole version"),
    (_size_alone, "/changed.jpg", None, "s/h/changed.jpg"),
    (_links_alike, "/small.jpg", None, "no whole version"),
    (_no_sync_when_settled, "/small.jpg", "folder-sync", "is done and not there"),
    (_no_sync_when_settled, "/changed.jpg", "folder-sync", "s/h/changed.jpg"),
]


@pytest.mark.parametrize(
    ("broken", "path", "step", "said"), BROKEN, ids=[f"{broken.__name__} {path}" for broken, path, *_ in BROKEN]
)
def test_a_wrong_order_is_noticed(bench, broken, path, step, said):
    trial = Trial(bench.origin, {path: JOB[path]})
    with pytest.MonkeyPatch.context() as patches:
        broken(patches)
        cuts = bench.record(trial, step).cuts
        states = chain.from_iterable(cuts(bench.chance) for _ in range(10))  # chance may miss it once
        with pytest.raises(AssertionError, match=said):
            bench.check(trial, states, again=0.0)
