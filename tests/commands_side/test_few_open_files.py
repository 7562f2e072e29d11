"""A system that lets a process have few files open: a list of many small files ends well all the same."""

import subprocess
import sys

import pytest
from crawling import environment, files_in

FILES = 600
ALLOWED = 200  # without a bound on part files, a batch for each connection is more
COMMANDS = {
    "get": ("get", "-i", "list.txt"),
    "crawl": ("crawl", "urllist", "-a", "file=list.txt"),
    "items": ("crawl", "urllist", "-a", "file=list.txt", "-a", "items=all"),
}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("command", "processes"), [("get", 0), ("items", 2), slow("get", 2), slow("crawl", 2)])
def test_a_list_of_many_files_ends_well(origin, tmp_path, command, processes):
    urls = [origin.add(f"/{number}.jpg", b"%d" % number, content_type="image/jpeg") for number in range(FILES)]
    (tmp_path / "list.txt").write_text("\n".join(urls))
    limited = f'ulimit -Sn {ALLOWED}; ulimit -Hn {ALLOWED}; exec "$@"'
    words = [*COMMANDS[command], "-s", "FILES_STORE=store", "-s", f"MEDIACRAWL_PROCESSES={processes}"]
    done = subprocess.run(
        ["sh", "-c", limited, "sh", sys.executable, "-m", "mediacrawl", *words, "-s", "MEDIACRAWL_PROGRESS_S=0"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(files_in(tmp_path / "store")) == FILES
