"""`mediacrawl forget` and `mediacrawl manifest`: rows out of the ledger, by hand and as JSON Lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from crawling import BIG, STALLS_AT, environment, files_in, parts_in, run, sha256, start
from origin import limit_per_connection, stall_after

BODY = b"\xff\xd8\xff" + b"j" * 3997
JPEG = "image/jpeg"
PATH = "get/127.0.0.1/a.jpg"


@pytest.fixture
def url(command, origin):
    """Of a file that is there."""
    url = origin.add("/a.jpg", BODY, content_type=JPEG)
    command("get", url)
    origin.forget()
    return url


def rows(command):
    return [json.loads(line) for line in command("manifest").out.splitlines()]


# --- forget -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["{url}", "{user}", "{url}#top"])
def test_forget_finds_a_url_as_it_was_given_and_shows_no_password(command, url, written):
    user = url.replace("//", "//me:secret@")
    done = command("forget", written.format(url=url, user=user))
    assert (done.status, done.out, done.err) == (0, f"forgotten: {url} (the file stays: {PATH})\n", "")
    assert done.store == {PATH: sha256(BODY)}
    assert rows(command) == []


def test_what_was_forgotten_is_fetched_as_a_new_file(command, url, origin):
    command("forget", url)
    done = command("get", url)
    assert len(origin.requests_for("/a.jpg")) == 1
    assert sorted(done.store.values()) == [sha256(BODY)] * 2  # the file that stayed is nobody's, and not overwritten


@pytest.mark.parametrize(
    "words", [("forget", "--fles"), ("verify", "--repare"), ("status", "--jsn=1"), ("retry", "-x")]
)
def test_an_option_that_does_not_exist_is_refused_and_nothing_is_done(command, url, words):
    done = command(*words, url)
    assert (done.status, done.store, len(rows(command))) == (2, {PATH: sha256(BODY)}, 1)
    assert f"there is no option {words[1].partition('=')[0]}, see: --help" in done.err


def test_with_files_the_file_goes_too(command, url, origin):
    assert command("forget", "--files", url).out == f"forgotten: {url}\n"
    done = command("get", url)
    assert done.store == {PATH: sha256(BODY)}
    assert len(origin.requests_for("/a.jpg")) == 1


def test_a_url_that_is_not_known_is_said_and_the_others_are_forgotten_all_the_same(command, url, origin):
    unknown = origin.url("/unknown.jpg")
    done = command("forget", unknown.replace("//", "//me:secret@"), url)
    assert done.status == 1
    assert done.out == f"not known: {unknown}\nforgotten: {url} (the file stays: {PATH})\n"
    assert rows(command) == []


def test_a_partial_file_is_removed(command, origin, tmp_path):
    url = origin.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    with start(tmp_path, "get", url) as running:
        origin.wait_for(lambda: origin.bytes_sent("/big.mp4") >= STALLS_AT)
        running.interrupt()
        running.wait()
    assert len(parts_in(tmp_path / "store")) == 2
    assert command("forget", url).out == f"forgotten: {url}\n"
    assert parts_in(tmp_path / "store") == []
    status = json.loads(command("status", "--json").out)
    assert status == {"done": 0, "partial": 0, "pending": 0, "failed": 0, "bytes": 0, "uploads": 0}


def test_forget_missing_takes_those_whose_files_are_gone(command, url, origin, ledger, tmp_path):
    """Whatever has noticed it already: nobody, a crawl, a repair that failed."""
    names = ["gone.jpg", "lost.jpg", "damaged.jpg"]
    urls = {name: origin.add(f"/{name}", BODY + name.encode(), content_type=JPEG) for name in names}
    command("get", *urls.values())
    for name in names:
        (tmp_path / "store" / "get" / "127.0.0.1" / name).unlink()
    ledger.mark_missing([urls["lost.jpg"]])
    ledger.mark_corrupt(urls["damaged.jpg"], "missing")
    done = command("forget", "--missing")
    assert (done.status, sorted(done.out.splitlines())) == (0, sorted(f"forgotten: {url}" for url in urls.values()))
    assert [row["url"] for row in rows(command)] == [url]
    assert command("verify").out == "damaged 0, unknown 0\n"


@pytest.mark.parametrize("words", [(), ("--missing", "http://127.0.0.1/a.jpg"), ("--files",)])
def test_forget_wants_urls_or_missing(command, url, words):
    assert command("forget", *words).status == 2
    assert len(rows(command)) == 1


# --- manifest ---------------------------------------------------------------------------------------


def test_the_manifest_has_all_of_each_file_that_is_done_and_nothing_else(command, origin, tmp_path):
    origin.add("/Käse.jpg", BODY, content_type=JPEG, etag='"v1"')
    origin.add("/plain.jpg", BODY + b"2", content_type=JPEG, etag=False, last_modified=False)
    page = origin.page("/", '<img src="/K%C3%A4se.jpg"><img src="/plain.jpg"><img src="/missing.jpg">')
    before = datetime.now(UTC).replace(microsecond=0)
    crawled = run(tmp_path, "crawl", "site", "-a", f"url={page}")
    assert crawled.status == 1, str(crawled)
    after = datetime.now(UTC)

    done = command("manifest")
    assert (done.status, done.err) == (0, "")
    found = [json.loads(line) for line in done.out.splitlines()]
    for row in found:
        times = [datetime.fromisoformat(row.pop(name)) for name in ("finished_at", "checked_at")]
        assert all(before <= at <= after for at in times)
    common = {"page": page, "spider": "site", "content_type": JPEG}
    assert found == [
        common
        | {
            "url": origin.url("/Käse.jpg"),
            "path": "site/127.0.0.1/Käse.jpg",
            "size": len(BODY),
            "sha256": sha256(BODY),
            "etag": '"v1"',
            "last_modified": "Tue, 02 Jan 2024 03:04:05 GMT",
        },
        common
        | {
            "url": origin.url("/plain.jpg"),
            "path": "site/127.0.0.1/plain.jpg",
            "size": len(BODY) + 1,
            "sha256": sha256(BODY + b"2"),
            "etag": None,
            "last_modified": None,
        },
    ]


def test_the_manifest_takes_no_argument(command, url):
    done = command("manifest", "store")
    assert (done.status, done.out) == (2, "")


@pytest.mark.parametrize("name", ["manifest", "verify"])
def test_a_reader_that_has_read_enough_is_no_traceback(url, tmp_path, name):
    """`mediacrawl manifest | head -1`"""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "mediacrawl", name, "-s", "FILES_STORE=store"],
        cwd=tmp_path,
        env=environment(PYTHONUNBUFFERED=""),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (3, b"")


def test_after_kill_9_the_manifest_names_what_the_feed_lost(command, origin, tmp_path):
    """A feed is written when its buffer is full; the ledger, when a file is there."""
    names = [f"{number}.jpg" for number in range(12)]
    urls = [origin.add(f"/{name}", BODY + name.encode(), content_type=JPEG) for name in names]
    # Slow, so that the origin tells of something, and `wait_for` looks into the ledger, again and again.
    last = origin.add("/last.mp4", BIG, content_type="video/mp4", faults=[limit_per_connection(200_000)])
    (tmp_path / "list.txt").write_text("\n".join([last, *urls]))
    words = ("crawl", "urllist", "-a", "file=list.txt", "-o", "items.jsonl")
    with start(tmp_path, *words, settings={"MEDIACRAWL_CONNECTIONS_PER_FILE": 1}) as running:
        origin.wait_for(lambda: len(rows(command)) == len(names), 40)
        running.kill()
        running.wait()
    kept = (tmp_path / "items.jsonl").read_text().splitlines()
    assert len(kept) < len(names)
    manifest = {row["url"]: row["path"] for row in rows(command)}
    assert manifest == {url: f"urllist/127.0.0.1/{name}" for url, name in zip(urls, names, strict=True)}
    assert set(files_in(tmp_path / "store")) == set(manifest.values())
