"""The beginning of each process of a server: its options come from the process that has started it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading

from mediacrawl.server.access_log import mask_secrets
from mediacrawl.server.options import ServeOptions
from mediacrawl.system.child_process import die_with_parent
from mediacrawl.visible import make_log_visible

_MOST_BYTES = 1024 * 1024


def receive_options() -> ServeOptions:
    """Return the options that the parent has sent, and end with the parent from now on."""
    die_with_parent()
    end = socket.socket(fileno=int(sys.argv[1]))
    file = end.makefile("rb")
    options = ServeOptions.from_json(file.readline(_MOST_BYTES).decode())
    if sys.platform != "linux":
        threading.Thread(target=_end_with, args=[file], daemon=True).start()
    return options


def _end_with(file: object) -> None:
    file.read()  # type: ignore[attr-defined]  # returns when the parent has ended
    os.kill(os.getpid(), signal.SIGTERM)


def log_to_stderr() -> None:
    """Write the log of this process to standard error, a line for each record, without secrets."""
    make_log_visible()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(mask_secrets)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
