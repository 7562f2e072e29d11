"""The parts of an ftp or ftps URL (RFC 1738 3.2, RFC 4217), and the user of its server. No I/O.

Names of users and files are bytes for FTP. They are kept as text in Latin-1, in which each byte is one character, so
that a path is sent with the bytes that its URL has.
"""

from __future__ import annotations

import base64
import binascii
import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from mediacrawl.errors import UnsupportedURL
from mediacrawl.urls import DEFAULT_PORTS, Origin, as_sent, target_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPE = re.compile(r";type=([a-z])$", re.IGNORECASE)  # RFC 1738 3.2.2
_BREAKS = re.compile(r"[\r\n\0]")  # would end a command (RFC 959 5.3)
ANONYMOUS = ("anonymous", "mediacrawl@")  # RFC 1635


class Security(Enum):
    """The use of TLS on a connection to an FTP server."""

    NONE = "none"
    EXPLICIT = "explicit"  # after the command AUTH TLS (RFC 4217 4)
    IMPLICIT = "implicit"  # from the first byte on


class FtpServer(NamedTuple):
    """An FTP server, and the user that logs in. `user` and `password` are in Latin-1."""

    host: str
    port: int
    security: Security
    user: str
    password: str

    def __repr__(self) -> str:
        """Return the server without the password."""
        return f"FtpServer({self.host!r}, {self.port}, {self.security}, {self.user!r})"


class FtpLocation(NamedTuple):
    """A file or a folder of an FTP server.

    Attributes:
        path: in Latin-1; relative to the folder in which a login begins, unless it begins with "/".
    """

    server: FtpServer
    path: str


def location_of(url: str, headers: Mapping[str, str]) -> FtpLocation:
    """Return the location of an ftp or ftps URL.

    The user is that of the URL, else that of the header `Authorization`, else `anonymous`. An ftps URL with port 990,
    its default, means implicit TLS; with any other port it means explicit TLS.

    Raises:
        UnsupportedURL: the URL cannot be sent to a server: it contains a line end, or asks for another type than `i`.
    """
    try:
        sent = as_sent(url)
    except ValueError as error:
        raise UnsupportedURL(url, str(error)) from None
    origin = Origin.of(sent)
    if origin is None or origin.scheme not in {"ftp", "ftps"}:
        raise UnsupportedURL(url, "not an ftp or ftps URL")
    user, password = _login(sent, headers)
    path = _path(sent)
    if _BREAKS.search(path + user + password):
        raise UnsupportedURL(url, "a line end or NUL in the path, the user name or the password")
    security = Security.NONE
    if origin.scheme == "ftps":
        is_implicit = origin.port == DEFAULT_PORTS["ftps"]
        security = Security.IMPLICIT if is_implicit else Security.EXPLICIT
    return FtpLocation(FtpServer(origin.host, origin.port, security, user, password), path)


def _path(url: str) -> str:
    path = target_of(url).removeprefix("/")
    if (kind := _TYPE.search(path)) is not None:
        if kind[1].lower() != "i":
            raise UnsupportedURL(url, f"type={kind[1]}: only type=i sends the bytes of a file as they are")
        path = path[: kind.start()]
    return unquote_to_bytes(path).decode("latin-1")


def _login(url: str, headers: Mapping[str, str]) -> tuple[str, str]:
    userinfo, at, _ = urlsplit(url).netloc.rpartition("@")
    if at and userinfo:
        user, _, password = userinfo.partition(":")
        return _decoded(user), _decoded(password)
    named = {name.lower(): value for name, value in headers.items()}
    return _of_basic(named.get("authorization", "")) or ANONYMOUS


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("latin-1")


def _of_basic(value: str) -> tuple[str, str] | None:
    """Return user and password of the header `Authorization` (RFC 7617), in which `.netrc` and items give them."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode("latin-1").partition(":")
    except (binascii.Error, ValueError):
        return None
    return user, password
