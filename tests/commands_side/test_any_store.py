"""Every command about a store, on stores of all kinds: never used, unusable, with a ledger that is none, in use."""

from __future__ import annotations

import json

import pytest
from crawling import BIG, STALLS_AT, run, sha256, start, together
from origin import stall_after

from mediacrawl.ledger.base import Entry, State

BODY = b"\xff\xd8\xff" + b"j" * 3997
JPEG = "image/jpeg"
URL = "http://127.0.0.1:9/a.jpg"

COMMANDS = {
    "status": ("status",),
    "status-json": ("status", "--json"),
    "failed": ("status", "--failed"),
    "verify": ("verify",),
    "verify-repair": ("verify", "--repair"),
    "forget": ("forget", URL),
    "forget-missing": ("forget", "--missing"),
    "manifest": ("manifest",),
}
every_command = pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)


# --- never used -------------------------------------------------------------------------------------

NOTHING = {
    "status": (0, "done 0 (0B), partial 0, pending 0, failed 0\n"),
    "status-json": (0, '{"done": 0, "partial": 0, "pending": 0, "failed": 0, "bytes": 0, "uploads": 0}\n'),
    "failed": (0, ""),
    "verify": (0, "damaged 0, unknown 0\n"),
    "verify-repair": (0, "damaged 0, unknown 0\n"),
    "forget": (1, f"not known: {URL}\n"),
    "forget-missing": (0, ""),
    "manifest": (0, ""),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_store_that_does_not_exist_is_told_and_is_not_made_by_looking(command, tmp_path, name):
    """Its path may be mistyped: nothing is not the same as no failures."""
    done = command(*COMMANDS[name])
    assert (done.status, done.out) == (2, "")
    assert done.lines[-1].endswith(f"there is no store {tmp_path}/store: no file was ever wanted there")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_folder_is_a_store_that_was_never_used(command, tmp_path, name):
    (tmp_path / "store").mkdir()
    done = command(*COMMANDS[name])
    assert (done.status, done.out) == NOTHING[name]
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_ledger_that_is_just_being_made_holds_nothing(command, tmp_path, name):
    """Another process has made the file and not yet the tables in it, or was killed then."""
    (tmp_path / "store" / ".mediacrawl").mkdir(parents=True)
    (tmp_path / "store" / ".mediacrawl" / "ledger.sqlite3").touch()
    done = command(*COMMANDS[name])
    assert (done.status, done.out) == NOTHING[name]


# --- unusable ---------------------------------------------------------------------------------------


@every_command
@pytest.mark.parametrize("store", ["file", "file/store"])
def test_a_store_that_cannot_be_one_is_status_4_and_one_line(command, tmp_path, words, store):
    (tmp_path / "file").write_text("in the way")
    done = command(*words, store=store)
    assert (done.status, done.out) == (4, "")
    (line,) = done.lines
    assert line.startswith("mediacrawl: cannot ")
    assert f"{tmp_path}/{store}" in line
    assert line.endswith("file is a file, not a folder")


@every_command
def test_a_store_elsewhere_is_wrong_usage(command, words):
    done = command(*words, store="s3://bucket/x")
    assert (done.status, done.out) == (2, "")
    assert done.lines[-1].endswith(
        "FILES_STORE=s3://bucket/x: only a folder on this machine can be a store: a path, file:PATH; not s3://"
    )


@every_command
def test_a_ledger_that_is_no_database_is_status_4_and_one_line(command, tmp_path, words):
    path = tmp_path / "store" / ".mediacrawl" / "ledger.sqlite3"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database, " * 1000)
    done = command(*words)
    assert (done.status, done.out) == (4, "")
    (line,) = done.lines
    assert line == (
        f"mediacrawl: cannot use the ledger {path}: file is not a database: it is damaged, or no ledger;"
        " restore it from a copy, or move it away to begin a new one: then every file is fetched again, beside those"
        " that are there (docs/crash-safety.md)"
    )
    assert path.read_bytes() == b"not a database, " * 1000


@every_command
def test_a_ledger_of_a_later_version_is_status_4_and_says_what_to_do(command, tmp_path, ledger, words):
    ledger._db.execute("PRAGMA user_version=99")
    done = command(*words)
    assert (done.status, done.out) == (4, "")
    assert "has format 99" in done.lines[0]
    assert len(done.lines) == 1


def test_a_ledger_that_is_damaged_inside_is_status_4_and_one_line(command, tmp_path, ledger):
    """What a disk does: the head is as it was, pages in the middle are not."""
    entries = [Entry(f"http://127.0.0.1/{n}.jpg", f"http://127.0.0.1/{n}.jpg", path=f"{n}.jpg") for n in range(2000)]
    with ledger.transaction():
        for entry in entries:
            ledger.claim(entry)
        ledger.finish(entries, 1.0)
    ledger.close()  # all is in the one file now
    path = tmp_path / "store" / ".mediacrawl" / "ledger.sqlite3"
    body = bytearray(path.read_bytes())
    body[8192 : len(body) - 4096] = b"\xa5" * (len(body) - 4096 - 8192)
    path.write_bytes(body)
    for words in (("manifest",), ("verify",)):
        done = command(*words)
        assert done.status == 4
        (line,) = done.lines
        assert line.startswith(f"mediacrawl: cannot use the ledger {path}: database disk image is malformed: it is")


@pytest.fixture(scope="module")
def retries(tmp_path_factory):
    """`retry` in each of these stores; a process each, all at once."""
    folder = tmp_path_factory.mktemp("retries")
    (folder / "file").touch()
    garbage = folder / "garbage" / ".mediacrawl" / "ledger.sqlite3"
    garbage.parent.mkdir(parents=True)
    garbage.write_bytes(b"not a database, " * 1000)
    (folder / "new").mkdir()
    stores = {
        "never used": folder / "new",
        "missing": folder / "missing",
        "file": folder / "file",
        "garbage": folder / "garbage",
    }
    commands = [("retry", "-s", f"FILES_STORE={store}") for store in stores.values()]
    return dict(zip(stores, together(folder, *commands), strict=True))


@pytest.mark.parametrize(
    ("store", "status", "says"),
    [
        ("never used", 0, "new 0, resumed 0, already there 0, failed 0"),
        ("missing", 2, "missing: no file was ever wanted there"),
        ("file", 4, "file is a file, not a folder"),
        ("garbage", 4, "beside those that are there (docs/crash-safety.md)"),
    ],
)
def test_retry_in_a_store_with_nothing_to_retry(retries, store, status, says):
    done = retries[store]
    assert done.status == status, str(done)
    assert done.lines[-1].endswith(says)
    assert len(done.lines) <= 4
    assert done.out == ""


# --- in use -----------------------------------------------------------------------------------------


def test_each_command_does_its_work_beside_a_crawl(command, origin, tmp_path, ledger):
    here = origin.add("/here.jpg", BODY, content_type=JPEG)
    other = origin.add("/other.jpg", BODY + b"2", content_type=JPEG)
    failed = origin.add("/failed.jpg", BODY + b"3", content_type=JPEG)
    command("get", here, other)
    ledger.record_failure([Entry(failed, failed, spider="site", reason="HTTP 503")], 1.0)
    big = origin.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    (tmp_path / "list.txt").write_text(big)
    with start(tmp_path, "crawl", "urllist", "-a", "file=list.txt") as crawl:
        origin.wait_for(lambda: origin.bytes_sent("/big.mp4") >= STALLS_AT)
        status = json.loads(command("status", "--json").out)
        assert status == {
            "done": 2,
            "partial": 1,
            "pending": 0,
            "failed": 1,
            "bytes": 2 * len(BODY) + 1,
            "uploads": 0,
        }
        assert command("verify").out == "damaged 0, unknown 0\n"
        assert command("verify", "--adopt").out == "damaged 0, unknown 0 (0 adopted)\n"
        assert [json.loads(line)["url"] for line in command("manifest").out.splitlines()] == [here, other]
        assert command("forget", "--files", other).out == f"forgotten: {other}\n"
        assert command("forget", "--missing").out == ""
        retried = run(tmp_path, "retry")
        assert retried.status == 0, str(retried)
        assert command("forget", big).status == 0  # what is under way arrives all the same
        origin.release()
        done = crawl.wait()
    assert done.status == 0, str(done)
    assert len(origin.requests_for("/big.mp4")) == 1
    assert done.store == {
        "get/127.0.0.1/here.jpg": sha256(BODY),
        "site/127.0.0.1/failed.jpg": sha256(BODY + b"3"),
        "urllist/127.0.0.1/big.mp4": BIG.sha256(),
    }
    assert {entry.url: entry.state for entry in ledger.entries()} == {
        here: State.DONE,
        failed: State.DONE,
        big: State.DONE,
    }
    assert ledger.is_intact()
