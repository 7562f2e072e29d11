from __future__ import annotations

import pytest
from fetching import Rig
from origin import Origin

from mediacrawl.download import downloader, verification
from mediacrawl.transport import connection_limits

LARGE_BYTES = 200_000


@pytest.fixture(autouse=True)
def short_counts(monkeypatch):
    """A connection that was cut counts for a moment only, and what is left of a body is waited for no longer: a test
    that has one waits for no tenth of a second.
    """
    monkeypatch.setattr(connection_limits, "CUT_COUNTS_S", 0.001)
    monkeypatch.setattr(connection_limits, "_ENTER_EVERY_S", 0.0005)
    for module in ("requests_transport", "curl"):
        monkeypatch.setattr(f"mediacrawl.transport.{module}._DRAINED_AT_END_WITHIN_S", 0.001)


@pytest.fixture
def patient_ends(monkeypatch):
    """What is left of a body is waited for, however busy this machine is."""
    for module in ("requests_transport", "curl"):
        monkeypatch.setattr(f"mediacrawl.transport.{module}._DRAINED_AT_END_WITHIN_S", 20.0)


@pytest.fixture
def rig(tmp_path, origin, transport_kind, monkeypatch):
    """What counts as large is small here, so that bodies of a test take that way too."""
    for module in (verification, downloader):
        monkeypatch.setattr(module, "BESIDE_FROM_BYTES", LARGE_BYTES)
    running = Rig(tmp_path / "store", origin, transport_kind())
    yield running
    running.close()


@pytest.fixture
def origin_2():
    """Another origin: the same host, another port."""
    with Origin() as running:
        yield running
