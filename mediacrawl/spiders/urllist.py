"""`scrapy crawl urllist -a file=PATH`: fetches a list of URLs; `-` is standard input."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from scrapy import Spider

from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import UsageProblem
from mediacrawl.sources.list_entry import InvalidEntry, ListEntry
from mediacrawl.sources.url_list import opened_list, read_list, refuse_unreadable
from mediacrawl.spiders.base import refuse_unknown_arguments
from mediacrawl.spiders.itemless_list import Lines
from mediacrawl.system.threads import iterate_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_BLOCK_ROWS = 500


class UrlListSpider(Spider):
    """Arguments: `file`, see the README; `items`, `all` or `none`: whether each line becomes an item with one URL.

    Without `items`, lines become items where a feed, another pipeline or a signal handler would see the items.
    Otherwise lines are fetched directly, see `list_lines`.
    """

    name = "urllist"
    media_offsite = True

    def __init__(self, name: str | None = None, file: str = "", items: str = "", **arguments: Any) -> None:
        """Check the arguments and the list before any request.

        Raises:
            UsageProblem: an argument is wrong, or the list cannot be read.
        """
        refuse_unknown_arguments(arguments, "file", "items")
        super().__init__(name)
        if not file:
            raise UsageProblem("the urllist spider needs a list: scrapy crawl urllist -a file=urls.txt (- for stdin)")
        if items not in {"", "all", "none"}:
            raise UsageProblem(f"items={items}: choose from all, none")
        self._file = file
        self._items = items
        refuse_unreadable(file)

    async def start(self) -> AsyncIterator[Any]:
        """Read the list as there is room for more lines; report an invalid line with its number."""
        lines = Lines.of(self.crawler, self._items)
        async for rows in self._blocks():
            if lines is None:
                for row in rows:
                    yield row.item()
            elif lines.stopping:
                return
            else:
                await lines.take(rows)
        if lines is not None:
            await lines.drain()

    async def _blocks(self) -> AsyncIterator[list[ListEntry]]:
        async for block in iterate_in_thread(self._read(), "list"):
            for bad in block:
                if isinstance(bad, InvalidEntry):
                    self._report(bad)
            yield [row for row in block if isinstance(row, ListEntry)]

    def _read(self) -> Iterator[list[ListEntry | InvalidEntry]]:
        """Yield blocks of rows. A separate thread runs this, because the source of a list may be slow."""
        block_rows = 1 if self._file == "-" else _BLOCK_ROWS
        with opened_list(self._file) as stream:
            rows = read_list(stream)
            while block := list(islice(rows, block_rows)):
                yield block

    def _report(self, line: InvalidEntry) -> None:
        where = f"{self._file}:{line.number}"
        self.logger.error("Bad line %s: %s", where, line.why)
        report = CrawlContext.of(self.crawler).report
        report.count_wanted(1)
        report.count_failure(where, line.why, unusable=True)
