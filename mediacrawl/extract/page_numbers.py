"""Lists of page numbers, and URLs that count pages."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from mediacrawl.extract.links import Element, Page

_LONGEST = 6  # digits
_LONGEST_URL = 2_000  # characters
_NEAR = 3  # boxes around a number, each with nothing else in it
_YEARS = range(1900, 2101)
_DIGITS = re.compile(r"([0-9]+)")
_STEM_END = re.compile(r"(?:/index)?(?:\.[a-z]{3,5})?/?$")
_AT_END = re.compile(r"([0-9]{1,6})\W*$")
# `?page=2`, `/page/2`, `/p2`, `-2.html`, `_2`, `?start=20`; not `?month=2`.
_COUNTED = re.compile(
    r"(?:(?:^|[?&;/._-])(?:[a-z]+[_-])?(?:p|pg|page|paged|pageno|pagenum(?:ber)?|pageindex|curpage|currentpage|pn|start"
    r"|offset|from|seite|pagina|strona|sida|sivu|strana|stranica|halaman|trang|sayfa|skip|idx|index)(?:\[\])?[=/:_-]?"
    r"|(?<!/\d\d)/(?=[0-9]{1,4}/?(?:$|[?#]))"  # not the day in a date
    r"|[_-](?=[0-9]{1,4}(?:\.[a-z]{3,5})?/?$))([0-9]{1,6})(?![0-9a-z])",
    re.IGNORECASE,
)
_CURRENT = re.compile(
    r"(?:^|[\s_-])(?:current|active|selected|on|this|now|cur|curr|here|aktiv|actual|activo|actif|thispage|sel)(?:$|[\s_-])"
    r"|is-?(?:active|current)|(?:page|pager|pages|pagination)-?current|current-?page",
    re.IGNORECASE,
)
_DATE_PATH = re.compile(r"/(?:19|20)\d\d/\d{1,2}(?:/\d{1,2})?/?$")
_DATE_NAME = re.compile(
    r"(?:[a-z]+[_-]?)?(?:year|month|week|day|date|monat|jahr|datum|mois|mes)|yyyy|mm|dd", re.IGNORECASE
)
_SEPARATORS = ("br", "span", "li", "i", "td")
_MARKED_BY = ("b", "strong", "em", "u")


def number_of(text: str) -> int | None:
    """Return the number that is the whole text, except for brackets; None for any other text."""
    text = text.strip(" \t\r\n\xa0[](){}|·•.,-")
    return int(text) if text.isdecimal() and len(text) <= _LONGEST else None


def follows_current(page: Page, link: Element, number: int) -> bool:
    """Return whether the number before a number is that of this page: marked, no link, or a link to this page."""
    box = link
    for _ in range(_NEAR):
        parent = box.getparent()
        previous, text = _before(box)
        if text:
            found = _AT_END.search(text)
            return found is not None and int(found[1]) == number - 1
        if previous is not None:
            text = _short_text(previous).strip().partition("\n")[0]
            label = text.partition("(")[0] or text  # `1 (current)`
            return number_of(label) == number - 1 and _is_current(page, previous)
        if parent is None or number_of(_short_text(parent)) != number:
            return False
        box = parent
    return False


def begins_with_one(link: Element) -> bool:
    """Return whether the list of a number begins with the first page. Sizes, hours and seasons seldom do."""
    box = link
    for _ in range(_NEAR):
        parent = box.getparent()
        if parent is None:
            return False
        first = [number_of(_short_text(item)) for item in islice(parent.iterchildren(), 4)]
        if len([number for number in first if number is not None]) > 1:
            return not {0, 1}.isdisjoint(first)
        box = parent
    return False


def counts_on(url: str, other: str) -> bool:
    """Return whether the second URL is that of a later page: it has a higher page number, or the first has none.

    Apart from the number the path is the same, or its last segment is: `/a/list.html`, `/a/list-2.html`.
    """
    is_usual = max(len(url), len(other)) <= _LONGEST_URL
    return _counts_on(url, other) if is_usual else _counts_on.__wrapped__(url, other)


@lru_cache(maxsize=64)  # asked for several times for one link
def _counts_on(url: str, other: str) -> bool:
    theirs = _last_count(other)
    if theirs is None:
        return False
    ours = _last_count(url)
    path, other_path = urlsplit(url).path, urlsplit(other).path
    if ours is None:
        stem = _STEM_END.sub("", path)
        name = stem.rpartition("/")[2]
        return other_path.startswith(stem) or (bool(name) and f"/{name}" in other_path)
    return _DIGITS.sub("", path) == _DIGITS.sub("", other_path) and _differ_in_one(url, other) and ours < theirs


def counts_back(url: str, other: str) -> bool:
    """Return whether the second URL is that of an earlier page: only its page number differs, and is lower."""
    return counts_on(other, url) and len(_DIGITS.findall(url)) == len(_DIGITS.findall(other))


def _is_counted(url: str, other: str) -> bool:
    """Return whether the second URL is the first with a page number in its query: `/list` and `/list?page=1`."""
    ours, theirs = urlsplit(url), urlsplit(other)
    differing = set(parse_qsl(ours.query)) ^ set(parse_qsl(theirs.query))
    return ours.path == theirs.path and len(differing) == 1 and has_count(other)


def has_count(url: str) -> bool:
    """Return whether a URL has the number of a page."""
    return _last_count(url) is not None


def differ_in_date(url: str, other: str) -> bool:
    """Return whether two URLs differ only in a date: `?month=6` and `?month=7`, `/2020/06/` and `/2020/07/`."""
    ours, theirs = urlsplit(url[:_LONGEST_URL]), urlsplit(other[:_LONGEST_URL])
    if ours.path != theirs.path:
        dates = _DATE_PATH.search(ours.path), _DATE_PATH.search(theirs.path)
        return dates[0] is not None and dates[1] is not None and ours.query == theirs.query
    differing = set(parse_qsl(ours.query)) ^ set(parse_qsl(theirs.query))
    return bool(differing) and all(_DATE_NAME.fullmatch(name) for name, _ in differing)


def _last_count(url: str) -> int | None:
    numbers = [int(found[1]) for found in _COUNTED.finditer(url[:_LONGEST_URL])]
    return numbers[-1] if numbers else None


def _differ_in_one(url: str, other: str) -> bool:
    """Return whether at most one number differs in two URLs with the same number of numbers."""
    ours, theirs = _DIGITS.findall(url), _DIGITS.findall(other)
    return len(ours) != len(theirs) or sum(map(str.__ne__, ours, theirs)) == 1


def is_year(number: int) -> bool:
    """Return whether a number may be a year: a list of these is an archive."""
    return number in _YEARS


def _before(box: Element) -> tuple[Element | None, str]:
    """Return the element before a box, or the end of the text before it if that is more than a separator."""
    previous = box.getprevious()
    for _ in range(_NEAR):  # over separators
        if (
            previous is None
            or _has_word(previous.tail)
            or previous.tag not in _SEPARATORS
            or _has_word(_short_text(previous))
        ):
            break
        previous = previous.getprevious()
    parent = box.getparent()
    text = previous.tail if previous is not None else None if parent is None else parent.text
    return previous, (text or "")[-20:] if _has_word(text) else ""


def _has_word(text: str | None) -> bool:
    return text is not None and any(map(str.isalnum, text[-20:]))


def _is_current(page: Page, item: Element) -> bool:
    """Return whether a number in a list is that of this page."""
    links = [element for element in islice(item.iter(), 5) if element.tag == "a" and element.get("href")]
    if any(map(_is_marked, islice(item.iter(), 5))):
        return True
    url = page.resolve(links[0].get("href")) if links else page.url
    is_first = number_of(_short_text(item)) == 1
    return url == page.url or (
        url is not None and is_first and not has_count(page.url) and _is_counted(page.url, url)
    )


def _is_marked(element: Element) -> bool:
    if element.get("aria-current") or element.tag in _MARKED_BY:
        return True
    return any(_CURRENT.search(element.get(name, "")[:200]) for name in ("class", "id"))


def _short_text(element: Element) -> str:
    """Return the text of an element with a few elements at most, else an empty text."""
    if sum(1 for _ in islice(element.iter(), 6)) > 5:
        return ""
    return "".join(text[:100] for text in islice(element.itertext(), 10))
