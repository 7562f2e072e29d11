"""Many small questions, one answer for all that have queued up meanwhile."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """One daemon thread that hands over, all at once, what has come in while it was busy.

    Args:
        answer: gets the questions in the order they came; returns as many answers. An answer that is an
            exception is raised to who asked; if `answer` itself raises, everyone of the batch gets that.
    """

    def __init__(
        self, name: str, answer: Callable[[Sequence[Q]], Sequence[A | Exception]], *, max_batch: int = 256
    ) -> None:
        self._answer = answer
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[tuple[Q, Future[A]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, question: Q) -> Future[A]:
        """Ask; the future is fulfilled in the batcher's thread. After `close` it comes cancelled."""
        future: Future[A] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
            else:
                self._queue.put((question, future))
        return future

    def close(self) -> None:
        """Answer what is queued, then end."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, is_last = self._drain(first)
            try:
                answers = self._answer([question for question, _ in batch])
                if len(answers) != len(batch):  # said to who asked: this thread must live on
                    raise RuntimeError(f"{len(answers)} answers to {len(batch)} questions")
            except Exception as error:
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.set_running_or_notify_cancel():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            if is_last:
                return

    def _drain(self, first: tuple[Q, Future[A]]) -> tuple[list[tuple[Q, Future[A]]], bool]:
        batch = [first]
        while len(batch) < self._max_batch:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False
