from __future__ import annotations

import pytest
from teams import Team


@pytest.fixture
def team(tmp_path):
    teams = []

    def make(**more):
        teams.append(Team(tmp_path / "store", **more))
        return teams[-1]

    yield make
    for one in teams:
        one.close()
