import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.headers.ranges import ContentRange, parse_range, range_header

SIZES = st.integers(0, 10**17)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 0-9/10", ContentRange(0, 10, 10)),
        ("bytes 0-0/1", ContentRange(0, 1, 1)),
        ("bytes 5-9/*", ContentRange(5, 10, None)),
        ("bytes */10", ContentRange(None, None, 10)),
        ("bytes */0", ContentRange(None, None, 0)),
        ("Bytes 0-9/10", ContentRange(0, 10, 10)),
        (" bytes  0-9/10\t", ContentRange(0, 10, 10)),
        ("bytes 007-009/010", ContentRange(7, 10, 10)),
        # Dialects of servers that people meet: the unit as in Range, with a colon, or left out.
        ("bytes=0-9/10", ContentRange(0, 10, 10)),
        ("bytes: 0-9/10", ContentRange(0, 10, 10)),
        ("bytes:0-9/10", ContentRange(0, 10, 10)),
        ("0-9/10", ContentRange(0, 10, 10)),
        ("*/10", ContentRange(None, None, 10)),
        ("bytes 0-99999999999999998/99999999999999999", ContentRange(0, 10**17 - 1, 10**17 - 1)),
    ],
)
def test_a_valid_content_range_is_read_half_open(header, expected):
    assert ContentRange.from_header(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes */*",
        "bytes 9-0/10",
        "bytes 0-10/10",
        "bytes 0-0/0",
        "bytes -1-5/10",
        "bytes -5/10",
        "bytes 0-/10",
        "bytes 0-9",
        "bytes 0-9/",
        "bytes 0-9/-10",
        "bytes0-9/10",
        "bytes==0-9/10",
        "=0-9/10",
        "items=0-9/10",
        "bytes 0 - 9 / 10",
        "bytes 0-9/10, bytes 10-19/20",
        "items 0-9/10",
        "byteſ 0-9/10",
        "bytes ٠-٩/١٠",
        "bytes +0-9/10",
        "bytes 0x0-0x9/10",
        "bytes 0_0-9/10",
        "bytes 0-9/10\n",
        "bytes 0-9/1000000000000000000",
        f"bytes {'9' * 5000}-{'9' * 5000}/*",
    ],
)
def test_an_invalid_content_range_is_none(header):
    assert ContentRange.from_header(header) is None


@pytest.mark.parametrize(
    ("start", "stop", "complete_length"),
    [(None, None, None), (0, None, 5), (None, 5, 5), (3, 3, 5), (-1, 3, 5), (0, 6, 5), (None, None, -1)],
)
def test_a_content_range_that_no_header_can_say_is_not_made(start, stop, complete_length):
    with pytest.raises(ValueError, match="no Content-Range can say"):
        ContentRange(start, stop, complete_length)


def test_only_the_answer_to_an_unsatisfiable_range_is_unsatisfied():
    assert ContentRange(None, None, 10).is_unsatisfied
    assert not ContentRange(0, 10, 10).is_unsatisfied


@given(start=SIZES, length=st.integers(1, 10**17), rest=st.none() | st.integers(0, 10**17))
def test_a_content_range_survives_the_wire(start, length, rest):
    stop = start + length
    content_range = ContentRange(start, stop, None if rest is None else stop + rest)
    assert ContentRange.from_header(content_range.to_header()) == content_range


@given(st.text() | st.from_regex(r"bytes [0-9*]{0,3}-?[0-9]{0,3}/[0-9*]{0,3}", fullmatch=True))
def test_content_range_never_raises_and_writes_what_it_read(header):
    content_range = ContentRange.from_header(header)
    assert content_range is None or ContentRange.from_header(content_range.to_header()) == content_range


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(0, 100, "bytes=0-99"), (0, 1, "bytes=0-0"), (7, None, "bytes=7-"), (0, None, "bytes=0-")],
)
def test_a_half_open_range_is_asked_for_inclusively(start, stop, expected):
    assert range_header(start, stop) == expected


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (5, 5), (5, 4)])
def test_an_empty_or_negative_range_cannot_be_asked_for(start, stop):
    with pytest.raises(ValueError, match="no Range can ask"):
        range_header(start, stop)


@pytest.mark.parametrize(
    ("header", "length", "expected"),
    [
        ("bytes=0-99", 1000, [(0, 100)]),
        ("bytes=0-0", 1000, [(0, 1)]),
        ("bytes=-1", 1000, [(999, 1000)]),
        ("bytes=-2000", 1000, [(0, 1000)]),
        ("bytes=990-", 1000, [(990, 1000)]),
        ("bytes=990-5000", 1000, [(990, 1000)]),
        ("Bytes=0-9", 1000, [(0, 10)]),
        ("bytes=0-9, 20-29 ,-5", 1000, [(0, 10), (20, 30), (995, 1000)]),
        ("bytes=0-9,,", 1000, [(0, 10)]),
        ("bytes=0-9,5000-", 1000, [(0, 10)]),
        (f"bytes=0-{'9' * 5000}", 1000, [(0, 1000)]),
        (f"bytes={'0' * 5000}-9", 1000, [(0, 10)]),
        ("bytes=" + ",".join(["0-0"] * 100), 1000, [(0, 1)] * 100),
    ],
)
def test_satisfiable_ranges_are_clipped_to_what_exists(header, length, expected):
    assert parse_range(header, length) == expected


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("bytes=1000-", 1000),
        ("bytes=1000-1000,2000-", 1000),
        ("bytes=-0", 1000),
        ("bytes=0-", 0),
        (f"bytes={'9' * 5000}-", 9),
    ],
)
def test_valid_but_unsatisfiable_is_empty_so_that_416_is_answered(header, length):
    assert parse_range(header, length) == []


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (None, 1000),
        ("", 1000),
        ("bytes=", 1000),
        ("bytes=,", 1000),
        ("bytes=-", 1000),
        ("bytes=9-0", 1000),
        ("bytes=0-9,9-0", 1000),
        ("bytes=a-b", 1000),
        ("bytes=--1", 1000),
        ("bytes=0-9-", 1000),
        ("bytes 0-9", 1000),
        ("bytes=٠-٩", 1000),
        ("items=0-9", 1000),
        ("bytes=" + ",".join(["0-0"] * 101), 1000),
        ("bytes=-5", 0),
    ],
)
def test_an_unusable_range_is_none_so_that_200_is_answered(header, length):
    assert parse_range(header, length) is None


@given(
    st.text() | st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}(,[0-9]{0,3}-[0-9]{0,3})*", fullmatch=True),
    st.integers(0, 1000),
)
def test_parse_range_never_raises_and_stays_inside(header, length):
    for start, stop in parse_range(header, length) or []:
        assert 0 <= start < stop <= length


@given(st.data())
def test_what_the_client_asks_the_server_gives(data):
    length = data.draw(st.integers(1, 10**17))
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    assert parse_range(range_header(start, stop), length) == [(start, stop)]
    assert parse_range(range_header(start), length) == [(start, length)]
