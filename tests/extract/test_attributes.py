from __future__ import annotations

import json

import pytest

from mediacrawl.extract.links import Page
from mediacrawl.extract.media import find_media

BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


def found(html):
    page = Page.from_text(html, "http://h/page")
    return [f"{link.kind} {link.url.removeprefix('http://h/')}" for link in find_media(page)]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "data-src",
            "data-lazy-image",
            "data-imgsrc",
            "data-whatever",
            "imagesrc",
            "nitro-lazy-src",
            "rel:image_src",
        ),
        *("data-original", "data-hd", "data-real-src", "data-2x", "data-normal", "lazysrc", "data-default-src"),
    ],
)
@pytest.mark.parametrize("element", ["img", "a", "div", "li", "button", "section", "my-picture"])
def test_any_lazy_attribute_of_any_element_names_a_picture(name, element):
    assert found(f'<{element} {name}="/p.jpg?x=1"></{element}>') == ["image p.jpg?x=1"]
    assert found(f'<img src="{BLANK}" {name}="/p.jpg">') == ["image p.jpg"]


@pytest.mark.parametrize(
    "attribute",
    [
        *("data-id=/p.jpg", "data-title=p.jpg", "data-image-name=/p.jpg", "data-alt='/p.jpg'", "data-type=/p.jpg"),
        *("data-src=/fragment/5", "data-price=1.50", "data-version=a.b.c", "data-host=shop.com.au", "data-bg=dark"),
        *(
            "data-src=true",
            "data-file=report.pdf",
            "srclang=en.mp3",
            "data-html='<img src=/p.jpg>'",
        ),
        *("data-share=https://s/?u=/p.jpg", "data-code=main.ts", "data-component=p.svg", "onsrc=/p.html"),
    ],
)
def test_an_attribute_that_names_no_file_is_left_alone(attribute):
    assert found(f"<div {attribute}></div>") == []


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("src=small.jpg data-full=/large.jpg", ["image large.jpg"]),
        ("src=real.jpg data-thumb=/thumb.jpg", ["image real.jpg"]),
        ("src=real.jpg data-fallback-src=/missing.png", ["image real.jpg"]),
        ("src=real.jpg data-pin-media=/pin.jpg", ["image real.jpg"]),
        ("src=real.jpg data-anything=/other.jpg", ["image real.jpg"]),
        ("src=/loading.gif data-anything=/other.jpg", ["image other.jpg"]),
        ("src=/spacer.gif data-low-res-src=/low.jpg data-hi-res-src=/high.jpg", ["image high.jpg"]),
        ("src=s.jpg srcset='m.jpg 400w, l.jpg 800w' data-original-file=/o.jpg", ["image l.jpg"]),
        ("src=s.jpg data-2x='/r.jpg 2x'", ["image r.jpg"]),
        ("src=s.jpg srcset='s.jpg 9w, m.jpg 5w' data-srcset='s.jpg 9w, m.jpg 5w'", ["image s.jpg"]),
        ("src=data:, data-borealis-medium=/m.jpg data-borealis-large=/l.jpg", ["image l.jpg"]),
        ("src=real.jpg data-video=/v.mp4", ["image real.jpg", "video v.mp4"]),
        ("src=/tiny.jpg data-lazy='https%3A%2F%2Fh%2Fp.jpg'", ["image https://h/p.jpg"]),
        ("data-original='/my photo.jpg'", ["image my%20photo.jpg"]),
    ],
)
def test_an_img_is_one_picture_whatever_its_attributes_hold(attributes, expected):
    assert found(f"<img {attributes}>") == expected


OTHER_PICTURES = (
    "alt rollover second swap back flip next poster bg print dark before after overlay watermark loop".split()  # noqa: SIM905
)


@pytest.mark.parametrize(
    "name", [*(f"data-{word}-src" for word in OTHER_PICTURES), "data-src-dark", "data-src-webp", "data-bg"]
)
def test_an_attribute_of_unknown_purpose_hides_no_picture(name):
    assert found(f"<img src=/shown.jpg {name}=/other.jpg>") == ["image shown.jpg", "image other.jpg"]
    assert found(f"<img src=/loading.gif {name}=/other.jpg>") == ["image other.jpg"]
    assert found(f"<img src='' {name}=/other.jpg>") == ["image other.jpg"]
    assert found(f"<img src=/s.jpg srcset='/l.jpg 9w' {name}=/other.jpg>") == ["image l.jpg"]
    assert found(f"<img src=/s.jpg data-src=/l.jpg {name}=/other.jpg>") == ["image l.jpg"]


@pytest.mark.parametrize(
    "attribute", ["[src]=p.jpg", ":src=item.jpg", "v-lazy=p.jpg", "v-bind:src=p.jpg", "x-bind:src=p.jpg"]
)
def test_an_expression_of_a_framework_is_no_url(attribute):
    assert found(f"<img {attribute}>") == []
    assert found(f"<img src=/good.jpg {attribute}>") == ["image good.jpg"]


def test_a_url_in_the_place_of_an_expression_is_one():
    assert found("<img v-lazy=/p.jpg><img :src=https://h/q.jpg>") == ["image p.jpg", "image https://h/q.jpg"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('[{"file":"/1.mp3"},{"file":"/2.mp3"}]', ["audio 1.mp3", "audio 2.mp3"]),
        ('["/1.jpg","/2.jpg","/3.jpg"]', ["image 1.jpg", "image 2.jpg", "image 3.jpg"]),
        ('[{"full":"/1.jpg","thumb":"/t1.jpg"},{"thumb":"/t2.jpg","full":"/2.jpg"}]', ["image 1.jpg", "image 2.jpg"]),
        (
            '[{"image":{"src":"/v1.jpg","full_src":"/v1f.jpg"}},{"image":{"src":"/v2.jpg","full_src":"/v2f.jpg"}}]',
            ["image v1f.jpg", "image v2f.jpg"],
        ),
        ('{"name":"x","photos":["/1.jpg",{"large":"/2.jpg","small":"/s.jpg"}]}', ["image 1.jpg", "image 2.jpg"]),
        (
            '[{"src":"/1.jpg","w":1200,"h":800},{"src":"/2.jpg","w":800,"h":1200}]',
            ["image 1.jpg", "image 2.jpg"],
        ),
        ('[{"src":"/s.jpg","w":300,"h":200},{"src":"/l.jpg","w":1200,"h":801}]', ["image l.jpg"]),
        ('[{"src":"/1.jpg","w":300},{"src":"/2.jpg","w":300}]', ["image 1.jpg", "image 2.jpg"]),
        (
            '[{"audio":"/1.mp3","cover":"/1.jpg"},{"audio":"/2.mp3","cover":"/1.jpg"}]',
            ["image 1.jpg", "audio 1.mp3", "audio 2.mp3"],
        ),
        ('[["/1.jpg","/2.jpg"],["/3.jpg"]]', ["image 1.jpg", "image 2.jpg", "image 3.jpg"]),
        ("/1.jpg,/2.jpg, /3.jpg", ["image 1.jpg", "image 2.jpg", "image 3.jpg"]),
        ("[/s.jpg, (small)], [/l.jpg, (large)]", ["image s.jpg"]),
        ("/s.jpg 375, /m.jpg 480", ["image s.jpg"]),
        ('["{{ x }}.jpg", "/2.jpg"]', ["image 2.jpg"]),
    ],
)
def test_a_list_of_an_element_that_shows_no_picture_names_a_file_in_each_entry(value, expected):
    assert found(f"<div data-items='{value}'></div>") == expected
    assert found(f"<a href=/x data-items='{value}'></a>") == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("""data-cover=/c.jpg data-images='["/1.jpg","/2.jpg"]'""", ["image c.jpg", "image 1.jpg", "image 2.jpg"]),
        ("""data-thumbs='["/t1.jpg","/t2.jpg"]' data-images='["/1.jpg","/2.jpg"]'""", ["image 1.jpg", "image 2.jpg"]),
        ("""data-thumbs='["/t1.jpg","/t2.jpg"]'""", ["image t1.jpg", "image t2.jpg"]),
        ("data-bg='url(1.jpg), url(2.png)'", ["image 1.jpg", "image 2.png"]),
    ],
)
def test_lists_beside_other_attributes(attributes, expected):
    assert found(f"<div {attributes}></div>") == expected


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("<div data-bg='url(a.jpg)'>", ["image a.jpg"]),
        ("<div data-background='URL( &quot;a.jpg&quot; )'>", ["image a.jpg"]),
        ("<div data-bg='url(/image/5)'>", ["image image/5"]),
        ("<div data-x='url(/image/5)'><div data-x='url(b.jpg)'>", ["image b.jpg"]),
        ("<div data-bg=\"image-set('a.jpg' 1x, 'b.jpg' 2x)\">", ["image b.jpg"]),
        ("<div data-bg=/bg.jpg>", ["image bg.jpg"]),
        ("<div data-bg=/image/5>", ["image image/5"]),
        ("<div data-bg='url(/bg.jpg)'>", ["image bg.jpg"]),
        ("<div data-background-image=\"url('/bg.jpg')\">", ["image bg.jpg"]),
        ("<div data-bgset='/s.jpg 400w, /l.jpg 800w'>", ["image l.jpg"]),
        ("<div data-bgset='/s.jpg [(max-width: 600px)] | /l.jpg 1x, /xl.jpg 2x'>", ["image xl.jpg"]),
        ("<div data-bgset='/s.jpg [--small] | /l.jpg [--large]'>", ["image l.jpg"]),
        ("<div data-bgset='/s.jpg [--tiny] | /m.jpg [--small]'>", ["image m.jpg"]),
        ("<a data-srcset='/s.jpg 400w, /l.jpg 800w'>", ["image l.jpg"]),
        ("<a href=/big.jpg data-thumb=/small.jpg>", ["image big.jpg"]),
        ("<a href=/page.jpg data-src=/big.jpg>", ["image page.jpg", "image big.jpg"]),
        ("<a href=/page data-thumb=/small.jpg data-large=/big.jpg>", ["image big.jpg"]),
        ("<body background=b.png><td background=t>", ["image b.png", "image t"]),
        ("<button data-mp3=/s.mp3 data-cover=/c.jpg>", ["image c.jpg", "audio s.mp3"]),
        ("<video data-mp4=/v.mp4 data-poster=/p.jpg></video>", ["image p.jpg", "video v.mp4"]),
        ("<my-player src=/v.mp4></my-player><iframe src=/w.webm></iframe>", ["video v.mp4", "video w.webm"]),
        ("<embed src=/p.swf flashvars='file=/v.mp4&amp;image=/i.jpg'>", ["image i.jpg", "video v.mp4"]),
        (
            "<param name=FlashVars value='a=1&amp;src=/s.mp3'><param name=movie value=/v.mp4>",
            ["audio s.mp3", "video v.mp4"],
        ),
    ],
)
def test_an_element_gives_one_file_of_each_kind(element, expected):
    assert found(element) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"default": "/d.jpg", "small": "/s.jpg"}, "d.jpg"),
        ({"thumb": "/t.jpg", "full": "/f.jpg"}, "f.jpg"),
        ({"320": "/s.jpg", "1280": "/l.jpg", "640": "/m.jpg"}, "l.jpg"),
        ([{"src": "/s.jpg", "width": 100}, {"src": "/l.jpg", "width": "900px"}], "l.jpg"),
        ([[["/a.jpg"]]], "a.jpg"),
        ({"a": {"b": "http://h/x/y.webp?z=1"}, "c": 1.5, "d": None}, "x/y.webp?z=1"),
        ({"src": "y.jpg"}, "y.jpg"),
    ],
)
def test_json_gives_its_best_picture_where_there_is_no_good_src(value, expected):
    text = json.dumps(value)
    assert found(f"<img src='{BLANK}' data-src='{text}'>") == [f"image {expected}"]
    assert found(f"<img src=/good.jpg data-src='{text}'>") == ["image good.jpg"]
    assert found(f"<div data-options='{text}'></div>") == [f"image {expected}"]


@pytest.mark.parametrize("value", ['{"a": 1}', "{not json", "[", '{"id": "x.jpg"}', '["a", "b"]', "[" * 5_000, '"'])
def test_json_without_media_is_not_asked_for(value):
    assert found(f"<img src='{BLANK}' data-src='{value}'>") == []


@pytest.mark.parametrize(
    "value",
    ["[/p.jpg, (default)], [/q.jpg, (large)]", "/p.jpg|/q.jpg", "/p.jpg,/q.jpg", "/p.jpg; /q.jpg", "/p.jpg /q.jpg"],
)
def test_a_list_gives_its_first_picture(value):
    assert found(f"<img src='{BLANK}' data-lazy='{value}'>") == ["image p.jpg"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("data-src=/p_{width}x.jpg data-widths='[180, 1080, 540]'", ["image p_1080x.jpg"]),
        ("data-src=/p_%7Bwidth%7Dx.jpg data-widths='180,360'", ["image p_360x.jpg"]),
        ("data-srcset='/p_{w}.jpg {w}w' data-widths='180 360'", ["image p_360.jpg"]),
        ("data-src=/p_{width}x.jpg", []),
        ("data-src=/p_{width}x{height}.jpg data-widths=360 src=/small.jpg", ["image small.jpg"]),
    ],
)
def test_a_width_is_put_in_where_the_page_tells_it(attributes, expected):
    assert found(f"<img {attributes}>") == expected


def test_of_an_element_with_very_many_attributes_the_first_are_read():
    many = " ".join(f"x{number}=1" for number in range(30_000))
    page = Page.from_text(f"<div data-a=/a.jpg {many} data-b=/b.mp4></div>", "http://h/page")
    assert [link.url for link in find_media(page)] == ["http://h/a.jpg"]
