"""Work in a thread of its own, for which no process waits at its end."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def start_thread(function: Callable[[], T], name: str) -> Future[T]:
    """Call a function in a daemon thread; the future has its result, or what it raised.

    Not an executor: the interpreter joins the threads of those at its end, however long they take.
    """
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
