"""Requests in a job folder: JSON that comes back as it was; reading it runs nothing."""

import json
import os
import pickle
import sqlite3
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from math import inf, isnan
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scrapy import FormRequest, Request, Spider
from scrapy.http import JsonRequest

from mediacrawl.crawl.stored_requests import (
    UnreadableRequest,
    UnstorableRequest,
    is_pickled,
    request_from_bytes,
    request_from_pickle,
    request_to_bytes,
)
from mediacrawl.frontier.sqlite import SqliteFrontier


class Gallery(Spider):
    name = "gallery"

    def parse(self, response):
        pass

    def detail(self, response, who=None):
        pass

    def failed(self, failure):
        pass


SPIDER = Gallery()


def back(request):
    data = request_to_bytes(request, SPIDER)
    assert not is_pickled(data)
    json.loads(data)
    return request_from_bytes(data, SPIDER)


REQUESTS = [
    Request("http://h/"),
    Request("http://h/?a=%C3%BC#part", SPIDER.detail, "POST", {"X-A": ["1", "2"], b"x-raw": b"\xff\x00"}, b"\0\xff{"),
    Request("http://h/", errback=SPIDER.failed, priority=-7, dont_filter=True, flags=["a"], encoding="gbk"),
    Request("http://h/", cookies={"a": "1"}, cb_kwargs={"who": "月"}, meta={"cookiejar": 1, "depth": 2}),
    Request("http://h/", cookies=[{"name": "a", "value": "1", "domain": "h", "secure": True}]),
    FormRequest("http://h/", formdata={"a": "ü"}, callback=SPIDER.detail),
    JsonRequest("http://h/", data={"a": [1]}, dumps_kwargs={"sort_keys": True}),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
def test_a_request_comes_back_as_it_was(request_):
    again = back(request_)
    assert type(again) is type(request_)
    assert again.to_dict(spider=SPIDER) == request_.to_dict(spider=SPIDER)
    for name in ("callback", "errback", "headers"):
        assert getattr(again, name) == getattr(request_, name)


class Colour(IntEnum):
    RED = 1


VALUES = [
    *(None, True, 0, -1, 2**70, 1.5, inf, "", "月\0\ud800", b"", b"\0\xff", bytearray(b"a"), [], {}, ()),
    *((1, (2, [3])), {1, "a"}, frozenset({b"a"}), {1: 2, (3,): "4"}, {"$": 1}, {"$": "tuple", "value": [1]}),
    *(date(2026, 1, 2), time(1, 2, 3, 4), datetime.fromisoformat("2026-01-02T03:04:05.000006")),
    *(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, fold=1, tzinfo=UTC), time(1, fold=1)),
    *(datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3))), timedelta(-1, 2, 3), Decimal("1.10"), UUID(int=7)),
    {"deep": [{"er": ({"est": {b"x"}},)}]},
]


def same(one, other):
    """Equal, and of the same types at each depth: 1 == True == 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=True)
        return len(one) == len(other) and all(same(a, b) and same(x, y) for (a, x), (b, y) in pairs)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and isnan(one) and isnan(other))


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_value_of_meta_and_cb_kwargs_keeps_its_type(value):
    again = back(Request("http://h/", meta={"a": value}, cb_kwargs={"b": [value]}))
    assert same(again.meta["a"], value)
    assert same(again.cb_kwargs["b"], [value])


SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(), st.timedeltas()),
    *(st.datetimes(), st.decimals(allow_nan=False), st.uuids()),
)
KEYS = st.one_of(st.text(max_size=2), st.just("$"), st.integers(), st.binary(max_size=2), st.tuples(st.integers()))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(
            st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(KEYS, inner), st.sets(st.integers())
        ),
    )
)
def test_any_value_of_these_types_comes_back(value):
    assert same(back(Request("http://h/", meta={"a": value})).meta["a"], value)


def cycle():
    value = []
    value.append(value)
    return value


Point = namedtuple("Point", "x y")  # noqa: PYI024
UNSTORABLE = [
    *(object(), Colour.RED, Point(1, 2), OrderedDict(a=1), lambda: 1, cycle(), 10**5000, {"a": object()}, [Request]),
    *(
        datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
        type("S", (str,), {})("a"),
    ),
]


@pytest.mark.parametrize("value", UNSTORABLE, ids=range(len(UNSTORABLE)))
def test_what_json_would_change_is_refused(value):
    with pytest.raises(UnstorableRequest) as caught:
        request_to_bytes(Request("http://h/", meta={"a": value}), SPIDER)
    assert "\n" not in str(caught.value)


def test_a_callback_that_is_no_method_of_the_spider_is_refused():
    with pytest.raises(UnstorableRequest, match="is not an instance method"):
        request_to_bytes(Request("http://h/", lambda response: None), SPIDER)


DAMAGED = [
    *(b"", b"{", b"[]", b"1", b"{}", b'"a"', b"\xff", b'{"url":1}', b'{"url":"no scheme"}', b'{"$":"tuple"}'),
    *(b'{"url":"http://h/","headers":1}', b'{"url":"http://h/","callback":"missing"}', b"[" * 100_000),
    b'{"url":"http://h/","meta":{"$":"unknown","value":1}}',
    b'{"url":"http://h/","meta":{"$":["unhashable"],"value":1}}',
    b'{"url":"http://h/","_class":"subprocess.Popen"}',
    b'{"url":"http://h/","_class":"os.system"}',
    b'{"url":"http://h/","_class":7}',
    b'{"url":"http://h/","body":{"$":"bytes","value":"\xc3\xa4"}}',
    pickle.dumps({"url": "http://h/"}),
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_what_is_no_request_is_refused_in_one_line(data):
    with pytest.raises(UnreadableRequest) as caught:
        request_from_bytes(data, SPIDER)
    assert "\n" not in str(caught.value)


class Bomb:
    """A pickle that makes a folder when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_of_an_earlier_version_is_a_request():
    request = REQUESTS[1]
    again = request_from_pickle(pickle.dumps(request.to_dict(spider=SPIDER), protocol=5), SPIDER)
    assert again.to_dict(spider=SPIDER) == request.to_dict(spider=SPIDER)
    with pytest.raises(UnreadableRequest):
        request_from_pickle(b"\x80\x05junk", SPIDER)


# In a crawl


class Pages(Spider):
    name = "pages"
    start_urls = ()

    async def start(self):
        return
        yield

    def parse(self, response):
        yield {"url": response.url}


@pytest.fixture
def crawl(crawls, tmp_path):
    def crawl():
        return crawls.crawl(tmp_path, Pages, {"JOBDIR": str(tmp_path / "job"), "ROBOTSTXT_OBEY": False})

    return crawl


def job_with(tmp_path, *pages, version=1):
    frontier = SqliteFrontier(tmp_path / "job", "pages")
    for number, data in enumerate(pages):
        frontier.add(b"%d" % number, data)
    frontier.close(finished=False)
    with sqlite3.connect(tmp_path / "job" / "frontier.sqlite3") as db:
        db.execute(f"PRAGMA user_version={version}")
    db.close()
    return tmp_path / "job" / "frontier.sqlite3"


def test_the_owner_of_an_older_job_goes_on_with_it(crawl, origin, tmp_path):
    url = origin.page("/old", "text")
    job_with(tmp_path, pickle.dumps(Request(url).to_dict(spider=Pages()), protocol=5))
    crawled = crawl()
    assert ([item["url"] for item in crawled.items], crawled.status, crawled.reason) == ([url], 0, "finished")


def test_a_request_that_another_user_may_have_written_is_not_read(crawl, origin, tmp_path, monkeypatch):
    url = origin.page("/", "text")
    (tmp_path / "module_of_nobody.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    page = json.dumps({"url": url, "_class": "module_of_nobody.Request"}).encode()
    job_with(tmp_path, page, version=2).chmod(0o666)
    for _ in range(2):
        crawled = crawl()
        assert (crawled.items, crawled.status) == ([], 4)
        assert "other users" in str(crawled.report.fatal)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("planted", ["", "link"])
def test_a_job_folder_without_the_frontier_is_no_place_for_others_either(crawls, origin, tmp_path, planted):
    job, foreign = tmp_path / "job", tmp_path / "foreign"
    job.mkdir()
    (job / "notes.txt").touch()  # so that it keeps its mode
    job.chmod(0o777)
    foreign.write_text("as it was")
    if planted:
        (job / "spider.state").symlink_to(foreign)
    settings = {"JOBDIR": str(job), "MEDIACRAWL_FRONTIER": str(tmp_path / "frontier"), "ROBOTSTXT_OBEY": False}
    crawled = crawls.crawl(tmp_path, Pages, settings)
    assert crawled.status == 4
    assert "other users can write in it" in str(crawled.report.fatal)
    assert sorted(path.name for path in job.iterdir()) == ["notes.txt", *(["spider.state"] if planted else [])]
    assert foreign.read_text() == "as it was"


@pytest.mark.parametrize("where", ["pages of format 1", "pages of format 2", "spider.state", "linked spider.state"])
def test_a_pickle_that_another_user_may_have_written_is_never_read(crawl, origin, tmp_path, where):
    mark, url = tmp_path / "executed", origin.page("/", "text")
    bomb = pickle.dumps(Bomb(mark), protocol=5)
    page = json.dumps({"url": url}).encode()
    path = job_with(tmp_path, page, *([bomb] if "format" in where else []), version=2 if "2" in where else 1)
    if where == "linked spider.state":
        (tmp_path / "state").write_bytes(bomb)
        (tmp_path / "job" / "spider.state").symlink_to(tmp_path / "state")
    elif where == "spider.state":
        (tmp_path / "job" / "spider.state").write_bytes(bomb)
        (tmp_path / "job" / "spider.state").chmod(0o666)
    elif "1" in where:
        path.chmod(0o666)
    crawled = crawl()
    assert not mark.exists()
    if "2" in where:  # no job of that format has pickles: the page is told, the others are crawled
        assert [item["url"] for item in crawled.items] == [url]
        assert crawled.status == 1
    else:
        assert (crawled.items, crawled.status) == ([], 4)
        assert "another user" in str(crawled.report.fatal) or "other users" in str(crawled.report.fatal)
    assert crawl().status == crawled.status, "told by each run"
    assert not mark.exists()


def test_a_page_that_cannot_be_read_is_told_and_stays_for_the_next_run(crawl, origin, tmp_path, caplog):
    url = origin.page("/", "text")
    damaged = json.dumps({"url": url, "callback": "renamed"}).encode()
    job_with(tmp_path, json.dumps({"url": url}).encode(), damaged, version=2)
    for expected in ([url], []):
        crawled = crawl()
        assert ([item["url"] for item in crawled.items], crawled.status) == (expected, 1)
        assert crawled.report.pages_failed == 1
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 2
    assert "Method 'renamed' not found" in told[0]
