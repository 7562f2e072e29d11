"""Fetches files by URL, without a spider and without Scrapy: the implementation of `get`.

The import of Scrapy takes twice as long as the import of all modules that are needed here. With several connections
for a single file, the user would wait longer for the import than for the file.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
import time
from collections import ChainMap
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediacrawl import config
from mediacrawl.backends import store_of
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.cookies import MAIN_JAR, read_cookies
from mediacrawl.errors import EXIT_OK, MachineError, MediacrawlError, UsageProblem, redact_url
from mediacrawl.fetch.advice import advice_for_get
from mediacrawl.fetch.progress_display import Display, Snapshot
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.request import UPTODATE, FileRequest
from mediacrawl.fetch.resources import (
    FetchResources,
    check_network,
    connection_limit_of,
    cookies_of,
    refetch_policy_of,
)
from mediacrawl.fetch.stats import RunStats, size_text
from mediacrawl.fetch.threaded import InvalidLine, ThreadedFetch
from mediacrawl.sources.list_entry import ListEntry, kept_of
from mediacrawl.sources.url_list import opened_list, read_list, refuse_unreadable
from mediacrawl.transport.proxies import environment_proxies
from mediacrawl.visible import make_log_visible
from mediacrawl.workers.executor import WORKERS_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mediacrawl.config import Settings
    from mediacrawl.download.cookies import Cookies
    from mediacrawl.download.downloader import Downloader
    from mediacrawl.fetch.request import FileResult

_OWNER = "get"
_BLOCK_LINES = 250


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `get` has beside the options of every Scrapy command."""
    for argument in config.GET_ARGUMENTS:
        argument.add_to(parser)


def run_plain(arguments: Sequence[str], settings: Mapping[str, Any]) -> int | None:
    """Run the complete command without Scrapy, with its own options and `-s NAME=VALUE`.

    Returns:
        The exit status. None if Scrapy has to handle the arguments, and nothing was done: to print help, to report an
        error in the arguments, or for an option that all Scrapy commands have.
    """
    parser = _PlainParser(add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    add_options(parser)
    parser.add_argument("-s", "--set", action="append", default=[])
    try:
        opts, urls = parser.parse_known_args(arguments)
        pairs = [setting.partition("=") for setting in opts.set]
        if any(url.startswith("-") for url in urls) or not all(equals for _, equals, _ in pairs):
            return None
        chosen = config.settings_with(opts, ChainMap({name: value for name, _, value in pairs}, dict(settings)))
        if (status := _refused(chosen)) is not None:
            return status
        requests = _ListRequests(urls, opts, chosen)
    except UsageProblem:
        return None
    return _run(requests, chosen)


def _refused(settings: Settings) -> int | None:
    """Report in one line what is wrong with the settings or the network. Return the exit status, or None."""
    try:
        config.check(settings)
        check_network(settings)
    except UsageProblem as error:
        print(f"mediacrawl get: {error}", file=sys.stderr)
        return error.exit_status
    return None


class _PlainParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageProblem(message)


def run_command(urls: list[str], opts: argparse.Namespace, settings: Settings) -> int:
    """Fetch files, and write the path of each to standard output. Return the exit status.

    Raises:
        UsageProblem: an argument makes no sense. Nothing was done.
    """
    settings = config.settings_with(opts, settings)
    if (status := _refused(settings)) is not None:
        return status
    return _run(_ListRequests(urls, opts, settings), settings)


def _run(requests: _ListRequests, settings: Settings) -> int:
    """Fetch the files of the command line. Return the exit status when each file is present or has failed."""
    report = RunStats()
    make_log_visible()
    try:
        refetch = refetch_policy_of(settings)
        display = Display(sys.stderr, config.PROGRESS_S.of(settings))
        store = store_of(config.FILES_STORE.of(settings), durable=config.FSYNC.of(settings))
        limit = connection_limit_of(settings, at_least=requests.connections)
        resources = FetchResources(settings, store, files=requests.at_most, limit=limit, cookies=requests.cookies)
    except MediacrawlError as error:
        print(f"mediacrawl get: {error}", file=sys.stderr)
        return error.exit_status
    files = FetchQueue(
        _OWNER,
        refetch,
        resources.downloader.policy.per_host or resources.concurrent,
        resources.most_open_parts,
        resources.downloader.policy.backoff,
    )
    cancel = Cancel()
    run = ThreadedFetch(resources, files, requests.blocks(resources.downloader, cancel), report)
    console = _Console(resources, report, display, run)
    with _handling_output_errors(report), first_interrupt(run.stop):
        try:
            while not run.is_done:
                console.say(run.step(display.every_s))
                console.say_met(files.take_met())
                console.draw()
        finally:
            cancel.set()
            resources.close()
            console.close()
    with _handling_output_errors(report):
        for results in run.drain():
            console.say(results)
        sys.stdout.flush()
    if report.exit_status != EXIT_OK:
        with _handling_output_errors(report):
            for line in report.lines(*advice_for_get(settings, requests.list_file)):
                print(line, file=sys.stderr, flush=True)
    return report.exit_status


class _Console:
    """Writes the path of each file to standard output, and draws the progress of the run on standard error."""

    def __init__(self, resources: FetchResources, report: RunStats, display: Display, run: ThreadedFetch) -> None:
        self._run = run
        self._root = resources.archive.store.root
        self._pool = resources.pool
        self._report = report
        self._display = display
        self._draw_at_s = 0.0
        self._met: set[str] = set()  # keys of the first two files that another process was fetching

    def say(self, results: Sequence[FileResult]) -> None:
        """Write a line for each file that is present."""
        for result in results:
            if result.entry is not None:
                self._display.say(self._line(result, self._root / (result.entry.path or "")), sys.stdout)
        if not results:
            sys.stdout.flush()

    @staticmethod
    def _line(result: FileResult, path: Path) -> str:
        if result.status == UPTODATE:
            return f"already there: {path}"
        saved = f", {size_text(result.saved_bytes)} of them were here" if result.saved_bytes else ""
        return f"{path} ({size_text(result.size_bytes)}{saved})"

    def say_met(self, requests: Iterable[FileRequest]) -> None:
        """Report that another process is fetching a file: for the first file by name, then once for all others."""
        for request in requests:
            if request.key in self._met or len(self._met) > 1:
                continue
            self._met.add(request.key)
            if len(self._met) == 1:
                self._display.say(f"{request.url}: another process is fetching it, waiting", sys.stderr)
            else:
                self._display.say(
                    "other processes are fetching more of these files: no more is said of that", sys.stderr
                )

    def draw(self) -> None:
        """Draw the progress of the run, if the interval since the last drawing has passed."""
        now_s = time.monotonic()
        if now_s >= self._draw_at_s:
            self._draw_at_s = now_s + self._display.every_s
            self._display.draw(self._snapshot(now_s))
            sys.stdout.flush()

    def close(self) -> None:
        """Draw the last state, and leave it on the screen."""
        self._display.close(self._snapshot(time.monotonic()))

    def _snapshot(self, now_s: float) -> Snapshot:
        active = self._pool.active
        fetched = self._pool.fetched_bytes + sum(progress.fetched_bytes for progress in active)
        waiting = self._run.paused.progress(now_s)
        return Snapshot(now_s, self._report.settled, self._report.wanted, fetched, [*active, *waiting])


@contextmanager
def _handling_output_errors(report: RunStats) -> Iterator[None]:
    """Record in the report an error or interrupt that ends the run early."""
    try:
        yield
    except KeyboardInterrupt:
        report.stop()
    except BrokenPipeError:  # `mediacrawl get … | head`: the reader has closed the pipe
        report.stop()
        _give_up_output()
    except (MachineError, UsageProblem) as error:
        report.give_up(error)
    except OSError as error:
        report.give_up(MachineError(f"cannot write the output: {error.strerror}"))
        _give_up_output()


def _give_up_output() -> None:
    """Discard output that could not be written, so that the interpreter does not try again at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def first_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first Ctrl-C or SIGTERM, and interrupt no operation; the next signal acts as usual."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        before = {which: handler for which, handler in usual.items() if signal.getsignal(which) is handler}

    def restore() -> None:
        for which, handler in before.items():
            signal.signal(which, handler)

    def first(*_: object) -> None:
        restore()
        stop()

    for which in before:
        signal.signal(which, first)
    try:
        yield
    finally:
        restore()


class _ListRequests:
    """The file requests of the command line.

    Attributes:
        at_most: the greatest possible number of files; infinite if it is unknown until the list has been read.
        connections: the number of connections for one large file; 0 leaves the number to the settings.
        cookies: the cookies of the run.
        list_file: the list; None if there are only URLs.
    """

    def __init__(self, urls: Sequence[str], opts: argparse.Namespace, settings: Settings) -> None:
        """Check the arguments, and read the beginning of a list.

        Raises:
            UsageProblem: an argument makes no sense.
        """
        self.list_file: str | None = config.INPUT.of(opts)
        output = config.OUTPUT.of(opts)
        for url in urls:
            if url.startswith("-") and url != "-":  # argparse passes on what is no option
                raise UsageProblem(f"there is no option {url.partition('=')[0]}, see: --help")
        if not urls and self.list_file is None:
            raise UsageProblem("give at least one URL, or a list with -i")
        if output and (len(urls) > 1 or self.list_file is not None):
            raise UsageProblem("-o names a single file or folder, and there may be several")
        key = config.KEY.of(opts)
        if key and (len(urls) > 1 or self.list_file is not None):
            raise UsageProblem("--key names a single file, and there may be several: a list has a column key")
        self._is_recursive: bool = config.RECURSIVE.of(opts)
        if self._is_recursive and (key or self.list_file is not None):
            raise UsageProblem("-r walks the folders that URLs name: it goes neither with -i nor with --key")
        self._into = output
        self._headers = _headers(opts, settings)
        self.cookies = _cookies(opts, settings)
        self._proxies = environment_proxies()
        self.connections: int = config.CONNECTIONS.of(opts) or 0
        given = {"path": output, "key": key, "options": kept_of({"path": output}), "ignores_known_failure": True}
        self._first = [self._request(url, **given) for url in urls]
        self._lines: Iterator[FileRequest | InvalidLine] = iter(())
        self._ahead: list[FileRequest | InvalidLine] = []
        self._block_lines = _BLOCK_LINES
        self.at_most: float = math.inf if self._is_recursive else len(urls)
        if self.list_file is not None:
            refuse_unreadable(self.list_file)
            self._lines = self._of_list(self.list_file)
            self._look_ahead(Path(self.list_file))

    def blocks(self, downloader: Downloader, cancel: Cancel) -> Iterator[Sequence[FileRequest | InvalidLine]]:
        """Yield the requests in blocks. `downloader` reads folders, until `cancel` is set.

        Raises:
            UsageProblem: the list cannot be read.
            Interrupted: a folder was being read when `cancel` was set.
        """
        if self._is_recursive:
            from mediacrawl.fetch.folder_walk import FolderWalk  # noqa: PLC0415 - seldom needed

            for folder in self._first:
                walk = FolderWalk(
                    downloader, folder, self._into, owner=_OWNER, request_of=self._request, cancel=cancel
                )
                yield from walk.blocks()
            return
        yield [*self._first, *self._ahead]
        while block := list(islice(self._lines, self._block_lines)):
            yield block

    def _look_ahead(self, path: Path) -> None:
        """Read a list file far enough to choose between threads and worker processes; a pipe may be too slow."""
        if not path.is_file():
            self._block_lines, self.at_most = 1, math.inf
            return
        self._ahead = list(islice(self._lines, WORKERS_FROM + 1))
        self.at_most += len(self._ahead) if len(self._ahead) <= WORKERS_FROM else math.inf

    def _of_list(self, file: str) -> Iterator[FileRequest | InvalidLine]:
        with opened_list(file) as stream:
            for row in read_list(stream):
                yield (
                    self._of_row(row) if isinstance(row, ListEntry) else InvalidLine(f"{file}:{row.number}", row.why)
                )

    def _of_row(self, row: ListEntry) -> FileRequest | InvalidLine:
        try:
            if row.is_plain:
                return self._request(row.url)
            referer = (("Referer", row.referer),) if row.referer else ()
            named = {name.lower(): (name, text) for name, text in chain(self._headers, referer, row.headers.items())}
            return self._request(
                row.url,
                headers=tuple(named.values()),
                digests=row.digests,
                filename=row.filename,
                key=row.key,
                options=row.kept,
            )
        except UsageProblem as error:  # a header that cannot be sent
            return InvalidLine(f"{self.list_file}:{row.number}", str(error))
        except ValueError:  # raised by a library for a malformed URL
            return InvalidLine(f"{self.list_file}:{row.number}", f"not a URL: {redact_url(row.url)[:200]!r}")

    def _request(self, url: str, **more: Any) -> FileRequest:
        facts = {"headers": self._headers, "connections": self.connections or None, "proxies": self._proxies} | more
        return FileRequest.of_url(url, **facts)


def _cookies(opts: argparse.Namespace, settings: Settings) -> Cookies:
    cookies = cookies_of(settings)
    if file := config.COOKIES.of(opts):
        for cookie in read_cookies(Path(file)):
            cookies.apply(MAIN_JAR, cookie)
    return cookies


def _headers(opts: argparse.Namespace, settings: Settings) -> tuple[tuple[str, str], ...]:
    user_agent = config.USER_AGENT.of(opts) or settings.get("USER_AGENT", None) or "mediacrawl"
    headers = [("User-Agent", user_agent), ("Accept", "*/*")]
    if referer := config.REFERER.of(opts):
        headers.append(("Referer", referer))
    if cookies := config.COOKIE.of(opts):
        headers.append(("Cookie", "; ".join(cookies)))
    return (*headers, *config.HEADER.of(opts))
