"""Only the beginning of a robots.txt counts: its rules are compared with each URL."""

import asyncio
import contextlib
import gc
import threading
from types import SimpleNamespace

import pytest
from crawling import items_spider, settings_of
from origin import Answer, Origin
from protego import Protego
from scrapy.settings import Settings

from mediacrawl.addon import Addon
from mediacrawl.crawl.context import RequestDropped
from mediacrawl.crawl.recent_robots import RecentRobots
from mediacrawl.crawl.robots_file import MOST_BYTES, RobotsFile

FIRST = b"User-agent: *\nDisallow: /private\n"


def rules(size, last):
    """A file in which the last line begins shortly before the limit."""
    return FIRST + b"#" * (size - len(FIRST) - 1) + b"\n" + last


@pytest.mark.parametrize(
    ("body", "is_allowed"),
    [
        (rules(1000, b"Disallow: /a\n"), False),
        (rules(MOST_BYTES - 13, b"Disallow: /a\n"), False),
        (rules(MOST_BYTES - 12, b"Disallow: /a\n"), True),  # not `Disallow: /a` without its end
        (rules(MOST_BYTES - 11, b"Disallow: /b\n"), True),  # not `Disallow: /`, which would forbid all
        (rules(MOST_BYTES, b"Disallow: /a\n" * 100_000), True),
        (b"#" * MOST_BYTES + b"\nUser-agent: *\nDisallow: /\n", True),
    ],
    ids=["short", "at the limit", "cut before its end", "cut to a rule for all", "behind it", "one line"],
)
def test_rules_behind_the_limit_do_not_count_and_no_line_counts_in_part(body, is_allowed):
    parser = RobotsFile(body, None)
    assert parser.allowed("http://h/a", "mediacrawl") == is_allowed
    assert parser.allowed("http://h/private", "mediacrawl") == body.startswith(b"#")


def test_it_is_the_parser_of_crawls_and_of_the_add_on_but_a_project_may_have_its_own(tmp_path):
    path = f"{RobotsFile.__module__}.{RobotsFile.__name__}"
    assert settings_of(tmp_path, project="mediacrawl.settings")["ROBOTSTXT_PARSER"] == path
    own = Settings({"ROBOTSTXT_PARSER": "own.Parser"}, priority="project")
    for settings, expected in ((Settings(), path), (own, "own.Parser")):
        Addon().update_settings(settings)
        assert settings["ROBOTSTXT_PARSER"] == expected


def test_a_crawl_obeys_the_beginning_of_an_endless_robots_txt(crawls, origin, tmp_path):
    body = FIRST + b"Disallow: /x%d\n" * 2 + b"# more\n" * 200_000
    origin.on("/robots.txt", lambda _: Answer(200, [("Content-Type", "text/plain")], body))
    origin.add("/a.jpg", b"\xff\xd8\xffa", content_type="image/jpeg")
    origin.add("/private/b.jpg", b"\xff\xd8\xffb", content_type="image/jpeg")
    item = {"file_urls": [origin.url("/a.jpg"), origin.url("/private/b.jpg")]}
    crawled = crawls.crawl(tmp_path, items_spider(item), {"ROBOTSTXT_OBEY": True})
    assert [path.rpartition("/")[2] for path in crawled.store] == ["a.jpg"]
    assert origin.requests_for("/private/b.jpg") == []


def test_few_of_the_large_files_are_held_in_parsed_form(monkeypatch):
    parsed, before = [], gc_count(Protego)
    monkeypatch.setattr(
        "scrapy.robotstxt.Protego.parse", lambda text, parse=Protego.parse: parsed.append(text) or parse(text)
    )
    of_crawl = SimpleNamespace(recent_robots=RecentRobots())
    files = [RobotsFile(large(b"\nDisallow: /%d\n" % number), None, of_crawl) for number in range(10)]
    assert parsed == []  # before a URL is asked for
    for _ in range(2):
        for number, file in enumerate(files):
            assert [file.allowed(f"http://h/{path}", "x") for path in (number, number + 1)] == [False, True]
    assert len(parsed) == 20
    assert gc_count(Protego) - before < 9


def test_another_crawl_releases_none_of_the_files_of_a_crawl():
    one, other = (SimpleNamespace(recent_robots=RecentRobots(), stopping=False) for _ in range(2))
    file = RobotsFile(large(), None, one)
    asyncio.run(file.parse_ahead())
    for _ in range(10):
        asyncio.run(RobotsFile(large(), None, other).parse_ahead())
    assert file.parsed is not None


def large(last=b""):
    return FIRST + b"#" * 400_000 + last


def gc_count(kind):
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def test_a_crawl_that_is_stopping_parses_no_large_file():
    file = RobotsFile(large(), None, SimpleNamespace(stopping=True, recent_robots=RecentRobots()))
    with pytest.raises(RequestDropped):
        asyncio.run(file.parse_ahead())
    assert file.parsed is None


def test_a_large_file_is_parsed_ahead_in_another_thread():
    file = RobotsFile(large(), None)
    assert file.parsed is None
    assert asyncio.run(file.parse_ahead()) is file.parsed
    assert (file.allowed("http://h/a", "x"), file.allowed("http://h/private", "x")) == (True, False)


def test_no_file_is_parsed_in_the_event_loop_however_many_wait_for_theirs(crawls, origin, tmp_path, monkeypatch):
    """Those that were parsed for one request are released by others before the next one asks."""
    in_loop = []
    parse = Protego.parse

    def noting(text):
        if len(text) > 4096 and threading.current_thread().name == "reactor":
            in_loop.append(text[:100])
        return parse(text)

    monkeypatch.setattr("scrapy.robotstxt.Protego.parse", noting)
    monkeypatch.setattr("mediacrawl.crawl.recent_robots._MOST_BYTES", 1)
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(Origin()) for _ in range(3)]
        for host in hosts:
            host.on("/robots.txt", lambda _: Answer(200, [("Content-Type", "text/plain")], large()))
            for number in range(6):
                host.add(f"/{number}.jpg", b"\xff\xd8\xff%d" % number, content_type="image/jpeg")
        urls = [host.url(f"/{number}.jpg") for number in range(6) for host in hosts]
        crawled = crawls.crawl(tmp_path, items_spider({"file_urls": urls}), {"ROBOTSTXT_OBEY": True})
    assert len(crawled.store) == 18
    assert in_loop == []
