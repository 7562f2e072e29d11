"""The tags of an HTML text, for what has to be changed before libxml2 reads the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# HTML, "parsing of raw text": until their end tag nothing is a tag.
RAW_TEXT = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")

# A comment, a declaration, or a tag: `/` of an end tag, name, attributes. A quote counts only behind `=`. Each branch
# matches up to the end of the page at the latest, and nothing is read twice: `*+` and `++` never backtrack.
_TOKEN = re.compile(
    r"""<(?:
        !--(?:-?>|(?s:.*?)(?:--!?>|\Z))
      | [!?][^>]*+(?:>|\Z)
      | (?P<end>/?)(?P<name>[a-zA-Z][^\s/>]*+)
        (?P<attributes>(?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))?+)*+)(?:>|\Z)
    )""",
    re.VERBOSE,
)
_CLOSES_ITSELF = re.compile(r"(?:^|[\s\"'])/$")
_END_OF_RAW_TEXT = {name: re.compile(rf"(?=</{name}[\s/>])|\Z", re.IGNORECASE) for name in RAW_TEXT}
_SHADOW_ROOT = re.compile(r"\sshadowrootmode\s*+=\s*+[\"']?(?:open|closed)(?:[\s\"'/]|$)", re.IGNORECASE)
_TEMPLATE = re.compile("<template", re.IGNORECASE)


MOST_ATTRIBUTES = 1_000  # of a tag; no page has more in earnest
# The blanks before it, its name, its value.
_ATTRIBUTE = r"""[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+)?+)?+"""
_ATTRIBUTES = re.compile(rf"(?:{_ATTRIBUTE}){{0,{MOST_ATTRIBUTES}}}+")
# All up to a tag with more attributes, or up to text in a script that looks like one.
_ORDINARY = re.compile(rf"(?:[^<]++|<[a-zA-Z][^\s/>]*+{_ATTRIBUTES.pattern}(?![\s/]*+[^\s/>])|<(?![a-zA-Z]))*+")


class Tag(NamedTuple):
    """A tag in a text: its place, and what it says. The raw text of a script is a part of its start tag."""

    start: int
    end: int
    name: str
    is_end: bool
    attributes: str

    @property
    def closes_itself(self) -> bool:
        """Return whether the tag ends with a slash: to libxml2 the element is then empty."""
        return _CLOSES_ITSELF.search(self.attributes) is not None


def tags(html: str) -> Iterator[Tag]:
    """Yield the tags outside comments and raw text."""
    position = 0
    while token := _TOKEN.search(html, position):
        position = token.end()
        name = (token["name"] or "").lower()
        if not name:  # a comment, or a declaration
            continue
        is_end = bool(token["end"])
        if not is_end and name in RAW_TEXT:
            position = _end_of_raw_text(name, html, position)
        yield Tag(token.start(), position, name, is_end, token["attributes"])


def with_few_attributes(html: str) -> str:
    """Return a page of which each tag has its first thousand attributes.

    libxml2 compares each attribute of a tag with all before it.
    """
    match = _ORDINARY.match(html)
    return html if match and match.end() == len(html) else "".join(_with_few_attributes(html))


def _with_few_attributes(html: str) -> Iterator[str]:
    position = 0
    for tag in tags(html):
        first = _ATTRIBUTES.match(tag.attributes)
        if first and first.end() < len(tag.attributes.rstrip(" \t\n\f\r/")):
            start = html.index(tag.attributes, tag.start)
            yield html[position : start + first.end()]
            position = start + len(tag.attributes)
    yield html[position:]


def without_templates(html: str) -> str:
    """Return a page without the contents of `<template>`, except for those that are a shadow root.

    The tree does not have them right: there an element without end tag keeps a template open.
    """
    return "".join(_outside_templates(html)) if _TEMPLATE.search(html) else html


def _outside_templates(html: str) -> Iterator[str]:
    position = 0
    kept: list[bool] = []  # of the templates that are open: whether the contents stay
    for tag in tags(html):
        if tag.name != "template":
            continue
        if not tag.is_end:
            kept.append(kept[-1:] != [False] and _SHADOW_ROOT.search(tag.attributes) is not None)
            if not kept[-1] and kept[-2:-1] != [False]:
                yield html[position : tag.end]
        elif kept and not kept.pop() and kept[-1:] != [False]:
            position = tag.start
    if kept[-1:] != [False]:
        yield html[position:]


def _end_of_raw_text(name: str, html: str, position: int) -> int:
    found = _END_OF_RAW_TEXT[name].search(html, position)
    assert found is not None  # the end of the page matches
    return found.start()
