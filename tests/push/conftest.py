from __future__ import annotations

import os

import pytest
from pushing import Pusher


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def pusher(tmp_path):
    return Pusher(tmp_path)
