"""Where a link, a button or a box leads to: `href`, what scripts read instead, or the URL of a form."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from mediacrawl.extract.page_numbers import counts_on
from mediacrawl.extract.pagers import is_in_pager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element, Page

# Attributes that scripts read: of buttons, of loaders of more entries, and of htmx.
_URL_ATTRIBUTE = re.compile(
    r"data-(?:[\w-]+-)?(?:next|page|more|load|ajax)?(?:href|url|uri|link)|data-next(?:-page)?|(?:data-)?hx-get"
)
_OF_SOMETHING_ELSE = (
    *("share", "count", "image", "img", "thumb", "poster", "video", "login", "download", "canonical", "perma"),
    *("site", "home", "base", "post", "referr"),
)
_LOCATION = re.compile(
    r"""(?:\blocation(?:\.href)?\s*=(?!=)|\blocation\.(?:assign|replace)\s*\(|\bwindow\.open\s*\()\s*
    (?:"([^"]*)"|'([^']*)')""",
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(r"\{[{%]|\$\{|<%")
_LONGEST_SCRIPT = 1_000  # characters
_LONGEST_NAME = 64  # of an attribute that scripts read
_MOST_FIELDS = 50  # of a form; one with more is a search. Also keeps the time linear.
_SENDING = ("submit", "image")  # types of <input> that send the form

_BUTTONS = ("button", "input")
_LINKS = ("a", "area", *_BUTTONS)
_BOXES = ("div", "li", "span", "nav", "section", "article", "p", "ul", "ol", "table", "tbody", "tr", "td", "i")


def candidates(root: Element) -> Iterator[Element]:
    """Yield the links and buttons of a page, and the boxes that name a URL."""
    for element in root.iter(*_LINKS, *_BOXES):
        if element.tag in _LINKS or any(map(_may_name_url, element.keys())):
            yield element


def _may_name_url(attribute: str) -> bool:
    return attribute == "onclick" or _is_url_attribute(attribute)


def _is_url_attribute(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and _is_name_of_url(name)


@lru_cache(maxsize=1_024)
def _is_name_of_url(name: str) -> bool:
    return _URL_ATTRIBUTE.fullmatch(name) is not None and not any(word in name for word in _OF_SOMETHING_ELSE)


def _url_attributes(element: Element) -> list[str]:
    """Return the names of the attributes with a URL, those first that say that it is the URL of the next page."""
    return sorted(filter(_is_url_attribute, element.keys()), key=lambda name: "next" not in name)


def linked_url(page: Page, element: Element) -> str | None:
    """Return the URL that one of the `candidates` leads to; None if that is this page."""
    references = (reference for reference in _references(page, element) if not is_placeholder(reference))
    url = next(filter(None, map(page.resolve, references)), None)
    if url is None or url == page.url or (element.tag in _BUTTONS and _may_act(page, element, url)):
        return None
    return url


def _may_act(page: Page, button: Element, url: str) -> bool:
    """Return whether a button may do something else than show a page of the list: its URL has another path.

    The path may differ in the number of a page; that of a form only in a pager.
    """
    if urlsplit(url).path == urlsplit(page.url).path or says_next_by_attribute(button):
        return False
    is_sent = next(_form_reference(page, button), None) is not None
    return not counts_on(page.url, url) or (is_sent and not is_in_pager(button))


def is_placeholder(reference: str) -> bool:
    """Return whether a URL is one of a template that a script fills in, as `/list/{{page}}`."""
    return _PLACEHOLDER.search(reference) is not None


def says_next_by_attribute(element: Element) -> bool:
    """Return whether the name of the attribute with the URL says that it is the URL of the next page."""
    return any("next" in name for name in _url_attributes(element))


def loads_when_seen(element: Element) -> bool:
    """Return whether htmx loads the URL when the element comes into view, as at the end of an endless list."""
    trigger = element.get("hx-trigger", "") or element.get("data-hx-trigger", "")
    return any(event in trigger for event in ("revealed", "intersect"))


def _references(page: Page, element: Element) -> Iterator[str]:
    href = element.get("href", "") if element.tag in ("a", "area") else ""
    yield href
    values = map(element.get, _url_attributes(element))
    yield from (value for value in values if not value.isdigit())  # `data-next="2"` is a number
    relation = element.get("rel", "")
    if "?" in relation and " " not in relation.strip():  # a forum software keeps the URL there
        yield relation
    for script in (element.get("onclick", ""), href):
        if "location" in script or "open" in script:
            yield from ((found[1] or found[2]) for found in _LOCATION.finditer(script[:_LONGEST_SCRIPT]))
    if element.tag in _BUTTONS:
        yield from _form_reference(page, element)


def _form_reference(page: Page, button: Element) -> Iterator[str]:
    """Yield the URL of a form with method GET that has nothing to fill in (HTML, "mutate action URL")."""
    form = next(button.iterancestors("form"), None)
    if form is None or button.get("type", "submit").lower() not in _SENDING:
        return
    method = button.get("formmethod") or form.get("method") or "get"
    fields = list(islice(form.iter("input", "select", "textarea", "button"), _MOST_FIELDS))
    if method.lower() != "get" or len(fields) == _MOST_FIELDS or any(map(_is_to_be_filled_in, fields)):
        return
    sent = [field for field in fields if field is button or field.get("type", "").lower() == "hidden"]
    pairs = [(field.get("name"), field.get("value", "")) for field in sent if field.get("name")]
    action = (button.get("formaction") or form.get("action") or page.url).partition("#")[0].partition("?")[0]
    yield f"{action}?{urlencode(pairs, encoding=page.encoding, errors='xmlcharrefreplace')}"


def _is_to_be_filled_in(field: Element) -> bool:
    kind = field.get("type", "submit" if field.tag == "button" else "text").lower()
    return field.tag in ("select", "textarea") or kind not in (*_SENDING, "hidden", "button", "reset")
