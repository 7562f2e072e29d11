from __future__ import annotations

import json

import pytest

from mediacrawl.extract.links import Page
from mediacrawl.extract.media import find_media


def links(html):
    return find_media(Page.from_text(html, "http://h/page"))


def found(html):
    return [f"{link.kind} {link.url.removeprefix('http://h/')}" for link in links(html)]


def script(text, mime="application/ld+json"):
    return f'<script type="{mime}">{text}</script>'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"@type": "VideoObject", "contentUrl": "v", "embedUrl": "/player"}, ["video v"]),
        ({"@type": ["Thing", "AudioObject"], "contentUrl": "/a?b=1"}, ["audio a?b=1"]),
        ({"@type": "ImageObject", "contentUrl": ["a", "b"]}, ["image a", "image b"]),
        ({"@type": "MediaObject", "contentUrl": "x", "encodingFormat": "audio/mpeg"}, ["audio x"]),
        ({"@type": "MediaObject", "contentUrl": "x.mp4"}, ["video x.mp4"]),
        ({"contentUrl": "x"}, ["None x"]),
        ([{"a": {"@graph": [{"b": [{"contentUrl": "x.mp3"}]}]}}], ["audio x.mp3"]),
        ({"image": "/a"}, ["image a"]),
        ({"image": ["/a", {"url": "/b"}, {"contentUrl": "/c", "url": "/page"}]}, ["image a", "image b", "image c"]),
        ({"thumbnailUrl": "t.jpg", "thumbnail": {"@type": "ImageObject", "url": "/u"}}, ["image t.jpg", "image u"]),
        ({"@type": "VideoObject", "url": "/watch", "thumbnailUrl": ["/t"]}, ["image t"]),
        ({"@type": "VideoObject", "url": "/v.mp4"}, ["video v.mp4"]),
        ({"@type": "VideoObject", "embedUrl": "/v.mp4"}, ["video v.mp4"]),
        ({"contentUrl": "/player/7", "embedUrl": "/player/7"}, []),
        ({"logo": {"@type": "ImageObject", "url": "/logo.png"}}, []),
        ({"image": "a text, no address", "photo": {"@id": "#p"}, "name": "a.jpg"}, []),
        ({"image": None, "contentUrl": 5, "thumbnail": [[], {}]}, []),
        ({"contentUrl": "{{ video }}"}, []),
        ({"image": {"@list": ["/a", {"url": "/b"}]}}, ["image a", "image b"]),
        ({"@type": "VideoObject", "contentUrl": {"@list": ["/a", {"@value": "/b"}]}}, ["video a", "video b"]),
        ({"@type": "schema:ImageObject", "schema:contentUrl": "/a"}, ["image a"]),
        (
            {"@type": ["http://schema.org/VideoObject"], "http://schema.org/contentUrl": [{"@id": "/a"}]},
            ["video a"],
        ),
        ({"schema:image": {"@id": "/a"}, "https://schema.org/thumbnailUrl": "/b"}, ["image b"]),
        ({"image": "/a.jpg?x=1&amp;y=2&#38;z=3&copy=4"}, ["image a.jpg?x=1&y=2&z=3&copy=4"]),
        ({"@type": "MediaObject", "contentUrl": "/x", "encodingFormat": "application/pdf"}, []),
        ({"@type": "MediaObject", "contentUrl": "/x", "fileFormat": "text/csv"}, []),
        ({"@type": "DataDownload", "contentUrl": "/x"}, []),
        ({"@type": "DataDownload", "contentUrl": "/x", "encodingFormat": "audio/mpeg"}, ["audio x"]),
        ({"@type": "3DModel", "contentUrl": "/x.mp4"}, ["video x.mp4"]),
        ({"@type": "MediaObject", "contentUrl": "/x.pdf"}, []),
        ({"@type": "MediaObject", "contentUrl": "/x", "encodingFormat": "application/octet-stream"}, ["None x"]),
        ({"@type": "VideoObject", "contentUrl": "/x", "encodingFormat": "HD"}, ["video x"]),
    ],
)
def test_json_ld_names_the_files_of_things(data, expected):
    assert found(script(json.dumps(data))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('\n<!-- {"contentUrl": "a.mp3"} -->', ["audio a.mp3"]),
        ('//<![CDATA[\n{"contentUrl": "a.mp3"}\n//]]>', ["audio a.mp3"]),
        ('{"contentUrl": "a.mp3"};', ["audio a.mp3"]),
        ('{"name": "two\nlines", "contentUrl": "a.mp3"}', ["audio a.mp3"]),
        ('{"contentUrl": "a.mp3"', []),
        ('\ufeff{"contentUrl": "a.mp3"}', ["audio a.mp3"]),
        ("{&quot;contentUrl&quot;:&quot;a.mp3&quot;,}", ["audio a.mp3"]),
        ('{"contentUrl": "a.mp3",}', ["audio a.mp3"]),
        ('{"contentUrl": ["a.mp3", "b.mp3" , ],\n}', ["audio a.mp3", "audio b.mp3"]),
        ('/* x, } " */ {"contentUrl": "a.mp3"} // y', ["audio a.mp3"]),
        ('// "x\n{"contentUrl": /* "b" */ "//h/a.mp3", // c\n}', ["audio a.mp3"]),
        (r'{"name": "it\'s, ]", "contentUrl": "a.mp3"}', ["audio a.mp3"]),
        (r'{"name": "a\\", "x": "\d", "contentUrl": "https:\/\/h\/a.mp3"}', ["audio https://h/a.mp3"]),
        (
            '{"contentUrl": "a.mp3"}{"contentUrl": "b.mp3"},\n{"contentUrl": "c.mp3"};',
            [f"audio {x}.mp3" for x in "abc"],
        ),
        ('{"contentUrl": "a.mp3"} {"contentUrl": "b.mp3" x}', ["audio a.mp3"]),
        ('{"contentUrl": "a.mp3"} {"contentUrl": "b.mp3", }', ["audio a.mp3", "audio b.mp3"]),
        ('/* <![CDATA[ */ {"contentUrl": "a.mp3"} /* ]]> */', ["audio a.mp3"]),
        ('{"name": "&quot;x&quot; /* y */", "contentUrl": "a.mp3"}', ["audio a.mp3"]),
        ("/*" * 100_000, []),
        ('"' * 100_001, []),
        ("[1,{" * 100_000, []),
        ("[" * 100_000, []),
        ("", []),
    ],
)
def test_json_ld_is_read_as_pages_have_it(text, expected):
    assert found(script(text)) == expected


@pytest.mark.parametrize("mime", ["", "application/json", "text/javascript", "module", "text/template"])
def test_other_scripts_are_not_read(mime):
    assert found(script('{"contentUrl": "a.mp3"}', mime)) == []


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<meta itemprop=image content=/a>", ["image a"]),
        ("<link itemprop='thumbnailUrl name' href=/a>", ["image a"]),
        ("<link itemprop=contentUrl href=/a.mp4>", ["video a.mp4"]),
        ("<a itemprop=contentUrl href=/file?id=5>x</a>", ["None file?id=5"]),
        ("<a itemprop=image href=/gallery/1>x</a>", []),
        ("<span itemprop=image content=/a.jpg></span>", ["image a.jpg"]),
        (
            "<div itemscope itemtype=https://schema.org/AudioObject><p><meta itemprop=contentUrl content=/a>",
            ["audio a"],
        ),
        (
            "<div itemscope><meta itemprop=url content=/p><meta itemprop=url content=/p.jpg>",
            ["image p.jpg"],
        ),
        ("<div itemprop=image itemscope content=/x.jpg><img itemprop=url src=/a></div>", ["image a"]),
        ("<meta itemprop=name content=/a.jpg><meta itemprop=embedUrl content=/player>", []),
    ],
)
def test_microdata_names_the_files_of_an_item(html, expected):
    assert found(html) == expected


def test_what_may_be_a_page_is_marked():
    marked = links(
        "<a itemprop=contentUrl href=/file>x</a>" + script('[{"contentUrl":"/v"},{"contentUrl":"/w.mp4"}]')
    )
    assert [(link.url, link.is_hyperlink) for link in marked] == [
        ("http://h/file", True),
        ("http://h/v", True),
        ("http://h/w.mp4", False),
    ]
