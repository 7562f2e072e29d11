"""The media that attributes of any element name: `data-*`, and all whose name has `src` in it.

Lazy loaders and galleries have hundreds of such attributes, so a value counts if it ends like a media file, whatever
the attribute is called. The words in the name only rank several attributes of one element.
"""

from __future__ import annotations

import json
import re
from enum import IntEnum
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote

from mediacrawl.extract.css import pictures_of_css
from mediacrawl.extract.references import LONGEST_LINK, kind_of_link
from mediacrawl.extract.srcset import largest_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mediacrawl.extract.links import Element

# Names that lay a page out and never name media: an element that has only these is passed over.
ORDINARY = frozenset(
    (
        *("class", "id", "title", "alt", "lang", "dir", "role", "tabindex", "hidden", "width", "height"),
        *("align", "border", "href", "target", "rel", "type", "name", "value", "content", "property", "media"),
        *("for", "method", "action", "cellpadding", "cellspacing", "valign", "bgcolor", "color", "size"),
        *("face", "colspan", "rowspan", "charset", "itemtype", "itemscope", "aria-label", "aria-hidden"),
        *("onclick", "placeholder", "datetime", "d", "fill", "viewbox", "xmlns", "loading", "decoding"),
        *("sizes", "nowrap", "checked", "selected", "http-equiv", "rev"),
    )
)
# Names without `data-` or `src`. `file` and `zoomfile` are of Discuz!, where `src` is a blank picture.
_OTHER_NAMES = frozenset(
    (*("file", "zoomfile", "original", "poster", "flashvars", "longdesc", "v-lazy", "lazy-background", "bg"),)
)
# Each names a picture for the background, whatever its path ends with.
_BACKGROUNDS = frozenset(("data-bg", "data-background", "data-background-image", "data-bg-image", "data-lazy-bg"))
_MOST_ATTRIBUTES = 1_000
_DEEPEST_ENTRY = 8  # lists inside each other; what is deeper belongs to one file
_SAME_SHAPE = 1.05  # by how much the ratio of width and height differs at most, where sizes are rounded
_LONGEST_NAME = 64  # characters; a longer name is no attribute that a script reads

# The last word of a name whose value is a text, even if the text is the name of a file.
_IS_TEXT = re.compile(
    r"(?:^|[-_:.])(?:id|key|title|alt|caption|label|text|desc|description|component|class|credit|type|html"
    r"|width|height)$"
    r"|name$|src(?:doc|lang)$"
)
# A small or temporary picture, or one of something else.
_LESSER = re.compile(
    r"low|small|mobile|canonical|thumb|tiny|mini|fall|fail|error|hover|over$|placeholder|preview|blur|lqip|oldsrc|facebook"
    r"|twitter|pin-|pinterest|share|social|icon|logo|avatar|default|no-?image|missing|(?<!lazy)(?<!lazy-)load(?:er|ing)"
)
# What a script puts in the place of `src`, or a larger picture.
_LAZY = re.compile(
    r"lazy|(?<!over)(?<!up)(?<!down)load|defer|delay|async|unveil|full|large|big|orig|hi-?res|high|retina|zoom|max|master"
    r"|[-_](?:hd|2x)|echo|actual|(?<![a-z])real"
)
_IS_SRC = re.compile(r"(?:data-)?(?:ima?ge?)?[-_]?src")
# Another picture of the element (`data-rollover-src`), or the only one if a script of this page calls it so.
_SOURCE = re.compile(r"src|[-_]bg|background")
# Names of Vue and Angular: the value is an expression, in which `item.jpg` is a property.
_IS_EXPRESSION = re.compile(r"[\[(:*@#]|v-|x-bind")
_IS_NO_EXPRESSION = re.compile(r"/|https?:|[\[{]", re.IGNORECASE)
_ADDRESS = re.compile(
    r"src|url|href|link|file|path|image|img|photo|pic|poster|cover|video|movie|audio|sound|song|track|media|mp[34]"
    r"|webm|ogg|bg|background|original|lazy|default|large|full|zoom|thumb|stream|hls|content"
)
_DESCRIPTORS = re.compile(r"\s*[^\s,]\S*\s+[0-9]+(?:\.[0-9]+)?[wx]\s*(?:[,|\[]|$)")
# Between the items of a list. Commas, parentheses and bars are in URLs as well, so it depends on what is around them.
_BETWEEN = re.compile(
    r"[\s\"'\[\]\\^`]|[,;|](?=[\s,;|]|https?:|/|$)|url\(|\)(?=[\s,;]|$)"
    r"|(?:(?<=\.(?:jpg|png|gif|svg|mp3|mp4|ogg|wav))|(?<=\.(?:jpeg|webp|avif|webm)))[,;|]",
    re.IGNORECASE,
)
_ENCODED_URL = re.compile(r"https?%3A%2F%2F", re.IGNORECASE)
_WITH_BLANKS = re.compile(r"(?:https?:/|\.\.?)?/[^\"'\[\],;|<>(){}]*", re.IGNORECASE)
_END_AND_BLANK = re.compile(r"\.[A-Za-z0-9]{2,5}\s")
_SIZES = ("width", "w", "size", "height", "h", "bitrate", "res")
_SIDES = (("width", "w"), ("height", "h"))
_IS_IN_CSS = re.compile(r"(?:-webkit-)?(?:url|image-set)\(", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,9}")
_WIDTH = re.compile(r"(?:\{|%7B){1,2}\s*(?:width|w)\s*(?:\}|%7D){1,2}", re.IGNORECASE)


class Rank(IntEnum):
    """How an attribute compares with others of its element by the words in its name, the best first."""

    LAZY = 0
    SOURCE = 1
    OTHER = 2
    LESSER = 3


_Entry: TypeAlias = tuple[int, ...]


class Reference(NamedTuple):
    """A reference to media in an attribute.

    Attributes:
        is_listed: the attribute holds JSON or a list.
        rank: how the attribute compares with others.
        link: the reference as written.
        kind: the kind of the file.
        name: the name of the attribute, if it holds a list.
        entry: the place of the reference in lists inside each other. References at one place are of one file.
    """

    is_listed: bool
    rank: Rank
    link: str
    kind: str
    name: str = ""
    entry: _Entry = ()


def attributes_of(element: Element) -> dict[str, str]:
    """Return the attributes of an element, with the largest of `data-widths` in the place of each `{width}`.

    Of more than a thousand attributes, the first thousand are returned: lxml searches each value from the beginning.
    """
    names = element.keys()
    if len(names) <= _MOST_ATTRIBUTES:
        attributes: dict[str, str] = dict(element.items())
    else:
        attributes = {name: element.get(name) for name in islice(names, _MOST_ATTRIBUTES)}
    widths = [number for name in attributes if "widths" in name for number in _NUMBER.findall(attributes[name])]
    if widths:
        largest = max(widths, key=int)
        attributes = {name: _WIDTH.sub(largest, value) for name, value in attributes.items()}
    return attributes


def references_in(attributes: dict[str, str]) -> list[Reference]:
    """Return the media of all attributes that may name some, the best first."""
    found = (
        reference
        for name, value in attributes.items()
        if name not in ORDINARY and (rank := _rank(name)) is not None
        for reference in _read(name, value, rank)
    )
    return sorted(found, key=itemgetter(0, 1))


def files_of(references: list[Reference]) -> Iterator[list[str]]:
    """Yield the files that `references` of one kind name, each as its links, the best first.

    A list of several entries names a file in each. All other references of the element are of one file. Of several
    lists, those with small pictures are left out.
    """
    lists: dict[str, dict[_Entry, list[str]]] = {}
    ranks: dict[str, Rank] = {}
    for reference in references:
        lists.setdefault(reference.name, {}).setdefault(reference.entry, []).append(reference.link)
        ranks[reference.name] = min(reference.rank, ranks.get(reference.name, Rank.LESSER))
    long = {name for name, entries in lists.items() if name and len(entries) > 1}
    others = [reference.link for reference in references if reference.name not in long]
    if others:
        yield others
    best = min((ranks[name] for name in long), default=Rank.LESSER)
    for name, entries in lists.items():
        if name in long and (ranks[name] < Rank.LESSER or ranks[name] == best):
            yield from (links for _, links in sorted(entries.items()))


def may_be_url(value: str) -> bool:
    """Return whether a value may be one URL: no JSON, no list, no text."""
    return (
        len(value) <= LONGEST_LINK
        and not _ENCODED_URL.match(value)
        and (not _BETWEEN.search(value) or _has_blanks(value))
    )


def _rank(name: str) -> Rank | None:
    """Return the rank of an attribute by its name, None if it never names media."""
    return _rank_of_name(name) if len(name) <= _LONGEST_NAME else None


@lru_cache(1024)
def _rank_of_name(name: str) -> Rank | None:
    if not (name.startswith("data-") or "src" in name or name in _OTHER_NAMES) or _IS_TEXT.search(name):
        return None
    return Rank.LAZY if _IS_SRC.fullmatch(name) else _rank_of_words(name)


def _rank_of_words(name: str) -> Rank:
    if _LESSER.search(name):
        return Rank.LESSER
    if _LAZY.search(name):
        return Rank.LAZY
    return Rank.SOURCE if _SOURCE.search(name) else Rank.OTHER


def _read(name: str, value: str, rank: Rank) -> Iterator[Reference]:
    value = value.strip()
    if _ENCODED_URL.match(value):
        value = unquote(value)
    if _IS_EXPRESSION.match(name) and not _IS_NO_EXPRESSION.match(value):
        return
    if _IS_IN_CSS.match(value):
        for number, link in enumerate(pictures_of_css(f"background: {value}")):
            if name in _BACKGROUNDS or kind_of_link(link):
                yield Reference(False, rank, link, "image", name, (number,))
    elif "srcset" in name or name.endswith("bgset") or ("." in value and _DESCRIPTORS.match(value)):
        yield from (Reference(False, rank, link, "image") for link in largest_first(value))
    elif name in _BACKGROUNDS and "/" in value and not _BETWEEN.search(value):
        yield Reference(False, rank, value, "image")
    elif "." in value and "<" not in value:
        yield from _read_any(name, value, rank)


def _read_any(name: str, value: str, rank: Rank) -> Iterator[Reference]:
    """Read a value that names media if it ends like a file of media, whatever its attribute is for."""
    if name == "flashvars":
        yield from _listed(rank, name, (((), part) for _, part in parse_qsl(value)))
    elif value[0] in "[{" and (data := _json(value)) is not None:
        yield from _listed(rank, name, _links_in_json(name, data))
    elif may_be_url(value):
        kind = kind_of_link(value)
        if kind and ("/" in value or _ADDRESS.search(name)):
            yield Reference(False, rank, value, kind)
    else:
        yield from _listed(rank, name, _links_in_list(value))


def _has_blanks(value: str) -> bool:
    """Return whether a value is one URL with blanks in its path, as a person writes it: `/my photo.jpg`."""
    return _WITH_BLANKS.fullmatch(value) is not None and not _END_AND_BLANK.search(value)


def _listed(rank: Rank, name: str, links: Iterable[tuple[_Entry, str]]) -> Iterator[Reference]:
    for entry, link in links:
        if kind := kind_of_link(link):
            yield Reference(True, rank, link, kind, name, entry)


def _links_in_list(value: str) -> Iterator[tuple[_Entry, str]]:
    """Yield the addresses of a list. Words beside them tell which one is for which screen: then they are one file."""
    parts = dict.fromkeys(filter(None, _BETWEEN.split(value)))
    links = [part for part in parts if "/" in part]
    has_words = len(links) < len(parts)
    yield from (((() if has_words else (number,)), link) for number, link in enumerate(links))


def _json(value: str) -> Any:
    try:
        return json.loads(value, strict=False)
    except (ValueError, RecursionError):
        return None


def _links_in_json(name: str, data: Any) -> Iterator[tuple[_Entry, str]]:
    """Yield the addresses in JSON, those with the largest numbers beside them first, then by their keys."""
    found: list[tuple[int, Rank, _Entry, str]] = []
    waiting: list[tuple[str, int, _Entry, Any]] = [(name, 0, (), data)]
    while waiting:
        key, size, entry, value = waiting.pop()
        if isinstance(value, str) and ("/" in value or _ADDRESS.search(key)):
            found.append((-(_number(key) or size), _rank_of_words(key), entry, value))
        elif isinstance(value, list):
            is_one = len(value) < 2 or len(entry) > _DEEPEST_ENTRY or _are_sizes(value)
            parts = reversed(list(enumerate(value)))
            waiting.extend((key, size, entry if is_one else (*entry, at), part) for at, part in parts)
        elif isinstance(value, dict):
            size = _size_of(value) or size
            waiting.extend((key[:_LONGEST_NAME].lower(), size, entry, part) for key, part in reversed(value.items()))
    yield from ((entry, link) for _, _, entry, link in sorted(found, key=itemgetter(0, 1)))


def _size_of(value: dict[str, Any]) -> int:
    return next(filter(None, (_number(value.get(name)) for name in _SIZES)), 0)


def _are_sizes(entries: list[Any]) -> bool:
    """Return whether the entries of a list are one picture in several sizes: no two are alike, but their shape is."""
    if not all(isinstance(entry, dict) for entry in entries):
        return False
    sizes = {_size_of(entry) for entry in entries}
    if 0 in sizes or len(sizes) < len(entries):
        return False
    sides = [[next(filter(None, map(_number, map(entry.get, names))), 0) for names in _SIDES] for entry in entries]
    ratios = [width / height for width, height in sides if width and height]
    return not ratios or max(ratios) < _SAME_SHAPE * min(ratios)


def _number(value: Any) -> int:
    """Return the number that a value is or begins with, 0 if it does not."""
    match = _NUMBER.match(str(value)) if isinstance(value, str | int | float) else None
    return int(match[0]) if match else 0
