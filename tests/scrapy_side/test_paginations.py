"""Paginations that change their address and not their content end, and all others go on."""

from __future__ import annotations

import pytest
from crawling import run

from mediacrawl.spiders.base import MediaSpider
from mediacrawl.spiders.site import SiteSpider

MOST = 14
LIMIT = {"MEDIACRAWL_PAGES_WITHOUT_NEW_MEDIA": 8}  # the default needs more pages, see the last test
TEXT = "Of page {} there is a sentence to read that is quite long, and it differs from that of other pages."
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def word(number: int) -> str:
    return "".join(WORDS[int(digit)] for digit in str(number))


def links(path: str, number: int) -> str:
    return (
        f'<a href="{path}?p={number - 1}">previous</a> {number} <a rel="next" href="{path}?p={number + 1}">next</a>'
    )


# What a page shows beside the links to the pages before and after it, and how many pages are asked for.
PAGINATIONS = {
    "last-page-again": (lambda n: f'<img src="/{min(n, 3)}.jpg">', 8),
    "first-page-again": (lambda n: f'<img src="/{n if n < 4 else 1}.jpg">', 8),
    "calendar": (lambda n: f'<img src="/1.jpg"><td>{WORDS[n % 12]}</td><td>{n}</td>', 6),
    "nothing-at-all": (lambda _n: "", 6),
    "script-and-clock": (lambda n: f'<img src="/1.jpg"><script>var token = "{word(n) * 20}"</script>', 6),
    "month-of-days": (lambda n: '<img src="/1.jpg">' + "".join(f"<td>{(day + n) % 31}</td>" for day in range(31)), 6),
    "clock-and-dates": (lambda n: f'<img src="/1.jpg"><i>{n:02}:{n + 20}</i>' + f"<b>2026-{n:02}-1</b>" * 9, 6),
    "unique-query": (lambda n: f'<img src="/1.jpg?t={n * 7919}"><img src="/2.jpg?{n:x}f">', 6),
    "names": (lambda n: '<img src="/1.jpg">' + "".join(f"<li>{word(n * 10 + i)} Smith</li>" for i in range(9)), 9),
    "prices": (lambda n: '<img src="/1.jpg">' + "".join(f"<td>Lot {n * 9 + i}<td>{n + i} EUR" for i in range(9)), 9),
    "other-link": (lambda n: f'<img src="/1.jpg"><a href="/person/{word(n)}">by</a>', 9),
    "other-text": (lambda n: f'<img src="/1.jpg"><p>{TEXT.format(word(n))}</p>', 9),
    "text-before-a-picture": (lambda n: f'<p>{TEXT.format(word(n))}</p><img src="/{n // 6}.jpg">', MOST),
    "cycle": (lambda n: f'<img src="/{n % 4}.jpg">', 12),
    "new-picture": (lambda n: f'<img src="/1.jpg"><img src="/{n}.jpg">', MOST),
    "new-detail": (lambda n: f'<h2><a href="/new-detail/{n}">detail</a></h2>', MOST),
    "same-detail": (lambda _n: '<h2><a href="/same-detail/one">detail</a></h2>', 6),
    "numbered-details": (lambda n: f'<img src="/1.jpg"><h3><a href="/post/{n}">post</a></h3>', 9),
}

SHORT_TEXTS = ["month-of-days", "clock-and-dates", "unique-query", "names", "prices"]
OTHERS = [name for name in PAGINATIONS if name not in SHORT_TEXTS]


def build(origin, names=PAGINATIONS, most=MOST) -> str:
    """Add the pages, and return their start URLs, separated by blanks."""
    picture = b"\xff\xd8\xff" + bytes(600)
    for number in range(most + 1):
        origin.add(f"/{number}.jpg", picture, content_type="image/jpeg")
    for name in names:
        content = PAGINATIONS[name][0]
        for number in range(1, most + 1):
            following = links(f"/{name}", number) if number < most else ""
            origin.page(f"/{name}?p={number}" if number > 1 else f"/{name}", content(number) + following)
            if name.endswith("detail"):
                origin.page(f"/{name}/{number}", "<p>detail</p>")
        origin.page(f"/{name}/one", "<p>detail</p>")
    return " ".join(origin.url(f"/{name}") for name in names)


def pages_of(origin, name: str) -> list[str]:
    targets = [request.target for request in origin.requests]
    return [target for target in targets if target == f"/{name}" or target.startswith(f"/{name}?p=")]


def test_pages_that_differ_in_many_short_texts_are_not_the_same(crawls, origin, tmp_path):
    crawls.crawl(tmp_path, SiteSpider, LIMIT, url=build(origin, SHORT_TEXTS))
    asked = {name: len(pages_of(origin, name)) for name in SHORT_TEXTS}
    assert asked == {name: PAGINATIONS[name][1] for name in SHORT_TEXTS}


def test_each_pagination_ends_where_it_shows_nothing_new_for_long_and_is_told(crawls, origin, tmp_path):
    crawled = crawls.crawl(tmp_path, SiteSpider, LIMIT, url=build(origin, OTHERS), follow="//h2/a")
    asked = {name: len(pages_of(origin, name)) for name in OTHERS}
    assert asked == {name: PAGINATIONS[name][1] for name in OTHERS}
    assert crawled.status == 0
    ended = [name for name in OTHERS if PAGINATIONS[name][1] < MOST]
    lines = crawled.report.lines("mediacrawl crawl site")
    assert f"paginations that were not followed further: {len(ended)}" in lines
    assert f"  {origin.url('/calendar?p=6')}: 5 pages in a row showed nothing new" in lines
    assert f"  {origin.url('/cycle?p=12')}: 8 pages in a row showed nothing new" in lines
    assert (
        "to follow them further, perhaps without end: mediacrawl crawl site -s MEDIACRAWL_PAGES_WITHOUT_NEW_MEDIA=0"
        in lines
    )


def test_a_crawl_goes_through_all_pages_again_where_their_files_are_there_already(crawls, origin, tmp_path):
    url = build(origin, ["new-picture"])
    for status in ({"new": MOST, "present": 0}, {"new": 0, "present": MOST}):
        origin.forget()
        report = crawls.crawl(tmp_path, SiteSpider, url=url).report
        assert {"new": report.new, "present": report.present} == status
        assert len(pages_of(origin, "new-picture")) == MOST


@pytest.mark.parametrize(("most", "asked"), [(0, MOST), (3, 4), (30, 6)])
def test_the_setting_says_how_many_pages_may_show_nothing_new(crawls, origin, tmp_path, most, asked):
    settings = {"MEDIACRAWL_PAGES_WITHOUT_NEW_MEDIA": most}
    crawls.crawl(tmp_path, SiteSpider, settings, url=build(origin, ["calendar"]))
    assert len(pages_of(origin, "calendar")) == asked


@pytest.mark.parametrize(("field", "asked"), [("photos", 6), (None, MOST)])
def test_an_item_of_a_project_shows_what_its_lists_contain(crawls, origin, tmp_path, field, asked):
    """Where it has no list, what the page shows is not known, and the pagination goes on."""

    class Own(MediaSpider):
        name = "own"
        next = "//a[@rel='next']"

        def item(self, response, urls):
            return {field: urls} if field else {"title": "a page"}

    start = build(origin, ["calendar"])
    crawls.crawl(tmp_path, Own, start_urls=[start])
    assert len(pages_of(origin, "calendar")) == asked


def test_a_job_with_many_interruptions_ends_at_the_same_page(crawls, origin, tmp_path):
    names = ["calendar", "last-page-again", "cycle"]
    url = build(origin, names)
    job = LIMIT | {"JOBDIR": str(tmp_path / "job"), "CLOSESPIDER_PAGECOUNT": 3, "CONCURRENT_REQUESTS": 1}
    runs = 0
    while crawls.crawl(tmp_path, SiteSpider, job, url=url).reason != "finished":
        runs += 1
        assert runs < MOST * len(names)
    assert runs > 3
    pages = {name: len(set(pages_of(origin, name))) for name in names}
    assert pages == {name: PAGINATIONS[name][1] for name in names}


def test_a_process_says_it_in_its_summary(origin, tmp_path):
    url = build(origin, ["other-link", "calendar"], most=23)
    done = run(tmp_path, "crawl", "site", "-a", f"url={url}")
    assert done.status == 0
    assert [len(pages_of(origin, name)) for name in ("other-link", "calendar")] == [21, 6]
    assert "paginations that were not followed further: 2" in done.lines
    (advice,) = [line for line in done.lines if line.startswith("to follow them further, perhaps without end: ")]
    assert advice.endswith(f"-a 'url={url}' -s MEDIACRAWL_PAGES_WITHOUT_NEW_MEDIA=0")
