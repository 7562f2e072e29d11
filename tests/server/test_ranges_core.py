"""What `plan_response` decides: the table of requests, the fields of a file, and any header at all."""

from __future__ import annotations

import random
import re
from base64 import b64encode
from email.utils import formatdate, parsedate_to_datetime
from hashlib import sha256
from urllib.parse import unquote

import pytest
from drawing import SEED
from hypothesis import given
from hypothesis import strategies as st
from range_requests import BODIES, BODY, CASES, DATE, MODIFIED, TAG, TAGS, Case, check, ids, merged

from mediacrawl.headers import filename_from_disposition
from mediacrawl.server.fields import content_disposition, entity_tags, wants_sha256
from mediacrawl.server.ranges import FileFacts, Span, merge_ranges, plan_response

NOW = MODIFIED + 100


def facts_of(name, /, **changed):
    body = BODIES[name]
    return FileFacts(name, len(body), MODIFIED * 10**9 + 5, TAGS[name].strip('"'))._replace(**changed)


def ask(headers, facts, method="GET", now=NOW, body=BODY):
    """The response as it would be on the wire."""
    fields = {name.lower(): value for name, value in headers.items()}
    planned = plan_response(method, fields.get, facts, now)
    names = [name for name, _ in planned.headers]
    assert len(names) == len(set(names))
    content = b"".join(body[part.start : part.stop] if isinstance(part, Span) else part for part in planned.body)
    return planned.status, {name.lower(): value for name, value in planned.headers}, content


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_the_response_is_that_of_the_rfc(case):
    got = ask(case.headers, facts_of(case.name), case.method, body=BODIES[case.name])
    check(case, *got)
    assert len(CASES) > 100


def test_other_methods_are_only_checked_for_their_conditions():
    assert ask({"If-None-Match": TAG}, facts_of("body.bin"), "PUT")[0] == 412
    assert ask({"If-Modified-Since": DATE}, facts_of("body.bin"), "PUT")[0] == 200
    assert ask({"Range": "bytes=0-9"}, facts_of("body.bin"), "PUT")[0] == 200


# Without a digest


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"any"'}, 200),
        ({"If-None-Match": "*"}, 304),
        ({"If-Match": '"any"'}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-Modified-Since": DATE}, 304),
        ({"Range": "bytes=0-9", "If-Range": DATE}, 206),
        ({"Range": "bytes=0-9", "If-Range": '""'}, 200),
    ],
)
def test_a_file_without_a_digest_has_no_tag_but_a_date(headers, status):
    got, fields, _ = ask(headers, facts_of("body.bin", sha256=None))
    assert got == status
    assert "etag" not in fields
    if status != 412:
        assert fields["last-modified"] == DATE


@pytest.mark.parametrize(("age_s", "status"), [(0.0, 200), (0.9, 200), (1.0, 206), (3600.0, 206)])
def test_a_date_of_this_second_names_no_version(age_s, status):
    """8.8.2.2: another version could have come within the same second."""
    facts = facts_of("body.bin", sha256=None)
    assert ask({"Range": "bytes=0-9", "If-Range": DATE}, facts, now=MODIFIED + age_s)[0] == status


@pytest.mark.parametrize("modified_s", [NOW + 1, NOW + 10**12, -1, -(10**12)])
def test_a_date_of_the_future_or_before_1970_is_not_sent(modified_s):
    facts = facts_of("body.bin", sha256=None, modified_ns=modified_s * 10**9)
    for headers in ({}, {"If-Modified-Since": DATE}, {"If-Unmodified-Since": DATE}):
        status, fields, _ = ask(headers, facts)
        assert (status, "last-modified" in fields) == (200, False)


# The fields of a file


@pytest.mark.parametrize(
    ("name", "content_type", "is_shown"),
    [
        ("a.mp4", "video/mp4", True),
        ("a.JPG", "image/jpeg", True),
        ("a.m4a", "audio/mp4", True),
        ("a.txt", "text/plain", True),
        ("a.svg", "image/svg+xml", False),
        ("a.svgz", "image/svg+xml", False),
        ("a.html", "text/html", False),
        ("a.xhtml", "application/xhtml+xml", False),
        ("a.htm", "text/html", False),
        ("a.pdf", "application/pdf", False),
        ("a.xml", None, False),
        ("a.xsl", None, False),
        ("a.mht", None, False),
        ("a.swf", None, False),
        ("a.js", None, False),
        ("a.mpd", "application/dash+xml", False),
        ("a.zip", "application/zip", False),
        ("a", "application/octet-stream", False),
        ("a.unknown", "application/octet-stream", False),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=0-1,4-5"}])
def test_what_can_carry_scripts_is_saved_and_never_run(name, content_type, is_shown, headers):
    _, fields, content = ask(headers, facts_of("body.bin", name=name))
    kind = fields["content-disposition"].partition(";")[0]
    assert kind == ("inline" if is_shown else "attachment")
    assert fields.get("content-security-policy", "").startswith("sandbox") is not is_shown
    assert fields["x-content-type-options"] == "nosniff"
    if content_type and "," not in headers.get("Range", ""):
        assert fields["content-type"] == content_type
    elif content_type:
        assert f"Content-Type: {content_type}\r\n".encode() in content


def test_a_caller_may_know_better():
    assert ask({}, facts_of("body.bin", content_type="text/html", as_attachment=False))[1][
        "content-disposition"
    ].startswith("inline")
    _, fields, _ = ask({}, facts_of("body.bin", name="a.jpg", as_attachment=True))
    assert fields["content-disposition"].startswith("attachment")
    assert "content-security-policy" not in fields


NAMES = [
    "plain.jpg",
    'quo"te.jpg',
    "back\\slash.jpg",
    "semi;colon=1, comma.jpg",
    "line\r\nSet-Cookie: a=b\r\n\r\n<script>",
    "tab\t\0\x1b[31m\x7f.jpg",
    "Ünïcödé 東京 🎬.mp4",
    "100%41.jpg",
    "'single'.jpg",
    "\u202egpj.exe",
    "not-utf-8-\udcff.jpg",
    "lone-\ud800.jpg",
    "*()!~.jpg",
    "",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_of_any_kind_stays_in_its_parameter(name):
    value = content_disposition("attachment", name)
    assert value.isascii()
    assert value.isprintable()
    plain, extended = re.fullmatch(
        r"""attachment; filename="([^"\\%]*)"; filename\*=UTF-8''([^'*;, "]*)""", value
    ).groups()
    meant = name.replace("\udcff", "\ufffd").replace("\ud800", "\ufffd")
    assert unquote(extended) == meant
    assert len(plain) <= len(meant)
    assert filename_from_disposition(value) == (unquote(extended) or None)


@given(st.text(st.characters(), max_size=40))
def test_no_name_ends_its_header(name):
    value = content_disposition("inline", name)
    assert re.fullmatch(
        r"""inline; filename="[^"\\%\x00-\x1f\x7f]*"; filename\*=UTF-8''[!#$&+.^_`|~A-Za-z0-9%-]*""", value
    )


# Tags and digests


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ('"a"', ["a"]),
        ('W/"a", "b"', ["a", "b"]),
        ('"a,b" ,\t"c"', ["a,b", "c"]),
        ('""', [""]),
        (',, "a" ,', ["a"]),
        ("", []),
        ("a", []),
        ('"a', []),
        ('"a", b', []),
        ('w/"a"', []),
        ('"a b"', []),
        ('"a"\n', []),
        ("'a'", []),
    ],
)
def test_lists_of_tags(value, tags):
    assert [tag.opaque for tag in entity_tags(value)] == tags


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("sha-256=10", True),
        ("sha-512=3, sha-256=1", True),
        ("sha-256=1;x=y", True),
        ('sha-512=10;q="a,b" ,sha-256=5', True),
        ("sha-256=0, sha-256=4", True),
        ('unixsum=(1 2), a="x,y", b=:YQ==:, c, sha-256=9', True),
        (None, False),
        ("", False),
        ("sha-256", False),
        ("sha-256=0", False),
        ("sha-256=4, sha-256=0", False),
        ("sha-256=11", False),
        ("sha-256=-1", False),
        ("sha-256=1.0", False),
        ("sha-256=?1", False),
        ("SHA-256=1", False),
        ("sha-512=10", False),
        ("sha-256=1,", False),
        ("sha-256=1 sha-512=1", False),
        ("sha-256=1,,md5=1", False),
        ("sha-256=99999999999999999999", False),
        ('sha-256="1', False),
    ],
)
def test_a_digest_is_sent_to_those_who_want_it(value, wanted):
    assert wants_sha256(value) is wanted
    digest = b64encode(sha256(BODIES["ten.bin"]).digest()).decode()
    headers = {"Range": "bytes=0-9"} | ({} if value is None else {"Want-Repr-Digest": value})
    for request in (headers, headers | {"Range": "bytes=0-1,5-6"}, headers | {"Range": ""}):
        _, fields, _ = ask(request, facts_of("ten.bin"), body=BODIES["ten.bin"])
        assert fields.get("repr-digest") == (f"sha-256=:{digest}:" if wanted else None)
    assert "repr-digest" not in ask(headers, facts_of("body.bin", sha256=None))[1]


# Any header at all


NUMBERS = ["", "0", "1", "5", "9", "10", "11", "99", "007", "9" * 30, "x", "-1", "+1", " 2"]
UNITS = ["bytes="] * 12 + ["Bytes=", "bytes", "bytes =", "items=", "bytes= ", ""]


def drawn_spec(random_):
    one, other = random_.choices(NUMBERS, k=2)
    return random_.choice([f"{one}-{other}", f"-{one}", f"{one}-", one, ""])


def drawn_range(random_):
    """A Range that is often nearly right."""
    count = random_.choice([8, 100, 101] if random_.random() < 0.05 else [1, 2, 3])
    comma = random_.choice([", ", " ,", ",,", ";"]) if random_.random() < 0.1 else ","
    return random_.choice(UNITS) + comma.join(drawn_spec(random_) for _ in range(count))


def oracle(value, size):
    """RFC 9110 14.1.1, 14.1.2 and 14.2, written from the text alone, character by character."""
    unit, equals, rest = value.strip(" \t").partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    specs = [spec.strip(" \t") for spec in rest.split(",")]
    specs = [spec for spec in specs if spec]
    if not specs or len(specs) > 100:
        return None
    wanted, has_suffix = [], False
    for spec in specs:
        first, dash, last = spec.partition("-")
        if not dash or any(character not in "0123456789" for character in first + last) or not first + last:
            return None
        if not first:
            has_suffix |= int(last) > 0
            positions = range(max(0, size - int(last)), size)
        else:
            if last and int(last) < int(first):
                return None
            positions = range(int(first), min(int(last) + 1 if last else size, size))
        if positions:
            wanted.append(positions)
    return None if not size and has_suffix else wanted


def fuzz(trials):
    random_ = random.Random(SEED)
    statuses = {}
    for _ in range(trials):
        value, name = drawn_range(random_), random_.choice(["ten.bin", "one.bin", "empty.bin", "hundred.bin"])
        body = BODIES[name]
        status, fields, content = ask({"Range": value}, facts_of(name), body=body)
        wanted = oracle(value, len(body))
        statuses[status] = statuses.get(status, 0) + 1
        ranges = None if wanted is None else merged([(one.start, one.stop) for one in wanted])
        expected = Case({"Range": value}, 200 if ranges is None else 206 if ranges else 416, ranges or None, name)
        check(expected, status, fields, content)
    assert min(statuses.get(status, 0) for status in (200, 206, 416)) > trials / 100


def test_fuzzed_ranges_agree_with_an_oracle():
    fuzz(3000)


@pytest.mark.slow
def test_a_hundred_thousand_fuzzed_ranges_agree_with_an_oracle():
    fuzz(100_000)


def oracle_of_conditions(method, headers, tag, modified_s):
    """RFC 9110 13.2.2, step by step; 13.1.1 to 13.1.5 for each field. The status, or "range" if Range decides."""

    def tags(value):
        parts, inside, part = [], False, ""
        for character in value + ",":
            if character == '"':
                inside = not inside
            if character == "," and not inside:
                parts.append(part.strip(" \t"))
                part = ""
            else:
                part += character
        parts = [part for part in parts if part]
        good = [p for p in parts if p.removeprefix("W/").startswith('"') and p.endswith('"') and p.count('"') == 2]
        return good if len(good) == len(parts) and not inside else []

    def date(value):
        try:
            return parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError):
            return None

    if "if-match" in headers:
        if headers["if-match"] != "*" and not (tag and tag in tags(headers["if-match"])):
            return 412
    elif (at := date(headers.get("if-unmodified-since", ""))) is not None and modified_s > at:
        return 412
    if "if-none-match" in headers:
        value = headers["if-none-match"]
        if value == "*" or (tag and tag in [one.removeprefix("W/") for one in tags(value)]):
            return 304
    elif (at := date(headers.get("if-modified-since", ""))) is not None and modified_s <= at:
        return 304
    if method == "GET" and "range" in headers:
        if_range = headers.get("if-range")
        if if_range is None or if_range == tag or if_range == formatdate(modified_s, usegmt=True):
            return "range"
    return 200


ANY_TAG = [TAG, f"W/{TAG}", '"o"', 'W/"o"', '"a,b"', "junk", '"']
ANY_TAGS = ["*", *ANY_TAG, *(f"{one}, {other}" for one in ANY_TAG for other in ANY_TAG)]
ANY_DATE = [DATE, *(formatdate(MODIFIED + by, usegmt=True) for by in (-1, 1)), "junk", "Tue Nov 14 22:13:20 2023"]
CONDITIONS = {
    "if-match": ANY_TAGS,
    "if-none-match": ANY_TAGS,
    "if-modified-since": ANY_DATE,
    "if-unmodified-since": ANY_DATE,
    "if-range": ANY_TAG + ANY_DATE,
    "range": ["bytes=0-9"],
}


def fuzz_conditions(trials):
    random_ = random.Random(SEED)
    for _ in range(trials):
        tag = random_.choice([TAG, TAG, None])
        headers = {name: random_.choice(values) for name, values in CONDITIONS.items() if random_.random() < 0.4}
        method = random_.choice(["GET", "GET", "HEAD"])
        expected = oracle_of_conditions(method, headers, tag, MODIFIED)
        facts = facts_of("body.bin", sha256=tag and tag.strip('"'))
        status = ask(headers, facts, method)[0]
        assert status == (206 if expected == "range" else expected), (method, headers, tag)


def test_fuzzed_conditions_agree_with_an_oracle():
    fuzz_conditions(3000)


@pytest.mark.slow
def test_a_hundred_thousand_fuzzed_conditions_agree_with_an_oracle():
    fuzz_conditions(100_000)


# Cost


def test_merging_does_not_cost_the_square_of_the_ranges():
    """Counted, not timed: the comparisons of 2,000 ranges are fewer than 2,000 times their logarithm, doubled."""
    compared = 0

    class Counted(tuple):  # noqa: SLOT001 - a tuple of a test
        def __lt__(self, other):
            nonlocal compared
            compared += 1
            return tuple.__lt__(self, other)

    ranges = [Counted((n * 3 % 5000, n * 3 % 5000 + 2)) for n in range(2000)]
    assert merge_ranges(ranges) == merge_ranges([tuple(one) for one in ranges])
    assert compared < 2000 * 11 * 2


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12))
def test_merged_ranges_have_the_same_bytes_once(pairs):
    ranges = [(start, start + length) for start, length in pairs]
    found = merge_ranges(ranges)
    assert {n for a, b in found for n in range(a, b)} == {n for a, b in ranges for n in range(a, b)}
    for i, (a, b) in enumerate(found):
        assert all(b < c or d < a for c, d in found[i + 1 :]), "apart"
    firsts = [min(i for i, one in enumerate(ranges) if span.start <= one[0] < span.stop) for span in found]
    assert firsts == sorted(firsts)
