"""The next page, and the pages that an XPath selects."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from lxml import etree

from mediacrawl.extract import icons
from mediacrawl.extract.link_target import (
    candidates,
    is_placeholder,
    linked_url,
    loads_when_seen,
    says_next_by_attribute,
)
from mediacrawl.extract.next_words import ARROWS, DOUBLE_ARROWS, MIRRORED, Meaning, letters, meaning_of
from mediacrawl.extract.page_numbers import (
    begins_with_one,
    counts_back,
    counts_on,
    differ_in_date,
    follows_current,
    has_count,
    is_year,
    number_of,
)
from mediacrawl.extract.pagers import Surroundings, is_beside_posts, is_in_loader, is_in_page_box, is_in_pager
from mediacrawl.extract.xpath import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element, Page

# Signs that a link leads to the next page, the surest first. A double arrow often leads to the last page.
# `_BEGINNING` is a text that only begins with "next", `_MORE` one like "show more".
_TEXT, _LABEL, _CLASS, _ALT, _ICON, _BEGINNING, _MORE, _NUMBER, _ARROW, _DOUBLE_ARROW = range(10)
_ONLY_IN_PAGERS = (_ICON, _BEGINNING, _ARROW, _DOUBLE_ARROW)
_ICONS = {icons.TO_NEXT: _ICON, icons.TO_RIGHT: _ARROW, icons.TO_FAR_RIGHT: _DOUBLE_ARROW}
_OTHER_RELATIONS = frozenset(
    {"next", "prev", "previous", "first", "start", "last", "bookmark"}
)  # `next` is read before
_LINKS = ("a", "area", "button", "input")
_SMALL = 40  # elements; a link with more is not just "next". Also keeps the time for nested links linear.
_LONGEST = 100  # characters, for the same reason
_LONGEST_URL = 2_000  # characters in which the name of a page is looked for
_SECOND = 2  # page
_NEAR = 4  # neighbours that are examined

_PART_OF_CLASS = re.compile(r"[a-z]+")
# `swiper-button-next`, `carousel-control-next` and `slick-next` turn pictures, not pages.
_NEXT_CLASS_PARTS = frozenset(
    {"next", "pagination", "pager", "page", "pages", "paging", "paginator", "navigation"}
    | {"item", "link", "links", "btn", "button", "posts"}
)
_NEXT_CLASS_WORDS = frozenset({"nextpage", "nextpostslink", "nextlink", "pagenext", "nextbtn", "btnnext"})
_STRING = etree.XPath("string()", smart_strings=False)
_LINK_ATTRIBUTES = ("href", "data-href", "src")


def find_next(page: Page) -> str | None:
    """Return the URL of the page after this one, or None. Never raises.

    `rel=next` takes precedence, to another host only if nothing else is found. Then come the text of a link, its
    label, its class, its picture, and the number after that of this page. Arrows and numbers count only in a pager.
    The page itself, a disabled link, and a link to the previous or the last page are never returned, nor what is in a
    calendar, comments, a carousel or the like, and no link that goes to another month or day.
    Outside a pager a sign with several targets does not count (each teaser has its own "weiter").
    """
    around = Surroundings(page)
    related = list(_by_relation(page, around))
    host = urlsplit(page.url).netloc
    own = next((url for url in related if urlsplit(url).netloc == host), None)
    return own or _by_sign(page, around) or next(iter(related), None)


def _by_relation(page: Page, around: Surroundings) -> Iterator[str]:
    """Yield the URLs of `rel=next`: of a <link> and the header for the complete page, an <a> may be in comments."""
    references = [element.get("href", "") for element in page.root.iter("link") if _has_rel_next(element)]
    urls = [page.resolve(reference) for reference in references if not is_placeholder(reference)]
    if page.link_next and not is_placeholder(unquote(page.link_next)):
        urls.append(page.link_next)
    yield from (url for url in urls if url and url != page.url)
    for element in page.root.iter("a", "area"):
        if not _has_rel_next(element) or _is_disabled(element) or _Texts.of(element).say_other():
            continue
        url = linked_url(page, element)
        if url is None or differ_in_date(page.url, url):
            continue
        if not around.is_elsewhere(element, is_sure=counts_on(page.url, url)):
            yield url


def _by_sign(page: Page, around: Surroundings) -> str | None:
    found: dict[tuple[int, bool], list[str]] = {}
    for element in candidates(page.root):
        key = _sign(page, around, element)
        url = linked_url(page, element) if key else None
        if key and url:
            found.setdefault(key, []).append(url)
    for (_, outside), urls in sorted(found.items()):
        if not outside or len(set(urls)) == 1:
            return urls[0]
    return None


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


def _sign(page: Page, around: Surroundings, link: Element) -> tuple[int, bool] | None:
    """Return how surely a link leads to the next page, as a sort key: its sign, and whether it is outside a pager."""
    relation = link.get("rel")
    if relation and not _OTHER_RELATIONS.isdisjoint(relation.lower().split()):
        return None
    texts = _Texts.of(link)
    sign = _own_sign(page, link, texts)
    if sign is None and loads_when_seen(link) and _counts_on(page, link):
        return (_CLASS, False)
    if sign is None or texts.say_other() or _is_disabled(link):
        return None
    if _leads_away(page, link, sign, texts):
        return None
    is_sure = texts.meaning.begins_with_next and is_in_pager(link) and _counts_on(page, link)
    if around.is_elsewhere(link, is_sure=is_sure):
        return None
    if sign > _LABEL and (texts.are_unclear() or link.tag not in _LINKS) and not _counts_on(page, link):
        return None
    if sign == _MORE:
        return _sign_of_more(page, link, texts.text)
    outside = not (is_in_pager(link) or _is_beside_numbers(link) or (is_in_page_box(link) and _counts_on(page, link)))
    if sign in _ONLY_IN_PAGERS and (outside or is_beside_posts(link)):
        return None
    return (sign, outside)


def _leads_away(page: Page, link: Element, sign: int, texts: _Texts) -> bool:
    """Return whether a link leads to another month, to an earlier page, or to the post that its label names."""
    url = linked_url(page, link)
    if url is None:
        return False
    is_other_path = urlsplit(url).path != urlsplit(page.url).path
    if is_other_path and texts.name_something_but(page.url) and not counts_on(page.url, url):
        return True
    return differ_in_date(page.url, url) or (sign > _LABEL and counts_back(page.url, url))


def _sign_of_more(page: Page, link: Element, text: str) -> tuple[int, bool] | None:
    """Return the sign of "more": of a loader, or one that counts pages and has a second word or the class `more`."""
    if is_in_loader(link):
        return (_MORE, False)
    if not _counts_on(page, link):
        return None
    if is_in_pager(link):
        return (_MORE, False)
    return (_MORE, True) if len(text.split()) > 1 or "more" in link.get("class", "").lower() else None


def _own_sign(page: Page, link: Element, texts: _Texts) -> int | None:
    text = texts.meaning
    if text.is_next:
        return _TEXT
    if texts.labels and any(label.is_next for label in texts.labels):
        return _LABEL
    if _class_says_next(page, link) or (not texts.text and says_next_by_attribute(link)):
        return _CLASS
    if texts.alts and any(alt.is_next for alt in texts.alts):
        return _ALT
    if text.is_more:
        return _MORE
    if not text.letters or text.letters in icons.LIGATURES:
        return _picture(page, link, texts.text or "".join(_alts(link)))
    number = number_of(texts.text)
    if number is not None:
        return _NUMBER if _is_number_of_next(page, link, number) else None
    if text.begins_with_next:
        return _BEGINNING if any(map(str.isdigit, texts.text)) or _counts_on(page, link) else None
    return None


def _picture(page: Page, link: Element, text: str) -> int | None:
    """Return the sign of an arrow or an icon without a text beside it."""
    if "last" in _classes(link):
        return None
    text = "".join(text.split())
    is_rtl = _is_rtl(page)
    if is_rtl:
        text = text.translate(MIRRORED)
    if text in ARROWS:
        return _ARROW
    if text in DOUBLE_ARROWS:
        return _DOUBLE_ARROW
    icon = icons.icon_of(link, is_rtl=is_rtl) if _is_small(link) else None
    return None if icon is None else _ICONS[icon]


def _is_rtl(page: Page) -> bool:
    """Return whether the page is written from right to left, so that its arrows to the left lead forward."""
    roots = (page.root, *islice(page.root.iterchildren("body"), 1))
    return any(element.get("dir", "").lower() == "rtl" for element in roots)


def _is_number_of_next(page: Page, link: Element, number: int) -> bool:
    if not follows_current(page, link, number):
        return False
    if is_in_pager(link):
        return True
    if is_year(number) or not _counts_on(page, link):
        return False
    return number == _SECOND or (has_count(page.url) and begins_with_one(link))


def _counts_on(page: Page, link: Element) -> bool:
    url = linked_url(page, link)
    return url is not None and counts_on(page.url, url)


class _Texts(NamedTuple):
    """What a link says about itself."""

    text: str
    meaning: Meaning
    labels: list[Meaning]
    alts: list[Meaning]

    @classmethod
    def of(cls, link: Element) -> _Texts:
        text = link.get("value", "")[:_LONGEST] if link.tag == "input" else _text(link)
        labels = [meaning_of(label[:_LONGEST]) for label in (link.get("aria-label"), link.get("title")) if label]
        alts = [meaning_of(alt[:_LONGEST]) for alt in _alts(link)] if len(link) else []
        return cls(text, meaning_of(text), labels, alts)

    def say_other(self) -> bool:
        """Return whether one of the texts names the previous or the last page, or a step that is no page."""
        return any(meaning.is_other for meaning in (self.meaning, *self.labels, *self.alts))

    def name_something_but(self, url: str) -> bool:
        """Return whether the labels are something else than "next" and the name of the page with this URL."""
        name = letters(unquote(url[:_LONGEST_URL]))
        return bool(self.labels) and all(label.is_unclear and label.letters not in name for label in self.labels)

    def are_unclear(self) -> bool:
        """Return whether one of the texts says something else than "next" or the number of a page."""
        return any(meaning.is_unclear for meaning in (self.meaning, *self.labels, *self.alts))


def _text(element: Element) -> str:
    """Return the text of an element; of one with more than a few words the beginning, which then says too much."""
    if not len(element):
        text = element.text or ""
    elif _is_small(element):
        text = str(_STRING(element))
    else:
        text = " ".join(filter(None, (inner.text for inner in islice(element.iter(), _SMALL))))
    return text.strip()[: 2 * _LONGEST]


def _is_small(element: Element) -> bool:
    return sum(1 for _ in islice(element.iter(), _SMALL)) < _SMALL


def _alts(link: Element) -> list[str]:
    if not _is_small(link):
        return []
    return [text for image in link.iter("img") for text in (image.get("alt"), image.get("title")) if text]


def _classes(link: Element) -> list[str]:
    """Return the class words and the ID of a link, and the classes of its parent if that holds this link only."""
    return _class_names(link).split()


def _class_names(link: Element) -> str:
    parent = link.getparent()
    around = parent is not None and parent.tag in ("li", "span", "p", "td", "div")
    own = f"{link.get('class', '')} {link.get('id', '')}"
    names = f"{own} {parent.get('class', '') if around else ''}"
    return names[: 10 * _LONGEST].lower()


def _class_says_next(page: Page, link: Element) -> bool:
    names = _class_names(link)
    if "nav-previous" in names and not _text(link):  # of WordPress: older posts
        return _counts_on(page, link)
    return "next" in names and any(map(_says_next, names.split()))


def _says_next(word: str) -> bool:
    parts = _PART_OF_CLASS.findall(word)
    return ("next" in parts and _NEXT_CLASS_PARTS.issuperset(parts)) or "".join(parts) in _NEXT_CLASS_WORDS


def _is_disabled(element: Element) -> bool:
    if element.get("aria-disabled", "").lower() == "true" or element.get("disabled") is not None:
        return True
    return any(word == "inactive" or "disabled" in word for word in _classes(element))


def _is_beside_numbers(link: Element) -> bool:
    """Return whether a number stands shortly before the link or its list item, as in `1 2 3 »`."""
    parent = link.getparent()
    box = parent if parent is not None and parent.tag in ("li", "td", "span") else link
    near = islice(box.itersiblings(etree.Element, preceding=True), _NEAR)
    return any(_text(element).isdigit() for element in near)
