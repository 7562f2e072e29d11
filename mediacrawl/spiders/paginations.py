"""The end of a pagination whose pages have other addresses, and nothing new: the last page again, a calendar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from itemadapter import ItemAdapter
from scrapy import Request

from mediacrawl.crawl.items import HYPERLINKS
from mediacrawl.extract.page_digest import digest_of
from mediacrawl.fetch.stats import Recent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mediacrawl.crawl.page_contents import PageContents

SAME_IN_A_ROW = 5
"""Pages in a row with the same content, after which a pagination ends. Nothing but their address differs."""

_FEW = 5  # short texts in which pages with the same content may differ: the name of a month, "page 7 of 60"
_META = "media_pagination"  # the key in Request.meta
_RECENT = 20  # pages
# A query that is new in each response, so that a cache does not answer: `a.jpg?t=1733000000`.
_UNIQUE_QUERY = re.compile(
    r"(\.[a-z0-9]{2,4})\?(?:(?:_|ts?|time|timestamp|r|rnd|rand|random|cb|nocache|cachebuster|v)=)?[0-9a-f.]+$",
    re.IGNORECASE,
)
_REMEMBERED = 50_000  # URLs of media and detail pages; limits memory


class Pagination(NamedTuple):
    """The state of one pagination. It is kept in the meta of the request for the next page, also in a JOBDIR.

    Attributes:
        start: URL of the first page.
        without_new: pages in a row that have shown nothing new.
        same: how many of these, the last ones, had the same content.
        content: the digest of this content, see `page_digest`; None if the last page has shown something new.
        recent: digests of the media and detail pages that each of the last pages has shown.
        texts: the checksums of the short texts of the last page, see `short_texts`.
    """

    start: str
    without_new: int = 0
    same: int = 0
    content: int | None = None
    recent: tuple[int, ...] = ()
    texts: tuple[int, ...] = ()

    @classmethod
    def of(cls, meta: Mapping[str, Any], url: str) -> Pagination:
        """Return the state that belongs to a response; a new one for the first page, which has this URL."""
        return cls(*meta.get(_META, (url,)))

    @property
    def meta(self) -> dict[str, Any]:
        """The state as meta of a request."""
        return {_META: tuple(self)}


class Shown:
    """The media and the detail pages of one page, by what a spider yields for it.

    Attributes:
        urls: the URLs of requests, and those in the lists of items, as many as are remembered.
        is_known: False if an item contains no list, so that its media are not known.
    """

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.is_known = True

    def noting(self, yielded: Iterable[Any]) -> Iterator[Any]:
        """Yield the same requests and items, and note their URLs."""
        for one in yielded:
            if isinstance(one, Request):
                self._note([one.url])
            elif ItemAdapter.is_item(one):
                fields = ItemAdapter(one).items()
                lists = [value for name, value in fields if isinstance(value, list) and name != HYPERLINKS]
                for urls in lists:
                    self._note(urls)
                self.is_known = self.is_known and bool(lists)
            yield one

    def _note(self, urls: list[Any]) -> None:
        self.urls += [url for url in urls[: _REMEMBERED - len(self.urls)] if isinstance(url, str)]


class PaginationLimit:
    """Decides whether the next page of a pagination is followed.

    "New" is what the same pagination has not shown before in this run. What an earlier run has fetched counts as new:
    a crawl that is repeated each night goes through all pages. A run that goes on with a job does not know the URLs
    of the run before, but the digests of the last pages, so that interruptions cannot make a pagination endless.

    Args:
        most: pages in a row without anything new, after which a pagination ends; 0: it never ends.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen = Recent(_REMEMBERED)

    def after(self, before: Pagination, page: PageContents, shown: Shown) -> Pagination:
        """Return the state of a pagination after one more page."""
        urls = [_UNIQUE_QUERY.sub(r"\1", url) for url in shown.urls]
        number_new = sum(self._seen.add(f"{before.start} {url}") for url in urls)
        digest = digest_of(urls)
        after = Pagination(before.start, recent=(*before.recent, digest)[-_RECENT:])
        if not shown.is_known or (number_new and digest not in before.recent):
            return after
        content, texts = digest_of([str(page.digest), *urls]), page.short_texts
        is_same = content == before.content and len(set(texts).difference(before.texts)) <= _FEW
        same = before.same + 1 if is_same else 1
        return after._replace(without_new=before.without_new + 1, same=same, content=content, texts=texts)

    def is_reached(self, pagination: Pagination) -> bool:
        """Return whether the pagination ends here."""
        if not self._most:
            return False
        return pagination.without_new >= self._most or pagination.same >= min(SAME_IN_A_ROW, self._most)
