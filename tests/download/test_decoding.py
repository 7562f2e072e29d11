"""Content codings of a body: what is decoded, and what of it is stored; over both transports."""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from fetching import KEY
from hypothesis import given
from hypothesis import strategies as st
from origin import chunked, close_delimited, drip_after, drop_after, encode_gzip, header, stall_after

from mediacrawl.download.decoding import decoded
from mediacrawl.errors import ConnectionLost, DigestMismatch, TooLarge, TransferError, WrongContent
from mediacrawl.headers import Digest
from mediacrawl.store.parts import RECORDED_FROM_BYTES, PartFile

BODY = bytes(range(256)) * 4000
URL = "http://h/a.jpg"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 50
TEXT = b"Some text that is not compressed, a line of it.\n" * 200


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def gz(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = gzip.compress(data, mtime=0)
    return data


CODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "several members": ("gzip", gzip.compress(BODY[:1000]) + gzip.compress(BODY[1000:])),
    "deflate": ("deflate", zlib.compress(BODY)),
    "deflate without its header": ("deflate", raw_deflate(BODY)),
}


def pieces(data: bytes, size: int):
    return iter([data[start : start + size] for start in range(0, len(data), size)])


# --- decoding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [b"", b"\0", bytes(700)], ids=len)
@pytest.mark.parametrize("size", [1, 1000, 10**9])
@pytest.mark.parametrize(("coding", "packed"), CODED.values(), ids=CODED.keys())
def test_a_coded_body_is_unpacked_however_it_is_cut(coding, packed, size, padding):
    assert b"".join(decoded(pieces(packed + padding, size), coding, URL)) == BODY


def test_zero_bytes_between_two_members_are_skipped():
    packed = gzip.compress(BODY[:1000]) + bytes(511) + gzip.compress(BODY[1000:])
    assert b"".join(decoded(pieces(packed, 100), "gzip", URL)) == BODY


@pytest.mark.parametrize("size", [1, 10**9])
@pytest.mark.parametrize("garbage", [b"x", b"\0\0x", b"\r\n", b"<html>"])
@pytest.mark.parametrize(("coding", "packed"), CODED.values(), ids=CODED.keys())
def test_other_bytes_behind_a_coded_body_are_a_failure(coding, packed, garbage, size):
    # One byte may be the beginning of another member, which breaks off.
    with pytest.raises(ConnectionLost, match=r"is broken|ended before"):
        list(decoded(pieces(packed + garbage, size), coding, URL))


@pytest.mark.parametrize(("coding", "packed"), CODED.values(), ids=CODED.keys())
@pytest.mark.parametrize("lost", [1, 4, 500])
def test_a_coded_body_that_ends_early_is_never_whole(coding, packed, lost):
    with pytest.raises(ConnectionLost, match="ended before"):
        list(decoded(pieces(packed[:-lost], 1000), coding, URL))


def test_nothing_at_all_is_an_empty_body():
    assert b"".join(decoded(iter([]), "gzip", URL)) == b""


def test_a_small_body_that_unpacks_to_a_huge_one_comes_in_small_blocks():
    sizes = [len(block) for block in decoded(iter([gzip.compress(bytes(50_000_000))]), "gzip", URL)]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 256 * 1024


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_whatever_comes_is_a_body_or_an_error_in_words(data, coding):
    with suppress(TransferError):  # and nothing else
        list(decoded(iter([data]), coding, URL))


# --- transfers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """A body that is sent under a Content-Encoding, and the file that comes of it; None if nothing does."""

    body: bytes
    coding: str
    stored: bytes | None
    path: str = "/a.jpg"
    kind: str | None = None
    request: dict = field(default_factory=dict)


SERVED = {
    "gzip": Served(gz(JPEG), "gzip", JPEG),
    "gzip of several members, padded": Served(gz(JPEG[:99]) + gz(JPEG[99:]) + bytes(512), "x-gzip", JPEG),
    "gzip, garbage behind": Served(gz(JPEG) + b"garbage", "gzip", None),
    "gzip, broken off": Served(gz(JPEG)[:-9], "gzip", None),
    "gzip of nothing": Served(gz(b""), "gzip", b""),
    "nothing": Served(b"", "gzip", b""),
    "nothing, labelled br": Served(b"", "br", b""),
    "deflate": Served(zlib.compress(JPEG), "deflate", JPEG),
    "raw deflate": Served(raw_deflate(JPEG), "deflate", JPEG),
    "tar.gz": Served(gz(TEXT), "x-gzip", gz(TEXT), "/a.tar.gz", "application/x-tar"),
    "tgz with a query": Served(gz(TEXT), "gzip", gz(TEXT), "/a.tgz?v=1"),
    "svgz": Served(gz(TEXT), "gzip", gz(TEXT), "/a.svgz", "image/svg+xml"),
    "type of gzip": Served(gz(TEXT), "gzip", gz(TEXT), "/download?id=1", "application/x-gzip"),
    "explicit name": Served(gz(TEXT), "gzip", gz(TEXT), "/a", request={"name": "a.tar.gz"}),
    "gzip of tar.gz": Served(gz(TEXT, 2), "gzip", gz(TEXT), "/a.tar.gz"),
    "gzip twice": Served(gz(JPEG, 2), "gzip, gzip", JPEG),
    "gzip twice, labelled once": Served(gz(JPEG, 2), "gzip", gz(JPEG)),
    "charset": Served(JPEG, "UTF-8", JPEG),
    "binary, on bytes like gzip": Served(gz(JPEG), "binary", gz(JPEG)),
    "identity twice": Served(JPEG, "identity, identity", JPEG),
    "no member": Served(JPEG, " ,", JPEG),
    "aws-chunked": Served(JPEG, "aws-chunked", JPEG),
    "aws-chunked and gzip": Served(gz(JPEG), "aws-chunked,gzip", JPEG),
    "gzip that is none": Served(JPEG, "gzip", JPEG),
    "deflate that is none": Served(JPEG, "deflate", JPEG),
    "br that is none": Served(JPEG, "br", JPEG),
    "zstd that is none": Served(JPEG, "zstd", JPEG),
    "br": Served(b"\x1b\x05\x00\xf8" + BODY, "br", None),
    "zstd": Served(b"\x28\xb5\x2f\xfd" + BODY, "zstd", None),
    "zst": Served(b"\x28\xb5\x2f\xfd" + BODY, "zstd", b"\x28\xb5\x2f\xfd" + BODY, "/a.tar.zst"),
    "tar.Z": Served(b"\x1f\x9d\x90" + BODY, "x-compress", b"\x1f\x9d\x90" + BODY, "/a.tar.Z"),
}


@pytest.mark.parametrize(
    "framing", [None, chunked(times=None), close_delimited(times=None)], ids=lambda f: f and f.name
)
@pytest.mark.parametrize("served", SERVED.values(), ids=SERVED.keys())
def test_a_content_encoding_is_not_taken_at_its_word(rig, served, framing):
    url = (
        rig.origin.add(
            served.path.partition("?")[0],
            served.body,
            content_type=served.kind,
            headers={"Content-Encoding": served.coding},
            faults=[framing] if framing else [],
        )
        + served.path[len(served.path.partition("?")[0]) :]
    )
    if served.stored is None:
        with pytest.raises((ConnectionLost, WrongContent), match=r"Content-Encoding|ended before its"):
            rig.fetch(url, **served.request)
        assert rig.leftovers() == []
        return
    arrived = rig.bring(url, **served.request)
    assert arrived.data == served.stored
    assert "content-encoding" not in arrived.fetched.headers


def test_a_field_that_comes_twice_names_two_codings(rig):
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n" + gz(JPEG, 2)
    assert rig.bring(rig.origin.on("/a.jpg", lambda _: raw)).data == JPEG


def test_the_name_behind_a_redirect_counts_too(rig):
    rig.origin.add("/a.tar.gz", gz(TEXT), headers={"Content-Encoding": "gzip"})
    assert rig.bring(rig.origin.redirect("/latest", "/a.tar.gz")).data == gz(TEXT)


def test_the_name_in_a_content_disposition_counts_too(rig):
    url = rig.origin.add(
        "/get.php", gz(TEXT), headers={"Content-Encoding": "gzip"}, disposition='attachment; filename="a.tar.gz"'
    )
    assert rig.bring(url).data == gz(TEXT)


@pytest.mark.parametrize(("path", "stored"), [("/a.tar.gz", gz(TEXT)), ("/a.txt", TEXT)])
@pytest.mark.parametrize("status", [b"200 OK", b"206 Partial Content"])
def test_a_content_range_of_everything_counts_the_bytes_that_were_sent(rig, path, stored, status):
    head = b"HTTP/1.1 %b\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-%d/%d\r\n\r\n"
    raw = head % (status, len(gz(TEXT)) - 1, len(gz(TEXT))) + gz(TEXT)
    assert rig.bring(rig.origin.on(path, lambda _: raw)).data == stored


def test_a_coding_that_cannot_be_decoded_is_refused_in_one_line(rig):
    url = rig.origin.add("/a.jpg", b"\x1b\x05\x00\xf8" + BODY, headers={"Content-Encoding": "br"})
    with pytest.raises(WrongContent) as caught:
        rig.fetch(url)
    assert str(caught.value).endswith(
        "the body came with Content-Encoding br, which cannot be decoded here; asked for was identity, and nothing"
        " was stored"
    )
    assert len(rig.origin.requests) == 1


# --- digests ----------------------------------------------------------------------------------------


def sha256(data: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(data).digest())


PROMISED = {
    "of what was sent": (gz(TEXT), "gzip", "/a", gz(TEXT), 2),
    "of what was decoded": (gz(TEXT), "gzip", "/a", TEXT, 1),
    "of what was decoded, by its name compressed": (gz(TEXT), "gzip", "/a.gz", TEXT, 2),
    "of what was sent, by its name compressed": (gz(TEXT), "gzip", "/a.gz", gz(TEXT), 1),
    "of what was sent, compressed twice": (gz(TEXT, 2), "gzip, gzip", "/a", gz(TEXT, 2), 2),
    "of what was sent, in a coding that cannot be decoded": (BODY, "br", "/a", BODY, 1),
}


@pytest.mark.parametrize(("body", "coding", "path", "wanted", "asks"), PROMISED.values(), ids=PROMISED.keys())
def test_the_digest_of_a_list_decides_about_a_coding(rig, body, coding, path, wanted, asks):
    url = rig.origin.add(path, body, headers={"Content-Encoding": coding})
    md5 = Digest("md5", hashlib.md5(wanted, usedforsecurity=False).digest())
    assert rig.bring(url, digests=(sha256(wanted), md5)).data == wanted
    assert len(rig.origin.requests) == asks


@pytest.mark.parametrize("path", ["/a", "/a.gz"])
def test_a_digest_that_no_form_has_is_a_failure(rig, path):
    url = rig.origin.add(path, gz(TEXT), headers={"Content-Encoding": "gzip"})
    with pytest.raises(DigestMismatch):
        rig.fetch(url, digests=(sha256(b"other"),))
    assert len(rig.origin.requests) == 2


def test_a_digest_that_a_body_in_an_unknown_coding_does_not_have_is_a_failure_that_stores_nothing(rig):
    url = rig.origin.add("/a", BODY, headers={"Content-Encoding": "br"})
    with pytest.raises(WrongContent, match="Content-Encoding br"):
        rig.fetch(url, digests=(sha256(b"other"),))
    assert rig.leftovers() == []


def test_a_file_that_is_changed_between_the_two_requests_is_a_failure(rig):
    other, wanted, asks = gz(TEXT + b"other"), sha256(gz(TEXT)), []

    def answer(_request):
        asks.append(1)
        body = gz(TEXT) if len(asks) == 1 else other
        return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    url = rig.origin.on("/b", answer)
    with pytest.raises(DigestMismatch):
        rig.fetch(url, digests=(wanted,))
    assert len(asks) == 3


def test_the_digests_of_a_response_are_those_of_what_was_sent(rig):
    """They are compared where the bytes are kept, and say nothing where they are decoded."""
    fields = {"Content-Encoding": "gzip", "Content-MD5": base64.b64encode(hashlib.md5(gz(TEXT)).digest()).decode()}
    assert rig.bring(rig.origin.add("/a.txt", gz(TEXT), headers=fields, digest=True)).data == TEXT
    assert rig.bring(rig.origin.add("/a.gz", gz(TEXT), headers=fields, digest=True)).data == gz(TEXT)
    with pytest.raises(DigestMismatch):
        rig.fetch(rig.origin.add("/b.gz", gz(BODY), headers=fields))


# --- cuts, stops, sizes -----------------------------------------------------------------------------

NOISE = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(20_000))  # 640,000 bytes
LARGE = gz(NOISE)
AS_SENT = {"headers": {"Content-Encoding": "gzip"}, "content_type": "application/x-tar"}


@pytest.mark.parametrize("etag", ['"v1"', False], ids=["by its ETag", "by comparing bytes"])
def test_a_kept_body_that_is_cut_is_resumed(rig, etag):
    url = rig.origin.add("/a.tar.gz", LARGE, faults=[drop_after(400_000)], etag=etag, last_modified=False, **AS_SENT)
    assert rig.bring(url).data == LARGE
    assert [status for _, _, status in rig.asks("/a.tar.gz")] == [200, 206]


def test_a_kept_body_is_resumed_by_the_next_run(rig):
    url = rig.origin.add("/a.tar.gz", LARGE, faults=[stall_after(400_000)], etag='"v1"', **AS_SENT)
    rig.interrupt(url, at=400_000)
    assert rig.planted_bytes() == 400_000
    arrived = rig.bring(url)
    assert (arrived.data, arrived.fetched.saved_bytes) == (LARGE, 400_000)


def test_a_part_without_a_coding_is_not_resumed_with_coded_bytes(rig):
    url = rig.origin.add("/a.tar.gz", LARGE, faults=[drop_after(400_000), header("Content-Encoding", "")], **AS_SENT)
    assert rig.bring(url).data == LARGE
    assert [status for _, _, status in rig.asks("/a.tar.gz")] == [200, 206, 200]


@pytest.mark.parametrize(
    "faults", [[], [header("Content-Encoding", "UTF-8", times=None)]], ids=["", "with a charset"]
)
def test_a_mislabelled_body_is_resumed_as_others_are(rig, faults):
    url = rig.origin.add(
        "/a.jpg", JPEG + NOISE, faults=[drop_after(400_000), *faults], headers={"Content-Encoding": "none"}
    )
    assert rig.bring(url).data == JPEG + NOISE
    assert [status for _, _, status in rig.asks("/a.jpg")] == [200, 206]


def test_a_kept_body_without_a_length_that_breaks_off_is_no_file(rig):
    cut = iter([LARGE[:300_000], LARGE])
    head = b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    assert rig.bring(rig.origin.on("/a.gz", lambda _: head + next(cut))).data == LARGE


def test_a_kept_body_with_a_signature_behind_it_is_a_file(rig):
    head = b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    assert rig.bring(rig.origin.on("/a.gz", lambda _: head + gz(TEXT) + b"signed")).data == gz(TEXT) + b"signed"


def test_a_kept_large_file_gets_further_connections(rig):
    data = gz(b"") + NOISE * 8
    url = rig.origin.add("/a.tar.gz", data, etag='"v1"', **AS_SENT)
    assert rig.bring(url, connections=4).data == data
    assert {status for _, _, status in rig.asks("/a.tar.gz")} == {200, 206}


def test_a_bomb_is_stored_in_blocks_of_bounded_size_and_up_to_the_maximal_size(rig, monkeypatch):
    sizes = []
    write_at = PartFile.write_at
    monkeypatch.setattr(
        PartFile, "write_at", lambda part, at, data: sizes.append(len(data)) or write_at(part, at, data)
    )
    url = rig.origin.add("/a.jpg", JPEG + bytes(30_000_000), faults=[encode_gzip(times=None)])
    with pytest.raises(TooLarge):
        rig.fetch(url, max_bytes=5_000_000)
    assert max(sizes) <= 1024 * 1024
    assert sum(sizes) <= 6_000_000
    assert rig.leftovers() == []


def test_a_coded_body_that_drips_is_given_up_though_much_comes_of_few_bytes(rig):
    coded = {"Content-Encoding": "gzip"}
    url = rig.origin.add("/a.jpg", gz(JPEG + bytes(8_000_000)), headers=coded, faults=[drip_after(1000, 20)])
    arrived = rig.bring(url, downloader=rig.downloader(stall_s=1.0, stall_bytes=2000))
    assert arrived.data == JPEG + bytes(8_000_000)
    assert [request.body_bytes_sent < 1100 for request in rig.origin.requests] == [True, False]


def test_the_maximal_size_is_that_of_what_is_stored(rig):
    url = rig.origin.add("/a.gz", gz(bytes(1_000_000)), headers={"Content-Encoding": "gzip"})
    assert rig.bring(url, max_bytes=10_000).data == gz(bytes(1_000_000))


def test_the_name_of_the_record_says_how_the_bytes_are_kept(rig):
    """A later run needs it to resume; a decoded body has no record."""
    assert len(LARGE) > RECORDED_FROM_BYTES
    url = rig.origin.add("/a.tar.gz", LARGE, faults=[stall_after(400_000)], etag='"v1"', **AS_SENT)
    rig.interrupt(url, at=400_000)
    with rig.store.parts.open(KEY) as part:
        assert part.record.head["is_encoded"] is True
