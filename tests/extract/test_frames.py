from __future__ import annotations

from html import escape

import pytest

from mediacrawl.extract.frames import documents, frames_of
from mediacrawl.extract.links import Page
from mediacrawl.extract.media import find_media


def page(html, url="http://www.h/dir/page.html"):
    return Page.from_text(html, url)


@pytest.mark.parametrize(
    ("html", "urls"),
    [
        ('<iframe src="a.html"></iframe><iframe src="/b"></iframe>', ["http://www.h/dir/a.html", "http://www.h/b"]),
        (
            '<frameset><frame src="a"><frameset><frame src="b"></frameset></frameset>',
            ["http://www.h/dir/a", "http://www.h/dir/b"],
        ),
        ('<iframe src="//h/a"></iframe>', ["http://h/a"]),
        ('<iframe src="about:blank" data-src="/late"></iframe>', ["http://www.h/late"]),
        ('<base href="/b/"><iframe src="a"></iframe>', ["http://www.h/b/a"]),
        ('<iframe src="/a"></iframe><iframe src="/a#b"></iframe>', ["http://www.h/a"]),
        ('<!-- <iframe src="/a"></iframe> --><iframe><?x?></iframe>', []),
        ('<iframe src="http://ads/x"></iframe><iframe src="http://sub.h/x"></iframe>', []),
        (
            '<iframe src="javascript:x()"></iframe><iframe src="data:text/html,x"></iframe><iframe src=""></iframe>',
            [],
        ),
        ('<iframe src="page.html"></iframe><iframe src="#a"></iframe>', []),
        ('<iframe src="/a" srcdoc="x"></iframe>', []),
        (f'<iframe srcdoc="{escape("<iframe src=/inner>")}"></iframe>', ["http://www.h/inner"]),
    ],
)
def test_frames_of_the_same_host_are_found(html, urls):
    outer = page(html)
    frames = (frame.url for document in documents(outer) for frame in frames_of(document, outer.url))
    assert list(dict.fromkeys(frames)) == urls


def nested(html, depth):
    for _ in range(depth):
        html = f'<iframe srcdoc="{escape(html)}"></iframe>'
    return html


@pytest.mark.parametrize(
    ("html", "media"),
    [
        ('<img src="a.png">' + nested('<img src="b.png">', 1), ["dir/a.png", "dir/b.png"]),
        (nested('<img src="b.png">', 3), ["dir/b.png"]),
        (nested('<img src="b.png">', 4), []),
        ('<base href="/b/">' + nested('<img src="a.png">', 1), ["b/a.png"]),
        (nested('<base href="/c/"><img src="a.png">', 1), ["c/a.png"]),
        (nested("", 1) + nested("text", 1) + nested("\0<!-- -->", 1), []),
    ],
)
def test_documents_inside_a_page_are_read_with_its_base(html, media):
    found = [link.url for document in documents(page(html)) for link in find_media(document)]
    assert found == [f"http://www.h/{url}" for url in media]
