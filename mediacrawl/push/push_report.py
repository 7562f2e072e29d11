"""What came of a run that sends files: lines for a person, objects for a program, and the exit status."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from mediacrawl.fetch.stats import size_text
from mediacrawl.push.push_run import ALREADY_THERE, NOT_SENT, SENT_REST, SENT_WHOLE
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from mediacrawl.errors import MachineError
    from mediacrawl.push.push_run import PushResult

_EXAMPLES = 10


class PushReport:
    """Counts of a run."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: list[str] = []
        self._saved_bytes = 0

    def count(self, result: PushResult) -> None:
        """Count the result of a file."""
        self._counts[result.status] += 1
        if result.status == NOT_SENT and len(self._examples) < _EXAMPLES:
            self._examples.append(f"{_text(result)}: {result.reason}")
        if result.status == SENT_REST:
            self._saved_bytes += result.saved_bytes

    @property
    def settled(self) -> int:
        """The number of files that have a result."""
        return self._counts.total()

    def exit_status(self, fatal: MachineError | None, *, is_stopped: bool) -> int:
        """Return the exit status: 0 all are there, 1 some failed, 3 interrupted, 4 this machine cannot go on."""
        if fatal is not None:
            return fatal.exit_status
        if is_stopped:
            return EXIT_INTERRUPTED
        return EXIT_FAILED if self._counts[NOT_SENT] else EXIT_OK

    def lines(self, sent_bytes: int, command: str, fatal: MachineError | None, *, is_stopped: bool) -> list[str]:
        """Return the lines of the summary; `command` is the one that goes on with the run."""
        counts = self._counts
        saved = f", {size_text(self._saved_bytes)} were there of earlier runs" if self._saved_bytes else ""
        done = f"sent {counts[SENT_WHOLE]}, resumed {counts[SENT_REST]}, already there {counts[ALREADY_THERE]}"
        lines = [f"{done}, failed {counts[NOT_SENT]}; {size_text(sent_bytes)} sent{saved}"]
        lines += [f"  {example}" for example in self._examples]
        if (others := counts[NOT_SENT] - len(self._examples)) > 0:
            lines.append(f"  and {others} more: --json tells of each")
        if fatal is not None:
            lines.append(f"stopped: {fatal}")
        elif is_stopped:
            lines.append(f"interrupted, nothing is lost; go on with: {command}")
        elif counts[NOT_SENT]:
            lines.append(f"try the failed ones again: {command}")
        return list(map(visible, lines))


def line_of(result: PushResult) -> str | None:
    """Return the line of a file that the server has; None for any other one."""
    if result.status == NOT_SENT:
        return None
    if result.status == ALREADY_THERE:
        return f"already there: {result.url}"
    saved = f", {size_text(result.saved_bytes)} of them were there" if result.saved_bytes else ""
    return f"{result.url} ({size_text(result.size_bytes)}{saved})"


def described_result(result: PushResult) -> dict[str, Any]:
    """Return a result as an object for other programs."""
    facts = {
        "path": _text(result),
        "status": result.status,
        "url": result.url or None,
        "size": result.size_bytes,
        "saved": result.saved_bytes,
        "sha256": result.sha256 or None,
    }
    return facts | ({"reason": result.reason} if result.reason else {})


def _text(result: PushResult) -> str:
    return os.fsencode(result.path).decode("utf-8", "backslashreplace")
