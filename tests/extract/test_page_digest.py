from __future__ import annotations

import pytest

from mediacrawl.extract.links import Page
from mediacrawl.extract.page_digest import digest_of, page_digest, short_texts

SENTENCE = "This is a sentence with as many letters as a paragraph of a post has."
URL = "http://127.0.0.1/list?page={}"


def digest(number, html, shown=("http://127.0.0.1/a.jpg",), next_url=None):
    page = Page.from_text(html or "<p></p>", URL.format(number))
    return page_digest(page, shown, next_url)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        ('<a href="?page=2">2</a>', '<a href="?page=3">3</a><a href="/list?page=1">1</a>'),
        ("<p>page 7 of 60</p>", "<p>page 8 of 60</p>"),
        ("<b>January</b>", "<b>February</b>"),
        (f"<p>1. {SENTENCE}</p>", f"<p>22. {SENTENCE}</p>"),
        (f"<p>{SENTENCE}</p>", f"<p>\n  {SENTENCE}\n</p>"),
        (f"<script>'{SENTENCE}'</script>", f"<script>'{SENTENCE[::-1]}'</script>"),
        (f"<!-- {SENTENCE} --><i>x</i>", "<?php x ?><i>x</i>"),
        ('<a href="/x">x</a><a href="/y">y</a>', '<map><area href="/y"></map><a href="/x">x</a>'),
        ('<a href="?after=abc">more</a>', '<a href="?after=xyz">more</a>'),
    ],
)
def test_the_content_is_the_same(first, second):
    assert digest(7, first, next_url="http://127.0.0.1/list?after=abc") == digest(
        8, second, next_url="http://127.0.0.1/list?after=xyz"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('<a href="/post/1">post</a>', '<a href="/post/2">post</a>'),
        ('<a href="?topic=1">post</a>', '<a href="?topic=2">post</a>'),
        (f"<p>{SENTENCE}</p>", f"<p>{SENTENCE} Or two.</p>"),
        (f"<script></script>{SENTENCE}", f"<script></script>{SENTENCE[::-1]}"),
        (f"<!-- x -->{SENTENCE}", f"<!-- x -->{SENTENCE[::-1]}"),
    ],
)
def test_the_content_differs(first, second):
    assert digest(7, first) != digest(7, second)


def test_what_is_shown_belongs_to_the_content_in_any_order():
    assert digest(1, "", shown=["/a", "/b"]) == digest(2, "", shown=["/b", "/a", "/a"]) != digest(1, "", shown=["/a"])


def test_a_digest_is_the_same_in_each_process():
    """It is kept in a JOBDIR. Half a character is no obstacle."""
    assert digest_of(["b", "a"]) == 18429100309458631331
    assert digest_of(["\ud800"]) != digest_of(["\ud801"])


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>12</p><p>1999</p><p>1:30</p><p>2026-02-01</p><p>1.2.</p><p>[7]</p><p>-</p>", 0),
        ("<p>Anna</p><p>Bert</p><p>Anna</p>", 2),
        ("<p>44 EUR</p><p>45 EUR</p><p>312</p>", 3),
        (f"<p>{SENTENCE}</p><script>x</script>", 0),
        ("".join(f"<p>{number} x</p>" for number in range(2_000)), 1_000),
    ],
)
def test_dates_and_numbers_of_days_are_no_short_texts(html, expected):
    assert len(short_texts(Page.from_text(html, URL))) == expected
