"""Content-Disposition (RFC 6266): the name that a server gives a file."""

from __future__ import annotations

from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from typing import Any
from urllib.parse import unquote

# RFC 8187 3.2.1 requires UTF-8 alone, RFC 5987 before it required these two. Other codecs of Python are refused:
# a server must not be able to choose unicode_escape or idna.
_CHARSETS = frozenset({"utf-8", "iso-8859-1"})
_MAX_CHARACTERS = 8192  # the parser of the email package takes quadratic time; no real name is longer


def filename_from_disposition(value: str | None) -> str | None:
    """Return the file name that the server meant, or None if there is none.

    `filename*` takes precedence over `filename` (RFC 6266 4.3). The name is raw: it may contain a path, control
    characters or any other text; `store.safe_paths` makes it safe.
    """
    if not value:
        return None
    names = [found for key, found in _parameters(value) if key.lower() == "filename"]
    extended = (_extended(found) for found in names if isinstance(found, tuple))
    plain = (_plain(found) for found in names if isinstance(found, str))
    return next((name for name in (*extended, *plain) if name), None)


def _parameters(value: str) -> list[tuple[str, Any]]:
    """Return the pairs from the parser of the email package; `filename*` has the value (charset, language, text)."""
    if len(value) > _MAX_CHARACTERS:
        return []
    message = Message()
    message["content-disposition"] = value
    try:
        return message.get_params([], header="content-disposition")
    except (ValueError, TypeError):  # mixed or absurd RFC 2231 continuations
        return []


def _extended(found: tuple[str | None, str | None, str]) -> str | None:
    charset, _, text = found
    if charset is None or charset.lower() not in _CHARSETS:
        return None
    try:
        return text.encode("latin-1").decode(charset)
    except UnicodeError:
        return None  # RFC 8187 3.2.1: undecodable text is ignored; the plain name may be usable


def _plain(text: str) -> str:
    """Decode the three forms in which servers put non-ASCII letters into `filename` (RFC 6266, appendix C)."""
    if "=?" in text:
        return _encoded_words(text)
    text = _utf8_read_as_latin1(text)
    return _percent_decoded(text) if "%" in text else text


def _encoded_words(text: str) -> str:
    """Decode RFC 2047, meant for mail; the words are joined without blanks, as a file name is one word."""
    try:
        parts = decode_header(text)
        words = [part if isinstance(part, str) else part.decode(_known(charset)) for part, charset in parts]
    except (HeaderParseError, LookupError, ValueError):
        return text
    return "".join(words) or text


def _known(charset: str | None) -> str:
    charset = (charset or "iso-8859-1").lower()
    if charset not in _CHARSETS:
        raise LookupError(charset)
    return charset


def _utf8_read_as_latin1(text: str) -> str:
    """Decode UTF-8 that an HTTP library has read as Latin-1; real Latin-1 is hardly ever valid UTF-8 by chance."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _percent_decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeError:
        return text
