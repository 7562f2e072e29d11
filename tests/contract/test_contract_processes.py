"""Every rule in every front and mode, with the commands and the worker processes that a person has.

In the small form, a part of them that chance has drawn.
"""

from __future__ import annotations

import pytest
from drawing import drawn
from fronts import FRONTS, MODES
from rows import ROWS

pytestmark = pytest.mark.slow

CELLS = [
    pytest.param(row, front, mode, id=f"{row.name}-{front}-{mode}")
    for row in ROWS
    for front in FRONTS
    for mode in MODES
    if row.holds_in(front, mode)
]


@pytest.mark.parametrize(("row", "front", "mode"), drawn(CELLS, 48, "contract"))
def test_a_rule_holds(row, front, mode, as_process):
    row.play(as_process(front, mode))
