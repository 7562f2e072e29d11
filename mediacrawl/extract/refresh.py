"""The refresh of a page: `<meta http-equiv=refresh>`, or the header `Refresh`."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.extract.links import absolute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element, Page

AT_ONCE_S = 1  # a refresh after at most this time, to another URL, is a redirect
_MOST = 100  # metas that are examined
_BLANK = " \t\n\f\r"
_TIME = re.compile(rf"[{_BLANK}]*(\d*)([\d.]*)")
_AFTER_TIME = ("", *_BLANK, ";", ",")
_SEPARATOR = re.compile(rf"[{_BLANK}]*[;,]?[{_BLANK}]*")
_NAME = re.compile(rf"url[{_BLANK}]*=[{_BLANK}]*", re.IGNORECASE)


class Refresh(NamedTuple):
    """A refresh: the time after which a browser goes on, in whole seconds, and the absolute URL to which it goes."""

    delay_s: int
    url: str


def find_refresh(page: Page, header: str = "", *, leads_back: bool = False) -> Refresh | None:
    """Return the refresh of a page that leads to another page; None if there is none. Never raises.

    Args:
        page: of which the first meta with a valid value counts. A meta in `noscript` does not count.
        header: the field `Refresh` of the response, which takes precedence.
        leads_back: return a refresh with which the page loads itself again, too.
    """
    for value in (header, *_metas(page)):
        if refresh := parse_refresh(value, page.base_url, page.encoding):
            is_itself = refresh.url == page.url
        elif (delay_s := _delay_s(value)) is not None:
            refresh, is_itself = Refresh(delay_s, page.url), True
        else:
            continue
        return refresh if leads_back or not is_itself else None
    return None


def parse_refresh(value: str, base: str, encoding: str = "utf-8") -> Refresh | None:
    """Parse the value of a refresh, as the HTML standard does ("shared declarative refresh steps").

    Returns:
        None for a value that is no refresh, that names no URL (the page loads itself again), or of another scheme
        than http and https.
    """
    time = _time_of(value)
    if time is None:
        return None
    rest = value[time.end() :]
    link = rest[_end(_SEPARATOR, rest) :]
    link = link[_end(_NAME, link) :]
    if link[:1] in {"'", '"'}:
        link = link[1:].partition(link[0])[0]
    url = absolute(base, link, encoding)
    return Refresh(_seconds(time[1]), url) if url else None


def _time_of(value: str) -> re.Match[str] | None:
    time = _TIME.match(value)
    if time is None or not time[0].strip(_BLANK) or value[time.end() : time.end() + 1] not in _AFTER_TIME:
        return None
    return time


def _delay_s(value: str) -> int | None:
    """Return the time of a refresh without a URL; None for another value."""
    time = _time_of(value)
    return _seconds(time[1]) if time is not None and not value[time.end() :].strip(f"{_BLANK};,") else None


def _metas(page: Page) -> Iterator[str]:
    refreshes = (meta for meta in page.root.iter("meta") if _is_refresh(meta))
    for meta in islice(refreshes, _MOST):
        if next(meta.iterancestors("noscript"), None) is None:
            yield meta.get("content", "")


def _is_refresh(meta: Element) -> bool:
    return bool(meta.get("http-equiv", "").strip(_BLANK).lower() == "refresh")


def _end(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.match(text)
    return match.end() if match else 0


def _seconds(digits: str) -> int:
    return int(digits[:9] or 0)
