"""The lines of a list that nobody needs as items: they take the short way, see `bulk`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.http.request import NO_CALLBACK

from mediacrawl.bulk import Bulk, Wish
from mediacrawl.convoys import is_listened_to
from mediacrawl.naming import key_of_url
from mediacrawl.pipelines import MediaFilesPipeline
from mediacrawl.wishes import without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.lists import Row

_ITEM_SIGNALS = (signals.item_scraped, signals.item_dropped, signals.item_error)


class Lines:
    """Those of one crawl."""

    def __init__(self, pipeline: MediaFilesPipeline, bulk: Bulk) -> None:
        self._pipeline = pipeline
        self._bulk = bulk

    @classmethod
    def of(cls, crawler: Crawler, items: str = "") -> Lines | None:
        """None where each line is to become an item: with `items` "all", or by itself where somebody would see it."""
        pipeline = crawler.get_item_pipeline(MediaFilesPipeline)
        if items == "all" or not isinstance(pipeline, MediaFilesPipeline) or pipeline.bulk is None:
            return None
        return None if not items and _is_watched(crawler) else cls(pipeline, pipeline.bulk)

    @property
    def stopping(self) -> bool:
        """Nothing is taken any more."""
        return self._bulk.stopping

    async def take(self, rows: Sequence[Row]) -> None:
        """See to these lines; comes back when there is room for more."""
        await self._bulk.take(map(self._wish, rows))

    async def drain(self) -> None:
        """Until each line is through."""
        await self._bulk.drain()

    def _wish(self, row: Row) -> Wish:
        if row.is_plain:
            return Wish(key_of_url(row.url), row.url)
        # A line that says more than a URL: with all that an item would ask for.
        (request,) = self._pipeline.get_media_requests(row.item(), self._pipeline.spiderinfo)
        request = without_credentials(request)
        request.callback = NO_CALLBACK
        return Wish(self._pipeline.media_key(request), request.url, request=request)


def _is_watched(crawler: Crawler) -> bool:
    """Whether items would be seen by a feed, by another pipeline, or by who listens to what becomes of them."""
    settings = crawler.settings
    return bool(
        settings.getdict("FEEDS")
        or settings.getint("CLOSESPIDER_ITEMCOUNT")
        or len([name for name, order in settings.getdict("ITEM_PIPELINES").items() if order is not None]) > 1
        or any(is_listened_to(crawler, signal) for signal in _ITEM_SIGNALS)
    )
