import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.headers.validators import Agreement, ETag, Validators

SAME, DIFFERENT, UNKNOWN = Agreement.SAME, Agreement.DIFFERENT, Agreement.UNKNOWN
MONDAY = "Mon, 01 Jan 2024 00:00:00 GMT"
MONDAY_ASCTIME = "Mon Jan  1 00:00:00 2024"
TUESDAY = "Tue, 02 Jan 2024 00:00:00 GMT"
A, WEAK_A = ETag("a"), ETag("a", weak=True)
B, WEAK_B = ETag("b"), ETag("b", weak=True)

ETAGS = st.builds(
    ETag,
    st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f')),
    st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"xyzzy"', ETag("xyzzy")),
        ('W/"xyzzy"', ETag("xyzzy", weak=True)),
        ('""', ETag("")),
        (' "a" ', ETag("a")),
        ('"W/a"', ETag("W/a")),
        ('"\xe9"', ETag("\xe9")),
        (r'"a\b"', ETag(r"a\b")),
    ],
)
def test_an_entity_tag_is_read(header, expected):
    assert ETag.from_header(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "xyzzy",
        '"',
        '"a',
        'a"',
        'w/"a"',
        'W/ "a"',
        "W/a",
        '"a", "b"',
        '"a"b"',
        '"a b"',
        '"a\n"',
        '"€"',
        "*",
        "'a'",
    ],
)
def test_what_is_no_entity_tag_is_none(header):
    assert ETag.from_header(header) is None


@pytest.mark.parametrize("opaque", ['a"b', "a b", "a\r\nX: y", "€"])
def test_an_entity_tag_that_no_header_can_carry_is_not_made(opaque):
    with pytest.raises(ValueError, match="no entity tag can hold"):
        ETag(opaque)


@given(ETAGS)
def test_an_entity_tag_survives_the_wire(etag):
    assert ETag.from_header(etag.to_header()) == etag


@given(st.text())
def test_entity_tag_never_raises(header):
    assert ETag.from_header(header) is None or ETag.from_header(header).to_header() == header.strip(" \t")


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),  # the table of RFC 9110 8.8.3.2
    [
        (ETag("1", weak=True), ETag("1", weak=True), False, True),
        (ETag("1", weak=True), ETag("2", weak=True), False, False),
        (ETag("1", weak=True), ETag("1"), False, True),
        (ETag("1"), ETag("1"), True, True),
    ],
)
def test_entity_tags_compare_as_in_the_table_of_the_rfc(one, other, strong, weak):
    assert one.strong_match(other) is other.strong_match(one) is strong
    assert one.weak_match(other) is other.weak_match(one) is weak


@pytest.mark.parametrize(
    ("date", "strong"),
    [
        (TUESDAY, True),
        ("Mon, 01 Jan 2024 00:00:01 GMT", True),
        (MONDAY, False),
        ("Sun, 31 Dec 2023 00:00:00 GMT", False),
        ("garbage", False),
        (None, False),
    ],
)
def test_last_modified_is_strong_a_second_before_date(date, strong):
    headers = {"last-modified": MONDAY} | ({"date": date} if date else {})
    assert Validators.from_headers(headers) == Validators(None, MONDAY, strong)


def test_last_modified_is_kept_as_it_came_if_it_is_a_date_at_all():
    assert Validators.from_headers({"last-modified": MONDAY_ASCTIME}).last_modified == MONDAY_ASCTIME
    assert Validators.from_headers({"last-modified": "yesterday", "date": TUESDAY}) == Validators()


@pytest.mark.parametrize(
    ("validators", "expected"),
    [
        (Validators(), None),
        (Validators(etag=A), '"a"'),
        (Validators(etag=A, last_modified=MONDAY, last_modified_is_strong=True), '"a"'),
        (Validators(etag=WEAK_A), None),
        # RFC 9110 13.1.5: a date only where there is no entity tag at all
        (Validators(etag=WEAK_A, last_modified=MONDAY, last_modified_is_strong=True), None),
        (Validators(last_modified=MONDAY, last_modified_is_strong=True), MONDAY),
        (Validators(last_modified=MONDAY), None),
    ],
)
def test_if_range_carries_only_what_is_strong(validators, expected):
    assert validators.if_range() == expected


@pytest.mark.parametrize(
    ("validators", "expected"),
    [
        (Validators(), {}),
        (Validators(etag=A, last_modified=MONDAY), {"If-None-Match": '"a"'}),
        (Validators(etag=WEAK_A), {"If-None-Match": 'W/"a"'}),
        (Validators(last_modified=MONDAY), {"If-Modified-Since": MONDAY}),
    ],
)
def test_a_conditional_request_carries_the_best_there_is(validators, expected):
    assert validators.conditional_headers() == expected


def dated(text, *, strong=True, etag=None):
    return Validators(etag, text, strong)


@pytest.mark.parametrize(
    ("saved", "came", "expected"),
    [
        (Validators(), Validators(), UNKNOWN),
        (Validators(A), Validators(A), SAME),
        (Validators(A), Validators(B), DIFFERENT),
        (Validators(A), Validators(), UNKNOWN),
        (Validators(), Validators(A), UNKNOWN),
        (Validators(A), Validators(WEAK_A), UNKNOWN),
        (Validators(WEAK_A), Validators(A), UNKNOWN),
        (Validators(WEAK_A), Validators(WEAK_A), UNKNOWN),
        (Validators(WEAK_A), Validators(WEAK_B), DIFFERENT),
        (Validators(A), Validators(WEAK_B), DIFFERENT),
        (dated(MONDAY), dated(MONDAY), SAME),
        (dated(MONDAY), dated(MONDAY_ASCTIME), SAME),
        (dated(MONDAY), dated(MONDAY, strong=False), SAME),
        (dated(MONDAY, strong=False), dated(MONDAY), UNKNOWN),
        (dated(MONDAY), dated(TUESDAY), DIFFERENT),
        (dated(MONDAY, strong=False), dated(TUESDAY, strong=False), DIFFERENT),
        (dated(MONDAY), Validators(), UNKNOWN),
        (dated(MONDAY), dated("garbage"), UNKNOWN),
        (dated(MONDAY, etag=A), dated(MONDAY, etag=A), SAME),
        (dated(MONDAY, etag=A), Validators(A), SAME),
        (dated(MONDAY, etag=A), dated(TUESDAY, etag=A), SAME),  # two servers of one site: the tag decides
        (dated(MONDAY, etag=WEAK_A), dated(TUESDAY, etag=WEAK_A), DIFFERENT),
        (dated(MONDAY, etag=A), dated(TUESDAY, etag=WEAK_A), DIFFERENT),
        (dated(MONDAY, etag=A), dated(MONDAY, etag=B), DIFFERENT),
        (dated(MONDAY, etag=A), dated(MONDAY), UNKNOWN),
        (dated(MONDAY), dated(MONDAY, etag=A), UNKNOWN),
        (dated(MONDAY, etag=WEAK_A), dated(MONDAY, etag=WEAK_A), UNKNOWN),
        (dated(MONDAY, etag=WEAK_A), dated(MONDAY, etag=A), UNKNOWN),
    ],
)
def test_only_strong_evidence_makes_two_versions_the_same(saved, came, expected):
    assert saved.compare(came) is expected


@given(st.none() | ETAGS, st.sampled_from([None, MONDAY, MONDAY_ASCTIME]), st.booleans())
def test_validators_survive_json(etag, last_modified, strong):
    validators = Validators(etag, last_modified, strong and last_modified is not None)
    assert Validators.from_dict(json.loads(json.dumps(validators.to_dict()))) == validators


@given(JSON | st.fixed_dictionaries({"etag": JSON, "last_modified": JSON, "last_modified_is_strong": JSON}))
def test_a_damaged_record_is_read_as_far_as_it_makes_sense(data):
    validators = Validators.from_dict(data)
    assert Validators.from_dict(validators.to_dict()) == validators


@given(st.dictionaries(st.sampled_from(["etag", "last-modified", "date"]), st.text()))
def test_reading_headers_never_raises(headers):
    assert Validators.from_headers(headers).if_range() in (None, headers.get("etag", "").strip(" \t"))
