import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import archive_job
import pytest
from archive_job import JOB, LARGE, NEW, OLD, RESULT, UPDATED, etag_of, fetch, publish, run, sha256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import Recording

from mediacrawl.archive import Archive, Failure, Link, Publish, RecordWanted, Unchanged, validators_of
from mediacrawl.backends import LEDGER_NAME
from mediacrawl.errors import MediacrawlError, PathConflict, StoreNotWritable
from mediacrawl.headers import ETag, Validators
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import RECORDED_FROM_BYTES, PartFile, PartRecord
from mediacrawl.store.safe_paths import fold

STEPS = [
    "part-write",
    "part-sync",
    "part-record",
    "file-sync",
    "ledger-claim",
    "file-rename",
    "folder-sync",
    "ledger-done",
    "part-forget",
]


@pytest.fixture
def archive(tmp_path):
    archive = Archive.open(LocalStore(tmp_path / "store"))
    yield archive
    archive.close()


def on_disk(store):
    return {name: (store.root / name).read_bytes() for name in store.names()}


def state_of(archive, key):
    entry = archive.ledger.lookup([key]).get(key)
    return entry and entry.state


class Statements(list):
    """What the ledger asks of SQLite while the block runs."""

    def __init__(self, archive):
        self._db = archive.ledger._db

    def __enter__(self):
        self._db.set_trace_callback(self.append)
        return self

    def __exit__(self, *_):
        self._db.set_trace_callback(None)


# Publishing


def test_a_record_that_cannot_be_removed_makes_no_published_file_a_failure(archive, monkeypatch):
    def fails(self):
        self.close()
        raise StoreNotWritable("Input/output error")

    monkeypatch.setattr(PartFile, "published", fails)
    entries = publish(archive, {f"http://h/{n}.jpg": (f"s/h/{n}.jpg", b"bytes") for n in range(3)})
    assert [entry.state for entry in entries] == [State.DONE] * 3
    assert len(on_disk(archive.store)) == 3


def test_a_published_file_is_at_its_path_with_a_row_that_says_all(archive):
    (entry,) = publish(archive, {"http://h/a.jpg": ("s/h/a.jpg", b"bytes")})
    assert on_disk(archive.store) == {"s/h/a.jpg": b"bytes"}
    assert (entry.path, entry.state, entry.size_bytes) == ("s/h/a.jpg", State.DONE, 5)
    (row,) = archive.lookup(["http://h/a.jpg"])
    assert row.finished_at is not None
    assert (row.state, row.path, row.size_bytes, row.sha256) == (State.DONE, "s/h/a.jpg", 5, sha256(b"bytes"))
    assert (row.content_type, row.http_status) == ("image/jpeg", 200)
    assert validators_of(row) == etag_of(b"bytes")
    assert list(archive.store.parts.folder.iterdir()) == []


def test_many_changes_of_all_kinds_cost_two_commits(archive):
    publish(archive, {"http://h/old": ("old", b"old")})
    publishing = [
        Publish(Entry(f"k{n}", "http://h/", path=f"s/{n}"), fetch(archive, f"k{n}", b"%d" % n)) for n in range(40)
    ]
    others = [
        RecordWanted(Entry("wanted", "http://h/wanted")),
        Failure(Entry("failed", "http://h/failed", reason="HTTP 404", permanent=True)),
        Unchanged(Entry("http://h/old", "http://h/old")),
    ]
    with Statements(archive) as statements:
        results = archive.write([*others, *publishing])
    assert statements.count("COMMIT") == 2
    assert [result.key for result in results] == ["wanted", "failed", "http://h/old", *(f"k{n}" for n in range(40))]
    assert archive.ledger.counts() == {"pending": 1, "publishing": 0, "done": 41, "failed": 1, "bytes": 3 + 10 + 60}
    assert on_disk(archive.store) == {"old": b"old"} | {f"s/{n}": b"%d" % n for n in range(40)}


def test_changes_without_files_cost_one_commit(archive):
    with Statements(archive) as statements:
        archive.write([RecordWanted(Entry("a", "http://h/")), Failure(Entry("b", "http://h/", reason="no"))])
    assert statements.count("COMMIT") == 1
    assert (state_of(archive, "a"), state_of(archive, "b")) == (State.PENDING, State.FAILED)


def test_nothing_is_renamed_before_the_claims_are_durable_nor_done_before_the_folders_are(tmp_path):
    seen = []
    archive = Archive.open(LocalStore(tmp_path / "store", at_step=lambda step: seen.append((step, states()))))
    reader = Archive(archive.store, type(archive.ledger)(archive.store.hidden / LEDGER_NAME, read_only=True))

    def states():
        return [state_of(reader, key) for key in "ab"]

    publish(archive, {"a": ("a.jpg", b"a"), "b": ("b.jpg", b"b")})
    reader.close()
    archive.close()
    claimed = [State.PUBLISHING, State.PUBLISHING]
    assert seen[seen.index(("ledger-claim", [None, None])) :] == [
        ("ledger-claim", [None, None]),
        ("file-rename", claimed),
        ("file-rename", claimed),
        ("folder-sync", claimed),
        ("ledger-done", claimed),
        ("part-forget", [State.DONE, State.DONE]),
        ("part-forget", [State.DONE, State.DONE]),
    ]


def test_one_file_that_cannot_get_its_name_holds_up_no_other(archive):
    (archive.store.root / "file").write_bytes(b"in the way")
    first, refused, last = publish(archive, {"a": ("a.jpg", b"a"), "b": ("file/b.jpg", LARGE), "c": ("c.jpg", b"c")})
    assert (first.path, last.path) == ("a.jpg", "c.jpg")
    assert isinstance(refused, PathConflict)
    assert [state_of(archive, key) for key in "abc"] == [State.DONE, State.PENDING, State.DONE]
    assert on_disk(archive.store) == {"file": b"in the way", "a.jpg": b"a", "c.jpg": b"c"}
    assert archive.store.parts.names() == {archive.store.parts.name("b")}, "its bytes wait for the next run"


def test_where_the_ledger_refuses_nothing_is_renamed(archive):
    changes = [Publish(Entry("a", "http://h/", path="a.jpg"), fetch(archive, "a", b"a"))]
    archive.ledger._db.execute("PRAGMA query_only=1")
    with pytest.raises(StoreNotWritable):
        archive.write(changes)
    assert on_disk(archive.store) == {}
    changes[0].fetched.part.close()


# Paths


@pytest.mark.parametrize(
    ("wished", "given"),
    [
        (["a.jpg", "a.jpg", "a.jpg"], ["a.jpg", "a-2.jpg", "a-3.jpg"]),
        (["a.jpg", "A.JPG"], ["a.jpg", "A-2.JPG"]),
        (["é.jpg", "e\u0301.jpg", "É.jpg"], ["é.jpg", "é-2.jpg", "É-3.jpg"]),
        (["a.jpg", "a-2.jpg", "a.jpg"], ["a.jpg", "a-2.jpg", "a-3.jpg"]),
        (["../../a.jpg", ".mediacrawl/ledger.sqlite3"], ["a.jpg", "mediacrawl/ledger.sqlite3"]),
        (["", None], ["file", "file-2"]),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_two_urls_never_share_a_path(archive, wished, given, at_once):
    wanted = {f"key {n}": (path, b"%d" % n) for n, path in enumerate(wished)}
    batches = [wanted] if at_once else [{key: value} for key, value in wanted.items()]
    entries = [entry for batch in batches for entry in publish(archive, batch)]
    assert [entry.path for entry in entries] == given
    assert on_disk(archive.store) == {path: b"%d" % n for n, path in enumerate(given)}


def test_a_hundred_files_of_one_name_cost_no_more_questions_each_than_a_few(archive):
    publish(archive, {f"key {n}": ("a.jpg", b"%d" % n) for n in range(100)})
    assert sorted(on_disk(archive.store).values()) == sorted(b"%d" % n for n in range(100))
    change = Publish(Entry("one more", "http://h/", path="a.jpg"), fetch(archive, "one more", b"x"))
    with Statements(archive) as statements:
        archive.write([change])
    assert len(statements) < 40


@pytest.mark.parametrize(
    "stand",
    [lambda path: path.write_bytes(b"mine"), lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere")],
    ids=["file", "folder", "dangling link"],
)
def test_what_stands_there_already_is_not_overwritten(archive, stand):
    stand(archive.store.root / "a.jpg")
    before = (archive.store.root / "a.jpg").lstat()
    (entry,) = publish(archive, {"key": ("a.jpg", b"new")})
    assert entry.path == "a-2.jpg"
    assert (archive.store.root / "a.jpg").lstat() == before


NAMES = st.sampled_from(["a.jpg", "A.jpg", "a-2.jpg", "é.jpg", "e\u0301.jpg", "É.jpg", "b/a.jpg", "B/a.jpg", "c"])


@given(wished=st.lists(st.lists(NAMES, max_size=6), max_size=3), foreign=st.sets(NAMES, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_ever_takes_the_place_of_another(tmp_path_factory, wished, foreign):
    archive = Archive.open(LocalStore(tmp_path_factory.mktemp("store")))
    for name in foreign:
        path = archive.store.root / unicodedata.normalize("NFC", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"foreign")
    before = on_disk(archive.store)
    published = {}
    for batch, names in enumerate(wished):
        wanted = {f"{batch} {n}": (name, f"{batch} {n}".encode()) for n, name in enumerate(names)}
        published |= {entry.path: entry.key.encode() for entry in publish(archive, wanted)}
    assert on_disk(archive.store) == before | published
    assert len(published) == sum(map(len, wished))
    assert len({fold(path) for path in published}) == len(published)
    assert not before.keys() & published.keys()
    archive.close()


def test_a_newer_version_takes_the_path_of_the_old_one(archive):
    publish(archive, {"key": ("a.jpg", b"old"), "other": ("b.jpg", b"other")})
    (entry,) = publish(archive, {"key": ("b.jpg", b"newer")})
    assert entry.path == "a.jpg"
    assert on_disk(archive.store) == {"a.jpg": b"newer", "b.jpg": b"other"}
    (row,) = archive.lookup(["key"])
    assert (row.size_bytes, row.sha256, validators_of(row)) == (5, sha256(b"newer"), etag_of(b"newer"))


# What is known


def test_rows_come_in_the_order_of_the_keys(archive):
    publish(archive, {"a": ("a.jpg", b"a"), "b": ("b.jpg", b"b")})
    rows = archive.lookup(["b", "unknown", "a", "b"])
    assert [row and row.key for row in rows] == ["b", None, "a", "b"]


def test_many_keys_are_one_question(archive):
    archive.write([RecordWanted(Entry(f"k{n}", "http://h/")) for n in range(300)])
    with Statements(archive) as statements:
        assert all(archive.lookup([f"k{n}" for n in range(300)]))
    assert len(statements) == 1


# Second names


def second(archive, name, path=None, key="key"):
    (source,) = archive.lookup([key])
    link = Link(Entry(f"{key}#{name}", source.url, path=path or name), source)
    return archive.write([link])[0]


def test_a_second_name_is_a_row_and_a_link_and_is_made_once(archive, monkeypatch):
    publish(archive, {"key": ("s/a.jpg", b"bytes")})
    row = second(archive, "b.jpg")
    assert on_disk(archive.store) == {"s/a.jpg": b"bytes", "b.jpg": b"bytes"}
    (known,) = archive.lookup([row.key])
    assert (known.state, known.path, known.sha256) == (State.DONE, "b.jpg", sha256(b"bytes"))
    monkeypatch.setattr(archive.store, "link", None)
    assert second(archive, "b.jpg") == known


def test_a_second_name_follows_a_newer_version_and_comes_back_when_it_is_gone(archive):
    publish(archive, {"key": ("a.jpg", b"old")})
    second(archive, "b.jpg")
    publish(archive, {"key": ("a.jpg", b"newer")})
    assert on_disk(archive.store) == {"a.jpg": b"newer", "b.jpg": b"old"}
    second(archive, "b.jpg")
    assert on_disk(archive.store) == {"a.jpg": b"newer", "b.jpg": b"newer"}
    (archive.store.root / "b.jpg").unlink()
    second(archive, "b.jpg")
    assert on_disk(archive.store) == {"a.jpg": b"newer", "b.jpg": b"newer"}


def test_a_second_name_that_is_taken_gets_a_number_unless_the_first_name_is_that(archive):
    publish(archive, {"other": ("b.jpg", b"other"), "key": ("a.jpg", b"bytes"), "numbered": ("b.jpg", b"bytes")})
    assert second(archive, "b.jpg").path == "b-3.jpg"
    assert second(archive, "b.jpg", key="numbered").path == "b-2.jpg"
    assert on_disk(archive.store).keys() == {"a.jpg", "b.jpg", "b-2.jpg", "b-3.jpg"}


def test_a_second_name_of_a_file_that_is_gone_is_an_error(archive):
    publish(archive, {"key": ("a.jpg", b"bytes")})
    (source,) = archive.lookup(["key"])
    (archive.store.root / "a.jpg").unlink()
    (error,) = archive.write([Link(Entry("key#b.jpg", "http://h/", path="b.jpg"), source)])
    assert isinstance(error, PathConflict)
    assert state_of(archive, "key#b.jpg") == State.PENDING


@pytest.mark.parametrize("step", ["ledger-claim", "file-link", "folder-sync", "ledger-done"])
def test_a_second_name_that_was_killed_on_the_way_is_made_by_the_next_run(tmp_path, step):
    class Killed(BaseException):
        pass

    def die(reached):
        if reached == step and armed:
            raise Killed

    armed = []
    archive = Archive.open(LocalStore(tmp_path, at_step=die))
    publish(archive, {"key": ("a.jpg", b"bytes")})
    armed.append(1)
    with pytest.raises(Killed):
        second(archive, "b.jpg")
    archive.close()
    archive = Archive.open(LocalStore(tmp_path))
    assert second(archive, "b.jpg").path == "b.jpg"
    assert on_disk(archive.store) == {"a.jpg": b"bytes", "b.jpg": b"bytes"}
    assert archive.ledger.counts()["done"] == 2
    archive.close()


# Keys of earlier versions

A, B = "http://h/a?y=2&x=1", "http://h/a?x=1&y=2"  # the former key of both is B
C, C_BEFORE = "http://h/%7Ec.jpg", "http://h/~c.jpg"


def publish_as_before(archive, key, url, body=b"bytes"):
    archive.write([Publish(Entry(key, url, path="a.jpg"), fetch(archive, key, body))])


def test_a_row_with_a_former_key_gets_the_key_of_its_url(archive):
    publish_as_before(archive, C_BEFORE, C)
    (row,) = archive.lookup([C], [C])
    assert (row.key, row.state, row.path) == (C, State.DONE, "a.jpg")
    assert archive.ledger.lookup([C, C_BEFORE]) == {C: row}
    assert archive.lookup([C, C_BEFORE], [C, C_BEFORE]) == [row, None]


@pytest.mark.parametrize("keys", [[A], [B], [A, B], [B, A]])
def test_a_row_belongs_to_its_url_also_if_another_url_has_its_key_now(archive, keys):
    publish_as_before(archive, B, A)
    rows = archive.lookup(keys, keys)
    assert [row and (row.key, row.url) for row in rows] == [(A, A) if key == A else None for key in keys]
    assert archive.ledger.lookup([A, B]).keys() == {A}


def test_a_former_part_is_gone_on_with_also_after_a_kill_between_part_and_row(archive):
    for stop in (False, True):
        url, old = (C, C_BEFORE) if not stop else (f"{C}?", f"{C_BEFORE}")
        archive.write([RecordWanted(Entry(old, url))])
        part = archive.store.parts.open(old)
        part.begin(PartRecord(validators={"etag": '"1"'}, complete_length=10**6))
        part.write_at(0, bytes(RECORDED_FROM_BYTES))
        part.mark((0, RECORDED_FROM_BYTES))
        part.close()
        if stop:
            archive.store.parts.change_key(old, url)
        (row,) = archive.lookup([url], [url])
        assert (row.key, row.state) == (url, State.PENDING)
        with archive.store.parts.open(url) as part:
            assert part.record.prefix == RECORDED_FROM_BYTES
            part.discard()


def test_a_former_row_that_is_in_use_stays_as_it_is(archive):
    archive.write([RecordWanted(Entry(C_BEFORE, C))])
    with archive.store.parts.open(C_BEFORE):
        assert archive.lookup([C], [C]) == [None]
    archive.ledger.claim(Entry(C_BEFORE, C, path="a.jpg", size_bytes=1))
    assert archive.lookup([C], [C]) == [None]
    archive.ledger.settle(C_BEFORE, State.PENDING, 1.0)
    (row,) = archive.lookup([C], [C])
    assert row.key == C


@pytest.mark.parametrize("key", ["key", C_BEFORE, "http://h/a.jpg"])
def test_a_key_that_is_not_made_from_the_url_stays(archive, key):
    publish_as_before(archive, key, C)
    (row,) = archive.lookup([key], [C])
    assert row.key == key


def test_rows_of_this_version_stay_in_one_question(archive):
    urls = [f"http://h/{n}?b&a=%7e" for n in range(300)]
    archive.write([RecordWanted(Entry(url, url)) for url in urls])
    with Statements(archive) as statements:
        assert all(archive.lookup(urls, urls))
    assert len(statements) == 1
    with Statements(archive) as statements:
        assert not any(archive.lookup([f"{url}&c" for url in urls], [f"{url}&c" for url in urls]))
    assert len(statements) == 2


# Files that have changed


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda path: None, State.DONE),
        (lambda path: path.unlink(), State.PENDING),
        (lambda path: path.write_bytes(b"short"), State.PENDING),
        (lambda path: path.write_bytes(b"as long as that"), State.DONE),
    ],
    ids=["as it was", "gone", "another size", "the same size: no file is read"],
)
def test_a_finished_file_that_is_gone_or_of_another_size_is_wanted_again(archive, change, state):
    publish(archive, {"key": ("a.jpg", b"as long as this")})
    change(archive.store.root / "a.jpg")
    assert [row.state for row in archive.lookup(["key"])] == [state]
    assert state_of(archive, "key") == state


def test_a_file_of_another_size_loses_its_name_and_is_kept(archive, caplog):
    publish(archive, {"a": ("s/a.jpg", b"whole"), "b": ("s/b.jpg", b"whole")})
    (archive.store.root / "s/a.jpg").write_bytes(b"cut")
    (archive.store.root / "s/b.jpg").unlink()
    assert [row.state for row in archive.lookup(["a", "b"])] == [State.PENDING, State.PENDING]
    assert on_disk(archive.store) == {}
    (kept,) = archive.store.quarantine_folder.iterdir()
    assert kept.read_bytes() == b"cut"
    (line,) = caplog.messages
    assert "s/a.jpg" in line
    assert str(kept) in line
    assert [row.path for row in publish(archive, {"a": ("x", b"whole"), "b": ("y", b"whole")})] == [
        "s/a.jpg",
        "s/b.jpg",
    ]


def test_what_another_process_publishes_meanwhile_is_neither_lost_nor_set_aside(archive, monkeypatch):
    """It had claimed the path, or was through, before this one could say that the file is another."""
    publish(archive, {key: (f"{key}.jpg", b"old") for key in ("claimed", "done", "forgotten")})
    there = archive._is_there

    def meanwhile(entry):
        monkeypatch.setattr(archive, "_is_there", there)
        for key in ("claimed", "done"):
            claimed = Entry(key, "http://h/", path=f"{key}.jpg", size_bytes=5, sha256=sha256(b"newer"))
            archive.ledger.claim(claimed)
            (archive.store.root / f"{key}.jpg").write_bytes(b"newer")
            if key == "done":
                archive.ledger.finish([claimed], 5.0)
        archive.forget(["forgotten"], files=True)
        return there(entry)

    monkeypatch.setattr(archive, "_is_there", meanwhile)
    rows = archive.lookup(["claimed", "done", "forgotten"])
    assert [row and row.state for row in rows] == [State.PUBLISHING, State.DONE, None]
    assert on_disk(archive.store) == {"claimed.jpg": b"newer", "done.jpg": b"newer"}
    assert not archive.store.quarantine_folder.exists()


def lose(archive, _row):
    archive.lookup(["key"])


def damage(archive, row):
    assert archive.mark_corrupt(row, "altered", archive.store.identity("a.jpg"))


@pytest.mark.parametrize("notice", [lose, damage])
def test_after_a_power_cut_a_row_that_is_wanted_again_has_no_wrong_bytes_under_its_name(tmp_path, notice):
    states = set()
    with Recording(tmp_path / "disk") as recording:
        archive = Archive.open(LocalStore(tmp_path / "disk"))
        publish(archive, {"key": ("a.jpg", b"whole")})
        fd = os.open(archive.store.root / "a.jpg", os.O_RDWR)
        os.ftruncate(fd, 3)
        os.fsync(fd)
        os.close(fd)
        begin = len(recording.events)
        notice(archive, *archive.ledger.entries())
        archive.close()
    recording.assert_nothing_unseen()
    for number, found in enumerate(recording.cuts(random.Random(1))):
        if found.events <= begin:
            continue
        folder = tmp_path / f"cut-{number}"
        found.materialise(folder)
        archive = Archive.open(LocalStore(folder))
        (row,) = archive.ledger.entries()
        there = (folder / "a.jpg").exists()
        states.add((row.state, there))
        assert row.state == State.DONE or not there
        (again,) = archive.lookup(["key"])
        assert again.state in {State.PENDING, State.FAILED}
        assert on_disk(archive.store) == {}
        archive.close()
    assert {(State.DONE, True), (State.DONE, False)} < states


def test_a_repaired_file_has_the_name_it_had(archive):
    publish(archive, {"key": ("a.jpg", b"whole")})
    (archive.store.root / "a.jpg").write_bytes(b"damaged file")
    archive.lookup(["key"])
    (entry,) = publish(archive, {"key": ("elsewhere.jpg", b"whole")})
    assert entry.path == "a.jpg"
    assert on_disk(archive.store) == {"a.jpg": b"whole"}


def test_an_unchanged_file_was_checked_just_now(tmp_path):
    now = [1000.0]
    archive = Archive.open(LocalStore(tmp_path))
    archive._clock = lambda: now[0]
    (entry,) = publish(archive, {"key": ("a.jpg", b"a")})
    now[0] = 2000.0
    archive.write([Unchanged(entry)])
    (row,) = archive.lookup(["key"])
    assert (row.state, row.finished_at, row.checked_at) == (State.DONE, 1000.0, 2000.0)
    archive.close()


@pytest.mark.parametrize(
    ("text", "validators"),
    [
        (json.dumps(etag_of(b"x").to_dict()), etag_of(b"x")),
        (json.dumps(Validators(etag=ETag("x", weak=True)).to_dict()), Validators(etag=ETag("x", weak=True))),
        (None, Validators()),
        ("", Validators()),
        ("{", Validators()),
        ("[]", Validators()),
        ('"text"', Validators()),
    ],
)
def test_validators_are_read_from_a_row_and_rubbish_is_none(text, validators):
    assert validators_of(Entry("key", "http://h/", validators=text)) == validators


# Forgetting


@pytest.mark.parametrize("files", [False, True])
def test_what_is_forgotten_is_unknown_and_its_file_goes_only_if_asked_for(archive, files):
    publish(archive, {"key": ("a.jpg", b"a"), "other": ("b.jpg", b"b")})
    fetch(archive, "partial", LARGE).part.close()
    archive.write([RecordWanted(Entry("partial", "http://h/"))])
    archive.forget(["key", "partial", "unknown"], files=files)
    assert archive.lookup(["key", "partial"]) == [None, None]
    assert on_disk(archive.store) == ({} if files else {"a.jpg": b"a"}) | {"b.jpg": b"b"}
    assert list(archive.store.parts.folder.iterdir()) == []
    (entry,) = publish(archive, {"key": ("a.jpg", b"new")})
    assert entry.path == ("a.jpg" if files else "a-2.jpg"), "what stands there is nobody's, and not overwritten"


# Opening


def test_a_store_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreNotWritable, match=r"cannot write the store .*file: .*file is a file, not a folder"):
        Archive.open(LocalStore(tmp_path / "file"))


def test_a_ledger_that_is_none_is_one_line_and_left_alone(tmp_path):
    store = LocalStore(tmp_path)
    store.open()
    (store.hidden / LEDGER_NAME).write_bytes(b"rubbish" * 1000)
    with pytest.raises(MediacrawlError, match="not a database"):
        Archive.open(store)
    assert (store.hidden / LEDGER_NAME).read_bytes() == b"rubbish" * 1000


def test_what_another_process_is_publishing_is_left_to_it(archive):
    fetched = fetch(archive, "key", b"new")
    archive.ledger.claim(Entry("key", "http://h/", path="a.jpg", size_bytes=3, sha256=sha256(b"new")))
    Archive.open(LocalStore(archive.store.root)).close()
    assert state_of(archive, "key") == State.PUBLISHING
    fetched.part.close()
    Archive.open(LocalStore(archive.store.root)).close()
    assert state_of(archive, "key") == State.PENDING


# Killed


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Stores as kills left them: one for each step of the job, and one that was killed again and again."""
    root = tmp_path_factory.mktemp("killed")
    command = [sys.executable, archive_job.__file__, str(root)]
    said = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (said.returncode, said.stderr) == (0, "")
    steps = said.stdout.split()
    through = len(list((root / "once").iterdir()))
    return root, steps[: through - 1], steps[through - 1 :]


def stores_killed_at(killed, step, to):
    """Copies, since each can be recovered once."""
    root, steps, _ = killed
    numbers = [number for number, reached in enumerate(steps, start=1) if reached == step]
    for number in numbers:
        shutil.copytree(root / "once" / str(number), to / str(number))
    return [to / str(number) for number in numbers]


def assert_each_file_is_whole(folder):
    """The first promise: a name in the store means every byte of one version, at any moment."""
    versions = RESULT | {"s/h/updated.jpg": NEW}
    for name, content in on_disk(LocalStore(folder)).items():
        assert content in ({versions[name], OLD} if name == "s/h/updated.jpg" else {versions[name]})


def assert_the_ledger_tells_the_truth(archive):
    for entry in archive.ledger.entries(State.DONE):
        content = (archive.store.root / entry.path).read_bytes()
        assert (entry.sha256, entry.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        assert validators_of(entry) == etag_of(content)
    assert not list(archive.ledger.entries(State.PUBLISHING))
    assert archive.ledger.is_intact()


def assert_the_job_is_through(folder):
    archive = Archive.open(LocalStore(folder))
    assert on_disk(archive.store) == RESULT
    assert list(archive.store.parts.folder.iterdir()) == []
    assert archive.ledger.counts() == {
        "pending": 0,
        "publishing": 0,
        "done": len(JOB),
        "failed": 0,
        "bytes": sum(map(len, RESULT.values())),
    }
    assert_the_ledger_tells_the_truth(archive)
    archive.close()


def test_the_kills_fall_at_every_step(killed):
    _, once, again = killed
    assert set(once) == set(STEPS)
    assert len(again) > len(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_no_file_is_half_and_no_row_lies(killed, step, tmp_path):
    folders = stores_killed_at(killed, step, tmp_path)
    assert folders
    for folder in folders:
        assert_each_file_is_whole(folder)
        archive = Archive.open(LocalStore(folder))
        assert_the_ledger_tells_the_truth(archive)
        archive.close()


@pytest.mark.parametrize("boot", ["kill", "power cut"])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_the_same_job_ends_as_if_nothing_had_been(killed, step, boot, tmp_path, monkeypatch):
    if boot == "power cut":
        monkeypatch.setattr("mediacrawl.store.parts.boot_id", lambda: "the next boot")
    for folder in stores_killed_at(killed, step, tmp_path):
        run(folder)
        assert_the_job_is_through(folder)
        steps = []
        run(folder, steps.append)
        assert set(steps) <= {"ledger-claim"}, "a job that is through writes nothing"


def test_after_any_number_of_kills_the_job_ends_as_if_nothing_had_been(killed):
    assert_the_job_is_through(killed[0] / "again")


def test_a_killed_job_does_not_fetch_the_bytes_again_that_are_there(killed, tmp_path):
    """The large file was whole when its last record was about to be written, or when it was about to be synced."""
    _, steps, _ = killed
    last_record = len(steps) - steps[::-1].index("part-record")
    folder = Path(shutil.copytree(killed[0] / "once" / str(last_record), tmp_path / "store"))
    archive = Archive.open(LocalStore(folder))
    fetched = fetch(archive, "http://h/large.bin", LARGE)
    assert fetched.saved_bytes == len(LARGE)
    fetched.part.close()
    archive.close()


def test_a_version_that_was_not_renamed_before_the_kill_is_not_taken_for_the_old_one(killed, tmp_path):
    """Both have the same size: the size alone would say that the new one stands there."""
    assert len(OLD) == len(NEW)
    for folder in stores_killed_at(killed, "file-rename", tmp_path):
        if (folder / "s/h/updated.jpg").read_bytes() == OLD:
            archive = Archive.open(LocalStore(folder))
            assert state_of(archive, UPDATED) == State.PENDING
            archive.close()
            break
    else:
        pytest.fail("no kill fell before that rename")


def test_a_damaged_path_that_belongs_to_another_file_is_not_claimed(archive):
    for name in "ab":
        archive.write(
            [Publish(Entry(name, f"http://h/{name}", path=f"{name}.jpg"), fetch(archive, name, name.encode()))]
        )
    archive.ledger._db.execute("UPDATE files SET path = 'a.jpg' WHERE key = 'b'")
    (entry,) = archive.write([Publish(Entry("b", "http://h/b", path="b.jpg"), fetch(archive, "b", b"new"))])
    assert entry.path == "b-2.jpg"
    assert on_disk(archive.store) == {"a.jpg": b"a", "b.jpg": b"b", "b-2.jpg": b"new"}
