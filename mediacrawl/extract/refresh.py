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
_SEPARATOR = re.compile(rf"[{_BLANK}]*[;,]?[{_BLANK}]*")
_NAME = re.compile(rf"url[{_BLANK}]*=[{_BLANK}]*", re.IGNORECASE)


class Refresh(NamedTuple):
    """A refresh: the time after which a browser goes on, in whole seconds, and the absolute URL to which it goes."""

    delay_s: int
    url: str


def find_refresh(page: Page, header: str = "") -> Refresh | None:
    """Return the refresh of a page that leads to another page; None if there is none. Never raises.

    Args:
        page: of which the first meta with a valid value counts. A meta in `noscript` does not count.
        header: the field `Refresh` of the response, which takes precedence.
    """
    for value in (header, *_metas(page)):
        if refresh := parse_refresh(value, page.base_url, page.encoding):
            return refresh if refresh.url != page.url else None
    return None


def parse_refresh(value: str, base: str, encoding: str = "utf-8") -> Refresh | None:
    """Parse the value of a refresh, as the HTML standard does ("shared declarative refresh steps").

    Returns:
        None for a value that is no refresh, that names no URL (the page loads itself again), or of another scheme
        than http and https.
    """
    time = _TIME.match(value)
    if time is None or not time[0].strip(_BLANK):
        return None
    rest = value[time.end() :]
    if rest and rest[0] not in f"{_BLANK};,":
        return None
    link = rest[_end(_SEPARATOR, rest) :]
    link = link[_end(_NAME, link) :]
    if link[:1] in {"'", '"'}:
        link = link[1:].partition(link[0])[0]
    url = absolute(base, link, encoding)
    return Refresh(_seconds(time[1]), url) if url else None


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
