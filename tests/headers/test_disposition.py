import codecs
import encodings.aliases
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediacrawl.headers import charset
from mediacrawl.headers.disposition import filename_from_disposition


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("attachment; filename=a.jpg", "a.jpg"),
        ('attachment; filename="a b; c.jpg"', "a b; c.jpg"),
        ('attachment; filename="a \\"b\\".jpg"', 'a "b".jpg'),
        ('ATTACHMENT; FileName="a.jpg"', "a.jpg"),
        ('inline;filename="a.jpg"', "a.jpg"),
        ('attachment; foo="filename=no.jpg"; filename="yes.jpg"', "yes.jpg"),
        ('filename="a.jpg"', "a.jpg"),
        ('attachment; filename="../../etc/passwd"', "../../etc/passwd"),
        ("attachment; filename*=UTF-8''%e2%82%ac%20rates.jpg", "€ rates.jpg"),
        ("attachment; filename*=utf-8'en'it%27s.jpg", "it's.jpg"),
        ("attachment; filename*=iso-8859-1''%a3.jpg", "£.jpg"),
        ("attachment; filename=\"plain.jpg\"; filename*=UTF-8''%e2%82%ac.jpg", "€.jpg"),
        ("attachment; filename*=UTF-8''%e2%82%ac.jpg; filename=\"plain.jpg\"", "€.jpg"),
        ("attachment; filename=\"plain.jpg\"; filename*=UTF-8''%ff.jpg", "plain.jpg"),
        ("attachment; filename=\"plain.jpg\"; filename*=idna''xn--a.jpg", "plain.jpg"),
        ("attachment; filename=\"plain.jpg\"; filename*=UTF-8''", "plain.jpg"),
        ('attachment; filename="\xc3\xa9t\xc3\xa9.jpg"', "été.jpg"),
        ('attachment; filename="\xe9t\xe9.jpg"', "été.jpg"),
        ('attachment; filename="東京.jpg"', "東京.jpg"),
        ('attachment; filename="=?UTF-8?B?5p2x5LqsLmpwZw==?="', "東京.jpg"),
        ("attachment; filename==?UTF-8?Q?=C3=A9t=C3=A9.jpg?=", "été.jpg"),
        ('attachment; filename="=?UTF-8?Q?=C3=A9t=C3=A9?=.jpg"', "été.jpg"),
        ('attachment; filename="=?rot13?Q?a.jpg?="', "=?rot13?Q?a.jpg?="),
        ('attachment; filename="=?GB2312?B?zbzGrC5wbmc=?="', "图片.png"),
        ('attachment; filename="=?iso-8859-2?Q?=BE=F3=B3w.png?="', "žółw.png"),
        ('attachment; filename="=?ISO-2022-JP?B?GyRCRWw1fhsoQi5qcGc=?="', "東京.jpg"),
        ('attachment; filename="=?koi8-r*ru?Q?=CD=C9=D2?=.jpg"', "мир.jpg"),
        ('attachment; filename="=?utf-8?B?5p2x?= =?utf-8?B?5Lqs?=.jpg"', "東京.jpg"),  # blanks between do not count
        ('attachment; filename="=?utf-8?B?5p0=?= =?utf-8?B?seS6rA==?=.jpg"', "東京.jpg"),  # a letter in two words
        ('attachment; filename="a =?utf-8?Q?=C3=A9?= b.jpg"', "a é b.jpg"),
        ('attachment; filename="=?utf-8?Q?=FF?=.jpg"', "=?utf-8?Q?=FF?=.jpg"),
        ('attachment; filename="=?UTF-8?B?!?="', "=?UTF-8?B?!?="),
        ('attachment; filename="a%20b.jpg"', "a b.jpg"),
        ('attachment; filename="100%.jpg"', "100%.jpg"),
        ('attachment; filename="%ff.jpg"', "%ff.jpg"),
    ],
)
def test_a_file_name_is_read_as_the_server_meant_it(header, expected):
    assert filename_from_disposition(header) == expected


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("utf8", "%E5%9B%BE", "图"),
        ("UTF_8", "%E5%9B%BE", "图"),
        ("utf-8-sig", "%EF%BB%BF%E5%9B%BE", "图"),
        ("GBK", "%CD%BC%C6%AC", "图片"),
        ("gb18030", "%81%30%81%30", "\x80"),
        ("GB2312", "%E9F", "镕"),  # in GBK alone, as browsers read GB2312
        ("x-gbk", "%CD%BC", "图"),
        ("Big5", "%B9%CF%A4%F9", "圖片"),
        ("Shift_JIS", "%93%8C%8B%9E", "東京"),
        ("shift_jis", "%95%5C%8E%A6", "表示"),  # with the byte of a backslash
        ("x-sjis", "%87%40", "①"),
        ("windows-31j", "%87%40", "①"),
        ("EUC-JP", "%C5%EC%B5%FE", "東京"),
        ("EUC-KR", "%B1%D7%B8%B2", "그림"),
        ("ks_c_5601-1987", "%B1%D7", "그"),
        ("windows-949", "%8C%63", "똠"),
        ("windows-1250", "%9E%F3%B3w", "žółw"),
        ("windows-1251", "%EC%E8%F0", "мир"),
        ("cp1252", "caf%E9", "café"),
        ("windows-1253", "%E1", "α"),
        ("windows-1255", "%E0", "א"),
        ("windows-874", "%A1", "ก"),
        ("KOI8-R", "%CD%C9%D2", "мир"),
        ("koi8-u", "%A6", "і"),
        ("ISO-8859-1", "%93a%94", "“a”"),  # windows-1252, as browsers read Latin-1
        ("us-ascii", "%E9", "é"),
        ("iso-8859-2", "%BE%F3%B3w", "žółw"),
        ("ISO_8859-5", "%DC%D8%E0", "мир"),
        ("iso-8859-15", "%A4", "€"),
        ("macintosh", "caf%8E", "café"),
        ("ibm866", "%AC%A8%E0", "мир"),
    ],
)
def test_the_name_may_be_in_any_encoding_of_text(charset, octets, text):
    assert filename_from_disposition(f"attachment; filename*={charset}''{octets}.jpg") == f"{text}.jpg"
    word = octets.replace("%", "=")
    assert filename_from_disposition(f'attachment; filename="=?{charset}?Q?{word}?=.jpg"') == f"{text}.jpg"


# Not encodings of characters, or such that give letters another meaning, or that depend on the machine.
REFUSED = (
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"),
    *("idna", "punycode", "raw_unicode_escape", "unicode_escape", "utf_7", "hz"),
    *("charmap", "mbcs", "oem", "undefined", "aliases"),
)


@pytest.mark.parametrize(
    "charset",
    [
        *REFUSED,
        *(alias for alias, codec in encodings.aliases.aliases.items() if codec in REFUSED),
        *("rot13", "base64", "zlib", "utf-7", "unicode-escape", "raw-unicode-escape", "X-UTF-7"),
        *("no such thing", "..", "/etc/passwd", "os", "utf-8.os", "a" * 5000, "ſhift_jis"),
    ],
)
def test_no_other_codec_of_python_can_be_chosen(charset):
    assert filename_from_disposition(f"attachment; filename*={charset}''a.jpg") is None
    assert filename_from_disposition(f"attachment; filename*={charset}''a.jpg; filename=plain.jpg") == "plain.jpg"
    word = f"=?{charset}?Q?a.jpg?="
    assert filename_from_disposition(f'attachment; filename="{word}"') == word


def test_each_codec_that_can_be_chosen_exists_and_makes_text_of_bytes_alone():
    for codec in charset._CODECS:
        info = codecs.lookup(codec)
        assert info._is_text_encoding, codec
        assert codec not in REFUSED
        assert isinstance(charset.decode_text(b"photo", codec) or "", str)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # Quotes
        ("attachment; filename='a.jpg'", "a.jpg"),
        ("attachment; filename='a;b.jpg'; size=3", "a;b.jpg"),
        ("attachment; filename=it's.jpg", "it's.jpg"),
        ("attachment; filename='tis.jpg", "'tis.jpg"),
        ('attachment; filename="a.jpg', "a.jpg"),
        ('attachment; filename="a;b.jpg', "a;b.jpg"),
        ('attachment; filename="a.jpg; size=3', "a.jpg"),
        ('attachment; filename="a.jpg; foo="bar"', "a.jpg"),
        ("attachment; filename=\"plain.jpg; filename*=UTF-8''%C3%A9.jpg", "é.jpg"),
        ('attachment; filename="a "b" c.jpg"; size=3', 'a "b" c.jpg'),
        ('attachment; filename="a.jpg".txt', "a.jpg"),
        ('attachment; filename="C:\\pics\\a.jpg"', "C:\\pics\\a.jpg"),
        ('attachment; foo="\\"\\\\";filename="a.jpg"', "a.jpg"),
        ('"foo; filename=no.jpg;baz"; filename=yes.jpg', "yes.jpg"),
        # No quotes
        ("attachment; filename=my holiday photo.jpg", "my holiday photo.jpg"),
        ("attachment; filename=a,b.jpg ;", "a,b.jpg"),
        ("attachment; filename=a[1](2).jpg", "a[1](2).jpg"),
        ("attachment; filename = a.jpg", "a.jpg"),
        ("attachment filename=a.jpg", "a.jpg"),
        ("; ;filename=a.jpg", "a.jpg"),
        # Twice
        ("attachment; filename=a.jpg; filename=b.jpg", "a.jpg"),
        ('attachment; filename="a.jpg", attachment; filename="a.jpg"', "a.jpg"),
        ("attachment; filename=a.jpg, attachment; filename=b.jpg", "a.jpg"),
        ("filename=a.jpg, filename=b.jpg", "a.jpg"),
        ('attachment; filename="a.jpg, inline; filename="a.jpg', "a.jpg"),
        # Extended values that break RFC 8187
        ("attachment; filename*=%E5%9B%BE.jpg", "图.jpg"),
        ("attachment; filename*=''%E5%9B%BE.jpg", "图.jpg"),
        ('attachment; filename*="a%20b.jpg"', "a b.jpg"),
        ("attachment; filename*=UTF-8'%E5%9B%BE.jpg", "图.jpg"),
        ("attachment; filename*=\"UTF-8''%E5%9B%BE.jpg\"", "图.jpg"),
        ("attachment; filename *= UTF-8''%E5%9B%BE.jpg", "图.jpg"),
        ("attachment; filename*=UTF-8''\xe5\x9b\xbe.jpg", "图.jpg"),
        ("attachment; filename*=it's.jpg", "it's.jpg"),
        ("attachment; filename*=UTF-8''50%.jpg", "50%.jpg"),
        ("attachment; filename=UTF-8''%E5%9B%BE.jpg", "图.jpg"),
        ("attachment; filename=\"UTF-8''%E5%9B%BE.jpg\"", "图.jpg"),
        # Sections (RFC 2231)
        ('attachment; filename*0="a."; filename*1="jpg"', "a.jpg"),
        ('attachment; filename*1=".jpg"; filename*0="a"', "a.jpg"),
        ("attachment; filename*0*=UTF-8''%E5%9B; filename*1*=%BE; filename*2=\"%.jpg\"", "图%.jpg"),
        ("attachment; filename*0*=gbk'zh'%CD; filename*1*=%BC.jpg", "图.jpg"),
        ('attachment; filename*0="a"; filename*2="b"', "a"),
        ('attachment; filename*0="a"; filename*01="b"', "a"),
        ("attachment; filename*0=a; filename*1*=%20b.jpg", "a b.jpg"),
        ("attachment; filename*0*=UTF-8''a; filename*=UTF-8''b", "b"),
        ("attachment; filename*0*=UTF-8''%ff; filename=plain.jpg", "plain.jpg"),
        ("attachment; filename*0=a; filename*=b; filename*1=c; filename*" + "9" * 5000 + "=d", "b"),
        # Bytes that are not UTF-8
        ('attachment; filename="\x93a\x94 \x96 b.jpg"', "“a” – b.jpg"),
        ('attachment; filename="\xd5\xc5.jpg"', "ÕÅ.jpg"),
    ],
)
def test_where_a_server_breaks_the_grammar_a_name_is_what_browsers_make_of_it(header, expected):
    assert filename_from_disposition(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        'attachment; filename="\xd5\xc5.jpg"',
        "attachment; filename=\xd5\xc5.jpg",
        'attachment; filename="%D5%C5.jpg"',
        "attachment; filename*=%D5%C5.jpg",
        "attachment; filename*0*=%D5; filename*1*=%C5.jpg",
    ],
)
def test_bytes_of_no_named_encoding_are_in_that_of_the_page(header):
    assert filename_from_disposition(header, "gb2312") == "张.jpg"
    assert filename_from_disposition(header, "rot13") == filename_from_disposition(header)


def test_what_is_utf_8_is_not_in_the_encoding_of_the_page():
    assert filename_from_disposition('attachment; filename="\xe5\x9b\xbe.jpg"', "gbk") == "图.jpg"
    assert filename_from_disposition('attachment; filename="%E5%9B%BE.jpg"', "gbk") == "图.jpg"
    assert filename_from_disposition("attachment; filename*=iso-8859-1''%E9.jpg", "gbk") == "é.jpg"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "attachment",
        "attachment; filename",
        'attachment; filename=""',
        "attachment; filename*=UTF-8''",
        "attachment; name=a.jpg",
        "attachment; xfilename=a.jpg",
        'attachment; example="filename=a.jpg"',
        'attachment; filename*1="a."; filename*2="jpg"',
        "attachment; filename*=%D5%C5.jpg",
        "attachment; filename*=UTF-8''%D5%C5.jpg",
        'attachment; filename="' + "a" * 9000,
    ],
)
def test_no_name_is_none(header):
    assert filename_from_disposition(header) is None


@pytest.mark.parametrize("begin", ["", "filename=", 'filename="', "filename*=", "filename*0*=", "filename='"])
def test_a_hostile_header_takes_no_time(begin):
    repeated = (
        " ",
        ";",
        "=",
        '"',
        "'",
        ",",
        "%",
        "\\",
        '\\"',
        "a",
        "a,",
        ", ",
        "; ",
        "=?",
        "=?a?q?b?= ",
        ", inline ",
    )
    started_at = time.process_time()
    filename_from_disposition(f"a; {begin}" + ";" * 1_000_000)
    for text in (*repeated, 'filename="', "filename*0="):
        filename_from_disposition(f"a; {begin}{text * (8000 // len(text))}")
        filename_from_disposition(f"a; {begin}{text * (4000 // len(text))}{' ' * 4000}x")
    assert time.process_time() - started_at < 2


@given(
    st.text()
    | st.text().map("attachment; filename={}".format)
    | st.text().map('attachment; filename="{}"'.format)
    | st.text().map("attachment; filename*={}".format)
    | st.text(alphabet="filename*0123;='\" %=?UTF8Bqu\xe9\ud800").map("a; filename*".__add__)
)
@example('a; filename="\ud800"')
@example("a; filename=\r\n b")
def test_it_never_raises(header):
    assert filename_from_disposition(header) != ""


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_every_name_survives_rfc_8187(name):
    assert filename_from_disposition(f"attachment; filename*=UTF-8''{quote(name, safe='')}") == name
