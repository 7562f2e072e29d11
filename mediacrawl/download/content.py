"""Is it what was wanted: hashes, and HTML where media was expected."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from mediacrawl.errors import MachineError, WrongContent
from mediacrawl.headers import is_html, media_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mediacrawl.headers import Digest

SNIFF_BYTES = 64
BESIDE_FROM_BYTES = 4 * 1024 * 1024
_STEP_BYTES = 512 * 1024
_HTML_BEGINNINGS = (b"<!doctype html", b"<html")


class RunningHash:
    """The sha256 of a file, from its first byte on, as it comes to stand on the disk.

    Of a small file the blocks are hashed when they are written. A large one is read again by another thread beside
    the transfer, which the system does out of its memory: hashing takes as long as a fast network does, and hashlib
    lets go of the interpreter meanwhile. So it does not matter how the bytes got there, or in which order.
    """

    def __init__(self, read: Callable[[int, int], bytes], *, wanted: bool = True) -> None:
        """`read` gives bytes of a half-open range of the file, at least one. Without being wanted it does nothing."""
        self._read = read
        self._sha256 = hashlib.sha256() if wanted else None
        self._turn = threading.Lock()  # of who hashes
        self._until = 0
        self._is_followed = False
        self.hashed_bytes = 0

    @property
    def sha256_hex(self) -> str:
        """Of the bytes `[0, hashed_bytes)`; empty if it was not wanted."""
        return self._sha256.hexdigest() if self._sha256 else ""

    def update(self, offset: int, data: bytes) -> None:
        """Hash a block that was written, if it is the next one of a file that is still small."""
        if self._sha256 is None or offset + len(data) >= BESIDE_FROM_BYTES or not self._turn.acquire(blocking=False):
            return
        try:
            if offset == self.hashed_bytes:
                self._sha256.update(data)
                self.hashed_bytes += len(data)
        finally:
            self._turn.release()

    def follow(self, until: int) -> None:
        """Hash beside the transfer what stands in the file up to there, if it is much."""
        if self._sha256 is None or until < BESIDE_FROM_BYTES:
            return
        self._until = until
        if not self._is_followed:
            self._is_followed = True
            _hashers().submit(self._follow)

    def _follow(self) -> None:
        try:
            with self._turn, suppress(MachineError):  # whoever finishes meets it again, and can tell
                self._work_off(lambda: None)
        finally:
            self._is_followed = False

    def finish(self, until: int, check: Callable[[], None]) -> None:
        """Hash what is left of the bytes up to there; `check` is called often, and may raise.

        Raises:
            MachineError: of `read`.
        """
        if self._sha256 is None:
            return
        self.stop()
        with self._turn:
            self._until = until
            self._work_off(check)

    def stop(self) -> None:
        """The file is not read any more, after this has returned and until it is followed again."""
        self._until = 0
        with self._turn:
            pass

    def _work_off(self, check: Callable[[], None]) -> None:
        assert self._sha256 is not None
        while (start := self.hashed_bytes) < (until := self._until):
            check()
            data = self._read(start, min(until, start + _STEP_BYTES))
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


@cache
def _hashers() -> ThreadPoolExecutor:
    """One for the process; a thread for each core is as much as helps."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sha256")


def refuse_html(url: str, content_type: str | None, beginning: bytes = b"") -> None:
    """Raise `WrongContent` for an HTML page, by its Content-Type or by how it begins."""
    kind = media_type(content_type) or ""
    if is_html(kind) or beginning[:SNIFF_BYTES].lstrip().lower().startswith(_HTML_BEGINNINGS):
        raise WrongContent(url, "an HTML page came where a media file was expected")
