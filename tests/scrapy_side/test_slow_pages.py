"""Pages that take long are read in another process: it can be given up, and the crawl goes on beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import parsel
import pytest
from crawling import children_of, items_spider, run, start, wait_until
from origin import Answer, limit_per_connection
from scrapy import Request, Spider, signals

from mediacrawl import Addon, pipelines
from mediacrawl.crawl import page_contents, page_reader
from mediacrawl.crawl.page_contents import WantedContents
from mediacrawl.frontier.sqlite import describe
from mediacrawl.pipelines import MediaFilesPipeline
from mediacrawl.spiders.base import MediaSpider
from mediacrawl.spiders.site import SiteSpider

HTML = "text/html; charset=utf-8"
PNG = b"\x89PNG\r\n\x1a\n"
QUICK = {"ADDONS": {Addon: 500}}
# For each element, all elements before it, and for each of these again: the cube of a page's size.
CUBE = "//img[count(preceding::b[count(preceding::b[count(preceding::b) > 1]) > 1]) > -1]"
SLOW = '<img src="a.png">' + "<b>" * 1 + "</b><b>" * 3000 + '</b><img src="b.png">'
PLAIN = '<img src="c.png"><b></b>'


@pytest.fixture
def site(origin):
    """`/slow` is a page of 21 kB on which the XPath takes hours, and on `/plain` it takes no time."""
    for name, page in {"slow": SLOW, "plain": PLAIN}.items():
        origin.on(f"/{name}", lambda _request, page=page: Answer(200, [("Content-Type", HTML)], page.encode()))
    for name in "abc":
        origin.add(f"/{name}.png", PNG + name.encode(), content_type="image/png")
    return origin


@pytest.fixture
def started(monkeypatch):
    """The processes for pages that were started."""
    processes = []
    start_module = page_reader.start_module

    def start_noting(module, end):
        processes.append(start_module(module, end))
        return processes[-1]

    monkeypatch.setattr(page_reader, "start_module", start_noting)
    return processes


def files(crawled):
    return sorted(path.rpartition("/")[2] for path in crawled.store)


# --- which pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xpath", "most"),
    [
        (None, 128),
        ("//a/@href", 128),
        ("//img[@src]", 128),
        ("//li/a[contains(@href, '//cdn/')]", 128),
        ("//a[position() > 2][last()]", 128),
        ("//div[@class='a']//img", 16),
        ("//a | //img", 16),
        ("//a[count(preceding::a) > 3]", 0),
        ("//a/following :: a", 0),
        ("//a/ancestor-or-self::div", 0),
        ("//a[.//img]", 0),
        ("//a[contains(string(..), 'x')]", 0),
        ("//*[//*[//*]]", 0),
    ],
)
def test_the_size_up_to_which_a_page_is_read_at_once(xpath, most):
    for argument in ("media", "next", "follow"):
        assert WantedContents((), frozenset(), **{argument: xpath}).most_at_once == most * 1024


def test_an_ordinary_page_starts_no_process(crawls, site, tmp_path, started):
    crawled = crawls.crawl(tmp_path, SiteSpider, url=site.url("/plain"), media="//img")
    assert files(crawled) == ["c.png"]
    assert started == []


class Foreign(Spider):
    name = "foreign"

    def __init__(self, url):
        self.start_urls = [url]

    def parse(self, response):
        yield {"file_urls": [response.urljoin(response.css("img::attr(src)").get())]}


class Overriding(MediaSpider):
    """Methods of a project that iterate over those of `MediaSpider`, and a callback of its own."""

    name = "overriding"
    media = "//img[not(preceding::x)]"

    def __init__(self, url):
        super().__init__(start_urls=[url])

    async def start(self):
        for url in self.start_urls:
            yield Request(url, callback=self.parse_start)

    def parse_start(self, response):
        for found in super().parse(response):
            if isinstance(found, dict):
                found["seen"] = list(self.parse_detail(response)) != []
            yield found

    def item(self, response, urls):
        return super().item(response, urls) | {"title": response.css("b").get()}


def test_a_page_for_a_spider_of_another_kind_starts_no_process(crawls, site, tmp_path, started, monkeypatch):
    monkeypatch.setattr(page_contents, "_MOST_AT_ONCE", 0)
    crawled = crawls.crawl(tmp_path, Foreign, QUICK, project=None, url=site.url("/slow"))
    assert files(crawled) == ["a.png"]
    assert started == []


def test_the_methods_of_a_project_get_what_was_read_elsewhere(crawls, site, tmp_path, started):
    crawled = crawls.crawl(tmp_path, Overriding, QUICK, project=None, url=site.url("/plain"))
    assert files(crawled) == ["c.png"]
    assert [(item["seen"], item["title"]) for item in crawled.items] == [(True, "<b></b>")]
    assert len(started) == 1
    assert started[0].wait(30) == -signal.SIGKILL  # it does not outlive the crawl


def test_a_function_of_the_project_in_an_xpath_is_called(crawls, site, tmp_path, started):
    parsel.xpathfuncs.set_xpathfunc("wanted", lambda _context, nodes: [one for one in nodes if one.get("src")])
    try:
        crawled = crawls.crawl(tmp_path, SiteSpider, url=site.url("/plain"), media="wanted(//img[not(.//x)])")
    finally:
        parsel.xpathfuncs.set_xpathfunc("wanted", None)
    assert files(crawled) == ["c.png"]
    assert len(started) == 1


# Sites, each read twice: pages of these crawls are read at once, or all of them elsewhere.
SITES = {
    "start": '<a rel="next" href="2"></a><img src="1.png"><iframe src="frame"></iframe><a href="3.png">x</a>',
    "2": '<a rel="next" href="3"></a><img src="1.png" title="["><meta http-equiv="refresh" content="9;url=5">',
    "3": f'<a rel="next" href="4"></a><iframe srcdoc="<img src=4.png>"></iframe><p>{"text " * 20}',
    "4": '<meta http-equiv="refresh" content="5;url=5"><a href="/elsewhere">x</a>',
    "5": '<img src="5.png"><a class="detail" href="6">x</a><a class="detail" href="http://localhost:1/">x</a>',
    "6": '<img src="6.png"><iframe src="start"></iframe>',
    "frame": '<img src="frame.png"><frame src="6"><script type="application/ld+json">{"image": "7.png"}</script>',
}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"follow": "//a[@class='detail']"}, {"next": "//a/@href"}, {"media": "//img[re:test('x', @title)]"}],
)
def test_a_page_has_the_same_contents_wherever_it_is_read(crawls, origin, tmp_path, started, monkeypatch, arguments):
    for name, page in SITES.items():
        origin.on(f"/{name}", lambda _request, page=page: Answer(200, [("Content-Type", HTML)], page.encode()))
    for name in ("1", "3", "4", "5", "6", "7", "frame"):
        origin.add(f"/{name}.png", PNG + name.encode(), content_type="image/png")

    origin.on("/moved", lambda _request: Answer(302, [("Location", "/start")]))

    def crawl(folder):
        return crawls.crawl(tmp_path / folder, SiteSpider, url=origin.url("/moved"), **arguments)

    here = crawl("here")
    assert started == []
    monkeypatch.setattr(page_contents, "_MOST_AT_ONCE", -1)
    monkeypatch.setattr(page_contents, "_MOST_WITH_STEPS", -1)
    there = crawl("there")
    assert len(started) == 1
    assert there.store == here.store
    assert there.status == here.status
    assert sorted(there.report.lines("x")) == sorted(here.report.lines("x"))  # pages end in any order
    key = lambda item: (item["page"], sorted(item["file_urls"]))  # noqa: E731
    assert sorted(map(key, there.items)) == sorted(map(key, here.items))


def test_a_refresh_at_the_beginning_of_a_large_page_is_followed(crawls, origin, tmp_path):
    to = '<meta http-equiv="refresh" content="0;url=/target">'
    for name, page in {"in": to + "é" * 200_000, "late": "é" * 200_000 + to, "target": '<img src="a.png">'}.items():
        origin.on(f"/{name}", lambda _request, page=page: Answer(200, [("Content-Type", HTML)], page.encode()))
    origin.add("/a.png", PNG, content_type="image/png")
    for name, pages in {"in": [], "late": ["/late"]}.items():
        crawled = crawls.crawl(tmp_path / name, SiteSpider, url=origin.url(f"/{name}"))
        assert files(crawled) == ["a.png"], pages


# --- given up ----------------------------------------------------------------------------------------


def test_a_page_that_takes_too_long_is_given_up_and_told_and_the_crawl_goes_on(crawls, site, tmp_path, started):
    settings = {
        "MEDIACRAWL_PAGE_TIME_LIMIT_S": 0.3,
        "JOBDIR": str(tmp_path / "job"),
        "CONCURRENT_REQUESTS": 1,  # so that the slow page is the first
    }
    urls = " ".join(map(site.url, ("/slow", "/plain")))
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=urls, media=CUBE)
    assert files(crawled) == ["c.png"]
    assert crawled.status == 1
    (line,) = [line for line in crawled.report.lines("x") if "/slow" in line]
    assert "given up: reading it takes more than 0.3 s" in line
    assert "MEDIACRAWL_PAGE_TIME_LIMIT_S" in line
    assert len(started) == 2
    assert describe(tmp_path / "job") == {"pages_pending": 0, "pages_done": 2}


def test_a_page_that_needs_too_much_memory_is_given_up_and_told(crawls, origin, site, tmp_path):
    large = "<b></b>" * 1_000_000
    origin.on("/large", lambda _request: Answer(200, [("Content-Type", HTML)], large.encode()))
    settings = {"MEDIACRAWL_PAGE_MEMORY_LIMIT": 64 * 1024**2}
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=" ".join(map(site.url, ("/large", "/plain"))))
    assert files(crawled) == ["c.png"]
    (line,) = [line for line in crawled.report.lines("x") if "/large" in line]
    assert "more than 64 MiB of memory; -s MEDIACRAWL_PAGE_MEMORY_LIMIT" in line


def start_reading(folder, site, *words, settings=None):
    """A crawl that reads the slow page, and its process for that."""
    running = start(
        folder,
        *("crawl", "site", "-a", f"url={site.url('/slow')} {site.url('/plain')}", "-a", f"media={CUBE}"),
        *words,
        settings={"MEDIACRAWL_PAGE_TIME_LIMIT_S": 0} | (settings or {}),
    )
    wait_until(lambda: [pid for pid in children_of(running.process.pid) if is_busy(pid)])
    return running, children_of(running.process.pid)


def is_busy(pid):
    """Whether a process has used more than a second: it has begun with the page."""
    fields = stat_of(pid)
    return fields != [] and int(fields[11]) + int(fields[12]) > 1.5 * os.sysconf("SC_CLK_TCK")


def is_gone(pid):
    return stat_of(pid)[:1] in ([], ["Z"])


def stat_of(pid):
    """The fields of a process behind its name; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return []


def test_a_crash_of_the_parser_costs_this_page_only(site, tmp_path):
    running, (reader,) = start_reading(tmp_path, site)
    with running:
        os.kill(reader, signal.SIGSEGV)
        done = running.wait()
    assert done.status == 1
    assert list(done.store) == ["site/127.0.0.1/c.png"]
    assert "given up: the process that read it has ended (SIGSEGV)" in done.err


def test_ctrl_c_ends_the_crawl_while_a_page_is_read_and_the_next_run_reads_it(site, tmp_path):
    running, (reader,) = start_reading(tmp_path, site, settings={"JOBDIR": "job"})
    with running:
        running.interrupt()
        done = running.wait()
    assert done.status == 3
    assert is_gone(reader)
    assert describe(tmp_path / "job")["pages_pending"] >= 1
    words = ("crawl", "site", "-a", f"url={site.url('/slow')} {site.url('/plain')}", "-a", "media=//img")
    done = run(tmp_path, *words, settings={"JOBDIR": "job"})
    assert done.status == 0
    assert [path.rpartition("/")[2] for path in done.store] == ["a.png", "b.png", "c.png"]


def test_the_process_ends_with_its_parent(site, tmp_path):
    running, (reader,) = start_reading(tmp_path, site)
    with running:
        running.kill()
        running.wait()
    wait_until(lambda: is_gone(reader))


def test_a_process_that_cannot_be_started_costs_the_page(crawls, site, tmp_path, monkeypatch):
    def refuse(_module, _end):
        raise OSError("no more processes")

    monkeypatch.setattr(page_reader, "start_module", refuse)
    crawled = crawls.crawl(tmp_path, SiteSpider, url=site.url("/plain"), media=CUBE)
    assert crawled.status == 1
    assert any(
        "no process can be started to read it: no more processes" in line for line in crawled.report.lines("x")
    )


def test_a_process_that_was_killed_between_two_pages_is_replaced(crawls, site, tmp_path, started):
    site.on("/then", lambda _request: Answer(200, [("Content-Type", HTML)], b'<img src="a.png">'))

    class Killing(SiteSpider):
        def parse_detail(self, response, **arguments):
            yield from super().parse_detail(response, **arguments)
            started[0].kill()
            started[0].wait(30)
            if response.url.endswith("/plain"):
                yield Request(response.urljoin("then"), callback=self.parse_detail)

    crawled = crawls.crawl(tmp_path, Killing, url=site.url("/plain"), media="//img[not(preceding::x)]")
    assert files(crawled) == ["a.png", "c.png"]
    assert len(started) == 2


# --- items of many files -----------------------------------------------------------------------------


class WithHook(MediaFilesPipeline):
    def file_path(self, request, response=None, info=None, *, item=None):
        return f"hook/{request.url.rpartition('/')[2]}"


class WithRequests(MediaFilesPipeline):
    def get_media_requests(self, item, info):
        yield from super().get_media_requests(item, info)


@pytest.mark.parametrize("pipeline", [MediaFilesPipeline, WithHook, WithRequests])
def test_an_item_of_many_files_is_handled_in_parts(crawls, origin, tmp_path, monkeypatch, pipeline):
    monkeypatch.setattr(pipelines, "_AT_ONCE", 4)
    names = [f"{number}.png" for number in range(12)]
    for name in names:
        origin.add(f"/{name}", PNG + name.encode(), content_type="image/png")
    urls = [origin.url(f"/{name}") for name in (*names, "missing.png", "0.png")]
    settings = {"ITEM_PIPELINES": {pipeline: 1}}
    items = items_spider({"file_urls": urls}, {"file_urls": urls[:4]}, {"file_urls": urls[:8]}, {"file_urls": []})
    crawled = crawls.crawl(tmp_path, items, settings)
    by_length = {len(item["file_urls"]): item for item in crawled.items}
    assert [file["url"] for file in by_length[14]["files"]] == [*urls[:12], urls[13]]
    assert [error["url"] for error in by_length[14]["file_errors"]] == [urls[12]]
    assert {length: len(item["files"]) for length, item in by_length.items()} == {14: 13, 8: 8, 4: 4, 0: 0}
    assert (crawled.report.new, crawled.report.failed, crawled.report.unsettled) == (12, 1, 0)


@pytest.mark.parametrize("pipeline", [MediaFilesPipeline, WithHook])
def test_a_stop_ends_an_item_of_many_files_at_once(crawls, origin, tmp_path, monkeypatch, pipeline):
    monkeypatch.setattr(pipelines, "_AT_ONCE", 4)
    for number in range(4000):  # none ends by itself
        origin.add(f"/{number}.png", PNG * 1000, content_type="image/png", faults=[limit_per_connection(1)])

    class Stopping(items_spider({"file_urls": [origin.url(f"/{number}.png") for number in range(4000)]})):
        @classmethod
        def from_crawler(cls, crawler, *args, **kwargs):
            spider = super().from_crawler(crawler, *args, **kwargs)
            crawler.signals.connect(spider.stop, signals.request_reached_downloader)
            return spider

        def stop(self):
            self.stopping = asyncio.ensure_future(self.crawler.stop_async())

    crawled = crawls.crawl(tmp_path, Stopping, {"ITEM_PIPELINES": {pipeline: 1}})
    assert crawled.status == 3
    assert crawled.items == []
    asked = {request.path for request in origin.requests} - {"/robots.txt"}
    assert len(asked) <= 8  # the connections to a host


def test_no_other_test_has_left_a_process():
    own = subprocess.run(
        ["ps", "-o", "args", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    assert "page_process" not in own.stdout
