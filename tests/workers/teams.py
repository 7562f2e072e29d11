"""What the tests of worker processes share."""

from __future__ import annotations

import time

from mediacrawl.archive import Archive, Publish
from mediacrawl.download.records import TransferRequest
from mediacrawl.download.retry import Backoff, HostPauses
from mediacrawl.download.transfer_policy import Policy
from mediacrawl.ledger.base import Entry
from mediacrawl.store.local import LocalStore
from mediacrawl.transport.registry import TransportChoice
from mediacrawl.workers.processes import WorkerProcesses
from mediacrawl.workers.protocol import WorkerConfig

WAIT_S = 60


class Team:
    """A store, and worker processes that fetch into it; `spawn` starts them."""

    def __init__(self, folder, transport=None, processes=1, threads=2, spawn=None):
        self.store = LocalStore(folder)
        self.archive = Archive.open(self.store)
        policy = Policy(backoff=Backoff(base_s=0.001, max_s=0.001))
        setup = WorkerConfig(self.store.root, True, policy, transport or TransportChoice(), threads)
        self.pauses = HostPauses()
        self.pool = WorkerProcesses(setup, processes, self.pauses, spawn=spawn)

    def fetch(self, *urls, budget_s=float("inf"), **more):
        requests = [TransferRequest(url, url, **more) for url in urls]
        return self.pool.submit(requests, budget_s).result(WAIT_S)

    def publish(self, outcomes, urls):
        changes = [
            Publish(Entry(url, url, path=url.rpartition("/")[2]), fetched)
            for url, fetched in zip(urls, outcomes, strict=True)
        ]
        return self.archive.write(changes)

    def close(self):
        self.pool.close(time.monotonic() + WAIT_S)
        self.archive.close()
