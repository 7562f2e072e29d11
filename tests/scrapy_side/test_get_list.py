"""`mediacrawl get -i FILE`: a list, with and without Scrapy, from a file, a pipe, and standard input."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from crawling import BIG, STALLS_AT, environment, files_in, run, sha256, start
from origin import limit_per_connection, require_header, stall_after, status

from mediacrawl.archive import Archive, Publish
from mediacrawl.download.downloader import Downloader
from mediacrawl.errors import DiskFull, PathConflict
from mediacrawl.fetch.batch_size import BatchSizer

A, B = b"\1" * 2000, b"\2" * 3000
JPEG = "image/jpeg"
BOTH = {"get/127.0.0.1/a.jpg": sha256(A), "get/127.0.0.1/b.jpg": sha256(B)}


@pytest.fixture
def site(origin):
    origin.add("/a.jpg", A, content_type=JPEG)
    origin.add("/b.jpg", B, content_type=JPEG)
    return origin


@pytest.fixture
def listed(tmp_path, site):
    """Writes a list, in which `{a}` and `{b}` are the URLs of the site, and gives its name."""

    def listed(text):
        text = text.format(a=site.url("/a.jpg"), b=site.url("/b.jpg")) if isinstance(text, str) else text
        (tmp_path / "list").write_bytes(text if isinstance(text, bytes) else text.encode())
        return "list"

    return listed


@pytest.mark.parametrize(
    "text",
    ["{a}\n# more\n\n{b}\n{a}\n", "url;note\n{a};one\n{b};two\n", '{{"url": "{a}"}}\n{{"url": "{b}"}}\n'],
    ids=["plain", "CSV", "JSON lines"],
)
def test_each_format_brings_each_file_once(command, site, listed, text):
    done = command("get", "-i", listed(text))
    assert (done.status, done.store, done.err) == (0, BOTH, "")
    assert sorted(request.path for request in site.requests) == ["/a.jpg", "/b.jpg"]


def test_a_host_without_a_limit_has_no_more_connections_than_there_are_transfers(command, origin, listed):
    """Though transfers that wait for its answers hold no place."""
    urls = [origin.add(f"/{n}.jpg", A, content_type=JPEG, delay_s=0.3) for n in range(8)]
    unlimited = ("-s", "CONCURRENT_REQUESTS_PER_DOMAIN=0", "-s", "MEDIACRAWL_CONCURRENT_TRANSFERS=2")
    done = command("get", "-i", listed("\n".join(urls)), *unlimited)
    assert (done.status, len(done.store)) == (0, 8), str(done)
    assert origin.peak <= 2


def test_a_list_of_another_encoding(command, site, listed):
    text = f"{site.url('/a.jpg')}\n{site.url('/b.jpg')}\n".encode("utf-16")
    assert command("get", "-i", listed(text)).store == BOTH


def test_urls_of_the_command_line_come_too(command, site, listed):
    assert command("get", site.url("/b.jpg"), "-i", listed("{a}\n")).store == BOTH


def test_what_is_there_is_not_asked_for_again(command, site, listed, tmp_path):
    command("get", "-i", listed("{a}\n{b}\n"))
    site.forget()
    done = command("get", "-i", "list")
    assert (done.status, site.requests) == (0, [])
    assert done.out.splitlines() == [f"already there: {tmp_path}/store/get/127.0.0.1/{name}.jpg" for name in "ab"]


def test_a_line_names_its_file_and_says_what_to_send(command, site, listed):
    row = {
        "url": site.url("/a.jpg"),
        "filename": "Am See.jpg",
        "referer": "http://127.0.0.1/page",
        "headers": {"X-Key": "7"},
    }
    done = command("get", "--referer", "http://127.0.0.1/all", "-i", listed(json.dumps(row).encode()))
    assert done.store == {"get/127.0.0.1/Am See.jpg": sha256(A)}
    headers = site.requests[0].headers
    assert (headers["referer"], headers["x-key"]) == ("http://127.0.0.1/page", "7")


@pytest.mark.parametrize("path", ["/a.tar.gz", "/download"])
def test_the_digest_of_a_gz_file_that_is_labelled_gzip_is_that_of_what_was_sent(command, site, listed, path):
    packed = gzip.compress(A, mtime=0)
    url = site.add(path, packed, headers={"Content-Encoding": "gzip"})
    done = command("get", "-i", listed(f"url,sha256\n{url},{sha256(packed)}\n"))
    assert (done.status, list(done.store.values())) == (0, [sha256(packed)]), str(done)


def test_another_digest_than_the_list_says_is_a_failure_and_a_retry_wants_the_same(command, site, listed, tmp_path):
    done = command("get", "-i", listed(f"url,sha256,filename\n{{a}},{sha256(B)},x.jpg\n{{b}},{sha256(B)},\n"))
    assert (done.status, list(done.store.values())) == (1, [sha256(B)])
    site.add("/a.jpg", B, content_type=JPEG)
    again = run(tmp_path, "retry", "--permanent")
    assert again.status == 0, str(again)
    assert sorted(files_in(tmp_path / "store").values()) == [sha256(B), sha256(B)]
    assert any(path.endswith("/x.jpg") for path in files_in(tmp_path / "store"))


def test_bad_lines_are_told_with_their_numbers_and_the_others_come(command, listed):
    done = command("get", "-i", listed("{a}\nnonsense\n{b}\ngopher://127.0.0.1/x\n"))
    assert (done.status, done.store) == (1, BOTH)
    assert "list:2: not an http, https, ftp or ftps URL: 'nonsense'" in done.err
    assert "list:4: not an http, https, ftp or ftps URL: 'gopher://127.0.0.1/x'" in done.err
    assert "already there 0, failed 2" in done.err


def test_an_empty_list_is_nothing_to_do(command, listed):
    done = command("get", "-i", listed("# nothing yet\n"))
    assert (done.status, done.store, done.out) == (0, {}, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-i", "missing.txt"), "missing.txt: cannot be read: No such file or directory"),
        (("-i", "."), "list .: cannot be read: Is a directory"),
        (("-i", "list", "-o", "x.jpg"), "-o names a single file"),
        (("-i",), "expected one argument"),
    ],
)
def test_refused_before_anything_is_asked_for(command, site, listed, words, says):
    listed("{a}\n")
    done = command("get", *words)
    assert done.status == 2
    assert says in done.lines[-1]
    assert (done.store, site.requests) == ({}, [])


def test_from_standard_input(command, site, monkeypatch):
    lines = f"{site.url('/a.jpg')}\n{site.url('/b.jpg')}\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert command("get", "-i", "-").store == BOTH


def test_from_a_pipe_each_line_is_fetched_before_the_next_is_there(command, site, tmp_path):
    """And all of it is read: what a pipe has given it does not give again."""
    os.mkfifo(tmp_path / "pipe")

    def write():
        with (tmp_path / "pipe").open("w") as pipe:
            print(site.url("/a.jpg"), file=pipe, flush=True)
            site.wait_for(lambda: site.bytes_sent("/a.jpg"))
            print(site.url("/b.jpg"), file=pipe)

    writer = threading.Thread(target=write)
    writer.start()
    done = command("get", "-i", "pipe")
    writer.join()
    assert (done.status, done.store) == (0, BOTH)


def test_a_long_list_comes_whole_with_workers_and_with_lines_that_fail(command, origin, listed):
    bodies = {f"/{number}.jpg": b"\0%d " % number * 100 for number in range(400)}
    for path, body in bodies.items():
        origin.add(path, body, content_type=JPEG)
    origin.fault("/7.jpg", status(404, times=None))
    lines = "".join(f"{origin.url(path)}\n" for path in bodies)
    done = command("get", "-i", listed((lines + lines).encode()))
    assert done.status == 1
    assert set(done.store.values()) == {sha256(body) for path, body in bodies.items() if path != "/7.jpg"}
    assert len(done.out.splitlines()) - done.out.count("already there") == 399
    assert f"{origin.url('/7.jpg')}: HTTP 404 Not Found" in done.err


def test_a_host_is_asked_for_no_more_than_so_many_at_a_time(command, origin, listed):
    urls = [
        origin.add(f"/{n}.jpg", bytes([n, 0]) * 100_000, content_type=JPEG, faults=[limit_per_connection(2_000_000)])
        for n in range(12)
    ]
    done = command("get", "-s", "CONCURRENT_REQUESTS_PER_DOMAIN=3", "-i", listed("\n".join(urls).encode()))
    assert len(done.store) == 12
    assert 1 < origin.peak <= 3


def test_what_another_process_fetches_is_waited_for(command, site, listed, tmp_path):
    url = site.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    with start(tmp_path, "get", url) as other:
        site.wait_for(lambda: site.bytes_sent("/big.mp4") >= STALLS_AT)
        said = []

        def end_other():
            site.wait_for(lambda: site.bytes_sent("/a.jpg"))
            other.interrupt()
            said.append(other.wait().status)

        ender = threading.Thread(target=end_other)
        ender.start()
        done = command("get", "-i", listed((url + "\n{a}\n").format(a=site.url("/a.jpg")).encode()))
        ender.join()
    assert (said, done.status) == ([3], 0)
    assert f"{url}: another process is fetching it, waiting" in done.err
    assert done.store == {"get/127.0.0.1/a.jpg": sha256(A), "get/127.0.0.1/big.mp4": BIG.sha256()}


def test_interrupted_it_goes_on_with_what_is_left(site, listed, tmp_path):
    url = site.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    listed(f"{{a}}\n{url}\n{{b}}\n")
    with start(tmp_path, "get", "-i", "list") as running:
        site.wait_for(lambda: site.bytes_sent("/big.mp4") >= STALLS_AT)
        running.interrupt()
        first = running.wait()
    assert first.status == 3
    assert re.search(r"go on with: \S*(mediacrawl|python\S* -m mediacrawl) get", first.err)
    site.forget()
    second = run(tmp_path, "get", "-i", "list")
    assert (second.status, second.store) == (0, BOTH | {"get/127.0.0.1/big.mp4": BIG.sha256()})
    assert sum(request.body_bytes_sent for request in site.requests) < len(BIG)


def test_user_and_password_of_a_line_are_shown_nowhere(command, site, listed, tmp_path):
    site.fault("/a.jpg", require_header("Authorization", "Basic bWU6czNjcjN0"))
    done = command("get", "-i", listed(site.url("/a.jpg").replace("//", "//me:s3cr3t@").encode()))
    assert done.store == {"get/127.0.0.1/a.jpg": sha256(A)}
    (tmp_path / "list").unlink()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "s3cr3t" not in done.out + done.err + written.decode("latin-1")


@pytest.fixture
def said(tmp_path):
    """`mediacrawl get -s FILES_STORE=store WORDS…` as a process, whose standard output is a pipe with a buffer."""

    def said(*words, **more):
        command = [sys.executable, "-m", "mediacrawl", "get", "-s", "FILES_STORE=store", *words]
        buffered = environment() | {"PYTHONUNBUFFERED": ""}
        return subprocess.Popen(command, cwd=tmp_path, env=buffered, stderr=subprocess.PIPE, text=True, **more)

    return said


@pytest.mark.parametrize("count", [3, 400])
def test_who_reads_its_output_no_further_stops_it(origin, said, tmp_path, count):
    urls = [origin.add(f"/{n}.jpg", b"%d" % n, content_type=JPEG) for n in range(count)]
    (tmp_path / "list").write_text("\n".join(urls))
    reader, writer = os.pipe()
    os.close(reader)
    with said("-i", "list", stdout=writer) as running:
        os.close(writer)
        _, err = running.communicate()
    assert running.returncode == 3
    assert "interrupted, nothing is lost" in err
    assert "Traceback" not in err
    assert run(tmp_path, "get", "-i", "list").status == 0
    assert len(files_in(tmp_path / "store")) == count


def test_a_full_disk_under_its_output_is_said_in_one_line(site, said):
    with Path("/dev/full").open("w") as full, said(site.url("/a.jpg"), stdout=full) as running:
        _, err = running.communicate()
    assert running.returncode == 4
    assert "cannot write the output: No space left on device" in err
    assert "Traceback" not in err


def test_what_has_come_is_said_while_the_list_goes_on(site, said):
    with said("-i", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        running.stdin.write(site.url("/a.jpg") + "\n")
        running.stdin.flush()
        assert running.stdout.readline().endswith("/a.jpg (2.00kB)\n")  # and only then the list ends
        out, _ = running.communicate(site.url("/b.jpg") + "\n")
    assert out.endswith("/b.jpg (3.00kB)\n")


def test_what_got_its_name_while_it_was_stopped_is_said_too(origin, said, tmp_path):
    urls = [origin.add(f"/{n}.jpg", b"%d" % n, content_type=JPEG) for n in range(300)]
    origin.answer_only(100)
    (tmp_path / "list").write_text("\n".join(urls))
    with said("-i", "list", stdout=subprocess.PIPE) as running:
        origin.wait_for(lambda: len(origin.requests) > 100)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate()
    assert running.returncode == 3
    assert len(out.splitlines()) == len(files_in(tmp_path / "store")) < 300


def test_a_url_that_fails_is_asked_for_once_however_often_it_is_listed(command, origin, listed):
    good = [origin.add(f"/{n}.jpg", b"%d" % n, content_type=JPEG) for n in range(300)]
    lines = [origin.url("/missing.jpg"), *good, origin.url("/missing.jpg")]
    done = command("get", "-i", listed("\n".join(lines).encode()))
    assert (done.status, len(done.store)) == (1, 300)
    assert [request.path for request in origin.requests].count("/missing.jpg") == 1
    assert "failed 1" in done.err


@pytest.mark.parametrize("odd", ["http://a[::1]/x.png", 'http://"[::1]/y', "http://[::1/x"])
def test_a_line_that_is_no_url_for_others_spoils_no_other(command, listed, odd):
    done = command("get", "-i", listed(f"{{a}}\n{odd}\n{{b}}\n"))
    assert (done.status, done.store) == (1, BOTH)
    assert f"list:2: not an http, https, ftp or ftps URL: {odd!r}" in done.err


@pytest.mark.parametrize("odd", ["http:/me:s3cr3t@h/x", "me:s3cr3t@h/x", "http:///me:s3cr3t@h/x"])
def test_what_may_be_a_password_is_not_said_of_a_bad_line(command, listed, odd):
    done = command("get", "-i", listed(f"{odd}\n"))
    assert "list:1: not an http, https, ftp or ftps URL: 'h/x'" in done.err
    assert "s3cr3t" not in done.err


def test_a_closed_standard_input_is_said_in_one_line(command, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    done = command("get", "-i", "-")
    assert done.status == 2
    assert "list -: standard input is closed" in done.err
    assert "Traceback" not in done.err


def test_a_ledger_that_cannot_note_a_failure_stops_it(command, origin, listed, no_room_for_failures):
    done = command("get", "-i", listed(origin.url("/missing.jpg").encode()))
    assert done.status == 4
    assert "stopped: no space left for the ledger" in done.err


@pytest.fixture
def refuses(monkeypatch):
    """Lets the archive answer so to whatever is to get that name, and as ever to all else."""

    def refuses(name, error):
        write = Archive.write

        def refuse(self, changes):
            refused = {
                number
                for number, change in enumerate(changes)
                if isinstance(change, Publish) and change.entry.path.endswith(name)
            }
            answers = iter(write(self, [change for number, change in enumerate(changes) if number not in refused]))
            return [error if number in refused else next(answers) for number in range(len(changes))]

        monkeypatch.setattr(Archive, "write", refuse)

    return refuses


@pytest.fixture
def forty(origin, listed):
    """A list of so many small files, that go together, and their paths in the store."""
    urls = [origin.add(f"/{number:02}.jpg", b"\0%d " % number * 100, content_type=JPEG) for number in range(40)]
    return listed("\n".join(urls).encode()), {f"get/127.0.0.1/{number:02}.jpg" for number in range(40)}


def test_a_name_that_is_taken_spoils_no_other_of_its_batch(command, forty, refuses):
    file, paths = forty
    refuses("/20.jpg", PathConflict("20.jpg is a folder"))
    done = command("get", "-i", file)
    assert done.status == 1
    assert set(done.store) == paths - {"get/127.0.0.1/20.jpg"}
    assert len(done.out.splitlines()) == 39
    assert "/20.jpg: 20.jpg is a folder" in done.err


def test_what_got_its_name_beside_one_that_ends_the_run_is_said(command, forty, refuses):
    file, _paths = forty
    refuses("/20.jpg", DiskFull("no space left"))
    done = command("get", "-i", file)
    assert done.status == 4
    assert "stopped: no space left" in done.err
    assert {path.partition(" (")[0].partition("/store/")[2] for path in done.out.splitlines()} == set(done.store)


def test_what_came_in_a_batch_with_one_that_ends_the_run_gets_its_name(command, forty, monkeypatch):
    file, _paths = forty
    fetch_batch, came = Downloader.fetch_batch, []

    def full(self, requests, *rest):
        outcomes = fetch_batch(self, requests, *rest)
        if len(outcomes) == 1:
            return outcomes
        came.extend(f"get/127.0.0.1{urlsplit(outcome.url).path}" for outcome in (outcomes[0], *outcomes[2:]))
        return [outcomes[0], DiskFull("no space left"), *outcomes[2:]]

    monkeypatch.setattr(Downloader, "fetch_batch", full)
    monkeypatch.setattr(BatchSizer, "batch_files", lambda *_: 40)
    done = command("get", "-i", file)
    assert done.status == 4
    assert "stopped: no space left" in done.err
    assert came
    assert set(came) <= set(done.store)
    assert len(done.out.splitlines()) == len(done.store)
