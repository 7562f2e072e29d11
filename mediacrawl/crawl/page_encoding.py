"""The text of a page, decoded as browsers do where Scrapy decodes otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, to_unicode

if TYPE_CHECKING:
    from scrapy.http import TextResponse


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
