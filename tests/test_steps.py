"""The stop at each step: the real downloader is killed exactly there, and the next run ends right.

`test_archive` does that for publishing alone; here it is segments, a newer version under the name of the old one,
and revalidation.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import fetch_job
import pytest
from fetch_job import KIB, STEPS, Trial, Version, Wanted
from origin import Origin, limit_per_connection
from transports import TRANSPORTS, transport_class

from mediacrawl.archive import Archive
from mediacrawl.backends import LEDGER_NAME
from mediacrawl.errors import DiskFull, StoreNotWritable
from mediacrawl.ledger.base import State
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.store.local import LocalStore

SEGMENTS = 768 * KIB
JOB = {
    "/segments.bin": Wanted(
        Version(SEGMENTS, 1), "s/h/segments.bin", [limit_per_connection(4_000_000)], connections=4
    ),
    "/changed.jpg": Wanted(Version(900, 3), "s/h/changed.jpg", before=Version(900, 2)),
    "/changed.bin": Wanted(Version(200 * KIB, 5), "s/h/changed.bin", before=Version(200 * KIB, 4)),
    "/half.bin": Wanted(Version(200 * KIB, 7), "s/h/half.bin", part_of=Version(200 * KIB, 6)),
    "/unchanged.jpg": Wanted(Version(500, 8), "s/h/unchanged.jpg", before=Version(500, 8)),
    "/small.jpg": Wanted(Version(700, 9), "s/h/small.jpg"),
}
BATCHES = [["/segments.bin"], ["/changed.jpg", "/changed.bin", "/unchanged.jpg"], ["/half.bin", "/small.jpg"]]


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    fetch_job.small_is_large(monkeypatch)


@pytest.fixture(scope="module", params=TRANSPORTS)
def killed(request, tmp_path_factory):
    """The job, and the folder of the stores that kills left: `<step>-<n>`."""
    root, prepared = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("prepared") / "store"
    with Origin() as origin, pytest.MonkeyPatch.context() as patches:
        fetch_job.small_is_large(patches)
        trial = Trial(origin, JOB, BATCHES, transport_class(request.param))
        trial.prepare(prepared)
        batches = json.dumps([[astuple(file) for file in batch] for batch in trial.files])
        command = [sys.executable, fetch_job.__file__, str(root), str(prepared), batches, request.param]
        said = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300)
        assert (said.returncode, said.stderr) == (0, "")
        trial.calm()
        yield trial, root


def stores_killed_at(killed, step, to):
    """Copies, since each can be recovered once."""
    folders = sorted(killed[1].glob(f"{step}-*"))
    return [Path(shutil.copytree(folder, to / folder.name)) for folder in folders]


def test_the_kills_fall_at_every_step_and_amid_segments(killed):
    _, root = killed
    assert {folder.name.rpartition("-")[0] for folder in root.iterdir()} == set(STEPS)
    records = [json.loads(path.read_text()) for path in root.glob("part-*/.mediacrawl/parts/*.json")]
    assert [record for record in records if len(record["ranges"]) > 1], "no kill found segments behind a gap"


@pytest.mark.parametrize("boot", ["kill", "power cut"])
@pytest.mark.parametrize("step", STEPS)
def test_the_next_run_ends_right(killed, step, boot, tmp_path, monkeypatch):
    trial, _ = killed
    if boot == "power cut":
        monkeypatch.setattr("mediacrawl.store.parts.boot_id", lambda: "the next boot")
    folders = stores_killed_at(killed, step, tmp_path)
    assert folders
    for folder in folders:
        counted = trial.assert_sound(folder)
        fetched = trial.run(folder)
        for path in ("/segments.bin", "/changed.bin"):
            assert fetched[path].saved_bytes in (0, counted[path])
            arrived = 0 if fetched[path].part is None else fetched[path].size_bytes
            assert fetched[path].saved_bytes + fetched[path].fetched_bytes == arrived, "nothing travels twice"
        assert fetched["/unchanged.jpg"].part is None
        trial.assert_through(folder)
    trial.origin.forget()
    again = trial.run(folders[0])
    assert [fetched.status for fetched in again.values()] == [304] * len(JOB)
    assert trial.origin.bytes_sent() == 0, "a run after that fetches nothing"
    trial.assert_through(folders[0])


def test_a_part_that_the_kill_left_with_segments_is_gone_on_with(killed, tmp_path):
    """Not one byte of what its record counts travels again, on whichever side of a gap it is."""
    trial, _ = killed
    most = 0
    for folder in stores_killed_at(killed, "part-record", tmp_path):
        counted = trial.assert_sound(folder)["/segments.bin"]
        most = max(most, counted)
        assert trial.run(folder)["/segments.bin"].saved_bytes == counted
    assert 0 < most <= SEGMENTS


@pytest.mark.parametrize(
    ("step", "state", "content"),
    [
        ("part-write", State.DONE, "before"),
        ("file-sync", State.DONE, "before"),
        ("ledger-claim", State.DONE, "before"),
        ("file-rename", State.PENDING, "before"),
        ("folder-sync", State.DONE, "body"),
        ("ledger-done", State.DONE, "body"),
        ("part-forget", State.DONE, "body"),
    ],
)
def test_the_old_version_stands_there_until_the_new_one_does(killed, step, state, content, tmp_path):
    """At no moment is there nothing, and the ledger knows which of the two it is although both are as long."""
    trial, _ = killed
    seen = []
    for folder in stores_killed_at(killed, step, tmp_path):
        archive = Archive.open(LocalStore(folder))
        (row,) = archive.lookup([trial.origin.url("/changed.jpg")])
        archive.close()
        data = (folder / "s/h/changed.jpg").read_bytes()
        assert data in {JOB["/changed.jpg"].before.data, JOB["/changed.jpg"].body.data}
        seen.append((row.state, data))
    assert (state, getattr(JOB["/changed.jpg"], content).data) in seen


@pytest.mark.parametrize("step", ["ledger-claim", "file-rename", "ledger-done"])
def test_a_revalidated_file_is_checked_anew_by_the_next_run(killed, step, tmp_path):
    trial, _ = killed
    key = trial.origin.url("/unchanged.jpg")
    for folder in stores_killed_at(killed, step, tmp_path):
        before = row_of(folder, key)
        trial.run(folder)
        after = row_of(folder, key)
        assert (before.state, after.state, after.finished_at) == (State.DONE, State.DONE, before.finished_at)
        assert after.checked_at > before.checked_at


def row_of(folder, key):
    archive = Archive.open(LocalStore(folder))
    (row,) = archive.lookup([key])
    archive.close()
    return row


# A disk that does not do as it should


@pytest.mark.parametrize(("reason", "said"), [(errno.EIO, StoreNotWritable), (errno.ENOSPC, DiskFull)])
def test_a_name_that_the_disk_fails_to_sync_is_not_done(origin, tmp_path, monkeypatch, reason, said):
    trial = Trial(origin, {"/small.jpg": JOB["/small.jpg"], "/changed.jpg": JOB["/changed.jpg"]})
    trial.prepare(tmp_path)
    store, fsync = LocalStore(tmp_path), os.fsync

    def fail(fd):
        if os.fstat(fd).st_ino == (tmp_path / "s/h").stat().st_ino:
            raise OSError(reason, os.strerror(reason))
        fsync(fd)

    with monkeypatch.context() as patches:
        patches.setattr(os, "fsync", fail)
        with pytest.raises(said):
            trial.run(tmp_path)
    ledger = SqliteLedger(store.hidden / LEDGER_NAME, read_only=True)
    assert [row.state for row in ledger.entries()] == [State.PUBLISHING, State.PUBLISHING]
    ledger.close()
    trial.run(tmp_path)
    trial.assert_through(tmp_path)


def test_a_part_that_has_another_name_too_is_never_changed(origin, tmp_path):
    """A rename that a power cut has left half done: the part is the published file."""
    trial = Trial(origin, {"/small.jpg": JOB["/small.jpg"]})
    trial.prepare(tmp_path)
    trial.run(tmp_path)
    store = LocalStore(tmp_path)
    part = store.parts._path(origin.url("/small.jpg"))
    os.link(tmp_path / "s/h/small.jpg", part)
    with store.parts.open(origin.url("/small.jpg")) as opened:
        assert (opened.have, opened.record) == (0, None)
        assert not part.samefile(tmp_path / "s/h/small.jpg")
    trial.assert_through(tmp_path)
