"""A process that reads pages: receives questions, sends answers. Ends with the process that has started it.

python -m mediacrawl.crawl.page_process SOCKET-NUMBER

A page may take too long, need too much memory, or crash the parser. It then ends this process, and nothing else.
"""

from __future__ import annotations

import gc
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediacrawl.crawl.page_messages import Mistake, OutOfMemory
from mediacrawl.system.child_process import die_with_parent
from mediacrawl.system.cpu_scheduling import use_batch_scheduling

if TYPE_CHECKING:
    from mediacrawl.crawl.page_contents import PageQuestion
    from mediacrawl.crawl.page_messages import ReadingLimits


def main() -> None:
    """Answer questions on the socket given by its number in the first argument, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also within a function of libxml2
    die_with_parent()
    use_batch_scheduling()
    connection = Connection(socket.socket(fileno=int(sys.argv[1])).detach())
    with suppress(EOFError, OSError):
        limits: ReadingLimits = connection.recv()
        _be_killed_first()
        gc.disable()  # the process has no cycles that matter, and is replaced after a large page
        try:
            while True:
                _answer_next(connection, limits.time_s)
        except MemoryError:
            connection.send(OutOfMemory())


def _answer_next(connection: Connection, limit_s: float) -> None:
    question: PageQuestion = connection.recv()
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    answer: dict[str, Any] | Mistake | None
    try:
        answer = question.answer()
    except MemoryError:
        raise
    except Exception:
        answer = Mistake(traceback.format_exc())
    signal.setitimer(signal.ITIMER_PROF, 0)
    connection.send(answer)


def _be_killed_first() -> None:
    """Ask Linux to kill this process, and no other one, if the memory of the machine is used up."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
