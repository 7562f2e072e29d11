"""A crawl that is stopped, in one way or another, and goes on."""

from __future__ import annotations

import json
import os
import re

import pytest
from crawling import BIG, STALLS_AT, assert_plain, parts_in, run, sha256, start
from origin import stall_after

from mediacrawl.frontier.sqlite import describe
from mediacrawl.spiders.site import SiteSpider

JOB = {"JOBDIR": "job"}
BODY = b"\xff\xd8\xff" + b"j" * 3997
# From the signal to the end it takes tenths of a second, two seconds where a server has not begun to answer; the
# rest is for a machine that is busy.
SOON_S = 25
HOUR_S = 3600


@pytest.fixture
def gallery(origin):
    """A page with a small and a stalling file, and a next page that hangs."""
    origin.page("/", '<img src="/a.jpg"><a href="/b.mp4">film</a><a rel="next" href="/2">Next</a>')
    origin.page("/2", '<img src="/c.jpg">', delay_s=HOUR_S)
    origin.add("/a.jpg", BODY, content_type="image/jpeg")
    origin.add("/b.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    origin.add("/c.jpg", BODY + b"c", content_type="image/jpeg")
    return origin


WHOLE = {
    "site/127.0.0.1/a.jpg": sha256(BODY),
    "site/127.0.0.1/b.mp4": BIG.sha256(),
    "site/127.0.0.1/c.jpg": sha256(BODY + b"c"),
}


def crawl(origin):
    return ("crawl", "site", "-a", f"url={origin.url('/')}")


def interrupted(origin, folder, settings):
    """Stopped with a file and a page in flight, and a small file whole."""
    with start(folder, *crawl(origin), settings=settings) as running:
        origin.wait_for(lambda: origin.bytes_sent("/b.mp4") >= STALLS_AT)
        origin.wait_for(lambda: origin.requests_for("/2"))
        origin.wait_for(lambda: origin.requests_for("/a.jpg")[0].finished_at)
        running.interrupt()
        done = running.wait()
    assert_plain(done)
    return done


def pages_are_quick(origin):
    origin.page("/2", '<img src="/c.jpg">')
    origin.forget()


def test_ctrl_c_ends_soon_with_3_and_the_job_goes_on_where_it_was(gallery, tmp_path):
    first = interrupted(gallery, tmp_path, JOB)
    assert first.status == 3, str(first)
    assert first.seconds < SOON_S
    assert re.search(
        r"^interrupted, nothing is lost; go on with: \S*python\S* -m mediacrawl crawl", first.err, re.MULTILINE
    )
    assert "site/127.0.0.1/b.mp4" not in first.store
    assert describe(tmp_path / "job")["pages_pending"] >= 1
    pages_are_quick(gallery)

    second = run(tmp_path, *crawl(gallery), settings=JOB)

    assert second.status == 0, str(second)
    assert second.store == WHOLE
    (request,) = gallery.requests_for("/b.mp4")
    begin, end = request.range
    assert begin > 0
    assert end in (None, len(BIG))
    assert request.status == 206
    assert gallery.bytes_sent("/b.mp4") == len(BIG) - begin
    assert request.headers["if-range"]
    assert parts_in(tmp_path / "store") == []
    assert len(gallery.requests_for("/2")) == 1


def test_without_a_job_folder_what_is_whole_is_skipped_and_what_is_partial_goes_on(gallery, tmp_path):
    first = interrupted(gallery, tmp_path, {})
    assert (first.status, first.seconds < SOON_S) == (3, True)
    pages_are_quick(gallery)
    second = run(tmp_path, *crawl(gallery))
    assert second.status == 0
    assert second.store == WHOLE
    assert [request.range[0] > 0 for request in gallery.requests_for("/b.mp4")] == [True]
    if first.store:
        assert gallery.requests_for("/a.jpg") == []


@pytest.mark.slow
def test_ctrl_c_ends_a_list_soon_too(origin, tmp_path):
    """Scrapy by itself never ends when it is stopped with an item of `start()` in a pipeline."""
    url = origin.add("/b.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    hung = origin.add("/hung.mp4", b"", content_type="video/mp4", delay_s=HOUR_S)
    (tmp_path / "list").write_text(f"{url}\n{hung}\n" * 100)
    words = ("crawl", "urllist", "-a", "file=list")
    with start(tmp_path, *words) as running:
        origin.wait_for(lambda: origin.bytes_sent("/b.mp4") >= STALLS_AT and origin.requests_for("/hung.mp4"))
        running.interrupt()
        first = running.wait()
    assert_plain(first)
    assert first.status == 3
    assert first.seconds < SOON_S
    origin.add("/hung.mp4", BODY, content_type="video/mp4")
    origin.forget()
    second = run(tmp_path, *words)
    assert second.status == 0
    assert set(second.store.values()) == {BIG.sha256(), sha256(BODY)}
    assert [request.range[0] > 0 for request in origin.requests_for("/b.mp4")] == [True]


def test_a_second_ctrl_c_loses_nothing_either(gallery, tmp_path):
    with start(tmp_path, *crawl(gallery), settings=JOB) as running:
        gallery.wait_for(lambda: gallery.bytes_sent("/b.mp4") >= STALLS_AT)
        running.interrupt()
        running.process.send_signal(2)
        first = running.wait()
    assert first.status != 0
    assert first.seconds < SOON_S
    pages_are_quick(gallery)
    second = run(tmp_path, *crawl(gallery), settings=JOB)
    assert (second.status, second.store) == (0, WHOLE)


def test_a_crawl_that_closes_itself_after_so_many_items_goes_on_too(crawls, origin, tmp_path):
    digests = set()
    for number in range(8):
        html = f'<img src="/{number}.jpg"><a rel="next" href="/{number + 1}">Next</a>'
        origin.page(f"/{number}", html, delay_s=0.05)
        origin.add(f"/{number}.jpg", bytes([number]) * 100, content_type="image/jpeg")
        digests.add(sha256(bytes([number]) * 100))
    origin.page("/8", "the end")
    settings = {"JOBDIR": str(tmp_path / "job"), "CLOSESPIDER_ITEMCOUNT": 3}
    statuses = []
    kept = {}
    while not statuses or (statuses[-1][0] == 3 and len(statuses) < 8):
        origin.forget()
        crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/0"))
        statuses.append((crawled.status, crawled.reason))
        assert not {request.path for request in origin.requests} & kept.keys()
        kept = {"/" + path.rpartition("/")[2]: digest for path, digest in crawled.store.items()}
    assert statuses[0] == (3, "closespider_itemcount")
    assert statuses[-1] == (0, "finished")
    assert set(kept.values()) == digests


@pytest.mark.slow
def test_after_kill_9_in_thirty_pages_nothing_is_missing(origin, tmp_path):
    """Media of a page that was crawled before the kill are not forgotten with it."""
    digests = set()
    for number in range(30):
        origin.page(f"/{number}", f'<img src="/{number}.jpg"><a rel="next" href="/{number + 1}">Next</a>')
        body = f"\1{number},".encode() * 500
        origin.add(f"/{number}.jpg", body, content_type="image/jpeg", delay_s=0.005)
        digests.add(sha256(body))
    origin.page("/30", "the end")
    words = ("crawl", "site", "-a", f"url={origin.url('/0')}", "-o", "out.jsonl")
    for upto in ("/7", "/19"):
        with start(tmp_path, *words, settings=JOB) as running:
            origin.wait_for(lambda upto=upto: origin.requests_for(f"{upto}.jpg"))
            running.kill()
            assert running.wait().status == -9
    done = run(tmp_path, *words, settings=JOB)
    assert done.status == 0, str(done)
    assert set(done.store.values()) == digests
    assert len(done.store) == 30
    assert parts_in(tmp_path / "store") == []
    for line in (tmp_path / "out.jsonl").read_text().splitlines()[-1:]:
        assert json.loads(line)["files"]


def test_kill_9_with_a_large_file_in_flight_costs_only_what_was_missing(gallery, tmp_path):
    with start(tmp_path, *crawl(gallery), settings=JOB) as running:
        gallery.wait_for(lambda: gallery.bytes_sent("/b.mp4") >= STALLS_AT)
        running.kill()
        running.wait()
    pages_are_quick(gallery)
    done = run(tmp_path, *crawl(gallery), settings=JOB)
    assert (done.status, done.store) == (0, WHOLE)
    (request,) = gallery.requests_for("/b.mp4")
    assert request.range[0] > 0


def test_get_is_stopped_and_goes_on_in_the_same_way(origin, tmp_path):
    url = origin.add("/b.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    with start(tmp_path, "get", url) as running:
        origin.wait_for(lambda: origin.bytes_sent("/b.mp4") >= STALLS_AT)
        running.interrupt()
        first = running.wait()
    assert_plain(first)
    assert (first.status, first.store) == (3, {})
    assert first.seconds < SOON_S
    assert any(line.startswith("interrupted, nothing is lost; go on with: ") for line in first.lines)
    origin.forget()
    second = run(tmp_path, "get", url)
    assert (second.status, second.store) == (0, {"get/127.0.0.1/b.mp4": BIG.sha256()})
    assert origin.requests[0].range[0] > 0
    assert "of them were here" in second.out


@pytest.mark.parametrize("words", [("crawl", "urllist", "-a", "file=-"), ("get", "-i", "-")], ids=" ".join)
def test_ctrl_c_ends_it_while_a_pipe_has_nothing_to_say(origin, tmp_path, words):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg")
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as pipe, start(tmp_path, *words, stdin=reader) as running:
        os.close(reader)
        print(url, file=pipe, flush=True)
        origin.wait_for(lambda: origin.requests_for("/a.jpg"))
        running.interrupt()
        done = running.wait()
    assert_plain(done)
    assert (done.status, done.seconds < SOON_S) == (3, True), str(done)
