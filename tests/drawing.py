"""What is left to chance in slow tests, and what is left out in their small form.

`MEDIACRAWL_TESTS=full python -m pytest -m slow` is the nightly form. A run has one seed, which it prints at its head;
`MEDIACRAWL_SEED` repeats it.
"""

from __future__ import annotations

import os
import random
import zlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
FULL = os.environ.get("MEDIACRAWL_TESTS") == "full"
# All processes of one run of the tests have the same: each must collect the same tests.
SEED = int(os.environ.setdefault("MEDIACRAWL_SEED", "") or random.SystemRandom().randrange(2**32))
os.environ["MEDIACRAWL_SEED"] = str(SEED)


def chance_for(name: str) -> random.Random:
    """The chance of one test: another course in each run."""
    return random.Random(SEED ^ zlib.crc32(name.encode()))


def drawn(cells: Sequence[T], at_most: int, name: str) -> list[T]:
    """All of them in the full form, else so many that chance has chosen, in their order."""
    if FULL or len(cells) <= at_most:
        return list(cells)
    chosen = sorted(chance_for(name).sample(range(len(cells)), at_most))
    return [cells[number] for number in chosen]
