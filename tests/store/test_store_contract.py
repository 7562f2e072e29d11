"""What every store must do. A further implementation is one more line in `IMPLEMENTATIONS`."""

import errno
import hashlib
import os
import subprocess
import sys

import pytest
from open_files import open_below

from mediacrawl.backends import store_of
from mediacrawl.errors import PathConflict, StoreNotWritable
from mediacrawl.headers import ETag, Validators
from mediacrawl.store.parts import PartRecord

IMPLEMENTATIONS = {"folder": "file:{folder}/store"}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def url(request, tmp_path):
    return request.param.format(folder=tmp_path)


@pytest.fixture
def store(url):
    store = store_of(url)
    store.open()
    yield store
    store.parts.close()


def part(store, body=b"whole", name="some.part"):
    """A whole part as `rename_in` wants it."""
    path = store.parts.folder / name
    path.write_bytes(body)
    return path


def publish(store, name, body=b"whole"):
    store.sync([store.rename_in(str(part(store, body)), name, replaces=True)])


# Names


def test_nothing_is_made_before_the_store_is_opened(url, tmp_path):
    store_of(url)
    assert list(tmp_path.iterdir()) == []


def test_opening_again_changes_nothing(store, url):
    publish(store, "a/b.jpg")
    left = part(store)
    again = store_of(url)
    again.open()
    assert list(again.names()) == ["a/b.jpg"]
    assert again.path("a/b.jpg").read_bytes() == b"whole"
    assert left.exists(), "whoever settles after a crash asks for it: it is swept later"
    again.parts.close()


@pytest.mark.parametrize("body", [b"", bytes(2_000_000)], ids=["nothing", "a record"])
def test_a_part_that_is_unlocked_after_the_close_leaves_nothing_open(store, body):
    publish(store, "a/b.jpg")
    part_file = store.parts.open("key")
    part_file.begin(PartRecord(validators=Validators(ETag("a")).to_dict(), complete_length=10**9))
    part_file.write_at(0, body)
    part_file.mark((0, len(body)))
    store.close()
    assert open_below(store.root) == [part_file.file]
    part_file.close()
    assert open_below(store.root) == []
    store.open()
    with store.parts.open("key") as again:
        assert again.written_bytes == len(body)
    assert open_below(store.root) != [], "it keeps its folders open again"
    store.close()


@pytest.mark.parametrize(
    "name", ["a.jpg", "a/b/c.jpg", "..jpg", "...", "a/../b.jpg", "a..b", "mediacrawl/x", "山.png"]
)
def test_a_path_lies_inside_the_store(store, name):
    path = store.path(name)
    assert path == store.root / os.path.normpath(name)
    assert path.is_relative_to(store.root)


@pytest.mark.parametrize(
    "name", ["../a", "a/../../a", "/etc/passwd", "..", ".", "", "a/..", "{hidden}", "{hidden}/x", "a/../{hidden}/x"]
)
def test_a_path_that_leaves_the_store_is_refused(store, name):
    name, whole = name.format(hidden=store.hidden.name), part(store)
    for call in (
        store.path,
        store.taken,
        store.remove,
        store.quarantine,
        lambda name: store.rename_in(str(whole), name),
    ):
        with pytest.raises(StoreNotWritable, match="is not inside the store"):
            call(name)
    assert whole.read_bytes() == b"whole"


# Publishing


def test_a_published_file_has_its_name_its_size_and_its_bytes(store):
    whole = part(store)
    assert not store.taken("a/b/c.jpg")
    store.sync([store.rename_in(str(whole), "a/b/c.jpg")])
    store.sync_names(["a/b/c.jpg"])
    assert not whole.exists()
    assert store.taken("a/b/c.jpg")
    assert store.path("a/b/c.jpg").read_bytes() == b"whole"
    assert (store.size("a/b/c.jpg"), store.sha256("a/b/c.jpg")) == (5, hashlib.sha256(b"whole").hexdigest())
    assert list(store.names()) == ["a/b/c.jpg"]


def test_what_is_not_there_is_none(store):
    publish(store, "a.jpg")
    for name in ("b.jpg", "a.jpg/b", "a\0b"):
        assert (store.size(name), store.sha256(name), store.identity(name)) == (None, None, None)
        assert not store.is_locked(name)
    assert not store.taken("b.jpg")
    store.remove("b.jpg")
    assert store.quarantine("b.jpg") is None


def test_a_new_version_takes_the_place_of_the_old_one_and_is_told_from_it(store):
    publish(store, "a.jpg", b"first version")
    first = store.identity("a.jpg")
    assert first == store.identity("a.jpg")
    publish(store, "a.jpg", b"second")
    assert (store.path("a.jpg").read_bytes(), store.identity("a.jpg") == first) == (b"second", False)
    assert list(store.names()) == ["a.jpg"]


@pytest.mark.parametrize("name", ["file/a.jpg", "file/b/a.jpg", "folder"])
def test_a_name_that_cannot_be_leaves_the_part_where_it_was_and_is_no_fault_of_the_store(store, name):
    publish(store, "file")
    publish(store, "folder/a.jpg")
    whole = part(store)
    with pytest.raises(PathConflict, match=f"{name} cannot be a file's path"):
        store.rename_in(str(whole), name)
    assert whole.read_bytes() == b"whole"
    assert sorted(store.names()) == ["file", "folder/a.jpg"]


def test_the_steps_of_publishing_can_be_stopped_at(store):
    steps = []
    store.at_step = steps.append
    publish(store, "a.jpg")
    assert steps == ["file-rename", "folder-sync"]


# Taking away


def test_a_removed_file_is_gone_and_its_neighbours_are_not(store):
    publish(store, "a/b.jpg")
    publish(store, "a/c.jpg")
    store.remove("a/b.jpg")
    store.remove("a/b.jpg")
    assert list(store.names()) == ["a/c.jpg"]
    with pytest.raises(StoreNotWritable):
        store.remove("a")


def test_what_is_set_aside_is_in_the_quarantine_and_its_name_is_free(store):
    for body in (b"altered", b"altered again"):
        publish(store, "a/b.jpg", body)
        aside = store.quarantine("a/b.jpg")
        assert aside.is_relative_to(store.quarantine_folder)
        assert aside.read_bytes() == body
        assert not store.taken("a/b.jpg")
    assert list(store.names()) == []
    assert len([path for path in store.quarantine_folder.rglob("*") if path.is_file()]) == 2


# Crashes

CHILD = """
import os, sys
from mediacrawl.backends import store_of

store = store_of(sys.argv[1])
store.at_step = lambda step: step == sys.argv[2] and os.kill(os.getpid(), 9)
store.open()
whole = store.parts.folder / "some.part"
whole.write_bytes(b"whole")
store.sync([store.rename_in(str(whole), "a/b.jpg")])
"""


@pytest.mark.parametrize(("step", "names"), [("file-rename", ([], ["a/b.jpg"])), ("folder-sync", (["a/b.jpg"],))])
def test_after_a_crash_a_name_is_there_with_a_whole_file_or_not_at_all(url, step, names):
    assert subprocess.run([sys.executable, "-c", CHILD, url, step], check=False).returncode == -9
    store = store_of(url)
    store.open()
    assert list(store.names()) in names
    assert [store.path(name).read_bytes() for name in store.names()] in ([], [b"whole"])
    publish(store, "a/b.jpg", b"next run")
    assert store.path("a/b.jpg").read_bytes() == b"next run"
    store.parts.close()


# Second names


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_can_have_a_second_name(store, monkeypatch, has_links):
    def refuse(*_names, **_folders):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    publish(store, "a.jpg")
    publish(store, "c.jpg", b"other")
    for name in ("b/b.jpg", "c.jpg", "a.jpg", "b/b.jpg"):
        store.sync([store.link("a.jpg", name, replaces=True)])
    assert {name: store.path(name).read_bytes() for name in store.names()} == {
        "a.jpg": b"whole",
        "b/b.jpg": b"whole",
        "c.jpg": b"whole",
    }
    assert store.path("c.jpg").samefile(store.path("a.jpg")) is has_links
    assert [path.name for path in store.hidden.iterdir() if path.name.startswith("link-")] == []


def test_a_file_that_is_gone_or_in_the_way_of_a_folder_gets_no_second_name(store):
    publish(store, "a.jpg")
    with pytest.raises(PathConflict, match=r"b\.jpg: gone\.jpg, which has the same bytes, is gone"):
        store.link("gone.jpg", "b.jpg")
    with pytest.raises(PathConflict, match="a part of it is a file"):
        store.link("a.jpg", "a.jpg/b.jpg")
    assert list(store.names()) == ["a.jpg"]
    assert [path.name for path in store.hidden.iterdir() if path.name.startswith("link-")] == []
