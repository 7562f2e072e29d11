"""Folders in an order and page by page, the files beside a file, and search: without a server."""

from __future__ import annotations

import os
from functools import partial
from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.server.files import FilesBelow, OpenFolder
from mediacrawl.server.pages.listing import Cursor, Order, find_by_name, list_folder, neighbours
from mediacrawl.server.pages.rows import Links, entry_facts, played_kind
from mediacrawl.store.local import HIDDEN

ALL_ORDERS = [Order(by, is_descending) for by in ("name", "size", "date") for is_descending in (False, True)]


def everything(_path):
    return True


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    found = FilesBelow(root)
    yield found
    found.close()


def add(files, path, size=0, at=0):
    target = files.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"x" * size)
    os.utime(target, (at, at))


def names(listing):
    return [entry.name for entry in listing.entries]


def pages(files, order, most):
    """The names of all pages of the root."""
    after, found = None, []
    while True:
        listing = list_folder(files, "", everything, order=order, after=after, most=most)
        found.append(names(listing))
        if listing.following is None:
            return found
        after = Cursor.from_text(listing.following.to_text())


def test_folders_come_first_and_numbers_count_as_numbers(files):
    for name in ("b10.jpg", "B9.jpg", "a.jpg", "b010.jpg", "c/x", "A/x"):
        add(files, name)
    assert names(list_folder(files, "", everything)) == ["A", "c", "a.jpg", "B9.jpg", "b010.jpg", "b10.jpg"]


def test_a_folder_is_ordered_by_size_and_by_date(files):
    add(files, "small", 1, at=30)
    add(files, "large", 9, at=20)
    add(files, "middle", 5, at=10)
    add(files, "folder/x", 100)
    assert names(list_folder(files, "", everything, order=Order("size"))) == ["folder", "small", "middle", "large"]
    assert names(list_folder(files, "", everything, order=Order("size", True)))[1:] == ["large", "middle", "small"]
    assert names(list_folder(files, "", everything, order=Order("date", True)))[1:] == ["small", "large", "middle"]


@pytest.mark.parametrize("order", ALL_ORDERS, ids=str)
def test_pages_have_each_entry_once(files, order):
    for number in range(23):
        add(files, f"file {number}", number % 4, at=number % 3)
    for name in ("d1/x", "d2/x", "d10/x"):
        add(files, name)
    add(files, os.fsdecode(b"not \xff UTF-8"))
    found = pages(files, order, 5)
    assert [len(page) for page in found] == [5] * 5 + [2]
    together = list(chain(*found))
    assert together == names(list_folder(files, "", everything, order=order))
    assert sorted(together) == sorted(path.name for path in files.root.iterdir())


def test_a_page_begins_after_an_entry_that_is_gone(files):
    for name in "abcdef":
        add(files, name)
    following = list_folder(files, "", everything, most=3).following
    (files.root / "c").unlink()
    (files.root / "a").unlink()
    assert names(list_folder(files, "", everything, after=following)) == ["d", "e", "f"]


def test_only_files_and_folders_below_the_store_are_listed(files, tmp_path):
    add(files, "file")
    add(files, "folder/inner")
    add(files, f"{HIDDEN}/secret")
    add(files, ".hidden")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/other").touch()
    (files.root / "link").symlink_to(tmp_path / "outside")
    (files.root / "file link").symlink_to("file")
    os.mkfifo(files.root / "pipe")
    assert names(list_folder(files, "", everything)) == ["folder", "file"]
    for path in ("link", HIDDEN, "..", "folder/..", "missing", "file", "folder//inner", "folder/", "a\0", "x" * 300):
        assert list_folder(files, path, everything) is None, path
    assert find_by_name(files, ["e"], everything).folders == 2


def test_nothing_is_seen_that_the_person_may_not_see(files):
    add(files, "~anna/song 1.mp3")
    add(files, "~anna/song 2.mp3")
    add(files, "song.mp3")

    def may_see(path):
        return not path.startswith("~anna")

    listing = list_folder(files, "", may_see)
    assert (names(listing), listing.total) == (["song.mp3"], 1)
    assert [entry.path for entry in find_by_name(files, ["song"], may_see).entries] == ["song.mp3"]
    assert find_by_name(files, ["song"], may_see).folders == 1
    assert neighbours(files, "~anna/song 1.mp3", may_see) == (None, None)


def test_the_files_before_and_after_a_file(files):
    for name in ("a.jpg", "b2.jpg", "b10.jpg", "c.txt", "d.jpg", "b5.jpg/x"):
        add(files, f"f/{name}")

    def is_picture(path):
        return path.endswith(".jpg")

    assert neighbours(files, "f/b2.jpg", is_picture) == ("f/a.jpg", "f/b10.jpg")
    assert neighbours(files, "f/b10.jpg", is_picture) == ("f/b2.jpg", "f/d.jpg")
    assert neighbours(files, "f/a.jpg", is_picture) == (None, "f/b2.jpg")
    assert neighbours(files, "f/d.jpg", is_picture) == ("f/b10.jpg", None)
    assert neighbours(files, "missing/d.jpg", is_picture) == (None, None)


def test_a_search_finds_words_in_names_and_their_folders(files):
    for path in ("Álbum/Song One.mp3", "Álbum/Song Two.mp3", "other/song one.txt", "Álbum/sub/x.jpg"):
        add(files, path)

    def found(*words):
        return sorted(entry.path for entry in find_by_name(files, list(words), everything).entries)

    assert found("SONG") == ["other/song one.txt", "Álbum/Song One.mp3", "Álbum/Song Two.mp3"]
    assert found("a\u0301lbum", "one") == ["Álbum/Song One.mp3"]  # decomposed
    assert found("álbum") == ["Álbum"]  # not each file in it
    assert found("nothing") == []
    assert [e.path for e in find_by_name(files, ["one"], everything, below="other").entries] == ["other/song one.txt"]


def test_a_search_ends_at_its_limits(files):
    for number in range(600):
        add(files, f"file {number}")
    found = find_by_name(files, ["file"], everything, most=10)
    assert (len(found.entries), found.is_complete) == (10, False)
    times = iter([0.0, 1.0, 2.0, 3.0])  # at the beginning, and at each 256 entries
    found = find_by_name(files, ["file"], everything, most=1000, within_s=2.0, clock=lambda: next(times))
    assert (len(found.entries), found.is_complete) == (256, False)
    assert find_by_name(files, ["file"], everything, most=1000).is_complete


def test_a_search_returns_the_first_by_name_of_each_level(files, monkeypatch):
    names_found = [f"song {number}" for number in range(30)]
    for name in names_found:
        add(files, f"b/{name}")
        add(files, f"a/{name}")
        add(files, f"a/deep/{name}")
    add(files, "song z")
    for seed in range(3):  # the order of the disk does not count
        entries = OpenFolder.entries
        shuffled = partial(shuffle, Random(seed), entries)
        monkeypatch.setattr(OpenFolder, "entries", lambda folder, shuffled=shuffled: shuffled(folder))
        found = find_by_name(files, ["song"], everything, most=6)
        monkeypatch.setattr(OpenFolder, "entries", entries)
        paths = ["song z", "a/song 0", "b/song 0", "a/song 1", "b/song 1", "a/song 2"]
        assert [entry.path for entry in found.entries] == paths
        assert (found.has_more, found.is_complete, found.folders) == (True, False, 3)
    exact = find_by_name(files, ["song"], everything, most=91)
    assert (len(exact.entries), exact.has_more, exact.is_complete) == (91, False, True)
    assert find_by_name(files, ["song"], everything, most=90).has_more


def shuffle(random, entries, folder):
    found = list(entries(folder))
    random.shuffle(found)
    return iter(found)


@given(
    st.booleans(),
    st.integers(-(10**19), 10**19),
    st.binary(min_size=1, max_size=255).map(os.fsdecode).filter(lambda name: "/" not in name and "\0" not in name),
)
def test_a_cursor_is_read_as_it_was_written(is_folder, value, name):
    cursor = Cursor(is_folder, value, name)
    assert Cursor.from_text(cursor.to_text()) == cursor
    assert cursor.to_text().isascii()


@pytest.mark.parametrize("text", ["", "x", "é", "Zg==", "ZjEvYS9i", "////", "A" * 5000, "=", "eDEvYQ=="])
def test_other_texts_are_no_cursors(text):
    with pytest.raises(ValueError, match="not the beginning"):
        Cursor.from_text(text)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.mp4", "video"),
        ("a.MKV", "video"),
        ("a.avi", None),
        ("a.mp3", "audio"),
        ("a.flac", "audio"),
        ("a.wma", None),
        ("a.jpg", "image"),
        ("a.svg", "image"),  # within a page its scripts do not run
        ("a.tif", None),
        ("a.pdf", None),
        ("a.html", None),
        ("a", None),
    ],
)
def test_what_browsers_play(path, kind):
    assert played_kind(path) == kind


def test_links_begin_with_the_prefix_and_have_no_character_of_a_url(files):
    add(files, 'a ?#%&"<>:b.jpg')
    (entry,) = list_folder(files, "", everything).entries
    row = Links("/media/").row(entry)
    assert row.href == "/media/play/a%20%3F%23%25%26%22%3C%3E%3Ab.jpg"
    assert [step.href for step in Links("/media/").steps("x/é")] == [
        "/media/files/",
        "/media/files/x/",
        "/media/files/x/%C3%A9/",
    ]


def test_json_has_the_bytes_of_a_name_in_its_link(files):
    add(files, os.fsdecode(b"d/\xff:x"), 3, at=86400)
    (entry,) = list_folder(files, "d", everything).entries
    assert entry_facts(entry, lambda path, identity: f"{path!r} {identity.size}") == {
        "name": "\ufffd:x",
        "path": "d/\ufffd:x",
        "href": "%FF%3Ax",
        "kind": "file",
        "size": 3,
        "modified": "1970-01-02T00:00:00Z",
        "sha256": "'d/\\udcff:x' 3",
    }
