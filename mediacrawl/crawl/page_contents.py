"""What a spider takes from a page: computed here, or in another process if that may take long.

The time for a page depends on its author and on the XPaths of the user. A page that is read on the event loop stops
all other work meanwhile, also Ctrl-C. `may_take_long` decides which pages have to be read in another process, see
`page_reader.py`.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from scrapy import Request
from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse

from mediacrawl.crawl.page_body import is_download, why_unreadable
from mediacrawl.crawl.page_encoding import text_of
from mediacrawl.extract.frames import Frame, documents, frames_of
from mediacrawl.extract.links import Page, host_of
from mediacrawl.extract.login import asks_for_login
from mediacrawl.extract.login import has_password as page_has_password
from mediacrawl.extract.media import MediaLink, find_media, media_by_xpath
from mediacrawl.extract.page_digest import page_digest, short_texts
from mediacrawl.extract.pagination import find_next, links_by_xpath
from mediacrawl.extract.refresh import Refresh, find_refresh
from mediacrawl.extract.xpath import BadXPath
from mediacrawl.headers import kind_of_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

# Bytes up to which a page is read on the event loop. No page of this size, of some fifty kinds that were tried, takes
# more than a second: the slowest, of thousands of `<li class=next>` or `<image>`, take 0.7 s.
_MOST_AT_ONCE = 128 * 1024
# The same where an XPath has several `//`: libxml2 joins their results in a time that grows with the square.
_MOST_WITH_STEPS = 16 * 1024
_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")
_AXIS = re.compile(r"(?<![\w-])(?!(?:self|child|attribute|parent)\s*::)[\w-]+\s*::")
_IN_PREDICATE = re.compile(r"\[[^\[\]]*(?:/|\.\.|\[)")


class WantedContents(NamedTuple):
    """What a spider wants to know of a page.

    Attributes:
        kinds: the kinds of media.
        hosts: the hosts of detail pages, see `host_of`.
        media, next, follow: XPaths of the user, see `MediaSpider`.
        is_detail: the page is read for its media only.
        with_all_shown: the media of all kinds are wanted as well.
    """

    kinds: tuple[str, ...]
    hosts: frozenset[str]
    media: str | None = None
    next: str | None = None
    follow: str | None = None
    is_detail: bool = False
    with_all_shown: bool = True

    @property
    def most_at_once(self) -> int:
        """The size in bytes of a page that can be read for this at once, whatever it contains."""
        return min(
            (_most_for(xpath) for xpath in (self.media, self.next, self.follow) if xpath), default=_MOST_AT_ONCE
        )


def _most_for(expression: str) -> int:
    """Return the size in bytes of a page on which an XPath takes less than about a second."""
    has_paths_of_nodes, has_several_steps = _costs_of(expression)
    if has_paths_of_nodes:
        return 0
    return _MOST_WITH_STEPS if has_several_steps else _MOST_AT_ONCE


@lru_cache
def _costs_of(expression: str) -> tuple[bool, bool]:
    """Return whether an XPath follows a path from each node (squares, cubes, …), and whether it has several `//`."""
    bare = _LITERAL.sub("''", expression)
    return bool(_AXIS.search(bare) or _IN_PREDICATE.search(bare)), bare.count("//") > 1


class Failed(NamedTuple):
    """An XPath of the user that fails on this page, and the reason in a line."""

    reason: str


class Found(NamedTuple):
    """The media and the frames of a page, also of the documents inside it."""

    links: list[MediaLink]
    frames: list[Frame]


class Followed(NamedTuple):
    """The URLs of detail pages, and of those on other hosts."""

    urls: list[str]
    elsewhere: list[str]


class Following(NamedTuple):
    """The URL of the next page; `is_refresh` says that a refresh leads there."""

    url: str
    is_refresh: bool = False


def wanted_url_of(request: Request | None, response: Response) -> str:
    """Return the URL that a spider has requested, which may have been redirected to this request."""
    urls: list[str] = request.meta.get("redirect_urls", []) if request is not None else []
    return urls[0] if urls else response.url


class PageContents:
    """The contents of one page. Each value is computed when it is first used, or by `values` in another process."""

    def __init__(self, response: Response, wanted: WantedContents) -> None:
        self._response = response
        self._wanted = wanted

    @classmethod
    def given_up(cls, reason: str) -> PageContents:
        """Return the contents of a page that cannot be read, for a reason in a few words."""
        return cls.of_values({"is_page": False, "problem": reason})

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> PageContents:
        """Return the contents that another process has computed, see `values`."""
        contents = cls.__new__(cls)
        contents.__dict__.update(values)
        return contents

    def values(self) -> dict[str, Any]:
        """Compute all values that are wanted, and return them by name."""
        names = ["is_page", "problem"]
        if self.is_page:
            names += ["is_login", "found", "refresh", "refresh_or_again"]
            names += ["all_shown", "has_password"] if self._wanted.with_all_shown else []
            names += [] if self._wanted.is_detail else ["followed", "next", "digest", "short_texts"]
        return {name: getattr(self, name) for name in names}

    @cached_property
    def is_page(self) -> bool:
        """Whether there is a page, and not a file or an empty response."""
        # An SVG is text, but not a page.
        content_type = _field(self._response, "Content-Type")
        return isinstance(self._response, TextResponse) and kind_of_type(content_type) is None

    @cached_property
    def problem(self) -> str | None:
        """Why the response has no page, or not all of it, in a few words."""
        problem = why_unreadable(self._response, self._has_contents)
        if problem or not self.is_page:
            return problem
        return "only the beginning of the page could be parsed" if self._page.is_cut else None

    @cached_property
    def is_login(self) -> bool:
        """Whether the URL that was wanted has been redirected to a page that asks for a login."""
        wanted = wanted_url_of(self._response.request, self._response)
        return wanted != self._response.url and asks_for_login(self._page, wanted)

    @cached_property
    def found(self) -> Found | Failed:
        """The media that are wanted, each once, and the frames."""
        links: dict[str, MediaLink] = {}
        frames: list[Frame] = []
        for document in documents(self._page):
            for link in () if self._wanted.media else find_media(document, self._wanted.kinds):
                links.setdefault(link.url, link)
            frames.extend(frames_of(document, self._page.url))
        if not self._wanted.media:
            return Found(list(links.values()), frames)
        selected = self._selected(media_by_xpath, self._wanted.media, self._wanted.kinds, "media")
        return selected if isinstance(selected, Failed) else Found(selected, frames)

    @cached_property
    def all_shown(self) -> list[MediaLink]:
        """The media of all kinds."""
        return find_media(self._page)

    @cached_property
    def has_password(self) -> bool:
        """Whether the page has a field for a password."""
        return page_has_password(self._page)

    @cached_property
    def followed(self) -> Followed | Failed:
        """The detail pages."""
        if not self._wanted.follow:
            return Followed([], [])
        urls = self._selected(links_by_xpath, self._wanted.follow, "follow")
        if isinstance(urls, Failed):
            return urls
        elsewhere = [url for url in urls if host_of(url) not in self._wanted.hosts]
        if elsewhere:
            others = set(elsewhere)
            urls = [url for url in urls if url not in others]
        return Followed(urls, elsewhere)

    @cached_property
    def next(self) -> Following | Failed | None:
        """The next page."""
        if self._wanted.next is None:
            if url := find_next(self._page):
                return Following(url)
            refresh = self.refresh
            return Following(refresh.url, True) if refresh and not is_download(refresh.url) else None
        if not self._wanted.next:
            return None
        urls = self._selected(links_by_xpath, self._wanted.next, "next")
        return urls if isinstance(urls, Failed) else next(map(Following, urls), None)

    @cached_property
    def refresh(self) -> Refresh | None:
        """The refresh that leads to another page."""
        return find_refresh(self._page, _field(self._response, "Refresh"))

    @cached_property
    def refresh_or_again(self) -> tuple[int, bool] | None:
        """The delay in seconds of the refresh, and whether the page loads itself again with it."""
        refresh = find_refresh(self._page, _field(self._response, "Refresh"), leads_back=True)
        return None if refresh is None else (refresh.delay_s, refresh.url == self._page.url)

    @cached_property
    def digest(self) -> int:
        """The digest of texts and links, without the link to the next page; see `page_digest`."""
        return page_digest(self._page, (), self.next.url if isinstance(self.next, Following) else None)

    @cached_property
    def short_texts(self) -> tuple[int, ...]:
        """The checksums of the short texts; see `page_digest`."""
        return short_texts(self._page)

    def _has_contents(self) -> bool:
        """Return whether there is anything to take from the page: a link, media or a frame."""
        if self._page.root.xpath("boolean(//a[@href])"):
            return True
        found = self.found
        return isinstance(found, Failed) or bool(found.links or found.frames)

    @cached_property
    def _page(self) -> Page:
        assert isinstance(self._response, TextResponse)
        text, encoding = text_of(self._response)
        if isinstance(self._response, JsonResponse):
            text = ""
        is_xml = isinstance(self._response, XmlResponse)
        link = [value.decode("latin-1") for value in self._response.headers.getlist("Link")]
        return Page.from_text(text, self._response.url, encoding, is_xml=is_xml, link=link)

    def _selected(self, select: Callable[..., T], *arguments: Any) -> T | Failed:
        try:
            return select(self._page, *arguments)
        except BadXPath as error:
            return Failed(str(error))


class PageQuestion(NamedTuple):
    """A response, and what is wanted from it, as values that can be sent to another process."""

    kind: str
    url: str
    wanted_url: str
    headers: dict[bytes, list[bytes]]
    body: bytes
    flags: list[str]
    encoding: str | None
    wanted: WantedContents

    @classmethod
    def about(cls, request: Request, response: TextResponse, wanted: WantedContents) -> PageQuestion:
        """Return the question about a response."""
        kind = next(name for name, one in _KINDS.items() if isinstance(response, one))
        return cls(
            kind,
            response.url,
            wanted_url_of(request, response),
            dict(response.headers),
            response.body,
            list(response.flags),
            response._encoding,  # noqa: SLF001 - `encoding` would decode the body
            wanted,
        )

    def answer(self) -> dict[str, Any] | None:
        """Return the values of the contents; None if an XPath has a function that only the asking process has."""
        request = Request(self.url, meta={"redirect_urls": [self.wanted_url]})
        response = _KINDS[self.kind](
            self.url,
            headers=self.headers,
            body=self.body,
            flags=self.flags,
            encoding=self.encoding,
            request=request,
        )
        values = PageContents(response, self.wanted).values()
        failed = [value.reason for value in values.values() if isinstance(value, Failed)]
        return None if any("Unregistered function" in reason for reason in failed) else values


# By name: the first that fits counts.
_KINDS: dict[str, type[TextResponse]] = {
    "json": JsonResponse,
    "xml": XmlResponse,
    "html": HtmlResponse,
    "text": TextResponse,
}


def _field(response: Response, name: str) -> str:
    return (response.headers.get(name) or b"").decode("latin-1")
