"""Promise 4: memory does not grow with the size of a file, nor with the length of a list."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from origin import Origin, Pattern

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.ledger.base import Entry
from mediacrawl.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
_STARTER = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
MARGIN_BYTES = 10 * MIB


def peak_bytes(arguments: Sequence[str], folder: Path) -> int:
    """Run mediacrawl in a child process; its peak resident memory.

    The peak of a process begins with that of the one that has forked it, also after exec. So a small one starts it,
    and not this one, which holds all tests of the project.
    """
    note = folder / "peak"
    command = [sys.executable, "-c", _STARTER, str(note), sys.executable, "-m", "mediacrawl", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=folder, env=environment, check=True)
    peak = int(note.read_text()) * 1024
    assert 30 * MIB < peak < 200 * MIB  # else it is that of something else
    return peak


def finished_list(folder: Path, count: int) -> list[str]:
    """A store in which so many URLs are finished, and the list of them; the crawl's arguments."""
    store = folder / f"store-{count}"
    hidden = store / ".mediacrawl"
    hidden.mkdir(parents=True)
    ledger = SqliteLedger(hidden / LEDGER_NAME)
    now = time.time()
    with ledger.transaction(), (folder / f"{count}.txt").open("w") as lines:
        for number in range(count):
            url = f"http://127.0.0.1:9/{number}.jpg"
            name = f"urllist/127.0.0.1/{number // 1000}/{number}.jpg"
            path = store / name
            if number % 1000 == 0:
                path.parent.mkdir(parents=True)
            path.touch()
            entry = Entry(url, url, path=name, size_bytes=0, sha256="0" * 64)
            ledger.claim(entry)
            ledger.finish([entry], now)
            lines.write(url + "\n")
    ledger.close()
    return ["crawl", "urllist", "-a", f"file={folder / f'{count}.txt'}", "-s", f"FILES_STORE={store}"]


def test_a_large_file_needs_no_more_memory_than_a_small_one(tmp_path, full):
    """In full: 100 MiB and 2 GiB."""
    peaks = []
    sizes = (100 * MIB, 2048 * MIB) if full else (50 * MIB, 512 * MIB)
    with Origin() as origin:
        for size in sizes:
            origin.add(f"/{size}.mp4", Pattern(size, 1), content_type="video/mp4")
            store = f"FILES_STORE={tmp_path / str(size)}"
            peaks.append(peak_bytes(["get", origin.url(f"/{size}.mp4"), "-s", store], tmp_path))
            (file,) = (tmp_path / str(size) / "get").rglob("*.mp4")
            assert file.stat().st_size == size
            file.unlink()
    for size, peak in zip(sizes, peaks, strict=True):
        print(f"a file of {size // MIB} MiB: peak {peak / MIB:.1f} MiB")
    assert peaks[1] - peaks[0] < MARGIN_BYTES


def test_a_long_list_of_finished_urls_needs_no_more_memory_than_a_short_one(tmp_path, full):
    """In full: 1,000 and 200,000."""
    counts = (1_000, 200_000 if full else 20_000)
    peaks = [peak_bytes(finished_list(tmp_path, count), tmp_path) for count in counts]
    for count, peak in zip(counts, peaks, strict=True):
        print(f"a list of {count:,}: peak {peak / MIB:.1f} MiB")
    assert peaks[1] - peaks[0] < MARGIN_BYTES
