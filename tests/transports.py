"""The transports by name: what is promised of one is tested of all."""

from __future__ import annotations

import pytest

from mediacrawl.transport.requests_transport import RequestsTransport

TRANSPORTS = ["requests", "curl"]


def transport_class(name: str) -> type:
    """Skips the test where the package is missing."""
    if name == "requests":
        return RequestsTransport
    return pytest.importorskip("mediacrawl.transport.curl", exc_type=ImportError).CurlTransport
