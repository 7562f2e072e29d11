"""`mediacrawl serve` itself: it starts, tells its address, survives its worker, and ends with all it has started."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest
from certificates import Authority
from crawling import wait_until
from serve_process import Serve, command, is_running, run
from serving import Server

import mediacrawl
from mediacrawl.server.ports import free_port

PICTURE = b"\xff\xd8\xff picture"
VIDEO_BYTES = 64 << 20


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("serve") / "store"
    (root / "films").mkdir(parents=True)
    (root / "a.jpg").write_bytes(PICTURE)
    (root / "~anna").mkdir()
    (root / "~anna" / "own.jpg").write_bytes(PICTURE)
    with (root / "films" / "long.mp4").open("wb") as file:
        file.truncate(VIDEO_BYTES)
    return root


@pytest.fixture(scope="module")
def server(store):
    with Serve(store) as running:
        yield running


class Browser:
    """Keeps the cookies of one person."""

    def __init__(self, server):
        self._server = server
        self.cookies = {}

    def ask(self, path, method="GET", **fields):
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies, "Accept": "text/html"}
        body = None
        if method == "POST":
            body = urlencode(fields)
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
            if self._server.scheme == "https":
                headers["Referer"] = f"https://127.0.0.1:{self._server.port}/"
        connection = self._server.connection()
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read()
        for line in response.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        lower = {name.lower(): value for name, value in response.headers.items()}
        return response.status, lower, content.decode("utf-8", "replace")

    def log_in(self, name, password):
        page = self.ask(f"{self._server.prefix}login")[2]
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        return self.ask(
            f"{self._server.prefix}login", "POST", name=name, password=password, csrfmiddlewaretoken=token
        )


def test_the_first_start_prints_a_password_that_logs_in(server):
    browser = Browser(server)
    assert browser.ask("/a.jpg")[0] in {302, 404}
    assert browser.ask("/files/a.jpg")[0] in {302, 401}
    status, fields, _ = browser.log_in(server.name, server.password)
    assert (status, fields["location"]) == (302, "/files/")
    status, _, page = browser.ask("/files/")
    assert status == 200
    assert "films" in page
    assert browser.ask("/files/a.jpg")[0] == 200
    assert browser.ask("/files/~anna/own.jpg")[0] == browser.ask("/files/~anna/")[0] == 404
    assert "own.jpg" not in browser.ask("/search?q=own")[2]


def test_each_page_limits_what_a_browser_does_with_it(server):
    browser = Browser(server)
    pages = [browser.ask("/login")]
    browser.log_in(server.name, server.password)
    pages += [
        browser.ask(path)
        for path in ("/files/", "/files/nothing/", "/files/nothing", "/account", "/people", "/search?q=a", "/x")
    ]
    for status, fields, page in pages:
        assert status in {200, 404}
        named = {name.lower(): value for name, value in fields.items()}
        policy = named["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert named["x-content-type-options"] == "nosniff"
        assert named["x-frame-options"] == "DENY"
        assert named["referrer-policy"] == "same-origin"
        assert "no-store" in named["cache-control"]
        assert re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", page) is None, "inline"


def test_a_second_server_on_the_store_or_the_port_is_refused_in_one_line(server, store, tmp_path):
    status, out, errors = run("serve", store, "--port", 0)
    assert (status, out, errors.count("\n")) == (2, "", 1)
    assert re.search(rf"mediacrawl: the store {store} is served already, by process \d+", errors)
    other = tmp_path / "other"
    status, out, errors = run("serve", other, "--create", "--port", server.port)
    assert (status, errors.count("\n")) == (2, 2), errors
    assert f"cannot listen at 127.0.0.1:{server.port}: another program listens there" in errors
    assert not (other / ".mediacrawl" / "people.sqlite3").exists()
    within = tmp_path / "file"
    within.touch()
    assert run("serve", within / "store", "--create")[2] == (
        f"mediacrawl: cannot make the store {within / 'store'}: Not a directory\n"
    )
    assert server.ask("/healthz")[0] == 200


def test_a_foreign_host_gets_nothing(server):
    for path in ("/", "/login", "/files/", "/files/a.jpg"):
        status, fields, _ = server.ask(path, {"Host": "evil.example"})
        assert (status, "set-cookie" in fields) == (400, False)


def test_no_secret_is_in_the_log(server):
    browser = Browser(server)
    browser.log_in(server.name, "WRONGPASSWORD")
    server.ask("/invitation/TOKENTOKENTOKEN")
    server.ask("/files/a.jpg", {"Authorization": "Basic c2VjcmV0OlNFQ1JFVA==", "Cookie": "sessionid=SECRET"})
    server.ask("/end-of-test?q=SECRETQUERY")
    server.line_with("/end-of-test")
    text = "".join(server.log)
    assert "/invitation/*** HTTP" in text
    for secret in ("WRONGPASSWORD", "TOKENTOKEN", "c2VjcmV0", "SECRET"):
        assert secret not in text
    assert text.count(server.password) == 1


def test_the_files_of_people_are_private(server, store):
    hidden = store / ".mediacrawl"
    assert hidden.stat().st_mode & 0o777 == 0o700
    for name in ("people.sqlite3", "secret_key", "server.lock"):
        assert (hidden / name).stat().st_mode & 0o777 == 0o600, name
        assert server.ask(f"/files/.mediacrawl/{name}")[0] in {401, 404}


def test_a_worker_that_dies_is_started_again_with_the_same_people(server):
    browser = Browser(server)
    browser.log_in(server.name, server.password)
    lines = len(server.log)
    before = server.processes()
    os.kill(before[-1], signal.SIGKILL)
    server.line_with("it is started again in 1 s", lines)
    server.line_with("runs again", lines)
    after = server.processes()
    assert after[0] == before[0]
    assert not set(after[1:]) & set(before[1:])
    assert browser.ask("/files/a.jpg")[0] == 200


@pytest.fixture
def public(tmp_path):
    (tmp_path / "films").mkdir()
    with (tmp_path / "films" / "long.mp4").open("wb") as file:
        file.truncate(VIDEO_BYTES)
    return tmp_path


@pytest.mark.slow
def test_a_server_that_is_killed_takes_all_its_processes_with_it(public):
    server = Serve(public, "--public")
    processes = server.processes()
    assert len(processes) >= 2
    os.kill(processes[1], signal.SIGSTOP)  # it cannot help
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(map(is_running, processes)))
    with Serve(public, "--public") as again:  # no lock is left
        assert again.password is None, "there is a person already"


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_ends_all_also_with_clients_that_do_not_read(public, number):
    """Files beside it are not imported: a store may contain files of others, with any name."""
    for name in ("aiohttp", "django", "argon2", "sitecustomize", "json"):
        (public / f"{name}.py").write_text("raise SystemExit('imported from the working folder')")
    with Serve(".", "--public", cwd=public) as server, ExitStack() as until_the_end:
        for _ in range(20):
            sock = until_the_end.enter_context(server.stalled("/files/films/long.mp4"))
            assert sock.recv(12) == b"HTTP/1.1 200"
        processes = server.processes()
        assert server.end(number) == 0
        wait_until(lambda: not any(map(is_running, processes)))
        assert "Traceback" not in "".join(server.log)


@pytest.mark.slow
def test_ctrl_c_reaches_all_processes_of_a_terminal_and_ends_them_in_order(public):
    with Serve(public, "--public", start_new_session=True) as server:
        processes = server.processes()
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(60) == 0
        wait_until(lambda: not any(map(is_running, processes)))
        assert "Traceback" not in "".join(server.log)


def test_tls_and_a_prefix(tmp_path):
    authority = Authority(tmp_path)
    authority.context("localhost", "127.0.0.1")
    pem, store = tmp_path / "server1.pem", tmp_path / "store"
    store.mkdir()
    (store / "a.jpg").write_bytes(PICTURE)
    arguments = ["--tls-cert", pem, "--tls-key", pem, "--prefix", "/media", "--no-access-log"]
    with Serve(store, *arguments) as server:
        assert (server.scheme, server.prefix) == ("https", "/media/")
        browser = Browser(server)
        status, fields, _ = browser.log_in(server.name, server.password)
        assert (status, fields["location"]) == (302, "/media/files/")
        assert browser.ask("/media/files/a.jpg")[0] == 200
        assert browser.ask("/files/a.jpg")[0] == 404
        assert browser.ask("/")[0] == 308
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP/1.1 2")
        assert not [line for line in server.log if "GET" in line]


@pytest.mark.slow
def test_a_server_at_all_addresses_answers_for_each_of_them_and_for_no_other_name(public):
    with Serve(public, "--public", "--host", "0.0.0.0") as server:
        assert server.line_with("without TLS, passwords can be read on the way")
        for path in ("/files/", "/files/films/long.mp4", "/login"):
            for host in ("192.0.2.7:8000", "[2001:db8::1]", "localhost", socket.gethostname()):
                assert server.ask(path, {"Host": host}, "HEAD")[0] == 200, (path, host)
            assert server.ask(path, {"Host": "evil.example"})[0] == 400


@pytest.mark.slow
def test_the_documented_module_serves_the_same_under_gunicorn(public, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("wsgi")
    text = (Path(mediacrawl.__file__).parents[1] / "docs" / "serve.md").read_text(encoding="utf-8")
    body = re.search(r"^```python\n# serve_wsgi.py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    (folder / "serve_wsgi.py").write_text(body.replace("/srv/archive", str(public)))
    line = re.search(r"^gunicorn .*$", text, re.MULTILINE)[0].replace("127.0.0.1:8000", "unix:{socket}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    assert run("user", "list", "-s", f"FILES_STORE={public}")[0] == 0
    with Server("gunicorn", public, commands={"gunicorn": line.split()}) as server:
        assert server.ask("/healthz")[0] == 200
        assert server.ask("/login")[0] == 200
        assert server.ask("/files/films/long.mp4")[0] == 401
        assert server.ask("/login", {"Host": "evil.example"})[0] == 400


@pytest.mark.slow
def test_the_reader_of_the_log_may_go_away(public):
    """For example, `mediacrawl serve | head -1`."""
    process = subprocess.Popen(command("serve", public, "--port", 0, "--public"), stdout=subprocess.PIPE, text=True)
    try:
        while "is served at" not in (line := process.stdout.readline()):
            assert line
        port = int(re.search(r":(\d+)/", line)[1])
        process.stdout.close()
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert sock.recv(12) == b"HTTP/1.1 200"
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("limit", [64, 256])
def test_few_open_files_are_enough(public, limit):
    for number in range(limit + 50):
        (public / f"{number}.bin").write_bytes(b"x" * 100_000)
    limits = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, limit))
    with Serve(public, "--public", preexec_fn=limits) as server:
        assert {server.ask(f"/files/{number}.bin")[0] for number in range(limit + 50)} == {200}
        assert server.ask("/login")[0] == 200


@pytest.fixture
def full():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with Path("/dev/full").open("w") as stream:
        yield stream


@pytest.mark.slow
def test_a_first_password_that_cannot_be_written_is_told(full, tmp_path):
    store = tmp_path / "own's"
    store.mkdir()
    words = command("serve", store, "--port", 0)
    done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert "the first password could not be written to standard output: No space left on device" in line
    advised = shlex.split(line.partition("with: mediacrawl ")[2])
    assert run(*advised, input="correct horse battery\n")[0] == 0


@pytest.mark.slow
def test_a_log_that_cannot_be_written_stops_no_server(full, public):
    """It may be on the disk that is full."""
    assert run("user", "add", "anna", "-s", f"FILES_STORE={public}", input="correct horse battery\n")[0] == 0
    port = free_port("127.0.0.1", 0)
    words = command("serve", public, "--port", port, "--public")
    process = subprocess.Popen(words, stdout=full, stderr=full)

    def answers():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return sock.recv(12) == b"HTTP/1.1 200"

    try:
        wait_until(answers)
        worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        os.kill(worker, signal.SIGKILL)  # the first process has something to say
        wait_until(lambda: not is_running(worker))
        wait_until(answers)
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_an_origin_is_that_of_a_site():
    from mediacrawl.commands.serve import _origin
    from mediacrawl.errors import UsageProblem

    assert _origin("HTTPS://Example.org/") == "https://example.org"
    assert _origin("http://[::1]:8080") == "http://[::1]:8080"
    assert _origin("https://example.org:443") == "https://example.org", "no browser sends the usual port"
    assert _origin("http://example.org:80/") == "http://example.org"
    assert _origin("http://example.org:443") == "http://example.org:443"
    for text in ("example.org", "https://example.org/path", "*", "null", "ftp://example.org", "https://a b", ""):
        with pytest.raises(UsageProblem, match="--upload-origin"):
            _origin(text)
