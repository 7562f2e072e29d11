"""Keep files open for a server that is given the numbers of descriptors, and opens them by these numbers."""

from __future__ import annotations

import resource
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mediacrawl.system.open_files import allow_many_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.server.files import FileIdentity, FilesBelow, OpenFile

_HAS_PROC = Path("/proc/self/fd").is_dir()
_SHARE = 4  # of the upper numbers: for files that nobody reads now, beside those that were handed out of late


class DescriptorCache:
    """Open files, for a server that opens `/proc/self/fd/N` itself, at a time that it does not tell.

    Such a number must not be given to another file before the server has opened it. So a file stays open for
    `grace_s` seconds after its number was handed out, and each number is used again only when all others above
    `_first_number` have been: a server that is later than that finds no file, and never a wrong one. Not thread-safe.
    """

    def __init__(
        self,
        files: FilesBelow,
        identity: Callable[[str], FileIdentity | None],
        *,
        most: int = 512,
        grace_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Cache up to `most` files, and few if the process may have few open. Others stay open for their time.

        These are up to half of the numbers in use here. `identity` is that of `files`, or returns what that has
        returned since the request came.
        """
        self._files, self._identity = files, identity
        self._grace_s, self._clock = grace_s, clock
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._handed_out: OrderedDict[int, tuple[OpenFile, float]] = OrderedDict()  # by number; oldest first
        self._first_number, numbers = _highest_numbers()
        self._next_number = self._first_number
        self._most = max(1, min(most, numbers // _SHARE))
        self._most_handed_out = numbers // 2

    def get(self, path: str) -> OpenFile | None:
        """Return the file that is at a path now; None if there is none.

        The caller does not close it, and uses it before the next call: later calls may close it.

        Raises:
            OSError: as `FilesBelow.open`.
        """
        file = self._open.get(path)
        if file is not None:
            if file.identity == self._identity(path):
                self._open.move_to_end(path)
                return file
            self._evict(self._open.pop(path))
        file = self._files.open(path)
        if file is None:
            return None
        self._open[path] = file
        if len(self._open) > self._most:
            self._evict(self._open.popitem(last=False)[1])
        return file

    def hand_out(self, file: OpenFile) -> str | None:
        """Return a path by which the process can open this version of a file for `grace_s` seconds.

        None if there is no such path on this system, or if too many files have been handed out of late.
        """
        now = self._clock()
        self._close_expired(now)
        if file.descriptor not in self._handed_out and not self._prepare(file):
            return None
        self._handed_out[file.descriptor] = (file, now)
        self._handed_out.move_to_end(file.descriptor)
        return f"/proc/self/fd/{file.descriptor}"

    def close(self) -> None:
        """Close all files."""
        for file in [*self._open.values(), *(file for file, _ in self._handed_out.values())]:
            file.close()
        self._open.clear()
        self._handed_out.clear()

    def _prepare(self, file: OpenFile) -> bool:
        """Give a file a number that has not been in use for long; return whether there is one."""
        if not _HAS_PROC or len(self._handed_out) >= self._most_handed_out:
            return False
        for least in (self._next_number, self._first_number):
            with suppress(OSError):  # beyond the last number
                self._next_number = file.renumber(least) + 1
                return True
        return False

    def _evict(self, file: OpenFile) -> None:
        if file.descriptor not in self._handed_out:
            file.close()

    def _close_expired(self, now: float) -> None:
        """Forget files whose time is over, and close those that are no longer in the cache."""
        while self._handed_out:
            number, (file, at) = next(iter(self._handed_out.items()))
            if now < at + self._grace_s:
                break
            del self._handed_out[number]
            if self._open.get(file.path) is not file:
                file.close()


def _highest_numbers() -> tuple[int, int]:
    """Return the first of the upper half of all numbers of descriptors, and how many they are.

    The rest of the process has the lowest free number each time, and so seldom one of these.
    """
    allow_many_files()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit // 2, limit - limit // 2
