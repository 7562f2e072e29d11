"""`scrapy crawl demo`: the main job on a little site that runs inside this process."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy import signals

from mediacrawl.demo import DemoSite
from mediacrawl.spiders.base import ARGUMENTS, MediaSpider, refuse_unknown_arguments

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler


class DemoSpider(MediaSpider):
    """Three pages, one of them Chinese in GBK; pictures, sound, a slow video, and a connection that breaks."""

    name = "demo"

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Start the site; it ends with the crawl."""
        refuse_unknown_arguments(kwargs, *ARGUMENTS)
        site = _site(crawler.settings["JOBDIR"])
        crawler.signals.connect(site.stop, signals.spider_closed, weak=False)
        return super().from_crawler(crawler, *args, start_urls=[site.url], **kwargs)

    def media_key(self, url: str) -> str:
        """The site may have another port in each run: a file is known by its path."""
        parts = urlsplit(url)
        return f"demo:{parts.path}?{parts.query}"


def _site(job: str | None) -> DemoSite:
    """The site of this run, on the port of the last one if a job is to go on: its pages are kept with their URLs."""
    if not job:
        return DemoSite().start()
    note = Path(job) / "demo-port"
    try:
        site = DemoSite(int(note.read_text(encoding="ascii"))).start()
    except (OSError, ValueError, OverflowError):
        site = DemoSite().start()
    with suppress(OSError):  # the scheduler says what is wrong with the folder
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(site.port), encoding="ascii")
    return site
