"""The text of a page, decoded as browsers do where Scrapy decodes otherwise."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, to_unicode

if TYPE_CHECKING:
    from scrapy.http import TextResponse

# Encodings of the WHATWG Encoding Standard, by the names of Python's codecs.
_OF_THE_WEB = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "ascii", "latin-1", "tis-620", "cp866", "cp874"),
        *(f"iso8859-{part}" for part in range(2, 17) if part != 12),
        *(f"cp{page}" for page in range(1250, 1259)),
        *("koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "gb2312", "gbk", "gb18030", "big5", "big5hkscs"),
        *("euc-jp", "iso2022-jp", "shift-jis", "cp932", "euc-kr", "cp949", "iso2022-kr"),
    )
)


def with_web_encoding(response: TextResponse) -> TextResponse:
    """Return a page whose declared encodings are all of the web: browsers ignore others, as `utf-32` or `base64`.

    Scrapy decodes by whatever codec Python has, or fails. A page without another declaration is UTF-8 if it can be,
    else windows-1252.
    """
    if read_bom(response.body)[0] is not None:
        return response
    header = http_content_type_encoding((response.headers.get("Content-Type") or b"").decode("latin-1"))
    if header in _OF_THE_WEB:
        return response
    declared = html_body_declared_encoding(response.body)
    if header is None and (declared is None or declared in _OF_THE_WEB):
        return response
    if declared not in _OF_THE_WEB:
        declared = "utf-8" if _is_utf_8(response.body) else "cp1252"
    return response.replace(encoding=declared)


def _is_utf_8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def text_of(response: TextResponse) -> tuple[str, str]:
    """Return the text of a page and its encoding.

    Scrapy reads UTF-16 without a byte order mark as big-endian. Browsers read it as little-endian if the header
    names it (Encoding, "utf-16" is a label of UTF-16LE), and as UTF-8 if a `<meta>` does: bytes in which a `<meta>`
    is found are not UTF-16 (HTML, "prescan a byte stream").
    """
    if response.encoding not in ("utf-16", "utf-16-le", "utf-16-be") or read_bom(response.body)[0]:
        return response.text, response.encoding
    header = (response.headers.get("Content-Type") or b"").decode("latin-1")
    if http_content_type_encoding(header) == "utf-16":
        return to_unicode(response.body, "utf-16-le"), "utf-16-le"
    if html_body_declared_encoding(response.body) is not None and not http_content_type_encoding(header):
        return to_unicode(response.body, "utf-8"), "utf-8"
    return response.text, response.encoding
