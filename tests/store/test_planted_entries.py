"""What another user of the machine may have put into a store: links, FIFOs, folders, files of other owners."""

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mediacrawl.archive import Archive, Publish
from mediacrawl.backends import LEDGER_NAME
from mediacrawl.download.records import Fetched
from mediacrawl.errors import MachineError, PathConflict, StoreNotWritable
from mediacrawl.ledger.base import Entry, State
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.store.base import NameTaken
from mediacrawl.store.local import HIDDEN, LocalStore
from mediacrawl.store.parts import RECORDED_FROM_BYTES, PartRecord
from mediacrawl.system import directories

KEY = "http://h/a.jpg"
BODY = b"whole"
LARGE = b"x" * (2 * RECORDED_FROM_BYTES)
SECRET = b"of somebody else"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
NOBODY = 65534


@pytest.fixture
def foreign(tmp_path):
    """A file outside the store that must stay as it is."""
    path = tmp_path / "foreign"
    path.write_bytes(SECRET)
    yield path
    assert path.read_bytes() == SECRET
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def archive(root):
    archive = Archive.open(LocalStore(root))
    yield archive
    archive.close()


@pytest.fixture
def common():
    """A folder that every user can enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


BEGIN = """
import os, sys, tempfile
from pathlib import Path
from mediacrawl.errors import MachineError
from mediacrawl.frontier.sqlite import SqliteFrontier
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.store.local import LocalStore

with tempfile.TemporaryDirectory() as folder:  # what is imported late must be here before the user changes
    LocalStore(folder).open()
    LocalStore(folder).parts.open("key").close()
    SqliteFrontier(Path(folder, "job"), "x").close(finished=True)
    SqliteLedger(Path(folder, "ledger")).close()
"""


def as_nobody(program):
    """What a program prints that may become another user."""
    done = subprocess.run([sys.executable, "-c", BEGIN + program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def planted_socket(path, _foreign):
    with socket.socket(socket.AF_UNIX) as end:
        folder = os.open(path.parent, os.O_RDONLY)
        end.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


PLANTED = {
    "link": lambda path, foreign: path.symlink_to(foreign),
    "dangling link": lambda path, foreign: path.symlink_to(foreign.with_name("missing")),
    "second name": lambda path, foreign: path.hardlink_to(foreign),
    "FIFO": lambda path, _foreign: os.mkfifo(path),
    "socket": planted_socket,
}
FOLDER = {"folder": lambda path, _foreign: path.mkdir()}


def every(planted):
    return pytest.mark.parametrize("plant", planted.values(), ids=planted.keys())


def fetch(archive, key=KEY, body=BODY):
    part = archive.store.parts.open(key)
    part.fill(PartRecord(complete_length=len(body)), body)
    digest = hashlib.sha256(body).hexdigest()
    return Fetched(part=part, status=200, url=KEY, size_bytes=len(body), sha256=digest)


def publish(archive, path="a.jpg", key=KEY, body=BODY):
    (result,) = archive.write([Publish(Entry(key, key, path=path), fetch(archive, key, body))])
    if isinstance(result, Exception):
        raise result
    return result


# Parts


@every(PLANTED)
def test_an_entry_at_the_name_of_a_part_is_neither_followed_nor_emptied(archive, foreign, plant, caplog):
    plant(archive.store.parts._path(KEY), foreign)
    assert publish(archive).path == "a.jpg"
    assert (archive.store.root / "a.jpg").read_bytes() == BODY
    assert not (archive.store.root / "a.jpg").is_symlink()
    assert not foreign.with_name("missing").exists()


@every(PLANTED)
@pytest.mark.parametrize("suffix", [".json", ".tmp", ".new.part", ".new.json", ".new.tmp"])
def test_an_entry_at_another_name_of_a_part_is_no_record_and_not_written_to(archive, foreign, plant, suffix):
    plant(archive.store.parts.folder / f"{archive.store.parts.name(KEY)}{suffix}", foreign)
    with archive.store.parts.open(KEY) as part:
        assert part.have == 0
        part.begin(PartRecord(complete_length=len(LARGE)))
        part.write_at(0, LARGE)
        part.mark((0, len(LARGE)))
        part.checkpoint()
    archive.store.parts.sweep()
    with archive.store.parts.open(KEY) as part:
        assert part.read(0, part.have) == LARGE
        new = part.replacement()
        new.fill(PartRecord(complete_length=len(BODY)), BODY)
        new.take_place()
        assert new.read(0, 9) == BODY
        new.close()
    assert not foreign.with_name("missing").exists()


@every(PLANTED | FOLDER)
def test_the_sweep_takes_planted_entries_for_nothing(root, foreign, plant):
    LocalStore(root).open()
    for name in ("a.part", "b.json", "c.tmp", "d.new.part", "d.new.json"):
        plant(root / HIDDEN / "parts" / name, foreign)
    (root / HIDDEN / "whole").mkdir()
    plant(root / HIDDEN / "whole" / "1-0.log", foreign)
    plant(root / HIDDEN / f"probe-{os.getpid()}", foreign)
    try:
        Archive.open(LocalStore(root)).close()
    except MachineError as error:
        assert "expected a regular file, there is a folder: move it away" in str(error)  # noqa: PT017
        assert str(root / HIDDEN) in str(error)  # noqa: PT017


def test_a_folder_at_the_name_of_a_part_is_one_line(archive):
    archive.store.parts._path(KEY).mkdir()
    with pytest.raises(StoreNotWritable) as caught:
        archive.store.parts.open(KEY)
    path = archive.store.parts._path(KEY)
    advice = "expected a regular file, there is a folder: move it away and run the same command again"
    assert str(caught.value) == f"cannot use {path}: {advice}"


@AS_ROOT
def test_a_part_of_another_user_is_begun_anew(common):
    """A process that has the file open could change the bytes after they were verified."""
    as_nobody(f"""
store = LocalStore({str(common / "s")!r})
path = store.parts._path("key")
os.makedirs(path.parent)
for folder in (store.root, store.hidden, path.parent):
    os.chown(folder, {NOBODY}, -1)
path.write_bytes(b"of root")
path.with_suffix(".json").write_text('{{}}')
os.setuid({NOBODY})
store.open()
with store.parts.open("key") as part:
    assert part.record is None and os.fstat(part.fileno()).st_uid == {NOBODY}
""")


def test_the_name_that_a_record_moves_to_stays_in_the_folder(archive, foreign):
    record = archive.store.parts.folder / f"{'0' * 40}.json"
    record.write_text(json.dumps({"moves_to": "../../../foreign", "inode": foreign.stat().st_ino}))
    foreign.with_suffix(".part").write_bytes(b"")
    archive.store.parts.sweep()
    assert not record.exists()
    assert not foreign.with_suffix(".json").exists()


# Publishing


def without_renameat2(patches):
    patches.setattr(directories, "_RENAMEAT2", None)


def without_links_too(patches):
    def refuse(*_names, **_folders):
        raise PermissionError(1, "Operation not permitted")

    without_renameat2(patches)
    patches.setattr(os, "link", refuse)


SYSTEMS = {"renameat2": lambda _patches: None, "link": without_renameat2, "neither": without_links_too}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())
@pytest.mark.parametrize("plant", [PLANTED["link"], PLANTED["FIFO"], lambda path, _: path.write_bytes(SECRET)])
def test_what_is_planted_between_claim_and_rename_stays_and_the_file_gets_another_name(
    archive, foreign, plant, system, monkeypatch
):
    system(monkeypatch)
    if system is not without_links_too:  # there, an entry made in the very moment of the rename is overwritten
        archive.store.at_step = lambda step: step == "file-rename" and at_once()
    else:
        archive.store.at_step = lambda step: step == "ledger-claim" or (step == "file-rename" and at_once())
    target = archive.store.root / "a.jpg"

    def at_once():
        if not os.path.lexists(target):
            plant(target, foreign)

    entry = publish(archive)
    before = target.lstat()
    assert (entry.path, entry.state) == ("a-2.jpg", State.DONE)
    assert (archive.store.root / "a-2.jpg").read_bytes() == BODY
    assert archive.lookup([KEY])[0].path == "a-2.jpg"
    assert target.lstat() == before
    assert target.is_symlink() or not target.is_file() or target.read_bytes() == SECRET
    assert list(archive.store.parts.folder.iterdir()) == []


def test_who_takes_each_name_gets_no_file_overwritten_and_the_part_stays(archive):
    def take(step):
        if step == "file-rename":
            for number in range(30):
                (archive.store.root / f"a-{number}.jpg").write_bytes(SECRET)
            (archive.store.root / "a.jpg").write_bytes(SECRET)
            for path in archive.store.root.glob("a-[0-9]*.jpg"):
                path.write_bytes(SECRET)
            names.append(len(names))
            claimed = archive.lookup([KEY])[0].path
            (archive.store.root / claimed).write_bytes(SECRET)

    names = []
    archive.store.at_step = take
    fetched = fetch(archive)
    (result,) = archive.write([Publish(Entry(KEY, KEY, path="a.jpg"), fetched)])
    assert isinstance(result, PathConflict)
    assert "run the same command again" in str(result)
    assert {path.read_bytes() for path in archive.store.root.glob("*.jpg")} == {SECRET}
    archive.store.at_step = lambda _step: None
    (again,) = archive.write([Publish(Entry(KEY, KEY, path="b.jpg"), fetched)])
    assert (archive.store.root / again.path).read_bytes() == BODY


@pytest.mark.parametrize("moment", ["before", "between"])
@pytest.mark.parametrize("depth", ["a", "a/b"])
def test_a_folder_swapped_for_a_link_is_not_followed(archive, tmp_path, moment, depth):
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    publish(archive, "a/b/first.jpg", "http://h/first")

    def swap():
        folder = archive.store.root / depth
        folder.rename(tmp_path / "moved")
        folder.symlink_to(outside if depth == "a" else outside / "b")

    if moment == "before":
        swap()
        with pytest.raises(PathConflict, match=f"{depth}: expected a folder, there is a symbolic link: move it away"):
            publish(archive, "a/b/c.jpg")
    else:
        archive.store.at_step = lambda step: step == "file-rename" and swap()
        publish(archive, "a/b/c.jpg")
    assert [path for path in outside.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("act", [LocalStore.remove, LocalStore.quarantine, LocalStore.sha256, LocalStore.identity])
def test_nothing_is_read_or_taken_through_a_link_to_a_folder(archive, tmp_path, act):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.jpg").write_bytes(SECRET)
    (archive.store.root / "a").symlink_to(tmp_path / "outside")
    try:
        assert act(archive.store, "a/x.jpg") is None
    except StoreNotWritable as error:
        assert "expected a folder, there is a symbolic link" in str(error)  # noqa: PT017
    assert (tmp_path / "outside" / "x.jpg").read_bytes() == SECRET


@every(PLANTED | FOLDER)
def test_an_entry_in_the_place_of_a_finished_file_is_not_the_file_and_stays(archive, foreign, plant):
    entry = publish(archive, body=SECRET)
    path = archive.store.root / "a.jpg"
    path.unlink()
    plant(path, foreign)
    before = path.lstat()
    if not path.is_symlink() and path.is_file():
        assert archive.store.size("a.jpg") == len(SECRET)  # a second name of a file is a file; `verify` reads it
        return
    assert archive.store.size("a.jpg") is None
    assert archive.store.identity("a.jpg") is None
    assert archive.store.sha256("a.jpg") is None
    assert not archive.store.is_locked("a.jpg")
    (now,) = archive.lookup([entry.key])
    assert now.state == State.PENDING
    try:
        assert publish(archive).path == "a-2.jpg"
    except PathConflict as error:
        assert "or it is a folder" in str(error)  # noqa: PT017
    assert path.lstat() == before


@every(PLANTED)
def test_a_second_name_takes_no_planted_entry(archive, foreign, plant):
    publish(archive)
    aside = archive.store.root / "b.jpg"
    plant(aside, foreign)
    with pytest.raises(NameTaken):
        archive.store.link("a.jpg", "b.jpg")
    assert archive.store.link("a.jpg", "c.jpg")
    assert (archive.store.root / "c.jpg").read_bytes() == BODY
    with pytest.raises(PathConflict):
        archive.store.link("d.jpg" if plant is PLANTED["second name"] else "b.jpg", "e.jpg")


def test_a_rename_that_was_cut_between_two_names_is_completed(root):
    """As on a file system without renameat2, where the file has both names for a moment."""
    archive = Archive.open(LocalStore(root))
    archive.store.at_step = lambda step: step == "file-rename" and 1 / 0
    fetched = fetch(archive)
    with pytest.raises(ZeroDivisionError):
        archive.write([Publish(Entry(KEY, KEY, path="a.jpg"), fetched)])
    os.link(fetched.part.file, root / "a.jpg")
    fetched.part.release()
    archive.ledger.close()
    again = Archive.open(LocalStore(root))
    (row,) = again.lookup([KEY])
    assert (row.state, row.path) == (State.DONE, "a.jpg")
    assert sorted(again.store.names()) == ["a.jpg"]
    assert list(again.store.parts.folder.iterdir()) == []
    again.close()


# Modes and owners


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_hidden_folder_is_private_and_published_files_have_the_modes_of_the_umask(root, umask):
    before = os.umask(umask)
    try:
        archive = Archive.open(LocalStore(root))
        publish(archive, "a/b.jpg")
        large = archive.store.parts.open("large")
        large.begin(PartRecord(complete_length=len(LARGE)))
        small = fetch(archive, "small")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in archive.store.hidden.rglob("*")}
        hidden = stat.S_IMODE(archive.store.hidden.stat().st_mode)
        small.part.close()
        large.close()
        archive.close()
    finally:
        os.umask(before)
    assert hidden == 0o700
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077 and not name.endswith(".part")} == {}
    assert {f"{LEDGER_NAME}{suffix}" for suffix in ("", "-wal", "-shm")} < modes.keys()
    assert stat.S_IMODE((root / "a/b.jpg").stat().st_mode) == 0o644 & ~umask
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o777 & ~umask


def test_a_store_of_an_earlier_version_loses_the_permissions_of_others_and_says_so(root, caplog):
    hidden = root / HIDDEN
    hidden.mkdir(parents=True)
    (hidden / "parts").mkdir()
    hidden.chmod(0o777)
    SqliteLedger(hidden / LEDGER_NAME).close()
    (hidden / LEDGER_NAME).chmod(0o644)
    caplog.set_level("INFO")
    for _ in range(2):
        Archive.open(LocalStore(root)).close()
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
    assert stat.S_IMODE((hidden / LEDGER_NAME).stat().st_mode) == 0o600
    told = [record.getMessage() for record in caplog.records if "other users" in record.getMessage()]
    assert told == [f"{hidden} was open to other users of this machine: its mode is now 0700"]


@pytest.mark.parametrize("name", [HIDDEN, f"{HIDDEN}/parts", f"{HIDDEN}/whole", f"{HIDDEN}/quarantine"])
@pytest.mark.parametrize("kind", ["link", "file", "FIFO"])
def test_a_folder_of_ours_that_is_something_else_is_one_line(root, tmp_path, name, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / name).parent.mkdir(parents=True)
    {"link": lambda p: p.symlink_to(outside), "file": lambda p: p.touch(), "FIFO": os.mkfifo}[kind](root / name)

    def use():
        store = LocalStore(root)
        store.open()
        store.parts.sweep()
        part = store.parts.open(KEY)
        part.fill(PartRecord(complete_length=1), b"x")
        try:
            part.quarantine(store.quarantine_folder)
        finally:
            part.close()

    there = {"link": "a symbolic link", "file": "a regular file", "FIFO": "a FIFO"}[kind]
    with pytest.raises(MachineError, match=f"cannot use {root / name}: expected a folder, there is {there}: move it"):
        use()
    assert list(outside.iterdir()) == []


def test_the_path_of_the_store_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    archive = Archive.open(LocalStore(tmp_path / "store"))
    publish(archive, "a/b.jpg")
    archive.close()
    assert (tmp_path / "disk/a/b.jpg").read_bytes() == BODY


@every(PLANTED | FOLDER)
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_ledger_that_is_no_regular_file_is_refused(tmp_path, foreign, plant, suffix, read_only):
    path = tmp_path / LEDGER_NAME
    if suffix:
        SqliteLedger(path).close()
    plant(tmp_path / f"{LEDGER_NAME}{suffix}", foreign)
    if plant is PLANTED["second name"]:
        foreign.write_bytes(SECRET)
        if not suffix:
            with pytest.raises(MachineError, match="file is not a database"):
                SqliteLedger(path, read_only=read_only)
            foreign.chmod(0o644)
            return
        Path(f"{path}{suffix}").unlink()
        return
    with pytest.raises(
        MachineError, match=f"cannot use {path}{suffix}: expected a regular file, there is .* move it"
    ):
        SqliteLedger(path, read_only=read_only)


@AS_ROOT
def test_what_belongs_to_another_user_is_refused_in_one_line(common):
    said = as_nobody(f"""
os.umask(0)
top = Path({str(common)!r})
shared = top / "shared"  # as /tmp is
shared.mkdir()
shared.chmod(0o1777)
(shared / "store" / ".mediacrawl").mkdir(parents=True)
(shared / "job").mkdir()
SqliteLedger(shared / "ledger").close()
os.chmod(shared / "ledger", 0o666)
own = top / "own"
own.mkdir()
os.chown(own, {NOBODY}, -1)
os.setuid({NOBODY})
for use in (
    lambda: LocalStore(shared / "store").open(),
    lambda: SqliteFrontier(shared / "job", "spider"),
    lambda: SqliteFrontier(shared, "spider"),
    lambda: SqliteLedger(shared / "ledger"),
):
    try:
        use()
    except MachineError as error:
        print(error)
    else:
        print("used")
SqliteLedger(own / "ledger").close()
SqliteFrontier(own / "job", "spider").close(finished=True)
LocalStore(own / "store").open()
LocalStore(shared / "store-of-nobody").open()
""")
    paths = ("store/.mediacrawl", "job", "", "ledger")
    belongs = f"it belongs to the user with the number 0, expected {NOBODY}: take a folder of your own"
    assert said == [f"cannot use {(common / 'shared' / path)}: {belongs}" for path in paths]
