"""Text in the character encodings that servers name, and in the encodings that they do not name."""

from __future__ import annotations

import codecs
from encodings import normalize_encoding
from encodings.aliases import aliases
from urllib.parse import unquote, unquote_to_bytes

# Codecs of Python that a server may choose: the encodings of the web, of mail and of DOS. All others are refused,
# among them those that are no character encodings (base64, zlib, rot13), or that give plain letters another meaning
# (unicode_escape, idna, punycode, utf-7).
_CODECS = frozenset(
    """
    utf_8 utf_8_sig ascii latin_1 iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_9
    iso8859_10 iso8859_11 iso8859_13 iso8859_14 iso8859_15 iso8859_16 tis_620 koi8_r koi8_t koi8_u kz1048 ptcp154
    cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 cp932 cp949 cp950
    cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869 cp1125
    mac_cyrillic mac_greek mac_iceland mac_latin2 mac_roman mac_turkish
    big5 big5hkscs gb2312 gbk gb18030 euc_kr johab iso2022_kr euc_jp euc_jis_2004 euc_jisx0213
    shift_jis shift_jis_2004 shift_jisx0213
    iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_3 iso2022_jp_2004 iso2022_jp_ext
    """.split()  # noqa: SIM905 - one name a line would be a page
)

# Names on the web (WHATWG Encoding, 4.2) that Python does not have, without a leading `x_`.
_MORE_NAMES = {
    **dict.fromkeys(("unicode_1_1_utf_8", "unicode11utf8", "unicode20utf8"), "utf_8"),
    **{f"iso8859{part}": f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15)},
    **dict.fromkeys(("csiso88596e", "csiso88596i", "iso_8859_6_e", "iso_8859_6_i"), "iso8859_6"),
    **dict.fromkeys(("csiso88598e", "csiso88598i", "iso_8859_8_e", "iso_8859_8_i", "logical", "visual"), "iso8859_8"),
    "sun_eu_greek": "iso8859_7",
    "csisolatin9": "iso8859_15",
    "iso88591": "latin_1",
    "iso88599": "iso8859_9",
    **dict.fromkeys(("koi", "koi8"), "koi8_r"),
    "koi8_ru": "koi8_u",
    **dict.fromkeys(("csmacintosh", "mac"), "mac_roman"),
    "mac_ukrainian": "mac_cyrillic",
    "dos_874": "cp874",
    **dict.fromkeys(("cn_big5", "x_big5"), "big5"),
    **dict.fromkeys(("csgb2312", "gb_2312", "gb_2312_80"), "gb2312"),
    "cseucpkdfmtjapanese": "euc_jp",
    "windows_31j": "cp932",
    **dict.fromkeys(
        ("cseuckr", "csksc56011987", "iso_ir_149", "ks_c_5601_1989", "ksc_5601", "windows_949"), "euc_kr"
    ),
}

# Browsers read these encodings as the larger one of the same family (WHATWG Encoding, 4.2): servers confuse the two.
_LARGER = {
    "ascii": "cp1252",
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}


def decode_text(data: bytes, charset: str | None) -> str | None:
    """Return the text in the named encoding; None for an unknown or refused one, and for bytes that are not in it."""
    codec = codec_of(charset)
    try:
        return data.decode(_LARGER.get(codec, codec)) if codec is not None else None
    except UnicodeError:
        return None


def guessed(data: bytes, fallback: str | None) -> str | None:
    """Return the text if it is UTF-8, else in the encoding `fallback`; None if it is in neither."""
    text = decode_text(data, "utf-8")
    return text if text is not None or fallback is None else decode_text(data, fallback)


def percent_decoded(text: str, page_encoding: str | None = None) -> str:
    """Replace the percent-escapes of a text in UTF-8, else in the encoding of the page; else they all stay."""
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeError:
        return (text.isascii() and decode_text(unquote_to_bytes(text), page_encoding)) or text


def codec_of(charset: str | None) -> str | None:
    """Return Python's codec for the name of an encoding in HTTP, HTML or MIME; None if no such codec may be used.

    The name is never passed to `codecs.lookup`, which would import a module by this name.
    """
    name = normalize_encoding((charset or "").strip().lower()).removeprefix("x_")
    codec = aliases.get(name) or _MORE_NAMES.get(name) or name.replace("windows_", "cp")
    return codec if codec in _CODECS else None


def _search(name: str) -> codecs.CodecInfo | None:
    """Find a codec by a name of the web. Scrapy decodes pages by what `codecs.lookup` knows."""
    codec = codec_of(name) if name.startswith("x_") or name in _MORE_NAMES else None
    return codecs.lookup(_LARGER.get(codec, codec)) if codec is not None else None


codecs.register(_search)
