"""The digests that a ledger has recorded, for files that are unchanged since then."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import OrderedDict
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from mediacrawl.backends import has_ledger, open_ledger
from mediacrawl.errors import MachineError, StoreNotWritable, writable
from mediacrawl.ledger.base import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.ledger.base import Ledger
    from mediacrawl.server.files import FileIdentity, OpenFile

logger = logging.getLogger(__name__)

_MOST_KNOWN = 16_384
_ASK_AGAIN_S = 2.0  # the row of a file is done only a moment after its rename


class RecordedDigests:
    """The SHA-256 of the files of a store, as its ledger knows them. Thread-safe.

    A digest holds as long as the device, inode, size, time of modification and time of change of the file are as
    recorded when the file was published, or last verified. The ledger is opened for reading only, when it is first
    needed; a ledger that cannot be read gives no digests, which is logged once.
    """

    def __init__(self, ledger_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Read digests from a ledger, which may be missing yet.

        Raises:
            UsageProblem: the URL is of an unknown kind.
        """
        with suppress(StoreNotWritable):
            has_ledger(ledger_url)
        self._url = ledger_url
        self._clock = clock
        self._ledger: Ledger | None = None
        self._known: OrderedDict[tuple[str, FileIdentity], str] = OrderedDict()
        self._unknown: OrderedDict[tuple[str, FileIdentity], float] = OrderedDict()  # and when to ask again
        self._look_again_at = -math.inf
        self._told = ""
        self._lock = Lock()

    def close(self) -> None:
        """Close the ledger."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()

    def look_up(self, file: OpenFile) -> str | None:
        """Return the digest of a file in hex; None if the ledger has none for exactly this version.

        The cost is one query, without waiting for other processes, and mostly none.
        """
        return self.of(file.path, file.identity)

    def of(self, path: str, identity: FileIdentity) -> str | None:
        """Return the digest of the version of a file that has this identity, as `look_up`."""
        key = (path, identity)
        if (digest := self._known.get(key)) is not None or self._unknown.get(key, 0.0) > self._clock():
            return digest
        with self._lock:
            digest = self._recorded(path, identity)
            if digest is None:
                _put(self._unknown, key, self._clock() + _ASK_AGAIN_S)
            else:
                _put(self._known, key, digest)
        return digest

    def _recorded(self, path: str, identity: FileIdentity) -> str | None:
        if path != writable(path):
            return None  # a name that is not UTF-8 is in no ledger
        try:
            ledger = self._opened()
            entry = ledger.at_path(path) if ledger is not None else None
        except MachineError as error:
            if str(error) != self._told:
                logger.warning("files are served without ETag: %s", error)
                self._told = str(error)
            return None
        if entry is None or entry.state != State.DONE or entry.identity != json.dumps(identity):
            return None
        return entry.sha256

    def _opened(self) -> Ledger | None:
        if self._ledger is None and self._look_again_at <= self._clock():
            self._look_again_at = self._clock() + _ASK_AGAIN_S
            if has_ledger(self._url):
                self._ledger = open_ledger(self._url, read_only=True)
                self._ledger.hurry()
        return self._ledger


def _put(known: OrderedDict[tuple[str, FileIdentity], Any], key: tuple[str, FileIdentity], value: Any) -> None:
    known[key] = value
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)
