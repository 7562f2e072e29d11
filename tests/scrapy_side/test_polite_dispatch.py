"""Media that go together: what each is asked with must not depend on whom it followed."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from crawling import BIG, basic_auth, item_of, items_spider, run, start
from origin import Pattern, redirect, stall_after, status
from scrapy import Request, Spider, signals

from mediacrawl.crawl.context import CrawlContext
from mediacrawl.crawl.polite_dispatch import BatchDispatcher
from mediacrawl.errors import RobotsUnknown
from mediacrawl.pipelines import MediaFilesPipeline
from mediacrawl.workers import executor
from mediacrawl.workers.processes import WorkerProcesses

MANY = 150
BODY = b"\xff\xd8\xff" + b"j" * 3997


@pytest.fixture
def urls(origin):
    return [origin.add(f"/{n}.jpg", Pattern(500 + n, n), content_type="image/jpeg") for n in range(MANY)]


@pytest.fixture
def batches(monkeypatch):
    """The sizes of all batches that are sent."""
    sizes, send = [], BatchDispatcher.send

    async def noted(self, batch):
        if batch.requests[0].batchable:
            sizes.append(len(batch.requests))
        return await send(self, batch)

    monkeypatch.setattr(BatchDispatcher, "send", noted)
    return sizes


def pages(urls, size=30, **fields):
    return items_spider(*(item_of(*urls[at : at + size], **fields) for at in range(0, len(urls), size)), of_page=True)


def media(origin):
    return [request for request in origin.requests if request.path.endswith(".jpg")]


def test_many_files_of_a_site_go_together_over_no_more_connections_than_are_allowed(
    crawls, tmp_path, origin, urls, batches
):
    crawled = crawls.crawl(tmp_path, pages(urls), {"CONCURRENT_REQUESTS_PER_DOMAIN": 3})
    assert crawled.status == 0
    assert sorted(crawled.store.values()) == sorted(Pattern(500 + n, n).sha256() for n in range(MANY))
    assert max(batches) > 1
    assert origin.peak <= 3
    assert len(media(origin)) == MANY
    assert {file["status"] for file in crawled.files} == {"downloaded"}


@pytest.mark.parametrize("processes", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_the_statistics_are_those_of_as_many_requests(crawls, tmp_path, urls, batches, monkeypatch, processes):
    monkeypatch.setattr(executor, "WORKERS_FROM", 10)
    monkeypatch.setattr(WorkerProcesses, "start", lambda _: True)
    settings = {"ROBOTSTXT_OBEY": False, "MEDIACRAWL_PROCESSES": processes}
    crawled = crawls.crawl(tmp_path, pages(urls), settings)
    assert max(batches) > 1
    for name in ("request_count", "request_method_count/GET", "response_count", "response_status_count/200"):
        assert crawled.stat(f"downloader/{name}") == MANY + 1, name  # and the page
    assert crawled.stat("response_received_count") == MANY + 1
    assert crawled.stat("file_status_count/downloaded") == MANY


def test_each_is_sent_what_all_of_its_site_get_and_what_is_its_own(crawls, tmp_path, origin, urls, batches):
    items = [item_of(*urls[at : at + 10], page=origin.url(f"/page-{at}")) for at in range(0, MANY, 10)]
    settings = {"USER_AGENT": "me/1", "DEFAULT_REQUEST_HEADERS": {"X-All": "yes"}, "ROBOTSTXT_OBEY": False}
    spider = items_spider(*items, of_page=True)
    assert crawls.crawl(tmp_path, spider, settings).status == 0
    assert max(batches) > 1
    for request in media(origin):
        number = int(request.path[1:-4])
        assert request.headers["user-agent"] == "me/1"
        assert request.headers["x-all"] == "yes"
        assert request.headers["referer"] == origin.url(f"/page-{number // 10 * 10}")


def test_robots_txt_is_asked_for_each(crawls, tmp_path, origin, urls, batches):
    origin.add("/robots.txt", b"User-agent: *\nDisallow: /1\n", content_type="text/plain")
    crawled = crawls.crawl(tmp_path, pages(urls))
    asked = {request.path for request in media(origin)}
    assert max(batches) > 1
    assert asked == {f"/{n}.jpg" for n in range(MANY) if not str(n).startswith("1")}
    assert crawled.report.failed == MANY - len(asked)
    assert {error["reason"] for error in crawled.errors} == {"Forbidden by robots.txt"}


def test_a_robots_txt_for_one_user_agent_counts_for_who_names_itself_so(crawls, tmp_path, origin, urls, batches):
    origin.add("/robots.txt", b"User-agent: bad\nDisallow: /\n", content_type="text/plain")

    class Own(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            for request in super().get_media_requests(item, info):
                if request.url.endswith("7.jpg"):
                    request.headers["User-Agent"] = "bad"
                yield request

    crawled = crawls.crawl(tmp_path, pages(urls), {"ITEM_PIPELINES": {Own: 1}})
    assert max(batches) > 1
    assert {request.path[-5] for request in media(origin)} == set("012345689")
    assert crawled.report.failed == MANY // 10


def test_one_that_fails_fails_alone(crawls, tmp_path, origin, urls, batches):
    for number in range(0, MANY, 7):
        origin.fault(f"/{number}.jpg", status(404, times=None))
    crawled = crawls.crawl(tmp_path, pages(urls))
    assert max(batches) > 1
    assert crawled.report.new == MANY - len(range(0, MANY, 7))
    assert {error["url"] for error in crawled.errors} == {urls[number] for number in range(0, MANY, 7)}
    assert len(media(origin)) == MANY


@pytest.mark.parametrize("processes", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_redirect_is_followed_only_to_where_robots_txt_lets_it(
    crawls, tmp_path, origin, urls, batches, monkeypatch, processes
):
    monkeypatch.setattr(executor, "WORKERS_FROM", 0)
    monkeypatch.setattr(WorkerProcesses, "start", lambda _: True)
    origin.add("/robots.txt", b"User-agent: *\nDisallow: /private/\n", content_type="text/plain")
    allowed, private = origin.add("/x/a.png", b"a"), origin.add("/private/a.png", b"b")
    for number in range(0, MANY, 10):
        origin.fault(f"/{number}.jpg", redirect(private if number % 20 else allowed, times=None))
    crawled = crawls.crawl(tmp_path, pages(urls), {"MEDIACRAWL_PROCESSES": processes})
    assert max(batches) > 1
    assert origin.requests_for("/private/a.png") == []
    assert len(origin.requests_for("/x/a.png")) == 8
    assert {error["url"] for error in crawled.errors} == {urls[number] for number in range(10, MANY, 20)}


class Seen:
    """A downloader middleware of a project."""

    urls: ClassVar[list[str]] = []

    def process_request(self, request):
        self.urls.append(request.url)


@pytest.mark.parametrize(
    "settings",
    [
        {"DOWNLOAD_DELAY": 0.001},
        {"AUTOTHROTTLE_ENABLED": True, "AUTOTHROTTLE_START_DELAY": 0.001, "AUTOTHROTTLE_MAX_DELAY": 0.001},
        {"HTTPCACHE_ENABLED": True},
        {"DOWNLOAD_SLOTS": {"127.0.0.1": {"delay": 0.001}}},
        {"DOWNLOADER_MIDDLEWARES": {Seen: 450}},
        {"CLOSESPIDER_PAGECOUNT": 10_000},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_where_it_would_not_be_the_same_each_goes_alone(crawls, tmp_path, urls, batches, settings):
    Seen.urls.clear()
    crawled = crawls.crawl(tmp_path, pages(urls[:40]), {"HTTPCACHE_DIR": str(tmp_path / "cache")} | settings)
    assert crawled.report.new == 40
    assert batches == []
    if "DOWNLOADER_MIDDLEWARES" in settings:
        assert set(urls[:40]) <= set(Seen.urls)


def test_who_listens_to_each_answer_hears_of_each(crawls, tmp_path, urls, batches):
    heard = []

    class Listener:
        @classmethod
        def from_crawler(cls, crawler):
            listener = cls()
            crawler.signals.connect(listener.received, signals.response_received)
            return listener

        def received(self, response):
            heard.append(response.url)

    crawls.crawl(tmp_path, pages(urls[:40]), {"EXTENSIONS": {Listener: 1}})
    assert set(urls[:40]) <= set(heard)
    assert batches == []


@pytest.mark.parametrize("own", [{"cookies": {"a": "1"}}, {"meta": {"proxy": ""}}, {"headers": {"Cookie": "a=1"}}])
def test_a_request_with_cookies_or_meta_of_its_own_goes_alone(crawls, tmp_path, origin, urls, batches, own):
    class Own(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            return [request.replace(**own) for request in super().get_media_requests(item, info)]

    crawled = crawls.crawl(tmp_path, pages(urls[:40]), {"ITEM_PIPELINES": {Own: 1}})
    assert (crawled.report.new, batches) == (40, [])
    if "cookies" in own:  # Scrapy's middleware drops a header in favour of its jar
        assert {request.headers["cookie"] for request in media(origin)} == {"a=1"}


def test_cookies_of_the_crawl_are_sent_with_each(crawls, tmp_path, origin, urls):
    origin.page("/", "".join(f'<img src="{url}">' for url in urls), headers=[("Set-Cookie", "session=7; Path=/")])
    done = run(tmp_path, "crawl", "site", "-a", f"url={origin.url('/')}")
    assert done.status == 0, str(done)
    assert {request.headers.get("cookie") for request in media(origin)} == {"session=7"}


def test_credentials_of_a_site_go_with_each_and_to_no_other(crawls, tmp_path, origin, urls):
    for number in range(0, MANY, 10):
        origin.fault(f"/{number}.jpg", redirect(origin.url("/target.jpg").replace("127.0.0.1", "localhost")))
    origin.add("/target.jpg", b"t", content_type="image/jpeg")
    spider = pages(urls)
    settings = {"HTTPAUTH_USER": "me", "HTTPAUTH_PASS": "secret", "HTTPAUTH_DOMAIN": urlsplit(urls[0]).netloc}
    crawled = crawls.crawl(tmp_path, spider, settings)
    assert crawled.status == 0
    for request in media(origin):
        expected = None if request.path == "/target.jpg" else basic_auth("me", "secret")
        assert request.headers.get("authorization") == expected


def test_a_large_file_does_not_hold_up_those_behind_it(crawls, tmp_path, origin, urls, batches, monkeypatch):
    """What a site brings slowly travels alone: as many connections as are allowed are busy."""
    monkeypatch.setattr("mediacrawl.crawl.context.BATCH_S", 0.0)
    monkeypatch.setattr("mediacrawl.fetch.batch_size.BATCH_S", 0.0)
    assert crawls.crawl(tmp_path, pages(urls[:60])).status == 0
    assert set(batches) == {1}


def test_of_a_site_that_is_slow_as_many_are_under_way_as_are_allowed(origin, tmp_path):
    """Two go ahead, and the others do not wait for these to end."""
    urls = [origin.add(f"/{n}.jpg", BIG, content_type="image/jpeg", faults=[stall_after(10)]) for n in range(8)]
    page = origin.page("/", "".join(f'<img src="{url}">' for url in urls))
    with start(tmp_path, "crawl", "site", "-a", f"url={page}", settings={"ROBOTSTXT_OBEY": False}) as running:
        origin.wait_for(lambda: sum(request.stalled for request in origin.requests) == 8)
        running.interrupt()
        assert running.wait().status == 3


def test_an_interrupted_batch_goes_on_with_the_next_run(origin, tmp_path, urls):
    (tmp_path / "list").write_text("\n".join(urls))
    origin.fault("/120.jpg", status(503, times=1))
    words = ["crawl", "urllist", "-a", "file=list"]
    with start(
        tmp_path, *words, settings={"MEDIACRAWL_BACKOFF_S": 3600, "MEDIACRAWL_BACKOFF_MAX_S": 3600}
    ) as running:
        origin.wait_for(lambda: origin.requests_for("/120.jpg"))
        began = time.monotonic()
        running.interrupt()
        done = running.wait()
    assert done.status == 3, str(done)
    assert time.monotonic() - began < 20
    again = run(tmp_path, *words)
    assert again.status == 0, str(again)
    assert len(again.store) == MANY


def test_a_picture_does_not_wait_for_the_end_of_a_film(crawls, tmp_path, origin, urls):
    def pictures():
        return len({request.path for request in media(origin)})

    def film(_request):  # ends when all pictures have been asked for
        origin.wait_for(lambda: pictures() == MANY)
        return b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 4\r\n\r\n\0ilm"

    items = [item_of(*urls[at : at + 10]) for at in range(0, 100, 10)]  # then the site is known to be fast
    last = item_of(origin.on("/film.mp4", film), *urls[100:])

    class FilmLast(Spider):
        name = "items"

        async def start(self):
            yield Request("data:,")

        async def parse(self, _response):
            for item in items:
                yield item
            await asyncio.to_thread(origin.wait_for, lambda: pictures() == 100)
            yield last

    crawled = crawls.crawl(tmp_path, FilmLast, {"ROBOTSTXT_OBEY": False})
    assert crawled.status == 0
    assert len(crawled.store) == MANY + 1


def test_files_of_a_slow_slot_do_not_hold_up_those_of_another_one(crawls, tmp_path, origin):
    slow = [origin.add(f"/slow{number}.jpg", BODY, content_type="image/jpeg") for number in range(3)]
    plain = origin.add("/plain.jpg", BODY, content_type="image/jpeg")

    class Slots(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            return [Request(url, meta={"download_slot": "slow"} if url in slow else {}) for url in item["file_urls"]]

    settings = {
        "ITEM_PIPELINES": {Slots: 1},
        "ROBOTSTXT_OBEY": False,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "DOWNLOAD_SLOTS": {"slow": {"concurrency": 1, "delay": 0.4, "jitter": 0}},
    }
    crawled = crawls.crawl(tmp_path, items_spider(item_of(*slow, plain), of_page=True), settings)
    assert len(crawled.files) == 4
    assert [request.path for request in media(origin)].index("/plain.jpg") < 2


@pytest.mark.parametrize("own", [False, True])
def test_a_redirect_ends_also_where_nobody_gets_to_know_the_robots_txt_of_its_target(
    crawls, tmp_path, origin, monkeypatch, own
):
    """As with a robots.txt middleware of a project that forgets at once what it has read."""

    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    def may_follow(_context, _request, url, _cancel):
        raise RobotsUnknown(url, "not known", target=url)

    monkeypatch.setattr(CrawlContext, "may_follow", may_follow)
    moved = origin.redirect("/a.jpg", origin.add("/b.jpg", BODY, content_type="image/jpeg"))
    settings = {"ITEM_PIPELINES": {Own if own else MediaFilesPipeline: 1}}
    crawled = crawls.crawl(tmp_path, items_spider(item_of(moved), of_page=True), settings)
    assert ([error["reason"] for error in crawled.errors], crawled.status) == (["not known"], 1)
    assert len(origin.requests_for("/a.jpg")) == 21
    assert crawled.report.failed == 1
