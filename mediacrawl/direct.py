"""Files by URL, without a spider and without Scrapy: what `get` does.

Scrapy takes twice as long to import as all that is needed here. Who fetches one file with several connections would
wait for it longer than for the file.
"""

from __future__ import annotations

import argparse
import math
import os
import queue
import random
import signal
import sys
import threading
import time
from collections import ChainMap, deque
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from mediacrawl.archive import Failure, Publish, Unchanged, Want, validators_of
from mediacrawl.download.request import Fetched, TransferRequest
from mediacrawl.errors import (
    EXIT_OK,
    MachineError,
    MediacrawlError,
    NameTaken,
    TransferError,
    UsageProblem,
    shown_url,
)
from mediacrawl.headers import kind_of_path
from mediacrawl.ledger.ledger import DONE, Entry
from mediacrawl.lists import Row, opened_list, read_list, refuse_unreadable
from mediacrawl.naming import is_page_name, key_of_url, name_in_url, wished_path
from mediacrawl.pace import BATCH_S, Pace
from mediacrawl.progress import Display, Snapshot, command_line, retry_command
from mediacrawl.refetch import is_wanted_already
from mediacrawl.report import Recent, Report, size_text
from mediacrawl.store.partfile import PartInUse
from mediacrawl.urls import Origin
from mediacrawl.wiring import DEFAULT_STORE, Works, connection_limit_of, flag, number, refetch_policy_of, store_of
from mediacrawl.workers.transfers import WORKERS_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from mediacrawl.download.request import Outcome
    from mediacrawl.refetch import RefetchPolicy
    from mediacrawl.wiring import Settings

_OWNER = "get"
_BLOCK_LINES = 250
_MOST_BLOCKS = 16
_MOST_UNDER_WAY = 2000  # files: then the list waits, that memory holds
_MET_S = 5.0


class _Wanted(NamedTuple):
    """A file that is wanted.

    Attributes:
        request: what the transfer is to know.
        path: in the store, where that is said.
        filename: the last part of it, where a list says that.
        kept: what a list says, for the ledger.
        from_list: one that was typed is asked for also where it is known to have failed for good.
        is_noted: the ledger says that it is wanted, or there.
    """

    request: TransferRequest
    path: str | None = None
    filename: str | None = None
    kept: str | None = None
    from_list: bool = False
    is_noted: bool = False

    @property
    def shown(self) -> str:
        return shown_url(self.request.url)

    def as_of(self, entry: Entry | None) -> _Wanted:
        """The same, as its row says: a version that is there is revalidated."""
        is_there = entry is not None and entry.state == DONE
        revalidate = validators_of(entry) if entry is not None and is_there else None
        if revalidate != self.request.revalidate:
            return self._replace(request=self.request._replace(revalidate=revalidate), is_noted=is_there)
        return self._replace(is_noted=True) if is_there or is_wanted_already(entry) else self

    def entry(self, **facts: Any) -> Entry:
        return Entry(self.request.key, self.shown, spider=_OWNER, wish=self.kept, **facts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `get` has beside those of every Scrapy command."""
    parser.add_argument(
        "-i", "--input", metavar="FILE", help="list of URLs, as the urllist spider reads it; - is standard input"
    )
    parser.add_argument("-o", "--output", metavar="NAME", help="path in the store, for a single URL")
    parser.add_argument("-U", "--user-agent", metavar="TEXT", help="User-Agent to send")
    parser.add_argument("--referer", metavar="URL", help="Referer to send")
    parser.add_argument(
        "--cookie", metavar="NAME=VALUE", action="append", default=[], help="cookie to send (may be repeated)"
    )
    parser.add_argument(
        "--header", metavar="NAME: VALUE", action="append", default=[], help="header to send (may be repeated)"
    )
    parser.add_argument(
        "-n", "--connections", metavar="N", type=int, help="connections for one large file, at most 16"
    )


def run_plain(arguments: Sequence[str], settings: Mapping[str, Any]) -> int | None:
    """The whole command, with its own options and `-s NAME=VALUE`.

    Returns the exit status; None, and nothing was done, where Scrapy has to speak: to help, to say what is wrong with
    the arguments, or for an option that all its commands have.
    """
    parser = _PlainParser(add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    add_options(parser)
    parser.add_argument("-s", "--set", action="append", default=[])
    try:
        opts, urls = parser.parse_known_args(arguments)
        pairs = [setting.partition("=") for setting in opts.set]
        if any(url.startswith("-") for url in urls) or not all(equals for _, equals, _ in pairs):
            return None
        chosen = ChainMap({name: value for name, _, value in pairs}, dict(settings))
        wishes = _Wishes(urls, opts, chosen)
    except UsageProblem:
        return None
    return _brought(wishes, chosen)


class _PlainParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageProblem(message)


def run(urls: list[str], opts: argparse.Namespace, settings: Settings) -> int:
    """Bring these, and say on standard output where each is. Returns the exit status.

    Raises:
        UsageProblem: an argument cannot be meant. Nothing was done.
    """
    return _brought(_Wishes(urls, opts, settings), settings)


def _brought(wishes: _Wishes, settings: Settings) -> int:
    """The exit status, once each of them is there or has failed."""
    report = Report()
    try:
        durable = flag(settings, "MEDIACRAWL_SYNC", default=True)
        refetch = refetch_policy_of(settings)
        line_every_s = number(settings, "MEDIACRAWL_PROGRESS_S", 5.0)
        store = store_of(settings.get("FILES_STORE", None) or DEFAULT_STORE, durable=durable)
        limit = connection_limit_of(settings, at_least=wishes.connections)
        works = Works(settings, store, files=wishes.at_most, limit=limit)
    except MediacrawlError as error:
        print(f"scrapy get: {error}", file=sys.stderr)
        return error.exit_status
    run = _Run(works, report, refetch, line_every_s)
    with _told(report), _first_interrupt(run.stop):
        try:
            run.all(wishes.blocks())
        finally:
            works.close()
            run.display.close(run.snapshot())
    with _told(report):
        run.end()
        sys.stdout.flush()
    if report.exit_status != EXIT_OK:
        with _told(report):
            for line in report.lines(command_line(), retry_command(store.root)):
                print(line, file=sys.stderr, flush=True)
    return report.exit_status


@contextmanager
def _told(report: Report) -> Iterator[None]:
    """What ends the run before it is through is in the report."""
    try:
        yield
    except KeyboardInterrupt:
        report.stopped = True
    except BrokenPipeError:  # `mediacrawl get … | head`: has read enough
        report.stopped = True
        _give_up_output()
    except (MachineError, UsageProblem) as error:
        report.fatal = error
    except OSError as error:
        report.fatal = MachineError(f"cannot write what is to be said: {error.strerror}")
        _give_up_output()


def _give_up_output() -> None:
    """What could not be written is not tried again in the end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _first_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops, and breaks into nothing that is half done; the next one does."""
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


class _Unusable(NamedTuple):
    """A line of a list that cannot be used: where it stands, and why."""

    where: str
    why: str


class _Line:
    """Those of one host that wait, and are alike."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, _Wanted]] = deque()
        self.pace = Pace()

    def next(self, free: float, *, scattered: bool = False) -> list[_Wanted]:
        """Those that go next, where so many connections are free; `scattered`: from anywhere in the line."""
        if scattered:
            self.waiting.rotate(-random.randrange(len(self.waiting)))
        size = min(self.pace.batch_files(len(self.waiting), free), len(self.waiting))
        return [self.waiting.popleft()[1] for _ in range(size)]


class _Host:
    """Those of one host. Songs and videos have a line of their own: a picture behind a film would wait for its end.

    Attributes:
        busy: batches under way.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy = 0
        self._lines = {False: _Line(), True: _Line()}

    def line_of(self, wanted: _Wanted) -> _Line:
        return self._lines[kind_of_path(urlsplit(wanted.request.url).path) in {"audio", "video"}]

    def first(self) -> _Line | None:
        """That of which the first has waited longest."""
        lines = [line for line in self._lines.values() if line.waiting]
        return min(lines, key=lambda line: line.waiting[0][0], default=None)


class _Run:
    """The files of one command. All happens in one thread; others, that have something for it, leave it an event."""

    def __init__(self, works: Works, report: Report, refetch: RefetchPolicy, line_every_s: float) -> None:
        self._works = works
        self._report = report
        self._refetch = refetch
        self._per_host = works.downloader.policy.per_host or math.inf
        self._events: queue.SimpleQueue[partial[None]] = queue.SimpleQueue()
        self._seen = Recent()  # keys
        self._numbers = count()
        self._under_way: set[str] = set()  # keys
        self._hosts: dict[str, _Host] = {}
        self._in_use: deque[tuple[float, _Wanted]] = deque()  # by another process; when to ask again
        self._met_at = -math.inf
        self._told_in_use: set[str] = set()  # keys of the first two files that another process was fetching
        self._blocks: queue.Queue[Sequence[_Wanted | _Unusable]] = queue.Queue(_MOST_BLOCKS)  # that have been read
        self._is_reading = True
        self._draw_at = 0.0
        self.display = Display(sys.stderr, line_every_s)

    def all(self, blocks: Iterable[Sequence[_Wanted | _Unusable]]) -> None:
        """As many at once as there are threads, and as one host may be asked for."""
        threading.Thread(target=self._read, args=(blocks,), daemon=True, name="list").start()
        while self._is_reading or self._under_way or not self._blocks.empty():
            try:
                event = self._events.get(timeout=min(self.display.every_s, 0.1))
            except queue.Empty:
                import tqdm  # noqa: F401, PLC0415 - will be needed, and now there is time

                sys.stdout.flush()
            else:
                event()
            self._look(time.monotonic())

    def stop(self) -> None:
        """End `all` with a `KeyboardInterrupt`, after what has happened already. From a signal handler too."""
        self._works.archive.ledger.hurry()
        self._events.put(partial(self._interrupt))

    @staticmethod
    def _interrupt() -> None:
        raise KeyboardInterrupt

    def end(self) -> None:
        """After a stop too: what has got its name meanwhile is told. Nothing more is begun."""
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return
            if event.func in (self._published, self._noted):
                with suppress(CancelledError):  # came too late
                    event()

    def snapshot(self) -> Snapshot:
        pool, report = self._works.pool, self._report
        active = pool.active
        fetched = pool.fetched_bytes + sum(progress.fetched_bytes for progress in active)
        return Snapshot(time.monotonic(), report.settled, report.wanted, fetched, active)

    def _look(self, now: float) -> None:
        """What is due."""
        if self._in_use and self._in_use[0][0] <= now:
            due = [wanted for at, wanted in self._in_use if at <= now]
            self._in_use = deque((at, wanted) for at, wanted in self._in_use if at > now)
            self._ask(due)
        self._take()
        if now >= self._draw_at:
            self._draw_at = now + self.display.every_s
            self.display.draw(self.snapshot())
            sys.stdout.flush()

    # In

    def _read(self, blocks: Iterable[Sequence[_Wanted | _Unusable]]) -> None:
        """In a thread of its own, as where it comes from may be slow."""
        try:
            for block in blocks:
                self._blocks.put(block)
                self._events.put(partial(self._take))
            self._events.put(partial(self._end_of_list))
        except Exception as error:
            self._events.put(partial(self._end_of_list, error))

    def _end_of_list(self, error: Exception | None = None) -> None:
        self._is_reading = False
        if error is not None:
            raise error

    def _take(self) -> None:
        """What has been read, as far as there is room for it."""
        fresh: dict[str, _Wanted] = {}
        for line in self._next_lines():
            if isinstance(line, _Unusable):
                self._report.wanted += 1
                self._report.count_failure(line.where, line.why)
            elif self._seen.add(line.request.key) and line.request.key not in self._under_way:
                fresh[line.request.key] = line
        if fresh:
            self._report.wanted += len(fresh)
            self._under_way.update(fresh)
            self._ask(list(fresh.values()))

    def _next_lines(self) -> list[_Wanted | _Unusable]:
        lines: list[_Wanted | _Unusable] = []
        with suppress(queue.Empty):
            while len(self._under_way) + len(lines) < _MOST_UNDER_WAY and len(lines) < _BLOCK_LINES:
                lines += self._blocks.get_nowait()
        return lines

    def _ask(self, block: Sequence[_Wanted]) -> None:
        """What is to be asked for is on its way."""
        missing = self._unfinished(block)
        wants = [Want(wanted.entry()) for wanted in missing if not wanted.is_noted]
        if wants:
            self._then(self._works.changes.submit_all(wants), self._noted)
        for wanted in missing:
            host = self._hosts.setdefault(name := _host_of(wanted), _Host(name))
            host.line_of(wanted).waiting.append((next(self._numbers), wanted))
        for name in {_host_of(wanted) for wanted in missing}:
            self._set_out(self._hosts[name])

    def _unfinished(self, block: Sequence[_Wanted]) -> list[_Wanted]:
        """Those that are to be asked for, as their rows are now. The others are through."""
        now, missing = time.time(), []
        entries = self._works.archive.known([wanted.request.key for wanted in block])
        for wanted, entry in zip(block, entries, strict=True):
            if self._refetch.is_fresh(entry, now):
                assert entry is not None
                self._report.present += 1
                self._end(wanted, f"already there: {self._where(entry)}")
            elif wanted.from_list and (reason := self._refetch.known_failure(entry, now)) is not None:
                self._report.count_failure(wanted.shown, reason, known=True)
                self._end(wanted)
            else:
                missing.append(wanted.as_of(entry))
        return missing

    def _set_out(self, host: _Host) -> None:
        """The next ones of that host, as many at a time as it may be asked for."""
        while host.busy < self._per_host and (line := host.first()) is not None:
            batch = line.next(self._per_host - host.busy, scattered=self._meets_others)
            if self._meets_others and not (batch := self._unfinished(batch)):
                continue
            host.busy += 1
            future = self._works.pool.submit([wanted.request for wanted in batch], BATCH_S)
            self._then(future, self._arrived, host, line, batch)
        if not host.busy:
            del self._hosts[host.name]

    @property
    def _meets_others(self) -> bool:
        """Whether another process fetches the same files, of late: one that has the same list. Then files are not
        taken in their order, and their rows are looked at once more, as each that is fetched by both costs both.
        """
        return time.monotonic() - self._met_at < _MET_S

    def _then(self, future: Future[Any], step: Callable[..., None], *facts: Any) -> None:
        """The next step with what has come of the last one."""
        future.add_done_callback(lambda done: self._events.put(partial(step, *facts, done)))

    # Back

    def _arrived(self, host: _Host, line: _Line, batch: Sequence[_Wanted], future: Future[list[Outcome]]) -> None:
        outcomes = future.result()
        host.busy -= 1
        line.pace.learn(outcomes)
        line.waiting.extendleft((0, wanted) for wanted in reversed(batch[len(outcomes) :]))
        self._set_out(host)
        came: list[tuple[_Wanted, Fetched]] = []
        fatal: BaseException | None = None
        for wanted, outcome in zip(batch, outcomes, strict=False):
            match outcome:
                case PartInUse():
                    self._wait_for_other(wanted, outcome)
                case TransferError():
                    self._fail(wanted, outcome)
                case BaseException():
                    fatal = fatal or outcome
                case _ if outcome.part is None:
                    self._then(self._works.changes.submit_all([Unchanged(wanted.entry())]), self._unchanged, wanted)
                case _:
                    came.append((wanted, outcome))
        if came:
            self._publish(came)
        if fatal is not None:  # only now: what has come is whole
            raise fatal

    def _wait_for_other(self, wanted: _Wanted, in_use: PartInUse) -> None:
        """Ask the ledger again when the other process may be through with it."""
        self._met_at = time.monotonic()
        self._in_use.append((self._met_at + in_use.ask_after_s, wanted))
        told, key = self._told_in_use, wanted.request.key
        if key in told or len(told) > 1:
            return
        told.add(key)
        if len(told) == 1:
            self.display.say(f"{wanted.shown}: another process is fetching it, waiting", sys.stderr)
        else:
            self.display.say("other processes are fetching more of these files: no more is said of that", sys.stderr)

    def _unchanged(self, wanted: _Wanted, future: Future[list[Entry | Exception]]) -> None:
        self._noted(future)
        (entry,) = self._works.archive.known([wanted.request.key])
        self._report.present += 1
        self._end(wanted, f"already there: {self._where(entry)}" if entry is not None else None)

    def _fail(self, wanted: _Wanted, error: TransferError | NameTaken) -> None:
        reason = error.reason if isinstance(error, TransferError) else str(error)
        self._report.count_failure(wanted.shown, reason)
        facts = {
            "http_status": getattr(error, "http_status", None),
            "reason": reason,
            "permanent": getattr(error, "permanent", False),
        }
        self._then(self._works.changes.submit_all([Failure(wanted.entry(**facts))]), self._noted)
        self._end(wanted)

    @staticmethod
    def _noted(future: Future[list[Entry | Exception]]) -> None:
        """What nobody waits for, but must not fail."""
        for entry in future.result():
            if isinstance(entry, Exception):
                raise entry

    def _publish(self, came: Sequence[tuple[_Wanted, Fetched]]) -> None:
        publishes = []
        for wanted, fetched in came:
            path = wanted.path or wished_path(_OWNER, wanted.request.url, fetched.headers, wanted.filename)
            publishes.append(Publish(wanted.entry(path=path), fetched))
        self._then(self._works.changes.submit_all(publishes), self._published, came)

    def _published(self, came: Sequence[tuple[_Wanted, Fetched]], future: Future[list[Entry | Exception]]) -> None:
        errors = []
        for (wanted, fetched), entry in zip(came, future.result(), strict=True):
            match entry:
                case NameTaken():  # what has come stays for when the name is free
                    assert fetched.part is not None
                    fetched.part.close()
                    self._fail(wanted, entry)
                case Exception():
                    errors.append(entry)
                case _:
                    self._report_new(wanted, fetched, entry)
        if errors:  # only now: the others of the batch have their names
            raise errors[0]

    def _report_new(self, wanted: _Wanted, fetched: Fetched, entry: Entry) -> None:
        resumed = fetched.saved_bytes > 0
        self._report.new += not resumed
        self._report.resumed += resumed
        self._report.new_bytes += fetched.size_bytes
        self._report.saved_bytes += fetched.saved_bytes
        saved = f", {size_text(fetched.saved_bytes)} of them were here" if resumed else ""
        self._end(wanted, f"{self._where(entry)} ({size_text(fetched.size_bytes)}{saved})")

    def _end(self, wanted: _Wanted, says: str | None = None) -> None:
        self._under_way.discard(wanted.request.key)
        if says is not None:
            self.display.say(says, sys.stdout)

    def _where(self, entry: Entry) -> Path:
        return self._works.archive.store.root / (entry.path or "")


def _host_of(wanted: _Wanted) -> str:
    origin = Origin.of(wanted.request.url)
    return origin.host if origin is not None else ""


class _Wishes:
    """What the command line asks for.

    Attributes:
        at_most: so many files; infinite where nobody can tell before it has been read.
        connections: for one large file; 0 leaves that to the settings.
    """

    def __init__(self, urls: Sequence[str], opts: argparse.Namespace, settings: Settings) -> None:
        """Raises `UsageProblem` for what cannot be meant."""
        if not urls and opts.input is None:
            raise UsageProblem("give at least one URL, or a list with -i")
        if opts.output and (len(urls) > 1 or opts.input is not None):
            raise UsageProblem("-o names a single file, and there may be several")
        if opts.connections is not None and not 1 <= opts.connections <= 16:
            raise UsageProblem("-n must be between 1 and 16")
        self._headers = _headers(opts, settings.get("USER_AGENT", None))
        self.connections: int = opts.connections or 0
        self._list: str | None = opts.input
        self._first = [_Wanted(self._request(url, opts.output), opts.output) for url in urls]
        self._lines: Iterator[_Wanted | _Unusable] = iter(())
        self._ahead: list[_Wanted | _Unusable] = []
        self._block_lines = _BLOCK_LINES
        self.at_most: float = len(urls)
        if self._list is not None:
            refuse_unreadable(self._list)
            self._lines = self._of_list(self._list)
            self._look_ahead(Path(self._list))

    def blocks(self) -> Iterator[Sequence[_Wanted | _Unusable]]:
        """Raises `UsageProblem` for a list that turns out not to be readable."""
        yield [*self._first, *self._ahead]
        while block := list(islice(self._lines, self._block_lines)):
            yield block

    def _look_ahead(self, path: Path) -> None:
        """A file can be counted, so far that it decides something; a pipe may be slow."""
        if not path.is_file():
            self._block_lines, self.at_most = 1, math.inf
            return
        self._ahead = list(islice(self._lines, WORKERS_FROM + 1))
        self.at_most += len(self._ahead) if len(self._ahead) <= WORKERS_FROM else math.inf

    def _of_list(self, file: str) -> Iterator[_Wanted | _Unusable]:
        with opened_list(file) as stream:
            for row in read_list(stream):
                yield self._of_row(row) if isinstance(row, Row) else _Unusable(f"{file}:{row.number}", row.why)

    def _of_row(self, row: Row) -> _Wanted | _Unusable:
        try:
            request = self._request(row.url, row.filename)
        except ValueError:  # of what others make of such a URL
            return _Unusable(f"{self._list}:{row.number}", f"not a URL: {shown_url(row.url)[:200]!r}")
        if row.is_plain:
            return _Wanted(request, from_list=True)
        referer = (("Referer", row.referer),) if row.referer else ()
        named = {name.lower(): (name, text) for name, text in chain(self._headers, referer, row.headers.items())}
        request = request._replace(headers=tuple(named.values()), digests=row.digests)
        return _Wanted(request, filename=row.filename, kept=row.kept, from_list=True)

    def _request(self, url: str, name: str | None) -> TransferRequest:
        origin = Origin.of(url)
        if origin is None:
            raise UsageProblem(f"{shown_url(url)}: not an http or https URL")
        return TransferRequest(
            key_of_url(url),
            url,
            headers=self._headers,
            proxy=_proxy_for(origin),
            connections=self.connections or None,
            accept_html=is_page_name(url),
            name=name or name_in_url(url),
        )


@lru_cache(256)
def _proxy_for(origin: Origin) -> str | None:
    return None if proxy_bypass(origin.host) else getproxies().get(origin.scheme)


def _headers(opts: argparse.Namespace, user_agent: str | None) -> tuple[tuple[str, str], ...]:
    headers = [("User-Agent", opts.user_agent or user_agent or "mediacrawl"), ("Accept", "*/*")]
    if opts.referer:
        headers.append(("Referer", opts.referer))
    if opts.cookie:
        headers.append(("Cookie", "; ".join(opts.cookie)))
    for line in opts.header:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise UsageProblem(f"--header {line!r}: write it as 'Name: value'")
        headers.append((name.strip(), value.strip()))
    return tuple(headers)
