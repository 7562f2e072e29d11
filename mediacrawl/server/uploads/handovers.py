"""How a process asks another one to let go of an upload: by a file of the name of the part in a folder of the store.

The lock of a part ends with its process, but a process that waits for a stalled client holds it. Each process that
writes to uploads therefore looks into the folder, ten times in a second, while it does.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from mediacrawl.errors import MediacrawlError
from mediacrawl.system.directories import UnexpectedEntry
from mediacrawl.system.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.system.directories import Directory

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.1


class Handovers:
    """The requests of all processes. Methods may be called from any thread."""

    def __init__(self, open_folder: Callable[[], Directory], let_go: Callable[[str], None]) -> None:
        """Prepare; nothing is opened yet.

        Args:
            open_folder: opens the folder of the requests, and creates it if it is missing.
            let_go: ends the writer of a part in this process, if there is one. Called from a thread of this object.
        """
        self._open_folder = open_folder
        self._let_go = let_go
        self._lock = threading.Lock()
        self._folder: Directory | None = None
        self._is_needed = threading.Event()
        self._is_closed = threading.Event()
        self._is_watching = False

    def ask(self, part: str) -> None:
        """Ask the other processes to let go of a part. A request that is there already stays.

        Raises:
            OSError: the folder cannot be written.
        """
        os.close(self._opened().open_file(part, os.O_RDWR | os.O_CREAT))

    def withdraw(self, part: str) -> None:
        """Remove a request; it may be gone already.

        Raises:
            OSError: the folder cannot be written.
        """
        self._opened().remove(part)

    def watch(self, is_needed: bool) -> None:
        """Look for requests from now on, or no longer."""
        if not is_needed:
            self._is_needed.clear()
            return
        self._is_needed.set()
        with self._lock:
            if self._is_watching:
                return
            self._is_watching = True
        start_thread(self._watch, "handovers")

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()
        self._is_needed.set()

    def _opened(self) -> Directory:
        with self._lock:
            if self._folder is None:
                self._folder = self._open_folder()
            return self._folder

    def _watch(self) -> None:
        while self._is_needed.wait() and not self._is_closed.wait(_LOOK_EVERY_S):
            try:
                self._look()
            except (OSError, MediacrawlError) as error:
                logger.warning("cannot look for other processes that want to go on with an upload: %s", error)

    def _look(self) -> None:
        folder = self._opened()
        for part in folder.names():
            self._let_go(part)
            with suppress(UnexpectedEntry):  # a folder is no request
                folder.remove(part)  # who asks does so again, if the part is still locked
