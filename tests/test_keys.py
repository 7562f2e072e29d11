"""What identifies a file: the canonical URL, however quickly it is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from w3lib.url import canonicalize_url

from mediacrawl.fetch.filenames import is_canonical, key_of_url

PIECES = st.sampled_from(
    ["a", "B", "0", ".", "..", "/", "//", "%41", "?x=1", "#f", "~", "-", "_", ":80", ":65535", ";", "é"]
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_a_url_that_counts_as_canonical_is_what_canonicalize_url_makes_of_it(rest):
    url = f"http://h{rest}"
    if is_canonical(url):
        assert canonicalize_url(url) == url


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://h/a.jpg", "http://h/a.jpg"),
        ("http://h:8080/.hidden/a..b.jpg", "http://h:8080/.hidden/a..b.jpg"),
        ("http://h/a/../b.jpg", "http://h/b.jpg"),
        ("http://h/a/./b/..", "http://h/a/"),
        ("http://user:secret@h/b?y=2&x=1#part", "http://h/b?x=1&y=2"),
    ],
)
def test_the_key_is_the_canonical_url_without_credentials(url, key):
    assert key_of_url(url) == key
