"""JOBDIR, as a spider and its user see it."""

from __future__ import annotations

import threading

import pytest
from crawling import assert_plain, item_of, run, sha256, start
from origin import stall_after, status
from scrapy import Request, Spider
from scrapy.core.scheduler import Scheduler
from scrapy.exceptions import IgnoreRequest

from mediacrawl.archive import Archive, Failure
from mediacrawl.errors import DiskFull, JobInUse
from mediacrawl.frontier.sqlite import SqliteFrontier, describe
from mediacrawl.spiders.site import SiteSpider


@pytest.fixture
def crawl(crawls, tmp_path):
    """With JOBDIR; `pages` closes the crawl after so many answers, as CLOSESPIDER_PAGECOUNT does."""

    def crawl(spider, pages=0, settings=None, **arguments):
        job = {"JOBDIR": str(tmp_path / "job"), "CLOSESPIDER_PAGECOUNT": pages, "ROBOTSTXT_OBEY": False}
        return crawls.crawl(tmp_path, spider, job | (settings or {}), **arguments)

    return crawl


def chain(origin, length, delay_s=0.0):
    """A stop lets what is all but through end, so a crawl that is to be stopped must not be too quick."""
    for number in range(length):
        html = f'<a rel="next" href="/{number + 1}">Next</a>' if number < length - 1 else "the end"
        html += f'<a href="/{"other" * number}">a link that no other page has</a>'
        origin.page(f"/{number}", html, delay_s=delay_s)
    return origin.url("/0")


def paths(origin):
    return [request.path for request in origin.requests]


def test_a_page_is_not_done_before_the_failure_of_its_file_is_in_the_ledger(crawl, origin, monkeypatch):
    origin.page("/0", '<img src="/gone.jpg"><a rel="next" href="/1">Next</a>')
    origin.page("/1", '<a rel="next" href="/2">Next</a>')
    origin.page("/2", "the end")
    events, ledger = [], threading.Event()
    write, done = Archive.write, SqliteFrontier.done

    def written(self, changes):
        if any(isinstance(change, Failure) for change in changes):
            ledger.wait(0.5)  # longer than it takes to go on to the next page
            events.append("failure")
        return write(self, changes)

    monkeypatch.setattr(Archive, "write", written)
    monkeypatch.setattr(SqliteFrontier, "done", lambda self, ids: events.extend(ids := list(ids)) or done(self, ids))
    assert crawl(SiteSpider, url=origin.url("/0")).status == 1
    of_page_0 = min(event for event in events if event != "failure")
    assert events.index("failure") < events.index(of_page_0)


def test_a_page_is_not_done_where_the_failure_of_its_file_cannot_be_noted(crawl, origin, tmp_path, monkeypatch):
    origin.page("/0", '<img src="/gone.jpg">')
    write = Archive.write

    def full(self, changes):
        if any(isinstance(change, Failure) for change in changes):
            raise DiskFull("no room for the ledger")
        return write(self, changes)

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "write", full)
        assert crawl(SiteSpider, url=origin.url("/0")).status == 4
    assert describe(tmp_path / "job")["pages_pending"] == 1
    origin.forget()
    again = crawl(SiteSpider, url=origin.url("/0"))
    assert (again.status, paths(origin)) == (1, ["/0", "/gone.jpg"])


def test_start_pages_are_not_asked_for_again_in_a_job_that_goes_on(crawl, origin):
    url = chain(origin, 6, delay_s=0.05)
    first = crawl(SiteSpider, pages=2, url=url)
    assert (first.status, first.reason) == (3, "closespider_pagecount")
    seen = paths(origin)
    origin.forget()
    second = crawl(SiteSpider, url=url)
    assert (second.reason, second.report.pages_failed) == ("finished", 0)
    assert "/0" not in paths(origin)
    assert sorted({*seen, *paths(origin)}) == ["/0", "/1", "/2", "/3", "/4", "/5"]


def test_a_job_that_is_finished_begins_anew(crawl, origin, tmp_path):
    url = chain(origin, 3)
    for _ in range(2):
        crawled = crawl(SiteSpider, url=url)
        assert (crawled.reason, crawled.report.pages_failed) == ("finished", 0)
        assert paths(origin) == ["/0", "/1", "/2"]
        assert describe(tmp_path / "job")["pages_pending"] == 0
        origin.forget()


def test_without_a_job_folder_scrapys_own_scheduler_works(crawls, origin, tmp_path):
    class Looks(SiteSpider):
        def parse(self, response, **_):
            assert isinstance(self.crawler.engine.scheduler, Scheduler)
            yield {"seen": True}

    assert len(crawls.crawl(tmp_path, Looks, url=chain(origin, 1)).items) == 1


def test_the_job_folder_of_another_spider_is_refused_in_one_line(crawl, origin, caplog):
    url = chain(origin, 3, delay_s=0.1)
    crawl(SiteSpider, pages=1, url=url)
    origin.forget()

    class Other(SiteSpider):
        name = "other"

    crawled = crawl(Other, url=url)
    assert crawled.status == 4
    assert isinstance(crawled.report.fatal, JobInUse)
    assert "belongs to the spider 'site', not to 'other': take another JOBDIR" in str(crawled.report.fatal)
    assert paths(origin) == []
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_a_second_process_on_the_same_job_ends_with_4_and_names_the_first(origin, tmp_path):
    origin.page("/", "text", delay_s=3600)
    words = ("crawl", "site", "-a", f"url={origin.url('/')}")
    settings = {"JOBDIR": "job", "ROBOTSTXT_OBEY": False}
    with start(tmp_path, *words, settings=settings) as first:
        origin.wait_for(lambda: origin.requests)
        second = run(tmp_path, *words, settings=settings)
        assert second.status == 4, str(second)
        assert f"the job folder job is in use by process {first.process.pid}" in second.err
        assert len(origin.requests) == 1
        first.interrupt()
        done = first.wait()
    assert done.status == 3
    assert_plain(done)


class Point:
    """What JSON cannot keep."""


class Careless(Spider):
    """Yields requests that cannot be kept in JOBDIR, between others that can."""

    name = "careless"

    def __init__(self, origin, **arguments):
        super().__init__(**arguments)
        self.origin = origin

    async def start(self):
        yield Request(self.origin.url("/0"))

    def parse(self, response):
        yield Request(self.origin.url("/1"), callback=lambda response: {"lambda": response.url})
        yield Request(self.origin.url("/1"), callback=lambda response: {"filtered": True})
        yield Request(self.origin.url("/2"), callback=self.other)
        yield Request(self.origin.url("/3"), callback=self.other, meta={"point": Point()}, priority=1)

    def other(self, response):
        yield {"url": response.url, "meta": isinstance(response.meta.get("point"), Point)}


def test_what_json_cannot_keep_is_kept_in_memory_and_told(crawl, origin, tmp_path, caplog):
    chain(origin, 4)
    crawled = crawl(Careless, origin=origin)
    assert paths(origin)[0] == "/0"
    assert sorted(paths(origin)) == ["/0", "/1", "/2", "/3"]
    urls = [(item.get("lambda") or item["url"], item.get("meta")) for item in crawled.items]
    assert sorted(urls, key=str) == [(origin.url("/1"), None), (origin.url("/2"), False), (origin.url("/3"), True)]
    told = [record.getMessage() for record in caplog.records if "kept in memory" in record.getMessage()]
    assert told[0].startswith(f"Request kept in memory, not in JOBDIR: {origin.url('/1')}: ")
    assert "Make its callback a method of the spider" in told[0]
    assert told[1:] == ["2 requests were kept in memory, not in JOBDIR"]
    assert "\n" not in told[0]
    assert crawled.status == 0
    assert describe(tmp_path / "job") == {"pages_pending": 0, "pages_done": 4}


def test_a_page_in_memory_that_a_stop_has_cut_off_is_reached_again_through_its_parent(crawl, origin):
    chain(origin, 4)
    origin.page("/3", "text", delay_s=3600)
    stopped = crawl(Careless, origin=origin, settings={"CLOSESPIDER_TIMEOUT": 0.5})
    assert stopped.status == 3
    origin.forget()
    origin.page("/3", "text")
    crawled = crawl(Careless, origin=origin)
    assert "/0" in paths(origin)
    assert (origin.url("/3"), True) in [(item.get("url"), item.get("meta")) for item in crawled.items]
    assert (crawled.status, crawled.reason) == (0, "finished")


def test_what_a_request_carries_is_there_after_a_restart(crawl, origin):
    class Carries(Spider):
        name = "carries"

        async def start(self):
            yield Request(origin.url("/0"))

        def parse(self, response):
            yield Request(
                origin.url("/1"), self.detail, meta={"depth_of": 3}, cb_kwargs={"who": "月"}, headers={"X-Key": "7"}
            )

        def detail(self, response, who):
            yield {"who": who, "depth_of": response.meta["depth_of"]}

    chain(origin, 2)
    origin.page("/1", "text", delay_s=3600)
    assert crawl(Carries, pages=1).items == []
    origin.page("/1", "text")
    assert [(item["who"], item["depth_of"]) for item in crawl(Carries).items] == [("月", 3)]
    assert {request.headers["x-key"] for request in origin.requests_for("/1")} == {"7"}


def test_each_way_in_which_a_page_can_end_lets_the_job_finish(crawl, origin, tmp_path, caplog):
    class Forbids:
        def process_request(self, request):
            if request.url.endswith("/forbidden"):
                raise IgnoreRequest

    class Many(Spider):
        name = "many"
        allowed_domains = ("127.0.0.1",)

        async def start(self):
            yield Request(origin.url("/0"))

        def parse(self, response):
            for path in ("/gone", "/moved", "/busy", "/raises", "/forbidden", "/again", "/drops", "/no-such"):
                yield Request(origin.url(path), callback=self.detail, errback=self.failed)
            yield Request(origin.url("/gone-without-errback"), callback=self.detail)
            yield Request("http://elsewhere.invalid/", callback=self.detail)
            yield Request(origin.url("/again"), callback=self.detail, dont_filter=True)

        def detail(self, response):
            if response.url.endswith("/raises"):
                raise RuntimeError("mine")
            if response.url.endswith("/drops"):
                yield {"file_urls": "no list"}
            yield {"url": response.url}

        def failed(self, failure):
            yield {"failed": failure.type.__name__}

    chain(origin, 1)
    for path in ("/there", "/busy", "/raises", "/again", "/drops", "/forbidden"):
        origin.page(path, "text")
    origin.redirect("/moved", "/there")
    origin.fault("/busy", status(500))
    crawled = crawl(Many, settings={"DOWNLOADER_MIDDLEWARES": {Forbids: 1}})
    assert crawled.reason == "finished"
    assert describe(tmp_path / "job")["pages_pending"] == 0
    urls = sorted(item["url"].rpartition("/")[2] for item in crawled.items if "url" in item)
    assert urls == ["again", "again", "busy", "drops", "there"]
    failures = sorted(item["failed"] for item in crawled.items if "failed" in item)
    assert failures == ["HttpError", "HttpError", "IgnoreRequest"]
    assert crawled.status == 1
    caplog.clear()


def test_a_page_whose_file_is_on_its_way_is_not_done_before_that_is_safe(crawl, crawls, origin, tmp_path):
    url = origin.page("/", '<img src="/a.jpg">')
    body = b"\1" * 4000
    origin.add("/a.jpg", body, content_type="image/jpeg", faults=[stall_after(1000)])

    class Closed(SiteSpider):
        """Closed by a site that has sent a part of its file."""

        @classmethod
        def from_crawler(cls, crawler, *args, **kwargs):
            threading.Thread(target=cls.close_later, args=(crawler,), daemon=True).start()
            return super().from_crawler(crawler, *args, **kwargs)

        @staticmethod
        def close_later(crawler):
            origin.wait_for(lambda: any(request.stalled for request in origin.requests))
            crawls.do(crawler.engine.close_spider_async(reason="closespider_timeout"))

    first = crawl(Closed, url=url)
    assert (first.status, first.reason) == (3, "closespider_timeout")
    assert describe(tmp_path / "job") == {"pages_pending": 1, "pages_done": 0}
    second = crawl(SiteSpider, url=url)
    assert second.status == 0
    assert set(second.store.values()) == {sha256(body)}
    assert paths(origin) == ["/", "/a.jpg", "/", "/a.jpg"]


def test_items_from_start_and_pages_share_a_job(crawl, origin):
    body = b"\1" * 4000
    image = origin.add("/a.jpg", body, content_type="image/jpeg")
    chain(origin, 2)

    class Both(Spider):
        name = "both"

        async def start(self):
            yield item_of(image)
            yield Request(origin.url("/0"))

        def parse(self, response):
            yield {"url": response.url}

    crawled = crawl(Both)
    assert len(crawled.items) == 2
    assert set(crawled.store.values()) == {sha256(body)}
