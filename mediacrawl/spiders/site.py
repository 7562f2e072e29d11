"""`scrapy crawl site -a url=URL`: any site."""

from __future__ import annotations

from typing import Any

from mediacrawl.errors import UsageProblem, shown_url
from mediacrawl.spiders.base import ARGUMENTS, MediaSpider, refuse_unknown
from mediacrawl.urls import Origin


class SiteSpider(MediaSpider):
    """Arguments: `url` (several with blanks between), and `media`, `next`, `follow`, `kinds` as in the base."""

    name = "site"
    # A page gives one item; Scrapy makes as many tasks for each page, whether there is something to do or not.
    custom_settings = {"CONCURRENT_ITEMS": 4}  # noqa: RUF012 - as Scrapy declares it

    def __init__(self, name: str | None = None, url: str = "", **arguments: Any) -> None:
        refuse_unknown(arguments, "url", *ARGUMENTS)
        urls = url.split()
        if not urls:
            raise UsageProblem("the site spider needs a URL: scrapy crawl site -a url=https://example.org/gallery")
        for one in urls:
            if Origin.of(one) is None:
                raise UsageProblem(f"url={shown_url(one)}: not an http or https URL")
        super().__init__(name, start_urls=urls, **arguments)
