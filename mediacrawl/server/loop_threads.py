"""Threads that carry out calls for an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_DISK_THREADS = 8
_MOST_SENDING_THREADS = 4


class LoopThreads:
    """Threads that carry out short calls for one event loop. As a context: at its end, all calls have returned.

    An executor does the same with twice the work for each call.
    """

    def __init__(self, count: int, name: str) -> None:
        """Start `count` threads, whose names begin with `name`."""
        self._calls: SimpleQueue[tuple[asyncio.Future[Any], Callable[[Any], Any], Any] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name} {number}", daemon=True) for number in range(count)
        ]
        self._is_closed = False
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_closed = True
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    async def run(self, function: Callable[[Any], T], argument: Any) -> T:
        """Call a function of one argument in a thread, and return its result.

        The call has ended when this returns, also if the task is cancelled: the files of the call can be closed.

        Raises:
            RuntimeError: the threads have ended.
        """
        if self._is_closed:
            raise RuntimeError("the threads have ended")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((future, function, argument))
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError as error:
                cancelled = error
            except Exception:  # noqa: S110 - that of the function, which is raised below
                pass
        if cancelled is not None:
            future.exception()  # else asyncio logs that the error of the call was never retrieved
            raise cancelled
        return future.result()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, argument = call
            error: BaseException | None = None
            result = None
            try:
                result = function(argument)
            except BaseException as raised:  # of any kind: it is the loop's
                error = raised
            future.get_loop().call_soon_threadsafe(_end, future, result, error)
            del call, future, function, argument, result, error


def _end(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class ServerThreads(ExitStack):
    """The threads of a server.

    Attributes:
        sending: these have the kernel send what is in memory, while the loop goes on with other requests. There are
            no more of them than processors.
        disk: these wait for the disk.
    """

    def __init__(self) -> None:
        """Start the threads."""
        super().__init__()
        self.sending = self.enter_context(LoopThreads(min(_MOST_SENDING_THREADS, _processors()), "sending"))
        self.disk = self.enter_context(LoopThreads(_DISK_THREADS, "disk"))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
