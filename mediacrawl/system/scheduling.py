"""Threads that nobody waits for, beside one that has to keep everybody busy."""

from __future__ import annotations

import os
from contextlib import suppress


def use_batch_scheduling() -> None:
    """The calling thread, and all that it will start, take no core away from another thread when they are woken.

    Without it the event loop loses its core at each message that it sends to a thread or a worker, mostly while it
    holds the interpreter that these wait for (Linux: SCHED_BATCH, sched(7)). 10,000 small files take a twentieth to a
    tenth less time. Nothing happens elsewhere, where it is forbidden, and where a user has chosen another policy.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
