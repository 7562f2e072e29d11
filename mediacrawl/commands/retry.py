"""`scrapy retry`: fetches failed files again, as a crawl of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import UsageError

from mediacrawl.cli.main import refuse_missing_store
from mediacrawl.commands import crawl
from mediacrawl.errors import MediacrawlError
from mediacrawl.spiders.retry import RetrySpider

if TYPE_CHECKING:
    import argparse


class Command(crawl.Command):
    """Has the same settings, politeness, summary and exit statuses as any crawl."""

    def syntax(self) -> str:
        return "[--permanent]"

    def short_desc(self) -> str:
        return "Fetch failed files again, except permanent failures"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--permanent", action="store_true", help="also permanent failures, such as 404")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args:
            raise UsageError("retry takes no argument; choose the store with -s FILES_STORE=FOLDER")
        assert self.settings is not None
        if self.refuses_settings():
            return
        try:
            refuse_missing_store(self.settings)
        except MediacrawlError as error:
            raise UsageError(str(error), print_help=False) from None
        if opts.permanent:
            opts.spargs["permanent"] = "1"
        self.crawl(RetrySpider, opts)
