"""Counts that only the crawl of a site has: links to media that lead to pages, and paginations without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediacrawl.config import PAGES_WITHOUT_NEW_MEDIA

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXAMPLES = 10


class SiteCounts:
    """Counts of one run. Memory is bounded.

    Attributes:
        pages: links that look like those of media, and lead to an HTML page.
        paginations: paginations that were not followed any more, because they showed nothing new.
    """

    def __init__(self) -> None:
        self.pages = self.paginations = 0
        self._has_file = self._has_page_alone = False
        self._first_page = ""
        self._last_pages: list[str] = []

    def count_page(self, url: str) -> None:
        """Count a link to media that leads to a page; the URL is without credentials."""
        self.pages += 1
        self._first_page = self._first_page or url

    def note_file(self) -> None:
        """Note that a link of this kind leads to a file, or to a page that shows the file that the link names."""
        self._has_file = True

    def note_page_alone(self) -> None:
        """Note that a link of this kind leads to a page that does not show the file, or that is not read."""
        self._has_page_alone = True

    def count_ended_pagination(self, url: str, pages: int) -> None:
        """Count a pagination that was not followed beyond the page at `url`: the last `pages` showed nothing new."""
        self.paginations += 1
        if len(self._last_pages) < _EXAMPLES:
            self._last_pages.append(f"  {url}: {pages} pages in a row showed nothing new")

    @property
    def is_login_wall(self) -> bool:
        """Whether all these links lead to pages, and none of the pages shows the file that its link names.

        A run that goes on with a job may find that all pages were read before: nothing is known of them then.
        """
        return bool(self.pages) and self._has_page_alone and not self._has_file

    def lines(self, resume: str) -> Iterator[str]:
        """Yield the lines of the summary; `resume` is the command that runs the crawl again."""
        if self.is_login_wall:
            yield (
                f"links to media, none of which leads to a file: {self.pages}; an HTML page came for each, perhaps"
                f" a login page, as for {self._first_page}"
            )
        elif self.pages:
            yield f"links to media that lead to pages, which are no files: {self.pages}"
        if self.paginations:
            yield f"paginations that were not followed further: {self.paginations}"
            yield from self._last_pages
            yield f"to follow them further, perhaps without end: {resume} -s {PAGES_WITHOUT_NEW_MEDIA.name}=0"
