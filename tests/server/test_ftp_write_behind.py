"""Received bytes that are written in another thread: in their order, not too many, and never lost silently."""

from __future__ import annotations

import threading

import pytest
from crawling import wait_until

from mediacrawl.server.ftp.write_behind import WriteBehind

MIB = 1024 * 1024


def test_bytes_arrive_in_their_order():
    found = []
    behind = WriteBehind(found.append)
    blocks = [bytes([number % 251]) * (number * 997 % 70_000) for number in range(300)]
    for block in blocks:
        behind.write(block)
    behind.finish()
    assert b"".join(found) == b"".join(blocks)
    behind.finish()


def test_a_small_file_needs_no_thread():
    found = []
    behind = WriteBehind(lambda data: found.append((data, threading.current_thread())))
    behind.write(b"a")
    assert found == [(b"a", threading.current_thread())]
    behind.finish()


def test_more_is_taken_while_bytes_are_written_and_not_without_limit():
    go, taken = threading.Event(), []

    def write(data):
        if threading.current_thread() is not writer:
            go.wait(60)

    def bring():
        for number in range(20):
            behind.write(bytes(MIB))
            taken.append(number)
        behind.finish()

    behind = WriteBehind(write)
    writer = threading.Thread(target=bring)
    writer.start()
    wait_until(lambda: len(taken) > 2)
    assert len(taken) < 10
    go.set()
    writer.join(60)
    assert len(taken) == 20


@pytest.mark.parametrize("more", [0, 1000])
def test_an_error_is_raised_and_nothing_is_written_behind_it(more):
    found = []

    def write(data):
        found.append(data[:1])
        if data[:1] == b"!":
            raise LookupError("unexpected")

    def bring_the_rest():
        for _ in range(more):
            behind.write(bytes(MIB))
        behind.finish()

    behind = WriteBehind(write)
    behind.write(bytes(MIB))
    behind.write(b"!")
    with pytest.raises(LookupError):
        bring_the_rest()
    assert found == [b"\0", b"!"]
