"""Servers, lists, names of files and arguments that contain what steers a terminal: no output of a command has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from crawling import together
from hostile import LINES, STEERING, HostileServer, faults_of, hostile_answers, steering_in

from mediacrawl.fetch.advice import command_line
from mediacrawl.ledger.base import Entry

PAGE = f"""<html><head><title>{STEERING}</title><base href="/{STEERING}/"></head><body>
<img src="/phrase.jpg"><img src="/a{STEERING}.jpg" alt="{STEERING}"><img src="http://{STEERING}/b.jpg">
<img src="data:{STEERING}"><img src="x{STEERING}://h/c.jpg"><a href="/d.jpg#{STEERING}">{STEERING}</a>
<a rel=next href="/{STEERING}">next</a><a href="/te.jpg">{STEERING}</a></body></html>"""


def list_of(server, paths):
    """The lines of a list in JSON: each path, and lines that are wrong in all that a line has."""
    lines = [{"url": server.url(path)} for path in paths]
    fields = ("url", "filename", "sha256", "md5", "referer", "key")
    lines += [{"url": server.url(f"/{name}.jpg?{number}"), name: LINES} for number, name in enumerate(fields)]
    lines += [
        {"url": server.url("/a.jpg?#"), "key": f"#{LINES}"},
        {"url": f"gopher://h/{STEERING}"},
        {"url": [LINES]},
    ]
    lines += [
        {"url": server.url("/b.jpg"), "headers": {LINES: LINES}},
        {"url": server.url("/b.jpg"), "headers": LINES},
    ]
    return "\n".join([*map(json.dumps, lines), json.dumps({"x": 1}) + STEERING, STEERING, f'{{"url": "{STEERING}"}}'])


def test_no_output_of_a_run_steers_a_terminal(tmp_path):
    """In each front, over both transports, in worker processes, with all that Scrapy logs."""
    answers = hostile_answers()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
    answers["/page"] = head + b"Refresh: 9; url=" + STEERING.encode() + b"\r\n\r\n" + PAGE.encode()
    answers["/moved"] = answers["/location.jpg"]
    answers["/coded"] = answers["/ce.jpg"].replace(b"image/jpeg", b"text/html").replace(b"gzip, ", b"gzip,")
    with HostileServer(answers) as server:
        paths = [path for path in answers if path.endswith(".jpg")]
        urls = [server.url(path) for path in paths]
        many = tmp_path / f"list{STEERING}.txt"
        many.write_text("\n".join(f"{url}?{number}" for url in urls for number in range(4)))
        rich = tmp_path / "rich.jsonl"
        rich.write_text(list_of(server, paths))
        again = ("-s", "MEDIACRAWL_RETRY_TIMES=0", "-s", "MEDIACRAWL_RETRY_AFTER_MAX_S=0")
        log = ("-L", "DEBUG", "-s", "LOG_FILE=log", *again)
        pages = " ".join(map(server.url, ("/page", "/moved", "/coded", "/status-line.jpg", "/phrase.jpg")))
        done = together(
            tmp_path,
            ("get", *again, "-s", "MEDIACRAWL_PROCESSES=1", "-i", str(many)),
            ("get", *again, "-s", "MEDIACRAWL_TRANSPORT=curl", "-i", str(rich)),
            ("crawl", "urllist", *log, "-a", f"file={rich}", "-o", "feed.jsonl", "-o", "feed.json"),
            ("crawl", "site", *log, "-a", f"url={pages}", "-s", "MEDIACRAWL_TRANSPORT=curl"),
        )
    for one in done:
        logs = [path.read_bytes() for path in sorted(one.folder.glob("log"))]
        for output in (one.out.encode(errors="surrogateescape"), one.err.encode(errors="surrogateescape"), *logs):
            assert faults_of(output) == [], str(one)
        assert one.status == 1, str(one)
    assert "HTTP 403 Café 漢字" in done[0].err
    for text in (done[0].err, *((one.folder / "log").read_text() for one in done[2:])):
        assert r"\x1b[31m\x1b]0;owned\x07\x9b2J" in text
    for name in ("feed.jsonl", "feed.json"):
        assert steering_in((done[2].folder / name).read_bytes(), "\n") == []
    items = json.loads((done[2].folder / "feed.json").read_text())
    assert LINES.strip() in {item.get("filename") for item in items}  # a parser reads what was in the list


# --- commands that read a store -----------------------------------------------------------------------


@pytest.fixture
def hostile_store(command, ledger, tmp_path):
    """Rows as an earlier version may have written them, and the file of a stranger."""
    url = f"http://h/{LINES}"
    there = Entry(url, url, page=url, spider=LINES, path=f"get/{LINES}", size_bytes=1, sha256="0", content_type=LINES)
    failed = Entry(f"{url}2", f"{url}2", page=url, spider=LINES, reason=LINES)
    with ledger.transaction():
        ledger.claim(there)
        ledger.finish([there], 1.0)
        ledger.record_wanted([failed], 1.0)
        ledger.record_failure([failed], 1.0)
    name = tmp_path / "store" / f"stranger{LINES.strip()}"
    name.write_bytes(b"x")
    (tmp_path / "store" / os.fsdecode(b"bytes\x9b\xff")).write_bytes(b"x")
    return command


@pytest.mark.parametrize(
    "words",
    [
        *(("status",), ("status", "--failed"), ("status", "--failed", "--json"), ("status", f"--x{LINES}")),
        *(("manifest",), ("verify",), ("verify", "--adopt"), ("forget", "--missing")),
        ("forget", f"http://h/{LINES}", f"ftp://h/{LINES}"),
        *(("get", f"http://h/{LINES}"), ("get", f"--x{LINES}"), ("get", "-i", LINES), ("get", "-s", LINES)),
        *(
            ("get", "-s", f"FILES_STORE={LINES}", "http://h:99999/"),
            ("crawl", "-s", f"MEDIACRAWL_X{LINES}=1", "site"),
        ),
    ],
    ids=lambda words: repr(words)[:30],
)
def test_no_output_about_a_store_steers_a_terminal(hostile_store, words):
    done = hostile_store(*words)
    for text in (done.out, done.err):
        assert faults_of(text.encode(errors="surrogateescape")) == []


def test_json_of_a_store_has_the_text_as_it_is(hostile_store):
    (row,) = [json.loads(line) for line in hostile_store("manifest").out.splitlines()]
    assert LINES in row["url"]


# --- commands to paste --------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    "word",
    [
        "http://h/$(touch ran)`touch ran`;touch ran|touch ran&touch ran>ran",
        "file='; touch ran; '",
        'file="$(touch ran)"',
        "a\ntouch ran\n",
        f"';touch ran;'{STEERING}';touch ran;'\n;touch ran;'",
        f"\\';touch ran;\\\\{LINES}\\",
        "!touch ran",
        "~/*?[a]{b,c}",
        "",
        "-",
        "é 漢字",
    ],
)
def test_a_command_that_is_printed_runs_nothing_else_when_it_is_pasted(monkeypatch, tmp_path, shell, word):
    monkeypatch.setattr(sys, "orig_argv", ["python", "mediacrawl", "crawl", "x", "-a", word])
    line = command_line()
    assert steering_in(line) == []
    print_words = f'mediacrawl() {{ for one in "$@"; do printf \'%s\\n\' "[$one]"; done; }}; {line}'
    done = subprocess.run([shell, "-c", print_words], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
    assert done.stderr == b""
    if shell == "bash":
        words = ["crawl", "x", "-a", word]
        assert done.stdout == "".join(f"[{one}]\n" for one in words).encode()
