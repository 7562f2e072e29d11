"""Content-Disposition (RFC 6266): the name that a server gives a file.

Many servers break the grammar of the field. Where the RFC gives a value no meaning, it is read here as browsers read
it.
"""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from mediacrawl.headers.charset import codec_of, decode_text, guessed, percent_decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CHARACTERS = 8192  # no real name is longer

# A second field line, joined by a gateway.
_NEXT_LINE = r",\s*(?:(?:attachment|inline)\s*(?:[;,]|\Z)|filename\*?\s*=)"
_NAME = re.compile(r"([^=;]*)([=;]|\Z)")
# A quoted string (RFC 9110 5.6.4) up to the end of its parameter; some servers use single quotes.
_DOUBLE_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*(?=[;,]|\Z)', re.DOTALL)
_SINGLE_QUOTED = re.compile(r"\s*'([^']*)'\s*(?=[;,]|\Z)")
# A string with quotes inside, or with no quote at its end: it ends before the next parameter.
_BADLY_QUOTED = re.compile(rf'\s*"(.*?)(?=;\s*[\w*-]+\s*=|{_NEXT_LINE}|\Z)', re.DOTALL | re.IGNORECASE)
_BARE = re.compile(rf"(.*?)(?=;|{_NEXT_LINE}|\Z)", re.DOTALL | re.IGNORECASE)
_ESCAPED = re.compile(r'\\(["\\])')  # a backslash before any other character is that of a Windows path

_SECTION = re.compile(r"filename\*(0|[1-9][0-9]{0,3})(\*?)")  # RFC 2231 3
_EXTENDED = re.compile(r"([^'%]*)'([A-Za-z0-9_-]*)'(.*)", re.DOTALL)  # RFC 8187 3.2.1
_ENCODED_WORD = r"=\?[^?\s]+\?[bBqQ]\?[^?]*\?="  # RFC 2047 2
_ENCODED_WORDS = re.compile(rf"{_ENCODED_WORD}(?:\s*{_ENCODED_WORD})*")


def filename_from_disposition(value: str | None, page_encoding: str | None = None) -> str | None:
    """Return the file name that the server meant, or None if there is none.

    `filename*` takes precedence over `filename` (RFC 6266 4.3). The name is raw: it may contain a path, control
    characters or any other text; `store.safe_paths` makes it safe.

    Args:
        value: of the field; each character stands for one byte (latin-1).
        page_encoding: of the page with the link, for bytes that are neither UTF-8 nor in an encoding that they name.
    """
    if not value or len(value) > _MAX_CHARACTERS:
        return None
    parameters = list(_parameters(value))
    return next((name for name in _names(parameters, page_encoding) if name), None)


def _names(parameters: list[tuple[str, str]], page_encoding: str | None) -> Iterator[str | None]:
    """Yield the names that the parameters give, best first."""
    for key, text in parameters:
        if key == "filename*":
            yield _extended(text, page_encoding)
    yield _continued(parameters, page_encoding)
    for key, text in parameters:
        if key == "filename":
            yield _plain(text, page_encoding)


def _parameters(value: str) -> Iterator[tuple[str, str]]:
    """Yield names, in lower case, and values without quotes. The disposition type is omitted."""
    at = 0
    while at < len(value):
        if stray := _DOUBLE_QUOTED.match(value, at):  # a string without a name
            at = stray.end() + 1
            continue
        match = _NAME.match(value, at)
        assert match is not None
        at = match.end()
        if match[2] == "=":
            is_extended = match[1].rstrip().endswith("*")
            # Behind blanks or a comma, which some servers send instead of a semicolon.
            name = re.split(r"[\s,]", match[1].rstrip("* \t").lstrip())[-1].lower()
            text, at = _value(value, at, is_extended=is_extended)
            yield name + "*" * is_extended, text


def _value(value: str, at: int, *, is_extended: bool) -> tuple[str, int]:
    """Return the value that begins at an index, and the index of its end."""
    if match := _DOUBLE_QUOTED.match(value, at):
        return _ESCAPED.sub(r"\1", match[1]), match.end()
    if not is_extended and (match := _SINGLE_QUOTED.match(value, at)):
        return match[1], match.end()
    if match := _BADLY_QUOTED.match(value, at):
        inside, quote, _ = match[1].rpartition('"')
        return (inside if quote else match[1]).strip(), match.end()
    match = _BARE.match(value, at)
    assert match is not None
    return match[1].strip(), match.end()


def _extended(text: str, page_encoding: str | None) -> str | None:
    """Decode the value of `filename*`; None if it is not in the encoding that it names (RFC 8187 3.2.1)."""
    charset, text = _charset_of(text)
    return _in_charset(unquote_to_bytes(_octets(text)), charset, page_encoding)


def _charset_of(text: str) -> tuple[str, str]:
    """Return the charset that an extended value names, and its text. The charset is empty if it is missing."""
    if match := _EXTENDED.fullmatch(text):
        return match[1], match[3]
    charset, quote, rest = text.partition("'")  # one quote instead of two
    return (charset, rest) if quote and codec_of(charset) else ("", text)


def _in_charset(data: bytes, charset: str, page_encoding: str | None) -> str | None:
    return decode_text(data, charset) if charset else guessed(data, page_encoding)


class _Section(NamedTuple):
    """A section of a name; `is_extended`: its text has percent-escapes."""

    text: str
    is_extended: bool

    @property
    def octets(self) -> bytes:
        return unquote_to_bytes(_octets(self.text)) if self.is_extended else _octets(self.text)


def _continued(parameters: list[tuple[str, str]], page_encoding: str | None) -> str | None:
    """Return the name that is divided into sections (RFC 2231 3, 4.1); it ends where a section is missing."""
    sections: dict[str, _Section] = {}
    for key, text in parameters:
        if match := _SECTION.fullmatch(key):
            sections.setdefault(match[1], _Section(text, bool(match[2])))
    found: list[_Section] = []
    while (section := sections.get(str(len(found)))) is not None:
        found.append(section)
    if not any(section.is_extended for section in found):
        return _plain("".join(section.text for section in found), page_encoding)
    charset, first = _charset_of(found[0].text) if found[0].is_extended else ("", found[0].text)
    found[0] = found[0]._replace(text=first)
    return _in_charset(b"".join(section.octets for section in found), charset, page_encoding)


def _plain(text: str, page_encoding: str | None) -> str | None:
    """Decode the forms in which servers put non-ASCII letters into `filename` (RFC 6266, appendix C)."""
    if (match := _EXTENDED.fullmatch(text)) and codec_of(match[1]):
        return _extended(text, page_encoding)
    words = _ENCODED_WORDS.sub(_word_text, text)
    return words if words != text else percent_decoded(_characters(text, page_encoding), page_encoding)


def _characters(text: str, page_encoding: str | None) -> str:
    """Decode bytes that were sent as they are."""
    if text.isascii():
        return text
    try:
        data = text.encode("latin-1")
    except UnicodeError:
        return text  # decoded by someone else
    return guessed(data, page_encoding) or decode_text(data, "latin-1") or text


def _word_text(words: re.Match[str]) -> str:
    """Decode adjacent words of RFC 2047, which was made for mail; blanks between them do not count."""
    try:
        parts = [(part, charset) for part, charset in decode_header(words[0]) if charset]
    except (HeaderParseError, ValueError):
        return words[0]
    texts = [decode_text(part, charset.partition("*")[0]) for part, charset in parts]  # after "*": RFC 2231 5
    return words[0] if None in texts else "".join(map(str, texts)) or words[0]


def _octets(text: str) -> bytes:
    """Return the bytes of the text of a header."""
    try:
        return text.encode("latin-1")
    except UnicodeError:
        return text.encode("utf-8", "replace")  # decoded by someone else
