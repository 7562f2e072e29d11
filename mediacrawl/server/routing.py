"""Which part of the server responds to a request, and the requests that are refused before any part sees them.

The decisions are the same under each kind of server; nothing is read or sent here. A path is decided about in its
decoded form, which is also the form that is opened, so that no other spelling of it gets round a check.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from mediacrawl.server.hosts import HostCheck
from mediacrawl.server.proxies import TrustedProxies
from mediacrawl.server.site import text_response
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mediacrawl.server.options import ServeOptions
    from mediacrawl.server.proxies import Client
    from mediacrawl.server.ranges import PlannedResponse

BROKEN_OFF = text_response(400, "The content of the request is not complete.", ("Connection", "close"))
# In the environment of a page: its path below the prefix, as the system writes names. Django alters `PATH_INFO`.
PATH_AS_SENT = "mediacrawl.path"
MOST_BODY_BYTES = 1024 * 1024  # of a form; uploads have no such limit
FORM_TYPE = "application/x-www-form-urlencoded"  # all that browsers send from these pages

_MOST_DIGITS = 20  # `int` takes a quadratic time
_MOST_FIELD = 8 * 1024  # characters, as in other servers
_FILES = "/files/"
_UPLOADS = "/uploads/"
_METHODS = frozenset({"GET", "HEAD", "POST"})
_SAFE = frozenset({"GET", "HEAD"})
_IN_QUERY = "!$%&'()*+,/:;=?@~"  # RFC 3986 3.4, and what is encoded already
_WITH_PAGE = frozenset({403, 404})

_HEALTHY = text_response(200, "ok")
_NO_SUCH_PAGE = text_response(404, "There is no such page.")
_BAD_PATH = text_response(400, "The path of the request is malformed.")
_BAD_LENGTH = text_response(400, "The Content-Length of the request is malformed.", ("Connection", "close"))
_NO_LENGTH = text_response(411, "A request with content needs a Content-Length.", ("Connection", "close"))
_TOO_LONG = text_response(413, f"A form has at most {MOST_BODY_BYTES} bytes.", ("Connection", "close"))
_NO_FORM = text_response(415, f"Pages take {FORM_TYPE} only.", ("Connection", "close"))
_LONG_FIELD = text_response(431, f"A header field has at most {_MOST_FIELD} bytes.", ("Connection", "close"))
_BAD_METHOD = text_response(405, "Pages are read by GET and HEAD, and changed by POST.", ("Allow", "GET, HEAD, POST"))
_TLS_ONLY = text_response(
    400, "This server is reached by TLS only. A proxy in front of it has to send X-Forwarded-Proto: https."
)


def is_navigation(field: Callable[[str], str | None]) -> bool:
    """Return whether a browser shows the response as a page; `field` returns a field by its name in lower case."""
    mode = field("sec-fetch-mode")
    return mode == "navigate" or (mode is None and "text/html" in (field("accept") or ""))


def has_page(response: PlannedResponse, field: Callable[[str], str | None]) -> bool:
    """Return whether the pages say in the place of this response that there is no file, or none for this person.

    They decide anew, and say of a file that a person may not see what they say of one that does not exist.
    """
    return response.status in _WITH_PAGE and is_navigation(field)


class Part(Enum):
    """A part of the server."""

    FILES = auto()
    UPLOADS = auto()
    PAGES = auto()


class RequestHead(NamedTuple):
    """A request without its content, as each kind of server tells it.

    Attributes:
        method: in capital letters.
        path: decoded; it begins with "/".
        peer: the address at the other end of the connection, without a port.
        scheme: of the connection.
        host: the Host field, or the authority of the request target.
        field: returns a header field by its name in lower case; lines of one name are joined by commas.
        names: of all header fields, in lower case.
        query: as it was sent, without the "?".
    """

    method: str
    path: str
    peer: str
    scheme: str
    host: str | None
    field: Callable[[str], str | None]
    names: Collection[str] = ()
    query: str = ""


class RoutedRequest(NamedTuple):
    """What becomes of a request.

    Attributes:
        client: where it comes from.
        part: the part of the server that responds.
        path: of the file, below the store; or the id of an upload; or the path of the page, with "/" at its beginning
            and without the prefix.
        length: of the content, in bytes.
        response: the response, if no part is to be asked.
    """

    client: Client
    part: Part
    path: str
    length: int = 0
    response: PlannedResponse | None = None

    def as_page(self, head: RequestHead) -> RoutedRequest:
        """Return the request for a file as one for the page of the same path, to which the limits of pages apply."""
        return self._replace(part=Part.PAGES, path=f"{_FILES}{self.path}", response=_refused_page(head, 0))


class Router:
    """Decide about requests, by the options of the server."""

    def __init__(self, options: ServeOptions) -> None:
        """Take the options.

        Raises:
            UsageProblem: a trusted proxy is neither an address nor a network.
        """
        self._prefix = options.prefix
        self._is_secure = options.is_secure
        self._hosts = HostCheck(options)
        self._proxies = TrustedProxies(options.trusted_proxies)

    def route(self, head: RequestHead) -> RoutedRequest:
        """Decide about a request."""
        client = self._proxies.client_of(head.peer, head.scheme, head.host, head.field)
        path = self._below_prefix(head.path)
        if path == "/healthz" and head.method in _SAFE:
            return RoutedRequest(client, Part.PAGES, path, response=_HEALTHY)
        if (refusal := self._refused(head, client, path)) is not None:
            return RoutedRequest(client, Part.PAGES, path or "", response=refusal)
        assert path is not None
        if path.startswith(_FILES) and not path.endswith("/"):
            return RoutedRequest(client, Part.FILES, path.removeprefix(_FILES))
        if path.startswith(_UPLOADS):  # with content of any length
            return RoutedRequest(client, Part.UPLOADS, path.removeprefix(_UPLOADS))
        if head.method not in _METHODS:
            return RoutedRequest(client, Part.PAGES, path, response=_BAD_METHOD)
        length = _length(head.field)
        if isinstance(length, int):
            return RoutedRequest(client, Part.PAGES, path, length, _refused_page(head, length))
        return RoutedRequest(client, Part.PAGES, path, response=length)

    def _below_prefix(self, path: str) -> str | None:
        """Return the path without the prefix; None if it does not have it."""
        if not path.startswith(f"{self._prefix}/"):
            return None
        return path.removeprefix(self._prefix)

    def _refused(self, head: RequestHead, client: Client, path: str | None) -> PlannedResponse | None:
        if not self._hosts.accepts(client.host):
            return _misdirected(client.host)
        if self._is_secure and client.scheme != "https":
            return _by_tls(head, client)
        if not head.path.startswith("/") or "\0" in head.path:
            return _BAD_PATH
        if path is None:
            is_first_page = bool(self._prefix) and head.path in {"/", self._prefix} and head.method in _SAFE
            return _redirect(f"{self._prefix}/") if is_first_page else _NO_SUCH_PAGE
        return None


def _misdirected(host: str | None) -> PlannedResponse:
    said = visible(host)[:100] if host else "a request without a name"
    return text_response(400, f"This server does not answer for {said}: its owner can allow a name with --hosts.")


def _by_tls(head: RequestHead, client: Client) -> PlannedResponse:
    """Send a browser that has used http, as the proxy tells, to https."""
    if client.is_told and head.method in _SAFE:
        query = f"?{quote(head.query, safe=_IN_QUERY)}" if head.query else ""
        return _redirect(f"https://{client.host}{quote(head.path, errors='surrogateescape')}{query}")
    return _TLS_ONLY


def _redirect(target: str) -> PlannedResponse:
    return text_response(308, "The page is at another address.", ("Location", target))


def page_cookies(value: str) -> str:
    r"""Return a Cookie field without the cookies that have a "\", which no cookie of this server has.

    RFC 6265 4.1.1 excludes it, and to unquote such a value takes a quadratic time in older versions of Python.
    """
    return value if "\\" not in value else ";".join(pair for pair in value.split(";") if "\\" not in pair)


def _refused_page(head: RequestHead, length: int) -> PlannedResponse | None:
    """Return the response to a request for a page with fields, or content, that no page takes; else None.

    The media type is decided about here: Django's parser takes a quadratic time, and fails for some parameters.
    """
    if any(len(head.field(name) or "") > _MOST_FIELD for name in head.names):
        return _LONG_FIELD
    media_type = (head.field("content-type") or "").partition(";")[0].strip().lower()
    return _NO_FORM if head.method == "POST" and length and media_type != FORM_TYPE else None


def _length(field: Callable[[str], str | None]) -> int | PlannedResponse:
    """Return the length of the content of a request for a page, or the response that refuses it."""
    if field("transfer-encoding") is not None:
        return _NO_LENGTH
    value = (field("content-length") or "0").strip()
    if not value.isascii() or not value.isdecimal():
        return _BAD_LENGTH
    is_short = len(value) <= _MOST_DIGITS and int(value) <= MOST_BODY_BYTES
    return int(value) if is_short else _TOO_LONG
