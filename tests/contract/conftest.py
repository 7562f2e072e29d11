from __future__ import annotations

import os

import pytest
from fronts import AsProcess, InProcess
from origin import Origin
from rows import Scene


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The origin is reached directly, whatever this machine needs for other hosts."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def other_origin():
    """Another port of the same host."""
    with Origin() as running:
        yield running


@pytest.fixture
def in_process(tmp_path, origin, other_origin, crawls, monkeypatch, capsys):
    """A scene in this process, for a front in a mode."""

    def make(front, mode):
        stage = InProcess(tmp_path, crawls, monkeypatch, capsys)
        return Scene(stage, origin, other_origin, front, mode, monkeypatch, tmp_path)

    return make


@pytest.fixture
def as_process(tmp_path, origin, other_origin, monkeypatch):
    """The same with commands that are started."""
    stage = AsProcess(tmp_path)
    yield lambda front, mode: Scene(stage, origin, other_origin, front, mode, monkeypatch, tmp_path)
    stage.close()
