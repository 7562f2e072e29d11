"""Work in a thread of its own, for which no process waits at its end.

The executors of the standard library join their threads when the interpreter ends, however long those take: one that
reads from a pipe to which nothing is written would keep a process for ever.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

T = TypeVar("T")


def start_thread(function: Callable[[], T], name: str) -> Future[T]:
    """Call a function in a daemon thread; the future has its result, or what it raised."""
    future: Future[T] = Future()

    def call() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = function()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=call, name=name, daemon=True).start()
    return future


async def iterate_in_thread(items: Iterable[T], name: str, *, ahead: int = 2) -> AsyncIterator[T]:
    """Give items that a daemon thread produces, at most so many of them ahead of their use.

    Raises what the iterable raises. The thread ends after the item at which the iteration is left off.
    """
    import asyncio  # noqa: PLC0415 - a tenth of a start, for which a program without a loop has no use

    loop = asyncio.get_running_loop()
    results: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue()
    room, is_over = threading.Semaphore(ahead), threading.Event()

    def tell(item: Any, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(results.put_nowait, (item, error))

    def produce() -> None:
        try:
            for item in items:
                tell(item, None)
                room.acquire()
                if is_over.is_set():
                    return
        except BaseException as error:
            tell(None, error)
        else:
            tell(None, StopAsyncIteration())

    threading.Thread(target=produce, name=name, daemon=True).start()
    try:
        while True:
            item, error = await results.get()
            if isinstance(error, StopAsyncIteration):
                return
            if error is not None:
                raise error
            room.release()
            yield item
    finally:
        is_over.set()
        room.release()
