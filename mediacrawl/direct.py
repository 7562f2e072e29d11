"""Files by URL, without a spider and without Scrapy: what `get` does.

Scrapy takes twice as long to import as all that is needed here. Who fetches one file with several connections would
wait for it longer than for the file.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import ChainMap
from concurrent.futures import FIRST_COMPLETED, wait
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

from mediacrawl.archive import Failure, Publish, Want
from mediacrawl.download.request import TransferRequest
from mediacrawl.errors import (
    EXIT_OK,
    MachineError,
    MediacrawlError,
    NameTaken,
    TransferError,
    UsageProblem,
    shown_url,
)
from mediacrawl.ledger.ledger import DONE, Entry
from mediacrawl.naming import is_page_name, key_of_url, name_in_url, wished_path
from mediacrawl.progress import Display, Snapshot, command_line
from mediacrawl.report import Report, size_text
from mediacrawl.store.partfile import PartInUse
from mediacrawl.urls import Origin
from mediacrawl.wiring import DEFAULT_STORE, Works, flag, store_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from mediacrawl.download.request import Fetched, Outcome
    from mediacrawl.wiring import Settings

_OWNER = "get"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `get` has beside those of every Scrapy command."""
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
        requests = _requests(urls, opts, chosen)
    except UsageProblem:
        return None
    return _brought(requests, opts.output, chosen)


class _PlainParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageProblem(message)


def run(urls: list[str], opts: argparse.Namespace, settings: Settings) -> int:
    """Bring these, and say on standard output where each is. Returns the exit status.

    Raises:
        UsageProblem: an argument cannot be meant. Nothing was done.
    """
    return _brought(_requests(urls, opts, settings), opts.output, settings)


def _brought(requests: list[TransferRequest], name: str | None, settings: Settings) -> int:
    """The exit status, once each of them is there or has failed."""
    report = Report()
    try:
        durable = flag(settings, "MEDIACRAWL_SYNC", default=True)
        store = store_of(settings.get("FILES_STORE", None) or DEFAULT_STORE, durable=durable)
        works = Works(settings, store, files=len(requests))
    except MediacrawlError as error:
        print(f"scrapy get: {error}", file=sys.stderr)
        return error.exit_status
    run = _Run(works, report, name)
    try:
        run.all(requests)
    except KeyboardInterrupt:
        report.stopped = True
    except MachineError as error:
        report.fatal = error
    finally:
        works.close()
        run.display.close(run.snapshot())
    if report.exit_status != EXIT_OK:
        for line in report.lines(command_line()):
            print(line, file=sys.stderr)
    return report.exit_status


class _Run:
    """The URLs of one command."""

    def __init__(self, works: Works, report: Report, name: str | None) -> None:
        self._works = works
        self._report = report
        self._name = name
        self.display = Display(sys.stderr, 5.0)

    def all(self, requests: list[TransferRequest]) -> None:
        """All at once, as many as there are threads."""
        self._report.wanted = len(requests)
        left = {r: self._submit(r) for r in requests if not self._is_present(r)}
        import tqdm  # noqa: F401, PLC0415 - will be needed, and now there is time: the first bytes are travelling

        while left:
            self.display.draw(self.snapshot())
            for request, future in list(left.items()):
                if future.done():
                    del left[request]
                    self._settle(request, future, left)
            wait(left.values(), min(self.display.every_s, 0.1), FIRST_COMPLETED)

    def snapshot(self) -> Snapshot:
        pool, report = self._works.pool, self._report
        active = pool.active
        fetched = pool.fetched_bytes + sum(progress.fetched_bytes for progress in active)
        return Snapshot(time.monotonic(), report.settled, report.wanted, fetched, active)

    def _is_present(self, request: TransferRequest) -> bool:
        """Whether the file is there; then that is counted and said."""
        (entry,) = self._works.archive.known([request.key])
        if entry is None or entry.state != DONE:
            return False
        self._report.present += 1
        print(f"already there: {self._works.archive.store.root / (entry.path or '')}")
        return True

    def _submit(self, request: TransferRequest) -> Future[list[Outcome]]:
        self._works.changes.submit(Want(_entry(request)))
        named = request._replace(name=self._name or name_in_url(request.url))
        return self._works.pool.submit([named], math.inf)

    def _settle(
        self,
        request: TransferRequest,
        future: Future[list[Outcome]],
        left: dict[TransferRequest, Future[list[Outcome]]],
    ) -> None:
        try:
            (outcome,) = future.result()
            if isinstance(outcome, BaseException):
                raise outcome
            self._publish(request, outcome)
        except PartInUse:
            print(f"{shown_url(request.url)}: another process is fetching it, waiting", file=sys.stderr)
            time.sleep(1.0)
            if not self._is_present(request):
                left[request] = self._submit(request)
        except NameTaken as error:  # what has come stays for when the name is free
            self._report.count_failure(shown_url(request.url), str(error))
        except TransferError as error:
            self._report.count_failure(error.url, error.reason)
            failed = _entry(request, http_status=error.http_status, reason=error.reason, permanent=error.permanent)
            self._works.changes.submit(Failure(failed))

    def _publish(self, request: TransferRequest, fetched: Fetched) -> None:
        path = self._name or wished_path(_OWNER, request.url, fetched.headers)
        change = Publish(_entry(request, path=path), fetched)
        try:
            entry = self._works.changes.submit(change).result()
        except NameTaken:  # the part is for whoever tries next
            assert fetched.part is not None
            fetched.part.close()
            raise
        resumed = fetched.saved_bytes > 0
        self._report.new += not resumed
        self._report.resumed += resumed
        self._report.new_bytes += fetched.size_bytes
        self._report.saved_bytes += fetched.saved_bytes
        saved = f", {size_text(fetched.saved_bytes)} of them were here" if resumed else ""
        print(f"{self._works.archive.store.root / (entry.path or '')} ({size_text(fetched.size_bytes)}{saved})")


def _entry(request: TransferRequest, **facts: Any) -> Entry:
    return Entry(request.key, shown_url(request.url), spider=_OWNER, **facts)


def _requests(urls: list[str], opts: argparse.Namespace, settings: Settings) -> list[TransferRequest]:
    """Raises `UsageProblem` for what cannot be meant."""
    if not urls:
        raise UsageProblem("give at least one URL")
    if opts.output and len(urls) > 1:
        raise UsageProblem("-o names a single file, and there are several URLs")
    if opts.connections is not None and not 1 <= opts.connections <= 16:
        raise UsageProblem("-n must be between 1 and 16")
    headers = _headers(opts, settings.get("USER_AGENT", None))
    requests = (_request(url, headers, opts.connections) for url in urls)
    return list({request.key: request for request in requests}.values())


def _request(url: str, headers: tuple[tuple[str, str], ...], connections: int | None) -> TransferRequest:
    origin = Origin.of(url)
    if origin is None:
        raise UsageProblem(f"{shown_url(url)}: not an http or https URL")
    proxy = None if proxy_bypass(origin.host) else getproxies().get(origin.scheme)
    return TransferRequest(
        key_of_url(url),
        url,
        headers=headers,
        proxy=proxy,
        connections=connections,
        accept_html=is_page_name(url),
    )


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
