"""The same work as `mediacrawl crawl urllist` and `mediacrawl crawl site`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy import Request, Spider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from scrapy.http import Response


class ListSpider(Spider):
    """Argument: `file`, one URL a line."""

    name = "list"
    file: str

    async def start(self) -> AsyncIterator[Any]:
        """The list as a page: a spider whose start yields nothing but items ends up to five seconds late."""
        yield Request(Path(self.file).as_uri())

    def parse(self, response: Response, **_: Any) -> Iterator[Any]:
        """One item for each file."""
        for line in response.text.splitlines():
            yield {"file_urls": [line]}


class GallerySpider(Spider):
    """Argument: `url`, the first page."""

    name = "gallery"
    url: str

    async def start(self) -> AsyncIterator[Any]:
        yield Request(self.url)

    def parse(self, response: Response, **_: Any) -> Iterator[Any]:
        """The next page first, so that it is under way while the images are."""
        for link in response.xpath('//a[@rel="next"]/@href').getall():
            yield response.follow(link)
        yield {"file_urls": [response.urljoin(link) for link in response.xpath("//figure//img/@src").getall()]}
