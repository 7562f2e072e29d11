"""A disk that is full, a store that cannot be written, servers that make no sense: one clear line, nothing lost."""

from __future__ import annotations

import subprocess

import pytest
from crawling import BIG, file_system_at, files_in, item_of, items_spider, parts_in, run, sha256, together
from origin import Pattern, body_without_end, headers_without_end, reset_on_connect
from scrapy import Request, Spider

from mediacrawl.errors import DiskFull, StoreNotWritable
from mediacrawl.spiders.site import SiteSpider
from mediacrawl.spiders.urllist import UrlListSpider

BODY = b"\xff\xd8\xff" + b"j" * 3997
SIZES = (1_000_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000)


# --- a store that cannot be used --------------------------------------------------------------------


def test_a_store_below_a_file_ends_with_4_and_one_clear_line(origin, tmp_path):
    url = origin.page("/", '<img src="/a.jpg">')
    (tmp_path / "file").touch()
    store = tmp_path / "file" / "store"
    crawl, get, demo = together(
        tmp_path,
        ("crawl", "site", "-a", f"url={url}"),
        ("get", origin.url("/a.jpg")),
        ("crawl", "demo", "-s", "JOBDIR=job"),
        settings={"FILES_STORE": store},
    )
    for done in (crawl, get, demo):
        assert done.status == 4, str(done)
        assert f"cannot write the store {store}: {tmp_path / 'file'} is a file, not a folder" in done.err
        assert len(done.lines) <= 3
    assert origin.requests == []


def test_a_job_folder_below_a_file_ends_with_4(origin, tmp_path):
    (tmp_path / "file").touch()
    done = run(tmp_path, "crawl", "site", "-a", f"url={origin.url('/')}", settings={"JOBDIR": "file/job"})
    assert done.status == 4
    assert done.lines == ["scrapy crawl: cannot write the job folder file/job: file is a file, not a folder"]
    assert origin.requests == []
    (tmp_path / "store").mkdir()
    done = run(tmp_path, "retry", settings={"JOBDIR": "file/job"})
    assert (done.status, done.lines) == (
        4,
        ["scrapy retry: cannot write the job folder file/job: file is a file, not a folder"],
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"CONCURRENT_REQUESTS_PER_DOMAIN": 0}, "CONCURRENT_REQUESTS_PER_DOMAIN=0"),
        *(
            ({"DOWNLOAD_SLOTS": {"127.0.0.1": {"concurrency": value}}}, f"the concurrency {value!r} of 127.0.0.1")
            for value in (0, -1, None, "2")
        ),
    ],
)
@pytest.mark.parametrize("of_list", [True, False], ids=["list", "item"])
def test_a_crawl_in_which_scrapy_would_send_nothing_is_refused(crawls, origin, tmp_path, settings, says, of_list):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg")
    (tmp_path / "list").write_text(url)
    spider, arguments = (
        (UrlListSpider, {"file": str(tmp_path / "list")}) if of_list else (items_spider(item_of(url)), {})
    )
    crawled = crawls.crawl(tmp_path, spider, settings, **arguments)
    assert crawled.status == 2
    assert says in str(crawled.report.fatal)
    assert origin.requests == []


@pytest.mark.filterwarnings("ignore:The CONCURRENT_REQUESTS_PER_IP setting is deprecated")
def test_a_limit_for_each_address_does_instead_of_one_for_each_host(crawls, origin, tmp_path):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg")
    queue = {"SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.ScrapyPriorityQueue", "ROBOTSTXT_OBEY": False}
    limits = {"CONCURRENT_REQUESTS_PER_DOMAIN": 0, "CONCURRENT_REQUESTS_PER_IP": 2}
    crawled = crawls.crawl(tmp_path, items_spider(item_of(url)), queue | limits)
    assert (crawled.status, list(crawled.store.values())) == (0, [sha256(BODY)])


def test_a_ledger_that_is_no_database_ends_with_4(crawls, origin, tmp_path, caplog):
    hidden = tmp_path / "store" / ".mediacrawl"
    hidden.mkdir(parents=True)
    (hidden / "ledger.sqlite3").write_bytes(b"not a database, " * 1000)
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg")
    crawled = crawls.crawl(tmp_path, items_spider(item_of(url)))
    assert crawled.status == 4
    assert isinstance(crawled.report.fatal, StoreNotWritable)
    assert "ledger.sqlite3" in str(crawled.report.fatal)
    assert origin.requests == []


def test_a_file_where_a_folder_should_be_fails_one_file_and_nothing_is_overwritten(crawls, origin, tmp_path):
    (tmp_path / "store").mkdir()
    in_the_way = tmp_path / "store" / "items"
    in_the_way.write_text("mine")
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg")
    crawled = crawls.crawl(tmp_path, items_spider(item_of(url)))
    assert (crawled.status, in_the_way.read_text()) == (1, "mine")
    assert [error["url"] for error in crawled.errors] == [url]
    in_the_way.unlink()
    again = crawls.crawl(tmp_path, items_spider(item_of(url)))
    assert (again.status, again.store) == (0, {"items/127.0.0.1/a.jpg": sha256(BODY)})


# --- a full disk ------------------------------------------------------------------------------------


class SmallDisk:
    def __init__(self, folder):
        self.folder = folder

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB in memory at `tmp_path/store`."""
    with file_system_at(tmp_path / "store", "size=6m"):
        yield SmallDisk(tmp_path / "store")


def films(origin):
    """Path -> sha256 of five files that do not fit on the disk."""
    wanted = {}
    for number, size in enumerate(SIZES):
        body = Pattern(size, seed=number)
        origin.add(f"/{number}.mp4", body, content_type="video/mp4")
        wanted[f"/{number}.mp4"] = body.sha256()
    return wanted


@pytest.mark.parametrize("way", ["a job", "a site", "a list"])
def test_a_full_disk_ends_the_crawl_and_with_room_it_goes_on(crawls, small_disk, origin, tmp_path, way):
    paths = films(origin)
    url = origin.page("/", "".join(f'<video src="{path}"></video>' for path in paths))
    settings = {"JOBDIR": str(tmp_path / "job")} if way == "a job" else {}
    spider, arguments = SiteSpider, {"url": url}
    if way == "a list":
        spider, arguments = items_spider(*(item_of(origin.url(path)) for path in paths)), {}
    wanted = {f"{spider.name}/127.0.0.1{path}": digest for path, digest in paths.items()}
    first = crawls.crawl(tmp_path, spider, settings, **arguments)
    assert first.status == 4
    assert isinstance(first.report.fatal, DiskFull)
    assert "free some space and run" in str(first.report.fatal)
    kept = first.store
    assert kept.items() <= wanted.items()
    small_disk.resize("60m")
    origin.forget()
    second = crawls.crawl(tmp_path, spider, settings, **arguments)
    assert (second.status, second.store) == (0, wanted)
    assert sum(SIZES) > origin.bytes_sent() - origin.bytes_sent("/")
    for path in kept:
        assert origin.requests_for("/" + path.rpartition("/")[2]) == []
    # A record that found no room leaves a file that is swept away when it is a minute old.
    assert {path.suffix for path in parts_in(small_disk.folder)} <= {".tmp"}


def test_a_full_disk_is_one_line_and_status_4_of_get(small_disk, origin, command):
    url = origin.add("/b.mp4", BIG, content_type="video/mp4")
    done = command("get", url)
    assert done.status == 4
    assert done.lines[-1].startswith("stopped: no space left for ")
    small_disk.resize("60m")
    origin.forget()
    done = command("get", url)
    assert (done.status, done.store) == (0, {"get/127.0.0.1/b.mp4": BIG.sha256()})
    assert origin.requests[0].range[0] > 0


def test_a_full_disk_is_one_line_and_status_4_of_the_process(small_disk, origin, tmp_path):
    origin.add("/b.mp4", BIG, content_type="video/mp4")
    page = origin.page("/", '<video src="/b.mp4"></video>')
    done = run(tmp_path, "crawl", "site", "-a", f"url={page}")
    assert done.status == 4, str(done)
    assert any(line.startswith("stopped: no space left for ") for line in done.lines), str(done)
    assert files_in(small_disk.folder) == {}
    small_disk.resize("60m")
    origin.forget()
    done = run(tmp_path, "crawl", "site", "-a", f"url={page}")
    assert (done.status, done.store) == (0, {"site/127.0.0.1/b.mp4": BIG.sha256()})
    (request,) = origin.requests_for("/b.mp4")
    assert request.range[0] > 0


# --- servers that make no sense ---------------------------------------------------------------------


def test_a_page_that_is_redirected_in_a_circle_ends(crawls, origin, tmp_path):
    url = origin.redirect("/", "/2")
    origin.redirect("/2", "/")
    crawled = crawls.crawl(tmp_path, SiteSpider, {"REDIRECT_MAX_TIMES": 5}, url=url)
    assert crawled.reason == "finished"
    assert len(origin.requests) <= 8


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/html,x", "javascript:1"])
def test_a_page_is_not_redirected_out_of_the_web(crawls, origin, tmp_path, target, caplog):
    url = origin.redirect("/", target)
    crawled = crawls.crawl(tmp_path, SiteSpider, url=url)
    assert crawled.reason == "finished"
    assert crawled.items == []
    assert all("root:" not in str(item) for item in crawled.items)


def test_links_out_of_the_web_are_not_followed(crawls, origin, tmp_path):
    url = origin.page(
        "/",
        '<img src="file:///etc/passwd"><img src="data:image/gif;base64,R0lGOD"><img src="javascript:x">'
        '<img src="http://[broken"><img src=""><a rel="next" href="file:///etc/hosts">Next</a>',
    )
    crawled = crawls.crawl(tmp_path, SiteSpider, url=url)
    assert crawled.store == {}
    assert [request.path for request in origin.requests] == ["/robots.txt", "/"]


@pytest.mark.parametrize(
    "fault", [headers_without_end(times=None), body_without_end(times=None), reset_on_connect(times=None)]
)
def test_a_file_without_end_or_beginning_fails_alone(crawls, origin, tmp_path, fault):
    good = origin.add("/a.jpg", BODY, content_type="image/jpeg")
    bad = origin.add("/b.jpg", BODY, content_type="image/jpeg", faults=[fault])
    settings = {"MEDIACRAWL_RETRY_TIMES": 1, "DOWNLOAD_MAXSIZE": 1_000_000, "ROBOTSTXT_OBEY": False}
    crawled = crawls.crawl(tmp_path, items_spider(item_of(bad, good)), settings)
    assert [error["url"] for error in crawled.errors] == [bad]
    assert crawled.store == {"items/127.0.0.1/a.jpg": sha256(BODY)}
    assert parts_in(tmp_path / "store") == []


def test_a_page_whose_host_does_not_exist_is_told_and_the_others_go_on(crawls, origin, tmp_path):
    origin.page("/", "text")

    class Two(Spider):
        name = "two"

        async def start(self):
            yield Request("http://no-such-host.invalid/")
            yield Request(origin.url("/"))

        def parse(self, response):
            yield {"url": response.url}

    crawled = crawls.crawl(tmp_path, Two, {"RETRY_TIMES": 0, "ROBOTSTXT_OBEY": False})
    assert [item["url"] for item in crawled.items] == [origin.url("/")]
    assert (crawled.status, crawled.report.pages_failed) == (1, 1)
    assert "\n" not in next(iter(crawled.report.reasons))


def test_names_that_are_dangerous_for_a_file_system_stay_in_the_store(crawls, origin, tmp_path):
    names = ["..%2F..%2Fout.jpg", "a%00b.jpg", "con.jpg", "x" * 300 + ".jpg", ".hidden.jpg", "a%0Ab.jpg"]
    urls = [origin.url("/") + name for name in names]
    for name in names:
        origin.on(f"/{name}", lambda request: (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n"
                                                b"Connection: close\r\n\r\nabc"))  # fmt: skip
    crawled = crawls.crawl(tmp_path, items_spider(item_of(*urls)), {"ROBOTSTXT_OBEY": False})
    assert crawled.errors == []
    assert len(crawled.store) == len(names)
    assert all(path.startswith("items/127.0.0.1/") for path in crawled.store)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
