"""Each rule is decided in one place: taken out there, at least one row of each front that has it fails.

In the small form, a part of them that chance has drawn.
"""

from __future__ import annotations

import pytest
from drawing import drawn
from fronts import FRONTS, MODES
from rows import ROWS

pytestmark = pytest.mark.slow

CELLS = [
    pytest.param(row, front, id=f"{row.name}-{front}") for row in ROWS for front in FRONTS if front not in row.differs
]


@pytest.mark.parametrize(("row", "front"), drawn(CELLS, 20, "rules"))
def test_without_the_rule_the_row_fails(row, front, in_process, monkeypatch):
    mode = next(mode for mode in MODES if row.holds_in(front, mode))
    scene = in_process(front, mode)
    row.without(monkeypatch)
    with pytest.raises(Exception):  # noqa: B017 - however it shows
        row.play(scene)
