"""Rewrite an HTML page that is nested too deep for libxml2, so that nothing of it is lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mediacrawl.extract.markup import RAW_TEXT, tags

if TYPE_CHECKING:
    from collections.abc import Iterator

# libxml2 ends at 2,048 open elements, and adds a few of its own (html, body, tbody).
_DEEPEST = 1_000  # open elements from which on a layout tag is left out: what is inside then belongs to its parent
_DEEPEST_OF_ALL = 1_900  # open elements from which on any element is closed at once

# Elements that only place and format what is inside. No link and no medium is told from them.
_LAYOUT = frozenset(
    """
    abbr address article aside b bdi bdo big blockquote body caption center cite code col colgroup dd del details dfn
    dir div dl dt em fieldset figure figcaption font footer form h1 h2 h3 h4 h5 h6 header hgroup html head i ins kbd
    label legend li main mark menu multicol nav nobr ol optgroup option p pre q s samp section select small span
    strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var
    """.split()  # noqa: SIM905 - one name a line would be a page
)
# HTML, "void elements", and old ones: they have no contents and no end tag.
_VOID = frozenset(("area", "base", "basefont", "br", "col", "frame", "hr", "img", "input", "link", "meta", "param"))
# To libxml2 these are none: what follows is inside, up to an end tag.
_VOID_BUT_NESTED = frozenset(("bgsound", "embed", "keygen", "source", "track", "wbr"))


def flattened(html: str) -> str:
    """Return a page in which fewer than 2,000 elements are open at any place.

    Layout tags that are nested deeper than 1,000 elements are left out, so that their contents stay. Other elements
    that are nested still deeper have an end tag at once: their contents follow them. Each other element gets its end
    tag where the element around it ends, so that the tree of the parser has the depth that is counted here.
    """
    return "".join(_pieces(html))


def _pieces(html: str) -> Iterator[str]:
    open_elements = _OpenElements()
    position = 0
    for tag in tags(html):
        yield html[position : tag.start]
        position = tag.end
        written = html[tag.start : tag.end]
        if tag.is_end:
            yield from open_elements.close(tag.name)
        elif tag.name in RAW_TEXT or tag.name in _VOID_BUT_NESTED:
            yield f"{written}</{tag.name}>"
        elif tag.name in _VOID or tag.closes_itself:
            yield written
        else:
            yield open_elements.open(tag.name, written)
    yield html[position:]


class _OpenElements:
    """The elements that are open at a place of the page."""

    def __init__(self) -> None:
        self._stack: list[tuple[str, bool]] = []  # name, and whether the rewritten page has the element open, too
        self._named: Counter[str] = Counter()
        self._kept = 0

    def open(self, name: str, tag: str) -> str:
        """Return the start tag as it is to be written."""
        is_layout = name in _LAYOUT
        is_kept = self._kept < (_DEEPEST if is_layout else _DEEPEST_OF_ALL)
        self._stack.append((name, is_kept))
        self._named[name] += 1
        self._kept += is_kept
        return tag if is_kept else "" if is_layout else f"{tag}</{name}>"

    def close(self, name: str) -> Iterator[str]:
        """Yield the end tags of an element and of those inside; nothing for an element that is not open."""
        while self._named[name]:
            last, is_kept = self._stack.pop()
            self._named[last] -= 1
            self._kept -= is_kept
            if is_kept:
                yield f"</{last}>"
            if last == name:
                return
