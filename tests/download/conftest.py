from __future__ import annotations

import pytest
from fetching import Rig
from origin import Origin


@pytest.fixture
def rig(tmp_path, origin, transport_kind):
    running = Rig(tmp_path / "store", origin, transport_kind())
    yield running
    running.close()


@pytest.fixture
def origin_2():
    """Another origin: the same host, another port."""
    with Origin() as running:
        yield running
