"""`scrapy crawl site -a url=URL`: any site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.settings import SETTINGS_PRIORITIES

from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.spiders.base import ARGUMENTS, MediaSpider, refuse_unknown_arguments
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler


class SiteSpider(MediaSpider):
    """Arguments: `url` (several with blanks between), and `media`, `next`, `follow`, `kinds` as in the base."""

    name = "site"

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Scrapy makes a hundred tasks for each page, whether they have work or not. A page gives one item, and one
        request: with `follow` many, which all should be stored before any of them is under way.
        """
        spider = super().from_crawler(crawler, *args, **kwargs)
        if not spider.follow:  # what a project says counts; Scrapy puts its own defaults over a "default" once more
            crawler.settings.set("CONCURRENT_ITEMS", 4, SETTINGS_PRIORITIES["default"] + 1)
        return spider

    def __init__(self, name: str | None = None, url: str = "", **arguments: Any) -> None:
        refuse_unknown_arguments(arguments, "url", *ARGUMENTS)
        urls = url.split()
        if not urls:
            raise UsageProblem("the site spider needs a URL: scrapy crawl site -a url=https://example.org/gallery")
        for one in urls:
            if Origin.of(one) is None:
                raise UsageProblem(f"url={redact_url(one)}: not an http or https URL")
        super().__init__(name, start_urls=urls, **arguments)
