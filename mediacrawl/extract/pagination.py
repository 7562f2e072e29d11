"""The next page, and the pages that an XPath selects."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from lxml import etree

from mediacrawl.extract.next_words import ARROWS, DOUBLE_ARROWS, NEXT, OTHER, letters
from mediacrawl.extract.xpath import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element, Page

# Signs that a link leads to the next page, the surest first. A double arrow often leads to the last page.
_TEXT, _LABEL, _CLASS, _ALT, _ARROW, _DOUBLE_ARROW = range(6)
_SMALL = 40  # elements; a link with more is not just "next". Also keeps the time for nested links linear.
_LONGEST = 100  # characters, for the same reason
_NEAR = 4  # ancestors or neighbours that are examined

_PART_OF_CLASS = re.compile(r"[a-z]+")
# `swiper-button-next`, `carousel-control-next` and `slick-next` turn pictures, not pages.
_NEXT_CLASS_PARTS = frozenset(
    {"next", "pagination", "pager", "page", "pages", "paging", "paginator", "navigation"}
    | {"item", "link", "links", "btn", "button", "posts"}
)
_NEXT_CLASS_WORDS = frozenset({"nextpage", "nextpostslink", "nextlink", "pagenext", "nextbtn", "btnnext"})
_PAGER = re.compile(
    r"(?:^|[\s_-])(?:paginat\w*|pagers?|paging|pages|pagenav\w*|pagelist|pagebar|nav-?links|fenye|fanye)(?:$|[\s_-])"
    r"|page-?(?:nav|numbers?|links|list)|(?:^|\s)page(?:$|\s)",
    re.IGNORECASE,
)
_STRING = etree.XPath("string()", smart_strings=False)
_LINK_ATTRIBUTES = ("href", "data-href", "src")


def find_next(page: Page) -> str | None:
    """Return the URL of the page after this one, or None. Never raises.

    `rel=next` takes precedence, then the text of a link, its label, its class and the picture inside. A bare arrow
    counts only in a pager. The page itself, a disabled link, and a link to the previous or the last page are never
    returned. Outside a pager a sign with several targets does not count (each teaser has its own "weiter").
    """
    for tag in ("link", "a"):  # a <link> is for the complete page, an <a> may be the next comment
        for element in page.root.iter(tag):
            url = _other(page, element) if _has_rel_next(element) and not _is_disabled(element) else None
            if url:
                return url
    found: dict[tuple[int, bool], list[str]] = {}
    for element in page.root.iter("a"):
        key = _sign(element)
        url = _other(page, element) if key else None
        if key and url:
            found.setdefault(key, []).append(url)
    for (_, outside), urls in sorted(found.items()):
        if not outside or len(set(urls)) == 1:
            return urls[0]
    return None


def _other(page: Page, element: Element) -> str | None:
    """Return the URL of a link; None if that is this page."""
    url = page.resolve(element.get("href"))
    return None if url == page.url else url


def _has_rel_next(element: Element) -> bool:
    return "next" in element.get("rel", "").lower().split()


def links_by_xpath(page: Page, expression: str, name: str = "xpath") -> list[str]:
    """Return the URLs that an XPath selects, each once.

    An element gives its `href`, `data-href` or `src`; an attribute or a text gives its value.

    Raises:
        BadXPath: the expression fails on this page; the message calls it `name`.
    """
    results = [result.root for result in evaluate(page.selector, expression, name)]
    urls = (page.resolve(link) for result in results for link in _links(result))
    return list(dict.fromkeys(url for url in urls if url))


def _links(result: Any) -> Iterator[str]:
    if isinstance(result, str):
        yield result
    elif isinstance(getattr(result, "tag", None), str):  # a comment has a function as its tag
        yield from islice(filter(None, map(result.get, _LINK_ATTRIBUTES)), 1)


def _sign(anchor: Element) -> tuple[int, bool] | None:
    """Return how surely a link leads to the next page, as a sort key: its sign, and whether it is outside a pager."""
    if not anchor.get("href") or _has_rel_next(anchor):
        return None
    sign = _anchor_sign(anchor)
    if sign is None or _is_disabled(anchor):
        return None
    outside = not _in_pager(anchor)
    return None if outside and sign in (_ARROW, _DOUBLE_ARROW) else (sign, outside)


def _anchor_sign(anchor: Element) -> int | None:
    text = _text(anchor)
    words = letters(text)
    labels = [letters(anchor.get(name, "")[:_LONGEST]) for name in ("aria-label", "title")]
    alts = [letters(alt[:_LONGEST]) for alt in _alts(anchor)]
    if not OTHER.isdisjoint([words, *labels, *alts]):
        return None
    if words in NEXT:
        return _TEXT
    if not NEXT.isdisjoint(labels):
        return _LABEL
    if any(map(_says_next, _classes(anchor))):
        return _CLASS
    return _ALT if not NEXT.isdisjoint(alts) else _arrow(anchor, "".join(text.split()))


def _arrow(anchor: Element, text: str) -> int | None:
    if "last" in _classes(anchor):
        return None
    return _ARROW if text in ARROWS else _DOUBLE_ARROW if text in DOUBLE_ARROWS else None


def _text(element: Element) -> str:
    """Return the text of an element, or an empty text if it has more than a few words."""
    if not _is_small(element):
        return ""
    text = str(_STRING(element))
    return text if len(text.strip()) <= _LONGEST else ""


def _is_small(element: Element) -> bool:
    return sum(1 for _ in islice(element.iter(), _SMALL)) < _SMALL


def _alts(anchor: Element) -> list[str]:
    if not len(anchor) or not _is_small(anchor):
        return []
    return [image.get(name, "") for image in anchor.iter("img") for name in ("alt", "title")]


def _classes(anchor: Element) -> list[str]:
    """Return the class words of a link, and of its parent if that is a box that usually holds a single link."""
    parent = anchor.getparent()
    around = parent is not None and parent.tag in ("li", "span", "p", "td", "div")
    names = anchor.get("class", "") + " " + (parent.get("class", "") if around else "")
    return list(names[: 10 * _LONGEST].lower().split())


def _says_next(word: str) -> bool:
    parts = _PART_OF_CLASS.findall(word)
    return ("next" in parts and _NEXT_CLASS_PARTS.issuperset(parts)) or "".join(parts) in _NEXT_CLASS_WORDS


def _is_disabled(element: Element) -> bool:
    if element.get("aria-disabled", "").lower() == "true" or element.get("disabled") is not None:
        return True
    return any(word == "inactive" or "disabled" in word for word in _classes(element))


def _in_pager(anchor: Element) -> bool:
    near = islice(anchor.iterancestors(), _NEAR)
    names = (box.get(name, "")[:_LONGEST] for box in near for name in ("class", "id", "aria-label", "role"))
    return any(map(_PAGER.search, names)) or _beside_numbers(anchor)


def _beside_numbers(anchor: Element) -> bool:
    """Return whether a number stands shortly before the link or its list item, as in `1 2 3 »`."""
    parent = anchor.getparent()
    box = parent if parent is not None and parent.tag in ("li", "td", "span") else anchor
    return any(_text(near).strip().isdigit() for near in islice(box.itersiblings(preceding=True), _NEAR))
