"""The number of open files."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, min({hard}, hard)))
from mediacrawl.system.open_files import allow_many_files
parts = allow_many_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), parts)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "found"),
    [(64, 512, "512 512 192"), (512, 512, "512 512 192"), (64, 100, "100 100 16")],
    ids=["raised", "as high as it may be", "few"],
)
def test_a_process_has_as_many_files_as_the_system_lets_it_have(soft, hard, found):
    code = CODE.format(soft=soft, hard=hard)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == found
