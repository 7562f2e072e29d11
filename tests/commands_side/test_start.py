"""How a command starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest
from crawling import Running, assert_plain, environment, files_in, sha256
from origin import stall_after

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


def test_get_ends_with_all_that_was_to_happen_then_and_without_taking_modules_apart(origin, tmp_path):
    url = origin.add("/a.jpg", b"\1" * 1000, content_type="image/jpeg")
    done = ended("get", "-s", "FILES_STORE=store", url, cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert done.stdout.endswith("a.jpg (1.00kB)\nat exit\n")
    missing = ended("get", "-s", "FILES_STORE=store", origin.url("/b.jpg"), cwd=tmp_path, stdout=subprocess.PIPE)
    assert (missing.returncode, missing.stdout) == (1, "at exit\n")


def test_what_a_spider_has_left_open_is_written(origin, tmp_path):
    origin.page("/", "nothing")
    (tmp_path / "leaves.py").write_text(
        textwrap.dedent(f"""
            import scrapy

            class Leaves(scrapy.Spider):
                name = "leaves"
                custom_settings = {{"ROBOTSTXT_OBEY": False}}
                start_urls = [{origin.url("/")!r}]
                notes = open("notes.txt", "w")

                def parse(self, response):
                    self.notes.write("seen")
        """)
    )
    done = ended("runspider", "leaves.py", cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "notes.txt").read_text() == "seen"


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_get_does_without_a_stream_that_is_closed(closed, origin, tmp_path):
    url = origin.add("/a.jpg", b"\1" * 1000, content_type="image/jpeg")
    number = {"stdout": 1, "stderr": 2}[closed]
    shell = f'exec "$0" -m mediacrawl get -s FILES_STORE=store "$1" {number}>&-'
    done = subprocess.run(["sh", "-c", shell, sys.executable, url], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0
    assert files_in(tmp_path / "store") == {"get/127.0.0.1/a.jpg": sha256(b"\1" * 1000)}


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
    ended = run_without_scrapy(tmp_path, origin.add("/a.jpg", b"\1" * 1000, content_type="image/jpeg"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{tmp_path}/store/get/127.0.0.1/a.jpg (1.00kB)\n"
    assert files_in(tmp_path / "store") == {"get/127.0.0.1/a.jpg": sha256(b"\1" * 1000)}


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
        ("gopher://127.0.0.1/",),
    ],
)
def test_get_waits_for_scrapy_where_scrapy_has_to_speak(words, tmp_path):
    ended = run_without_scrapy(tmp_path, *words)
    assert ended.returncode == 1
    assert "import of scrapy halted" in ended.stderr
    assert list(tmp_path.iterdir()) == []


# A second Ctrl-C comes while the crawl is told to stop because of the first one.
_TWICE = """
import os, signal, sys
from scrapy.crawler import CrawlerProcessBase
from mediacrawl.__main__ import run

graceful = CrawlerProcessBase._graceful_stop_reactor

def twice(process):
    os.kill(os.getpid(), signal.SIGINT)
    return graceful(process)

CrawlerProcessBase._graceful_stop_reactor = twice
sys.argv = ["mediacrawl", *sys.argv[1:]]
run()
"""
_BEFORE_ANYTHING = """
import sys
import mediacrawl.__main__

def main():
    raise KeyboardInterrupt

mediacrawl.__main__.main = main
mediacrawl.__main__.run()
"""
_AFTER_ALL = """
import atexit, os, signal, sys
from mediacrawl.__main__ import run

atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["mediacrawl", *sys.argv[1:]]
run()
"""


def start_code(code, folder, *words):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # and so would be that of the process
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-c", code, *words]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return Running(process, folder, None)


def test_two_ctrl_c_end_a_crawl_with_status_3_and_its_summary(origin, tmp_path):
    url = origin.add("/a.jpg", b"\1" * 1000, content_type="image/jpeg", faults=[stall_after(100)])
    words = ("crawl", "urllist", "-s", "FILES_STORE=store", "-a", "file=list")
    (tmp_path / "list").write_text(url)
    with start_code(_TWICE, tmp_path, *words) as running:
        origin.wait_for(lambda: origin.bytes_sent("/a.jpg"))
        running.interrupt()
        done = running.wait()
    assert_plain(done)
    assert (done.status, done.err.count("nothing is lost; go on with: ")) == (3, 1), str(done)


def test_ctrl_c_before_anything_could_stop_is_one_line_and_status_3(tmp_path):
    with start_code(_BEFORE_ANYTHING, tmp_path) as running:
        done = running.wait()
    assert (done.status, done.err) == (3, "mediacrawl: interrupted; run the same command to go on\n")


@pytest.mark.parametrize("words", [("crawl", "urllist", "-a", "file=list"), ("get", "-i", "list")], ids=" ".join)
def test_ctrl_c_after_the_end_changes_no_status(origin, tmp_path, words):
    (tmp_path / "list").write_text(origin.add("/a.jpg", b"\1" * 1000, content_type="image/jpeg"))
    with start_code(_AFTER_ALL, tmp_path, *words) as running:
        done = running.wait()
    assert_plain(done)
    assert done.status == 0, str(done)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give the file of one spider"),
        (["no.py"], "there is no file 'no.py'"),
        (["none.py"], "there is no spider in 'none.py'"),
        (["broken.py"], "cannot load 'broken.py': No module named 'no_such_module'"),
        (["list.txt"], "cannot load 'list.txt': Not a Python source file"),
    ],
)
def test_runspider_refuses_what_is_no_spider(command, tmp_path, words, why):
    (tmp_path / "none.py").touch()
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "list.txt").touch()
    done = command("runspider", *words)
    assert done.status == 2
    assert why in done.out + done.err
