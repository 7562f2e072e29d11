"""`MEDIACRAWL_FSYNC` and `MEDIACRAWL_SHA256`: what is left out, and what holds all the same."""

from __future__ import annotations

import pytest
from crawling import BIG, STALLS_AT, item_of, items_spider, run, sha256, start
from origin import stall_after

BODY = b"\xff\xd8\xff" + b"picture" * 1000


@pytest.fixture
def url(origin):
    return origin.add("/a.jpg", BODY, content_type="image/jpeg")


def test_a_digest_that_is_promised_is_looked_at_all_the_same(crawls, tmp_path, url):
    items = [item_of(url, sha256=sha256(b"another"))]
    crawled = crawls.crawl(tmp_path, items_spider(*items, of_page=True), {"MEDIACRAWL_SHA256": False})
    assert "is not the promised" in crawled.errors[0]["reason"]
    assert crawled.store == {}


@pytest.mark.parametrize("durable", [True, False])
def test_without_sync_no_file_is_synced(crawls, tmp_path, url, monkeypatch, durable):
    fsync_completed = []
    monkeypatch.setattr("mediacrawl.store.parts.sync_files", fsync_completed.extend)
    crawled = crawls.crawl(tmp_path, items_spider(item_of(url), of_page=True), {"MEDIACRAWL_FSYNC": durable})
    assert crawled.report.new == 1
    assert bool(fsync_completed) is durable


def test_without_sync_a_kill_costs_nothing_and_a_power_cut_all_of_a_part(origin, tmp_path):
    url = origin.add("/big.bin", BIG, faults=[stall_after(STALLS_AT)], content_type="video/mp4")
    off = {"MEDIACRAWL_FSYNC": False, "MEDIACRAWL_CONNECTIONS_PER_FILE": 1}
    with start(tmp_path, "get", url, settings=off) as running:
        origin.wait_for(lambda: origin.bytes_sent("/big.bin") >= STALLS_AT)
        running.kill()
        running.wait()
    (record,) = (tmp_path / "store" / ".mediacrawl" / "parts").glob("*.json")
    assert '"ranges": []' in record.read_text()
    assert record.with_suffix(".part").stat().st_size > 0
    assert run(tmp_path, "get", url, settings=off).status == 0
    assert origin.requests[-1].status == 206
