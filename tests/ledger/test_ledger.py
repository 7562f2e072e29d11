import math
import os
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

from mediacrawl.errors import DiskFull, StoreUnwritable
from mediacrawl.ledger import ledger as ledger_module
from mediacrawl.ledger.ledger import BUSY_S, DONE, FAILED, PENDING, PUBLISHING, Entry, Ledger
from mediacrawl.ledger.migrations import STEPS
from mediacrawl.system.read_only_sqlite import ReadOnlyDatabase

FORMAT = 1 + len(STEPS)
KEY = "http://h/a.jpg"
WANTED = Entry(KEY, "http://h/a.jpg?token=1", page="http://h/", spider="gallery", wish='{"filename": "a.jpg"}')
WHOLE = WANTED._replace(
    path="gallery/h/a.jpg",
    size_bytes=10,
    sha256="ab" * 32,
    validators='{"etag": "v1"}',
    content_type="image/jpeg",
    http_status=200,
)
LOST_LINK = WANTED._replace(http_status=404, reason="HTTP 404 Not Found", permanent=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def ledger(path):
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def row(ledger, key=KEY):
    return ledger.lookup([key]).get(key)


def bring_to(ledger, state):
    """A row in that state, by the calls that a run makes; at the time 1.0."""
    if state == PENDING:
        ledger.want([WANTED], 1.0)
    elif state == FAILED:
        ledger.fail([LOST_LINK], 1.0)
    elif state is not None:
        ledger.claim(WHOLE)
        if state == DONE:
            ledger.finish([WHOLE], 1.0)


CALLS = {
    "want": lambda ledger: ledger.want([WANTED], 2.0),
    "claim": lambda ledger: ledger.claim(WHOLE),
    "finish": lambda ledger: ledger.finish([WHOLE], 2.0),
    "settle done": lambda ledger: ledger.settle(KEY, DONE, 2.0),
    "settle pending": lambda ledger: ledger.settle(KEY, PENDING, 2.0),
    "refresh": lambda ledger: ledger.refresh([KEY], 2.0),
    "fail": lambda ledger: ledger.fail([LOST_LINK], 2.0),
    "lose": lambda ledger: ledger.lose([KEY]),
    "damage": lambda ledger: ledger.damage(KEY, "altered"),
    "forget": lambda ledger: ledger.forget([KEY]),
}


# States


@pytest.mark.parametrize(
    ("call", "expected"),
    [  # from no row, pending, publishing, done, failed
        ("want", [PENDING, PENDING, PUBLISHING, DONE, PENDING]),
        ("claim", [PUBLISHING, PUBLISHING, PUBLISHING, PUBLISHING, PUBLISHING]),
        ("finish", [None, DONE, DONE, DONE, DONE]),
        ("settle done", [None, DONE, DONE, DONE, DONE]),
        ("settle pending", [None, PENDING, PENDING, PENDING, PENDING]),
        ("refresh", [None, PENDING, PUBLISHING, DONE, FAILED]),
        ("fail", [FAILED, FAILED, FAILED, DONE, FAILED]),
        ("lose", [None, PENDING, PENDING, PENDING, PENDING]),
        ("damage", [None, FAILED, FAILED, FAILED, FAILED]),
        ("forget", [None, None, None, None, None]),
    ],
)
def test_each_call_brings_a_row_from_one_state_to_the_next(ledger, call, expected):
    reached = []
    for state in (None, PENDING, PUBLISHING, DONE, FAILED):
        ledger.forget([KEY])
        bring_to(ledger, state)
        CALLS[call](ledger)
        entry = row(ledger)
        reached.append(entry and entry.state)
    assert reached == expected


def test_a_wanted_row_says_where_it_was_found(ledger):
    ledger.want([WANTED], 1.0)
    assert row(ledger) == WANTED._replace(wanted_at=1.0)


def test_a_finished_row_has_all_facts_of_the_file(ledger):
    ledger.want([WANTED], 1.0)
    ledger.claim(WHOLE)
    ledger.finish([WHOLE], 2.0)
    assert row(ledger) == WHOLE._replace(state=DONE, wanted_at=1.0, finished_at=2.0, checked_at=2.0)


def test_a_file_that_was_published_by_a_run_that_died_has_all_its_facts_too(ledger):
    ledger.claim(WHOLE)
    ledger.settle(KEY, DONE, 2.0)
    assert row(ledger) == WHOLE._replace(state=DONE, finished_at=2.0, checked_at=2.0)


def test_a_file_that_was_not_published_by_a_run_that_died_has_no_date(ledger):
    ledger.claim(WHOLE)
    ledger.settle(KEY, PENDING, 2.0)
    assert row(ledger) == WHOLE._replace(state=PENDING)


def test_a_finished_file_that_is_wanted_again_keeps_every_fact(ledger):
    bring_to(ledger, DONE)
    before = row(ledger)
    ledger.want([WANTED._replace(url="http://h/other", page="http://h/2")], 5.0)
    assert row(ledger) == before


def test_a_finished_file_whose_newer_version_fails_keeps_every_fact(ledger):
    bring_to(ledger, DONE)
    before = row(ledger)
    ledger.fail([LOST_LINK], 5.0)
    assert row(ledger) == before


def test_failures_are_counted_with_the_latest_reason(ledger):
    ledger.fail([LOST_LINK], 1.0)
    ledger.fail([WANTED._replace(reason="connection refused")], 3.0)
    entry = row(ledger)
    assert (entry.attempts, entry.reason, entry.http_status, entry.permanent) == (
        2,
        "connection refused",
        None,
        False,
    )
    assert (entry.wanted_at, entry.checked_at) == (1.0, 3.0)


def test_success_wipes_out_the_failures_before_it(ledger):
    ledger.fail([LOST_LINK], 1.0)
    ledger.claim(WHOLE)
    ledger.finish([WHOLE], 2.0)
    entry = row(ledger)
    assert (entry.attempts, entry.reason, entry.permanent, entry.http_status) == (0, None, False, 200)


def test_an_unchanged_file_was_checked_just_now_and_is_as_old_as_it_was(ledger):
    bring_to(ledger, DONE)
    before = row(ledger)
    ledger.refresh([KEY], 9.0)
    assert row(ledger) == before._replace(checked_at=9.0)


def test_a_lost_file_keeps_its_path(ledger):
    bring_to(ledger, DONE)
    ledger.lose([KEY])
    assert row(ledger).path == WHOLE.path
    assert ledger.owner_of(WHOLE.path) == KEY


def test_what_is_forgotten_leaves_its_path_to_others(ledger):
    bring_to(ledger, DONE)
    ledger.forget([KEY])
    assert ledger.owner_of(WHOLE.path) is None
    ledger.claim(WHOLE._replace(key="other"))
    assert ledger.owner_of(WHOLE.path) == "other"


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger, entry: ledger.want([entry], 1.0),
        lambda ledger, entry: ledger.claim(entry),
        lambda ledger, entry: ledger.fail([entry], 1.0),
    ],
    ids=["want", "claim", "fail"],
)
def test_no_credentials_reach_the_disk(path, call):
    secret = "s3cr3t"  # not a real one
    entry = WHOLE._replace(url=f"http://user:{secret}@h/a.jpg", page=f"https://:{secret}@h/p?q=a@b")
    ledger = Ledger(path)
    call(ledger, entry)
    found = row(ledger)
    assert (found.url, found.page) == ("http://h/a.jpg", "https://h/p?q=a@b")
    on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert KEY.encode() in on_disk
    assert secret.encode() not in on_disk
    ledger.close()


# Paths


@pytest.mark.parametrize("same", ["gallery/h/é.jpg", "Gallery/H/É.JPG", "gallery/h/e\u0301.jpg"])
def test_a_path_belongs_to_one_key_also_where_case_and_form_do_not_count(ledger, same):
    ledger.claim(WHOLE._replace(path="gallery/h/é.jpg"))
    assert ledger.owner_of(same) == KEY
    with pytest.raises(StoreUnwritable):
        ledger.claim(WHOLE._replace(key="other", path=same))
    assert row(ledger, "other") is None


def test_a_path_that_nobody_claimed_is_free(ledger):
    bring_to(ledger, DONE)
    ledger.want([Entry("other", "http://h/b.jpg")], 1.0)
    assert ledger.owner_of("gallery/h/b.jpg") is None


@pytest.mark.parametrize("state", [PENDING, DONE, FAILED])
def test_what_the_list_asked_for_is_kept_and_a_later_wish_counts_where_the_file_is_not_there(ledger, state):
    bring_to(ledger, state)
    ledger.want([WANTED._replace(wish="another")], 2.0)
    assert row(ledger).wish == ("another" if state == FAILED else WANTED.wish)


def test_a_damaged_file_says_what_is_wrong_keeps_its_path_and_is_asked_for_again(ledger):
    bring_to(ledger, DONE)
    ledger.damage(KEY, "altered")
    entry = row(ledger)
    assert (entry.reason, entry.permanent, entry.path) == ("altered", False, WHOLE.path)


# Questions


def test_a_row_is_found_by_its_key_or_its_url_keys_first(ledger):
    ledger.want([Entry("key", "http://h/1"), Entry("http://h/1", "http://h/2")], 1.0)
    assert ledger.find("unknown", "key").key == "key"
    assert ledger.find("http://h/1").key == "http://h/1"
    assert ledger.find("http://h/2").key == "http://h/1"
    assert ledger.find("http://h/3") is None
    assert ledger.find() is None


def test_strangers_are_the_paths_of_nobody(ledger):
    bring_to(ledger, DONE)
    assert ledger.strangers(["b.jpg", WHOLE.path, WHOLE.path.upper(), "a.jpg"]) == ["b.jpg", "a.jpg"]
    assert ledger.strangers([]) == []


def test_any_number_of_keys_is_looked_up(ledger):
    ledger.want((Entry(f"key {n}", "http://h/") for n in range(1200)), 1.0)
    found = ledger.lookup([f"key {n}" for n in range(-5, 1200)])
    assert set(found) == {f"key {n}" for n in range(1200)}
    assert all(key == entry.key for key, entry in found.items())
    assert ledger.lookup([]) == {}


def test_rows_are_listed_by_key_and_by_state(ledger):
    ledger.want((Entry(f"{n:04}", "http://h/") for n in range(1100)), 1.0)
    ledger.fail([LOST_LINK._replace(key="0500")], 1.0)
    assert [entry.key for entry in ledger.entries()] == [f"{n:04}" for n in range(1100)]
    assert [entry.key for entry in ledger.entries(FAILED)] == ["0500"]
    assert len(list(ledger.entries(PENDING, FAILED))) == 1100
    assert list(ledger.entries(PUBLISHING)) == []


def test_rows_of_several_states_come_by_key(ledger):
    ledger.want((Entry(f"{n:04}", "http://h/") for n in range(1100)), 1.0)
    ledger.fail((LOST_LINK._replace(key=f"{n:04}") for n in range(0, 1100, 3)), 1.0)
    rows = list(ledger.entries(FAILED, PENDING))
    assert [row.key for row in rows] == [f"{n:04}" for n in range(1100)]
    assert {row.state for row in rows[::3]} == {FAILED}


def test_a_row_that_changes_its_state_while_they_are_listed_comes_once(ledger):
    ledger.fail((LOST_LINK._replace(key=f"{n:04}") for n in range(1100)), 1.0)
    listed = []
    for entry in ledger.entries(FAILED, PENDING):
        listed.append(entry.key)
        ledger.want([WANTED._replace(key=entry.key)], 2.0)
        if len(listed) == 10:  # of those that are in hand already
            ledger.want([WANTED._replace(key="0100")], 2.0)
    assert listed == [f"{n:04}" for n in range(1100)]


def test_what_is_not_done_is_found_without_a_look_at_what_is(ledger):
    with ledger.transaction():
        for n in range(5000):
            ledger.claim(WHOLE._replace(key=f"{n:04}", path=f"{n}.jpg"))
        ledger.finish((WHOLE._replace(key=f"{n:04}") for n in range(5000) if n != 2500), 1.0)
        ledger.fail([LOST_LINK._replace(key="lost")], 1.0)
    steps = []
    ledger._db.set_progress_handler(lambda: steps.append(None), 100)
    assert [row.key for row in ledger.entries(PUBLISHING)] == ["2500"]
    assert [row.key for row in ledger.entries(FAILED, PUBLISHING, PENDING)] == ["2500", "lost"]
    assert len(steps) < 50  # instructions of SQLite's machine, in hundreds: a look at each row takes over 5,000


def test_rows_may_change_while_they_are_listed(ledger):
    ledger.want((Entry(f"{n:04}", "http://h/") for n in range(1100)), 1.0)
    seen = 0
    for entry in ledger.entries(PENDING):
        ledger.settle(entry.key, DONE, 2.0)
        seen += 1
    assert seen == 1100


def test_rows_are_counted_by_state(ledger):
    assert ledger.counts() == {"pending": 0, "publishing": 0, "done": 0, "failed": 0, "bytes": 0}
    for n, state in enumerate([PENDING, PENDING, PUBLISHING, DONE, DONE, FAILED]):
        entry = WHOLE._replace(key=str(n), path=str(n))
        ledger.want([entry], 1.0)
        if state in {PUBLISHING, DONE}:
            ledger.claim(entry)
        if state == DONE:
            ledger.finish([entry], 1.0)
        if state == FAILED:
            ledger.fail([entry], 1.0)
    assert ledger.counts() == {"pending": 2, "publishing": 1, "done": 2, "failed": 1, "bytes": 20}


# Transactions


def test_a_transaction_is_all_or_nothing(ledger):
    class Died(BaseException):
        pass

    def die_halfway():
        with ledger.transaction():
            ledger.want([WANTED], 1.0)
            assert row(ledger) is not None
            raise Died

    with pytest.raises(Died):
        die_halfway()
    assert row(ledger) is None
    bring_to(ledger, DONE)
    assert row(ledger).state == DONE


def test_rows_of_a_failing_batch_are_not_written(ledger):
    bring_to(ledger, DONE)

    def claim_what_is_taken():
        with ledger.transaction():
            ledger.want([WANTED._replace(key="other")], 1.0)
            ledger.claim(WHOLE._replace(key="other"))

    with pytest.raises(StoreUnwritable, match="UNIQUE"):
        claim_what_is_taken()
    assert row(ledger, "other") is None


def test_a_change_is_seen_by_another_connection_at_once(path, ledger):
    other = Ledger(path)
    ledger.want([WANTED], 1.0)
    assert row(other).state == PENDING
    other.fail([LOST_LINK], 2.0)
    assert row(ledger).state == FAILED
    other.close()


def test_reading_never_waits_for_a_writer(path, ledger):
    reader = Ledger(path, read_only=True)
    with ledger.transaction():
        ledger.want([WANTED], 1.0)
        assert row(reader) is None
    assert row(reader).state == PENDING
    reader.close()


def test_whether_any_of_some_keys_is_known_is_told_as_far_as_it_is_committed(ledger):
    assert not ledger.knows_any([KEY, "http://h/b.jpg"])
    with ledger.transaction():
        ledger.want([WANTED], 1.0)
        assert not ledger.knows_any([KEY])
    assert ledger.knows_any(["http://h/b.jpg", KEY])
    assert not ledger.knows_any(["http://h/b.jpg"])


def test_whether_a_key_is_known_waits_for_no_transaction_of_another_thread(ledger):
    begun, over = threading.Event(), threading.Event()

    def write():
        with ledger.transaction():
            begun.set()
            over.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(30)
    assert not ledger.knows_any([KEY])
    over.set()
    writer.join()


def test_nor_for_another_process_that_has_the_file_for_itself(path):
    """The event loop asks: it would stand still for as long as that process likes."""
    ledger = Ledger(path)
    ledger._db.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreUnwritable, match="locked"):
        ledger.knows_any([KEY])
    assert time.monotonic() - began < BUSY_S / 3
    other.close()
    ledger.close()


def test_close_does_not_wait_for_a_thread_that_hangs_in_it(path, monkeypatch):
    monkeypatch.setattr(ledger_module, "_CLOSE_WITHIN_S", 0.01)
    ledger = Ledger(path)
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


def test_threads_share_one_ledger(ledger):
    def work(name):
        for n in range(50):
            with ledger.transaction():
                ledger.want([Entry(f"{name} {n}", "http://h/")], 1.0)
                ledger.fail([Entry(f"{name} {n}", "http://h/", reason="no")], 1.0)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.counts()["failed"] == 200


def test_several_processes_may_create_and_use_one_ledger(path):
    code = (
        "import sys, pathlib\n"
        "from mediacrawl.ledger.ledger import Entry, Ledger\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for store in range(20):\n"
        "    ledger = Ledger(pathlib.Path(f'{sys.argv[1]}-{store}'))\n"
        "    for n in range(5):\n"
        "        ledger.want([Entry(f'{sys.argv[2]} {n}', 'http://h/')], 1.0)\n"
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
        ledger = Ledger(path.with_name(f"{path.name}-{store}"), read_only=True)
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
    Ledger(path).close()
    assert len(waits) == 1


def test_who_waits_for_another_does_not_wait_for_ever(path, another, monkeypatch):
    monkeypatch.setattr(ledger_module, "BUSY_S", 0.0)
    with pytest.raises(StoreUnwritable, match="database is locked"):
        Ledger(path)


def test_a_ledger_that_another_process_is_writing_to_is_opened_and_read_at_once(path, ledger, monkeypatch):
    ledger.want([Entry(KEY, "http://h/")], 1.0)
    monkeypatch.setattr(ledger_module, "BUSY_S", 0.0)
    with ledger.transaction():
        other = Ledger(path)
        assert other.lookup([KEY])
        other.close()


def test_who_is_in_a_hurry_waits_for_nobody(path, ledger, monkeypatch):
    monkeypatch.setattr(ledger_module, "BUSY_S", math.inf)
    monkeypatch.setattr(ledger_module, "_HURRY_S", 0.0)
    other = Ledger(path)
    with ledger.transaction():
        waiting = threading.Thread(target=other.want, args=([Entry(KEY, "http://h/")], 1.0), daemon=True)
        other.hurry()
        with pytest.raises(StoreUnwritable, match="locked"):
            other.want([Entry(KEY, "http://h/")], 1.0)
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
    ledger = Ledger(path, read_only=True)
    assert ledger.is_prepared() is False
    assert ledger._all("SELECT count(*) FROM there") == [(0,)]
    ledger.close()


def test_a_kill_loses_no_commit_and_leaves_no_half_one(path):
    code = (
        "import os, signal, sys, pathlib\n"
        "from mediacrawl.ledger.ledger import Entry, Ledger\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "ledger.want([Entry('committed', 'http://h/')], 1.0)\n"
        "with ledger.transaction():\n"
        "    ledger.want([Entry('half', 'http://h/')], 1.0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    ledger = Ledger(path)
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
    bring_to(ledger, DONE)
    ledger._db.execute(f"PRAGMA user_version={FORMAT + 1}")
    with pytest.raises(StoreUnwritable) as caught:
        Ledger(path, read_only=read_only)
    assert f"has format {FORMAT + 1}, this mediacrawl writes format {FORMAT}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ledger._all("PRAGMA user_version") == [(FORMAT + 1,)]


def test_a_missing_file_is_not_created_by_reading(path):
    with pytest.raises(StoreUnwritable, match="cannot use the ledger") as caught:
        Ledger(path, read_only=True)
    assert_is_one_line(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_ledger_is_refused_in_one_line(path, read_only):
    path.write_bytes(b"This is a shopping list, not a database.\n" * 200)
    with pytest.raises(StoreUnwritable, match="file is not a database") as caught:
        Ledger(path, read_only=read_only)
    assert_is_one_line(caught.value)
    assert path.read_bytes().startswith(b"This is a shopping list")


def test_a_ledger_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="unable to open database file") as caught:
        Ledger(tmp_path / "file" / "ledger.sqlite3")
    assert_is_one_line(caught.value)


def test_a_ledger_opened_for_reading_cannot_be_written(path, ledger):
    reader = Ledger(path, read_only=True)
    with pytest.raises(StoreUnwritable, match="opened for reading only"):
        reader.want([WANTED], 1.0)
    reader.close()


def test_a_full_disk_is_said_in_one_line(ledger):
    (pages,) = ledger._all("PRAGMA page_count")[0]
    ledger._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFull, match="nothing is lost, free some space") as caught:
        ledger.want((Entry(f"{n}", "http://h/" + "x" * 500) for n in range(100)), 1.0)
    assert_is_one_line(caught.value)
    assert ledger.counts()["pending"] == 0
    ledger._db.execute("PRAGMA max_page_count=1000000")
    ledger.want([WANTED], 1.0)
    assert row(ledger).state == PENDING


def test_a_name_with_the_signs_of_a_url_is_a_name(tmp_path):
    path = tmp_path / "a?mode=ro&b#c %41.sqlite3"
    ledger = Ledger(path)
    ledger.want([WANTED], 1.0)
    ledger.close()
    assert path.exists()


def test_a_healthy_file_is_intact(ledger):
    bring_to(ledger, DONE)
    assert ledger.is_intact()


def test_a_damaged_file_is_not_intact(path):
    ledger = Ledger(path)
    ledger.want((Entry(f"{n:05}", "http://h/" + "x" * 200) for n in range(500)), 1.0)
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * 8192)
    ledger = Ledger(path)
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
    ledger = Ledger(path)
    bring_to(ledger, DONE)
    ledger.close()


_KILLED_WHILE_IT_WRITES = """
import os, pathlib, signal, sys
from mediacrawl.ledger.ledger import Entry, Ledger
ledger = Ledger(pathlib.Path(sys.argv[1]))
ledger.want([Entry("late", "http://h/late")], 2.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_it_writes(path):
    assert subprocess.run([sys.executable, "-c", _KILLED_WHILE_IT_WRITES, str(path)], check=False).returncode == -9


def test_reading_leaves_no_file_behind_and_none_changed(path, tmp_path):
    filled(path)
    before = snapshot(tmp_path)
    reader = Ledger(path, read_only=True)
    assert row(reader).state == DONE
    assert snapshot(tmp_path) == before, "nor while it is open"
    reader.close()
    assert snapshot(tmp_path) == before


def test_what_is_written_after_a_reader_has_opened_is_read(path):
    filled(path)
    reader = Ledger(path, read_only=True)
    assert row(reader, "late") is None
    writer = Ledger(path)
    writer.want([WANTED._replace(key="late")], 2.0)
    assert row(reader, "late").state == PENDING
    writer.close()
    writer = Ledger(path)
    writer.forget([KEY])
    writer.close()
    assert row(reader) is None
    reader.close()


def test_a_file_that_changes_while_it_is_read_is_read_again(path, monkeypatch):
    """Among others a writer may come and go within one query."""
    filled(path)
    reader = Ledger(path, read_only=True)
    genuine, changes = ReadOnlyDatabase._is_valid, [lambda ledger: ledger.forget([KEY])]

    def is_valid(database):
        while changes:
            writer = Ledger(path)
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
    reader = Ledger(path, read_only=True)
    assert (row(reader).state, row(reader, "late").state) == (DONE, PENDING)
    reader.close()
    assert snapshot(tmp_path).keys() == before.keys()
    assert snapshot(tmp_path)[path.name] == before[path.name]


@pytest.fixture
def mounted(tmp_path):
    """A folder of its own file system, which can be made read-only."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("killed", [False, True])
def test_a_ledger_on_a_file_system_that_cannot_be_written_is_read(mounted, killed):
    path = mounted / "ledger.sqlite3"
    filled(path)
    if killed:
        killed_while_it_writes(path)
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    reader = Ledger(path, read_only=True)
    assert row(reader).state == DONE
    assert (row(reader, "late") is not None) == killed
    assert reader.is_intact()
    reader.close()


def test_a_copy_of_a_ledger_that_changes_all_the_time_is_given_up(path, monkeypatch):
    filled(path)
    killed_while_it_writes(path)
    path.with_name(f"{path.name}-shm").unlink()
    numbers = iter(range(10**6))
    monkeypatch.setattr(ReadOnlyDatabase, "_identity", lambda *_: (next(numbers),))
    with pytest.raises(StoreUnwritable, match="another process writes to it all the time"):
        Ledger(path, read_only=True)


def test_a_copy_is_removed(path, tmp_path, monkeypatch):
    filled(path)
    killed_while_it_writes(path)
    path.with_name(f"{path.name}-shm").unlink()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    reader = Ledger(path, read_only=True)
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
    old = Ledger(path)
    bring_to(old, DONE)
    old.want((Entry(f"{number}", "http://h/") for number in range(1000)), 1.0)
    rows = list(old.entries())
    old.close()
    monkeypatch.setattr(ledger_module, "STEPS", (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT"))
    for _ in range(2):  # the second time, no step is left
        ledger = Ledger(path)
        assert list(ledger.entries()) == rows
        assert ledger._all("PRAGMA user_version") == [(FORMAT + 1,)]
        assert ledger._all("SELECT DISTINCT note FROM files") == [(None,)]
        ledger.close()


def test_a_new_ledger_has_the_format_of_today(path, newer):
    ledger = Ledger(path)
    assert ledger._all("PRAGMA user_version") == [(newer,)]
    assert ledger._all("SELECT note FROM files") == []
    ledger.close()


def test_a_process_of_the_version_before_goes_on_working(path, ledger, newer):
    """It has the file open while another brings it to the newer format."""
    Ledger(path).close()
    bring_to(ledger, DONE)
    assert row(ledger).state == DONE


def test_several_processes_may_bring_one_ledger_to_the_format_of_today(path, ledger, newer, monkeypatch):
    """The other one is through when this one has the lock."""
    genuine, others = Ledger._migrate, [Ledger]

    def migrate(self):
        while others:
            others.pop()(path).close()
        genuine(self)

    monkeypatch.setattr(Ledger, "_migrate", migrate)
    Ledger(path).close()
    assert not others


def test_a_newer_version_that_is_quicker_is_not_undone(path, monkeypatch):
    """Between the look at the format and the lock another process has brought the ledger to a newer one."""
    filled(path)
    steps = (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT")
    monkeypatch.setattr(ledger_module, "STEPS", steps)
    genuine, others = Ledger._migrate, [Ledger]

    def migrate(self):
        while others:
            monkeypatch.setattr(ledger_module, "STEPS", (*steps, "ALTER TABLE files ADD COLUMN newest TEXT"))
            others.pop()(path).close()
            monkeypatch.setattr(ledger_module, "STEPS", steps)
        genuine(self)

    monkeypatch.setattr(Ledger, "_migrate", migrate)
    with pytest.raises(StoreUnwritable, match=f"has format {FORMAT + 2}, this mediacrawl writes format {FORMAT + 1}"):
        Ledger(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT + 2,)
    db.close()


def test_a_step_that_fails_leaves_the_old_format_and_every_row(path, monkeypatch):
    filled(path)
    steps = (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT", "ALTER TABLE elsewhere ADD COLUMN note TEXT")
    with monkeypatch.context() as patched:
        patched.setattr(ledger_module, "STEPS", steps)
        with pytest.raises(StoreUnwritable, match="no such table: elsewhere"):
            Ledger(path)
    ledger = Ledger(path)
    assert row(ledger).state == DONE
    ledger.close()


def test_an_older_ledger_is_read_as_it_is_by_who_may_only_read(path, tmp_path, monkeypatch):
    class Newer(NamedTuple):
        key: str
        url: str
        note: str | None = None
        state: str = PENDING
        permanent: bool = False

    filled(path)
    before = snapshot(tmp_path)
    monkeypatch.setattr(ledger_module, "STEPS", (*STEPS, "ALTER TABLE files ADD COLUMN note TEXT"))
    monkeypatch.setattr(ledger_module, "Entry", Newer)
    monkeypatch.setattr(ledger_module, "_PERMANENT", 4)
    reader = Ledger(path, read_only=True)
    assert reader.is_prepared()
    assert row(reader) == Newer(KEY, "http://h/a.jpg?token=1", None, DONE)
    reader.close()
    assert snapshot(tmp_path) == before


def test_a_row_is_found_by_its_path(ledger):
    bring_to(ledger, DONE)
    assert ledger.at_path("gallery/h/a.jpg") == row(ledger)
    assert ledger.at_path("gallery/h/A.jpg") is None, "another file where case counts"
    assert ledger.at_path("gallery/h") is None
