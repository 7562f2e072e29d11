"""The form in which a URL is sent, and the key of a file."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediacrawl.errors import UsageProblem
from mediacrawl.fetch.request import FileRequest
from mediacrawl.sources.url_list import read_list
from mediacrawl.urls import (
    as_sent,
    former_key_of_url,
    has_controls,
    is_plain,
    key_of_url,
    resolve,
    split_plain,
    target_of,
)

PIECES = st.sampled_from(
    [
        *("a", "B", "0", ".", "..", "/", "//", "%41", "%e4", "%", "?x=1", "?", "&", "=", "+", "#f", "~", "-", "_"),
        *(":80", ":443", ":65535", ";", "é", " ", "\t", "\\", "|", "{", "[", "'", '"', "\udc95", "@", "\x00"),
    ]
)
URLS = st.tuples(st.sampled_from(["http://h", "https://h", "HTTP://H", "http://me@h"]), st.lists(PIECES, max_size=8))


@given(URLS.map(lambda parts: parts[0] + "".join(parts[1])))
@example("http://h/a?")
@example("http://h//a/./b/..")
def test_what_is_sent_can_stand_on_a_request_line_and_stays_as_it_is(url):
    if has_controls(url):
        return  # refused, see below
    sent = as_sent(url)
    if not sent.startswith(("http://h/", "https://h/")):
        return  # a port, or no host
    target = target_of(url)
    assert target.isascii()
    assert target.isprintable()
    assert not {" ", "#", '"', "<", ">"} & set(target)
    assert as_sent(sent) == sent
    assert target_of(sent) == target
    key = key_of_url(url)
    assert key_of_url(key) == key
    assert target_of(key) == target
    if is_plain(url):
        assert (sent, key, split_plain(url)) == (url, url, (url[: url.index("/", 8)], target))


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h/%7E%2D%e4%E4+%20?b=2&a=1&b", "http://h/%7E%2D%e4%E4+%20?b=2&a=1&b"),
        ("http://h/a?", "http://h/a?"),
        ("http://h", "http://h/"),
        ("http://h?x", "http://h/?x"),
        ("http://h/a b?c d#e f", "http://h/a%20b?c%20d#e%20f"),
        ("  http://h/a\t\n", "http://h/a"),
        ("http://h/a\r\nb", "http://h/ab"),
        ("\x00\x1b http://h/\x1f", "http://h/"),
        ("http://h/é?é", "http://h/%C3%A9?%C3%A9"),
        ("http://h/\udce9?\udce9", "http://h/%E9?%E9"),
        ("http://h/\u00a0\u3000", "http://h/%C2%A0%E3%80%80"),
        ("http://h/%zz%", "http://h/%zz%"),
        # as browsers: no escapes for what is no character of a URL, but does no harm
        ("http://h/[a]|'(b)'*!$&,;=:@", "http://h/[a]|'(b)'*!$&,;=:@"),
        ('http://h/"<>^`{}', "http://h/%22%3C%3E%5E%60%7B%7D"),
        ("http://h/?[]|'^`{}\\", "http://h/?[]|'^`{}\\"),
        ('http://h/?"<>', "http://h/?%22%3C%3E"),
        ("http://h/a\\b", "http://h/a/b"),
        ("http://h/\udc95\\", "http://h/%95%5C"),
        ("http://h//a//", "http://h//a//"),
        ("http://h/a/../../b/./c/..", "http://h/b/"),
        ("http://h/a/%2e%2e/b", "http://h/a/%2e%2e/b"),
        ("http://h/.a/..b/...", "http://h/.a/..b/..."),
        ("HTTP://Me:Pw@Host.Example:80/A", "http://Me:Pw@host.example:80/A"),
        ("http://[::1]:8000/é", "http://[::1]:8000/%C3%A9"),
        ("http://Bücher.example:8080/", "http://xn--bcher-kva.example:8080/"),
        ("http://faß.example/", "http://xn--fa-hia.example/"),
        ("http://ｅxample.com/", "http://example.com/"),
        ("http://☃.example/", "http://xn--n3h.example/"),
        # no URL that can be fetched
        ("http://evil.example\\@good.example/a b", "http://evil.example\\@good.example/a b"),
        ("http://evil.example／@good.example/", "http://evil.example%EF%BC%8F@good.example/"),
        ("http://evil.example／good/", "http://evil.example／good/"),
        ("gopher://h/a b", "gopher://h/a b"),
        ("FTP://H/./a b", "ftp://h/a%20b"),
        ("ftps://me@h:990/caf\u00e9", "ftps://me@h:990/caf%C3%A9"),
        ("http:///a b", "http:///a b"),
        ("h/a b", "h/a b"),
        ("", ""),
    ],
)
def test_a_url_is_sent_as_it_is_written(url, sent):
    assert as_sent(url) == sent


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("c", "http://h/a//c"),
        ("./c", "http://h/a//c"),
        ("../c", "http://h/a/c"),
        ("../../../c", "http://h/c"),
        ("c//d", "http://h/a//c//d"),
        ("c/", "http://h/a//c/"),
        ("/c", "http://h/c"),
        ("//o", "http://o/"),
        ("//o/c?", "http://o/c?"),
        ("?y", "http://h/a//b?y"),
        ("?", "http://h/a//b?"),
        ("#f", "http://h/a//b?x#f"),
        ("", "http://h/a//b?x"),
        ("c?/../d", "http://h/a//c?/../d"),
        ("1:2", "http://h/a//1:2"),
        ("http:c", "http://h/a//c"),
        ("http://H2/../c", "http://h2/c"),
        ("https:c", "https:c"),
        ("mailto:a@h", "mailto:a@h"),
        ("\\c\\d?\\", "http://h/c/d?\\"),
        (" c\n", "http://h/a//c"),
    ],
)
def test_a_reference_is_resolved_without_a_change_of_its_parts(reference, url):
    assert resolve("http://h/a//b?x", reference) == url


def test_the_query_of_a_reference_has_the_encoding_of_the_page():
    assert resolve("http://h/", "é?é", "latin-1") == "http://h/%C3%A9?%E9"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://h/a.jpg", "http://h/a.jpg"),
        ("ftp://me:s3cret@h:21//a.jpg#x", "ftp://h//a.jpg"),
        ("ftps://h:990/a.jpg", "ftps://h/a.jpg"),
        ("ftps://h:21/a.jpg", "ftps://h:21/a.jpg"),
        ("http://h:8080/.hidden/a..b.jpg", "http://h:8080/.hidden/a..b.jpg"),
        ("http://h/a/../b.jpg", "http://h/b.jpg"),
        ("http://h/a/./b/..", "http://h/a/"),
        ("http://user:secret@h/b?y=2&x=1#part", "http://h/b?y=2&x=1"),
        ("HTTP://H:80/A", "http://h/A"),
        ("https://h:443/a", "https://h/a"),
        ("http://h:443/a", "http://h:443/a"),
        ("http://h:/a", "http://h/a"),
        ("http://h", "http://h/"),
        ("http://h/a?", "http://h/a?"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ],
)
def test_the_key_is_the_url_as_written_with_a_normal_origin(url, key):
    assert key_of_url(url) == key


def test_urls_that_differ_in_the_target_have_keys_of_their_own():
    paths = [
        *("/a?x=1&y=2", "/a?y=2&x=1", "/a?x", "/a?x=", "/a", "/a?", "/a+b", "/a%20b", "/a%2Bb", "/~a", "/%7Ea"),
        *("/%E4", "/%e4", "/b%2Fc", "/b/c", "/b//c", "/b/c/", "/B/c", "/a?x=1&x=2", "/a?x=2&x=1", "/a?x=1&x=2&"),
    ]
    assert len({key_of_url(f"http://h{path}") for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://h/a.jpg", "http://h/a.jpg"),
        ("http://h/%7Ea?b=2&a=1", "http://h/~a?a=1&b=2"),
        ("http://h/a?x", "http://h/a?x="),
        ("http://[h/", "http://[h/"),
    ],
)
def test_the_former_key_was_the_canonical_url(url, key):
    assert former_key_of_url(url) == key


CONTROLS = ["\x00", "\x01", "\x0b", "\x1b", "\x7f", "\x80", "\x9b"]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    "url", ["http://h/a{}b", "https://h{}/a", "http://h/?q={}x", "http://u{}:p@h/", "HTTP://h/#{}f"]
)
def test_a_control_character_within_a_url_is_refused(url, control):
    with pytest.raises(ValueError, match="control character"):
        as_sent(url.format(control))
    assert resolve("http://h/", "a\x01b") == "http://h/a%01b"  # of a page, as browsers do
    for form in ("{}", '{{"url": {}}}'):
        written = json.dumps(url.format(control)) if "{{" in form else url.format(control)
        (row,) = read_list(io.StringIO(form.format(written), newline=""))
        assert "control character" in row.why
    with pytest.raises(UsageProblem, match="control character"):
        FileRequest.of_url(url.format(control))
