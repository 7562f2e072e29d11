"""tuspy, a client of others, and nginx in front of a real server: uploads that are cut, and one that is collected."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading

import pytest
from crawling import wait_until
from serve_process import Serve
from tusclient.client import TusClient as Tuspy
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from uploading import MIB, TusClient, content, kill, login

from mediacrawl.store.local import HIDDEN

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    return root


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("with_checksum", [False, True])
def test_tuspy_goes_on_after_each_kill_of_the_server(store, tmp_path, with_checksum):
    data, port, who = content(6 * MIB), free_port(), login(store, "anna")
    path = tmp_path / "film.mkv"
    path.write_bytes(data)
    client = Tuspy(f"http://127.0.0.1:{port}/uploads/", headers=who)
    told = {"filename": "film.mkv", "folder": "from tuspy"}

    def uploader(file, url):
        return client.uploader(
            file_stream=file, url=url, chunk_size=MIB, metadata=told, upload_checksum=with_checksum
        )

    def upload_until_the_end(uploader, stop_at):
        while True:
            if uploader.offset < stop_at:
                uploader.upload(stop_at=uploader.offset + MIB)
            else:  # sooner than the kill
                uploader.get_offset()

    url, offset = None, 0
    for stop_at in (2 * MIB, 4 * MIB, 5 * MIB):
        with path.open("rb") as file, Serve(store, "--port", port, "--no-access-log") as server:
            tuspy = uploader(file, url)
            assert tuspy.offset >= offset
            tuspy.upload(stop_at=tuspy.offset + MIB)
            url = tuspy.url
            killer = threading.Timer(0.05, kill, [server])
            killer.start()
            with pytest.raises((TusUploadFailed, TusCommunicationError, OSError)):
                upload_until_the_end(tuspy, stop_at)
            killer.join()
            offset = tuspy.offset
    with path.open("rb") as file, Serve(store, "--port", port, "--no-access-log"):
        tuspy = uploader(file, url)
        assert tuspy.offset >= offset
        tuspy.upload()
    assert (store / "from tuspy" / "film.mkv").read_bytes() == data
    assert list((store / HIDDEN / "parts").iterdir()) == []


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; user root;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{server};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            client_max_body_size 0;
            proxy_request_buffering {buffering};
        }}
    }}
}}
"""


class Proxied:
    """The server behind nginx."""

    def __init__(self, server, folder, buffering):
        self.server, self.port = server, free_port()
        folder.mkdir()
        file = folder / "nginx.conf"
        file.write_text(NGINX.format(folder=folder, port=self.port, server=server.port, buffering=buffering))
        self._process = subprocess.Popen(["nginx", "-c", str(file), "-p", str(folder)])
        wait_until(self._listens)

    def _listens(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(60)

    def connection(self):
        connection = self.server.connection()
        connection.port = self.port
        return connection

    def ask(self, path, headers=(), method="GET", body=None):
        connection = self.connection()
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        connection.close()
        return found


def is_buffered(server, who):
    return b'"is_buffered": true' in server.ask("/uploads/", who)[2]


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_a_proxy_that_collects_uploads_is_told_of_and_another_is_not(store, tmp_path):
    who = login(store, "anna")
    pause = threading.Event()
    with Serve(store, "--hosts", "127.0.0.1,localhost", "--no-access-log") as server:
        for buffering in ("off", "on"):
            with Proxied(server, tmp_path / buffering, buffering) as proxied:
                for number in range(2):
                    client = TusClient(who, content(12 * 100_000, number), filename=f"{buffering}-{number}")
                    assert client.create(proxied)[0] == 201
                    assert client.send(proxied, step=100_000, between=lambda: pause.wait(0.2)) == 204
                    assert (store / f"{buffering}-{number}").read_bytes() == client.data
                assert is_buffered(proxied, who) == (buffering == "on")
        assert "proxy_request_buffering off" in server.line_with("seems to collect uploads")
    assert not [line for line in server.log if "Traceback" in line]
