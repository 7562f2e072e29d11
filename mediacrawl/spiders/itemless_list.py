"""Fetches the lines of a list without items, where no component needs the items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy import signals

from mediacrawl.crawl.polite_dispatch import is_listened_to
from mediacrawl.pipelines import MediaFilesPipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.sources.list_entry import ListEntry

_ITEM_SIGNALS = (signals.item_scraped, signals.item_dropped, signals.item_error)


class Lines:
    """The lines of one crawl."""

    def __init__(self, pipeline: MediaFilesPipeline) -> None:
        self._pipeline = pipeline

    @classmethod
    def of(cls, crawler: Crawler, items: str = "") -> Lines | None:
        """Return the lines of a crawl; None if each line must become an item.

        Lines become items if `items` is "all", or if the pipeline cannot fetch lines. If `items` is empty, lines also
        become items where another component would see the items.
        """
        pipeline = crawler.get_item_pipeline(MediaFilesPipeline)
        if items == "all" or not isinstance(pipeline, MediaFilesPipeline) or not pipeline.takes_lines:
            return None
        return None if not items and _is_watched(crawler) else cls(pipeline)

    @property
    def stopping(self) -> bool:
        """Whether the crawl is stopping, so that no more lines are taken."""
        return self._pipeline.stopping

    async def take(self, rows: Sequence[ListEntry]) -> None:
        """Fetch the files of these lines. Return when there is room for more lines."""
        await self._pipeline.files.take([self._request(row) for row in rows])

    async def drain(self) -> None:
        """Wait until the file of each line has its result."""
        await self._pipeline.files.drain()

    def _request(self, row: ListEntry) -> FileRequest:
        if row.is_plain:
            return self._pipeline.plain_request(row.url)
        # A line with more than a URL: create the request that its item would have.
        (request,) = self._pipeline.get_media_requests(row.item(), self._pipeline.spiderinfo)
        return self._pipeline.file_request(request)


def _is_watched(crawler: Crawler) -> bool:
    """Return whether a feed, another pipeline, `CLOSESPIDER_ITEMCOUNT` or a signal receiver would see the items."""
    settings = crawler.settings
    return bool(
        settings.getdict("FEEDS")
        or settings.getint("CLOSESPIDER_ITEMCOUNT")
        or len([name for name, order in settings.getdict("ITEM_PIPELINES").items() if order is not None]) > 1
        or any(is_listened_to(crawler, signal) for signal in _ITEM_SIGNALS)
    )
