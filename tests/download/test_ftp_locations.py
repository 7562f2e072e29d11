"""The server, the user and the path that an ftp or ftps URL names."""

from __future__ import annotations

import base64

import pytest

from mediacrawl.errors import UnsupportedURL
from mediacrawl.transport.ftp_locations import Security, location_of

BASIC = {"Authorization": "Basic " + base64.b64encode(b"me:p:w").decode()}


@pytest.mark.parametrize(
    ("url", "host", "port", "security"),
    [
        ("ftp://h/a", "h", 21, Security.NONE),
        ("FTP://H:2121/a", "h", 2121, Security.NONE),
        ("ftp://[::1]/a", "::1", 21, Security.NONE),
        ("ftps://h/a", "h", 990, Security.IMPLICIT),
        ("ftps://h:990/a", "h", 990, Security.IMPLICIT),
        ("ftps://h:21/a", "h", 21, Security.EXPLICIT),
        ("ftps://h:2121/a", "h", 2121, Security.EXPLICIT),
    ],
)
def test_the_port_says_how_tls_begins(url, host, port, security):
    server = location_of(url, {}).server
    assert (server.host, server.port, server.security) == (host, port, security)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("ftp://h/a/b.jpg", "a/b.jpg"),
        ("ftp://h//etc/a", "/etc/a"),
        ("ftp://h/%2Fetc/a", "/etc/a"),
        ("ftp://h/a%20b.jpg", "a b.jpg"),
        ("ftp://h/a b.jpg", "a b.jpg"),
        ("ftp://h/caf\u00e9", "caf\u00c3\u00a9"),  # the bytes of UTF-8, in Latin-1
        ("ftp://h/caf%E9", "caf\u00e9"),
        ("ftp://h/a?b=1", "a?b=1"),
        ("ftp://h/a#part", "a"),
        ("ftp://h/a;type=i", "a"),
        ("ftp://h/a;type=I", "a"),
        ("ftp://h/x/../a", "a"),
        ("ftp://h", ""),
        ("ftp://h/a/", "a/"),
    ],
)
def test_a_path_has_the_bytes_of_its_url(url, path):
    assert location_of(url, {}).path == path


@pytest.mark.parametrize(
    ("url", "headers", "login"),
    [
        ("ftp://h/a", {}, ("anonymous", "mediacrawl@")),
        ("ftp://me:s3cret@h/a", {}, ("me", "s3cret")),
        ("ftp://me:s3cret@h/a", BASIC, ("me", "s3cret")),
        ("ftp://m%40h:a%3Ab@h/a", {}, ("m@h", "a:b")),
        ("ftp://me@h/a", {}, ("me", "")),
        ("ftp://h/a", BASIC, ("me", "p:w")),
        ("ftp://h/a", {"authorization": "Bearer x"}, ("anonymous", "mediacrawl@")),
        ("ftp://h/a", {"Authorization": "Basic ?"}, ("anonymous", "mediacrawl@")),
    ],
)
def test_the_user_is_that_of_the_url_else_that_of_the_headers_else_nobody_in_particular(url, headers, login):
    server = location_of(url, headers).server
    assert (server.user, server.password) == login
    assert "s3cret" not in repr(server)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a%0d%0aDELE%20b",
        "ftp://h/a%0a",
        "ftp://h/a%00b",
        "ftp://me%0aDELE%20b@h/a",
        "ftp://me:s3%0Dcret@h/a",
        "ftp://h/a;type=a",
        "ftp://h/a;type=d",
        "http://h/a",
    ],
)
def test_a_url_that_would_be_several_commands_or_another_transfer_is_refused(url):
    with pytest.raises(UnsupportedURL) as caught:
        location_of(url, {})
    assert "s3" not in str(caught.value)
