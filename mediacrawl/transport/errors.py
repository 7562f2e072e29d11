"""Translate the errors of `requests`, urllib3 and the standard library into the errors of mediacrawl."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import urllib3

from mediacrawl.errors import (
    AddressRefused,
    ConnectError,
    ConnectionLost,
    InvalidResponse,
    TransferError,
    UnsupportedURL,
)
from mediacrawl.transport.addresses import PrivateAddress
from mediacrawl.transport.fields import InvalidHead

if TYPE_CHECKING:
    from collections.abc import Iterator


def translated(error: BaseException, url: str, timeout_s: float) -> TransferError:
    """Return the error of mediacrawl that stands for `error`, with a short message for the user."""
    chain = list(_causes(error))
    for kinds, make in _TRANSLATIONS:  # the order matters: a NewConnectionError is also a ConnectTimeoutError
        for cause in chain:
            if isinstance(cause, kinds):
                return make(url, cause, _words(chain[-1]), timeout_s)
    return ConnectionLost(url, _broken_reason(chain, timeout_s))


_Make = Callable[[str, BaseException, str, float], TransferError]
_TRANSLATIONS: list[tuple[tuple[type[BaseException], ...], _Make]] = [
    (
        (urllib3.exceptions.NameResolutionError, socket.gaierror),
        lambda url, *_: ConnectError(url, f"the name {urlsplit(url).hostname!r} does not resolve"),
    ),
    (
        (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError),
        lambda url, cause, *_: ConnectError(url, f"TLS failed: {_words(cause)}"),
    ),
    (
        (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema),
        lambda url, *_: UnsupportedURL(url, "not a URL that can be fetched"),
    ),
    (
        (PrivateAddress,),
        lambda url, cause, *_: AddressRefused(url, f"{cause}, and MEDIACRAWL_BLOCK_PRIVATE is on"),
    ),
    (
        (InvalidHead,),
        lambda url, cause, *_: InvalidResponse(url, str(cause)),
    ),
    (
        (ConnectionRefusedError,),
        lambda url, *_: ConnectError(url, f"connection refused by {urlsplit(url).netloc.rpartition('@')[2]}"),
    ),
    (
        (urllib3.exceptions.NewConnectionError,),
        lambda url, _cause, words, _s: ConnectError(url, f"no connection: {words}"),
    ),
    (
        (urllib3.exceptions.ConnectTimeoutError,),
        lambda url, _cause, _words, timeout_s: ConnectError(url, f"no connection within {timeout_s:g} s"),
    ),
    (
        (urllib3.exceptions.ProxyError,),
        lambda url, _cause, words, _s: ConnectError(url, f"the proxy failed: {words}"),
    ),
]


def _broken_reason(chain: list[BaseException], timeout_s: float) -> str:
    for cause in chain:
        if isinstance(cause, urllib3.exceptions.IncompleteRead | http.client.IncompleteRead):
            return "the connection ended before the end of the body"
        if isinstance(cause, TimeoutError | urllib3.exceptions.ReadTimeoutError):
            return f"no byte for {timeout_s:g} s"
        if isinstance(cause, ConnectionError) and cause.errno in {errno.ECONNRESET, errno.EPIPE}:
            return "the server reset the connection"
    return f"the connection broke: {_words(chain[-1])}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error, the error wrapped in it, and so on, each error at most once.

    Libraries keep the wrapped error in `reason`, in `args`, in `__cause__` or in `__context__`.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = [getattr(error, "reason", None), *error.args, error.__cause__, error.__context__]
        error = next((item for item in wrapped if isinstance(item, BaseException)), None)


def _words(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return " ".join(text.split())[:200]
