from __future__ import annotations

from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediacrawl.extract.links import Page, absolute
from mediacrawl.urls import Origin, resolve

URL = "https://host.example/gallery/page.html?p=1"


def page(html="", url=URL, encoding="utf-8"):
    return Page.from_text(html, url, encoding)


@given(
    base=st.sampled_from(
        [
            "http://h.example/",
            "https://h:81/a/b.html",
            "http://h/a/",
            "http://h/~u/x?y=/z/",
            "http://h/a//b",
            "http://h/../a/b",
        ]
    ),
    link=st.lists(
        st.sampled_from(["a", "b.jpg", "..", ".", "/", "//", "x:y", "~", "-", "?", "#", "%20", "_", "ä"])
    ).map("".join),
)
def test_the_short_way_of_plain_links_leads_to_the_same_place(base, link):
    expected = resolve(base, link).partition("#")[0]
    if link and link[0] != "#" and Origin.of(expected) is not None:
        assert absolute(base, link) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("a.jpg", "https://host.example/gallery/a.jpg"),
        ("/a.jpg#top", "https://host.example/a.jpg"),
        ("../a.jpg", "https://host.example/a.jpg"),
        ("?p=2", "https://host.example/gallery/page.html?p=2"),
        ("//cdn.example/a.jpg", "https://cdn.example/a.jpg"),
        ("http://other.example", "http://other.example/"),
        (" \n a\n\t.jpg \x00", "https://host.example/gallery/a.jpg"),
        ("images\\a.jpg?x=\\", "https://host.example/gallery/images/a.jpg?x=\\"),
        ("a b.jpg", "https://host.example/gallery/a%20b.jpg"),
        ("a%20b.jpg", "https://host.example/gallery/a%20b.jpg"),
        ("ü.jpg", "https://host.example/gallery/%C3%BC.jpg"),
        ("https://bücher.example/a.jpg", "https://xn--bcher-kva.example/a.jpg"),
        ("HTTPS://host.example:8443/a.jpg", "https://host.example:8443/a.jpg"),
        ("http://[::1]:80/a.jpg", "http://[::1]:80/a.jpg"),
    ],
)
def test_a_link_is_resolved_as_a_browser_does(link, expected):
    assert page().resolve(link) == expected


@pytest.mark.parametrize(
    "link",
    [
        *(None, "", "  ", "#", "#top", "\n#", "http://", "http:///", "http://?x"),
        *("data:image/gif;base64,R0lGOD", "javascript:void(0)", "java\nscript:x", "blob:https://h/1"),
        *("mailto:a@b.example", "ftp://h/a.jpg", "file:///etc/passwd", "about:blank"),
        *("http://[::1/a.jpg", "http://[zz]/", "http://h:99999/a", "http://h:x/a", "http://a\u2100b/"),
    ],
)
def test_what_names_no_other_web_resource_is_no_link(link):
    assert page().resolve(link) is None


@pytest.mark.parametrize("link", ["ftp://h/a.jpg", "ftps://h:21/a.jpg", "https://h/a.jpg"])
def test_a_file_may_be_on_an_ftp_server(link):
    assert page().resolve_file(link) == link


@pytest.mark.parametrize("link", ["mailto:a@b.example", "file:///etc/passwd", "", "#top"])
def test_what_names_no_other_resource_is_no_file(link):
    assert page().resolve_file(link) is None


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("/static/", "https://host.example/static/a.jpg"),
        ("https://cdn.example/x/", "https://cdn.example/x/a.jpg"),
        ("//cdn.example", "https://cdn.example/a.jpg"),
        ("javascript:0", "https://host.example/gallery/a.jpg"),
        ("DATA:text/plain,x", "https://host.example/gallery/a.jpg"),
        ("http://[", "https://host.example/gallery/a.jpg"),
        ("http://h:99999/", "https://host.example/gallery/a.jpg"),
        ("#", "https://host.example/gallery/a.jpg"),
        ("", "https://host.example/gallery/a.jpg"),
        (" \n/sta\ntic/ ", "https://host.example/static/a.jpg"),
        ("mailto:a@b.example", None),
        ("file:///C:/site/", None),
        ("about:blank", None),
    ],
)
def test_the_first_base_href_is_where_links_start_as_in_browsers(base, expected):
    html = f'<a href=behind></a><base target=_top><base href="{base}"><base href="/late/">'
    assert page(html).resolve("a.jpg") == expected
    assert page(html).resolve("http://h/a.jpg") == "http://h/a.jpg"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("a.jpg?", "https://host.example/gallery/a.jpg?"),
        ("a.jpg?#x", "https://host.example/gallery/a.jpg?"),
        ("/x//y//../a.jpg", "https://host.example/x//y/a.jpg"),
        ("https://host.example//a//b.jpg", "https://host.example//a//b.jpg"),
        ("///cdn.example/a.jpg", "https://cdn.example/a.jpg"),
        (r"\\cdn.example\a.jpg", "https://cdn.example/a.jpg"),
        ("https:/a.jpg", "https://host.example/a.jpg"),
        ("https:a.jpg", "https://host.example/gallery/a.jpg"),
        ("http:/cdn.example/a.jpg", "http://cdn.example/a.jpg"),
        ("http:cdn.example/a.jpg", "http://cdn.example/a.jpg"),
        ("HTTPS:////cdn.example/a.jpg", "https://cdn.example/a.jpg"),
    ],
)
def test_slashes_and_question_marks_are_read_as_browsers_do(link, expected):
    assert page().resolve(link) == expected


def test_a_query_is_written_in_the_encoding_of_the_page():
    assert page(encoding="gbk").resolve("/s?q=中") == "https://host.example/s?q=%D6%D0"
    assert page(encoding="gbk").resolve("/中") == "https://host.example/%E4%B8%AD"


def test_a_letter_that_the_encoding_lacks_is_written_as_browsers_do():
    assert page(encoding="latin-1").resolve("/中?q=中&é") == "https://host.example/%E4%B8%AD?q=%26%2320013%3B&%E9"


@pytest.mark.parametrize("encoding", ["utf-16", "UTF-16LE", "utf-16-be", "utf-32", "utf-7", "utf-8-sig"])
def test_a_query_on_a_page_in_any_form_of_unicode_is_in_utf_8(encoding):
    assert page(encoding=encoding).resolve("/s?q=中") == "https://host.example/s?q=%E4%B8%AD"


@pytest.mark.parametrize("encoding", ["no such", "", "\x00"])
def test_an_unknown_encoding_counts_as_utf_8(encoding):
    assert page(encoding=encoding).encoding == "utf-8"


def test_the_url_of_a_page_has_no_fragment():
    assert page(url="http://host.example/a#b").url == "http://host.example/a"


@pytest.mark.parametrize("text", ['{"a": 1}', ""])
def test_what_is_no_html_is_an_empty_page(text):
    assert Page.from_text(text, URL).selector.xpath("//img").getall() == []


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_no_link_no_base_and_no_address_breaks_a_page(link, base, url):
    link = page(f"<base href='{escape(base)}'>", url).resolve(link)
    assert link is None or link.startswith(("http://", "https://"))


LONG = "a" * 5_000


@pytest.mark.parametrize("base", [f"/{LONG}/b", f"https://h.example/{LONG}/", f"//h.example/x/{LONG}/y?z"])
def test_no_link_is_below_a_base_that_is_longer_than_any_server_takes(base):
    """A page of 1 MB with a base of half of that would have gigabytes of URLs."""
    one = page(f'<base href="{base}">')
    assert [one.resolve(link) for link in ("a.jpg", "./a", "?a", "https:a.jpg", "../a.jpg")] == [None] * 5
    ends = [
        one.resolve(link).rpartition("example")[2] for link in ("/a.jpg", "//o.example/a.jpg", "http://e.example/a")
    ]
    assert ends == ["/a.jpg", "/a.jpg", "/a"]


def test_the_length_of_the_query_of_a_page_does_not_count():
    one = Page.from_text("", f"https://h.example/x/y?{LONG}/z")
    assert [one.resolve(link) for link in ("a.jpg", "?a")] == ["https://h.example/x/a.jpg", "https://h.example/x/y?a"]
