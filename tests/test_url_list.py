import io
import json
import re
import tracemalloc
from itertools import chain, islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediacrawl.sources.list_entry import COLUMNS, InvalidEntry, ListEntry
from mediacrawl.sources.url_list import opened_list, read_list

SHA256 = "ab" * 32
MD5 = "CD" * 16


def rows(text):
    """As the file is opened: line ends are left to us."""
    return list(read_list(io.StringIO(text, newline="")))


def urls(text):
    return [row.url for row in rows(text)]


def bad_lines(text):
    return {row.number: row.why for row in rows(text) if isinstance(row, InvalidEntry)}


# Three forms, told apart


@pytest.mark.parametrize(
    "text",
    [
        "http://h/a\nhttp://h/b\n",
        "url\nhttp://h/a\nhttp://h/b\n",
        "url,filename\nhttp://h/a,\nhttp://h/b,\n",
        "filename;url\n;http://h/a\n;http://h/b\n",
        "url\tfilename\nhttp://h/a\t\nhttp://h/b\n",
        '"url","filename"\n"http://h/a",""\n"http://h/b",""\n',
        " URL , FileName \nhttp://h/a,\nhttp://h/b,\n",
        '{"url": "http://h/a"}\n{"url": "http://h/b"}\n',
    ],
    ids=["plain", "one column", "comma", "semicolon", "tab", "quoted", "spaces and capitals", "JSON Lines"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("before", ["", "\ufeff", "# a comment\n\n", "\ufeff# a comment\n  \n", "\n\t\n"])
def test_the_form_is_told_by_the_first_line_that_says_something(text, end, before):
    assert urls((before + text).replace("\n", end)) == ["http://h/a", "http://h/b"]


def test_a_list_may_end_without_a_line_end():
    assert urls("http://h/a\nhttp://h/b") == ["http://h/a", "http://h/b"]
    assert urls("url,md5\nhttp://h/a,") == ["http://h/a"]


@pytest.mark.parametrize("text", ["", "\n", "\ufeff", "# nothing\n", "url\n", "url,filename\n\n"])
def test_a_list_without_a_url_is_empty(text):
    assert rows(text) == []


@pytest.mark.parametrize("comment", ["# a comment", "   # another", "#", "", "   "])
@pytest.mark.parametrize("head", ["", "url\n"])
def test_comments_and_empty_lines_are_passed_over_but_counted(head, comment):
    if head and comment.startswith(" "):
        comment = comment.strip()
    first = 1 + len(head.splitlines())
    found = rows(f"{head}http://h/a\n{comment}\nhttp://h/b\n")
    assert [(row.number, row.url) for row in found] == [(first, "http://h/a"), (first + 2, "http://h/b")]


def test_a_plain_list_may_hold_urls_with_the_signs_of_other_forms():
    text = "http://h/a,b;c.jpg?url=1&x={}\nhttp://h/#fragment\n"
    assert urls(text) == text.split()


# What a row says


FULL = {
    "url": "http://h/a.jpg",
    "filename": "a b.jpg",
    "sha256": SHA256,
    "md5": MD5,
    "referer": "http://h/",
    "headers": {"Authorization": "Bearer x", "Accept": "*/*"},
    "key": "picture 7",
}
FULL_ROW = ListEntry(2, **FULL)


def test_a_json_line_says_all():
    assert rows('{"url": "http://h/"}\n' + json.dumps(FULL))[1] == FULL_ROW


@pytest.mark.parametrize("delimiter", list(",;\t"))
def test_a_csv_line_says_all_and_its_headers_are_json(delimiter):
    facts = FULL | {"headers": json.dumps(FULL["headers"])}
    quoted = delimiter.join('"' + text.replace('"', '""') + '"' for text in facts.values())
    assert rows(delimiter.join(COLUMNS) + "\n" + quoted + "\n") == [FULL_ROW]


def test_columns_may_come_in_any_order_among_others():
    text = "id,filename,note,url\n1,a.jpg,nice,http://h/a\n"
    assert rows(text) == [ListEntry(2, "http://h/a", filename="a.jpg")]


@pytest.mark.parametrize(
    ("lines", "bad"),
    [
        (["http://h/a?1,one", "http://h/a?2,two"], []),
        (["http://h/a?1,one", "http://h/a?2,one"], [3]),
        (["http://h/a?1,one", "http://h/a?1,one"], []),
        (["http://h/a,", "http://h/b,"], []),
        (["http://h/a?1,one", "http://h/b,two", "http://h/a?2,one", "http://h/a?1,one", "http://h/c,two"], [4, 6]),
    ],
)
def test_a_key_stands_for_one_url_of_a_list(lines, bad):
    found = bad_lines("url,key\n" + "\n".join(lines) + "\n")
    assert list(found) == bad
    assert all(re.match(r"the key '\w+' is that of line [23], which has another URL", why) for why in found.values())


def test_keys_of_a_long_list_are_not_all_held():
    lines = (f"http://h/{number},{number}\n" for number in range(30_000))
    tracemalloc.start()
    try:
        for _ in read_list(chain(["url,key\n"], lines)):
            pass
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_column_without_a_name_is_passed_over():
    assert rows("\turl\tfilename\n0\thttp://h/a\ta.jpg\n") == [ListEntry(2, "http://h/a", filename="a.jpg")]


def test_missing_fields_are_none():
    assert rows("url,filename,md5\nhttp://h/a\nhttp://h/b,b.jpg\n") == [
        ListEntry(2, "http://h/a"),
        ListEntry(3, "http://h/b", filename="b.jpg"),
    ]
    assert rows('{"url": "http://h/a", "filename": null, "md5": "", "headers": null}') == [ListEntry(1, "http://h/a")]


def test_unknown_facts_are_passed_over():
    assert rows('{"url": "http://h/a", "note": [1, 2], "number": 7}') == [ListEntry(1, "http://h/a")]


def test_a_quoted_field_may_hold_delimiters_quotes_and_line_breaks():
    text = 'filename,url\n"a, ""b""\nc.jpg",http://h/a\nd.jpg,http://h/d\n'
    assert rows(text) == [
        ListEntry(2, "http://h/a", filename='a, "b"\nc.jpg'),
        ListEntry(4, "http://h/d", filename="d.jpg"),
    ]


def test_space_around_a_value_is_none_of_it():
    assert rows("url,filename\n  http://h/a ,  a.jpg \n") == [ListEntry(2, "http://h/a", filename="a.jpg")]


# Bad lines

NO_URL = "not an http, https, ftp or ftps URL"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", NO_URL),
        ("h/a.jpg", NO_URL),
        ("gopher://h/a.jpg", NO_URL),
        ("gopher://h:21/a.jpg", NO_URL),
        ("http://", NO_URL),
        ("http://h:99999/", NO_URL),
        ("http://h h/a.jpg", NO_URL),
        ("http://[h/", NO_URL),
        ("http://h:port/a b", NO_URL),
    ],
)
def test_a_bad_line_of_a_plain_list_is_told_with_its_number(line, why):
    text = f"http://h/a\n\n{line}\nhttp://h/b\n"
    assert bad_lines(text).keys() == {3}
    assert why in bad_lines(text)[3]
    assert [row.url for row in rows(text) if isinstance(row, ListEntry)] == ["http://h/a", "http://h/b"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", NO_URL),
        ("http://h/a,a.jpg,,,one too many", "5 fields, the header has 4"),
        (",a.jpg", NO_URL),
        ("http://h/a,,xyz", "sha256 is not a digest in hex: 'xyz'"),
        (f"http://h/a,,{MD5}", "sha256 is not a digest"),
        ("http://h/a,,,not json", "not JSON"),
        ("http://h/a,,,[1]", "not a JSON object"),
        ('http://h/a,,,"{""a"": 1}"', "headers is not an object of texts"),
        ('http://h/a,,,"{""a"": ""b\\r\\nc""}"', "headers with a line break"),
        ("http://h/" + "x" * 200_000, "not CSV: field larger than field limit"),
    ],
    ids=lambda text: text[:40],
)
def test_a_bad_line_of_a_csv_is_told_with_its_number(line, why):
    text = f"url,filename,sha256,headers\nhttp://h/a\n{line}\nhttp://h/b\n"
    assert bad_lines(text).keys() == {3}
    assert why in bad_lines(text)[3]
    assert [row.number for row in rows(text) if isinstance(row, ListEntry)] == [2, 4]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("http://h/a", "not JSON"),
        ('{"url": "http://h/a"', "not JSON"),
        ('["http://h/a"]', "not a JSON object"),
        ("null", "not a JSON object"),
        ("[" * 100_000, "not JSON"),
        ("9" * 10_000, ""),
        ("{}", NO_URL),
        ('{"url": 7}', "url is not a text"),
        ('{"url": "http://h/a", "filename": ["a"]}', "filename is not a text"),
        ('{"url": "http://h/a", "md5": "xyz"}', "md5 is not a digest in hex: 'xyz'"),
        ('{"url": "http://h/a", "headers": ["a"]}', "headers is not an object of texts"),
        ('{"url": "http://h/a", "headers": {"a": 1}}', "headers is not an object of texts"),
        ('{"url": "http://h/a", "headers": {"a\\nb": "c"}}', "headers with a line break"),
        ('{"url": "http://h/\\ud800"}', "url holds half a character"),
        ('{"url": "http://h/a", "headers": {"a": "\\ud800"}}', "headers holds half a character"),
    ],
    ids=lambda text: text[:40],
)
def test_a_bad_json_line_is_told_with_its_number(line, why):
    text = f'{{"url": "http://h/a"}}\n{line}\n{{"url": "http://h/b"}}\n'
    assert bad_lines(text).keys() == {2}
    assert why in bad_lines(text)[2]
    assert [row.number for row in rows(text) if isinstance(row, ListEntry)] == [1, 3]


def test_a_quote_that_is_never_closed_is_told_where_it_was_opened():
    text = 'url,filename\nhttp://h/a,\n"http://h/b,\nhttp://h/c,\n'
    assert bad_lines(text).keys() == {3}


def test_after_a_field_without_an_end_the_list_goes_on():
    """The reader gives up within 128 KiB, so memory is flat."""
    text = "url,filename\n" + '"http://h/open,\n' + "http://h/swallowed,\n" * 20_000
    found = rows(text)
    assert next(iter(bad_lines(text))) == 2
    assert sum(isinstance(row, ListEntry) for row in found) > 10_000
    assert found[-1] == ListEntry(20_002, "http://h/swallowed")


@pytest.mark.parametrize(
    "text",
    [
        "gopher://user:s3cr3t@h/a\n",
        "url\ngopher://user:s3cr3t@h/a\n",
        '{"url": "gopher://user:s3cr3t@h/a"}\n',
        "http://user:s3cr3t@h :80/a\n",
        "http://user:s3cr3t@[h/a\n",
    ],
)
def test_why_a_line_is_bad_tells_no_password(text):
    (why,) = bad_lines(text).values()
    assert "h/a" in why or "h :80/a" in why
    assert "s3cr3t" not in why


# Anything at all


HOSTILE = st.lists(
    st.sampled_from(
        [
            *("url", "URL", "filename", "headers", "md5", "http://h/a", "https://h:0/", "\ufeff", "#", "{", "}", "["),
            *(
                '"',
                '""',
                ",",
                ";",
                "\t",
                "\n",
                "\r\n",
                "\r",
                "\0",
                " ",
                "\ufffd",
                "\ud800",
                "\u2028",
                "\x85",
                "x" * 140_000,
            ),
            *('{"url": "http://h/a"}', '{"url": "\\ud800"}', "\\", "'", "1e999", "NaN"),
        ]
    )
    | st.text(max_size=5),
    max_size=25,
).map("".join)


@given(HOSTILE | st.text())
@example("url," + "x" * 200_000 + "\nhttp://h/a\n")
@example('url,"a\rb"\nhttp://h/a\n')
@example("url\0,filename\nhttp://h/a\n")
@example("\x1bhttp://h/a\n")
def test_no_text_ever_raises_and_every_row_is_sound(text):
    line_count = len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    numbers = []
    for row in read_list(io.StringIO(text, newline="")):
        numbers.append(row.number)
        if isinstance(row, ListEntry):
            assert row.url.lower().startswith(("http://", "https://"))
            assert not any(character.isspace() for character in row.url)
            row.url.encode()
        else:
            assert row.why
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= line_count for number in numbers)


# Lazy


class Stream:
    """Many lines, counted as they are taken."""

    def __init__(self, head, line):
        self.taken = 0
        self._head, self._line = head, line

    def __iter__(self):
        yield from self._head
        while self.taken < 25_000:
            self.taken += 1
            yield self._line


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ([], "http://h/a\n"),
        (["url,filename\n"], "http://h/a,a.jpg\n"),
        ([], '{"url": "http://h/a"}\n'),
        ([], "nonsense\n"),
    ],
    ids=["plain", "CSV", "JSON Lines", "bad lines"],
)
def test_a_list_is_read_as_far_as_it_is_needed(head, line):
    stream = Stream(head, line)
    assert len(list(islice(read_list(stream), 10))) == 10
    assert stream.taken == 10


def test_memory_does_not_grow_with_the_list():
    tracemalloc.start()
    try:
        found = read_list(Stream(["url,filename\n"], "http://h/a,a.jpg\n"))
        next(found)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert sum(1 for _ in found) == 24_999
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 100_000


def test_a_file_is_read_as_the_spider_opens_it(tmp_path):
    path = Path(tmp_path / "list.csv")
    path.write_bytes("\ufeffurl;filename\r\nhttp://h/ä;ä.jpg\r\n".encode() + b"http://h/\xff\r\n")
    with opened_list(str(path)) as stream:
        assert list(read_list(stream)) == [
            ListEntry(2, "http://h/%C3%A4", filename="ä.jpg"),
            ListEntry(3, "http://h/%FF"),
        ]


SHIFT_JIS = "表.png".encode("shift_jis")  # its first character ends with the byte of a backslash


@pytest.mark.parametrize(
    ("line", "url"),
    [
        (b"http://h/my photo.png", "http://h/my%20photo.png"),
        (b"http://h/a.png?name=my photo&x", "http://h/a.png?name=my%20photo&x"),
        (b"http://h/caf\xe9.png", "http://h/caf%E9.png"),
        (b"http://h/" + SHIFT_JIS, "http://h/%95%5C.png"),
        ("http://h/张三.png".encode("gbk"), "http://h/%D5%C5%C8%FD.png"),
        ("http://h/张三.png?q=张".encode(), "http://h/%E5%BC%A0%E4%B8%89.png?q=%E5%BC%A0"),
        ("http://h/\ufffd.png".encode(), "http://h/%EF%BF%BD.png"),
        (b"http://h/a\tb.png", "http://h/ab.png"),
        (b"http://h/%7Ea%2d%e4+%20?b=2&a=1&b=2&c&d=", "http://h/%7Ea%2d%e4+%20?b=2&a=1&b=2&c&d="),
        (b"HTTP://H:80//a/../b?", "http://h:80//b?"),
        (b"http://me:p w@h/a", "http://me:p%20w@h/a"),
    ],
)
@pytest.mark.parametrize("form", [b"%b\n", b"url,filename\n%b,a.png\n", b'{"url": "http://h/"}\n{"url": "%b"}\n'])
def test_a_url_is_sent_with_the_bytes_of_the_list(tmp_path, form, line, url):
    if form.startswith(b"{"):
        line = line.replace(b"\\", b"\\\\").replace(b"\t", b"\\t")
    path = tmp_path / "list"
    path.write_bytes(form % line)
    with opened_list(str(path)) as stream:
        assert [row.url for row in read_list(stream)][-1:] == [url]


def test_other_fields_have_a_replacement_for_bytes_that_are_not_utf_8(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b'url,filename,headers\nhttp://h/a,caf\xe9.png,"{""X-A"": ""\xe9""}"\n')
    with opened_list(str(path)) as stream:
        (row,) = read_list(stream)
    assert (row.filename, row.headers) == ("caf\ufffd.png", {"X-A": "\ufffd"})
