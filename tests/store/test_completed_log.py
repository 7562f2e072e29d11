"""A small file that was whole when its process was killed is not fetched again."""

import os
import subprocess
import sys
import textwrap

import pytest

from mediacrawl.store import completed_log
from mediacrawl.store.parts import PartFolder, PartRecord

KEY = "a small file"
RECORD = PartRecord(validators={"etag": '"1"'}, complete_length=5, head={"status": 200})


@pytest.fixture
def killed(tmp_path):
    """A folder in which a process has died that had a whole part, and one that was not."""

    def kill(boot: str = "this boot", after: str = "") -> PartFolder:
        code = f"""
        import os, pathlib
        from mediacrawl.store.parts import PartFolder, PartRecord
        folder = PartFolder(pathlib.Path({str(tmp_path / "parts")!r}), boot={boot!r})
        for key, data in (({KEY!r}, b"whole"), ("half", b"wh")):
            part = folder.open(key)
            part.begin(PartRecord(validators={{"etag": '"1"'}}, complete_length=5, head={{"status": 200}}))
            part.write_at(0, data)
            part.mark((0, len(data)))
            if part.is_whole:
                part.note_whole()
        {after}
        os.kill(os.getpid(), 9)
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
        assert done.returncode == -9
        return PartFolder(tmp_path / "parts", boot="this boot")

    return kill


def test_a_whole_part_gets_its_record_from_the_log_of_the_dead_process(killed):
    folder = killed()
    assert folder.names() == set()
    folder.sweep()
    assert folder.names() == {folder.name(KEY)}
    with folder.open(KEY) as part:
        assert part.is_whole
        assert part.read(0, 9) == b"whole"
        assert part.record.validators == {"etag": '"1"'}


def test_the_log_goes_with_what_it_tells_of_and_so_do_parts_that_are_not_whole(killed):
    folder = killed()
    assert len(list(folder.logs.iterdir())) == 1
    folder.sweep()
    assert list(folder.logs.iterdir()) == []
    assert sorted(path.suffix for path in folder.folder.iterdir()) == [".json", ".part"]


def test_after_a_power_cut_a_log_counts_as_nothing(killed):
    folder = killed(boot="the boot before")
    folder.sweep()
    assert list(folder.folder.iterdir()) == list(folder.logs.iterdir()) == []


def test_without_a_boot_id_a_log_counts_as_nothing(killed):
    killed(boot="")
    folder = PartFolder(killed(boot="").folder, boot="")
    folder.sweep()
    assert list(folder.folder.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"other"),  # the same size, at another time
        lambda path: path.write_bytes(b"longer than that"),
        lambda path: (path.rename(f"{path}.old"), path.write_bytes(b"whole")),  # another file
    ],
    ids=["bytes", "size", "inode"],
)
def test_a_line_holds_for_the_very_file_it_was_written_about(killed, change):
    folder = killed()
    change(folder.folder / f"{folder.name(KEY)}.part")
    folder.sweep()
    assert folder.names() == set()


@pytest.mark.parametrize(("keep", "records"), [(0, 0), (1, 0), (30, 0), (-5, 0), (-1, 1)])
def test_a_torn_log_is_read_as_far_as_it_goes(killed, keep, records):
    folder = killed()
    (log,) = folder.logs.iterdir()
    log.write_bytes(log.read_bytes()[:keep])
    folder.sweep()
    assert len(folder.names()) == records
    assert list(folder.logs.iterdir()) == []


@pytest.mark.parametrize(
    "text", [b"\xff\x00\n[]", b'"this boot"\n[1]\n{}\n["x", [1, 2], {}]\nnull\n["x", [1, 2, 3], 4]\n']
)
def test_a_log_of_nonsense_does_no_harm(tmp_path, text):
    folder = PartFolder(tmp_path / "parts", boot="this boot")
    folder.folder.mkdir()
    folder.logs.mkdir()
    (folder.logs / f"1-1{completed_log.SUFFIX}").write_bytes(text)
    (folder.folder / "x.part").write_bytes(b"x")
    folder.sweep()
    assert list(folder.folder.iterdir()) == list(folder.logs.iterdir()) == []


def whole_part(folder: PartFolder, key: str):
    part = folder.open(key)
    part.begin(RECORD)
    part.write_at(0, b"whole")
    part.mark((0, 5))
    part.note_whole()
    return part


def test_the_log_of_a_living_process_is_left_alone(tmp_path):
    living, other = (PartFolder(tmp_path / "parts", boot="b") for _ in range(2))
    with whole_part(living, KEY):
        other.sweep()
        assert len(list(living.logs.iterdir())) == 1
        assert living.name(KEY) not in other.names()


def test_logs_do_not_grow_with_the_length_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(completed_log, "_FULL_BYTES", 2000)
    folder = PartFolder(tmp_path / "parts", boot="b")
    for number in range(200):
        part = whole_part(folder, str(number))
        part.path.unlink()
        part.published()
        assert sum(path.stat().st_size for path in folder.logs.iterdir()) < 3000
    folder.close()
    assert list(folder.logs.iterdir()) == []


def test_a_part_that_waits_keeps_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(completed_log, "_FULL_BYTES", 0)
    folder = PartFolder(tmp_path / "parts", boot="b")
    first = whole_part(folder, "first")
    whole_part(folder, "second").close()
    folder.close()
    assert len(list(folder.logs.iterdir())) == 1
    first.close()
    assert list(folder.logs.iterdir()) == []


def test_a_whole_part_that_nobody_publishes_is_kept(tmp_path):
    folder = PartFolder(tmp_path / "parts", boot="b")
    whole_part(folder, KEY).close()
    with folder.open(KEY) as part:
        assert part.is_whole
        os.fstat(part._fd)
