"""A fresh link to a file of which a part is here, killed at each step: `adoption_job.py ROOT PREPARED URL`.

It leaves `ROOT/<step>`, a copy of the prepared store that was killed when it came to that step. It must not be copied
again: records name the inodes of their parts.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path

from mediacrawl.fetch import FileRequest, fetch
from mediacrawl.fetch import session as fetch_session
from mediacrawl.store.local import LocalStore

NAME = "talks/talk.mp4"
STEPS = [
    *("part-record", "part-move", "part-adopt", "part-write"),
    *("file-sync", "ledger-claim", "file-rename", "folder-sync", "ledger-done", "part-forget"),
]
KILLED = 9


def bring(store: Path, url: str) -> list:
    request = FileRequest.of_url(url, path=NAME)
    return list(fetch([request], store=store, settings={"MEDIACRAWL_RETRY_TIMES": 0}))


def die_at(step: str):
    """What is called with each step from the first request on."""

    def at_step(name: str) -> None:
        if name == step:
            os._exit(KILLED)

    return at_step


def store_that_dies(step: str, folder: str, *, durable: bool) -> LocalStore:
    return LocalStore(folder, at_step=die_at(step), durable=durable)


def kill_at_each_step(root: Path, prepared: Path, url: str) -> None:
    for step in STEPS:
        folder = shutil.copytree(prepared, root / step)
        pid = os.fork()  # this script has a single thread
        if pid == 0:
            fetch_session.store_of = partial(store_that_dies, step)
            bring(folder, url)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != KILLED:
            sys.exit(f"the job never came to {step}: {status}")


if __name__ == "__main__":
    kill_at_each_step(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
