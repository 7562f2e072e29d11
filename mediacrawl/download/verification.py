"""Checks of the received content by hashes."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from mediacrawl.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mediacrawl.headers import Digest

BESIDE_FROM_BYTES = 4 * 1024 * 1024
_STEP_BYTES = 512 * 1024


class RunningHash:
    """The SHA-256 of a file, computed from its first byte on while the file is written to the disk.

    The blocks of a small file are hashed when they are written. A large file is read again by another thread during
    the transfer; the system serves this from the page cache. Hashing takes as long as a transfer over a fast
    network, and hashlib releases the interpreter lock meanwhile. So neither the way the bytes were written nor their
    order matters.
    """

    def __init__(self, read: Callable[[int, int], bytes], *, wanted: bool = True) -> None:
        """Start with no bytes hashed; the object does nothing if `wanted` is False.

        `read` returns bytes of a half-open range of the file, at least one byte.
        """
        self._read = read
        self._sha256 = hashlib.sha256() if wanted else None
        self._turn = threading.Lock()  # held by the thread that hashes
        self._until = 0
        self._is_followed = False
        self.hashed_bytes = 0

    @property
    def sha256_hex(self) -> str:
        """The SHA-256 of the bytes `[0, hashed_bytes)` in hex; empty if no hash was wanted."""
        return self._sha256.hexdigest() if self._sha256 else ""

    def update(self, offset: int, data: bytes) -> None:
        """Hash a written block, if the block is the next to be hashed and the file is still small."""
        if self._sha256 is None or offset + len(data) >= BESIDE_FROM_BYTES or not self._turn.acquire(blocking=False):
            return
        try:
            if offset == self.hashed_bytes:
                self._sha256.update(data)
                self.hashed_bytes += len(data)
        finally:
            self._turn.release()

    def follow(self, until: int) -> None:
        """Hash the first `until` bytes of the file in another thread, if they are at least `BESIDE_FROM_BYTES`."""
        if self._sha256 is None or until < BESIDE_FROM_BYTES:
            return
        self._until = until
        if not self._is_followed:
            self._is_followed = True
            _hashers().submit(self._follow)

    def _follow(self) -> None:
        try:
            with self._turn, suppress(MachineError):  # `finish` meets the same error and raises it
                self._work_off(lambda: None)
        finally:
            self._is_followed = False

    def finish(self, until: int, check: Callable[[], None]) -> None:
        """Hash the rest of the first `until` bytes. `check` is called before each step, and may raise.

        Raises:
            MachineError: raised by `read`.
        """
        if self._sha256 is None:
            return
        self.stop()
        with self._turn:
            self._until = until
            self._work_off(check)

    def stop(self) -> None:
        """Stop reading the file. After this method has returned, only a new `follow` or `finish` reads the file."""
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
        """Return whether the file has a digest; `blocks` are read only if the running SHA-256 cannot decide."""
        if digest.algorithm == "sha256" and self._sha256:
            return digest.value == self._sha256.digest()
        other = hashlib.new(digest.algorithm, usedforsecurity=False)
        for block in blocks:
            other.update(block)
        return digest.value == other.digest()


@cache
def _hashers() -> ThreadPoolExecutor:
    """Return the thread pool of the process. More than one thread for each core would not help."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sha256")
