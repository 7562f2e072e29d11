"""The options that an item has beside its URLs, and the requests that carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from scrapy import Request
from scrapy.http import Headers
from scrapy.http.request import NO_CALLBACK
from w3lib.http import basic_auth_header

from mediacrawl.crawl.context import headers_of
from mediacrawl.crawl.polite_dispatch import Carrier, request_as_sent
from mediacrawl.download.records import TransferRequest
from mediacrawl.download.requester import ANY_ORIGIN
from mediacrawl.errors import TransferError, UnsupportedURL, failure_of, redact_url, writable
from mediacrawl.fetch.filenames import expected_type, name_in_url
from mediacrawl.fetch.request import FileRequest
from mediacrawl.sources import list_entry
from mediacrawl.urls import Origin, as_sent, has_controls, is_plain, key_of_url

if TYPE_CHECKING:
    from itemadapter import ItemAdapter

    from mediacrawl.headers import Digest

HYPERLINKS = "file_pages"
"""A field of items: URLs of hyperlinks, which may lead to pages. The pipeline leaves those in it that do."""

# The options of an item with a single URL, and the keys of `Request.meta` that carry them.
_OPTIONS = {
    name: f"media_{name.removeprefix('media_')}"
    for name in (
        *("filename", "sha256", "md5", "referer", "page", "page_encoding", "key"),
        *("media_key", "media_path", "media_owner", "media_again"),
    )
}
_URL_PROBLEM = "media_url_problem"  # the key in `Request.meta` of the reason why a URL was replaced by an invalid one
_OF_PAGE = ("page", "page_encoding")  # options for each URL of an item
_MORE = (*(name for name in _OPTIONS if name not in _OF_PAGE), "headers")


def request_for(url: str) -> Request:
    """Return a request, also for an invalid URL: that request fails alone, and not the item with its other files.

    The request has the URL in the form in which it is sent.
    """
    try:
        return request_as_sent(as_sent(url))
    except (ValueError, TypeError, AttributeError):
        shown, meta = writable(redact_url(str(url))), {}
        if isinstance(url, str) and has_controls(url):
            meta[_URL_PROBLEM] = "a control character in the URL"
        return Request(f"about:invalid#{shown}", callback=NO_CALLBACK, meta=meta)


def plain_url(url: object) -> str | None:
    """Return the URL as it is sent; None if it is no http, https, ftp or ftps URL, or has credentials."""
    if not isinstance(url, str):
        return None
    if is_plain(url):
        return url if Origin.of(url) is not None else None
    try:
        sent = as_sent(url)
    except ValueError:
        return None
    return sent if Origin.of(sent) is not None and redact_url(sent) == sent else None


def without_credentials(request: Request) -> Request:
    """Return the request with user name and password moved from the URL into a header.

    No log and no ledger shows the header, and no other host gets it.
    """
    url = redact_url(request.url)
    if url == request.url:
        return request
    userinfo = urlsplit(request.url).netloc.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    headers = Headers(request.headers)
    user, password = unquote(user), unquote(password)
    # RFC 7617 2.1: most servers expect UTF-8 where latin-1, the older encoding, lacks a character.
    encoding = "utf-8" if any(ord(character) > 0xFF for character in user + password) else "latin-1"
    headers.setdefault("Authorization", basic_auth_header(user, password, encoding))
    return request.replace(url=url, headers=headers)


def _digests(request: Request) -> tuple[Digest, ...]:
    """Return the digests that the list or item gives for the bytes of the file."""
    return list_entry.digests_of(_facts(request))


def note_options(request: Request, adapter: ItemAdapter, *, single: bool) -> None:
    """Copy the item's options into the request's meta; if it has several URLs, copy only the facts of the page."""
    for name, meta_name in _OPTIONS.items():
        if (value := adapter.get(name)) and (single or name in _OF_PAGE):
            text = writable(str(value))
            request.meta[meta_name] = redact_url(text) if name == "referer" else text


def says_more(adapter: ItemAdapter) -> bool:
    """Return whether an item has other options for its files than their URLs and the facts of their page."""
    return any(adapter.get(name) for name in _MORE)


def file_request_of(request: Request, key: str | Exception, *, allow_redirects: bool, batchable: bool) -> FileRequest:
    """Return the file request for a request of Scrapy; `key` is its media key, or the error that prevented one."""
    problem = key if isinstance(key, Exception) else None
    filename, page_encoding = request.meta.get("media_filename"), request.meta.get("media_page_encoding")
    if isinstance(key, str) and filename:
        key = key.removesuffix(f"#{filename}")  # a retry of a second name, see `FileRequest.identity`
    transfer = TransferRequest(
        request.url if isinstance(key, Exception) else key,
        request.url,
        headers=headers_of(request),
        max_bytes=request.meta.get("download_maxsize"),
        name=filename or name_in_url(request.url, page_encoding),
        digests=_digests(request),
        allow_redirects=allow_redirects,
        expected_type=expected_type(request.url, request.meta.get("media_path") or filename),
        ask_before_redirect=not request.meta.get("dont_obey_robotstxt"),
        timeout_s=request.meta.get("download_timeout"),
    )
    return FileRequest(
        transfer,
        path=request.meta.get("media_path"),
        filename=filename,
        page=request.meta.get("media_page"),
        page_encoding=page_encoding,
        options=list_entry.kept_of(_facts(request)),
        owner=request.meta.get("media_owner"),
        ignores_known_failure=bool(request.meta.get("media_again")),
        may_be_page=bool(request.meta.get("media_may_be_page")),
        batchable=batchable,
        carrier=Carrier(request, bool(request.meta.get("allow_offsite")), problem),
    )


def plain_request(
    url: str,
    headers: tuple[tuple[str, str], ...],
    page: str | None,
    page_encoding: str | None,
    *,
    carrier: Carrier,
    allow_redirects: bool,
    batchable: bool,
    may_be_page: bool,
) -> FileRequest:
    """Return the request for a URL with no other options than its own headers and the facts of its page."""
    transfer = TransferRequest(
        key_of_url(url),
        url,
        headers=headers,
        name=name_in_url(url, page_encoding),
        allow_redirects=allow_redirects,
        expected_type=expected_type(url),
    )
    return FileRequest(
        transfer,
        page=page,
        page_encoding=page_encoding,
        options=list_entry.kept_of({"page_encoding": page_encoding}) if page_encoding else None,
        may_be_page=may_be_page,
        batchable=batchable,
        carrier=carrier,
    )


def refusal_of(request: FileRequest) -> TransferError | None:
    """Return the error because of which a file cannot be requested; None if it can be."""
    sent: Request | None = request.carrier.request
    if sent is None:  # a plain request
        return None
    if Origin.of(request.transfer.url) is None:
        problem = sent.meta.get(_URL_PROBLEM) or "not an http, https, ftp or ftps URL with a host"
        return UnsupportedURL(request.transfer.url, problem)
    if request.carrier.problem is not None:
        return failure_of(request.url, request.carrier.problem)
    if sent.method != "GET":
        return UnsupportedURL(request.transfer.url, f"only GET can be resumed, not {sent.method}")
    if problem := list_entry.digest_problem(_facts(sent)):
        return TransferError(request.transfer.url, problem)
    return None


def _facts(request: Request) -> dict[str, str | None]:
    return {name: request.meta.get(f"media_{name}") for name in list_entry.KEPT}


def hide_credentials(adapter: ItemAdapter, *fields: str) -> None:
    """Remove user names and passwords from the item's URLs and its Referer, because the item goes on to feeds.

    Args:
        adapter: of the item.
        fields: with URLs.
    """
    for field in fields:
        urls = adapter.get(field)
        if isinstance(urls, list):
            shown = [redact_url(url) if isinstance(url, str) else url for url in urls]
            if shown != urls:
                adapter[field] = shown
    if isinstance(referer := adapter.get("referer"), str) and (without := redact_url(referer)) != referer:
        adapter["referer"] = without


def mask_headers(adapter: ItemAdapter) -> None:
    """Replace the values of an item's request headers by `***`, except those that any server may see."""
    if isinstance(headers := adapter.get("headers"), dict) and headers:
        adapter["headers"] = {name: value if _is_public(name) else "***" for name, value in headers.items()}


def _is_public(header: Any) -> bool:
    name = header.decode("latin-1") if isinstance(header, bytes) else str(header)
    return name.strip().lower() in ANY_ORIGIN
