"""Bodies from the connection to the disk within the kernel, hashed beside that or not: the files are the same."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading

import pytest
from fetching import KEY, When, stop_after
from origin import Pattern, chunked, drop_after, limit_per_connection, stall_after, status

from mediacrawl.download import verification
from mediacrawl.download.resume import OVERLAP_BYTES
from mediacrawl.download.retry import Backoff
from mediacrawl.errors import ConnectionLost, DiskFull, HttpStatusError, Interrupted, MachineError, WrongContent
from mediacrawl.transport import http1
from mediacrawl.transport.requests_transport import RequestsTransport

MIB = 1024 * 1024
TOTAL = 8 * MIB
BODY = Pattern(TOTAL, 1)
NO_RETRY = Backoff(times=0)
TAG = f'"p1-{TOTAL}"'


@pytest.fixture
def spliced(monkeypatch):
    """Bytes that were moved into files."""
    moved = []
    genuine = os.splice

    def splice(*ends, **more):
        count = genuine(*ends, **more)
        if "offset_dst" in more:
            moved.append(count)
        return count

    monkeypatch.setattr(os, "splice", splice)
    return moved


@pytest.fixture(params=[False, True], ids=["", "hashed"])
def rig(rig, request):
    rig.hashes = request.param
    return rig


def fetch(rig, url, *, policy=None, **more):
    return rig.fetch(url, downloader=rig.downloader(sha256=rig.hashes, **(policy or {})), **more)


def bring(rig, url, **more):
    fetched = fetch(rig, url, **more)
    data = rig.publish(fetched, more.get("key", KEY))
    assert fetched.sha256 == (hashlib.sha256(data).hexdigest() if rig.hashes else "")
    return data


@pytest.mark.parametrize("connections", [1, 4])
def test_the_file_is_right_and_its_bytes_were_not_looked_at(rig, spliced, connections):
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(60_000_000)])
    assert bring(rig, url, connections=connections) == BODY.read()
    assert bool(spliced) == isinstance(rig.transport, RequestsTransport)


def test_the_connection_is_used_again(rig):
    url = rig.origin.add("/a", BODY)
    for number in range(3):
        assert bring(rig, url, connections=1, key=f"{number}") == BODY.read()
    small = rig.origin.add("/b", b"small")
    assert bring(rig, small, connections=1, key="small", timeout_s=5) == b"small"
    assert len({request.client_port for request in rig.origin.requests}) == 1


def test_a_small_file_that_is_to_be_hashed_is_looked_at_as_it_comes(rig, spliced):
    body = Pattern(verification.BESIDE_FROM_BYTES - 1)
    assert bring(rig, rig.origin.add("/a", body), connections=1) == body.read()
    assert bool(spliced) == (isinstance(rig.transport, RequestsTransport) and not rig.hashes)


def test_another_version_in_the_middle_of_hashing_is_hashed_from_its_beginning(rig):
    url = rig.origin.add("/a", BODY)
    rig.plant(BODY.read(0, 7 * MIB), total=TOTAL, etag=TAG)
    other = Pattern(2 * TOTAL, 2)
    rig.origin.add("/a", other)
    fetched = fetch(rig, url, connections=1)
    assert fetched.sha256 == (hashlib.sha256(other.read()).hexdigest() if rig.hashes else "")
    assert (fetched.saved_bytes, rig.publish(fetched)) == (0, other.read())


def test_a_refusal_while_a_part_is_being_hashed_leaves_the_part_as_it_was(rig):
    url = rig.origin.add("/a", BODY, faults=[drop_after(6 * MIB)])
    with pytest.raises(ConnectionLost):
        fetch(rig, url, connections=1, policy={"backoff": NO_RETRY})
    for _ in range(3):
        rig.origin.add("/a", BODY, faults=[status(500)])
        with pytest.raises(HttpStatusError):
            fetch(rig, url, connections=1, policy={"backoff": NO_RETRY})
    rig.origin.add("/a", BODY)
    assert bring(rig, url, connections=1) == BODY.read()


def test_a_part_that_somebody_cuts_off_is_told_in_one_line_and_gone_on_with(rig, monkeypatch):
    if not rig.hashes:
        pytest.skip("nobody reads it")
    monkeypatch.setattr(verification.ThreadPoolExecutor, "submit", lambda *_: None)  # all of it is read in the end
    url = rig.origin.add("/a", BODY)
    part = rig.store.parts.open(KEY)
    part.close()

    def cut():
        os.truncate(part.path, 3 * MIB)

    with pytest.raises(MachineError, match=rf"{part.path.name} was cut off at byte {3 * MIB} .* same command again"):
        fetch(rig, url, connections=1, progress=When(TOTAL, cut))
    assert bring(rig, url, connections=1) == BODY.read()
    assert rig.asks("/a")[-1][0] == f"bytes={3 * MIB - OVERLAP_BYTES}-"


def test_a_digest_that_was_promised_is_still_compared(rig):
    url = rig.origin.add("/a", BODY, headers={"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
    with pytest.raises(Exception, match="md5 is not the promised"):
        fetch(rig, url, connections=1)


def test_chunks_are_not_taken_for_the_file(rig):
    url = rig.origin.add("/a", BODY, faults=[chunked(times=None)])
    assert bring(rig, url, connections=1) == BODY.read()


def test_a_body_that_breaks_off_is_resumed(rig):
    url = rig.origin.add("/a", BODY, faults=[drop_after(3 * MIB), drop_after(MIB + OVERLAP_BYTES)])
    fetched = fetch(rig, url, connections=1)
    assert fetched.fetched_bytes == TOTAL
    assert rig.publish(fetched) == BODY.read()
    starts = [3 * MIB - OVERLAP_BYTES, 4 * MIB - OVERLAP_BYTES]
    assert [ask[0] for ask in rig.asks("/a")] == [None, *(f"bytes={start}-" for start in starts)]


def test_a_part_is_resumed(rig):
    url = rig.origin.add("/a", BODY)
    rig.plant(BODY.read(0, 3 * MIB), total=TOTAL, etag=TAG)
    fetched = fetch(rig, url, connections=1)
    assert (fetched.saved_bytes, fetched.fetched_bytes) == (3 * MIB, 5 * MIB)
    assert rig.publish(fetched) == BODY.read()


def test_a_page_is_not_taken_for_a_file(rig):
    url = rig.origin.add("/a", b"<!DOCTYPE html>" + BODY.read(), content_type="video/mp4")
    with pytest.raises(WrongContent):
        fetch(rig, url, connections=1)


@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_a_stop_ends_it_and_keeps_what_has_come(rig, more):
    """Also where that is less than what is else moved in one go."""
    url = rig.origin.add("/a", BODY, faults=[stall_after(3 * MIB + more)])
    stopped = threading.Event()
    with stop_after(stopped) as cancel, pytest.raises(Interrupted):
        fetch(rig, url, connections=1, cancel=cancel, progress=When(3 * MIB + more, stopped.set))
    rig.origin.release()
    assert rig.planted_bytes() == 3 * MIB + more
    assert bring(rig, url, connections=1) == BODY.read()


def test_a_body_of_which_some_was_moved_can_be_read_to_its_end(rig):
    if not isinstance(rig.transport, RequestsTransport):
        pytest.skip("it moves nothing")
    url = rig.origin.add("/a", BODY, faults=[limit_per_connection(100_000_000, times=None)])
    source, sink = os.pipe()
    got = b""
    answer = rig.transport.get(url, {"Accept-Encoding": "identity"}, proxy=None, timeout_s=5)
    blocks = answer.blocks()
    moved = None
    while not moved:  # what came along with the head is read first
        got += next(blocks)
        moved = answer.splice(sink, 64 * 1024)
    got += os.read(source, moved)
    got += b"".join(blocks)
    answer.close()
    os.close(source)
    os.close(sink)
    assert got == BODY.read()


def test_what_comes_slowly_is_moved_as_it_comes(rig, spliced):
    body = Pattern(700_000)
    url = rig.origin.add("/a", body, faults=[limit_per_connection(900_000)])
    assert bring(rig, url, connections=1) == body.read()
    assert bool(spliced) == isinstance(rig.transport, RequestsTransport)
    assert all(count < 256 * 1024 for count in spliced)


def test_what_comes_quickly_is_moved_in_larger_pieces(rig, spliced, monkeypatch):
    if not isinstance(rig.transport, RequestsTransport):
        pytest.skip("it moves nothing")
    monkeypatch.setattr(http1, "_QUICKLY_MS", 10_000)
    body = Pattern(4 * TOTAL, 1)
    url = rig.origin.add("/a", body, faults=[limit_per_connection(200_000_000)])
    assert bring(rig, url, connections=1) == body.read()
    assert sum(count for count in spliced if count >= 256 * 1024) > 3 * TOTAL


def test_where_the_system_cannot_wait_for_more_it_comes_all_the_same(rig, spliced, monkeypatch):
    monkeypatch.setattr(socket, "SO_RCVLOWAT", 9999)
    assert bring(rig, rig.origin.add("/a", BODY), connections=1) == BODY.read()
    assert bool(spliced) == isinstance(rig.transport, RequestsTransport)


def test_silence_is_noticed(rig):
    url = rig.origin.add("/a", BODY, faults=[stall_after(3 * MIB, times=None)])
    with pytest.raises(ConnectionLost, match=r"no byte for 0\.2 s"):
        fetch(rig, url, connections=1, timeout_s=0.2, policy={"backoff": NO_RETRY})
    rig.origin.release()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_disk_that_cannot_is_written_to_and_one_that_is_full_says_so(rig, monkeypatch, code):
    if not isinstance(rig.transport, RequestsTransport):
        pytest.skip("it moves nothing")
    genuine = os.splice

    def splice(*ends, **more):
        if "offset_dst" in more:
            raise OSError(code, os.strerror(code))
        return genuine(*ends, **more)

    monkeypatch.setattr(os, "splice", splice)
    url = rig.origin.add("/a", BODY)
    if code == errno.EINVAL:
        assert bring(rig, url, connections=1) == BODY.read()
    else:
        with pytest.raises(DiskFull):
            fetch(rig, url, connections=1)
