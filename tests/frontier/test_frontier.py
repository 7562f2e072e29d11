"""What `SqliteFrontier` does beyond what every frontier must do."""

import fcntl
import os
import sqlite3
import subprocess
import sys

import pytest
from frontiers import add, lease, names
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediacrawl.errors import DiskFull, JobInUse, StoreNotWritable
from mediacrawl.frontier.sqlite import COMMIT_S, FORMAT, SqliteFrontier, describe


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def job(tmp_path):
    return tmp_path / "jobs" / "gallery"


@pytest.fixture
def opened(job):
    """Opens the frontier of the job; what a test leaves open is closed."""
    frontiers = []

    def opened(**arguments):
        frontier = SqliteFrontier(job, "gallery", **arguments)
        frontiers.append(frontier)
        return frontier

    yield opened
    for frontier in frontiers:
        if not is_closed(frontier):
            crash(frontier)


def is_closed(frontier):
    try:
        frontier._db.total_changes  # noqa: B018 - raises when it is closed
    except sqlite3.ProgrammingError:
        return True
    return False


def crash(frontier):
    """What the death of the process does: what was not committed is gone, the lock too."""
    frontier._db.close()
    os.close(frontier._lock_fd)


def test_the_data_of_pages_that_are_done_is_dropped(opened, job):
    frontier = opened()
    add(frontier, "a", "b")
    _, ids = lease(frontier)
    frontier.done(ids[:1])
    frontier.close(finished=False)
    db = sqlite3.connect(job / "frontier.sqlite3")
    assert db.execute("SELECT data FROM pages ORDER BY id DESC").fetchall() == [(None,), (b"data of a",)]
    db.close()


# Crashes

CHILD = """
import itertools, pathlib, sys
from mediacrawl.frontier.base import PageKind
from mediacrawl.frontier.sqlite import SqliteFrontier

# It commits each change.
frontier = SqliteFrontier(pathlib.Path(sys.argv[1]), "gallery", clock=itertools.count().__next__)
frontier.add(b"start", b"data of start", kind=PageKind.START)
for name in "abcde":
    frontier.add(name.encode(), b"data of " + name.encode())
e, d, c = frontier.lease(), frontier.lease(), frontier.lease()
frontier.done([e.id])
print("working", flush=True)
sys.stdin.read()
"""


def test_pages_that_were_leased_by_a_killed_process_are_pending_again(opened, job):
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"working\n"
        child.kill()
    assert child.returncode == -9
    frontier = opened()
    assert (job / "frontier.lock").read_text() == f"{os.getpid()}\n", "the lock of a dead process stops nobody"
    assert add(frontier, "e") == [False], "what was done is still seen"
    assert names(frontier) == ["d", "c", "b", "a", "start"]
    assert frontier._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_commits_are_lazy(opened, job):
    clock = Clock()
    frontier = opened(clock=clock)
    add(frontier, "a")
    clock.now += COMMIT_S / 2
    add(frontier, "b")
    assert describe(job) == {"pages_pending": 0, "pages_done": 0}
    clock.now += COMMIT_S / 2
    add(frontier, "c")
    assert describe(job) == {"pages_pending": 3, "pages_done": 0}


@pytest.mark.parametrize("call", [lambda f, ids: f.lease(), lambda f, ids: f.done(ids)], ids=["lease", "done"])
def test_every_call_commits_when_it_is_time_also_where_nothing_is_left_to_do(opened, job, call):
    clock = Clock()
    frontier = opened(clock=clock)
    add(frontier, "a")
    _, ids = lease(frontier)
    assert describe(job)["pages_pending"] == 0
    clock.now += COMMIT_S
    call(frontier, ids)
    assert sum(describe(job).values()) == 1


def test_a_crash_leaves_an_earlier_state_of_the_whole(opened):
    clock = Clock()
    frontier = opened(clock=clock)
    add(frontier, "parent")
    _, ids = lease(frontier)
    clock.now += COMMIT_S
    frontier.done([])
    add(frontier, "child")
    frontier.done(ids)
    crash(frontier)
    frontier = opened()
    assert names(frontier) == ["parent"], "its child and that it was done are forgotten together"
    assert add(frontier, "child") == [True]


@given(
    steps=st.lists(
        st.sampled_from(["add", "lease", "done", "wait", "crash", "reopen"]) | st.integers(0, 5), max_size=40
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_page_is_lost_whatever_happens(tmp_path_factory, steps):
    """A page that yields another: done means that the other one is stored. So page n+1 is stored or n not done."""
    folder, clock = tmp_path_factory.mktemp("job"), Clock()
    frontier = SqliteFrontier(folder, "gallery", clock=clock)
    add(frontier, "0")
    clock.now += COMMIT_S
    frontier.done([])
    leased = {}
    for step in steps:
        if step == "add":
            add(frontier, *(str(int(name) + 1) for name in leased))
        elif step == "lease" and (page := frontier.lease()) is not None:
            leased[page.data.decode().removeprefix("data of ")] = page.id
        elif step == "done" and leased:
            name, page_id = leased.popitem()
            add(frontier, str(int(name) + 1))
            frontier.done([page_id])
        elif isinstance(step, int):
            clock.now += step * COMMIT_S / 4
        elif step in {"crash", "reopen"}:
            crash(frontier) if step == "crash" else frontier.close(finished=False)
            leased.clear()
            frontier = SqliteFrontier(folder, "gallery", clock=clock)
    states = dict(frontier._db.execute("SELECT CAST(fingerprint AS TEXT), state FROM pages").fetchall())
    last = str(len(states) - 1)
    assert set(states) == {str(number) for number in range(len(states))}
    assert states[last] != 2, "the newest page is not done: its child would be there"
    assert len(frontier) == sum(state == 0 for state in states.values())
    crash(frontier)


# Locks


def test_a_second_process_is_told_who_works_here(job, opened):
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"working\n"
        with pytest.raises(JobInUse) as caught:
            opened()
        assert str(caught.value) == f"the job folder {job} is in use by process {child.pid}"
        child.kill()


def test_a_refused_process_leaves_the_lock_to_its_holder(opened, job):
    opened()
    for _ in range(2):
        with pytest.raises(JobInUse, match=f"is in use by process {os.getpid()}$"):
            opened()


def test_a_lock_without_a_pid_is_still_a_lock(opened, job):
    job.mkdir(parents=True)
    with (job / "frontier.lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(JobInUse, match=r"is in use by process unknown$"):
            opened()
    opened()


@pytest.mark.parametrize("stale", ["999999\n", "", "rubbish" * 100])
def test_a_lock_file_that_nobody_holds_stops_nobody(opened, job, stale):
    job.mkdir(parents=True)
    (job / "frontier.lock").write_text(stale)
    opened()
    assert (job / "frontier.lock").read_text() == f"{os.getpid()}\n"


# Folders that are refused


def assert_refused(job, owner, *said):
    """In one line, and without a lock left behind."""
    for _ in range(2):
        with pytest.raises(JobInUse) as caught:
            SqliteFrontier(job, owner)
        assert "\n" not in str(caught.value)
        assert all(text in str(caught.value) for text in said)
        assert "take another JOBDIR" in str(caught.value)


def test_another_format_is_refused_and_left_as_it_is(opened, job):
    opened().close(finished=False)
    db = sqlite3.connect(job / "frontier.sqlite3")
    db.execute(f"PRAGMA user_version={FORMAT + 1}")
    db.close()
    assert_refused(job, "gallery", f"has format {FORMAT + 1}, this mediacrawl knows format {FORMAT}")


def test_a_job_of_scrapys_own_scheduler_is_refused(job):
    (job / "requests.queue").mkdir(parents=True)
    (job / "requests.queue" / "active.json").write_text("[]")
    assert_refused(job, "gallery", "was begun by Scrapy's own scheduler")
    assert (job / "requests.queue" / "active.json").read_text() == "[]"


def test_a_job_of_ours_stays_ours_whatever_lies_beside_it(opened, job):
    opened().close(finished=False)
    (job / "requests.queue").mkdir()
    opened()


# The disk


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreNotWritable) as caught:
        SqliteFrontier(tmp_path / "file" / "job", "gallery")
    assert (
        str(caught.value)
        == f"cannot write the job folder {tmp_path}/file/job: {tmp_path}/file is a file, not a folder"
    )


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"rubbish" * 1000), lambda path: path.mkdir()])
def test_a_file_that_is_no_frontier_is_one_line_and_leaves_no_lock(job, spoil):
    job.mkdir(parents=True)
    spoil(job / "frontier.sqlite3")
    for _ in range(2):
        with pytest.raises(StoreNotWritable, match=rf"^cannot use (the job folder )?{job}(/\S+)?: ") as caught:
            SqliteFrontier(job, "gallery")
        assert caught.value.__suppress_context__
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_said_in_one_line_and_nothing_that_was_stored_is_lost(opened):
    clock = Clock()
    frontier = opened(clock=clock)
    add(frontier, "a")
    clock.now += COMMIT_S
    frontier.done([])
    (pages,) = frontier._db.execute("PRAGMA page_count").fetchone()
    frontier._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFull, match="free some space and run the same command again") as caught:
        frontier.add(b"large", b"x" * 100_000)
    assert "\n" not in str(caught.value)
    crash(frontier)
    assert names(opened()) == ["a"]


# For `scrapy status`


def test_a_job_is_described_without_disturbing_it(opened, job):
    frontier = opened()
    add(frontier, "a", "b", "c")
    _, ids = lease(frontier, 2)
    frontier.done(ids[:1])
    frontier.close(finished=False)
    before = sorted(job.iterdir())
    assert describe(job) == {"pages_pending": 2, "pages_done": 1}
    assert sorted(job.iterdir()) == before
    opened()
    assert describe(job) == {"pages_pending": 2, "pages_done": 1}


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"rubbish" * 1000),
        lambda path: path.mkdir(),
    ],
    ids=["missing", "empty", "rubbish", "folder"],
)
def test_what_is_no_job_is_described_as_nothing(job, make):
    job.mkdir(parents=True)
    make(job / "frontier.sqlite3")
    before = sorted(job.iterdir())
    assert describe(job) == {}
    assert sorted(job.iterdir()) == before
