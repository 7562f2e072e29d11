"""Is it what was wanted: hashes, and HTML where media was expected."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from mediacrawl.errors import WrongContent
from mediacrawl.headers import is_html, media_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediacrawl.headers import Digest

SNIFF_BYTES = 64
BESIDE_FROM_BYTES = 4 * 1024 * 1024
_MOST_WAITING = 8  # blocks
_HTML_BEGINNINGS = (b"<!doctype html", b"<html")


class RunningHash:
    """The sha256 of a file that is written from front to back, without reading it again.

    The blocks of a large file are hashed beside the transfer, by another thread: hashing takes as long as a fast
    network does, and hashlib lets go of the interpreter meanwhile. `data` must not change afterwards.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        """Without being wanted it only counts."""
        self._sha256 = hashlib.sha256() if wanted else None
        self._waiting: deque[bytes] = deque()
        self._changed: threading.Condition | None = None  # small files need none
        self._under_way = False
        self.hashed_bytes = 0

    @property
    def sha256_hex(self) -> str:
        """Of the bytes `[0, hashed_bytes)`; empty if it was not wanted."""
        self._settle()
        return self._sha256.hexdigest() if self._sha256 else ""

    def update(self, offset: int, data: bytes) -> None:
        """Count bytes that follow what was hashed; others are hashed from the disk in the end."""
        if offset != self.hashed_bytes:
            return
        self.hashed_bytes += len(data)
        if self._sha256 is None:
            return
        if self.hashed_bytes < BESIDE_FROM_BYTES:
            self._sha256.update(data)
        else:
            self._hash_beside(data)

    def _hash_beside(self, data: bytes) -> None:
        changed = self._changed = self._changed or threading.Condition()
        with changed:
            while len(self._waiting) >= _MOST_WAITING:
                changed.wait()
            self._waiting.append(data)
            if not self._under_way:
                self._under_way = True
                _hashers().submit(self._work_off, changed)

    def _work_off(self, changed: threading.Condition) -> None:
        assert self._sha256 is not None
        while True:
            with changed:
                if not self._waiting:
                    self._under_way = False
                    changed.notify_all()
                    return
                data = self._waiting[0]
            self._sha256.update(data)
            with changed:
                self._waiting.popleft()
                changed.notify_all()

    def _settle(self) -> None:
        if self._changed is None:
            return
        with self._changed:
            while self._under_way:
                self._changed.wait()

    def matches(self, digest: Digest, blocks: Iterable[bytes]) -> bool:
        """Whether the file has that digest; `blocks` are read only for another algorithm."""
        if digest.algorithm == "sha256" and self._sha256:
            self._settle()
            return digest.value == self._sha256.digest()
        other = hashlib.new(digest.algorithm, usedforsecurity=False)
        for block in blocks:
            other.update(block)
        return digest.value == other.digest()


@cache
def _hashers() -> ThreadPoolExecutor:
    """One for the process; a thread for each core is as much as helps."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sha256")


def refuse_html(url: str, content_type: str | None, beginning: bytes = b"") -> None:
    """Raise `WrongContent` for an HTML page, by its Content-Type or by how it begins."""
    kind = media_type(content_type) or ""
    if is_html(kind) or beginning[:SNIFF_BYTES].lstrip().lower().startswith(_HTML_BEGINNINGS):
        raise WrongContent(url, "an HTML page came where a media file was expected")
