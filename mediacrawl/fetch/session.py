"""Fetch files from a program: `fetch` for one call, `Session` for several."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mediacrawl import config
from mediacrawl.backends import store_of
from mediacrawl.errors import MachineError, UsageProblem, redact_url
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.request import FileRequest, FileResult
from mediacrawl.fetch.resources import FetchResources, refetch_policy_of
from mediacrawl.fetch.stats import RunStats
from mediacrawl.fetch.threaded import InvalidLine, ThreadedFetch
from mediacrawl.transport.proxies import environment_proxies
from mediacrawl.urls import has_controls
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from os import PathLike
    from typing import Self

_WAIT_S = 1.0


class Session:
    """A store with its ledger and connections. Use the session as a context manager, or call `close`.

    Several sessions may be open in one or several processes, also of the same store: each file is fetched by a single
    session. A session may be used by any thread, but one `fetch` has to end before the next begins.

    Args:
        store: folder. Unfinished files and the ledger are in its hidden folder `.mediacrawl`.
        settings: as on the command line, see docs/settings.md. `FILES_STORE` is refused: `store` replaces it.
        owner: first folder in the paths of files (`<owner>/<host>/<name>`); also recorded in the ledger.

    Raises:
        UsageProblem: a setting does not exist, or its value cannot be used.
    """

    def __init__(
        self, store: str | PathLike[str], settings: Mapping[str, Any] | None = None, *, owner: str = "fetch"
    ) -> None:
        if config.FILES_STORE.name in (settings or {}):
            raise UsageProblem(f"{config.FILES_STORE.name} is given by the argument store")
        if not store:
            raise UsageProblem("store must be a folder")
        self._settings = {**(settings or {}), config.FILES_STORE.name: store}
        config.check(self._settings)
        self._store = store_of(config.FILES_STORE.of(self._settings), durable=config.FSYNC.of(self._settings))
        self._refetch = refetch_policy_of(self._settings)
        self._owner = owner
        self._resources: FetchResources | None = None
        self._turn = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and free files and connections.

        The session cannot be used again. A `fetch` that is in progress ends with `Interrupted`.
        """
        self._is_closed = True
        self._close_works()

    def _close_works(self) -> None:
        if self._resources is not None:
            resources, self._resources = self._resources, None
            resources.close()

    def fetch(self, requests: Iterable[FileRequest | str]) -> Iterator[FileResult]:
        """Fetch files, and yield each result as soon as it is known: in no order, once for each media key.

        A key that is repeated after ten thousand other keys has another result.

        Another thread takes the requests as they are needed, a few thousand ahead at most; the iterable may be
        endless, or slow. An error of the iterable is raised here, once all requests before it have their results.
        Closing the iterator stops the transfers and keeps the bytes that were received. The next call continues from
        these bytes, also after a crash of the process.

        Args:
            requests: URLs, or requests made by `FileRequest.of_url`. An element that is no URL has a failed result,
                and does not affect other elements.

        Raises:
            RuntimeError: another `fetch` of this session has not ended, or the session is closed.
            TypeError: `requests` is a single URL.
            MachineError: the store cannot be used, or the disk is full. Nothing is lost.
        """
        if isinstance(requests, str | bytes):
            raise TypeError("requests must be an iterable of URLs, not a single one")
        if self._is_closed:
            raise RuntimeError("this session is closed")
        if not self._turn.acquire(blocking=False):
            raise RuntimeError("a fetch of this session is under way: end it, or use another session")
        run: ThreadedFetch | None = None
        is_complete = False
        try:
            if self._resources is None:
                self._resources = FetchResources(self._settings, self._store)
            policy = self._resources.downloader.policy
            per_host = policy.per_host or self._resources.concurrent
            files = FetchQueue(self._owner, self._refetch, per_host, self._resources.most_open_parts, policy.backoff)
            run = ThreadedFetch(self._resources, files, self._blocks(requests), RunStats())
            try:
                while not run.is_done:
                    yield from run.step(_WAIT_S)
                    files.take_met()  # the queue waits for these files; there is no message
            except MachineError:  # files that were fetched before the error are published
                yield from self._end(run)
                raise
            is_complete = True
        finally:
            try:
                if run is not None and not is_complete:
                    self._end(run)  # no caller receives these results; they are in the ledger
            finally:
                self._turn.release()

    def _end(self, run: ThreadedFetch) -> list[FileResult]:
        """Stop, and unlock every part. Return the results that were not yielded yet."""
        results: list[FileResult] = []
        run.close()
        with suppress(MachineError):  # the error that ended the run is known already
            self._close_works()
        with suppress(MachineError):
            for more in run.drain():
                results += more
        return results

    def _blocks(self, requests: Iterable[FileRequest | str]) -> Iterator[Sequence[FileRequest | InvalidLine]]:
        user_agent = str(self._settings.get("USER_AGENT") or config.DEFAULT_USER_AGENT)
        proxies = environment_proxies()
        for request in requests:
            try:
                made = FileRequest.of_url(request, proxies=proxies) if isinstance(request, str) else request
            except (UsageProblem, ValueError):
                made = None
            if not isinstance(made, FileRequest):
                why = (
                    "a control character in the URL"
                    if has_controls(str(request))
                    else "not an http, https, ftp or ftps URL"
                )
                yield [InvalidLine(visible(redact_url(str(request)))[:200], why)]
                continue
            headers = made.transfer.headers
            if not any(name.lower() == "user-agent" for name, _ in headers):
                headers = (("User-Agent", user_agent), ("Accept", "*/*"), *headers)
            yield [made._replace(transfer=made.transfer._replace(headers=headers))]


def fetch(
    requests: Iterable[FileRequest | str], *, store: str | PathLike[str], settings: Mapping[str, Any] | None = None
) -> Iterator[FileResult]:
    """Fetch files into a store, and yield the result of each; see `Session.fetch`.

    The store is not opened before the first result is requested.

        for result in fetch(["https://example.org/a.jpg"], store="downloads"):
            print(result.url, result.status, result.entry.path if result.entry else result.reason)
    """
    with Session(store, settings) as session:
        yield from session.fetch(requests)
