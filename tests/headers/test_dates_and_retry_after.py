from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.headers.dates import http_date
from mediacrawl.headers.retry_after import retry_after_s

RFC_EXAMPLE_AT = 784111777.0


@pytest.mark.parametrize(
    "header",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        " Sun, 6 Nov 1994 08:49:37 UTC ",
        "Sun, 06 Nov 1994 10:49:37 +0200",
    ],
)
def test_every_form_of_http_date_names_the_same_instant(header):
    assert http_date(header) == RFC_EXAMPLE_AT


def test_a_leap_second_is_a_date():
    assert http_date("Sat, 31 Dec 2016 23:59:60 GMT") == http_date("Sun, 01 Jan 2017 00:00:00 GMT")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "0",
        "-1",
        "now",
        "1994-11-06T08:49:37Z",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +" + "9" * 40,
        "Sun, 06 Nov 1994\r\n 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_date_is_none(header):
    assert http_date(header) is None


@given(st.text() | st.text(alphabet="SunNov GMT0123456789:,+-", max_size=40))
def test_http_date_never_raises(header):
    assert http_date(header) is None or isinstance(http_date(header), float)


@given(st.integers(0, 4_000_000_000))
def test_what_the_standard_library_writes_is_read(at):
    assert http_date(formatdate(at, usegmt=True)) == at


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("+5", None),
        ("٥", None),
        ("soon", None),
        ("9" * 5000, 1e18),
        ("2, 3", 3.0),
        ("7 ,\t7", 7.0),
        ("2, soon", None),
        (",", None),
    ],
)
def test_retry_after_is_a_wait_in_seconds(header, expected):
    assert retry_after_s(header, now=RFC_EXAMPLE_AT - 37) == expected


@given(st.text(), st.floats(0, 1e10))
def test_retry_after_never_raises_and_is_never_negative(header, now):
    wait_s = retry_after_s(header, now)
    assert wait_s is None or wait_s >= 0
