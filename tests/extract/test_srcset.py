from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediacrawl.extract.srcset import Candidate, by_size, largest_first, parse_srcset

CLOUD = "https://x/w_200,h_100/a.jpg"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        (" , ,, ", []),
        ("a.jpg", [Candidate("a.jpg")]),
        ("a.jpg,", [Candidate("a.jpg")]),
        ("a.jpg, b.jpg 2x", [Candidate("a.jpg"), Candidate("b.jpg", density=2.0)]),
        ("a.jpg 1x,b.jpg 1.5x", [Candidate("a.jpg", density=1.0), Candidate("b.jpg", density=1.5)]),
        (
            f"{CLOUD} 200w, {CLOUD}?b 400w",
            [Candidate(CLOUD, width=200), Candidate(f"{CLOUD}?b", width=400)],
        ),
        ("a.jpg,b.jpg 2x", [Candidate("a.jpg,b.jpg", density=2.0)]),
        ("\n a.jpg\t640w\r\n,\n b.jpg 320w 200h", [Candidate("a.jpg", 640), Candidate("b.jpg", 320)]),
        ("a.jpg (x, y) 2x, b.jpg", [Candidate("b.jpg")]),
        ("a.jpg 0w, b.jpg 2", []),
        ("a.jpg 1x 2x, b.jpg 1w 1x, c.jpg -1x, d.jpg x", []),
        ("a.jpg .5x", [Candidate("a.jpg", density=0.5)]),
        ("data:image/gif;base64,R0lGOD 1w", [Candidate("data:image/gif;base64,R0lGOD", 1)]),
    ],
)
def test_a_srcset_is_read_as_html_says(value, expected):
    assert parse_srcset(value) == expected


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("a 1x, b 3x, c 2x", "b"),
        ("a 320w, b 1280w, c 640w", "b"),
        ("a 3x, b 1w", "b"),
        ("a, b 0.5x", "a"),
        ("a 1x, b", "a"),
    ],
)
def test_the_largest_wins_and_the_first_of_equals(value, url):
    assert by_size(parse_srcset(value))[0].url == url
    assert largest_first(value)[0] == url


@settings(deadline=None)
@given(st.text() | st.text(alphabet="a,() \t12.wxheE+-"))
def test_no_text_breaks_the_parser(value):
    for candidate in parse_srcset(value):
        assert candidate.url
        assert not candidate.url.endswith(",")


@pytest.mark.parametrize("value", [",", " ", "a", "a 1x,", "(", "a (", "a ((,)", "a 1x", "a ,("])
def test_a_long_srcset_is_read_in_linear_time(value):
    parse_srcset(value * 100_000)
