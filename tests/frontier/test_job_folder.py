"""A job folder that other users of the machine can write to, or could before."""

import os
import sqlite3
import stat
import struct
from contextlib import closing

import pytest
from frontiers import add, names

from mediacrawl.errors import JobInUse, MachineError, StoreNotWritable
from mediacrawl.frontier.sqlite import FORMAT, SqliteFrontier, describe
from mediacrawl.system import directories

SECRET = b"of somebody else"


@pytest.fixture
def job(tmp_path):
    return tmp_path / "jobs" / "gallery"


@pytest.fixture
def foreign(tmp_path):
    path = tmp_path / "foreign"
    path.write_bytes(SECRET)
    yield path
    assert path.read_bytes() == SECRET


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def close(frontier):
    frontier.close(finished=False)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_job_folder_and_its_files_are_private(job, umask):
    before = os.umask(umask)
    try:
        frontier = SqliteFrontier(job, "gallery")
        add(frontier, "a")
        modes = {path.name: oct(mode(path)) for path in job.iterdir()}
        close(frontier)
    finally:
        os.umask(before)
    assert mode(job) == 0o700
    assert mode(job.parent) == 0o777 & ~umask
    private = ("frontier.lock", "frontier.sqlite3", "frontier.sqlite3-shm", "frontier.sqlite3-wal")
    assert modes == dict.fromkeys(private, "0o600")


def test_a_job_folder_of_an_earlier_version_loses_the_permissions_of_others_and_says_so(job, caplog):
    job.mkdir(parents=True)
    job.chmod(0o777)
    for name in ("frontier.lock", "frontier.sqlite3", "spider.state", "requests.seen"):
        (job / name).touch()
        (job / name).chmod(0o666)
    caplog.set_level("INFO")
    for _ in range(2):
        close(SqliteFrontier(job, "gallery"))
    assert (mode(job), mode(job / "frontier.lock"), mode(job / "frontier.sqlite3")) == (0o700, 0o600, 0o600)
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"The job folder {job} was open to other users of this machine: its mode is now 0700"]


def test_a_folder_with_other_files_keeps_its_mode_and_others_may_not_write_in_it(job):
    job.mkdir(parents=True)
    (job / "list.txt").touch()
    job.chmod(0o755)
    close(SqliteFrontier(job, "gallery"))
    assert mode(job) == 0o755
    job.chmod(0o777)
    with pytest.raises(
        StoreNotWritable, match=f"cannot use {job}: other users can write in it: take a folder of its"
    ):
        SqliteFrontier(job, "gallery")
    assert mode(job) == 0o777


PLANTED = {
    "link": lambda path, foreign: path.symlink_to(foreign),
    "dangling link": lambda path, foreign: path.symlink_to(foreign.with_name("missing")),
    "FIFO": lambda path, _foreign: os.mkfifo(path),
    "folder": lambda path, _foreign: path.mkdir(),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED.keys())
@pytest.mark.parametrize("name", ["lock", "sqlite3", "sqlite3-wal", "sqlite3-shm", "sqlite3-journal"])
def test_an_entry_of_another_kind_is_neither_followed_nor_waited_for(job, foreign, name, plant):
    job.mkdir(parents=True)
    path = job / f"frontier.{name}"
    plant(path, foreign)
    with pytest.raises(MachineError) as caught:
        SqliteFrontier(job, "gallery")
    assert str(caught.value).startswith(f"cannot use {path}: expected a regular file, there is a")
    assert "move it away and run the same command again" in str(caught.value)
    assert not foreign.with_name("missing").exists()
    assert describe(job) == {}


def test_a_second_name_of_a_foreign_file_is_no_lock(job, foreign):
    job.mkdir(parents=True)
    (job / "frontier.lock").hardlink_to(foreign)
    frontier = SqliteFrontier(job, "gallery")
    assert (job / "frontier.lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(JobInUse, match=f"in use by process {os.getpid()}"):
        SqliteFrontier(job, "gallery")
    close(frontier)


# Pages of an earlier version


@pytest.fixture
def pickled(job):
    """A job of format 1, with a page that is a pickle."""
    frontier = SqliteFrontier(job, "gallery")
    frontier.add(b"1", b"\x80\x05N.")
    close(frontier)
    with sqlite3.connect(job / "frontier.sqlite3") as db:
        db.execute("DELETE FROM facts WHERE name = 'pickles'")
        db.execute("PRAGMA user_version=1")
    db.close()
    return job / "frontier.sqlite3"


def open_again(job):
    frontier = SqliteFrontier(job, "gallery")
    reads, left = frontier.reads_pickles, len(frontier)
    close(frontier)
    return reads, left


def test_pickles_are_read_while_any_are_left_and_never_in_a_job_without(job, pickled):
    assert open_again(job) == (True, 1)
    with sqlite3.connect(pickled) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,), "no earlier version reads JSON"
    db.close()
    assert open_again(job) == (True, 1)
    frontier = SqliteFrontier(job, "gallery")
    frontier.done([frontier.lease().id])
    frontier.add(b"2", b'{"url":"http://h/"}')
    close(frontier)
    assert open_again(job) == (False, 1)
    frontier = SqliteFrontier(job, "gallery")
    frontier.add(b"3", b"\x80\x05N.")
    close(frontier)
    assert open_again(job) == (False, 2)


@pytest.mark.parametrize("wide", [0o660, 0o606, 0o620, 0o602])
@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("opened_before", [False, True])
def test_pickles_that_others_could_have_written_are_refused_each_time(job, pickled, wide, suffix, opened_before):
    if opened_before:
        assert open_again(job) == (True, 1)
    path = job / f"frontier.sqlite3{suffix}"
    path.touch()
    path.chmod(wide)
    with pytest.raises(JobInUse, match=r"other users may have written .* give the file .* else take another JOBDIR"):
        SqliteFrontier(job, "gallery")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_pickles_of_another_user_are_refused_to_root_too(job, pickled):
    os.chown(pickled, 65534, -1)
    with pytest.raises(JobInUse, match="other users may have written"):
        SqliteFrontier(job, "gallery")


# Pages in memory


def test_a_page_in_memory_is_seen_in_this_run_and_after_a_crash_it_never_was(job):
    frontier = SqliteFrontier(job, "gallery")
    add(frontier, "a")
    held = frontier.hold(b"in memory")
    assert held is not None
    assert frontier.hold(b"in memory") is None
    assert not frontier.add(b"in memory", b"data")
    assert frontier.hold(b"a") is None
    assert len(frontier) == 1
    frontier.close(finished=True)
    frontier = SqliteFrontier(job, "gallery")
    assert frontier.add(b"in memory", b"data of in memory")
    assert names(frontier) == ["in memory", "a"]
    frontier.done([frontier.hold(b"other")])
    close(frontier)
    frontier = SqliteFrontier(job, "gallery")
    assert frontier.hold(b"other") is None
    close(frontier)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE pages SET run = 'x'",
        "UPDATE pages SET run = 9223372036854775807",
        "UPDATE pages SET place = -9223372036854775808",
        "UPDATE pages SET place = x'00ff'",
        "UPDATE pages SET state = 'x'",
        "UPDATE pages SET state = 9",
        "UPDATE pages SET priority = 'x'",
        "UPDATE failures SET url = x'ff', reason = 5",
        "UPDATE failures SET url = CAST(x'ff' AS TEXT)",
        "UPDATE failures SET run = 'x'",
        "UPDATE facts SET value = CAST(x'ff' AS TEXT) WHERE name = 'finished'",
    ],
)
def test_a_damaged_number_or_text_costs_no_page_and_no_traceback(job, damage):
    frontier = SqliteFrontier(job, "gallery")
    add(frontier, "a", "b")
    frontier.note_failure(b"c", "http://h/c", "gone")
    close(frontier)
    with closing(sqlite3.connect(job / "frontier.sqlite3")) as db, db:
        db.execute(damage)
    frontier = SqliteFrontier(job, "gallery")
    assert all(isinstance(text, str) for failure in frontier.earlier_failures() for text in failure)
    add(frontier, "d")
    assert sorted(names(frontier)) == ["a", "b", "d"]
    close(frontier)


@pytest.mark.parametrize("priority", [10**30, -(10**30)])
def test_a_priority_beyond_the_numbers_of_sqlite_is_the_highest_or_lowest(job, priority):
    frontier = SqliteFrontier(job, "gallery")
    add(frontier, "a", priority=0)
    add(frontier, "b", priority=priority)
    assert names(frontier) == (["b", "a"] if priority > 0 else ["a", "b"])
    close(frontier)


def access_list(user):
    """The extended attribute of Linux: owner, this user, group, mask (all rwx), others. See acl(5)."""
    nobody, everything = 0xFFFFFFFF, 7
    entries = [
        (1, everything, nobody),
        (2, everything, user),
        (4, 0, nobody),
        (16, everything, nobody),
        (32, 0, nobody),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_a_folder_that_an_access_control_list_opens_to_another_user_is_refused(job, monkeypatch):
    monkeypatch.setattr(directories, "_is_group_of_one", lambda _gid: True)
    job.mkdir(parents=True)
    (job / "notes.txt").touch()
    job.chmod(0o770)
    close(SqliteFrontier(job, "gallery"))
    try:
        os.setxattr(job, "system.posix_acl_access", access_list(12345))
    except OSError:
        pytest.skip("a file system without access control lists")
    assert stat.S_IMODE(job.stat().st_mode) == 0o770
    with pytest.raises(MachineError, match="other users can write in it"):
        SqliteFrontier(job, "gallery")
    (job / "notes.txt").unlink()
    close(SqliteFrontier(job, "gallery"))
    assert stat.S_IMODE(job.stat().st_mode) == 0o700  # without a mask, the list gives nothing
