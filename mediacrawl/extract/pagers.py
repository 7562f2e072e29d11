"""What is around a link: a pager, or a box that shows something other than pages of a list."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element

_NEAR = 4  # boxes around a link in which a pager is looked for
_FAR = 8  # boxes in which a calendar or the like is
_LONGEST = 200  # characters of an attribute
_NAMES = ("class", "id", "aria-label", "role")

_PAGER = re.compile(
    r"(?:^|[\s_-])(?:paginat\w*|pagers?|paging|pages|pagenav\w*|pagelist|pagebar|nav-?links|fenye|fanye)(?:$|[\s_-])"
    r"|page-?(?:nav|numbers?|links|list)|(?:^|\s)page(?:$|\s)",
    re.IGNORECASE,
)
# Loaders of more entries of the same list.
_LOADER = re.compile(
    r"(?:load|show)[_-]?(?:more|next)|more[_-]?(?:results|posts|items|entries)"
    r"|infinite|endless|autopag",
    re.IGNORECASE,
)
# What has arrows and numbers, too, and no pages of the list.
_ELSEWHERE = re.compile(
    r"calendar|kalend|date-?pick|(?:^|[\s_-])(?:cal|month|week|day|date)[_-]?(?:nav|pager|view|picker|next|prev|grid)"
    r"|bread-?crumb|(?:^|[\s_-])crumbs?(?:$|[\s_-])"
    r"|(?:^|[\s_-])comments?(?:$|[\s_-])|comment-?(?:nav|list|pag|area)|komment|comentario|commentaire|disqus"
    r"|carousel|slide(?:r|s|show)|swiper|slick|flickity|owl-|lightbox|fancybox|gallery-?(?:nav|control|thumb)"
    r"|(?:^|[\s_-])(?:sizes|colou?rs|swatch(?:es)?|variants|variations|ratings?|stars)(?:$|[\s_-])"
    r"|(?:^|\s)(?:size|colou?r|variant|variation)(?:$|\s)|(?:product|item)-?(?:size|option|variant)"
    r"|size-?(?:list|select\w*|chart|guide|picker|options?)"
    r"|related|recommend|similar",
    re.IGNORECASE,
)
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


def is_in_loader(element: Element) -> bool:
    """Return whether a button or one of the boxes around it is called a loader of more entries."""
    own = (element.get(name, "")[:_LONGEST] for name in _NAMES)
    return any(map(_LOADER.search, (*own, *_names_around(element, 2))))


def is_elsewhere(element: Element) -> bool:
    """Return whether a link is in a calendar, a bread crumb, comments, a carousel, a choice of sizes or the like."""
    if _COMMENTS.search(element.get("href", "")[-_LONGEST:]):
        return True
    return any(map(_ELSEWHERE.search, _names_around(element, _FAR)))


def is_beside_posts(element: Element) -> bool:
    """Return whether the links here lead to the posts before and after this one."""
    return any(map(_OTHER_POST.search, _names_around(element, _NEAR)))


def _names_around(element: Element, boxes: int) -> Iterator[str]:
    for box in islice(element.iterancestors(), boxes):
        if box.tag in ("body", "html"):  # their classes say what the whole page is
            return
        yield from filter(None, (box.get(name, "")[:_LONGEST] for name in _NAMES))
