from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.extract.css import pictures_of_css


@pytest.mark.parametrize(
    ("css", "expected"),
    [
        ("background:url(a.jpg)", ["a.jpg"]),
        ("BACKGROUND-IMAGE : URL( 'a b.jpg' )", ["a b.jpg"]),
        ('background:#fff url("a") no-repeat, url(b)', ["a", "b"]),
        (
            "list-style:url(a.gif);border-image:url(b.png) 3;mask:url(c.svg);content:url(d.png)",
            ["a.gif", "b.png", "c.svg", "d.png"],
        ),
        (r"background:url(a\ b\2f c\(1\).jpg)", ["a b/c(1).jpg"]),
        ("background:url(a;b.jpg);color:red", ["a;b.jpg"]),
        ("--hero:url(a.jpg);--font:url(b.woff);--page:url(/c)", ["a.jpg"]),
        ("*background:url(a.jpg)", ["a.jpg"]),
        ("/* background:url(x) */ background:url(/* y */)", ["/* y */"][:0]),
        ("/* a: b */ background:url(y)", ["y"]),
        ("cursor:url(a.cur);filter:url(a.svg#b);behavior:url(a.htc);clip-path:url(b.svg#c)", []),
        ("background:url(data:image/svg+xml;utf8,<svg xmlns='x'>)", []),
        ("content:'url(a.jpg)'", []),
        ("background:url()", []),
        ("background:url('a')", ["a"]),
        ("background:url('a", ["a"]),
        ("background:url('a\nb.png'); color:red", []),
        ("background:none", []),
        ("", []),
    ],
)
def test_declarations_name_pictures(css, expected):
    assert pictures_of_css(css) == expected


@pytest.mark.parametrize(
    ("css", "expected"),
    [
        ("background:image-set('a' 1x, 'b' 2x)", ["b"]),
        ("background:image-set(url(b) 2x, url(a) 1x)", ["b"]),
        ("background:-webkit-image-set(url('a') 96dpi, url('b') 192dpi)", ["b"]),
        ("background:image-set(url(a) type('image/avif'), url(b) type('image/jpeg'))", ["a"]),
        ("background:image-set(url(a) type('image/jxl') 3x, url(b) type('image/png') 1x)", ["b"]),
        ("background:image-set('a' 1x, 'b' 1.5dppx", ["b"]),
        ("background:image-set();color:red", []),
    ],
)
def test_of_an_image_set_the_largest_counts(css, expected):
    assert pictures_of_css(css) == expected


@pytest.mark.parametrize(
    ("css", "expected"),
    [
        ("background-image:url(a);background-image:image-set('b' 2x)", ["b"]),
        ("background:url(a);color:red;background:url(b), url(c)", ["b", "c"]),
        ("p{background:url(a)} q{background:url(b)}", ["a", "b"]),
        ("background:url(a);background-color:red", ["a"]),
    ],
)
def test_a_later_declaration_replaces_an_earlier_one_of_its_block(css, expected):
    assert pictures_of_css(css) == expected


@pytest.mark.parametrize(
    ("css", "expected"),
    [
        ("@import url(x.css); @namespace url(http://y); p{background:url(a)}", ["a"]),
        ("@font-face{src:url(x.woff)} p{background:url(a)}", ["a"]),
        ("@media print{p{background:url(x)}} q{background:url(a)}", ["a"]),
        ("@media (max-width:600px){p{background:url(x)}}", []),
        ("@media (min-width:600px){p{background:url(a)} @media print{p{background:url(x)}}}", ["a"]),
        ("@supports (x:y){p{background:url(a)}}", ["a"]),
        ("<!-- p{background:url(a)} -->", ["a"]),
        ("p{background:url(a}", ["a}"]),
        ("}}} p{background:url(a)}", ["a"]),
    ],
)
def test_a_style_sheet_is_read_as_for_a_large_screen(css, expected):
    assert pictures_of_css(css) == expected


@given(st.lists(st.sampled_from([*"{};:,()\"'\\/*a1x ", "url(", "image-set(", "@media", "background"])).map("".join))
def test_no_style_breaks_the_reader(css):
    assert all(pictures_of_css("background:url(a);" + css))
