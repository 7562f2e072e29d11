"""`mediacrawl …`: Scrapy's command line with this project's settings; and the code that its commands share."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NoReturn

from scrapy import cmdline
from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from mediacrawl import config
from mediacrawl.archive import Archive
from mediacrawl.backends import has_ledger, ledger_url, open_ledger, store_of
from mediacrawl.errors import EXIT_INTERRUPTED, EXIT_MACHINE, MediacrawlError, UsageProblem
from mediacrawl.settings import COMMANDS_MODULE
from mediacrawl.visible import make_log_visible, visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from mediacrawl.config import Settings
    from mediacrawl.ledger.base import Ledger
    from mediacrawl.store.base import Store


def main() -> None:
    """Run the console script. Exit with the statuses that the README documents."""
    make_log_visible()
    os.environ["SCRAPY_SETTINGS_MODULE"] = "mediacrawl.settings"
    cmdline.ScrapyArgumentParser = _VisibleParser  # type: ignore[misc]
    if (command := _own_command(sys.argv[1:2])) is not None:
        cmdline._get_commands_dict = lambda *_: command  # noqa: SLF001 - Scrapy imports all commands to find one
    cmdline.execute()


class _VisibleParser(cmdline.ScrapyArgumentParser):
    """Scrapy's parser of the command line. Its error messages, which may repeat an argument, are visible."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Name the command as it was typed: the usage of Scrapy begins with "scrapy"."""
        if usage := named.get("usage"):
            named["usage"] = usage.replace("scrapy ", "mediacrawl ", 1)
        super().__init__(*arguments, **named)

    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def _own_command(words: list[str]) -> dict[str, ScrapyCommand] | None:
    """Return the command of mediacrawl with the given name, in the form that Scrapy keeps; None if there is none.

    Commands of mediacrawl take precedence over Scrapy's.
    """
    package = import_module(COMMANDS_MODULE)
    for name in words:
        if any(module.name == name for module in iter_modules(package.__path__)):
            return {name: import_module(f"{COMMANDS_MODULE}.{name}").Command()}
    return None


class StoreCommand(ScrapyCommand):
    """A command about the store that `FILES_STORE` names, without a crawl. Errors are reported in one line."""

    requires_project = True
    requires_crawler_process = False

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        """Refuse options that do not exist, then process the others as Scrapy does."""
        refuse_unknown_options(args)
        super().process_options(args, opts)

    def store(self) -> Store:
        """Return the store.

        Raises:
            UsageError: `FILES_STORE` cannot be a store, or another setting is wrong.
        """
        try:
            config.check(self._settings)
            return store_of(config.FILES_STORE.of(self._settings))
        except UsageProblem as error:
            raise UsageError(str(error), print_help=False) from None

    def _ledger_url(self) -> str:
        return ledger_url(config.LEDGER.of(self._settings), self.store())

    @property
    def _settings(self) -> Settings:
        assert self.settings is not None
        return self.settings

    @contextmanager
    def ledger(self) -> Iterator[Ledger | None]:
        """Yield the ledger for reading; None for a store in which no file was ever wanted."""
        with one_line():
            url = self._ledger_url()
            if not has_ledger(url):
                refuse_missing_store(self._settings)
                yield None
                return
            ledger = open_ledger(url, read_only=True)
            try:
                yield ledger if ledger.is_prepared() else None
            finally:
                ledger.close()

    @contextmanager
    def archive(self, *, create: bool = False) -> Iterator[Archive | None]:
        """Yield store and ledger for changes; None if no file was ever wanted there, unless `create` is set."""
        with one_line():
            url = self._ledger_url()
            if not has_ledger(url):
                refuse_missing_store(self._settings)
                if not create:
                    yield None
                    return
            archive = Archive.open(self.store(), url)
            try:
                yield archive
            finally:
                archive.close()


def refuse_unknown_options(args: Iterable[str]) -> None:
    """Raise `UsageError` for an argument that looks like an option: Scrapy passes a misspelt option on as one."""
    for arg in args:
        if arg.startswith("-") and arg != "-":
            raise UsageError(f"there is no option {visible(arg.partition('=')[0])}, see: --help", print_help=False)


def refuse_missing_store(settings: Settings) -> None:
    """Raise `UsageProblem` if the store does not exist, nor a ledger of it elsewhere: its path may be mistyped."""
    store = store_of(config.FILES_STORE.of(settings))
    try:
        store.root.stat()
    except FileNotFoundError:
        if not has_ledger(ledger_url(config.LEDGER.of(settings), store)):
            raise UsageProblem(f"there is no store {store.root}: no file was ever wanted there") from None
    except OSError:
        return  # reported by its first use


@contextmanager
def one_line() -> Iterator[None]:
    """End the command with one line and the right exit status for an error that a user or a disk can cause."""
    try:
        yield
        sys.stdout.flush()  # here a closed pipe can still be distinguished from a bug
    except MediacrawlError as error:
        raise SystemExit(_said(error, error.exit_status)) from None
    except BrokenPipeError:  # `mediacrawl manifest | head`: the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_INTERRUPTED) from None
    except OSError as error:
        raise SystemExit(_said(f"cannot read {error.filename}: {error.strerror}", EXIT_MACHINE)) from None
    except KeyboardInterrupt:
        raise SystemExit(_said("interrupted", EXIT_INTERRUPTED)) from None


def _said(what: object, status: int) -> int:
    print(f"mediacrawl: {visible(str(what))}", file=sys.stderr)  # noqa: T201
    return status
