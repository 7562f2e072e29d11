"""`scrapy crawl demo`: the main job on a little site that runs inside this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy import signals

from mediacrawl.demo import DemoSite
from mediacrawl.spiders.base import ARGUMENTS, MediaSpider, refuse_unknown

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler


class DemoSpider(MediaSpider):
    """Three pages, one of them Chinese in GBK; pictures, sound, a slow video, and a connection that breaks."""

    name = "demo"

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Start the site; it ends with the crawl."""
        refuse_unknown(kwargs, *ARGUMENTS)
        site = DemoSite().start()
        crawler.signals.connect(site.stop, signals.spider_closed, weak=False)
        return super().from_crawler(crawler, *args, start_urls=[site.url], **kwargs)

    def media_key(self, url: str) -> str:
        """The site has another port in each run: a file is known by its path."""
        parts = urlsplit(url)
        return f"demo:{parts.path}?{parts.query}"
