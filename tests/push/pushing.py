"""What the tests of `push` share: a run in this process, with its state in a folder."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.retry import Backoff
from mediacrawl.push.http_client import NetworkOptions
from mediacrawl.push.local_files import local_files
from mediacrawl.push.push_run import PushResult, PushRun
from mediacrawl.push.push_state import PushState
from mediacrawl.push.server_of import target_for
from mediacrawl.transport.netrc_file import NO_NETRC

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 60.0
AT_ONCE = Backoff(times=4, base_s=0.001, max_s=0.001)
ONCE = Backoff(times=0)


class Pusher:
    """Sends files as a run of the command does."""

    def __init__(self, folder: Path) -> None:
        self.state_folder = folder / "state"
        self.folder = folder / "local"
        self.folder.mkdir()

    def write(self, name: str, data: bytes, *, at: float = 1_700_000_000.25) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (at, at))
        return path

    def start(
        self,
        url: str,
        *paths: Path,
        backoff: Backoff = AT_ONCE,
        at_once: int = 1,
        cancel: Cancel | None = None,
        **network: Any,
    ) -> Sending:
        options = NetworkOptions(**({"authorities": None, "netrc": NO_NETRC} | TIMES | network))
        state = PushState(self.state_folder)
        target = target_for(url, options, state)
        cancel = cancel or Cancel()
        files = local_files(map(str, paths or (self.folder,)))
        return Sending(PushRun(target, state, files, cancel, at_once=at_once, backoff=backoff), target, state, cancel)

    def push(self, url: str, *paths: Path, **more: Any) -> list[PushResult]:
        """Send files, and return their results by name."""
        return self.start(url, *paths, **more).wait()


TIMES = {"connect_timeout_s": 15.0, "stall_s": 30.0}


class Sending:
    """A run on its way."""

    def __init__(self, run: PushRun, target: Any, state: PushState, cancel: Cancel) -> None:
        self.run, self._target, self._state, self.cancel = run, target, state, cancel

    def wait(self) -> list[PushResult]:
        found: list[PushResult] = []
        over = threading.Event()
        timer = threading.Timer(PATIENCE_S, over.set)
        timer.start()
        try:
            while not self.run.is_done:
                assert not over.is_set(), "still running"
                found += self.run.results(0.05)
        finally:
            timer.cancel()
        self._target.close()
        self._state.close()
        return sorted(found, key=lambda result: result.path)
