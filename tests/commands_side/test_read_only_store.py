"""A store on a file system that cannot be written: a snapshot, a backup on a disc, the disk of somebody else."""

import json
import subprocess

import pytest
from crawling import file_system_at, run, start

from mediacrawl.frontier.base import PageKind
from mediacrawl.frontier.sqlite import SqliteFrontier


@pytest.fixture
def store(tmp_path):
    """A file system in memory at `tmp_path/store`."""
    with file_system_at(tmp_path / "store"):
        yield tmp_path / "store"


def can_only_be_read(store):
    subprocess.run(["mount", "-o", "remount,ro", store], check=True)


def files(store):
    return {str(path): path.stat().st_mtime_ns for path in store.rglob("*")}


def test_status_and_manifest_tell_what_is_there(command, origin, tmp_path, store):
    url = origin.add("/a.jpg", b"\xff\xd8\xff", content_type="image/jpeg")
    missing = origin.url("/missing.jpg")
    assert run(tmp_path, "get", url, missing).status == 1
    can_only_be_read(store)
    before = files(store)
    counted = command("status", "--json")
    assert (counted.status, json.loads(counted.out)["done"]) == (0, 1)
    failed = command("status", "--failed", "--json")
    assert (failed.status, json.loads(failed.out)["url"]) == (0, missing)
    listed = command("manifest")
    assert (listed.status, json.loads(listed.out)["url"]) == (0, url)
    assert files(store) == before


def test_what_a_killed_run_has_left_is_told_too(command, origin, tmp_path, store):
    urls = [
        origin.add(f"/{number}.jpg", b"\xff\xd8\xff%d" % number, content_type="image/jpeg") for number in range(20)
    ]
    origin.answer_only(10)
    (tmp_path / "list.txt").write_text("\n".join(urls))
    with start(tmp_path, "get", "-i", "list.txt") as running:
        origin.wait_for(lambda: len(origin.requests) > 10)
        running.kill()
        running.wait()
    can_only_be_read(store)
    counted = command("status", "--json")
    counts = json.loads(counted.out)
    assert (counted.status, counts["done"] + counts["partial"] + counts["pending"]) == (0, 20)


def test_the_pages_of_a_job_are_counted(command, origin, tmp_path, store):
    assert run(tmp_path, "get", origin.add("/a.jpg", b"\xff\xd8\xff", content_type="image/jpeg")).status == 0
    frontier = SqliteFrontier(store / "job", "gallery")
    frontier.add(b"1", b"data", kind=PageKind.ORDINARY)
    frontier.close(finished=False)
    can_only_be_read(store)
    counted = command("status", "-s", f"JOBDIR={store / 'job'}")
    assert "1 pages pending, 0 done" in counted.out


@pytest.mark.parametrize("words", [("verify",), ("forget", "{url}")], ids=" ".join)
def test_what_has_to_write_says_so_in_one_line(command, origin, tmp_path, store, words):
    url = origin.add("/a.jpg", b"\xff\xd8\xff", content_type="image/jpeg")
    assert run(tmp_path, "get", url).status == 0
    can_only_be_read(store)
    done = command(*(word.format(url=url) for word in words))
    assert (done.status, len(done.err.splitlines())) == (4, 1)
    assert "Read-only file system" in done.err
