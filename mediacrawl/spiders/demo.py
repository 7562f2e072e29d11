"""`scrapy crawl demo`: a typical crawl of a small site that runs inside this process."""

from __future__ import annotations

import os
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
    """Crawls three pages, one in Chinese (GBK), with pictures, sound, a slow video and a connection that breaks."""

    name = "demo"

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Start the site, which stops with the crawl, and create the spider."""
        refuse_unknown_arguments(kwargs, *ARGUMENTS)
        site = _site(crawler.settings["JOBDIR"])
        crawler.signals.connect(site.stop, signals.spider_closed, weak=False)
        return super().from_crawler(crawler, *args, start_urls=[site.url], **kwargs)

    def media_key(self, url: str) -> str:
        """Return a key without host and port, because the site may have another port in each run."""
        parts = urlsplit(url)
        return f"demo:{parts.path}?{parts.query}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _site(job: str | None) -> DemoSite:
    """Start the site of this run, on the port of the last run if a job is resumed.

    The pages of a job are stored with their URLs, which contain the port.
    """
    if not job:
        return DemoSite().start()
    note = Path(job) / "demo-port"
    try:
        site = DemoSite(int(note.read_text(encoding="ascii"))).start()
    except (OSError, ValueError, OverflowError):
        site = DemoSite().start()
    with suppress(OSError):  # the scheduler reports an error of the folder
        note.parent.mkdir(parents=True, exist_ok=True)
        with open(note, "w", encoding="ascii", opener=_private) as file:
            file.write(str(site.port))
    return site
