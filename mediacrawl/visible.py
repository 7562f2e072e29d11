r"""Text from outside, in the form in which a person may be shown it.

Servers, pages, lists, file names and arguments are written by others. A control character in such text steers a
terminal, a line end forges a line of a log, and a bidirectional control hides what the text says. Here each of them
becomes an escape, as in Python: ESC is `\x1b`, RIGHT-TO-LEFT OVERRIDE is `\u202e`.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# The control characters (C0, DEL, C1), the surrogates, the separators of lines and paragraphs, and the characters of
# the category Cf that are invisible. ZWNJ and ZWJ stay, as Persian and emoji need them, and so do the characters of
# Cf that scripts show, such as ARABIC END OF AYAH.
_STEERING = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0001\U000e0020-\U000e007f]"
)
_STEERING_IN_JSON = re.compile(f"(?![\t\n\r]){_STEERING.pattern}")
_OWN_LOGGERS = "mediacrawl"


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


class VisibleRecord(logging.LogRecord):
    """A log record whose message and traceback are visible in each handler and each format.

    Records of mediacrawl have one line. Scrapy logs settings and statistics in several lines, which stay.
    """

    def getMessage(self) -> str:  # noqa: N802 - the name of `logging`
        """Return the message in its visible form."""
        said = super().getMessage()
        is_own = self.name.partition(".")[0] == _OWN_LOGGERS
        return visible(said) if is_own else visible_lines(said)

    @property
    def exc_text(self) -> str | None:
        """The traceback in its visible form, once a formatter has set it."""
        return self.__dict__.get("exc_text")

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        self.__dict__["exc_text"] = text and visible_lines(text)


def make_log_visible() -> None:
    """Make all records visible that this process logs from now on; a repeated call does nothing.

    A handler is not the place for that: Scrapy replaces its handler for each crawl.
    """
    factory = logging.getLogRecordFactory()
    if factory is logging.LogRecord:
        logging.setLogRecordFactory(VisibleRecord)
    elif factory is not VisibleRecord and not isinstance(factory, _VisibleFactory):
        logging.setLogRecordFactory(_VisibleFactory(factory))


class _VisibleFactory:
    """A factory of log records that makes those of another factory visible, unless they are of a class of its own."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self._factory = factory

    def __call__(self, *args: Any, **facts: Any) -> logging.LogRecord:
        record = self._factory(*args, **facts)
        if type(record) is logging.LogRecord:
            record.__class__ = VisibleRecord
        return record


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
