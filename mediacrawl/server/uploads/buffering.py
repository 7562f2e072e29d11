"""Notice a proxy that collects the content of a request before it sends it on, as nginx does by default.

An upload through such a proxy cannot be resumed: the server sees nothing of it before the last byte, and nothing at
all of one that breaks off. A client begins its PATCH as soon as it has been told the offset. If the PATCH comes late,
and its content then comes at once, something in between has had the content in the meantime.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

_LEAST_GAP_S = 2.0
_LEAST_BYTES = 1024 * 1024
_FASTER = 3  # the content came in a third of the time that the client has had to send it, or in less
_SEEN_UNTIL_SURE = 2
_MOST_ASKED = 1_000


class BufferingWatch:
    """Decide from the times of requests whether uploads are collected. Thread-safe."""

    def __init__(self) -> None:
        """Begin with no request seen."""
        self._lock = threading.Lock()
        self._told: OrderedDict[str, float] = OrderedDict()
        self._seen = 0

    @property
    def is_buffered(self) -> bool:
        """Whether uploads seem to be collected."""
        return self._seen >= _SEEN_UNTIL_SURE

    def note_told(self, upload_id: str, now: float) -> None:
        """Note that a client has been told the offset of an upload. Times are in seconds, by one clock."""
        with self._lock:
            self._told[upload_id] = now
            self._told.move_to_end(upload_id)
            while len(self._told) > _MOST_ASKED:
                self._told.popitem(last=False)

    def note_received(self, upload_id: str, began: float, ended: float, size_bytes: int) -> bool:
        """Note that the whole content of a PATCH has come through a proxy.

        Args:
            upload_id: of the upload.
            began: when the head of the request came.
            ended: when its last byte came.
            size_bytes: of the content.

        Returns:
            Whether it has now become sure that the proxy collects: True once.
        """
        with self._lock:
            told_at = self._told.pop(upload_id, None)
            if told_at is None or size_bytes < _LEAST_BYTES:
                return False
            gap = began - told_at
            if gap >= _LEAST_GAP_S and (ended - began) * _FASTER <= gap:
                self._seen += 1
                return self._seen == _SEEN_UNTIL_SURE
            if not self.is_buffered:
                self._seen = 0
            return False
