"""A pipe that transfers a body from its connection to its file within the kernel, see splice(2)."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE_BYTES = 1024 * 1024  # the limit of Linux for unprivileged processes


@contextmanager
def open_pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe. Yield its reading and its writing end, and close both at the end of the block."""
    source, sink = os.pipe()
    try:
        with suppress(OSError, AttributeError):  # a smaller pipe suffices
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield source, sink
    finally:
        os.close(source)
        os.close(sink)
