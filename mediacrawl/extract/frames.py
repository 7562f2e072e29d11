"""The documents inside a page: frames of the same host, and the text of `iframe srcdoc`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.extract.links import Page, host_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element

_MOST_NESTED = 3
_LONGEST_STYLE = 1000
_SMALL = re.compile("[01](px)?")
_HIDING = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|(?:width|height)\s*:\s*[01](?:px)?\s*(?:[;!]|$))",
    re.IGNORECASE,
)


def documents(page: Page) -> Iterator[Page]:
    """Yield a page, and each document that an `iframe srcdoc` of it holds, also inside of one. Never raises.

    The base of links in such a document is the base of the page around it, unless it has one of its own.
    """
    waiting = [(page, 0)]
    while waiting:
        document, depth = waiting.pop()
        yield document
        if depth < _MOST_NESTED:
            texts = [frame.get("srcdoc") for frame in document.root.iter("iframe") if _is_text(frame)]
            waiting.extend((_document(document, text), depth + 1) for text in reversed(texts))


class Frame(NamedTuple):
    """A frame: its absolute URL, and whether it is one of a `<frameset>`, whose document has no other content."""

    url: str
    is_of_frameset: bool


def frames_of(document: Page, page_url: str) -> Iterator[Frame]:
    """Yield the frames of one document on the same host: of `frame`, and of `iframe`, also if it loads late.

    The page itself is none of them, and neither is a frame that nobody sees. `www.` does not make another host.
    """
    host = host_of(page_url)
    for frame in document.root.iter("frame", "iframe"):
        is_of_frameset = frame.tag == "frame"
        if _is_text(frame) or (_is_hidden(frame) and not is_of_frameset):
            continue
        links = map(document.resolve, (frame.get("src"), frame.get("data-src")))
        url = next(filter(None, links), "")
        if url not in {"", page_url} and host_of(url) == host:
            yield Frame(url, is_of_frameset)


def _is_hidden(frame: Element) -> bool:
    is_small = any(_SMALL.fullmatch(frame.get(side, "").strip()) for side in ("width", "height"))
    return (
        is_small or frame.get("hidden") is not None or bool(_HIDING.search(frame.get("style", "")[:_LONGEST_STYLE]))
    )


def _is_text(frame: Element) -> bool:
    """Return whether a frame holds its document in `srcdoc`, which takes precedence over `src`."""
    return frame.tag == "iframe" and bool(frame.get("srcdoc"))


def _document(outer: Page, text: str) -> Page:
    return Page.from_text(text, outer.base_url, outer.encoding)
