from __future__ import annotations

import pytest
from origin import Origin


@pytest.fixture
def origin():
    with Origin() as running:
        yield running
