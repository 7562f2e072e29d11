"""A worker process: receives batches, sends outcomes. Ends with the process that has started it, even after a crash.

python -m mediacrawl.workers.worker SOCKET-NUMBER
"""

from __future__ import annotations

import itertools
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from mediacrawl.archive import Archive
from mediacrawl.backends import ledger_url, open_ledger
from mediacrawl.download.cookies import Cookies
from mediacrawl.download.downloader import Downloader
from mediacrawl.download.records import Fetched
from mediacrawl.download.retry import HostPauses
from mediacrawl.errors import Interrupted, MachineError, MediacrawlError, RobotsUnknown
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import PartFile, PartInUse
from mediacrawl.system.child_process import die_with_parent
from mediacrawl.system.cpu_scheduling import use_batch_scheduling
from mediacrawl.system.open_files import allow_many_files
from mediacrawl.transport.connection_limits import HostConnections
from mediacrawl.transport.netrc_file import read_netrc
from mediacrawl.transport.registry import make_transport
from mediacrawl.workers.channel import Channel
from mediacrawl.workers.protocol import (
    Arrived,
    ConnectionDenied,
    ConnectionGranted,
    ConnectionsFree,
    ConnectionsRecalled,
    ConnectionWanted,
    CookieChanged,
    HostPause,
    PartHandle,
    RedirectAnswer,
    RedirectQuestion,
    Release,
    Stop,
    TransferBatch,
    UnderWay,
    WorkerConfig,
    with_part,
)
from mediacrawl.workers.threads import MOST_WAITING, TransferThreads

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mediacrawl.download.cancel import Cancel
    from mediacrawl.download.cookies import CookieChange
    from mediacrawl.download.records import LockedPart, Outcome, TransferRequest
    from mediacrawl.transport.connection_limits import Holder

_TELL_EVERY_S = 0.5
_FIRST_THREADS = 2  # a crawl with workers has many files, possibly small
_ANSWER_WITHIN_S = 60.0  # the leading process gives up earlier
_FINISH_S = 1.0


class Worker:
    """Carries out the messages of the leading process, in a few threads."""

    def __init__(self, channel: Channel, setup: WorkerConfig, most_open_parts: int = MOST_WAITING) -> None:
        self._channel = channel
        store = LocalStore(setup.root, durable=setup.durable)
        self._archive = Archive(store, open_ledger(ledger_url(setup.ledger, store), read_only=True))
        self._pauses = HostPauses()
        self._pauses.subscribe(self._send_pause)
        self._cookies = Cookies()
        self._cookies.subscribe(self._send_cookie)
        self._transport = make_transport(setup.transport)
        limit = _LeadersLimit(channel) if setup.limits_connections else None
        self._connections = HostConnections(limit, self._transport.close_idle)
        self._downloader = Downloader(
            store,
            self._transport,
            setup.policy,
            pauses=self._pauses,
            connections=self._connections,
            fetched_elsewhere=self._archive.fetched_elsewhere,
            present_at=self._archive.present_at,
            may_follow=self._may_follow,
            cookies=self._cookies,
            netrc=read_netrc(setup.policy.netrc),
        )
        most_waiting = min(MOST_WAITING, most_open_parts)
        self._pool = TransferThreads(self._downloader, setup.threads, _FIRST_THREADS, most_waiting)
        self._over = threading.Event()
        self._held: dict[int, PartFile] = {}
        self._numbers = itertools.count()
        self._questions: dict[int, queue.SimpleQueue[str | MediacrawlError | None]] = {}

    def serve(self) -> None:
        """Handle messages until the leading process closes the channel; then release all resources."""
        threading.Thread(target=self._report_progress, daemon=True, name="tell").start()
        try:
            while True:
                self._carry_out(self._channel.receive())
        except (EOFError, OSError):
            pass
        self._over.set()
        self._stop()
        self._pool.close(time.monotonic() + _FINISH_S)
        for part in list(self._held.values()):
            with suppress(MachineError):
                part.close()
        self._archive.close()
        self._transport.close()
        self._channel.finish(_FINISH_S)

    def _carry_out(self, message: object) -> None:
        """Carry out one message. Must not wait for the leading process, which may be waiting for this one."""
        match message:
            case TransferBatch():
                self._pool.submit(message.requests, message.budget_s).add_done_callback(
                    partial(self._arrived, message)
                )
            case Release():
                self._release(message)
            case HostPause() | CookieChanged():
                self._learn(message)
            case ConnectionGranted():
                self._connections.grant(message.host)
            case ConnectionDenied():
                self._connections.deny(message.host)
            case ConnectionsRecalled():
                self._connections.recall(message.host, message.permits)
            case RedirectAnswer():
                if (answers := self._questions.get(message.number)) is not None:  # a stop may have ended it
                    answers.put(message.answer)
            case Stop():
                self._stop()

    def _learn(self, message: HostPause | CookieChanged) -> None:
        if isinstance(message, HostPause):
            self._pauses.pause_until(message.host, message.until, sent_by=self._send_pause)
        else:
            self._cookies.apply(message.jar, message.change, sent_by=self._send_cookie)

    def _send_pause(self, host: str, until: float) -> None:
        self._channel.post(HostPause(host, until))

    def _send_cookie(self, jar: int, change: CookieChange) -> None:
        self._channel.post(CookieChanged(jar, change))

    def _release(self, message: Release) -> None:
        recorded = False
        for number, is_published in message.parts:
            part = self._held.pop(number)
            with suppress(MachineError):  # a published file is complete, and the next run reads any other part again
                if is_published:
                    recorded |= part.published()
                else:
                    part.close()
        if recorded:
            with suppress(MachineError):  # a record that a power cut restores has no bytes, and counts as nothing
                self._archive.store.parts.sync()

    def _stop(self) -> None:
        self._pool.stop()
        for answer in list(self._questions.values()):
            answer.put(Interrupted("stopped: received bytes are kept"))

    def _arrived(self, batch: TransferBatch, future: Future[list[Outcome]]) -> None:
        """Send the outcomes of a batch. An error of the batch is sent too, once for each request."""
        error = future.exception()
        outcomes = [error] * len(batch.requests) if error is not None else future.result()
        outcomes = [with_part(_sendable(outcome), self._ticket) for outcome in outcomes]
        self._channel.post(Arrived(batch.number, outcomes))

    def _may_follow(self, request: TransferRequest, url: str, cancel: Cancel) -> str | None:
        """Check with the leading process whether a redirect may be followed: only that process knows robots.txt."""
        number, answers = next(self._numbers), queue.SimpleQueue[str | MediacrawlError | None]()
        self._questions[number] = answers
        try:
            cancel.check()
            self._channel.post(RedirectQuestion(number, request, url))
            answer = answers.get(timeout=_ANSWER_WITHIN_S)
        except queue.Empty:
            raise RobotsUnknown(url, "no reply to whether a redirect may be followed", target=url) from None
        finally:
            del self._questions[number]
        if isinstance(answer, MediacrawlError):
            raise answer
        return answer

    def _ticket(self, part: LockedPart) -> LockedPart:
        assert isinstance(part, PartFile)
        number = next(self._numbers)
        self._held[number] = part
        return PartHandle(number, part.file)  # type: ignore[return-value]

    def _report_progress(self) -> None:
        """Send the progress of the transfers that have bytes on the disk each half second, for progress bars.

        The first message says that the worker process is ready. The list may be empty: a worker process that sends
        no messages is killed.
        """
        while not self._over.is_set():
            self._channel.post(UnderWay([progress for progress in self._pool.active if progress.have_bytes]))
            self._over.wait(_TELL_EVERY_S)


class _LeadersLimit:
    """The limit of connections that the leading process keeps; see `transport.connection_limits.Limit`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def ask(self, _holder: Holder, host: str, *, wait: bool) -> None:
        self._channel.post(ConnectionWanted(host, wait))

    def give_back(self, _holder: Holder, host: str, count: int) -> None:
        self._channel.post(ConnectionsFree(host, count))


def _sendable(outcome: Outcome) -> Outcome:
    """Return an outcome that can be sent.

    An unexpected exception may be of any type, so it is replaced by a RuntimeError with its formatted traceback.
    """
    if isinstance(outcome, Fetched | MediacrawlError | PartInUse):
        return outcome
    return RuntimeError("".join(traceback.format_exception(outcome)))


def main() -> None:
    """Run a worker process on the socket given by its number in the first argument.

    SIGINT is ignored: Ctrl-C reaches the complete process group, and the leading process decides on its effect.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    use_batch_scheduling()
    most_open_parts = allow_many_files()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        setup = channel.receive()
    except EOFError:
        return
    Worker(channel, setup, most_open_parts).serve()


if __name__ == "__main__":
    main()
