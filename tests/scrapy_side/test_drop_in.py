"""A project that swaps `FilesPipeline` for ours: what stays as it was, and what is different on purpose.

What Scrapy's own tests of its pipeline promise is asked here of both, so that a test that is wrong about Scrapy
fails, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from urllib.parse import urlsplit

import attrs
import pytest
from crawling import Crawls, basic_auth, files_in, item_of, items_spider, settings_of, sha256
from itemadapter import ItemAdapter
from origin import Origin, Pattern, dead_port, stall_after
from scrapy import Field, Item, Request, Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import DropItem
from scrapy.http import Response
from scrapy.pipelines.files import FilesPipeline
from scrapy.pipelines.media import FileException
from scrapy.spidermiddlewares.referer import RefererMiddleware
from twisted.python.failure import Failure

from mediacrawl.errors import UsageProblem
from mediacrawl.pipelines import MediaError, MediaFilesPipeline

BODY = b"\xff\xd8\xff" + b"j" * 3997
BOTH = pytest.mark.parametrize("base", [FilesPipeline, MediaFilesPipeline])


@pytest.fixture
def url(origin):
    return origin.add("/a.jpg", BODY, content_type="image/jpeg")


@pytest.fixture
def crawl(crawls: Crawls, tmp_path):
    """In a project that knows nothing of mediacrawl but the name of its pipeline."""

    def crawl(pipeline, *items, settings=None, **attributes):
        chosen = {"ITEM_PIPELINES": {pipeline: 1}} | (settings or {})
        return crawls.crawl(tmp_path, items_spider(*items, of_page=True, **attributes), chosen, project=None)

    return crawl


@pytest.fixture
def build(crawls, tmp_path):
    """A pipeline outside of a crawl, as Scrapy's own tests make it."""

    def build(pipeline, **settings):
        crawler = Crawler(Spider, settings_of(tmp_path, settings))
        crawler._apply_settings()
        return pipeline.from_crawler(crawler)

    return build


def subclass(base, **attributes):
    return type("UserDefinedFilesPipeline", (base,), attributes)


# --- settings ---------------------------------------------------------------------------------------

CLASS = {"EXPIRES": 1001, "FILES_URLS_FIELD": "alfa", "FILES_RESULT_FIELD": "beta"}
DEFAULT = {"DEFAULT_FILES_URLS_FIELD": "that", "DEFAULT_FILES_RESULT_FIELD": "this"}
SETTINGS = {"FILES_EXPIRES": 700, "FILES_URLS_FIELD": "urls", "FILES_RESULT_FIELD": "results"}
PREFIXED = {f"USERDEFINEDFILESPIPELINE_{name}": value for name, value in SETTINGS.items()}
FOREIGN = {f"OTHERPIPELINE_{name}": value for name, value in SETTINGS.items()}


@BOTH
@pytest.mark.parametrize(
    ("attributes", "settings", "expected"),
    [
        ({}, {}, (90, "file_urls", "files")),
        ({}, SETTINGS, (700, "urls", "results")),
        ({}, PREFIXED, (700, "urls", "results")),
        ({}, FOREIGN, (90, "file_urls", "files")),
        (CLASS, {}, (1001, "alfa", "beta")),
        (CLASS, SETTINGS, (700, "urls", "results")),
        (CLASS, PREFIXED, (700, "urls", "results")),
        ({}, PREFIXED | {"FILES_EXPIRES": 1}, (700, "urls", "results")),
        (DEFAULT, {}, (90, "that", "this")),
    ],
)
def test_settings_and_class_attributes_mean_what_they_mean_to_scrapy(build, base, attributes, settings, expected):
    own = {"FILES_EXPIRES": None} if "FILES_EXPIRES" not in settings else {}
    pipeline = build(subclass(base, **attributes), **{k: v for k, v in (own | settings).items() if v is not None})
    assert (pipeline.expires, pipeline.files_urls_field, pipeline.files_result_field) == expected


@BOTH
@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, False),
        ({"MEDIA_ALLOW_REDIRECTS": True}, True),
        ({"USERDEFINEDFILESPIPELINE_MEDIA_ALLOW_REDIRECTS": True}, True),
    ],
)
def test_redirects_are_refused_unless_allowed_for_all_or_for_the_class(build, base, settings, allowed):
    pipeline = build(subclass(base), **settings)
    request = Request("http://127.0.0.1/")
    pipeline._modify_media_request(request)
    assert pipeline.allow_redirects is allowed
    assert ("handle_httpstatus_all" in request.meta) is not allowed


@pytest.mark.parametrize(("base", "followed"), [(FilesPipeline, []), (MediaFilesPipeline, ["/a.jpg"])])
def test_a_redirect_out_of_the_allowed_domains_is_followed(crawls, origin, tmp_path, base, followed):
    with Origin("localhost") as other:
        other.add("/a.jpg", BODY, content_type="image/jpeg")
        moved = origin.redirect("/a.jpg", other.url("/a.jpg"))
        spider = items_spider(item_of(moved), allowed_domains=["127.0.0.1"])
        settings = {"ITEM_PIPELINES": {base: 1}, "MEDIA_ALLOW_REDIRECTS": True}
        crawls.crawl(tmp_path, spider, settings, project=None)
        assert [request.path for request in other.requests] == followed


@BOTH
@pytest.mark.parametrize("store", ["path", "uri"])
def test_a_store_is_a_path_or_a_file_uri(build, base, tmp_path, store):
    place = tmp_path / "elsewhere"
    pipeline = build(base, FILES_STORE=place if store == "path" else f"file://{place}")
    where = pipeline.store.basedir if base is FilesPipeline else str(pipeline.store.root)
    assert where == str(place)


@BOTH
def test_a_subclass_with_a_from_crawler_of_its_own_is_built_by_it(build, base):
    class Own(base):
        @classmethod
        def from_crawler(cls, crawler):
            pipeline = cls(crawler.settings["FILES_STORE"], crawler=crawler)
            pipeline.mine = True
            return pipeline

    assert build(Own).mine


# --- items ------------------------------------------------------------------------------------------


class ScrapyItem(Item):
    name = Field()
    file_urls = Field()
    files = Field()
    custom_urls = Field()
    custom_files = Field()


@dataclasses.dataclass
class DataclassItem:
    name: str = ""
    file_urls: list = dataclasses.field(default_factory=list)
    files: list = dataclasses.field(default_factory=list)
    custom_urls: list = dataclasses.field(default_factory=list)
    custom_files: list = dataclasses.field(default_factory=list)


@attrs.define
class AttrsItem:
    name: str = ""
    file_urls: list = attrs.field(factory=list)
    files: list = attrs.field(factory=list)
    custom_urls: list = attrs.field(factory=list)
    custom_files: list = attrs.field(factory=list)


@dataclasses.dataclass
class WithoutResult:
    file_urls: list


@BOTH
@pytest.mark.parametrize("kind", [dict, ScrapyItem, DataclassItem, AttrsItem])
@pytest.mark.parametrize("custom", [False, True], ids=["default fields", "other fields"])
def test_each_type_of_item_gets_its_files(crawl, url, base, kind, custom):
    wanted, result = ("custom_urls", "custom_files") if custom else ("file_urls", "files")
    settings = {"FILES_URLS_FIELD": wanted, "FILES_RESULT_FIELD": result} if custom else {}
    (item,) = crawl(base, kind(name="one", **{wanted: [url]}), settings=settings).items
    assert isinstance(item, kind)
    (file,) = ItemAdapter(item)[result]
    assert sorted(file) == ["checksum", "path", "status", "url"]
    assert (file["url"], file["status"]) == (url, "downloaded")


@BOTH
def test_an_item_that_has_no_field_for_the_result_goes_through(crawl, url, base):
    assert crawl(base, WithoutResult([url])).items == [WithoutResult([url])]


@BOTH
@pytest.mark.parametrize(
    "wrong", ["http://127.0.0.1/a.jpg", ("http://127.0.0.1/a.jpg",), {"url": "http://127.0.0.1/a.jpg"}, 123, None]
)
def test_urls_that_are_no_list_are_a_type_error(build, base, wrong):
    with pytest.raises(TypeError, match="file_urls must be a list of URLs, got "):
        build(base).get_media_requests({"file_urls": wrong}, None)


def test_an_item_whose_urls_are_no_list_is_an_error_of_that_item_alone(crawl, url, caplog):
    crawled = crawl(MediaFilesPipeline, {"file_urls": url}, item_of(url))
    assert len(crawled.items) == 1
    assert crawled.stat("item_error_count") in (1, None)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert isinstance(record.exc_info[1], TypeError)
    caplog.clear()


# --- methods of a project's own ---------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shape", [list, iter, lambda requests: requests[0]], ids=["list", "iterator", "one"])
def test_get_media_requests_may_be_overridden(crawl, url, base, shape):
    class Own(base):
        def get_media_requests(self, item, info):
            assert info.spider.name == "items"
            return shape([Request(item["picture"])])

    (item,) = crawl(Own, {"picture": url}).items
    assert [file["url"] for file in item["files"]] == [url]


@BOTH
def test_file_path_may_be_overridden_and_knows_request_response_info_and_item(crawl, url, base, tmp_path):
    class Own(base):
        def file_path(self, request, response=None, info=None, *, item=None):
            extension = urlsplit(request.url).path.rpartition(".")[2]
            return f"{info.spider.name}/{item['title']}.{extension}"

    (item,) = crawl(Own, item_of(url, title="Am See")).items
    assert item["files"][0]["path"] == "items/Am See.jpg"
    assert (tmp_path / "store" / "items" / "Am See.jpg").read_bytes() == BODY


@BOTH
def test_file_path_may_ask_for_its_super(crawl, url, base, tmp_path):
    class Own(base):
        def file_path(self, request, response=None, info=None, *, item=None):
            return "mine/" + super().file_path(request, response, info, item=item)

    (item,) = crawl(Own, item_of(url)).items
    path = item["files"][0]["path"]
    assert path.startswith("mine/")
    assert (tmp_path / "store" / path).read_bytes() == BODY


@BOTH
def test_file_path_that_raises_fails_that_file_alone(crawl, origin, url, base, caplog):
    other = origin.add("/b.jpg", BODY, content_type="image/jpeg")

    class Own(base):
        def file_path(self, request, response=None, info=None, *, item=None):
            if response is not None and request.url == url:
                raise RuntimeError("mine")
            return urlsplit(request.url).path[1:]

    (item,) = crawl(Own, item_of(url, other)).items
    assert [file["url"] for file in item["files"]] == [other]
    assert "mine" in caplog.text
    caplog.clear()


@BOTH
def test_item_completed_may_be_overridden_and_sees_results_as_pairs(crawl, origin, url, base, caplog):
    seen = []

    class Own(base):
        def item_completed(self, results, item, info):
            seen.extend(results)
            if not any(ok for ok, _ in results):
                raise DropItem("no file")
            return item

    crawled = crawl(Own, item_of(url, origin.url("/missing.jpg")), item_of(origin.url("/gone.jpg")))
    assert len(crawled.items) == 1
    assert crawled.stat("item_dropped_count") == 1
    (ok, file), (failed, failure), _ = sorted(seen, key=lambda pair: (not pair[0], str(pair[1])))
    assert (ok, file["url"], failed) == (True, url, False)
    assert isinstance(failure, Failure)
    assert isinstance(failure.value, FileException)
    caplog.clear()


@BOTH
def test_media_to_download_that_gives_a_file_saves_the_request(crawl, origin, url, base):
    class Own(base):
        def media_to_download(self, request, info, *, item=None):
            return {"url": request.url, "path": "known.jpg", "checksum": "0", "status": "uptodate"}

    (item,) = crawl(Own, item_of(url)).items
    assert item["files"] == [{"url": url, "path": "known.jpg", "checksum": "0", "status": "uptodate"}]
    assert origin.requests == []


@BOTH
def test_media_downloaded_may_be_overridden(crawl, url, base):
    class Own(base):
        async def media_downloaded(self, response, request, info, *, item=None):
            file = await super().media_downloaded(response, request, info, item=item)
            return file | {"type": response.headers["Content-Type"].decode(), "status": str(response.status)}

    (item,) = crawl(Own, item_of(url)).items
    assert (item["files"][0]["type"], item["files"][0]["status"]) == ("image/jpeg", "200")


@BOTH
def test_media_failed_that_returns_gives_the_result(crawl, origin, base, caplog):
    class Own(base):
        def media_failed(self, failure, request, info):
            return None

    (item,) = crawl(Own, item_of(origin.url("/missing.jpg"))).items
    assert item["files"] == [None]  # so it is in Scrapy
    assert len(origin.requests_for("/missing.jpg")) == 1
    caplog.clear()


@BOTH
def test_the_errback_of_a_request_can_give_the_result(crawl, origin, base, caplog):
    failures = []

    def instead(failure):
        failures.append(failure)
        return {"url": "", "path": "placeholder.jpg", "checksum": None, "status": "replaced"}

    class Own(base):
        def get_media_requests(self, item, info):
            return [Request(url, errback=instead) for url in item["file_urls"]]

    missing = origin.url("/missing.jpg")
    crawled = crawl(Own, item_of(missing, missing), item_of(missing))
    assert [file["path"] for file in crawled.files] == ["placeholder.jpg"] * 3
    assert all(isinstance(failure.value, FileException) for failure in failures)
    assert len(failures) == 3
    assert len(origin.requests_for("/missing.jpg")) == 1
    caplog.clear()


@BOTH
def test_statistics_are_counted_under_the_same_names(crawl, url, base):
    first, second = crawl(base, item_of(url)), crawl(base, item_of(url))
    counted = [
        (crawled.stat("file_count"), crawled.stat(f"file_status_count/{status}"))
        for crawled, status in ((first, "downloaded"), (second, "uptodate"))
    ]
    assert counted == [(1, 1), (1, 1)]
    assert [crawled.stat("downloader/request_count") for crawled in (first, second)] == [2, 1]  # the page is one
    assert first.stat("downloader/response_status_count/200") == 2


@BOTH
def test_inc_stats_may_be_overridden(crawl, url, base):
    seen = []

    class Own(base):
        def inc_stats(self, status):
            seen.append(status)

    crawl(Own, item_of(url))
    assert seen == ["downloaded"]


def test_other_components_find_it_where_they_look_for_files_pipeline(crawls, tmp_path):
    found = []

    class Looks(Spider):
        name = "looks"
        start_urls = ("data:,",)

        def parse(self, response):
            found.append(self.crawler.get_item_pipeline(FilesPipeline))

    crawls.crawl(tmp_path, Looks, {"ITEM_PIPELINES": {MediaFilesPipeline: 1}}, project=None)
    assert isinstance(found[0], MediaFilesPipeline)


def test_two_pipelines_with_other_fields_work_side_by_side(crawl, origin, url):
    other = origin.add("/b.mp3", b"ID3\x04" + BODY, content_type="audio/mpeg")
    first = subclass(MediaFilesPipeline)
    second = type("Sounds", (MediaFilesPipeline,), {})
    settings = {
        "ITEM_PIPELINES": {first: 1, second: 2},
        "SOUNDS_FILES_URLS_FIELD": "sounds",
        "SOUNDS_FILES_RESULT_FIELD": "heard",
        "SOUNDS_FILES_ERRORS_FIELD": "silent",
    }
    (item,) = crawl(first, item_of(url, sounds=[other]), settings=settings).items
    assert [file["url"] for file in item["files"]] == [url]
    assert [file["url"] for file in item["heard"]] == [other]
    assert (item["file_errors"], item["silent"]) == ([], [])


# --- what a request carries -------------------------------------------------------------------------


def requesting(**arguments):
    class Own(MediaFilesPipeline):
        def get_media_requests(self, item, info):
            return [Request(url, **arguments) for url in item["file_urls"]]

    return Own


def test_headers_and_cookies_of_a_request_are_sent(crawl, origin, url):
    crawl(requesting(headers={"X-Key": "7", "Accept": "image/*"}, cookies={"session": "abc"}), item_of(url))
    (request,) = origin.requests_for("/a.jpg")
    assert request.headers["x-key"] == "7"
    assert request.headers["accept"] == "image/*"
    assert request.headers["cookie"] == "session=abc"


def test_the_proxy_of_a_request_is_used_with_its_password(crawl, origin):
    proxy = Origin()
    proxy.add("/a.jpg", BODY, content_type="image/jpeg")
    with proxy:
        meta = {"proxy": f"http://me:secret@{proxy.netloc}"}
        (item,) = crawl(requesting(meta=meta), item_of("http://no-such-host.invalid/a.jpg")).items
        (request,) = proxy.requests
    assert [file["checksum"] for file in item["files"]] == [sha256(BODY)]
    assert request.target == "http://no-such-host.invalid/a.jpg"
    assert request.headers["proxy-authorization"] == basic_auth("me", "secret")


def test_the_password_of_a_proxy_goes_to_the_proxy_alone(crawl, origin, url, caplog):
    """Of a proxy that is not there nothing but the host shows."""
    with caplog.at_level("INFO"):
        proxy, settings = {"proxy": f"http://me:secret@127.0.0.1:{dead_port()}"}, {"MEDIACRAWL_RETRY_TIMES": 0}
        (item,) = crawl(requesting(meta=proxy), item_of(url), settings=settings).items
    assert item["files"] == []
    assert "secret" not in caplog.text + json.dumps(item)
    assert origin.requests == []


def test_the_download_timeout_of_a_request_holds_for_silence(crawl, origin, url):
    origin.fault("/a.jpg", stall_after(100, times=None))
    settings = {"MEDIACRAWL_RETRY_TIMES": 0}
    (item,) = crawl(requesting(meta={"download_timeout": 0.2}), item_of(url), settings=settings).items
    assert item["files"] == []
    assert len(item["file_errors"]) == 1


def test_the_maximal_size_of_a_request_holds(crawl, url):
    (item,) = crawl(requesting(meta={"download_maxsize": 1000}), item_of(url)).items
    assert "larger than the maximal 1000 bytes" in item["file_errors"][0]["reason"]


def test_the_media_key_of_a_request_is_what_the_ledger_knows_it_by(crawl, origin, url):
    pipeline = requesting(meta={"media_key": "the picture"})
    crawl(pipeline, item_of(f"{url}?signed=1"))
    (item,) = crawl(pipeline, item_of(f"{url}?signed=2")).items
    assert [file["status"] for file in item["files"]] == ["uptodate"]
    assert len(origin.requests) == 1


# --- different on purpose ---------------------------------------------------------------------------


def test_the_checksum_is_a_sha256_and_not_an_md5(crawl, url):
    for base, name in ((FilesPipeline, "md5"), (MediaFilesPipeline, "sha256")):
        assert crawl(base, item_of(url)).items[0]["files"][0]["checksum"] == hashlib.new(name, BODY).hexdigest()


def test_the_name_is_one_that_a_person_can_read_and_not_a_hash(crawl, url):
    paths = [crawl(base, item_of(url)).items[0]["files"][0]["path"] for base in (FilesPipeline, MediaFilesPipeline)]
    assert paths == [f"full/{hashlib.sha1(url.encode()).hexdigest()}.jpg", "items/127.0.0.1/a.jpg"]


def test_file_downloaded_and_the_hooks_of_the_store_are_not_called(crawl, url):
    class Own(MediaFilesPipeline):
        def file_downloaded(self, response, request, info, *, item=None):
            raise AssertionError

    crawled = crawl(Own, item_of(url))
    assert [file["status"] for file in crawled.files] == ["downloaded"]
    pipeline = crawled.crawler.get_item_pipeline(Own)
    assert not hasattr(pipeline.store, "persist_file")
    assert not hasattr(pipeline.store, "stat_file")


def test_the_response_that_methods_see_has_no_body(crawl, url):
    seen = []

    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            seen.append(response)
            return "a.jpg"

    crawl(Own, item_of(url))
    assert [(response.status, response.body) for response in seen] == [(200, b"")]  # once, and only with a response


@pytest.mark.parametrize("store", ["s3://bucket/x", "gs://bucket/x", "ftp://127.0.0.1/x"])
def test_a_store_that_is_no_folder_is_refused(build, store):
    with pytest.raises(UsageProblem, match=r"^FILES_STORE=.*: only a folder on this machine can be a store"):
        build(MediaFilesPipeline, FILES_STORE=store)


@pytest.mark.parametrize("store", [None, ""])
def test_without_a_store_files_go_to_downloads(build, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build(MediaFilesPipeline, FILES_STORE=store).store.root == tmp_path / "downloads"
    assert not (tmp_path / "downloads").exists()


def test_a_path_that_leads_out_of_the_store_is_made_to_lie_in_it(crawl, url, tmp_path):
    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return "../../out/../of.jpg"

    crawl(Own, item_of(url))
    assert list(files_in(tmp_path / "store").values()) == [sha256(BODY)]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_two_urls_that_are_given_one_path_do_not_overwrite_each_other(crawl, origin, url):
    other = origin.add("/b.jpg", b"\0other", content_type="image/jpeg")

    class Own(MediaFilesPipeline):
        def file_path(self, request, response=None, info=None, *, item=None):
            return "same.jpg"

    crawled = crawl(Own, item_of(url, other))
    assert crawled.store == {file["path"]: file["checksum"] for file in crawled.files}
    assert set(crawled.store.values()) == {sha256(BODY), sha256(b"\0other")}


def test_a_file_that_files_pipeline_left_there_is_not_taken_for_ours(crawl, url):
    class Path:
        def file_path(self, request, response=None, info=None, *, item=None):
            return "a.jpg"

    old, new = type("Old", (Path, FilesPipeline), {}), type("New", (Path, MediaFilesPipeline), {})
    crawl(old, item_of(url))
    crawled = crawl(new, item_of(url))
    assert [(file["status"], file["path"] == "a.jpg") for file in crawled.files] == [("downloaded", False)]
    assert set(crawled.store.values()) == {sha256(BODY)}
    assert len(crawled.store) == 2


def test_an_empty_file_is_a_file_and_no_failure(crawl, origin, caplog):
    url = origin.add("/a.jpg", b"", content_type="image/jpeg")
    assert [len(crawl(base, item_of(url)).files) for base in (FilesPipeline, MediaFilesPipeline)] == [0, 1]
    caplog.clear()


def test_an_html_page_in_place_of_a_picture_is_a_failure_and_no_file(crawl, origin):
    url = origin.page("/a.jpg", "<!DOCTYPE html><html><body>Sign in</body></html>")
    assert [len(crawl(base, item_of(url)).files) for base in (FilesPipeline, MediaFilesPipeline)] == [1, 0]


def test_what_did_not_arrive_is_told_in_file_errors_and_in_its_exception(crawl, origin):
    seen = []

    class Own(MediaFilesPipeline):
        def item_completed(self, results, item, info):
            seen.extend(failure.value for ok, failure in results if not ok)
            return super().item_completed(results, item, info)

    missing = origin.url("/missing.jpg")
    (item,) = crawl(Own, item_of(missing)).items
    assert item["file_errors"] == [{"url": missing, "reason": "HTTP 404 Not Found"}]
    assert [(type(error), error.url, error.reason) for error in seen] == [
        (MediaError, missing, "HTTP 404 Not Found"),
    ]


def test_an_answer_of_a_downloader_middleware_is_no_file(crawl, origin, url):
    class Answers:
        def process_request(self, request):
            return Response(request.url, body=b"made up")

    (item,) = crawl(MediaFilesPipeline, item_of(url), settings={"DOWNLOADER_MIDDLEWARES": {Answers: 1}}).items
    assert item["file_errors"] == [{"url": url, "reason": "a downloader middleware answered, and not the network"}]
    assert origin.requests == []


def test_a_request_of_another_method_fails_instead_of_being_sent_as_get(crawl, origin, url):
    (item,) = crawl(requesting(method="POST", body=b"x=1"), item_of(url)).items
    assert item["file_errors"] == [{"url": url, "reason": "only GET can be resumed, not POST"}]
    assert origin.requests == []


class Replaces:
    """Downloader middlewares of projects that look at, or change, the answer."""

    def process_response(self, request, response):
        return response.replace(url=f"{response.url}?seen") if request.url.endswith(".jpg") else response


class Sets:
    def process_response(self, request, response):
        response.headers = dict(response.headers)
        return response


class Names:
    def process_response(self, request, response):
        response.headers["Content-Disposition"] = 'attachment; filename="better.jpg"'
        return response


@pytest.mark.parametrize(("middleware", "name"), [(Replaces, "f"), (Sets, "f"), (Names, "better")])
def test_a_middleware_may_change_the_answer_as_any_other(crawls, tmp_path, origin, middleware, name):
    url = origin.add("/f.jpg", Pattern(500, 1), content_type="image/jpeg")
    settings = {"DOWNLOADER_MIDDLEWARES": {middleware: 950}, "ROBOTSTXT_OBEY": False}
    crawled = crawls.crawl(tmp_path, items_spider(item_of(url), of_page=True), settings)
    assert [path.rpartition("/")[2] for path in crawled.store] == [f"{name}.jpg"]


class Looks(MediaFilesPipeline):
    async def media_downloaded(self, response, request, info, *, item=None):
        response.headers["Content-Disposition"] = 'attachment; filename="better.jpg"'
        return await super().media_downloaded(response, request, info, item=item)


class Copies(MediaFilesPipeline):
    def file_path(self, request, response=None, info=None, *, item=None):
        assert response is None or response.headers["Content-Type"] == b"image/jpeg"
        return super().file_path(request, response and response.copy(), info, item=item)


@pytest.mark.parametrize(("pipeline", "name"), [(Looks, "better"), (Copies, "f")])
def test_a_project_may_look_at_the_answer_as_at_any_other(crawls, tmp_path, origin, pipeline, name):
    url = origin.add("/f.jpg", Pattern(500, 1), content_type="image/jpeg")
    settings = {"ITEM_PIPELINES": {pipeline: 1}, "ROBOTSTXT_OBEY": False}
    crawled = crawls.crawl(tmp_path, items_spider(item_of(url), of_page=True), settings)
    assert [path.rpartition("/")[2] for path in crawled.store] == [f"{name}.jpg"]


class Viewer(RefererMiddleware):
    """Each picture comes from a page of its own."""

    def get_processed_request(self, request, response):
        if request.url.endswith(".jpg"):
            request.headers.setdefault("Referer", request.url.replace(".jpg", ".html"))
        return request


def test_a_referer_of_a_project_is_asked_for_each_file(crawls, tmp_path, origin):
    urls = [origin.add(f"/{n}.jpg", Pattern(500, n), content_type="image/jpeg") for n in range(3)]
    spider = items_spider(item_of(*urls, page=origin.url("/p")), of_page=True)
    settings = {"SPIDER_MIDDLEWARES": {RefererMiddleware: None, Viewer: 700}, "ROBOTSTXT_OBEY": False}
    assert crawls.crawl(tmp_path, spider, settings).status == 0
    for n in range(3):
        (request,) = origin.requests_for(f"/{n}.jpg")
        assert request.headers["referer"] == origin.url(f"/{n}.html")
