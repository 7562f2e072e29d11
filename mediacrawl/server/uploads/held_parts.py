"""The parts that uploads are written to: who holds them in this process, and how they are had from another one."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mediacrawl.errors import disk_error
from mediacrawl.server.uploads.handovers import Handovers
from mediacrawl.server.uploads.problems import UploadInUse
from mediacrawl.server.uploads.writer import PrefixHash
from mediacrawl.store.parts import PartInUse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.server.uploads.writer import UploadWriter
    from mediacrawl.store.base import Store
    from mediacrawl.store.parts import PartFile

_HANDED_OVER_WITHIN_S = 3.0
_ENDED_WITHIN_S = 600.0  # to publish a file takes as long as to read it
_TRY_EVERY_S = 0.02
_MOST_PREFIXES = 1_000
_FOLDER = "handovers"  # in the hidden folder of the store


class HeldParts:
    """The parts of uploads, in this process. Methods may be called from any thread."""

    def __init__(self, store: Store) -> None:
        """Use the parts of a store that is open."""
        self._parts = store.parts
        self._changed = threading.Condition()  # guards all of these
        self._writers: dict[str, UploadWriter] = {}  # by the name of the part
        self._busy: set[str] = set()  # keys of uploads that are being finished or removed
        self._prefixes: OrderedDict[str, PrefixHash] = OrderedDict()  # by the name of the part
        self._handovers = Handovers(lambda: store.parts.open_folder(store.hidden / _FOLDER), self._end_writer)

    def close(self) -> None:
        """End all writers, which makes their bytes durable."""
        with self._changed:
            writers = list(self._writers.values())
        for writer in writers:
            writer.hand_over()
        self._handovers.close()

    @contextmanager
    def only(self, key: str) -> Iterator[None]:
        """Be the only one in this process that finishes or removes an upload; wait until another has ended.

        Raises:
            UploadInUse: that takes too long.
        """
        with self._changed:
            self._wait_until_idle(key)
            self._busy.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(key)
                self._changed.notify_all()

    def wait_until_idle(self, key: str) -> None:
        """Wait until no thread of this process finishes or removes an upload.

        Raises:
            UploadInUse: that takes too long.
        """
        with self._changed:
            self._wait_until_idle(key)

    def _wait_until_idle(self, key: str) -> None:
        if not self._changed.wait_for(lambda: key not in self._busy, _ENDED_WITHIN_S):
            raise UploadInUse("the upload is still being finished: ask again later")

    def lock(self, key: str) -> PartFile:
        """Return the part of an upload, locked. Its writer, in any process, is ended; a missing part is created.

        Raises:
            UploadInUse: the process of the writer does not answer.
            StoreNotWritable, DiskFull: the part cannot be created.
        """
        name, asked = self._parts.name(key), False
        give_up_at = time.monotonic() + _HANDED_OVER_WITHIN_S
        try:
            while True:
                self._end_writer(name)
                try:
                    return self._parts.open(key)
                except PartInUse:
                    if time.monotonic() > give_up_at:
                        raise UploadInUse("another process holds this upload: try again in a moment") from None
                asked = True
                self._handovers.ask(name)
                time.sleep(_TRY_EVERY_S)
        except OSError as error:
            raise disk_error(error, self._parts.folder) from None
        finally:
            if asked:
                self._handovers.withdraw(name)

    def register(self, part: PartFile, writer: UploadWriter) -> None:
        """Note the writer of a part, which `lock` ends."""
        with self._changed:
            self._writers[part.name] = writer
        self._handovers.watch(True)

    def released(self, writer: UploadWriter) -> None:
        """Forget a writer that has released its part, and remember the hash of the bytes."""
        with self._changed:
            if self._writers.get(writer.part_name) is writer:
                del self._writers[writer.part_name]
            self._prefixes[writer.part_name] = writer.prefix
            self._prefixes.move_to_end(writer.part_name)
            while len(self._prefixes) > _MOST_PREFIXES:
                self._prefixes.popitem(last=False)
            self._handovers.watch(bool(self._writers))

    def offset_of_writer(self, key: str) -> int | None:
        """Return how many bytes the writer of an upload in this process has come to; None if there is none."""
        with self._changed:
            writer = self._writers.get(self._parts.name(key))
            return None if writer is None else writer.offset

    def prefix_of(self, part: PartFile) -> PrefixHash:
        """Return the hash of the first bytes of a part: of all, of none, or of as many as this process has seen."""
        with self._changed:
            kept = self._prefixes.pop(part.name, None)
        return kept if kept is not None and kept.offset <= part.have else PrefixHash()

    def forget(self, part: PartFile) -> None:
        """Forget the hash of a part that is published or removed."""
        with self._changed:
            self._prefixes.pop(part.name, None)

    def _end_writer(self, name: str) -> None:
        with self._changed:
            writer = self._writers.get(name)
        if writer is not None:
            writer.hand_over()
