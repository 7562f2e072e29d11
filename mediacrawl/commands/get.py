"""`scrapy get URL…`: fetches files into the store, resumably and without a spider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from mediacrawl.cli import plain_get
from mediacrawl.errors import UsageProblem

if TYPE_CHECKING:
    import argparse


class Command(ScrapyCommand):
    """Has the same settings, store, ledger and exit statuses as a crawl."""

    requires_project = True
    requires_crawler_process = False

    def syntax(self) -> str:
        return "[options] URL... | -i FILE"

    def short_desc(self) -> str:
        return "Fetch files by URL, resumably, without a spider"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        plain_get.add_options(parser)

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        assert self.settings is not None
        try:
            self.exitcode = plain_get.run_command(args, opts, self.settings)
        except UsageProblem as error:
            raise UsageError(str(error), print_help=False) from None
