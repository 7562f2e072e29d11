"""The documents inside a page: frames of the same host, and the text of `iframe srcdoc`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mediacrawl.extract.links import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.extract.links import Element

_MOST_NESTED = 3


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


def find_frames(page: Page) -> list[str]:
    """Return the URLs of frames on the same host, each once: of `frame`, and of `iframe`, also if it loads late.

    The page itself is none of them. `www.` does not make another host. Never raises.
    """
    urls: dict[str, None] = {}
    for document in documents(page):
        for frame in document.root.iter("frame", "iframe"):
            if not _is_text(frame):
                links = map(document.resolve, (frame.get("src"), frame.get("data-src")))
                urls.setdefault(next(filter(None, links), ""))
    return [url for url in urls if url not in {"", page.url} and _host(url) == _host(page.url)]


def _is_text(frame: Element) -> bool:
    """Return whether a frame holds its document in `srcdoc`, which takes precedence over `src`."""
    return frame.tag == "iframe" and bool(frame.get("srcdoc"))


def _document(outer: Page, text: str) -> Page:
    return Page.from_text(text, outer.base_url, outer.encoding)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").removeprefix("www.")
