"""What a reference in a page says before it is resolved: the kind of its file, a template's text, a blank picture."""

from __future__ import annotations

import re
import string

from mediacrawl.headers.media_type import is_html, kind_of_path, kind_of_type, type_of_path

_PATH = re.compile(r"(?:[^:/?#]+:)?(?://[^/?#]*)?([^?#]*)")  # RFC 3986 appendix B; applied to each link
_BREAKS = str.maketrans("", "", "\t\r\n")  # characters that no URL has, and browsers remove
# Extensions of source code in TypeScript. MPEG-TS has `.ts` as well, but no browser plays it from a page.
_SOURCE_CODE = (".ts", ".mts", ".cts")
# Text that a script or a server was to replace: `{{x}}`, `${x}`, `#{x}`, `<%= x %>`, `{%x%}`, `[[x]]`, `%%x%%`,
# `@@x@@`, `*|X|*`, `__X__`, `{x}` (but no GUID), and the same with percent-encoded braces.
_TEMPLATE = re.compile(
    r"<[A-Za-z/!%?]|\{[{%]|[$#%]\{|\[\[[^\[\]]{1,99}\]\]|%%[^%]*+%%|@@[^@]*+@@|\*\|"
    r"|(?<![^/.=_-])__[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*__|\{(?![0-9A-Fa-f]{8})[A-Za-z_$][^{}/]{0,99}\}"
)
_MARKS = re.compile(r"[{<*]|\[\[|__|%%|@@|%7[Bb]|%3[Cc]")  # there is no template without one of these
_ENCODED = {"%7b": "{", "%7d": "}", "%3c": "<", "%25": "%", "%3e": ">"}
_ENCODED_MARK = re.compile("|".join(_ENCODED), re.IGNORECASE)
# What a script leaves where a value was missing, as the last segment of a path, and the characters that end it.
_NOTHING = frozenset(
    ("undefined", "null", "nan", "none", "false", "true", "[object object]", "%5bobject%20object%5d")
)
_ENDS_OF_NOTHING = frozenset(f"dlneDLNE {string.punctuation}")
_LETTER = re.compile(r"[^\W_]")
LONGEST_LINK = 100_000  # characters; no server takes a longer one, and browsers end at two million
_COUNTER_LENGTH = 8_192  # characters in which the words of a counter are looked for
_LONGEST_NAME = 255  # characters; a longer name says nothing
_BLANK_EXTENSION = re.compile(r"\.(?:gif|png|svg|webp)(?:[?#]|$)", re.IGNORECASE)
# As GIF, which holds few photographs on pages of today, more words mean a blank.
_BLANK = re.compile(
    r"(?:blank|spacer|pixel|1x1|1px|shim|transparent|transp|(?:pix|px|trans|clear|empty|null|space|dot[-_.]?clear)(?=.*gif\Z))"
    r"(?:[-_.]?(?:blank|spacer|pixel|transparent|image|img|dot|1x1|1px|[0-9]{1,3}))*+\.[a-z]+",
    re.IGNORECASE,
)
_STAND_IN = re.compile(
    r"(?:.*[-_.])?(?:placeholder|loading|loader|preloader|ajax-loader|lazy|lazyload|spinner|grey|gray|white|dummy|default"
    r"|no-?image|no-?photo|missing(?:[-_]image)?|lqip|blur|tiny)(?:[-_.].*)?",
    re.IGNORECASE,
)

# Words of counters of visits, as the last segment of a path: `/piwik.php`, `/hit;x`, `/collect?v=1`.
_COUNTER = (
    r"hits?|count(?:er|ing)?|cnt|stats?|statistics?|piwik|matomo|awstats|pixels?|px|beacon|ping|track(?:er|ing)?|analytics"
    r"|collect|imp(?:ression)?s?|log(?:ger)?|web-?bug|__utm|page-?views?|visits?|visitors?"
)
_COUNTER_AT_END = re.compile(rf"(?:{_COUNTER}|tr(?=\Z))(?:\.[a-z]{{2,5}})?(?:;.*)?", re.IGNORECASE | re.DOTALL)
_COUNTER_WORD = re.compile(rf"{_COUNTER}|tr|utm|adserv|doubleclick|sync|match", re.IGNORECASE)
_WORD_BOUNDARY = re.compile(r"[^A-Za-z]+")
_COUNTING_ACTION = re.compile(
    r"[?&](?:action|event|ev|do|mode|cmd|act)=[^&]{0,40}?(?:count|hit|track|view|stat|ping)", re.IGNORECASE
)
# Parameters that only the requests of Matomo, comScore, Google Analytics and Meta have.
_COUNTING = tuple(frozenset(names.split()) for names in ("idsite rec", "c1 c2", "c1 cv", "tid cid", "id ev", "tid v"))


def kind_of_link(link: str) -> str | None:
    """Return the kind of the media file that the path of a reference ends like, or None.

    `foo.com.au` counts as the host name that it is, not as a file of sound.
    """
    if "." not in link or len(link) > LONGEST_LINK:
        return None
    path = _path(link)
    if path.endswith(_SOURCE_CODE) or (path.endswith(".au") and "/" not in path):
        return None
    return kind_of_path(path)


def is_document_link(link: str) -> bool:
    """Return whether the path of a reference ends like a file that is known, but neither media nor a page."""
    mime = type_of_path(_path(link))
    return mime is not None and kind_of_type(mime) is None and not is_html(mime)


def is_template(link: str) -> bool:
    """Return whether a reference has parts that were to be replaced, or is what is left of a missing value.

    Markup in the place of a URL counts as well, and text without a letter or digit.
    """
    if _MARKS.search(link) and (_TEMPLATE.search(link) or ("%" in link and _TEMPLATE.search(_decoded(link)))):
        return True
    return link[-1:] in _ENDS_OF_NOTHING and (
        link.rstrip(" /").rpartition("/")[2].lower() in _NOTHING or not _LETTER.search(link)
    )


def is_blank(link: str) -> bool:
    """Return whether a reference is named like a picture that only takes space: `spacer.gif`, `1x1.png`."""
    if not _BLANK_EXTENSION.search(link):
        return False
    return _BLANK.fullmatch(_name(link)) is not None


def is_counter(link: str, *, is_hidden: bool) -> bool:
    """Return whether a reference is named like a request that counts a visit. Of a hidden picture any word counts."""
    path, _, query = link[:_COUNTER_LENGTH].partition("?")
    if _COUNTER_AT_END.fullmatch(path.rstrip("/").rpartition("/")[2]) or _COUNTING_ACTION.search(f"?{query}"):
        return True
    names = {part.partition("=")[0] for part in query.split("&")}
    if any(names.issuperset(counting) for counting in _COUNTING):
        return True
    return is_hidden and any(map(_COUNTER_WORD.fullmatch, _WORD_BOUNDARY.split(path)))


def is_stand_in(link: str) -> bool:
    """Return whether a reference is named like a picture that is shown until the real one is there."""
    return is_blank(link) or _STAND_IN.fullmatch(_name(link).rpartition(".")[0]) is not None


def _path(link: str) -> str:
    match = _PATH.match(link if link.isprintable() else link.translate(_BREAKS))
    return match[1].rstrip(" ") if match else ""


def _name(link: str) -> str:
    """Return the last segment of the path, empty if it is too long to say anything."""
    name = _path(link).rpartition("/")[2]
    return name if len(name) <= _LONGEST_NAME else ""


def _decoded(link: str) -> str:
    return _ENCODED_MARK.sub(lambda match: _ENCODED[match[0].lower()], link)
