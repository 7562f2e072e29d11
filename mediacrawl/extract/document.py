"""The tree of an HTML page: one root, no comments, no `<template>` contents, however deep its tags are nested.

libxml2 builds the tree. This module changes what a browser does otherwise, so that a walk needs no rules of its own:

- What follows `</html>` is a root of its own, which neither a walk from the first root nor an XPath such as
  `/html/body//img` meets. Browsers put it at the end of the body.
- The time for a tag grows with the square of the number of its attributes. A thousand of them are read.
- A page nested deeper than 2,048 tags ends there. Browsers nest 512 tags and put the deeper ones beside each other.
- The contents of `<template>` are elements like others. Browsers show none of them, except in a shadow root.
- Comments and processing instructions are met as elements whose tag is a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml import etree
from parsel import Selector

from mediacrawl.extract.markup import with_few_attributes, without_templates
from mediacrawl.extract.nesting import flattened

if TYPE_CHECKING:
    from mediacrawl.extract.links import Element

_XHTML = "{http://www.w3.org/1999/xhtml}html"


def parse_html(text: str) -> tuple[Element, bool]:
    """Return the root of a page, and whether the rest of the page is missing all the same. Never raises."""
    text = with_few_attributes(without_templates(text.strip().replace("\x00", ""))) or "<html>"
    root, is_cut = _parsed(text)
    if is_cut:
        root, is_cut = _parsed(flattened(text))
    _join_roots(root)
    return root, is_cut


def parse_xml(text: str) -> tuple[Element, bool]:
    """Return the root of an XML page, for example of a feed, and False; XHTML is read as HTML. Never raises."""
    root = Selector(text=text.encode("utf-8", "replace").decode(), type="xml").root
    if root.tag == _XHTML:
        return parse_html(text)
    etree.strip_elements(root, etree.Comment, etree.ProcessingInstruction, with_tail=False)
    return root, False


def _parsed(text: str) -> tuple[Element, bool]:
    """Return the root, and whether libxml2 ended at a limit, so that the rest of the page is missing."""
    parser: Any = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    if root is None:  # a page of comments
        return etree.fromstring(b"<html/>", parser), False
    last = parser.error_log.last_error  # a limit is the last error: the parser has ended
    return root, last is not None and last.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT


def _join_roots(root: Element) -> None:
    """Move the other roots to the end of the page: of its body, if nothing is behind that."""
    end = root[-1] if len(root) and root[-1].tag == "body" else root
    end.extend(list(root.itersiblings(etree.Element)))
