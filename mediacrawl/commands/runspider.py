"""`scrapy runspider FILE`: runs a spider outside a project, with the exit statuses of `crawl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.commands import runspider
from scrapy.exceptions import UsageError
from scrapy.utils.spider import iter_spider_classes

from mediacrawl.commands import crawl
from mediacrawl.errors import describe_error

if TYPE_CHECKING:
    import argparse


class Command(crawl.Command):
    """Runs the spider file that `genspider` writes outside a project."""

    default_settings = runspider.Command.default_settings

    def syntax(self) -> str:
        return "[options] <spider_file>"

    def short_desc(self) -> str:
        return "Run a spider from a Python file, no project required"

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if len(args) != 1:
            raise UsageError("give the file of one spider")
        if not Path(args[0]).is_file():
            raise UsageError(f"there is no file {args[0]!r}", print_help=False)
        try:
            module = runspider._import_file(args[0])  # noqa: SLF001
        except (ImportError, ValueError) as error:
            raise UsageError(f"cannot load {args[0]!r}: {describe_error(error)}", print_help=False) from None
        spiders = list(iter_spider_classes(module))
        if not spiders:
            raise UsageError(f"there is no spider in {args[0]!r}", print_help=False)
        self.crawl(spiders[-1], opts)
