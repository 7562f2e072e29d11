"""Reads pages in another process, where reading can be given up."""

from __future__ import annotations

import asyncio
import logging
import pickle
import queue
import resource
import signal
import socket
import subprocess
import threading
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mediacrawl.crawl.page_contents import PageContents
from mediacrawl.crawl.page_messages import Mistake, OutOfMemory, ReadingLimits
from mediacrawl.errors import Interrupted
from mediacrawl.system.child_process import start_module

if TYPE_CHECKING:
    from mediacrawl.crawl.page_contents import PageQuestion

logger = logging.getLogger(__name__)

_LOOK_S = 0.1  # between two looks at the memory of the process
_PAGE_BYTES = resource.getpagesize()  # of memory
_GONE_S = 5.0  # a killed process that exists longer is blocked in the kernel
# Bytes of a page after which the process is replaced: the memory that it has needed is not returned to the system.
_LARGE = 8 * 1024**2

_Asked: TypeAlias = "tuple[PageQuestion, Future[PageContents | None]]"


class PageReader:
    """A process that reads one page at a time; the other pages wait. It is started with the first page.

    The process is killed if a page takes too long, and another one is started for the next page.

    Attributes:
        pid: the process that reads now; None without one.
    """

    def __init__(self, limits: ReadingLimits) -> None:
        self._limits = limits
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._is_stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process that reads pages; None without one."""
        process = self._process
        return process.pid if process is not None else None

    async def read(self, question: PageQuestion) -> PageContents | None:
        """Return the contents of a page; None if only this process can read it.

        Raises:
            Interrupted: the reader was stopped.
        """
        future: Future[PageContents | None] = Future()
        with self._lock:
            if self._is_stopped:
                raise Interrupted("stopped before the page was read")
            # The system may end the process together with the thread that has started it: this one stays.
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="page-reader")
                self._thread.start()
            self._asked.put((question, future))
        return await asyncio.wrap_future(future)

    def stop(self) -> None:
        """End the process at once. Does not wait; a repeated call does nothing."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()
        self._asked.put(None)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            question, future = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                contents = self._read(question)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(contents)
        self._end()

    def _read(self, question: PageQuestion) -> PageContents | None:
        try:
            if self._process is None or self._process.poll() is not None:
                self._end()
                self._start()
            answer = self._ask(question)
        except (EOFError, OSError) as error:
            why = self._why(error)
            self._end()
            if self._is_stopped:
                raise Interrupted("stopped while the page was read") from None
            return PageContents.given_up(why)
        if len(question.body) > _LARGE:
            self._end()
        return self._contents(answer)

    def _ask(self, question: PageQuestion) -> Any:
        assert self._connection is not None
        self._connection.send_bytes(pickle.dumps(question, protocol=pickle.HIGHEST_PROTOCOL))
        while not self._connection.poll(_LOOK_S):
            if self._limits.memory_bytes and self._memory_bytes() > self._limits.memory_bytes:
                return OutOfMemory()
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 - of a process that this one has started

    def _memory_bytes(self) -> int:
        """Return the resident memory of the process; 0 if the system does not tell it. See proc(5), `statm`."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def _contents(self, answer: Any) -> PageContents | None:
        match answer:
            case OutOfMemory():
                self._end()
                return PageContents.given_up(self._too_much_memory())
            case Mistake():
                logger.error("A mistake in mediacrawl, please report it: %s", answer.traceback)
                return PageContents.given_up(f"it cannot be read: {answer.traceback.strip().splitlines()[-1]}")
        return PageContents.of_values(answer) if answer is not None else None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        with theirs:
            process = start_module("mediacrawl.crawl.page_process", theirs)
        with self._lock:
            self._process = process
            if self._is_stopped:
                process.kill()
        self._connection.send(self._limits)

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GONE_S)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _why(self, error: Exception) -> str:
        """Return why no answer has come."""
        if self._process is None:
            return f"no process can be started to read it: {error}"
        try:
            status = self._process.wait(_GONE_S)
        except subprocess.TimeoutExpired:
            return "the process that reads it does not answer"
        if status == -signal.SIGPROF:
            return (
                f"given up: reading it takes more than {self._limits.time_s:g} s of processor time;"
                " -s MEDIACRAWL_PAGE_TIME_LIMIT_S=SECONDS allows more"
            )
        return f"given up: the process that read it has ended ({_name_of(status)})"

    def _too_much_memory(self) -> str:
        if not self._limits.memory_bytes:
            return "given up: reading it needs more memory than the system gives"
        mib = self._limits.memory_bytes // 1024**2
        return (
            f"given up: reading it needs more than {mib} MiB of memory;"
            " -s MEDIACRAWL_PAGE_MEMORY_LIMIT=BYTES allows more"
        )


def _name_of(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"
