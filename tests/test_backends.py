"""Stores, ledgers and frontiers by URL."""

import itertools

import pytest
from crawling import files_in, run, sha256, start, wait_until
from origin import Pattern, stall_after

from mediacrawl.backends import has_ledger, ledger_url, open_frontier, open_ledger, store_of
from mediacrawl.errors import UsageProblem
from mediacrawl.frontier.sqlite import describe
from mediacrawl.ledger.base import Entry
from mediacrawl.store.local import LocalStore


@pytest.mark.parametrize("form", ["{path}", "file:{path}", "file://{path}", "sqlite:{path}", "sqlite://{path}"])
def test_a_ledger_is_a_path_or_a_url(tmp_path, form):
    url = form.format(path=tmp_path / "rows of a store.db")
    assert not has_ledger(url)
    ledger = open_ledger(url)
    ledger.record_wanted([Entry("key", "http://h/")], 1.0)
    ledger.close()
    assert (tmp_path / "rows of a store.db").exists()
    assert has_ledger(url)
    reader = open_ledger(url, read_only=True)
    assert reader.lookup(["key"])
    reader.close()


@pytest.mark.parametrize("form", ["{path}", "file:{path}", "file://{path}"])
def test_a_store_is_a_path_or_a_file_url(tmp_path, form):
    assert store_of(form.format(path=tmp_path / "a:b")).root == tmp_path / "a:b"


@pytest.mark.parametrize("form", ["{path}", "file:{path}", "sqlite:{path}"])
def test_a_frontier_is_a_path_or_a_url(tmp_path, form):
    frontier = open_frontier(form.format(path=tmp_path / "job"), "gallery")
    frontier.add(b"1", b"data")
    frontier.close(finished=False)
    assert describe(tmp_path / "job")["pages_pending"] == 1


@pytest.mark.parametrize("name", ["a:b", "c:/d", "odd:"])
def test_a_path_may_have_a_colon(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert store_of(name).root == tmp_path / name


@pytest.mark.parametrize(
    ("opened", "says"),
    [
        (store_of, "FILES_STORE=postgres://h/db: only a folder on this machine can be a store: a path, file:PATH"),
        (
            open_ledger,
            "MEDIACRAWL_LEDGER=postgres://h/db: only a file on this machine can be a ledger: a path, file:PATH",
        ),
        (has_ledger, "or sqlite:PATH; not postgres://"),
        (lambda url: open_frontier(url, "gallery"), "MEDIACRAWL_FRONTIER=postgres://h/db: only a folder"),
    ],
)
def test_a_kind_that_is_not_known_is_refused_with_those_that_are(opened, says):
    with pytest.raises(UsageProblem) as caught:
        opened("postgres://me:secret@h/db")
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_one_the_ledger_is_in_the_store(tmp_path):
    store = LocalStore(tmp_path)
    assert ledger_url("", store) == str(tmp_path / ".mediacrawl" / "ledger.sqlite3")
    assert ledger_url("sqlite:x", store) == "sqlite:x"


# Commands


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
def test_a_ledger_elsewhere_is_the_ledger_of_all_commands(origin, tmp_path, listed, words):
    settings = {"MEDIACRAWL_LEDGER": "sqlite:elsewhere.db"}
    done = run(tmp_path, *words, settings=settings)
    assert done.status == 0, str(done)
    assert set(files_in(tmp_path / "store").values()) == listed
    assert not (tmp_path / "store" / ".mediacrawl" / "ledger.sqlite3").exists()
    assert run(tmp_path, "status", settings=settings).out.startswith("done 100 ")
    assert len(run(tmp_path, "manifest", settings=settings).out.splitlines()) == 100
    assert run(tmp_path, "verify", settings=settings).status == 0
    origin.forget()
    assert "already there 100" in run(tmp_path, "crawl", "urllist", "-a", "file=list.txt", settings=settings).err
    assert {request.path for request in origin.requests} <= {"/robots.txt"}


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (("get", "{url}"), "MEDIACRAWL_LEDGER"),
        (("get", "{url}"), "FILES_STORE"),
        slow(("crawl", "site", "-a", "url={url}"), "MEDIACRAWL_LEDGER"),
        (("crawl", "site", "-a", "url={url}"), "MEDIACRAWL_FRONTIER"),
        slow(("crawl", "site", "-a", "url={url}"), "FILES_STORE"),
        (("status",), "MEDIACRAWL_LEDGER"),
        slow(("retry",), "MEDIACRAWL_LEDGER"),
    ],
)
def test_an_unknown_kind_ends_a_command_with_one_line(origin, tmp_path, words, setting):
    url = origin.add("/a.jpg", b"x", content_type="image/jpeg")
    done = run(tmp_path, *(word.format(url=url) for word in words), settings={setting: "mysql://h/db"})
    assert done.status == 2, str(done)
    assert f"{setting}=mysql://h/db" in done.err
    assert (origin.requests, done.store) == ([], {})


def test_a_frontier_keeps_the_pages_without_a_job_folder(origin, tmp_path):
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
    told = run(tmp_path, "status", settings=settings)
    assert "1 pages pending" in told.out
    origin.release()
    origin.forget()
    assert run(tmp_path, *words, settings=settings).status == 1  # there is no last page
    assert "/0" not in {request.path for request in origin.requests}
    assert len(files_in(tmp_path / "store")) == 5
