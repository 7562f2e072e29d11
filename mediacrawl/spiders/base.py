"""The base of spiders that collect media: start URLs and up to three XPaths."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cached_property
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from itemadapter import ItemAdapter
from scrapy import Request, Spider
from scrapy.http import TextResponse
from scrapy.settings import SETTINGS_PRIORITIES
from w3lib.url import canonicalize_url

from mediacrawl.config import PAGES_WITHOUT_NEW_MEDIA
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.crawl.items import HYPERLINKS
from mediacrawl.crawl.page_body import is_download
from mediacrawl.crawl.page_contents import Failed, Followed, PageContents, WantedContents, wanted_url_of
from mediacrawl.crawl.page_ends import FRAME
from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.extract.links import host_of
from mediacrawl.extract.media import KINDS, MediaLink
from mediacrawl.extract.refresh import AT_ONCE_S
from mediacrawl.extract.xpath import compile_xpath
from mediacrawl.fetch.stats import Recent
from mediacrawl.headers import kind_of_path, kind_of_type
from mediacrawl.spiders.paginations import Pagination, PaginationLimit, Shown
from mediacrawl.visible import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from mediacrawl.extract.frames import Frame

_HOST = "media_host"  # keys in Request.meta: the host of a page
_LINKED = "media_linked"  # the URL of the hyperlink that led to a page
_NESTED = "media_nested"  # how deep a frame is nested
_WITH_COOKIE = "media_with_cookie"  # a page that loads itself again is asked a second time
_LONGEST_GATE_S = 30  # what loads itself again later is a page that shows something new, and not a gate
_MOST_NESTED = 3
_ELSEWHERE = "on another host"
_NO_META: Mapping[str, Any] = MappingProxyType({})
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
        self._last: tuple[Response | None, PageContents | None, str | None] = (None, None, None)  # of `_examine`
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
        # Not a generator function, nor is `parse_detail`: for each page, Scrapy (2.19) parses the source of those.
        return self._results_of_page(response)

    def _results_of_page(self, response: Response) -> Iterator[Any]:
        if response.meta.get("is_start_request"):
            self._hosts.add(host_of(response.url))  # a start page may be redirected to its real host
        page, shown = self._examine(response)[0], Shown()
        if page is not None and (again := self._with_cookie(response, page)) is not None:
            yield again
            return
        yield from shown.noting(self.parse_detail(response))
        if page is None:
            return
        if isinstance(page.followed, Failed):
            self._count_failure(response, page.followed.reason)
            return
        yield from shown.noting(self._followed(page.followed))
        following = page.next
        if isinstance(following, Failed):
            self._count_failure(response, following.reason)
            return
        if self.next:
            self._count_matches("next", int(following is not None))
        if following is not None:
            for request in self._next_page(response, page, shown, following.url):
                yield self._refreshing(response, request) if following.is_refresh else request

    def parse_detail(self, response: Response, **_: Any) -> Iterator[Any]:
        """Parse a page for its media, and for nothing else."""
        return self._results_of_detail_page(response)

    def _results_of_detail_page(self, response: Response) -> Iterator[Any]:
        page, problem = self._examine(response)
        if problem:
            self._count_failure(response, problem)
        if page is None:
            if not problem and self._is_wanted_file(response):
                CrawlContext.of(self.crawler).page_ends.count_read(response, 1)
                yield self._marked_item(response, [MediaLink(response.url, None)])
            return
        if (again := self._with_cookie(response, page)) is not None:
            yield again
            return
        found = page.found
        if isinstance(found, Failed):
            self._count_failure(response, found.reason)
            return
        self._note_file_shown(response, page)
        if not problem:
            CrawlContext.of(self.crawler).page_ends.count_read(response, len(found.links))
        elif found.links:
            CrawlContext.of(self.crawler).page_ends.count_read_in_part(response, len(found.links))
        if found.links:
            yield self._marked_item(response, found.links)
        yield from self._nested(response, page, found.frames)

    def wanted_of(self, request: Request, response: Response) -> WantedContents:
        """Return what is wanted of a page. A page that takes long is read before it is parsed, see `PageReader`."""
        hosts = self._hosts | {self._wanted_host(request, response)} if self.follow else set()
        if hosts and request.meta.get("is_start_request"):
            hosts.add(host_of(response.url))
        return WantedContents(
            tuple(self.kinds),
            frozenset(hosts),
            self.media or None,
            self.next,
            self.follow or None,
            is_detail=getattr(request.callback, "__func__", None) is MediaSpider.parse_detail,
            with_all_shown=self._may_be_about_a_file(request, response.url),
        )

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

    def _with_cookie(self, response: Response, page: PageContents) -> Request | None:
        """Return the request for a page that loads itself again soon, with the cookie that came with it."""
        request = response.request
        if request is None or request.meta.get(_WITH_COOKIE):
            return None
        delay_s, is_again = page.refresh_or_again or (0, False)
        if not is_again or delay_s > _LONGEST_GATE_S:
            return None
        ends = CrawlContext.of(self.crawler).page_ends
        again = request.replace(url=response.url, dont_filter=True)
        again.meta.update(ends.way_after(request), **{_WITH_COOKIE: True})
        return again if ends.has_other_cookies(again) else None

    def _nested(self, response: Response, page: PageContents, frames: list[Frame]) -> Iterator[Request]:
        """Yield requests for the frames of a page, and for the page to which a detail page goes on by itself.

        These are detail pages, and may have frames themselves. The frames of a frameset are what a visitor sees in
        its place: they are parsed as it is.
        """
        depth = response.meta.get(_NESTED, 0)
        is_detail = response.request is not None and response.request.callback == self.parse_detail
        refresh = page.refresh if is_detail else None
        is_of_framesets = dict(frames)
        if depth >= _MOST_NESTED:
            further = [*is_of_framesets, *([refresh.url] if refresh is not None else [])]
            own = [url for url in further if host_of(url) in self._hosts and not is_download(url)]
            ends = CrawlContext.of(self.crawler).page_ends
            ends.leave_out_all(own, f"deeper than {_MOST_NESTED} frames")
            return
        for url in self._until_stop(is_of_framesets):
            is_of_frameset = is_of_framesets[url]
            callback = self.parse if is_of_frameset and not is_detail else self.parse_detail
            yield from self._request(url, callback, {FRAME: not is_of_frameset, _NESTED: depth + 1})
        if refresh is not None and not is_download(refresh.url):
            for request in self._request(refresh.url, self.parse_detail, {_NESTED: depth + 1}):
                yield self._refreshing(response, request)

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

    @staticmethod
    def _wanted_host(request: Request | None, response: Response) -> str:
        """Return the host of the page that was requested: its pages are read from now on.

        A job goes on: its start page may have been redirected to this host. Or a method of a project has made the
        request.
        """
        host = request.meta.get(_HOST) if request is not None else None
        return str(host or host_of(wanted_url_of(request, response)))

    @staticmethod
    def _may_be_about_a_file(request: Request | None, url: str) -> bool:
        """Return whether a page may be about a single media file, by its URL."""
        is_linked = request is not None and request.meta.get(_LINKED) is not None
        return is_linked or kind_of_path(urlsplit(url).path) is not None

    def _note_file_shown(self, response: Response, page: PageContents) -> None:
        """Note whether a page that has the URL of a media file contains this file, wanted or not.

        A picture that no other page of this kind has shown counts as this file, except on the first of these pages.
        """
        linked = response.meta.get(_LINKED)
        if not self._may_be_about_a_file(response.request, response.url):
            return
        own = {linked, response.url}
        names = {_name(url) for url in own if url is not None}
        counts = CrawlContext.of(self.crawler).report.site
        shown = [link.url for link in page.all_shown if link.url not in own]
        is_file_shown = any(_name(url) in names for url in shown)
        if linked is not None:
            new = [url for url in shown if self._linked_media.add(url) and kind_of_path(urlsplit(url).path)]
            is_file_shown = is_file_shown or (bool(new) and self._linked_pages.has_any and not page.has_password)
            self._linked_pages.add(redact_url(response.url))
        if is_file_shown:
            counts.note_file()
        elif linked is not None:
            counts.note_page_alone()

    def _examine(self, response: Response) -> tuple[PageContents | None, str | None]:
        """Return the contents of a page, and why it could not be read, in a few words; each may be None.

        A page on another host or a login page, after a redirect, is none.
        """
        if self._last[0] is not response:
            self._last = (response, *self._examined(response))
        return self._last[1:]

    def _examined(self, response: Response) -> tuple[PageContents | None, str | None]:
        self._hosts.add(self._wanted_host(response.request, response))
        if host_of(response.url) not in self._hosts:
            return None, f"redirected to {urlsplit(response.url).netloc}"
        page = CrawlContext.of(self.crawler).contents.get(response)
        if page is None:
            page = PageContents(response, self.wanted_of(response.request or Request(response.url), response))
        if not page.is_page:
            return None, page.problem
        if page.is_login:
            wanted = redact_url(wanted_url_of(response.request, response))
            return None, f"a login page, to which {wanted} was redirected"
        return page, page.problem

    def _refreshing(self, response: Response, request: Request) -> Request:
        """Return a request that follows a refresh, and may lead back to the page with a cookie."""
        if response.request is not None:
            request.meta.update(CrawlContext.of(self.crawler).page_ends.way_after(response.request))
        return request

    def _followed(self, pages: Followed) -> Iterator[Request]:
        """Yield the requests for detail pages, until the crawl stops: then the page is read again by the next run."""
        if self.follow:
            self._count_matches("follow", len(pages.urls) + len(pages.elsewhere))
        CrawlContext.of(self.crawler).page_ends.leave_out_all(pages.elsewhere, _ELSEWHERE)
        for url in self._until_stop(pages.urls):
            yield from self._request(url, self.parse_detail)

    def _until_stop(self, urls: Iterable[str]) -> Iterator[str]:
        context = CrawlContext.of(self.crawler)
        return takewhile(lambda _: not context.stopping, urls)

    def _count_matches(self, argument: str, links: int) -> None:
        CrawlContext.of(self.crawler).report.pages.count_matches(argument, links)

    @cached_property
    def _limit(self) -> PaginationLimit:
        return PaginationLimit(PAGES_WITHOUT_NEW_MEDIA.of(self.settings))

    def _next_page(self, response: Response, page: PageContents, shown: Shown, next_url: str) -> Iterator[Request]:
        """Yield the request for the next page, unless the last pages have shown nothing new."""
        url = redact_url(response.url)
        pagination = self._limit.after(Pagination.of(response.meta, url), page, shown)
        for request in self._request(next_url, self.parse):
            if self._limit.is_reached(pagination):
                pages = pagination.without_new
                self.logger.warning("Not followed further: %s: %d pages in a row showed nothing new", url, pages)
                CrawlContext.of(self.crawler).report.site.count_ended_pagination(url, pages)
            else:
                request.meta.update(pagination.meta)
                yield request

    def _request(self, url: str, callback: Any, meta: Mapping[str, Any] = _NO_META) -> Iterator[Request]:
        """Yield a request for a page, unless the page is a start page or on another host.

        This ends circular links: Scrapy requests no page twice, except start pages, which it does not record as seen.
        """
        if canonicalize_url(url) in self._starts:
            return
        host = host_of(url)
        if host in self._hosts:
            yield Request(redact_url(url), callback=callback, meta={_HOST: host, **meta})
        else:
            CrawlContext.of(self.crawler).page_ends.leave_out(url, _ELSEWHERE)

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
