"""`fetch` and `Session`: files from a program."""

import asyncio
import contextlib
import itertools
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from crawling import basic_auth, files_in, largest_part_bytes, parts_in, sha256, wait_until
from open_files import open_below
from origin import Pattern, drop_after, require_header, stall_after

import mediacrawl
from mediacrawl.archive import Archive, Publish
from mediacrawl.download.records import Fetched
from mediacrawl.errors import DiskFull, StoreNotWritable, UsageProblem
from mediacrawl.fetch import DOWNLOADED, FAILED, RESUMED, UPTODATE, FileRequest, Session, fetch
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.refetch import RefetchPolicy
from mediacrawl.fetch.stats import RunStats
from mediacrawl.fetch.threaded import ThreadedFetch

SETTINGS = {"MEDIACRAWL_BACKOFF_S": 0.01, "MEDIACRAWL_PROCESSES": 0}
BIG = Pattern(2_000_000, 1)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def fetched_elsewhere(requests, store, **settings):
    return {result.url: result for result in fetch(requests, store=store, settings=SETTINGS | settings)}


def served(origin, files):
    return [origin.add(f"/{number}.jpg", b"%d" % number, content_type="image/jpeg") for number in range(files)]


def test_the_proxy_of_a_request_is_that_of_the_environment_as_it_is_then(monkeypatch):
    def proxy_of(url):
        return FileRequest.of_url(url).transfer.proxy

    assert proxy_of("http://a.example/1") is None
    monkeypatch.setenv("http_proxy", "http://first:1")
    assert proxy_of("http://a.example/1") == "http://first:1"
    assert proxy_of("https://a.example/1") is None
    monkeypatch.setenv("http_proxy", "http://second:2")
    assert proxy_of("http://a.example/1") == "http://second:2"
    monkeypatch.setenv("no_proxy", "a.example")
    assert proxy_of("http://a.example/1") is None
    assert proxy_of("http://b.example/1") == "http://second:2"
    monkeypatch.delenv("http_proxy")
    assert proxy_of("http://b.example/1") is None


def test_files_come_and_come_no_second_time(origin, store):
    urls = [*served(origin, 30), origin.url("/missing.jpg")]
    results = fetched_elsewhere(urls, store)
    assert results.keys() == set(urls)
    assert {result.status for result in results.values()} == {DOWNLOADED, FAILED}
    missing = results[urls[-1]]
    assert (missing.reason, missing.entry) == ("HTTP 404 Not Found", None)
    first = results[urls[0]]
    assert (first.entry.path, first.size_bytes) == ("fetch/127.0.0.1/0.jpg", 1)
    assert (store / first.entry.path).read_bytes() == b"0"
    assert len(files_in(store)) == 30
    origin.forget()
    again = fetched_elsewhere(urls, store)
    assert origin.requests == []
    assert [again[url].status for url in urls] == [UPTODATE] * 30 + [FAILED]
    assert again[urls[-1]].is_known_failure


def test_requests_say_what_is_sent_and_where_a_file_goes(origin, store):
    url = origin.add("/a", b"\xff\xd8\xffpicture", content_type="image/jpeg", faults=[require_header("X-Key", "7")])
    request = FileRequest.of_url(url, headers=(("X-Key", "7"),), path="mine/picture.jpg", page="http://h/page")
    (result,) = fetched_elsewhere([request], store).values()
    assert (result.status, result.entry.path, result.entry.page) == (DOWNLOADED, "mine/picture.jpg", "http://h/page")
    assert result.request == request._replace(transfer=result.request.transfer)
    assert origin.requests[0].headers["user-agent"].startswith("mediacrawl/")


def test_a_user_agent_is_chosen_by_the_settings_or_the_request(origin, store):
    first, second = served(origin, 2)
    fetched_elsewhere(
        [first, FileRequest.of_url(second, headers=(("user-agent", "mine"),))], store, USER_AGENT="theirs"
    )
    assert {request.path: request.headers["user-agent"] for request in origin.requests} == {
        "/0.jpg": "theirs",
        "/1.jpg": "mine",
    }


@pytest.mark.parametrize("odd", ["gopher://me:secret@h/x", "nonsense", "http://[::1/x", "http:///x"])
def test_what_is_no_url_fails_by_itself(origin, store, odd):
    (url,) = served(origin, 1)
    results = fetched_elsewhere([odd, url], store)
    assert results[url].status == DOWNLOADED
    (failed,) = [result for result in results.values() if result.status == FAILED]
    assert (failed.reason, failed.request) == ("not an http, https, ftp or ftps URL", None)
    assert "secret" not in str(failed)


def test_results_come_while_requests_are_still_to_come(origin, store):
    urls: queue.Queue = queue.Queue()
    results = fetch(iter(urls.get, None), store=store, settings=SETTINGS)
    for url in served(origin, 3):
        urls.put(url)
        assert next(results).url == url
    urls.put(None)
    assert list(results) == []


def test_requests_are_taken_as_they_are_needed(origin, store):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield origin.url(f"/missing-{number}.jpg")

    results = fetch(endless(), store=store, settings=SETTINGS)
    assert taken == [], "nothing happens before the first result is asked for"
    assert len(list(itertools.islice(results, 10))) == 10
    results.close()
    assert len(taken) < 3000


def test_closing_the_iterator_stops_and_loses_nothing(origin, store):
    big = origin.add("/big.bin", BIG, faults=[stall_after(1_000_000)])
    (small,) = served(origin, 1)
    results = fetch([big, small], store=store, settings=SETTINGS)
    assert next(results).url == small
    wait_until(lambda: largest_part_bytes(store) > 500_000)
    results.close()
    assert open_below(store) == []
    origin.release()
    assert [path.suffix for path in sorted(parts_in(store))] == [".json", ".part"]
    origin.forget()
    again = fetched_elsewhere([big, small], store)
    assert (again[small].status, again[big].status) == (UPTODATE, RESUMED)
    assert again[big].saved_bytes > 0
    assert [request.path for request in origin.requests] == ["/big.bin"]
    assert (store / again[big].entry.path).read_bytes() == BIG.read()


def test_what_has_come_and_was_not_taken_yet_is_free_after_closing(origin, store):
    """The next call of the same process would wait for a part that this process has locked."""
    urls = served(origin, 40)
    results = fetch(urls, store=store, settings=SETTINGS)
    next(results)
    origin.wait_for(lambda: all(request.finished_at is not None for request in origin.requests))
    results.close()
    assert open_files_below(store) == []
    again = fetched_elsewhere(urls, store)
    assert {result.status for result in again.values()} <= {DOWNLOADED, RESUMED, UPTODATE}
    assert len(again) == 40


def open_files_below(folder):
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            found.append(descriptor.readlink())
    return [path for path in found if path.is_relative_to(folder)]


@pytest.mark.parametrize("error", [LookupError("mine"), SystemExit(3), asyncio.CancelledError()], ids=repr)
def test_an_error_in_the_requests_is_raised_once_those_before_it_have_their_results(origin, store, error):
    def requests():
        yield from served(origin, 30)
        raise error

    results = fetch(requests(), store=store, settings=SETTINGS)
    assert {next(results).status for _ in range(30)} == {DOWNLOADED}
    with pytest.raises(type(error)):
        next(results)
    assert [thread.name for thread in threading.enumerate() if thread.name in {"list", "ledger-changes"}] == []


def test_a_full_disk_is_raised_once_what_had_come_is_told(origin, store, monkeypatch):
    urls = served(origin, 10)
    genuine = Archive.write

    def write(archive, changes):
        if any(isinstance(change, Publish) and change.entry.path.endswith("/9.jpg") for change in changes):
            raise DiskFull("no space left")
        return genuine(archive, changes)

    monkeypatch.setattr(Archive, "write", write)
    told = []

    def tell_all():
        for result in fetch(urls, store=store, settings=SETTINGS):
            told.append(result.entry.path)  # noqa: PERF401 - what comes before the error

    with pytest.raises(DiskFull):
        tell_all()
    assert sorted(told) == sorted(files_in(store))


def test_what_was_written_beside_what_could_not_be_is_told():
    """Also where several writes have failed before."""
    files = FetchQueue("get", RefetchPolicy(), 2)
    files.add([FileRequest.of_url("http://h/a.jpg")])
    files.looked_up(files.take_lookups(), [None], 0.0, 0.0)
    files.take_writes()
    (batch,) = files.next_batches(0.0)
    files.fetched(batch, [Fetched(SimpleNamespace(file="part"), 200, "http://h/a.jpg")], 0.0)
    (publish,) = files.take_writes()
    run = ThreadedFetch(SimpleNamespace(), files, [], RunStats())
    failed, done = Future(), Future()
    failed.set_exception(DiskFull("no space left"))
    done.set_result([publish.change.entry])
    for writes, future in (([], failed), ([], failed), ([publish], done)):
        run._events.put(partial(run._written, writes, future))
    told = []

    def drain():
        for results in run.drain():
            told.extend(results)

    with pytest.raises(DiskFull):
        drain()
    assert [result.status for result in told] == [DOWNLOADED]


@pytest.mark.parametrize("wrong", [None, b"http://h/", 3, ["http://h/"]], ids=repr)
def test_what_is_no_request_fails_by_itself(origin, store, wrong):
    (url,) = served(origin, 1)
    results = list(fetch([wrong, url], store=store, settings=SETTINGS))
    assert sorted(result.status for result in results) == [DOWNLOADED, FAILED]


def test_a_single_url_is_no_iterable_of_urls(store):
    with pytest.raises(TypeError, match="not a single one"):
        list(fetch("http://h/a.jpg", store=store))


@pytest.mark.parametrize("headers", [{"X-Key": "a\nb"}, (("X-Key", "漢字"),), {"X\r": "7"}])
def test_a_header_that_cannot_be_sent_is_refused(headers):
    with pytest.raises(UsageProblem, match=r"the header 'X"):
        FileRequest.of_url("http://h/a", headers=headers)


def test_a_closed_session_is_closed(origin, store):
    with Session(store, SETTINGS) as session:
        pass
    with pytest.raises(RuntimeError, match="this session is closed"):
        list(session.fetch(served(origin, 1)))


def test_a_session_fetches_again_and_again_over_the_same_connections(origin, store):
    with Session(store, SETTINGS | {"CONCURRENT_REQUESTS_PER_DOMAIN": 1}) as session:
        for url in served(origin, 3):
            assert [result.status for result in session.fetch([url])] == [DOWNLOADED]
    assert len({request.client_port for request in origin.requests}) == 1


def test_a_session_has_one_fetch_at_a_time_and_goes_on_after_one_that_was_closed(origin, store):
    urls = served(origin, 3)
    with Session(store, SETTINGS) as session:
        first = session.fetch(urls[:2])
        next(first)
        with pytest.raises(RuntimeError, match="under way"):
            next(session.fetch(urls))
        first.close()
        assert {result.url for result in session.fetch(urls)} == set(urls)


def test_sessions_of_one_process_share_a_store_and_fetch_each_file_once(origin, store):
    urls = served(origin, 60)
    found = []

    def use():
        found.append({result.url for result in fetch(urls, store=store, settings=SETTINGS)})

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [set(urls)] * 3
    assert len(files_in(store)) == 60
    assert len({request.path for request in origin.requests}) == 60


def test_sessions_of_several_stores_do_not_mix(origin, tmp_path):
    urls = served(origin, 4)
    with Session(tmp_path / "a", SETTINGS) as one, Session(tmp_path / "b", SETTINGS) as other:
        for url, second in zip(one.fetch(urls), other.fetch(urls[:2]), strict=False):
            assert (url.status, second.status) == (DOWNLOADED, DOWNLOADED)
    assert len(files_in(tmp_path / "b")) == 2


def test_a_broken_connection_is_no_matter(origin, store):
    url = origin.add("/big.bin", BIG, faults=[drop_after(1_500_000)])
    (result,) = fetched_elsewhere([url], store).values()
    assert (result.status, result.entry.sha256) == (DOWNLOADED, sha256(BIG.read()))


def test_credentials_are_sent_and_not_told(origin, store):
    guarded = require_header("Authorization", basic_auth("me", "secret"))
    url = origin.add("/a.jpg", b"x", content_type="image/jpeg", faults=[guarded])
    (result,) = fetched_elsewhere([url.replace("//", "//me:secret@")], store).values()
    assert (result.status, result.url) == (DOWNLOADED, url)
    assert "secret" not in str(result.entry)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"MEDIACRAWL_STAL_S": 3}, "the nearest one is MEDIACRAWL_STALL_S"),
        ({"MEDIACRAWL_STALL_S": "x"}, "must be a number"),
        ({"FILES_STORE": "elsewhere"}, "is given by the argument store"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(store, settings, says):
    with pytest.raises(UsageProblem, match=says):
        list(fetch(["http://127.0.0.1:1/a"], store=store, settings=settings))
    assert not store.exists()


@pytest.mark.parametrize("store", ["", None])
def test_a_store_is_named(store):
    with pytest.raises(UsageProblem, match="store must be a folder"):
        Session(store)


def test_a_store_that_cannot_be_is_said(tmp_path, origin):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreNotWritable):
        list(fetch(served(origin, 1), store=tmp_path / "file" / "store", settings=SETTINGS))


def test_nothing_of_scrapy_is_imported():
    code = "import sys, mediacrawl.fetch; sys.exit('scrapy' in sys.modules or 'asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_examples_of_the_documentation_run(origin, tmp_path, monkeypatch, capsys):
    text = (Path(mediacrawl.__file__).parent.parent / "docs/library.md").read_text(encoding="utf-8")
    examples = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        origin.add(f"/{name}.jpg", name.encode(), content_type="image/jpeg")
    names = {}
    for example in examples:
        exec(example.replace("https://example.org", origin.url("").rstrip("/")), names)
    assert origin.url("/a.jpg") in capsys.readouterr().out
    assert [result.status for result in names["first"] + names["second"]] == [UPTODATE, DOWNLOADED]
    assert set(files_in(tmp_path / "downloads")) == {
        *("fetch/127.0.0.1/a.jpg", "pictures/a.jpg"),  # one file
        "notebook/127.0.0.1/b.jpg",
    }
