"""A page and its links: their base URL, and the absolute URL of each link."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from lxml import etree
from parsel import Selector

from mediacrawl.urls import Origin, resolve

# WHATWG URL, "basic URL parser", steps 1 to 3: strip C0 controls and spaces, remove tabs and newlines.
_ENDS = "".join(map(chr, range(0x21)))
_INSIDE = str.maketrans("", "", "\t\n\r")
# A path below the folder of a page, without parts of special meaning: no `.`, `..`, `//`, scheme or query.
_BELOW = re.compile(r"/?\w[\w.~-]*(?:/\w[\w.~-]*)*", re.ASCII)
_FOLDER = re.compile(r"(https?://[a-z0-9.-]+(?::\d{1,4})?)(/(?:[\w~-][\w.~-]*/)*)[\w.~-]*(?:\?[^#]*)?", re.ASCII)

Element: TypeAlias = Any  # an lxml.etree._Element; lxml has no public name for it


@dataclass(frozen=True)
class Page:
    """One parsed page.

    Attributes:
        selector: the page, XML or HTML; any other content counts as an empty page.
        url: the URL of the page after redirects, without fragment.
        base_url: the base of relative links: `<base href>` if the page has a usable one, else `url`.
        encoding: the encoding of non-ASCII characters in a query (the path is always UTF-8).
    """

    selector: Selector
    url: str
    base_url: str
    encoding: str = "utf-8"

    @classmethod
    def from_selector(cls, selector: Selector, url: str, encoding: str = "utf-8") -> Page:
        """Build a page. `encoding` is the encoding of the page; an unknown name counts as UTF-8. Never raises."""
        if not isinstance(selector.root, etree._Element):  # noqa: SLF001  lxml has no public name for it
            selector = Selector(text="", type="html")
        encoding = _known(encoding)
        url = absolute(url, url, encoding) or url
        href = next((base.get("href") for base in selector.root.iter("base") if base.get("href")), "")
        return cls(selector, url, absolute(url, href, encoding) or url, encoding)

    @property
    def root(self) -> Any:
        """The root element, an `lxml.etree._Element`."""
        return self.selector.root

    def resolve(self, link: str | None) -> str | None:
        """Return the absolute http(s) URL of a link on this page, without fragment, as it is sent, or None.

        None is returned for a link that names no other resource (empty, only a fragment), for other schemes
        (`data:`, `javascript:`, `blob:`, `mailto:`) and for text that is no URL. Never raises.
        """
        return absolute(self.base_url, link or "", self.encoding)


def absolute(base: str, link: str, encoding: str = "utf-8") -> str | None:
    """Return `link` resolved against `base`, by the rules of `Page.resolve`."""
    link = link.strip(_ENDS).translate(_INSIDE)
    if not link or link.startswith("#"):
        return None
    if _BELOW.fullmatch(link) and (folder := _folder_of(base)):  # most links: a third of the time of the code below
        return f"{folder[0]}{link}" if link[0] == "/" else f"{folder[0]}{folder[1]}{link}"
    try:
        url = _resolved(base, link, encoding).partition("#")[0]
    except ValueError:
        return None
    return url if Origin.of(url) is not None else None


@lru_cache(maxsize=16)
def _folder_of(base: str) -> tuple[str, str] | None:
    """Return origin and folder of a page with a plain URL, as most are; None for another URL."""
    plain = _FOLDER.fullmatch(base)
    return (plain[1], plain[2]) if plain else None


def _resolved(base: str, link: str, encoding: str) -> str:
    try:
        return resolve(base, link, encoding)
    except UnicodeEncodeError:  # a character that the encoding of the page does not have
        return resolve(base, link)


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        return "utf-8"
