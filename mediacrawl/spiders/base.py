"""The base of spiders that collect media: start URLs and up to three XPaths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from scrapy import Request, Spider
from scrapy.http import JsonResponse, TextResponse, XmlResponse
from w3lib.url import canonicalize_url

from mediacrawl.crawl.page_encoding import text_of
from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.extract.links import Page
from mediacrawl.extract.media import KINDS, find_media, media_by_xpath
from mediacrawl.extract.pagination import find_next, links_by_xpath
from mediacrawl.extract.xpath import BadXPath, compile_xpath
from mediacrawl.headers import kind_of_path, kind_of_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.http import Response


ARGUMENTS = ("media", "next", "follow", "kinds")


class MediaSpider(Spider):
    """Follows the pagination, and yields an item for each page: `{"page": URL, "file_urls": [URL, …]}`.

    Attributes:
        start_urls: the URLs at which the crawl begins.
        media: XPath of media links (elements, attributes or text); None finds media links automatically.
        next: XPath of the link to the next page; None finds the link automatically, "" follows no link.
        follow: XPath of links to detail pages, from which media are taken too; None or "" for no detail pages.
        kinds: the kinds of media to take, applied where the kind is known.
        media_offsite: media on other hosts are taken, also where `allowed_domains` is set; pages are not.

    Each XPath and `kinds` (separated by commas) can be given as a spider argument.
    """

    media: str | None = None
    next: str | None = None
    follow: str | None = None
    kinds: tuple[str, ...] | str = KINDS
    media_offsite = True

    def __init__(self, name: str | None = None, **arguments: Any) -> None:
        """Check all arguments before any request.

        Raises:
            UsageProblem: a wrong XPath or kind, or start URLs with different credentials; one line.
        """
        super().__init__(name, **arguments)
        for argument in ("media", "next", "follow"):
            if expression := getattr(self, argument):
                compile_xpath(argument, expression)
        self.kinds = _kinds(self.kinds)
        self._login = _login(self.start_urls)
        self.start_urls = [redact_url(url) for url in self.start_urls]
        self._hosts = {_host(url) for url in self.start_urls}
        self._starts = {canonicalize_url(url) for url in self.start_urls}

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Create the spider, and apply user name and password of a start URL to its host.

        The credentials are sent for pages and media of that host. No log or feed shows them.
        """
        spider = super().from_crawler(crawler, *args, **kwargs)
        login = spider._login  # noqa: SLF001 - of this class
        if login is not None:
            for name, value in zip(("USER", "PASS", "DOMAIN"), login, strict=True):
                crawler.settings.set(f"HTTPAUTH_{name}", _Secret(value), "spider")
        return spider

    def parse(self, response: Response, **_: Any) -> Iterator[Any]:
        """Parse a page of the pagination: its media, its detail pages, the next page."""
        if response.meta.get("is_start_request"):
            self._hosts.add(_host(response.url))  # a start page may be redirected to its real host
        yield from self.parse_detail(response)
        page = self._page(response)
        if page is None:
            return
        try:
            if self.follow:
                for url in links_by_xpath(page, self.follow, "follow"):
                    yield from self._request(url, self.parse_detail)
            next_url = self._next_url(page)
        except BadXPath as error:
            self.logger.error("%s: %s", redact_url(response.url), error)
            return
        if next_url:
            yield from self._request(next_url, self.parse)

    def parse_detail(self, response: Response, **_: Any) -> Iterator[Any]:
        """Parse a page for its media, and for nothing else."""
        page = self._page(response)
        if page is None:
            if _host(response.url) in self._hosts and self._is_wanted_file(response):
                yield self.item(response, [response.url])
            return
        try:
            if self.media:
                links = media_by_xpath(page, self.media, self.kinds, "media")
            else:
                links = find_media(page, self.kinds)
        except BadXPath as error:
            self.logger.error("%s: %s", redact_url(response.url), error)
            return
        if links:
            yield self.item(response, [link.url for link in links])

    def item(self, response: Response, urls: list[str]) -> dict[str, Any]:
        """Return the item for the pipeline. Override this method to add fields.

        A page that declares another encoding than UTF-8 adds `page_encoding`: in it are the names of files that are
        not in UTF-8.
        """
        item = {"page": redact_url(response.url), "file_urls": urls}
        encoding = response._declared_encoding() if isinstance(response, TextResponse) else None  # noqa: SLF001
        return item if encoding in {None, "utf-8"} else item | {"page_encoding": encoding}

    def _page(self, response: Response) -> Page | None:
        """Return the parsed page; None if the response is no page, or is from another host after a redirect."""
        if not isinstance(response, TextResponse) or _host(response.url) not in self._hosts:
            return None
        if kind_of_type(_content_type(response)) is not None:  # an SVG is text, but not a page
            return None
        text, encoding = text_of(response)
        if isinstance(response, JsonResponse):
            text = ""
        is_xml = isinstance(response, XmlResponse)
        link = [value.decode("latin-1") for value in response.headers.getlist("Link")]
        return Page.from_text(text, response.url, encoding, is_xml=is_xml, link=link)

    def _next_url(self, page: Page) -> str | None:
        if self.next is None:
            return find_next(page)
        if not self.next:
            return None
        return next(iter(links_by_xpath(page, self.next, "next")), None)

    def _request(self, url: str, callback: Any) -> Iterator[Request]:
        """Yield a request for a page, unless the page is a start page or on another host.

        This ends circular links: Scrapy requests no page twice, except start pages, which it does not record as seen.
        """
        if canonicalize_url(url) in self._starts:
            return
        if _host(url) in self._hosts:
            yield Request(redact_url(url), callback=callback)
        else:
            self.logger.info("Not followed, it is on another host: %s", redact_url(url))

    def _is_wanted_file(self, response: Response) -> bool:
        kind = kind_of_type(_content_type(response)) or kind_of_path(urlsplit(response.url).path)
        return kind in self.kinds


class _Secret(str):
    """A setting value that is masked in Scrapy's log of all settings."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _kinds(value: tuple[str, ...] | str) -> tuple[str, ...]:
    kinds = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(value)
    if unknown := set(kinds) - set(KINDS):
        raise UsageProblem(f"kinds={','.join(sorted(unknown))}: choose from {','.join(KINDS)}")
    return kinds


def refuse_unknown_arguments(arguments: Iterable[str], *known: str) -> None:
    """Raise `UsageProblem` for an unknown spider argument.

    Scrapy accepts any argument, and a misspelt argument must not start a crawl other than the intended one.
    """
    if unknown := sorted(set(arguments) - set(known)):
        raise UsageProblem(f"unknown argument {', '.join(unknown)}: choose from {', '.join(known) or 'none'}")


def _login(urls: Iterable[str]) -> tuple[str, str, str] | None:
    """Return user name, password and the only host that gets them, as `host:port` if the URL has a port.

    Raises:
        UsageProblem: the URLs have different credentials.
    """
    found = {_login_of(url) for url in urls} - {None}
    if len(found) > 1:
        raise UsageProblem("start URLs with different user names or passwords: crawl them one by one")
    return next(iter(found), None)


def _login_of(url: str) -> tuple[str, str, str] | None:
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    return (unquote(user), unquote(password), host) if at else None


def _content_type(response: Response) -> str:
    return (response.headers.get("Content-Type") or b"").decode("latin-1")


def _host(url: str) -> str:
    """Return the host of a URL without `www.`, which does not make another host."""
    return (urlsplit(url).hostname or "").removeprefix("www.")
