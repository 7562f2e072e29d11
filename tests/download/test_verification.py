from __future__ import annotations

import hashlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.download import verification
from mediacrawl.download.verification import RunningHash
from mediacrawl.errors import Interrupted, StoreNotWritable
from mediacrawl.headers import Digest


def no_disk(start, stop):
    pytest.fail("read again")
    return b""


def nothing():
    return None


class Disk:
    """A file's bytes, of which so many stand there."""

    def __init__(self, data):
        self.data, self.have, self.fails, self.reads = data, len(data), False, []

    def read(self, start, stop):
        if self.fails:
            raise StoreNotWritable("the disk has failed")
        self.reads.append((start, stop))
        return self.data[start : min(stop, self.have)]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@given(st.lists(st.binary(max_size=50)))
def test_the_hash_of_a_small_file_in_order_is_that_of_its_bytes(blocks):
    running, offset = RunningHash(no_disk), 0
    for block in blocks:
        running.update(offset, block)
        offset += len(block)
    running.finish(offset, nothing)
    assert running.hashed_bytes == offset
    assert running.sha256_hex == sha256(b"".join(blocks))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=30))
def test_the_hash_is_always_that_of_the_bytes_it_counts(writes):
    disk = Disk(bytes(range(40)))
    running = RunningHash(disk.read)
    for start, length in writes:
        running.update(start, disk.data[start : start + length])
    assert running.sha256_hex == sha256(disk.data[: running.hashed_bytes])
    running.finish(40, nothing)
    assert running.sha256_hex == sha256(disk.data)


@given(st.lists(st.binary(max_size=50), max_size=60), st.integers(0, 200), st.integers(1, 70))
def test_what_is_hashed_beside_the_transfer_is_hashed_in_its_order(blocks, begins, step):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verification, "BESIDE_FROM_BYTES", begins)
        patched.setattr(verification, "_STEP_BYTES", step)
        disk = Disk(b"".join(blocks))
        running, offset = RunningHash(disk.read), 0
        for block in blocks:
            running.update(offset, block)
            offset += len(block)
            disk.have = offset
            running.follow(offset)
        running.finish(offset, nothing)
        assert running.sha256_hex == sha256(disk.data)
        assert running.matches(Digest("sha256", hashlib.sha256(disk.data).digest()), iter(()))


def test_a_large_file_is_hashed_beside_the_transfer(monkeypatch):
    monkeypatch.setattr(verification, "BESIDE_FROM_BYTES", 10)
    disk, reached = Disk(bytes(range(100))), threading.Event()

    def read(start, stop):
        reached.set()
        return disk.read(start, stop)

    running = RunningHash(read)
    running.update(0, disk.data[:5])
    running.follow(5)
    assert not reached.is_set(), "small so far"
    running.follow(100)
    assert reached.wait(60)
    running.finish(100, nothing)
    assert running.sha256_hex == sha256(disk.data)
    assert disk.reads == [(5, 100)], "and no byte twice"


def test_a_disk_that_fails_beside_the_transfer_is_told_by_who_finishes(monkeypatch):
    monkeypatch.setattr(verification, "BESIDE_FROM_BYTES", 10)
    disk = Disk(bytes(100))
    running = RunningHash(disk.read)
    disk.fails = True
    running.follow(100)
    with pytest.raises(StoreNotWritable, match="the disk has failed"):
        running.finish(100, nothing)
    disk.fails = False
    running.finish(100, nothing)
    assert running.sha256_hex == sha256(disk.data)


def test_a_stop_ends_the_rest_of_the_hashing():
    disk = Disk(bytes(100))

    def stopped():
        raise Interrupted("stop")

    with pytest.raises(Interrupted):
        RunningHash(disk.read).finish(100, stopped)
    assert disk.reads == []


def test_nothing_is_read_after_hashing_was_stopped(monkeypatch):
    """The descriptor is closed then, and its number may be another file's."""
    monkeypatch.setattr(verification, "BESIDE_FROM_BYTES", 10)
    monkeypatch.setattr(verification, "_STEP_BYTES", 10)
    in_step, go_on, reads = threading.Event(), threading.Event(), []

    def read(start, stop):
        reads.append(start)
        in_step.set()
        go_on.wait(60)
        return bytes(stop - start)

    running = RunningHash(read)
    running.follow(100)
    assert in_step.wait(60)
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    stopping.join(0.05)
    assert stopping.is_alive(), "a step is under way"
    go_on.set()
    stopping.join(60)
    assert reads == [0]
    assert running.hashed_bytes == 10


def test_what_is_not_wanted_is_not_hashed(monkeypatch):
    monkeypatch.setattr(verification, "BESIDE_FROM_BYTES", 10)
    running = RunningHash(no_disk, wanted=False)
    running.update(0, b"abc")
    running.follow(100)
    running.finish(100, nothing)
    assert running.sha256_hex == ""


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_a_digest_matches_the_file_it_is_of_and_no_other(algorithm):
    running = RunningHash(no_disk)
    running.update(0, b"abcd")
    value = hashlib.new(algorithm, b"abcd").digest()
    assert running.matches(Digest(algorithm, value), iter([b"ab", b"cd"]))
    assert not running.matches(Digest(algorithm, value[::-1]), iter([b"ab", b"cd"]))


def test_for_a_sha256_no_byte_is_read_again():
    running = RunningHash(no_disk)
    running.update(0, b"abcd")

    def disk():
        pytest.fail("read again")
        yield b""

    assert running.matches(Digest("sha256", hashlib.sha256(b"abcd").digest()), disk())
