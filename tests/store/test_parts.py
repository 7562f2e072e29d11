import errno
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.errors import DiskFull, MachineError, StoreNotWritable
from mediacrawl.store import parts as parts_module
from mediacrawl.store.parts import RECORDED_FROM_BYTES, PartFolder, PartInUse, PartRecord, add_range, boot_id

KEY = "http://example.com/a.jpg"
KEPT = RECORDED_FROM_BYTES
TOTAL = 4 * KEPT
RECORD = PartRecord(
    validators={"etag": '"v1"'}, complete_length=TOTAL, head={"status": 200, "headers": {"content-type": "image/png"}}
)
RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12)


class Steps(list):
    """Notes the steps, and dies at one of them."""

    def __init__(self, die_at=None):
        self.die_at = die_at

    def __call__(self, step):
        self.append(step)
        if step == self.die_at:
            raise Killed


class Killed(BaseException):
    pass


@pytest.fixture
def parts(tmp_path):
    return PartFolder(tmp_path / "parts", boot="this boot")


def after(parts, boot):
    """The same folder, seen by a later process."""
    return PartFolder(parts.folder, boot=boot)


def kill(part):
    """What the kernel does with the file of a dead process; no code of ours runs."""
    os.close(part._fd)
    part._fd = -1


def written(parts, *spans, record=RECORD):
    """A part in which these spans were written and counted."""
    part = parts.open(KEY)
    part.begin(record)
    for start, stop in spans:
        part.write_at(start, bytes_of(start, stop))
        part.mark((start, stop))
    return part


def bytes_of(start, stop):
    """No two offsets near each other hold the same byte, and none is zero, as a hole is."""
    pattern = bytes(range(1, 252))
    first = start % len(pattern)
    return (pattern * ((stop - start) // len(pattern) + 2))[first : first + stop - start]


def files(parts):
    return sorted(path.suffix for path in parts.folder.iterdir())


# The union of ranges


@given(RANGES)
def test_added_ranges_are_the_union_of_their_bytes(new):
    ranges = ()
    for span in new:
        ranges = add_range(ranges, span)
    assert {byte for span in ranges for byte in range(*span)} == {byte for span in new for byte in range(*span)}
    assert all(start < stop for start, stop in ranges)
    assert all(stop < start for (_, stop), (start, _) in pairwise(ranges)), "ascending, not even touching"


# What is there


def test_a_new_part_has_nothing(parts):
    with parts.open(KEY) as part:
        assert (part.record, part.have, part.written_bytes, part.gap_stop) == (None, 0, 0, None)
        assert not part.is_whole


@pytest.mark.parametrize(
    ("spans", "have", "written_bytes", "gap_stop"),
    [
        ([], 0, 0, None),
        ([(0, 10)], 10, 10, None),
        ([(0, 10), (10, 25)], 25, 25, None),
        ([(5, 10)], 0, 5, 5),
        ([(0, 10), (20, 30)], 10, 20, 20),
        ([(20, 30), (0, 10), (40, 45)], 10, 25, 20),
        ([(0, 10), (20, 30), (10, 20)], 30, 30, None),
    ],
)
def test_a_part_knows_its_prefix_and_its_gaps(parts, spans, have, written_bytes, gap_stop):
    with written(parts, *spans) as part:
        assert (part.have, part.written_bytes, part.gap_stop) == (have, written_bytes, gap_stop)


@pytest.mark.parametrize(
    ("spans", "length", "whole"),
    [([(0, 10)], 10, True), ([(0, 9)], 10, False), ([(1, 10)], 10, False), ([(0, 10)], None, False), ([], 0, True)],
)
def test_a_part_is_whole_when_its_prefix_is_the_complete_length(parts, spans, length, whole):
    with written(parts, *spans, record=PartRecord(complete_length=length)) as part:
        assert part.is_whole is whole


def test_a_length_that_becomes_known_makes_a_part_whole(parts):
    with written(parts, (0, 10), record=PartRecord()) as part:
        part.note_length(10)
        assert part.is_whole


def test_what_was_written_is_read_back(parts):
    with written(parts, (0, 100), (100, 250)) as part:
        assert part.read(90, 110) == bytes_of(90, 110)
        assert part.read(240, 999) == bytes_of(240, 250)
        assert list(part.blocks(220, block_bytes=100)) == [bytes_of(0, 100), bytes_of(100, 200), bytes_of(200, 220)]


def test_blocks_end_with_the_file(parts):
    with written(parts, (0, 10)) as part:
        assert list(part.blocks(99)) == [bytes_of(0, 10)]


# From one process to the next


def test_a_closed_part_is_gone_on_with(parts):
    written(parts, (0, KEPT)).close()
    with parts.open(KEY) as part:
        assert part.record == RECORD._replace(ranges=((0, KEPT),))
        assert part.read(0, KEPT) == bytes_of(0, KEPT)


def test_a_part_with_gaps_keeps_them(parts):
    written(parts, (0, KEPT), (2 * KEPT, 3 * KEPT)).close()
    with parts.open(KEY) as part:
        assert part.record.ranges == ((0, KEPT), (2 * KEPT, 3 * KEPT))
        assert part.read(2 * KEPT, 3 * KEPT) == bytes_of(2 * KEPT, 3 * KEPT)


@pytest.mark.parametrize(
    ("boot", "have"), [("this boot", 2 * KEPT), ("another boot", KEPT), ("", KEPT)], ids=["same", "other", "unknown"]
)
def test_after_a_kill_the_file_counts_and_after_a_power_cut_the_record(parts, boot, have):
    part = written(parts, (0, KEPT))
    part.checkpoint()
    part.write_at(KEPT, bytes_of(KEPT, 2 * KEPT))
    kill(part)
    with after(parts, boot).open(KEY) as part:
        assert part.record.ranges == ((0, have),)


def test_where_the_system_names_no_boot_the_record_alone_counts(tmp_path):
    parts = PartFolder(tmp_path, boot="")
    part = written(parts, (0, KEPT))
    part.checkpoint()
    part.write_at(KEPT, bytes_of(KEPT, 2 * KEPT))
    kill(part)
    with parts.open(KEY) as part:
        assert part.have == KEPT


def test_bytes_that_a_power_cut_left_uncounted_are_not_trusted_by_a_later_boot_either(parts):
    part = written(parts, (0, KEPT))
    part.checkpoint()
    part.write_at(KEPT, b"\0" * KEPT)  # the length reached the disk, the bytes did not
    kill(part)
    part = after(parts, "second boot").open(KEY)
    part.write_at(KEPT, bytes_of(KEPT, KEPT + 10))
    part.mark((KEPT, KEPT + 10))
    part.checkpoint()
    kill(part)
    with after(parts, "second boot").open(KEY) as part:
        assert part.have == KEPT + 10


def test_a_kill_before_the_first_checkpoint_loses_nothing_of_a_large_file(parts):
    part = parts.open(KEY)
    part.begin(RECORD)
    part.write_at(0, bytes_of(0, 1000))
    kill(part)
    with parts.open(KEY) as part:
        assert part.have == 1000


@pytest.mark.parametrize("counted", [True, False])
def test_a_kill_never_makes_a_gap_count_as_bytes(parts, counted):
    """A segment far behind the front makes the file longer than what has arrived."""
    part = written(parts, (0, 1000))
    part.write_at(2 * KEPT, bytes_of(2 * KEPT, 2 * KEPT + 10))
    if counted:
        part.mark((2 * KEPT, 2 * KEPT + 10))
    kill(part)
    with parts.open(KEY) as part:
        assert part.have == 1000
        assert part.read(0, part.have) == bytes_of(0, 1000)


def test_a_gap_that_was_filled_and_then_begun_anew_is_forgotten(parts):
    part = written(parts, (2 * KEPT, 3 * KEPT))
    part.begin(RECORD)
    part.write_at(0, bytes_of(0, 1000))
    kill(part)
    with parts.open(KEY) as part:
        assert part.have == 1000


def test_a_file_that_is_shorter_than_its_record_counts_as_far_as_it_goes(parts):
    written(parts, (0, KEPT), (2 * KEPT, 3 * KEPT)).close()
    os.truncate(parts._path(KEY), 2 * KEPT + 7)
    with after(parts, "another boot").open(KEY) as part:
        assert part.record.ranges == ((0, KEPT), (2 * KEPT, 2 * KEPT + 7))


def test_no_more_than_the_complete_length_is_trusted(parts):
    part = parts.open(KEY)
    part.begin(RECORD)
    part.write_at(0, bytes(TOTAL + 5))
    kill(part)
    with parts.open(KEY) as part:
        assert part.have == TOTAL
        assert part.path.stat().st_size == TOTAL


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b"{",
        b"\0" * 200,
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b"[" * 100_000,
        {"validators": None},
        {"head": 3},
        {"ranges": 7},
        {"ranges": [[1]]},
        {"ranges": [[5, 3]]},
        {"ranges": [[-5, 3]]},
        {"ranges": [[0, 1e999]]},
        {"complete_length": "many"},
        {"version": 2},
        *({"version": "1"}, {"version": [1]}, {"boot": []}, {"in_order": "yes"}, {"in_order": 1}, {"durable": 0}),
        *({"validators": []}, {"validators": [["etag", "1"]]}, {"complete_length": float("nan")}),
        *(
            {"complete_length": -7},
            {"complete_length": "300000"},
            {"complete_length": True},
            {"complete_length": KEPT - 1},
        ),
        *({"ranges": [[0, 10**30]]}, {"ranges": {"a": 1}}, {"ranges": [["0", "5"]]}, {"ranges": [[0.0, 5.0]]}),
        *({"ranges": [[0, 1, 2]]}, {"ranges": ["ab"]}, {"ranges": [[False, True]]}, {"ranges": [[0, 9e999]]}),
        *({"seams": [0.5]}, {"seams": [-1]}, {"seams": [10**9]}, {"seams": {}}, {"seams": list(range(2_000))}),
        *({"head": {"headers": [1]}}, {"head": {"headers": {"a": 1}}}, {"head": {"status": "x"}}, {"head": []}),
        *({"head": {"status": 10**30}}, {"head": {"url": {}}}, {"head": {"is_encoded": 1}}, {"head": {"wish": [1]}}),
        *({"head": {"wish": {"path": [], "link": ""}}}, {"head": {"wish": {"keys": 5}}}),
        *({"head": {"wish": {"keys": [[]]}}}, {"head": {"wish": {"digests": "x"}}}, {"head": {"wish": {"link": 1}}}),
    ],
    ids=lambda torn: str(torn)[:60],
)
def test_a_torn_or_foreign_record_makes_the_part_count_as_nothing_and_is_told(parts, torn, caplog):
    written(parts, (0, KEPT)).close()
    path = parts._path(KEY).with_suffix(".json")
    good = json.loads(path.read_text())
    path.write_bytes(torn if isinstance(torn, bytes) else json.dumps(good | torn).encode())
    assert parts.begun_for("a") == []
    with parts.open(KEY) as part:
        assert part.record is None
        assert part.path.stat().st_size == 0
    assert [message.partition(",")[0] for message in caplog.messages] == [str(path)]
    assert files(parts) == []


@pytest.mark.parametrize("field", ["validators", "complete_length", "head", "ranges", "boot", "version", "in_order"])
def test_a_record_without_one_of_its_facts_counts_as_nothing(parts, field):
    written(parts, (0, KEPT)).close()
    path = parts._path(KEY).with_suffix(".json")
    facts = json.loads(path.read_text())
    del facts[field]
    path.write_text(json.dumps(facts))
    with parts.open(KEY) as part:
        assert part.record is None


@pytest.mark.parametrize("size_bytes", [0, 10])
def test_a_new_small_part_takes_away_the_record_that_an_older_one_has_left(parts, size_bytes):
    written(parts, (0, KEPT)).close()
    (parts.folder / f"{parts.name(KEY)}.part").unlink()
    part = parts.open(KEY)
    part.fill(PartRecord(complete_length=size_bytes), b"x" * size_bytes)
    assert list(parts.folder.iterdir()) == [part.path]  # at any moment from now on: the old one would count
    part.close()


def test_a_record_of_which_the_disk_does_not_tell_whether_it_is_there_is_no_reason_to_go_on(parts, monkeypatch):
    part = parts.open(KEY)

    def broken(path, *_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patched:
        for call in ("unlink", "stat", "lstat"):
            patched.setattr(os, call, broken)
        with pytest.raises(MachineError):
            part.fill(PartRecord(complete_length=1), b"x")
    part.close()


def test_a_record_whose_bytes_are_gone_counts_as_nothing(parts):
    written(parts, (0, KEPT)).close()
    parts._path(KEY).unlink()
    with parts.open(KEY) as part:
        assert part.have == 0


# The order of a change


def test_bytes_are_written_then_synced_then_recorded(tmp_path):
    steps = Steps()
    part = PartFolder(tmp_path, at_step=steps).open(KEY)
    part.begin(RECORD)
    steps.clear()
    part.write_at(0, bytes(KEPT))
    part.mark((0, KEPT))
    assert steps == ["part-write"], "no checkpoint is due"
    part.checkpoint()
    assert steps == ["part-write", "part-sync", "part-record"]
    part.close()


@pytest.mark.parametrize(
    ("step", "recorded"), [("part-write", 0), ("part-sync", 0), ("part-record", 0), (None, KEPT)]
)
def test_a_record_never_counts_bytes_that_are_not_synced(tmp_path, step, recorded):
    steps = Steps()
    parts = PartFolder(tmp_path, at_step=steps)
    part = parts.open(KEY)
    part.begin(RECORD)
    steps.die_at = step
    try:
        part.write_at(0, bytes(KEPT))
        part.mark((0, KEPT))
        part.checkpoint()
    except Killed:
        assert step is not None
    kill(part)
    with after(parts, "another boot").open(KEY) as part:
        assert part.have == recorded


def test_the_sync_comes_before_the_record_on_the_disk_too(parts, monkeypatch):
    part = written(parts, (0, KEPT))
    record_path = parts._path(KEY).with_suffix(".json")
    seen = []
    monkeypatch.setattr(
        parts_module.os, "fdatasync", lambda fd: seen.append((fd, json.loads(record_path.read_text())["ranges"]))
    )
    part.checkpoint()
    assert seen == [(part._fd, [])], "at the time of the sync the record does not count the bytes"
    assert json.loads(record_path.read_text())["ranges"] == [[0, KEPT]]
    part.close()


def test_a_record_is_replaced_as_a_whole(parts):
    part = written(parts, (0, KEPT))
    path = parts._path(KEY).with_suffix(".json")
    before = path.open()
    part.checkpoint()
    with before:
        assert json.load(before)["ranges"] == [], "who has the old one open still reads all of it"
    part.close()


def test_a_checkpoint_follows_a_mark_when_one_is_due(parts, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(parts_module.time, "monotonic", lambda: now[0])
    path = parts._path(KEY).with_suffix(".json")
    part = written(parts, (0, 10))
    now[0] += parts_module.CHECKPOINT_S - 0.01
    part.mark((10, 20))
    assert json.loads(path.read_text())["ranges"] == []
    now[0] += 0.01
    part.mark((20, 30))
    assert json.loads(path.read_text())["ranges"] == [[0, 30]]
    part.close()


def test_a_part_of_unknown_length_is_recorded_once_it_is_worth_it(parts, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(parts_module.time, "monotonic", lambda: now[0])
    path = parts._path(KEY).with_suffix(".json")
    part = written(parts, (0, 10), record=PartRecord())
    now[0] += 60.0
    part.mark((10, 20))
    assert not path.exists()
    part.mark((20, KEPT))
    assert path.exists()
    part.close()


def test_a_part_begun_anew_counts_as_nothing_at_any_moment(tmp_path):
    """The record of the old version goes before a byte of the new one is there."""
    parts = PartFolder(tmp_path, boot="b")
    written(parts, (0, KEPT)).close()
    dying = PartFolder(tmp_path, boot="b", at_step=Steps(die_at="part-record"))
    part = dying.open(KEY)
    assert part.have == KEPT
    with pytest.raises(Killed):
        part.begin(RECORD)
    kill(part)
    with parts.open(KEY) as part:
        assert part.have == 0


def test_a_part_that_is_discarded_counts_as_nothing(parts):
    part = written(parts, (0, KEPT))
    part.discard()
    assert (part.have, part.path.stat().st_size) == (0, 0)
    part.close()
    assert files(parts) == []


# What is kept


@pytest.mark.parametrize(
    ("size", "resumable", "kept"), [(KEPT, True, True), (KEPT - 1, True, False), (KEPT, False, False)]
)
def test_only_a_part_that_is_worth_resuming_is_kept(parts, size, resumable, kept):
    written(parts, (0, size), record=RECORD._replace(resumable=resumable)).close()
    assert files(parts) == ([".json", ".part"] if kept else [])


@pytest.mark.parametrize(("length", "recorded"), [(None, False), (KEPT, False), (KEPT + 1, True)])
def test_only_a_large_file_is_recorded_before_its_first_byte(parts, length, recorded):
    part = parts.open(KEY)
    part.begin(PartRecord(complete_length=length))
    assert files(parts) == ([".json", ".part"] if recorded else [".part"])
    part.close()


def test_an_encoded_body_is_never_recorded(parts):
    part = written(parts, (0, KEPT), record=RECORD._replace(resumable=False))
    part.checkpoint()
    assert files(parts) == [".part"]
    part.close()


def test_closing_twice_is_closing_once(parts):
    part = written(parts, (0, KEPT))
    part.close()
    other = parts.open(KEY)
    part.close()
    assert other.read(0, 10) == bytes_of(0, 10)
    other.close()


def test_names_are_those_that_can_be_gone_on_with(parts):
    assert parts.names() == set()
    written(parts, (0, KEPT)).close()
    small = parts.open("small")
    assert parts.names() == {parts.name(KEY)}
    small.close()


@given(st.text(), st.text())
def test_each_key_has_a_file_name_of_its_own(one, other):
    parts = PartFolder.__new__(PartFolder)
    assert (parts.name(one) == parts.name(other)) == (one == other)
    assert parts.name(one).isalnum()


def test_a_key_may_hold_half_a_character(parts):
    parts.open("http://h/\udcff").close()


# Locks


def test_a_part_that_is_open_cannot_be_opened(parts):
    with parts.open(KEY), pytest.raises(PartInUse):
        parts.open(KEY)
    parts.open(KEY).close()


def test_another_key_is_not_in_the_way(parts):
    with parts.open(KEY), parts.open("another") as other:
        assert other.have == 0


def test_a_part_that_another_process_holds_cannot_be_opened(parts):
    parts.folder.mkdir()
    code = (
        "import sys, pathlib\n"
        "from mediacrawl.store.parts import PartFolder\n"
        "part = PartFolder(pathlib.Path(sys.argv[1])).open(sys.argv[2])\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(parts.folder), KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(PartInUse):
            parts.open(KEY)
        with pytest.raises(PartInUse):
            parts.exists(KEY)
        child.kill()
    parts.open(KEY).close()


def test_a_part_exists_while_its_file_is_there(parts):
    assert not parts.exists(KEY)
    written(parts, (0, KEPT)).close()
    assert parts.exists(KEY)
    parts.open(KEY).discard()


def test_who_waited_for_a_part_that_was_published_begins_a_new_one(parts, monkeypatch, tmp_path):
    """Opened before the rename, locked after it: the lock would be on the published file."""
    first = written(parts, (0, KEPT))
    flock = parts_module.fcntl.flock

    def publish_then_lock(fd, how):
        monkeypatch.setattr(parts_module.fcntl, "flock", flock)
        first.path.rename(tmp_path / "published")
        first.published()
        flock(fd, how)

    monkeypatch.setattr(parts_module.fcntl, "flock", publish_then_lock)
    with parts.open(KEY) as second:
        assert second.have == 0
        second.write_at(0, b"second")
    assert (tmp_path / "published").read_bytes() == bytes_of(0, KEPT)


def test_a_part_that_another_process_has_filled_between_our_open_and_our_lock_is_its_part(parts, monkeypatch):
    parts.open("another").close()
    flock = parts_module.fcntl.flock

    def late(fd, how):
        monkeypatch.setattr(parts_module.fcntl, "flock", flock)
        written(parts, (0, KEPT)).close()
        flock(fd, how)

    monkeypatch.setattr(parts_module.fcntl, "flock", late)
    part = parts.open(KEY)
    assert (part.is_new, part.have) == (False, KEPT)
    part.fill(PartRecord(complete_length=1), b"x")
    assert part.path.read_bytes() == b"x"
    part.close()


def test_a_published_part_leaves_nothing_and_is_free(parts, tmp_path):
    part = written(parts, (0, KEPT))
    part.checkpoint()
    part.path.rename(tmp_path / "published")
    part.published()
    part.close()
    assert files(parts) == []
    with parts.open(KEY) as part:
        assert part.have == 0


def test_a_part_that_was_closed_before_it_was_known_to_be_published_stays_published(parts, tmp_path):
    part = written(parts, (0, KEPT))
    part.path.rename(tmp_path / "published")
    part.close()
    part.published()
    assert files(parts) == []
    assert (tmp_path / "published").stat().st_size == KEPT


def test_segments_may_be_marked_by_several_threads(parts):
    part = parts.open(KEY)
    part.begin(PartRecord(complete_length=1600))

    def bring(first):
        for start in range(first, 1600, 80):
            part.write_at(start, bytes_of(start, start + 10))
            part.mark((start, start + 10))

    threads = [threading.Thread(target=bring, args=(first,)) for first in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert part.is_whole
    assert part.read(0, 1600) == bytes_of(0, 1600)
    part.close()


# Sweeping


def test_the_sweep_takes_what_nothing_can_use_and_nothing_else(parts):
    written(parts, (0, KEPT)).close()
    kept = set(parts.folder.iterdir())
    (parts.folder / "nameless.part").write_bytes(b"x")
    (parts.folder / "bodiless.json").write_bytes(b"{}")
    torn, fresh = parts.folder / "torn.tmp", parts.folder / "fresh.tmp"
    torn.write_bytes(b"{")
    os.utime(torn, (0, 0))
    fresh.write_bytes(b"{")
    (parts.folder / "notes.txt").write_bytes(b"mine")
    parts.sweep()
    assert set(parts.folder.iterdir()) == kept | {fresh, parts.folder / "notes.txt"}


@pytest.mark.parametrize("downwards", [False, True])
def test_the_sweep_takes_the_first_record_of_a_part_that_a_kill_has_torn(parts, monkeypatch, downwards):
    written(parts, (0, KEPT)).close()
    part = parts.folder / f"{parts.name(KEY)}.part"
    part.with_suffix(".json").rename(part.with_suffix(".tmp"))
    scandir = os.scandir

    @contextmanager
    def ordered(folder):
        with scandir(folder) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=downwards)

    monkeypatch.setattr(os, "scandir", ordered)
    after(parts, "this boot").sweep()
    assert list(parts.folder.iterdir()) == []


def test_the_sweep_takes_a_record_that_a_kill_has_torn_a_moment_ago(parts):
    written(parts, (0, KEPT)).close()
    torn = parts.folder / f"{parts.name(KEY)}.tmp"
    torn.write_bytes(b"{")
    with parts.open(KEY):
        after(parts, "this boot").sweep()
        assert torn.exists()  # its part is locked: somebody may be writing it
    after(parts, "this boot").sweep()
    assert not torn.exists()
    with after(parts, "this boot").open(KEY) as again:
        assert again.have == KEPT


def test_the_sweep_leaves_a_part_alone_that_is_being_fetched(parts):
    with parts.open(KEY) as part:
        part.begin(PartRecord())
        part.write_at(0, b"abc")
        after(parts, "this boot").sweep()
        assert part.path.exists()
        assert part.read(0, 3) == b"abc"


def test_there_is_nothing_to_sweep_where_there_is_no_folder(parts):
    parts.sweep()
    assert not parts.folder.exists()


# Quarantine


def test_bytes_that_are_set_aside_are_kept_and_the_part_begins_anew(parts, tmp_path):
    part = written(parts, (0, KEPT))
    part.checkpoint()
    where = part.quarantine(tmp_path / "quarantine")
    assert where.read_bytes() == bytes_of(0, KEPT)
    assert where.parent == tmp_path / "quarantine"
    assert (part.record, part.have) == (None, 0)
    with pytest.raises(PartInUse):
        parts.open(KEY)
    part.begin(RECORD)
    part.write_at(0, b"new")
    part.close()
    assert files(parts) == []
    assert where.stat().st_size == KEPT


def test_setting_aside_again_replaces_what_was_set_aside(parts, tmp_path):
    with written(parts, (0, 10)) as part:
        first = part.quarantine(tmp_path / "quarantine")
        part.begin(RECORD)
        part.write_at(0, b"second")
        assert part.quarantine(tmp_path / "quarantine") == first
        assert first.read_bytes() == b"second"


def test_a_part_that_another_process_begins_meanwhile_is_neither_taken_nor_removed(parts, tmp_path, monkeypatch):
    part = written(parts, (0, KEPT))
    taken = []

    def another_was_faster():
        monkeypatch.undo()
        taken.append(parts.open(KEY))
        return part._open_locked()

    monkeypatch.setattr(part, "_open_locked", another_was_faster)
    with pytest.raises(PartInUse):
        part.quarantine(tmp_path / "quarantine")
    part.close()
    assert parts._path(KEY).exists()
    taken[0].write_at(0, b"x")
    taken[0].close()


# The disk


def test_a_folder_that_cannot_be_is_one_line_for_a_person(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreNotWritable, match=r"cannot write .*file/parts: .*file is a file, not a folder"):
        PartFolder(tmp_path / "file" / "parts").open(KEY)


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "fsync"])
def test_a_full_disk_is_said_in_one_line(parts, monkeypatch, call):
    part = written(parts, (0, 10))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(parts_module.os, call, full)
        with pytest.raises(DiskFull, match="nothing is lost, free some space"):
            {
                "pwrite": lambda: part.write_at(10, b"x"),
                "fdatasync": part.checkpoint,
                "fsync": lambda: parts.sync_all([part]),
            }[call]()
    part.close()


@pytest.mark.parametrize(
    ("call", "broken"),
    [("discard", "ftruncate"), ("published", "unlink"), ("close", "unlink"), ("published", "log"), ("close", "log")],
)
def test_a_disk_that_fails_at_the_end_of_a_part_is_said_in_one_line(parts, monkeypatch, call, broken):
    part = written(parts, (0, KEPT if call != "close" else 0))
    part.checkpoint()

    def fails(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        if broken == "log":
            part._volume = object()
            patched.setattr(parts.completed_log, "release", fails)
        else:
            patched.setattr(parts_module.os, broken, fails)
        with pytest.raises(MachineError, match="Input/output error"):
            getattr(part, call)()
    part.close()
    parts.open(KEY).close()  # it is locked no longer


def test_a_part_that_cannot_be_opened_to_the_end_is_not_locked(parts, monkeypatch):
    written(parts, (0, KEPT)).close()

    def fails(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    os.truncate(parts._path(KEY), 2 * KEPT)
    parts = PartFolder(parts.folder, boot="another boot")  # what is behind the counted bytes goes
    for broken in ("ftruncate", "fstat"):
        with monkeypatch.context() as patched:
            patched.setattr(parts_module.os, broken, fails)
            with pytest.raises(MachineError, match="Input/output error"):
                parts.open(KEY)
        parts.open(KEY).close()


def test_a_short_write_is_gone_on_with(parts, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(parts_module.os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:3], offset))
    with written(parts, (0, 10)) as part:
        assert part.read(0, 10) == bytes_of(0, 10)


def test_the_boot_is_named_where_the_system_tells_it(monkeypatch, tmp_path):
    assert boot_id() == boot_id()
    monkeypatch.setattr(parts_module, "Path", lambda _: tmp_path / "missing")
    assert boot_id() == ""


# --- on the way to the disk --------------------------------------------------------------------------


@pytest.mark.parametrize(("durable", "times"), [(True, 3), (False, 0)])
def test_what_has_come_is_sent_to_the_disk_now_and_then_before_a_sync_waits_for_it(
    parts, monkeypatch, durable, times
):
    sent = []
    monkeypatch.setattr(parts_module, "begin_writing", sent.append)
    monkeypatch.setattr(parts_module, "_WRITE_EVERY_BYTES", 2 * KEPT)
    monkeypatch.setattr(parts_module, "CHECKPOINT_S", 1e9)  # none is due
    parts.durable = durable
    with written(parts, *((start * KEPT, (start + 1) * KEPT) for start in range(7))) as part:
        assert sent == times * [part.fileno()]
        recorded = json.loads(part.path.with_suffix(".json").read_text())
        assert recorded["ranges"] == [], "what is on its way is not there yet"


@pytest.mark.parametrize(("boot", "written_bytes"), [("one", 20), ("another", 0)])
def test_without_syncs_segments_survive_a_kill_and_no_power_cut(tmp_path, monkeypatch, boot, written_bytes):
    monkeypatch.setattr("mediacrawl.store.parts.RECORDED_FROM_BYTES", 1)
    with PartFolder(tmp_path, boot="one", durable=False).open("key") as part:
        part.begin(PartRecord(complete_length=100))
        for start in (0, 50):
            part.write_at(start, bytes(10))
            part.mark((start, start + 10))
    with PartFolder(tmp_path, boot=boot, durable=False).open("key") as part:
        assert part.written_bytes == written_bytes


# Another key


def test_a_part_can_get_another_key_with_its_replacement(parts):
    part = written(parts, (0, KEPT))
    new = part.replacement()
    new.begin(RECORD._replace(validators={"etag": '"v2"'}))
    new.write_at(0, bytes_of(0, KEPT))
    new.mark((0, KEPT))
    new.close()
    names = {path.name.replace(parts.name(KEY), parts.name("new")) for path in parts.folder.iterdir()}
    assert len(names) == 4
    for _ in range(2):
        parts.change_key(KEY, "new")
        assert {path.name for path in parts.folder.iterdir()} == names


def test_a_part_keeps_its_key_where_the_other_has_a_part_or_a_process_uses_it(parts):
    with written(parts, (0, KEPT)), pytest.raises(PartInUse):
        parts.change_key(KEY, "new")
    with parts.open("new") as other:
        other.begin(RECORD)
        other.write_at(0, bytes_of(0, KEPT))
        other.mark((0, KEPT))
    before = {path.name for path in parts.folder.iterdir()}
    parts.change_key(KEY, "new")
    assert {path.name for path in parts.folder.iterdir()} == before
