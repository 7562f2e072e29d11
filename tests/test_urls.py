import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.urls import Origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://h/a", Origin("http", "h", 80)),
        ("https://h", Origin("https", "h", 443)),
        ("http://h:8080/a", Origin("http", "h", 8080)),
        ("http://h:80/", Origin("http", "h", 80)),
        ("http://h:/", Origin("http", "h", 80)),
        ("HTTP://Example.COM/A", Origin("http", "example.com", 80)),
        ("http://user:secret@h/", Origin("http", "h", 80)),
        ("http://[::1]:8000/", Origin("http", "::1", 8000)),
        ("http://münchen.example/", Origin("http", "münchen.example", 80)),
        ("http://h?x=1", Origin("http", "h", 80)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, origin):
    assert Origin.of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h/a.jpg",
        "//h/a.jpg",
        "/a.jpg",
        "http:",
        "http://",
        "http:///a",
        "http://:80/",
        "http://user@/",
        "gopher://h/a",
        "gopher://h:21/a",
        "http://evil.test\\@good.test/a",  # whose host is evil.test to who connects
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "javascript:void(0)",
        "mailto:a@h",
        "ws://h:80/",
        "http://h:0/",
        "http://h:65536/",
        "http://h:port/",
        "http://h:-1/",
        "http://[::1/",
        "http://h /a",
        "http://h/a b",
        "http://h/a\n",
        " http://h/a",
    ],
)
def test_what_cannot_be_fetched_has_no_origin(url):
    assert Origin.of(url) is None


@given(st.text() | st.from_regex(r"https?://.{0,30}"))
def test_no_text_ever_raises(url):
    origin = Origin.of(url)
    if origin is not None:
        assert origin.scheme in {"http", "https"}
        assert origin.host
        assert 0 < origin.port < 65536
