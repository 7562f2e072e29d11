"""Progress bars on a terminal, lines of text elsewhere. Draws snapshots, and does not depend on Scrapy."""

from __future__ import annotations

import logging
import shutil
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from mediacrawl.fetch.stats import size_text
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tqdm import tqdm

    from mediacrawl.download.progress import Progress

_REDRAW_S = 0.2
_MAX_BARS = 16
_WAITS_FROM_S = 1.0
_SPEED_OVER_S = 5.0  # a speed measured over a shorter time fluctuates


class Snapshot(NamedTuple):
    """The progress of a run.

    Attributes:
        at_s: a monotonic time.
        settled, wanted: numbers of files.
        fetched_bytes: bytes transferred in this run.
        active: transfers in flight.
    """

    at_s: float
    settled: int
    wanted: int
    fetched_bytes: int
    active: Sequence[Progress] = ()


class Display:
    """Draws snapshots on a stream.

    Attributes:
        every_s: seconds between two calls of `draw`.
    """

    def __init__(self, stream: TextIO, line_every_s: float) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._line_every_s = line_every_s
        self._next_line_at = 0.0
        self._history: list[tuple[float, int]] = []
        self._total: tqdm[Any] | None = None
        self._bars: list[tqdm[Any]] = []
        self._streams: list[tuple[logging.StreamHandler[Any], Any]] = []
        self.every_s = _REDRAW_S if self._is_terminal else min(line_every_s or 3600.0, 1.0)

    def draw(self, now: Snapshot) -> None:
        """Update the bars on a terminal; elsewhere write a line when the next line is due."""
        speed = self._speed(now)
        now = now._replace(active=sorted(now.active, key=lambda progress: _waits(progress, now.at_s)))
        if self._is_terminal:
            self._draw_bars(now, speed)
        elif self._line_every_s:
            self._write_line(now, speed)

    def say(self, line: str, stream: TextIO) -> None:
        """Print a line on either stream, in its visible form; above the bars, if there are bars."""
        with _cleared(stream) if self._total is not None else nullcontext():
            print(visible(line), file=stream)

    def close(self, now: Snapshot) -> None:
        """Remove the bars of the transfers, and leave the total at its last value."""
        if self._total is not None:
            self._draw_bars(Snapshot(now.at_s, now.settled, now.wanted, now.fetched_bytes), self._speed(now))
            self._total.close()
            self._total = None
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams.clear()

    def _speed(self, now: Snapshot) -> float:
        self._history.append((now.at_s, now.fetched_bytes))
        while len(self._history) > 2 and now.at_s - self._history[1][0] > _SPEED_OVER_S:
            self._history.pop(0)
        then_s, then_bytes = self._history[0]
        return (now.fetched_bytes - then_bytes) / (now.at_s - then_s) if now.at_s > then_s else 0.0

    def _write_line(self, now: Snapshot, speed: float) -> None:
        if not self._next_line_at:
            self._next_line_at = now.at_s + self._line_every_s
        if now.at_s < self._next_line_at:
            return
        self._next_line_at = now.at_s + self._line_every_s
        under_way = ", ".join(_brief(progress) for progress in now.active[:3])
        more = f" and {len(now.active) - 3} more" if len(now.active) > 3 else ""
        self._stream.write(
            f"{now.settled}/{now.wanted} files, {size_text(now.fetched_bytes)}, {size_text(speed)}/s"
            f"{': ' if under_way else ''}{under_way}{more}\n"
        )
        self._stream.flush()

    def _draw_bars(self, now: Snapshot, speed: float) -> None:
        if self._total is None:
            from tqdm import tqdm  # noqa: PLC0415 - not needed without a terminal

            self._total = tqdm(
                file=self._stream,
                unit="file",
                position=0,
                dynamic_ncols=True,
                bar_format="{n_fmt}/{total_fmt} files |{bar}| {desc} [{elapsed}<{remaining}]",
            )
            self._log_above_bars()
        self._total.total = max(now.wanted, 1)
        self._total.n = now.settled
        self._total.desc = f"{size_text(now.fetched_bytes)} {size_text(speed)}/s"
        self._total.refresh()
        self._draw_transfers(now.active)

    def _draw_transfers(self, active: Sequence[Progress]) -> None:
        from tqdm import tqdm  # noqa: PLC0415

        room = max(1, min(_MAX_BARS, shutil.get_terminal_size().lines - 3))
        shown = active[:room]
        while len(self._bars) > len(shown):
            self._bars.pop().close()
        while len(self._bars) < len(shown):
            self._bars.append(
                tqdm(
                    file=self._stream,
                    unit="B",
                    unit_scale=True,
                    leave=False,
                    position=len(self._bars) + 1,
                    dynamic_ncols=True,
                    bar_format="  {desc} |{bar}| {n_fmt}/{total_fmt}{postfix}",
                )
            )
        for bar, progress in zip(self._bars, shown, strict=True):
            bar.total = progress.total_bytes
            bar.n = progress.have_bytes
            bar.desc = _fitted(progress.name)
            bar.postfix = visible(progress.note)  # tqdm puts a comma before it
            bar.refresh()

    def _log_above_bars(self) -> None:
        """Write log lines above the bars: give each console handler a stream that clears the bars first."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.stdout):
                self._streams.append((handler, handler.stream))
                handler.setStream(_AboveBars(handler.stream))


class _AboveBars:
    """A stream that clears tqdm's bars before it writes, and draws them again."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _cleared(self._stream):
            return int(self._stream.write(text))

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _cleared(stream: Any) -> AbstractContextManager[None]:
    """Hide the bars of tqdm while the block runs, and draw them again at its end."""
    from tqdm import tqdm  # noqa: PLC0415 - the bars exist, so tqdm is imported already

    return tqdm.external_write_mode(file=stream)


def _waits(progress: Progress, now_s: float) -> bool:
    """Return whether a transfer waits for a response or for its next try. All other transfers are shown first."""
    since_s = progress.waits_since_s  # read once: another thread writes it
    return since_s is not None and now_s - since_s > _WAITS_FROM_S


def _fitted(name: str, width: int = 24) -> str:
    """Return a name in its visible form, shortened: servers choose names."""
    name = visible(name)
    return name if len(name) <= width else f"{name[: width - 9]}…{name[-8:]}"


def _brief(progress: Progress) -> str:
    have, total = size_text(progress.have_bytes), progress.total_bytes
    if progress.note and not (progress.have_bytes or total):
        return f"{_fitted(progress.name)} ({visible(progress.note)})"
    return f"{_fitted(progress.name)} {have}" + (f"/{size_text(total)}" if total else "")
