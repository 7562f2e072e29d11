"""What `LocalStore` does beyond what every store must do."""

import errno
import os
from pathlib import Path

import pytest

from mediacrawl.errors import DiskFull, StoreNotWritable
from mediacrawl.store import local
from mediacrawl.store.local import HIDDEN, LocalStore, sync_folders
from mediacrawl.system.directories import Directory


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path / "store")
    store.open()
    return store


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "some.part"
    path.write_bytes(b"whole")
    return path


# Opening


def test_opening_creates_the_folders_and_leaves_no_trace_of_trying(store):
    assert sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*")) == [
        HIDDEN,
        f"{HIDDEN}/parts",
    ]


def test_a_folder_that_cannot_be_is_one_line_for_a_person(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreNotWritable) as caught:
        LocalStore(tmp_path / "file" / "store").open()
    assert (
        str(caught.value) == f"cannot write the store {tmp_path}/file/store: {tmp_path}/file is a file, not a folder"
    )


def test_a_full_disk_is_said_before_anything_is_fetched_and_nothing_is_left_of_the_trial(tmp_path, monkeypatch):
    def full(_fd, _data):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(local.os, "write", full)
    with pytest.raises(DiskFull, match=r"no space left for the store .*/store: nothing is lost"):
        LocalStore(tmp_path / "store").open()
    assert list((tmp_path / "store" / ".mediacrawl").iterdir()) == []


def test_the_trial_of_a_process_that_was_killed_meanwhile_goes(tmp_path):
    hidden = tmp_path / "store" / ".mediacrawl"
    hidden.mkdir(parents=True)
    (hidden / "probe-4711").touch()
    LocalStore(tmp_path / "store").open()
    assert sorted(path.name for path in hidden.iterdir()) == ["parts"]


# Names


def test_a_folder_may_be_given_in_any_form(tmp_path, monkeypatch, part):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    store = LocalStore("../media/./x/../store")
    (tmp_path / "media" / "x").mkdir(parents=True)
    store.open()
    store.rename_in(part, "a/b.jpg")
    assert store.root.is_absolute()
    assert (tmp_path / "media" / "store" / "a" / "b.jpg").read_bytes() == b"whole"
    assert list(store.names()) == ["a/b.jpg"]


@pytest.mark.parametrize(
    ("make", "taken"),
    [
        (lambda path: None, False),
        (lambda path: path.write_bytes(b""), True),
        (lambda path: path.mkdir(), True),
        (lambda path: path.symlink_to("nowhere"), True),
    ],
    ids=["free", "file", "folder", "dangling link"],
)
def test_a_name_is_taken_by_whatever_stands_there(store, make, taken):
    make(store.root / "a.jpg")
    assert store.taken("a.jpg") is taken


# Publishing


def test_a_published_file_stands_at_its_name_in_folders_that_were_made_for_it(store, part):
    folder = Path(store.rename_in(part, "a/b/c.jpg"))
    assert folder == store.root / "a" / "b"
    assert (folder / "c.jpg").read_bytes() == b"whole"
    assert not part.exists()


def test_every_folder_whose_entries_changed_is_synced(store, part, monkeypatch):
    (store.root / "a").mkdir()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    store.sync([store.rename_in(part, "a/b/c/d.jpg")])
    folders = (store.root / "a", store.root / "a" / "b", store.root / "a" / "b" / "c")
    assert set(synced) == {folder.stat().st_ino for folder in folders}


def test_the_steps_of_publishing_can_be_stopped_at(tmp_path, part):
    steps = []
    store = LocalStore(tmp_path / "store", at_step=steps.append)
    store.open()
    store.sync([store.rename_in(part, "a.jpg")])
    assert steps == ["file-rename", "folder-sync"]


def test_a_file_system_that_cannot_sync_a_folder_is_let_be(tmp_path, monkeypatch):
    asked = []

    def refuse(fd):
        asked.append(fd)
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(local.os, "fsync", refuse)
    sync_folders([tmp_path, tmp_path])
    assert len(asked) == 1, "each folder once"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(asked[0])


def test_a_removed_file_is_gone_and_its_neighbours_are_not(store, part):
    folder = Path(store.rename_in(part, "a/b.jpg"))
    (folder / "c.jpg").write_bytes(b"c")
    store.remove("a/b.jpg")
    store.remove("a/b.jpg")
    assert list(store.names()) == ["a/c.jpg"]
    with pytest.raises(StoreNotWritable, match="expected a regular file, there is a folder"):
        store.remove("a")
    with pytest.raises(StoreNotWritable, match="is not inside the store"):
        store.remove("../some.part")


def test_names_are_the_published_files_and_no_others(store, part):
    store.rename_in(part, "a/b.jpg")
    (store.root / "c.jpg").write_bytes(b"")
    (store.root / "empty").mkdir()
    (store.root / "link").symlink_to("c.jpg")
    (store.root / "a" / HIDDEN).write_bytes(b"only a name")
    (store.hidden / "ledger.sqlite3").write_bytes(b"")
    assert sorted(store.names()) == [f"a/{HIDDEN}", "a/b.jpg", "c.jpg"]


def test_a_folder_that_somebody_removed_is_made_again(store, part, tmp_path):
    store.rename_in(part, "a/b/c.jpg")
    (store.root / "a" / "b" / "c.jpg").unlink()
    (store.root / "a" / "b").rmdir()
    (store.root / "a").rmdir()
    other = tmp_path / "other.part"
    other.write_bytes(b"other")
    store.rename_in(other, "a/b/d.jpg")
    assert (store.root / "a" / "b" / "d.jpg").read_bytes() == b"other"


def test_a_path_with_hundreds_of_folders_takes_few_open_files(tmp_path):
    names = [str(number) for number in range(300)]
    found, *unsynced = Directory.at(str(tmp_path)).make(names)
    assert found.path == f"{tmp_path}/{'/'.join(names)}"
    assert len(unsynced) < 10
