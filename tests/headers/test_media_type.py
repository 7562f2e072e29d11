import mimetypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.headers.media_type import (
    _EXTENSIONS,
    _table,
    extension_for,
    is_html,
    is_web_image,
    kind_of_path,
    kind_of_type,
    media_type,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image/jpeg", "image/jpeg"),
        ("Image/JPEG", "image/jpeg"),
        ("text/html; charset=utf-8", "text/html"),
        (" text/html ;charset=utf-8", "text/html"),
        ("text/html;", "text/html"),
        ("image/svg+xml", "image/svg+xml"),
        (None, None),
        ("", None),
        ("image", None),
        ("image/", None),
        ("/jpeg", None),
        ("image/jpeg/x", None),
        ("image /jpeg", None),
        ("image/jpeg, image/png", None),
        ("; charset=utf-8", None),
        ("ımage/jpeg", None),
    ],
)
def test_a_media_type_is_read_without_its_parameters(header, expected):
    assert media_type(header) == expected


def test_html_is_recognised_in_both_spellings():
    assert is_html("text/html")
    assert is_html("application/xhtml+xml")
    assert not is_html("text/plain")
    assert not is_html(None)


@pytest.mark.parametrize(
    ("mime", "expected"),
    [
        ("image/jpeg", ".jpg"),
        ("image/png", ".png"),
        ("image/webp", ".webp"),
        ("image/avif", ".avif"),
        ("image/heic", ".heic"),
        ("image/jxl", ".jxl"),
        ("image/svg+xml", ".svg"),
        ("audio/mpeg", ".mp3"),
        ("audio/flac", ".flac"),
        ("audio/ogg", ".ogg"),
        ("audio/mp4", ".m4a"),
        ("audio/x-wav", ".wav"),
        ("video/quicktime", ".mov"),
        ("video/mp4", ".mp4"),
        ("video/webm", ".webm"),
        ("video/x-matroska", ".mkv"),
        ("text/html", ".html"),
        ("text/plain", ".txt"),
        ("application/pdf", ".pdf"),
        ("application/zip", ".zip"),
        ("IMAGE/JPEG; q=1", ".jpg"),
        ("application/octet-stream", None),
        ("x/unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_a_type_has_one_sensible_extension(mime, expected):
    assert extension_for(mime) == expected


@pytest.mark.parametrize(
    ("mime", "expected"),
    [
        ("image/x-whatever", "image"),
        ("audio/mpeg", "audio"),
        ("video/mp4", "video"),
        ("application/ogg", "audio"),
        ("application/vnd.apple.mpegurl", "video"),
        ("application/octet-stream", None),
        ("text/html", None),
        (None, None),
    ],
)
def test_a_type_has_a_kind(mime, expected):
    assert kind_of_type(mime) == expected


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ("jpg jpeg png gif webp avif heic heif jxl svg bmp tif tiff ico", "image"),
        ("mp3 m4a m4b flac ogg oga opus weba wav aac wma aiff mid", "audio"),
        ("mp4 m4v mkv webm mov avi ogv wmv flv mpg mpeg 3gp ts m3u8 mpd", "video"),
        ("html txt pdf zip ass srt json xyz", None),
    ],
)
def test_a_path_has_the_kind_of_its_extension(extensions, expected):
    for extension in extensions.split():
        assert kind_of_path(f"a.b/c.{extension}") == expected, extension
        assert kind_of_path(f"C.{extension.upper()}") == expected, extension


@pytest.mark.parametrize("path", ["", "jpg", ".jpg", "a.jpg/b", "a.jpg/", "a."])
def test_a_path_without_an_extension_has_no_kind(path):
    assert kind_of_path(path.rstrip("/") + "/b" if path.endswith("/") else path) is None


def test_every_extension_given_out_is_of_the_kind_of_its_type():
    for mime in _EXTENSIONS:
        assert kind_of_path("a" + extension_for(mime)) == kind_of_type(mime), mime


def test_the_machine_has_no_say(monkeypatch):
    monkeypatch.setitem(mimetypes.types_map, ".zzz", "image/zzz")
    assert kind_of_path("a.zzz") is None
    assert _table().types_map[True].get(".zzz") is None


def test_the_lists_of_the_machine_are_not_even_read(monkeypatch):
    monkeypatch.setattr(mimetypes, "inited", False)
    _table.cache_clear()
    assert extension_for("application/pdf") == ".pdf"
    assert not mimetypes.inited


@given(st.text())
def test_nothing_here_raises(text):
    assert extension_for(text) is None or extension_for(text).startswith(".")
    assert {kind_of_type(text), kind_of_path(text)} <= {None, "image", "audio", "video"}
    assert is_html(text) in (True, False)
    assert media_type(text) is None or media_type(media_type(text)) == media_type(text)


@pytest.mark.parametrize(
    ("mime", "expected"),
    [
        ("image/avif", True),
        ("IMAGE/PNG; q=1", True),
        ("image/heic", False),
        ("image/jxl", False),
        ("video/mp4", False),
    ],
)
def test_a_web_image_is_shown_by_all_browsers(mime, expected):
    assert is_web_image(mime) == expected
