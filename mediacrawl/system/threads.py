"""Work in separate threads that a process does not wait for when it ends.

The executors of the standard library join their threads when the interpreter ends, regardless of how long the threads
take. A thread that reads from a pipe to which nothing is written would keep the process alive forever.
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
    """Call a function in a daemon thread. The future receives its result, or the exception that it raised."""
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
    """Yield items that a daemon thread produces, at most `ahead` items before they are used.

    An exception of the iterable is raised here. If the iteration is abandoned, the thread ends after the item that is
    being produced.
    """
    import asyncio  # noqa: PLC0415 - a tenth of the start time, which programs without a loop save

    loop = asyncio.get_running_loop()
    results: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue()
    room, is_over = threading.Semaphore(ahead), threading.Event()

    def tell(item: Any, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed
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
