"""The media of many shapes of pages, as `find_media` sees them and as headless Chromium asks for them.

Each shape is HTML in which `^name` stands for a URL of its own. What the browser asks for has to be taken and nothing
else, but for two sets of names: those that only the rules take (they are for scripts), and those that only the
browser takes (blanks, trackers, placeholders). The pages differ in their encodings, in the place of the shapes and in
the comments between all tags.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import pytest
from drawing import FULL
from origin import Origin
from scrapy.http import HtmlResponse

from mediacrawl.crawl.page_encoding import text_of
from mediacrawl.extract.links import Page
from mediacrawl.extract.media import find_media

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# The screen of `mediacrawl.extract.media_queries`.
SCREEN = ("--window-size=3840,2160", "--force-device-scale-factor=2")
BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


@dataclass(frozen=True)
class Shape:
    html: str
    only_taken: set[str] = field(default_factory=set)
    only_shown: set[str] = field(default_factory=set)


def box(style):
    return f'<div style="width:9px;height:9px;{style}"></div>'


def picture(*sources):
    return "<picture>" + "".join(f"<source {source}>" for source in sources) + '<img src="^img.png"></picture>'


SHAPES = [
    Shape('<img src="^a.png">'),
    Shape('<IMG SRC=^a.jpg?x=1&y=2 alt="&gt;">'),
    Shape('<img src=" ^a.png\n">'),
    Shape('<img src="^été й.png">'),
    Shape('<img src="^a.png#fragment">'),
    Shape('<img src="^s.png" srcset="^m.png 400w, ^l.png 9000w">'),
    Shape('<img src="^s.png" srcset="^m.png 1x,^l.png 2x">'),
    Shape('<img src="^s.png" srcset="^a,b.png 2x, ^c.png">'),
    Shape('<img src="^s.png" srcset="^a.png 1q, ^b.png 2x">'),
    Shape('<img srcset="^a.png">'),
    Shape(f'<img src="{BLANK}">'),
    Shape('<img src="">'),
    Shape('<input type=image src="^a.png"><input type=text src="^b.html">'),
    Shape('<image src="^a.png"></image>'),
    Shape('<svg width=9 height=9><image href="^a.png" width=9 height=9 /></svg>'),
    Shape('<svg width=9 height=9><image xlink:href="^a.png" width=9 height=9></image></svg>'),
    Shape('<object data="^a.png" type="image/png" width=9 height=9></object>'),
    Shape('<embed src="^a.png" type="image/png" width=9 height=9>'),
    # pictures
    Shape(picture('srcset="^a.png 1x"', 'srcset="^b.png 3x"')),
    Shape(picture('srcset="^a.avif" type="image/avif"', 'srcset="^b.webp" type="image/webp"')),
    Shape(picture('srcset="^a.jp2" type="image/jp2"', 'srcset="^b.webp" type="image/webp"')),
    Shape(picture('srcset="^a.png" type="text/plain"')),
    Shape(picture('media="(max-width: 600px)" srcset="^a.png 2x"', 'media="(min-width: 601px)" srcset="^b.png"')),
    Shape(picture('media="(max-width: 9px)" srcset="^a.png"')),
    Shape(picture('media="print" srcset="^a.png"', 'media="screen and (orientation: portrait)" srcset="^b.png"')),
    Shape(picture('media="(orientation: landscape)" srcset="^a.png, ^b.png 2x"')),
    Shape(picture('media="(prefers-color-scheme: dark)" srcset="^a.png"', 'media="not print" srcset="^b.png"')),
    Shape(picture('media="(min-width: 30em) and (min-resolution: 1.5dppx)" srcset="^a.png"')),
    Shape(picture('media="(width >= 800px)" srcset="^a.png"')),
    Shape(picture('media="(max-width: 5px), (min-width: 7px)" srcset="^a.png"')),
    Shape(picture('media="(nonsense: 5)" srcset="^a.png"')),
    Shape('<picture><img src="^img.png"><source srcset="^late.png"></picture>'),
    Shape('<picture><source srcset="^a.webp"></picture>', only_taken={"a.webp"}),
    # styles
    Shape(box("background:url(^a.png)")),
    Shape(box("background-image:url('^a.png'),url(^b.png)")),
    Shape(box("background-image:url(&quot;^a.png&quot;)")),
    Shape(box("background:url(^a.png);background-image:image-set('^b.png' 1x, '^c.png' 2x)")),
    Shape(box("background:image-set(url(^a.jp2) type('image/jp2'), url(^b.webp) type('image/webp'))")),
    Shape(box("background:url(^a.png);background:url(^b.png)")),
    Shape(box("background:url(^a.png);background-color:red")),
    Shape(box("/* background:url(^a.png) */")),
    Shape(box("border:9px solid;border-image:url(^a.png) 3")),
    Shape(box("--x:url(^a.png)"), only_taken={"a.png"}),
    Shape('<ul><li style="list-style-image:url(^a.png)">x</li></ul>'),
    Shape("<style>.c~ { width:9px; height:9px; background:url(^a.png) }</style><div class='c~'></div>"),
    Shape("<style>@media print { .d~ { background:url(^a.png) } }</style><div class='d~'>x</div>"),
    Shape("<style>@media (min-width:9px) { .e~ { background:url(^a.png) } }</style><div class='e~'>x</div>"),
    Shape("<style media=print>.f~ { background:url(^a.png) }</style><div class='f~'>x</div>"),
    Shape("<style>@font-face { font-family:f; src:url(^a.svg) }</style>"),
    Shape('<table background="^a.png"><tr><td background="^b.png">x</td></tr></table>'),
    # players
    Shape('<video src="^a.mp4" poster="^p.png" preload="auto"></video>'),
    Shape('<video preload="auto"><source src="^a.webm"><source src="^b.mp4"></video>'),
    Shape('<audio src="^a.mp3" preload="auto" controls></audio>'),
    # in the head, too
    Shape('<link rel="preload" as="image" href="^a.png">'),
    Shape('<link rel="preload" as="image" imagesrcset="^a.png 1x, ^b.png 2x">'),
    Shape('<link rel="preload" as="image" href="^a.png" media="print">'),
    Shape('<link rel="preload" as="font" href="^a.svg" crossorigin>', only_shown={"a.svg"}),
    # not taken
    Shape('<img src="^a.png" width=1 height=1>', only_shown={"a.png"}),
    Shape('<img src="^a.png" style="width:0;height:1px">', only_shown={"a.png"}),
    Shape('<img src="^d/spacer.gif">', only_shown={"d/spacer.gif"}),
    Shape('<img src="^{{a}}.png">', only_shown={"{{a}}.png"}),
    Shape('<img src="^${a}">', only_shown={"${a}"}),
    Shape('<img src="^/undefined">', only_shown={"/undefined"}),
    Shape('<template><img src="^a.png"></template><script type="text/x"><img src="^b.png"></script>'),
    Shape('<!-- <img src="^a.png"> --><textarea><img src="^b.png"></textarea>'),
    # for scripts
    Shape(f'<img src="{BLANK}" data-src="^a.png">', only_taken={"a.png"}),
    Shape('<img src="^a.png" data-src="^b.png">', only_taken={"b.png"}, only_shown={"a.png"}),
    Shape('<img src="^a.png" data-src=\'{"x":"^b.png"}\'>'),
    Shape('<img src="^a.png" data-x="^b.png">'),
    Shape('<div data-bg="^a.png"></div><a data-y="^b.png"></a>', only_taken={"a.png", "b.png"}),
    Shape('<script type="application/ld+json">{"contentUrl":"^a.mp4"}</script>', only_taken={"a.mp4"}),
    Shape('<meta itemprop="image" content="^a.png">', only_taken={"a.png"}),
    Shape(
        '<a href="^a.png">x</a><a href="^b.html">y</a><a href="^c" type="image/png">z</a>', only_taken={"a.png", "c"}
    ),
    Shape('<noscript><img src="^a.png"></noscript>', only_taken={"a.png"}),
]
ENCODINGS = ("utf-8", "utf-16-le", "windows-1251", "koi8-r")
ROOTS = {
    "whole": "<!doctype html><html><head>{meta}<title>x</title></head><body>{shapes}</body></html>",
    "fragment": "<!doctype html>{meta}{shapes}",
    "after the body": "<!doctype html><html><head>{meta}</head><body><p>x</p></body>{shapes}</html>",
    "after the end": "<!doctype html><html><head>{meta}</head><body><p>x</p></body></html>{shapes}",
    "nested": "<!doctype html>{meta}" + "<div>" * 300 + "{shapes}" + "</div>" * 300,
}


# The frames get their pages when they have their size: a page is not to be read for a small screen first.
OUTER = """<!doctype html><body><script>
onload = () => setTimeout(() => {
  for (let number = 0; number < COUNT; number++) {
    const frame = document.createElement("iframe")
    frame.style = "position:absolute;top:0;left:0;width:3840px;height:2160px;border:0"
    document.body.append(frame)
    frame.getBoundingClientRect()
    frame.src = "/page" + number
  }
})
</script>"""


def html_of(number, encoding, root, chance):
    """Return a page with all shapes in any order, with comments between some of the tags."""
    shapes = list(enumerate(SHAPES))
    chance.shuffle(shapes)
    body = "\n".join(shape.html.replace("^", f"/{number}-{at}-").replace("~", str(at)) for at, shape in shapes)
    meta = "" if encoding.startswith("utf-16") else f'<meta charset="{encoding}">'
    html = ROOTS[root].replace("{meta}", meta).replace("{shapes}", body)
    between = ("", "\n", "<!-- <b> -->", "<?x y?>", "x")
    return re.sub(r"(?<=[\w\"'/]>)\s*(?=<[a-z])", lambda _: chance.choice(between), html)


def names_by_shape(targets):
    """Return the names that each shape of each page has among request targets."""
    found = {}
    for target in targets:
        if match := re.fullmatch(r"/([0-9]+)-([0-9]+)-(.*)", unquote(target), re.DOTALL):
            found.setdefault((int(match[1]), int(match[2])), set()).add(match[3])
    return found


def taken_from(url, body):
    response = HtmlResponse(url, body=body, headers={"Content-Type": "text/html"})
    text, encoding = text_of(response)
    links = find_media(Page.from_text(text, response.url, encoding))
    parts = [urlsplit(link.url) for link in links]
    return [part.path + (f"?{part.query}" if part.query else "") for part in parts]


def open_in_chromium(url, profile):
    command = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]
    command += [f"--user-data-dir={profile}", *SCREEN, "--virtual-time-budget=20000", "--dump-dom", url]
    subprocess.run(command, check=True, timeout=240, capture_output=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: nothing to compare with")
def test_what_is_taken_is_what_a_browser_shows(tmp_path, chance):
    cells = [(encoding, root) for encoding in ENCODINGS for root in ROOTS]
    if not FULL:
        cells = chance.sample(cells, 3)
    taken = []
    with Origin() as origin:
        outer = origin.add("/", OUTER.replace("COUNT", str(len(cells))), content_type="text/html")
        for number, (encoding, root) in enumerate(cells):
            html = html_of(number, encoding, root, chance)
            bom = "\ufeff" if encoding.startswith("utf-16") else ""
            body = (bom + html).encode(encoding, "xmlcharrefreplace")
            taken += taken_from(origin.add(f"/page{number}", body, content_type="text/html"), body)
        open_in_chromium(outer, tmp_path)
        shown = [request.target for request in origin.requests]
    taken_by, shown_by = names_by_shape(taken), names_by_shape(shown)
    wrong = []
    for number, cell in enumerate(cells):
        for at, shape in enumerate(SHAPES):
            expected = shown_by.get((number, at), set()) - shape.only_shown | shape.only_taken
            if (found := taken_by.get((number, at), set())) != expected:
                wrong.append(f"{cell}: {shape.html}: expected {expected}, taken {found}")
    assert not wrong, "\n".join(wrong)
    assert len(shown_by) > len(cells) * len(SHAPES) / 2  # the browser has read the pages
