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
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.system.child_process import die_with_parent
from mediacrawl.system.cpu_scheduling import use_batch_scheduling

if TYPE_CHECKING:
    from mediacrawl.crawl.page_contents import PageQuestion


class ReadingLimits(NamedTuple):
    """What a page may need: the first message to the process. 0 is no limit.

    Attributes:
        time_s: processor time, in seconds. Neither other programs nor Ctrl-Z count.
        memory_bytes: address space of the process.
    """

    time_s: float
    memory_bytes: int


class Mistake(NamedTuple):
    """The traceback of an exception that no page should cause."""

    traceback: str


class OutOfMemory(NamedTuple):
    """A page needs more memory than the limit."""


def main() -> None:
    """Answer questions on the socket given by its number in the first argument, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also within a function of libxml2
    die_with_parent()
    use_batch_scheduling()
    connection = Connection(socket.socket(fileno=int(sys.argv[1])).detach())
    with suppress(EOFError, OSError):
        limits: ReadingLimits = connection.recv()
        _limit_memory(limits.memory_bytes)
        gc.disable()  # the process has no cycles that matter, and is replaced after a large page
        while True:
            question = connection.recv()
            signal.setitimer(signal.ITIMER_PROF, limits.time_s)
            answer = _answer(question)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send(answer)


def _answer(question: PageQuestion) -> dict[str, Any] | Mistake | OutOfMemory | None:
    try:
        return question.answer()
    except MemoryError:
        return OutOfMemory()
    except Exception:
        return Mistake(traceback.format_exc())


def _limit_memory(most_bytes: int) -> None:
    if most_bytes:
        with suppress(OSError, ValueError):  # a lower limit holds already
            resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
