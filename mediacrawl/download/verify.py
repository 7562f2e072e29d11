"""Is it what was wanted: hashes, and HTML where media was expected."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mediacrawl.errors import WrongContent
from mediacrawl.headers import is_html, media_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediacrawl.headers import Digest

SNIFF_BYTES = 64
_HTML_BEGINNINGS = (b"<!doctype html", b"<html")


class RunningHash:
    """The sha256 of a file that is written from front to back, without reading it again."""

    def __init__(self, *, wanted: bool = True) -> None:
        """Without being wanted it only counts."""
        self._sha256 = hashlib.sha256() if wanted else None
        self.hashed_bytes = 0

    @property
    def sha256_hex(self) -> str:
        """Of the bytes `[0, hashed_bytes)`; empty if it was not wanted."""
        return self._sha256.hexdigest() if self._sha256 else ""

    def update(self, offset: int, data: bytes) -> None:
        """Count bytes that follow what was hashed; others are hashed from the disk in the end."""
        if offset == self.hashed_bytes:
            if self._sha256:
                self._sha256.update(data)
            self.hashed_bytes += len(data)

    def matches(self, digest: Digest, blocks: Iterable[bytes]) -> bool:
        """Whether the file has that digest; `blocks` are read only for another algorithm."""
        if digest.algorithm == "sha256" and self._sha256:
            return digest.value == self._sha256.digest()
        other = hashlib.new(digest.algorithm, usedforsecurity=False)
        for block in blocks:
            other.update(block)
        return digest.value == other.digest()


def refuse_html(url: str, content_type: str | None, beginning: bytes = b"") -> None:
    """Raise `WrongContent` for an HTML page, by its Content-Type or by how it begins."""
    kind = media_type(content_type) or ""
    if is_html(kind) or beginning[:SNIFF_BYTES].lstrip().lower().startswith(_HTML_BEGINNINGS):
        raise WrongContent(url, "an HTML page came where a media file was expected")
