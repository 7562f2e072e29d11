from __future__ import annotations

import os
import random
import zlib

import pytest

# `MEDIACRAWL_TESTS=full python -m pytest -m slow` is the nightly form.
FULL = os.environ.get("MEDIACRAWL_TESTS") == "full"


@pytest.fixture
def full() -> bool:
    return FULL


@pytest.fixture
def chance(request) -> random.Random:
    """Another course in each run; `MEDIACRAWL_SEED` repeats one. The seed is printed."""
    base = int(os.environ.get("MEDIACRAWL_SEED") or random.SystemRandom().randrange(2**32))
    print(f"MEDIACRAWL_SEED={base}")
    return random.Random(base ^ zlib.crc32(request.node.name.encode()))
