from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.errors import ConnectionLost, TransferError, WrongContent
from mediacrawl.transport.content_encoding import decoded

BODY = bytes(range(256)) * 4000
URL = "http://h/a.jpg"


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


CODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": (" X-GZip ", gzip.compress(BODY)),
    "several members": ("gzip", gzip.compress(BODY[:1000]) + gzip.compress(BODY[1000:])),
    "deflate": ("deflate", zlib.compress(BODY)),
    "deflate without its header": ("deflate", raw_deflate(BODY)),
}


def pieces(data: bytes, size: int):
    return iter([data[start : start + size] for start in range(0, len(data), size)])


@pytest.mark.parametrize("size", [1, 1000, 10**9])
@pytest.mark.parametrize(("coding", "packed"), CODED.values(), ids=CODED.keys())
def test_a_coded_body_is_unpacked_however_it_is_cut(coding, packed, size):
    assert b"".join(decoded(pieces(packed, size), coding, URL)) == BODY


@pytest.mark.parametrize(("coding", "packed"), CODED.values(), ids=CODED.keys())
@pytest.mark.parametrize("lost", [1, 4, 500])
def test_a_coded_body_that_ends_early_is_never_whole(coding, packed, lost):
    with pytest.raises(ConnectionLost, match="ended before"):
        list(decoded(pieces(packed[:-lost], 1000), coding, URL))


def test_nothing_at_all_is_an_empty_body():
    assert b"".join(decoded(iter([]), "gzip", URL)) == b""


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "secret"])
def test_a_coding_that_cannot_be_read_is_refused_and_not_stored_as_it_is(coding):
    with pytest.raises(WrongContent, match="asked for was identity"):
        list(decoded(iter([b"x"]), coding, URL))


def test_a_small_body_that_unpacks_to_a_huge_one_comes_in_small_blocks():
    sizes = [len(block) for block in decoded(iter([gzip.compress(bytes(50_000_000))]), "gzip", URL)]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 256 * 1024


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_whatever_comes_is_a_body_or_an_error_in_words(data, coding):
    with suppress(TransferError):  # and nothing else
        list(decoded(iter([data]), coding, URL))
