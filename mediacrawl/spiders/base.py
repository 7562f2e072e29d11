"""The base of spiders that collect media: start URLs and up to three XPaths."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from itemadapter import ItemAdapter
from scrapy import Request, Spider
from scrapy.http import JsonResponse, TextResponse, XmlResponse
from scrapy.settings import SETTINGS_PRIORITIES
from w3lib.url import canonicalize_url

from mediacrawl.config import PAGES_WITHOUT_NEW_MEDIA
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.crawl.items import HYPERLINKS
from mediacrawl.crawl.page_body import is_download, why_unreadable
from mediacrawl.crawl.page_encoding import text_of
from mediacrawl.crawl.page_ends import FRAME
from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.extract.frames import Frame, documents, frames_of
from mediacrawl.extract.links import Page, host_of
from mediacrawl.extract.login import asks_for_login, has_password
from mediacrawl.extract.media import KINDS, MediaLink, find_media, media_by_xpath
from mediacrawl.extract.pagination import find_next, links_by_xpath
from mediacrawl.extract.refresh import AT_ONCE_S, find_refresh
from mediacrawl.extract.xpath import BadXPath, compile_xpath
from mediacrawl.fetch.stats import Recent
from mediacrawl.headers import kind_of_path, kind_of_type
from mediacrawl.spiders.paginations import Pagination, PaginationLimit, Shown
from mediacrawl.visible import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.http import Response


_HOST = "media_host"  # keys in Request.meta: the host of a page
_LINKED = "media_linked"  # the URL of the hyperlink that led to a page
_NESTED = "media_nested"  # how deep a frame is nested
_WITH_COOKIE = "media_with_cookie"  # a page that loads itself again is asked a second time
_LONGEST_GATE_S = 30  # what loads itself again later is a page that shows something new, and not a gate
_MOST_NESTED = 3
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
        self._hosts = {host_of(url) for url in self.start_urls}
        self._linked_pages = Recent()
        self._linked_media = Recent()  # URLs that pages of hyperlinks have shown
        self._last: tuple[Response | None, Page | None, str | None] = (None, None, None)  # of `_examine`
        self._starts = {canonicalize_url(url) for url in self.start_urls}

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Create the spider, and apply user name and password of a start URL to its host.

        The credentials are sent for pages and media of that host. No log or feed shows them. A refresh after more
        than a second does not replace a page, unless the project has set `METAREFRESH_MAXDELAY`.
        """
        spider = super().from_crawler(crawler, *args, **kwargs)
        CrawlContext.of(crawler).report.pages.want(spider.kinds if set(spider.kinds) != set(KINDS) else ())
        crawler.settings.set("METAREFRESH_MAXDELAY", AT_ONCE_S + 1, SETTINGS_PRIORITIES["default"] + 1)
        login = spider._login  # noqa: SLF001 - of this class
        if login is not None:
            for name, value in zip(("USER", "PASS", "DOMAIN"), login, strict=True):
                crawler.settings.set(f"HTTPAUTH_{name}", Secret(value), "spider")
        return spider

    def parse(self, response: Response, **_: Any) -> Iterator[Any]:
        """Parse a page of the pagination: its media, its detail pages, the next page."""
        if response.meta.get("is_start_request"):
            self._hosts.add(host_of(response.url))  # a start page may be redirected to its real host
        page, shown = self._examine(response)[0], Shown()
        if page is not None and (again := self._with_cookie(response, page)) is not None:
            yield again
            return
        yield from shown.noting(self.parse_detail(response))
        if page is None:
            return
        try:
            if self.follow:
                for url in self._selected(page, self.follow, "follow"):
                    yield from shown.noting(self._request(url, self.parse_detail))
            next_url, is_refresh = self._next_url(page, _field(response, "Refresh"))
        except BadXPath as error:
            self._count_failure(response, str(error))
            return
        if next_url:
            for request in self._next_page(response, page, shown, next_url):
                yield self._refreshing(response, request) if is_refresh else request

    def parse_detail(self, response: Response, **_: Any) -> Iterator[Any]:
        """Parse a page for its media, and for nothing else."""
        page, problem = self._examine(response)
        if problem:
            self._count_failure(response, problem)
        if page is None:
            if host_of(response.url) in self._hosts and self._is_wanted_file(response):
                yield from self._read(response, [MediaLink(response.url, None)])
            return
        if (again := self._with_cookie(response, page)) is not None:
            yield again
            return
        try:
            if self.media:
                links = media_by_xpath(page, self.media, self.kinds, "media")
                frames = [frame for document in documents(page) for frame in frames_of(document, page.url)]
            else:
                links, frames = self._found(page)
        except BadXPath as error:
            self._count_failure(response, str(error))
            return
        self._note_file_shown(response, page)
        if links or not problem:
            yield from self._read(response, links)
        yield from self._nested(response, page, frames)

    def linked_page(self, url: str, item: Any) -> Request | None:
        """Return the request for the page that a hyperlink of an item leads to, instead of to a file.

        The page is read like a detail page. From there no further page of this kind is requested: each page about a
        file of a wiki links to more of them.
        """
        if str(ItemAdapter(item).get("page")) in self._linked_pages:
            return None
        if host_of(url) not in self._hosts:
            CrawlContext.of(self.crawler).report.site.note_page_alone()
        request = next(self._request(url, self.parse_detail), None)
        if request is not None:
            request.meta[_LINKED] = url
        return request

    def _with_cookie(self, response: Response, page: Page) -> Request | None:
        """Return the request for a page that loads itself again soon, with the cookie that came with it."""
        request = response.request
        if request is None or request.meta.get(_WITH_COOKIE):
            return None
        refresh = find_refresh(page, _field(response, "Refresh"), leads_back=True)
        if refresh is None or refresh.url != page.url or refresh.delay_s > _LONGEST_GATE_S:
            return None
        ends = CrawlContext.of(self.crawler).page_ends
        again = request.replace(url=response.url, dont_filter=True)
        again.meta.update(ends.way_after(request), **{_WITH_COOKIE: True})
        return again if ends.has_other_cookies(again) else None

    def _read(self, response: Response, links: list[MediaLink]) -> Iterator[Any]:
        """Count a page that was read, and yield its item if it has media."""
        CrawlContext.of(self.crawler).page_ends.count_read(response, len(links))
        if links:
            yield self._marked_item(response, links)

    def _found(self, page: Page) -> tuple[list[MediaLink], list[Frame]]:
        """Return the media and the frames of a page, also of the documents inside, each of which is parsed once."""
        links: dict[str, MediaLink] = {}
        frames: list[Frame] = []
        for document in documents(page):
            for link in find_media(document, self.kinds):
                links.setdefault(link.url, link)
            frames.extend(frames_of(document, page.url))
        return list(links.values()), frames

    def _nested(self, response: Response, page: Page, frames: list[Frame]) -> Iterator[Request]:
        """Yield requests for the frames of a page, and for the page to which a detail page goes on by itself.

        These are detail pages, and may have frames themselves. The frames of a frameset are what a visitor sees in
        its place: they are parsed as it is.
        """
        depth = response.meta.get(_NESTED, 0)
        is_detail = response.request is not None and response.request.callback == self.parse_detail
        refresh = find_refresh(page, _field(response, "Refresh")) if is_detail else None
        requests: list[Request] = []
        for url, is_of_frameset in dict(frames).items():
            callback = self.parse if is_of_frameset and not is_detail else self.parse_detail
            for request in self._request(url, callback):
                request.meta[FRAME] = not is_of_frameset
                requests.append(request)
        if refresh is not None and not is_download(refresh.url):
            requests += [self._refreshing(response, one) for one in self._request(refresh.url, self.parse_detail)]
        for request in requests:
            request.meta[_NESTED] = depth + 1
            if depth < _MOST_NESTED:
                yield request
            else:
                CrawlContext.of(self.crawler).page_ends.leave_out(request.url, f"deeper than {_MOST_NESTED} frames")

    def _count_failure(self, response: Response, reason: str) -> None:
        CrawlContext.of(self.crawler).page_ends.count_failure(response, reason)

    def item(self, response: Response, urls: list[str]) -> dict[str, Any]:
        """Return the item for the pipeline. Override this method to add fields.

        A page that declares another encoding than UTF-8 adds `page_encoding`: in it are the names of files that are
        not in UTF-8.
        """
        item = {"page": redact_url(response.url), "file_urls": urls}
        encoding = response._declared_encoding() if isinstance(response, TextResponse) else None  # noqa: SLF001
        return item if encoding in {None, "utf-8"} else item | {"page_encoding": encoding}

    def _marked_item(self, response: Response, links: list[MediaLink]) -> Any:
        """Return the item, with the hyperlinks that may lead to pages.

        On a page that shows no media itself, a hyperlink with the name of a media file has to lead to a file.
        """
        item = self.item(response, [link.url for link in links])
        if not ItemAdapter.is_item(item):
            return item
        adapter, hyperlinks = ItemAdapter(item), [link.url for link in links if link.is_hyperlink]
        # `linked_page` knows the items of linked pages by this field, which a project may have left out.
        is_told_apart = response.meta.get(_LINKED) is None or adapter.get("page") == redact_url(response.url)
        with suppress(KeyError):  # a class of a project, without the field
            adapter[HYPERLINKS] = hyperlinks if len(hyperlinks) < len(links) and is_told_apart else []
        return item

    def _note_file_shown(self, response: Response, page: Page) -> None:
        """Note whether a page that has the URL of a media file contains this file, wanted or not.

        A picture that no other page of this kind has shown counts as this file, except on the first of these pages.
        """
        linked = response.meta.get(_LINKED)
        if linked is None and kind_of_path(urlsplit(response.url).path) is None:
            return
        own = {linked, response.url}
        names = {_name(url) for url in own if url is not None}
        counts = CrawlContext.of(self.crawler).report.site
        shown = [link.url for link in find_media(page) if link.url not in own]
        is_file_shown = any(_name(url) in names for url in shown)
        if linked is not None:
            new = [url for url in shown if self._linked_media.add(url) and kind_of_path(urlsplit(url).path)]
            is_file_shown = is_file_shown or (bool(new) and self._linked_pages.has_any and not has_password(page))
            self._linked_pages.add(redact_url(response.url))
        if is_file_shown:
            counts.note_file()
        elif linked is not None:
            counts.note_page_alone()

    def _examine(self, response: Response) -> tuple[Page | None, str | None]:
        """Return the parsed page, and why the response could not be read as a page, in a few words; each may be None.

        A page on another host or a login page, after a redirect, is none.
        """
        if self._last[0] is not response:
            self._last = (response, *self._examined(response))
        return self._last[1:]

    def _examined(self, response: Response) -> tuple[Page | None, str | None]:
        wanted = response.meta.get("redirect_urls", [response.url])[0]
        # A job goes on: its start page may have been redirected to this host. Or a method of a project has made the
        # request.
        self._hosts.add(response.meta.get(_HOST) or host_of(wanted))
        if host_of(response.url) not in self._hosts:
            return None, f"redirected to {urlsplit(response.url).netloc}"
        problem = why_unreadable(response)
        # An SVG is text, but not a page.
        if not isinstance(response, TextResponse) or kind_of_type(_content_type(response)) is not None:
            return None, problem
        page = self._page_of(response)
        if wanted != response.url and asks_for_login(page, wanted):
            return None, f"a login page, to which {redact_url(wanted)} was redirected"
        return page, problem or ("only the beginning of the page could be parsed" if page.is_cut else None)

    @staticmethod
    def _page_of(response: TextResponse) -> Page:
        text, encoding = text_of(response)
        if isinstance(response, JsonResponse):
            text = ""
        is_xml = isinstance(response, XmlResponse)
        link = [value.decode("latin-1") for value in response.headers.getlist("Link")]
        return Page.from_text(text, response.url, encoding, is_xml=is_xml, link=link)

    def _next_url(self, page: Page, refresh_field: str) -> tuple[str | None, bool]:
        """Return the URL of the next page, and whether it is that of a refresh."""
        if self.next is None:
            if url := find_next(page):
                return url, False
            refresh = find_refresh(page, refresh_field)
            return (refresh.url, True) if refresh and not is_download(refresh.url) else (None, False)
        if not self.next:
            return None, False
        return next(iter(self._selected(page, self.next, "next")), None), False

    def _refreshing(self, response: Response, request: Request) -> Request:
        """Return a request that follows a refresh, and may lead back to the page with a cookie."""
        if response.request is not None:
            request.meta.update(CrawlContext.of(self.crawler).page_ends.way_after(response.request))
        return request

    def _selected(self, page: Page, expression: str, name: str) -> list[str]:
        urls = links_by_xpath(page, expression, name)
        CrawlContext.of(self.crawler).report.pages.count_matches(name, len(urls))
        return urls

    @cached_property
    def _limit(self) -> PaginationLimit:
        return PaginationLimit(PAGES_WITHOUT_NEW_MEDIA.of(self.settings))

    def _next_page(self, response: Response, page: Page, shown: Shown, next_url: str) -> Iterator[Request]:
        """Yield the request for the next page, unless the last pages have shown nothing new."""
        url = redact_url(response.url)
        pagination = self._limit.after(Pagination.of(response.meta, url), page, shown, next_url)
        for request in self._request(next_url, self.parse):
            if self._limit.is_reached(pagination):
                pages = pagination.without_new
                self.logger.warning("Not followed further: %s: %d pages in a row showed nothing new", url, pages)
                CrawlContext.of(self.crawler).report.site.count_ended_pagination(url, pages)
            else:
                request.meta.update(pagination.meta)
                yield request

    def _request(self, url: str, callback: Any) -> Iterator[Request]:
        """Yield a request for a page, unless the page is a start page or on another host.

        This ends circular links: Scrapy requests no page twice, except start pages, which it does not record as seen.
        """
        if canonicalize_url(url) in self._starts:
            return
        host = host_of(url)
        if host in self._hosts:
            yield Request(redact_url(url), callback=callback, meta={_HOST: host})
        else:
            CrawlContext.of(self.crawler).page_ends.leave_out(url, "on another host")

    def _is_wanted_file(self, response: Response) -> bool:
        kind = kind_of_type(_content_type(response)) or kind_of_path(urlsplit(response.url).path)
        return kind in self.kinds


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


def _name(url: str) -> str:
    """Return the name of the file that a URL names, as `a.jpg` for `/wiki/File:A.jpg` and `/images/a/a5/A.jpg`."""
    return re.split("[/:]", unquote(urlsplit(url).path))[-1].casefold()


def _content_type(response: Response) -> str:
    return _field(response, "Content-Type")


def _field(response: Response, name: str) -> str:
    return (response.headers.get(name) or b"").decode("latin-1")
