import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.headers.digests import Digest, digest_from_hex, digests_from_headers

BODY = b"hello"
MD5, SHA1, SHA256, SHA512 = (
    Digest(name, hashlib.new(name, BODY, usedforsecurity=False).digest())
    for name in ("md5", "sha1", "sha256", "sha512")
)


def b64(digest):
    return base64.b64encode(digest.value).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ()),
        ({"repr-digest": f"sha-256=:{b64(SHA256)}:"}, (SHA256,)),
        ({"repr-digest": f"sha-256=:{b64(SHA256)}:, sha-512=:{b64(SHA512)}:"}, (SHA256, SHA512)),
        ({"repr-digest": f"unixsum=:AAAA:,sha-256=:{b64(SHA256)}:;x=1"}, (SHA256,)),
        ({"repr-digest": f"sha-256=:{b64(SHA256).rstrip('=')}:"}, (SHA256,)),
        ({"repr-digest": f"sha-256={b64(SHA256)}"}, ()),
        ({"repr-digest": f"sha-256=:{b64(MD5)}:"}, ()),
        ({"repr-digest": "sha-256=:!!!!:"}, ()),
        ({"repr-digest": "sha-256=::"}, ()),
        ({"digest": f"SHA-256={b64(SHA256)},MD5={b64(MD5)}"}, (SHA256, MD5)),
        ({"digest": f"sha-256={b64(SHA256)}, SHA={b64(SHA1)}"}, (SHA256, SHA1)),
        ({"digest": "adler32=03da0195"}, ()),
        ({"content-md5": b64(MD5)}, (MD5,)),
        ({"content-md5": f" {b64(MD5)} "}, (MD5,)),
        ({"content-md5": MD5.hex}, ()),
        ({"content-md5": b64(SHA256)}, ()),
        (
            {
                "content-md5": b64(MD5),
                "digest": f"SHA-256={b64(SHA256)}",
                "repr-digest": f"sha-256=:{b64(SHA256)}:",
            },
            (SHA256, MD5),
        ),
    ],
)
def test_digests_are_read_from_three_generations_of_headers(headers, expected):
    assert digests_from_headers(headers) == expected


@pytest.mark.parametrize(
    ("algorithm", "text", "expected"),
    [
        ("sha256", SHA256.hex, SHA256),
        ("SHA-256", SHA256.hex.upper(), SHA256),
        ("md5", f" {MD5.hex}\n", MD5),
        ("sha1", SHA1.hex, SHA1),
        ("md5", SHA256.hex, None),
        ("sha256", "", None),
        ("sha256", "xyz", None),
        ("crc32", "00000000", None),
    ],
)
def test_a_digest_is_read_from_hex_if_it_fits(algorithm, text, expected):
    assert digest_from_hex(algorithm, text) == expected


def test_a_digest_matches_its_own_bytes_only():
    assert SHA256.matches(hashlib.sha256(BODY).digest())
    assert not SHA256.matches(hashlib.sha256(b"other").digest())
    assert not SHA256.matches(b"")


@given(
    st.dictionaries(st.sampled_from(["repr-digest", "digest", "content-md5"]), st.text()),
    st.text(),
    st.text(),
)
def test_it_never_raises(headers, algorithm, text):
    digests_from_headers(headers)
    digest_from_hex(algorithm, text)


@given(st.binary())
def test_every_body_is_recognised_by_what_was_said_of_it(body):
    digest = Digest("sha256", hashlib.sha256(body).digest())
    assert digests_from_headers({"repr-digest": f"sha-256=:{b64(digest)}:"}) == (digest,)
    assert digest_from_hex("sha256", digest.hex) == digest
