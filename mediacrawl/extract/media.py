"""Every picture, song and video that a page shows or links to.

These links are taken, in the order of the page, each URL once:

======================================  ============================================================================
`img`, `amp-img`, `amp-anim`, `image`,  one picture: the largest of `srcset` or its lazy form, else a lazy attribute,
`input type=image`                      else `src` (`href` in SVG), else what any other attribute names
`picture`                               one picture: of the first `source` that a browser on a large screen takes,
                                        else of its `img`, else of the sources for other screens
`audio`, `video`, `amp-audio`,          `src`, `poster`, and each `source` and `track` inside
`amp-video`
`source`, `track` elsewhere             `srcset` or `src`
`a`, `area`                             `href` with a path that ends like a media file, with a media `type`, or with
                                        `rel=enclosure`; with `download`, also if the file name in that attribute or
                                        in the query ends like one
`embed`, `object`                       a media `type`, or a path that ends like a media file
`param`                                 a `value` with a path that ends like a media file, and those in `flashvars`
`link`                                  `rel=image_src`, `rel=enclosure`, `rel=preload` as image, audio or video (of
                                        `imagesrcset` the largest), any other with a media `type` that is no icon
`meta`                                  Open Graph and Twitter cards
`script type=application/ld+json`       each `contentUrl`, and the pictures of all things
`itemprop` of any element               `contentUrl`, and the pictures of the item
`style` of any element, and `<style>`   the pictures of `url()` and `image-set()` for a large screen; linked style
                                        sheets are not read
`background` of any element             the picture
`data-*`, and any name with `src` in    a path that ends like a media file: one picture, one song and one video of an
it, of any element                      element that shows none, and one of each entry of a list; an attribute with a
                                        large picture comes first
======================================  ============================================================================

An `img` with a `src` and an attribute such as `data-alt-src`, whose name does not say that it is the same picture,
gives both. Otherwise the first usable http(s) or ftp(s) URL of an element counts: a placeholder in a `data:` URL is
never taken. A thumbnail inside a link to the large picture is taken as well as the large picture: the caller chooses
between them.

These are not taken: text that a template was to replace (`{{ url }}`), pictures named like blanks (`spacer.gif`), the
`src` of an `img` that is at most one pixel wide and high, or that is named like a counter of visits (`piwik.php`,
`/hit?id=5`), files of documents, and files of TypeScript (`.ts`), unless their type or their element says that they
are media.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from lxml import etree

from mediacrawl.extract.attributes import (
    ORDINARY,
    Rank,
    Reference,
    attributes_of,
    files_of,
    may_be_url,
    references_in,
)
from mediacrawl.extract.css import pictures_of_css
from mediacrawl.extract.media_queries import applies
from mediacrawl.extract.references import LONGEST_LINK, is_blank, is_counter, is_stand_in, is_template, kind_of_link
from mediacrawl.extract.srcset import by_size, largest_first, parse_srcset
from mediacrawl.extract.structured_data import media_of_json_ld, media_of_property
from mediacrawl.extract.xpath import evaluate
from mediacrawl.headers.media_type import is_web_image, kind_of_path, kind_of_type, media_type

if TYPE_CHECKING:
    from mediacrawl.extract.links import Element, Page

KINDS = ("image", "audio", "video")

Reader: TypeAlias = Callable[["Page", "_Node"], Iterator["MediaLink"]]

_SRCSETS = ("data-srcset", "data-lazy-srcset", "srcset")
# The value of these counts whatever its path ends with.
_LAZY_SRC = (
    *("data-src", "data-original", "data-original-src", "data-lazy-src", "data-lazy", "data-actualsrc"),
    *("data-echo", "zoomfile", "file"),
)
_META_KINDS = {
    **dict.fromkeys(("og:image", "og:image:url", "og:image:secure_url"), "image"),
    **dict.fromkeys(("og:video", "og:video:url", "og:video:secure_url"), "video"),
    **dict.fromkeys(("og:audio", "og:audio:url", "og:audio:secure_url"), "audio"),
    **dict.fromkeys(("twitter:image", "twitter:image:src"), "image"),
    "twitter:player:stream": "video",
}
_PLAYER_TYPES = ("text/html", "application/xhtml", "application/x-shockwave-flash")
_LINK_ATTRIBUTES = ("href", "src", "content", "poster", "data", "data-url", "data-href", "value")
_PICTURES = ("img", "amp-img", "amp-anim", "image", "feimage", "input")
# Attributes that the readers below read, or that are ordinary.
_READ = ORDINARY | {"src", "srcset", "poster", "data", "imagesrcset", "imagesizes", "as", "xlink:href"}
# Elements whose attributes are for scripts, for the head of the page, or count visits.
_SHOWS_NOTHING = frozenset(("script", "style", "link", "meta", "base", "param", "amp-pixel", "html", "head", "title"))
_ICON = re.compile(r"icon|^apple-")
_NO_SIDE = re.compile(r"\s*[01](?:\.[0-9]{1,9})?\s*(?:px)?\s*", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden", re.IGNORECASE)
_FAR_AWAY = re.compile(r"(?:left|top|right|bottom|text-indent)\s{0,9}:\s{0,9}-[0-9]{4}", re.IGNORECASE)
_STYLED_SIDE = re.compile(r"(?<![\w-])(width|height)\s{0,9}:\s{0,9}([0-9.]{1,19}[a-z%]{0,4})", re.IGNORECASE)


@dataclass(frozen=True)
class MediaLink:
    """An absolute URL, and its kind: "image", "audio" or "video" if the page or the path shows it, else None.

    `is_hyperlink` is set for the `href` of an `<a>` or `<area>`: it may lead to a page, whatever its path ends with.
    It is set as well for the `contentUrl` of a video or song whose path does not end like media.
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


class _Node(NamedTuple):
    """An element, and what has been read of it: its attributes, and the elements that belong to it."""

    element: Element
    tag: str
    attributes: dict[str, str]
    members: list[_Node]


def _node(element: Element, members: list[_Node]) -> _Node:
    return _Node(element, element.tag, attributes_of(element), members)


def _walk(page: Page) -> Iterator[MediaLink]:
    """Yield the media in one pass. Elements that an owner has read (the sources of a picture) are not read again."""
    claimed: set[Element] = set()
    players = set(_player_metas(page.root))
    for element in page.root.iter(etree.Element):
        reader = _READERS.get(element.tag)
        if reader is None:
            if not ORDINARY.issuperset(element.keys()):
                yield from _read_attributes(page, _node(element, []), [])
        elif element not in claimed and element not in players:
            members = list(_members(element)) if element.tag in _OWNERS else []
            claimed.update(members)
            yield from _read(page, element, reader, members)
        elif style := element.get("style"):
            yield from _read_style(page, style)


def _read(page: Page, element: Element, reader: Reader, members: list[Element]) -> Iterator[MediaLink]:
    node = _node(element, [_node(member, []) for member in members])
    links = list(reader(page, node))
    yield from links
    if not _READ.issuperset(node.attributes):
        yield from _read_attributes(page, node, links)


def _members(owner: Element) -> Iterator[Element]:
    """Yield the sources, tracks and images that belong to a picture, audio or video, in order.

    lxml's parser does not know that `<source>` is empty: it puts the elements that follow inside, the img too. An
    element of AMP also has what is shown instead: elements marked `fallback` or `placeholder`, and a `<noscript>`.
    """
    waiting = [owner]
    while waiting:
        element = waiting.pop()
        if element is not owner and element.tag != "noscript":
            yield element
        if element.tag not in {"img", "track"}:
            children = element.iterchildren(*_MEMBERS[owner.tag], reversed=True)
            waiting.extend(child for child in children if _belongs(child, owner))


def _belongs(child: Element, owner: Element) -> bool:
    if not child.tag.startswith("amp-"):
        return True
    is_before = child.get("placeholder") is not None and owner.tag in {"amp-img", "amp-anim"}
    return is_before or child.get("fallback") is not None


def _read_picture(page: Page, node: _Node) -> Iterator[MediaLink]:
    yield from _link(page, _image_links(node), "image")


def _read_sources(page: Page, node: _Node) -> Iterator[MediaLink]:
    yield from _link(page, _picture_links(node.members), "image")


def _picture_links(members: list[_Node]) -> Iterator[str]:
    """Yield the candidates for the picture as a browser on a large screen chooses among the sources and the img.

    The first source for the screen counts, whatever sizes the others have. A source for another screen, of a type
    that not all browsers show, or after the img comes last: it is all that some pages have beside a placeholder.
    """
    others: list[_Node] = []
    has_img = False
    for member in members:
        has_img = has_img or member.tag == "img"
        if member.tag == "source" and (has_img or not _is_for_screen(member)):
            others.append(member)
        else:
            yield from _image_links(_without_src(member) if member.tag == "source" else member)
    for member in reversed(others):
        yield from _image_links(member)
    yield from (member.attributes.get("src", "") for member in members)


def _without_src(source: _Node) -> _Node:
    """Return a source without the attribute that browsers do not read in a picture."""
    if "src" not in source.attributes:
        return source
    return source._replace(attributes={name: value for name, value in source.attributes.items() if name != "src"})


def _is_for_screen(source: _Node) -> bool:
    mime = source.attributes.get("type", "").strip()
    return applies(source.attributes.get("media", "")) and (not mime or is_web_image(mime))


def _image_links(node: _Node) -> Iterator[str]:
    """Yield the candidates for the one picture of an element, the best first.

    A picture in a lazy attribute comes before `src`, which is a placeholder then; any other attribute comes after
    it, and JSON or a list comes last, as it may hold smaller pictures.
    """
    attributes = node.attributes
    source = attributes.get("src", "")
    if node.tag in {"image", "feimage"}:
        source = attributes.get("href") or attributes.get("xlink:href") or source
    is_tiny = node.tag == "img" and (_is_tiny(attributes) or _counts_visits(attributes, source))
    if _READ.issuperset(attributes):
        if not is_tiny:
            yield from largest_first(attributes.get("srcset", ""))
            yield source
        return
    others = {name: value for name, value in attributes.items() if name not in _READ}
    references = [reference for reference in references_in(others) if reference.kind == "image"]
    lazy = [reference.link for reference in references if _comes_before_src(reference)]
    sources = [reference.link for reference in references if _may_stand_in(reference)]
    if is_tiny:
        yield from sources
        return
    for name in _SRCSETS:
        yield from largest_first(attributes.get(name, ""))
    yield from (value for value in map(attributes.get, _LAZY_SRC) if value and _is_lazy_source(value))
    yield from lazy
    if not is_stand_in(source):
        yield source
    yield from sources
    yield from (reference.link for reference in references)
    yield source


def _comes_before_src(reference: Reference) -> bool:
    return reference.rank is Rank.LAZY and not reference.is_listed


def _may_stand_in(reference: Reference) -> bool:
    return reference.rank <= Rank.SOURCE and not reference.is_listed


def _is_lazy_source(value: str) -> bool:
    """Return whether the value of a lazy attribute may be a URL. `data-lazy="true"` is only a flag."""
    return ("/" in value or "." in value) and "<" not in value and may_be_url(value.strip())


def _is_tiny(attributes: dict[str, str]) -> bool:
    """Return whether a picture has a side of at most one pixel, and no longer other side: it counts visits."""
    width, height, style = attributes.get("width"), attributes.get("height"), attributes.get("style")
    if style and (styled := {name.lower(): side for name, side in _STYLED_SIDE.findall(style)}):
        width, height = styled.get("width", width), styled.get("height", height)
    if width and height:
        return _NO_SIDE.fullmatch(width) is not None and _NO_SIDE.fullmatch(height) is not None
    return _NO_SIDE.fullmatch(width or height or "") is not None


def _counts_visits(attributes: dict[str, str], source: str) -> bool:
    """Return whether an img counts visits: it has no text, and its URL no extension, but the words of a counter.

    One that is hidden may have such a word anywhere. One that is far beside the page needs none.
    """
    if not source or source.startswith("data:") or attributes.get("alt", "").strip() or kind_of_link(source):
        return False
    style = attributes.get("style", "")
    if style and _FAR_AWAY.search(style):
        return True
    return is_counter(source, is_hidden=_HIDDEN.search(style) is not None)


def _read_input(page: Page, node: _Node) -> Iterator[MediaLink]:
    if node.attributes.get("type", "").strip().lower() == "image":
        yield from _read_picture(page, node)


def _source_links(attributes: dict[str, str]) -> Iterator[str]:
    """Yield the lazy attributes of a player or its source before `src`."""
    if not _READ.issuperset(attributes):
        yield from (value for value in map(attributes.get, _LAZY_SRC) if value and _is_lazy_source(value))
    yield attributes.get("src", "")


def _read_player(page: Page, node: _Node) -> Iterator[MediaLink]:
    kind = node.tag.removeprefix("amp-")
    yield from _link(page, _source_links(node.attributes), kind)
    yield from _link(page, (node.attributes.get("data-poster", ""), node.attributes.get("poster", "")), "image")
    for member in node.members:
        if member.tag in {"source", "track"}:
            yield from _link(page, _source_links(member.attributes), kind)


def _read_source(page: Page, node: _Node) -> Iterator[MediaLink]:
    """Read a source without an owner: `srcset` is only for pictures; else its type or its path gives the kind."""
    is_picture = any(map(node.attributes.get, _SRCSETS))
    kind = "image" if is_picture else kind_of_type(node.attributes.get("type"))
    yield from _link(page, _image_links(node) if is_picture else _source_links(node.attributes), kind)


def _read_track(page: Page, node: _Node) -> Iterator[MediaLink]:
    yield from _link(page, _source_links(node.attributes), "video")


def _read_anchor(page: Page, node: _Node) -> Iterator[MediaLink]:
    attributes = node.attributes
    link = attributes.get("href", "")
    if "rel" in attributes and "enclosure" in _relations(attributes):
        found = _enclosure(page, attributes)
    else:
        kind = kind_of_type(attributes["type"]) if "type" in attributes else None
        found = _media_only(page, link, kind or _download_kind(attributes.get("download"), link))
    for one in found:
        yield MediaLink(one.url, one.kind, is_hyperlink=True)


def _relations(attributes: dict[str, str]) -> list[str]:
    return attributes.get("rel", "").lower().split()


def _enclosure(page: Page, attributes: dict[str, str]) -> Iterator[MediaLink]:
    """Yield the file of an item, of unknown kind if neither its type nor its path says what it is."""
    link, mime = attributes.get("href", ""), media_type(attributes.get("type"))
    kind = kind_of_type(mime) or kind_of_link(link)
    if kind or mime in {None, "application/octet-stream"}:
        yield from _link(page, [link], kind)


def _download_kind(name: str | None, link: str) -> str | None:
    """Return the kind of an `<a download>`, which leads to a file, not a page: `/download?name=song.mp3` names it."""
    if name is None:
        return None
    values = [value for _, value in parse_qsl(link.partition("#")[0].partition("?")[2])]
    return next(filter(None, map(kind_of_path, [name, *values])), None)


def _read_embedded(page: Page, node: _Node) -> Iterator[MediaLink]:
    link = node.attributes.get("data" if node.tag == "object" else "src", "")
    yield from _media_only(page, link, kind_of_type(node.attributes.get("type")))


def _read_param(page: Page, node: _Node) -> Iterator[MediaLink]:
    value = node.attributes.get("value", "")
    if node.attributes.get("name", "").strip().lower() == "flashvars":
        yield from _files_of_other_kinds(page, references_in({"flashvars": value}), set())
    else:
        yield from _media_only(page, value, None)


def _read_link(page: Page, node: _Node) -> Iterator[MediaLink]:
    attributes = node.attributes
    relations, link = _relations(attributes), attributes.get("href", "")
    if "image_src" in relations:
        yield from _link(page, [link], "image")
    elif "enclosure" in relations:
        yield from _enclosure(page, attributes)
    elif "preload" in relations:
        kind = attributes.get("as", "").strip().lower()
        if kind in KINDS and applies(attributes.get("media", "")):
            yield from _link(page, [*largest_first(attributes.get("imagesrcset", "")), link], kind)
    elif (kind_of := kind_of_type(attributes.get("type"))) and not any(map(_ICON.search, relations)):
        yield from _link(page, [link], kind_of)


def _read_meta(page: Page, node: _Node) -> Iterator[MediaLink]:
    kind = _META_KINDS.get(_meta_name(node.element))
    if kind:
        yield from _link(page, [node.attributes.get("content", "")], kind)


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
        elif types.get(family, "").startswith(_PLAYER_TYPES) and not kind_of_link(content):
            yield meta


def _meta_name(meta: Element) -> str:
    """Return the name of a meta. Open Graph uses `property`, Twitter uses `name`, and many pages confuse them."""
    name: str = meta.get("property") or meta.get("name") or ""
    return name.strip().lower()


def _read_script(page: Page, node: _Node) -> Iterator[MediaLink]:
    if media_type(node.attributes.get("type")) != "application/ld+json":
        return
    for link, kind in media_of_json_ld(node.element.text or ""):
        is_hyperlink = kind != "image" and not kind_of_link(link)  # many pages name the page of the video
        yield from (MediaLink(one.url, one.kind, is_hyperlink=is_hyperlink) for one in _link(page, [link], kind))


def _read_sheet(page: Page, node: _Node) -> Iterator[MediaLink]:
    is_css = media_type(node.attributes.get("type")) in {None, "text/css"}
    if is_css and applies(node.attributes.get("media", "")):
        yield from _read_style(page, node.element.text or "")


def _read_style(page: Page, css: str) -> Iterator[MediaLink]:
    for link in pictures_of_css(css):
        yield from _link(page, [link], "image")


def _read_attributes(page: Page, node: _Node, shown: list[MediaLink]) -> Iterator[MediaLink]:
    """Yield what the attributes of any element name, besides what it has `shown` as the element that it is."""
    attributes = node.attributes
    if "style" in attributes:
        yield from _read_style(page, attributes["style"])
    if "background" in attributes:
        yield from _link(page, [attributes["background"]], "image")
    is_hyperlink = node.tag in {"a", "area"}
    if "itemprop" in attributes and (described := media_of_property(node.element)):
        yield from (
            MediaLink(one.url, one.kind, is_hyperlink=is_hyperlink)
            for one in _link(page, [described[0]], described[1])
        )
    if node.tag in _SHOWS_NOTHING:
        return
    references = references_in(attributes)
    kinds = {link.kind for link in shown}
    if node.tag in _PICTURES:
        yield from _second_picture(page, node, shown)
        kinds.add("image")
    elif kinds and is_hyperlink:  # the link may lead to a page about the large picture
        kinds -= {reference.kind for reference in references if _may_stand_in(reference)}
    yield from _files_of_other_kinds(page, references, kinds)


def _second_picture(page: Page, node: _Node, shown: list[MediaLink]) -> Iterator[MediaLink]:
    """Yield the picture that a script may put in the place of `src`: the name of its attribute does not tell."""
    if [link.url for link in shown] == [page.resolve_file(node.attributes.get("src"))]:
        others = {
            name: value for name, value in node.attributes.items() if name not in _READ and "srcset" not in name
        }
        seconds = (reference for reference in references_in(others) if reference.kind == "image")
        yield from _link(page, (second.link for second in seconds if _may_stand_in(second)), "image")


def _files_of_other_kinds(
    page: Page, references: list[Reference], kinds: Collection[str | None]
) -> Iterator[MediaLink]:
    for kind in KINDS:
        if kind not in kinds:
            for links in files_of([reference for reference in references if reference.kind == kind]):
                yield from _link(page, links, kind)


_OF_AMP = ("amp-img", "amp-anim", "img", "noscript")
_MEMBERS = {
    "picture": ("source", "img"),
    **dict.fromkeys(("audio", "video"), ("source", "track")),
    **dict.fromkeys(("amp-img", "amp-anim"), _OF_AMP),
    **dict.fromkeys(("amp-audio", "amp-video"), ("source", "track", "audio", "video", *_OF_AMP)),
}
_OWNERS = frozenset(_MEMBERS)
_READERS: dict[str, Reader] = {
    **dict.fromkeys(("img", "amp-img", "amp-anim", "image", "feimage"), _read_picture),
    **dict.fromkeys(("audio", "video", "amp-audio", "amp-video"), _read_player),
    **dict.fromkeys(("a", "area"), _read_anchor),
    **dict.fromkeys(("embed", "object"), _read_embedded),
    "picture": _read_sources,
    "input": _read_input,
    "source": _read_source,
    "track": _read_track,
    "param": _read_param,
    "link": _read_link,
    "meta": _read_meta,
    "script": _read_script,
    "style": _read_sheet,
}


def _link(page: Page, links: Iterable[str], kind: str | None) -> Iterator[MediaLink]:
    """Yield the first of `links` that is a usable URL, and no blank picture."""
    for link in links:
        if (url := _usable(page, link)) and not (kind == "image" and is_blank(url)):
            yield MediaLink(url, kind or kind_of_link(url))
            return


def _media_only(page: Page, link: str, kind: str | None) -> Iterator[MediaLink]:
    """Yield `link` if its type or its path shows that it is media."""
    kind = kind or kind_of_link(link)
    if kind and (url := _usable(page, link)):
        yield MediaLink(url, kind)


def _usable(page: Page, link: str) -> str | None:
    return None if len(link) > LONGEST_LINK or is_template(link) else page.resolve_file(link)


def _selected(page: Page, result: Any, split: bool) -> Iterator[MediaLink]:
    """Yield the links of one result of an XPath: an element, or the text of an attribute or a text node."""
    if isinstance(result, str):
        links = [c.url for c in by_size(parse_srcset(result))] if split else [result]
        yield from _link(page, links, "image" if split else None)
    elif isinstance(getattr(result, "tag", None), str):  # a comment has a function as its tag
        yield from _of_element(page, result)


def _of_element(page: Page, element: Element) -> Iterator[MediaLink]:
    reader = _READERS.get(element.tag, _read_nothing)
    members = list(_members(element)) if element.tag in _OWNERS else []
    links = list(_read(page, element, reader, members))
    named = (element.get(name, "") for name in _LINK_ATTRIBUTES)
    yield from links or _link(page, [*_source_links(attributes_of(element)), *named], None)


def _read_nothing(_page: Page, _node: _Node) -> Iterator[MediaLink]:
    yield from ()
