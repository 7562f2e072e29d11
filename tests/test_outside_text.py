"""No text from outside takes more than a time in proportion to its length, or raises what nobody expects."""

import functools
import gc
import sys
import time
from contextlib import suppress
from itertools import islice

import pytest
from drawing import chance_for
from outside_text import PARSERS, page_of

from mediacrawl.extract.media import find_media
from mediacrawl.extract.pagination import find_next

SIZES = (4_000, 8_000, 16_000)  # characters
SURELY_LINEAR_S = 0.02  # of the largest size; the square of it would take many times as long
MOST_TIMES = 9  # for four times the size: in proportion it is 4, the square is 16
TRIES = 5
BY_NAME = {parser.name: parser for parser in PARSERS}
# Whatever means something to a parser.
ATOMS = [
    *" \t\n\r\0,;\"'=\\()<>/.%&?#:-_@[]{}|*+~^09aZ\x1d\x85\xe9",
    *("\u0300", "\u200c", "\u3000", "\ud800", "\udce4", "\u0663", "\u0130", "\ufdfa", "\u202e", "\U0001f600"),
    *("http://", "https://h.example", "//", "../", "%41", "%e4", "%zz", "data:", "javascript:", "xn--a", "[::1]"),
    *("<a href=", "<img src=", "</p>", "<!--", "-->", "<script>", "<template>", "<![CDATA[", "<!DOCTYPE html>"),
    *("<meta http-equiv=refresh content=", "<base href=", "<iframe srcdoc=", "&lt;", "&#0;", "&#xffffffff;"),
    *("url(", "image-set(", "@media ", "/*", "*/", "background:", "1e999", "-1", "NaN", "Infinity", "null", "true"),
    *("9" * 5_000, "9" * 20, "0x1f", "1_000", "[" * 2_000, '{"a":' * 2_000, "{}", '{"url":', '{"@type":'),
    *("filename=", "filename*=UTF-8''", "=?utf-8?q?", "?=", "bytes=", "bytes ", "W/", 'rel="next"', "sha-256=:"),
    *(
        "Content-Length: ",
        "Transfer-Encoding: chunked",
        "HTTP/1.1 200 ",
        "\r\n\r\n",
        "Mon, 01 Jan 99999 00:00:00 GMT",
    ),
    *(
        "domain=",
        "path=/",
        "max-age=",
        "expires=",
        "User-agent: *",
        "Disallow: /*$",
        "page=2",
        "next",
        "1x, ",
        "a.jpg",
    ),
]


@pytest.mark.parametrize("name", BY_NAME)
def test_the_time_grows_with_the_length_and_no_faster(name):
    parser = BY_NAME[name]
    for number, make in enumerate(parser.worst):
        ratio = lowest_ratio(parser, [make(size) for size in SIZES])
        assert ratio < MOST_TIMES, f"input {number} of {name}: {ratio:.0f} times as long for four times the size"


def lowest_ratio(parser, texts):
    """How many times as long the largest takes than the smallest; the lowest of some tries, the machine has work."""
    if seconds(parser, texts[-1]) < SURELY_LINEAR_S:
        return 0
    found = []
    for _ in range(TRIES):
        times = [seconds(parser, text) for text in texts]
        found.append(times[-1] / max(times[0], 1e-9))
        if found[-1] < MOST_TIMES:
            break
    return min(found)


def seconds(parser, text):
    """Processor seconds of the thread: other processes do not count."""
    start = time.thread_time()
    attempt(parser, text)
    return time.thread_time() - start


def attempt(parser, text):
    with suppress(*parser.raises):
        parser.parse(text)


@pytest.mark.parametrize("name", BY_NAME)
def test_nonsense_raises_only_what_is_documented(name):
    parser, chance = BY_NAME[name], chance_for(name)
    for text in islice(nonsense(chance, parser), 60):
        try:
            attempt(parser, text)
        except Exception as error:
            pytest.fail(f"{name} raises {error!r} for {text[:300]!r}")


def nonsense(chance, parser):
    """Texts of any atoms, and the worst inputs with some of these inside."""
    while True:
        text = "".join(chance.choices(ATOMS, k=chance.randrange(12)))
        yield text
        worst = chance.choice(parser.worst)(chance.randrange(200))
        at = chance.randrange(len(worst) + 1)
        yield worst[:at] + text + worst[at:]


LONG = "a" * 12_000
LONGEST_KEY = 10_000  # characters
# Whatever a page can make long.
PAGES = [
    f'<base href="/{LONG}/x"><a {LONG}=1 class="{LONG}" rel="{LONG}" href="?page=2" title="{LONG}">{LONG}</a>',
    f'<a href="/{LONG}?page=2" class="next">next</a><div {LONG}=1 data-{LONG}-src="a.png" onclick="{LONG}">1</div>',
    f'<picture><source media="{LONG}" type="image/{LONG}" srcset="a.png {LONG}, /{LONG}.{LONG} 1x"></picture>',
    f'<style media="{LONG}">@media {LONG} {{a{{background:url(/{LONG}.{LONG})}}}}</style><img src="//{LONG}/a.png">',
    f'<script type="{LONG}">{{}}</script><link rel=preload as="{LONG}" href="/b.{LONG}" type="{LONG}">',
    f'<script type="application/ld+json">{{"{LONG}": "{LONG}", "contentUrl": "/{LONG}.jpg"}}</script>',
]


def test_no_cache_keeps_a_long_text():
    """A thousand entries of 100 KB each would be as much as all else that a crawl needs."""
    for page in map(page_of, PAGES):
        list(find_media(page))
        find_next(page)
    for parser in PARSERS:
        for make in parser.worst:
            attempt(parser, make(len(LONG)))
    assert {name: longest for name, cache in caches() if (longest := longest_key(cache)) > LONGEST_KEY} == {}


def caches():
    """The caches of mediacrawl in all modules that are loaded, by the name of the function."""
    for module in [module for name, module in sys.modules.items() if name.startswith("mediacrawl.")]:
        for name, value in vars(module).items():
            if type(value) is functools._lru_cache_wrapper and value.__module__ == module.__name__:
                yield f"{module.__name__}.{name}", value


def longest_key(cache):
    tables = [one for one in gc.get_referents(cache) if type(one) is dict and one is not cache.__dict__]
    return max((length(key) for table in tables for key in table), default=0)


def length(key):
    return len(key) if isinstance(key, str | bytes) else sum(map(length, key)) if isinstance(key, tuple) else 0


def test_the_keys_of_a_cache_are_found():
    @functools.lru_cache(8)
    def one(*texts):
        return texts

    one("a" * 7)
    one("b" * 5, ("c" * 20, 3))
    assert longest_key(one) == 25
