from __future__ import annotations

import os
import sys

import pytest
from crawling import Done
from scrapy import cmdline

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.cli.main import main
from mediacrawl.ledger.sqlite import SqliteLedger


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The origin is reached directly, whatever this machine needs for other hosts."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """`mediacrawl WORDS…` in this process, in an empty folder with the store `store`; nothing that crawls."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "mediacrawl.settings")
    # It would install a reactor in the process of all tests; a command that is refused does not come to use it.
    monkeypatch.setattr(cmdline, "AsyncCrawlerProcess", lambda _settings: object())

    def command(name, *words, store="store"):
        quick = ("-s", "MEDIACRAWL_BACKOFF_S=0.01")
        monkeypatch.setattr(sys, "argv", ["mediacrawl", name, "-s", f"FILES_STORE={store}", *quick, *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err, err
        return Done(caught.value.code or 0, out, err, tmp_path, 0)

    return command


@pytest.fixture
def ledger(tmp_path):
    """The ledger of the store `store`, made if there is none; beside whoever else uses it."""
    hidden = tmp_path / "store" / ".mediacrawl"
    hidden.mkdir(parents=True, exist_ok=True)
    opened = SqliteLedger(hidden / LEDGER_NAME)
    yield opened
    opened.close()
