"""`scrapy crawl site -a url=URL`: any site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.settings import SETTINGS_PRIORITIES

from mediacrawl.errors import UsageProblem, shown_url
from mediacrawl.spiders.base import ARGUMENTS, MediaSpider, refuse_unknown
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


class SiteSpider(MediaSpider):
    """Arguments: `url` (several with blanks between), and `media`, `next`, `follow`, `kinds` as in the base."""

    name = "site"

    @classmethod
    def update_settings(cls, settings: BaseSettings) -> None:
        """A page gives one item; Scrapy makes that many tasks for each page, whether they have work or not."""
        # What a project says counts. Not "default": Scrapy puts its own defaults over that, once more.
        settings.set("CONCURRENT_ITEMS", 4, SETTINGS_PRIORITIES["default"] + 1)
        super().update_settings(settings)

    def __init__(self, name: str | None = None, url: str = "", **arguments: Any) -> None:
        refuse_unknown(arguments, "url", *ARGUMENTS)
        urls = url.split()
        if not urls:
            raise UsageProblem("the site spider needs a URL: scrapy crawl site -a url=https://example.org/gallery")
        for one in urls:
            if Origin.of(one) is None:
                raise UsageProblem(f"url={shown_url(one)}: not an http or https URL")
        super().__init__(name, start_urls=urls, **arguments)
