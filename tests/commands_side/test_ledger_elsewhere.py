"""`MEDIACRAWL_LEDGER` and `MEDIACRAWL_FRONTIER` on the command line."""

from __future__ import annotations

import itertools

import pytest
from crawling import files_in, run, sha256, start, wait_until
from origin import Pattern, stall_after


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def listed(origin, tmp_path):
    """A list of more files than one process fetches alone."""
    bodies = {f"/{number}.jpg": Pattern(500, number) for number in range(100)}
    urls = [origin.add(path, body, content_type="image/jpeg") for path, body in bodies.items()]
    (tmp_path / "list.txt").write_text("\n".join(urls))
    return {sha256(body.read()) for body in bodies.values()}


@pytest.mark.parametrize(
    "words", [slow(("get", "-i", "list.txt")), ("crawl", "urllist", "-a", "file=list.txt")], ids=" ".join
)
def test_a_ledger_elsewhere_is_the_ledger_of_all_commands(command, origin, tmp_path, listed, words):
    settings = {"MEDIACRAWL_LEDGER": "sqlite:elsewhere.db"}
    elsewhere = ("-s", "MEDIACRAWL_LEDGER=sqlite:elsewhere.db")
    done = run(tmp_path, *words, settings=settings)
    assert done.status == 0, str(done)
    assert set(files_in(tmp_path / "store").values()) == listed
    assert not (tmp_path / "store" / ".mediacrawl" / "ledger.sqlite3").exists()
    assert command("status", *elsewhere).out.startswith("done 100 ")
    assert len(command("manifest", *elsewhere).out.splitlines()) == 100
    assert command("verify", *elsewhere).status == 0
    origin.forget()
    assert "already there 100" in run(tmp_path, "crawl", "urllist", "-a", "file=list.txt", settings=settings).err
    assert {request.path for request in origin.requests} <= {"/robots.txt"}


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        slow(("crawl", "site", "-a", "url={url}"), "MEDIACRAWL_LEDGER"),
        (("crawl", "site", "-a", "url={url}"), "MEDIACRAWL_FRONTIER"),
        slow(("crawl", "site", "-a", "url={url}"), "FILES_STORE"),
        slow(("retry",), "MEDIACRAWL_LEDGER"),
    ],
)
def test_an_unknown_kind_ends_a_crawl_with_one_line(origin, tmp_path, words, setting):
    url = origin.add("/a.jpg", b"x", content_type="image/jpeg")
    done = run(tmp_path, *(word.format(url=url) for word in words), settings={setting: "mysql://h/db"})
    assert done.status == 2, str(done)
    assert f"{setting}=mysql://h/db" in done.err
    assert (origin.requests, done.store) == ([], {})


@pytest.mark.parametrize("words", [("get", "{url}"), ("status",), ("manifest",)], ids=" ".join)
@pytest.mark.parametrize("setting", ["MEDIACRAWL_LEDGER", "FILES_STORE"])
def test_an_unknown_kind_ends_a_command_with_one_line(command, origin, words, setting):
    url = origin.add("/a.jpg", b"x", content_type="image/jpeg")
    done = command(*(word.format(url=url) for word in words), "-s", f"{setting}=mysql://h/db")
    assert done.status == 2, str(done)
    assert f"{setting}=mysql://h/db" in done.err
    assert (origin.requests, done.store) == ([], {})


def test_a_frontier_keeps_the_pages_without_a_job_folder(command, origin, tmp_path):
    """What a stop has left is gone on with."""
    pages = [f"/{number}" for number in range(5)]
    for path, following in itertools.pairwise([*pages, "/none"]):
        origin.page(path, f'<img src="{path}.jpg"><a rel="next" href="{following}">Next</a>')
        origin.add(f"{path}.jpg", path.encode(), content_type="image/jpeg")
    words = ("crawl", "site", "-a", f"url={origin.url('/0')}")
    settings = {"MEDIACRAWL_FRONTIER": "sqlite:pages", "ROBOTSTXT_OBEY": False}
    origin.fault("/3", stall_after(0))
    with start(tmp_path, *words, settings=settings) as running:
        origin.wait_for(lambda: any(request.stalled for request in origin.requests))
        wait_until(lambda: len(files_in(tmp_path / "store")) == 3)
        running.interrupt()
        assert running.wait().status == 3
    told = command("status", "-s", "MEDIACRAWL_FRONTIER=sqlite:pages")
    assert "1 pages pending" in told.out
    origin.release()
    origin.forget()
    assert run(tmp_path, *words, settings=settings).status == 1  # there is no last page
    assert "/0" not in {request.path for request in origin.requests}
    assert len(files_in(tmp_path / "store")) == 5
