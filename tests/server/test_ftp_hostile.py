"""Clients of FTP that send what no other client does, and what a client is told when its upload is not published."""

from __future__ import annotations

import ftplib
import os
import resource
import signal
import socket
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from crawling import wait_until
from ftp_server import FtpProcess, FtpServer, begin, certificate, cut, logged_in, run_with_people, send
from serve_process import LIMIT_S

PEOPLE = {"anna": {"can_upload": True}, "bert": {"can_upload": True}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("ftp") / "store"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"picture")
    return root


@pytest.fixture(scope="module")
def server(store, tmp_path_factory):
    """With TLS, and without it for clients that do not want it."""
    pem = certificate(tmp_path_factory.mktemp("tls"))
    options = ["--ftp-tls-cert", pem, "--ftp-tls-key", pem, "--ftp-without-tls"]
    with FtpServer(store, PEOPLE, *options) as running:
        yield running
        assert "Traceback" not in "".join(running.log)


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def tls(request):
    return request.param


class Raw:
    """A control connection on which anything can be sent."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self._file = self.sock.makefile("rb")
        assert self.line().startswith("220")

    def send(self, text):
        self.sock.sendall(text.encode("latin-1"))

    def line(self):
        """Return the next line, without its end; empty at the end of the connection."""
        try:
            return self._file.readline().decode("latin-1").rstrip("\r\n")
        except ConnectionResetError:
            return ""

    def ask(self, text):
        self.send(f"{text}\r\n")
        return self.line()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self.sock.close()


@pytest.fixture
def raw(server):
    with Raw(server.ftp_port) as connection:
        yield connection


@pytest.fixture
def anna(server, raw):
    raw.ask("USER anna")
    assert raw.ask(f"PASS {server.passwords['anna']}").startswith("230")
    return raw


# --- uploads that cannot be published


def put_file_in_place_of_folder(store, folder):
    (store / folder).rmdir()
    (store / folder).write_bytes(b"a file by now")


@pytest.mark.parametrize("command", ["PWD", "QUIT", "LIST", "STOR other.jpg", "CWD /"])
def test_the_next_command_tells_that_an_upload_is_not_published(server, store, command, tls):
    folder = f"shut-{command.split()[0]}-{tls}"
    with server.ftp(tls=tls) as client:
        client.mkd(folder)
        send(client, f"{folder}/a.jpg", b"whole")
        put_file_in_place_of_folder(store, folder)
        if command.split()[0] in {"LIST", "STOR"}:
            client.sendcmd("PASV")
        with pytest.raises(ftplib.error_perm) as error:
            client.sendcmd(command)
        assert str(error.value).startswith(f"553 /{folder}/a.jpg was received, and is not published: ")
        if command == "QUIT":
            assert client.sock.recv(1) == b""
            return
        assert client.sendcmd("PWD").startswith("257")
        assert client.size(f"{folder}/a.jpg") == 5
        (store / folder).unlink()
        (store / folder).mkdir()
        send(client, f"{folder}/a.jpg", b"", rest=5)
    wait_until((store / folder / "a.jpg").exists)


def test_a_failure_while_the_client_waits_is_told_with_its_next_command(server, store):
    with server.ftp() as client:
        client.mkd("shut-later")
        before = len(server.log)
        send(client, "shut-later/a.jpg", b"whole")
        put_file_in_place_of_folder(store, "shut-later")
        server.line_with("shut-later/a.jpg of anna stays unfinished", before)
        assert client.sendcmd("TYPE I").startswith("200")
        with pytest.raises(ftplib.error_perm, match=r"^553 /shut-later/a\.jpg was received, and is not published"):
            client.sendcmd("PWD")
        assert client.sendcmd("PWD").startswith("257")


def test_a_refusal_that_may_be_over_soon_says_so(server):
    """A client that is told of 5xx takes the upload for missing, and begins anew."""
    name = "held.mp4"
    with server.ftp() as client:
        begin(client, name, b"half").close()
        client.voidresp()
        client.sendcmd("ABOR")
        with FtpProcess(server) as other, other.ftp() as stopped:
            assert stopped.size(name) == 4
            conn = begin(stopped, name, b" and", rest=4)
            os.kill(other.pid, signal.SIGSTOP)
            try:
                with pytest.raises(ftplib.error_temp, match=r"^451 another process holds this upload"):
                    client.size(name)
            finally:
                os.kill(other.pid, signal.SIGCONT)
            conn.close()
        client.delete(name)


# --- QUIT before the end


def test_a_client_that_has_sent_quit_and_waits_for_the_end_has_sent_all(server, store, tls):
    client = server.ftp(tls=tls)
    conn = begin(client, f"patient-{tls}.mp4", b"begin")
    assert client.sendcmd("QUIT").startswith("221")
    conn.sendall(b" and end")
    if tls:
        conn.unwrap()
    conn.close()
    assert client.voidresp().startswith("226")
    client.close()
    assert (store / f"patient-{tls}.mp4").read_bytes() == b"begin and end"


def test_a_client_that_has_sent_quit_and_is_killed_has_not_sent_all(server, store, tls):
    name = f"killed-{tls}.mp4"
    client = server.ftp(tls=tls)
    conn = begin(client, name, b"begin")
    assert client.sendcmd("QUIT").startswith("221")
    cut(client.sock)
    client.sock = None
    if tls:
        conn.unwrap()
    conn.close()
    client.close()
    with server.ftp() as other:
        wait_until(lambda: other.size(name) == 5)
        send(other, name, b" and end", rest=5)
    wait_until((store / name).exists)
    assert (store / name).read_bytes() == b"begin and end"


# --- commands in the middle of a transfer


@pytest.mark.parametrize("command", ["PASV", "EPSV", "PORT 127,0,0,1,200,200", "USER bert", "REIN", "AUTH TLS"])
def test_a_transfer_goes_on_whatever_is_sent_meanwhile(server, store, command):
    name = f"during-{command.split()[0]}.mp4"
    with server.ftp() as client:
        conn = begin(client, name, b"begin")
        with pytest.raises(ftplib.error_temp, match=r"^450 A transfer is going on"):
            client.sendcmd(command)
        conn.sendall(b" and end")
        conn.close()
        assert client.voidresp().startswith("226")
    wait_until((store / name).exists)
    assert (store / name).read_bytes() == b"begin and end"


def test_commands_behind_the_end_of_a_session_are_not_carried_out(server, anna, store):
    anna.send("QUIT\r\nMKD behind\r\nMLST a.jpg\r\nSTAT\r\nPASV\r\nSTOR b\r\n")
    assert anna.line().startswith("221")
    assert anna.line() == ""
    assert not (store / "behind").exists()


def test_commands_behind_a_withdrawn_login_are_not_carried_out(server, store, raw):
    code = """
people.add_person("carl", "correct horse", Rights(can_upload=True))
print(people.make_application_password("carl", "FTP"))
"""
    (password,) = run_with_people(store, code)
    raw.ask("USER carl")
    assert raw.ask(f"PASS {password}").startswith("230")
    run_with_people(store, "people.remove_person('carl')")
    raw.send("MLST a.jpg\r\nMKD behind\r\nMLST a.jpg\r\nMLSD\r\n")
    assert raw.line() == "421 The login has been withdrawn."
    assert raw.line() == ""
    assert not (store / "behind").exists()


def test_guesses_behind_a_wrong_password_are_dropped(server, raw):
    raw.send("USER anna\r\nPASS wrong\r\n" * 20)
    assert raw.line().startswith("331")
    assert raw.line().startswith("530")
    raw.send("NOOP\r\n")
    assert raw.line().startswith("200")


def test_a_client_that_reads_no_reply_is_ended(server):
    with Raw(server.ftp_port) as raw:
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OSError, match=r"reset|pipe"):
            raw.send("HELP\r\n" * 1_000_000)
    logged_in(server.ftp_port, "anna", server.passwords["anna"]).quit()


def test_a_command_without_an_end_ends_the_session(server, raw):
    with suppress(OSError):
        for _ in range(100):
            raw.send("X" * 10_000)
    assert raw.line() in {"500 The command is too long.", ""}  # a reset may overtake the reply


# --- TLS


def test_where_tls_is_required_no_data_connection_is_without(tmp_path):
    pem, store = certificate(tmp_path), tmp_path / "store"
    store.mkdir()
    (store / "a.jpg").write_bytes(b"picture")
    with (
        FtpServer(store, {"dora": {}}, "--ftp-tls-cert", pem, "--ftp-tls-key", pem) as server,
        server.ftp("dora", tls=True) as client,
    ):
        client.sendcmd("PASV")
        with pytest.raises(ftplib.error_perm, match=r"^534"):
            client.prot_c()
        assert "a.jpg" in client.nlst()


def test_what_is_sent_behind_auth_is_no_command(server, store, raw):
    raw.send("AUTH TLS\r\nUSER anna\r\nPASS x\r\n")
    assert raw.line().startswith("234")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(raw.sock) as secure:
        secure.sendall(b"NOOP\r\n")
        assert secure.recv(100).startswith(b"200")


# --- limits of the system


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system sets no limits of other processes")
def test_a_process_without_free_descriptors_goes_on_once_there_are_some(server, store):
    with FtpProcess(server) as process, ExitStack() as connections:
        with process.ftp() as client:
            assert "a.jpg" in client.nlst()
        pid = process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 12, before[1]))
        for _ in range(20):
            sock = connections.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=LIMIT_S))
            sock.sendall(b"PASV\r\n")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        connections.close()
        with process.ftp() as client:
            assert "a.jpg" in client.nlst()
