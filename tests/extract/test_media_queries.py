from __future__ import annotations

import pytest

from mediacrawl.extract.media_queries import applies


@pytest.mark.parametrize(
    "query",
    [
        *("", " ", "all", "screen", "ONLY screen", "not print", "print, screen", "--large"),
        *("(min-width: 600px)", "(min-width:100em)", "screen and (min-width: 1200px) and (orientation: landscape)"),
        *("(width >= 600px)", "(600px <= width)", "(600px < width <= 9000px)", "not (max-width: 600px)"),
        *("(max-width: 600px) or (min-width: 601px)", "((min-width: 1px) and (color))", "(min-resolution: 1.5dppx)"),
        *("(-webkit-min-device-pixel-ratio: 2)", "(min-resolution: 192dpi)", "(prefers-color-scheme: light)"),
        *("(hover: hover)", "(hover)", "(min-aspect-ratio: 4/3)", "not screen and (max-width: 600px)"),
        *("(prefers-reduced-motion: no-preference)", "(min-height:800px)"),
    ],
)
def test_a_query_for_a_large_screen_applies(query):
    assert applies(query)


@pytest.mark.parametrize(
    "query",
    [
        *("print", "speech", "not screen", "not all", "tv", "(max-width: 600px)", "screen and (max-width:1024px)"),
        *(
            "(orientation: portrait)",
            "(prefers-color-scheme: dark)",
            "(prefers-reduced-motion: reduce)",
            "(pointer: coarse)",
        ),
        *("(width < 600px)", "(900px > width)", "(100px < width < 600px)", "(min-width: 1px) and (max-width: 2px)"),
        *("(prefers-reduced-motion)", "(unknown: 1)", "(min-width: x)", "(", ")", "((", "and", "screen (color)", "1"),
        *("(min-width:1px) and (color) or (hover)", "(max-aspect-ratio: 1/1)", "--mobile", "(" * 3_000),
        "(" * 50 + "color" + ")" * 50,
    ],
)
def test_any_other_query_does_not_apply(query):
    assert not applies(query)
