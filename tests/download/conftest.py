from __future__ import annotations

import pytest
from fetching import Rig
from origin import Origin

from mediacrawl.download import downloader, verify

LARGE_BYTES = 200_000


@pytest.fixture
def rig(tmp_path, origin, transport_kind, monkeypatch):
    """What counts as large is small here, so that bodies of a test take that way too."""
    for module in (verify, downloader):
        monkeypatch.setattr(module, "BESIDE_FROM_BYTES", LARGE_BYTES)
    running = Rig(tmp_path / "store", origin, transport_kind())
    yield running
    running.close()


@pytest.fixture
def origin_2():
    """Another origin: the same host, another port."""
    with Origin() as running:
        yield running
