from __future__ import annotations

import time

import pytest

from mediacrawl.extract.links import Page
from mediacrawl.extract.refresh import find_refresh, parse_refresh

URL = "http://h/dir/page.html"


def page(html):
    return Page.from_text(html, URL)


@pytest.mark.parametrize(
    ("value", "refresh"),
    [
        ("5;url=s2.html", (5, "http://h/dir/s2.html")),
        ("0; url=/x", (0, "http://h/x")),
        ("0;URL = '/x'", (0, "http://h/x")),
        ('3,url="/x" target=_top', (3, "http://h/x")),
        ("3 url=/x", (3, "http://h/x")),
        ("3; /x", (3, "http://h/x")),
        ("3;/x", (3, "http://h/x")),
        ("1.9;url=/x", (1, "http://h/x")),
        (".5;url=/x", (0, "http://h/x")),
        ("\n 7 ;\t url\t=\t/x \n", (7, "http://h/x")),
        ("5;url=/x#part", (5, "http://h/x")),
        ("5;url=//other/x", (5, "http://other/x")),
        ("5;urls=/x", (5, "http://h/dir/urls=/x")),
        ("5;url", (5, "http://h/dir/url")),
        (f"{'9' * 5000};url=/x", (999_999_999, "http://h/x")),
        ("5", None),  # the page itself
        ("5;", None),
        ("5;url=", None),
        ("5;url=#part", None),
        ("", None),
        ("url=/x", None),
        ("-1;url=/x", None),
        ("5x;url=/x", None),
        ("5;url=javascript:go()", None),
        ("5;url=mailto:a@b", None),
        ("5;url=http://[", None),
    ],
)
def test_a_value_is_read_as_browsers_read_it(value, refresh):
    assert parse_refresh(value, URL) == refresh


@pytest.mark.parametrize(
    ("html", "header", "refresh"),
    [
        ('<meta http-equiv="refresh" content="5;url=2">', "", (5, "http://h/dir/2")),
        ('<meta HTTP-EQUIV=" Refresh " content="5;url=2">', "", (5, "http://h/dir/2")),
        ('<base href="/b/"><meta http-equiv=refresh content="5;url=2">', "", (5, "http://h/b/2")),
        ('<p><meta http-equiv="refresh" content="5;url=2">', "", (5, "http://h/dir/2")),
        ('<meta http-equiv=refresh content=x><meta http-equiv=refresh content="6;url=2">', "", (6, "http://h/dir/2")),
        ('<meta http-equiv=refresh content="5;url=2">', "7;url=3", (7, "http://h/dir/3")),
        ("<p>", "7; url=/3", (7, "http://h/3")),
        ('<noscript><meta http-equiv=refresh content="5;url=2"></noscript>', "", None),
        ('<meta http-equiv=refresh content="5;url=page.html">', "", None),
        ('<meta http-equiv=refresh content="5;url=page.html#a">', "", None),
        ('<meta http-equiv=refresh><meta name=refresh content="5;url=2">', "", None),
        ('<!--<meta http-equiv=refresh content="5;url=2">--><?php?>', "", None),
    ],
)
def test_the_first_refresh_of_a_page_counts_unless_it_leads_to_itself(html, header, refresh):
    assert find_refresh(page(html), header) == refresh


def test_large_values_and_many_metas_take_no_time():
    began = time.process_time()
    for value in (
        "9" * 10_000_000,
        "." * 10_000_000,
        " " * 10_000_000,
        f"5;{' ' * 10_000_000}",
        f"5;url{' ' * 10**7}",
    ):
        parse_refresh(value, URL)
    find_refresh(page("<noscript>" * 3000 + '<meta http-equiv=refresh content="5;url=2">' * 50_000))
    assert time.process_time() - began < 20  # in proportion to the size it takes a second
