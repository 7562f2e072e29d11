"""Methods of a project's own that do what nobody expects: each crawl ends, and says what became of each file."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from contextlib import suppress
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest
from crawling import item_of, items_spider, sha256
from origin import Pattern
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from scrapy.spiders import Spider
from twisted.python.failure import Failure

from mediacrawl.crawl.context import CrawlContext
from mediacrawl.crawl.results import MediaError
from mediacrawl.pipelines import MediaFilesPipeline

BODY = b"\xff\xd8\xff" + b"j" * 3997


@pytest.fixture
def url(origin):
    return origin.add("/a.jpg", BODY, content_type="image/jpeg")


@pytest.fixture
def crawl(crawls, tmp_path):
    def crawl(pipeline, *items, settings=None, **attributes):
        chosen = {"ITEM_PIPELINES": {pipeline: 1}, "ROBOTSTXT_OBEY": False} | (settings or {})
        return crawls.crawl(tmp_path, items_spider(*items, of_page=True, **attributes), chosen)

    return crawl


def counts(crawled):
    report = crawled.report
    return {"new": report.new, "present": report.present, "failed": report.failed, "wanted": report.wanted}


async def begun_and_cancelled(awaitable):
    """As `asyncio.wait_for` does where the time is over."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    raise TimeoutError("too slow for me")


# --- other requests than it was given ---------------------------------------------------------------


@pytest.mark.parametrize("change", [{"url": "http://127.0.0.1/other.jpg"}, {"meta": {"media_key": "other"}}])
def test_a_file_is_published_for_which_it_was_fetched_whatever_request_is_named(crawl, url, change):
    class Own(MediaFilesPipeline):
        async def media_downloaded(self, response, request, info, *, item=None):
            other = request.replace(**{name: value for name, value in change.items() if name != "meta"})
            other.meta.update(change.get("meta", {}))
            return await super().media_downloaded(response, other, info, item=item)

    crawled = crawl(Own, item_of(url))
    assert (list(crawled.store.values()), crawled.status) == ([sha256(BODY)], 0)
    again = crawl(Own, item_of(url))
    assert (again.report.present, again.report.new) == (1, 0)


def test_another_file_may_be_asked_about_than_is_fetched(crawl, origin, url):
    class Own(MediaFilesPipeline):
        async def media_to_download(self, request, info, *, item=None):
            other = request.replace(url=f"{request.url}?other")
            return await super().media_to_download(other, info, item=item)

    crawled = crawl(Own, item_of(url), item_of(url))
    assert ([file["url"] for file in crawled.files], crawled.status) == ([url] * 2, 0)
    assert len(origin.requests_for("/a.jpg")) == 1


def test_a_request_may_be_changed_after_the_ledger_was_asked(crawl, origin, url):
    class Own(MediaFilesPipeline):
        async def media_to_download(self, request, info, *, item=None):
            known = await super().media_to_download(request, info, item=item)
            request._set_url(f"{request.url}?size=large")
            return known

    origin.add("/a.jpg?size=large", BODY * 2, content_type="image/jpeg")
    crawled = crawl(Own, item_of(url))
    assert (list(crawled.store.values()), crawled.status) == ([sha256(BODY * 2)], 0)


def test_a_file_is_published_once(crawl, url, caplog):
    class Own(MediaFilesPipeline):
        async def media_downloaded(self, response, request, info, *, item=None):
            await super().media_downloaded(response, request, info, item=item)
            return await super().media_downloaded(response, request, info, item=item)

    crawled = crawl(Own, item_of(url))
    assert [error["reason"] for error in crawled.errors] == ["it was given its name already"]
    assert (list(crawled.store.values()), crawled.status) == ([sha256(BODY)], 1)
    caplog.clear()


def test_the_ledger_may_be_left_out(crawl, url):
    class Own(MediaFilesPipeline):
        async def media_to_download(self, request, info, *, item=None):
            return None

    assert counts(crawl(Own, item_of(url), item_of(url))) == {"new": 1, "present": 0, "failed": 0, "wanted": 1}
    assert crawl(Own, item_of(url)).report.present == 1


# --- what is given up -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["media_to_download", "media_downloaded"])
def test_who_does_not_wait_for_an_answer_fails_that_file_alone(crawl, origin, url, method, caplog):
    other = origin.add("/b.jpg", BODY, content_type="image/jpeg")

    class Own(MediaFilesPipeline):
        pass

    async def impatient(self, *arguments, **named):
        call = getattr(MediaFilesPipeline, method)(self, *arguments, **named)
        request = next(one for one in arguments if isinstance(one, Request))
        return await (begun_and_cancelled(call) if request.url == url else call)

    setattr(Own, method, impatient)
    crawled = crawl(Own, item_of(url, other))
    assert ([file["url"] for file in crawled.files], crawled.status) == ([other], 1)
    assert [error["reason"] for error in crawled.errors] == ["too slow for me"]
    assert crawl(MediaFilesPipeline, item_of(url, other)).status == 0
    caplog.clear()


def test_whoever_swallows_failures_frees_the_places_of_their_files(crawl, origin, monkeypatch):
    monkeypatch.setattr("mediacrawl.fetch.resources.allow_many_files", lambda: 1)
    urls = [origin.add(f"/{number}.jpg", BODY, content_type="image/jpeg") for number in range(6)]

    class Own(MediaFilesPipeline):
        async def media_downloaded(self, response, request, info, *, item=None):
            if urlsplit(request.url).path[1] in "024":
                raise ValueError("not this one")
            return await super().media_downloaded(response, request, info, item=item)

        def media_failed(self, failure, request, info):
            return None

    crawled = crawl(Own, item_of(*urls))
    assert [file and file["url"] for file in crawled.files] == [None, urls[1], None, urls[3], None, urls[5]]


def test_a_second_item_does_not_ask_again_for_what_has_just_failed(crawl, origin, url, caplog):
    class Own(MediaFilesPipeline):
        async def media_downloaded(self, response, request, info, *, item=None):
            raise ValueError("I do not want it")

    crawled = crawl(Own, item_of(url), item_of(url), item_of(url))
    assert [error["reason"] for error in crawled.errors] == ["I do not want it"] * 3
    assert len(origin.requests_for("/a.jpg")) == 1
    assert (crawled.report.failed, crawled.report.wanted, crawled.status) == (1, 1, 1)
    caplog.clear()


# --- what raises, and what is no string -------------------------------------------------------------


def test_a_path_may_be_a_path(crawl, origin, url):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return PurePosixPath("mine") / PurePosixPath(urlsplit(request.url).path).name

    crawled = crawl(Own, item_of(url, origin.add("/b.jpg", BODY, content_type="image/jpeg")))
    assert (sorted(crawled.store), crawled.status) == (["mine/a.jpg", "mine/b.jpg"], 0)


@pytest.mark.parametrize("is_own", [False, True])
def test_a_media_key_that_raises_fails_that_file_alone(crawl, url, is_own, caplog):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    def key(wanted):
        return wanted if wanted == url else {}["no such key"]

    crawled = crawl(Own if is_own else MediaFilesPipeline, item_of(url, f"{url}?other"), media_key=staticmethod(key))
    assert [file["url"] for file in crawled.files] == [url]
    assert [error["reason"] for error in crawled.errors] == ["'no such key'"]
    assert counts(crawled) == {"new": 1, "present": 0, "failed": 1, "wanted": 2}
    caplog.clear()


def test_what_is_no_url_fails_once(crawl, url):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    crawled = crawl(
        Own, item_of(url, "gopher://127.0.0.1/a.jpg"), media_key=staticmethod(lambda url: f"key of {url}")
    )
    assert counts(crawled) == {"new": 1, "present": 0, "failed": 1, "wanted": 2}


def test_statistics_that_raise_are_told_and_hold_up_nothing(crawl, url, caplog):
    class Own(MediaFilesPipeline):
        def inc_stats(self, status):
            raise ValueError("no statistics")

    crawled = crawl(Own, item_of(url))
    assert ([file["url"] for file in crawled.files], crawled.status) == ([url], 0)
    assert "inc_stats has raised" in caplog.text
    caplog.clear()


def test_only_get_is_sent_also_where_the_ledger_is_left_out(crawl, origin, url):
    class Own(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            return [Request(url, method="POST", body=b"x=1") for url in item["file_urls"]]

        async def media_to_download(self, request, info, *, item=None):
            return None

    crawled = crawl(Own, item_of(url))
    assert [error["reason"] for error in crawled.errors] == ["only GET can be resumed, not POST"]
    assert origin.requests == []


# --- each file is counted once ----------------------------------------------------------------------


def test_a_file_that_a_method_asks_for_under_another_key_is_counted_once(crawl, origin, url):
    class Own(MediaFilesPipeline):
        async def media_to_download(self, request, info, *, item=None):
            request.meta["media_key"] = f"own {request.url}"
            return await super().media_to_download(request, info, item=item)

    lost = origin.url("/lost.jpg")
    assert counts(crawl(Own, item_of(url))) == {"new": 1, "present": 0, "failed": 0, "wanted": 1}
    assert counts(crawl(Own, item_of(url, lost))) == {"new": 0, "present": 1, "failed": 1, "wanted": 2}


def test_a_failure_is_noted_once_however_often_a_method_says_it(crawl, url, caplog):
    class Own(MediaFilesPipeline):
        async def media_downloaded(self, response, request, info, *, item=None):
            raise ValueError("not this one")

        def media_failed(self, failure, request, info):
            for _ in range(3):
                with suppress(MediaError):
                    super().media_failed(failure, request, info)
            return super().media_failed(failure, request, info)

    crawled = crawl(Own, item_of(url), item_of(url))
    assert counts(crawled) == {"new": 0, "present": 0, "failed": 1, "wanted": 1}
    assert (crawled.status, len(crawled.errors)) == (1, 2)
    caplog.clear()


def test_a_file_that_comes_from_a_mirror_is_one_more_than_the_one_that_failed(crawl, origin, url, caplog):
    lost = origin.url("/lost.jpg")

    class Own(MediaFilesPipeline):
        async def media_failed(self, failure, request, info):
            with suppress(MediaError):
                super().media_failed(failure, request, info)
            return await self._known_or_fetched(request.replace(url=url), info, None)

    crawled = crawl(Own, item_of(lost))
    assert [file["url"] for file in crawled.files] == [url]
    assert counts(crawled) == {"new": 1, "present": 0, "failed": 1, "wanted": 2}
    caplog.clear()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_failure_of_which_nothing_is_made_is_still_one(crawl, url, is_async, caplog):
    class Own(MediaFilesPipeline):
        async def media_downloaded(self, response, request, info, *, item=None):
            raise ValueError("not this one")

    async def nothing_later(self, failure, request, info):
        return None

    Own.media_failed = nothing_later if is_async else lambda self, failure, request, info: None
    crawled = crawl(Own, item_of(url, url))
    assert (crawled.files, counts(crawled)) == ([None, None], {"new": 0, "present": 0, "failed": 1, "wanted": 1})
    assert (crawled.status, list(crawled.report.reasons)) == (1, ["not this one"])
    caplog.clear()


def test_a_result_that_comes_in_the_turn_of_another_file_counts_for_its_own(crawl, origin, url, caplog):
    """As with `deferToThread`: what runs then has the context of anybody."""
    lost = origin.url("/lost.jpg")

    class Own(MediaFilesPipeline):
        queue = None

        async def work(self):
            while True:
                call, future = await self.queue.get()
                try:
                    future.set_result(await call())
                except Exception as error:
                    future.set_exception(error)

        async def media_to_download(self, request, info, *, item=None):
            if self.queue is None:
                self.queue = asyncio.Queue()
                self.worker = asyncio.ensure_future(self.work())
            future = asyncio.get_running_loop().create_future()
            ask = super().media_to_download
            self.queue.put_nowait((lambda: ask(request, info, item=item), future))
            return await future

        def media_failed(self, failure, request, info):
            raise failure.value

    crawled = crawl(Own, item_of(url, lost))
    assert counts(crawled) == {"new": 1, "present": 0, "failed": 1, "wanted": 2}
    assert counts(crawl(Own, item_of(url, lost))) == {"new": 0, "present": 1, "failed": 1, "wanted": 2}
    caplog.clear()


@pytest.mark.parametrize("key", [None, ""])
def test_a_media_key_that_is_none_is_the_one_of_the_url(crawl, origin, url, key):
    class Own(MediaFilesPipeline):
        def media_key(self, request):
            return key

    other = origin.add("/b.jpg", BODY + BODY, content_type="image/jpeg")
    crawled = crawl(Own, item_of(url, other))
    assert sorted(crawled.store.values()) == sorted([sha256(BODY), sha256(BODY + BODY)])


@pytest.mark.parametrize("known", [None, {}, False])
def test_a_file_of_which_nothing_is_known_is_fetched(crawl, url, known):
    class Own(MediaFilesPipeline):
        async def media_to_download(self, request, info, *, item=None):
            return known

    assert counts(crawl(Own, item_of(url))) == {"new": 1, "present": 0, "failed": 0, "wanted": 1}


@pytest.mark.parametrize("method", ["media_to_download", "media_downloaded"])
def test_a_failure_that_is_returned_is_one(crawl, url, method, caplog):
    class Own(MediaFilesPipeline):
        pass

    setattr(Own, method, lambda self, *arguments, **named: Failure(ValueError("not this one")))
    crawled = crawl(Own, item_of(url))
    assert counts(crawled) == {"new": 0, "present": 0, "failed": 1, "wanted": 1}
    assert [error["reason"] for error in crawled.errors] == ["not this one"]
    caplog.clear()


def test_what_is_cancelled_by_a_method_fails_that_file_alone(crawl, origin, url, caplog):
    class Own(MediaFilesPipeline):
        async def media_downloaded(self, response, request, info, *, item=None):
            if request.url == url:
                raise asyncio.CancelledError
            return await super().media_downloaded(response, request, info, item=item)

    other = origin.add("/b.jpg", BODY, content_type="image/jpeg")
    crawled = crawl(Own, item_of(url, other))
    assert ([file["url"] for file in crawled.files], crawled.status) == ([other], 1)
    assert counts(crawled) == {"new": 1, "present": 0, "failed": 1, "wanted": 2}
    caplog.clear()


def test_a_failure_that_cannot_say_what_it_is_is_one_all_the_same(crawl, url, caplog):
    class Silent(Exception):
        def __str__(self):
            raise AttributeError("no words")

    class Own(MediaFilesPipeline):
        def media_failed(self, failure, request, info):
            raise Silent

        async def media_downloaded(self, response, request, info, *, item=None):
            raise Silent

    crawled = crawl(Own, item_of(url, url))
    assert counts(crawled) == {"new": 0, "present": 0, "failed": 1, "wanted": 1}
    assert [error["reason"] for error in crawled.errors] == ["Silent"] * 2
    caplog.clear()


def test_what_is_no_request_fails_alone(crawl, url, caplog):
    class Own(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            return [Request(url), None, url, Request(f"{url}?2", meta={"media_sha256": 5})]

    crawled = crawl(Own, item_of(url))
    assert (crawled.report.new, crawled.report.failed, crawled.report.wanted, crawled.status) == (1, 3, 4, 1)
    assert crawled.errors[0]["reason"] == "get_media_requests must return requests, got NoneType"
    caplog.clear()


@pytest.mark.parametrize("own", [False, True])
def test_credentials_may_have_any_letters(crawl, origin, url, own):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    crawled = crawl(Own if own else MediaFilesPipeline, item_of(url.replace("//", "//u%E2%82%AC:p%C3%BC@")))
    assert crawled.report.new == 1
    sent = origin.requests_for("/a.jpg")[0].headers["authorization"]
    assert b64decode(sent.removeprefix("Basic ")).decode() == "u€:pü"


def test_a_media_key_that_raises_for_every_item_fails_each_file_once(crawl, url, caplog):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    items = [item_of(url, f"{url}?other") for _ in range(5)]
    crawled = crawl(Own, *items, media_key=staticmethod(lambda url: {}[url]))
    assert counts(crawled) == {"new": 0, "present": 0, "failed": 2, "wanted": 2}
    caplog.clear()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("page", ["http://[::1", "http://h:99999/", "about:blank", "\ud800", 5])
def test_a_page_that_has_no_url_costs_no_file(crawl, origin, url, page, own):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    crawled = crawl(Own if own else MediaFilesPipeline, item_of(url, f"{url}?2", page=page))
    origin.add("/a.jpg?2", BODY, content_type="image/jpeg")
    assert (crawled.report.wanted, crawled.report.unsettled) == (2, 0)
    assert [file["url"] for file in crawled.files][:1] == [url]


@pytest.mark.parametrize("own", [False, True])
def test_a_url_that_cannot_be_written_fails_alone(crawl, url, own):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    crawled = crawl(Own if own else MediaFilesPipeline, item_of("\ud800", "http://127.0.0.1:1/\ud800.jpg", url))
    assert [file["url"] for file in crawled.files] == [url]
    assert (crawled.report.failed, crawled.report.wanted, crawled.status) == (2, 3, 1)


@pytest.mark.parametrize("more", [{"file_urls": "http://127.0.0.1/a.jpg"}, {"headers": {"X": "\ud800"}}])
def test_an_item_whose_files_are_not_known_is_counted_as_a_failure(crawl, url, more, caplog):
    item = item_of(url)
    item.update(more)
    crawled = crawl(MediaFilesPipeline, item)
    assert (crawled.report.failed, crawled.report.wanted, crawled.status) == (1, 1, 1)
    caplog.clear()


def test_media_requests_that_raise_are_counted_as_a_failure(crawl, url, caplog):
    class Own(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            raise LookupError("no such field")

    crawled = crawl(Own, item_of(url, page="http://user:secret@127.0.0.1/page"))
    assert (crawled.report.failed, crawled.report.wanted, crawled.status) == (1, 1, 1)
    assert crawled.report.examples == ["http://127.0.0.1/page: its files are not known: no such field"]
    caplog.clear()


@pytest.mark.parametrize("own", [False, True])
def test_a_reason_that_cannot_be_written_is_written_as_it_can_be(crawl, origin, url, own):
    class Raises:
        def process_request(self, request):
            if request.url == url:
                raise IgnoreRequest("bad \ud800")

    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    other = origin.add("/b.jpg", BODY, content_type="image/jpeg")
    settings = {"DOWNLOADER_MIDDLEWARES": {Raises: 1}}
    crawled = crawl(Own if own else MediaFilesPipeline, item_of(url, other), settings=settings)
    assert ([file["url"] for file in crawled.files], crawled.status) == ([other], 1)
    assert [error["reason"] for error in crawled.errors] == ["bad \\ud800"]


# --- middlewares ------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("is_other", [False, True], ids=["the same", "another"])
def test_a_middleware_cannot_have_a_file_asked_for_once_more(crawl, origin, url, own, is_other, caplog):
    class Again:
        def process_response(self, request, response):
            if request.url != url:
                return response
            return Request(other) if is_other else request.replace(dont_filter=True)

    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return super().file_path(request, response, info, item=item)

    other = origin.add("/b.jpg", b"\0other", content_type="image/jpeg")
    settings = {"DOWNLOADER_MIDDLEWARES": {Again: 950}}
    crawled = crawl(Own if own else MediaFilesPipeline, item_of(url), settings=settings)
    (error,) = crawled.errors
    assert ("answered" if is_other else "requested it again") in error["reason"]
    assert (crawled.store, crawled.status, len(origin.requests_for("/a.jpg"))) == ({}, 1, 1)
    caplog.clear()


class NotToday(IgnoreRequest):
    pass


class Refuses:
    def process_request(self, request):
        if request.url.endswith(".jpg"):
            raise NotToday("closed on Sundays")


class Answers:
    def process_request(self, request):
        return Response(request.url, body=b"made up") if request.url.endswith(".jpg") else None


def test_media_failed_gets_what_a_middleware_has_raised(crawl, url):
    seen = []

    class Own(MediaFilesPipeline):
        def media_failed(self, failure, request, info):
            seen.append(failure.type)
            return super().media_failed(failure, request, info)

    crawled = crawl(Own, item_of(url), settings={"DOWNLOADER_MIDDLEWARES": {Refuses: 1}})
    assert (seen, [error["reason"] for error in crawled.errors]) == ([NotToday], ["closed on Sundays"])


def test_media_downloaded_gets_what_a_middleware_has_answered(crawl, origin, url):
    class Own(MediaFilesPipeline):
        def media_downloaded(self, response, request, info, *, item=None):
            return {"url": request.url, "path": "made up", "checksum": response.body.decode(), "status": "made up"}

    crawled = crawl(Own, item_of(url), settings={"DOWNLOADER_MIDDLEWARES": {Answers: 1}})
    assert [file["checksum"] for file in crawled.files] == ["made up"]
    assert (origin.requests, crawled.status) == ([], 0)


def test_a_middleware_knows_the_page_of_a_file(crawl, url):
    seen = []

    class Looks:
        def process_request(self, request):
            seen.append(request.meta.get("media_page"))

    page = "http://127.0.0.1/page"
    crawl(MediaFilesPipeline, item_of(url, page=page), settings={"DOWNLOADER_MIDDLEWARES": {Looks: 1}})
    assert seen == [None, page]


# --- lists ------------------------------------------------------------------------------------------


def test_lines_of_a_list_are_items_for_a_class_of_a_projects_own(crawls, tmp_path, origin, url):
    from mediacrawl.spiders.urllist import UrlListSpider

    seen = []

    class Own(MediaFilesPipeline):
        def item_completed(self, results, item, info):
            seen.append(item["file_urls"])
            return super().item_completed(results, item, info)

    (tmp_path / "list.txt").write_text(f"{url}\n")
    crawls.crawl(tmp_path, UrlListSpider, {"ITEM_PIPELINES": {Own: 1}}, file=str(tmp_path / "list.txt"))
    assert seen == [[url]]


# --- the end ----------------------------------------------------------------------------------------


class Stops(Spider):
    """Is stopped with the first request of media, while others wait."""

    name = "stops"
    urls = ()

    async def start(self):
        yield Request("data:,", callback=self.parse)

    def parse(self, response):
        yield item_of(*self.urls)


def test_files_that_wait_for_their_turn_are_not_asked_for_after_a_stop(crawls, tmp_path, origin):
    urls = [origin.add(f"/{number}.jpg", Pattern(500, number), content_type="image/jpeg") for number in range(20)]

    class Closes:
        def __init__(self, crawler):
            self.crawler = crawler

        @classmethod
        def from_crawler(cls, crawler):
            return cls(crawler)

        def process_response(self, request, response):
            if request.url.endswith(".jpg"):
                self.stopping = asyncio.ensure_future(self.crawler.stop_async())
            return response

    spider = type("Own", (Stops,), {"urls": urls})
    settings = {
        "DOWNLOADER_MIDDLEWARES": {Closes: 1},
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "MEDIACRAWL_CONCURRENT_TRANSFERS": 8,
        "DOWNLOAD_DELAY": 0.01,
        "DOWNLOAD_DELAY_JITTER": 0,
        "ROBOTSTXT_OBEY": False,
    }
    crawled = crawls.crawl(tmp_path, spider, settings)
    assert crawled.status == 3
    assert len(origin.requests) < len(urls)
    assert {request.headers.get("accept-encoding") for request in origin.requests} == {"identity"}, "none is a page"
    assert crawled.report.failed == 0


def test_a_request_of_a_projects_own_that_is_given_up_is_no_failure(crawls, tmp_path, origin, url):
    origin.add("/ask", b"yes", content_type="text/plain")

    class Own(MediaFilesPipeline):
        async def media_to_download(self, request, info, *, item=None):
            asking = self.crawler.engine.download_async(Request(origin.url("/ask")))
            CrawlContext.of(self.crawler)._stop()
            await asking
            return await super().media_to_download(request, info, item=item)

    spider = type("Own", (Stops,), {"urls": [url]})
    crawled = crawls.crawl(tmp_path, spider, {"ITEM_PIPELINES": {Own: 1}, "ROBOTSTXT_OBEY": False})
    assert (crawled.report.failed, crawled.items) == (0, [])


# --- names and keys ---------------------------------------------------------------------------------


NAMES = {"one.jpg", "one-2.jpg", "two.jpg", "three.jpg"}


class OwnPath(MediaFilesPipeline):
    def file_path(self, request, response=None, info=None, *, item=None):
        return "own/" + super().file_path(request, response, info, item=item)


@pytest.mark.parametrize("pipeline", [MediaFilesPipeline, OwnPath])
def test_as_many_files_have_a_result_as_are_wanted_where_files_have_several_names(crawl, url, origin, pipeline):
    other = origin.add("/b.jpg", BODY + b"b", content_type="image/jpeg")
    names = [(url, "one.jpg"), (url, "two.jpg"), (url, "one.jpg"), (url, "three.jpg"), (other, "one.jpg")]
    items = [item_of(wanted, filename=name) for wanted, name in names]
    for new in (2, 0):
        crawled = crawl(pipeline, *items)
        assert crawled.errors == []
        assert crawled.report.new == new
        assert crawled.report.settled == crawled.report.wanted, counts(crawled)
        fetched = {file["url"] for file in crawled.files if file["status"] == "downloaded"}
        assert fetched == ({url, other} if new else set()), "also the one whose name has a number"
        assert {file["path"].rpartition("/")[2] for file in crawled.files} == NAMES


@pytest.mark.parametrize("pipeline", [MediaFilesPipeline, OwnPath])
def test_a_key_that_contains_what_divides_it_from_a_name_is_refused(crawl, url, origin, pipeline):
    """Of an item, and of a spider's method."""
    fine = item_of(url, key="fine")
    crawled = crawl(pipeline, item_of(url, key="a#b"), fine)
    assert [error["reason"] for error in crawled.errors] == ["a key contains no '#': 'a#b'"]
    assert (crawled.report.new, crawled.report.failed) == (1, 1)
    crawled = crawl(pipeline, item_of(url), media_key=lambda _self, url: f"{url}#")
    assert [error["reason"] for error in crawled.errors] == [f"a key contains no '#': '{url}#'"]
