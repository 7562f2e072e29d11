"""A worker process that is a thread of the tests: all that is said goes over a socket, as between processes.

It costs a hundredth of a process, and rules that are patched out in a test are gone in it too.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import Any

from mediacrawl.workers.channel import Channel
from mediacrawl.workers.worker import Worker


class ThreadWorker:
    """A worker in a thread of this process, as `subprocess.Popen` has it. A kill takes its connection away."""

    all: list[ThreadWorker] = []  # noqa: RUF012 - those of the test that is running

    def __init__(self, end: Any) -> None:
        self.pid = len(ThreadWorker.all)
        self._end = end.dup()
        self._thread = threading.Thread(target=self._serve, args=(Channel(end.dup()),), daemon=True, name="in-worker")
        ThreadWorker.all.append(self)
        self._thread.start()

    def _serve(self, channel: Channel) -> None:
        with contextlib.suppress(EOFError, OSError):
            Worker(channel, channel.receive()).serve()
        with contextlib.suppress(OSError):
            self._end.shutdown(2)
        self._end.close()
        channel.finish(1.0)
        channel.close()

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._end.shutdown(2)

    def wait(self, timeout: float | None = None) -> int:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return 0
