"""Media that a page describes for machines: JSON-LD and microdata with the terms of https://schema.org."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from lxml import etree

from mediacrawl.extract.references import kind_of_link
from mediacrawl.headers.media_type import kind_of_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element

_KIND_OF_CLASS = {
    **dict.fromkeys(("ImageObject", "Photograph"), "image"),
    **dict.fromkeys(("VideoObject", "MusicVideoObject"), "video"),
    **dict.fromkeys(("AudioObject", "Audiobook"), "audio"),
}
# Properties with the URL of a picture, or with an ImageObject.
_PICTURES = frozenset(("image", "images", "thumbnailUrl", "thumbnail", "photo", "photos", "screenshot"))
_MARKS_BEFORE = re.compile(r"\s*(?:<!--|(?://|/\*)?\s*<!\[CDATA\[(?:\s*\*/)?)?\s*")  # for browsers without scripts
_JSON = json.JSONDecoder(strict=False)  # pages have line breaks in strings
# HTML, "microdata: values": the attribute with the URL of a property. Any other element may have `content`.
_URL_ATTRIBUTES = {
    **dict.fromkeys(("audio", "embed", "iframe", "img", "source", "track", "video"), "src"),
    **dict.fromkeys(("a", "area", "link"), "href"),
    "object": "data",
}
_MEDIA_ELEMENTS = frozenset(("audio", "embed", "img", "source", "track", "video", "object"))  # read as what they are
_MOST_ANCESTORS = 20  # between a property and its item; no page has more in earnest

Described: TypeAlias = tuple[str, str | None]  # a reference, and its kind if it is known


def media_of_json_ld(text: str) -> Iterator[Described]:
    """Yield the media of a JSON-LD script: each `contentUrl`, and the pictures of all things. Never raises.

    An object of media without `contentUrl` gives its `url`, if it is the picture of a thing, or ends like a media
    file. The `url` of a logo is not taken. A player (`embedUrl`) is a page, unless it ends like a media file.
    """
    before = _MARKS_BEFORE.match(text)
    try:
        data, _ = _JSON.raw_decode(text, before.end() if before else 0)  # what follows does not matter
    except (ValueError, RecursionError):
        return
    waiting = [("", data)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str) and name in _PICTURES and ("/" in value or kind_of_link(value)):
            yield value, "image"
        elif isinstance(value, list):
            waiting.extend((name, part) for part in reversed(value))
        elif isinstance(value, dict):
            yield from _of_thing(name, value)
            waiting.extend(reversed(value.items()))


def _of_thing(name: str, thing: dict[str, Any]) -> Iterator[Described]:
    """Yield the files of a thing that is the value of the property `name`."""
    kind = next(filter(None, map(_KIND_OF_CLASS.get, _texts(thing.get("@type")))), None)
    kind = kind or ("image" if name in _PICTURES else None)
    files = list(_texts(thing.get("contentUrl")))
    pages = set(_texts(thing.get("embedUrl")))
    for link in files:
        if link in pages and not kind_of_link(link):
            continue
        yield link, kind or next(filter(None, map(kind_of_type, _texts(thing.get("encodingFormat")))), None)
    if not files and name in _PICTURES:
        yield from ((link, "image") for link in _texts(thing.get("url")))
    elif not files and name != "logo":
        links = [*(_texts(thing.get("url")) if kind else ()), *_texts(thing.get("embedUrl"))]
        yield from ((link, kind) for link in links if kind_of_link(link))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a property: one or several, as text or as an object with `@value` or `@id`."""
    for part in value if isinstance(value, list) else [value]:
        text = part.get("@value", part.get("@id")) if isinstance(part, dict) else part
        if isinstance(text, str):
            yield text


def media_of_property(element: Element) -> Described | None:
    """Return the media that an element with `itemprop` names: `contentUrl`, or a picture of the item."""
    if element.tag in _MEDIA_ELEMENTS or element.get("itemscope") is not None:
        return None
    attribute = _URL_ATTRIBUTES.get(element.tag, "content")
    link = element.get(attribute) or element.get("content") or ""
    names = set(element.get("itemprop", "").split())
    kind = kind_of_link(link)
    if names & {"contentUrl", "contentURL"}:
        return link, kind or _kind_of_item(element)
    if names & _PICTURES and (kind == "image" or element.tag in {"meta", "link"}):
        return link, "image"
    return (link, kind) if kind and names & {"url", "embedUrl", "embedURL"} else None


def _kind_of_item(element: Element) -> str | None:
    for ancestor in islice(element.iterancestors(etree.Element), _MOST_ANCESTORS):
        if ancestor.get("itemscope") is not None:
            return _KIND_OF_CLASS.get(ancestor.get("itemtype", "").strip().rpartition("/")[2])
    return None
