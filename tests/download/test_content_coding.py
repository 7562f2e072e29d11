"""The decision which content codings are removed, as a table: nothing is sent here."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.download.content_coding import PEEKED_BYTES, Removal, codings_of, removal_of
from mediacrawl.download.signatures import formats_of_name, formats_of_type, is_text, signature_of

TEXT = b"Some text that is not compressed, a line of it.\n" * 200
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 20
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
ZIP = b"PK\x03\x04" + bytes(range(256)) * 20
XZ = b"\xfd7zXZ\x00" + bytes(range(256)) * 20
ZSTD = b"\x28\xb5\x2f\xfd" + bytes(range(256)) * 20
COMPRESS = b"\x1f\x9d\x90" + bytes(range(256)) * 20
BROTLI = b"\x1b\x05\x00\xf8" + bytes(range(256))


def gz(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = gzip.compress(data, mtime=0)
    return data


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("field", "codings"),
    [
        (None, ""),
        ("", ""),
        (" , ,", ""),
        ("identity", ""),
        ("Identity, IDENTITY", ""),
        ("UTF-8", ""),
        ("none", ""),
        ("binary", ""),
        ("8bit", ""),
        ("aws-chunked", ""),
        ("gzip2, xgzip", ""),
        ("gzip", "gzip"),
        (" X-GZip ", "gzip"),
        ("gzip;q=1.0", "gzip"),
        ("aws-chunked,gzip,", "gzip"),
        ("gzip, gzip", "gzip gzip"),
        ("x-compress, br", "compress br"),
        ("deflate,zstd,exi,pack200-gzip,dcb,dcz", "deflate zstd exi pack200-gzip dcb dcz"),
    ],
)
def test_only_registered_names_are_codings(field, codings):
    assert codings_of(field) == tuple(codings.split())


# Codings, body, name, Content-Type, and the codings that are removed; "!" before the coding that cannot be.
ROWS = {
    # What servers code on the way
    "a JPEG": ("gzip", gz(JPEG), "a.jpg", "image/jpeg", "gzip"),
    "a JPEG without a name": ("gzip", gz(JPEG), "", None, "gzip"),
    "text": ("gzip", gz(TEXT), "a.txt", "text/plain", "gzip"),
    "svg": ("gzip", gz(TEXT), "a.svg", "image/svg+xml", "gzip"),
    "a tar": ("gzip", gz(TEXT), "a.tar", "application/x-tar", "gzip"),
    "deflate": ("deflate", zlib.compress(TEXT), "a.txt", None, "deflate"),
    "deflate of a small window": ("deflate", zlib.compressobj(wbits=9).flush(), "a.txt", None, "deflate"),
    "raw deflate": ("deflate", raw_deflate(TEXT), "a.txt", None, "deflate"),
    "raw deflate, short": ("deflate", raw_deflate(b"ab"), "a.txt", None, "deflate"),
    "raw deflate of very much, short": ("deflate", raw_deflate(bytes(40_000)), "a.txt", None, "deflate"),
    "raw deflate, padded": ("deflate", raw_deflate(b"ab") + bytes(9), "a.txt", None, "deflate"),
    "raw deflate that cannot be compressed": ("deflate", raw_deflate(JPEG), "a.jpg", None, "deflate"),
    "deflate of nothing": ("deflate", zlib.compress(b""), "a.txt", None, "deflate"),
    # The file itself is compressed in that coding, by its name or its type
    "tar.gz": ("gzip", gz(TEXT), "a.tar.gz", "application/x-tar", ""),
    "TAR.GZ": ("gzip", gz(TEXT), "A.TAR.GZ", None, ""),
    "tgz": ("gzip", gz(TEXT), "a.tgz", "application/octet-stream", ""),
    "svgz": ("gzip", gz(TEXT), "a.svgz", "image/svg+xml", ""),
    "emz": ("gzip", gz(TEXT), "a.emz", "image/x-emz", ""),
    "z of gzip": ("gzip", gz(TEXT), "a.Z", None, ""),
    "its type alone": ("gzip", gz(TEXT), "download", "application/x-gzip; x=y", ""),
    "its type alone, of a tar": ("gzip", gz(TEXT), "download.php", "application/x-compressed-tar", ""),
    "its type, against a name that says nothing": ("gzip", gz(TEXT), "a.bin", "application/x-tgz", ""),
    "its type, against the name of text": ("gzip", gz(TEXT), "a.csv", "application/gzip", ""),
    "compress": ("compress", COMPRESS, "a.tar.Z", "application/x-tar", ""),
    "zstd": ("zstd", ZSTD, "a.tar.zst", None, ""),
    "zstd by its type": ("zstd", ZSTD, "a", "application/zstd", ""),
    "br": ("br", BROTLI, "a.js.br", None, ""),
    "zlib": ("deflate", zlib.compress(TEXT), "a.zlib", None, ""),
    "pack200": ("pack200-gzip", gz(TEXT), "a.pack.gz", None, ""),
    # … and is coded on the way too
    "gzip of tar.gz": ("gzip", gz(TEXT, 2), "a.tar.gz", None, "gzip"),
    "gzip of svgz": ("gzip", gz(TEXT, 2), "a.svgz", "image/svg+xml", "gzip"),
    "gzip of a gzip type": ("gzip", gz(TEXT, 2), "a", "application/gzip", "gzip"),
    "deflate of tar.gz": ("deflate", zlib.compress(gz(TEXT)), "a.tar.gz", None, "deflate"),
    # The name of another compressed format
    "gzip of zip": ("gzip", gz(ZIP), "a.zip", None, "gzip"),
    "gzip of xz": ("gzip", gz(XZ), "a.tar.xz", "application/x-xz", "gzip"),
    "gzip of zst": ("gzip", gz(ZSTD), "a.zst", None, "gzip"),
    "gzip of xz with the type of gzip": ("gzip", gz(XZ), "a.xz", "application/gzip", "gzip"),
    "gzip of something else under the name of a zip": ("gzip", gz(TEXT), "a.zip", None, "gzip"),
    "a JPEG with the type of gzip": ("gzip", gz(JPEG), "a.jpg", "application/gzip", "gzip"),
    "gzip of a PNG under the name of a JPEG": ("gzip", gz(PNG), "a.jpg", "image/jpeg", "gzip"),
    "zip that is labelled gzip": ("gzip", ZIP, "a.zip", None, ""),
    "xz that is labelled gzip": ("gzip", XZ, "a.xz", None, ""),
    "zst that is labelled gzip": ("gzip", ZSTD, "a.zst", None, ""),
    # The bytes are not in that coding
    "a JPEG that is labelled gzip": ("gzip", JPEG, "a.jpg", "image/jpeg", ""),
    "text that is labelled gzip": ("gzip", TEXT, "a.txt", None, ""),
    "a gz name without gzip": ("gzip", TEXT, "a.gz", None, ""),
    "one byte that is labelled gzip": ("gzip", b"a", "a.txt", None, ""),
    "zlib that is labelled gzip": ("gzip", zlib.compress(TEXT), "a.txt", None, ""),
    "a JPEG that is labelled deflate": ("deflate", JPEG, "a.jpg", None, ""),
    "gzip that is labelled deflate": ("deflate", gz(TEXT), "a.txt", None, ""),
    "text that is labelled deflate": ("deflate", TEXT, "a.txt", None, ""),
    "a few bytes that are labelled deflate": ("deflate", b"sorry", "a.txt", None, ""),
    "a PNG that is labelled br": ("br", PNG, "a.png", None, ""),
    "text that is labelled br": ("br", TEXT, "a.txt", None, ""),
    "gzip that is labelled br": ("br", gz(TEXT), "a.txt", None, ""),
    "a JPEG that is labelled zstd": ("zstd", JPEG, "a.jpg", None, ""),
    "brotli that is labelled zstd": ("zstd", BROTLI, "a", None, ""),
    "a JPEG that is labelled compress": ("compress", JPEG, "a.jpg", None, ""),
    "a JPEG that is labelled pack200-gzip": ("pack200-gzip", JPEG, "a.jpg", None, ""),
    "a PNG that is labelled exi": ("exi", PNG, "a.png", None, ""),
    "a JPEG that is labelled dcb and dcz": ("dcb dcz", JPEG, "a.jpg", None, ""),
    "nothing": ("gzip", b"", "a.txt", None, ""),
    "nothing, labelled br": ("br", b"", "a.txt", None, ""),
    # Several codings
    "gzip twice": ("gzip gzip", gz(TEXT, 2), "a.txt", None, "gzip gzip"),
    "gzip twice, labelled once": ("gzip", gz(TEXT, 2), "a.txt", None, "gzip"),
    "gzip once, labelled twice": ("gzip gzip", gz(TEXT), "a.txt", None, "gzip"),
    "gzip never, labelled twice": ("gzip gzip", JPEG, "a.jpg", None, ""),
    "a gz, labelled twice": ("gzip gzip", gz(TEXT), "a.gz", None, ""),
    "gzip of a gz, labelled twice": ("gzip gzip", gz(TEXT, 2), "a.gz", None, "gzip"),
    "gzip twice of a gz, labelled twice": ("gzip gzip", gz(TEXT, 3), "a.gz", None, "gzip gzip"),
    "gzip of deflate": ("deflate gzip", gz(zlib.compress(TEXT)), "a.txt", None, "gzip deflate"),
    "gzip, labelled br besides": ("gzip br", gz(JPEG), "a.jpg", None, "gzip"),
    "gzip of a zst, labelled with both": ("zstd gzip", gz(ZSTD), "a.zst", None, "gzip"),
    "gzip of a JPEG, labelled with br inside": ("br gzip", gz(JPEG), "a.jpg", None, "gzip"),
    # What cannot be decoded
    "brotli": ("br", BROTLI, "a.jpg", "image/jpeg", "!br"),
    "zstandard": ("zstd", ZSTD, "a.jpg", "image/jpeg", "!zstd"),
    "lzw": ("compress", COMPRESS, "a.txt", None, "!compress"),
    "pack200 of a jar": ("pack200-gzip", gz(TEXT), "a.jar", None, "!pack200-gzip"),
    "brotli in gzip": ("br gzip", gz(BROTLI), "a.jpg", None, "!br"),
    # Broken: found when the body is decoded
    "broken gzip": ("gzip", b"\x1f\x8bnone", "a.txt", None, "gzip"),
    "the first byte of gzip": ("gzip", b"\x1f", "a.txt", None, "gzip"),
    "broken gzip under its name": ("gzip", b"\x1f\x8bnone", "a.gz", None, ""),
    "broken zlib": ("deflate", zlib.compress(TEXT)[:50] + b"none", "a.txt", None, "deflate"),
}


@pytest.mark.parametrize(("codings", "body", "name", "kind", "removed"), ROWS.values(), ids=ROWS.keys())
def test_the_codings_that_are_removed(codings, body, name, kind, removed):
    removal = removal_of(codings.split(), body[:PEEKED_BYTES], [name], kind)
    unsupported = removed[1:] if removed.startswith("!") else None
    assert (removal.codings, removal.unsupported) == (() if unsupported else tuple(removed.split()), unsupported)
    assert removal.codings == removal.removable[: len(removal.codings)]


@pytest.mark.parametrize(
    ("names", "removed"),
    [
        (["latest", "", "/latest", "/a.tar.gz"], ()),
        (["a.tar.gz", "", "/a.tar.gz", "/blob/1"], ()),
        (["get.php", "a.tgz", "/get.php", "/get.php"], ()),
        (["pkg-1.0", "", "/pkg-1.0.tar.gz", "/pkg-1.0.tar.gz"], ()),
        (["report.csv", "", "/report.csv.gz", "/report.csv.gz"], ("gzip",)),
        (["a", "", "/a", "/a"], ("gzip",)),
    ],
)
def test_the_first_name_that_says_something_decides(names, removed):
    assert removal_of(["gzip"], gz(TEXT)[:PEEKED_BYTES], names).codings == removed


def test_a_name_whose_format_the_bytes_have_in_no_form_does_not_decide():
    assert removal_of(["gzip"], gz(TEXT), ["a.jpg", "/a.jpg.gz"]).codings == ()
    assert removal_of(["gzip"], gz(JPEG), ["a.jpg", "/a.jpg.gz"]).codings == ("gzip",)


@given(st.binary(max_size=300), st.lists(st.sampled_from(["gzip", "deflate", "br", "zstd"]), max_size=3))
def test_whatever_comes_is_a_decision(data, codings):
    removal = removal_of(codings, data, ["a.jpg"], None)
    assert isinstance(removal, Removal)
    assert len(removal.removable) <= len(codings)


def test_text_is_no_compressed_data():
    assert is_text("Zürich ".encode() * 20)
    assert is_text(("x" * 30 + "€").encode()[:-1])
    assert not is_text(b"short")
    assert not is_text(gz(TEXT))
    assert not is_text("Zürich ".encode("latin-1") * 20)


def test_the_format_of_a_name_and_of_a_type():
    assert formats_of_name("/a/b.GZ") == ("gzip",)
    assert formats_of_name("gz") == formats_of_name("a.unknown") == formats_of_name("") == ()
    assert formats_of_type("Application/GZip; a=b") == ("gzip",)
    assert formats_of_type("application/x-xz-compressed-tar") == formats_of_type(None) == formats_of_type("x") == ()
    assert signature_of(b"") is None
    assert signature_of(b"\x00\x00\x00\x18ftypmp42") == "mp4"
