"""mediacrawl in somebody else's project: his settings, his spider, his `scrapy` command."""

from __future__ import annotations

import json
import textwrap

import pytest
from crawling import BIG, STALLS_AT, run, sha256, start
from origin import stall_after

BODY = b"\xff\xd8\xff" + b"j" * 3997
SETTINGS = """
    BOT_NAME = "theirs"
    SPIDER_MODULES = ["theirs.spiders"]
    USER_AGENT = "theirs/1.0"
    LOG_LEVEL = "INFO"
    TELNETCONSOLE_ENABLED = False
    REMOTE_CONTROL_ENABLED = False
"""
SPIDER = """
    import scrapy

    class Gallery(scrapy.Spider):
        name = "gallery"

        def parse(self, response):
            yield {"file_urls": [response.urljoin(url) for url in response.css("img::attr(src)").getall()]}
            for url in response.css("a::attr(href)").getall():
                yield response.follow(url)

        async def start(self):
            yield scrapy.Request(self.url)
"""


@pytest.fixture
def project(tmp_path):
    """Writes the project; returns its folder."""

    def project(more, spider=SPIDER):
        package = tmp_path / "theirs"
        package.mkdir()
        (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = theirs.settings\n")
        (package / "__init__.py").touch()
        (package / "settings.py").write_text(textwrap.dedent(SETTINGS) + textwrap.dedent(more))
        (package / "spiders.py").write_text(textwrap.dedent(spider))
        return tmp_path

    return project


@pytest.fixture
def gallery(origin):
    """Three pages with a picture each; the URL of the first, and the digests."""
    for number in range(3):
        origin.page(f"/{number}", f'<img src="/{number}.jpg">' + f'<a href="/{number + 1}">next</a>' * (number < 2))
        origin.add(f"/{number}.jpg", BODY + bytes([number]), content_type="image/jpeg")
    return f"url={origin.url('/0')}", {sha256(BODY + bytes([number])) for number in range(3)}


def items(folder):
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_the_addon_brings_pipeline_scheduler_and_summary(project, gallery, origin):
    url, digests = gallery
    folder = project('ADDONS = {"mediacrawl.Addon": 500}\nFILES_STORE = "store"\nFILES_EXPIRES = 1')
    done = run(folder, "crawl", "gallery", "-a", url, "-O", "out.jsonl", settings={"JOBDIR": "job"}, module="scrapy")
    assert done.status == 0, str(done)
    assert set(done.store.values()) == digests
    assert {file["status"] for item in items(folder) for file in item["files"]} == {"downloaded"}
    (summary,) = [line for line in done.lines if "new 3, resumed 0, already there 0, failed 0" in line]
    assert summary.startswith("new 3"), "the log, which goes to the same place, does not repeat it"
    assert (folder / "job" / "frontier.sqlite3").exists()
    assert {request.headers["user-agent"] for request in origin.requests} == {"theirs/1.0"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('MEDIACRAWL_STAL_S = "3"', "there is no setting MEDIACRAWL_STAL_S; the nearest one is MEDIACRAWL_STALL_S"),
        ('MEDIACRAWL_COOKIES = "/no/such/file"', "/no/such/file"),
        ('MEDIACRAWL_TRANSPORT = "wget"', "MEDIACRAWL_TRANSPORT=wget: must be requests or curl"),
    ],
)
def test_the_addon_refuses_wrong_settings_in_one_line_with_status_2(project, gallery, origin, setting, said):
    folder = project(f'ADDONS = {{"mediacrawl.Addon": 500}}\n{setting}')
    done = run(folder, "crawl", "gallery", "-a", gallery[0], module="scrapy")
    (line,) = [line for line in done.err.splitlines() if "[scrapy" not in line]
    assert (done.status, said in line) == (2, True), str(done)
    assert "Traceback" not in done.err
    assert origin.requests == []


def test_nothing_but_the_pipeline_needs_to_be_swapped(project, gallery, origin):
    url, digests = gallery
    folder = project('ITEM_PIPELINES = {"mediacrawl.pipelines.MediaFilesPipeline": 300}\nFILES_STORE = "store"')
    words = ("crawl", "gallery", "-a", url, "-O", "out.jsonl")
    first = run(folder, *words, module="scrapy")
    assert first.status == 0, str(first)
    assert set(first.store.values()) == digests
    assert "'file_status_count/downloaded': 3" in first.err
    origin.forget()
    second = run(folder, *words, module="scrapy")
    assert "'file_status_count/uptodate': 3" in second.err
    assert {request.path for request in origin.requests} == {"/0", "/1", "/2"}


@pytest.mark.slow
def test_what_was_interrupted_in_their_project_is_resumed_there(project, origin):
    """Their own `crawl` command has their own exit status; nothing is lost all the same."""
    origin.page("/", '<img src="/a.jpg">')
    origin.add("/a.jpg", BIG, content_type="image/jpeg", faults=[stall_after(STALLS_AT)])
    folder = project('ITEM_PIPELINES = {"mediacrawl.pipelines.MediaFilesPipeline": 300}\nFILES_STORE = "store"')
    words = ("crawl", "gallery", "-a", f"url={origin.url('/')}")
    with start(folder, *words, module="scrapy") as running:
        origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= STALLS_AT)
        running.interrupt()
        first = running.wait()
    assert first.store == {}
    assert first.seconds < 20
    assert "Traceback" not in first.err, str(first)
    second = run(folder, *words, module="scrapy")
    assert second.store == {"gallery/127.0.0.1/a.jpg": BIG.sha256()}
    begin, _ = origin.requests_for("/a.jpg")[1].range
    assert begin > 0
