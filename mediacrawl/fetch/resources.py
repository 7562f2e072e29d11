"""The place that builds archive, downloader and executor of a run from its settings.

A worker process builds its own downloader.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mediacrawl import config
from mediacrawl.archive import Archive, Change
from mediacrawl.archive.batching import BatchingWorker
from mediacrawl.backends import ledger_url
from mediacrawl.download.cookies import MAIN_JAR, Cookies, read_cookies
from mediacrawl.download.downloader import Downloader
from mediacrawl.download.requester import anywhere
from mediacrawl.download.retry import Backoff, HostPauses
from mediacrawl.download.segments import SegmentPolicy
from mediacrawl.download.transfer_policy import Policy
from mediacrawl.errors import StoreNotWritable
from mediacrawl.fetch.refetch import DAY_S, RefetchPolicy
from mediacrawl.system.open_files import allow_many_files
from mediacrawl.transport.authorities import authorities_of
from mediacrawl.transport.connection_limits import ConnectionLimit, HostConnections
from mediacrawl.transport.connections import check_urllib3
from mediacrawl.transport.netrc_file import read_netrc
from mediacrawl.transport.proxies import environment_proxies
from mediacrawl.transport.registry import TransportChoice, make_transport
from mediacrawl.workers.executor import WORKERS_FROM, TransferExecutor
from mediacrawl.workers.threads import MOST_WAITING, TransferThreads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mediacrawl.config import Settings
    from mediacrawl.download.requester import MayFollow
    from mediacrawl.fetch.paused_hosts import PauseOfHost
    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.ledger.base import Entry
    from mediacrawl.store.base import Store
    from mediacrawl.workers.processes import WorkerProcesses


class FetchResources:
    """The running objects that do not depend on Scrapy: threads, files, connections.

    Attributes:
        archive: store and ledger.
        questions: calls `rows` for many files at once.
        changes: calls `archive.write` for many changes at once.
        pool: executor of the transfers.
        most_open_parts: part files that may be open at a time.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        files: float = math.inf,
        pauses: HostPauses | None = None,
        limit: ConnectionLimit | None = None,
        *,
        may_follow: MayFollow = anywhere,
        cookies: Cookies | None = None,
    ) -> None:
        """Open the ledger, and start the threads.

        Args:
            settings: of the run.
            store: receives the files.
            files: upper bound of the number of files. Worker processes are used only for more than `WORKERS_FROM`.
            pauses: pauses of hosts, shared by threads, worker processes and all other users of this object. If a
                host requests a pause in a response to one of these, all of these pause.
            limit: limit of open connections to a host, shared in the same way; None takes the limit of the settings.
            may_follow: decides whether a redirect may be followed.
            cookies: the jars of the run, shared in the same way.

        Raises:
            MachineError: the store cannot be used.
            UsageProblem: a setting is unknown, or its value cannot be used; or a variable of the environment about
                the network.
        """
        environment_proxies()
        config.refuse_unknown_settings(settings)
        policy, concurrent = policy_of(settings), config.CONCURRENT_TRANSFERS.of(settings)
        choice, processes = transport_of(settings), min(config.PROCESSES.of(settings), concurrent)
        netrc = read_netrc(policy.netrc)
        self.most_open_parts = allow_many_files()
        self.transport = make_transport(choice)
        self._ledger = ledger_url(config.LEDGER.of(settings), store)
        self.archive = Archive.open(store, self._ledger)
        self._limit = limit or connection_limit_of(settings)
        self.downloader = Downloader(
            store,
            self.transport,
            policy,
            pauses=pauses or HostPauses(),
            connections=HostConnections(self._limit, self.transport.close_idle),
            fetched_elsewhere=self.archive.fetched_elsewhere,
            present_at=self.archive.present_at,
            may_follow=may_follow,
            cookies=cookies,
            netrc=netrc,
        )
        self.concurrent = concurrent
        workers = self._workers(policy, choice, processes) if processes and files > WORKERS_FROM else None
        self.pool = TransferExecutor(self._threads(concurrent), workers)
        self.questions: BatchingWorker[FileRequest, Entry | None] = BatchingWorker("ledger-questions", self.rows)
        self.changes: BatchingWorker[Change, Entry] = BatchingWorker("ledger-changes", self._write)

    def pause(self, pause: PauseOfHost) -> None:
        """Let no process send a request to a host during a pause that concerns all."""
        if pause.concerns_all:
            self.downloader.pauses.pause_until(pause.host, pause.until_s)

    def _threads(self, concurrent: int) -> TransferThreads:
        return TransferThreads(self.downloader, concurrent, most_waiting=min(MOST_WAITING, self.most_open_parts))

    def _workers(self, policy: Policy, choice: TransportChoice, processes: int) -> WorkerProcesses:
        from mediacrawl.workers.processes import WorkerProcesses  # noqa: PLC0415
        from mediacrawl.workers.protocol import WorkerConfig  # noqa: PLC0415 - a tenth of all imports of `get`

        store = self.archive.store
        share = policy._replace(per_host=math.ceil(policy.per_host / processes))
        threads = math.ceil(self.concurrent / processes)
        is_limited = self._limit is not None
        setup = WorkerConfig(store.root, store.parts.durable, share, choice, threads, is_limited, self._ledger)
        downloader = self.downloader
        return WorkerProcesses(
            setup,
            processes,
            downloader.pauses,
            self._limit,
            may_follow=downloader.may_follow,
            cookies=downloader.cookies,
        )

    def rows(self, requests: Sequence[FileRequest]) -> list[Entry | None]:
        """Return the ledger rows of files, None for a file without a row."""
        return self.archive.lookup([request.key for request in requests], [request.url for request in requests])

    def _write(self, changes: Sequence[Change]) -> list[Entry | Exception]:
        try:
            return self.archive.write(changes)
        finally:
            self.pool.flush()

    def close(self) -> None:
        """Stop the transfers, carry out the queued changes, and close the ledger.

        The call blocks for a limited time. Do not call it in the thread of an event loop.

        Raises:
            StoreNotWritable: the ledger does not finish in time. All other resources are closed.
        """
        try:
            with ExitStack() as stack:  # closes all of these in reverse order, even if a call raises an exception
                stack.callback(self.transport.close)
                stack.callback(self.archive.close)
                stack.callback(self.pool.close)
                stack.callback(self.changes.close)
                stack.callback(self.questions.close)
                stack.callback(self.pool.end)
        except TimeoutError as error:
            raise StoreNotWritable(
                f"the ledger of {self.archive.store.root} does not answer: {error}; run the same command again"
            ) from None


def check_network(settings: Settings) -> None:
    """Check transport and environment, for a command that is to end with one line.

    Raises:
        UsageProblem: the transport is unknown or not installed. Or the environment names a proxy, authorities or a
            .netrc file that are none, or urllib3 is another package.
    """
    if config.TRANSPORT.of(settings) == config.TRANSPORT.default:
        check_urllib3()
    environment_proxies()
    read_netrc(config.NETRC.of(settings))
    make_transport(transport_of(settings)).close()


def connection_limit_of(settings: Settings, at_least: int = 0) -> ConnectionLimit | None:
    """Return the limit of open connections to each host, `at_least` or more; None if there is no limit."""
    limit = config.CONCURRENT_REQUESTS_PER_DOMAIN.of(settings)
    return ConnectionLimit(max(limit, at_least)) if limit else None


def refetch_policy_of(settings: Settings) -> RefetchPolicy:
    """Return when to revalidate files that are present, and when to retry permanent failures."""
    return RefetchPolicy(config.FILES_EXPIRES.of(settings) * DAY_S, config.RETRY_PERMANENT_DAYS.of(settings) * DAY_S)


def policy_of(settings: Settings) -> Policy:
    """Return how to fetch. A file gets several connections only if the settings want no delay between requests."""
    polite = config.DOWNLOAD_DELAY.of(settings) > 0 or config.AUTOTHROTTLE_ENABLED.of(settings)
    return Policy(
        stall_s=config.STALL_S.of(settings),
        stall_bytes=config.STALL_BYTES.of(settings),
        max_bytes=config.DOWNLOAD_MAXSIZE.of(settings),
        backoff=backoff_of(settings),
        segments=SegmentPolicy(
            1 if polite else config.CONNECTIONS_PER_FILE.of(settings),
            from_bytes=config.SEGMENT_MIN_BYTES.of(settings),
            measure_s=config.SEGMENT_PROBE_S.of(settings),
        ),
        per_host=config.CONCURRENT_REQUESTS_PER_DOMAIN.of(settings),
        sha256=config.SHA256.of(settings),
        check_content=config.CHECK_CONTENT.of(settings),
        netrc=config.NETRC.of(settings),
    )


def cookies_of(settings: Settings) -> Cookies:
    """Return the jars of a run, with the cookies of the file that a setting names.

    Raises:
        UsageProblem: the file cannot be read, or a line is no cookie.
    """
    cookies = Cookies()
    if file := config.COOKIE_FILE.of(settings):
        for cookie in read_cookies(Path(file), config.COOKIE_FILE.name):
            cookies.apply(MAIN_JAR, cookie)
    return cookies


def backoff_of(settings: Settings) -> Backoff:
    """Return how often to retry, and after which delays."""
    return Backoff(
        times=config.RETRY_TIMES.of(settings),
        base_s=config.BACKOFF_S.of(settings),
        max_s=config.BACKOFF_MAX_S.of(settings),
        max_retry_after_s=config.RETRY_AFTER_MAX_S.of(settings),
    )


def transport_of(settings: Settings) -> TransportChoice:
    """Return the choice of the transport and its options. `make_transport` refuses an unknown transport.

    Raises:
        UsageProblem: the value of a setting cannot be used, or the environment names authorities that are none.
    """
    return TransportChoice(
        config.TRANSPORT.of(settings),
        session_factory=config.SESSION_FACTORY.of(settings),
        verify=authorities_of(config.VERIFY_TLS.of(settings)) or False,
        block_private=config.BLOCK_PRIVATE.of(settings),
        connect_timeout_s=config.CONNECT_TIMEOUT_S.of(settings),
    )
