from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.headers.link import reference_of


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["</2>; rel=next"], "/2"),
        (['<https://h/a,b;c?x>; rel="prev", < /3 >; title="a;b, <c>"; rel="last Next"'], "/3"),
        (["</1>; rel=prev", '</2>; Rel = "NEXT"'], "/2"),
        (["</2>;rel=next;title=x,</3>;rel=next"], "/2"),
        ([r'</2>; title="a \" rel=prev; \\"; rel=next'], "/2"),
        (["</2>;;rel=next;"], "/2"),
        (["<>; rel=next"], ""),
        (["</1>; rel=prev; rel=next"], None),
        (['</1>; anchor="/x"; rel=next'], None),
        (["</1>; title=next", "</1>", "/1; rel=next", "</1", "", "</1>; rel=nexting"], None),
    ],
)
def test_the_reference_with_a_relation_is_found(values, expected):
    assert reference_of("next", values) == expected


@given(st.lists(st.text(st.sampled_from('<>;,="\\ relnxt/'))))
def test_no_field_breaks_the_parser(values):
    assert isinstance(reference_of("next", values), str | None)


@pytest.mark.parametrize("piece", ['<a>; x="', "<", "<a>;", '<a>; rel="\\', "<a>; a=b", '<a>;"a"'])
def test_a_long_field_takes_time_in_proportion(piece):
    start = time.process_time()
    reference_of("next", [piece * 20_000])
    assert time.process_time() - start < 2  # processor seconds; minutes if quadratic
