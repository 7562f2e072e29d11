from __future__ import annotations

import functools
import json
import os

import pytest
from crawling import run, sha256

from mediacrawl.demo import DemoSite
from mediacrawl.spiders.demo import DemoSpider


@functools.cache
def wanted():
    """Return the sha256 of each file: made when a test asks, as it takes a second."""
    return sorted(sha256(body) for body in DemoSite().wanted.values())


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """One `scrapy crawl demo`, as a person gives it."""
    return run(tmp_path_factory.mktemp("demo"), "crawl", "demo", "-O", "items.jsonl")


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setenv("MEDIACRAWL_DEMO_BYTES_PER_S", "0")


def test_the_demo_brings_each_wanted_file_home_whole(first):
    assert first.status == 0
    assert sorted(first.store.values()) == wanted()


def test_the_demo_gives_names_that_a_person_can_read(first):
    names = {path.rpartition("/")[2] for path in first.store}
    assert {"sea.png", "dawn-1280.png", "plasma.avi", "arpeggio.wav", "月.gif"} <= names
    assert {path.rpartition("/")[0] for path in first.store} == {"demo/127.0.0.1"}
    covers = sorted(name for name in names if name.startswith("cover"))
    assert len(covers) == 2


def test_the_demo_prints_one_summary_and_nothing_else(first):
    assert first.out == ""
    assert len(first.lines) == 1
    assert first.lines[0].startswith(f"new {len(wanted())}, resumed 0, already there 0, failed 0; ")


def test_the_feed_of_the_demo_tells_of_each_file(first):
    items = [json.loads(line) for line in (first.folder / "items.jsonl").read_text("utf-8").splitlines()]
    files = [file for item in items for file in item["files"]]
    assert {file["path"]: file["checksum"] for file in files} == first.store
    assert {file["status"] for file in files} == {"downloaded"}
    assert [error for item in items for error in item["file_errors"]] == []


def test_a_second_crawl_of_the_demo_asks_for_pages_only(first, crawls, fast):
    before = first.store
    second = crawls.crawl(first.folder, DemoSpider)
    assert second.status == 0
    assert (second.report.new, second.report.resumed, second.report.present) == (0, 0, len(wanted()))
    assert second.stat("downloader/request_count") == len(DemoSite().pages) + 1  # and robots.txt
    assert {file["status"] for file in second.files} == {"uptodate"}
    assert second.store == before


@pytest.mark.parametrize("planted", ["link", "dangling link", "FIFO", "hard link", "folder", "text", "huge number"])
def test_what_is_put_at_the_name_of_the_noted_port_is_neither_followed_nor_waited_for(
    tmp_path, crawls, fast, planted
):
    foreign, job = tmp_path / "foreign", tmp_path / "job"
    foreign.write_text("80")
    job.mkdir()
    note = job / "demo-port"
    match planted:
        case "link":
            note.symlink_to(foreign)
        case "dangling link":
            note.symlink_to(tmp_path / "new")
        case "FIFO":
            os.mkfifo(note)
        case "hard link":
            note.hardlink_to(foreign)
        case "folder":
            note.mkdir()
        case _:
            note.write_bytes(b"\xff\x00" if planted == "text" else b"9" * 9999)
    done = crawls.crawl(tmp_path, DemoSpider, settings={"JOBDIR": str(job)})
    assert done.status == 0
    assert foreign.read_text() == "80"
    assert not (tmp_path / "new").exists()
    assert planted == "folder" or note.read_text().isdigit()
