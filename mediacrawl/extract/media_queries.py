"""Media queries (https://www.w3.org/TR/mediaqueries-5/), evaluated for a large screen of high density."""

from __future__ import annotations

import re
from functools import lru_cache

# A screen of 3840 by 2160 CSS pixels, two device pixels each, with a mouse, in a light colour scheme.
_NUMBERS = {
    **dict.fromkeys(("width", "device-width"), 3840.0),
    **dict.fromkeys(("height", "device-height"), 2160.0),
    **dict.fromkeys(("aspect-ratio", "device-aspect-ratio"), 16 / 9),
    **dict.fromkeys(("resolution", "-webkit-device-pixel-ratio", "device-pixel-ratio"), 2.0),
    "color": 8.0,
    "monochrome": 0.0,
    "grid": 0.0,
}
_WORDS = {
    "orientation": "landscape",
    "prefers-color-scheme": "light",
    "prefers-reduced-motion": "no-preference",
    "prefers-reduced-data": "no-preference",
    "prefers-reduced-transparency": "no-preference",
    "prefers-contrast": "no-preference",
    "forced-colors": "none",
    "inverted-colors": "none",
    "hover": "hover",
    "any-hover": "hover",
    "pointer": "fine",
    "any-pointer": "fine",
    "display-mode": "browser",
    "scripting": "enabled",
    "update": "fast",
    "overflow-block": "scroll",
    "overflow-inline": "scroll",
}
_UNITS = {  # in CSS pixels, or in device pixels per CSS pixel
    "": 1.0,
    "px": 1.0,
    "em": 16.0,
    "rem": 16.0,
    "cm": 96 / 2.54,
    "mm": 9.6 / 2.54,
    "in": 96.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "x": 1.0,
    "dppx": 1.0,
    "dpi": 1 / 96,
    "dpcm": 2.54 / 96,
}
_TOKEN = re.compile(r"[()]|[^\s()]+")
_NUMBER = re.compile(r"([+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}))(?:\s*/\s*([0-9]{1,9})|([a-z]{0,4}))")
_COMPARISON = re.compile(r"\s*(<=|>=|<|>|=)\s*")
_SMALL = re.compile(r"tiny|small|mobile|phone|tablet|-(?:x*s|sm|m|md)$")
_LONGEST = 2_000  # characters; no page has a longer query in earnest
_DEEPEST = 8  # parentheses

_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "="}


def applies(queries: str) -> bool:
    """Return whether a media query list is true for the screen. An empty list is; what is no query is not."""
    return not queries or (len(queries) <= _LONGEST and _list_applies(queries))


@lru_cache(256)  # a page has few different queries, each on many elements
def _list_applies(queries: str) -> bool:
    queries = queries.strip().lower()
    return not queries or any(map(_query_applies, queries.split(",")))


def _query_applies(query: str) -> bool:
    query = query.strip()
    if query.startswith("--"):  # a name of lazysizes for a query that a script has
        return not _SMALL.search(query)
    tokens = _TOKEN.findall(query)
    negated = tokens[:1] == ["not"] and tokens[1:2] != ["("]
    if tokens[:1] in (["only"], ["not"]) and tokens[1:2] != ["("]:
        tokens = tokens[1:]
    if not tokens:
        return False
    if tokens[0] == "(" or tokens[0] == "not":
        return bool(_condition(tokens))
    applied = tokens[0] in {"all", "screen"}
    if tokens[1:]:
        rest = _condition(tokens[2:]) if tokens[1] == "and" else None
        if rest is None:
            return False
        applied = applied and rest
    return applied is not negated


def _condition(tokens: list[str], depth: int = 0) -> bool | None:
    """Evaluate conditions in parentheses, joined by `and` or `or`; None for what is no condition."""
    values: list[bool] = []
    joiners: set[str] = set()
    at = 0
    while at < len(tokens):
        negated = tokens[at] == "not"
        start = at + negated
        stop = _closing(tokens, start)
        if stop is None:
            return None
        value = _in_parentheses(tokens[start + 1 : stop], depth + 1)
        if value is None:
            return None
        values.append(value is not negated)
        if stop + 1 < len(tokens):
            joiners.add(tokens[stop + 1])
        at = stop + 2
    if not values or len(joiners) > 1 or not joiners <= {"and", "or"}:
        return None
    return any(values) if joiners == {"or"} else all(values)


def _closing(tokens: list[str], start: int) -> int | None:
    """Return the index of the parenthesis that closes the one at `start`; None if there is none at `start`."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at] == "(") - (tokens[at] == ")")
        if depth == 0:
            return at if at > start else None
    return None


def _in_parentheses(tokens: list[str], depth: int) -> bool | None:
    if tokens[:1] in (["("], ["not"]):
        return _condition(tokens, depth) if depth < _DEEPEST else None
    return _feature(" ".join(tokens))


def _feature(text: str) -> bool:
    """Evaluate one feature: `min-width: 600px`, `orientation: portrait`, `400px <= width < 900px`, `color`."""
    if _COMPARISON.search(text):
        return _range(_COMPARISON.split(text))
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon:
        return bool(_NUMBERS.get(name)) or _WORDS.get(name, "none") not in {"none", "no-preference"}
    if name in _WORDS:
        return _WORDS[name] == value
    compared = "="
    for prefix, sign in (("min-", ">="), ("max-", "<="), ("-webkit-min-", ">="), ("-webkit-max-", "<=")):
        if name.startswith(prefix):
            name, compared = name.removeprefix(prefix), sign
    return _compare(name, compared, value)


def _range(parts: list[str]) -> bool:
    if len(parts) == 3 and parts[0] in _NUMBERS:
        return _compare(parts[0], parts[1], parts[2])
    if len(parts) == 3:
        return _compare(parts[2], _MIRRORED[parts[1]], parts[0])
    if len(parts) == 5:
        return _compare(parts[2], _MIRRORED[parts[1]], parts[0]) and _compare(parts[2], parts[3], parts[4])
    return False


def _compare(name: str, sign: str, text: str) -> bool:
    match = _NUMBER.fullmatch(text)
    if match is None or name not in _NUMBERS:
        return False
    number, below, unit = match.groups()
    value = float(number) * _UNITS.get(unit or "", 1.0) / (float(below or 1) or 1.0)
    screen = _NUMBERS[name]
    return {
        "<": screen < value,
        "<=": screen <= value,
        ">": screen > value,
        ">=": screen >= value,
        "=": abs(screen - value) < 1e-6,
    }[sign]
