r"""Text from outside, in the form in which a person may be shown it.

Servers, pages, lists, file names and arguments are written by others. A control character in such text steers a
terminal, a line end forges a line of a log, and a bidirectional control hides what the text says. Here each of them
becomes an escape, as in Python: ESC is `\x1b`, RIGHT-TO-LEFT OVERRIDE is `\u202e`.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

# The control characters (C0, DEL, C1), the surrogates, the separators of lines and paragraphs, and the characters of
# the category Cf that are invisible. ZWNJ and ZWJ stay, as Persian and emoji need them, and so do the characters of
# Cf that scripts show, such as ARABIC END OF AYAH.
_STEERING = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0001\U000e0020-\U000e007f]"
)
_STEERING_IN_JSON = re.compile(f"(?![\t\n\r]){_STEERING.pattern}")
_OWN_LOGGERS = "mediacrawl"
_tracebacks = logging.Formatter()


class Secret(str):
    """A secret that is masked in each `repr`, as in Scrapy's log of all settings."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def visible(text: str) -> str:
    """Return a text from outside in one line, with escapes for all characters that would steer a terminal or a log.

    Ordinary text of any language stays as it is. `visible(visible(text))` is `visible(text)`.
    """
    return text if text.isprintable() else _STEERING.sub(_escape, text)


def visible_lines(text: str) -> str:
    """Return a text of several lines, each as `visible` returns it; all lines but the first are indented.

    A line that text from outside has begun is thereby told from the first line of a log record.
    """
    first, *others = text.split("\n")
    return "\n".join([visible(first), *(f"    {visible(line)}" if line else "" for line in others)])


def make_record_visible(record: logging.LogRecord) -> bool:
    """Make message and traceback of a log record visible; keep every record. For `logging.Handler.addFilter`.

    Records of mediacrawl have one line. Scrapy logs settings and statistics in several lines, which stay.
    """
    try:
        said = record.getMessage()
    except Exception:  # arguments that do not fit the message: the handler reports that
        return True
    is_own = record.name.partition(".")[0] == _OWN_LOGGERS
    if (shown := visible(said) if is_own else visible_lines(said)) != said:
        record.msg, record.args = shown, ()
    if record.exc_info and not record.exc_text:
        record.exc_text = visible_lines(_tracebacks.formatException(record.exc_info))  # as each formatter shows it
    return True


def visible_json(value: Any) -> str:
    r"""Return a value as JSON in one line, where all characters that `visible` escapes are escapes such as `\u202e`.

    A parser of JSON returns the same value.
    """
    return escape_json(json.dumps(value, ensure_ascii=False))


def escape_json(text: str) -> str:
    """Return a JSON text with the same value in which no character steers a terminal.

    JSON text contains control characters only between its tokens, as line ends and indents.
    """
    return text if text.isprintable() else _STEERING_IN_JSON.sub(_escape_in_json, text)


def text_of_field(value: str) -> str:
    """Return the value of a header field, or a reason phrase, as text for a person.

    HTTP libraries decode the bytes of a head as Latin-1. Servers send UTF-8 (RFC 9110 5.5 leaves that open), so that
    bytes that are UTF-8 are decoded again.
    """
    try:
        return value if value.isascii() else value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _escape_in_json(found: re.Match[str]) -> str:
    return json.dumps(found[0]).strip('"')
