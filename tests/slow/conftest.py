from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from drawing import FULL, chance_for

if TYPE_CHECKING:
    import random


@pytest.fixture
def full() -> bool:
    return FULL


@pytest.fixture
def chance(request) -> random.Random:
    """See `drawing`."""
    return chance_for(request.node.name)
