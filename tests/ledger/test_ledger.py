import math
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from typing import NamedTuple

import pytest
from crawling import file_system_at
from ledgers import KEY, LOST_LINK, WANTED, WHOLE, bring_to, row

from mediacrawl.errors import DiskFull, StoreNotWritable
from mediacrawl.ledger import sqlite as ledger_module
from mediacrawl.ledger.base import Entry, State
from mediacrawl.ledger.migrations import STEPS
from mediacrawl.ledger.sqlite import BUSY_S, SqliteLedger
from mediacrawl.system.read_only_sqlite import ReadOnlyDatabase

FORMAT = 1 + len(STEPS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def ledger(path):
    ledger = SqliteLedger(path)
    yield ledger
    ledger.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger, entry: ledger.record_wanted([entry], 1.0),
        lambda ledger, entry: ledger.claim(entry),
        lambda ledger, entry: ledger.record_failure([entry], 1.0),
    ],
    ids=["want", "claim", "fail"],
)
def test_no_credentials_reach_the_disk(path, call):
    secret = "s3cr3t"  # not a real one
    entry = WHOLE._replace(url=f"http://user:{secret}@h/a.jpg", page=f"https://:{secret}@h/p?q=a@b")
    ledger = SqliteLedger(path)
    call(ledger, entry)
    found = row(ledger)
    assert (found.url, found.page) == ("http://h/a.jpg", "https://h/p?q=a@b")
    on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert KEY.encode() in on_disk
    assert secret.encode() not in on_disk
    ledger.close()


# Paths


@pytest.mark.parametrize("state", [State.PENDING, State.DONE, State.FAILED])
def test_what_the_list_asked_for_is_kept_and_a_later_wish_counts_where_the_file_is_not_there(ledger, state):
    bring_to(ledger, state)
    ledger.record_wanted([WANTED._replace(wish="another")], 2.0)
    assert row(ledger).wish == ("another" if state == State.FAILED else WANTED.wish)


# Questions


def test_what_is_not_done_is_found_without_a_look_at_what_is(ledger):
    with ledger.transaction():
        for n in range(5000):
            ledger.claim(WHOLE._replace(key=f"{n:04}", path=f"{n}.jpg"))
        ledger.finish((WHOLE._replace(key=f"{n:04}") for n in range(5000) if n != 2500), 1.0)
        ledger.record_failure([LOST_LINK._replace(key="lost")], 1.0)
    steps = []
    ledger._db.set_progress_handler(lambda: steps.append(None), 100)
    assert [row.key for row in ledger.entries(State.PUBLISHING)] == ["2500"]
    assert [row.key for row in ledger.entries(State.FAILED, State.PUBLISHING, State.PENDING)] == ["2500", "lost"]
    assert len(steps) < 50  # instructions of SQLite's machine, in hundreds: a look at each row takes over 5,000


# Transactions


def test_a_change_is_seen_by_another_connection_at_once(path, ledger):
    other = SqliteLedger(path)
    ledger.record_wanted([WANTED], 1.0)
    assert row(other).state == State.PENDING
    other.record_failure([LOST_LINK], 2.0)
    assert row(ledger).state == State.FAILED
    other.close()


def test_reading_never_waits_for_a_writer(path, ledger):
    reader = SqliteLedger(path, read_only=True)
    with ledger.transaction():
        ledger.record_wanted([WANTED], 1.0)
        assert row(reader) is None
    assert row(reader).state == State.PENDING
    reader.close()


def test_nor_for_another_process_that_has_the_file_for_itself(path):
    """The event loop asks: it would stand still for as long as that process likes."""
    ledger = SqliteLedger(path)
    ledger._db.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreNotWritable, match="locked"):
        ledger.knows_any([KEY])
    assert time.monotonic() - began < BUSY_S / 3
    other.close()
    ledger.close()


def test_close_does_not_wait_for_a_thread_that_hangs_in_it(path, monkeypatch):
    monkeypatch.setattr(ledger_module, "_CLOSE_WITHIN_S", 0.01)
    ledger = SqliteLedger(path)
    inside, over = threading.Event(), threading.Event()

    def hang():
        with ledger.transaction():
            inside.set()
            over.wait(30)

    thread = threading.Thread(target=hang)
    thread.start()
    inside.wait(30)
    ledger.close()
    over.set()
    thread.join()
    ledger.close()


def test_several_processes_may_create_and_use_one_ledger(path):
    code = (
        "import sys, pathlib\n"
        "from mediacrawl.ledger.sqlite import Entry, SqliteLedger\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for store in range(20):\n"
        "    ledger = SqliteLedger(pathlib.Path(f'{sys.argv[1]}-{store}'))\n"
        "    for n in range(5):\n"
        "        ledger.record_wanted([Entry(f'{sys.argv[2]} {n}', 'http://h/')], 1.0)\n"
        "    ledger.close()\n"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in "abc"
    ]
    for child in children:
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.stdin.write(b"go\n")
        child.stdin.flush()
    said = [child.communicate()[1].decode() for child in children]
    assert said == ["", "", ""]
    for store in range(20):
        ledger = SqliteLedger(path.with_name(f"{path.name}-{store}"), read_only=True)
        assert ledger.counts()["pending"] == 15
        ledger.close()


@pytest.fixture
def another(path):
    """Another process that is just creating the ledger; SQLite refuses at once there, without its usual waiting."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_who_comes_while_another_creates_the_ledger_waits_for_it(path, another, monkeypatch):
    waits = []

    def until_it_is_through(seconds):
        waits.append(seconds)
        another.execute("COMMIT")

    monkeypatch.setattr(ledger_module.time, "sleep", until_it_is_through)
    SqliteLedger(path).close()
    assert len(waits) == 1


def test_who_waits_for_another_does_not_wait_for_ever(path, another, monkeypatch):
    monkeypatch.setattr(ledger_module, "BUSY_S", 0.0)
    with pytest.raises(StoreNotWritable, match="database is locked"):
        SqliteLedger(path)


def test_a_ledger_that_another_process_is_writing_to_is_opened_and_read_at_once(path, ledger, monkeypatch):
    ledger.record_wanted([Entry(KEY, "http://h/")], 1.0)
    monkeypatch.setattr(ledger_module, "BUSY_S", 0.0)
    with ledger.transaction():
        other = SqliteLedger(path)
        assert other.lookup([KEY])
        other.close()


def test_who_is_in_a_hurry_waits_for_nobody(path, ledger, monkeypatch):
    monkeypatch.setattr(ledger_module, "BUSY_S", math.inf)
    monkeypatch.setattr(ledger_module, "_HURRY_S", 0.0)
    other = SqliteLedger(path)
    with ledger.transaction():
        waiting = threading.Thread(target=other.record_wanted, args=([Entry(KEY, "http://h/")], 1.0), daemon=True)
        other.hurry()
        with pytest.raises(StoreNotWritable, match="locked"):
            other.record_wanted([Entry(KEY, "http://h/")], 1.0)
    waiting.start()
    waiting.join(60)
    assert other.lookup([KEY]), "where nobody is in the way, it writes still"
    other.close()


def test_what_a_kill_has_left_half_while_a_ledger_was_created_does_not_keep_it_from_being_read(path, tmp_path):
    """There is a journal then, which a reader may not roll back."""
    half = tmp_path / "half.sqlite3"
    with closing(sqlite3.connect(half, isolation_level=None)) as other:
        other.execute("CREATE TABLE there (x)")
        other.execute("PRAGMA cache_size=1")
        other.execute("BEGIN")
        other.executemany("INSERT INTO there VALUES (?)", [(bytes(4000),)] * 100)
        for name in ("", "-journal"):
            shutil.copy(f"{half}{name}", f"{path}{name}")
    ledger = SqliteLedger(path, read_only=True)
    assert ledger.is_prepared() is False
    assert ledger._all("SELECT count(*) FROM there") == [(0,)]
    ledger.close()


def test_a_kill_loses_no_commit_and_leaves_no_half_one(path):
    code = (
        "import os, signal, sys, pathlib\n"
        "from mediacrawl.ledger.sqlite import Entry, SqliteLedger\n"
        "ledger = SqliteLedger(pathlib.Path(sys.argv[1]))\n"
        "ledger.record_wanted([Entry('committed', 'http://h/')], 1.0)\n"
        "with ledger.transaction():\n"
        "    ledger.record_wanted([Entry('half', 'http://h/')], 1.0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    ledger = SqliteLedger(path)
    assert [entry.key for entry in ledger.entries()] == ["committed"]
    assert ledger.is_intact()
    ledger.close()


def test_a_commit_is_durable_before_it_is_acknowledged(ledger):
    assert ledger._all("PRAGMA synchronous") == [(2,)], "FULL: after the rename nothing else knows whose file it is"


# Files that cannot be used


def assert_is_one_line(error):
    assert "\n" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__, "no traceback of sqlite3 below it"


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_format_is_refused_and_left_as_it_is(path, ledger, read_only):
    bring_to(ledger, State.DONE)
    ledger._db.execute(f"PRAGMA user_version={FORMAT + 1}")
    with pytest.raises(StoreNotWritable) as caught:
        SqliteLedger(path, read_only=read_only)
    assert f"has format {FORMAT + 1}, this mediacrawl writes format {FORMAT}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ledger._all("PRAGMA user_version") == [(FORMAT + 1,)]


def test_a_missing_file_is_not_created_by_reading(path):
    with pytest.raises(StoreNotWritable, match="cannot use the ledger") as caught:
        SqliteLedger(path, read_only=True)
    assert_is_one_line(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_ledger_is_refused_in_one_line(path, read_only):
    path.write_bytes(b"This is a shopping list, not a database.\n" * 200)
    with pytest.raises(StoreNotWritable, match="file is not a database") as caught:
        SqliteLedger(path, read_only=read_only)
    assert_is_one_line(caught.value)
    assert path.read_bytes().startswith(b"This is a shopping list")


def test_a_ledger_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreNotWritable, match="unable to open database file") as caught:
        SqliteLedger(tmp_path / "file" / "ledger.sqlite3")
    assert_is_one_line(caught.value)


def test_a_ledger_opened_for_reading_cannot_be_written(path, ledger):
    reader = SqliteLedger(path, read_only=True)
    with pytest.raises(StoreNotWritable, match="opened for reading only"):
        reader.record_wanted([WANTED], 1.0)
    reader.close()


def test_a_full_disk_is_said_in_one_line(ledger):
    (pages,) = ledger._all("PRAGMA page_count")[0]
    ledger._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFull, match="nothing is lost, free some space") as caught:
        ledger.record_wanted((Entry(f"{n}", "http://h/" + "x" * 500) for n in range(100)), 1.0)
    assert_is_one_line(caught.value)
    assert ledger.counts()["pending"] == 0
    ledger._db.execute("PRAGMA max_page_count=1000000")
    ledger.record_wanted([WANTED], 1.0)
    assert row(ledger).state == State.PENDING


def test_a_name_with_the_signs_of_a_url_is_a_name(tmp_path):
    path = tmp_path / "a?mode=ro&b#c %41.sqlite3"
    ledger = SqliteLedger(path)
    ledger.record_wanted([WANTED], 1.0)
    ledger.close()
    assert path.exists()


def test_a_damaged_file_is_not_intact(path):
    ledger = SqliteLedger(path)
    ledger.record_wanted((Entry(f"{n:05}", "http://h/" + "x" * 200) for n in range(500)), 1.0)
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * 8192)
    ledger = SqliteLedger(path)
    assert not ledger.is_intact()
    ledger.close()


def test_the_format_is_written_into_a_new_file(path, ledger):
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    db.close()


# Reading without a trace


def snapshot(folder):
    """All files beside each other: what is in them, and when they were written."""
    return {entry.name: (entry.read_bytes(), entry.stat().st_mtime_ns) for entry in folder.iterdir()}


def filled(path):
    ledger = SqliteLedger(path)
    bring_to(ledger, State.DONE)
    ledger.close()


_KILLED_WHILE_IT_WRITES = """
import os, pathlib, signal, sys
from mediacrawl.ledger.base import Entry
from mediacrawl.ledger.sqlite import SqliteLedger
ledger = SqliteLedger(pathlib.Path(sys.argv[1]))
ledger.record_wanted([Entry("late", "http://h/late")], 2.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_it_writes(path):
    assert subprocess.run([sys.executable, "-c", _KILLED_WHILE_IT_WRITES, str(path)], check=False).returncode == -9


def test_reading_leaves_no_file_behind_and_none_changed(path, tmp_path):
    filled(path)
    before = snapshot(tmp_path)
    reader = SqliteLedger(path, read_only=True)
    assert row(reader).state == State.DONE
    assert snapshot(tmp_path) == before, "nor while it is open"
    reader.close()
    assert snapshot(tmp_path) == before


def test_what_is_written_after_a_reader_has_opened_is_read(path):
    filled(path)
    reader = SqliteLedger(path, read_only=True)
    assert row(reader, "late") is None
    writer = SqliteLedger(path)
    writer.record_wanted([WANTED._replace(key="late")], 2.0)
    assert row(reader, "late").state == State.PENDING
    writer.close()
    writer = SqliteLedger(path)
    writer.forget([KEY])
    writer.close()
    assert row(reader) is None
    reader.close()


def test_a_file_that_changes_while_it_is_read_is_read_again(path, monkeypatch):
    """Among others a writer may come and go within one query."""
    filled(path)
    reader = SqliteLedger(path, read_only=True)
    genuine, changes = ReadOnlyDatabase._is_valid, [lambda ledger: ledger.forget([KEY])]

    def is_valid(database):
        while changes:
            writer = SqliteLedger(path)
            changes.pop()(writer)
            writer.close()
        return genuine(database)

    monkeypatch.setattr(ReadOnlyDatabase, "_is_valid", is_valid)
    assert row(reader) is None
    reader.close()


@pytest.mark.parametrize("missing", [(), ("-shm",)], ids=["all files", "a copy without the shared memory"])
def test_what_a_killed_process_has_committed_is_read(path, tmp_path, missing):
    filled(path)
    killed_while_it_writes(path)
    for suffix in missing:
        path.with_name(path.name + suffix).unlink()
    before = snapshot(tmp_path)
    assert any(name.endswith("-wal") and content for name, (content, _) in before.items())
    reader = SqliteLedger(path, read_only=True)
    assert (row(reader).state, row(reader, "late").state) == (State.DONE, State.PENDING)
    reader.close()
    assert snapshot(tmp_path).keys() == before.keys()
    assert snapshot(tmp_path)[path.name] == before[path.name]


@pytest.fixture
def mounted(tmp_path):
    """A folder of its own file system, which can be made read-only."""
    with file_system_at(tmp_path / "mounted"):
        yield tmp_path / "mounted"


@pytest.mark.parametrize("killed", [False, True])
def test_a_ledger_on_a_file_system_that_cannot_be_written_is_read(mounted, killed):
    path = mounted / "ledger.sqlite3"
    filled(path)
    if killed:
        killed_while_it_writes(path)
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    reader = SqliteLedger(path, read_only=True)
    assert row(reader).state == State.DONE
    assert (row(reader, "late") is not None) == killed
    assert reader.is_intact()
    reader.close()


def test_a_copy_of_a_ledger_that_changes_all_the_time_is_given_up(path, monkeypatch):
    filled(path)
    killed_while_it_writes(path)
    path.with_name(f"{path.name}-shm").unlink()
    numbers = iter(range(10**6))
    monkeypatch.setattr(ReadOnlyDatabase, "_identity", lambda *_: (next(numbers),))
    with pytest.raises(StoreNotWritable, match="another process writes to it all the time"):
        SqliteLedger(path, read_only=True)


def test_a_copy_is_removed(path, tmp_path, monkeypatch):
    filled(path)
    killed_while_it_writes(path)
    path.with_name(f"{path.name}-shm").unlink()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    reader = SqliteLedger(path, read_only=True)
    assert list((tmp_path / "temporary").iterdir())
    reader.close()
    assert not list((tmp_path / "temporary").iterdir())


# Formats


@pytest.fixture
def newer(monkeypatch):
    """The next version of mediacrawl, which has a further column."""
    monkeypatch.setattr(ledger_module, "STEPS", (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT"))
    return FORMAT + 1


def test_an_older_ledger_is_brought_to_the_format_of_today_with_every_row(path, monkeypatch):
    old = SqliteLedger(path)
    bring_to(old, State.DONE)
    old.record_wanted((Entry(f"{number}", "http://h/") for number in range(1000)), 1.0)
    rows = list(old.entries())
    old.close()
    monkeypatch.setattr(ledger_module, "STEPS", (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT"))
    for _ in range(2):  # the second time, no step is left
        ledger = SqliteLedger(path)
        assert list(ledger.entries()) == rows
        assert ledger._all("PRAGMA user_version") == [(FORMAT + 1,)]
        assert ledger._all("SELECT DISTINCT note FROM files") == [(None,)]
        ledger.close()


def test_a_new_ledger_has_the_format_of_today(path, newer):
    ledger = SqliteLedger(path)
    assert ledger._all("PRAGMA user_version") == [(newer,)]
    assert ledger._all("SELECT note FROM files") == []
    ledger.close()


def test_a_process_of_the_version_before_goes_on_working(path, ledger, newer):
    """It has the file open while another brings it to the newer format."""
    SqliteLedger(path).close()
    bring_to(ledger, State.DONE)
    assert row(ledger).state == State.DONE


def test_several_processes_may_bring_one_ledger_to_the_format_of_today(path, ledger, newer, monkeypatch):
    """The other one is through when this one has the lock."""
    genuine, others = SqliteLedger._migrate, [SqliteLedger]

    def migrate(self):
        while others:
            others.pop()(path).close()
        genuine(self)

    monkeypatch.setattr(SqliteLedger, "_migrate", migrate)
    SqliteLedger(path).close()
    assert not others


def test_a_newer_version_that_is_quicker_is_not_undone(path, monkeypatch):
    """Between the look at the format and the lock another process has brought the ledger to a newer one."""
    filled(path)
    steps = (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT")
    monkeypatch.setattr(ledger_module, "STEPS", steps)
    genuine, others = SqliteLedger._migrate, [SqliteLedger]

    def migrate(self):
        while others:
            monkeypatch.setattr(ledger_module, "STEPS", (*steps, "ALTER TABLE files ADD COLUMN newest TEXT"))
            others.pop()(path).close()
            monkeypatch.setattr(ledger_module, "STEPS", steps)
        genuine(self)

    monkeypatch.setattr(SqliteLedger, "_migrate", migrate)
    with pytest.raises(
        StoreNotWritable, match=f"has format {FORMAT + 2}, this mediacrawl writes format {FORMAT + 1}"
    ):
        SqliteLedger(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT + 2,)
    db.close()


def test_a_step_that_fails_leaves_the_old_format_and_every_row(path, monkeypatch):
    filled(path)
    steps = (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT", "ALTER TABLE elsewhere ADD COLUMN note TEXT")
    with monkeypatch.context() as patched:
        patched.setattr(ledger_module, "STEPS", steps)
        with pytest.raises(StoreNotWritable, match="no such table: elsewhere"):
            SqliteLedger(path)
    ledger = SqliteLedger(path)
    assert row(ledger).state == State.DONE
    ledger.close()


def test_an_older_ledger_is_read_as_it_is_by_who_may_only_read(path, tmp_path, monkeypatch):
    class Newer(NamedTuple):
        key: str
        url: str
        note: str | None = None
        state: str = State.PENDING
        permanent: bool = False

    filled(path)
    before = snapshot(tmp_path)
    monkeypatch.setattr(ledger_module, "STEPS", (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT"))
    monkeypatch.setattr(ledger_module, "Entry", Newer)
    monkeypatch.setattr(ledger_module, "entry_of", lambda row, _tell: Newer(*row[:4], bool(row[4])))
    reader = SqliteLedger(path, read_only=True)
    assert reader.is_prepared()
    assert row(reader) == Newer(KEY, "http://h/a.jpg?token=1", None, State.DONE)
    reader.close()
    assert snapshot(tmp_path) == before


def test_a_row_is_found_by_its_path(ledger):
    bring_to(ledger, State.DONE)
    assert ledger.at_path("gallery/h/a.jpg") == row(ledger)
    assert ledger.at_path("gallery/h/A.jpg") is None, "another file where case counts"
    assert ledger.at_path("gallery/h") is None
