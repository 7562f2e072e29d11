"""Only the beginning of a robots.txt counts: its rules are compared with each URL."""

import pytest
from crawling import items_spider, settings_of
from origin import Answer
from scrapy.settings import Settings

from mediacrawl.addon import Addon
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
