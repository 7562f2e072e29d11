"""Which failures are for good, which are not, and what a repeated crawl makes of them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from crawling import run, sha256
from origin import Origin, Pattern, dead_port, drop_after, html_instead, reset_on_connect, status, wrong_digest

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.ledger.base import State
from mediacrawl.ledger.sqlite import SqliteLedger

BODY = b"\xff\xd8\xff" + b"j" * 3997
MAXSIZE = 300_000
ONCE = {"MEDIACRAWL_RETRY_TIMES": 1, "DOWNLOAD_MAXSIZE": MAXSIZE}

# path -> fault, status, permanent, requests of one crawl (one retry within it is allowed)
FAILURES = {
    "/404.jpg": (status(404, times=None), 404, True, 1),
    "/410.jpg": (status(410, times=None), 410, True, 1),
    "/promised.jpg": (None, 200, True, 2),  # the list says another sha256
    "/header.jpg": (wrong_digest(times=None), 200, True, 2),
    "/large.jpg": (None, 200, True, 1),
    "/html.jpg": (html_instead(times=None), 200, False, 1),  # a login may end it
    "/403.jpg": (status(403, times=None), 403, False, 1),
    "/500.jpg": (status(500, times=None), 500, False, 2),
    "/503.jpg": (status(503, times=None), 503, False, 2),
    "/501.jpg": (status(501, times=None), 501, False, 1),
    "/broken.jpg": (drop_after(100, times=None), None, False, 2),
    "/reset.jpg": (reset_on_connect(times=None), None, False, 2),
}
PERMANENT = sorted(path for path, (*_, permanent, _requests) in FAILURES.items() if permanent)
TRANSIENT = sorted(path for path, (*_, permanent, _requests) in FAILURES.items() if not permanent)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same list three times: at first, again, and with nothing held to be for good."""
    folder = tmp_path_factory.mktemp("failures")
    with Origin() as origin:
        for path, (fault, *_) in FAILURES.items():
            body = Pattern(MAXSIZE + 1) if path == "/large.jpg" else BODY
            faults = [] if fault is None else [fault]
            origin.add(path, body, content_type="image/jpeg", faults=faults, digest=path == "/header.jpg")
        rows = [{"url": origin.url(path)} for path in FAILURES]
        rows[list(FAILURES).index("/promised.jpg")]["sha256"] = sha256(b"something else")
        nobody = f"http://127.0.0.1:{dead_port()}/nobody.jpg"
        rows.append({"url": nobody})
        (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

        found = []
        for settings in ({}, {}, {"MEDIACRAWL_RETRY_PERMANENT_DAYS": 0}):
            origin.forget()
            done = run(folder, "crawl", "urllist", "-a", "file=list.jsonl", settings=ONCE | settings)
            asked = [request.path for request in origin.requests if request.path in FAILURES]
            found.append(SimpleNamespace(done=done, asked=asked, failed=rows_in(folder)))
        yield found


def rows_in(folder):
    """Path -> the row of what failed."""
    ledger = SqliteLedger(folder / "store" / ".mediacrawl" / LEDGER_NAME, read_only=True)
    rows = {urlsplit(entry.url).path: entry._asdict() for entry in ledger.entries(State.FAILED)}
    ledger.close()
    return rows


@pytest.mark.parametrize("path", FAILURES)
def test_the_ledger_says_why_and_whether_it_is_for_good(runs, path):
    _fault, http_status, permanent, _requests = FAILURES[path]
    row = runs[0].failed[path]
    # A body that broke or was wrong came with a status too; whether that one is told is not promised.
    assert (
        row["http_status"] in {http_status, None} if http_status in {200, None} else row["http_status"] == http_status
    )
    assert (row["permanent"], row["attempts"]) == (permanent, 1)
    assert row["reason"]
    assert f"{row['url']}: {row['reason']}" in runs[0].done.err


def test_status_lists_them_in_the_same_words(runs, command):
    done = command("status", "--failed", "--json", store=runs[2].done.folder / "store")
    listed = {urlsplit(row["url"]).path: row for row in map(json.loads, done.out.splitlines())}
    names = ("url", "reason", "http_status", "attempts", "permanent")
    assert listed == {path: {name: row[name] for name in names} for path, row in runs[2].failed.items()}


def test_nobody_there_is_not_for_good(runs):
    assert runs[0].failed["/nobody.jpg"]["permanent"] is False
    assert runs[0].failed["/nobody.jpg"]["http_status"] is None


@pytest.mark.parametrize("path", FAILURES)
def test_within_a_crawl_it_is_tried_again_where_that_may_help(runs, path):
    requests = FAILURES[path][3]
    # A request over a kept connection is repeated at once, if the connection ends without a response.
    most = 2 * requests if path == "/reset.jpg" else requests
    assert requests <= runs[0].asked.count(path) <= most


def test_nothing_that_failed_is_published(runs):
    for one in runs:
        assert (one.done.status, one.done.store) == (1, {}), str(one.done)


def test_a_repeated_crawl_asks_for_what_may_be_there_again_and_for_nothing_else(runs):
    assert sorted(set(runs[1].asked)) == TRANSIENT
    assert {runs[1].failed[path]["attempts"] for path in TRANSIENT} == {2}
    assert {runs[1].failed[path]["attempts"] for path in PERMANENT} == {1}


def test_what_is_held_to_be_for_good_still_counts_as_failed_and_says_until_when(runs):
    assert f"failed {len(FAILURES) + 1}" in runs[1].done.err
    assert "not asked for again before 20" in runs[1].done.err


def test_with_0_days_all_are_asked_for_again_and_counted(runs):
    assert sorted(set(runs[2].asked)) == sorted(FAILURES)
    assert {runs[2].failed[path]["attempts"] for path in TRANSIENT} == {3}
    assert {runs[2].failed[path]["attempts"] for path in PERMANENT} == {2}


def test_what_arrives_after_all_is_no_failure_any_more_and_begins_to_count_anew(command, origin):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg", faults=[status(404), status(403)])
    assert [command("get", url).status for _ in range(3)] == [1, 1, 0]
    assert command("status", "--failed").out == ""
    assert json.loads(command("status", "--json").out)["done"] == 1
