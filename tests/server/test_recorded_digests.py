"""A digest of the ledger belongs to a file as long as nobody has touched the file since it was read."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from archive_job import publish, sha256

from mediacrawl.archive import Archive, Link
from mediacrawl.backends import LEDGER_NAME
from mediacrawl.errors import UsageProblem
from mediacrawl.ledger.base import Entry, State
from mediacrawl.server.digests import RecordedDigests
from mediacrawl.server.files import FilesBelow
from mediacrawl.server.wsgi import wsgi_app
from mediacrawl.store.local import LocalStore


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def archive(tmp_path):
    archive = Archive.open(LocalStore(tmp_path / "store"))
    yield archive
    archive.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def digest_of(archive, clock):
    """The digest of the file at a path, as the server knows it now."""
    digests = RecordedDigests(str(archive.store.hidden / LEDGER_NAME), clock)
    files = FilesBelow(archive.store.root)

    def digest_of(path):
        clock.now += 10
        with files.open(path) as file:
            return digests.look_up(file)

    yield digest_of
    digests.close()
    files.close()


def test_a_published_file_has_its_digest_and_so_has_its_replacement(archive, digest_of):
    publish(archive, {"http://h/a": ("s/a.jpg", b"old"), "http://h/b": ("b.jpg", b"other")})
    assert digest_of("s/a.jpg") == sha256(b"old")
    assert digest_of("b.jpg") == sha256(b"other")
    publish(archive, {"http://h/a": ("s/a.jpg", b"new")})
    assert digest_of("s/a.jpg") == sha256(b"new")


def rewrite(path):
    path.write_bytes(b"olds")


def replace_keeping_times(path):
    found = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"olds")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(path)


def rewrite_keeping_times(path):
    found = path.stat()
    path.write_bytes(b"olds")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def copy_back(path):
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


@pytest.mark.parametrize(
    "touch",
    [rewrite, replace_keeping_times, rewrite_keeping_times, copy_back, os.utime, lambda path: path.chmod(0o600)],
)
def test_a_file_that_was_touched_has_none_until_it_is_read_again(archive, digest_of, touch):
    publish(archive, {"http://h/a": ("a.jpg", b"body")})
    touch(archive.store.root / "a.jpg")
    assert digest_of("a.jpg") is None
    row = archive.ledger.lookup(["http://h/a"])["http://h/a"]
    archive.ledger.record_identities(archive._identified([row]))  # as `verify` does when the bytes are the same
    assert digest_of("a.jpg") == sha256(b"body")


def test_all_names_of_one_file_have_its_digest(archive, digest_of):
    """A new link changes the time of change of the file, also under its first name."""
    publish(archive, {"key": ("a.jpg", b"bytes")})
    for name in ("b.jpg", "c.jpg"):
        (source,) = archive.lookup(["key"])
        archive.write([Link(Entry(f"key#{name}", source.url, path=name), source)])
        assert digest_of("a.jpg") == digest_of(name) == sha256(b"bytes")


def test_a_file_between_claim_and_done_and_a_damaged_one_have_none(archive, digest_of):
    publish(archive, {"key": ("a.jpg", b"bytes")})
    (row,) = archive.lookup(["key"])
    archive.ledger.claim(row._replace(sha256="0" * 64))  # the next version, not renamed yet
    assert digest_of("a.jpg") is None
    archive.ledger.settle("key", State.DONE, 2.0)
    assert digest_of("a.jpg") is None  # the identity was that of the former version
    archive.ledger.record_identities([row])  # with the digest of the former version
    assert archive.ledger.lookup(["key"])["key"].identity is None
    archive.ledger.mark_corrupt("key", "altered")
    assert digest_of("a.jpg") is None


def test_a_digest_that_comes_a_moment_after_the_file_is_found(archive, tmp_path, clock):
    store = archive.store
    (store.root / "a.jpg").write_bytes(b"bytes")
    digests, files = RecordedDigests(str(store.hidden / LEDGER_NAME), clock), FilesBelow(store.root)
    with files.open("a.jpg") as file:
        assert digests.look_up(file) is None
        entry = Entry("key", "http://h/", path="a.jpg", size_bytes=5, sha256=sha256(b"bytes"))
        archive.ledger.claim(entry)
        archive.ledger.finish(archive._identified([entry]), 1.0)
        assert digests.look_up(file) is None, "it is not asked for each request"
        clock.now += 3
        assert digests.look_up(file) == sha256(b"bytes")
    digests.close()
    files.close()


@pytest.mark.parametrize("damage", ["missing", "not a database", "without a column", "of an older format"])
def test_without_a_readable_ledger_there_are_files_without_digests(tmp_path, damage, caplog):
    (tmp_path / "a.jpg").write_bytes(b"bytes")
    ledger = tmp_path / "ledger.sqlite3"
    if damage == "not a database":
        ledger.write_bytes(b"x" * 5000)
    elif damage == "without a column":
        with sqlite3.connect(ledger) as db:
            db.executescript("CREATE TABLE files (key TEXT PRIMARY KEY, state TEXT); PRAGMA user_version=1")
        db.close()
    elif damage == "of an older format":
        with sqlite3.connect(ledger) as db:
            db.executescript(
                "CREATE TABLE files (key TEXT PRIMARY KEY, url TEXT, path TEXT, folded TEXT, state TEXT, sha256 TEXT)"
            )
            db.execute("INSERT INTO files VALUES ('k', 'http://h/a', 'a.jpg', 'a.jpg', 'done', ?)", ("ab" * 32,))
            db.execute("PRAGMA user_version=1")
        db.close()
    clock = Clock()
    digests, files = RecordedDigests(str(ledger), clock), FilesBelow(tmp_path)
    with files.open("a.jpg") as file:
        for _ in range(3):
            assert digests.look_up(file) is None
            clock.now += 10
    assert len(caplog.records) == (damage in {"not a database", "without a column"})
    digests.close()
    files.close()


def test_a_ledger_of_an_unknown_kind_is_told_before_the_first_request(tmp_path):
    with pytest.raises(UsageProblem, match="only a file on this machine"):
        wsgi_app(tmp_path, ledger="postgres://h/x")


def test_a_ledger_that_may_not_be_read_is_told_once(tmp_path, monkeypatch, caplog):
    """As for a server that is not the owner of the store."""
    (tmp_path / "a.jpg").write_bytes(b"bytes")

    def denied(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    clock, files = Clock(), FilesBelow(tmp_path)
    with files.open("a.jpg") as file, monkeypatch.context() as patch:
        patch.setattr(Path, "stat", denied)
        digests = RecordedDigests(str(tmp_path / "ledger.sqlite3"), clock)
        for _ in range(3):
            assert digests.look_up(file) is None
            clock.now += 10
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["Permission denied"]
    digests.close()
    files.close()
