"""`scrapy crawl`: Scrapy's own command, with an exit status for each result, and one line for each user error."""

from __future__ import annotations

import inspect
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy.commands import crawl
from scrapy.exceptions import UsageError

from mediacrawl import config
from mediacrawl.addon import hide_secrets, replace_components
from mediacrawl.cli.main import refuse_unknown_options
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import EXIT_FAILED, EXIT_MACHINE, EXIT_USAGE, MediacrawlError, UsageProblem, disk_error
from mediacrawl.extensions import ProgressExtension
from mediacrawl.fetch.advice import advice_for_crawl
from mediacrawl.fetch.resources import check_network, cookies_of
from mediacrawl.pipelines import refuse_empty_slots
from mediacrawl.visible import visible

if TYPE_CHECKING:
    import argparse
    import asyncio

    from scrapy import Spider
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings


_DOORS = {
    "scrapy.extensions.remote_control.RemoteControl": "REMOTE_CONTROL_ENABLED",
    "scrapy.extensions.telnet.TelnetConsole": "TELNETCONSOLE_ENABLED",
}


class Command(crawl.Command):
    """Exit status: 0 all present, 1 some failed, 2 wrong usage, 3 interrupted, 4 this machine could not go on."""

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        """Refuse options that do not exist, then process the others as Scrapy does."""
        refuse_unknown_options(args)
        super().process_options(args, opts)

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if len(args) != 1:
            raise UsageError("give the name of one spider, see: scrapy list")
        self.crawl(args[0], opts)

    def crawl(self, spider: type[Spider] | str, opts: argparse.Namespace) -> None:
        """Run a spider, and set the exit status. A spider class need not belong to the project."""
        assert self.crawler_process is not None
        assert self.settings is not None
        if self.refuses_settings() or self._refuses_job():
            return
        try:
            crawler = self._create_crawler(spider)
        except KeyError:
            raise UsageError(f"no spider is called {spider!r}, see: scrapy list", print_help=False) from None
        _start_lightly(crawler.settings)
        replace_components(crawler.settings)
        hide_secrets(crawler.settings)
        task: Any = self.crawler_process.crawl(crawler, **opts.spargs)
        task.add_done_callback(self._note_error)
        self.crawler_process.start()
        _ignore_interrupts()
        report = CrawlContext.of(crawler).report
        if not task.done():  # a second Ctrl-C: the crawl was cut short
            report.stop()
            _say_the_end(crawler)
        if not self.exitcode:
            self.exitcode = report.exit_status
        if not self.exitcode and self.crawler_process.bootstrap_failed:
            self.exitcode = EXIT_FAILED

    @property
    def _name(self) -> str:
        """The name of the command, for messages: that of its module, as for Scrapy."""
        return f"scrapy {type(self).__module__.rpartition('.')[2]}"

    def refuses_settings(self) -> bool:
        """Report in one line what is wrong with the settings, or with the files and the network that they name.

        Return whether there was a problem. Nothing was done then.
        """
        assert self.settings is not None
        try:
            config.check(self.settings)
            cookies_of(self.settings)
            check_network(self.settings)
            refuse_empty_slots(self.settings)
        except UsageProblem as error:
            print(f"{self._name}: {error}", file=sys.stderr)
            self.exitcode = error.exit_status
        return bool(self.exitcode)

    def _refuses_job(self) -> bool:
        """Create the job folder; report an error in one line, and return whether there was one.

        Some components of Scrapy create the folder too, and end with a traceback if that fails.
        """
        assert self.settings is not None
        folder = self.settings["JOBDIR"]
        try:
            if folder:
                Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"{self._name}: {disk_error(error, f'the job folder {folder}')}", file=sys.stderr)
            self.exitcode = EXIT_MACHINE
        return bool(self.exitcode)

    def _note_error(self, task: asyncio.Task[None]) -> None:
        """Report a user error in one line; every other error keeps its traceback, which asyncio writes."""
        if task.cancelled():
            return
        error = getattr(task, "_exception", None)
        if isinstance(error, MediacrawlError | UsageError | TypeError) and _is_usage(error):
            task.exception()  # marks it as retrieved
            print(f"{self._name}: {visible(str(error))}", file=sys.stderr)
            self.exitcode = getattr(error, "exit_status", EXIT_USAGE)


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C from now on: no work is left to stop, and Ctrl-C would end the process by a signal."""
    with suppress(ValueError):  # not the main thread: a program of a project runs this command
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say_the_end(crawler: Crawler) -> None:
    """Write the summary of a crawl that a second Ctrl-C has ended."""
    progress = None
    with suppress(RuntimeError):  # the crawler has no extensions yet
        progress = crawler.get_extension(ProgressExtension)
    if progress is not None:
        progress.spider_closed("shutdown")
        return
    print(*CrawlContext.of(crawler).report.lines(*advice_for_crawl(crawler.settings)), sep="\n", file=sys.stderr)


def _start_lightly(settings: BaseSettings) -> None:
    """Reduce the time before the first request by a quarter, by avoiding slow imports and searches."""
    # Scrapy 2.19 imports the dependencies of these extensions (aiohttp, conch) even if they are disabled.
    shut = [door for door, switch in _DOORS.items() if not settings.getbool(switch)]
    extensions = {path: order for path, order in settings["EXTENSIONS_BASE"].items() if path not in shut}
    settings.set("EXTENSIONS_BASE", extensions, "cmdline")
    # The import of `contextfactory` looks up the module of each caller, and `inspect` searches all loaded modules for
    # each of them.
    deprecate: Any = import_module("scrapy.utils.deprecate")
    deprecate.inspect = _QuickInspect()
    try:
        import_module("scrapy.core.downloader.contextfactory")
    finally:
        deprecate.inspect = inspect


class _QuickInspect:
    """The functions of `inspect` that `create_deprecated_class` calls: the calling frame, and its module."""

    def stack(self) -> list[tuple[Any, ...]]:
        return [(), (sys._getframe(2),)]  # noqa: SLF001

    def getmodule(self, frame: Any) -> Any:
        return sys.modules.get(frame.f_globals["__name__"])

    def __getattr__(self, name: str) -> Any:
        return getattr(inspect, name)


def _is_usage(error: BaseException) -> bool:
    return not isinstance(error, TypeError) or "__init__() got an unexpected keyword" in str(error)
