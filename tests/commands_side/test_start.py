"""How a command starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from crawling import environment, files_in, sha256

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


_ENDS = """
import atexit
import sys
from mediacrawl.__main__ import run

class Late:
    def __del__(self):
        print("taken apart")

late = Late()
atexit.register(print, "at exit")
sys.argv = ["mediacrawl", *sys.argv[1:]]
run()
"""


def ended(*words, **more):
    command = [sys.executable, "-c", _ENDS, *words]
    buffered = environment() | {"PYTHONUNBUFFERED": ""}
    return subprocess.run(command, env=buffered, stderr=subprocess.PIPE, text=True, check=False, **more)


@pytest.mark.parametrize(("words", "status"), [(("version",), 0), (("status", "what"), 2)])
def test_a_process_ends_with_all_that_was_to_happen_then_and_without_taking_modules_apart(words, status, tmp_path):
    done = ended(*words, cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.returncode == status
    assert done.stdout.endswith("at exit\n")
    assert "taken apart" not in done.stdout


def test_a_process_whose_reader_has_gone_ends_as_python_ends_it(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = ended("version", cwd=tmp_path, stdout=writer)
    os.close(writer)
    assert done.returncode == 120  # sys.exit: what was left could not be written
    assert "BrokenPipeError" in done.stderr


_WITHOUT = """
import sys
sys.modules.update(scrapy=None, twisted=None)
from mediacrawl.__main__ import main

sys.argv = ["mediacrawl", "get", *sys.argv[1:]]
main()
"""


def run_without_scrapy(folder, *words):
    command = [sys.executable, "-c", _WITHOUT, "-s", "FILES_STORE=store", *words]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def test_get_does_not_wait_for_scrapy(origin, tmp_path):
    ended = run_without_scrapy(tmp_path, origin.add("/a.jpg", b"x" * 1000, content_type="image/jpeg"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{tmp_path}/store/get/127.0.0.1/a.jpg (1.00kB)\n"
    assert files_in(tmp_path / "store") == {"get/127.0.0.1/a.jpg": sha256(b"x" * 1000)}


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        (),
        ("-n", "17", "http://127.0.0.1/"),
        ("-n", "many", "http://127.0.0.1/"),
        ("-s", "no equals sign", "http://127.0.0.1/"),
        ("--nolog", "http://127.0.0.1/"),
        ("--pidfile", "x", "http://127.0.0.1/"),
        ("--out", "x", "http://127.0.0.1/"),
        ("ftp://127.0.0.1/",),
    ],
)
def test_get_waits_for_scrapy_where_scrapy_has_to_speak(words, tmp_path):
    ended = run_without_scrapy(tmp_path, *words)
    assert ended.returncode == 1
    assert "import of scrapy halted" in ended.stderr
    assert list(tmp_path.iterdir()) == []
