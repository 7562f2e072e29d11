"""The README's table of exit statuses, row by row, with real runs."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from crawling import BIG, STALLS_AT, assert_plain, run, sha256, start, together
from origin import Answer, Origin, stall_after, status

import mediacrawl
from mediacrawl.backends import LEDGER_NAME
from mediacrawl.ledger.base import Entry

BODY = b"\xff\xd8\xff" + b"j" * 3997
JPEG = "image/jpeg"
SOON_S = 25


# name of the run -> words, status
RUNS = {
    "a list of which all is there": (("crawl", "urllist", "-a", "file={list}"), 0),
    "a file that is there": (("get", "{origin}/a.jpg"), 0),
    "a list with a file that is not there and a line that is no URL": (
        ("crawl", "urllist", "-a", "file={bad_list}"),
        1,
    ),
    "a page that is not there": (("crawl", "site", "-a", "url={origin}/no-page"), 1),
    "a setting that makes no sense": (("crawl", "urllist", "-a", "file={list}", "-s", "MEDIACRAWL_STALL_S=soon"), 2),
    "a store that cannot be made": (("crawl", "urllist", "-a", "file={list}", "-s", "FILES_STORE={file}/x"), 4),
    "a job folder that cannot be made": (("crawl", "site", "-a", "url={origin}/page", "-s", "JOBDIR={file}/x"), 4),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statuses")
    with Origin() as origin:
        origin.add("/a.jpg", BODY, content_type=JPEG)
        origin.page("/page", '<img src="/a.jpg">')
        lists = {
            "list": [origin.url("/a.jpg")],
            "bad_list": [origin.url("/a.jpg"), origin.url("/missing.jpg"), "not a URL"],
        }
        for name, lines in lists.items():
            (folder / name).write_text("\n".join(lines))
        (folder / "file").touch()
        yield {name: str(folder / name) for name in (*lists, "file")} | {"origin": origin.url("/").rstrip("/")}


@pytest.fixture(scope="module")
def runs(site, tmp_path_factory):
    """All of them, two at a time: Python's start is what they cost."""
    names, done = list(RUNS), {}
    for at in range(0, len(names), 2):
        pair = names[at : at + 2]
        commands = [tuple(word.format(**site) for word in RUNS[name][0]) for name in pair]
        done |= zip(pair, together(tmp_path_factory.mktemp("pair"), *commands), strict=True)
    return done


@pytest.mark.parametrize("name", RUNS)
def test_the_status_says_what_happened(runs, name):
    assert runs[name].status == RUNS[name][1], str(runs[name])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a list with a file that is not there and a line that is no URL", "/missing.jpg: HTTP 404 Not Found"),
        (
            "a list with a file that is not there and a line that is no URL",
            "/bad_list:3: not an http, https, ftp or ftps URL: 'not a URL'",
        ),
        ("a page that is not there", "/no-page: page: HTTP 404"),
    ],
)
def test_what_failed_is_named_with_why_and_how_to_try_again(runs, name, says):
    summary = [line for line in runs[name].lines if line.startswith("  ") and line.endswith(says)]
    assert len(summary) == 1, str(runs[name])
    advice = "try the failed ones again with: " if "page" in name else "to request permanent failures again: "
    assert runs[name].lines[-1].startswith(advice)


@pytest.mark.parametrize("name", [name for name, (_words, code) in RUNS.items() if code in {2, 4}])
def test_wrong_usage_and_a_machine_that_cannot_are_told_in_a_line_and_nothing_is_done(runs, name):
    done = runs[name]
    assert done.out == ""
    usage = done.lines.index("Usage") + 3 if "Usage" in done.lines else 0  # Scrapy shows the syntax before the line
    assert 1 <= len(done.lines[usage:]) <= 3, str(done)
    assert done.store == {}


def test_an_interrupted_run_is_3_and_the_same_command_goes_on_to_0(origin, tmp_path, ledger):
    """`retry` here; a crawl and `get` in the tests of the pause."""
    url = origin.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT), status(503)])
    ledger.record_failure([Entry(url, url, spider="site", reason="HTTP 503")], 1.0)
    with start(tmp_path, "retry") as running:
        origin.wait_for(lambda: origin.bytes_sent("/big.mp4") >= STALLS_AT)
        running.interrupt()
        interrupted = running.wait()
    assert interrupted.status == 3, str(interrupted)
    assert "nothing is lost; go on with: " in interrupted.lines[-1]
    again = run(tmp_path, "retry")
    assert (again.status, again.store) == (0, {"site/127.0.0.1/big.mp4": BIG.sha256()}), str(again)


@pytest.mark.parametrize("words", [("crawl", "urllist", "-a", "file=list"), ("get", "-i", "list")], ids=" ".join)
def test_sigterm_is_as_ctrl_c(origin, tmp_path, words):
    """As the end of a machine, or of a container, sends it."""
    large = origin.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    (tmp_path / "list").write_text(large)
    with start(tmp_path, *words) as running:
        origin.wait_for(lambda: origin.bytes_sent("/big.mp4") >= STALLS_AT)
        running.process.terminate()
        done = running.wait()
    assert_plain(done)
    assert done.status == 3, str(done)
    assert "nothing is lost; go on with: " in done.lines[-1]


@pytest.mark.parametrize("words", [("crawl", "urllist", "-a", "file=list"), ("get", "-i", "list")], ids=" ".join)
def test_ctrl_c_ends_it_while_another_process_has_the_ledger_for_long(origin, tmp_path, words):
    """One that makes a copy of it, say. What has come then is there for the next run."""
    asked, is_locked = threading.Event(), threading.Event()

    def answer(_request):
        asked.set()
        assert is_locked.wait(30)
        return Answer(200, [("Content-Type", JPEG)], BODY)

    (tmp_path / "list").write_text(origin.on("/a.jpg", answer))
    with start(tmp_path, *words) as running:
        assert asked.wait(30)
        with closing(sqlite3.connect(tmp_path / "store" / ".mediacrawl" / LEDGER_NAME)) as other:
            other.execute("BEGIN IMMEDIATE")
            is_locked.set()
            origin.wait_for(lambda: origin.requests_for("/a.jpg")[-1].finished_at)
            running.interrupt()
            done = running.wait()
    assert_plain(done)
    assert (done.status in {3, 4}, done.seconds < SOON_S) == (True, True), str(done)
    again = run(tmp_path, *words)
    assert (again.status, list(again.store.values())) == (0, [sha256(BODY)]), str(again)


def test_the_readme_knows_these_statuses_and_no_others():
    readme = (Path(mediacrawl.__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    table = readme.partition("### Exit status")[2].partition("###")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert listed == {code for _words, code in RUNS.values()} | {3}
