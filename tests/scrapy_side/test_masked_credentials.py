"""Credentials of lists, items and settings: they are sent, and no feed, log or message has them."""

from __future__ import annotations

import json
import logging

import pytest
from crawling import item_of, items_spider
from scrapy.settings import Settings

from mediacrawl.addon import Addon, hide_secrets
from mediacrawl.pipelines import MediaFilesPipeline
from mediacrawl.spiders.urllist import UrlListSpider

JPEG = b"\xff\xd8\xff" + b"j" * 97
HEADERS = {"X-Api-Key": "s3cr3t", "Authorization": "Bearer s3cr3t", "Cookie": "a=s3cr3t", "User-Agent": "me/1"}
MASKED = HEADERS | dict.fromkeys(("X-Api-Key", "Authorization", "Cookie"), "***")


class SecondPipeline(MediaFilesPipeline):
    """Fetches the same item once more, after the first pipeline has masked it."""

    def get_media_requests(self, item, info):
        (request,) = super().get_media_requests(item, info)
        return [request.replace(url=request.url + "?second")]


@pytest.fixture
def debug(caplog):
    """All that is logged."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def feeds(folder):
    return {str(folder / name): {"format": name} for name in ("json", "jsonlines", "csv", "xml", "pickle", "marshal")}


@pytest.mark.parametrize("through", ["item", "list", "override"])
def test_headers_are_sent_and_masked_in_feeds_and_logs(crawls, origin, tmp_path, debug, through):
    url = origin.add("/a.jpg", JPEG, content_type="image/jpeg")
    referer = url.replace("//", "//me:s3cr3t@")
    settings = {"FEEDS": feeds(tmp_path)}
    if through == "list":
        (tmp_path / "list").write_text(json.dumps({"url": url, "headers": HEADERS, "referer": referer}))
        crawled = crawls.crawl(tmp_path, UrlListSpider, settings, file=str(tmp_path / "list"))
    else:
        spider = items_spider(item_of(url, headers=dict(HEADERS), referer=referer), of_page=True)
        if through == "override":
            settings["ITEM_PIPELINES"] = {MediaFilesPipeline: 1, SecondPipeline: 2}
        crawled = crawls.crawl(tmp_path, spider, settings)
    for request in origin.requests_for("/a.jpg"):
        assert {name: request.headers[name.lower()] for name in HEADERS} == HEADERS
        assert request.headers["referer"] == url
    assert len(origin.requests_for("/a.jpg")) == (2 if through == "override" else 1)
    assert (crawled.items[0]["headers"], crawled.items[0]["referer"]) == (MASKED, url)
    assert json.loads((tmp_path / "json").read_text())[0]["headers"] == MASKED
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "list":
            assert b"s3cr3t" not in path.read_bytes(), path
    assert "s3cr3t" not in debug.text
    assert "Scraped from" in debug.text


def test_an_item_that_fails_or_is_dropped_is_masked_too(crawls, origin, tmp_path, debug):
    class Failing(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            raise ValueError("no requests")

    url = origin.add("/a.jpg", JPEG)
    spider = items_spider(item_of(url.replace("//", "//me:s3cr3t@"), headers=dict(HEADERS)), of_page=True)
    crawls.crawl(tmp_path, spider, {"ITEM_PIPELINES": {Failing: 1}})
    assert "Error processing" in debug.text
    assert "s3cr3t" not in debug.text
    debug.clear()


def test_headers_of_an_item_with_several_files_are_not_ours(crawls, origin, tmp_path):
    urls = [origin.add(f"/{name}.jpg", JPEG, content_type="image/jpeg") for name in "ab"]
    crawled = crawls.crawl(tmp_path, items_spider(item_of(*urls, headers={"X": "facts of a page"}), of_page=True))
    assert crawled.items[0]["headers"] == {"X": "facts of a page"}


def test_secrets_among_the_settings_are_masked_in_the_log_and_used(crawls, tmp_path, debug):
    secrets = {
        "HTTPAUTH_PASS": "s3cr3t",
        "HTTPAUTH_DOMAIN": "a.example",
        "FTP_PASSWORD": "s3cr3t",
        "MAIL_PASS": "s3cr3t",
    }
    settings = {"ADDONS": {Addon: 500}, "FILES_STORE": str(tmp_path / "store"), **secrets}
    crawled = crawls.crawl(tmp_path, items_spider({"x": 1}, of_page=True), settings, project=None)
    assert "'HTTPAUTH_PASS': '***'" in debug.text
    assert "s3cr3t" not in debug.text
    assert {name: crawled.crawler.settings[name] for name in secrets} == secrets


def test_settings_that_are_no_secrets_stay():
    found = Settings(
        {"MEDIACRAWL_COOKIES": "c.txt", "LOG_FILE": "a", "MEDIACRAWL_SESSION_FACTORY": "a.b", "API_KEY": 7}
    )
    before = {name: repr(found[name]) for name in found}
    hide_secrets(found)
    assert {name for name in found if repr(found[name]) != before[name]} <= {
        *("FTP_PASSWORD", "HTTPPROXY_AUTH_ENCODING")
    }
