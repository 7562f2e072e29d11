"""What an item asks for beside its URLs, and how a request carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from scrapy import Request
from scrapy.http import Headers
from scrapy.http.request import NO_CALLBACK
from w3lib.http import basic_auth_header

from mediacrawl.crawl.context import headers_of
from mediacrawl.crawl.dispatch import Carrier
from mediacrawl.download.records import TransferRequest
from mediacrawl.errors import UnsupportedURL, failure_of, redact_url, writable
from mediacrawl.fetch.filenames import is_canonical, is_page_name, key_of_url, name_in_url
from mediacrawl.fetch.request import FileRequest
from mediacrawl.sources import url_list
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from itemadapter import ItemAdapter

    from mediacrawl.errors import TransferError
    from mediacrawl.headers import Digest

# What an item with a single URL may say about it, and where the request carries it.
_OPTIONS = {
    name: f"media_{name.removeprefix('media_')}"
    for name in ("filename", "sha256", "md5", "referer", "page", "media_key", "media_owner", "media_again")
}
_MORE = (*(name for name in _OPTIONS if name != "page"), "headers")


def request_for(url: str) -> Request:
    """A request, also for what is no URL: that one fails by itself, and not the item with its other files."""
    try:
        return Request(url, callback=NO_CALLBACK)
    except (ValueError, TypeError):
        return Request(f"about:invalid#{writable(redact_url(str(url)))}", callback=NO_CALLBACK)


def plain_url(url: object) -> str | None:
    """The URL as a request would have it; None for what is no http or https URL, or has credentials."""
    if not isinstance(url, str) or Origin.of(url) is None or redact_url(url) != url:
        return None
    return url if is_canonical(url) else request_for(url).url


def without_credentials(request: Request) -> Request:
    """User name and password of the URL as a header: no log and no ledger shows that, no other host gets it."""
    url = redact_url(request.url)
    if url == request.url:
        return request
    userinfo = urlsplit(request.url).netloc.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    headers = Headers(request.headers)
    user, password = unquote(user), unquote(password)
    # RFC 7617 2.1: most servers want UTF-8 where the older coding cannot write it.
    encoding = "utf-8" if any(ord(character) > 0xFF for character in user + password) else "latin-1"
    headers.setdefault("Authorization", basic_auth_header(user, password, encoding))
    return request.replace(url=url, headers=headers)


def _digests(request: Request) -> tuple[Digest, ...]:
    """What the list says that the bytes hash to."""
    return url_list.digests_of(_facts(request))


def note_options(request: Request, adapter: ItemAdapter, *, single: bool) -> None:
    """Put what the item says into the request's meta; but for the page, that is about an item with a single URL."""
    for name, meta_name in _OPTIONS.items():
        if (value := adapter.get(name)) and (single or name == "page"):
            request.meta[meta_name] = writable(str(value))


def says_more(adapter: ItemAdapter) -> bool:
    """Whether an item says more about its files than their URLs and where they were found."""
    return any(adapter.get(name) for name in _MORE)


def file_request_of(request: Request, key: str | Exception, *, allow_redirects: bool, batchable: bool) -> FileRequest:
    """Return what a request of Scrapy asks for; `key` is its media key, or why it has none."""
    problem = key if isinstance(key, Exception) else None
    transfer = TransferRequest(
        request.url if isinstance(key, Exception) else key,
        request.url,
        headers=headers_of(request),
        max_bytes=request.meta.get("download_maxsize"),
        name=request.meta.get("media_filename") or name_in_url(request.url),
        digests=_digests(request),
        allow_redirects=allow_redirects,
        accept_html=is_page_name(request.url),
        ask_before_redirect=not request.meta.get("dont_obey_robotstxt"),
        timeout_s=request.meta.get("download_timeout"),
    )
    return FileRequest(
        transfer,
        filename=request.meta.get("media_filename"),
        page=request.meta.get("media_page"),
        options=url_list.kept_of(_facts(request)),
        owner=request.meta.get("media_owner"),
        ignores_known_failure=bool(request.meta.get("media_again")),
        batchable=batchable,
        carrier=Carrier(request, bool(request.meta.get("allow_offsite")), problem),
    )


def plain_request(
    url: str,
    headers: tuple[tuple[str, str], ...],
    page: str | None,
    *,
    carrier: Carrier,
    allow_redirects: bool,
    batchable: bool,
) -> FileRequest:
    """Return the request for a URL of which nothing is to be known but its own headers and where it was found."""
    transfer = TransferRequest(
        key_of_url(url),
        url,
        headers=headers,
        name=name_in_url(url),
        allow_redirects=allow_redirects,
        accept_html=is_page_name(url),
    )
    return FileRequest(transfer, page=page, batchable=batchable, carrier=carrier)


def refusal_of(request: FileRequest) -> TransferError | None:
    """Return why a file cannot be asked for; None if it can."""
    sent: Request | None = request.carrier.request
    if sent is None:  # it is plain
        return None
    if Origin.of(request.transfer.url) is None:
        return UnsupportedURL(request.transfer.url, "not an http or https URL with a host")
    if request.carrier.problem is not None:
        return failure_of(request.url, request.carrier.problem)
    if sent.method != "GET":
        return UnsupportedURL(request.transfer.url, f"only GET can be resumed, not {sent.method}")
    return None


def _facts(request: Request) -> dict[str, str | None]:
    return {name: request.meta.get(f"media_{name}") for name in url_list.KEPT}


def hide_credentials(adapter: ItemAdapter, field: str) -> None:
    """The item goes on to feeds: its URLs without user names and passwords."""
    urls = adapter.get(field)
    if isinstance(urls, list):
        shown = [redact_url(url) if isinstance(url, str) else url for url in urls]
        if shown != urls:
            adapter[field] = shown
