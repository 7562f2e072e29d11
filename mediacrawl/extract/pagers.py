"""What is around a link: a pager, or a box that shows something other than pages of a list."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element, Page

_NEAR = 4  # boxes around a link in which a pager is looked for
_FAR = 8  # boxes in which a calendar or the like is
_DEEP = 40  # boxes around a picture in which the main part of the page is; keeps the time linear
_LONGEST = 200  # characters of an attribute
_NAMES = ("class", "id", "aria-label", "role")

_PAGER = re.compile(
    r"(?:^|[\s_-])(?:paginat\w*|pagers?|paging|pages|pagenav\w*|pagelist|pagebar|nav-?links|fenye|fanye)(?:$|[\s_-])"
    r"|page-?(?:nav|numbers?|links|list)",
    re.IGNORECASE,
)
_PAGE = re.compile(r"(?:^|\s)page(?:$|\s)", re.IGNORECASE)  # a list of page numbers, or the whole page
# Loaders of more entries of the same list.
_LOADER = re.compile(
    r"(?:load|show)[_-]?(?:more|next)|more[_-]?(?:results|posts|items|entries)"
    r"|infinite|endless|autopag|ias-trigger",
    re.IGNORECASE,
)
# What has arrows and numbers, too, and no pages of the list.
_ELSEWHERE = re.compile(
    r"calendar|kalend|date-?pick|(?:^|[\s_-])(?:cal|month|week|day|date)[_-]?(?:nav|pager|view|picker|next|prev|grid|archive)"
    r"|bread-?crumb|(?:^|[\s_-])crumbs?(?:$|[\s_-])"
    r"|comments?(?:$|[\s_-])|comment-?(?:nav|list|pag|area)|komment|comentario|commentaire|disqus"
    r"|(?:^|[\s_-])cmts?(?:$|[\s_-])"
    r"|(?:^|[\s_-])(?:seasons?|cookies?|consent|wizard|tablist|tour|onboarding)(?:$|[\s_-])"
    r"|carousel|slide(?:r|s|show)|swiper|slick|flickity|owl-|lightbox|fancybox|gallery-?(?:nav|control|thumb)"
    r"|(?:^|[\s_-])(?:sizes|colou?rs|swatch(?:es)?|variants|variations|ratings?|stars)(?:$|[\s_-])"
    r"|(?:^|\s)(?:size|colou?r|variant|variation)(?:$|\s)|(?:product|item)-?(?:size|option|variant)"
    r"|size-?(?:list|select\w*|chart|guide|picker|options?)"
    r"|related|recommend|similar",
    re.IGNORECASE,
)
# Words that say what a box has, or has not, and not what it is: `with-comments`, `no-slider`, `carousel-off`.
_STATE = re.compile(
    r"(?:^|-)(?:no|not|non|has|with|without|hide|show)[_-]"
    r"|[_-](?:on|off|open|opened|closed|enabled|disabled|none)$"
    r"|^category-|^tag-",
    re.IGNORECASE,
)
# Words that leave no doubt; others may be part of the name of a list, as `calendar` in `event-calendar-list`.
_SURELY_ELSEWHERE = re.compile(
    r"(?:wp-)?calendar|date-?picker|carousel|slider|slick-slider|owl-carousel|slideshow|swiper|lightbox"
    r"|(?:related|similar|recommended)(?:[_-]?(?:items|products|posts|articles|entries|images|videos))?"
    r"|recommendations|bread-?crumbs?|.*(?:comment|disqus).*|(?:[a-z]+-)?cmts|ratings?|stars|sizes?|colou?rs?|variants?",
    re.IGNORECASE,
)
_PARTS_OF_LISTS = ("ul", "ol", "li", "span", "table", "tbody", "tr", "td")
_REVIEWS = re.compile(r"(?:[a-z]+[_-])?reviews?", re.IGNORECASE)  # of a product; a page may also be about reviews
_MEDIA = ("img", "video", "audio", "iframe", "object", "embed")
_COMMENTS = re.compile(r"#comment|[?&]cpage=|/comment-page-", re.IGNORECASE)  # in a URL
_OTHER_POST = re.compile(
    r"(?:^|[\s_-])(?:post|entry|single|story|adjacent|article)[_-]?nav(?:igation|i)?(?:$|[\s_-])"
    r"|nav(?:igation)?[_-]?(?:single|post|article|entry)(?:$|[\s_-])"
    r"|(?:next|prev|previous|adjacent)[_-]?(?:post|article|entry|story)(?:$|[\s_-])",
    re.IGNORECASE,
)


def is_in_pager(element: Element) -> bool:
    """Return whether a box near a link is called a pager."""
    return any(map(_PAGER.search, _names_around(element, _NEAR)))


def is_in_page_box(element: Element) -> bool:
    """Return whether a list of links, or the box around it, is called `page`; a box with more is the whole page."""
    for box in _boxes_around(element, _NEAR):
        if any(map(_PAGE.search, _names(box))):
            return True
        if box.tag not in _PARTS_OF_LISTS:
            return False
    return False


def is_in_loader(element: Element) -> bool:
    """Return whether a button or one of the boxes around it is called a loader of more entries."""
    own = (element.get(name, "")[:_LONGEST] for name in _NAMES)
    return any(map(_LOADER.search, (*own, *_names_around(element, 2))))


class Surroundings:
    """Finds out whether a link of a page is in a box that shows something else than the pages of a list.

    Such a box has a name: a calendar, a bread crumb, comments, a carousel, a choice of sizes or the like. A box with
    the main part of the page does not count, whatever it is called.
    """

    def __init__(self, page: Page) -> None:
        self._root = page.root
        self._is_of_reviews = "review" in page.url.lower()

    def is_elsewhere(self, link: Element, *, is_sure: bool = False) -> bool:
        """Return whether a link is in such a box.

        Args:
            link: the link or button.
            is_sure: the link counts pages and says "next" in a pager. This outweighs a doubtful name around it.
        """
        if _COMMENTS.search(link.get("href", "")[-_LONGEST:]):
            return True
        for box in _boxes_around(link, _FAR):
            if box.tag == "article":  # its classes say what the entry has
                continue
            words = [word for name in _names(box) for word in name.split()]
            has_reviews = not self._is_of_reviews and any(map(_REVIEWS.fullmatch, words))
            if has_reviews or any(_is_elsewhere(word, doubtful=is_sure) for word in words):
                return box not in self._main_boxes
        return False

    @cached_property
    def _main_boxes(self) -> frozenset[Element]:
        """The boxes that contain most of the media and elements of the page."""
        main = set(self._root.iter("main"))
        body = next(self._root.iter("body"), self._root)
        media = list(body.iter(*_MEDIA))
        if media:
            most_media, most_elements = 3 / 4 * len(media), 1 / 2 * _count(body, "*")
            for box in islice(media[len(media) // 2].iterancestors(), _DEEP):
                if _count(box, *_MEDIA) > most_media and _count(box, "*") > most_elements:
                    main.update((box, *box.iterancestors()))
                    break
        return frozenset(main)


def _count(box: Element, *tags: str) -> int:
    return sum(1 for _ in box.iter(*tags))


@lru_cache(maxsize=4_096)  # the pages of a site have the same names
def _is_elsewhere(word: str, *, doubtful: bool) -> bool:
    if _STATE.search(word) or not _ELSEWHERE.search(word):
        return False
    return not doubtful or _SURELY_ELSEWHERE.fullmatch(word) is not None


def is_beside_posts(element: Element) -> bool:
    """Return whether the links here lead to the posts before and after this one."""
    return any(map(_OTHER_POST.search, _names_around(element, _NEAR)))


def _names_around(element: Element, boxes: int) -> Iterator[str]:
    for box in _boxes_around(element, boxes):
        yield from _names(box)


def _boxes_around(element: Element, boxes: int) -> Iterator[Element]:
    for box in islice(element.iterancestors(), boxes):
        if box.tag in ("body", "html"):  # their classes say what the whole page is
            return
        yield box


def _names(box: Element) -> Iterator[str]:
    yield from filter(None, (box.get(name, "")[:_LONGEST] for name in _NAMES))
