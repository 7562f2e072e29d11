"""Where the processes that this program starts look for modules: where it looks itself, and nowhere else."""

import subprocess
import sys

import pytest

START = """
import socket, sys
from mediacrawl.system.child_process import start_module

ours, theirs = socket.socketpair()
with theirs:
    process = start_module(sys.argv[1], theirs)
ours.close()
sys.exit(process.wait(60))
"""
MARK = "open('was-run', 'w').close(); raise SystemExit(9)"


@pytest.fixture
def status_of(tmp_path, monkeypatch):
    """Start a module from a program of another folder, in a folder with these modules; return its exit status."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    program, folder = tmp_path / "program" / "start.py", tmp_path / "folder"
    program.parent.mkdir()
    folder.mkdir()
    program.write_text(START)

    def run(module, *names, words=(str(program),)):
        for name in names:
            (folder / f"{name}.py").write_text(MARK)
        done = subprocess.run([sys.executable, *words, module], cwd=folder, check=False, timeout=120)
        return done.returncode, (folder / "was-run").exists()

    return run


@pytest.mark.parametrize("module", ["mediacrawl.workers.worker", "mediacrawl.crawl.page_process"])
def test_a_process_of_ours_imports_nothing_from_the_folder_in_which_it_is_started(status_of, module):
    assert status_of(module, "mediacrawl", "socket", "signal", "scrapy") == (0, False)


def test_a_process_of_ours_finds_the_modules_that_this_process_finds_in_the_folder(status_of):
    assert status_of("of_the_project", "of_the_project", words=("-c", START)) == (9, True)
