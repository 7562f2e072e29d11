"""How a command starts."""

from __future__ import annotations

import subprocess
import sys

from crawling import environment

_SCRIPT = """
import gc
import sys
from mediacrawl.__main__ import main

sys.argv = ["mediacrawl", "version"]
try:
    main()
finally:
    assert gc.isenabled()
    assert gc.get_freeze_count()
"""


def test_what_is_imported_at_the_start_is_not_searched_for_garbage_and_what_comes_later_is(tmp_path):
    command = [sys.executable, "-c", _SCRIPT]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("Scrapy ")
