"""The pauses of hosts in the form of transfers that wait, for a progress display."""

from __future__ import annotations

from typing import NamedTuple

from mediacrawl.download.progress import Progress

_MOST = 1000


class PauseOfHost(NamedTuple):
    """A pause of a host.

    Attributes:
        host: without its port.
        site: host and port, for a message.
        reason: what went wrong, in a few words.
        until_s: the end of the pause.
        concerns_all: no process may send a request to the host. Otherwise only the files of the queue wait.
    """

    host: str
    site: str
    reason: str
    until_s: float
    concerns_all: bool


class PausedHosts:
    """The hosts that are paused now."""

    def __init__(self) -> None:
        self._pauses: dict[str, PauseOfHost] = {}  # the last of each host

    def add(self, pause: PauseOfHost) -> None:
        """Show a pause until it ends. The last `_MOST` are remembered: nobody may look at them."""
        self._pauses.pop(pause.site, None)
        self._pauses[pause.site] = pause
        if len(self._pauses) > _MOST:
            del self._pauses[next(iter(self._pauses))]

    def progress(self, now_s: float) -> list[Progress]:
        """Return a transfer that waits for each host."""
        self._pauses = {site: pause for site, pause in self._pauses.items() if pause.until_s > now_s}
        waiting = []
        for pause in self._pauses.values():
            progress = Progress(pause.site, note=f"{pause.reason}, again in {pause.until_s - now_s:.0f} s")
            progress.wait(Progress.SLEEPS)
            waiting.append(progress)
        return waiting
