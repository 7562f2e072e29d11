"""No path leaves the folder, none reaches what is hidden, and no answer has bytes of two files."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hostile_paths import HOSTILE, SECRET, make_traps

from mediacrawl.errors import StoreNotWritable
from mediacrawl.server import descriptors as descriptors_module
from mediacrawl.server.descriptors import DescriptorCache
from mediacrawl.server.files import FilesBelow, open_file


def descriptors(folder):
    """The open files below a folder: other tests of this process leave descriptors open and close them."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            path = str(link.readlink())
            found += [path] if path.startswith(f"{folder}/") else []
    return found


@pytest.fixture
def root(tmp_path):
    """A store beside a secret, with all kinds of ways to it."""
    return make_traps(tmp_path / "store")


@pytest.fixture
def files(root):
    files = FilesBelow(root)
    yield files
    files.close()


@pytest.mark.parametrize(
    "path",
    ["a/b/c.jpg", "ünï 東.jpg", "a:b.jpg", "back\\slash.jpg", os.fsdecode(b"latin-\xff.jpg")],
    ids=ascii,
)
def test_a_regular_file_is_opened(files, path):
    with files.open(path) as file:
        assert file.read(0, 100) == b"picture"
        assert file.name == path.rpartition("/")[2]
        assert file.identity == files.identity(path)


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path[:40]))
def test_no_other_path_is_a_file(files, path):
    assert files.open(path) is None


def test_the_hidden_folder_is_not_reached_under_another_name(files, root):
    """As on a file system that ignores case, or some characters."""
    (root / ".mediacrawl").rename(root / "shown")
    assert files.open("shown/secret.sqlite3") is not None
    (root / ".mediacrawl").symlink_to("shown")
    with files.open("shown/secret.sqlite3"):  # a link in its place is not the folder
        pass
    (root / ".mediacrawl").unlink()
    real = os.stat

    def stat_(path, **how):
        return real("shown" if path == ".mediacrawl" else path, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", stat_)
        assert files.open("shown/secret.sqlite3") is None


def test_an_unreadable_file_is_not_there_and_a_missing_folder_is_told(root, tmp_path, monkeypatch):
    files = FilesBelow(root)
    monkeypatch.setattr(os, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "denied")))
    assert files.open("a/b/c.jpg") is None
    monkeypatch.setattr(os, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(24, "too many open files")))
    with pytest.raises(OSError, match="too many"):
        files.open("a/b/c.jpg")
    monkeypatch.undo()
    files.close()
    for path in (tmp_path / "nowhere", tmp_path / "secret"):
        with pytest.raises(StoreNotWritable, match="cannot read the folder"):
            FilesBelow(path)


def test_no_descriptor_is_lost(files, root):
    for path in HOSTILE:
        assert files.open(path) is None
    with files.open("a/b/c.jpg"):
        assert descriptors(root) == [f"{root}/a/b/c.jpg"]
    assert descriptors(root) == []


def test_a_folder_that_is_swapped_with_a_link_never_leads_away(files, root, tmp_path):
    """The classic race: between the check of a component and its use. Each name is opened below an open folder."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.jpg").write_bytes(SECRET)
    (root / "a" / "evil").symlink_to(tmp_path / "b")
    stop = threading.Event()

    def swap():
        names = [root / "a" / name for name in ("b", "evil", "spare")]
        while not stop.is_set():
            for one, other in ((0, 2), (1, 0), (0, 1), (2, 0)):
                names[one].rename(names[other])

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = set()
    try:
        for _ in range(3000):
            file = files.open("a/b/c.jpg")
            if file is not None:
                with file:
                    seen.add(file.read(0, 100))
    finally:
        stop.set()
        swapping.join()
    assert seen == {b"picture"}


def test_a_file_that_shrinks_ends_in_an_error(files, root):
    with files.open("a/b/c.jpg") as file:
        os.truncate(root / "a/b/c.jpg", 3)
        assert file.read(0, 100) == b"pic"
        for error in (lambda: file.read(3, 4), lambda: file.check_size(7)):
            with pytest.raises(OSError, match="has become shorter"):
                error()
        assert file.read_cached(0, 7) is None
        file.check_size(3)


def test_a_trusted_path_may_be_a_link_but_must_be_a_file(root):
    with open_file(str(root / "inner-link")) as file:
        assert file.read(0, 100) == b"picture"
    for path in ("fifo", "a", "nothing", "loop", "dangling", "a\0"):
        assert open_file(f"{root}/{path}") is None


# The cache of descriptors


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    for n in range(8):
        (tmp_path / f"{n}").write_bytes(b"%d" % n)
    files = FilesBelow(tmp_path)
    yield files
    files.close()


@pytest.fixture
def cache(store, clock):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descriptors_module, "_highest_numbers", lambda: (500, 8))
        cache = DescriptorCache(store, store.identity, most=2, clock=clock)
    yield cache
    cache.close()


def test_few_files_are_kept_where_few_can_be_open(store, clock, monkeypatch):
    """They would keep the server from accepting connections, for ever."""
    monkeypatch.setattr(descriptors_module, "_highest_numbers", lambda: (500, 8))
    cache = DescriptorCache(store, store.identity, most=512, clock=clock)
    files = [cache.get(name) for name in "0123"]
    assert [file.descriptor >= 0 for file in files] == [False, False, True, True]
    cache.close()


def content(path):
    return Path(path).read_bytes()


def test_a_file_is_opened_once_until_it_is_replaced(cache, store):
    first = cache.get("0")
    assert cache.get("0") is first
    old = cache.hand_out(first)
    (store.root / "new").write_bytes(b"new")
    (store.root / "new").replace(store.root / "0")
    second = cache.get("0")
    assert second is not first
    assert (content(old), content(cache.hand_out(second))) == (b"0", b"new")
    (store.root / "0").unlink()
    assert cache.get("0") is None
    assert content(old) == b"0"


def test_a_number_leads_to_its_file_or_nowhere(cache, store, clock):
    """However many files are asked for afterwards: a server may be late."""
    paths = {}
    for turn in range(400):
        clock.now += 7.0
        file = cache.get(str(turn % 8))
        path = cache.hand_out(file)
        if path is not None:
            paths[path] = b"%d" % (turn % 8)
        for known, body in list(paths.items()):
            try:
                assert content(known) == body
            except FileNotFoundError:
                del paths[known]
    assert len(descriptors(store.root)) <= 2 + 4, "in the cache, and handed out"


def test_a_file_stays_open_for_its_time_and_too_many_are_refused(cache, clock):
    held = [cache.hand_out(cache.get(str(n))) for n in range(4)]
    assert None not in held
    assert cache.hand_out(cache.get("4")) is None
    clock.now = 19.0
    assert [content(path) for path in held] == [b"0", b"1", b"2", b"3"]
    assert cache.hand_out(cache.get("4")) is None
    clock.now = 21.0
    assert content(cache.hand_out(cache.get("4"))) == b"4"
    for path in held[:2]:
        with pytest.raises(FileNotFoundError):
            content(path)


def test_a_file_that_was_not_handed_out_is_closed_when_it_is_evicted(cache, store):
    for turn in range(100):
        cache.get(str(turn % 8))
    assert len(descriptors(store.root)) == 2


def test_a_duplicate_outlives_the_cache(cache):
    with cache.get("0").duplicate() as file:
        for n in range(1, 8):
            cache.get(str(n))
        assert file.read(0, 9) == b"0"


def test_numbers_begin_again_when_all_have_been_used(cache, clock):
    cache._next_number = 10**9
    assert content(cache.hand_out(cache.get("0"))) == b"0"
    assert cache._next_number < 10**9
