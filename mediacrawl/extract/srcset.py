"""Parser of `srcset`, as in HTML's "parse a srcset attribute": https://html.spec.whatwg.org/#parse-a-srcset-attribute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mediacrawl.extract.media_queries import applies

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPACE = " \t\n\f\r"
# A URL ends at the next space and so may have commas; only a comma at its end closes the candidate. Otherwise
# descriptors follow, up to a comma outside parentheses. `*+` and `++` never backtrack, so that no page is slow.
_CANDIDATE = re.compile(
    rf"[{_SPACE},]*+(?P<url>[^{_SPACE}]++)(?:(?<!,)(?P<descriptors>(?:[^,(]++|\([^)]*+\)?+)*+))?+"
)
# lazysizes: several lists with the media query of each, `a.jpg 2x [(max-width: 600px)] | b.jpg`.
_NEXT_LIST = re.compile(r"\s\|\s?|\|\s")
_QUERY = re.compile(r"\[([^\[\]]*)\]\s*\Z")
_WIDTH = re.compile(r"[0-9]{1,9}w")
_HEIGHT = re.compile(r"[0-9]{1,9}h")
_DENSITY = re.compile(r"[0-9]{0,9}(?:\.[0-9]{1,9})?(?<=[0-9])(?:[eE][+-]?[0-9]{1,2})?x")


@dataclass(frozen=True)
class Candidate:
    """One picture of a srcset: its URL as written, and its width in pixels or its density, if given."""

    url: str
    width: int | None = None
    density: float | None = None


def parse_srcset(value: str) -> list[Candidate]:
    """Return all valid candidates in their order. Candidates with a descriptor unknown to HTML are left out."""
    # After the strip there is a URL wherever a match starts, so the search never scans commas in vain.
    matches = _CANDIDATE.finditer(value.strip(_SPACE + ","))
    candidates = (_candidate(match["url"].rstrip(","), match["descriptors"] or "") for match in matches)
    return [candidate for candidate in candidates if candidate]


def by_size(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sort the largest first. A width beats any density, no descriptor means 1x, equal sizes keep their order."""
    return sorted(candidates, key=_size, reverse=True)


def largest_first(value: str) -> list[str]:
    """Return the URLs of a srcset, the largest first.

    Of several lists with media queries, the first for a large screen counts, or else the last.
    """
    if not value:
        return []
    if "|" in value:
        value = _list_for_screen(_NEXT_LIST.split(value))
    return [candidate.url for candidate in by_size(parse_srcset(value))]


def _list_for_screen(lists: list[str]) -> str:
    chosen = ""
    for one in lists:
        query = _QUERY.search(one)
        chosen = one[: query.start()] if query else one
        if query is None or applies(query[1]):
            break
    return chosen


def _size(candidate: Candidate) -> tuple[int, float]:
    return candidate.width or 0, 1.0 if candidate.density is None else candidate.density


def _candidate(url: str, descriptors: str) -> Candidate | None:
    width, density = None, None
    for word in descriptors.split():
        if _WIDTH.fullmatch(word) and int(word[:-1]) and width is density is None:
            width = int(word[:-1])
        elif _DENSITY.fullmatch(word) and width is density is None:
            density = float(word[:-1])
        elif not _HEIGHT.fullmatch(word):
            return None
    return Candidate(url, width, density)
