"""Servers that lie, and files of this machine that no server should get: `push` says so, and sends nothing wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest
from ftp_origin import FtpFault, FtpOrigin, drop_upload_after, refuse
from origin import Pattern
from pushing import ONCE
from tus_origin import TusFault, TusOrigin
from tus_origin import refuse as refuse_tus

from mediacrawl.push.ftp_target import time_of_file
from mediacrawl.push.local_files import LocalFile, UnusableFile, local_files
from mediacrawl.push.push_run import NOT_SENT, SENT_WHOLE

BODY = Pattern(300_000, 1).read()


@pytest.fixture
def tus():
    with TusOrigin() as running:
        yield running


@pytest.fixture
def ftp(tmp_path):
    with FtpOrigin(tmp_path / "remote", "anna", "s3:cret") as running:
        yield running


@pytest.fixture
def url(ftp):
    return f"ftp://anna:s3%3Acret@{ftp.netloc}/"


def statuses(results):
    return [result.status for result in results]


# --- tus


@pytest.mark.parametrize("method", ["HEAD", "PATCH"])
def test_a_server_that_tells_of_more_bytes_than_the_file_has_is_a_failure(pusher, tus, method):
    pusher.write("a.jpg", BODY)
    if method == "HEAD":
        tus.faults.append(TusFault("PATCH", take_bytes=100_000))
        pusher.push(tus.url, backoff=ONCE)
        tus.faults.append(refuse_tus("HEAD", 200, "", ("Upload-Offset", "300001")))
    else:
        tus.faults.append(refuse_tus("PATCH", 204, "", ("Upload-Offset", "300001")))
    (result,) = pusher.push(tus.url)
    assert (result.status, "300001 bytes of a file of 300000" in result.reason) == (NOT_SENT, True)


@contextmanager
def site(answers):
    """A web server whose responses are what `answers` returns for a method and a path: status, fields, content.

    Yields its address, and the paths that were asked for.
    """

    def answer(self):
        asked.append(self.path)
        status, fields, content = answers(self.command, self.path)
        self.send_response(status)
        for name, value in [*fields, ("Content-Length", str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    asked = []
    with TusOrigin() as tus:
        handler = tus._server.RequestHandlerClass
        handler.do_GET = handler.do_OPTIONS = answer
        yield f"http://127.0.0.1:{tus.port}/", asked


def test_a_server_that_wants_another_scheme_is_named(pusher):
    pusher.write("a.jpg", BODY)
    with site(lambda _method, path: (301, [("Location", f"https://127.0.0.1{path}")], b"")) as (url, _):
        (result,) = pusher.push(url)
    assert "redirect to https://127.0.0.1/: name that URL" in result.reason


def test_a_folder_whose_pages_go_round_is_a_failure(pusher):
    def answers(method, path):
        if method == "OPTIONS":
            return 204, [("Tus-Version", "1.0.0")] if path.startswith("/uploads/") else [], b""
        return 200, [("Content-Type", "application/json")], b'{"folder": "", "entries": [], "next": "?after=a"}'

    pusher.write("a.jpg", BODY)
    with site(answers) as (url, asked):
        (result,) = pusher.push(f"{url}files/", pusher.folder / "a.jpg", backoff=ONCE)
    assert (result.status, "have no end" in result.reason) == (NOT_SENT, True)
    assert len(asked) < 10


def test_a_response_that_drips_is_given_up(pusher, tus):
    def answer_options(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        with suppress(OSError):
            while not over.wait(0.02):
                self.wfile.write(b"x")

    over = threading.Event()
    tus._server.RequestHandlerClass.do_OPTIONS = answer_options
    pusher.write("a.jpg", BODY)
    (result,) = pusher.push(tus.url, backoff=ONCE, stall_s=0.3)
    over.set()
    assert result.status == NOT_SENT


# --- FTP


class Scripted:
    """An FTP server whose replies to some commands are what `talk` sends; others are 200."""

    def __init__(self, replies):
        self._replies = replies

    def __enter__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"ftp://anna:s3cret@127.0.0.1:{self._server.getsockname()[1]}/"
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=[sock], daemon=True).start()

    def _talk(self, sock):
        try:
            with sock, sock.makefile("rb") as commands:
                sock.sendall(b"220 hello\r\n")
                for line in commands:
                    reply = self._replies.get(line.split()[0].decode(), b"200 ok\r\n")
                    sock.sendall(reply if isinstance(reply, bytes) else b"")
                    while not isinstance(reply, bytes) and not self._over.wait(0.02):
                        sock.sendall(b"2")  # drips
        except OSError:
            pass

    def __exit__(self, *_exc):
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.mark.parametrize("command", ["USER", "MKD", "SIZE", "EPSV"])
def test_a_server_whose_replies_drip_is_given_up(pusher, command):
    pusher.write("a.jpg", BODY)
    replies = {"USER": b"230 ok\r\n", "SIZE": b"550 no\r\n", "MDTM": b"550 no\r\n", command: None}
    with Scripted(replies) as server:
        (result,) = pusher.push(f"{server.url}in/", backoff=ONCE, stall_s=0.3)
    assert result.status == NOT_SENT


def test_a_file_that_does_not_end_is_given_up(pusher, ftp, url):
    pusher.write("a.jpg", BODY)
    ftp.faults.append(drop_upload_after(100_000))
    pusher.push(url, backoff=ONCE)
    ftp.faults.append(FtpFault("RETR", read=lambda _handler, _file, size: b"x" * size, times=None))
    (result,) = pusher.push(url, backoff=ONCE)
    assert (result.status, "more than the 300000 bytes" in result.reason) == (NOT_SENT, True)


def test_a_file_whose_server_is_busy_is_not_replaced(pusher, ftp, url):
    pusher.write("a.jpg", BODY)
    ftp.add("local/a.jpg", b"of another")
    ftp.faults += [refuse("SIZE", "450 busy", times=1), refuse("MDTM", "450 busy", times=1)]
    (result,) = pusher.push(url)
    assert (result.status, "another file of this name" in result.reason) == (NOT_SENT, True)
    assert (ftp.folder / "local/a.jpg").read_bytes() == b"of another"


def test_a_server_that_has_not_kept_the_file_is_a_failure(pusher, ftp, url):
    """`mediacrawl serve` tells with the next command that it cannot publish an upload."""
    pusher.write("a.jpg", BODY)
    ftp.faults.append(refuse("PWD", "553 /a.jpg was received, and is not published"))
    (result,) = pusher.push(url, backoff=ONCE)
    assert (result.status, "is not published" in result.reason) == (NOT_SENT, True)


@pytest.mark.parametrize("command", ["PASS", "TYPE"])
def test_a_server_that_repeats_the_password_does_not_have_it_told(pusher, ftp, url, command):
    pusher.write("a.jpg", BODY)
    ftp.faults.append(refuse(command, "500 'PASS s3:cret' is not understood"))
    (result,) = pusher.push(url, backoff=ONCE)
    assert "'PASS ***' is not understood" in result.reason


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "19700101000000"), (-62_000_000_000, "00050419094640"), (300_000_000_000, ""), (1 << 60, "")],
)
def test_the_time_of_a_file_is_written_as_ftp_has_it_or_not_at_all(seconds, written):
    assert time_of_file(LocalFile(None, "a", 1, seconds * 10**9)) == written


# --- files of this machine


def test_two_files_of_one_name_are_not_both_sent(pusher, tus):
    first, second = pusher.write("x/a.jpg", BODY), pusher.write("y/a.jpg", BODY[:100])
    results = pusher.push(tus.url, first, first, second, at_once=3)
    assert [(result.path, result.status) for result in results] == [(first, SENT_WHOLE), (second, NOT_SENT)]
    assert str(first) in results[1].reason
    assert tus.files == {"a.jpg": BODY}


def test_folders_of_one_name_are_sent_into_one_another(pusher, tus):
    first, second = pusher.write("x/in/a.jpg", BODY), pusher.write("y/in/b.jpg", BODY[:100])
    pusher.push(tus.url, first.parent, second.parent, at_once=3)
    assert tus.files == {"in/a.jpg": BODY, "in/b.jpg": BODY[:100]}


def test_the_hidden_folder_of_a_store_stays_here(pusher, tus):
    pusher.write("archive/.mediacrawl/secret_key", b"secret")
    pusher.write("archive/.config", b"mine")
    pusher.push(tus.url, pusher.folder / "archive")
    assert set(tus.files) == {"archive/.config"}


def test_folders_may_be_nested_deeply_and_links_may_lead_nowhere(tmp_path):
    (tmp_path / "far").symlink_to("x" * 300)
    (tmp_path / "round").symlink_to("round")
    folder, below = os.open(tmp_path, os.O_RDONLY), []
    for _ in range(1_200):
        os.mkdir("d", dir_fd=folder)
        folder, before = os.open("d", os.O_RDONLY, dir_fd=folder), folder
        os.close(before)
        below.append("d")
    os.close(os.open("a", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    try:
        found = list(local_files([str(tmp_path)]))
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # `shutil.rmtree` recurses
    assert [one.path.name for one in found if isinstance(one, UnusableFile)] == ["far", "round"]
    assert [one.name for one in found if isinstance(one, LocalFile)] == ["/".join([tmp_path.name, *below, "a"])]
