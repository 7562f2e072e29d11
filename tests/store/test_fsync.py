"""Many files on the disk at once."""

from __future__ import annotations

import errno
import os

import pytest

from mediacrawl.store import fsync

MANY = 10


@pytest.fixture
def fds(tmp_path):
    opened = [os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT) for number in range(MANY)]
    yield opened
    for fd in opened:
        os.close(fd)


@pytest.fixture
def disk(monkeypatch):
    """What is asked of the system, and settings of what it says."""
    asked = []
    monkeypatch.setattr(fsync, "_syncs_whole", lambda _fd: True)
    monkeypatch.setattr(fsync, "_dirty_bytes", lambda: 0)
    monkeypatch.setattr(fsync, "_SYNCFS", lambda fd: asked.append(("syncfs", fd)) or 0)
    monkeypatch.setattr(os, "fsync", lambda fd: asked.append(("fsync", fd)))
    return asked


def of_each(fds):
    return [("fsync", fd) for fd in fds]


def test_many_files_are_synced_as_one(disk, fds):
    fsync.sync_files(fds)
    assert disk == [("syncfs", fds[0])]


def test_few_are_synced_one_by_one(disk, fds):
    fsync.sync_files(fds[:3])
    assert disk == of_each(fds[:3])


@pytest.mark.parametrize(
    ("name", "value"),
    [("_syncs_whole", lambda _fd: False), ("_dirty_bytes", lambda: 1 << 30)],
    ids=["a file system that is not known", "others are writing"],
)
def test_many_are_synced_one_by_one_too(disk, fds, monkeypatch, name, value):
    monkeypatch.setattr(fsync, name, value)
    fsync.sync_files(fds)
    assert disk == of_each(fds)


def test_what_the_whole_reports_may_be_about_another_file(disk, fds, monkeypatch):
    monkeypatch.setattr(fsync, "_SYNCFS", lambda _fd: -1)
    fsync.sync_files(fds)
    assert disk == of_each(fds)


def test_a_file_that_cannot_be_synced_is_told_of(disk, fds, monkeypatch):
    def failed(_fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fsync, "_SYNCFS", lambda _fd: -1)
    monkeypatch.setattr(os, "fsync", failed)
    with pytest.raises(OSError, match="Input/output error"):
        fsync.sync_files(fds)


def test_this_machine_tells_how_much_it_has_in_memory():
    assert 0 <= fsync._dirty_bytes() < 1 << 50


@pytest.mark.parametrize("text", [b"", b"Dirty: 5 kB\n", b"Dirty:             lots\nWriteback:        0 kB\n"])
def test_a_machine_that_does_not_tell_has_too_much(monkeypatch, tmp_path, text):
    (tmp_path / "meminfo").write_bytes(text)
    monkeypatch.setattr("builtins.open", lambda *_: (tmp_path / "meminfo").open("rb"))
    assert fsync._dirty_bytes() > fsync._MOST_DIRTY_BYTES


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-fc", (6, 18)), ("5.17.0", (5, 17)), ("4.19", (4, 19)), ("odd", (0, 0))]
)
def test_the_version_of_the_system(monkeypatch, release, version):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", release, "", "")))
    assert fsync._linux_version() == version


def test_a_system_that_is_too_old_syncs_each(monkeypatch, fds):
    monkeypatch.setattr(fsync, "_linux_version", lambda: (5, 16))
    assert not fsync._syncs_whole(fds[0])


@pytest.mark.parametrize(("folder", "expected"), [("/proc/self/status", False), ("/dev/null", False)])
def test_what_is_no_file_system_of_a_disk_is_not_synced_as_a_whole(folder, expected):
    fd = os.open(folder, os.O_RDONLY)
    try:
        assert fsync._syncs_whole(fd) is expected
    finally:
        os.close(fd)
