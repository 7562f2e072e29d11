"""The tree of a page: one root, no comments, no templates, and nothing lost in deep nesting."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediacrawl.extract.links import Page
from mediacrawl.extract.media import find_media
from mediacrawl.extract.nesting import flattened
from mediacrawl.extract.pagination import find_next

URL = "http://h/list"


def page(html, url=URL):
    return Page.from_text(html, url)


def sources(html):
    return [image.get("src") for image in page(html).root.iter("img")]


def seen(html):
    """All that a crawl takes from a page."""
    subject = page(html)
    return subject.base_url, find_next(subject), [link.url for link in find_media(subject)]


PIECES = [
    "<!DOCTYPE html>",
    "<html>",
    "<head>",
    "<base href='/d/'>",
    "<title>t</title>",
    "</head>",
    "<body>",
    "<picture>",
    "<source srcset='a.webp 2x'>",
    "<img src=a.jpg>",
    "</picture>",
    "<video poster=p.png>",
    "<source src=v.mp4>",
    "</video>",
    "<ul>",
    "<li>",
    "<span>1</span>",
    "</li>",
    "<li>",
    "<a href='?page=2'>",
    "<i></i>",
    "2",
    "</a>",
    "</li>",
    "<li>",
    "<a href='?page=2'>",
    "Next",
    "</a>",
    "</li>",
    "</ul>",
    "</body>",
    "</html>",
    "<div><img src=b.jpg></div>",
]
INVISIBLE = st.sampled_from(["<!-- x -->", "<!---->", "<!-- <img src=c.jpg> -->", "<?php echo 1 ?>", "<!-- a\n\n-->"])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(PIECES)), INVISIBLE), min_size=1, max_size=8))
def test_a_comment_in_any_position_changes_nothing(comments):
    pieces = list(PIECES)
    for position, comment in sorted(comments, reverse=True):
        pieces.insert(position, comment)
    assert seen("".join(pieces)) == seen("".join(PIECES))


def test_a_comment_in_every_position_changes_nothing():
    expected = seen("".join(PIECES))
    assert expected[:2] == ("http://h/d/", "http://h/d/?page=2")
    for position in range(len(PIECES) + 1):
        for comment in ("<!-- c -->", "<?pi c?>"):
            assert seen("".join([*PIECES[:position], comment, *PIECES[position:]])) == expected
    assert seen("<!-- c -->".join(PIECES)) == expected


@pytest.mark.parametrize("is_xml", [False, True])
def test_no_walk_meets_a_comment(is_xml):
    html = "<html><!-- a --><?pi b?><body><p>x<!-- c --></p></body></html>"
    assert all(isinstance(element.tag, str) for element in Page.from_text(html, URL, is_xml=is_xml).root.iter())


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<html><body><img src=a></body></html><img src=b>", ["a", "b"]),
        ("<html><body><img src=a></body></html>\n<!-- c -->\n<div><p><img src=b></div><img src=c>", ["a", "b", "c"]),
        ("<html><body><img src=a></body></html><!DOCTYPE html><html><head></head><body><img src=b>", ["a", "b"]),
        ("<html><img src=a></html><html><img src=b></html><html><body><img src=c></html>", ["a", "b", "c"]),
        ("<html><body><p>x</body><img src=a></html><img src=b>", ["a", "b"]),
        ("<html><body><html><body><img src=a></body></html><img src=b></body></html><img src=c>", ["a", "b", "c"]),
        ("<html></html><img src=a>", ["a"]),
        ("<frameset><frame src=f></frameset></html><img src=a>", ["a"]),
        ("<svg><image href=x /></svg></html><img src=a>", ["a"]),
    ],
)
def test_what_follows_the_end_of_the_page_belongs_to_it(html, expected):
    assert sources(html) == expected
    subject = page(html)
    assert subject.selector.xpath("/html//img/@src").getall() == expected  # the XPaths of users as well
    assert subject.selector.xpath("//img/@src").getall() == expected


def test_a_base_and_a_next_link_after_the_end_count():
    html = "<html><body><img src=a.jpg></body></html><base href=/b/><link rel=next href=2>"
    assert seen(html) == ("http://h/b/", "http://h/b/2", ["http://h/b/a.jpg"])


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<template><img src=a></template><img src=b>", ["b"]),
        ("<template><div><template><img src=a></template><img src=b></div></template>t<img src=c>", ["c"]),
        ("<head><template id=x><img src=a></template><title>t</title></head><img src=b>", ["b"]),
        ("<TEMPLATE><tr><td><img src=a></template><img src=b>", ["b"]),
        ("<p>a<template><div><p><img src=a></template><img src=b></p><!-- <template> --><img src=c>", ["b", "c"]),
        ("<script>'<template>'</script><img src=a alt='<template>'></template><img src=b>", ["a", "b"]),
        ("<template><img src=a>", []),
        ("<div><template shadowrootmode=open><img src=a></template></div>", ["a"]),
        ("<div><template shadowrootmode=CLOSED><img src=a></template></div>", ["a"]),
        ("<div><template shadowrootmode=other><img src=a></template></div>", []),
        ("<template><div><template shadowrootmode=open><img src=a></template></div></template>", []),
    ],
)
def test_a_template_is_not_shown_except_as_a_shadow_root(html, expected):
    assert sources(html) == expected


def test_the_text_after_a_template_stays():
    assert page("<p>a<template>b</template>c</p>").selector.xpath("string(//p)").get() == "ac"


NESTED = [
    ("<table><tr><td>", "</td></tr></table>"),
    ("<div>", "</div>"),
    ("<font>", ""),
    ("<ul><li>", "</ul>"),
    ("<blockquote><p>", ""),
    ("<b><div></b>", ""),
    ("<x-box a='>'>", "</x-box>"),
    ("<div class='a", "'></div>"),
]


@pytest.mark.parametrize(("start", "end"), NESTED)
@pytest.mark.parametrize("depth", [2_100, 5_000])
def test_nothing_of_a_deeply_nested_page_is_lost(start, end, depth):
    html = f"{start * depth}<a rel=next href=2><img src=in.jpg></a>{end * depth}<img src=behind.jpg>"
    if start.endswith("'a"):
        html = (
            f"{(start + end) * 9}<img src=in.jpg>" + "<div>" * depth + "<a rel=next href=2></a><img src=behind.jpg>"
        )
    subject = page(html)
    assert [link.url for link in find_media(subject)] == ["http://h/in.jpg", "http://h/behind.jpg"]
    assert find_next(subject) == "http://h/2"
    assert subject.selector.xpath("count(//img)").get() == "2.0"


@pytest.mark.parametrize(
    "html",
    [
        *("0xff<wbr>", "<source src=b>", "<track src=b>", "<embed src=b>", "<keygen>", "<bgsound src=b>", "<br>"),
        *("<param name=b>", "<x-icon/>", "<audio><source src=b>", "<WBR/>", "<wbr></wbr>", "<option>"),
    ],
)
def test_elements_without_contents_do_not_end_a_page(html):
    subject = page(f"<img src=in.jpg><pre>{html * 3_000}</pre><img src=behind.jpg><a rel=next href=2>")
    assert [image.get("src") for image in subject.root.iter("img")] == ["in.jpg", "behind.jpg"]
    assert find_next(subject) == "http://h/2"
    assert not subject.is_cut


def test_a_page_that_stays_cut_is_marked(monkeypatch):
    html = "<div>" * 3_000 + "<img src=a>"
    assert not page(html).is_cut
    monkeypatch.setattr("mediacrawl.extract.document.flattened", lambda text: text)
    assert page(html).is_cut
    assert not page("<img src=a>").is_cut


def test_what_is_no_tag_stays_none_in_a_deeply_nested_page():
    inside = """
        <script>"<img src=1.jpg>"; '</div>'</script><!-- <img src=2.jpg> --><title><img src=3.jpg></title>
        <textarea><img src=4.jpg></textarea><style>a::before{content:'<img src=5.jpg>'}</style>
        <img alt="a > b" src=6.jpg><img alt='<img src=7.jpg>' src=8.jpg><a title=it's href=9.jpg>x</a>
        <svg><path d="M0"/><image/></svg><!-x><![CDATA[x]]>< p><img src=10.jpg><img src=11.jpg"""
    deep = [link.url for link in find_media(page("<div>" * 3_000 + inside))]
    assert deep == [link.url for link in find_media(page("<div>" + inside))]
    assert "http://h/10.jpg" in deep
    assert "http://h/1.jpg" not in deep


def test_a_picture_in_a_deeply_nested_page_is_still_one():
    html = "<table><tr><td>" * 2_000 + "<picture><source srcset=a.webp><img src=a.jpg></picture>"
    assert [link.url for link in find_media(page(html))] == ["http://h/a.webp"]


def test_a_page_of_ordinary_depth_is_rewritten_without_loss():
    html = "<p>a<br>b</p><ul><li>x<li>y</ul><a href=z>t</a><script>1<2</script>tail"
    assert re.sub(r"</p>|</li>", "", flattened(html)) == re.sub(r"</p>|</li>", "", html)


def test_comments_templates_and_second_roots_at_once():
    subject = Page.from_text("<html><!-- c --><template><img></template></html><img src=a>", URL)
    assert subject.selector.xpath("//img/@src").getall() == ["a"]
    assert all(isinstance(element.tag, str) for element in subject.root.iter())


@pytest.mark.parametrize(
    "text", ["", "\0", " ", "<!-- x -->", "<?x?>", "text", "\ud800", "<", "</html>", "<template>"]
)
def test_any_text_is_a_page(text):
    for is_xml in (False, True):
        assert seen(text)[1:] == (None, [])
        assert Page.from_text(text, URL, is_xml=is_xml).root is not None


MARKUP = st.sampled_from(
    [
        *(
            "<",
            ">",
            "</",
            "<!--",
            "-->",
            "<!DOCTYPE html>",
            "<?x",
            "<a href=",
            "<template>",
            "</template>",
            "</html>",
        ),
        *(
            "<html>",
            "<script>",
            "</script>",
            "<title>",
            "<body>",
            "</body>",
            "'",
            '"',
            "=",
            "/",
            "\0",
            "\ud800",
            "<svg>",
        ),
    ]
)


@settings(deadline=None)
@given(st.lists(MARKUP | st.text(max_size=3)).map("".join), st.booleans())
def test_no_text_breaks_a_page(text, is_xml):
    assert isinstance(seen(flattened(text)), tuple)
    assert Page.from_text(text, URL, is_xml=is_xml).selector.xpath("count(/*)").get() == "1.0"


def test_xhtml_that_is_served_as_xml_is_a_page():
    xhtml = (
        "<html xmlns='http://www.w3.org/1999/xhtml'><body><img src='a.jpg'/><a rel='next' href='2'/></body></html>"
    )
    subject = Page.from_text(xhtml, URL, is_xml=True)
    assert (find_next(subject), len(find_media(subject))) == ("http://h/2", 1)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<img src=a.jpg {many}><img src=b.jpg>", ["a.jpg", "b.jpg"]),
        ("<img alt='>' {many} src=a.jpg><img src=b.jpg>", [None, "b.jpg"]),
        ("<IMG src='a.jpg'/{many}/><img alt='<img x' src=b.jpg>", ["a.jpg", "b.jpg"]),
        ("<script>if (a<b {many}) '<img src=x>'</script><!-- <i {many}> --><img src=b.jpg>", ["b.jpg"]),
        ("<p {many} title='<img src=x.jpg>' {many}>a<img src=b.jpg></p>", ["b.jpg"]),
    ],
)
def test_a_tag_keeps_its_first_thousand_attributes(html, expected):
    for many in ("x{}=1", "x{}='>'", 'x{}=" y=1 "', "x{}", "x{} = 1"):
        assert sources(html.format(many=" ".join(many.format(number) for number in range(1_500)))) == expected


def test_a_thousand_attributes_are_all_read():
    names = [f"x{number}" for number in range(999)]
    image = page(f"<img {' '.join(names)} src=a.jpg>").root.find(".//img")
    assert image.keys() == [*names, "src"]


def growing(piece):
    return lambda count: piece * (count // 10)


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(lambda count: f"<img alt='{'a' * 220 * count}' src=a.jpg>", id="attribute of 11 MB"),
        pytest.param(lambda count: f"<p>{'text ' * 80 * count}</p>", id="text of 20 MB"),
        pytest.param(growing("<p>text</p><a href=/a.html>x</a>"), id="links"),
        pytest.param(lambda count: "<div>" * (count // 10) + "<img src=a.jpg>", id="5,000 deep"),
        pytest.param(lambda count: f"<img {' '.join(f'x{x}=1' for x in range(count))}>", id="attributes"),
        pytest.param(lambda count: "<a x='" * count, id="open quotes"),
        pytest.param(growing("<p>x</html>"), id="roots"),
        pytest.param(growing("<template><template>"), id="templates"),
        pytest.param(lambda count: "<div>" * 2_100 + "</b>" * count, id="end tags of nothing"),
        pytest.param(lambda count: "<div>" * 2_100 + "<a x='" * count, id="quotes"),
        pytest.param(lambda count: "<div>" * 2_100 + "<!--" * count, id="comments"),
        pytest.param(lambda count: "<div>" * 2_100 + "<title>" * count, id="raw text"),
        pytest.param(lambda count: "<div>" * 2_100 + "<" * count, id="less-than signs"),
        pytest.param(lambda count: "<x-y><p>" * (count // 10), id="elements of no kind"),
    ],
)
def test_the_time_grows_with_the_size_of_the_page(html):
    seconds = []
    for count in (12_500, 50_000):
        text = html(count)
        start = time.process_time()
        find_next(page(text))
        seconds.append(time.process_time() - start)
    assert seconds[1] < 4 * 3 * seconds[0] + 0.3  # four times the size; sixteen times the time if quadratic
