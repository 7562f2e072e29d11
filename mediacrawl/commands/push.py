"""`mediacrawl push PATH… URL`: sends files and folders to a server, so that each goes on where it broke off."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand

from mediacrawl import config
from mediacrawl.cli.main import one_line, refuse_unknown_options
from mediacrawl.cli.plain_get import first_interrupt
from mediacrawl.download.cancel import Cancel
from mediacrawl.errors import EXIT_OK, UsageProblem
from mediacrawl.fetch.advice import command_line
from mediacrawl.fetch.progress_display import Display, Snapshot
from mediacrawl.fetch.resources import backoff_of
from mediacrawl.push.local_files import local_files
from mediacrawl.push.push_report import PushReport, described_result, line_of
from mediacrawl.push.push_run import PushRun
from mediacrawl.push.push_state import PushState, state_folder
from mediacrawl.push.server_of import checked_url, network_of, target_for
from mediacrawl.visible import visible_json

if TYPE_CHECKING:
    import argparse

    from mediacrawl.config import Settings

_STOP_WITHIN_S = 2.0  # a thread that waits for a server is left alone after this time


class Command(ScrapyCommand):
    """Has the exit statuses of `get`, and the settings about the network and retries."""

    requires_project = True
    requires_crawler_process = False

    def syntax(self) -> str:
        """Return the arguments, for `--help`."""
        return "[options] PATH... URL"

    def short_desc(self) -> str:
        """Return the line of the list of commands."""
        return "Send files to a server of tus or FTP, resumably"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        super().add_options(parser)
        for argument in config.PUSH_ARGUMENTS:
            argument.add_to(parser)

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        """Refuse options that do not exist, then process the others as Scrapy does."""
        refuse_unknown_options(args)
        super().process_options(args, opts)

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        """Send the files."""
        assert self.settings is not None
        with one_line():
            if len(args) < 2:
                raise UsageProblem("push: give the files or folders to be sent, and then the URL of the server")
            *paths, url = args
            settings = config.settings_with(opts, self.settings)
            config.check(settings)
            for path in paths:
                _refuse_missing(path)
            at_once = config.AT_ONCE.of(opts) or _AT_ONCE
            self.exitcode = _pushed(paths, checked_url(url), settings, at_once=at_once, is_json=config.JSON.of(opts))


_AT_ONCE = 3


def _refuse_missing(path: str) -> None:
    try:
        Path(path).stat()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        raise UsageProblem(f"{path}: {why}; nothing was sent") from None


def _pushed(paths: list[str], url: str, settings: Settings, *, at_once: int, is_json: bool) -> int:
    """Send files, write a line for each, and return the exit status."""
    network = network_of(settings)
    state = PushState(state_folder())
    target = target_for(url, network, state)
    cancel, report = Cancel(), PushReport()
    display = Display(sys.stderr, config.PROGRESS_S.of(settings))
    run = PushRun(target, state, local_files(paths), cancel, at_once=at_once, backoff=backoff_of(settings))
    is_stopped = False
    with first_interrupt(cancel.set):
        stop_at_s = float("inf")
        try:
            while not run.is_done and time.monotonic() < stop_at_s:
                for result in run.results(display.every_s):
                    report.count(result)
                    line = visible_json(described_result(result)) if is_json else line_of(result)
                    if line is not None:
                        display.say(line, sys.stdout)
                display.draw(_snapshot(run, report))
                sys.stdout.flush()
                if cancel.is_set and stop_at_s == float("inf"):
                    stop_at_s = time.monotonic() + _STOP_WITHIN_S
            is_stopped = cancel.is_set
        finally:
            cancel.set()
            display.close(_snapshot(run, report))
    if run.is_done:
        target.close()
        state.close()
    status = report.exit_status(run.fatal, is_stopped=is_stopped)
    if status != EXIT_OK:
        for text in report.lines(run.sent_bytes, command_line(), run.fatal, is_stopped=is_stopped):
            print(text, file=sys.stderr)
    return status


def _snapshot(run: PushRun, report: PushReport) -> Snapshot:
    active = run.active
    sent_bytes = run.sent_bytes + sum(progress.fetched_bytes for progress in active)
    return Snapshot(time.monotonic(), report.settled, run.wanted, sent_bytes, active)
