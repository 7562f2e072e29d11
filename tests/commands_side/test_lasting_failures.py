"""Which failures are for good, which are not, and what a repeated crawl makes of them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from crawling import run, run_advice, sha256
from origin import (
    Origin,
    Pattern,
    dead_port,
    drop_after,
    html_instead,
    redirect,
    reset_on_connect,
    status,
    wrong_digest,
)

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.ledger.base import State
from mediacrawl.ledger.sqlite import SqliteLedger

BODY = b"\xff\xd8\xff" + b"j" * 3997
MAXSIZE = 300_000
AGAIN, PERMANENT_AGAIN = "try the failed ones again with", "to request permanent failures again"
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
    "/loop.jpg": (redirect("ftp://127.0.0.1/x", times=None), None, False, 1),
}
PERMANENT = sorted(path for path, (*_, permanent, _requests) in FAILURES.items() if permanent)
TRANSIENT = sorted(path for path, (*_, permanent, _requests) in FAILURES.items() if not permanent)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A list, then what its summary says of failures that may be over, then of those that are permanent.

    What resets connections is a host of its own: it is given up, which nothing else is to depend on.
    """
    folder = tmp_path_factory.mktemp("failures")
    with Origin() as origin, Origin() as resets:
        host_of = {path: resets if path == "/reset.jpg" else origin for path in FAILURES}
        for path, (fault, *_) in FAILURES.items():
            body = Pattern(MAXSIZE + 1) if path == "/large.jpg" else BODY
            faults = [] if fault is None else [fault]
            host_of[path].add(path, body, content_type="image/jpeg", faults=faults, digest=path == "/header.jpg")
        rows = [{"url": host_of[path].url(path)} for path in FAILURES]
        rows[list(FAILURES).index("/promised.jpg")]["sha256"] = sha256(b"something else")
        nobody = f"http://127.0.0.1:{dead_port()}/nobody.jpg"
        rows.append({"url": nobody})
        (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

        found = []
        for advice in (None, AGAIN, PERMANENT_AGAIN):
            origin.forget()
            resets.forget()
            done = (
                run_advice(found[0].done, advice)
                if advice
                else run(folder, "crawl", "urllist", "-a", "file=list.jsonl", settings=ONCE)
            )
            requests = [*origin.requests, *resets.requests]
            asked = [request.path for request in requests if request.path in FAILURES]
            found.append(SimpleNamespace(done=done, asked=asked, tries=tries_in(requests), failed=rows_in(folder)))
        yield found


def tries_in(requests):
    """Path -> requests; those that were repeated at once are not counted.

    Over a kept connection that ends without a response, a request is repeated at once over a new connection.
    """
    tries, ports = Counter(), set()
    for one in requests:
        tries[one.path] += one.path != "/reset.jpg" or one.client_port not in ports
        ports.add(one.client_port)
    return tries


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
    given_up = f"{urlsplit(row['url']).netloc} is given up for this run, and all its files fail"
    named = given_up if path == "/reset.jpg" else row["url"]
    assert f"{named}: {row['reason']}" in runs[0].done.err


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
    assert runs[0].tries[path] == FAILURES[path][3]


def test_nothing_that_failed_is_published(runs):
    for one in runs:
        assert (one.done.status, one.done.store) == (1, {}), str(one.done)


def test_the_first_advice_asks_for_what_may_be_there_again_and_for_nothing_else(runs):
    assert sorted(set(runs[1].asked)) == TRANSIENT
    assert {runs[1].failed[path]["attempts"] for path in TRANSIENT} == {2}
    assert {runs[1].failed[path]["attempts"] for path in PERMANENT} == {1}


def test_what_is_held_to_be_for_good_still_counts_as_failed_and_says_until_when(runs):
    assert f"failed {len(FAILURES) + 1}" in runs[1].done.err
    assert "not asked for again before 20" in runs[1].done.err


def test_the_other_advice_asks_for_all_that_failed(runs):
    assert sorted(set(runs[2].asked)) == sorted(FAILURES)
    assert {runs[2].failed[path]["attempts"] for path in TRANSIENT} == {3}
    assert {runs[2].failed[path]["attempts"] for path in PERMANENT} == {2}


def test_what_arrives_after_all_is_no_failure_any_more_and_begins_to_count_anew(command, origin):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg", faults=[status(404), status(403)])
    assert [command("get", url).status for _ in range(3)] == [1, 1, 0]
    assert command("status", "--failed").out == ""
    assert json.loads(command("status", "--json").out)["done"] == 1


# --- advice -----------------------------------------------------------------------------------------


def advice_in(done, begin):
    """The words of the advised command."""
    (line,) = [line for line in done.lines if line.startswith(begin)]
    return shlex.split(line.removeprefix(f"{begin}: "))


def test_status_gives_the_advice_of_the_summary(runs, command):
    done = command("status", store=runs[0].done.folder / "store")
    assert f"failed {len(FAILURES) + 1}" in done.out
    store = f"FILES_STORE={runs[0].done.folder / 'store'}"
    assert advice_in(done, AGAIN) == ["mediacrawl", "retry", "-s", store]
    assert advice_in(done, PERMANENT_AGAIN) == ["mediacrawl", "retry", "--permanent", "-s", store]
    assert advice_in(runs[0].done, PERMANENT_AGAIN)[1:] == [
        *("-m", "mediacrawl", "retry", "--permanent", "-s", "FILES_STORE=store"),
        *advice_in(runs[0].done, PERMANENT_AGAIN)[7:],
    ]
    assert f"DOWNLOAD_MAXSIZE={MAXSIZE}" in advice_in(runs[0].done, PERMANENT_AGAIN)


@pytest.fixture
def listed(origin, tmp_path):
    """A list of a file that is gone, one that is not to be had now, one that is there, and a line that is none."""
    urls = [
        origin.add("/gone.jpg", BODY, content_type="image/jpeg", faults=[status(404)]),
        origin.add("/later.jpg", BODY, content_type="image/jpeg", faults=[status(403)]),
        origin.add("/here.jpg", BODY, content_type="image/jpeg"),
    ]
    text = "".join(f"{line}\n" for line in (*urls, "no URL"))
    (tmp_path / "my list").write_text(text)
    return text.encode()


@pytest.mark.parametrize("words", [("get", "-i", "my list"), ("get", "-i", "-")], ids=" ".join)
def test_each_line_of_a_summary_is_a_command_that_does_what_it_says(origin, tmp_path, listed, words):
    first = run(tmp_path, *words, stdin=listed)
    origin.forget()
    again = run_advice(first, AGAIN)
    assert [request.path for request in origin.requests if request.path != "/robots.txt"] == ["/later.jpg"], again
    origin.forget()
    permanent = run_advice(first, PERMANENT_AGAIN)
    assert [request.path for request in origin.requests if request.path != "/robots.txt"] == ["/gone.jpg"], permanent
    assert len(permanent.store) == 3


def test_a_url_on_the_command_line_of_get_is_requested_whatever_is_known_of_it(origin, tmp_path):
    first = run(tmp_path, "get", origin.url("/gone.jpg"))
    assert not any(line.startswith(PERMANENT_AGAIN) for line in first.lines)
    origin.forget()
    run_advice(first, AGAIN)
    assert [request.path for request in origin.requests] == ["/gone.jpg"]


def test_what_can_never_be_requested_is_to_be_corrected(command, tmp_path):
    (tmp_path / "list").write_text("no URL\n")
    done = command("get", "-i", "list")
    assert done.lines[-1] == "nothing can be requested for these: correct them first"
    assert not any(line.startswith((AGAIN, PERMANENT_AGAIN)) for line in done.lines)


def test_a_corrected_digest_is_another_wish(command, origin, tmp_path):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg")
    for digest, requests, code in ((sha256(b"x"), 2, 1), (sha256(b"x"), 0, 1), (sha256(BODY), 1, 0)):
        (tmp_path / "list").write_text(f"url,sha256\n{url},{digest}\n")
        origin.forget()
        assert command("get", "-i", "list").status == code
        assert len(origin.requests) == requests
