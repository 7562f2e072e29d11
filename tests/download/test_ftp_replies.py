"""What the replies of FTP servers stand for."""

from __future__ import annotations

import ftplib
import socket

import pytest

from mediacrawl.errors import ConnectError, ConnectionLost, FtpReplyError, InvalidResponse
from mediacrawl.transport.errors import Route
from mediacrawl.transport.ftp_locations import location_of
from mediacrawl.transport.ftp_replies import LoginRefused, TlsRefused, failure

URL = "ftp://me:s3cret@h/a.jpg"
SERVER = location_of(URL, {}).server


def failed(error: Exception, url: str = URL):
    return failure(error, Route(url, 30.0, 15.0), location_of(url, {}).server)


def refusal(reply: str) -> Exception:
    return ftplib.error_temp(reply) if reply.startswith("4") else ftplib.error_perm(reply)


@pytest.mark.parametrize(
    ("reply", "status", "transient", "permanent"),
    [
        ("421 Too many users", 503, True, False),
        ("450 File busy", 500, True, False),
        ("451 Local error", 500, True, False),
        ("452 No space", 507, True, False),
        ("499 Who knows", 500, True, False),
        ("530 Not logged in", 401, False, False),
        ("550 No such file or directory.", 404, False, True),
        ("550 The system cannot find the file specified.", 404, False, True),
        ("550 Failed to open file.", 403, False, False),
        ("550 Permission denied", 403, False, False),
        ("553 Name not allowed", 403, False, False),
        ("500 What?", 501, False, False),
        ("502 Not implemented", 501, False, False),
        ("599 Who knows", 501, False, False),
    ],
)
def test_a_refusal_has_the_status_that_decides_whether_to_try_again(reply, status, transient, permanent):
    error = failed(refusal(reply))
    assert isinstance(error, FtpReplyError)
    assert (error.http_status, error.transient, error.permanent) == (status, transient, permanent)
    assert str(error) == f"ftp://h/a.jpg: FTP {reply}"


@pytest.mark.parametrize("reply", ["425 No data connection", "426 Aborted"])
def test_a_data_connection_that_broke_is_a_lost_connection(reply):
    assert isinstance(failed(refusal(reply)), ConnectionLost)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (LoginRefused("530 Login incorrect."), FtpReplyError, "530 Login incorrect; name the user as ftp://USER:"),
        (LoginRefused("550 TLS required."), FtpReplyError, "550 TLS required; with TLS the URL begins with ftps://"),
        (LoginRefused("550 SSL/TLS required"), FtpReplyError, "with TLS the URL begins with ftps://h:21/"),
        (LoginRefused("421 Busy"), FtpReplyError, "FTP 421 Busy"),
        (TlsRefused("502 no AUTH"), ConnectError, "TLS failed: the server refuses it: FTP 502 no AUTH"),
        (LoginRefused("500 PASS s3cret not understood"), FtpReplyError, "500 PASS *** not understood"),
        (ftplib.error_perm("502 'PASS s3cret'"), FtpReplyError, "502 'PASS ***'"),
        (EOFError(), ConnectionLost, "the server ended the control connection"),
        (ftplib.error_proto("SSH-2.0-x"), InvalidResponse, "no reply of an FTP server: SSH-2.0-x"),
        (ftplib.Error("got more than 8192 bytes"), InvalidResponse, "got more than 8192 bytes"),
        (TimeoutError(), ConnectionLost, "no byte for 30 s"),
        (socket.gaierror(), ConnectError, "the name 'h' does not resolve"),
        (ConnectionRefusedError(), ConnectError, "connection refused by h"),
    ],
)
def test_an_error_is_one_line_with_what_to_do_and_without_the_password(error, kind, words):
    failure_of = failed(error)
    assert isinstance(failure_of, kind)
    assert words in str(failure_of)
    assert "s3cret" not in str(failure_of)
    assert "\n" not in str(failure_of)


def test_a_reply_of_several_lines_is_one_line_in_the_encoding_of_its_server():
    error = failed(ftplib.error_perm("550-caf\u00c3\u00a9\r\n\x1b[31m550 No such file"))
    assert str(error) == "ftp://h/a.jpg: FTP 550-caf\u00e9 \\x1b[31m550 No such file"


@pytest.mark.parametrize("scheme", ["ftp", "ftps"])
def test_advice_about_a_password_keeps_the_scheme(scheme):
    url = f"{scheme}://h:2121/a.jpg"
    assert f"name the user as {scheme}://USER:PASSWORD@h:2121/" in str(failed(LoginRefused("530 Who?"), url))
