"""Digests that a server or a list promises: RFC 9530, and its predecessors RFC 3230 and RFC 1864."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZES_BYTES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_ALIASES = {"sha": "sha1"}  # as RFC 3230 calls it

_B64 = "([A-Za-z0-9+/]+={0,2})"
_REPR_DIGEST = re.compile(rf"([A-Za-z0-9_.*-]+)=:{_B64}:(?:;.*)?")  # RFC 8941 3.2, 3.3.5
_LEGACY_DIGEST = re.compile(rf"([A-Za-z0-9_-]+)={_B64}")  # RFC 3230 4.3.2


class Digest(NamedTuple):
    """A digest under the name that hashlib has for its algorithm."""

    algorithm: str
    value: bytes

    @property
    def hex(self) -> str:
        """The digest in hexadecimal."""
        return self.value.hex()

    def matches(self, digest: bytes) -> bool:
        return self.value == digest


def digests_from_headers(headers: Mapping[str, str]) -> tuple[Digest, ...]:
    """Return the md5, sha1, sha256 and sha512 digests in a response; the keys of the mapping are in lower case.

    `Repr-Digest` and `Digest` cover the complete representation. `Content-MD5` covers the content of this one
    response, so it applies to the file only with a 200 (RFC 1864, RFC 9110 6.4). Digests that are unknown, malformed
    or of the wrong length are left out. The most trusted header is first.
    """
    found = (
        *_members(_REPR_DIGEST, headers.get("repr-digest")),
        *_members(_LEGACY_DIGEST, headers.get("digest")),
        _digest_from_base64("md5", headers.get("content-md5", "").strip(" \t")),
    )
    return tuple(dict.fromkeys(digest for digest in found if digest))


def digest_from_hex(algorithm: str, text: str) -> Digest | None:
    """Return a digest from hex text, as in lists and checksum files; None if it does not fit the algorithm."""
    try:
        return _digest(algorithm, bytes.fromhex(text))
    except ValueError:
        return None


def _members(form: re.Pattern[str], value: str | None) -> list[Digest | None]:
    if not value:
        return []
    matches = (form.fullmatch(part.strip(" \t")) for part in value.split(","))
    return [_digest_from_base64(match[1], match[2]) for match in matches if match]


def _digest_from_base64(algorithm: str, text: str) -> Digest | None:
    if not text:
        return None
    # RFC 8941 4.2.7: a parser should not fail because the padding is missing.
    padded = text + "=" * (-len(text) % 4)
    try:
        return _digest(algorithm, base64.b64decode(padded, validate=True))
    except ValueError:
        return None


def _digest(algorithm: str, value: bytes) -> Digest | None:
    name = algorithm.strip().lower().replace("-", "")
    name = _ALIASES.get(name, name)
    return Digest(name, value) if _SIZES_BYTES.get(name) == len(value) else None
