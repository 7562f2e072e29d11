"""Every picture, song and video that a page shows or links to.

These links are taken, in the order of the page, each URL once:

=========================================  ==========================================================
`img`, `amp-img`, `input type=image`       one picture: the largest of `srcset` and its lazy forms, else
                                           a lazy attribute, else `src`
`picture`                                  one picture: the largest of all its `source`s and its `img`
`audio`, `video`                           `src`, `poster`, and each `source` and `track` inside
`source`, `track` elsewhere                `srcset` or `src`
`a`, `area`                                `href` with a path that ends like a media file; with `download`, also if
                                           the file name in that attribute or in the query does
`embed`, `object`                          a media `type`, or a path that ends like a media file
`link rel=image_src`                       `href`
`meta`                                     Open Graph and Twitter cards
=========================================  ==========================================================

The first usable http(s) URL of an element counts, so a placeholder in a `data:` URL is never taken. A thumbnail
inside a link to the large picture is taken as well as the large picture: the caller chooses between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from mediacrawl.extract.links import Element
from mediacrawl.extract.srcset import Candidate, by_size, parse_srcset
from mediacrawl.extract.xpath import evaluate
from mediacrawl.headers.media_type import kind_of_path, kind_of_type

if TYPE_CHECKING:
    from mediacrawl.extract.links import Page

KINDS = ("image", "audio", "video")

Reader: TypeAlias = Callable[["Page", Element, list[Element]], Iterator["MediaLink"]]

_LAZY_SRCSET = ("data-srcset", "data-lazy-srcset", "srcset")
# `file` and `zoomfile` are of Discuz!, where `src` is a blank picture.
_LAZY_SRC = (
    *("data-src", "data-original", "data-original-src", "data-lazy-src", "data-lazy", "data-actualsrc"),
    *("data-echo", "zoomfile", "file"),
)
# These may also be the URL of a page, so they count only if they end like a media file.
_MAYBE_SRC = ("data-url", "data-image")
_INSTEAD_OF_SRC = frozenset((*_LAZY_SRC, *_MAYBE_SRC))
_META_KINDS = {
    **dict.fromkeys(("og:image", "og:image:url", "og:image:secure_url"), "image"),
    **dict.fromkeys(("og:video", "og:video:url", "og:video:secure_url"), "video"),
    **dict.fromkeys(("og:audio", "og:audio:url", "og:audio:secure_url"), "audio"),
    **dict.fromkeys(("twitter:image", "twitter:image:src"), "image"),
    "twitter:player:stream": "video",
}
_PLAYER_TYPES = ("text/html", "application/xhtml", "application/x-shockwave-flash")
_PATH = re.compile(r"(?:[^:/?#]+:)?(?://[^/?#]*)?([^?#]*)")  # RFC 3986 appendix B; applied to each link
_BREAKS = str.maketrans("", "", "\t\r\n")  # characters that no URL has, and browsers remove
_LINK_ATTRIBUTES = ("href", "src", "content", "poster", "data", "data-url", "data-href", "value")


@dataclass(frozen=True)
class MediaLink:
    """An absolute URL, and its kind: "image", "audio" or "video" if the page or the path shows it, else None.

    `is_hyperlink` is set for the `href` of an `<a>` or `<area>`: it may lead to a page, whatever its path ends with.
    """

    url: str
    kind: str | None
    is_hyperlink: bool = field(default=False, compare=False)


def find_media(page: Page, kinds: Collection[str] = KINDS) -> list[MediaLink]:
    """Return all media of `kinds` on the page, see the table above. Never raises.

    A link of unknown kind (a lone `<source>` without type and extension) is included.
    """
    return _chosen(_walk(page), kinds)


def media_by_xpath(
    page: Page, expression: str, kinds: Collection[str] = KINDS, name: str = "media"
) -> list[MediaLink]:
    """Return the media that an XPath selects.

    Media elements are read as by `find_media`. Any other element gives its lazy attribute, `href` or `src`; an
    attribute or a text gives its value. A link of unknown kind is included.

    Raises:
        BadXPath: the expression fails on this page; the message calls it `name`.
    """
    results = [result.root for result in evaluate(page.selector, expression, name)]
    split = expression.rstrip().endswith("srcset")  # `//img/@srcset` selects strings with several URLs
    return _chosen((link for result in results for link in _selected(page, result, split)), kinds)


def _chosen(links: Iterable[MediaLink], kinds: Collection[str]) -> list[MediaLink]:
    first: dict[str, MediaLink] = {}
    for link in links:
        if link.kind is None or link.kind in kinds:
            known = first.get(link.url)
            if known is None or (known.is_hyperlink and not link.is_hyperlink):  # it is shown, too
                first[link.url] = link
    return list(first.values())


def _walk(page: Page) -> Iterator[MediaLink]:
    """Yield the media in one pass. Elements that an owner has read (the sources of a picture) are not read again."""
    claimed: set[Element] = set()
    players = set(_player_metas(page.root))
    for element in page.root.iter(*_READERS):
        if element not in claimed and element not in players:
            members = list(_members(element)) if element.tag in _OWNERS else []
            claimed.update(members)
            yield from _READERS[element.tag](page, element, members)


def _members(owner: Element) -> Iterator[Element]:
    """Yield the sources, tracks and images that belong to a picture, audio or video, in order.

    lxml's parser does not know that `<source>` is empty: it puts the elements that follow inside, the img too.
    """
    tags = ("source", "img") if owner.tag == "picture" else ("source", "track")
    waiting = [owner]
    while waiting:
        element = waiting.pop()
        if element is not owner:
            yield element
        if element is owner or element.tag != "img":
            waiting.extend(element.iterchildren(*tags, reversed=True))


def _read_picture(page: Page, element: Element, members: list[Element]) -> Iterator[MediaLink]:
    yield from _link(page, _picture_links([*members, element]), "image")


def _picture_links(elements: list[Element]) -> Iterator[str]:
    """Yield all candidates for the picture, the largest first. A candidate without a size counts as 1x, as in HTML.

    Equal sizes keep the order of the page, except that an element with a maximal width in `media` goes last: it is
    for small screens.
    """
    ordered = sorted(elements, key=lambda element: "max-width" in element.get("media", ""))
    candidates = (candidate for element in ordered for candidate in _candidates(element))
    return (candidate.url for candidate in by_size(candidates))


def _candidates(element: Element) -> Iterator[Candidate]:
    for name in _LAZY_SRCSET:
        if value := element.get(name):
            yield from parse_srcset(value)
    yield from map(Candidate, _source_links(element))


def _source_links(element: Element) -> Iterator[str]:
    """Yield the lazy attributes before `src`, a placeholder beside them. `data-lazy="true"` is only a flag."""
    if not _INSTEAD_OF_SRC.isdisjoint(element.keys()):
        values = (element.get(name, "") for name in _LAZY_SRC)
        yield from (value for value in values if "/" in value or "." in value)
        maybe = (element.get(name, "") for name in _MAYBE_SRC)
        yield from (value for value in maybe if value and _path_kind(value))
    yield element.get("src", "")


def _read_input(page: Page, element: Element, members: list[Element]) -> Iterator[MediaLink]:
    if element.get("type", "").strip().lower() == "image":
        yield from _read_picture(page, element, members)


def _read_player(page: Page, element: Element, members: list[Element]) -> Iterator[MediaLink]:
    yield from _link(page, _source_links(element), element.tag)
    yield from _link(page, (element.get("data-poster", ""), element.get("poster", "")), "image")
    for member in members:
        yield from _link(page, _source_links(member), element.tag)


def _read_source(page: Page, element: Element, _members: list[Element]) -> Iterator[MediaLink]:
    """Read a source without an owner: `srcset` is only for pictures; else its type or its path gives the kind."""
    is_picture = any(element.get(name) for name in _LAZY_SRCSET)
    kind = "image" if is_picture else kind_of_type(element.get("type", ""))
    yield from _link(page, _picture_links([element]), kind)


def _read_track(page: Page, element: Element, _members: list[Element]) -> Iterator[MediaLink]:
    yield from _link(page, _source_links(element), "video")


def _read_anchor(page: Page, element: Element, _members: list[Element]) -> Iterator[MediaLink]:
    link = element.get("href", "")
    for found in _media_only(page, link, _download_kind(element, link)):
        yield replace(found, is_hyperlink=True)


def _download_kind(element: Element, link: str) -> str | None:
    """Return the kind of an `<a download>`, which leads to a file, not a page: `/download?name=song.mp3` names it."""
    if element.get("download") is None:
        return None
    try:
        values = [value for _, value in parse_qsl(urlsplit(link).query)]
    except ValueError:
        values = []
    return next(filter(None, map(kind_of_path, [element.get("download"), *values])), None)


def _read_embedded(page: Page, element: Element, _members: list[Element]) -> Iterator[MediaLink]:
    link = element.get("data", "") if element.tag == "object" else element.get("src", "")
    yield from _media_only(page, link, kind_of_type(element.get("type", "")))


def _read_link(page: Page, element: Element, _members: list[Element]) -> Iterator[MediaLink]:
    if "image_src" in element.get("rel", "").lower().split():
        yield from _link(page, [element.get("href", "")], "image")


def _read_meta(page: Page, element: Element, _members: list[Element]) -> Iterator[MediaLink]:
    kind = _META_KINDS.get(_meta_name(element))
    if kind:
        yield from _link(page, [element.get("content", "")], kind)


def _player_metas(root: Element) -> Iterator[Element]:
    """Yield each `og:video` and `og:audio` that is an HTML page around the media, according to the type after it.

    A URL with a path that ends like a media file is media, regardless of the type.
    """
    types: dict[str, str] = {}
    for meta in reversed(list(root.iter("meta"))):
        name, content = _meta_name(meta), meta.get("content", "")
        family = ":".join(name.split(":", 2)[:2])
        if name == f"{family}:type":
            types[family] = content.strip().lower()
        elif types.get(family, "").startswith(_PLAYER_TYPES) and not _path_kind(content):
            yield meta


def _meta_name(meta: Element) -> str:
    """Return the name of a meta. Open Graph uses `property`, Twitter uses `name`, and many pages confuse them."""
    name: str = meta.get("property") or meta.get("name") or ""
    return name.strip().lower()


_OWNERS = ("picture", "audio", "video")
_READERS: dict[str, Reader] = {
    **dict.fromkeys(("img", "amp-img", "picture"), _read_picture),
    **dict.fromkeys(("audio", "video"), _read_player),
    **dict.fromkeys(("a", "area"), _read_anchor),
    **dict.fromkeys(("embed", "object"), _read_embedded),
    "input": _read_input,
    "source": _read_source,
    "track": _read_track,
    "link": _read_link,
    "meta": _read_meta,
}


def _link(page: Page, links: Iterable[str], kind: str | None) -> Iterator[MediaLink]:
    """Yield the first of `links` that is a usable URL."""
    url = next(filter(None, map(page.resolve, links)), None)
    if url:
        yield MediaLink(url, kind or _path_kind(url))


def _media_only(page: Page, link: str, kind: str | None) -> Iterator[MediaLink]:
    """Yield `link` if its type or its path shows that it is media."""
    url = page.resolve(link)
    kind = kind or _path_kind(url or "")
    if url and kind:
        yield MediaLink(url, kind)


def _path_kind(link: str) -> str | None:
    match = _PATH.match(link.translate(_BREAKS))
    return kind_of_path(match[1]) if match else None


def _selected(page: Page, result: Any, split: bool) -> Iterator[MediaLink]:
    """Yield the links of one result of an XPath: an element, or the text of an attribute or a text node."""
    if isinstance(result, str):
        links = [c.url for c in by_size(parse_srcset(result))] if split else [result]
        yield from _link(page, links, "image" if split else None)
    elif isinstance(getattr(result, "tag", None), str):  # a comment has a function as its tag
        yield from _of_element(page, result)


def _of_element(page: Page, element: Element) -> Iterator[MediaLink]:
    reader = _READERS.get(element.tag)
    members = list(_members(element)) if element.tag in _OWNERS else []
    links = list(reader(page, element, members)) if reader else []
    named = (element.get(name, "") for name in _LINK_ATTRIBUTES)
    yield from links or _link(page, [*_source_links(element), *named], None)
