"""A document where media is wanted is a failure and no file; each media file, and what is wanted as it is, is one."""

from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from origin import Pattern, chunked, close_delimited, encode_gzip, slow

from mediacrawl.download.content_family import SNIFF_BYTES, Family, can_be_judged, family_of, find_refusal
from mediacrawl.download.downloader import _Transfer
from mediacrawl.errors import WrongContent
from mediacrawl.fetch.filenames import expected_type

NOISE = random.Random(1).randbytes(5000)
PAGE = b"<!DOCTYPE html>\n<html><body>Sorry</body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
SUBSET = b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://w3.org/svg.dtd" [\n<!ENTITY ns "http://x/">\n]>\n'
MPD = b'<?xml version="1.0"?>\n<!-- made by x -->\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'
SMOOTH = b'<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2"></SmoothStreamingMedia>'
BOM = b"\xef\xbb\xbf"
HAVE = 600_000
LONG = b"<!-- " + b"licence " * 1000 + b"-->"

# --- documents --------------------------------------------------------------------------------------

HTML = {
    "doctype": PAGE,
    "without doctype": b"<html lang=en><head></head>",
    "upper case": b"<!DOCTYPE HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'><HTML>",
    "head": b"<head><title>403</title></head>",
    "title": b"<title>403</title>",
    "body": b"<body bgcolor=white>",
    "script": b"\r\n\r\n<script>location='/login'</script>",
    "iframe": b"<iframe src=/captcha></iframe>",
    "h1": b"<h1>Forbidden</h1>",
    "div": b"<div >blocked</div>",
    "p": b"<p>blocked</p>",
    "warning of PHP": b"<br />\n<b>Warning</b>:  fopen()",
    "meta": b"<meta http-equiv=refresh content='0;url=/login'>",
    "elements broken over lines": b"<html\nlang=en>\n<head>",
    "comment": b"<!-- cache: MISS -->\n<html>blocked",
    "a comment only": b"<!-- blocked -->",
    "comment and doctype": b"<!-- a --><!-- b -->\n" + PAGE,
    "blank lines": b"\n" * 200 + PAGE,
    "many blanks": b" \t\r\n" * 900 + PAGE,
    "byte order mark": BOM + PAGE,
    "blanks and byte order mark": b"\n\n" + BOM + b"\n" + PAGE,
    "UTF-16, little": b"\xff\xfe" + PAGE.decode().encode("utf-16-le"),
    "UTF-16, big": b"\xfe\xff" + PAGE.decode().encode("utf-16-be"),
    "UTF-16 without mark": PAGE.decode().encode("utf-16-le"),
    "UTF-16 without mark, big": PAGE.decode().encode("utf-16-be"),
    "xhtml": b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x.dtd">\n<html/>',
    "binary bytes behind": PAGE + NOISE,
}
XML = {
    "error": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "without prolog": b"<Error><Code>AccessDenied</Code></Error>",
    "comment": b"<?xml version='1.0'?><!-- x --><?xml-stylesheet href='a'?><error/>",
    "byte order mark": BOM + b"<?xml version='1.0'?><rss/>",
    "UTF-16": b"\xff\xfe" + '<?xml version="1.0"?><Error>ä</Error>'.encode("utf-16-le"),
    "its root mentions svg": b"<?xml version='1.0'?><list><svg/></list>",
    "prefix": b"<soap:Envelope xmlns:soap='x'/>",
}
JSON = {
    "object": b'{"error":{"code":429}}',
    "blanks": b' \n{\n  "error": 1}',
    "list": b'["a"]',
    "list of lists": b"[[1]]",
    "empty": b"{ }\n",
    "byte order mark": BOM + b'{"a":1}',
}
TEXT = {
    "english": b"Too many connections from your address\n",
    "another encoding": "Zugriff verweigert für Sie".encode("latin-1"),
    "UTF-8": "アクセスが拒否されました".encode(),
    "UTF-16": "blocked".encode("utf-16"),
    "escapes": b"\x1b[31mblocked\x1b[0m",
    "begins as a bitmap": b"BMW is out of service",
    "mentions a signature": b"P3 is down, so is GIF89a",
    "blanks": b"\r\n" * 4000,
    "css": b"body { color: red }",
    "four bytes": b"null",
    "yaml": b"#error\nfound: no\n",
}
PLAYLISTS = {
    "HLS": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:9,\na.ts\n",
    "HLS behind a mark": BOM + b"#EXTM3U\n",
    "PLS": b"[playlist]\nFile1=http://h/a.mp3\n",
    "DASH": MPD,
    "DASH without prolog": b"<MPD/>",
    "Smooth Streaming": SMOOTH,
    "Smooth Streaming, UTF-16": b"\xff\xfe" + SMOOTH.decode().encode("utf-16-le"),
    "XSPF": b"<?xml version='1.0'?><playlist xmlns='http://xspf.org/ns/0/'/>",
}
DOCUMENTS = {
    f"{family.name}: {name}": (family, body)
    for family, bodies in {
        Family.HTML: HTML,
        Family.XML: XML,
        Family.JSON: JSON,
        Family.TEXT: TEXT,
        Family.PLAYLIST: PLAYLISTS,
    }.items()
    for name, body in bodies.items()
}
SILENT_TYPES = [None, "text/plain", "application/octet-stream", "image/jpeg", "nonsense", ""]


def refusal(url, content_type, body):
    return find_refusal(expected_type(url), content_type, body)


@pytest.mark.parametrize(("family", "body"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
@pytest.mark.parametrize("url", ["http://h/a.jpg", "http://h/a.MP3", "http://h/a.mp4", "http://h/a.svg"])
def test_a_document_is_no_media_whatever_its_type(url, family, body):
    for content_type in SILENT_TYPES:
        assert refusal(url, content_type, body).startswith(f"{family.value} came (")


@pytest.mark.parametrize(("family", "body"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
@pytest.mark.parametrize("content_type", ["image/png", "audio/mpeg; x=y", "Video/MP4", "application/ogg"])
def test_without_a_name_the_type_says_that_media_is_wanted(content_type, family, body):
    assert refusal("http://h/image?id=5", content_type, body).startswith(f"{family.value} came (")


@pytest.mark.parametrize(
    ("content_type", "family"),
    [
        ("text/html", Family.HTML),
        ("application/xhtml+xml", Family.HTML),
        ("Application/JSON; charset=utf-8", Family.JSON),
        ("text/json", Family.JSON),
        ("application/problem+json", Family.JSON),
        ("application/xml", Family.XML),
        ("text/xml", Family.XML),
        ("application/rss+xml", Family.XML),
    ],
)
@pytest.mark.parametrize("body", [b"", b"x", b"no", NOISE], ids=["empty", "a byte", "{}", "noise"])
def test_a_document_by_its_type_is_refused_unless_the_bytes_are_media(content_type, family, body):
    assert refusal("http://h/a.jpg", content_type, body).startswith(f"{family.value} came (")
    assert refusal("http://h/a.jpg", content_type, b"\xff\xd8\xff\xe0" + body) is None


def test_a_long_comment_may_precede_an_svg_only_where_one_is_wanted():
    assert refusal("http://h/a.jpg", "image/jpeg", LONG + PAGE).startswith("an HTML page came (image/jpeg)")
    assert refusal("http://h/a.svg", None, b"<!-- blocked -->").startswith("an HTML page came")
    assert refusal("http://h/a", "image/svg+xml", LONG + SVG) is None


@pytest.mark.parametrize("name", ["a.m3u8", "a.m3u", "a.mpd"])
def test_a_playlist_that_is_wanted_is_no_finished_video(name):
    for body in [*PLAYLISTS.values(), b"http://h/1.mp3\nhttp://h/2.mp3\n", b"<?xml version='1.0'?><x/>"]:
        assert refusal(f"http://h/{name}", None, body).startswith("a playlist came (no Content-Type)")
    assert refusal(f"http://h/{name}", None, PAGE).startswith("an HTML page came")
    assert "yt-dlp" in refusal("http://h/watch", "application/vnd.apple.mpegurl", b"a.ts\n")


def test_the_message_is_one_line_about_what_came_what_was_expected_and_what_to_do():
    assert refusal("http://h/a.jpg", "application/json; x=secret", b'{"a":1}') == (
        "a JSON document came (application/json) where an image was expected; nothing of it was stored; "
        "run the same command again once the site sends the file; "
        "MEDIACRAWL_CHECK_CONTENT=False stores whatever is sent"
    )
    assert refusal("http://h/a.mp4", None, MPD) == (
        "a playlist came (no Content-Type) where a video was expected; nothing of it was stored; "
        "it only names the pieces, yt-dlp can fetch them; MEDIACRAWL_CHECK_CONTENT=False stores the playlist"
    )
    assert "where audio was expected" in refusal("http://h/a.mp3", None, PAGE)
    assert "where a file was expected" in refusal("http://h/a", None, PAGE)
    assert len(refusal("http://h/a.jpg", "x/" + "y" * 10_000, PAGE)) < 300


# --- what stays right -------------------------------------------------------------------------------


def box(kind, brand=b"isom"):
    return b"\x00\x00\x00\x18" + kind + brand + b"\x00\x00\x02\x00" + NOISE


def packets(size, lead=b""):
    return b"".join(lead + b"G" + NOISE[: size - 1 - len(lead)] for _ in range(30))


MEDIA = {
    "JPEG": ("a.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF" + NOISE),
    "WebP under .jpg": ("a.jpg", b"RIFF\x24\x10\x00\x00WEBPVP8 " + NOISE),
    "PNG under .gif": ("a.gif", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + NOISE),
    "GIF": ("a.gif", b"GIF89a\x01\x00\x01\x00" + NOISE),
    "audio under .mp4": ("a.mp4", b"ID3\x04\x00" + NOISE),
    "video under .gif": ("a.gif", box(b"ftyp", b"mp42")),
    "HEIC": ("a.heic", box(b"ftyp", b"heic")),
    "AVIF": ("a.avif", box(b"ftyp", b"avif")),
    "JPEG XL": ("a.jxl", b"\xff\x0a\xfa\x7f" + NOISE),
    "JPEG XL, boxes": ("a.jxl", b"\x00\x00\x00\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl ")),
    "JPEG 2000": ("a.jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + NOISE),
    "TIFF, little": ("a.tif", b"II*\x00\x08\x00\x00\x00" + NOISE),
    "TIFF, big": ("a.tif", b"MM\x00*\x00\x00\x00\x08" + NOISE),
    "BMP": ("a.bmp", b"BM\x36\x10\x0e\x00\x00\x00\x00\x00\x36\x00\x00\x00" + NOISE),
    "ICO": ("a.ico", b"\x00\x00\x01\x00\x01\x00\x10\x10" + NOISE),
    "PSD": ("a.psd", b"8BPS\x00\x01" + NOISE),
    "FLAC": ("a.flac", b"fLaC\x00\x00\x00\x22" + NOISE),
    "MP3 with ID3": ("a.mp3", b"ID3\x03\x00\x00\x00\x00\x0f\x76TIT2" + NOISE),
    "MP3": ("a.mp3", b"\xff\xfb\x90\x64" + NOISE),
    "AAC": ("a.aac", b"\xff\xf1\x50\x80" + NOISE),
    "Ogg": ("a.ogg", b"OggS\x00\x02" + NOISE),
    "Opus": ("a.opus", b"OggS\x00\x02" + bytes(8) + b"OpusHead" + NOISE),
    "WAV": ("a.wav", b"RIFF\x24\x10\x00\x00WAVEfmt \x10\x00" + NOISE),
    "AIFF": ("a.aiff", b"FORM\x00\x00\x10\x24AIFFCOMM" + NOISE),
    "MIDI": ("a.mid", b"MThd\x00\x00\x00\x06\x00\x01" + NOISE),
    "Matroska": ("a.mkv", b"\x1aE\xdf\xa3\x01\x00\x00\x00" + NOISE),
    "WebM": ("a.webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm" + NOISE),
    "MP4": ("a.mp4", box(b"ftyp")),
    "MOV without ftyp": ("a.mov", box(b"moov")),
    "MOV, data first": ("a.mov", b" Abcmdat\x00" + NOISE),
    "MOV, wide first": ("a.mov", b"\x00\x00\x00\x08wide" + box(b"mdat")),
    "MPEG-TS": ("a.ts", packets(188)),
    "MPEG-TS of a disc": ("a.m2ts", packets(192, b"\x00\x00\x00\x00")),
    "MPEG-PS": ("a.mpg", b"\x00\x00\x01\xba\x44" + NOISE),
    "MPEG video": ("a.mpg", b"\x00\x00\x01\xb3\x14" + NOISE),
    "FLV": ("a.flv", b"FLV\x01\x05\x00\x00\x00\x09" + NOISE),
    "AVI": ("a.avi", b"RIFF\x24\x10\x00\x00AVI LIST" + NOISE),
    "WMV": ("a.wmv", b"0&\xb2u\x8ef\xcf\x11\xa6\xd9" + NOISE),
    "EPS with a preview": ("a.jpg", b"\xc5\xd0\xd3\xc6\x20\x00" + NOISE),
    "SVG": ("a.svg", SVG),
    "SVG under .jpg": ("a.jpg", SVG),
    "SVG with prolog": ("a.svg", b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n' + SVG),
    "SVG with all": ("a.svg", BOM + b"<?xml version='1.0'?>\n<!-- x > -->\n" + SUBSET + b"<?x y?>\n" + SVG),
    "SVG with all, under .jpg": ("a.jpg", b"\n<!-- x -->" + SUBSET + SVG),
    "SVG with a prefix": ("a.svg", b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>"),
    "SVG in UTF-16": ("a.svg", b"\xff\xfe" + ('<?xml version="1.0"?>' + SVG.decode()).encode("utf-16-le")),
    "SVG behind a long comment": ("a.svg", LONG + SVG),
    "SVG behind a long declaration": ("a.jpg", SUBSET.replace(b"http://x/", b"x" * 9000) + SVG),
}
TEXTUAL_MEDIA = {
    "WebVTT": b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n",
    "SRT": b"1\r\n00:00:00,498 --> 00:00:02,827\r\nHello\r\n",
    "SRT with a mark": BOM + b"1\n00:00:00,498 --> 00:00:02,827\nHello\n",
    "PPM": b"P3\n# made by x\n3 2\n255\n" + b"255 0 0 " * 600,
    "PGM": b"P2 24 7 15\n" + b"0 " * 5000,
    "PBM": b"P1\n6 10\n" + b"0 1 " * 2000,
    "XPM": b'/* XPM */\nstatic char * a_xpm[] = {\n"16 16 2 1",\n',
    "XBM": b"#define im_width 16\n#define im_height 7\nstatic char im_bits[] = {\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    "FITS": b"SIMPLE  =                    T / file does conform to FITS standard" + b" " * 5000,
}
AS_THEY_ARE = {
    "an .html that is wanted": ("a.html", "text/html", PAGE),
    "a JSON for an .html": ("a.html", "application/json", b"{}"),
    **{f".{x} of no type": (f"a.{x}", None, b'{"a": 1}') for x in ("json", "txt", "md", "csv", "xml", "bin", "x")},
    "json": ("a.json", "application/json", b'{"a": 1}'),
    "json of a strange type": ("a.json", "image/png", b'{"a": 1}'),
    "xml": ("a.xml", "application/xml", XML["error"]),
    "xml that begins with a comment": ("a.xml", None, b"<!-- x -->\n<list/>"),
    "md that begins with a <p>": ("a.md", "text/plain", b'<p align="center">\n# Title'),
    "md that begins with a <div>": ("a.md", None, b"<div>\n# Title"),
    "txt that begins with a <header>": ("a.txt", None, b"<header>"),
    "txt about html": ("a.txt", "text/plain", b"how to write <!doctype html> and <html>"),
    "txt": ("a.txt", "text/plain", TEXT["english"]),
    "csv": ("a.csv", "text/csv", b"a,b\n1,2\n"),
    "pdf": ("a.pdf", "application/pdf", b"%PDF-1.7\n" + NOISE),
    "pdf under .jpg": ("a.jpg", None, b"%PDF-1.7\n" + NOISE),
    "zip": ("a.zip", "application/zip", b"PK\x03\x04" + NOISE),
    "vtt": ("a.vtt", None, TEXTUAL_MEDIA["WebVTT"]),
    "srt": ("a.srt", None, TEXTUAL_MEDIA["SRT"]),
    "TypeScript": ("a.ts", "text/plain", b"export const a = 1;\n"),
    "unknown": ("a.jpg", "application/octet-stream", NOISE),
    "unknown, of no type": ("a.mp4", None, NOISE),
    "a JPEG of a program": ("a.php", "text/html", b"\xff\xd8\xff\xe0\x00" + NOISE),
    "nothing": ("a.jpg", "image/jpeg", b""),
    "nothing, of no type": ("a", None, b""),
    "JSON of a program": ("a.php", "application/json", b"{}"),
    "a page that is cut": ("a", None, b"<"),
}


@pytest.mark.parametrize(("name", "body"), MEDIA.values(), ids=MEDIA.keys())
def test_media_is_right_whatever_its_type(name, body):
    types = [*SILENT_TYPES, "image/svg+xml", "text/html", "application/xml", "application/json"]
    assert [content_type for content_type in types if refusal(f"http://h/{name}", content_type, body)] == []


@pytest.mark.parametrize("body", TEXTUAL_MEDIA.values(), ids=TEXTUAL_MEDIA.keys())
def test_media_that_is_text_is_right(body):
    for name in ("a.ppm", "a.pbm", "a.jpg", "a"):
        assert [given for given in SILENT_TYPES if refusal(f"http://h/{name}", given, body)] == []


@pytest.mark.parametrize(("name", "content_type", "body"), AS_THEY_ARE.values(), ids=AS_THEY_ARE.keys())
def test_what_is_wanted_as_it_is_is_right(name, content_type, body):
    assert refusal(f"http://h/{name}", content_type, body) is None


@pytest.mark.parametrize("body", [b"x", b"ab", b"abc", b"\xff\xd8", b"\xef\xbb", b"\n", b"<"], ids=repr)
def test_a_few_bytes_say_nothing(body):
    assert [given for given in SILENT_TYPES if refusal("http://h/a.jpg", given, body)] == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b""),
        ("TEXT/HTML;charset=x", b"\xff\xd8"),
        ("application/xhtml+xml", b""),
        (None, b"<!DOCTYPE HTML>"),
        (None, b"\n\t <html lang=en>"),
        (None, b"<head>"),
        ("application/zip", b"<!doctype html><p>"),
        (None, b" " * 50 + b"<html>"),
        (None, BOM + PAGE),
        (None, b"\xfe\xff" + PAGE.decode().encode("utf-16-be")),
        (None, b"<!-- x -->\n" + PAGE),
        ("application/octet-stream", HTML["xhtml"]),
    ],
)
@pytest.mark.parametrize("name", ["a", "a.txt", "a.zip", "a.json", "a.php"])
def test_a_page_is_refused_where_any_other_file_is_wanted(name, content_type, body):
    assert refusal(f"http://h/{name}", content_type, body).startswith("an HTML page came (")


# --- any bytes --------------------------------------------------------------------------------------

PIECES = [
    b"<",
    b"\n",
    b" ",
    b"\x00",
    b"\xff\xfe",
    BOM,
    b"#EXTM3U",
    b"svg",
    b"<!--",
    b"-->",
    b"<?xml",
    b"?>",
    b"<svg ",
    b">",
]
BODIES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=8).map(b"".join)
GIVEN_TYPES = st.sampled_from([None, "image/png", "image/svg+xml", "text/html", "application/json", "text/plain"])
NAMED_TYPES = st.sampled_from([None, "image/png", "image/svg+xml", "video/mp2t", "text/html", "text/plain"])


@given(NAMED_TYPES, GIVEN_TYPES, BODIES, st.integers(0, 200))
def test_what_can_be_judged_early_is_judged_as_the_whole(named, given_type, body, at):
    if can_be_judged(named, given_type, body[:at]):
        assert find_refusal(named, given_type, body[:at]) == find_refusal(named, given_type, body)


@given(BODIES, st.booleans())
def test_any_bytes_have_a_family(body, may_be_svg):
    assert isinstance(family_of(body, may_be_svg=may_be_svg), Family)


@pytest.mark.parametrize("piece", [b"<!--", b"<!DOCTYPE x [", b"<?", b"/*", b"P3 #\n", b"*/ ", BOM, b"[ ", b"1 "])
def test_hostile_bytes_take_no_time(piece):
    """A pattern that backtracks would take minutes."""
    for beginning in (b"", b"<", b"/*", b"P3", b"<!DOCTYPE svg [", b"<!--"):
        family_of(beginning + piece * 4000)


# --- over the transports ----------------------------------------------------------------------------

LONG_WAY = [chunked(times=None), close_delimited(times=None), encode_gzip(times=None), slow(200_000, times=None)]


@pytest.mark.parametrize("framing", [None, *LONG_WAY], ids=lambda fault: fault.name if fault else "with its head")
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", JSON["object"]),
        ("image/jpeg", b"\n" * 200 + PAGE),
        (None, XML["error"]),
        ("text/plain", TEXT["english"] * 200),
        ("video/mp4", PLAYLISTS["HLS"]),
        ("image/jpeg", LONG + PAGE),
    ],
    ids=["json", "blank lines", "xml", "text", "playlist", "long comment"],
)
def test_a_document_is_a_failure_and_costs_no_part(rig, framing, content_type, body):
    url = rig.origin.add("/a.jpg", body, content_type=content_type, faults=[framing] if framing else [])
    with pytest.raises(WrongContent, match="nothing of it was stored") as caught:
        rig.fetch(url, expected_type="image/jpeg")
    assert not caught.value.permanent
    assert rig.leftovers() == []
    rig.plant(Pattern(HAVE).read(), total=2 * HAVE, etag='"v1"')
    with pytest.raises(WrongContent):
        rig.fetch(url, expected_type="image/jpeg")
    assert rig.planted_bytes() == HAVE


@pytest.mark.parametrize("framing", [None, *LONG_WAY], ids=lambda fault: fault.name if fault else "with its head")
@pytest.mark.parametrize(
    ("named", "content_type", "body"),
    [
        ("image/svg+xml", "image/svg+xml", MEDIA["SVG with all"][1]),
        ("image/svg+xml", "text/xml", LONG + SVG),
        ("image/jpeg", "text/html", MEDIA["WebP under .jpg"][1]),
        ("image/jpeg", "text/plain", MEDIA["JPEG"][1]),
        ("image/jpeg", None, b""),
        ("image/jpeg", None, b"x"),
        ("image/x-portable-pixmap", "text/plain", TEXTUAL_MEDIA["PPM"]),
        ("application/json", "application/json", JSON["object"]),
        (None, "application/octet-stream", gzip.compress(PAGE)),
        ("text/html", "text/html", PAGE),
    ],
    ids=["svg", "long svg", "webp", "jpeg", "empty", "a byte", "ppm", "json", "gzip", "page"],
)
def test_what_is_right_is_a_file(rig, framing, named, content_type, body):
    url = rig.origin.add("/a", body, content_type=content_type, faults=[framing] if framing else [])
    assert rig.bring(url, expected_type=named).data == body


@pytest.mark.parametrize("body", [JSON["object"], PAGE, b""])
@pytest.mark.parametrize("way", ["short", "long"])
def test_a_setting_stores_whatever_is_sent(rig, body, way, monkeypatch):
    if way == "long":
        monkeypatch.setattr(_Transfer, "_fetch_small", lambda _: None)
    url = rig.origin.add("/a.jpg", body, content_type="text/html")
    downloader = rig.downloader(check_content=False)
    fetched = rig.fetch(url, expected_type="image/jpeg", downloader=downloader)
    assert rig.publish(fetched) == body


def test_the_sniffed_bytes_are_few():
    assert SNIFF_BYTES <= 4096


@pytest.mark.parametrize("body", [b"{}", b"[]", b" {}\n"])
def test_an_empty_json_document_is_no_media(body):
    assert "JSON" in (refusal("http://h/a.mp4", "video/mp4", body) or "")


@pytest.mark.parametrize("name", ["a.pdf", "a.zip", "a.docx", "a.bin", "a"])
@pytest.mark.parametrize("body", [b"%PDF-1.7\n%\xe2\xe3\x00\x01", b"PK\x03\x04\x14\x00", b"\x00\x01\x02\x03\x04"])
def test_binary_bytes_are_no_page_whatever_their_type_says(name, body):
    assert refusal(f"http://h/{name}", "text/html", body) is None


def test_a_drawing_as_text_is_an_image():
    assert refusal("http://h/a.dxf", "text/plain", b"  0\nSECTION\n  2\nHEADER\n") is None
