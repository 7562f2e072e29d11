"""Batching of small questions: one call answers all questions that have queued up meanwhile."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from mediacrawl.system.cpu_scheduling import use_batch_scheduling

Q = TypeVar("Q")
A = TypeVar("A")
CLOSE_WITHIN_S = 40.0  # longer than a ledger waits for another process before it raises an error


class BatchingWorker(Generic[Q, A]):
    """A daemon thread that answers, in one batch, all questions submitted while it was busy.

    Args:
        name: the name of the thread.
        answer: receives the questions in the order of their submission; returns as many answers. An answer that is an
            exception is set on the future of its question. If `answer` itself raises an exception, all questions of
            the batch receive it.
        max_batch: no further questions are added to a batch of at least this size.
    """

    def __init__(
        self, name: str, answer: Callable[[Sequence[Q]], Sequence[A | Exception]], *, max_batch: int = 256
    ) -> None:
        self._answer = answer
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[tuple[Sequence[Q], _Asker[A]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, question: Q) -> Future[A]:
        """Submit a question. The future is completed in the worker's thread; after `close` it is cancelled."""
        future: Future[A] = Future()
        self._put([question], lambda answers: _fulfil(future, answers[0]), future)
        return future

    def submit_all(self, questions: Sequence[Q]) -> Future[list[A | Exception]]:
        """Submit many questions. The answers have the same order; an error is the answer to its question only."""
        future: Future[list[A | Exception]] = Future()
        self._put(questions, lambda answers: _fulfil(future, list(answers)), future)
        return future

    def _put(self, questions: Sequence[Q], asker: _Asker[A], future: Future[Any]) -> None:
        with self._lock:
            if self._closed:
                future.cancel()
            else:
                self._queue.put((questions, asker))

    def close(self, within_s: float = CLOSE_WITHIN_S) -> None:
        """Answer the queued questions, then end the thread. Blocks, so do not call it in the thread of an event loop.

        Raises:
            TimeoutError: the thread has not ended within `within_s` seconds. It continues, and ends with the process.
        """
        with self._lock:
            self._closed = True
            self._queue.put(None)
        self._thread.join(within_s)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._thread.name} is not through after {within_s:g} s")

    def _run(self) -> None:
        use_batch_scheduling()
        while (first := self._queue.get()) is not None:
            batch, is_last = self._drain(first)
            questions = [question for asked, _ in batch for question in asked]
            try:
                answers = self._answer(questions)
                if len(answers) != len(questions):  # reported to the callers: this thread must continue
                    raise RuntimeError(f"{len(answers)} answers to {len(questions)} questions")
            except Exception as error:
                answers = [error] * len(questions)
            start = 0
            for asked, asker in batch:
                asker(answers[start : start + len(asked)])
                start += len(asked)
            if is_last:
                return

    def _drain(self, first: _Asked[Q, A]) -> tuple[list[_Asked[Q, A]], bool]:
        batch, size = [first], len(first[0])
        while size < self._max_batch:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
            size += len(item[0])
        return batch, False


def _fulfil(future: Future[Any], answer: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


_Asker = Callable[[Sequence[A | Exception]], None]
_Asked = tuple[Sequence[Q], _Asker[A]]
