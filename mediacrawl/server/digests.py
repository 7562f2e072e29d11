"""The digests that a ledger has recorded, for files that are unchanged since then."""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from mediacrawl.backends import has_ledger, open_ledger
from mediacrawl.errors import MachineError, writable
from mediacrawl.ledger.base import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.ledger.base import Ledger
    from mediacrawl.server.files import FileIdentity, OpenFile

logger = logging.getLogger(__name__)

_MOST_KNOWN = 65_536
_ASK_AGAIN_S = 2.0  # the row of a file is done only a moment after its rename


class RecordedDigests:
    """The SHA-256 of the files of a store, as its ledger knows them. Thread-safe.

    A digest holds as long as the device, inode, size, time of modification and time of change of the file are as
    recorded when the file was published, or last verified. The ledger is opened for reading only, when it is first
    needed; a ledger that cannot be read gives no digests.
    """

    def __init__(self, ledger_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = ledger_url
        self._clock = clock
        self._ledger: Ledger | None = None
        self._known: OrderedDict[tuple[str, FileIdentity], str] = OrderedDict()
        self._unknown: OrderedDict[tuple[str, FileIdentity], float] = OrderedDict()  # and when that was found
        self._lock = Lock()

    def close(self) -> None:
        """Close the ledger."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()

    def known(self, file: OpenFile) -> str | None:
        """Return the digest of a file if it has been looked up, in no time."""
        return self._known.get((file.path, file.identity))

    def is_looked_up(self, file: OpenFile) -> bool:
        """Return whether `look_up` would find what `known` returns, so that there is no need for it."""
        key = (file.path, file.identity)
        return key in self._known or self._unknown.get(key, -_ASK_AGAIN_S) + _ASK_AGAIN_S > self._clock()

    def look_up(self, file: OpenFile) -> str | None:
        """Return the digest of a file in hex; None if the ledger has none for exactly this version."""
        if self.is_looked_up(file):
            return self.known(file)
        with self._lock:
            digest = self._recorded(file)
            key = (file.path, file.identity)
            if digest is None:
                _put(self._unknown, key, self._clock())
            else:
                _put(self._known, key, digest)
        return digest

    def _recorded(self, file: OpenFile) -> str | None:
        if file.path != writable(file.path):
            return None  # a name that is not UTF-8 is in no ledger
        try:
            if self._ledger is None and has_ledger(self._url):
                self._ledger = open_ledger(self._url, read_only=True)
            entry = self._ledger.at_path(file.path) if self._ledger is not None else None
        except MachineError as error:
            logger.warning("files are served without ETag: %s", error)
            return None
        if entry is None or entry.state != State.DONE or entry.identity != json.dumps(file.identity):
            return None
        return entry.sha256


def _put(known: OrderedDict[tuple[str, FileIdentity], Any], key: tuple[str, FileIdentity], value: Any) -> None:
    known[key] = value
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)
