from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsel import Selector

from mediacrawl.extract.links import Page
from mediacrawl.extract.media import MediaLink, find_media, media_by_xpath
from mediacrawl.extract.xpath import BadXPath

HOME = "http://h/"


def page(html):
    return Page.from_selector(Selector(text=html, type="html"), HOME + "page")


def shown(links):
    return [f"{link.kind} {link.url.removeprefix(HOME)}" for link in links]


def found(html):
    return shown(find_media(page(html)))


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<img src=a.jpg>", ["image a.jpg"]),
        ("<IMG SRC=a>", ["image a"]),
        ("<img src='data:image/gif;base64,R0'>", []),
        ("<img src=''><img src='#'><img>", []),
        ("<img src=s.jpg srcset='m.jpg 2x, l.jpg 3x'>", ["image l.jpg"]),
        ("<img src=s.jpg srcset='data:x 900w, m.jpg 2w'>", ["image m.jpg"]),
        ("<img src=s.jpg srcset=' ,'>", ["image s.jpg"]),
        ("<img src=blank.gif data-src=a.jpg>", ["image a.jpg"]),
        ("<img src=blank.gif data-original=a.jpg>", ["image a.jpg"]),
        ("<img src=blank.gif data-lazy-src=a.jpg>", ["image a.jpg"]),
        ("<img src=none.gif zoomfile=big.jpg file=a.jpg>", ["image big.jpg"]),
        ("<img src=a.jpg data-lazy=true>", ["image a.jpg"]),
        ("<img src=a.jpg data-url=/article/1>", ["image a.jpg"]),
        ("<img src=blank.gif data-url=/a.jpg>", ["image a.jpg"]),
        ("<img src=a.gif srcset='data:x 1w' data-srcset='a.jpg 1w, b.jpg 2w'>", ["image b.jpg"]),
        ("<img src=a.jpg data-src='data:image/png;base64,x/y'>", ["image a.jpg"]),
        ("<img src=b.gif data-x=1><noscript><img src=a.jpg></noscript>", ["image b.gif", "image a.jpg"]),
        ("<input type=IMAGE src=a><input type=text src=b>", ["image a"]),
    ],
)
def test_an_image_is_one_picture_the_largest_or_the_real_one(html, expected):
    assert found(html) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<picture><source srcset='a 1x'><source srcset='b 900w'><img src=c></picture>", ["image a"]),
        ("<picture><source srcset=a type=image/avif></source><img src=c></picture>", ["image a"]),
        ("<picture><source media='(max-width: 9px)' srcset=a><img src=c></picture>", ["image c"]),
        ("<picture><source data-srcset='a, b 2x'><img src=c data-src=d></picture>", ["image b"]),
        ("<picture><img src=c></picture><img src=d>", ["image c", "image d"]),
        ("<picture><source srcset=a><picture><source srcset=b><img src=c>", ["image a", "image b"]),
        ("<picture></picture>", []),
    ],
)
def test_a_picture_is_one_picture(html, expected):
    assert found(html) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (
            "<video src=a poster=p><source src=b><source src=c><track src=t>old</video>",
            ["video a", "image p", "video b", "video c", "video t"],
        ),
        ("<audio><source src=a><source src=b></audio><p><img src=c>", ["audio a", "audio b", "image c"]),
        ("<video data-src=/a data-poster=p></video>", ["video a", "image p"]),
        ("<video><source src=a><p><a href=b.mp4>b</a></p></video>", ["video a", "video b.mp4"]),
        ("<audio src=a.mp4></audio>", ["audio a.mp4"]),
        ("<source src=a type=audio/ogg><source src=b.webm><source src=c>", ["audio a", "video b.webm", "None c"]),
        ("<source srcset=a><track src=t>", ["image a", "video t"]),
        ("<embed src=a type=video/mp4><embed src=b.mp3><embed src=c>", ["video a", "audio b.mp3"]),
        ("<object data=a type=image/png></object><object data=b></object>", ["image a"]),
    ],
)
def test_players_give_all_that_they_play(html, expected):
    assert found(html) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<a href=big.JPG?x=1#y><img src=small.jpg></a>", ["image big.JPG?x=1", "image small.jpg"]),
        ("<a href=a.mp3>a</a><a href=a.html>b</a><a href='/x?f=a.jpg'>c</a><a>d</a>", ["audio a.mp3"]),
        ("<map><area href=a.webm></map>", ["video a.webm"]),
        ("<link rel='IMAGE_SRC' href=a><link rel=icon href=b.png>", ["image a"]),
        ("<a href=a.jpg>1</a><img src=a.jpg><img src=a.jpg#2>", ["image a.jpg"]),
        ("<a href='http://[/a.jpg'>1</a><a href='http://h:99999/a.jpg'>2</a>", []),
    ],
)
def test_links_count_when_their_path_ends_like_media(html, expected):
    assert found(html) == expected


@pytest.mark.parametrize(
    ("metas", "expected"),
    [
        ([("og:image", "a"), ("og:image:secure_url", "b")], ["image a", "image b"]),
        ([("OG:Image:URL ", "a"), ("og:image:width", "9")], ["image a"]),
        ([("twitter:image", "a"), ("twitter:image:src", "b")], ["image a", "image b"]),
        ([("twitter:player", "a"), ("twitter:player:stream", "b")], ["video b"]),
        ([("og:audio", "a"), ("og:video", "b"), ("og:video:type", "video/mp4")], ["audio a", "video b"]),
        ([("og:video:url", "a"), ("og:video:secure_url", "b"), ("og:video:type", "text/html")], []),
        (
            [("og:video", "a"), ("og:video:type", "text/html"), ("og:video", "b"), ("og:video:type", "video/mp4")],
            ["video b"],
        ),
        ([("og:video", "a.mp4"), ("og:video:type", "text/html; charset=utf-8")], ["video a.mp4"]),
        ([("og:image", "")], []),
    ],
)
def test_meta_names_media_but_not_the_page_of_a_player(metas, expected):
    by_property = "".join(f'<meta property="{name}" content="{content}">' for name, content in metas)
    assert found(by_property) == expected
    assert found(by_property.replace("property=", "name=")) == expected


def test_only_the_kinds_that_were_asked_for_are_taken():
    html = "<img src=a><video src=b poster=c></video><audio src=d></audio>"
    assert shown(find_media(page(html), kinds=["audio"])) == ["audio d"]
    assert shown(find_media(page(html), kinds=("image", "video"))) == ["image a", "video b", "image c"]


def test_base_href_counts_for_media():
    assert find_media(page("<base href='//cdn/x/'><img src=a.jpg>")) == [MediaLink("http://cdn/x/a.jpg", "image")]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("//img", ["image l", "image b.gif"]),
        ("//img/@src", ["None s", "image b.gif"]),
        ("//img/@srcset", ["image l"]),
        ("//a", ["None page2", "image c.png"]),
        ("//div", ["None lazy?x=1.2"]),
        ("//p/text()", ["audio t.mp3"]),
        ("string(//p)", ["audio t.mp3"]),
        ("//video", ["video v", "video w"]),
        ("//comment()|//nothing", []),
        ("//a/@href | //img/@src", ["None page2", "None s", "image c.png", "image b.gif"]),
    ],
)
def test_an_xpath_gives_elements_attributes_or_text(expression, expected):
    html = (
        "<a href=page2>x</a><img src=s srcset='m 1w, l 2w'><a href=c.png></a><img src=b.gif>"
        "<div data-src='lazy?x=1.2'></div><p> t.mp3 </p><video><source src=v><source src=w></video><!-- x -->"
    )
    assert shown(media_by_xpath(page(html), expression)) == expected


def test_an_xpath_keeps_to_the_kinds_where_they_are_known():
    html = "<a href=a.jpg></a><a href=b.mp4></a><a href=c></a>"
    assert shown(media_by_xpath(page(html), "//a", kinds=["video"])) == ["video b.mp4", "None c"]


def test_an_xpath_that_fails_on_a_page_is_one_clear_line():
    with pytest.raises(BadXPath, match="media: "):
        media_by_xpath(page("<img src=a>"), "//img[foo()]")


TAGS = ["img", "picture", "source", "video", "audio", "track", "a", "area", "meta", "link", "embed", "object", "base"]
NAMES = ["src", "srcset", "data-src", "href", "poster", "type", "content", "property", "rel", "media", "data"]
VALUES = ["og:video", "og:video:type", "text/html", "http://[", "//h:x/", "a.jpg 2x, b", "\x01", "image_src"]
ELEMENT = st.builds(
    "<{} {}='{}' {}='{}'>".format,
    st.sampled_from(TAGS),
    *[st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text(st.characters(exclude_categories=["Cs"]))] * 2,
)
HTML = st.lists(ELEMENT | st.text(st.characters(exclude_categories=["Cs"]))).map("".join)


@settings(deadline=None)
@given(HTML)
def test_no_page_breaks_the_search(html):
    links = find_media(page(html))
    assert len({link.url for link in links}) == len(links)
    assert all(link.url.startswith(("http://", "https://")) for link in links)
    media_by_xpath(page(html), "//node()|//@*")


@pytest.mark.parametrize(
    "element",
    [
        "<img src='/i/{}.jpg' srcset='/i/{}.jpg 1x, /j/{}.jpg 2x'>",
        "<a href='/i/{}.jpg'><img data-src='/t/{}.jpg'></a>",
        "<picture><source srcset='/i/{}.jpg'>",
        "<video><source src='/i/{}.mp4'>",
        "<source src='/i/{}.mp4'>",
        "<meta property=og:image content='/i/{}.jpg'>",
        "<div><a href='/i/{}.jpg'>",
    ],
)
def test_a_page_of_5000_elements_takes_well_under_a_second(element):
    subject = page("".join(element.replace("{}", str(number)) for number in range(5_000)))
    start = time.process_time()
    assert find_media(subject)
    assert time.process_time() - start < 1.5  # processor seconds: a quarter as a rule, ten times as much if quadratic
