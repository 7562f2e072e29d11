"""`scrapy crawl site -a url=URL`: a spider for any site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.settings import SETTINGS_PRIORITIES

from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.spiders.base import ARGUMENTS, MediaSpider, refuse_unknown_arguments
from mediacrawl.urls import HTTP_SCHEMES, Origin

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler


class SiteSpider(MediaSpider):
    """Arguments: `url` (several separated by blanks), and `media`, `next`, `follow`, `kinds` as in the base class."""

    name = "site"

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Create the spider, and lower `CONCURRENT_ITEMS` unless `follow` is used.

        Scrapy creates a hundred tasks for each page, whether they have work or not. A page yields one item and one
        request. With `follow` a page yields many requests, and all should be stored before the first is sent.
        """
        spider = super().from_crawler(crawler, *args, **kwargs)
        if not spider.follow:  # a project's value takes precedence; Scrapy overwrites priority "default" again
            crawler.settings.set("CONCURRENT_ITEMS", 4, SETTINGS_PRIORITIES["default"] + 1)
        return spider

    def __init__(self, name: str | None = None, url: str = "", **arguments: Any) -> None:
        refuse_unknown_arguments(arguments, "url", *ARGUMENTS)
        urls = url.split()
        if not urls:
            raise UsageProblem("the site spider needs a URL: scrapy crawl site -a url=https://example.org/gallery")
        for one in urls:
            if (origin := Origin.of(one)) is None or origin.scheme not in HTTP_SCHEMES:
                raise UsageProblem(f"url={redact_url(one)}: not an http or https URL")
        super().__init__(name, start_urls=urls, **arguments)
