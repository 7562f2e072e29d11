"""The lines of a list that nobody needs as items: they are fetched without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy import signals

from mediacrawl.crawl.dispatch import is_listened_to
from mediacrawl.pipelines import MediaFilesPipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.sources.url_list import ListEntry

_ITEM_SIGNALS = (signals.item_scraped, signals.item_dropped, signals.item_error)


class Lines:
    """Those of one crawl."""

    def __init__(self, pipeline: MediaFilesPipeline) -> None:
        self._pipeline = pipeline

    @classmethod
    def of(cls, crawler: Crawler, items: str = "") -> Lines | None:
        """None where each line is to become an item: with `items` "all", or by itself where somebody would see it."""
        pipeline = crawler.get_item_pipeline(MediaFilesPipeline)
        if items == "all" or not isinstance(pipeline, MediaFilesPipeline) or not pipeline.takes_lines:
            return None
        return None if not items and _is_watched(crawler) else cls(pipeline)

    @property
    def stopping(self) -> bool:
        """Nothing is taken any more."""
        return self._pipeline.stopping

    async def take(self, rows: Sequence[ListEntry]) -> None:
        """See to these lines; comes back when there is room for more."""
        await self._pipeline.files.take([self._request(row) for row in rows])

    async def drain(self) -> None:
        """Until each line is through."""
        await self._pipeline.files.drain()

    def _request(self, row: ListEntry) -> FileRequest:
        if row.is_plain:
            return self._pipeline.plain_request(row.url)
        # A line that says more than a URL: with all that an item would ask for.
        (request,) = self._pipeline.get_media_requests(row.item(), self._pipeline.spiderinfo)
        return self._pipeline.file_request(request)


def _is_watched(crawler: Crawler) -> bool:
    """Whether items would be seen by a feed, by another pipeline, or by who listens to what becomes of them."""
    settings = crawler.settings
    return bool(
        settings.getdict("FEEDS")
        or settings.getint("CLOSESPIDER_ITEMCOUNT")
        or len([name for name, order in settings.getdict("ITEM_PIPELINES").items() if order is not None]) > 1
        or any(is_listened_to(crawler, signal) for signal in _ITEM_SIGNALS)
    )
