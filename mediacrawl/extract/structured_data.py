"""Media that a page describes for machines: JSON-LD and microdata with the terms of https://schema.org."""

from __future__ import annotations

import json
import re
from html import unescape
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from lxml import etree

from mediacrawl.extract.references import is_document_link, kind_of_link
from mediacrawl.headers.media_type import kind_of_type, media_type

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
# Before a document of JSON: marks for browsers without scripts, commas and semicolons between several documents.
_BEFORE = re.compile(r"(?:[\s,;\ufeff]++|<!--|-->|(?://|/\*)?\s*+(?:<!\[CDATA\[|\]\]>)(?:\s*+\*/)?)*+")
_JSON = json.JSONDecoder(strict=False)  # pages have line breaks in strings
# Comments, and escapes that JSON does not have, between and in strings. Each match ends at the end of the text at the
# latest, so that nothing is read twice.
_NO_JSON = re.compile(r"""(?P<string>"(?:[^"\\]|\\.)*+"?)|/\*(?:[^*]|\*(?!/))*+(?:\*/)?|(?<!:)//[^\n]*+""", re.DOTALL)
_COMMAS = re.compile(r"""(?P<string>"(?:[^"\\]|\\.)*+"?)|,[\s,]*+(?P<end>[\]}])?""", re.DOTALL)
_NO_ESCAPE = re.compile(r"""\\(?:(["\\/bfnrt]|u[0-9A-Fa-f]{4})|(.)|$)""", re.DOTALL)
_AMPERSAND = re.compile(r"&(?:amp|#0{0,9}38|#x0{0,9}26);", re.IGNORECASE)
_VOCABULARY = re.compile(r"(?:schema:|https?://(?:www\.)?schema\.org/)")
_CONTAINERS = frozenset(("@list", "@set", "@value"))  # their contents are the value of the property around them
# Their files are data, unless something says that they are media.
_NO_MEDIA = frozenset(("DataDownload", "3DModel", "DigitalDocument", "TextDigitalDocument", "SoftwareApplication"))
_UNKNOWN_TYPES = frozenset(("application/octet-stream", "binary/octet-stream"))
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
    file. The `url` of a logo is not taken. A player (`embedUrl`) is a page, unless it ends like a media file. Nor is
    a file taken whose `encodingFormat` is that of a document.
    """
    for link, kind in _of_documents(_documents(text)):
        yield _AMPERSAND.sub("&", link), kind


def _documents(text: str) -> list[Any]:
    """Return the JSON documents of a script, repaired if need be: pages have comments and commas too many in it."""
    parsed = _parsed(text)
    if not parsed[1]:
        parsed = max(parsed, _parsed(_repaired(text)), key=_extent)
    if not parsed[1] and "&quot;" in text:
        parsed = max(parsed, _parsed(_repaired(unescape(text))), key=_extent)
    return parsed[0]


def _extent(parsed: tuple[list[Any], bool]) -> tuple[bool, int]:
    documents, is_whole = parsed
    return is_whole, len(documents)


def _parsed(text: str) -> tuple[list[Any], bool]:
    """Return the documents up to the first error, and whether there is none."""
    documents: list[Any] = []
    at = _after_marks(text, 0)
    while at < len(text):
        try:
            document, at = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError):
            return documents, False
        documents.append(document)
        at = _after_marks(text, at)
    return documents, True


def _after_marks(text: str, at: int) -> int:
    match = _BEFORE.match(text, at)
    return match.end() if match else at


def _repaired(text: str) -> str:
    """Return a script without comments, without commas at the end of lists, and without escapes that JSON lacks."""
    return _COMMAS.sub(_without_last_comma, _NO_JSON.sub(_repaired_string, text))


def _without_last_comma(match: re.Match[str]) -> str:
    return match["end"] or match[0]


def _repaired_string(match: re.Match[str]) -> str:
    string = match["string"] or ""
    return _NO_ESCAPE.sub(lambda escape: escape[0] if escape[1] else escape[2] or "", string)


def _of_documents(documents: list[Any]) -> Iterator[Described]:
    waiting: list[tuple[str, Any]] = [("", documents)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str) and name in _PICTURES and ("/" in value or kind_of_link(value)):
            yield value, "image"
        elif isinstance(value, list):
            waiting.extend((name, part) for part in reversed(value))
        elif isinstance(value, dict):
            thing = {_term(key): part for key, part in value.items()}
            yield from _of_thing(name, thing)
            waiting.extend((name if key in _CONTAINERS else key, part) for key, part in reversed(thing.items()))


def _term(name: str) -> str:
    """Return a term of schema.org without its prefix: `contentUrl` for `schema:contentUrl`."""
    return _VOCABULARY.sub("", name, count=1) if ":" in name else name


def _of_thing(name: str, thing: dict[str, Any]) -> Iterator[Described]:
    """Yield the files of a thing that is the value of the property `name`."""
    classes = set(map(_term, _texts(thing.get("@type"))))
    kind = next(filter(None, map(_KIND_OF_CLASS.get, sorted(classes))), None)
    kind = kind or ("image" if name in _PICTURES else None)
    types = {media_type(text) for text in (*_texts(thing.get("encodingFormat")), *_texts(thing.get("fileFormat")))}
    kind_of_format = next(filter(None, map(kind_of_type, types)), None)
    is_document = not kind_of_format and bool(types - {None} - _UNKNOWN_TYPES or (not kind and classes & _NO_MEDIA))
    files = list(_texts(thing.get("contentUrl")))
    pages = set(_texts(thing.get("embedUrl")))
    for link in files:
        of_link = kind_of_link(link)
        if of_link or not (link in pages or is_document or (not kind and is_document_link(link))):
            yield link, kind or kind_of_format
    if not files and name in _PICTURES:
        yield from ((link, "image") for link in _texts(thing.get("url")))
    elif not files and name != "logo":
        links = [*(_texts(thing.get("url")) if kind else ()), *_texts(thing.get("embedUrl"))]
        yield from ((link, kind) for link in links if kind_of_link(link))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a property: one or several, as text or as an object with `@value` or `@id`."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(reversed(part))
        elif isinstance(part, dict):
            waiting.append(next((part[key] for key in ("@list", "@set", "@value", "@id") if key in part), None))
        elif isinstance(part, str):
            yield part


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
