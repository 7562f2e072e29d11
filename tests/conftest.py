from __future__ import annotations

import pytest
from origin import Origin
from transports import TRANSPORTS, transport_class


@pytest.fixture
def origin():
    with Origin() as running:
        yield running


@pytest.fixture(params=TRANSPORTS, scope="session")
def transport_kind(request):
    """The class of a transport: each test that takes it runs with all of them."""
    return transport_class(request.param)
