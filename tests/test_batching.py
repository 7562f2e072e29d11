import threading
from concurrent.futures import CancelledError

import pytest

from mediacrawl.archive.batching import BatchingWorker

WAIT_S = 30.0  # a test that hangs fails


class Gate:
    """Answers with the double; the first batch waits at the gate, so that others queue up meanwhile."""

    def __init__(self):
        self.batches = []
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, questions):
        self.batches.append(list(questions))
        self.entered.set()
        assert self.open.wait(WAIT_S)
        return [question * 2 for question in questions]


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def answer_all(futures):
    return [future.result(WAIT_S) for future in futures]


def test_a_question_is_answered():
    batcher = BatchingWorker("test", lambda questions: [question * 2 for question in questions])
    assert batcher.submit(21).result(WAIT_S) == 42
    batcher.close()


def test_what_queued_up_meanwhile_is_one_batch_in_the_order_it_came(gate):
    batcher = BatchingWorker("test", gate)
    first = batcher.submit(0)
    assert gate.entered.wait(WAIT_S)
    rest = [batcher.submit(n) for n in range(1, 20)]
    gate.open.set()
    assert answer_all([first, *rest]) == [n * 2 for n in range(20)]
    assert gate.batches == [[0], list(range(1, 20))]
    batcher.close()


def test_a_batch_has_a_largest_size(gate):
    batcher = BatchingWorker("test", gate, max_batch=3)
    futures = [batcher.submit(0)]
    assert gate.entered.wait(WAIT_S)
    futures += [batcher.submit(n) for n in range(1, 9)]
    gate.open.set()
    answer_all(futures)
    assert gate.batches == [[0], [1, 2, 3], [4, 5, 6], [7, 8]]
    batcher.close()


def test_an_answer_that_is_an_exception_is_raised_to_who_asked():
    batcher = BatchingWorker("test", lambda questions: [ValueError("odd") if q % 2 else q for q in questions])
    odd, even = batcher.submit(1), batcher.submit(2)
    assert even.result(WAIT_S) == 2
    with pytest.raises(ValueError, match="odd"):
        odd.result(WAIT_S)
    batcher.close()


def test_an_exception_is_raised_to_everyone_of_the_batch_and_to_nobody_else(gate):
    def fail_once(questions):
        answers = gate(questions)
        if len(questions) > 1:
            raise OSError("disk")
        return answers

    batcher = BatchingWorker("test", fail_once)
    before = batcher.submit(1)
    assert gate.entered.wait(WAIT_S)
    both = [batcher.submit(2), batcher.submit(3)]
    gate.open.set()
    assert before.result(WAIT_S) == 2
    for future in both:
        with pytest.raises(OSError, match="disk"):
            future.result(WAIT_S)
    assert batcher.submit(4).result(WAIT_S) == 8
    batcher.close()


@pytest.mark.parametrize("answers", [[], [1, 2]])
def test_a_wrong_number_of_answers_is_an_error_and_not_a_wait_for_ever(answers):
    batcher = BatchingWorker("test", lambda _: answers)
    with pytest.raises(RuntimeError, match=f"{len(answers)} answers to 1 questions"):
        batcher.submit("?").result(WAIT_S)
    batcher.close()


def test_who_no_longer_waits_does_no_harm(gate):
    batcher = BatchingWorker("test", gate)
    first = batcher.submit(1)
    assert gate.entered.wait(WAIT_S)
    given_up, other = batcher.submit(2), batcher.submit(3)
    assert given_up.cancel()
    gate.open.set()
    assert answer_all([first, other]) == [2, 6]
    batcher.close()


def test_closing_answers_what_is_queued(gate):
    batcher = BatchingWorker("test", gate)
    futures = [batcher.submit(1)]
    assert gate.entered.wait(WAIT_S)
    futures += [batcher.submit(n) for n in (2, 3)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.open.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert answer_all(futures) == [2, 4, 6]
    assert not batcher._thread.is_alive()


def test_closing_an_idle_batcher_ends_its_thread_and_closing_again_does_nothing():
    batcher = BatchingWorker("test", list)
    batcher.close()
    batcher.close()
    assert not batcher._thread.is_alive()


def test_who_asks_after_the_end_does_not_wait_for_ever():
    batcher = BatchingWorker("test", list)
    batcher.close()
    with pytest.raises(CancelledError):
        batcher.submit(1).result(WAIT_S)


def test_the_thread_has_a_name_and_does_not_keep_the_process_alive():
    batcher = BatchingWorker("ledger-questions", list)
    assert (batcher._thread.name, batcher._thread.daemon) == ("ledger-questions", True)
    batcher.close()


def test_many_threads_may_ask():
    batcher = BatchingWorker("test", lambda questions: [question + 1 for question in questions])
    answers = {}

    def ask(first):
        for number in range(first, first + 100):
            answers[number] = batcher.submit(number).result(WAIT_S)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: number + 1 for number in range(800)}
    batcher.close()


def test_close_gives_up_on_an_answer_that_does_not_come(gate):
    batcher = BatchingWorker("ledger-changes", gate)
    future = batcher.submit(1)
    assert gate.entered.wait(WAIT_S)
    with pytest.raises(TimeoutError, match=r"ledger-changes is not through after 0.01 s"):
        batcher.close(0.01)
    gate.open.set()
    assert future.result(WAIT_S) == 2
    batcher.close()
