"""`mediacrawl retry`: what failed, once more, as if the crawl that wanted it first asked again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from crawling import BIG, STALLS_AT, run, sha256, start
from origin import Origin, html_instead, stall_after, status

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.ledger.base import Entry, State
from mediacrawl.ledger.sqlite import SqliteLedger

BODY = b"\xff\xd8\xff" + b"j" * 3997
PROMISED = sha256(b"what the list promises, and nobody has")
JPEG = "image/jpeg"
ONCE = {"MEDIACRAWL_RETRY_TIMES": 0}


def media(origin):
    return [request.path for request in origin.requests if request.path not in {"/robots.txt", "/page"}]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A list and a page fail, the server recovers, `retry`, then `retry --permanent`."""
    folder = tmp_path_factory.mktemp("story")
    with Origin() as origin:
        faults = {
            "/later.jpg": status(503),
            "/page.jpg": status(500),
            "/gone.jpg": status(404),
            "/html.jpg": html_instead(),
        }
        for path in ("/here.jpg", *faults, "/promised.jpg", "/signed.jpg"):
            origin.add(path, BODY + path.encode(), content_type=JPEG, faults=[faults[path]] if path in faults else [])
        rows = [
            {"url": origin.url("/here.jpg")},
            {"url": origin.url("/later.jpg"), "filename": "Später.jpg", "referer": "http://127.0.0.1/from"},
            {"url": origin.url("/gone.jpg"), "filename": "weg.jpg", "md5": ""},
            {"url": origin.url("/html.jpg")},
            {"url": origin.url("/promised.jpg"), "sha256": PROMISED},
        ]
        (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        page = origin.page("/page", '<img src="/page.jpg">')
        first = run(folder, "crawl", "urllist", "-a", "file=list.jsonl", settings=ONCE)
        assert first.status == 1, str(first)
        site = run(folder, "crawl", "site", "-a", f"url={page}", settings=ONCE)
        assert site.status == 1, str(site)

        ledger = SqliteLedger(folder / "store" / ".mediacrawl" / LEDGER_NAME)
        signed = Entry("key of a signed URL", origin.url("/signed.jpg?signature=1"), spider="shop", reason="HTTP 503")
        ledger.record_failure([signed], 1.0)
        runs = []
        for words in ((), ("--permanent",)):
            origin.forget()
            done = run(folder, "retry", *words)
            requests = {request.path: request for request in origin.requests}
            rows = {entry.url: entry for entry in ledger.entries()}
            runs.append(SimpleNamespace(done=done, media=sorted(media(origin)), requests=requests, rows=rows))
        ledger.close()
        yield SimpleNamespace(transient=runs[0], all=runs[1], origin=origin, page=page)


def test_retry_asks_for_transient_failures_alone_and_is_status_0_when_they_are_there(story):
    assert story.transient.media == ["/html.jpg", "/later.jpg", "/page.jpg", "/signed.jpg"]
    assert story.transient.done.status == 0, str(story.transient.done)
    *summary, advice = story.transient.done.lines
    assert summary == [
        "new 4, resumed 0, already there 0, failed 0; 16.0kB arrived",
        "permanent failures that were not requested: 2",
    ]
    assert advice.startswith("to request permanent failures again: ")
    assert " retry --permanent " in advice


def test_retry_permanent_asks_for_all_that_failed(story):
    assert set(story.all.media) == {"/gone.jpg", "/promised.jpg"}
    assert story.all.done.status == 1
    assert "new 1, resumed 0, already there 0, failed 1" in story.all.done.err


def test_what_comes_late_has_the_folder_and_the_name_it_would_have_had_at_first(story):
    assert story.all.done.store == {
        "urllist/127.0.0.1/here.jpg": sha256(BODY + b"/here.jpg"),
        "urllist/127.0.0.1/Später.jpg": sha256(BODY + b"/later.jpg"),
        "urllist/127.0.0.1/weg.jpg": sha256(BODY + b"/gone.jpg"),
        "urllist/127.0.0.1/html.jpg": sha256(BODY + b"/html.jpg"),
        "site/127.0.0.1/page.jpg": sha256(BODY + b"/page.jpg"),
        "shop/127.0.0.1/signed.jpg": sha256(BODY + b"/signed.jpg"),
    }


def test_the_ledger_keeps_the_spider_the_page_and_the_key_that_wanted_it_first(story):
    rows = story.all.rows
    row = rows[story.origin.url("/page.jpg")]
    assert (row.state, row.spider, row.page) == (State.DONE, "site", story.page)
    assert rows[story.origin.url("/later.jpg")].spider == "urllist"
    signed = rows[story.origin.url("/signed.jpg?signature=1")]
    assert (signed.state, signed.spider, signed.key) == (State.DONE, "shop", "key of a signed URL")
    assert len(rows) == len(story.all.done.store) + 1  # no row twice, under another key


def test_the_page_or_the_referer_of_the_list_is_sent_again(story):
    assert story.transient.requests["/page.jpg"].headers["referer"] == story.page
    assert story.transient.requests["/later.jpg"].headers["referer"] == "http://127.0.0.1/from"
    assert "referer" not in story.transient.requests["/html.jpg"].headers


def test_what_is_not_what_the_list_promised_fails_again_and_is_not_published(story):
    (row,) = [row for row in story.all.rows.values() if row.state == State.FAILED]
    assert row.url == story.origin.url("/promised.jpg")
    assert (row.permanent, row.attempts) == (True, 2)
    assert story.all.media.count("/promised.jpg") == 2  # twice in each run: a digest may be wrong by accident


@pytest.fixture
def failed_row(origin, tmp_path, ledger):
    """A row that a spider with keys of its own left behind; a function that makes another."""

    def make(path, **facts):
        entry = Entry(f"key of {path}", origin.url(path), spider="shop", reason="HTTP 503", **facts)
        ledger.record_failure([entry], 1.0)
        return entry

    return make


def test_a_retry_that_was_killed_goes_on_with_what_it_had_begun(origin, tmp_path, ledger, failed_row):
    origin.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    entry = failed_row("/big.mp4")
    waiting = Entry("never failed", origin.url("/other.mp4"))
    ledger.record_wanted([waiting], 1.0)
    with start(tmp_path, "retry") as running:
        origin.wait_for(lambda: origin.bytes_sent("/big.mp4") >= STALLS_AT)
        running.kill()
        running.wait()
    assert ledger.lookup([entry.key])[entry.key].state == State.PENDING
    done = run(tmp_path, "retry")
    assert (done.status, done.store) == (0, {"shop/127.0.0.1/big.mp4": BIG.sha256()}), str(done)
    assert "resumed 1" in done.err
    assert origin.requests_for("/big.mp4")[-1].range[0] > 0
    assert origin.requests_for("/other.mp4") == []  # what a crawl has not come to yet is that crawl's


def test_retry_and_repair_need_no_spider_of_the_project(origin, tmp_path, ledger, failed_row):
    """In somebody else's project our commands are there, our spiders are not."""
    origin.add("/a.jpg", BODY, content_type=JPEG)
    failed_row("/a.jpg")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").touch()
    (tmp_path / "theirs" / "settings.py").write_text(
        'ADDONS = {"mediacrawl.Addon": 500}\nCOMMANDS_MODULE = "mediacrawl.commands"\n'
        'FILES_STORE = "store"\nMEDIACRAWL_PROGRESS_S = 0\nLOG_LEVEL = "WARNING"\n'
    )
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = theirs.settings\n")
    done = run(tmp_path, "retry", module="scrapy")
    assert (done.status, done.store) == (0, {"shop/127.0.0.1/a.jpg": sha256(BODY)}), str(done)
    (tmp_path / "store" / "shop" / "127.0.0.1" / "a.jpg").unlink()
    repaired = run(tmp_path, "verify", "--repair", module="scrapy")
    assert (repaired.status, repaired.store) == (0, done.store), str(repaired)


def test_a_file_that_failed_under_two_names_has_both_after_a_retry_and_is_forgotten_with_both(tmp_path, origin):
    url = origin.add("/a.jpg", BODY, content_type=JPEG, faults=[status(500)])
    (tmp_path / "list.csv").write_text(f"url,filename\n{url},one.jpg\n{url},two.jpg\n")
    assert run(tmp_path, "get", "-i", "list.csv", settings=ONCE).status == 1
    done = run(tmp_path, "retry", settings=ONCE)
    assert (done.status, media(origin)) == (0, ["/a.jpg"] * 2), str(done)
    assert done.store == {f"get/127.0.0.1/{name}.jpg": sha256(BODY) for name in ("one", "two")}
    forgotten = run(tmp_path, "forget", "--files", url)
    assert (forgotten.out.count("forgotten: "), forgotten.store) == (2, {})
