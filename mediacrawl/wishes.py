"""What an item asks for beside its URLs, and how a request carries it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from scrapy import Request
from scrapy.http import Headers
from scrapy.http.request import NO_CALLBACK
from w3lib.http import basic_auth_header
from w3lib.url import canonicalize_url

from mediacrawl.errors import shown_url
from mediacrawl.headers import digest_from_hex

if TYPE_CHECKING:
    from itemadapter import ItemAdapter

    from mediacrawl.headers import Digest

# What an item with a single URL may say about it, and where the request carries it.
_OPTIONS = {
    name: f"media_{name.removeprefix('media_')}"
    for name in ("filename", "sha256", "md5", "referer", "page", "media_key", "media_owner", "media_again")
}
# Of these, what the ledger keeps, so that a retry asks for the same.
_WISHES = ("filename", "sha256", "md5", "referer")


# What canonicalize_url gives back as it is: nothing to sort, to unquote or to fold.
_CANONICAL = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(?::[1-9][0-9]*)?/[A-Za-z0-9._~/-]*", re.ASCII)


def key_of_url(url: str) -> str:
    """What identifies a file without a key of its own: the canonical URL, without credentials."""
    if _CANONICAL.fullmatch(url):  # most are: fifty microseconds for each line of a list
        return url
    return canonicalize_url(shown_url(url))


def request_for(url: str) -> Request:
    """A request, also for what is no URL: that one fails by itself, and not the item with its other files."""
    try:
        return Request(url, callback=NO_CALLBACK)
    except (ValueError, TypeError):
        return Request(f"about:invalid#{shown_url(str(url))}", callback=NO_CALLBACK)


def without_credentials(request: Request) -> Request:
    """User name and password of the URL as a header: no log and no ledger shows that, no other host gets it."""
    url = shown_url(request.url)
    if url == request.url:
        return request
    userinfo = urlsplit(request.url).netloc.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    headers = Headers(request.headers)
    headers.setdefault("Authorization", basic_auth_header(unquote(user), unquote(password)))
    return request.replace(url=url, headers=headers)


def digests_of(request: Request) -> tuple[Digest, ...]:
    """What the list says that the bytes hash to."""
    named = ((name, request.meta.get(f"media_{name}")) for name in ("sha256", "md5"))
    digests = (digest_from_hex(name, text) for name, text in named if text)
    return tuple(digest for digest in digests if digest is not None)


def note_options(request: Request, adapter: ItemAdapter, *, single: bool) -> None:
    """Put what the item says into the request's meta; but for the page, that is about an item with a single URL."""
    for name, meta_name in _OPTIONS.items():
        if (value := adapter.get(name)) and (single or name == "page"):
            request.meta[meta_name] = str(value)


def wish_of(request: Request) -> str | None:
    """What the ledger keeps of it, as JSON, so that a retry asks for the same."""
    wish = {name: value for name in _WISHES if (value := request.meta.get(f"media_{name}"))}
    return json.dumps(wish) if wish else None


def hide_credentials(adapter: ItemAdapter, field: str) -> None:
    """The item goes on to feeds: its URLs without user names and passwords."""
    urls = adapter.get(field)
    if isinstance(urls, list):
        shown = [shown_url(url) if isinstance(url, str) else url for url in urls]
        if shown != urls:
            adapter[field] = shown
