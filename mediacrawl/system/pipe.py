"""A pipe through which a body goes from its connection to its file within the kernel, see splice(2)."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE_BYTES = 1024 * 1024  # what Linux lets anybody have


@contextmanager
def open_pipe() -> Iterator[tuple[int, int]]:
    """The ends to read from and to write to."""
    source, sink = os.pipe()
    try:
        with suppress(OSError, AttributeError):  # a small one will do
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield source, sink
    finally:
        os.close(source)
        os.close(sink)
