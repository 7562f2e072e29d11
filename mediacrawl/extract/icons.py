"""What the icon of a link shows: classes of icon fonts, names of symbols and of picture files, words of ligatures."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element

_SMALL = 12  # elements
_LONGEST = 200  # characters
_NAMES = (
    *("class", "src", "data-src", "href", "{http://www.w3.org/1999/xlink}href", "xlink:href"),
    *("data-icon", "name", "icon"),
)

TO_NEXT, TO_RIGHT, TO_FAR_RIGHT = "next", "arrow", "double arrow"
_ELSEWHERE = "elsewhere"

_OTHER = re.compile(
    r"(?:^|[\W_])(?:prev|previous|left|back|last|end|first|up|down|disabled?|off|close|menu|play|external)(?:$|[\W_\d])"
    r"|(?:arrow|chevron|angle|caret)-?(?:left|up|down)|prev|upright|fast.?forward",
    re.IGNORECASE,
)
_NEXT = re.compile(
    r"(?:^|[\W_])(?:go|icon|ico|btn|button|arrow|page|pager)?-?next(?:page|btn|icon|arrow)?(?:$|[\W_\d])",
    re.IGNORECASE,
)
_DOUBLE = re.compile(r"double|-right-?2|last.?page|step|skip", re.IGNORECASE)
_ARROW = re.compile(
    r"(?:arrow|chevron|angle|caret|triangle)[\w-]*?[_-]?(?:right|forward)|right[_-]?(?:arrow|chevron|angle|caret)",
    re.IGNORECASE,
)
_SIDE = re.compile(r"left|right", re.IGNORECASE)
# Texts that an icon font shows as a picture, as `next_words.letters` gives them.
LIGATURES = frozenset(
    {"chevronright", "navigatenext", "arrowforward", "arrowforwardios", "keyboardarrowright"}
    | {"arrowright", "arrowrightalt", "keyboarddoublearrowright"}
)


def icon_of(link: Element, *, is_rtl: bool = False) -> str | None:
    """Return what the icons inside a link, or its own class, show: `TO_NEXT`, `TO_RIGHT`, `TO_FAR_RIGHT`, or None.

    On a page that is written from right to left, `is_rtl`, left and right are swapped.
    """
    shown_by = _shown_by_mirrored if is_rtl else _shown_by
    own = shown_by(link.get("class", "")[-_LONGEST:])
    inside = [shown_by(name) for name in _names(link)]
    if _ELSEWHERE in (own, *inside):
        return None
    if TO_NEXT in inside:  # the class `next` of a link is a sign of its own
        return TO_NEXT
    return next((icon for icon in (TO_FAR_RIGHT, TO_RIGHT) if icon in (own, *inside)), None)


@lru_cache(maxsize=4_096)  # the pages of a site have the same names
def _shown_by(name: str) -> str | None:
    if _OTHER.search(name):
        return _ELSEWHERE
    if _NEXT.search(name):
        return TO_NEXT
    if _ARROW.search(name):
        return TO_FAR_RIGHT if _DOUBLE.search(name) else TO_RIGHT
    return None


def _shown_by_mirrored(name: str) -> str | None:
    return _shown_by(_SIDE.sub(lambda found: "right" if found[0].lower() == "left" else "left", name))


def _names(link: Element) -> Iterator[str]:
    for element in islice(link.iter(), 1, _SMALL):
        values = (element.get(name) for name in _NAMES)
        yield from (value[-_LONGEST:].rpartition("/")[2] for value in values if value)
        if element.tag in ("i", "span") and element.text:
            yield element.text.strip()[:_LONGEST]
