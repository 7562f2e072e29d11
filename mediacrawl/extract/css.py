"""The pictures that CSS names, in a `style` attribute or a `<style>` element."""

from __future__ import annotations

import re

from mediacrawl.extract.media_queries import applies
from mediacrawl.extract.references import kind_of_link
from mediacrawl.headers.media_type import is_web_image

# Whatever has begun ends at the end of the text at the latest, so that a search never reads a text twice.
_STRING = r"\"(?:[^\"\\\n]|\\.)*+\"?|'(?:[^'\\\n]|\\.)*+'?"
_COMMENT = r"/\*(?:[^*]|\*(?!/))*+(?:\*/)?"
_URL = rf"(?<![\w-])url\(\s*+(?:(?P<quoted>{_STRING})\s*+\)?|(?P<bare>(?:[^)\\]|\\.)*+)\)?)"
_FLAGS = re.DOTALL | re.IGNORECASE
# What is between the tokens is skipped in one step: it is most of a style sheet.
_BETWEEN = r"(?:[^/\"'{};ui]++|(?<=[\w-])u|u(?!rl\()|(?<=\w)i|i(?!mage-set\()|/(?!\*))*+"
_TOKEN = re.compile(
    rf"{_BETWEEN}(?:(?P<comment>{_COMMENT})|(?P<url>{_URL})|{_STRING}|(?P<set>image-set\()|(?P<mark>[{{}};]))", _FLAGS
)
_IN_SET = re.compile(
    rf"{_COMMENT}|(?P<url>{_URL})|(?P<string>{_STRING})|(?P<mark>[(),;}}])"
    r"|(?<![\w.])(?P<density>[0-9]++(?:\.[0-9]++)?|\.[0-9]++)(?P<unit>x|dppx|dpi|dpcm)\b",
    _FLAGS,
)
_HAS_PICTURE = re.compile(r"url\(|image-set\(", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:([0-9A-Fa-f]{1,6})[ \t\n]?|(\n)|(.)|$)", re.DOTALL)
_BAD_URL = re.compile(r"[\s\"'(]")  # CSS Syntax 4.3.6
_DENSITIES = {"x": 1.0, "dppx": 1.0, "dpi": 1 / 96, "dpcm": 2.54 / 96}
_BEFORE_NAME = " \t\r\n\f*_"  # blanks, and what hides a declaration from all but Internet Explorer
# `src` is that of a font. The others name no picture, or one that is no part of the page.
_NO_PICTURE = frozenset(
    (
        *("src", "cursor", "behavior", "-moz-binding", "filter", "backdrop-filter", "clip-path", "fill", "stroke"),
        *("marker", "marker-start", "marker-mid", "marker-end", "offset-path"),
    )
)


def pictures_of_css(text: str) -> list[str]:
    """Return the references of the pictures in declarations or in a style sheet, in their order.

    A later declaration of a property replaces an earlier one of the same block, as a browser reads them, and the
    largest picture of an `image-set()` counts. Rules in a `@media` for other devices than a large screen are left
    out, and so are fonts, cursors and filters. A custom property (`--hero: url(...)`) has to end like a media file.
    """
    if not _HAS_PICTURE.search(text):
        return []
    return _Reader(text).read()


class _Reader:
    """Reads declarations, in blocks or without one.

    Attributes (all but `_text` change as the text is read):
        _start: where the declaration begins, or the prelude of a block.
        _block: a number for the block, so that a property replaces no other in another block.
        _open: for each open block, whether its rules apply to the screen.
        _property: the property of the declaration that begins at `_property_at`.
        _found: by block and property, where the last declaration of it begins, and its pictures.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._start = 0
        self._block = 0
        self._open = [True]
        self._property = ""
        self._property_at = -1
        self._found: dict[tuple[int, str], tuple[int, list[str]]] = {}

    def read(self) -> list[str]:
        at = 0
        while match := _TOKEN.match(self._text, at):
            before, at = at, match.end()
            kind = match.lastgroup  # None for a string
            start = match.start(kind) if kind else at
            if kind == "mark":
                self._divide(self._text[start], start)
            elif kind == "set":
                at, reference = self._image_set(at)
                self._add(reference, start)
            elif kind == "url":
                self._add(_reference(match), start)
            elif kind == "comment" and self._start == before and not self._text[before:start].strip():
                self._start = at
        return [reference for _, references in self._found.values() for reference in references]

    def _divide(self, mark: str, at: int) -> None:
        """Begin the next declaration, after the `{`, `}` or `;` at `at`."""
        if mark == "{":
            prelude = self._text[self._start : at].strip()
            condition = prelude[6:] if prelude[:6].lower() == "@media" else ""
            self._open.append(self._open[-1] and applies(condition))
        elif mark == "}" and len(self._open) > 1:
            self._open.pop()
        self._block += mark != ";"
        self._start = at + 1

    def _add(self, reference: str, at: int) -> None:
        """Note a picture of the declaration, whose text before `at` has been read."""
        if self._property_at != self._start:
            colon = self._text.find(":", self._start, at)
            self._property = self._text[self._start : max(colon, self._start)].strip(_BEFORE_NAME).lower()
            self._property_at = self._start
        name = self._property
        if not reference or not name or not self._open[-1] or not _is_picture(name, reference):
            return
        key = (self._block, "background" if name == "background-image" else name)
        if self._found.get(key, (-1,))[0] != self._start:
            self._found[key] = (self._start, [])
        self._found[key][1].append(reference)

    def _image_set(self, at: int) -> tuple[int, str]:
        """Return where an `image-set()` ends whose first option begins at `at`, and its largest picture.

        Options without a resolution count as 1x. Types that browsers do not show are left out.
        """
        options: list[tuple[float, str]] = []
        depth = 1
        while depth and (match := _IN_SET.search(self._text, at)):
            if match["mark"] in {";", "}"}:  # it was not closed
                break
            at = match.end()
            depth += (match["mark"] == "(") - (match["mark"] == ")")
            if depth > 1 and match["string"] and options:  # type("image/avif")
                if not is_web_image(_unquoted(match["string"])):
                    options.pop()
            elif match["url"] or (match["string"] and depth == 1):
                options.append((1.0, _reference(match)))
            elif match["density"] and options:
                options[-1] = (float(match["density"]) * _DENSITIES[match["unit"].lower()], options[-1][1])
        return at, max(options, key=lambda option: option[0], default=(0.0, ""))[1]


def _is_picture(name: str, reference: str) -> bool:
    if name.startswith("--"):
        return kind_of_link(reference) == "image"
    return name.removeprefix("-webkit-") not in _NO_PICTURE


def _reference(match: re.Match[str]) -> str:
    """Return the reference of a `url()`, or of a string in its place; empty for what is no URL."""
    quoted = match["quoted"] or match.groupdict().get("string")
    if quoted:
        is_whole = quoted[1:].endswith(quoted[0]) or match.end() == len(match.string)  # else it ends at a line break
        return _unquoted(quoted) if is_whole else ""
    bare = (match["bare"] or "").strip()
    return "" if _BAD_URL.search(_ESCAPE.sub("", bare)) else _unescaped(bare)


def _unquoted(string: str) -> str:
    return _unescaped(string[1:].removesuffix(string[0]))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    code, _, character = match.groups()
    if code is None:
        return character or ""
    return chr(int(code, 16)) if 0 < int(code, 16) < 0x110000 and not 0xD800 <= int(code, 16) < 0xE000 else "\ufffd"
