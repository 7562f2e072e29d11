"""The checks before a server starts: the store, the port, the certificate, the options."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from certificates import Authority
from scrapy.settings import Settings
from serve_process import run

from mediacrawl.commands.serve import Command
from mediacrawl.errors import PackageMissing, StoreNotWritable, UsageProblem
from mediacrawl.server import running
from mediacrawl.server.options import FtpOptions, ServeOptions, reachable_address
from mediacrawl.server.ports import free_port, reserved_port, shared_socket
from mediacrawl.server.running import LOCK_NAME, check_certificate, check_ftp, locked_store


def listener(*options, host="127.0.0.1", port=0):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        for option in options:
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind((host, port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


@pytest.mark.parametrize(
    "options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]
)
def test_a_port_at_which_another_program_listens_is_taken(options):
    """A program may share its port (SO_REUSEPORT) with others of this user."""
    with listener(*options) as other:
        port = other.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(UsageProblem, match=f"{port}: another program listens there") as refused:
                free_port(host, port)
            assert "\n" not in str(refused.value)
    assert free_port("127.0.0.1", port) == port


def test_a_port_whose_last_connections_wait_for_their_end_is_free():
    with listener(socket.SO_REUSEADDR) as other:
        port = other.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = other.accept()
            accepted.close()
            assert client.recv(1) == b""
    assert free_port("127.0.0.1", port) == port


def test_a_free_port_is_found():
    assert 1024 <= free_port("127.0.0.1", 0) <= 65535


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_reserved_port_is_for_the_processes_of_the_server_alone(host):
    """It stays so while one is started again: another program would have its clients, and be told as running."""
    with reserved_port(host, 0) as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((reachable_address(host), port))
        for options in ((), (socket.SO_REUSEADDR,)):
            with pytest.raises(OSError, match="in use"):
                listener(*options, host=host, port=port)
        with pytest.raises(UsageProblem, match="another program listens there"):
            free_port(host, port)
        with listener(socket.SO_REUSEADDR, socket.SO_REUSEPORT, host=host, port=port) as shared:
            take_a_connection(shared)
        with shared_socket(host, port) as of_ftp:
            of_ftp.listen()
            take_a_connection(of_ftp)
    assert free_port(host, port) == port


def take_a_connection(sock):
    host, port = sock.getsockname()[:2]
    with socket.create_connection((reachable_address(host), port)):
        sock.accept()[0].close()


def test_a_socket_is_not_shared_with_another_program():
    with listener(socket.SO_REUSEADDR) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageProblem, match=f"{port}: another program listens there. .* with --ftp-port"):
            shared_socket("127.0.0.1", port, "--ftp-")


def test_a_process_that_cannot_listen_says_so_in_one_line(tmp_path):
    own, end = socket.socketpair()
    with own, end, listener() as other:
        options = ServeOptions(store=tmp_path, port=other.getsockname()[1])
        own.sendall(f"{options.as_json()}\n".encode())
        command = [sys.executable, "-P", "-m", "mediacrawl.server.http_process", str(end.fileno())]
        done = subprocess.run(
            command, pass_fds=[end.fileno()], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 2
    assert "another program listens there" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_address_that_this_machine_does_not_have_is_told():
    with pytest.raises(UsageProblem, match="no such address"):
        free_port("192.0.2.1", 0)


def test_a_store_has_one_server(tmp_path):
    with locked_store(tmp_path):
        assert (tmp_path / ".mediacrawl" / LOCK_NAME).read_text() == f"{os.getpid()}\n"
        with pytest.raises(UsageProblem, match=f"served already, by process {os.getpid()}"), locked_store(tmp_path):
            pass
    with locked_store(tmp_path):
        pass
    assert (tmp_path / ".mediacrawl").stat().st_mode & 0o777 == 0o700


def test_a_lock_that_is_a_link_is_not_written(tmp_path):
    (tmp_path / ".mediacrawl").mkdir()
    (tmp_path / "other").write_text("text of another")
    (tmp_path / ".mediacrawl" / LOCK_NAME).symlink_to("../other")
    with pytest.raises(StoreNotWritable, match="symbolic link"), locked_store(tmp_path):
        pass
    assert (tmp_path / "other").read_text() == "text of another"


@pytest.fixture
def folder_for_all():
    """A folder that another user reaches, as those of pytest are private."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_store_that_cannot_be_written_is_told_in_one_line(folder_for_all):
    root = folder_for_all / "store"
    root.mkdir(mode=0o555)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mediacrawl.server.running import locked_store\n"
        "from mediacrawl.errors import StoreNotWritable\n"
        "if os.geteuid() == 0:\n    os.setgid(65534)\n    os.setuid(65534)\n"
        "try:\n    locked_store(Path(sys.argv[1])).__enter__()\n"
        "except StoreNotWritable as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write in {root}/.mediacrawl: Permission denied. "), done


def test_a_certificate_and_its_key_are_checked(tmp_path):
    authority = Authority(tmp_path)
    authority.context("localhost")
    authority.context("localhost")
    first, second, junk = tmp_path / "server1.pem", tmp_path / "server2.pem", tmp_path / "junk.pem"
    junk.write_text("no certificate")

    def said(cert, key):
        with pytest.raises(UsageProblem) as refused:
            check_certificate(cert, key)
        return str(refused.value)

    for file in (None, first):
        check_certificate(file, file)
    assert "--tls-key" in said(first, None)
    assert "--tls-cert" in said(None, first)
    assert "cannot read" in said(tmp_path / "missing.pem", first)
    assert "cannot read" in said(tmp_path, first)
    assert "not a certificate and its key" in said(first, second)
    assert "not a certificate and its key" in said(junk, first)


# A module that Python imports at its start: it sends a signal to its process when a module is looked for.
SENDER = """
import os, signal, sys

class Sender:
    @staticmethod
    def find_spec(name, *_):
        if name == os.environ["SENT_AT"] and os.environ["SENT_IN"] in sys.orig_argv:
            os.kill(os.getpid(), int(os.environ["SENT"]))

sys.meta_path.insert(0, Sender)
"""


@pytest.mark.parametrize(
    ("process", "module", "number"),
    [
        ("serve", "scrapy", signal.SIGINT),
        ("serve", "mediacrawl.commands.serve", signal.SIGTERM),
        ("mediacrawl.server.running", "mediacrawl.errors", signal.SIGINT),
        ("mediacrawl.server.running", "mediacrawl.server.routing", signal.SIGHUP),
    ],
)
def test_a_signal_while_the_server_starts_ends_it_with_status_0(tmp_path, process, module, number):
    (tmp_path / "sitecustomize.py").write_text(SENDER)
    (tmp_path / "store").mkdir()
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    sent = {"PYTHONPATH": path, "SENT_IN": process, "SENT_AT": module, "SENT": str(int(number))}
    status, out, errors = run("serve", tmp_path / "store", "--port", 0, env=sent)
    assert (status, errors) == (0, "")
    assert "is served at" not in out


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setattr(running.importlib.util, "find_spec", lambda name: None if name == "aiohttp" else object())
    with pytest.raises(PackageMissing, match=r"needs the package aiohttp: pip install 'mediacrawl\[serve\]'"):
        running.refuse_missing_packages()


def options_of(*arguments, folder="store"):
    """What the command makes of its arguments."""
    command = Command()
    command.settings = Settings({"FILES_STORE": "downloads", "LOG_LEVEL": "INFO"})
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    opts = parser.parse_args(arguments)
    return command._options([folder] if folder else [], opts)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "media.example"], "--hosts"),
        (["--hosts", "https://media.example"], "without scheme"),
        (["--hosts", "media.example:8000"], "without scheme"),
        (["--prefix", "/a b"], "--prefix"),
        (["--prefix", "/../x"], "--prefix"),
        (["--prefix", "//evil.example"], None),
        (["--accel-redirect", "/a?b"], "--accel-redirect"),
        (["--port", "70000"], "--port"),
        (["--port", "-1"], "--port"),
        (["--ftp-port", "70000"], "--ftp-port"),
        (["--ftp-without-tls"], "add --ftp-port"),
        (["--ftp-host", "127.0.0.1"], "add --ftp-port"),
        (["--ftp-port", "0", "--ftp-host", "media.example"], "--ftp-host"),
        (["--ftp-port", "0", "--ftp-passive-ports", "50-40"], "two ports"),
        (["--ftp-port", "0", "--ftp-passive-ports", "0-40"], "two ports"),
        (["--ftp-port", "0", "--ftp-passive-ports", "40-70000"], "two ports"),
        (["--ftp-port", "0", "--ftp-passive-ports", "many"], "two ports"),
        (["--ftp-port", "0", "--ftp-public-address", "media.example"], "IPv4"),
        (["--ftp-port", "0", "--ftp-public-address", "::1"], "IPv4"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, said):
    if said is None:
        assert options_of(*arguments).prefix == "/evil.example"
        return
    with pytest.raises(UsageProblem, match=said) as refused:
        options_of(*arguments)
    assert "\n" not in str(refused.value)


def test_arguments_become_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options_of(folder="") == ServeOptions(store=tmp_path / "downloads")
    assert options_of("--host", "localhost").host == "127.0.0.1"
    assert options_of("--host", "[::1]").host == "::1"
    several = options_of("--hosts", "Media.example, .b.example", "--hosts", "::1", "--prefix", "media/")
    assert (several.hosts, several.prefix) == (("media.example", ".b.example", "[::1]"), "/media")
    proxied = options_of("--trusted-proxy", "unix", "--trusted-proxy", "10.0.0.0/8", "--accel-redirect", "/inner/")
    assert (proxied.trusted_proxies, proxied.accel_location) == (("unix", "10.0.0.0/8"), "/inner")
    assert options_of("--tls-cert", "a.pem").tls_cert == tmp_path / "a.pem"


def test_arguments_become_options_of_ftp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options_of().ftp is None
    assert options_of("--ftp-port", "0").ftp == FtpOptions(port=0)
    shared = options_of("--ftp-port", "2121", "--host", "0.0.0.0", "--tls-cert", "a.pem", "--tls-key", "b.pem").ftp
    assert shared == FtpOptions(host="0.0.0.0", tls_cert=tmp_path / "a.pem", tls_key=tmp_path / "b.pem")
    own = options_of(
        *("--ftp-port", "21", "--tls-cert", "a.pem", "--tls-key", "b.pem", "--ftp-host", "::"),
        *("--ftp-tls-cert", "c.pem", "--ftp-tls-key", "d.pem", "--ftp-without-tls"),
        *("--ftp-passive-ports", "50000-50009", "--ftp-public-address", "203.0.113.9"),
    )
    assert own.ftp == FtpOptions(
        host="::",
        port=21,
        passive_ports=(50000, 50009),
        public_address="203.0.113.9",
        tls_cert=tmp_path / "c.pem",
        tls_key=tmp_path / "d.pem",
        allows_plain=True,
    )
    assert ServeOptions.from_json(own.as_json()) == own
    assert own.ftp.url == "ftp://localhost:21/"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_ftp_without_tls_is_for_this_machine_alone_unless_it_is_wanted(host):
    with pytest.raises(UsageProblem, match="--ftp-without-tls if the network is your own") as refused:
        check_ftp(FtpOptions(host=host))
    assert "\n" not in str(refused.value)
    check_ftp(FtpOptions(host=host, allows_plain=True))
    for here in ("127.0.0.1", "127.8.8.8", "::1"):
        check_ftp(FtpOptions(host=here))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["missing"], "--create"), (["."], "--trusted-proxy proxy"), (["file"], "is not a folder")],
)
def test_a_server_that_cannot_start_says_why_in_one_line(tmp_path, arguments, said):
    (tmp_path / "file").touch()
    status, out, errors = run("serve", *arguments, "--trusted-proxy", "proxy", cwd=tmp_path)
    assert (status, out, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("mediacrawl: ")
    assert said in errors
    assert not (tmp_path / "missing").exists()
