"""A page and its links: their base URL, and the absolute URL of each link."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlsplit

from parsel import Selector

from mediacrawl.extract.document import parse_html, parse_xml
from mediacrawl.headers.link import reference_of
from mediacrawl.urls import DEFAULT_PORTS, HTTP_SCHEMES, Origin, resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# WHATWG URL, "basic URL parser", steps 1 to 3: strip C0 controls and spaces, remove tabs and newlines.
_ENDS = "".join(map(chr, range(0x21)))
_INSIDE = str.maketrans("", "", "\t\n\r")
# A path below the folder of a page, without parts of special meaning: no `.`, `..`, `//`, scheme or query.
_BELOW = re.compile(r"/?\w[\w.~-]*(?:/\w[\w.~-]*)*", re.ASCII)
_BEGINNING = re.compile(r"(?:(https?):)?([/\\]*+)", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*+):", re.IGNORECASE)
_NO_BASES = ("data", "javascript")  # HTML, "set the frozen base URL"
_ABSOLUTE = re.compile(r"(?:https?:)?[/\\]", re.IGNORECASE)
# Characters. Each link below a longer base would be as long: a page of 1 MB would have gigabytes of URLs.
_LONGEST_BASE = 4_096
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_FOLDER = re.compile(r"(https?://[a-z0-9.-]+(?::\d{1,4})?)(/(?:[\w~-][\w.~-]*/)*)[\w.~-]*(?:\?[^#]*)?", re.ASCII)

Element: TypeAlias = Any  # an lxml.etree._Element; lxml has no public name for it


@dataclass(frozen=True)
class Page:
    """One parsed page. Its tree has one root, and neither comments nor `<template>` contents: see `document`.

    Attributes:
        selector: the page, XML or HTML; any other content counts as an empty page.
        url: the URL of the page after redirects, without fragment.
        base_url: the base of relative links (HTML, "document base URL").
        encoding: the encoding of non-ASCII characters in a query (the path is always UTF-8).
        link_next: the URL that the `Link` header of the response gives for the next page.
        is_cut: only the beginning of the text could be parsed.
    """

    selector: Selector
    url: str
    base_url: str
    encoding: str = "utf-8"
    link_next: str | None = None
    is_cut: bool = False

    @classmethod
    def from_text(
        cls, text: str, url: str, encoding: str = "utf-8", *, is_xml: bool = False, link: Iterable[str] = ()
    ) -> Page:
        """Parse a page. Never raises.

        Args:
            text: the page, decoded.
            url: the URL of the page after redirects.
            encoding: the encoding of the page; an unknown name counts as UTF-8.
            is_xml: the page is XML, for example a feed, and not HTML.
            link: the values of the `Link` header fields of the response.
        """
        root, is_cut = parse_xml(text) if is_xml else parse_html(text)
        selector = Selector(root=root, type="xml" if is_xml else "html")
        encoding = _of_queries(encoding)
        url = absolute(url, url, encoding) or url
        following = reference_of("next", link)
        link_next = following and absolute(url, following, encoding)
        return cls(selector, url, _base_url(root, url, encoding), encoding, link_next, is_cut)

    @property
    def root(self) -> Any:
        """The root element, an `lxml.etree._Element`."""
        return self.selector.root

    def resolve(self, link: str | None) -> str | None:
        """Return the absolute http(s) URL of a link on this page, without fragment, as it is sent, or None.

        None is returned for a link that names no other resource (empty, only a fragment), for other schemes
        (`data:`, `javascript:`, `blob:`, `mailto:`), for text that is no URL, and for a link that is relative to a
        URL of thousands of characters. Never raises.
        """
        return absolute(self.base_url, link or "", self.encoding)

    def resolve_file(self, link: str | None) -> str | None:
        """Return the absolute URL of a link to a file, by the rules of `resolve`; ftp and ftps URLs are included."""
        return absolute(self.base_url, link or "", self.encoding, DEFAULT_PORTS)


def host_of(url: str) -> str:
    """Return the host of a URL without `www.`, which does not make another host; empty if there is none."""
    return (urlsplit(url).hostname or "").removeprefix("www.")


def absolute(base: str, link: str, encoding: str = "utf-8", schemes: Collection[str] = HTTP_SCHEMES) -> str | None:
    """Return `link` resolved against `base`, by the rules of `Page.resolve`; None for a scheme not in `schemes`."""
    link = link.strip(_ENDS).translate(_INSIDE)
    if not link or link.startswith("#"):
        return None
    if len(base) > _LONGEST_BASE and not _is_absolute(link):
        base = base.partition("?")[0]  # which no other reference resolves to
        if len(base) > _LONGEST_BASE:
            return None
    # Most links: a third of the time of the code below.
    if len(base) <= _LONGEST_BASE and _BELOW.fullmatch(link) and (folder := _folder_of(base)):
        return f"{folder[0]}{link}" if link[0] == "/" else f"{folder[0]}{folder[1]}{link}"
    try:
        url = _resolved(base, link, encoding).partition("#")[0]
    except ValueError:
        return None
    origin = Origin.of(url)
    return url if origin is not None and origin.scheme in schemes else None


def _is_absolute(link: str) -> bool:
    """Return whether a link begins with a host, or with the root of one."""
    return _ABSOLUTE.match(link) is not None


@lru_cache(maxsize=16)
def _folder_of(base: str) -> tuple[str, str] | None:
    """Return origin and folder of a page with a plain URL, as most are; None for another URL."""
    plain = _FOLDER.fullmatch(base)
    return (plain[1], plain[2]) if plain else None


def _base_url(root: Element, url: str, encoding: str) -> str:
    """Return the document base URL: the first `<base href>`, wherever it stands, if it is a URL that may be one.

    The URL of a `<base>` may have another scheme: then no relative link is an http URL.
    """
    href = next((href for base in root.iter("base") if (href := base.get("href")) is not None), "")
    href = href.strip(_ENDS).translate(_INSIDE)
    scheme = _SCHEME.match(href)
    if scheme is not None and scheme[1].lower() not in HTTP_SCHEMES:
        return url if scheme[1].lower() in _NO_BASES else href
    return absolute(url, href, encoding) or url


def _resolved(base: str, link: str, encoding: str) -> str:
    link = _with_two_slashes(base, link)
    try:
        return resolve(base, link, encoding)
    except UnicodeEncodeError:  # a character that the encoding of the page does not have
        path, mark, query = link.partition("?")
        return resolve(base, path + mark + _NOT_ASCII.sub(partial(_escapes, encoding), query))


def _with_two_slashes(base: str, link: str) -> str:
    r"""Return a link with a host, with two slashes before it: browsers accept any number of `/` and `\` there.

    Without a slash, or with one, a link with the scheme of the page is relative to the page.
    """
    beginning = _BEGINNING.match(link)
    if beginning is None:
        return link
    scheme, slashes = (beginning[1] or "").lower(), beginning[2]
    if len(slashes) < 2 and (not scheme or base.lower().startswith(f"{scheme}:")):
        return link
    return f"{scheme}:" * bool(scheme) + f"//{link[beginning.end() :]}"


def _escapes(encoding: str, match: re.Match[str]) -> str:
    """Return text of a query in percent-escapes; a character that the encoding lacks is `&#8364;`, as in browsers."""
    return quote(match[0].encode(encoding, "xmlcharrefreplace"), safe="")


def _of_queries(encoding: str) -> str:
    """Return the encoding of queries on a page (Encoding, "get an output encoding")."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name.startswith(("utf-", "utf_")) else name
