"""Every rule in every front, pairwise over the modes, in this process."""

from __future__ import annotations

import pytest
from fronts import FRONTS, MODES, pairwise
from rows import ROWS

CELLS = [
    pytest.param(row, front, mode, id=f"{row.name}-{front}-{mode}")
    for number, row in enumerate(ROWS)
    for front, mode in pairwise(number)
    if row.holds_in(front, mode)
]


@pytest.mark.parametrize(("row", "front", "mode"), CELLS)
def test_a_rule_holds(row, front, mode, in_process):
    row.play(in_process(front, mode))


def test_each_two_values_of_front_workers_and_transport_meet():
    for turn in (0, 1):
        chosen = pairwise(turn)
        assert {(front, mode.workers) for front, mode in chosen} == {(f, w) for f in FRONTS for w in (False, True)}
        assert {(front, mode.transport) for front, mode in chosen} == {
            (f, m.transport) for f in FRONTS for m in MODES
        }
        assert {mode for _, mode in chosen} == set(MODES)


def test_what_differs_on_purpose_says_why():
    for row in ROWS:
        assert row.differs.keys() <= set(FRONTS)
        assert all(len(why) > 20 for why in row.differs.values())
