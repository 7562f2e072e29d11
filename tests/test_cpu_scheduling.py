"""Which threads take no core away from the event loop."""

from __future__ import annotations

import os
import threading

import pytest

from mediacrawl.archive.batching import BatchingWorker
from mediacrawl.system.cpu_scheduling import use_batch_scheduling

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux has it")


def policy_within(action):
    found = []
    thread = threading.Thread(target=lambda: (action(), found.append(os.sched_getscheduler(0))))
    thread.start()
    thread.join(30)
    return found[0]


def test_it_is_for_the_thread_that_asks_and_for_no_other():
    mine = os.sched_getscheduler(0)
    assert policy_within(use_batch_scheduling) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == mine != os.SCHED_BATCH


def test_a_policy_that_a_user_has_chosen_stays():
    def choose():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        use_batch_scheduling()

    assert policy_within(choose) == os.SCHED_IDLE


def test_where_it_is_forbidden_nothing_happens(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert policy_within(use_batch_scheduling) == os.SCHED_OTHER


def test_who_answers_questions_is_patient():
    batcher = BatchingWorker("asked", lambda questions: [os.sched_getscheduler(0)] * len(questions))
    assert batcher.submit(None).result(30) == os.SCHED_BATCH
    batcher.close()
