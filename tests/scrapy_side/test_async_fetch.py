"""The short way of files: whatever happens, whoever waits for one hears of it, and hears what the long way tells."""

from __future__ import annotations

import asyncio
import threading

import pytest
from crawling import item_of, items_spider, sha256
from scrapy import Spider

from mediacrawl.archive import Archive
from mediacrawl.errors import DiskFull
from mediacrawl.fetch import aio
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.sources.list_entry import ListEntry
from mediacrawl.spiders.itemless_list import Lines
from mediacrawl.spiders.urllist import UrlListSpider
from mediacrawl.store.local import LocalStore

BODY = b"\xff\xd8\xff" + b"\1" * 3997
LONG_WAY = {"DOWNLOAD_SLOTS": {"other.test": {}}}  # a slot of its own for some host: each file is sent alone


@pytest.fixture
def url(origin):
    return origin.add("/a.jpg", BODY, content_type="image/jpeg")


@pytest.fixture(params=[{}, LONG_WAY], ids=["short", "long"])
def way(request):
    return {"ROBOTSTXT_OBEY": False, **request.param}


def crawl(crawls, tmp_path, settings, *items):
    return crawls.crawl(tmp_path, items_spider(*items), settings)


def test_an_item_ends_when_the_ledger_fails_in_a_way_that_nobody_thought_of(
    crawls, tmp_path, url, way, monkeypatch, caplog
):
    def known(_self, *_about):
        raise RuntimeError("odd")

    monkeypatch.setattr(Archive, "lookup", known)
    monkeypatch.setattr(SqliteLedger, "knows_any", lambda _self, _keys: True)
    crawled = crawl(crawls, tmp_path, way, item_of(url))
    assert [error["reason"] for error in crawled.errors] == ["odd"]
    caplog.clear()  # of a mistake of ours the traceback is told


@pytest.fixture
def asked(monkeypatch):
    """Keys that the ledger was asked for: at once, and by its thread."""
    at_once, by_thread = [], []
    knows_any, known = SqliteLedger.knows_any, Archive.lookup
    monkeypatch.setattr(SqliteLedger, "knows_any", lambda self, keys: at_once.append(keys) or knows_any(self, keys))
    monkeypatch.setattr(Archive, "lookup", lambda self, keys, urls: by_thread.append(keys) or known(self, keys, urls))
    return at_once, by_thread


def test_no_thread_is_asked_for_files_that_are_new(crawls, tmp_path, url, asked):
    crawled = crawl(crawls, tmp_path, {"ROBOTSTXT_OBEY": False}, item_of(url))
    assert [len(keys) for keys in asked[0]] == [1]
    assert asked[1] == []
    crawled = crawl(crawls, tmp_path, {"ROBOTSTXT_OBEY": False}, item_of(url))
    assert [len(keys) for keys in asked[1]] == [1]
    assert crawled.files[0]["status"] == "uptodate"


def test_a_disk_that_was_slow_once_is_asked_by_a_thread(crawls, tmp_path, origin, url, asked, monkeypatch):
    monkeypatch.setattr(aio, "_AT_ONCE_S", 0.0)
    other = origin.add("/b.jpg", BODY, content_type="image/jpeg")
    crawled = crawl(crawls, tmp_path, {"ROBOTSTXT_OBEY": False}, item_of(url), item_of(other))
    assert (len(asked[0]), len(asked[1]), len(crawled.files)) == (1, 1, 2)


def test_what_cannot_be_told_at_once_is_asked_again(crawls, tmp_path, url, monkeypatch):
    def knows_any(_self, _keys):
        raise DiskFull("no space left for the ledger")

    monkeypatch.setattr(SqliteLedger, "knows_any", knows_any)
    crawled = crawl(crawls, tmp_path, {"ROBOTSTXT_OBEY": False}, item_of(url))
    assert (crawled.status, len(crawled.store)) == (0, 1)


def test_what_is_there_already_writes_nothing(crawls, tmp_path, url, way, monkeypatch):
    crawl(crawls, tmp_path, way, item_of(url))
    written = []
    monkeypatch.setattr(Archive, "write", lambda _self, changes: written.append(changes) or [])
    assert crawl(crawls, tmp_path, way, item_of(url)).files[0]["status"] == "uptodate"
    assert written == []


def test_a_failure_that_cannot_be_noted_stops_the_crawl_also_while_others_last(
    crawls, tmp_path, origin, way, no_room_for_failures
):
    slow = origin.add("/slow.jpg", BODY, content_type="image/jpeg", delay_s=0.5)
    crawled = crawl(crawls, tmp_path, way, item_of(origin.url("/missing.jpg"), slow))
    assert isinstance(crawled.report.fatal, DiskFull)
    assert crawled.status == 4
    assert crawled.items == []


def test_lines_and_items_that_want_the_same_at_once_bring_it_once(crawls, tmp_path, origin):
    urls = [origin.add(f"/{n}.jpg", BODY, content_type="image/jpeg", delay_s=0.05) for n in range(5)]

    class Both(Spider):
        name = "both"

        async def start(self):
            lines = Lines.of(self.crawler, "none")
            taking = asyncio.ensure_future(lines.take([ListEntry(number, url) for number, url in enumerate(urls)]))
            await asyncio.sleep(0)  # it asks the ledger
            yield item_of(*urls)
            await taking
            await lines.drain()

    crawled = crawls.crawl(tmp_path, Both, {"ROBOTSTXT_OBEY": False})
    assert [len(item["files"]) for item in crawled.items] == [5]
    assert (crawled.report.wanted, crawled.report.new, crawled.report.present) == (5, 5, 0)
    assert len([request for request in origin.requests if request.path.endswith(".jpg")]) == 5


def test_an_expired_file_that_another_process_holds_is_asked_for_when_that_has_brought_nothing(
    crawls, tmp_path, origin, url, way
):
    settings = way | {"FILES_EXPIRES": 0, "MEDIACRAWL_PROCESSES": 0}
    crawl(crawls, tmp_path, settings, item_of(url))
    newer = b"\1" * 5000
    origin.add("/a.jpg", newer, content_type="image/jpeg")
    store = LocalStore(tmp_path / "store")
    store.open()
    part = store.parts.open(url)
    threading.Timer(0.2, part.close).start()
    assert crawl(crawls, tmp_path, settings, item_of(url)).files[0]["checksum"] == sha256(newer)


def test_a_referer_is_sent_as_its_bytes_are(crawls, tmp_path, origin, url, way):
    other = origin.add("/b.jpg", BODY, content_type="image/jpeg")
    page = origin.url("/galerie-") + "\u00fc"
    crawl(crawls, tmp_path, way, item_of(url, other, page=page))
    sent = {request.headers["referer"] for request in origin.requests}
    assert {text.encode("latin-1").decode() for text in sent} == {page}


def test_a_url_that_is_none_spoils_its_line_alone(crawls, tmp_path, url):
    (tmp_path / "list").write_text(f"http://[::1]x/x.jpg\n{url}\n")
    crawled = crawls.crawl(tmp_path, UrlListSpider, {}, file=str(tmp_path / "list"))
    assert (crawled.status, crawled.report.new, crawled.report.failed) == (1, 1, 1)


ODD = [
    "{base}a.jpg",
    "{base}a.jpg#f",
    "{base}b c.jpg",
    "{base}b%20c.jpg",
    "{upper}a.jpg",
    "{base}r.jpg",
    "{base}missing.jpg",
    "{base}missing.jpg#x",
    "{base}\u00fc.jpg?b=1&a=2",
    "{base}a.jpg",
]


@pytest.mark.parametrize("redirects", [True, False])
def test_items_are_told_what_the_long_way_tells(crawls, tmp_path, origin, url, redirects):
    origin.add("/b%20c.jpg", BODY, content_type="image/jpeg")
    origin.redirect("/r.jpg", "/a.jpg")
    base = origin.url("/")
    odd = [form.format(base=base, upper=base.replace("127.0.0.1", "LOCALHOST")) for form in ODD]
    items = [
        item_of(*odd, page=f"{base}p"),
        item_of(url, f"{base}missing.jpg", page=None),
        {"file_urls": []},
        {"x": 1},
    ]
    told = []
    for number, more in enumerate(({}, LONG_WAY)):
        folder = tmp_path / str(number)
        folder.mkdir()
        origin.forget()
        crawled = crawls.crawl(folder, items_spider(*items), {"MEDIA_ALLOW_REDIRECTS": redirects, **more})
        results = sorted(repr([item.get("files"), item.get("file_errors")]) for item in crawled.items)
        report = crawled.report
        referers = {(request.path, request.headers.get("referer")) for request in origin.requests}
        told.append((results, report.wanted, report.new, report.present, report.failed, crawled.store, referers))
    assert told[0] == told[1]
