from __future__ import annotations

import gc
import os
import sys

import pytest
from crawling import Done

from mediacrawl import __main__
from mediacrawl.archive import Archive, Failure
from mediacrawl.cli.main import main
from mediacrawl.errors import DiskFull


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The origin is reached directly, whatever this machine needs for other hosts."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def plain_log(caplog):
    """No crawl of these tests may log a traceback; one that is meant to be there is cleared by its test."""
    yield
    loud = [record for record in caplog.get_records("call") if record.exc_info and record.exc_info[0]]
    assert not loud, [(record.name, record.getMessage(), record.exc_info) for record in loud]


@pytest.fixture(params=[__main__.main, main], ids=["without Scrapy", "with Scrapy"])
def command(request, tmp_path, monkeypatch, capsys):
    """`mediacrawl WORDS…` in an empty folder with the store `store`. `get` does without Scrapy, unless it is Scrapy
    that was started; both ways are to be one.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # it is no process of its own that begins here
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "mediacrawl.settings")

    def command(name, *words, store="store"):
        quick = ("-s", "MEDIACRAWL_BACKOFF_S=0.01")
        monkeypatch.setattr(sys, "argv", ["mediacrawl", name, "-s", f"FILES_STORE={store}", *quick, *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            request.param()
        out, err = capsys.readouterr()
        return Done(caught.value.code or 0, out, err, tmp_path, 0)

    return command


@pytest.fixture
def no_room_for_failures(monkeypatch):
    """The ledger takes everything but that a file did not arrive."""
    write = Archive.write

    def full(self, changes):
        if any(isinstance(change, Failure) for change in changes):
            raise DiskFull("no space left for the ledger")
        return write(self, changes)

    monkeypatch.setattr(Archive, "write", full)
