"""Translate the replies of FTP servers (RFC 959 4.2), and the errors of `ftplib`, into the errors of mediacrawl.

=============  =====================  ================================================================================
reply          stands for             because
=============  =====================  ================================================================================
421            503                    the server closes the connection: too many users, or it shuts down
425, 426       a lost connection      the data connection was not made, or broke
450, 451, 452  500, 500, 507          the file is busy, or the server has an error: another try may help
430, 53x       401                    the user is not known, or may not log in; any refusal of a login likewise
550            404 or 403             404 if the words say that there is no such file, as the code alone does not
551, 552, 553  403, 507, 403          the name is not allowed, or there is no room
500 to 504     501                    the server does not know the command
=============  =====================  ================================================================================

An error has the status of HTTP in `http_status`, so that retries, pauses and the ledger treat it alike, and the reply
itself in its message.
"""

from __future__ import annotations

import ftplib
import re
from http.client import HTTPException
from typing import TYPE_CHECKING

from mediacrawl.errors import FtpReplyError, InvalidResponse, TransferError
from mediacrawl.transport.errors import translated
from mediacrawl.transport.ftp_locations import ANONYMOUS, Security
from mediacrawl.visible import text_of_field

if TYPE_CHECKING:
    from mediacrawl.transport.errors import Route
    from mediacrawl.transport.ftp_locations import FtpServer

BROKEN = (ftplib.Error, EOFError, OSError, HTTPException, ValueError)
"""The errors of a connection that `failure` translates."""

CLOSING = 421
"""The code with which a server closes the control connection, whatever the command was."""

_STATUSES = {
    CLOSING: 503,
    430: 401,
    450: 500,
    451: 500,
    452: 507,
    550: 403,
    551: 403,
    552: 507,
    553: 403,
} | dict.fromkeys(range(530, 540), 401)
_LOST = {425, 426}
_MISSING = re.compile(
    r"no such|not found|n[o']t exist|not exist|(?:cannot|can't|could not|unable to) find|no file", re.IGNORECASE
)
_WANTS_TLS = re.compile(r"\b(?:TLS|SSL|encrypt\w*|secure)\b", re.IGNORECASE)
_LONGEST = 300  # characters of a reply in a message
_LEAST_LENGTH = 4  # characters of a password that is no part of words


class LoginRefused(ftplib.Error):
    """A reply that refuses a login, or a command that precedes it."""


class TlsRefused(ftplib.Error):
    """A reply that refuses TLS for the control connection or the data connection."""


def code_of(error: BaseException) -> int:
    """Return the code of the reply that an error of `ftplib` holds; 0 if there is none."""
    code = str(error)[:3]
    return int(code) if isinstance(error, ftplib.Error) and code.isascii() and code.isdigit() else 0


def is_unknown_command(error: ftplib.error_perm) -> bool:
    """Return whether a reply says that the server does not know the command, for any file (RFC 959 4.2.1)."""
    return code_of(error) in {500, 502, 504, 522}


def failure(error: BaseException, route: Route, server: FtpServer) -> TransferError:
    """Return the error of mediacrawl for an error of a connection to an FTP server."""
    if isinstance(error, TransferError):
        return error
    said = _without_password(_words(error), server)[:_LONGEST]
    match error:
        case TlsRefused():
            return route.connect_error(f"TLS failed: the server refuses it: FTP {said}; an ftp:// URL is without TLS")
        case LoginRefused():
            return _refused_login(error, said, route, server)
        case ftplib.error_temp() | ftplib.error_perm():
            return _refused(error, said, route)
        case EOFError():
            return route.lost("the server ended the control connection")
        case OSError():  # one of them is a ValueError, too
            return translated(error, route)
        case ftplib.Error() | ValueError():
            return InvalidResponse(route.url, f"no reply of an FTP server: {said}")
    return translated(error, route)


def _refused(error: ftplib.Error, said: str, route: Route) -> TransferError:
    code = code_of(error)
    if code in _LOST:
        return route.lost(f"FTP {said}")
    status = _STATUSES.get(code, 500 if code < 500 else 501)
    if code == 550 and _MISSING.search(said):
        status = 404
    return FtpReplyError(route.url, status, said)


def _refused_login(error: ftplib.Error, said: str, route: Route, server: FtpServer) -> TransferError:
    if code_of(error) == CLOSING:
        return FtpReplyError(route.url, 503, said)
    if 400 <= code_of(error) < 500:
        return FtpReplyError(route.url, 500, said)
    words = said.removesuffix(".")
    if server.security is Security.NONE and _WANTS_TLS.search(said):
        return FtpReplyError(route.url, 401, f"{words}; with TLS the URL begins with ftps://{_place(server)}/")
    scheme = "ftp" if server.security is Security.NONE else "ftps"
    advice = f"name the user as {scheme}://USER:PASSWORD@{_place(server)}/, or in .netrc"
    return FtpReplyError(route.url, 401, f"{words}; {advice}")


def _place(server: FtpServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


def _without_password(said: str, server: FtpServer) -> str:
    """Return a reply without the password: servers repeat commands that they do not understand."""
    if (server.user, server.password) == ANONYMOUS or not server.password:
        return said
    password = re.escape(_in_one_line(server.password))
    if len(server.password) < _LEAST_LENGTH:  # it may be a part of any word
        password = rf"(?<!\w){password}(?!\w)"
    return re.sub(password, "***", said)


def _in_one_line(text: str) -> str:
    return " ".join(text_of_field(text).split())


def _words(error: BaseException) -> str:
    """Return a reply in one line."""
    return _in_one_line(str(error)) or type(error).__name__
