import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediacrawl.store.safe_paths import (
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    fold,
    numbered,
    safe_name,
    safe_relative_path,
)

DEVICES = ["CON", "prn", "Aux", "NUL", "CONIN$", "conout$", "COM0", "com9", "LPT1", "lpt\u00b2", "COM\u00b9"]
NASTY = st.sampled_from(
    [
        *("/", "\\", "..", ".", " ", "\0", "\n", "<", "\u202e", "\u200d", "\u200b", "\ud800", "\u212b", "e"),
        *("\u0301", "\u0338", "\u00b9", "\U0001f468", "é", "CON", "nul", "com1", ".jpg", ".tar.gz", "-2"),
        *("a" * 90, "文" * 60, "x." * 20),
    ]
)
NAMES = st.text() | st.lists(NASTY | st.text(max_size=3), max_size=12).map("".join)


def assert_is_safe(name, max_bytes=MAX_NAME_BYTES):
    assert 0 < len(name.encode()) <= max_bytes
    assert not set(name) & set('/\\<>:"|?*')
    assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in name)
    assert not any(unicodedata.category(c) == "Cf" for c in name if c not in "\u200c\u200d")
    assert name.strip(" ") == name
    assert not name.startswith(".")
    assert not name.endswith(".")
    assert name.partition(".")[0].rstrip(" ").casefold() not in {device.casefold() for device in ALL_DEVICES}
    assert unicodedata.is_normalized("NFC", name)


ALL_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("Été à Tōkyō 東京.jpg", "Été à Tōkyō 東京.jpg"),
        ("E\u0301te\u0301.jpg", "Été.jpg"),
        ("a/b\\c.jpg", "a_b_c.jpg"),
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\0b.jpg", "ab.jpg"),
        ("a\r\nb\tc.jpg", "a b c.jpg"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("\ufeffa\u200b.jpg", "a.jpg"),
        ("\U0001f468\u200d\U0001f469.png", "\U0001f468\u200d\U0001f469.png"),
        ("a\udcff.jpg", "a.jpg"),
        (".htaccess", "htaccess"),
        ("  . a . ", "a"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("\u200d", "file"),
        ("con", "_con"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("aux .txt", "_aux .txt"),
        ("con:", "con_"),
        ("COM10.txt", "COM10.txt"),
        ("console.log", "console.log"),
    ],
)
def test_a_name_is_made_safe_and_stays_readable(name, expected):
    assert safe_name(name) == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("extension", ["", ".jpg", ".a.b", " .jpg", "."])
def test_no_name_is_a_device_of_windows(device, extension):
    assert safe_name(device + extension).startswith("_")


@pytest.mark.parametrize(
    ("name", "max_bytes", "expected"),
    [
        ("a" * 300 + ".jpeg", 200, "a" * 195 + ".jpeg"),
        ("a" * 300 + ".tar.gz", 200, "a" * 193 + ".tar.gz"),
        ("文" * 300 + ".jpg", 200, "文" * 65 + ".jpg"),
        ("a" * 300, 200, "a" * 200),
        ("a" * 30 + " . b" + "c" * 50, 32, "a" * 30),
        ("Dr. " + "a" * 300, 200, "Dr. " + "a" * 196),
        ("a." + "b" * 300, 200, "a." + "b" * 198),
    ],
)
def test_a_long_name_loses_the_end_of_its_stem(name, max_bytes, expected):
    assert safe_name(name, max_bytes=max_bytes) == expected


def test_a_limit_without_room_for_an_extension_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        safe_name("a", max_bytes=31)


@given(NAMES, st.integers(32, 255))
@example("CON" + " " * 30 + "x.txt", 32)
@example("a" * 28 + ". .jpg" * 3, 32)
def test_every_name_becomes_safe_and_stays_as_it_then_is(name, max_bytes):
    safe = safe_name(name, max_bytes=max_bytes)
    assert_is_safe(safe, max_bytes)
    assert safe_name(safe, max_bytes=max_bytes) == safe


def test_every_character_there_is_becomes_safe():
    for first in range(0, sys.maxunicode + 1, 64):
        safe = safe_name("".join(map(chr, range(first, first + 64))), max_bytes=1000)
        assert_is_safe(safe, 1000)
        assert safe_name(safe, max_bytes=1000) == safe


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("/etc/passwd", "etc/passwd"),
        ("../../etc/passwd", "etc/passwd"),
        ("a/./b/../c.jpg", "a/b/c.jpg"),
        ("C:\\Windows\\nul", "C_/Windows/_nul"),
        ("a//b/", "a/b"),
        ("a/.. /b", "a/b"),
        ("", "file"),
        ("/", "file"),
        ("../..", "file"),
        ("a/\0", "a/file"),
    ],
)
def test_a_path_never_leaves_its_folder(path, expected):
    assert safe_relative_path(path) == expected


def test_a_deep_path_loses_folders_but_not_its_name():
    path = safe_relative_path("folder/" * 500 + "a.jpg")
    assert len(path.encode()) <= MAX_PATH_BYTES
    assert path.startswith("folder/folder/")
    assert path.endswith("/a.jpg")


@given(st.lists(NAMES, max_size=30).map("/".join))
def test_every_path_becomes_safe_and_stays_as_it_then_is(path):
    safe = safe_relative_path(path)
    assert len(safe.encode()) <= MAX_PATH_BYTES
    for part in safe.split("/"):
        assert_is_safe(part)
    assert safe_relative_path(safe) == safe


@pytest.mark.parametrize(
    ("path", "n", "expected"),
    [
        ("a/b.jpg", 2, "a/b-2.jpg"),
        ("b", 2, "b-2"),
        ("a.b/c", 3, "a.b/c-3"),
        ("a.tar.gz", 2, "a-2.tar.gz"),
        ("a/" + "b" * 196 + ".jpg", 10, "a/" + "b" * 193 + "-10.jpg"),
    ],
)
def test_a_second_file_of_one_name_is_numbered(path, n, expected):
    assert numbered(path, n) == expected


def test_there_is_no_file_number_zero():
    with pytest.raises(ValueError, match="from 1"):
        numbered("a", 0)


@given(st.lists(NAMES, max_size=30).map("/".join), st.sets(st.integers(1, 10**6), min_size=2))
def test_numbered_paths_are_safe_and_never_meet(path, numbers):
    paths = [numbered(safe_relative_path(path), n) for n in numbers]
    assert len({fold(path) for path in paths}) == len(numbers)
    for numbered_path in paths:
        assert safe_relative_path(numbered_path) == numbered_path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A.jpg", "a.JPG"),
        ("\u00e9.jpg", "e\u0301.jpg"),
        ("\u00c9.jpg", "e\u0301.jpg"),
        ("\u212a.jpg", "k.jpg"),
        ("straße", "STRASSE"),
        ("a\u200cb", "ab"),
    ],
)
def test_paths_that_some_file_system_takes_for_one_fold_alike(one, other):
    assert fold(one) == fold(other)


def test_different_paths_fold_differently():
    assert len({fold(path) for path in ("a", "b", "a/b", "ab", "é", "e")}) == 6


@given(NAMES)
def test_folding_is_stable_and_blind_to_case_and_form(name):
    path = safe_name(name)
    assert fold(fold(path)) == fold(path)
    assert fold(unicodedata.normalize("NFD", path)) == fold(path)
    assert fold(path.lower().upper()) == fold(path.upper())
