"""A digest of the content of a page, which shows that two addresses lead to the same content.

The content is what does not depend on the place of a page in a pagination: the targets of its links, and its longer
texts without their digits. These do not count:

- the link to the next page, and links that differ from the URL of the page in digits only, as `?page=7`;
- short texts, as "page 7 of 60", the name of a month or a time of day. The pages of a list of names or prices differ
  in many of these: see `short_texts`.
"""

from __future__ import annotations

import re
import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING

from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mediacrawl.extract.links import Page

_DIGITS = re.compile(r"\d+")
_SHORTEST_TEXT = 40  # characters
_MOST_TEXTS = 1_000  # short ones of a page
# Days, weeks, years, dates and times of day: they differ in the months of a calendar.
_DATE = re.compile(r"\W*(?:[0-5]?\d|(?:19|20)\d\d|\d{1,4}([./-])\d{1,2}(?:\1\d{1,4})?|\d{1,2}:\d\d(?::\d\d)?)\W*")
_NO_TEXT = frozenset({"script", "style", "noscript", "template"})


def page_digest(page: Page, shown: Iterable[str], next_url: str | None = None) -> int:
    """Return the digest of the content of a page.

    Args:
        page: the page.
        shown: URLs that belong to the content: the media and the detail pages.
        next_url: the URL of the next page.
    """
    return digest_of([*shown, *_links(page, next_url), *_texts(page)])


def digest_of(texts: Iterable[str]) -> int:
    """Return a digest of 64 bits of a set of texts, the same in each process."""
    content = "\0".join(sorted(set(texts))).encode("utf-8", "backslashreplace")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")


def _links(page: Page, next_url: str | None) -> Iterator[str]:
    own = _DIGITS.sub("", page.url)
    for anchor in page.root.iter("a", "area"):
        url = page.resolve(anchor.get("href"))
        if url and url != next_url and _DIGITS.sub("", url) != own:
            yield anchor.get("href")


def short_texts(page: Page) -> tuple[int, ...]:
    """Return the checksums of the short texts of a page, apart from dates; the same in each process."""
    texts = {" ".join(text.split()) for text in _all_texts(page) if len(text) < _SHORTEST_TEXT}
    plain = (text for text in texts if any(map(str.isalnum, text)) and not _DATE.fullmatch(text))
    return tuple(sorted({zlib.crc32(text.encode("utf-8", "backslashreplace")) for text in plain})[:_MOST_TEXTS])


def _texts(page: Page) -> Iterator[str]:
    for text in _all_texts(page):
        if len(text) >= _SHORTEST_TEXT:
            words = " ".join(_DIGITS.sub("", text).split())
            if len(words) >= _SHORTEST_TEXT:
                yield words


def _all_texts(page: Page) -> Iterator[str]:
    for element in page.root.iter(etree.Element):
        texts = (element.tail,) if element.tag in _NO_TEXT else (element.text, element.tail)
        yield from filter(None, texts)
