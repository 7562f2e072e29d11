"""Stores, ledgers and frontiers by URL."""

import pytest

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
