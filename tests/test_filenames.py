from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.fetch.filenames import expected_type, file_name, name_in_url, preferred_path
from mediacrawl.headers import is_html
from mediacrawl.store.safe_paths import MAX_NAME_BYTES, safe_name, safe_relative_path

URLS = st.from_regex(r"https?://[a-z.]{0,8}(/[^/]{0,6}){0,4}(\?.{0,5})?", fullmatch=True) | st.text()
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "content-disposition"]),
    st.sampled_from(
        ["image/jpeg", "text/html", "rubbish", 'attachment; filename="a/../b.png"', "attachment; filename="]
    )
    | st.text(),
)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a.jpg", "a.jpg"),
        ("http://h/a/b.jpg?x=1&y=/2#z", "b.jpg"),
        ("http://h/a/", "a"),
        ("http://h/", "h"),
        ("http://h:8000", "h"),
        ("http://user:secret@h/", "h"),
        ("http://h/%E5%B1%B1%20%E2%80%93.png", "山 –.png"),
        ("http://h/a%2Fb.png", "a/b.png"),
        ("http://h/%C3%A9%20%C3%A8.png", "é è.png"),
        # What is not UTF-8 stays as it is written: no letter is lost, and no two names become one.
        ("http://h/%ff.png", "%ff.png"),
        ("http://h/%D5%C5.png", "%D5%C5.png"),
        ("http://h/%D5%C6.png", "%D5%C6.png"),
        ("http://h/a%20%D5%C5.png", "a%20%D5%C5.png"),
        ("http://h/é%20%D5%C5.png", "é%20%D5%C5.png"),
        ("http://h/%E5%9B.png", "%E5%9B.png"),
        ("http://h/100%.png", "100%.png"),
        ("http://[h/a.jpg", "file"),
        ("", "file"),
    ],
)
def test_a_url_names_its_last_segment(url, name):
    assert name_in_url(url) == name


@pytest.mark.parametrize(
    ("url", "encoding", "name"),
    [
        ("http://h/%D5%C5.png", "gb18030", "张.png"),
        ("http://h/%D5%C5.png", "GB2312", "张.png"),
        ("http://h/%95%5C.png", "shift_jis", "表.png"),
        ("http://h/%B1%D7%B8%B2.png", "euc-kr", "그림.png"),
        ("http://h/%CD%C9%D2.png", "koi8-r", "мир.png"),
        ("http://h/%E9t%E9.png", "iso-8859-1", "été.png"),
        ("http://h/a%20%E9.png", "cp1252", "a é.png"),
        # UTF-8 goes before it, and what is not in it stays.
        ("http://h/%E5%9B%BE.png", "gbk", "图.png"),
        ("http://h/%FF%FF.png", "gbk", "%FF%FF.png"),
        ("http://h/%81.png", "iso-8859-1", "%81.png"),
        ("http://h/%D5%C5.png", "utf-8", "%D5%C5.png"),
        ("http://h/%D5%C5.png", "no such", "%D5%C5.png"),
        ("http://h/%D5%C5.png", "rot13", "%D5%C5.png"),
        ("http://h/é%D5%C5.png", "gbk", "é%D5%C5.png"),
        ("http://h/plain.png", "gbk", "plain.png"),
        ("http://h/", "gbk", "h"),
    ],
)
def test_escapes_that_are_not_utf_8_are_in_the_encoding_of_the_page(url, encoding, name):
    assert name_in_url(url, encoding) == name
    assert preferred_path("s", url, None, None, encoding) == f"s/h/{name}"


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=2, max_size=2, unique=True))
def test_two_names_are_never_one_for_letters_that_were_lost(names):
    quoted = [quote_from_bytes(name, safe="") for name in names]
    assert len({name_in_url(f"http://h/{name}.png") for name in quoted}) == 2


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "windows-1252", None])
@pytest.mark.parametrize(
    "segment",
    ["%D5%2F..%2F%C5", "%D5%5C..%5Cx", "%D5%00%C5", "%81%2E%2E%2F%2E%2E%2Fx", "%D5" * 300, "con.%D5", "%93nul%2Ejpg"],
)
def test_no_encoding_makes_a_name_that_is_not_safe(segment, encoding):
    name = file_name(f"http://h/{segment}", None, None, encoding)
    assert name == safe_name(name)
    assert len(name.encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    ("url", "headers", "filename", "name"),
    [
        # the list, else the server, else the URL
        ("http://h/u.jpg", {"content-disposition": 'attachment; filename="s.jpg"'}, "l.jpg", "l.jpg"),
        ("http://h/u.jpg", {"content-disposition": 'attachment; filename="s.jpg"'}, None, "s.jpg"),
        ("http://h/u.jpg", {"content-disposition": "inline"}, None, "u.jpg"),
        ("http://h/u.jpg", {}, None, "u.jpg"),
        ("http://h/u.jpg", None, None, "u.jpg"),
        ("http://h/u.jpg", None, "", "u.jpg"),
        # one component
        ("http://h/a%2F..%2Fb.png", None, None, "b.png"),
        ("http://h/a%5Cb.png", None, None, "b.png"),
        ("http://h/u.jpg", None, "2024/May/l.jpg", "l.jpg"),
        ("http://h/u.jpg", None, "..\\..\\l.jpg", "l.jpg"),
        ("http://h/u.jpg", None, "folder/", "folder"),
        # an extension where none says what it is
        ("http://h/photo", {"content-type": "image/jpeg"}, None, "photo.jpg"),
        ("http://h/photo", {"content-type": "image/jpeg; charset=x"}, None, "photo.jpg"),
        ("http://h/photo.JPG", {"content-type": "image/jpeg"}, None, "photo.JPG"),
        ("http://h/photo.png", {"content-type": "image/jpeg"}, None, "photo.png"),
        ("http://h/v1.2", {"content-type": "video/mp4"}, None, "v1.2.mp4"),
        ("http://h/get.php", {"content-type": "image/png"}, None, "get.png"),
        ("http://h/get.php?id=7", {"content-type": "audio/mpeg"}, None, "get.mp3"),
        ("http://h/get.php", {"content-type": "text/html"}, None, "get.html"),
        ("http://h/get.php", {}, None, "get.php"),
        ("http://h/u", {"content-type": "image/png"}, "cover", "cover.png"),
        ("http://h/u", {"content-type": "image/png"}, "cover.php", "cover.php"),
        ("http://h/u", {"content-type": "image/png"}, "Mr. Smith", "Mr. Smith"),
        ("http://h/data.bin", {"content-type": "application/octet-stream"}, None, "data.bin"),
        ("http://h/notes.md", {"content-type": "text/plain"}, None, "notes.md"),
        ("http://h/photo", {"content-type": "rubbish"}, None, "photo"),
        ("http://h/photo", {"content-type": "no/such-type"}, None, "photo"),
        # safe
        ("http://h/con.jpg", None, None, "_con.jpg"),
        ("http://h/.htaccess", None, None, "htaccess"),
        ("http://h/a%00b%E2%80%AEgpj.exe", None, None, "abgpj.exe"),
    ],
)
def test_a_file_has_a_name_that_a_person_can_read(url, headers, filename, name):
    assert file_name(url, headers, filename) == name


@pytest.mark.parametrize(
    ("owner", "url", "path"),
    [
        ("gallery", "http://h/a/b.jpg", "gallery/h/b.jpg"),
        ("gallery", "http://H.Example:8000/b.jpg", "gallery/h.example/b.jpg"),
        ("gallery", "http://user:secret@h/b.jpg", "gallery/h/b.jpg"),
        ("gallery", "http://[::1]:80/b.jpg", "gallery/__1/b.jpg"),
        ("gallery", "file:///b.jpg", "gallery/local/b.jpg"),
        ("gallery", "http://[h/b.jpg", "gallery/local/file"),
        ("a/b", "http://h/b.jpg", "a_b/h/b.jpg"),
        ("..", "http://../b.jpg", "file/file/b.jpg"),
    ],
)
def test_a_wished_path_is_spider_host_name(owner, url, path):
    assert preferred_path(owner, url) == path


def test_a_wished_path_follows_the_answer_and_the_list():
    headers = {"content-disposition": "attachment; filename*=UTF-8''%C3%A4.png", "content-type": "image/png"}
    assert preferred_path("s", "http://h/x", headers) == "s/h/ä.png"
    assert preferred_path("s", "http://h/x", headers, "cover") == "s/h/cover.png"


@given(URLS, HEADERS, st.none() | st.text())
def test_every_name_is_one_safe_component(url, headers, filename):
    name = file_name(url, headers, filename)
    assert name == safe_name(name)
    assert len(name.encode()) <= MAX_NAME_BYTES


@given(st.text(), URLS, HEADERS, st.none() | st.text())
def test_every_wished_path_is_safe_and_three_deep(owner, url, headers, filename):
    path = preferred_path(owner, url, headers, filename)
    assert path == safe_relative_path(path)
    assert path.count("/") == 2


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/a.html", True),
        ("http://h/a.HTM?x=1", True),
        ("http://h/a.xhtml", True),
        ("http://h/a%2Ehtml", True),
        ("http://h/a.html/b.jpg", False),
        ("http://h/a.jpg?page=b.html", False),
        ("http://h/", False),
    ],
)
def test_a_url_says_whether_it_asks_for_a_page(url, expected):
    assert is_html(expected_type(url)) is expected


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("http://h/a.png", None, "image/png"),
        ("http://h/A%2EMP4?x=.jpg#.gif", None, "video/mp4"),
        ("http://h/%FF%2Emp4", None, "video/mp4"),
        ("http://h/a.json", None, "application/json"),
        ("http://h/a.jpg", "b.png", "image/png"),
        ("http://h/a.html", "here/b.png", "image/png"),
        ("http://h/a.png", "b", "image/png"),
        ("http://h/a.png", "v1.2 final", "image/png"),
        ("http://h/a.svg/", "", "image/svg+xml"),
        # What implies nothing: an unknown name, a program, a type for anything, a host.
        ("http://h/a", None, None),
        ("http://h/.png", None, None),
        ("http://h/a.unknown", "b.unknown", None),
        ("http://h/a.php?f=a.jpg", None, None),
        ("http://h/a.PL", None, None),
        ("http://h/a.bin", None, None),
        ("http://my.mov", None, None),
        ("http://my.mov/", None, None),
        ("http://[h/a.png", None, None),
    ],
)
def test_a_name_implies_a_type_or_none(url, name, expected):
    assert expected_type(url, name) == expected
