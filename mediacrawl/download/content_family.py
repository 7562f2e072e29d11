"""Recognition of a document where an image, audio or video is wanted: an error page, a JSON error, a playlist.

Servers send such documents with status 200, and often with the Content-Type of the wanted file, so the first bytes
decide. The tables are those of the WHATWG MIME Sniffing Standard (https://mimesniff.spec.whatwg.org/), with further
media formats beside them: a media file that is refused is as bad as an error page that is stored.
"""

from __future__ import annotations

import codecs
import re
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.config import CHECK_CONTENT
from mediacrawl.errors import WrongContent, redact_url
from mediacrawl.headers import is_html, kind_of_type, media_type

if TYPE_CHECKING:
    from mediacrawl.download.records import TransferRequest

SNIFF_BYTES = 4096
"""The length of the examined beginning. The standard reads 1445 bytes; blanks and comments may precede them here."""

_SHORTEST_DOCUMENT_BYTES = 4  # fewer bytes could be anything
_LONGEST_TYPE_SHOWN = 60


class Family(Enum):
    """The family of formats that the first bytes of a body belong to. The value is its name in a message."""

    HTML = "an HTML page"
    XML = "an XML document"
    JSON = "a JSON document"
    PLAYLIST = "a playlist"
    TEXT = "plain text"
    MEDIA = "media"
    UNKNOWN = "unknown bytes"


class _Expected(NamedTuple):
    """The facts about the wanted file, from its name and from the Content-Type of the response.

    Attributes:
        accepts: a body with such a beginning is accepted, and needs no further examination.
        kind: "image", "audio" or "video"; None if the file may be of any kind.
        declared: the family of document that the Content-Type declares; None if it declares none, or a wanted one.
        may_be_svg: the name or the Content-Type is that of an SVG image.
        may_be_text: source code may have the name, too.
        is_playlist: the name or the Content-Type is that of a playlist.
    """

    accepts: re.Pattern[bytes]
    kind: str | None
    declared: Family | None
    may_be_svg: bool
    may_be_text: bool
    is_playlist: bool


class _Refused(NamedTuple):
    """A body that cannot be the wanted file.

    Attributes:
        family: the family of the body.
        kind: the kind of the wanted file: "image", "audio" or "video"; None if it is not known.
        is_page: a browser shows the body as an HTML page.
    """

    family: Family
    kind: str | None
    is_page: bool


# --- the rule ------------------------------------------------------------------------------------------------------


def refuse_document(request: TransferRequest, url: str, content_type: str | None, beginning: bytes) -> None:
    """Raise `WrongContent` if the body that begins so cannot be the requested file; see `find_refusal`.

    `url` is the URL of the body, after redirects.
    """
    refused = _refused(request.expected_type, content_type, beginning)
    if refused is not None:
        is_page = refused.is_page and url == request.url and request.revalidate is None
        target = url if url != request.url else None
        message = _message(refused.family, content_type, refused.kind, target)
        raise WrongContent(request.url, message, is_page=is_page)


def find_refusal(expected_type: str | None, content_type: str | None, beginning: bytes) -> str | None:
    """Return why a body cannot be the wanted file, in words for a message; None if it can be.

    Args:
        expected_type: the media type that the name of the wanted file implies, or None.
        content_type: the Content-Type of the response, or None.
        beginning: the first `SNIFF_BYTES` or more of the decoded body, or all of a shorter body.
    """
    refused = _refused(expected_type, content_type, beginning)
    return None if refused is None else _message(refused.family, content_type, refused.kind)


def _refused(expected_type: str | None, content_type: str | None, beginning: bytes) -> _Refused | None:
    """Return the family of a body that cannot be the wanted file, and the kind of the file; None if it can be."""
    expected = _expected(expected_type, content_type)
    if expected.accepts.match(beginning):  # most files; the rest of this module is slow
        return None
    if expected.kind is None:
        is_text = not _BINARY.search(_as_utf_8(beginning[:SNIFF_BYTES]))
        is_page = (expected.declared is Family.HTML and is_text) or _is_html_document(beginning)
        return _Refused(Family.HTML, None, is_page=True) if is_page else None
    family = _family_instead_of_media(expected, beginning)
    if family is None:
        return None
    # A piece of HTML, as `<img src=…>`, is no HTML by its first bytes.
    is_html = family is Family.HTML or (expected.declared is Family.HTML and family in {Family.XML, Family.TEXT})
    return _Refused(family, expected.kind, is_html)


def can_be_judged(expected_type: str | None, content_type: str | None, beginning: bytes) -> bool:
    """Return whether the bytes after this beginning of a body cannot change the result of `find_refusal`."""
    return len(beginning) >= SNIFF_BYTES or bool(_expected(expected_type, content_type).accepts.match(beginning))


def _family_instead_of_media(expected: _Expected, beginning: bytes) -> Family | None:
    """Return the family of a body that is no media file; None for a media file and for unknown bytes."""
    family = family_of(beginning, may_be_svg=expected.may_be_svg)
    if family is Family.UNKNOWN and expected.declared is not None:
        family = expected.declared
    if family in {Family.TEXT, Family.XML} and expected.is_playlist:
        return Family.PLAYLIST
    if family is Family.TEXT and expected.may_be_text:
        return None
    return None if family in {Family.MEDIA, Family.UNKNOWN} else family


@lru_cache(256)
def _expected(expected_type: str | None, content_type: str | None) -> _Expected:
    declared = media_type(content_type)
    kind = kind_of_type(expected_type or declared)
    document = _declared_document(declared or "")
    if kind is None and document is not Family.HTML:
        document = None  # wanted as it is
    named = {expected_type, declared}
    if is_html(expected_type):
        accepts = _ANYTHING
    elif document is not None:
        accepts = _SIGNATURE
    else:
        accepts = _NO_PAGE if kind is None else _NO_DOCUMENT
    return _Expected(
        accepts=accepts,
        kind=kind,
        declared=document,
        may_be_svg="image/svg+xml" in named,
        may_be_text=expected_type in _TEXTUAL_TYPES
        or (expected_type == "video/mp2t" and kind_of_type(declared) is None),  # .ts: TypeScript, too
        is_playlist=not _PLAYLIST_TYPES.isdisjoint(named),
    )


def _declared_document(declared: str) -> Family | None:
    if is_html(declared):
        return Family.HTML
    if declared in {"application/json", "text/json"} or declared.endswith("+json"):
        return Family.JSON
    if declared in {"application/xml", "text/xml"} or (declared.endswith("+xml") and declared != "image/svg+xml"):
        return Family.XML
    return None


def _message(family: Family, content_type: str | None, kind: str | None, target: str | None = None) -> str:
    """Return the message; `target` is the URL to which the request was redirected."""
    declared = (media_type(content_type) or "no Content-Type")[:_LONGEST_TYPE_SHOWN]
    expected = {"image": "an image", "audio": "audio", "video": "a video"}.get(kind or "", "a file")
    came = f"{family.value} came ({declared}) where {expected} was expected; nothing of it was stored"
    if target is not None:
        came = f"redirected to {redact_url(target)}; {came}"
    if family is Family.PLAYLIST:
        advice = f"it only names the pieces, yt-dlp can fetch them; {CHECK_CONTENT.name}=False stores the playlist"
    else:
        advice = (
            "run the same command again once the site sends the file; "
            f"{CHECK_CONTENT.name}=False stores whatever is sent"
        )
    return f"{came}; {advice}"


# --- the first bytes -----------------------------------------------------------------------------------------------

_BLANKS = b"\t\n\f\r "
# The binary data bytes of the standard, section 3.
_BINARY_BYTES = rb"\x00-\x08\x0b\x0e-\x1a\x1c-\x1f"
_BINARY = re.compile(rb"[%s]" % _BINARY_BYTES)
_MAY_BE_MARKUP = (  # also a byte order mark, and UTF-16 without it; more may follow the end of the bytes
    rb"[\t\n\f\r ]*(?:\Z|<|\x00(?:<|\Z)|\xff(?:\xfe|\Z)|\xfe(?:\xff|\Z)|\xef(?:\xbb|\Z))"
)
_MAY_BE_PLAYLIST = rb"[\t\n\f\r ]*[#\[]"
_HAS_BINARY_BYTE = rb"[^%s]{0,%d}[%s]" % (_BINARY_BYTES, SNIFF_BYTES - 1, _BINARY_BYTES)
_LEADING = re.compile(rb"(?:[\t\n\f\r ]|\xef\xbb\xbf)*")

# Beginnings that no document has.
_SIGNATURES: tuple[bytes, ...] = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x8aMNG\r\n\x1a\n", b"\x8bJNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+", b"II\xbc\x01", b"8BPS\x00"),  # TIFF, JPEG XR, Photoshop
    *(b"\x00\x00\x01\x00", b"\x00\x00\x02\x00"),  # icons
    *(b"\xff\x0a", b"\x00\x00\x00\x0cJXL ", b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"),  # JPEG XL, JPEG 2000
    *(b"\x1aE\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"0&\xb2u\x8ef\xcf\x11"),  # Matroska, MPEG, ASF
    *(b"OggS\x00", b"fLaC\x00", b"fLaC\x80", b"FLV\x01", b"MThd\x00", b".snd\x00"),
    *(b"ID3\x02", b"ID3\x03", b"ID3\x04"),
    *(b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2"),  # frames of MP3
    *(b"\xff\xf1", b"\xff\xf9", b"\x0bw", b"\x7f\xfe\x80\x01"),  # frames of AAC, AC-3 and DTS
    b"\xc5\xd0\xd3\xc6",  # EPS with a preview
)

# Beginnings that are accepted at once: where a page is wanted, where the Content-Type declares a document, where the
# file may be of any kind, and where media is wanted. Markup and playlists are the only documents with binary bytes.
_ANYTHING = re.compile(b"")
_SIGNATURE = re.compile(b"|".join(map(re.escape, _SIGNATURES)))
_NO_PAGE = re.compile(b"(?!%s)|%s" % (_MAY_BE_MARKUP, _SIGNATURE.pattern))
_NO_DOCUMENT = re.compile(
    b"(?!%s)(?!%s)%s|%s" % (_MAY_BE_MARKUP, _MAY_BE_PLAYLIST, _HAS_BINARY_BYTE, _SIGNATURE.pattern)
)

# Further formats with binary bytes. Text could begin so; the caller has excluded text.
_BINARY_MEDIA = re.compile(
    rb".{4}(?:ftyp|styp|sidx|moov|moof|mdat|free|skip|wide|pnot)"  # ISO base media (MP4, HEIC, AVIF), QuickTime
    rb"|G.{187}G.{187}G|.{4}G.{191}G.{191}G"  # packets of MPEG transport streams
    rb"|(?:RIFF|RF64|BW64|FORM)....(?:WEBP|WAVE|AVI |RMID|AIF[FC]|ILBM|8SVX)"
    rb"|BM.{4}\x00\x00\x00\x00|\.RMF|MAC |wvpk|TTA1|MPCK|MP\+|DSD |caff|#!AMR",
    re.DOTALL,
)
# Media formats that are text, or begin with much text.
_TEXTUAL_MEDIA = re.compile(
    rb"WEBVTT(?:\s|\Z)|\d+[ \t]*\r?\n\d{1,2}:\d\d:\d\d[,.]\d{1,3}[ \t]*-->|\[Script Info\]"  # subtitles
    rb"|P[1-7]\s+(?:#[^\n]*\n\s*)*(?:#|\d|WIDTH)|P[Ff]\s+\d"  # Netpbm
    rb"|(?:/\*.*?\*/\s*)?#define\s+\w*width\s|/\*\s*XPM\s*\*/|!\s*XPM2"  # X bitmaps
    rb"|%!PS|%PDF-|SIMPLE  =|#\?R(?:ADIANCE|GBE)\s|YUV4MPEG2 ",
    re.DOTALL,
)

# Images that are text, without a signature that no other text has.
_TEXTUAL_TYPES = frozenset({"image/vnd.dxf", "image/x-xfig", "image/x-xpixmap", "image/x-xbitmap"})

_PLAYLIST = re.compile(rb"#EXTM3U|\[playlist\]", re.IGNORECASE)
_PLAYLIST_ROOTS = frozenset({"mpd", "smoothstreamingmedia", "playlist", "asx", "smil"})
_PLAYLIST_TYPES = frozenset(
    {
        *("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl"),
        *("application/dash+xml", "application/vnd.ms-sstr+xml", "audio/x-scpls"),
    }
)
_JSON = re.compile(rb'\{\s*["}]|\[\s*(?:["{\[\]\d-]|true|false|null)')

_MISCELLANY = re.compile(rb"[\t\n\f\r ]+|<!--.*?-->|<\?.*?\?>", re.DOTALL)  # XML 1.0, section 2.8
_DOCTYPE = re.compile(rb"<!doctype\s+([^\s>\[]+)", re.IGNORECASE)
_REST_OF_DOCTYPE = re.compile(rb"[^\[>]*(?:\[.*?\]\s*)?>", re.DOTALL)
_ELEMENT = re.compile(rb"<(?:[a-z_][\w.-]*:)?([a-z_][\w.-]*)(?=[\s/>]|\Z)", re.IGNORECASE)
# Elements that begin pieces of HTML, and are not in the table of the standard, which also demands a blank or `>`.
_HTML_ROOTS = frozenset({"html", "head", "body", "meta", "link", "base", "br", "hr", "center", "form", "span"})


def family_of(beginning: bytes, *, may_be_svg: bool = False) -> Family:
    """Return the family that the first bytes of a body belong to.

    Args:
        beginning: the first `SNIFF_BYTES` or more of the body, or all of a shorter body.
        may_be_svg: a body whose root element is not among these bytes is an SVG image, and no other document.
    """
    is_cut = len(beginning) >= SNIFF_BYTES
    beginning = beginning[:SNIFF_BYTES]
    if _SIGNATURE.match(beginning):
        return Family.MEDIA
    if beginning.strip() in {b"{}", b"[]"}:
        return Family.JSON
    if len(beginning) < _SHORTEST_DOCUMENT_BYTES:
        return Family.UNKNOWN
    text = _as_utf_8(beginning)
    if _PLAYLIST.match(text):
        return Family.PLAYLIST
    if text.startswith(b"<") and (family := _family_of_markup(text, may_be_svg=may_be_svg and is_cut)):
        return family
    if _BINARY.search(text):
        return Family.MEDIA if _is_binary_media(beginning) else Family.UNKNOWN
    if _TEXTUAL_MEDIA.match(text):
        return Family.MEDIA
    return Family.JSON if _JSON.match(text) else Family.TEXT


def _is_html_document(beginning: bytes) -> bool:
    """Return whether the bytes begin a complete HTML page. Text files may begin with a comment or a `<p>`."""
    markup = _Markup.of(_as_utf_8(beginning[:SNIFF_BYTES]))
    return markup.doctype == "html" or markup.root in {"html", "head"}


def _as_utf_8(beginning: bytes) -> bytes:
    """Return text in UTF-8, without byte order mark and leading blanks. Other bytes are returned as they are."""
    if beginning.startswith((codecs.BOM_UTF16_LE, b"<\x00")):
        beginning = _decoded(beginning, "utf-16-le")
    elif beginning.startswith((codecs.BOM_UTF16_BE, b"\x00<")):
        beginning = _decoded(beginning, "utf-16-be")
    leading = _LEADING.match(beginning)
    return beginning[leading.end() :] if leading else beginning


def _decoded(beginning: bytes, encoding: str) -> bytes:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(beginning).encode()  # may end within a character
    except UnicodeError:
        return beginning


class _Markup(NamedTuple):
    """The beginning of an HTML or XML document: names in lower case, without prefix, empty if there are none.

    Attributes:
        doctype: the name in the document type declaration.
        root: the name of the first element.
        rest: the bytes from the first element on, or from the first incomplete comment or declaration on.
    """

    doctype: str
    root: str
    rest: bytes

    @classmethod
    def of(cls, text: bytes) -> _Markup:
        """Return what follows the comments, processing instructions and declarations at the beginning of a text."""
        doctype, at = "", 0
        while True:
            if (skipped := _MISCELLANY.match(text, at)) is not None:
                at = skipped.end()
            elif (declaration := _DOCTYPE.match(text, at)) is not None:
                doctype = declaration[1].decode("latin-1").lower()
                rest = _REST_OF_DOCTYPE.match(text, declaration.end())
                if rest is None:
                    break
                at = rest.end()
            else:
                break
        element = _ELEMENT.match(text, at)
        return cls(doctype, element[1].decode("latin-1").lower() if element else "", text[at:])

    @property
    def is_cut(self) -> bool:
        """Whether the root element may follow."""
        return not self.root and (not self.rest or self.rest.startswith((b"<!", b"<?")))


def _family_of_markup(text: bytes, *, may_be_svg: bool) -> Family | None:
    """Return the family of a text that begins with `<`; None if it is no markup."""
    markup = _Markup.of(text)
    if markup.doctype == "html":
        return Family.HTML
    if markup.root == "svg" or (markup.is_cut and (markup.doctype == "svg" or may_be_svg)):
        return Family.MEDIA
    if markup.root in _PLAYLIST_ROOTS:
        return Family.PLAYLIST
    if markup.root in _HTML_ROOTS or _sniffed(markup.rest) == "text/html":
        return Family.HTML
    if markup.doctype or text.startswith(b"<?xml") or (markup.root and not _BINARY.search(text)):
        return Family.XML
    return Family.HTML if _sniffed(text) == "text/html" else None


def _is_binary_media(beginning: bytes) -> bool:
    if _BINARY_MEDIA.match(beginning):
        return True
    sniffed = _sniffed(beginning)
    return sniffed == "application/ogg" or sniffed.startswith(("image/", "audio/", "video/"))


def _sniffed(beginning: bytes) -> str:
    """Return the media type of bytes by the tables of the standard; a slow computation."""
    from xtractmime import extract_mime  # noqa: PLC0415 - seldom needed

    # Blanks at the beginning make `extract_mime` read beyond the end of short bytes (xtractmime 0.2.1).
    return (extract_mime(beginning.lstrip(_BLANKS)) or b"").decode("latin-1")
