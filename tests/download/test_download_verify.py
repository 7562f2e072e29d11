from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.download import verify
from mediacrawl.download.verify import RunningHash, refuse_html
from mediacrawl.errors import WrongContent
from mediacrawl.headers import Digest


@given(st.lists(st.binary(max_size=50)))
def test_the_hash_of_a_file_in_order_is_that_of_its_bytes(blocks):
    running, offset = RunningHash(), 0
    for block in blocks:
        running.update(offset, block)
        offset += len(block)
    assert running.hashed_bytes == offset
    assert running.sha256_hex == hashlib.sha256(b"".join(blocks)).hexdigest()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=30))
def test_the_hash_is_always_that_of_the_bytes_it_counts(writes):
    data, running = bytes(range(40)), RunningHash()
    for start, length in writes:
        running.update(start, data[start : start + length])
    assert running.sha256_hex == hashlib.sha256(data[: running.hashed_bytes]).hexdigest()


@given(st.lists(st.binary(max_size=50), max_size=60), st.integers(0, 200))
def test_what_is_hashed_beside_the_transfer_is_hashed_in_its_order(blocks, begins):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verify, "BESIDE_FROM_BYTES", begins)
        running, offset = RunningHash(), 0
        for block in blocks:
            running.update(offset, block)
            offset += len(block)
        assert running.sha256_hex == hashlib.sha256(b"".join(blocks)).hexdigest()
        assert running.matches(Digest("sha256", hashlib.sha256(b"".join(blocks)).digest()), iter(()))


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_a_digest_matches_the_file_it_is_of_and_no_other(algorithm):
    running = RunningHash()
    running.update(0, b"abcd")
    value = hashlib.new(algorithm, b"abcd").digest()
    assert running.matches(Digest(algorithm, value), iter([b"ab", b"cd"]))
    assert not running.matches(Digest(algorithm, value[::-1]), iter([b"ab", b"cd"]))


def test_for_a_sha256_no_byte_is_read_again():
    running = RunningHash()
    running.update(0, b"abcd")

    def disk():
        pytest.fail("read again")
        yield b""

    assert running.matches(Digest("sha256", hashlib.sha256(b"abcd").digest()), disk())


@pytest.mark.parametrize(
    ("kind", "beginning"),
    [
        ("text/html", b""),
        ("TEXT/HTML;charset=x", b"\xff\xd8"),
        ("application/xhtml+xml", b""),
        (None, b"<!DOCTYPE HTML>"),
        (None, b"\n\t <html lang=en>"),
        ("image/png", b"<!doctype html><p>"),
        (None, b" " * 50 + b"<html>"),
    ],
)
def test_a_page_is_refused_by_its_type_and_by_how_it_begins(kind, beginning):
    with pytest.raises(WrongContent, match="an HTML page came"):
        refuse_html("http://h/a", kind, beginning)


@pytest.mark.parametrize(
    ("kind", "beginning"),
    [
        (None, b""),
        (None, b"<"),
        (None, b"<svg xmlns='http://www.w3.org/2000/svg'>"),
        ("image/svg+xml", b"<?xml version='1.0'?><svg>"),
        ("text/plain", b"text about <html>"),
        ("no type", b"\x89PNG"),
        ("", b"x<!doctype html>"),
    ],
)
def test_what_is_no_page_is_not_refused(kind, beginning):
    assert refuse_html("http://h/a", kind, beginning) is None
